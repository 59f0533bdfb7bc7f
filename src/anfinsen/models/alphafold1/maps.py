"""What the network says about a chain: distributions over distances, orientations and torsions, and their bins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.geometry import angles, bin_index, dihedrals, pairwise_distances

from .building import Backbone

FIRST_DISTANCE, LAST_DISTANCE = 2.0, 22.0  # Å, Senior et al. 2020: 64 bins in this range; the outer ones are open
SECONDARY_STRUCTURES = "HGIEBTSC"  # DSSP's eight states, C for none


@dataclass(frozen=True)
class PairMaps:
    """Probabilities for a chain of L residues.

    Attributes:
        distogram: of the CB-CB distance (virtual CB for glycine), symmetric.
        torsion: of (phi, psi), jointly; bins from -pi to pi.
        omega: dihedral CA-CB-CB-CA, symmetric. theta: dihedral N-CA-CB-CB, seen from the first residue. phi: angle
            CA-CB-CB at the first residue, 0 to pi. Given that the residues are near each other (Yang et al. 2020); None
            for networks without orientations.
        secondary_structure: of the eight `SECONDARY_STRUCTURES`.
        accessibility: of the relative accessible surface, evenly spaced bins from 0 to 1.
    """

    distogram: Float[Tensor, "L L distances"]
    torsion: Float[Tensor, "L torsions torsions"] | None = None
    omega: Float[Tensor, "L L dihedrals"] | None = None
    theta: Float[Tensor, "L L dihedrals"] | None = None
    phi: Float[Tensor, "L L angles"] | None = None
    secondary_structure: Float[Tensor, "L 8"] | None = None
    accessibility: Float[Tensor, "L surfaces"] | None = None

    def __len__(self) -> int:
        return len(self.distogram)

    @property
    def expected_distance(self) -> Float[Tensor, "L L"]:
        """Mean of the distribution, Å; distances beyond the last bin count as its centre."""
        return self.distogram @ distance_centres(self.distogram.shape[-1]).to(self.distogram)

    def probability_within(self, distance: float) -> Float[Tensor, "L L"]:
        """Return the probability of a distance below ``distance`` (Å, taken to the nearest bin boundary)."""
        bins = self.distogram.shape[-1]
        count = round((distance - FIRST_DISTANCE) / (LAST_DISTANCE - FIRST_DISTANCE) * bins)
        return self.distogram[..., :count].sum(-1)


def distance_centres(bins: int) -> Float[Tensor, "bins"]:
    """Return the middle of every distance bin, Å."""
    width = (LAST_DISTANCE - FIRST_DISTANCE) / bins
    return FIRST_DISTANCE + width * (torch.arange(bins, dtype=torch.float32) + 0.5)


def distance_bins(distance: Float[Tensor, "*shape"], bins: int) -> Int[Tensor, "*shape"]:
    """Return the bin of each distance; the first and the last are open."""
    inner = torch.linspace(FIRST_DISTANCE, LAST_DISTANCE, bins + 1, dtype=torch.float64)[1:-1].float()
    return bin_index(distance, inner.to(distance.device))


def angle_centres(bins: int, first: float = -math.pi, last: float = math.pi) -> Float[Tensor, "bins"]:
    """Return the middle of every angle bin, radians."""
    return first + (last - first) / bins * (torch.arange(bins, dtype=torch.float32) + 0.5)


def angle_bins(
    angle: Float[Tensor, "*shape"], bins: int, first: float = -math.pi, last: float = math.pi
) -> Int[Tensor, "*shape"]:
    """Return the bin of each angle in radians."""
    return ((angle - first) / (last - first) * bins).floor().long().clamp(0, bins - 1)


@dataclass(frozen=True)
class Orientations:
    """Relative orientations of residue pairs, radians (Yang et al. 2020)."""

    omega: Float[Tensor, "R P"]
    theta: Float[Tensor, "R P"]
    phi: Float[Tensor, "R P"]


def orientations(backbone: Backbone, first: Int[Tensor, "P"], second: Int[Tensor, "P"]) -> Orientations:
    """Return the orientations of the pairs ``first[p]``, ``second[p]``, theta and phi as seen from the first."""
    n, ca, cb = backbone.n[:, first], backbone.ca[:, first], backbone.cb[:, first]
    other_ca, other_cb = backbone.ca[:, second], backbone.cb[:, second]
    return Orientations(
        omega=dihedrals(ca, cb, other_cb, other_ca),
        theta=dihedrals(n, ca, cb, other_cb),
        phi=angles(ca, cb, other_cb),
    )


def torsions(backbone: Backbone) -> tuple[Float[Tensor, "R L"], Float[Tensor, "R L"]]:
    """Return phi and psi, radians; the first phi and the last psi do not exist and are 0."""
    n, ca, c = backbone.n, backbone.ca, backbone.c
    none = n.new_zeros(len(n), 1)
    phi = dihedrals(c[:, :-1], n[:, 1:], ca[:, 1:], c[:, 1:])
    psi = dihedrals(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])
    return torch.cat([none, phi], dim=1), torch.cat([psi, none], dim=1)


@dataclass(frozen=True)
class NativeBins:
    """How sharply :func:`native_maps` knows the truth: bins, and standard deviations of the smoothing."""

    distances: int = 64
    torsions: int = 36
    dihedrals: int = 24
    angles: int = 12
    distance_width: float = 0.5
    angle_width: float = math.radians(15.0)


def native_maps(
    backbone: Backbone,
    bins: NativeBins | None = None,
    *,
    torsion: bool = True,
    orientation: bool = True,
) -> PairMaps:
    """Return maps that know a structure: every bin as likely as a Gaussian around the true value makes it.

    Args:
        backbone: one chain (R is 1).
        bins: numbers and smoothing.
        torsion, orientation: whether these maps are given.
    """
    bins = bins or NativeBins()
    distance = pairwise_distances(backbone.cb[0]).clamp(FIRST_DISTANCE, LAST_DISTANCE - 1e-3)
    centres = distance_centres(bins.distances).to(distance)
    distogram = _gaussian(distance[..., None] - centres, bins.distance_width)
    joint = omega = theta = phi_angle = None
    if torsion:
        phi, psi = (_periodic(angle[0], bins.torsions, bins.angle_width) for angle in torsions(backbone))
        joint = phi[:, :, None] * psi[:, None, :]
    if orientation:
        length = backbone.cb.shape[1]
        pair = torch.cartesian_prod(torch.arange(length), torch.arange(length))
        found = orientations(backbone, pair[:, 0], pair[:, 1])
        omega = _periodic(found.omega[0], bins.dihedrals, bins.angle_width).reshape(length, length, -1)
        theta = _periodic(found.theta[0], bins.dihedrals, bins.angle_width).reshape(length, length, -1)
        polar = angle_centres(bins.angles, 0.0).to(distance)
        phi_angle = _gaussian(found.phi[0][:, None] - polar, bins.angle_width).reshape(length, length, -1)
    return PairMaps(distogram, joint, omega, theta, phi_angle)


def _gaussian(offset: Float[Tensor, "*shape bins"], width: float) -> Float[Tensor, "*shape bins"]:
    return torch.softmax(-0.5 * (offset / width) ** 2, dim=-1)


def _periodic(angle: Float[Tensor, "*shape"], bins: int, width: float) -> Float[Tensor, "*shape bins"]:
    offset = angle[..., None] - angle_centres(bins).to(angle)
    return torch.softmax((torch.cos(offset) - 1) / width**2, dim=-1)
