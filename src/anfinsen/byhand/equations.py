"""What each step computes, as an equation of the steps, inputs and weights that it uses."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from .graph import Graph, Ids, Step
from .tracer import literal

_WORDS = (
    (r"1/\(1\+EXP\(-MAX\(([^,]*),-700\)\)\)", r"1 / (1 + exp(−\1))"),
    (r"/\(1\+EXP\(-MAX\(([^,]*),-700\)\)\)", r" / (1 + exp(−\1))"),
    (r"DEVSQ\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"Σ (\1 − mean)²"),
    (r"SUMSQ\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"Σ \1²"),
    (r"\bAVERAGE\(", "mean("),
    (r"\bSUM\(", "Σ ("),
    (r"\bSQRT\(", "√("),
    (r"\b(EXP|LN|MAX|MIN|ABS|TANH|SIN|COS|ACOS|ATAN|SIGN|IF)\(", lambda match: f"{match.group(1).lower()}("),
    (r"\*", " · "),
    (r"(?<=[\w)⟧²])(?<!\dE)([-+/])(?=[\w(√Σ⟦])", r" \1 "),
    (r"(?<!E)-", "−"),
)  # fmt: skip


def equation(graph: Graph, step: Step, numbers: Mapping[int, int]) -> str:
    """Return, say, ``exp([9] − [10])`` for the step that takes steps number 9 and 10; "" for inputs and weights.

    Args:
        graph: of the step. step: any. numbers: by ``Step.number``, how the reader counts the steps.
    """
    if step.kind != "formula":
        return ""
    operands = [_source(graph, ids, numbers) for ids in step.operands]
    words = {}
    if len(step.lines) == 1:
        words["line"] = _source(graph, step.lines[0], numbers)
    elif step.lines:
        left, right = (_source(graph, lines, numbers) for lines in step.lines)
        words["dot"] = f"Σ {left} · {right}"
        words["square"] = f"Σ ({left} − {right})²"
    # Names go in last, so that the words of the template alone are rewritten.
    marks = [f"⟦{n}⟧" for n in range(len(operands) + len(words))]
    text = step.template.format(*marks[: len(operands)], **dict(zip(words, marks[len(operands) :], strict=True)))
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    for mark, name in zip(marks, (*operands, *words.values()), strict=True):
        text = text.replace(mark, name)
    return text


def _source(graph: Graph, ids: Ids, numbers: Mapping[int, int]) -> str:
    """Return the names of the steps that cells come from."""
    corners = ids.reshape(-1)[np.linspace(0, ids.size - 1, min(ids.size, 64)).astype(int)]
    names = []
    for cell in dict.fromkeys(graph.step_of(int(cell)).number for cell in corners):
        step = graph.steps[cell]
        if step.kind == "constant":
            name = literal(float(step.values.reshape(-1)[0])) if step.size == 1 else "constants"
        elif step.kind == "formula":
            name = f"[{numbers[step.number]}]" if step.number in numbers else "outside"
        else:
            name = step.name
        names.append(name + _part(graph, ids, step))
    return " or ".join(dict.fromkeys(names[:3]))


def _part(graph: Graph, ids: Ids, step: Step) -> str:
    """Return ".k" where the cells are one named part of a step that has several."""
    if "p" not in step.labels or step.kind == "weight":
        return ""
    parts = np.unique(step.labels["p"])
    found = graph.labels(ids[(0,) * max(0, ids.ndim - 2)]).get("p")
    if parts.size < 2 or found is None or found.size != 1:
        return ""
    return f".{graph.names.of('p', int(found.reshape(-1)[0]))}"
