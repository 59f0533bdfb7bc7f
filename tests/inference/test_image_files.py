"""Pictures of any kind become 64 pixels on white; what is no picture is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anfinsen.common.errors import InputError
from anfinsen.inference.images.files import read_mask, read_picture, to_pil


def saved(image: Image.Image, path: Path, **more) -> Path:
    image.save(path, **more)
    return path


def colour_at(picture: torch.Tensor, row: int, column: int) -> tuple[int, ...]:
    return tuple(((picture[:, row, column] + 1) * 127.5).round().int().tolist())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "LAB", "1", "I;16", "I", "F"])
def test_every_kind_of_pixels_gives_black_on_white(mode, tmp_path):
    pixels = np.full((64, 64), 255, np.uint8)
    pixels[16:48, 16:48] = 0
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(pixels.astype(np.int32) * 257)
    elif mode == "LAB":
        image = Image.merge("LAB", (image, Image.new("L", image.size, 128), Image.new("L", image.size, 128)))
    else:
        image = image.convert(mode)
    picture = read_picture(saved(image, tmp_path / ("a.tiff" if mode in {"CMYK", "LAB", "F", "I"} else "a.png")))
    assert picture.shape == (3, 64, 64)
    near = 1 if mode == "LAB" else 0  # whose numbers are rounded twice
    assert colour_at(picture, 2, 2) == pytest.approx((255, 255, 255), abs=near)
    assert colour_at(picture, 32, 32) == pytest.approx((0, 0, 0), abs=near)


def test_transparent_pixels_are_white_and_do_not_bleed(tmp_path):
    image = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (64, 64, 192, 192))
    picture = read_picture(saved(image, tmp_path / "a.png"))
    assert colour_at(picture, 4, 4) == (255, 255, 255)
    assert colour_at(picture, 32, 32) == (0, 0, 255)
    # On the edge of blue and nothing there is no red above the white's.
    edge = picture[:, 16, 20:44]
    assert float((edge[0] - edge[2]).max()) <= 0.05


def test_the_shape_is_kept_in_the_middle_of_white(tmp_path):
    picture = read_picture(saved(Image.new("RGB", (200, 50), (0, 128, 0)), tmp_path / "a.jpg", quality=95))
    green = (picture[0] < 0).float()
    assert green.sum(1).max() == 64
    assert green.sum(0).max() == 16
    assert torch.equal(green, green.flip(0))
    assert colour_at(read_picture(saved(Image.new("RGB", (1, 300), "red"), tmp_path / "b.png")), 32, 31) == (255, 0, 0)
    assert read_picture(Image.new("RGB", (1, 1), "red")).min() == -1


def test_exif_turns_the_picture(tmp_path):
    image = Image.new("RGB", (64, 64), "white")
    image.paste("black", (0, 0, 64, 16))  # at the top, before it is turned
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise
    picture = read_picture(saved(image, tmp_path / "a.png", exif=exif))
    assert colour_at(picture, 32, 60) == (0, 0, 0)
    assert colour_at(picture, 4, 4) == (255, 255, 255)
    with Image.open(tmp_path / "a.png") as opened:
        assert torch.equal(read_picture(opened), picture)


def test_damaged_exif_data_leave_the_picture_as_it_is(tmp_path, monkeypatch):
    path = saved(Image.new("RGB", (64, 64), "red"), tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", lambda image: (_ for _ in ()).throw(SyntaxError("not a TIFF")))
    assert colour_at(read_picture(path), 4, 4) == (255, 0, 0)


def test_32_bits_have_a_range_of_their_own_and_numbers_are_finite(tmp_path):
    values = np.zeros((64, 64), np.int32)
    values[:32], values[32:] = 200_000, 100_000
    picture = read_picture(saved(Image.fromarray(values), tmp_path / "a.tif"))
    assert colour_at(picture, 4, 4) == (255,) * 3 and colour_at(picture, 60, 4) == (127,) * 3
    for number in (np.nan, np.inf):
        broken = np.full((64, 64), 1.0, np.float32)
        broken[3, 3] = number
        with pytest.raises(InputError, match=r"b\.tif holds numbers that are not finite"):
            read_picture(saved(Image.fromarray(broken), tmp_path / "b.tif"))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("P", (64, 64), 0), Image.new("P", (64, 64), 1)]
    for frame in frames:
        frame.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert colour_at(read_picture(path), 10, 10) == (255, 0, 0)


def test_pictures_come_back_as_they_went_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = read_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"))
    assert np.array_equal(np.asarray(to_pil(picture[None])[0]), pixels)
    assert torch.equal(read_picture(picture), picture)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "cannot be read as a picture"),
        (b"hello", "cannot be read as a picture"),
        ("cut", "cannot be read as a picture"),
        ("folder", "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_picture(content, message, tmp_path):
    path = tmp_path / "a.png"
    if content == "cut":
        saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)), path)
        path.write_bytes(path.read_bytes()[:900])
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_picture(path)


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_picture(f"{'a' * 300}.png")


def test_whatever_a_reader_raises_is_one_sentence(tmp_path, monkeypatch):
    """Pillow's readers are many: AVIF's raises RuntimeError on a damaged file, others what Python raises."""
    path = saved(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    for error in (RuntimeError("no image item"), KeyError(3), IndexError(), ZeroDivisionError()):
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(InputError, match="cannot be read as a picture"):
            read_picture(path)


def test_a_picture_too_large_to_open_is_refused(tmp_path, monkeypatch):
    path = saved(Image.new("L", (300, 300)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(InputError, match="at most"):
        read_picture(path)


def test_a_tensor_must_be_a_picture():
    with pytest.raises(InputError, match=r"is torch.float32 \[3, 32, 32\]: expected floating-point numbers"):
        read_picture(torch.zeros(3, 32, 32))
    with pytest.raises(InputError, match=r"is torch.uint8 \[3, 64, 64\]: expected floating-point numbers"):
        read_picture(torch.full((3, 64, 64), 200, dtype=torch.uint8))
    for number in (float("nan"), float("inf"), 1.5, -200.0):
        with pytest.raises(InputError, match="not finite or lie beyond -1 and 1"):
            read_picture(torch.full((3, 64, 64), number))
    assert read_picture(torch.full((3, 64, 64), 1.0005)).max() == 1


def test_a_mask_that_is_a_tensor_says_true_or_false():
    mask = torch.zeros(64, 64, dtype=torch.bool)
    with pytest.raises(InputError, match="is white for nothing"):
        read_mask(mask)
    mask[:3] = True
    assert read_mask(mask) is mask
    for wrong in (mask.byte(), mask.float(), mask[:32, :32], mask[None]):
        with pytest.raises(InputError, match=r"expected torch.bool \[64, 64\], true where to paint"):
            read_mask(wrong)


def test_a_mask_is_white_where_to_paint(tmp_path):
    image = Image.new("L", (128, 128), 0)
    image.paste(255, (0, 0, 64, 128))
    mask = read_mask(saved(image, tmp_path / "mask.png"))
    assert bool(mask[:, :31].all())
    assert not bool(mask[:, 33:].any())
    for colour, what in ((0, "nothing"), (255, "everything")):
        with pytest.raises(InputError, match=f"is white for {what}"):
            read_mask(saved(Image.new("L", (64, 64), colour), tmp_path / "flat.png"))
