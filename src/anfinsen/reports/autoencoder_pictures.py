"""Rows that are images, as pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

MOST_PIXELS = 160  # of a picture's longer side; larger ones are made smaller


def picture_scale(rows: Sequence[Float[np.ndarray, "D"]]) -> tuple[float, float]:
    """Return the numbers that become black and white: the least and the greatest of ``rows``."""
    low, high = min(float(row.min()) for row in rows), max(float(row.max()) for row in rows)
    return low, high if high > low else low + 1.0


def picture_row(
    image: Float[np.ndarray, "H W C"], made: Float[np.ndarray, "H W C"], scale: tuple[float, float]
) -> tuple[str, str, str]:
    """Return image, reconstruction and their difference as addresses that hold the pictures themselves.

    Three channels are red, green and blue; of any other number the mean is shown in grey.
    """
    low, high = scale
    return _address(image, low, high), _address(made, low, high), _address(np.abs(made - image), 0.0, high - low)


def _address(values: Float[np.ndarray, "H W C"], low: float, high: float) -> str:
    pixels = picture_bytes(values, low, high)
    picture = Image.fromarray(pixels)
    if max(picture.size) > MOST_PIXELS:
        picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def picture_bytes(values: Float[np.ndarray, "H W C"], low: float, high: float) -> UInt8[np.ndarray, "H W *rgb"]:
    """Return pixels from 0 (for ``low`` and less) to 255 (for ``high`` and more)."""
    numbers = values.astype(np.float64)
    numbers = numbers if numbers.shape[2] == 3 else numbers.mean(2)
    pixels: UInt8[np.ndarray, "H W *rgb"] = (
        np.clip((numbers - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    )
    return pixels
