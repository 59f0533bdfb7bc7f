"""Reference conformers as features, and the frame each of them lies in (supplement table 5, ``ref_*``)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.chemistry import Atoms, Tokens
from anfinsen.common.seeding import numpy_generator

from .config import ReferenceFrame

# How strongly atom names break ties between the principal axes of symmetric molecules (phosphate, benzene).
_NAME_WEIGHT = 3.0
# Canonical positions are rounded to this many decimals of an ångström, so that they carry no float noise of the frame
# that a conformer came in.
_DECIMALS = 4


def reference_features(tokens: Tokens, atoms: Atoms, frame: ReferenceFrame, seed: int) -> dict[str, Tensor]:
    """Return ``atom_to_token``, ``atom_mask`` and all ``ref_*`` fields of a `Batch`."""
    return {
        "atom_to_token": torch.from_numpy(atoms.token.astype(np.int64)),
        "atom_mask": torch.ones(len(atoms), dtype=torch.bool),
        "ref_pos": torch.from_numpy(reference_positions(tokens, atoms, frame, seed).astype(np.float32)),
        "ref_mask": torch.from_numpy(atoms.ref_mask.copy()),
        "ref_element": torch.from_numpy(atoms.ref_element.astype(np.int64)),
        "ref_charge": torch.from_numpy(atoms.ref_charge.astype(np.float32)),
        "ref_atom_name_chars": torch.from_numpy(atoms.ref_atom_name_chars.astype(np.int64)),
        "ref_space_uid": torch.from_numpy(atoms.ref_space_uid.astype(np.int64)),
    }


def reference_positions(tokens: Tokens, atoms: Atoms, frame: ReferenceFrame, seed: int) -> Float[np.ndarray, "A 3"]:
    """Return the reference positions in Å, each residue in the frame asked for; 0 where unknown."""
    positions = np.where(atoms.ref_mask[:, None], atoms.ref_pos, 0.0).astype(np.float64)
    if frame == "given" or len(atoms) == 0:
        return positions
    _, group = np.unique(atoms.ref_space_uid, return_inverse=True)
    weights = atoms.ref_mask.astype(np.float64)
    positions = positions - _group_mean(positions, weights, group)[group]
    if frame == "random":
        rotation, shift = _random_frames(int(group.max()) + 1, seed)
        moved = np.einsum("aij,aj->ai", rotation[group], positions) + shift[group]
    else:
        moved = np.round(_standard_frames(tokens, atoms, _principal_frames(positions, atoms, group)), _DECIMALS)
        moved = moved + 0.0  # no negative zeros
    return np.where(atoms.ref_mask[:, None], moved, 0.0)


def frame_rotations(
    n: Float[np.ndarray, "*r 3"], ca: Float[np.ndarray, "*r 3"], c: Float[np.ndarray, "*r 3"]
) -> Float[np.ndarray, "*r 3 3"]:
    """Return rotations whose columns are the axes of the frame at ``ca``: x to ``c``, ``n`` in the xy plane.

    AlphaFold 2 supplement, algorithm 21 (Gram-Schmidt).
    """
    x = c - ca
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    y = (n - ca) - np.sum((n - ca) * x, axis=-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _group_mean(
    values: Float[np.ndarray, "A 3"], weights: Float[np.ndarray, "A"], group: Int[np.ndarray, "A"]
) -> Float[np.ndarray, "R 3"]:
    total = np.stack([np.bincount(group, weights * values[:, axis]) for axis in range(3)], axis=1)
    return np.asarray(total / np.maximum(np.bincount(group, weights), 1e-12)[:, None])


def _random_frames(n: int, seed: int) -> tuple[Float[np.ndarray, "R 3 3"], Float[np.ndarray, "R 3"]]:
    """Uniform rotations (QR of Gaussian matrices, signs fixed) and shifts of 1 Å standard deviation."""
    generator = numpy_generator(seed, "reference-frames")
    rotation, upper = np.linalg.qr(generator.normal(size=(n, 3, 3)))
    rotation = rotation * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]
    rotation[:, :, 0] *= np.linalg.det(rotation)[:, None]
    return np.asarray(rotation), generator.normal(size=(n, 3))


def _standard_frames(tokens: Tokens, atoms: Atoms, positions: Float[np.ndarray, "A 3"]) -> Float[np.ndarray, "A 3"]:
    """Put standard residues into the frame of their own backbone, whatever the conformer looks like."""
    known = tokens.is_standard & (tokens.frame_atoms >= 0).all(axis=1)
    frame_atoms = np.where(known[:, None], tokens.frame_atoms, 0)
    known = known & atoms.ref_mask[frame_atoms].all(axis=1)
    first, centre, last = (positions[frame_atoms[known, column]] for column in range(3))
    rotation = np.tile(np.eye(3), (len(tokens), 1, 1))
    origin = np.zeros((len(tokens), 3))
    rotation[known] = frame_rotations(first, centre, last)
    origin[known] = centre
    local = positions - origin[atoms.token]
    return np.asarray(np.einsum("aji,aj->ai", rotation[atoms.token], local))


def _principal_frames(
    positions: Float[np.ndarray, "A 3"], atoms: Atoms, group: Int[np.ndarray, "A"]
) -> Float[np.ndarray, "A 3"]:
    """Turn each group (centred) into its principal axes; atom weights from element and name make them unique."""
    weights = _axis_weights(atoms.ref_element, atoms.ref_atom_name_chars, atoms.ref_mask)
    centred = positions - _group_mean(positions, weights, group)[group]
    moments = np.stack(
        [np.bincount(group, weights * centred[:, i] * centred[:, j]) for i in range(3) for j in range(3)],
        axis=1,
    ).reshape(-1, 3, 3)
    _, axes = np.linalg.eigh(moments)
    along = np.einsum("aji,aj->ai", axes[group], centred)
    skew = np.stack([np.bincount(group, weights * along[:, axis] ** 3) for axis in range(3)], axis=1)
    signs = np.where(skew < 0, -1.0, 1.0)
    # Mirror images must stay apart: one axis follows from the others. It is the shortest, along which planar
    # molecules have no skew.
    signs[:, 0] = signs[:, 1] * signs[:, 2] * np.linalg.det(axes)
    turned = np.einsum("aji,aj->ai", axes[group] * signs[group][:, None, :], positions)
    return np.asarray(turned, dtype=np.float64)


def _axis_weights(
    elements: Int[np.ndarray, "A"], names: Int[np.ndarray, "A 4"], mask: Bool[np.ndarray, "A"]
) -> Float[np.ndarray, "A"]:
    # Multiples of irrational numbers spread the names over [0, 1) evenly (Weyl's equidistribution).
    spread = np.modf(names @ np.sqrt(np.array([2.0, 3.0, 5.0, 7.0])))[0]
    return np.where(mask, elements + 1.0 + _NAME_WEIGHT * spread, 0.0)
