"""Pictures as tensors: any file or PIL image brought to 64 pixels on white, and back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from anfinsen.common.errors import InputError, MissingExtraError
from anfinsen.images.datasets import to_bytes
from anfinsen.images.rendering import PICTURE_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image


def require_pillow() -> None:
    """Make sure that pictures can be read and written.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise MissingExtraError("Pictures need Pillow: pip install 'anfinsen[images]'.") from error


def read_picture(picture: Path | str | Image | Tensor) -> Float[Tensor, "3 64 64"]:
    """Return a picture as 64 x 64 pixels, RGB in [-1, 1].

    It is turned as its EXIF data say, made smaller or larger with its shape kept, and laid in the middle of a white
    square; what is transparent becomes white. Of several frames the first is taken.

    Args:
        picture: a file, a PIL image, or such a tensor already.

    Raises:
        InputError: the file is missing, or is no picture that can be read; a number is not finite, or a tensor is not
            of this kind. MissingExtraError: Pillow is not installed.
    """
    if isinstance(picture, Tensor):
        return _checked(picture)
    image = _on_white(_opened(picture), _name(picture))
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()


def read_mask(picture: Path | str | Image | Tensor) -> Bool[Tensor, "64 64"]:
    """Return where a mask is white: what is to be painted. Elsewhere the picture is kept.

    The mask is brought to 64 pixels as the picture is; the white around one that is no square is painted, too. A tensor
    is such a mask already: bool, [64, 64].

    Raises:
        InputError: as `read_picture`, or nothing or everything is white.
    """
    if isinstance(picture, Tensor):
        if picture.dtype != torch.bool or tuple(picture.shape) != (PICTURE_SIZE, PICTURE_SIZE):
            raise InputError(
                f"The mask is {picture.dtype} {list(picture.shape)}: expected torch.bool [64, 64], true where to paint."
            )
        white = picture
    else:
        white = read_picture(picture).mean(0) > 0
    if not bool(white.any()) or bool(white.all()):
        what = "everything" if bool(white.all()) else "nothing"
        raise InputError(
            f"The mask {_name(picture)} is white for {what}: expected white where to paint, and black elsewhere."
        )
    return white


def to_pil(pictures: Float[Tensor, "n 3 h w"]) -> list[Image]:
    """Return pictures in [-1, 1] as PIL images.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    require_pillow()
    from PIL import Image

    return [Image.fromarray(pixels) for pixels in to_bytes(pictures)]


def byte_tensor(pictures: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n h w 3"]:
    """Return pictures in [-1, 1] as bytes, channels last; numbers beyond become black or white."""
    return torch.from_numpy(to_bytes(pictures))


def _checked(picture: Tensor) -> Float[Tensor, "3 64 64"]:
    """Return a tensor that is a picture already."""
    expected = f"expected floating-point numbers from -1 to 1, [3, {PICTURE_SIZE}, {PICTURE_SIZE}]"
    if tuple(picture.shape) != (3, PICTURE_SIZE, PICTURE_SIZE) or not picture.is_floating_point():
        raise InputError(f"The picture is {picture.dtype} {list(picture.shape)}: {expected}.")
    # Rounding may lead a little beyond.
    if not bool((picture.abs() <= 1 + 1e-3).all()):  # NaN is not, either
        raise InputError(f"The picture has numbers that are not finite or lie beyond -1 and 1: {expected}.")
    return picture.float().clamp(-1, 1)


def _name(picture: Path | str | Image | Tensor) -> str:
    return str(picture) if isinstance(picture, (Path, str)) else "given"


def _opened(picture: Path | str | Image) -> Image:
    require_pillow()
    from PIL import Image

    if not isinstance(picture, (Path, str)):
        return _upright(picture)
    path = Path(picture)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice on palettes and metadata is for programmers
            # Warns of pictures so large that opening them may take all memory; whether a file is one is not known.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _upright(image)
    except FileNotFoundError:
        raise InputError(f"Picture {str(path)!r} does not exist: check the path.") from None
    except Exception as error:  # Pillow's readers raise nearly anything for damaged files
        if isinstance(error, OSError) and error.errno is not None:  # a folder, say, or no permission
            raise InputError(f"Picture {str(path)!r} cannot be read: {error.strerror}.") from None
        raise InputError(
            f"{path} cannot be read as a picture: expected a whole PNG, JPEG, WebP or GIF file of at most "
            f"{(Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} million pixels."
        ) from None


def _upright(image: Image) -> Image:
    """Return ``image`` turned as its EXIF data say; as it is where they are damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as above; the picture itself is whole
        return image


def _on_white(image: Image, name: str) -> Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel, which Pillow would cut off at 255
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"The picture {name} holds numbers that are not finite: expected brightnesses.")
        # 16 bits lead to 65535. The range of 32 bits is anybody's choice: what is brightest is white.
        highest = float(values.max())
        top = 65535.0 if image.mode.startswith("I") and highest <= 65535 else max(highest, 1e-12)
        image = Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))
    if image.mode == "LAB":  # has no transparency, and would become all transparent
        image = image.convert("RGB")
    image = image.convert("RGBA")
    scale = PICTURE_SIZE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    # Laid on white first: the colour of transparent pixels must not bleed into the others.
    resized = Image.alpha_composite(white, image).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), (255, 255, 255))
    square.paste(resized, ((PICTURE_SIZE - width) // 2, (PICTURE_SIZE - height) // 2))
    return square
