"""Angles, dihedrals, and atoms built from them. Å and radians."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Engh and Huber 2001, averages for residues other than glycine and proline; Å and degrees.
N_CA, CA_C, C_N, CA_CB = 1.459, 1.525, 1.336, 1.530
N_CA_C, CA_C_N, C_N_CA, N_CA_CB = (math.radians(degrees) for degrees in (111.0, 117.2, 121.7, 110.5))
# Dihedral C-N-CA-CB of an L amino acid: with these angles CB is also 110.1 degrees from C.
C_N_CA_CB = math.radians(-122.6)


def angles(
    a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"], c: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch"]:
    """Return the angle at ``b``, 0 to pi."""
    u, v = a - b, c - b
    # atan2 keeps its precision near 0 and pi, where arccos loses it.
    return torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))


def dihedrals(
    a: Float[Tensor, "*batch 3"],
    b: Float[Tensor, "*batch 3"],
    c: Float[Tensor, "*batch 3"],
    d: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch"]:
    """Return the dihedral angle around ``b``-``c``, -pi to pi, IUPAC sign; 0 where three points are on a line."""
    axis = c - b
    u, v = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    y = (torch.linalg.cross(u, v) * axis).sum(-1) / axis.norm(dim=-1).clamp(min=torch.finfo(axis.dtype).tiny)
    return torch.atan2(y, (u * v).sum(-1))


def place_atom(
    a: Float[Tensor, "*batch 3"],
    b: Float[Tensor, "*batch 3"],
    c: Float[Tensor, "*batch 3"],
    length: float | Float[Tensor, "*batch"],
    angle: float | Float[Tensor, "*batch"],
    dihedral: float | Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch 3"]:
    """Return d such that |c d| = ``length``, the angle b-c-d and the dihedral a-b-c-d are as given.

    Source: Parsons et al. 2005 (natural extension reference frame).
    """
    length, angle, dihedral = (torch.as_tensor(v, dtype=c.dtype, device=c.device) for v in (length, angle, dihedral))
    along = torch.nn.functional.normalize(c - b, dim=-1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, along), dim=-1)
    across = torch.linalg.cross(normal, along)
    placed: Tensor = (
        c
        - (length * torch.cos(angle)).unsqueeze(-1) * along
        + (length * torch.sin(angle) * torch.cos(dihedral)).unsqueeze(-1) * across
        + (length * torch.sin(angle) * torch.sin(dihedral)).unsqueeze(-1) * normal
    )
    return placed


def ideal_cbeta(
    n: Float[Tensor, "*batch 3"], ca: Float[Tensor, "*batch 3"], c: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """Return where CB of an L amino acid would be."""
    return place_atom(c, n, ca, CA_CB, N_CA_CB, C_N_CA_CB)


def backbone_from_dihedrals(
    phi: Float[Tensor, "n"], psi: Float[Tensor, "n"], omega: Float[Tensor, "n"]
) -> Float[Tensor, "n 3 3"]:
    """Return N, CA and C of a chain with ideal bond lengths and angles.

    Args:
        phi, psi: radians; the first phi and the last psi are not used.
        omega: radians; ``omega[i]`` belongs to the bond from residue i to i + 1, the last is not used.
    """
    c_alpha, carbon = phi.new_zeros(3), phi.new_tensor([CA_C, 0.0, 0.0])
    # Any third point off the line fixes the plane of the first residue.
    aside = phi.new_tensor([0.0, 1.0, 0.0])
    atoms = [place_atom(aside, carbon, c_alpha, N_CA, N_CA_C, 0.0), c_alpha, carbon]
    for i in range(1, len(phi)):
        atoms.append(place_atom(atoms[-3], atoms[-2], atoms[-1], C_N, CA_C_N, psi[i - 1]))
        atoms.append(place_atom(atoms[-3], atoms[-2], atoms[-1], N_CA, C_N_CA, omega[i - 1]))
        atoms.append(place_atom(atoms[-3], atoms[-2], atoms[-1], CA_C, N_CA_C, phi[i]))
    return torch.stack(atoms).reshape(len(phi), 3, 3)
