"""Scores of one predicted complex against its true structure, for each kind of molecule; no network is run here.

Everything that `anfinsen.metrics` measures is measured there; this module chooses the atoms. Labels must have been
renamed to fit the prediction (`losses.permute_labels`) before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from anfinsen.geometry import backbone_from_dihedrals, rotate, superpose
from anfinsen.losses import automorphisms
from anfinsen.metrics import Lddt, dockq, lddt, tm_score
from anfinsen.nn.batch import Batch, Labels

KINDS = ("protein", "rna", "dna", "ligand")  # in the order of `Batch.kind`
PROTEIN, RNA, DNA, LIGAND = range(4)
PROTEIN_BACKBONE = ("N", "CA", "C", "O")
NUCLEIC_BACKBONE = ("P", "O5'", "C5'", "C4'", "C3'", "O3'")
RADIUS, NUCLEIC_RADIUS = 15.0, 30.0  # Å; the larger one between two nucleotides (supplement, section 5.7)
CONTACT = 5.0  # Å between any heavy atoms of two residues (DockQ)
POCKET = 10.0  # Å around a ligand (AlphaFold 3, Methods)
FEWEST_POCKET_ATOMS = 3
SHORTEST_CHAIN = 20  # resolved CA atoms; TM-score says nothing of shorter chains
RENAMINGS = 1000  # automorphisms of one component that are looked at


@dataclass(frozen=True)
class Truth:
    """The true structure of a complex of A atoms and N tokens.

    Attributes:
        coordinates: Å. resolved: atoms whose true position is known.
        kind, chain, residue, number, token: of each atom: index into `KINDS`, asym id, number of the residue in the
            complex, number of the residue in its chain, token.
        standard: whether the atom is part of a whole standard residue.
        element: atomic numbers. name: atom names. bonds: of tokens.
    """

    coordinates: Float[np.ndarray, "A 3"]
    resolved: Bool[np.ndarray, "A"]
    kind: Int[np.ndarray, "A"]
    chain: Int[np.ndarray, "A"]
    residue: Int[np.ndarray, "A"]
    number: Int[np.ndarray, "A"]
    token: Int[np.ndarray, "A"]
    standard: Bool[np.ndarray, "A"]
    element: Int[np.ndarray, "A"]
    name: np.ndarray
    bonds: Bool[np.ndarray, "N N"]

    @classmethod
    def of(cls, batch: Batch, labels: Labels) -> Truth:
        """Read it from tensors without padding."""
        token = batch.atom_to_token.cpu().numpy()
        letters = (batch.ref_atom_name_chars.cpu().numpy() + 32).astype(np.uint8)
        return cls(
            coordinates=labels.coordinates.double().cpu().numpy(),
            resolved=labels.resolved.cpu().numpy(),
            kind=batch.kind.cpu().numpy()[token],
            chain=batch.asym_id.cpu().numpy()[token],
            residue=batch.ref_space_uid.cpu().numpy(),
            number=batch.residue_index.cpu().numpy()[token],
            token=token,
            standard=batch.is_standard.cpu().numpy()[token],
            element=batch.ref_element.cpu().numpy(),
            name=np.array([bytes(row).decode().strip() for row in letters]),
            bonds=batch.token_bonds.cpu().numpy(),
        )

    @property
    def backbone(self) -> Bool[np.ndarray, "A"]:
        """Backbone atoms of polymers."""
        nucleic = (self.kind == RNA) | (self.kind == DNA)
        in_protein = (self.kind == PROTEIN) & np.isin(self.name, PROTEIN_BACKBONE)
        return in_protein | (nucleic & np.isin(self.name, NUCLEIC_BACKBONE))

    def protein_chains(self) -> list[Int[np.ndarray, "L"]]:
        """CA atoms of each protein chain of which enough are resolved."""
        alpha = (self.kind == PROTEIN) & (self.name == "CA")
        chains = [np.flatnonzero(alpha & (self.chain == chain)) for chain in np.unique(self.chain[alpha])]
        return [atoms for atoms in chains if self.resolved[atoms].sum() >= SHORTEST_CHAIN]


def helix(length: int) -> Float[np.ndarray, "n 3"]:
    """CA trace of an ideal alpha helix in Å: the best guess that knows nothing of the sequence."""
    phi, psi, omega = (torch.full((length,), float(np.deg2rad(angle))) for angle in (-57.0, -47.0, 180.0))
    return backbone_from_dihedrals(phi, psi, omega)[:, 1].double().numpy()


def with_helices(truth: Truth) -> Float[np.ndarray, "A 3"]:
    """The complex with the CA atoms of every protein chain on a helix; all other atoms stand at the origin."""
    x = np.zeros_like(truth.coordinates)
    for atoms in truth.protein_chains():
        place = truth.number[atoms] - truth.number[atoms].min()
        x[atoms] = helix(int(place.max()) + 1)[place]
    return x


def protein_scores(x: Float[np.ndarray, "A 3"], truth: Truth) -> dict[str, float]:
    """Return lDDT-CA and TM-score within protein chains, mean over the chains; nothing where there is none."""
    chains = truth.protein_chains()
    if not chains:
        return {}
    parts = [(x[atoms], truth.coordinates[atoms], truth.resolved[atoms]) for atoms in chains]
    return {
        "lddt_ca": float(np.mean([lddt(*part).score for part in parts])),
        "tm": float(np.mean([tm_score(*part) for part in parts])),
    }


def class_lddt(x: Float[np.ndarray, "A 3"], truth: Truth) -> dict[str, float]:
    """Return lDDT over the pairs of all resolved atoms of each interaction class that occurs.

    Classes are ``intra/<kind>`` within a chain and ``inter/<kind>-<kind>`` between chains. Pairs within a residue are
    left out, except in ligands, of which only pairs within an atom's token (none) are.
    """
    unit = np.where(truth.kind == LIGAND, truth.residue.max() + 1 + truth.token, truth.residue)
    result: dict[str, float] = {}
    for first, second in combinations_with_replacement(range(len(KINDS)), 2):
        nucleic = {first, second} <= {RNA, DNA}
        radius = NUCLEIC_RADIUS if nucleic else RADIUS
        known = truth.resolved & ((truth.kind == first) | (truth.kind == second))
        # Two kinds are never in one chain, so for them pairs between kinds are pairs between chains.
        apart = truth.chain if first == second else truth.kind
        between = [lddt(x, truth.coordinates, known, chain=apart, radius=radius)]
        _pool(result, f"inter/{KINDS[first]}-{KINDS[second]}", between)
        if first == second:
            chains = [known & (truth.chain == chain) for chain in np.unique(truth.chain[known])]
            within = [lddt(x, truth.coordinates, mask, residue=unit, radius=radius) for mask in chains]
            _pool(result, f"intra/{KINDS[first]}", within)
    return result


def _pool(result: dict[str, float], name: str, parts: list[Lddt]) -> None:
    counts = np.array([part.pairs.sum() for part in parts], dtype=float)
    if counts.sum():
        result[name] = float(np.average([part.score for part in parts], weights=counts))


def residue_lddt(
    x: Float[np.ndarray, "A 3"], truth: Truth, plddt: Float[np.ndarray, "A"]
) -> tuple[float, Float[np.ndarray, "R"], Float[np.ndarray, "R"]]:
    """Return all-atom lDDT of the complex, and true lDDT and mean pLDDT of every residue or ligand that has neighbours.

    Pairs within a residue or ligand component are left out; 15 Å for all kinds.
    """
    scores = lddt(x, truth.coordinates, truth.resolved, residue=truth.residue)
    numbers, group = np.unique(truth.residue, return_inverse=True)
    true, pairs = scores.per_group(group, len(numbers))
    scored = scores.pairs > 0
    count = np.bincount(group[scored], minlength=len(numbers))
    total = np.bincount(group[scored], weights=plddt[scored], minlength=len(numbers))
    kept = pairs > 0
    return scores.score, true[kept], total[kept] / count[kept]


def symmetric_rmsd(x: Float[np.ndarray, "A 3"], truth: Truth, atoms: Int[np.ndarray, "m"]) -> float:
    """Return the RMSD of ``atoms`` in Å as they stand, over the resolved ones, with symmetric atoms renamed at best.

    Each residue is renamed on its own, by automorphisms of its graph of token bonds (elements count, bond orders do
    not); an atom bonded to another residue keeps its name.
    """
    total = 0.0
    for number in np.unique(truth.residue[atoms]):
        own = atoms[truth.residue[atoms] == number]
        known = truth.resolved[own]
        rows = _renamings(truth, own)
        rows = rows[(known[rows] == known).all(1)]
        square = ((x[own] - truth.coordinates[own][rows]) ** 2).sum(-1)
        total += float((square * known).sum(-1).min())
    return float(np.sqrt(total / truth.resolved[atoms].sum()))


def _renamings(truth: Truth, own: Int[np.ndarray, "m"]) -> Int[np.ndarray, "k m"]:
    tokens = truth.token[own]
    inside = truth.bonds[np.ix_(tokens, tokens)]
    bonds = {(int(i), int(j)): 1 for i, j in zip(*np.nonzero(np.triu(inside, 1)), strict=True)}
    rows = automorphisms(truth.element[own].astype(np.int64), bonds, None, RENAMINGS)
    tied = truth.bonds[tokens].sum(1) > inside.sum(1)
    return rows[(rows == np.arange(len(own)))[:, tied].all(1)]


def placed_groups(x: Float[np.ndarray, "A 3"], truth: Truth, counted: set[int]) -> list[dict[str, object]]:
    """Return how far every ligand, ion and modified residue is from its true place once its pocket is superposed.

    The pocket is what lies within 10 Å of the group in the true structure, of the one polymer chain that has most atoms
    there: backbone atoms of a protein, all heavy atoms of a nucleic acid. For a modified residue it is the rest of its
    own chain. Groups without three pocket atoms are left out.

    Args:
        x: the prediction, Å.
        truth: the complex.
        counted: asym ids of ligands that are scored (crystallisation aids are not).

    Returns:
        ``what`` ("ligand", "linked ligand" with a bond to another chain, "ion", "modified residue") and ``rmsd``, Å.
    """
    result: list[dict[str, object]] = []
    for chain in np.unique(truth.chain[truth.kind == LIGAND]):
        if int(chain) in counted:
            atoms = np.flatnonzero(truth.chain == chain)
            _place(result, _ligand_kind(truth, atoms), x, truth, atoms, truth.kind != LIGAND)
    for residue in np.unique(truth.residue[~truth.standard & (truth.kind != LIGAND)]):
        atoms = np.flatnonzero(truth.residue == residue)
        around = (truth.chain == truth.chain[atoms[0]]) & (truth.residue != residue)
        _place(result, "modified residue", x, truth, atoms, around)
    return result


def _ligand_kind(truth: Truth, atoms: Int[np.ndarray, "m"]) -> str:
    if len(atoms) == 1:
        return "ion"
    others = np.unique(truth.token[truth.chain != truth.chain[atoms[0]]])
    return "linked ligand" if truth.bonds[np.ix_(truth.token[atoms], others)].any() else "ligand"


def _place(
    result: list[dict[str, object]],
    what: str,
    x: Float[np.ndarray, "A 3"],
    truth: Truth,
    atoms: Int[np.ndarray, "m"],
    around: Bool[np.ndarray, "A"],
) -> None:
    known = atoms[truth.resolved[atoms]]
    candidates = np.flatnonzero(around & truth.resolved)
    if not len(known) or not len(candidates):
        return
    distance = np.linalg.norm(truth.coordinates[candidates, None] - truth.coordinates[known], axis=-1).min(1)
    near = candidates[distance < POCKET]
    if not len(near):
        return
    chains, counts = np.unique(truth.chain[near], return_counts=True)
    near = near[truth.chain[near] == chains[counts.argmax()]]
    near = near[(truth.kind[near] != PROTEIN) | truth.backbone[near]]
    if len(near) < FEWEST_POCKET_ATOMS:
        return
    rotation, shift = superpose(torch.from_numpy(x[near]), torch.from_numpy(truth.coordinates[near]))
    moved = (rotate(torch.from_numpy(x), rotation) + shift).numpy()
    result.append({"what": what, "rmsd": symmetric_rmsd(moved, truth, atoms)})


def interfaces(x: Float[np.ndarray, "A 3"], truth: Truth) -> list[dict[str, object]]:
    """Return ``kinds``, ``dockq`` and ``dockq_f1`` of every two polymer chains that touch in the true structure.

    DockQ's share of native contacts does not mind false ones, so that it calls chains that run through each other
    acceptable (a third of the score for nothing); in ``dockq_f1`` the F1 of residue contacts stands in its place, as
    in DockQ 2 (Mirabello and Wallner 2024).

    The backbone of a nucleic acid is P, O5', C5', C4', C3' and O3'. Residues without a resolved backbone atom are left
    out, and pairs of which one chain has less than three such atoms.
    """
    backbone = truth.backbone & truth.resolved
    usable = truth.resolved & np.isin(truth.residue, truth.residue[backbone])
    result: list[dict[str, object]] = []
    for first, second in combinations(np.unique(truth.chain[truth.kind != LIGAND]).tolist(), 2):
        sides = [usable & (truth.chain == chain) for chain in (first, second)]
        if min(int((side & backbone).sum()) for side in sides) < FEWEST_POCKET_ATOMS:
            continue
        both = sides[0] | sides[1]
        true, found, residue = truth.coordinates[both], x[both], truth.residue[both]
        quality = dockq(found, true, truth.chain[both] == second, residue, backbone[both])
        if quality is not None:
            native, made = (_contacts(places, truth.chain[both] == second, residue) for places in (true, found))
            f1 = 2 * len(native & made) / (len(native) + len(made))
            kinds = sorted(int(truth.kind[side][0]) for side in sides)
            name = "-".join(KINDS[kind] for kind in kinds)
            corrected = quality.score + (f1 - quality.fnat) / 3
            result.append({"kinds": name, "dockq": quality.score, "dockq_f1": corrected})
    return result


def _contacts(
    x: Float[np.ndarray, "m 3"], second: Bool[np.ndarray, "m"], residue: Int[np.ndarray, "m"]
) -> set[tuple[int, int]]:
    """Pairs of residues of two chains that touch."""
    near = cKDTree(x[~second]).query_ball_tree(cKDTree(x[second]), CONTACT)
    left, right = residue[~second], residue[second]
    return {(int(left[i]), int(right[j])) for i, partners in enumerate(near) for j in partners}
