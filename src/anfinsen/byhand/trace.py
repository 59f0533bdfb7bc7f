"""Running a block, or any function of tensors, alone and in double precision, with every operation recorded."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anfinsen.common.errors import ConfigError

from .annotations import WEIGHT_SLOTS, weight_labels
from .calls import double_precision
from .graph import Graph, Ids, Step
from .slots import Names, known_sizes, parse_axes, shape_text
from .tracer import KeepDouble, Tracer

Function = Callable[[dict[str, Tensor], dict[str, Tensor]], Mapping[str, Tensor]]
"""(inputs, weights) → results, by name."""

_active: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded computation.

    Attributes:
        title: what was computed. block: dotted name of the module in its model, "" for a function.
        module: name of the module's class, "" for a function.
        graph: the steps. inputs, weights: the source steps by name. outputs: cells of each result by name.
        run: computes the results again, in float64, from other inputs and weights (those left out as they were).
        reference: algorithm and paper.
    """

    title: str
    graph: Graph
    inputs: Mapping[str, Step]
    weights: Mapping[str, Step]
    outputs: Mapping[str, Ids]
    run: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]] = field(repr=False)
    block: str = ""
    module: str = ""
    reference: str = ""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Title what is recorded inside, in functions given to :func:`trace_function`; nothing outside of a trace."""
    tracer = _active.get()
    with nullcontext() if tracer is None else tracer.titled(title):
        yield


def trace_function(
    function: Function,
    inputs: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None = None,
    *,
    axes: Mapping[str, str] | None = None,
    names: Names | None = None,
    title: str = "",
    reference: str = "",
) -> Trace:
    """Record ``function`` of ``inputs`` and ``weights``; gradients that it takes are recorded too.

    Args:
        function: from (inputs, weights) to results by name; plain PyTorch. Both are float64 and require gradients,
            so that ``torch.autograd.grad(loss, [weights["w"]])`` may be among the results.
        inputs, weights: by name; weights are shown apart.
        axes: by name, what the axes count, as in shapes of signatures: ``"n c"``, ``"heads n n"``, ``"b c"``.
        names: words for the members of axes. title, reference: of the computation.

    Raises:
        ConfigError: an operation cannot be written as formulas. MemoryLimitError: there are too many cells.
    """
    sources = {"input": _doubles(inputs), "weight": _doubles(weights or {})}
    graph = Graph(names or Names())
    tracer = Tracer(graph)
    found: dict[str, dict[str, Step]] = {"input": {}, "weight": {}}
    for kind, tensors in sources.items():
        for name, tensor in tensors.items():
            slots: tuple[str | None, ...] = parse_axes((axes or {}).get(name, ""), tensor.dim())
            if kind == "weight" and name not in (axes or {}):
                slots = WEIGHT_SLOTS[: tensor.dim()]
            found[kind][name] = tracer.register(tensor, "weight" if kind == "weight" else "input", name, slots)

    def run(new_inputs: Mapping[str, Tensor], new_weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = _doubles({**sources["input"], **new_inputs}), _doubles({**sources["weight"], **new_weights})
        with _quiet():
            return {name: tensor.detach() for name, tensor in function(*given).items()}

    with _recording(tracer):
        results = dict(function(sources["input"], sources["weight"]))
    return Trace(title, graph, found["input"], found["weight"], _cells(tracer, results), run, reference=reference)


def trace_module(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    method: str = "forward",
    names: Names | None = None,
    title: str = "",
    block: str = "",
    reference: str = "",
) -> Trace:
    """Record one call of ``module`` (as it is in evaluation), in double precision.

    The axes of the inputs are read from the shapes in the signature of ``forward``.

    Args:
        module: any module; a copy is run. args, kwargs: of its forward pass; tensors may stand inside of dataclasses,
            lists, tuples and dicts. method: which of its methods is called.
        names: words for tokens and the like. title, block, reference: of the block.

    Raises:
        ConfigError, MemoryLimitError: as :func:`trace_function`.
    """
    double = copy.deepcopy(module).to(torch.float64).eval().requires_grad_(False)
    call = _to_double((tuple(args), dict(kwargs or {})))
    bound = dict(inspect.signature(getattr(double, method)).bind(*call[0], **call[1]).arguments)
    inputs = {name: tensor for name, tensor in named_tensors(bound) if tensor.is_floating_point()}
    shapes = input_shapes(getattr(double, method), bound)
    graph = Graph(names or Names())
    tracer = Tracer(graph)
    found = {}
    for name, tensor in inputs.items():
        slots = known_sizes(parse_axes(shapes.get(name, ""), tensor.dim()), tensor.shape, graph.names)
        found[name] = tracer.register(tensor, "input", name, slots)
    weights, weight_tensors = {}, dict(_weights(double))
    for name, tensor in weight_tensors.items():
        weights[name] = tracer.register(tensor, "weight", name, weight_labels(double, name, tensor, graph.names))

    def run(new_inputs: Mapping[str, Tensor], new_weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        other = copy.deepcopy(double)
        for name, tensor in _weights(other):
            if name in new_weights:
                tensor.copy_(new_weights[name])
        swapped = {id(inputs[name]): tensor.to(torch.float64) for name, tensor in new_inputs.items()}
        args, kwargs = _mapped(call, lambda tensor: swapped.get(id(tensor), tensor))
        with _quiet():
            return dict(named_tensors(_call(other, method)(*args, **kwargs), "output"))

    with _recording(tracer), _scopes(double, tracer):
        result = _call(double, method)(*call[0], **call[1])
    outputs = {name: t for name, t in named_tensors(result, "output") if t.is_floating_point()}
    return Trace(title, graph, found, weights, _cells(tracer, outputs), run, block, type(module).__name__, reference)


def trace(
    model: nn.Module,
    run: Callable[[], object],
    *,
    block: str,
    call: int = -1,
    names: Names | None = None,
    title: str = "",
    reference: str = "",
) -> Trace:
    """Record ``block`` of ``model`` on the inputs that it gets while the whole model runs.

    Args:
        model: a loaded model. run: runs it, e.g. ``lambda: model.trunk(batch, recycles=0)``.
        block: dotted name of a module (``dict(model.named_modules())``).
        call: which of its calls, from 0; -1: the last one (of a recycled trunk, the last pass).
        names, title, reference: as for :func:`trace_module`.

    Raises:
        ConfigError: there is no such block, or it did not run (so often). MemoryLimitError: as above.
    """
    found = capture(model, run, block, call)
    module = dict(model.named_modules())[block]
    return trace_module(
        module, found.args, found.kwargs, method=found.method, names=names, title=title or block, block=block,
        reference=reference,
    )  # fmt: skip


@dataclass(frozen=True)
class Captured:
    """A call of a module: which method, and with which arguments."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def capture(model: nn.Module, run: Callable[[], object], block: str, call: int = -1) -> Captured:
    """Return the call number ``call`` of ``block`` while ``run()`` runs the model.

    A module that is never called itself is caught in the last of its methods that the model uses.
    """
    module = dict(model.named_modules()).get(block)
    if module is None:
        raise ConfigError(f"The model has no block {block!r}: `anfinsen byhand --list` names those that it has.")
    calls: list[Captured] = []
    others: list[Captured] = []

    def keep(method: str, args: Any, kwargs: Any) -> None:
        args, kwargs = _mapped((args, kwargs), lambda tensor: tensor.detach().clone())
        into = calls if method == "forward" else others
        into[:] = [*(into if call >= 0 else ()), Captured(method, tuple(args), kwargs)]
        if method == "forward" and 0 <= call < len(calls):
            raise _FoundError

    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    hook = module.register_forward_pre_hook(lambda _, args, kwargs: keep("forward", args, kwargs), with_kwargs=True)
    try:
        # With gradients "on" the models take their plain way through `forward`; as nothing asks for one, none is kept.
        model.requires_grad_(False)
        with torch.enable_grad(), _listening(module, keep):
            run()
    except _FoundError:
        pass
    finally:
        hook.remove()
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
    found = calls or others
    if not found or call >= len(found):
        raise ConfigError(
            f"Block {block!r} ran {len(found)} times on this input, and call {call if call >= 0 else 'last'} was asked "
            "for: choose another call or block."
        )
    return found[call]


@contextmanager
def _listening(module: nn.Module, keep: Callable[[str, Any, Any], None]) -> Iterator[None]:
    """Tell ``keep`` of calls of the module's own public methods from outside of them."""
    inside = 0
    names = [
        name
        for kind in type(module).__mro__
        if kind.__module__.partition(".")[0] not in ("torch", "builtins")
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_") and name != "forward"
    ]

    def listener(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def listened(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if not inside and any(True for _ in named_tensors((args, kwargs))):
                keep(name, args, kwargs)
            inside += 1
            try:
                return method(*args, **kwargs)
            finally:
                inside -= 1

        return listened

    for name in names:
        module.__dict__[name] = listener(name, getattr(module, name))
    try:
        yield
    finally:
        for name in names:
            module.__dict__.pop(name, None)


def _call(module: nn.Module, method: str) -> Callable[..., Any]:
    """Return ``module`` itself for "forward", so that its hooks run, else the method."""
    return module if method == "forward" else getattr(module, method)


class _FoundError(Exception):
    """The call that was wanted has come; the rest of the model need not run."""


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors inside dataclasses, dicts, lists and tuples, each with its dotted name."""
    if isinstance(value, Tensor):
        yield name, value
        return
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        keys = getattr(value, "_fields", range(len(value)))
        items = zip(keys, value, strict=True)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    for key, item in items:
        yield from named_tensors(item, f"{name}.{key}" if name else str(key))


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return ``value`` with every tensor inside it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_mapped(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _mapped(getattr(value, f.name), change) for f in dataclasses.fields(value) if f.init}
        return type(value)(**fields)
    return value


def _to_double(value: Any) -> Any:
    """Return ``value`` with its floating tensors as separate contiguous float64 ones."""

    def one(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor.detach().cpu().to(torch.float64, copy=True, memory_format=torch.contiguous_format)

    return _mapped(value, one)


def _doubles(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.requires_grad_() for name, tensor in _to_double(dict(tensors)).items()}


def input_shapes(method: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the shapes that the signature of ``method`` states, by name; also those of fields of dataclasses."""
    shapes = {}
    for name, parameter in inspect.signature(method).parameters.items():
        shapes[name] = shape_text(parameter.annotation)
        value = arguments.get(name)
        if dataclasses.is_dataclass(value):
            for part in dataclasses.fields(value):
                shapes[f"{name}.{part.name}"] = shape_text(part.type)
    return shapes


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            yield name, buffer


def _cells(tracer: Tracer, results: Mapping[str, Tensor]) -> dict[str, Ids]:
    return {name: tracer.ids(tensor.detach()).copy() for name, tensor in results.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    with double_precision(), KeepDouble():  # type: ignore[no-untyped-call]  # PyTorch has no types
        yield


@contextmanager
def _recording(tracer: Tracer) -> Iterator[None]:
    token = _active.set(tracer)
    try:
        with double_precision(), tracer:
            yield
    finally:
        _active.reset(token)


@contextmanager
def _scopes(module: nn.Module, tracer: Tracer) -> Iterator[None]:
    """Tell ``tracer`` which submodule is running."""
    hooks = []
    for name, child in module.named_modules():

        def enter(_: nn.Module, __: Any, name: str = name) -> None:
            tracer.scopes.append(name)

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            tracer.scopes.pop()

        hooks += [child.register_forward_pre_hook(enter), child.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def source_tensor(step: Step, changes: Mapping[tuple[int, ...], float]) -> Tensor:
    """Return the values of an input or weight with some elements changed, to give to :attr:`Trace.run`."""
    values = np.array(step.values)
    for index, value in changes.items():
        values[index] = value
    return torch.from_numpy(values)
