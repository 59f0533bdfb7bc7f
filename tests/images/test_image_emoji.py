import json
from pathlib import Path

import numpy as np
import pytest

from anfinsen.common.errors import InputError
from anfinsen.images.emoji import Icon, rasterise, read_icons


def write_icons(folder: Path, names: dict[str, str]) -> Path:
    icons = {name: {"body": f"<g>{body}</g>"} for name, body in names.items()}
    (folder / "icons.json").write_text(json.dumps({"prefix": "x", "icons": icons, "width": 32, "height": 32}))
    return folder


def test_tones_doubles_and_held_out_kinds_are_left_out(tmp_path: Path) -> None:
    names = {
        "person-biking": "a",
        "person-biking-dark": "b",
        "person-biking-medium-light": "c",
        "woman-biking": "d",
        "woman-with-headscarf": "e",  # there is no person with one
        "guard": "f",
        "man-guard": "g",
        "vertical-traffic-light": "h",  # no skin tone
        "grinning-cat": "i",
        "cat-face": "i",
        "green-circle": "j",  # held out of the scenes
        "red-circle": "k",
    }
    kept = ["cat-face", "guard", "person-biking", "red-circle", "vertical-traffic-light", "woman-with-headscarf"]
    assert [icon.name for icon in read_icons(write_icons(tmp_path, names))] == kept
    assert [icon.name for icon in read_icons(tmp_path / "icons.json")] == kept


def test_captions_and_splits_come_from_the_name() -> None:
    assert Icon("red-apple", "").caption == "the red apple emoji"
    splits = [Icon(f"thing-{index}", "").split for index in range(2000)]
    assert 0.87 < splits.count("train") / 2000 < 0.93
    assert 0.03 < splits.count("validation") / 2000 < 0.07
    assert Icon("red-apple", "").split == Icon("red-apple", "<svg/>").split


def test_drawings_stand_in_the_middle_of_a_white_square(tmp_path: Path) -> None:
    icon = {"body": '<path fill="#ff0000" d="M0 0h32v16H0z"/>', "height": 16}
    (tmp_path / "icons.json").write_text(json.dumps({"icons": {"flat": icon}, "width": 32, "height": 32}))
    picture = rasterise(read_icons(tmp_path)[0].svg)
    assert picture.shape == (64, 64, 3)
    red = (picture == (255, 0, 0)).all(axis=2)
    assert np.array_equal(np.flatnonzero(red.all(axis=1)), np.arange(16, 48))
    assert (picture[~red] == 255).all()


def test_what_is_no_icon_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_icons(tmp_path)
    for text in ("[]", '{"icons": {"a": {}}}', "no JSON", '{"icons": 3}'):
        (tmp_path / "icons.json").write_text(text)
        with pytest.raises(InputError, match=r"expected icons\.json of an Iconify package"):
            read_icons(tmp_path)
    with pytest.raises(InputError, match="cannot be drawn"):
        rasterise("<svg")
