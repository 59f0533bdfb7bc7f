"""The page of pictures: self-contained, balanced, harmless names, and the numbers that were recorded."""

import base64
import gzip
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anfinsen.inference.images.record import DenoisingRecorder
from anfinsen.inference.images.run import ImageRequest, ImageResult
from anfinsen.reports.image import ImageReport, bundled_trajectory, image_html, picture_grid, png
from anfinsen.weights import WeightsInfo

EVIL = '"><script>alert(1)</script> @@DATA@@'
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.loads, self.text, self.data, self.images, self.ids = [], [], [], "", "", [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        assert not [key for key in named if key.startswith("on")], "no inline handlers"
        self.loads += [value for key, value in attributes if key in {"src", "href", "srcset", "action"} and value]
        self.images += [named] if tag == "img" else []
        self.ids += [named["id"]] if "id" in named else []
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append((tag, named.get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == ("script", "data-report"):
            self.data += data
        elif not self.open or self.open[-1][0] not in {"script", "style"}:
            self.text += data

    def content(self) -> dict:
        return json.loads(gzip.decompress(base64.b64decode(self.data)))


def result(count: int = 2, steps: int = 3, request: ImageRequest | None = None) -> ImageResult:
    generator = torch.Generator().manual_seed(0)
    recorder = DenoisingRecorder()
    for step, sigma in enumerate(np.geomspace(80, 0.002, steps)):
        x = float(sigma) * torch.randn(count, 3, 32, 32, generator=generator)
        recorder(None, step, float(sigma), {"stage": "decoder", "latents": x, "clean": torch.zeros(count, 3, 32, 32)})
    pictures = torch.randint(0, 256, (count, 64, 64, 3), generator=generator).to(torch.uint8)
    named = {name: WeightsInfo(name, "", "ab" * 32, "mini") for name in ("clip", "dalle2-decoder")}
    return ImageResult(
        pictures=pictures,
        labels=tuple(str(number + 1) for number in range(count)),
        seeds=tuple(range(count)),
        clip_scores=tuple(0.25 + number / 100 for number in range(count)),
        stages=recorder.stages(),
        sigma_data=0.5,
        inputs={} if request is None else dict.fromkeys(request.files, pictures[0]),
        weights=named,
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(image_html(ImageReport(ImageRequest(EVIL, samples=2), result(), bundled_trajectory())))


def test_the_page_needs_no_network_and_runs_no_foreign_script(page):
    assert all(address.startswith(("data:", "#")) for address in page.loads)
    assert page.tags.count("script") == 2
    assert EVIL in page.text
    assert len(page.ids) == len(set(page.ids))


def test_every_element_that_the_script_looks_up_is_there(page):
    import re
    from importlib import resources

    script = resources.files("anfinsen.reports").joinpath("assets", "image.js").read_text()
    wanted = set(re.findall(r'element\("([\w-]+)"\)', script)) | {"noisy-atoms", "clean-atoms", "data-report"}
    assert wanted <= set(page.ids)


def test_pictures_have_words_and_scores(page):
    assert [image["alt"] for image in page.images] == ["Picture 1", "Picture 2"]
    assert "CLIP score 0.250" in page.text
    assert "CLIP score 0.260" in page.text
    assert f"SHA-256 {'ab' * 32}" in page.text


def test_frames_are_what_was_recorded_and_end_with_the_clean_picture(page):
    content = page.content()
    (stage,) = content["stages"]
    assert stage["sigma"] == pytest.approx([80, 0.4, 0.002, 0])
    assert (stage["step"], stage["of"], stage["size"], stage["pictures"]) == ([0, 1, 2, 3], 3, 32, 2)
    shape = (4, 2, 32, 32, 3)
    noisy, clean = (np.frombuffer(base64.b64decode(stage[key]), np.uint8).reshape(shape) for key in ("noisy", "clean"))
    assert set(np.unique(clean)) == {128}
    assert np.array_equal(noisy[-1], clean[-1])
    # At unit scale the spread is sigma_data's at the top, and that of the noise alone further down.
    assert noisy[0].std() == pytest.approx(0.5 * 127.5, rel=0.05)
    assert noisy[2].std() < 1
    assert content["sigmaData"] == 0.5
    assert content["atoms"] == bundled_trajectory()


def test_dalle1_has_no_noise_to_show():
    recorder = DenoisingRecorder()
    for row in range(8):
        codes = torch.zeros(2, 8, 8, dtype=torch.long)
        told = {"stage": "transformer", "latents": codes, "clean": torch.zeros(2, 3, 64, 64)}
        recorder(None, row, 1 - (row + 1) / 8, told)
    request = ImageRequest("a circle", model="dalle1", samples=2)
    made = result()
    made = ImageResult(**{**made.__dict__, "stages": recorder.stages()})
    page = Page(image_html(ImageReport(request, made, bundled_trajectory())))
    (stage,) = page.content()["stages"]
    assert stage["noisy"] is None
    assert len(stage["sigma"]) == 8
    assert "DALL·E 1 does not diffuse" in page.text


def test_given_pictures_are_shown():
    request = ImageRequest(interpolate=(Path("<b>a.png"), Path("b.png")), samples=2)
    page = Page(image_html(ImageReport(request, result(request=request), bundled_trajectory(), True)))
    assert [image["alt"] for image in page.images] == ["first", "last", "Picture 1", "Picture 2"]
    assert "From <b>a.png to b.png" in page.text
    assert "Your job" in page.text


@pytest.mark.parametrize(("count", "size"), [(1, (72, 72)), (3, (140, 140)), (9, (208, 208)), (10, (276, 208))])
def test_the_grid_is_nearly_square_and_holds_all(count, size, tmp_path):
    pictures = result(count).pictures
    path = tmp_path / "grid.png"
    path.write_bytes(picture_grid(pictures))
    grid = np.asarray(Image.open(path))
    assert grid.shape[1::-1] == size
    last, columns = count - 1, (size[0] - 4) // 68
    top, left = 4 + last // columns * 68, 4 + last % columns * 68
    assert np.array_equal(grid[top : top + 64, left : left + 64], pictures[-1].numpy())
    assert png(pictures[0]) == png(pictures[0])
