"""A traced computation, cut to a slice and laid out: everything that workbooks and pages show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from anfinsen.common.errors import ConfigError, MemoryLimitError

from .formulas import Range, Writer, address
from .graph import Step
from .layout import SHEETS, Places, Tile, lay_out
from .slicing import Selection, Slice, members_of, select
from .trace import Trace

CellKind = Literal["input", "weight", "constant", "held", "formula", "output"]
"""input, weight: given. constant: follows from inputs that are not shown (and from weights). held: would change with
shown inputs, but lies outside of the slice. formula: an intermediate. output: a result (a formula, or a
constant that is one)."""

MAX_FORMULAS = 50_000
MAX_VALUES = 400_000  # of all sheets together: what keeps a file below 10 MB


@dataclass(frozen=True, eq=False)
class Plan:
    """What is shown, where, and by which formula.

    Attributes:
        trace, wanted, selection: what it is made from. tiles: in order of sheets' rows. places: of all shown cells.
    """

    trace: Trace
    wanted: Slice
    selection: Selection
    tiles: tuple[Tile, ...]
    places: Places = field(repr=False)
    writer: Writer = field(repr=False)
    _outputs: frozenset[int] = field(repr=False)

    def kind(self, cell: int) -> CellKind:
        """Return what ``cell`` is."""
        if cell in self._outputs:
            return "output"
        step = self.trace.graph.step_of(cell)
        # An input outside of the slice would not be followed by everything that stands here: it is shown as a number.
        if step.kind == "input" and self.selection.outside[cell]:
            return "constant"
        if step.kind != "formula":
            return step.kind
        if self.selection.formula[cell]:
            return "formula"
        return "held" if self.selection.held[cell] else "constant"

    def is_formula(self, cell: int) -> bool:
        """Return whether ``cell`` has a formula."""
        return bool(self.selection.formula[cell])

    def value(self, cell: int) -> float:
        """Return what the model computed."""
        step = self.trace.graph.step_of(cell)
        return float(step.values.reshape(-1)[cell - step.start])

    def formula(self, cell: int) -> str:
        """Return the formula of a formula cell, with its equals sign."""
        return f"={self.writer.formula(cell)}"

    def sources(self, cell: int) -> tuple[Range, ...]:
        """Return the ranges that the formula of ``cell`` refers to."""
        return self.writer.sources(cell)

    def address(self, cell: int) -> tuple[str, str] | None:
        """Return sheet and address of ``cell``; None if it is written into formulas as a number."""
        index = int(self.places.index(np.array([cell], np.int32))[0])
        if index >= self.places.ids.size or self.places.ids[index] != cell or self.places.sheet[index] < 0:
            return None
        where = address(int(self.places.row[index]), int(self.places.column[index]))
        return SHEETS[self.places.sheet[index]], where

    def origin(self, cell: int) -> tuple[str, tuple[int, ...]]:
        """Return the name of the input or weight (or the step's) that ``cell`` is of, and its element there."""
        step = self.trace.graph.step_of(cell)
        element = np.unravel_index(cell - step.start, step.shape) if step.shape else ()
        return step.name, tuple(int(axis) for axis in element)

    def cells(self, *kinds: CellKind) -> Iterator[int]:
        """Yield the shown cells of these kinds, in the order of the tiles."""
        for tile in self.tiles:
            for cell in tile.cells.reshape(-1).tolist():
                if cell >= 0 and self.kind(cell) in kinds:
                    yield cell

    def steps(self) -> Iterator[tuple[int, Step, tuple[Tile, ...]]]:
        """Yield the shown steps with formulas, numbered from 1, and their tiles."""
        grouped: dict[int, list[Tile]] = {}
        for tile in self.tiles:
            if tile.sheet == "Steps":
                grouped.setdefault(tile.step.number, []).append(tile)
        for number, tiles in enumerate(grouped.values(), start=1):
            yield number, tiles[0].step, tuple(tiles)


def make_plan(trace: Trace, wanted: Slice | None = None) -> Plan:
    """Cut ``trace`` to ``wanted`` and lay it out.

    Raises:
        ConfigError: the slice names what does not exist, or has no formulas.
        MemoryLimitError: it would have more than 50,000 formulas or 10 MB; the message says what would fit.
    """
    wanted = wanted or Slice()
    selection = select(trace, wanted)
    if not selection.formulas:
        raise ConfigError(
            f"This slice of {trace.title or trace.block or 'the function'} has no formulas, as nothing in it is "
            "computed from the inputs shown: choose another block, or other tokens and channels."
        )
    if not _fits(selection):
        raise MemoryLimitError(_too_large(trace, wanted, selection))
    tiles, places = lay_out(trace.graph, selection)
    outputs = frozenset(int(cell) for ids in selection.outputs.values() for cell in ids[ids >= 0].tolist())
    writer = Writer(trace.graph, selection, places)
    return Plan(trace, wanted, selection, tiles, places, writer, outputs)


def plan_that_fits(trace: Trace, wanted: Slice, counts: Sequence[int] = (3, 2, 1)) -> Plan:
    """Return the plan of the first tokens, as many of ``counts`` as there are and fit; ``wanted`` says the rest.

    Raises:
        ConfigError, MemoryLimitError: as :func:`make_plan`; nothing fits.
    """
    tokens = members_of(trace.graph, "token")
    if not tokens:
        return make_plan(trace, wanted)
    for count in (count for count in counts[:-1] if count <= tokens):
        smaller = replace(wanted, tokens=tuple(range(count)))
        if _fits(select(trace, smaller)):
            return make_plan(trace, smaller)
    return make_plan(trace, replace(wanted, tokens=tuple(range(counts[-1]))))


def _fits(selection: Selection) -> bool:
    # Formula cells stand in the file twice: with the model's value beside them.
    return selection.formulas <= MAX_FORMULAS and int(selection.needed.sum()) + selection.formulas <= MAX_VALUES


def _too_large(trace: Trace, wanted: Slice, selection: Selection) -> str:
    found = f"{selection.formulas:,} formulas and {int(selection.needed.sum()):,} numbers"
    limits = f"at most {MAX_FORMULAS:,} formulas and {MAX_VALUES:,} numbers fit a workbook"
    for smaller, words in _smaller(trace, wanted):
        with suppress(ConfigError):  # fewer tokens or channels than that
            if _fits(select(trace, smaller)):
                return f"This slice has {found}, and {limits}: {words} would fit."
    return f"This slice has {found}, and {limits}: choose a smaller block, or fewer tokens and channels."


def _smaller(trace: Trace, wanted: Slice) -> Iterator[tuple[Slice, str]]:
    """Yield smaller and smaller slices, and how the user asks for them."""
    if _has(trace, "token"):
        tokens = wanted.tokens or tuple(range(8))
        for count in (n for n in (6, 4, 3, 2, 1) if n < len(tokens) or wanted.tokens is None):
            words = ",".join(str(token + 1) for token in tokens[:count])
            yield replace(wanted, tokens=tokens[:count]), f"--tokens {words}"
        if not wanted.hold:
            words = ",".join(str(token + 1) for token in tokens[:2])
            yield replace(wanted, tokens=tokens[:2], hold=True), f"--tokens {words} --hold"
    channels = wanted.channels or tuple(range(16))
    for count in (n for n in (8, 4, 2, 1) if n < len(channels) or wanted.channels is None):
        words = ",".join(str(channel) for channel in channels[:count])
        yield replace(wanted, channels=channels[:count]), f"--channels {words}"


def _has(trace: Trace, slot_family: str) -> bool:
    slots = {"token": "i"}[slot_family]
    return any(slots in step.labels for step in trace.inputs.values())
