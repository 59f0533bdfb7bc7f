"""Where folding starts: multidimensional scaling of the predicted distances in both hands, or sampled torsions."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from .building import Backbone, frames_of_backbone
from .maps import PairMaps, angle_centres, distance_centres

_CHAIN_STEP = 3.8  # Å a residue, the longest that a chain can stretch
_KNOWN = 0.6  # a distance is known where this much of its probability lies below the last bins
_FAR = 20.0  # Å
_N_CA, _CA_C = 1.46, 1.53  # Å, of the rough first frames


def scaled_traces(maps: PairMaps, count: int, noise: float, generator: torch.Generator) -> Float[Tensor, "count L 3"]:
    """Return rough traces with about the predicted distances; handedness is arbitrary.

    Unknown distances are filled in by shortest paths over the known ones, then classical multidimensional scaling
    gives coordinates (as in Isomap, Tenenbaum et al. 2000). Traces after the first start from distances with ``noise``.

    Args:
        maps: of one chain.
        count: traces.
        noise: relative standard deviation.
        generator: draws the noise.
    """
    length = len(maps)
    known = maps.probability_within(_FAR)
    centres = distance_centres(maps.distogram.shape[-1]).to(maps.distogram)
    inner = maps.distogram * (centres < _FAR)
    mean = (inner @ centres) / inner.sum(-1).clamp(min=1e-6)
    separation = (torch.arange(length)[:, None] - torch.arange(length)).abs().float()
    traces = []
    for index in range(count):
        factor = torch.ones(length, length)
        if index:
            draw = torch.randn(length, length, generator=generator)
            factor = torch.exp(noise * (draw + draw.T) / math.sqrt(2.0))
        edges = torch.where((known > _KNOWN) & (separation > 0), mean.float() * factor, torch.inf)
        edges = torch.minimum(edges, torch.where(separation == 1, _CHAIN_STEP, torch.inf))
        path = torch.from_numpy(shortest_path(_finite_edges(edges), directed=False)).float()
        traces.append(_classical_scaling(torch.minimum(path, _CHAIN_STEP * separation)))
    return torch.stack(traces)


def _finite_edges(edges: Float[Tensor, "L L"]) -> Float[np.ndarray, "L L"]:
    """SciPy reads 0 as "no edge"."""
    return torch.where(torch.isinf(edges), 0.0, edges.clamp(min=0.1)).double().numpy()


def _classical_scaling(distance: Float[Tensor, "L L"]) -> Float[Tensor, "L 3"]:
    """Coordinates whose distances are closest in the sense of Torgerson 1952."""
    square = distance.double() ** 2
    inner = -0.5 * (square - square.mean(0) - square.mean(1, keepdim=True) + square.mean())
    values, vectors = torch.linalg.eigh(inner)
    # Fewer than three residues have fewer than three directions.
    top = min(3, len(values))
    coordinates = vectors[:, -top:] * values[-top:].clamp(min=0).sqrt()
    return torch.nn.functional.pad(coordinates, (0, 3 - top)).float()


def mirrored(points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
    """Return the mirror image."""
    return points * points.new_tensor([1.0, 1.0, -1.0])


def frames_along(trace: Float[Tensor, "R L 3"]) -> tuple[Float[Tensor, "R L 4"], Float[Tensor, "R L 3"]]:
    """Return quaternions and origins of residues strung along a trace: N towards the one before, C to the next."""
    before = torch.cat([2 * trace[:, :1] - trace[:, 1:2], trace[:, :-1]], dim=1)
    after = torch.cat([trace[:, 1:], 2 * trace[:, -1:] - trace[:, -2:-1]], dim=1)
    # A straight or doubled-back trace leaves the plane open: a fixed small tilt closes it.
    tilt = trace.new_tensor([0.05, -0.11, 0.07])
    n = trace + _N_CA * torch.nn.functional.normalize(before - trace + tilt, dim=-1)
    c = trace + _CA_C * torch.nn.functional.normalize(after - trace - 2 * tilt.flip(0), dim=-1)
    return frames_of_backbone(n, trace, c)


def mirrored_frames(backbone: Backbone) -> tuple[Float[Tensor, "R L 4"], Float[Tensor, "R L 3"]]:
    """Return the frames of the mirror image of N, CA and C; CB, which must stay that of L amino acids, changes side."""
    return frames_of_backbone(mirrored(backbone.n), mirrored(backbone.ca), mirrored(backbone.c))


def sampled_torsions(
    maps: PairMaps, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "count L"], Float[Tensor, "count L"]]:
    """Return phi and psi in radians, drawn from the torsion map (uniformly where there is none)."""
    length = len(maps)
    if maps.torsion is None:
        draw = torch.rand(2, count, length, generator=generator)
        uniform = math.pi * (2 * draw - 1)
        return uniform[0], uniform[1]
    bins = maps.torsion.shape[-1]
    cell = torch.multinomial(maps.torsion.flatten(1).float(), count, replacement=True, generator=generator).T
    within = (torch.rand(2, count, length, generator=generator) - 0.5) * (2 * math.pi / bins)
    centres = angle_centres(bins)
    return centres[cell // bins] + within[0], centres[cell % bins] + within[1]
