"""Smooth lDDT, the differentiable local distance test (AlphaFold 3 supplement, algorithm 27)."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import pairwise_distances
from anfinsen.nn.batch import Batch, Labels

from .atoms import atom_kind, inclusion_radius

THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å
PAIRS_AT_ONCE = 4_000_000  # about 200 MB of temporaries


def smooth_lddt_loss(denoised: Float[Tensor, "samples a 3"], batch: Batch, labels: Labels) -> Float[Tensor, "samples"]:
    """Return 1 - smooth lDDT of each sample.

    Only pairs of resolved atoms that are neighbours in the true structure are looked at, each once, and the gradient
    is worked out on the way: memory grows with the number of neighbours, not with A², and not with the samples.

    Args:
        denoised: Å.
        batch, labels: the complex and its true structure.
    """
    resolved = labels.resolved & batch.atom_mask
    pairs, weight, distance = _neighbours(labels.coordinates.float(), resolved, inclusion_radius(atom_kind(batch)))
    loss: Tensor = _SmoothLddt.apply(denoised.float(), pairs, weight, distance)  # type: ignore[no-untyped-call]  # torch
    return loss


def _neighbours(
    x: Float[Tensor, "a 3"], resolved: Bool[Tensor, "a"], radius: Float[Tensor, "a"], rows: int = 1024
) -> tuple[Int[Tensor, "2 p"], Float[Tensor, "p"], Float[Tensor, "p"]]:
    """Return the unordered neighbour pairs, how often algorithm 27 counts each (once or twice), and distances."""
    atoms = resolved.nonzero()[:, 0]
    x, radius = x[atoms], radius[atoms]
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(atoms), rows):
        stop = min(start + rows, len(atoms))
        distance = pairwise_distances(x[start:stop], x[start:])
        # c_lm of line 5 depends on the kind of l alone: a nucleotide may see a protein that does not see it.
        count = (distance < radius[start:stop, None]).to(x.dtype) + (distance < radius[None, start:]).to(x.dtype)
        count = count.triu(1)
        i, j = count.nonzero(as_tuple=True)
        found.append((torch.stack([atoms[i + start], atoms[j + start]]), count[i, j], distance[i, j]))
    if not found:
        return atoms.new_zeros((2, 0)), x.new_zeros(0), x.new_zeros(0)
    pairs, counts, distances = zip(*found, strict=True)
    return torch.cat(pairs, dim=1), torch.cat(counts), torch.cat(distances)


class _SmoothLddt(torch.autograd.Function):
    """Value and gradient in one pass over the pairs; only the gradient is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pairs: Tensor, weight: Tensor, distance: Tensor) -> Tensor:
        samples, atoms, pair_count = len(x), x.shape[1], pairs.shape[1]
        total = weight.sum().clamp(min=1)
        loss = x.new_ones(samples) if pair_count else x.new_zeros(samples)
        gradient = torch.zeros_like(x)
        at_once = max(1, PAIRS_AT_ONCE // max(pair_count, 1))
        for start in range(0, samples if pair_count else 0, at_once):
            part = slice(start, start + at_once)
            # One row per atom with the samples side by side: gathering long rows is several times faster.
            rows = x[part].permute(1, 2, 0).reshape(atoms, -1)
            offset = (rows.index_select(0, pairs[0]) - rows.index_select(0, pairs[1])).view(pair_count, 3, -1)
            length = offset.square().sum(1).sqrt_()
            excess = length - distance[:, None]
            # sigmoid(t - e) = 1 / (1 + exp(e) exp(-t)): one exponential for the four thresholds.
            grown = excess.abs().exp_()
            score, slope = torch.zeros_like(grown), torch.zeros_like(grown)
            for threshold in THRESHOLDS:
                step = (grown * math.exp(-threshold)).add_(1).reciprocal_()
                score += step
                slope.add_(step).addcmul_(step, step, value=-1)
            loss[part] -= (score.t().contiguous() * weight).sum(-1) / (len(THRESHOLDS) * total)
            if not ctx.needs_input_grad[0]:
                continue
            # d loss / d length, then along the direction of the pair
            slope *= excess.sign_() * (weight / (len(THRESHOLDS) * total))[:, None]
            force = offset.mul_((slope / length.clamp(min=1e-6))[:, None]).view(pair_count, -1)
            pull = torch.zeros_like(rows).index_add_(0, pairs[0], force).index_add_(0, pairs[1], force, alpha=-1)
            gradient[part] = pull.view(atoms, 3, -1).permute(2, 0, 1)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[:, None, None], None, None, None
