import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.images.datasets import Captioned, ImageTextDataset, from_bytes, to_bytes, write_split
from anfinsen.images.emoji import read_icons
from anfinsen.images.scenes import Group, Scene

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "image_data.py"
STAR = Scene((Group("star", "red"),), position="top")


def written(folder: Path, sources: str = "sese") -> np.ndarray:
    pictures = np.random.default_rng(0).integers(0, 256, (len(sources), 64, 64, 3), dtype=np.uint8)
    rows = [
        Captioned(f"picture {index}", "scenes", STAR) if source == "s" else Captioned(f"picture {index}", "emoji")
        for index, source in enumerate(sources)
    ]
    write_split(folder, "train", pictures, rows)
    return pictures


def test_what_is_written_is_read(tmp_path: Path) -> None:
    pictures = written(tmp_path)
    data = ImageTextDataset(tmp_path, "train")
    assert len(data) == 4
    image, caption = data[3]
    assert caption == "picture 3"
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pictures[3])
    assert data.scenes == [STAR, None, STAR, None]
    assert data.images.is_contiguous(memory_format=torch.channels_last)
    batch, captions = next(iter(DataLoader(data, batch_size=3)))
    assert batch.shape == (3, 3, 64, 64)
    assert list(captions) == data.captions[:3]


@pytest.mark.parametrize("sources", ["sese", "ssee"])
def test_sources_can_be_chosen(tmp_path: Path, sources: str) -> None:
    pictures = written(tmp_path, sources)
    data = ImageTextDataset(tmp_path, "train", sources=("emoji",))
    rows = [index for index, source in enumerate(sources) if source == "e"]
    assert data.captions == [f"picture {row}" for row in rows]
    assert np.array_equal(data.images.permute(0, 2, 3, 1).numpy(), pictures[rows])


def test_changing_a_picture_never_reaches_the_file(tmp_path: Path) -> None:
    pictures = written(tmp_path)
    ImageTextDataset(tmp_path, "train").images.fill_(7)
    assert np.array_equal(np.load(tmp_path / "train-images.npy"), pictures)


def test_bytes_survive_the_way_to_numbers_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    numbers = from_bytes(levels)
    assert (float(numbers.min()), float(numbers.max())) == (-1.0, 1.0)
    assert np.array_equal(to_bytes(numbers), levels.permute(0, 2, 3, 1).numpy())
    assert to_bytes(torch.tensor([-3.0, 0.0, 2.0]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]
    with pytest.raises(InputError, match="not finite"):
        to_bytes(torch.full((3, 2, 2), torch.nan))


def _spoil_line(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"caption": "a", "source": "scenes"}\n' * 4)


def _spoil_scene(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"caption": "a", "source": "scenes", "scene": {"groups": []}}\n' * 4)


def _spoil_source(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"caption": "a", "source": "photos", "scene": null}\n' * 4)


def _fewer_lines(folder: Path) -> None:
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(text.split("\n", 1)[1])


def _spoil_pictures(folder: Path) -> None:
    (folder / "train-images.npy").write_bytes(b"no pictures")


def _archive(folder: Path) -> None:
    np.savez(folder / "other.npz", a=np.zeros(3))
    (folder / "other.npz").rename(folder / "train-images.npy")


def _spoil_header(folder: Path) -> None:
    path = folder / "train-images.npy"
    content = bytearray(path.read_bytes())
    content[10:30] = b"{'descr': (((((((((("
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_spoil_line, "train.jsonl, line 1 is no captioned picture"),
        (_spoil_scene, "train.jsonl, line 1: .* does not describe a scene"),
        (_spoil_source, r"expected a caption, a source \(scenes or emoji\)"),
        (_fewer_lines, r"are uint8 \(4, 64, 64, 3\): expected uint8 \(3, 64, 64, 3\)"),
        (_spoil_pictures, "train-images.npy cannot be read"),
        (_archive, "train-images.npy cannot be read"),
        (_spoil_header, "train-images.npy cannot be read"),
        (lambda folder: (folder / "train-images.npy").write_bytes(b""), "train-images.npy cannot be read"),
        (lambda folder: (folder / "train-images.npy").unlink(), "cannot be read"),
        (lambda folder: (folder / "train.jsonl").unlink(), "train.jsonl cannot be read"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, spoil, message: str) -> None:
    written(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        ImageTextDataset(tmp_path, "train")


def test_unknown_splits_and_sources_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "ss")
    with pytest.raises(ConfigError, match="no split 'all': expected one of train, validation"):
        ImageTextDataset(tmp_path, "all")
    with pytest.raises(ConfigError, match="expected some of scenes, emoji"):
        ImageTextDataset(tmp_path, "train", sources=("photos",))
    with pytest.raises(InputError, match="has no pictures of emoji"):
        ImageTextDataset(tmp_path, "train", sources=("emoji",))


def test_the_script_makes_the_folder(tmp_path: Path) -> None:
    square = '<path fill="#{}" d="M4 4h24v24H4z"/>'
    icons = {name: {"body": square.format(f"{index:06x}")} for index, name in enumerate(_names(80))}
    (tmp_path / "icons.json").write_text(json.dumps({"icons": icons, "width": 32, "height": 32}))
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        command = [sys.executable, str(SCRIPT), str(folder), "--scenes", "60", "--emoji", str(tmp_path)]
        subprocess.run(command, check=True, capture_output=True)
    for name in sorted(path.name for path in folders[0].iterdir()):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    about = json.loads((folders[0] / "about.json").read_text())
    assert about["pictures"]["train"]["scenes"] == 60
    assert about["pictures"]["heldout"] == {"scenes": 2}
    train = ImageTextDataset(folders[0], "train")
    assert sum(source == "emoji" for source in train.sources) == sum(
        icon.split == "train" for icon in read_icons(tmp_path)
    )
    scenes = [scene for scene in train.scenes if scene is not None]
    assert len(scenes) == 60
    assert not any(scene.is_held_out for scene in scenes)
    for first, second in zip(scenes[::2], scenes[1::2], strict=True):
        assert first != second
        assert len(first.groups) == len(second.groups)
    assert all(scene.is_held_out for scene in ImageTextDataset(folders[0], "heldout").scenes if scene is not None)


def _names(number: int) -> list[str]:
    return [f"thing-{chr(97 + index // 26)}{chr(97 + index % 26)}" for index in range(number)]
