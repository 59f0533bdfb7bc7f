"""Strict configuration: frozen dataclasses to and from plain mappings; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import ConfigError

ConfigT = TypeVar("ConfigT")


def to_mapping(config: Any) -> dict[str, Any]:
    """Return ``config`` as nested plain mappings (JSON- and YAML-ready)."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_mapping(kind: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """Build the dataclass ``kind`` from ``values``; keys left out keep their defaults.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type; the message names the key's full path.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(typing.cast(Any, kind))}
    for key in values:
        if key not in known:
            name = _join(where, str(key))
            raise ConfigError(f"Unknown setting {name!r}: expected one of {', '.join(sorted(known))}.")
    arguments = {key: _convert(hints[key], value, _join(where, key)) for key, value in values.items()}
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Invalid settings{f' in {where}' if where else ''}: {error}.") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a mapping", value)
        return from_mapping(hint, value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise _wrong(where, "one of " + ", ".join(map(repr, typing.get_args(hint))), value)
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, where)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(_convert(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise _wrong(where, hint.__name__, value)
    return value


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is not type(None):
            try:
                return _convert(option, value, where)
            except ConfigError as error:
                errors.append(error)
    raise errors[0]


def _wrong(where: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"Setting {where!r} is {value!r}: expected {expected}.")
