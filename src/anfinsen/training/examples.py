"""A structure with coordinates as a training example, and such examples on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anfinsen.chemistry import BondOrder, Bonds
from anfinsen.common.errors import InputError
from anfinsen.common.files import atomic_path
from anfinsen.features import Complex, FeatureConfig, featurise, loss_bonds, no_couplings
from anfinsen.nn.batch import Batch, Labels

_LABEL = "label."
_BOND_PAIRS = "token_bond_pairs"
_DERIVED = ("token_bonds", "pair_couplings")


def structure_example(complex_: Complex, config: FeatureConfig, seed: int) -> tuple[Batch, Labels]:
    """Return features and labels of a complex read from a file, whole.

    Raises:
        InputError: no atom of it is resolved.
    """
    atoms = complex_.structure.atoms
    if not atoms.resolved.any():
        raise InputError(f"{complex_.structure.name!r} has no resolved atom: there is nothing to learn from it.")
    complex_ = _without_coordination(complex_)
    batch = featurise(complex_, config, seed)
    bonds = loss_bonds(complex_.structure, complex_.tokens, complex_.atoms.token)
    labels = Labels(
        coordinates=torch.from_numpy(placed_coordinates(complex_, batch.ref_pos.numpy().astype(np.float64))),
        resolved=torch.from_numpy(atoms.resolved.copy()),
        bonds=torch.from_numpy(bonds),
    )
    return batch, labels


def _without_coordination(complex_: Complex) -> Complex:
    """Leave out the metal coordination that the file records: shown as bonds, it would tell where each ion sits."""
    bonds = complex_.structure.bonds
    keep = ~(bonds.is_inter & (bonds.order == BondOrder.COORDINATION))
    kept = Bonds(bonds.atoms[keep], bonds.order[keep], bonds.is_inter[keep])
    return dataclasses.replace(complex_, structure=dataclasses.replace(complex_.structure, bonds=kept))


def placed_coordinates(complex_: Complex, reference: Float[np.ndarray, "A 3"]) -> Float[np.ndarray, "A 3"]:
    """Return coordinates in Å in which every unresolved atom has a plausible place.

    Where three or more atoms of a residue are resolved, its reference conformer is laid over them; else the conformer
    is centred on the residue's resolved atoms, or on the nearest resolved residue of the chain (or any other).
    """
    structure = complex_.structure
    residue, resolved = structure.atoms.residue, structure.atoms.resolved
    coordinates = np.where(resolved[:, None], structure.atoms.coordinates, 0.0).astype(np.float64)
    n_residues = len(structure.residues)
    known = np.bincount(residue, resolved, minlength=n_residues)
    total = np.bincount(residue, minlength=n_residues)
    sums = np.stack([np.bincount(residue, resolved * coordinates[:, i], n_residues) for i in range(3)], axis=1)
    centres = sums / np.maximum(known, 1)[:, None]
    starts = np.concatenate([[0], np.cumsum(total)])
    anchors = np.flatnonzero(known > 0)
    for index in np.flatnonzero(known < total):
        span = slice(int(starts[index]), int(starts[index + 1]))
        mine = resolved[span]
        if known[index] >= 3:
            moved = _superposed(reference[span], coordinates[span], mine)
        else:
            same_chain = structure.residues.chain[anchors] == structure.residues.chain[index]
            # Residues of other chains come after all of this chain.
            distance = np.abs(anchors - index) + np.where(same_chain, 0, n_residues)
            conformer = reference[span] - reference[span].mean(axis=0)
            moved = conformer + centres[anchors[np.argmin(distance)]]
        coordinates[span] = np.where(mine[:, None], coordinates[span], moved)
    return coordinates.astype(np.float32)


def _superposed(
    moving: Float[np.ndarray, "a 3"], fixed: Float[np.ndarray, "a 3"], mask: Bool[np.ndarray, "a"]
) -> Float[np.ndarray, "a 3"]:
    """Lay ``moving`` over the masked atoms of ``fixed`` (Kabsch 1976)."""
    origin, target = moving[mask].mean(axis=0), fixed[mask].mean(axis=0)
    u, _, vt = np.linalg.svd((moving[mask] - origin).T @ (fixed[mask] - target))
    sign = np.sign(np.linalg.det(u @ vt))
    return np.asarray((moving - origin) @ ((u * np.array([1.0, 1.0, sign])) @ vt) + target)


def save_example(path: Path, batch: Batch, labels: Labels, metadata: dict[str, str]) -> None:
    """Write one example to a safetensors file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.name not in _DERIVED}
    # N x N flags of a large complex are nearly all false: their places are stored instead. Couplings need alignments,
    # which structure files do not bring.
    tensors[_BOND_PAIRS] = torch.nonzero(batch.token_bonds)
    for field in dataclasses.fields(labels):
        value = getattr(labels, field.name)
        if isinstance(value, Tensor):
            tensors[_LABEL + field.name] = value
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def load_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a stored example without reading its tensors.

    Raises:
        InputError: the file is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def load_example(path: Path) -> tuple[Batch, Labels]:
    """Read what `save_example` wrote.

    Raises:
        InputError: the file is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    names = [name for name in tensors if name.startswith(_LABEL)]
    labels = Labels(**{name.removeprefix(_LABEL): tensors.pop(name) for name in names})
    pairs = tensors.pop(_BOND_PAIRS)
    n = len(tensors["restype"])
    tensors["token_bonds"] = torch.zeros(n, n, dtype=torch.bool)
    tensors["token_bonds"][pairs[:, 0], pairs[:, 1]] = True
    tensors["pair_couplings"] = no_couplings(n)
    return Batch(**tensors), labels


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"The stored example {path} cannot be read ({error}): delete it, it will be made anew.")
