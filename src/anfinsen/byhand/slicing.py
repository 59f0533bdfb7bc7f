"""Which cells of a trace a workbook shows: those that the wanted results need, and which of them are formulas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anfinsen.common.errors import ConfigError

from .graph import Graph, Ids, Step
from .slots import FAMILIES, Labels
from .trace import Trace

Mask = NDArray[np.bool_]
# By family: how users ask for members, and from where these are counted.
_OPTIONS = {
    "token": ("--tokens", 1),
    "sequence": ("--rows", 1),
    "atom": ("atoms", 1),
    "head": ("--heads", 0),
    "channel": ("--channels", 0),
}


@dataclass(frozen=True)
class Slice:
    """What of a trace is wanted; None: everything.

    Attributes:
        tokens, sequences, atoms: members, from 0. Results and inputs of these are shown; what follows from other
            inputs alone enters as constants, which is exact as long as no weight is changed: no shown input changes
            them.
        heads: of attention; the others' results are held as constants, which is exact as long as no input is changed.
        channels: of the results.
        outputs: names of results.
        hold: hold every cell that is about a token (sequence, atom) outside of the slice, also if it follows from
            shown inputs. Smaller, but exact only as long as no input is changed.
    """

    tokens: tuple[int, ...] | None = None
    sequences: tuple[int, ...] | None = None
    atoms: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    channels: tuple[int, ...] | None = None
    outputs: tuple[str, ...] | None = None
    hold: bool = False

    def chosen(self, *families: str) -> dict[str, tuple[int, ...]]:
        """Return the members of those of ``families`` ("token", ...) that are restricted."""
        found = {family: getattr(self, f"{family}s") for family in families}
        return {family: members for family, members in found.items() if members is not None}


@dataclass(frozen=True, eq=False)
class Selection:
    """Cells of a workbook.

    Attributes:
        needed: cells that are shown. formula: cells that are formulas if shown (the others are inputs, weights or
            constants). held: constants that would change with shown inputs. outside: follow from inputs outside of the
            slice, or are such inputs. outputs: the wanted results by name, with other cells as -1.
    """

    needed: Mask
    formula: Mask
    held: Mask
    outside: Mask
    outputs: dict[str, Ids]

    @property
    def formulas(self) -> int:
        """Return the number of formula cells."""
        return int((self.needed & self.formula).sum())


def select(trace: Trace, wanted: Slice) -> Selection:
    """Return the cells that ``wanted`` needs.

    Raises:
        ConfigError: a result, token, head or channel does not exist, or nothing is left.
    """
    graph = trace.graph
    names = trace.outputs if wanted.outputs is None else wanted.outputs
    missing = [name for name in names if name not in trace.outputs]
    if missing:
        raise ConfigError(f"There is no result {missing[0]!r}: the block gives {', '.join(trace.outputs)}.")
    _check_members(graph, wanted, [graph.labels(trace.outputs[name]) for name in names])
    inside, outside = _dependence(graph, wanted)
    held = _held(graph, wanted) & inside
    formula = (inside | ~outside) & ~held
    for step in graph.steps:
        if step.kind != "formula":
            formula[step.start : step.stop] = False
    needed = np.zeros(graph.size, bool)
    outputs = {}
    for name in names:
        ids = trace.outputs[name]
        keep = _inside(graph.labels(ids), ids.shape, wanted.chosen("token", "sequence", "atom", "channel"))
        outputs[name] = np.where(keep, ids, -1).astype(np.int32)
        needed[ids[keep]] = True
    if not needed.any():
        raise ConfigError("Nothing of the block's results lies in the chosen tokens and channels: choose others.")
    _walk_back(graph.steps, needed, formula)
    return Selection(needed, formula, held, outside, outputs)


def _inside(labels: Labels, shape: tuple[int, ...], chosen: dict[str, tuple[int, ...]]) -> Mask:
    """Return which cells are about chosen members only."""
    result = np.ones(shape, bool)
    for family, members in chosen.items():
        for slot in FAMILIES[family]:
            if slot in labels:
                values = labels[slot]
                result &= np.isin(values, members) | (values < 0)
    return result


def _dependence(graph: Graph, wanted: Slice) -> tuple[Mask, Mask]:
    """Return which cells follow from inputs inside of the slice, and which from inputs outside of it."""
    inside, outside = np.zeros(graph.size, bool), np.zeros(graph.size, bool)
    chosen = wanted.chosen("token", "sequence", "atom")
    for step in graph.steps:
        span = slice(step.start, step.stop)
        if step.kind == "input":
            inside[span] = _inside(step.labels, step.shape, chosen).reshape(-1)
            outside[span] = ~inside[span]
        elif step.kind == "formula":
            inside[span] = _follow(step, inside).reshape(-1)
            # Without a restriction nothing is outside.
            outside[span] = _follow(step, outside).reshape(-1) if chosen else False
    return inside, outside


def _follow(step: Step, flags: Mask) -> Mask:
    result = np.zeros(step.shape, bool)
    for operand in step.operands:
        result |= flags[operand]
    if len(step.lines) == 1:
        result |= flags[step.lines[0]].any(-1)
    elif step.lines:
        left, right = (np.asarray(flags[lines].any(-1)) for lines in step.lines)
        result |= left[:, :, None] | right[:, None, :]
    return result


def _held(graph: Graph, wanted: Slice) -> Mask:
    families = ("head", "token", "sequence", "atom") if wanted.hold else ("head",)
    chosen = wanted.chosen(*families)
    held = np.zeros(graph.size, bool)
    for step in graph.steps if chosen else ():
        if step.kind == "formula":
            held[step.start : step.stop] = ~_inside(step.labels, step.shape, chosen).reshape(-1)
    return held


def _walk_back(steps: Iterable[Step], needed: Mask, formula: Mask) -> None:
    """Mark what formulas need, from the last step to the first."""
    for step in reversed(list(steps)):
        if step.kind != "formula":
            continue
        shown = (needed[step.start : step.stop] & formula[step.start : step.stop]).reshape(step.shape)
        if not shown.any():
            continue
        for operand in step.operands:
            needed[operand[shown]] = True
        if len(step.lines) == 1:
            needed[step.lines[0][shown]] = True
        elif step.lines:
            needed[step.lines[0][shown.any(2)]] = True
            needed[step.lines[1][shown.any(1)]] = True


def members_of(graph: Graph, family: str) -> int:
    """Return how many members of a family ("token", ...) the cells of a computation are about."""
    return max((_highest(step.labels, family) for step in graph.steps), default=-1) + 1


def _highest(labels: Labels, family: str) -> int:
    return max((int(labels[slot].max()) for slot in FAMILIES[family] if slot in labels), default=-1)


def _check_members(graph: Graph, wanted: Slice, results: Iterable[Labels]) -> None:
    counts = {"channel": max((_highest(labels, "channel") for labels in results), default=-1) + 1}
    for family, members in wanted.chosen("token", "sequence", "atom", "head", "channel").items():
        count = counts[family] if family in counts else members_of(graph, family)
        option, first = _OPTIONS[family]
        beyond = [member for member in members if member >= count]
        if beyond and not count:
            raise ConfigError(f"This block has no {family}s to choose from: leave {option} out.")
        if beyond:
            raise ConfigError(
                f"There is no {family} {beyond[0] + first} in this block: expected {first} to {count - 1 + first}."
            )
