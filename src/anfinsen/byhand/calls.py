"""One operation of PyTorch with its arguments, and what its schema says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from anfinsen.common.errors import ConfigError

LOWER = (torch.float32, torch.bfloat16, torch.float16)
# Arguments that say nothing of the result's values, or that its shape shows; "self" is unread where it is overwritten.
_HARMLESS = {
    "self", "keepdim", "layout", "device", "pin_memory", "memory_format", "non_blocking", "momentum", "implicit",
    "size", "half_to_float", "compute_mode", "count_include_pad", "cudnn_enabled", "input_sizes", "input_size",
    "unsafe", "bias_sizes",
}  # fmt: skip
# Arguments that say which elements are meant.
_PLACES = ("index", "indices")


class Call:
    """One operation with its arguments and results.

    Attributes:
        name: such as "add" or "sum.dim_IntList"; those that write in place are named as those that do not.
        out: the first result; outs: all.
    """

    def __init__(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outs: Any) -> None:
        self.name = name
        self.outs: tuple[Any, ...] = tuple(outs) if isinstance(outs, (tuple, list)) else (outs,)
        self._func, self._args, self._kwargs = func, args, kwargs
        self._values = arguments_of(func, args, kwargs)
        self._read: set[str] = set()

    @property
    def out(self) -> Tensor:
        """Return the first result."""
        result: Tensor = self.outs[0]
        return result

    def get(self, which: int | str, otherwise: Any = None) -> Any:
        """Return the argument with this position or name, its default if it was left out; else ``otherwise``."""
        name = self._func._schema.arguments[which].name if isinstance(which, int) else which
        self._read.add(name)
        return self._values.get(name, otherwise)

    def replaced(self, swap: Callable[[Tensor], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with every tensor swapped."""

        def one(value: Any) -> Any:
            if isinstance(value, Tensor):
                return swap(value)
            return [one(item) for item in value] if isinstance(value, (list, tuple)) else value

        self._read |= set(self._values)
        return tuple(one(value) for value in self._args), {name: one(value) for name, value in self._kwargs.items()}

    def check_read(self) -> None:
        """Refuse an argument that changes the result and that nothing has read.

        Raises:
            ConfigError: there is one, so that the formulas would be those of another operation.
        """
        for argument in self._func._schema.arguments:
            name, value = argument.name, self._values.get(argument.name)
            if name in self._read or name in _HARMLESS or value is None:
                continue
            if name == "dtype" and (
                self.out.is_floating_point() or not next(tensors_of(self._args)).is_floating_point()
            ):
                continue
            if isinstance(value, Tensor) or not argument.has_default_value() or value != argument.default_value:
                shown = "a tensor" if isinstance(value, Tensor) else repr(value)
                raise ConfigError(
                    f"Operation {self._func} with {name} = {shown} cannot be written as spreadsheet formulas yet: "
                    "leave it out, or choose a smaller block without it."
                )


def arguments_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments by name, those left out with their defaults."""
    values = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            values[argument.name] = args[position]
        elif argument.name in kwargs:
            values[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            values[argument.name] = argument.default_value
    return values


def places_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors that say which elements ``func`` takes or writes."""
    values = arguments_of(func, args, kwargs)
    names = (*_PLACES, "mask") if "masked_s" in func._schema.name else _PLACES
    yield from tensors_of([values[name] for name in names if name in values])


def names_rows(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether positions are whole numbers along one axis, which formulas can compare with each place."""
    values = arguments_of(func, args, kwargs)
    if name == "index.Tensor":
        first, *others = values["indices"]
        # Truths, and bytes as PyTorch reads them, are masks.
        return first is not None and first.dtype in (torch.int32, torch.int64) and not list(tensors_of(others))
    return name in ("scatter.value", "embedding") or (name == "index_select" and values["dim"] == 0)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)


def changed_by(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that ``func`` writes to."""
    found = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[position] if position < len(args) else kwargs.get(argument.name))
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def base_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Tensor | None]:
    """Return "add.Tensor" also for ``add_.Tensor``, and "mm" for ``mm.out``; and what an in-place call returns."""
    packet, overload = func._schema.name.split("::")[1], func._schema.overload_name
    changed = changed_by(func, args, kwargs)
    if packet.endswith("_") and changed:
        packet = packet[:-1]
    overload = {"out": "", "default": ""}.get(overload, overload).removesuffix("_out")
    return (f"{packet}.{overload}" if overload else packet), (changed[0] if changed and packet else None)


def keep_double(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return ``kwargs`` with double precision in the place of fewer digits, which models ask for on purpose."""
    return kwargs | {"dtype": torch.float64} if kwargs.get("dtype") in LOWER else kwargs


@contextmanager
def double_precision() -> Iterator[None]:
    """Numbers made on the way have all digits, and modules take their plain way, whose operations are formulas."""
    before, fast = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    torch.set_default_dtype(torch.float64)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_default_dtype(before)
        torch.backends.mha.set_fastpath_enabled(fast)
