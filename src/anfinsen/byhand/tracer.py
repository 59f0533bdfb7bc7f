"""The dispatch mode that turns tensor operations into steps of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode

from anfinsen.common.errors import ConfigError, NonFiniteError

from .calls import LOWER, Call, base_name, changed_by, keep_double, names_rows, places_of, tensors_of
from .graph import INFINITY, Graph, Ids, Kind, Step
from .slots import Labels, along_lines, axis_labels, known_sizes, merge, product_labels

# Views that PyTorch does not declare as such.
_VIEWS = {"_unsafe_view", "_reshape_alias", "lift_fresh", "squeeze_", "unsqueeze_", "t_", "transpose_"}
_READS = {"_local_scalar_dense", "equal"}  # numbers that Python code reads, to choose its way by
# Operations that take only the shape of their argument.
_FACTORIES = {"ones_like", "zeros_like", "full_like", "empty_like", "rand_like", "randn_like"}

Operand = Tensor | Ids | float | int
Handler = Callable[["Tracer", "Call"], Ids | tuple[Ids | None, ...]]
"""Makes the steps of one operation and returns the cells of its results."""


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch has no types here
    """While it is active, every operation on tensors that depend on registered ones is recorded.

    Cell numbers are kept for each storage, so whatever is a view in PyTorch is one here, and in-place operations too.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.graph = graph
        self.scopes: list[str] = []
        self.titles: list[str] = []
        self._cells: dict[int, Tensor] = {}
        self._constants: set[int] = set()
        self._kept: list[Any] = []  # storages whose address must not be given to others while this lives
        self._before: dict[int, Ids] = {}
        self._choices: set[int] = set()  # storages of positions that were found by comparing (of the largest element)

    # Sources

    def register(self, tensor: Tensor, kind: Kind, name: str, axes: Sequence[str | None] | Labels = ()) -> Step:
        """Make the elements of a contiguous ``tensor`` cells that come from outside of the computation."""
        values = _numbers(tensor, name)
        labels = dict(axes) if isinstance(axes, dict) else axis_labels(values.shape, axes or (None,) * values.ndim)
        step = self.graph.add(kind, name, values, labels, scope=self.scope)
        self._write(tensor, np.arange(step.start, step.stop, dtype=np.int32).reshape(step.shape))
        if kind == "constant":
            self._constants.add(_key(tensor))
        else:
            self._constants.discard(_key(tensor))
        return step

    @property
    def scope(self) -> str:
        """Return the name of the module that is running."""
        return self.scopes[-1] if self.scopes else ""

    @contextmanager
    def titled(self, title: str) -> Iterator[None]:
        """Put ``title`` before the names of the steps recorded inside."""
        self.titles.append(title)
        try:
            yield
        finally:
            self.titles.pop()

    def depends(self, tensor: Tensor) -> bool:
        """Return whether ``tensor`` follows from a registered input or weight."""
        key = _key(tensor)
        return key in self._cells and key not in self._constants

    def ids(self, value: Operand) -> Ids:
        """Return the cells of a tensor, as they were before the operation that is being recorded."""
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, Tensor):
            known = self._before.get(id(value))
            return self._look_up(value) if known is None else known
        raise TypeError(f"a number has no cells: {value}")

    def _look_up(self, tensor: Tensor) -> Ids:
        key = _key(tensor)
        if key not in self._cells:
            self._register_storage(tensor)
        return self._cells[key].as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).numpy()

    def _register_storage(self, tensor: Tensor) -> None:
        """Make an unknown tensor (a mask, a number made on the way) a constant."""
        if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size():
            whole = tensor
        else:
            count = tensor.untyped_storage().nbytes() // tensor.element_size()
            whole = tensor.as_strided((count,), (1,), 0)
        # Of a constant's axes only those are known that are as long as there are tokens (or what else has names).
        slots = known_sizes((None,) * whole.dim(), whole.shape, self.graph.names)
        labels = {slot: values for slot, values in axis_labels(whole.shape, slots).items() if slot in slots}
        self.register(whole, "constant", "constant", labels)

    def _write(self, tensor: Tensor, ids: Ids) -> None:
        """Say that ``tensor`` now holds the cells ``ids``; views taken before keep theirs."""
        key = _key(tensor)
        if key in self._cells:
            flat = self._cells[key].clone()
        else:
            count = tensor.untyped_storage().nbytes() // tensor.element_size()
            flat = torch.full((count,), -1, dtype=torch.int32)
            self._kept.append(tensor.untyped_storage())
        places = flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        places.copy_(torch.from_numpy(np.array(ids, dtype=np.int32)).reshape(places.shape))
        self._cells[key] = flat

    # Steps

    def map(self, name: str, template: str, values: Tensor, *operands: Operand, labels: Labels | None = None) -> Ids:
        """Record an element-wise operation. Numbers among ``operands`` are written into the formula."""
        arrays: list[Ids] = []
        written: list[str] = []
        for operand in operands:
            if isinstance(operand, (Tensor, np.ndarray)):
                written.append(f"{{{len(arrays)}}}")
                arrays.append(np.broadcast_to(self.ids(operand), tuple(values.shape)))
            else:
                written.append(literal(operand))
        if labels is None:
            order = sorted(arrays, key=_spread, reverse=True)
            found = [self.graph.labels(ids) for ids in order]
            labels = merge(found, values.dim())
            if any("p" not in each for each, ids in zip(found, order, strict=True) if _spread(ids) == values.numel()):
                labels.pop("p", None)  # a part with something else is no longer that part
        masks: NDArray[np.bool_] | bool = False
        if not torch.isfinite(values).all():
            shape = tuple(values.shape)
            low = [self._low(operand, shape) for operand in operands]  # where operands are a mask's -inf
            template = _kept_low(template, [n for n, found in enumerate(low) if found.any()])
            masks = np.asarray(np.logical_or.reduce([np.zeros(shape, bool), *low]), bool)
        return self._add(name, template.format(*written), values, labels, operands=arrays, masks=masks)

    def _low(self, operand: Operand, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        if isinstance(operand, (Tensor, np.ndarray)):
            return np.asarray(self.graph.values(np.broadcast_to(self.ids(operand), shape)) <= -INFINITY)
        return np.full(shape, operand <= -INFINITY)

    def reduce(self, name: str, template: str, values: Tensor, lines: Ids, *operands: Operand) -> Ids:
        """Record an operation on each row of ``lines`` [*shape of values, length]."""
        if not lines.shape[-1]:
            return self.ids(values.detach().clone())  # of nothing: a number
        labels = along_lines(self.graph.labels(lines), lines.ndim)
        arrays = [np.broadcast_to(self.ids(operand), tuple(values.shape)) for operand in operands]
        masks = template.startswith(("MAX(", "MIN("))
        return self._add(name, template, values, labels, operands=arrays, lines=[lines], masks=masks)

    def dot(self, name: str, values: Tensor, left: Ids, right: Ids, *plus: Operand) -> Ids:
        """Record left · right (+ plus): [batch, m, length] and [batch, n, length] give [batch, m, n]."""
        if not left.shape[-1]:
            return np.broadcast_to(self.ids(plus[0] if plus else values.detach().clone()), tuple(values.shape))
        labels = product_labels(
            along_lines(self.graph.labels(left), left.ndim), along_lines(self.graph.labels(right), right.ndim)
        )
        labels.pop("p", None)  # only weights say which part (q, k, v) their product is
        if right.size and self.graph.step_of(int(right.reshape(-1)[0])).kind == "weight":
            part = along_lines(self.graph.labels(right), right.ndim).get("p")
            labels |= {} if part is None else {"p": part[:, None, :]}
        arrays = [np.broadcast_to(self.ids(operand), tuple(values.shape)) for operand in plus]
        template = "{dot}" + "".join(f"+{{{n}}}" for n in range(len(arrays)))
        return self._add(name, template, values, labels, operands=arrays, lines=[left, right])

    def pairwise(self, name: str, template: str, values: Tensor, left: Ids, right: Ids) -> Ids:
        """Record an operation on each row of ``left`` with each row of ``right``, as :meth:`dot` does."""
        if not left.shape[-1]:
            return self.ids(values.detach().clone())
        labels = product_labels(
            along_lines(self.graph.labels(left), left.ndim), along_lines(self.graph.labels(right), right.ndim)
        )
        return self._add(name, template, values, labels, lines=[left, right])

    def _add(
        self,
        name: str,
        template: str,
        values: Tensor,
        labels: Labels,
        *,
        operands: Sequence[Ids] = (),
        lines: Sequence[Ids] = (),
        masks: NDArray[np.bool_] | bool = False,
    ) -> Ids:
        step = self.graph.add(
            "formula",
            ": ".join([*self.titles, name]),
            _numbers(values, name),
            labels,
            masks=masks,
            scope=self.scope,
            template=template,
            operands=operands,
            lines=lines,
            backward=torch._C._current_autograd_node() is not None,
        )
        return np.arange(step.start, step.stop, dtype=np.int32).reshape(step.shape)

    # Dispatch

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and record it if it works on recorded tensors."""
        from .operations import handler_of

        keywords = keep_double(dict(kwargs or {}))
        tensors = list(tensors_of((args, list(keywords.values()))))
        packet = func._schema.name.split("::")[1]
        traced = any(self.depends(tensor) for tensor in tensors)
        if func.is_view or packet in _VIEWS:
            outs = func(*args, **keywords)
            here = {_key(tensor) for tensor in tensors}
            if not traced or all(_key(out) in here for out in tensors_of(outs)):
                return outs
            return self._decomposed(func, args, keywords, composite=True)  # it had to copy
        made = packet in _FACTORIES | _READS or packet.startswith("new_")
        if not made and any(_key(tensor) in self._choices for tensor in tensors):
            raise ConfigError(self._unfollowed(func))
        if made or not traced:
            outs = func(*args, **keywords)
            if "empty" in packet:
                outs.zero_()  # what happens to stand in memory must not get into formulas
            for changed in changed_by(func, args, keywords):
                self._forget(changed)
            return outs
        for tensor in tensors:
            _check_real(tensor, str(func))
        name, changed_argument = base_name(func, args, keywords)
        if any(self.depends(tensor) for tensor in places_of(func, args, keywords)) and not names_rows(
            name, func, args, keywords
        ):
            raise ConfigError(self._unfollowed(func))
        handler = handler_of(name, func.namespace)
        if handler is None:
            return self._decomposed(func, args, keywords)
        written = changed_by(func, args, keywords)
        known = [t for t in tensors if t.is_floating_point() or self.depends(t)]
        self._before = {id(tensor): self._look_up(tensor) for tensor in (*known, *written)}
        target = keywords.pop("out", None)
        outs = func(*args, **keywords) if target is None else func(*args, **keywords, out=target)
        call = Call(name, func, args, keywords, outs)
        cells = handler(self, call)
        call.check_read()
        self._before = {}
        for out, ids in zip(call.outs, cells if isinstance(cells, tuple) else (cells,), strict=False):
            self._follow(func, out, ids)
        return outs if changed_argument is None else changed_argument

    def _follow(self, func: Any, out: Any, ids: Ids | None) -> None:
        """Say which cells a result has; None: it has none, and nothing may be computed from it."""
        if not isinstance(out, Tensor):
            return
        if out.dtype in LOWER and ids is not None:
            raise ConfigError(
                f"Operation {func} (in {self.scope or 'the block'}) writes into a tensor of {out.dtype}, which "
                "would lose digits that formulas keep: make it inside of the function, or of float64."
            )
        self._constants.discard(_key(out))
        if ids is None:
            self._choices.add(_key(out))
            self._kept.append(out.untyped_storage())
        else:
            self._write(out, np.broadcast_to(ids, tuple(out.shape)))

    def _unfollowed(self, func: Any) -> str:
        return (
            f"Operation {func} (in {self.scope or 'the block'}) picks elements at positions that the inputs decide, "
            "which formulas could not follow when an input is changed: choose a smaller block without it."
        )

    def _decomposed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, composite: bool = False) -> Any:
        """Take an operation apart; ``composite``: as PyTorch's own kernel does it."""
        rule = None if composite else decomposition_table.get(func)
        with self:
            result = func.decompose(*args, **kwargs) if rule is None else rule(*args, **kwargs)
        if result is NotImplemented:
            raise ConfigError(
                f"Operation {func} (in {self.scope or 'the block'}) cannot be written as spreadsheet formulas yet: "
                "choose a smaller block without it."
            )
        return result

    def _forget(self, tensor: Tensor) -> None:
        """A constant was written to by an operation on constants: its cells are stale."""
        key = _key(tensor)
        if key in self._constants:
            self._constants.discard(key)
            del self._cells[key]


class KeepDouble(TorchDispatchMode):  # type: ignore[no-untyped-call]  # likewise
    """What models cast to single precision on purpose stays in double precision."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run ``func``."""
        outs = func(*args, **keep_double(dict(kwargs or {})))
        return outs.zero_() if "empty" in func._schema.name and isinstance(outs, Tensor) else outs


def literal(number: float | int) -> str:
    """Return ``number`` as formulas write it, all digits, in brackets if negative.

    Raises:
        NonFiniteError: it is NaN, which spreadsheets do not have.
    """
    if math.isnan(number):
        raise NonFiniteError("A formula would hold NaN, which spreadsheets do not have: choose a smaller block.")
    value = min(max(float(number), -INFINITY), INFINITY)
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value).upper()
    return f"({text})" if value < 0 else text


def _numbers(tensor: Tensor, name: str) -> NDArray[np.float64]:
    """Return the values of a tensor, as they are now."""
    _check_real(tensor, name)
    values: NDArray[np.float64] = tensor.detach().to(torch.float64).numpy().copy()
    return values


def _check_real(tensor: Tensor, name: str) -> None:
    if tensor.is_complex():
        raise ConfigError(f"{name!r} holds complex numbers, which spreadsheet formulas do not have: use real ones.")


def _kept_low(template: str, low: list[int]) -> str:
    """Return ``template`` such that -inf, which cells hold as a number, stays that number when it is scaled.

    Args:
        template: of an element-wise operation. low: which operands are -inf somewhere.
    """
    sums = template in ("{0}+{1}", "{0}-{1}") and len(low) < 2
    if not low or sums or template.startswith(("IF(", "MAX(", "MIN(")):
        return template
    smallest = ",".join(f"{{{n}}}" for n in low)
    return f"IF(MIN({smallest})<={literal(-INFINITY)},{literal(-INFINITY)},{template})"


def _spread(ids: Ids) -> int:
    """Return over how many cells an operand spreads without counting broadcast axes."""
    return int(np.prod([size for size, stride in zip(ids.shape, ids.strides, strict=True) if stride != 0], initial=1))


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
