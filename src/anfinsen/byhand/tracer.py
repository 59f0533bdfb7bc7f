"""The dispatch mode that turns tensor operations into steps of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode

from anfinsen.common.errors import ConfigError

from .graph import INFINITY, Graph, Ids, Kind, Step
from .slots import Labels, along_lines, axis_labels, known_sizes, merge, product_labels

# Views that PyTorch does not declare as such.
_VIEWS = {"_unsafe_view", "_reshape_alias", "lift_fresh", "squeeze_", "unsqueeze_", "t_", "transpose_"}
# Operations that take only the shape of their argument.
_READS = {"_local_scalar_dense", "equal"}  # numbers that Python code reads, to choose its way by
_FACTORIES = {"ones_like", "zeros_like", "full_like", "empty_like", "rand_like", "randn_like"}

Operand = Tensor | Ids | float | int
Handler = Callable[["Tracer", "Call"], Ids | tuple[Ids | None, ...]]
"""Makes the steps of one operation and returns the cells of its results."""


class Call:
    """One operation with its arguments and results.

    Attributes:
        name: such as "add" or "sum.dim_IntList"; those that write in place are named as those that do not.
        args, kwargs: as given. out: the first result; outs: all.
    """

    def __init__(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outs: Any) -> None:
        self.name, self.args = name, args
        self.outs: tuple[Any, ...] = tuple(outs) if isinstance(outs, (tuple, list)) else (outs,)
        # Arguments left out, by name, with their defaults.
        self.kwargs = {
            argument.name: argument.default_value
            for argument in func._schema.arguments[len(args) :]
            if argument.has_default_value()
        } | kwargs
        self._names = [argument.name for argument in func._schema.arguments]

    @property
    def out(self) -> Tensor:
        """Return the first result."""
        result: Tensor = self.outs[0]
        return result

    def get(self, position: int) -> Any:
        """Return the argument at ``position``, its default if it was left out."""
        return self.args[position] if position < len(self.args) else self.kwargs[self._names[position]]

    def replaced(self, swap: Callable[[Tensor], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with every tensor swapped."""

        def one(value: Any) -> Any:
            if isinstance(value, Tensor):
                return swap(value)
            return [one(item) for item in value] if isinstance(value, (list, tuple)) else value

        return tuple(one(value) for value in self.args), {name: one(value) for name, value in self.kwargs.items()}


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

    # Sources

    def register(self, tensor: Tensor, kind: Kind, name: str, axes: Sequence[str | None] | Labels = ()) -> Step:
        """Make the elements of a contiguous ``tensor`` cells that come from outside of the computation."""
        values = tensor.detach().to(torch.float64).numpy().copy()
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
        return self._add(name, template.format(*written), values, labels, operands=arrays)

    def reduce(self, name: str, template: str, values: Tensor, lines: Ids, *operands: Operand) -> Ids:
        """Record an operation on each row of ``lines`` [*shape of values, length]."""
        labels = along_lines(self.graph.labels(lines), lines.ndim)
        arrays = [np.broadcast_to(self.ids(operand), tuple(values.shape)) for operand in operands]
        return self._add(name, template, values, labels, operands=arrays, lines=[lines])

    def dot(self, name: str, values: Tensor, left: Ids, right: Ids, *plus: Operand) -> Ids:
        """Record left · right (+ plus): [batch, m, length] and [batch, n, length] give [batch, m, n]."""
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
    ) -> Ids:
        step = self.graph.add(
            "formula",
            ": ".join([*self.titles, name]),
            values.detach().to(torch.float64).numpy().copy(),
            labels,
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

        keywords = keep_double(func, args, dict(kwargs or {}))
        tensors = list(_tensors((args, list(keywords.values()))))
        packet = func._schema.name.split("::")[1]
        made = packet in _FACTORIES | _VIEWS | _READS or packet.startswith("new_")
        if func.is_view or made or not any(self.depends(tensor) for tensor in tensors):
            outs = func(*args, **keywords)
            for changed in () if packet in _VIEWS else _changed(func, args, keywords):
                self._forget(changed)
            return outs
        name, changed_argument = _base_name(func, args, keywords)
        handler = handler_of(name)
        if handler is None:
            return self._decomposed(func, name, args, keywords)
        floating = [t for t in tensors if t.is_floating_point() or self.depends(t)]
        self._before = {id(tensor): self._look_up(tensor) for tensor in floating}
        target = keywords.pop("out", None)
        outs = func(*args, **keywords) if target is None else func(*args, **keywords, out=target)
        cells = handler(self, Call(name, func, args, keywords, outs))
        self._before = {}
        for out, ids in zip(
            outs if isinstance(outs, (tuple, list)) else (outs,),
            cells if isinstance(cells, tuple) else (cells,),
            strict=False,
        ):
            if ids is not None:
                self._constants.discard(_key(out))
                self._write(out, np.broadcast_to(ids, tuple(out.shape)))
        return outs if changed_argument is None else changed_argument

    def _decomposed(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rule = decomposition_table.get(func)
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
        return func(*args, **keep_double(func, args, dict(kwargs or {})))


def keep_double(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return ``kwargs`` without a cast of double precision numbers to fewer digits."""
    lower = (torch.float32, torch.bfloat16, torch.float16)
    if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") in lower and args[0].dtype == torch.float64:
        return kwargs | {"dtype": torch.float64}
    return kwargs


def literal(number: float | int) -> str:
    """Return ``number`` as formulas write it, all digits, in brackets if negative."""
    value = min(max(float(number), -INFINITY), INFINITY)
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value).upper()
    return f"({text})" if value < 0 else text


def _spread(ids: Ids) -> int:
    """Return over how many cells an operand spreads without counting broadcast axes."""
    return int(np.prod([size for size, stride in zip(ids.shape, ids.strides, strict=True) if stride != 0], initial=1))


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that ``func`` writes to."""
    found = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[position] if position < len(args) else kwargs.get(argument.name))
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def _base_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Tensor | None]:
    """Return "add.Tensor" also for ``add_.Tensor``, and "mm" for ``mm.out``; and what an in-place call returns."""
    packet, overload = func._schema.name.split("::")[1], func._schema.overload_name
    changed = _changed(func, args, kwargs)
    if packet.endswith("_") and changed:
        packet = packet[:-1]
    overload = {"out": "", "default": ""}.get(overload, overload).removesuffix("_out")
    return (f"{packet}.{overload}" if overload else packet), (changed[0] if changed and packet else None)
