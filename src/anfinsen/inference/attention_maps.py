"""What attention modules show, reduced while the network runs: for each head one map of tokens and a few numbers.

The weights of a triangle attention alone, [N, heads, N, N], would fill the memory; they come some rows at a time
(`anfinsen.nn.watch`), are summed, and are gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anfinsen.common.errors import MemoryLimitError
from anfinsen.models.alphafold2 import AlphaFold2
from anfinsen.models.alphafold2.invariant_point_attention import InvariantPointAttention
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.nn import (
    GatedAttention,
    MsaColumnAttention,
    MsaColumnGlobalAttention,
    MsaRowAttention,
    PairWeightedAveraging,
    Shown,
    TriangleAttention,
)
from anfinsen.nn.windows import Windows

from .memory import FLOAT, GIB

Keys = Literal["tokens", "atoms", "rows"]
# Maps may take this share of the free memory; the rest is for the prediction.
MAPS_SHARE = 0.5


@dataclass(frozen=True)
class Layer:
    """One attention of a network.

    Attributes:
        name: of the module in the network (of the `AttentionPairBias`, where it is part of one).
        kind: what it is called in the papers.
        keys: what is attended to: tokens, atoms (whose weights are added up by token), or rows of the alignment, of
            which there is no map of tokens. heads: number of them.
        mean: whether all runs are averaged (the diffusion's steps), and not only the last one counts (recycling).
        repeats: layers that share the module's weights (structure module).
    """

    name: str
    kind: str
    keys: Keys
    heads: int
    mean: bool = False
    repeats: int = 1


@dataclass(frozen=True)
class LayerMaps:
    """What was seen of one layer's H heads; N tokens (of AlphaFold 2: residues).

    Attributes:
        layer: the layer. label: its name, with the number of the pass where several share their weights.
        maps: the mean weight from each token to each token, rows sum to one; None where keys are alignment rows.
        entropy: mean over all queries of the weights' entropy, bits. most: the largest that it could be, log2(keys).
        to_self, to_first: mean weight from a query to itself and to the first key; NaN where there is no such thing.
        gates: mean of the sigmoid gates at each token; None where there are none.
    """

    layer: Layer
    label: str
    maps: Float[np.ndarray, "H N N"] | None
    entropy: Float[np.ndarray, "H"]
    most: float
    to_self: Float[np.ndarray, "H"]
    to_first: Float[np.ndarray, "H"]
    gates: Float[np.ndarray, "H N"] | None


def attention_layers(model: AlphaFold2 | AlphaFold3) -> dict[str, Layer]:
    """Return the layers of ``model`` that can be studied, by the module's name, in the order of the network.

    Attention to templates has neither tokens nor alignment rows for keys, and is left out.
    """
    layers = {}
    for name, module in model.attention_modules().items():
        found = _kind(name, module)
        if found is not None:
            kind, keys = found
            point = isinstance(module, InvariantPointAttention)
            repeats = model.structure.layers if point and isinstance(model, AlphaFold2) else 1
            heads: Any = module.config.heads if isinstance(module, InvariantPointAttention) else module.heads
            short = name.removesuffix(".attention") if isinstance(module, GatedAttention) else name
            layers[name] = Layer(short, kind, keys, int(heads), name.startswith("diffusion."), repeats)
    return layers


_KINDS: dict[type[nn.Module], tuple[str, Keys]] = {
    MsaRowAttention: ("MSA row attention with pair bias", "tokens"),
    MsaColumnAttention: ("MSA column attention", "rows"),
    MsaColumnGlobalAttention: ("MSA column attention, one query", "rows"),
    PairWeightedAveraging: ("pair-weighted averaging", "tokens"),
    InvariantPointAttention: ("invariant point attention", "tokens"),
}


def _kind(name: str, module: nn.Module) -> tuple[str, Keys] | None:
    if isinstance(module, TriangleAttention):
        return f"triangle attention, {module.node} node", "tokens"
    if not isinstance(module, GatedAttention):
        return _KINDS.get(type(module))
    if "encoder" in name or "decoder" in name:
        return "atom transformer", "atoms"
    return ("token transformer" if name.startswith("diffusion.") else "attention with pair bias"), "tokens"


@dataclass
class _Sums:
    """Sums over the rows of one run, or over runs; means once they are divided."""

    entropy: Tensor
    to_self: Tensor
    to_first: Tensor
    map: Tensor | None
    most: float

    def add(self, other: _Sums) -> None:
        self.entropy += other.entropy
        self.to_self += other.to_self
        self.to_first += other.to_first
        if self.map is not None and other.map is not None:
            self.map += other.map

    def over(self, count: int) -> _Sums:
        return _Sums(
            self.entropy / count,
            self.to_self / count,
            self.to_first / count,
            None if self.map is None else self.map / count,
            self.most,
        )

    def cpu(self) -> _Sums:
        return _Sums(
            self.entropy.cpu(),
            self.to_self.cpu(),
            self.to_first.cpu(),
            None if self.map is None else self.map.cpu(),
            self.most,
        )


class AttentionRecorder:
    """Receives what modules show (its `weights` and `gates` are for `anfinsen.nn.watch`) and keeps the means.

    Args:
        layers: by the module's name (`attention_layers`).
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.layers = dict(layers)
        self._tokens = 0
        self._token_of_atom = torch.zeros(0, dtype=torch.long)
        self._run: dict[str, _Sums] = {}
        self._seen: dict[tuple[str, int], tuple[_Sums, int]] = {}
        self._gate_run: dict[str, Tensor] = {}
        self._gates: dict[str, tuple[Tensor, int]] = {}
        self._calls: dict[str, int] = {}

    def begin(self, tokens: int, free: int, token_of_atom: Int[Tensor, "A"] | None = None) -> None:
        """Begin a network of ``tokens`` tokens; ``free``: bytes of memory; ``token_of_atom`` where there are atoms.

        Raises:
            MemoryLimitError: the maps of all heads would not fit.
        """
        heads = sum(layer.heads * layer.repeats for layer in self.layers.values() if layer.keys != "rows")
        needed = heads * tokens * tokens * FLOAT
        if needed > MAPS_SHARE * free:
            fit = math.isqrt(int(MAPS_SHARE * free / (heads * FLOAT)))
            raise MemoryLimitError(
                f"The attention maps of {heads} heads over {tokens} tokens need {needed / GIB:.1f} GiB beside the "
                f"prediction, and {free / GIB:.1f} GiB are free: about {fit} tokens would fit; use a smaller complex, "
                "a smaller model, or a machine with more memory."
            )
        self._tokens = tokens
        if token_of_atom is not None:
            self._token_of_atom = token_of_atom.cpu()

    def weights(self, name: str, shown: Shown) -> None:
        """Take the weights that the module ``name`` shows; without rows there are none."""
        if not shown.values.numel():  # AlphaFold 2 without extra alignment rows
            return
        layer = self.layers[name]
        values = shown.values.float()
        if layer.keys == "rows" and values.ndim == 3:  # one query only
            values = values[:, :, None]
        if shown.windows is not None:
            part, rows = self._of_windows(values, shown.windows), 1
        else:
            values = values.reshape(-1, *values.shape[-3:])
            part, rows = _of_rows(values, layer.keys), shown.total or len(values)
        if shown.start == 0:
            self._run[name] = part
        else:
            self._run[name].add(part)
        if not shown.is_last and shown.windows is None:
            return
        done = self._run.pop(name).over(rows).cpu()
        place = (name, self._calls.get(name, 0) % layer.repeats)
        self._calls[name] = self._calls.get(name, 0) + 1
        before = self._seen.get(place)
        if layer.mean and before is not None:
            before[0].add(done)
            self._seen[place] = (before[0], before[1] + 1)
        else:
            self._seen[place] = (done, 1)

    def gates(self, name: str, shown: Shown) -> None:
        """Take the gates that the module ``name`` shows; without rows there are none."""
        if not shown.values.numel():
            return
        layer = self.layers[name]
        values = shown.values.float().mean(-1)
        if layer.keys == "rows":
            part = values.mean(1)  # [some columns, heads]
            before = None if shown.start == 0 else self._gate_run[name]
            total = part if before is None else torch.cat([before, part])
            rows = 1
        else:
            rows = shown.total or math.prod(values.shape[:-2])
            part = values.reshape(-1, *values.shape[-2:]).sum(0)
            total = part if shown.start == 0 else self._gate_run[name] + part
        self._gate_run[name] = total
        if not shown.is_last:
            return
        done = (self._gate_run.pop(name) / rows).cpu()
        if layer.keys == "atoms":
            done = self._by_token(done)
        seen = self._gates.get(name)
        self._gates[name] = (seen[0] + done, seen[1] + 1) if layer.mean and seen is not None else (done, 1)

    def result(self) -> tuple[LayerMaps, ...]:
        """Return what was seen, in the order of the network; layers that did not run are left out."""
        found = []
        for name, layer in self.layers.items():
            for repeat in range(layer.repeats):
                if (name, repeat) not in self._seen:
                    continue
                sums, count = self._seen[name, repeat]
                means = sums.over(count)
                gates = self._gates.get(name)
                found.append(
                    LayerMaps(
                        layer=layer,
                        label=layer.name if layer.repeats == 1 else f"{layer.name}, layer {repeat + 1}",
                        maps=None if means.map is None else means.map.numpy(),
                        entropy=means.entropy.numpy(),
                        most=means.most,
                        to_self=means.to_self.numpy(),
                        to_first=means.to_first.numpy(),
                        gates=None if gates is None else (gates[0] / gates[1]).T.contiguous().numpy(),
                    )
                )
        return tuple(found)

    def _of_windows(self, weights: Float[Tensor, "w heads q k"], windows: Windows) -> _Sums:
        """Add weights between atoms up by token: of the query's atoms the mean, over the keys' atoms the sum."""
        heads, n, device = weights.shape[1], self._tokens, weights.device
        token = self._token_of_atom.to(device)
        count = torch.bincount(token, minlength=n).float()
        atom = torch.arange(windows.count * windows.queries, device=device).view(windows.count, windows.queries)
        real = atom < windows.length
        query = token[atom.clamp(max=windows.length - 1)]
        index = query[:, :, None] * n + token[windows.key_index][:, None, :]
        share = weights * (real / count[query])[:, None, :, None]
        total = weights.new_zeros(heads, n * n)
        total.index_add_(1, index.flatten(), share.transpose(0, 1).flatten(1))
        of_query = torch.special.entr(weights).sum(-1) * real[:, None]
        nothing = weights.new_full((heads,), math.nan)
        map_ = total.view(heads, n, n)
        return _Sums(
            of_query.sum((0, 2)) / windows.length / math.log(2),
            nothing,
            nothing.clone(),
            map_,
            math.log2(weights.shape[-1]),
        )

    def _by_token(self, values: Float[Tensor, "a heads"]) -> Float[Tensor, "n heads"]:
        token = self._token_of_atom
        count = torch.bincount(token, minlength=self._tokens).clamp(min=1)
        return values.new_zeros(self._tokens, values.shape[-1]).index_add_(0, token, values) / count[:, None]


def _of_rows(weights: Float[Tensor, "rows heads q k"], keys: Keys) -> _Sums:
    entropy = torch.special.entr(weights).sum(-1).mean(-1).sum(0) / math.log(2)
    nothing = torch.full_like(entropy, math.nan)
    square = weights.shape[-1] == weights.shape[-2]
    return _Sums(
        entropy,
        weights.diagonal(dim1=-2, dim2=-1).mean(-1).sum(0) if square else nothing,
        weights[..., 0].mean(-1).sum(0),
        None if keys == "rows" else weights.sum(0),
        math.log2(weights.shape[-1]),
    )
