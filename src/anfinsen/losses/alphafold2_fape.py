"""Frame aligned point error (AlphaFold 2 supplement, algorithm 28). Å."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anfinsen.geometry import Frames, express_in_frames

from .alphafold2_config import FapeConfig

_EPSILON = 1e-4  # Å², under the root, so that an error of 0 has a gradient; as published
_PAIRS_AT_ONCE = 1 << 20  # of frames and points; more are computed in parts, and again for the gradient


@dataclass(frozen=True)
class FramedPoints:
    """Frames of shape [f], and n points; true ones with masks of what is known.

    Attributes:
        frames: [f]. points: Å. frame_mask, point_mask: which count; None where all do.
    """

    frames: Frames
    points: Float[Tensor, "n 3"]
    frame_mask: Bool[Tensor, "f"] | None = None
    point_mask: Bool[Tensor, "n"] | None = None


def fape(
    predicted: FramedPoints,
    true: FramedPoints,
    clamp: float | None = 10.0,
    unit: float = 10.0,
    pairs: Bool[Tensor, "f n"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean error of all points seen from all frames, in units of ``unit``; 0 where nothing is known.

    It does not change when prediction or truth is moved as a whole, and does when one of them is reflected. For a
    perfect prediction it is 0.01 Å / ``unit``.

    Args:
        predicted, true: in correspondence; masks of ``true`` count.
        clamp: longest error, Å; None for no limit.
        unit: Å.
        pairs: which points count from which frames; all, if not given.

    Source: AlphaFold 2 supplement, algorithm 28.
    """
    count, points = true.frames.origin.shape[0], true.points.shape[0]
    mask = true.points.new_ones((count, points), dtype=torch.bool) if pairs is None else pairs
    if true.frame_mask is not None:
        mask = mask & true.frame_mask[:, None]
    if true.point_mask is not None:
        mask = mask & true.point_mask[None, :]
    step = max(1, _PAIRS_AT_ONCE // max(1, points))
    sums = []
    for start in range(0, count, step):
        part = slice(start, start + step)
        arguments = (
            predicted.points, predicted.frames.rotation[part], predicted.frames.origin[part],
            true.points, true.frames.rotation[part], true.frames.origin[part], mask[part], clamp,
        )  # fmt: skip
        sums.append(
            _error_sum(*arguments)
            if step >= count
            else checkpoint(_error_sum, *arguments, use_reentrant=False, preserve_rng_state=False)
        )
    return torch.stack(sums).sum() / (unit * mask.sum().clamp(min=1))


def backbone_fape(
    predicted: Frames,
    true: Frames,
    mask: Bool[Tensor, "n"],
    config: FapeConfig,
    chain: Bool[Tensor, "n n"] | None = None,
    clamped: bool = True,
) -> Float[Tensor, ""]:
    """Return FAPE of CA atoms seen from backbone frames, a mean over the layers.

    Args:
        predicted: of every layer, [layers, n].
        true: [n].
        mask: residues whose true frame is known.
        config: numbers.
        chain: whether two residues are in one chain. If given, errors within chains and between them are averaged
            apart and added, each with its own numbers (AlphaFold-Multimer).
        clamped: whether errors within chains are clamped (`FapeConfig.clamped_probability`).

    Source: AlphaFold 2 supplement, algorithm 20, line 17; AlphaFold-Multimer, section 2.3.
    """
    wanted = FramedPoints(true, true.origin, mask, mask)
    limit = config.clamp if clamped else None
    terms = []
    for rotation, origin in zip(predicted.rotation, predicted.origin, strict=True):
        found = FramedPoints(Frames(rotation, origin), origin)
        terms.append(fape(found, wanted, limit, config.unit, chain))
        if chain is not None:
            terms.append(fape(found, wanted, config.interface_clamp, config.interface_unit, ~chain))
    return torch.stack(terms).sum() / predicted.origin.shape[0]


def local_fape(
    predicted: Frames,
    true: Frames,
    mask: Bool[Tensor, "n"],
    near: Bool[Tensor, "n n"],
    config: FapeConfig,
) -> Float[Tensor, ""]:
    """Return FAPE of CA atoms seen from the backbone frames of residues near them, clamped, a mean over the layers.

    Args:
        predicted: of every layer, [layers, n]. true: [n]. mask: residues whose true frame is known.
        near: which pairs count. config: numbers.
    """
    wanted = FramedPoints(true, true.origin, mask, mask)
    terms = [
        fape(FramedPoints(Frames(rotation, origin), origin), wanted, config.clamp, config.unit, near)
        for rotation, origin in zip(predicted.rotation, predicted.origin, strict=True)
    ]
    return torch.stack(terms).mean()


def side_chain_fape(
    predicted: Frames,
    predicted_atoms: Float[Tensor, "n 14 3"],
    true: tuple[Frames, Bool[Tensor, "n 8"]],
    true_atoms: tuple[Float[Tensor, "n 14 3"], Bool[Tensor, "n 14"]],
    config: FapeConfig,
) -> Float[Tensor, ""]:
    """Return FAPE of all atoms seen from all rigid-group frames; always clamped.

    Args:
        predicted: frames [n, 8].
        predicted_atoms: Å.
        true: frames [n, 8], and which are known (`residue_frames` of the renamed atoms).
        true_atoms: Å, renamed (`rename_symmetric_atoms`), and which are known.
        config: numbers.

    Source: AlphaFold 2 supplement, algorithm 20, line 28.
    """
    frames, known = true
    atoms, resolved = true_atoms
    # Half of the frames and of the places of atoms are empty; without them the cost is a quarter.
    return fape(
        FramedPoints(Frames(predicted.rotation[known], predicted.origin[known]), predicted_atoms[resolved]),
        FramedPoints(Frames(frames.rotation[known], frames.origin[known]), atoms[resolved]),
        config.clamp,
        config.unit,
    )


def _error_sum(
    points: Float[Tensor, "n 3"],
    rotation: Float[Tensor, "f 3 3"],
    origin: Float[Tensor, "f 3"],
    true_points: Float[Tensor, "n 3"],
    true_rotation: Float[Tensor, "f 3 3"],
    true_origin: Float[Tensor, "f 3"],
    mask: Bool[Tensor, "f n"],
    clamp: float | None,
) -> Float[Tensor, ""]:
    with torch.no_grad():
        wanted = express_in_frames(true_points, Frames(true_rotation, true_origin))
    offset = express_in_frames(points, Frames(rotation, origin)) - wanted
    error = (offset.square().sum(-1) + _EPSILON).sqrt()
    if clamp is not None:
        error = error.clamp(max=clamp)
    # Not a product: what is not known may be anything.
    return torch.where(mask, error, torch.zeros_like(error)).sum()
