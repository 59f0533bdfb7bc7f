"""Structure realisation: gradient descent on the potential from many starts, and again from the best of them.

Two spaces: the paper's torsions (Senior et al. 2020, x = G(phi, psi)), and free rigid residues whose bonds tighten as
the descent goes on; the second finds lower potentials in less time and is the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.geometry import dihedrals

from .building import Backbone, backbone_of_frames, backbone_of_torsions, frames_of_backbone
from .lbfgs import LbfgsConfig, minimise
from .maps import PairMaps, torsions
from .potential import Potential, TermWeights
from .starts import frames_along, mirrored, mirrored_frames, sampled_torsions, scaled_traces


@dataclass(frozen=True)
class Stage:
    """One stretch of descent with fixed weights.

    Attributes:
        steps: of L-BFGS. keep: how many of the starts go on after it. weights: of the potential's terms.
    """

    steps: int
    keep: int
    weights: TermWeights


_LOOSE = TermWeights(clash=0.0, bond=1.0)
_FIRMER = TermWeights(clash=1.0, bond=8.0)
_FINAL = TermWeights(clash=5.0, bond=60.0)
_TORSION_FINAL = TermWeights(bond=0.0)


@dataclass(frozen=True)
class FoldingConfig:
    """How one chain is folded.

    Attributes:
        space: "frames" (free rigid residues) or "torsions" (the paper's).
        starts: of the first round; frames start in both hands, half each.
        stages: of the first round.
        rounds: later rounds, each of ``pool`` starts: noisy copies of the best so far, and its mirror image (frames).
        pool: see there.
        later: stages of the later rounds.
        distance_noise: relative, between the first round's starts. shift_noise: Å; torsion_noise: radians (the paper's
            30 degrees): of the pool's copies.
        lbfgs: the optimiser.
        snapshot_every: steps between the pictures of the trajectory.
    """

    space: Literal["frames", "torsions"] = "frames"
    starts: int = 8
    stages: tuple[Stage, ...] = (Stage(70, 4, _LOOSE), Stage(60, 2, _FIRMER), Stage(100, 2, _FINAL))
    rounds: int = 1
    pool: int = 4
    later: tuple[Stage, ...] = (Stage(50, 4, _LOOSE), Stage(50, 2, _FIRMER), Stage(80, 2, _FINAL))
    distance_noise: float = 0.1
    shift_noise: float = 1.5
    torsion_noise: float = math.radians(30.0)
    lbfgs: LbfgsConfig = field(default_factory=lambda: LbfgsConfig(max_move=1.5))
    snapshot_every: int = 5


TORSION_FOLDING = FoldingConfig(
    space="torsions",
    starts=16,
    stages=(Stage(200, 8, _TORSION_FINAL), Stage(300, 8, _TORSION_FINAL)),
    rounds=3,
    pool=8,
    later=(Stage(300, 8, _TORSION_FINAL),),
    lbfgs=LbfgsConfig(max_move=0.3),
)
"""The paper's own way, shortened from 5,000 restarts of up to 1,200 steps to what a laptop does in minutes."""


@dataclass(frozen=True)
class Fold:
    """What folding found: S structures, the lowest potential first.

    Attributes:
        backbone: S chains. energy: their potential under the final weights.
        terms: unweighted terms of each.
        origin: what each one started from: "scaled", "mirror", "sampled" or "pool" (with the parent's hand kept apart
            by the potential alone).
        trace: potential of the best one's ancestors over all steps; weights change between stages.
        trajectory: CA positions of the same at every snapshot, Å.
    """

    backbone: Backbone
    energy: Float[Tensor, "S"]
    terms: dict[str, Float[Tensor, "S"]]
    origin: tuple[str, ...]
    trace: Float[Tensor, "steps"]
    trajectory: Float[Tensor, "snapshots L 3"]


@dataclass
class _Run:
    """Starts on their way: R points and what is known of each one's past."""

    x: Float[Tensor, "R D"]
    origin: list[str]
    energy: Float[Tensor, "R"]
    trace: Float[Tensor, "steps R"]
    pictures: Float[Tensor, "snapshots R L 3"]

    def choose(self, order: Int[Tensor, "r"]) -> _Run:
        names = [self.origin[int(i)] for i in order]
        return _Run(self.x[order], names, self.energy[order], self.trace[:, order], self.pictures[:, order])


def fold(
    maps: PairMaps,
    potential: Potential,
    generator: torch.Generator,
    config: FoldingConfig | None = None,
    on_step: Callable[[], None] | None = None,
) -> Fold:
    """Fold one chain.

    Both hands of every scaled start are folded, and the best structure's mirror image again in each later round: a
    mirror image has the same distances, and loses by CB, torsions and orientations, which have a hand.

    Args:
        maps: for the starts. potential: made from the same maps.
        generator: draws the starts and the noise.
        config: see there.
        on_step: called after every step of L-BFGS.
    """
    config = config or FoldingConfig()
    with torch.no_grad():
        points, origin = _first_points(maps, generator, config)
    best = _descend(_new_run(points, origin, config), potential, config.stages, config, on_step)
    for _ in range(config.rounds):
        with torch.no_grad():
            points, origin, parents = _pool_points(best, generator, config)
            past = best.choose(parents)
            pool = _Run(points, origin, past.energy, past.trace, past.pictures)
        best = _merged(best, _descend(pool, potential, config.later, config, on_step))
    best = best.choose(best.energy.argsort())
    backbone = _backbone(best.x, config)
    with torch.no_grad():
        terms = potential.terms(backbone)
    # A run shorter than the longest is padded in front with NaN, which does not belong to it.
    trace = best.trace[:, 0]
    trace = trace[~torch.isnan(trace)]
    pictures = best.pictures[:, 0]
    pictures = pictures[~torch.isnan(pictures).any(-1).any(-1)]
    return Fold(backbone, best.energy, terms, tuple(best.origin), trace, pictures)


def _first_points(
    maps: PairMaps, generator: torch.Generator, config: FoldingConfig
) -> tuple[Float[Tensor, "R D"], list[str]]:
    if config.space == "torsions":
        phi, psi = sampled_torsions(maps, config.starts, generator)
        return torch.cat([phi, psi], dim=1), ["sampled"] * config.starts
    half = max(1, config.starts // 2)
    traces = scaled_traces(maps, half, config.distance_noise, generator)
    quaternion, origin = frames_along(torch.cat([traces, mirrored(traces)]))
    return _frame_points(quaternion, origin), ["scaled"] * (2 * half)


def _pool_points(
    best: _Run, generator: torch.Generator, config: FoldingConfig
) -> tuple[Float[Tensor, "R D"], list[str], Int[Tensor, "R"]]:
    """Noisy copies of the best so far, what they are called, and whose copies they are."""
    order = best.energy.argsort()
    parents = order[torch.arange(config.pool) % len(order)]
    parent = best.x[parents]
    if config.space == "torsions":
        noise = config.torsion_noise * torch.randn(parent.shape, generator=generator)
        return parent + noise, ["pool"] * config.pool, parents
    backbone = _backbone(parent, config)
    quaternion, origin = frames_of_backbone(backbone.n, backbone.ca, backbone.c)
    shift = config.shift_noise * torch.randn(origin.shape, generator=generator)
    mirror_quaternion, mirror_origin = mirrored_frames(_backbone(parent[:1], config))
    points = _frame_points(
        torch.cat([quaternion[:-1], mirror_quaternion]), torch.cat([(origin + shift)[:-1], mirror_origin])
    )
    return points, ["pool"] * (config.pool - 1) + ["mirror"], torch.cat([parents[:-1], parents[:1]])


def _frame_points(quaternion: Float[Tensor, "R L 4"], origin: Float[Tensor, "R L 3"]) -> Float[Tensor, "R D"]:
    # A quaternion longer than 1 turns more slowly: a unit of any coordinate then moves atoms about as far.
    return torch.cat([_QUATERNION_SCALE * quaternion, origin], dim=-1).flatten(1)


_QUATERNION_SCALE = 3.0


def _backbone(x: Float[Tensor, "R D"], config: FoldingConfig) -> Backbone:
    if config.space == "torsions":
        phi, psi = x.chunk(2, dim=1)
        return backbone_of_torsions(phi, psi)
    residues = x.reshape(len(x), -1, 7)
    return backbone_of_frames(residues[..., :4], residues[..., 4:])


def _new_run(points: Float[Tensor, "R D"], origin: list[str], config: FoldingConfig) -> _Run:
    none = points.new_zeros(0, len(points))
    return _Run(points, origin, points.new_zeros(len(points)), none, _picture(points, config)[:0])


def _descend(
    run: _Run,
    potential: Potential,
    stages: tuple[Stage, ...],
    config: FoldingConfig,
    on_step: Callable[[], None] | None,
) -> _Run:
    for stage in stages:
        pictures: list[Tensor] = []

        def energy(x: Tensor, weights: TermWeights = stage.weights) -> Tensor:
            return potential(_backbone(x, config), weights)

        def watch(x: Tensor, taken: list[Tensor] = pictures) -> None:
            if len(taken) % config.snapshot_every == 0:
                taken.append(_picture(x, config))
            else:
                taken.append(x.new_zeros(0, *taken[0].shape[1:]))
            if on_step is not None:
                on_step()

        found = minimise(energy, run.x, stage.steps, config.lbfgs, watch)
        run = _Run(
            found.x,
            run.origin,
            found.energy,
            torch.cat([run.trace, found.trace]),
            torch.cat([run.pictures, *pictures]),
        ).choose(found.energy.argsort()[: stage.keep])
    return run


def _picture(x: Float[Tensor, "R D"], config: FoldingConfig) -> Float[Tensor, "1 R L 3"]:
    with torch.no_grad():
        return _backbone(x, config).ca[None]


def _merged(first: _Run, second: _Run) -> _Run:
    """Both runs side by side; the shorter past is padded in front with NaN."""
    return _Run(
        torch.cat([first.x, second.x]),
        first.origin + second.origin,
        torch.cat([first.energy, second.energy]),
        torch.cat(_padded(first.trace, second.trace), dim=1),
        torch.cat(_padded(first.pictures, second.pictures), dim=1),
    )


def _padded(*parts: Tensor) -> list[Tensor]:
    longest = max(len(part) for part in parts)
    return [torch.cat([part.new_full((longest - len(part), *part.shape[1:]), torch.nan), part]) for part in parts]


def hand_of(ca: Float[Tensor, "L 3"]) -> float:
    """Return how right-handed a chain's helices are: 1 all right, -1 all left, 0 without helical turns.

    A turn is four consecutive CA atoms with a dihedral of 50 ± 25 degrees (right-handed) or -50 ± 25 (left-handed)
    and first and last closer than 7 Å.
    """
    dihedral = torch.rad2deg(dihedrals(ca[:-3], ca[1:-2], ca[2:-1], ca[3:]))
    close = (ca[3:] - ca[:-3]).norm(dim=-1) < 7.0
    right = int(((dihedral - 50.0).abs().le(25.0) & close).sum())
    left = int(((dihedral + 50.0).abs().le(25.0) & close).sum())
    return (right - left) / max(1, right + left)


def torsions_of(fold_: Fold) -> tuple[Float[Tensor, "S L"], Float[Tensor, "S L"]]:
    """Return phi and psi of all structures, radians."""
    return torsions(fold_.backbone)
