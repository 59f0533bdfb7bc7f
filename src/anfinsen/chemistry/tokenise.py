"""From a `Structure` to AlphaFold 3's tokens and atoms (supplement sections 2.6, 2.8 and 4.3.2, table 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..common.errors import ChemistryError
from ..common.seeding import numpy_generator
from .ccd import ComponentLibrary
from .component import Component
from .conformers import Conformer, reference_conformer
from .polymers import residue_type, standard_type
from .structure import ChainKind, Structure
from .tokens import Atoms, Tokens

_KIND_NUMBER = {ChainKind.PROTEIN: 0, ChainKind.RNA: 1, ChainKind.DNA: 2, ChainKind.LIGAND: 3}
_PURINES = frozenset({"A", "G", "DA", "DG"})
_PROTEIN_FRAME = ("N", "CA", "C")
_NUCLEIC_FRAME = ("C1'", "C3'", "C4'")
_NAME_LENGTH = 4
_FIRST_CHARACTER, _CHARACTERS = 32, 64
# Frames whose arms deviate by less than 25 degrees from a line are not frames (supplement 4.3.2).
_MAX_COSINE = float(np.cos(np.deg2rad(25.0)))
_SAME_PLACE = 1e-6  # Å


@dataclass(frozen=True)
class _Reference:
    """What all residues of one component share."""

    component: Component
    conformer: Conformer
    row: dict[str, int]


def tokenise(structure: Structure, library: ComponentLibrary, seed: int) -> tuple[Tokens, Atoms]:
    """Return the tokens and atoms of ``structure``; residues without any atom have no token.

    Reference positions: one conformer per component and seed, turned and moved at random for every residue
    (supplement table 5: random rotation, translation from a unit normal in Å); the draw depends on seed, chain id
    and residue number, not on the order of chains or atoms. Atoms that the component does not list have no
    reference position (``ref_mask`` false).

    Raises:
        ChemistryError: the library lacks a component, no conformer of it can be made, or an atom's name has a character
            that features have no number for.
    """
    references = {name: _reference(library.get(name), seed) for name in dict.fromkeys(structure.residues.name.tolist())}
    counts = np.bincount(structure.atoms.residue, minlength=len(structure.residues))
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    ref_pos = np.zeros((len(structure.atoms), 3))
    ref_mask = np.zeros(len(structure.atoms), dtype=bool)
    rows: list[tuple[int, ...]] = []
    for residue in range(len(structure.residues)):
        reference = references[str(structure.residues.name[residue])]
        atoms = np.arange(starts[residue], starts[residue] + counts[residue])
        chain = structure.chains[int(structure.residues.chain[residue])]
        names = structure.atoms.name[atoms].tolist()
        positions, known = _positions(reference, names)
        number = int(structure.residues.number[residue])
        ref_pos[atoms] = np.where(known[:, None], _moved(positions, seed, chain.chain_id, number), 0.0)
        ref_mask[atoms] = known
        restype = residue_type(reference.component, chain.kind)
        if len(atoms) and standard_type(reference.component.code, chain.kind) is not None:
            rows.append(
                (residue, restype, 1, int(atoms[0]), len(atoms), *_standard_atoms(chain.kind, names, atoms, reference))
            )
        else:
            frames = _nearest_frames(positions, known, atoms)
            rows.extend(
                (residue, restype, 0, int(atom), 1, int(atom), int(atom), *frame)
                for atom, frame in zip(atoms, frames, strict=True)
            )
    tokens = _tokens(structure, np.array(rows, dtype=np.int64).reshape(-1, 10))
    return tokens, Atoms(
        token=np.repeat(np.arange(len(tokens), dtype=np.int64), tokens.atom_count),
        ref_pos=ref_pos,
        ref_mask=ref_mask,
        ref_element=structure.atoms.element.astype(np.int64),
        ref_charge=structure.atoms.charge.astype(np.int64),
        ref_atom_name_chars=_name_characters(structure.atoms.name),
        ref_space_uid=structure.atoms.residue.astype(np.int64),
        conformer_source=tuple(references[str(name)].conformer.source for name in structure.residues.name),
    )


def _reference(component: Component, seed: int) -> _Reference:
    row = {str(name): index for index, name in enumerate(component.atom_names)}
    return _Reference(component, reference_conformer(component, seed), row)


def _positions(reference: _Reference, names: list[str]) -> tuple[Float[np.ndarray, "k 3"], Bool[np.ndarray, "k"]]:
    rows = np.array([reference.row.get(name, -1) for name in names], dtype=np.int64)
    known = (rows >= 0) & reference.conformer.mask[rows] if len(reference.row) else np.zeros(len(rows), dtype=bool)
    positions = np.zeros((len(rows), 3))
    positions[known] = reference.conformer.coordinates[rows[known]]
    return positions, known


def _moved(positions: Float[np.ndarray, "k 3"], seed: int, chain_id: str, number: int) -> Float[np.ndarray, "k 3"]:
    """Return the positions rotated uniformly (a normalised Gaussian quaternion) and shifted by N(0, 1) Å."""
    generator = numpy_generator(seed, "reference frame", chain_id, number)
    w, x, y, z = (quaternion := generator.standard_normal(4)) / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    moved: Float[np.ndarray, "k 3"] = positions @ rotation.T + generator.standard_normal(3)
    return moved


def _standard_atoms(
    kind: ChainKind, names: list[str], atoms: Int[np.ndarray, "k"], reference: _Reference
) -> tuple[int, int, int, int, int]:
    """Return centre, distogram and three frame atoms of a standard residue.

    A residue read without its centre atom is centred on its first atom; one without its distogram atom uses the
    centre; a frame needs all three of its atoms.
    """
    place = dict(zip(names, atoms.tolist(), strict=True))
    protein = kind is ChainKind.PROTEIN
    center = place.get("CA" if protein else "C1'", int(atoms[0]))
    nucleic_atom = "C4" if reference.component.code in _PURINES else "C2"
    wanted = "CB" if protein else nucleic_atom
    frame = [place.get(name, -1) for name in (_PROTEIN_FRAME if protein else _NUCLEIC_FRAME)]
    first, second, third = frame if min(frame) >= 0 else (-1, -1, -1)
    return center, place.get(wanted, center), first, second, third


def _nearest_frames(
    positions: Float[np.ndarray, "k 3"], known: Bool[np.ndarray, "k"], atoms: Int[np.ndarray, "k"]
) -> list[tuple[int, int, int]]:
    """Return for each atom its nearest neighbour, itself and its second nearest in the conformer; -1 where colinear."""
    none = (-1, -1, -1)
    if known.sum() < 3:
        return [none] * len(atoms)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    distances[:, ~known] = np.inf
    np.fill_diagonal(distances, np.inf)
    frames = []
    for row in range(len(atoms)):
        first, second = np.argsort(distances[row], kind="stable")[:2]
        arms = positions[[first, second]] - positions[row]
        lengths = np.linalg.norm(arms, axis=1)
        usable = known[row] and lengths.min() > _SAME_PLACE
        if not usable or abs(float(arms[0] @ arms[1])) / float(lengths.prod()) > _MAX_COSINE:
            frames.append(none)
        else:
            frames.append((int(atoms[first]), int(atoms[row]), int(atoms[second])))
    return frames


def _tokens(structure: Structure, rows: Int[np.ndarray, "N 10"]) -> Tokens:
    residue = rows[:, 0]
    chain = structure.residues.chain[residue].astype(np.int64)
    chains = structure.chains
    return Tokens(
        residue=residue,
        chain=chain,
        restype=rows[:, 1],
        residue_index=structure.residues.number[residue].astype(np.int64),
        asym_id=chain + 1,
        entity_id=np.array([c.entity_id for c in chains], dtype=np.int64)[chain],
        sym_id=np.array([c.symmetry_id for c in chains], dtype=np.int64)[chain],
        kind=np.array([_KIND_NUMBER[c.kind] for c in chains], dtype=np.int64)[chain],
        is_standard=rows[:, 2].astype(bool),
        atom_start=rows[:, 3],
        atom_count=rows[:, 4],
        center_atom=rows[:, 5],
        distogram_atom=rows[:, 6],
        frame_atoms=rows[:, 7:],
    )


def _name_characters(names: np.ndarray) -> Int[np.ndarray, "A 4"]:
    """Return four characters per name as code - 32 in capitals; zero, a blank, behind short names.

    Raises:
        ChemistryError: a name has a character outside the 64 that features know.
    """
    characters = np.zeros((len(names), _NAME_LENGTH), dtype=np.int64)
    for row, name in enumerate(names.tolist()):
        for column, letter in enumerate(name.upper()[:_NAME_LENGTH]):
            number = ord(letter) - _FIRST_CHARACTER
            if not 0 <= number < _CHARACTERS:
                raise ChemistryError(
                    f"An atom is named {name!r}, and {letter!r} has no place in the features: expected ASCII letters, "
                    "digits and signs up to '_'; rename the atom."
                )
            characters[row, column] = number
    return characters
