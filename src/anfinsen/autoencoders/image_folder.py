"""A folder of PNG and JPEG images as rows of numbers from 0 to 1."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from anfinsen.common.errors import ConfigError, InputError

from .dataset import BYTE_RANGE, DataSet, ReadOptions, checked, too_large

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # no others are opened, whatever a file is called
MOST_NUMBERS = 2**24  # of an image: a network for larger ones fits into no memory
MODES = {"grey": "L", "rgb": "RGB"}  # Pillow's names


def read_images(folder: Path, options: ReadOptions) -> DataSet:
    """Return the images in ``folder`` and its subfolders, one row each, in the order of their paths.

    Where images stand in subfolders, the subfolder's name is the label. Numbers are divided by 255 as they are read.

    Raises:
        InputError: there are no images, one cannot be read, they differ in size or colours, or are too large.
        ConfigError: the size that is asked for is none of an image.
    """
    if options.size is not None and (len(options.size) != 2 or options.size[0] * options.size[1] > MOST_NUMBERS):
        raise ConfigError(
            f"Option --size is {'x'.join(map(str, options.size))}: expected height x width, such as 32x32, of at most "
            f"{MOST_NUMBERS:,} pixels (channels are chosen with --colour)."
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and _is_shown(path, folder))
    if not files:
        raise InputError(f"{folder} holds no images: expected files ending in {', '.join(SUFFIXES)}.")
    digest, images = hashlib.sha256(), []
    names = [path.relative_to(folder).as_posix() for path in files]
    for path, name in zip(files, names, strict=True):
        content = _bytes(path)
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
        images.append(_read(path, options))
        _check_alike(images[0], images[-1], files[0], path)
        if len(images) == 1 and (images[0].size > MOST_NUMBERS or too_large(images[0].nbytes * len(files))):
            raise InputError(
                f"The {len(files):,} images of {folder} do not fit into memory: make them smaller with --size."
            )
    height, width, channels = images[0].shape
    parents = [Path(name).parent.as_posix() for name in names]
    labelled = len(set(parents)) > 1
    data = DataSet(
        path=folder,
        sha256=digest.hexdigest(),
        values=np.stack(images).reshape(len(images), -1),
        columns=pixel_names(height, width, channels),
        scale=BYTE_RANGE,
        row_names=tuple(names),
        target="folder" if labelled else "",
        labels=np.array(parents) if labelled else None,
        image_shape=(height, width, channels),
    )
    return checked(data, options)


def pixel_names(height: int, width: int, channels: int) -> tuple[str, ...]:
    """Return names of the numbers of an image: its row, column and channel, from 0."""
    return tuple(
        f"pixel_{row}_{column}" + (f"_{channel}" if channels > 1 else "")
        for row in range(height)
        for column in range(width)
        for channel in range(channels)
    )


def _is_shown(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The image {path} cannot be read: {error.strerror or error}.") from error


def _read(path: Path, options: ReadOptions) -> UInt8[np.ndarray, "H W C"]:
    wanted = MODES.get(options.colour)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice on palettes and metadata is for programmers
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                opened.load()
                image: Image.Image = ImageOps.exif_transpose(opened)  # as it is seen, however the camera was held
                if image.mode.startswith(("I", "F")):
                    raise InputError(f"The image {path} has more than 8 bits a pixel: save it with 8 bits.")
                if wanted is None and image.mode not in MODES.values():
                    raise InputError(
                        f"The image {path} has mode {image.mode}, neither grey nor RGB: turn all images into one with "
                        "--colour grey or --colour rgb."
                    )
                if wanted is not None:
                    image = image.convert(wanted)
                if options.size is not None:
                    height, width = options.size[:2]
                    image = image.resize((width, height), Image.Resampling.BOX)
                pixels = np.asarray(image, dtype=np.uint8)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"The image {path} is too large: make it smaller.") from error
    # Pillow's readers raise nearly anything for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise InputError(f"The image {path} cannot be read: it is damaged, or no PNG or JPEG image.") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _check_alike(
    first: UInt8[np.ndarray, "H W C"], image: UInt8[np.ndarray, "h w c"], first_path: Path, path: Path
) -> None:
    if first.shape[:2] != image.shape[:2]:
        sizes = [f"{each.shape[0]}x{each.shape[1]}" for each in (first, image)]
        raise InputError(
            f"The images differ in size: {first_path.name} is {sizes[0]}, {path.name} is {sizes[1]} (height x width): "
            "bring them to one size with --size, such as --size 32x32."
        )
    if first.shape[2] != image.shape[2]:
        kinds = ["grey" if each.shape[2] == 1 else "in colour" for each in (first, image)]
        raise InputError(
            f"The images differ in colours: {first_path.name} is {kinds[0]}, {path.name} is {kinds[1]}: turn all into "
            "one with --colour grey or --colour rgb."
        )
