"""Strict JSON and YAML: no duplicate keys, no aliases, no surprises in how a plain word is typed."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any, NoReturn

import yaml

from ..common.errors import JobError
from ..common.text import shown

MAX_YAML_BYTES = 8 * 2**20
"""Largest YAML job, in characters; long alignments belong into files of their own."""
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings that is read."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse_json(text: str, where: str) -> Any:
    """Return the value of JSON ``text``.

    Raises:
        JobError: it is not JSON, repeats a key, or holds NaN, an infinity or broken Unicode.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _mapping_of(pairs, where),
            parse_constant=lambda name: _refuse_constant(name, where),
        )
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise JobError(f"{where} is not valid JSON: {reason} at line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise _too_deep(where) from error
    except ValueError as error:  # integers of thousands of digits
        raise JobError(f"{where} is not valid JSON: it holds a number that is too long to read.") from error
    _check_values(value, where)
    return value


def parse_yaml(text: str, where: str) -> Any:
    """Return the value of YAML ``text``: lists, mappings with string keys, and plain values.

    Words are typed by YAML 1.2's core rules, narrowed: ``true`` and ``false``, ``null``, ``~`` and nothing, decimal
    integers without leading zeros, and decimal fractions. Everything else is text, so that the ligand NO, the
    code 004, the code 1E5 and the address 1:15:20 stay what they are. A tab counts as spaces up to the next column
    that 8 divides.

    Raises:
        JobError: it is not YAML, repeats a key, uses anchors, aliases or tags, or holds several documents.
    """
    if len(text) > MAX_YAML_BYTES:
        raise JobError(
            f"{where} is a YAML file of {len(text)} characters: at most {MAX_YAML_BYTES} are read; give long "
            "alignments as files of their own."
        )
    try:
        loader = _Loader(text.expandtabs(8))
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise JobError(f"{where} is not valid YAML: {_yaml_reason(error)}.") from error
    except RecursionError as error:
        raise _too_deep(where) from error
    _check_values(value, where)
    return value


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, tags, duplicate keys, and YAML 1.1's typing of words."""

    # Own table: the class attribute is shared with SafeLoader otherwise.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own protocol

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _problem("aliases (*name) are not read: write the value out", self._next_event())
        event = self._next_event()
        if getattr(event, "anchor", None) is not None:
            raise _problem("anchors (&name) are not read: write the value out", event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _problem(f"the tag {shown(str(tag), 30)} is not read: write a plain value", event)
        return super().compose_node(parent, index)

    def _next_event(self) -> Any:
        return self.peek_event()  # type: ignore[no-untyped-call]  # not typed in PyYAML's stubs

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not a word", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key_node.value, 30)} is given twice", key_node.start_mark
                )
            seen[key_node.value] = self.construct_object(value_node, deep=True)
        return seen

    def construct_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > 20:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        return int(node.value)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, text, event.start_mark)


def _yaml_reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        problem = (error.problem or error.context or "it cannot be parsed").replace("\n", " ")
        mark = error.problem_mark or error.context_mark
        return f"{problem} at line {mark.line + 1}, column {mark.column + 1}" if mark else problem
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {shown(str(error.character))} at position {error.position} is not allowed"
    return " ".join(str(error).split())


def _mapping_of(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JobError(f"{where} gives the key {shown(twice)} twice in one object: remove one of them.")
    return mapping


def _refuse_constant(name: str, where: str) -> NoReturn:
    raise JobError(f"{where} holds {name}, which is not a JSON number.")


def _too_deep(where: str) -> JobError:
    return JobError(f"{where} is nested more than {MAX_DEPTH} levels deep: a job needs fewer than ten.")


def _check_values(value: Any, where: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep(where)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, where, depth + 1)
            _check_values(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_values(item, where, depth + 1)
    elif isinstance(value, str) and ("\x00" in value or _SURROGATE.search(value)):
        raise JobError(f"{where} holds text that is not valid Unicode, or a NUL character: {shown(value)}.")
