"""Options of `anfinsen autoencode` on their way from text to objects."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from anfinsen.common.errors import ConfigError

if TYPE_CHECKING:
    from anfinsen.autoencoders.dataset import ReadOptions
    from anfinsen.autoencoders.variants import VariantConfig


def read_options(
    columns: str | None, target: str | None, array: str | None, images: tuple[str | None, str], stream: bool
) -> ReadOptions:
    """Return how data are to be read; ``images`` are the options --size and --colour.

    Raises:
        ConfigError: an option cannot be read.
    """
    from anfinsen.autoencoders.dataset import ReadOptions

    size, colour = images
    chosen = None
    if columns is not None:
        # As CSV, so that names may hold commas.
        try:
            chosen = tuple(cell.strip() for cell in next(csv.reader([columns]), []))
        except csv.Error:
            chosen = ()
        if not all(chosen) or not chosen:
            raise ConfigError(f"Option --columns is {columns!r}: expected names separated by commas.")
    return ReadOptions(
        columns=chosen,
        target=target,
        array=array,
        size=None if size is None else _size(size),
        colour=colour,
        stream=stream,
    )


def _size(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(
        part.isascii() and part.isdigit() and 0 < int(part) < 10**5 for part in parts
    ):
        raise ConfigError(f"Option --size is {text!r}: expected height x width, such as 32x32 (or 32x32x3).")
    return tuple(int(part) for part in parts)


def variant_config(training: dict[str, Any], device: str) -> VariantConfig:
    """Return what is to be trained; in ``training`` stand the options' values by name, None where not given.

    Raises:
        ConfigError: an option cannot be read, or has no such value.
    """
    from anfinsen.autoencoders.variants import VariantConfig

    given = {name: value for name, value in training.items() if value is not None}
    if "hidden" in given:
        given["hidden"] = _widths(given["hidden"])
    pairs = [_setting(text) for text in given.pop("set", None) or []]
    settings = dict(pairs)
    if len(settings) < len(pairs):
        raise ConfigError("Option --set gives a parameter twice: give each one once.")
    return VariantConfig(**given, device=device, settings=settings)


def _widths(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(f"Option --hidden is {text!r}: expected whole numbers separated by commas, such as 64,32.")
    return tuple(int(part) for part in parts)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise ConfigError(f"Option --set is {text!r}: expected NAME=VALUE, such as beta=4.")
    plain = {"none": None, "true": True, "false": False}
    if value.strip().lower() in plain:
        return name.strip(), plain[value.strip().lower()]
    try:
        parsed = json.loads(value)
    except ValueError:
        return name.strip(), value.strip()
    return name.strip(), tuple(parsed) if isinstance(parsed, list) else parsed
