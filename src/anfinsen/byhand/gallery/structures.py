"""Structures: attention among rigid residues, the error that they are trained against, and folding down a gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anfinsen.geometry import Frames, gram_schmidt_frames
from anfinsen.geometry.internal import CA_C, N_CA, N_CA_C
from anfinsen.models.alphafold1 import CropLogits, PotentialConfig, Splines, natural_splines
from anfinsen.models.alphafold1.maps import FIRST_DISTANCE, LAST_DISTANCE
from anfinsen.models.alphafold2 import AlphaFold2Output
from anfinsen.models.alphafold2.invariant_point_attention import InvariantPointAttention, PointAttentionConfig

from ..slicing import Slice
from ..slots import Names
from ..trace import Function, step, trace_function
from .entry import TOKENS, Entry, Losses, Recorded, Sources, everyone, model_block, small_block, whole

N = 3
# Rotations of small entries: none, and quarter turns about z and x.
TURNS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
)
PLACES = ((0, 0, 0), (2, 1, 0), (1, 3, 1))
POINT_ATTENTION = PointAttentionConfig(c_s=3, c_z=2, heads=2, c_head=2, query_points=1, value_points=1)
ATOMS = ("N", "CA", "C")
XYZ = ("x", "y", "z")
FOLDED = 5  # residues of the model's folding step
RISE, SIDE = 3.3, 1.8  # Å, of the zigzag it starts from: neighbours 3.8 Å apart or so
RATE = 0.02


def _small_points(losses: Losses) -> Recorded:
    frames = Frames(torch.tensor(TURNS, dtype=torch.float64), torch.tensor(PLACES, dtype=torch.float64))
    args = (whole("single", N, 3), whole("pair", N, N, 2), frames, everyone(N))
    return small_block(InvariantPointAttention(POINT_ATTENTION), args, N)


def _model_points(sources: Sources) -> Recorded:
    wanted = Slice(tokens=(0, 1), channels=tuple(range(8)))
    return model_block(sources.network("alphafold2"), "structure.attention", wanted)


def _fape(losses: Losses) -> Function:
    """From N, CA and C of each residue, predicted and true, to FAPE and its gradient."""

    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        frames = {}
        for name in ("predicted", "true"):
            with step(f"{name} frames by Gram and Schmidt"):
                frames[name] = gram_schmidt_frames(*inputs[name].unbind(-2))
        with step("points in frames, and their errors"):
            loss = losses.fape(frames["predicted"], inputs["predicted"][:, 1], frames["true"], inputs["true"][:, 1])
        (gradient,) = torch.autograd.grad(loss, [inputs["predicted"]])
        return {"FAPE": loss, "gradient of predicted": gradient}

    return function


def _record_fape(losses: Losses, predicted: Tensor, true: Tensor, tokens: tuple[str, ...], about: str) -> Recorded:
    axes = dict.fromkeys(("predicted", "true"), "n a c")
    names = Names({"token": tokens, "atom": ATOMS, "channel": XYZ})
    recorded = trace_function(_fape(losses), {"predicted": predicted, "true": true}, axes=axes, names=names)
    return Recorded(recorded, about=about)


def _small_fape(losses: Losses) -> Recorded:
    true = torch.tensor(
        [[[0, 1, 0], [1, 0, 0], [2, 1, 0]], [[3, 1, 1], [4, 0, 1], [5, 1, 0]], [[6, 1, 0], [7, 0, 1], [8, 1, 2]]]
    )
    moves = torch.tensor([[[0, 0, 0]], [[0, 1, 0]], [[1, 0, -1]]])
    return _record_fape(losses, (true + moves).double(), true.double(), TOKENS[:N], "small whole numbers")


def _model_fape(sources: Sources) -> Recorded:
    network = sources.network("alphafold2")
    with torch.no_grad():
        output = network.run("structure")
    assert isinstance(output, AlphaFold2Output)
    frames = output.structure.frames
    n = (N_CA * math.cos(N_CA_C), N_CA * math.sin(N_CA_C), 0.0)
    ideal = output.atoms.new_tensor([n, (0.0, 0.0, 0.0), (CA_C, 0.0, 0.0)])  # as seen from AlphaFold 2's frames
    first, last = (
        torch.einsum("nij,aj->nai", frames.rotation[layer, :N], ideal) + frames.origin[layer, :N, None]
        for layer in (0, -1)
    )
    about = f"{network.name}: the first layer of the structure module against the last"
    return _record_fape(sources.losses, first, last, network.tokens[:N], about)


def spline_at(splines: Splines, x: Tensor) -> Tensor:
    """Return the value of each curve at its own place as :class:`Splines` does, but without looking anything up.

    Which segment ``x`` lies in is told by 1 and 0, so that a formula can follow it from one to the next. Below the
    first knot the first segment's cubic goes on.
    """
    if splines.flat_from is not None:
        x = x.clamp(max=splines.flat_from)
    place = (x - splines.first) / splines.spacing
    segments = torch.arange(splines.coefficients.shape[1], dtype=x.dtype)
    with step("segment of each distance (1 or 0)"):
        below = place[:, None] >= segments[1:]
        start = below.to(x.dtype).sum(-1)
        chosen = (start[:, None] == segments).to(x.dtype)
    with step("its four coefficients"):
        c = torch.matmul(chosen[:, None], splines.coefficients)[:, 0]
    u = place - start
    return c[:, 0] + u * (c[:, 1] + u * (c[:, 2] + u * c[:, 3]))


def _folding(first: Tensor, second: Tensor) -> Function:
    """One step down the gradient of the distances' potential, for these pairs of residues."""
    config = PotentialConfig()

    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        x, logits = inputs["x"], inputs["logits"]
        bins = logits.shape[-1]
        spacing = (LAST_DISTANCE - FIRST_DISTANCE) / bins
        probabilities = torch.softmax(logits, dim=-1)
        with step("energy of each bin: -ln(p + floor)"):
            energy = -torch.log(probabilities + config.floor)
        with step("natural cubic splines through the bins' centres"):
            splines = natural_splines(energy, FIRST_DISTANCE + spacing / 2, spacing, config.flat_from)
        with step("distances"):
            distance = (x[first] - x[second]).square().sum(-1).sqrt()
        with step("potential of each pair"):
            value = spline_at(splines, distance)
        with step("potential"):
            potential = value.sum()
        (gradient,) = torch.autograd.grad(potential, [x])
        with step("one step down"):
            moved = x - inputs["rate"] * gradient
        return {"potential": potential, "gradient of x": gradient, "x after one step": moved}

    return function


def _record_folding(x: Tensor, logits: Tensor, rate: float, tokens: tuple[str, ...], about: str) -> Recorded:
    first, second = torch.triu_indices(len(x), len(x), 1 if len(x) == N else PotentialConfig().least_separation)
    width = (LAST_DISTANCE - FIRST_DISTANCE) / logits.shape[-1]
    # Bins are named in a family of their own: x, y and z are channels.
    names = Names(
        {
            "token": tokens,
            "channel": XYZ,
            "sequence": tuple(f"{FIRST_DISTANCE + width * (n + 0.5):.1f} Å" for n in range(logits.shape[-1])),
            "sample": tuple(f"{tokens[i]}-{tokens[j]}" for i, j in zip(first.tolist(), second.tolist(), strict=True)),
        }
    )
    inputs = {"x": x, "logits": logits[first, second], "rate": torch.tensor(rate)}
    recorded = trace_function(_folding(first, second), inputs, axes={"x": "n c", "logits": "b s"}, names=names)
    return Recorded(recorded, about=about)


def _small_folding(losses: Losses) -> Recorded:
    logits = torch.zeros(N, N, 5, dtype=torch.float64)
    logits[0, 1] = torch.tensor([4, 2, 0, 0, 0])
    logits[1, 2] = torch.tensor([2, 4, 1, 0, 0])
    logits[0, 2] = torch.tensor([0, 1, 3, 1, 0])
    x = torch.tensor([[0, 0, 0], [6, 0, 0], [6, 8, 0]], dtype=torch.float64)
    return _record_folding(x, logits, 1.0, TOKENS[:N], "small whole numbers")


def _model_folding(sources: Sources) -> Recorded:
    network = sources.network("alphafold1")
    with torch.no_grad():
        found = network.run("")
    assert isinstance(found, CropLogits)
    logits = found.distogram[0, :FOLDED, :FOLDED]
    turns = math.pi * torch.arange(FOLDED, dtype=torch.float64)
    x = torch.stack([RISE * torch.arange(FOLDED), SIDE / 2 * torch.cos(turns), 0.3 * torch.arange(FOLDED)], dim=-1)
    about = f"{network.name}, the distogram of {network.tokens[0]} to {network.tokens[FOLDED - 1]}"
    return _record_folding(x, logits, RATE, network.tokens, about)


STRUCTURES = (
    Entry(
        "invariant_point_attention",
        "Invariant point attention",
        "Residues as rigid frames look at each other: besides queries, keys and the pair bias, each head puts points "
        "into every residue's frame, and residues whose points lie close together attend to each other more. Turn or "
        "move all frames together, and nothing changes.",
        "Jumper et al. 2021 (AlphaFold 2), Algorithm 22",
        _small_points,
        _model_points,
    ),
    Entry(
        "fape",
        "Frame aligned point error on three residues",
        "Each residue's N, CA and C make a frame; every CA is looked at from every frame, predicted and true, and "
        "the lengths of the differences are averaged. Its gradient by every predicted atom follows.",
        "Jumper et al. 2021 (AlphaFold 2), Algorithms 21 and 28",
        _small_fape,
        _model_fape,
    ),
    Entry(
        "folding_step",
        "A distogram, and one step of folding",
        "The network's probabilities of distances become a potential, -ln p, made smooth by splines; residues are "
        "points, and each moves a little down the gradient.",
        "Senior et al. 2020 (AlphaFold 1), methods: structure realisation by gradient descent",
        _small_folding,
        _model_folding,
    ),
)
