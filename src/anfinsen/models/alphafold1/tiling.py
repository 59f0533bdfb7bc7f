"""Whole maps from crops: overlapping tiles, weighted by how central a pair lies, for several offsets of the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .maps import PairMaps
from .network import AlphaFold1, CropLogits, Crops


@dataclass(frozen=True)
class TilingConfig:
    """How maps are put together.

    Attributes:
        stride: between tiles, at most the crop's side; None: half of it.
        ensemble: grids of tiles, each shifted by another part of the stride (Senior et al. 2020 averages 4 networks).
        batch: tiles computed at once.
    """

    stride: int | None = None
    ensemble: int = 4
    batch: int = 4

    def __post_init__(self) -> None:
        if min(1 if self.stride is None else self.stride, self.ensemble, self.batch) < 1:
            raise ValueError("stride, ensemble and batch must be at least 1")


def tile_starts(length: int, crop: int, stride: int, offset: int) -> list[int]:
    """Return the first residue of every tile; the first tile begins ``offset`` residues before the chain.

    Raises:
        ValueError: the tiles would leave gaps.
    """
    if not 0 <= offset < crop or stride > crop:
        raise ValueError(f"Tiles of {crop} residues, {stride} apart from -{offset} on, do not cover the chain.")
    starts = [-offset]
    while starts[-1] + crop < length:
        starts.append(starts[-1] + stride)
    return starts


def centre_weights(crop: int) -> Float[Tensor, "crop"]:
    """Return a weight for each place in a tile: 1 in the middle, falling linearly, positive at the edge."""
    place = torch.arange(crop, dtype=torch.float32)
    return torch.minimum(place + 1, crop - place) / ((crop + 1) // 2)


def cut(
    single: Float[Tensor, "L c1"], pair: Float[Tensor, "L L c2"], starts: list[tuple[int, int]], crop: int
) -> Crops:
    """Return the crops that begin at each (row, column); residues outside the chain are padding."""
    first = torch.tensor(starts)
    rows, columns = (first[:, axis, None] + torch.arange(crop) for axis in (0, 1))
    length = len(single)
    row_mask, column_mask = ((index >= 0) & (index < length) for index in (rows, columns))
    row, column = (index.clamp(0, length - 1) for index in (rows, columns))
    mask = row_mask[:, :, None] & column_mask[:, None, :]
    return Crops(
        rows=single[row] * row_mask[..., None],
        columns=single[column] * column_mask[..., None],
        pair=pair[row[:, :, None], column[:, None, :]] * mask[..., None],
        separation=rows[:, :, None] - columns[:, None, :],
        row_mask=row_mask,
        column_mask=column_mask,
    )


class _Average:
    """A weighted sum of tiles over a chain's residues or pairs, and of the weights."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.weight: Tensor | None = None

    def add(self, shape: tuple[int, ...], where: tuple[slice, ...], values: Tensor, weight: Tensor) -> None:
        if self.total is None or self.weight is None:
            extra = values.shape[len(shape) :]
            self.total, self.weight = torch.zeros(*shape, *extra), torch.zeros(shape)
        spread = weight.reshape(*weight.shape, *(1,) * (values.ndim - weight.ndim))
        self.total[where] += spread * values
        self.weight[where] += weight

    def mean(self) -> Tensor | None:
        if self.total is None or self.weight is None:
            return None
        return self.total / self.weight.reshape(*self.weight.shape, *(1,) * (self.total.ndim - self.weight.ndim))


@torch.no_grad()
def predict_maps(
    model: AlphaFold1,
    single: Float[Tensor, "L c1"],
    pair: Float[Tensor, "L L c2"],
    config: TilingConfig | None = None,
    on_tile: Callable[[], None] | None = None,
) -> PairMaps:
    """Return the maps of a chain: centre-weighted averages of probabilities over all tiles.

    Pairs are seen from both sides: maps that are symmetric by nature are averaged with their transpose.

    Args:
        model: in evaluation mode.
        single, pair: features; on the CPU.
        config: stride and ensemble.
        on_tile: called after every tile.
    """
    config = config or TilingConfig()
    length, crop = len(single), model.config.crop
    device = next(model.parameters()).device
    averages = {name: _Average() for name in ("distogram", "omega", "theta", "phi", *_RESIDUE_MAPS)}
    weights = centre_weights(crop)
    starts = list(_all_starts(length, crop, config))
    for begin in range(0, len(starts), config.batch):
        group = starts[begin : begin + config.batch]
        logits = model(cut(single, pair, group, crop).to(device))
        for index, corner in enumerate(group):
            _add_tile(averages, logits, index, corner, length, weights)
            if on_tile is not None:
                on_tile()
    maps = {name: average.mean() for name, average in averages.items()}
    for name in ("distogram", "omega"):
        values = maps[name]
        if values is not None:
            maps[name] = (values + values.transpose(0, 1)) / 2
    distogram = maps.pop("distogram")
    assert distogram is not None  # every chain has a tile
    return PairMaps(distogram, **maps)


_RESIDUE_MAPS = ("torsion", "secondary_structure", "accessibility")


def count_tiles(length: int, crop: int, config: TilingConfig) -> int:
    """Return how many tiles :func:`predict_maps` computes."""
    return sum(1 for _ in _all_starts(length, crop, config))


def _all_starts(length: int, crop: int, config: TilingConfig) -> Iterator[tuple[int, int]]:
    stride = config.stride or max(1, crop // 2)
    for member in range(config.ensemble):
        starts = tile_starts(length, crop, stride, member * stride // config.ensemble)
        yield from ((row, column) for row in starts for column in starts)


def _add_tile(
    averages: dict[str, _Average],
    logits: CropLogits,
    index: int,
    corner: tuple[int, int],
    length: int,
    weights: Float[Tensor, "crop"],
) -> None:
    """Add one tile's probabilities to the averages."""
    crop = len(weights)
    inside = [slice(max(0, -start), min(crop, length - start)) for start in corner]
    where = tuple(slice(start + part.start, start + part.stop) for start, part in zip(corner, inside, strict=True))
    pair_weight = weights[inside[0], None] * weights[None, inside[1]]
    for name in ("distogram", "omega", "theta", "phi"):
        values = getattr(logits, name)
        if values is not None:
            probability = values[index, inside[0], inside[1]].softmax(-1).cpu()
            averages[name].add((length, length), where, probability, pair_weight)
    for side, part, place in zip((logits.rows, logits.columns), inside, where, strict=True):
        for name in _RESIDUE_MAPS:
            values = getattr(side, name)[index, part]
            probability = values.flatten(1).softmax(-1).reshape(values.shape).cpu()
            averages[name].add((length,), (place,), probability, weights[part])
