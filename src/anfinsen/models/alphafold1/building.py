"""Backbones of many starts at once: from torsions (the paper's G(φ, ψ)) or from one rigid frame per residue. Å."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.geometry import gram_schmidt_frames, ideal_cbeta, place_atom, quaternion_to_rotation
from anfinsen.geometry.internal import C_N, C_N_CA, CA_C, CA_C_N, N_CA, N_CA_C

# Engh and Huber 1991.
C_O, CA_C_O = 1.231, math.radians(120.1)


@dataclass(frozen=True)
class Backbone:
    """Positions of R chains of L residues, Å.

    Attributes:
        n, ca, c: as built. cb: ideal, for glycine too (a virtual atom there).
    """

    n: Float[Tensor, "R L 3"]
    ca: Float[Tensor, "R L 3"]
    c: Float[Tensor, "R L 3"]
    cb: Float[Tensor, "R L 3"]

    @staticmethod
    def of(atoms: Float[Tensor, "R L 3 3"]) -> Backbone:
        """Return the backbone with the given N, CA and C."""
        n, ca, c = atoms.unbind(-2)
        return Backbone(n, ca, c, ideal_cbeta(n, ca, c))

    @property
    def oxygen(self) -> Float[Tensor, "R L 3"]:
        """Carbonyl oxygen: in the plane of the peptide bond; of the last residue trans to N."""
        to_ca = torch.nn.functional.normalize(self.ca[:, :-1] - self.c[:, :-1], dim=-1)
        to_n = torch.nn.functional.normalize(self.n[:, 1:] - self.c[:, :-1], dim=-1)
        inner = self.c[:, :-1] - C_O * torch.nn.functional.normalize(to_ca + to_n, dim=-1)
        last = place_atom(self.n[:, -1], self.ca[:, -1], self.c[:, -1], C_O, CA_C_O, math.pi)
        return torch.cat([inner, last[:, None]], dim=1)

    @property
    def atoms(self) -> Float[Tensor, "R L 5 3"]:
        """N, CA, C, O and CB."""
        return torch.stack([self.n, self.ca, self.c, self.oxygen, self.cb], dim=2)


def backbone_of_torsions(phi: Float[Tensor, "R L"], psi: Float[Tensor, "R L"]) -> Backbone:
    """Return ideal backbones with trans peptide bonds.

    Every residue is a rigid motion from the one before; their running product is taken by doubling, in log2(L) rounds
    of small matrix products, where atom-by-atom building would take 3 L.

    Args:
        phi, psi: radians; the first phi and the last psi are not used.
    """
    omega = torch.full_like(phi, math.pi)
    step = _compose(
        _compose(_bond(C_N, CA_C_N, psi[:, :-1]), _bond(N_CA, C_N_CA, omega[:, :-1])),
        _bond(CA_C, N_CA_C, phi[:, 1:]),
    )
    identity = torch.eye(3, dtype=phi.dtype, device=phi.device).expand(len(phi), 1, 3, 3)
    rotation = torch.cat([identity, step[0]], dim=1)
    shift = torch.cat([phi.new_zeros(len(phi), 1, 3), step[1]], dim=1)
    reach = 1
    while reach < rotation.shape[1]:
        product = _compose((rotation[:, :-reach], shift[:, :-reach]), (rotation[:, reach:], shift[:, reach:]))
        rotation = torch.cat([rotation[:, :reach], product[0]], dim=1)
        shift = torch.cat([shift[:, :reach], product[1]], dim=1)
        reach *= 2
    # N, CA and C as seen from the frame at C whose first axis points along CA-C.
    n = (N_CA * math.cos(N_CA_C) - CA_C, N_CA * math.sin(N_CA_C), 0.0)
    return Backbone.of(_placed(phi.new_tensor([n, (-CA_C, 0.0, 0.0), (0.0, 0.0, 0.0)]), rotation, shift))


def backbone_of_frames(quaternion: Float[Tensor, "R L 4"], origin: Float[Tensor, "R L 3"]) -> Backbone:
    """Return backbones of free rigid residues: N, CA and C ideal within each, CA at ``origin``.

    Args:
        quaternion: (w, x, y, z) of AlphaFold 2's backbone frame, need not be normalised.
        origin: Å.
    """
    n = (N_CA * math.cos(N_CA_C), N_CA * math.sin(N_CA_C), 0.0)
    ideal = origin.new_tensor([n, (0.0, 0.0, 0.0), (CA_C, 0.0, 0.0)])
    return Backbone.of(_placed(ideal, quaternion_to_rotation(quaternion), origin))


def frames_of_backbone(
    n: Float[Tensor, "R L 3"], ca: Float[Tensor, "R L 3"], c: Float[Tensor, "R L 3"]
) -> tuple[Float[Tensor, "R L 4"], Float[Tensor, "R L 3"]]:
    """Return quaternions and origins of the residues' frames; the inverse of :func:`backbone_of_frames`."""
    return rotation_to_quaternion(gram_schmidt_frames(n, ca, c).rotation), ca


def rotation_to_quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Return unit quaternions (w, x, y, z): the eigenvector of Bar-Itzhack's matrix, stable for every rotation.

    Source: Bar-Itzhack 2000.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotation.unbind(-2))
    rows = (
        torch.stack([xx + yy + zz, zy - yz, xz - zx, yx - xy], dim=-1),
        torch.stack([zy - yz, xx - yy - zz, xy + yx, xz + zx], dim=-1),
        torch.stack([xz - zx, xy + yx, yy - xx - zz, yz + zy], dim=-1),
        torch.stack([yx - xy, xz + zx, yz + zy, zz - xx - yy], dim=-1),
    )
    quaternion: Tensor = torch.linalg.eigh(torch.stack(rows, dim=-2)).eigenvectors[..., -1]
    return quaternion


def _bond(
    length: float, angle: float, dihedral: Float[Tensor, "R n"]
) -> tuple[Float[Tensor, "R n 3 3"], Float[Tensor, "R n 3"]]:
    """The motion from one bond's frame to the next one's (Parsons et al. 2005).

    Frames have their origin at the bond's second atom and axes along the bond, across it, and normal to its plane.
    """
    cos, sin = torch.cos(dihedral), torch.sin(dihedral)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    along = torch.stack([-math.cos(angle) * one, math.sin(angle) * cos, math.sin(angle) * sin], dim=-1)
    across = torch.stack([-math.sin(angle) * one, -math.cos(angle) * cos, -math.cos(angle) * sin], dim=-1)
    normal = torch.stack([zero, -sin, cos], dim=-1)
    return torch.stack([along, across, normal], dim=-1), length * along


def _compose(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The motion ``second``, made within the frame that ``first`` leads to."""
    rotation, shift = first
    return rotation @ second[0], (rotation @ second[1].unsqueeze(-1)).squeeze(-1) + shift


def _placed(
    local: Float[Tensor, "a 3"], rotation: Float[Tensor, "R L 3 3"], origin: Float[Tensor, "R L 3"]
) -> Float[Tensor, "R L a 3"]:
    return torch.einsum("rlij,aj->rlai", rotation, local) + origin.unsqueeze(-2)
