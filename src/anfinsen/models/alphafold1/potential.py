"""The potential: minus the log-probability of a structure under the network's maps, and what keeps it a protein.

Terms are those of Senior et al. 2020 (methods, "structure realization by gradient descent"); orientations follow
Yang et al. 2020; the bonds hold free rigid residues together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import pairwise_distances
from anfinsen.geometry.internal import C_N, C_N_CA, CA_C, CA_C_N, N_CA

from .building import Backbone
from .maps import (
    FIRST_DISTANCE,
    LAST_DISTANCE,
    PairMaps,
    angle_centres,
    distance_centres,
    orientations,
    torsions,
)
from .splines import Splines, natural_splines, periodic_splines

# Radii in Å of N, CA, C, O and CB, small enough for hydrogen bonds and tight turns: two atoms clash below the sum.
_RADII = (1.35, 1.65, 1.60, 1.30, 1.65)
_CLASH_REACH = 8.0  # Å between CA atoms; beyond it no backbone atoms or CB of two residues touch
_LEAST_SEPARATION_CLASH = 3  # residues closer in the chain are held by torsions and bonds
_C_CA = math.sqrt(C_N**2 + N_CA**2 - 2 * C_N * N_CA * math.cos(C_N_CA))
_CA_N = math.sqrt(CA_C**2 + C_N**2 - 2 * CA_C * C_N * math.cos(CA_C_N))
# Trans: CA-C, C-N and N-CA lie in a plane, in a zigzag.
_CA_CA = math.hypot(
    CA_C - C_N * math.cos(CA_C_N) + N_CA * math.cos(C_N_CA - CA_C_N),
    C_N * math.sin(CA_C_N) + N_CA * math.sin(C_N_CA - CA_C_N),
)


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms, all in units of -log P.

    Attributes:
        distance, torsion, orientation: of the network's log-probabilities.
        clash: per Å² of overlap. bond: per Å² of bond stretching (rigid residues only).
    """

    distance: float = 1.0
    torsion: float = 1.0
    orientation: float = 1.0
    clash: float = 5.0
    bond: float = 20.0


@dataclass(frozen=True)
class PotentialConfig:
    """How maps become energies.

    Attributes:
        flat_from: distances beyond this, Å, all have the same energy (Senior et al. 2020: 18).
        least_separation: residues closer in the chain have no distance term.
        floor: added to every probability, so that no bin is impossible.
        near: Å; orientations count by the probability of a distance below this.
        least_near: pairs less likely than this to be near have no orientation term.
        torsion_form: "joint" smooths the network's whole histogram, "von_mises" fits one peak as the paper does.
        torsion_width: radians, of the smoothing.
    """

    flat_from: float = 18.0
    least_separation: int = 2
    floor: float = 1e-4
    near: float = 12.0
    least_near: float = 0.2
    torsion_form: str = "joint"
    torsion_width: float = math.radians(12.0)

    def __post_init__(self) -> None:
        if self.torsion_form not in ("joint", "von_mises"):
            raise ValueError(f"torsion_form is {self.torsion_form!r}: expected 'joint' or 'von_mises'")


class Potential:
    """Energies of backbones; built once per chain."""

    def __init__(
        self,
        maps: PairMaps,
        reference: Float[Tensor, "L L distances"] | None = None,
        *,
        glycine: Bool[Tensor, "L"] | None = None,
        config: PotentialConfig | None = None,
    ) -> None:
        """Prepare splines.

        Args:
            maps: of one chain.
            reference: probabilities of distances without knowledge of the sequence; none where not given.
            glycine: residues without CB (no clash term of it).
            config: see there.
        """
        self.config = config or PotentialConfig()
        length = len(maps)
        self.length = length
        self._first, self._second = torch.triu_indices(length, length, self.config.least_separation)
        self._distance = _distance_splines(maps, reference, (self._first, self._second), self.config)
        self._torsion = _TorsionTerm(maps.torsion, self.config) if maps.torsion is not None else None
        term = _OrientationTerm(maps, self.config) if maps.omega is not None else None
        self._orientation = term if term is not None and term.pairs else None
        radii = torch.tensor(_RADII).repeat(length, 1)
        if glycine is not None:
            # A radius so small that the sum with any other is negative: never a clash.
            radii[glycine, 4] = -10.0
        self._radii = radii

    def terms(self, backbone: Backbone) -> dict[str, Float[Tensor, "R"]]:
        """Return every term without its weight: distance, clash, bond and, where the maps have them, the others."""
        distance = pairwise_distances(backbone.cb)[:, self._first, self._second]
        result = {
            "distance": self._distance(distance).sum(-1),
            "clash": self._clash(backbone),
            "bond": bond_term(backbone),
        }
        if self._torsion is not None:
            result["torsion"] = self._torsion(*torsions(backbone))
        if self._orientation is not None:
            result["orientation"] = self._orientation(backbone)
        return result

    def __call__(self, backbone: Backbone, weights: TermWeights | None = None) -> Float[Tensor, "R"]:
        """Return the weighted sum of the terms for every chain; terms of weight 0 are not computed."""
        weights = weights or TermWeights()
        total = weights.distance * self._distance(pairwise_distances(backbone.cb)[:, self._first, self._second]).sum(-1)
        if weights.torsion and self._torsion is not None:
            total = total + weights.torsion * self._torsion(*torsions(backbone))
        if weights.orientation and self._orientation is not None:
            total = total + weights.orientation * self._orientation(backbone)
        if weights.clash:
            total = total + weights.clash * self._clash(backbone)
        if weights.bond:
            total = total + weights.bond * bond_term(backbone)
        return total

    def _clash(self, backbone: Backbone) -> Float[Tensor, "R"]:
        """Smooth steric term: ((r² - d²) / r)² summed over atoms closer than the sum r of their radii."""
        with torch.no_grad():
            near = pairwise_distances(backbone.ca) < _CLASH_REACH
            chain, i, j = near.triu(_LEAST_SEPARATION_CLASH).nonzero(as_tuple=True)
        atoms = backbone.atoms
        offset = atoms[chain, i].unsqueeze(2) - atoms[chain, j].unsqueeze(1)
        radius = (self._radii[i].unsqueeze(2) + self._radii[j].unsqueeze(1)).to(atoms).clamp(min=1e-3)
        overlap = (radius - offset.square().sum(-1) / radius).clamp(min=0).square().sum(dim=(-1, -2))
        return torch.zeros_like(atoms[:, 0, 0, 0]).index_add(0, chain, overlap)


def bond_term(backbone: Backbone) -> Float[Tensor, "R"]:
    """Return squared errors, Å², of the four distances that fix a trans peptide bond between rigid residues."""
    n, ca, c = backbone.n[:, 1:], backbone.ca, backbone.c[:, :-1]
    pairs = ((c, n, C_N), (c, ca[:, 1:], _C_CA), (ca[:, :-1], n, _CA_N), (ca[:, :-1], ca[:, 1:], _CA_CA))
    # The small number keeps the gradient finite where two atoms coincide.
    return torch.stack(
        [(((a - b).square().sum(-1) + 1e-8).sqrt() - length).square().sum(-1) for a, b, length in pairs]
    ).sum(0)


def _distance_splines(
    maps: PairMaps,
    reference: Float[Tensor, "L L distances"] | None,
    pairs: tuple[Int[Tensor, "P"], Int[Tensor, "P"]],
    config: PotentialConfig,
) -> Splines:
    """-log P(d | sequence) + log P(d | length, separation), through the bin centres, constant past ``flat_from``."""
    probability = maps.distogram[pairs].float()
    bins = probability.shape[-1]
    energy = -torch.log(probability + config.floor)
    if reference is not None:
        energy = energy + torch.log(reference[pairs].float() + config.floor)
    spacing = (LAST_DISTANCE - FIRST_DISTANCE) / bins
    first = float(distance_centres(bins)[0])
    splines = natural_splines(energy, first, spacing, flat_from=config.flat_from)
    # Far pairs are 0, so that energies of chains can be compared with the eye.
    level = splines(torch.full((1, len(energy)), config.flat_from))
    splines.coefficients[..., 0] -= level[0][:, None]
    return splines


class _TorsionTerm:
    """-log p(phi, psi), summed over residues that have both."""

    def __init__(self, torsion: Float[Tensor, "L b b"], config: PotentialConfig) -> None:
        bins = torsion.shape[-1]
        inner = torsion[1:-1].float() / torsion[1:-1].float().sum((1, 2), keepdim=True)
        centres = angle_centres(bins)
        if config.torsion_form == "von_mises":
            marginals = (inner.sum(2), inner.sum(1))
            self._fits = tuple(von_mises_fit(marginal, centres) for marginal in marginals)
            self._joint = None
            return
        self._centres = centres
        self._concentration = 1.0 / config.torsion_width**2
        # What one kernel integrates to, over the bins: energies do not depend on their number.
        kernel = torch.exp(self._concentration * (torch.cos(centres - centres[0]) - 1)).sum()
        self._joint = (inner + config.floor / bins**2) / kernel**2 * bins**2

    def __call__(self, phi: Float[Tensor, "R L"], psi: Float[Tensor, "R L"]) -> Float[Tensor, "R"]:
        phi, psi = phi[:, 1:-1], psi[:, 1:-1]
        if self._joint is None:
            pairs = zip((phi, psi), self._fits, strict=True)
            parts = [concentration * (1 - torch.cos(angle - mean)) for angle, (mean, concentration) in pairs]
            return (parts[0] + parts[1]).sum(-1)
        first, second = (self._kernel(angle) for angle in (phi, psi))
        density = torch.einsum("rla,lab,rlb->rl", first, self._joint.to(phi), second)
        return -torch.log(density + 1e-6).sum(-1)

    def _kernel(self, angle: Float[Tensor, "R L"]) -> Float[Tensor, "R L b"]:
        return torch.exp(self._concentration * (torch.cos(angle[..., None] - self._centres.to(angle)) - 1))


def von_mises_fit(
    marginal: Float[Tensor, "L b"], centres: Float[Tensor, "b"]
) -> tuple[Float[Tensor, "L"], Float[Tensor, "L"]]:
    """Return mean (radians) and concentration of the von Mises distribution with the same mean resultant.

    The concentration is Best and Fisher's approximation (1981), at most 100.
    """
    x, y = marginal @ torch.cos(centres), marginal @ torch.sin(centres)
    r = torch.sqrt(x * x + y * y).clamp(max=0.995)
    low, middle = 2 * r + r**3 + 5 * r**5 / 6, -0.4 + 1.39 * r + 0.43 / (1 - r)
    high = 1 / (r**3 - 4 * r**2 + 3 * r).clamp(min=1e-6)
    concentration = torch.where(r < 0.53, low, torch.where(r < 0.85, middle, high))
    return torch.atan2(y, x), concentration.clamp(max=100.0)


class _OrientationTerm:
    """Sum of -log p of omega, theta and phi over likely neighbours, weighted by how likely they are."""

    def __init__(self, maps: PairMaps, config: PotentialConfig) -> None:
        if maps.omega is None or maps.theta is None or maps.phi is None:
            raise ValueError("orientation maps must be given all or not at all")
        near = maps.probability_within(config.near)
        first, second = torch.nonzero((near > config.least_near).fill_diagonal_(False), as_tuple=True)
        far_enough = (first - second).abs() >= config.least_separation
        self._first, self._second = first[far_enough], second[far_enough]
        pairs = (self._first, self._second)
        self.pairs = len(self._first)
        self._weight = near[pairs].float()
        if self.pairs == 0:
            return  # nobody is near: there is nothing to evaluate
        start, step = -math.pi, math.pi / maps.phi.shape[-1]
        energies = [-torch.log(m[pairs].float() + config.floor) for m in (maps.omega, maps.theta, maps.phi)]
        energies = [e - e.mean(-1, keepdim=True) for e in energies]
        offset = math.pi / maps.omega.shape[-1]
        self._omega = periodic_splines(energies[0], start + offset, 2 * math.pi)
        self._theta = periodic_splines(energies[1], start + offset, 2 * math.pi)
        self._phi = natural_splines(energies[2], step / 2, step)

    def __call__(self, backbone: Backbone) -> Float[Tensor, "R"]:
        found = orientations(backbone, self._first, self._second)
        # omega is the same from both residues: half of it from each.
        energy = 0.5 * self._omega(found.omega) + self._theta(found.theta) + self._phi(found.phi)
        return (energy * self._weight.to(energy)).sum(-1)
