"""A strict engine for renaming and reshaping the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anfinsen.common.errors import WeightsError
from anfinsen.common.text import listed

_SHOWN = 5  # how many names an error message lists


def only(tensor: Tensor) -> Tensor:
    """Return the single source tensor as it is."""
    return tensor


def rows(*tensors: Tensor) -> Tensor:
    """Return the sources stacked as rows of one matrix: several linear maps of the same input as one."""
    return torch.cat(tensors, dim=0)


def transposed(tensor: Tensor) -> Tensor:
    """Return an [in, out] matrix as PyTorch's [out, in]."""
    return tensor.T


@dataclass(frozen=True)
class Rule:
    """One of our tensors is made of one or several tensors of the checkpoint.

    Attributes:
        target: key in our module's ``state_dict``.
        sources: keys in the checkpoint.
        combine: makes the target from the sources, in their order.
    """

    target: str
    sources: tuple[str, ...]
    combine: Callable[..., Tensor] = only


Rules = list[Rule]


def rename(pairs: Mapping[str, str], source: str = "", target: str = "") -> Rules:
    """Return rules that rename ``target + key`` from ``source + value`` for every item of ``pairs``."""
    return [Rule(target + ours, (source + theirs,)) for ours, theirs in pairs.items()]


def layer_norm(source: str, target: str, *, bias: bool = True) -> Rules:
    """Return the rules of a PyTorch LayerNorm called ``source`` there and ``target`` here."""
    names = ("weight", "bias") if bias else ("weight",)
    return [Rule(f"{target}.{name}", (f"{source}.{name}",)) for name in names]


def convert(source: Mapping[str, Tensor], rules: Iterable[Rule], where: str) -> dict[str, Tensor]:
    """Return our tensors made from ``source``.

    Args:
        source: the checkpoint's tensors.
        rules: which of them becomes what.
        where: file or format, for messages.

    Raises:
        WeightsError: a source tensor is missing, unused or used twice, a target is made twice, or shapes do not fit.
    """
    made: dict[str, Tensor] = {}
    used: set[str] = set()
    for rule in rules:
        if rule.target in made:
            raise WeightsError(f"The rules for {where} make {rule.target!r} twice.")
        missing = [key for key in rule.sources if key not in source]
        if missing:
            raise WeightsError(
                f"{where} has no tensor {_names(missing)}, which {rule.target!r} needs: it is not a checkpoint of this "
                "format or size."
            )
        twice = [key for key in rule.sources if key in used]
        if twice:
            raise WeightsError(f"The rules for {where} use {_names(twice)} twice.")
        used.update(rule.sources)
        try:
            made[rule.target] = rule.combine(*(source[key] for key in rule.sources)).contiguous()
        except (RuntimeError, TypeError, ValueError) as error:
            shapes = ", ".join(f"{key} {list(source[key].shape)}" for key in rule.sources)
            raise WeightsError(f"{where}: {rule.target!r} cannot be made from {shapes}: {error}.") from error
    unused = sorted(set(source) - used)
    if unused:
        raise WeightsError(
            f"{where} holds {len(unused)} tensors that this model does not use: {_names(unused)}. "
            "Choose the format and the configuration that the file was made with."
        )
    return made


def converted_state(
    module: nn.Module, source: Mapping[str, Tensor], rules: Iterable[Rule], where: str
) -> dict[str, Tensor]:
    """Return the ``state_dict`` of ``module`` made from ``source``; the module's numbers are not read.

    Raises:
        WeightsError: as `convert`, or one of the module's tensors is not filled or has another shape.
    """
    made = convert(source, rules, where)
    expected = module.state_dict()
    empty = sorted(set(expected) - set(made))
    if empty:
        raise WeightsError(f"{where} does not fill {len(empty)} tensors of this model: {_names(empty)}.")
    extra = sorted(set(made) - set(expected))
    if extra:
        raise WeightsError(f"{where} fills {len(extra)} tensors that this model does not have: {_names(extra)}.")
    for key, tensor in made.items():
        if tensor.shape != expected[key].shape:
            raise WeightsError(
                f"{where}: {key!r} has shape {list(tensor.shape)}, expected {list(expected[key].shape)}: the file was "
                "made with another configuration."
            )
    return made


def load_converted(module: nn.Module, source: Mapping[str, Tensor], rules: Iterable[Rule], where: str) -> None:
    """Fill all parameters and buffers of ``module`` from ``source``.

    Raises:
        WeightsError: as `converted_state`.
    """
    module.load_state_dict(converted_state(module, source, rules, where), strict=True)


def _names(keys: Iterable[str]) -> str:
    return listed(map(repr, keys), _SHOWN)
