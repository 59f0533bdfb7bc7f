"""Scores of one prediction: those of `anfinsen evaluate`, and a few that only this benchmark has.

Chains, residues, names of symmetric atoms and ligands are matched, and nearly everything is measured, by
`anfinsen.inference.evaluation_pair` and `anfinsen.metrics`. Added here: lDDT by what the pairs of atoms belong to, the
place of modified residues, and ideal helices as the guess that knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from anfinsen.chemistry import ChainKind, Structure, standard_type
from anfinsen.geometry import backbone_from_dihedrals, rotate, superpose
from anfinsen.inference.evaluation_files import Predicted
from anfinsen.inference.evaluation_pair import DIVISORS, Pair
from anfinsen.metrics import Lddt, LigandScore, lddt, ligand_scores, tm_score
from anfinsen.metrics.correspondence import representatives
from anfinsen.metrics.ligands import BACKBONE, FEWEST_POCKET_ATOMS, POCKET, isomorphisms

KINDS = (ChainKind.PROTEIN, ChainKind.RNA, ChainKind.DNA, ChainKind.LIGAND)
NUCLEIC = {ChainKind.RNA, ChainKind.DNA}
RADIUS, NUCLEIC_RADIUS = 15.0, 30.0  # Å; the larger one between two nucleotides (supplement, section 5.7)
SHORTEST_CHAIN = 20  # resolved CA atoms; TM-score says nothing of shorter chains
DIGITS = 4  # of the residues' figures in the file of results
PROTEIN_SCORES = {"lddt_ca": "lddt_ca", "tm": "tm_score", **{name: name for name in DIVISORS}}


@dataclass(frozen=True)
class Placed:
    """A prediction on all atoms of its reference, ligands too.

    Attributes:
        x: predicted coordinates of the reference's atoms, Å. known: atoms that are scored.
    """

    reference: Structure
    x: Float[np.ndarray, "A 3"]
    known: Bool[np.ndarray, "A"]

    @classmethod
    def of(cls, pair: Pair, ligands: tuple[LigandScore, ...]) -> Placed:
        """Lay the scored ligands beside the polymers."""
        reference, x, known = pair.reference, pair.x.copy(), pair.counted.copy()
        for score in ligands:
            own = np.flatnonzero(reference.atom_chain == score.reference_chain)
            x[own] = pair.predicted.atoms.coordinates[score.matched]
            known[own] = reference.atoms.resolved[own]
        return cls(reference, x, known)


def all_scores(predicted: Predicted, reference: Structure, counted: set[int]) -> dict[str, Any]:
    """Return the scores of one prediction, ready for JSON.

    Args:
        predicted, reference: as read. counted: chains (by index) whose ligands are scored.

    Raises:
        StructureError: they are not alike.
    """
    pair = Pair(predicted, reference)
    ligands = ligand_scores(predicted.structure, reference, pair.match) if _has_ligands(reference) else ()
    placed = Placed.of(pair, ligands)
    plddt, truth = pair.confidence()
    interfaces = [
        {"kinds": row["kinds"], "dockq": row["dockq"], "dockq_f1": row["dockq_f1"]} for row in pair.interface_rows()
    ]
    groups = [
        {"what": _ligand_kind(reference, each), "rmsd": each.rmsd}
        for each in ligands
        if each.reference_chain in counted
    ]
    groups += [{"what": "modified residue", "rmsd": rmsd} for rmsd in modified_residues(placed)]
    return {
        "lddt": pair.local.score,
        "plddt": float(plddt.mean()) if len(plddt) else 0.0,
        **protein_scores(pair),
        "classes": class_lddt(placed),
        "groups": groups,
        "interfaces": interfaces,
        "residues": {"plddt": plddt.round(DIGITS).tolist(), "lddt": (truth / 100).round(DIGITS).tolist()},
    }


def protein_scores(pair: Pair) -> dict[str, float]:
    """Return the means of lDDT-CA, TM-score and contact precision over protein chains; nothing where there is none."""
    rows = [row for row in pair.chain_rows(align=False) if row["kind"] == "protein"]
    rows = [row for row in rows if row["residues"] >= SHORTEST_CHAIN]
    found = {name: [row[key] for row in rows if row.get(key) is not None] for name, key in PROTEIN_SCORES.items()}
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def helix(length: int) -> Float[np.ndarray, "n 3"]:
    """CA trace of an ideal alpha helix in Å: the best guess that knows nothing of the sequence."""
    phi, psi, omega = (torch.full((length,), float(np.deg2rad(angle))) for angle in (-57.0, -47.0, 180.0))
    return backbone_from_dihedrals(phi, psi, omega)[:, 1].double().numpy()


def helix_scores(reference: Structure) -> dict[str, float]:
    """Return `protein_scores` of a prediction in which every protein chain is one helix."""
    trace, found = representatives(reference), []
    for index, chain in enumerate(reference.chains):
        residues = np.flatnonzero((reference.residues.chain == index) & (trace >= 0))
        if chain.kind is ChainKind.PROTEIN and len(residues) >= SHORTEST_CHAIN:
            place = reference.residues.number[residues] - reference.residues.number[residues].min()
            x, true = (
                helix(int(place.max()) + 1)[place],
                reference.atoms.coordinates[trace[residues]].astype(np.float64),
            )
            found.append((lddt(x, true).score, tm_score(x, true)))
    if not found:
        return {}
    return dict(zip(("lddt_ca", "tm"), np.mean(found, axis=0).tolist(), strict=True))


def class_lddt(placed: Placed) -> dict[str, float]:
    """Return lDDT over the pairs of all scored atoms of each interaction class that occurs.

    Classes are ``intra/<kind>`` within a chain and ``inter/<kind>-<kind>`` between chains. Pairs within a residue are
    left out, except in ligands.
    """
    structure, true = placed.reference, placed.reference.atoms.coordinates.astype(np.float64)
    chain = structure.atom_chain.astype(np.int64)
    kind = np.array([KINDS.index(each.kind) for each in structure.chains])[chain]
    count = len(kind)
    unit = np.where(kind == KINDS.index(ChainKind.LIGAND), count + np.arange(count), structure.atoms.residue)
    result: dict[str, float] = {}
    for first, second in combinations_with_replacement(range(len(KINDS)), 2):
        names = KINDS[first].value, KINDS[second].value
        radius = NUCLEIC_RADIUS if {KINDS[first], KINDS[second]} <= NUCLEIC else RADIUS
        known = placed.known & ((kind == first) | (kind == second))
        # Two kinds are never in one chain, so for them pairs between kinds are pairs between chains.
        apart = chain if first == second else kind
        _pool(result, f"inter/{names[0]}-{names[1]}", [lddt(placed.x, true, known, chain=apart, radius=radius)])
        if first == second:
            chains = [known & (chain == each) for each in np.unique(chain[known])]
            within = [lddt(placed.x, true, mask, residue=unit, radius=radius) for mask in chains]
            _pool(result, f"intra/{names[0]}", within)
    return result


def _pool(result: dict[str, float], name: str, parts: list[Lddt]) -> None:
    counts = np.array([part.pairs.sum() for part in parts], dtype=float)
    if counts.sum():
        result[name] = float(np.average([part.score for part in parts], weights=counts))


def modified_residues(placed: Placed) -> list[float]:
    """Return how far every modified residue is from its place, Å, once the backbone within 10 Å is superposed.

    The backbone is that of its own chain. Symmetric atoms are renamed at best by the graph of elements and bonds; atoms
    bonded to other residues keep their names. Residues with fewer than three backbone atoms around are left out.
    """
    structure, atoms = placed.reference, placed.reference.atoms
    chain, result = structure.atom_chain, []
    for residue, name in enumerate(structure.residues.name):
        index = int(structure.residues.chain[residue])
        kind = structure.chains[index].kind
        if not kind.is_polymer or standard_type(str(name), kind) is not None:
            continue
        own = np.flatnonzero(atoms.residue == residue)
        known = own[placed.known[own]]
        around = placed.known & (chain == index) & (atoms.residue != residue) & np.isin(atoms.name, BACKBONE[kind])
        near = np.flatnonzero(around)
        if len(known) and len(near):
            near = near[cKDTree(atoms.coordinates[known]).query(atoms.coordinates[near])[0] < POCKET]
        if len(known) and len(near) >= FEWEST_POCKET_ATOMS:
            result.append(_symmetric_rmsd(_moved(placed, near), structure, own))
    return result


def _moved(placed: Placed, near: Int[np.ndarray, "k"]) -> Float[np.ndarray, "A 3"]:
    true = placed.reference.atoms.coordinates.astype(np.float64)
    rotation, shift = superpose(torch.from_numpy(placed.x[near]), torch.from_numpy(true[near]))
    return (rotate(torch.from_numpy(placed.x), rotation) + shift).numpy()


def _symmetric_rmsd(x: Float[np.ndarray, "A 3"], structure: Structure, own: Int[np.ndarray, "m"]) -> float:
    pairs, known = structure.bonds.atoms, structure.atoms.resolved[own]
    inside = np.isin(pairs, own)
    graph = structure.atoms.element[own].astype(np.int64), pairs[inside.all(1)] - own[0]
    rows = isomorphisms(graph, graph)
    tied = np.isin(own, pairs[inside.sum(1) == 1])
    rows = rows[(rows == np.arange(len(own)))[:, tied].all(1)]
    square = ((x[own][rows] - structure.atoms.coordinates[own]) ** 2).sum(-1)
    return float(np.sqrt(square[:, known].mean(-1).min()))


def _ligand_kind(structure: Structure, score: LigandScore) -> str:
    if len(score.matched) == 1:
        return "ion"
    ends = structure.atom_chain[structure.bonds.atoms] == score.reference_chain
    return "linked ligand" if (ends.sum(1) == 1).any() else "ligand"


def _has_ligands(structure: Structure) -> bool:
    return any(chain.kind is ChainKind.LIGAND for chain in structure.chains)
