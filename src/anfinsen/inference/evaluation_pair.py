"""A prediction on the atoms of its reference: one row of scores for each chain, interface and ligand.

`anfinsen.metrics` measures; this module chooses the atoms. What the reference does not resolve counts nowhere; what the
prediction lacks counts as wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from anfinsen.chemistry import ChainKind, Structure
from anfinsen.common.errors import MissingExtraError, StructureError
from anfinsen.geometry import ideal_cbeta
from anfinsen.metrics import (
    SuperposedScores,
    contact_precision,
    dockq,
    lddt,
    rmsd,
    structural_alignment,
    superposed_scores,
)
from anfinsen.metrics.backbone import backbone_atoms
from anfinsen.metrics.correspondence import Correspondence, coordinates_on, correspond, representatives
from anfinsen.metrics.ligands import LigandScore, LostLigand, ligand_scores, lost_ligands
from anfinsen.metrics.naming import exchanged, partners
from anfinsen.metrics.pose_checks import pose_checks

from .evaluation_files import Predicted

# Atoms that DockQ superposes: backbones, and of nucleic acids the sugars too (Mirabello and Wallner 2024).
PROTEIN = ("N", "CA", "C", "O")
NUCLEIC = ("P", "OP1", "OP2", "O5'", "C5'", "C4'", "O4'", "C3'", "O3'", "C2'", "O2'", "C1'")
CONTACT = 8.0  # Å between CB atoms (CASP)
FEWEST_ATOMS = 3  # that a superposition needs
DIVISORS = {"contacts_l": 1.0, "contacts_l2": 2.0, "contacts_l5": 5.0}


@dataclass(frozen=True)
class Superposition:
    """How a prediction is laid on its reference: R x + t, Å.

    Attributes:
        rotation, translation: of every predicted atom.
        by: "TM-align" where the reference is one protein chain and tmtools is there; else "TM-score", of all chains as
            one body.
    """

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    by: str


class Pair:
    """A prediction laid on the atoms of its reference.

    Attributes:
        predicted, reference: the two structures; ``given``: the prediction as it was read.
        match: which atoms stand for which, names of symmetric atoms exchanged where that fits better.
        x, true: predicted and true coordinates of the reference's atoms, Å.
        counted: resolved atoms of the reference's polymers. notes: what was left out, one sentence each.
        superposition: the motion for views; None before `whole_scores`, and where nothing can be superposed.

    Raises:
        StructureError: no chain of one is like one of the other, or none of its residues is in both.
    """

    def __init__(self, predicted: Predicted, reference: Structure) -> None:
        self.given, self.predicted, self.reference = predicted, predicted.structure, reference
        self.notes = list(predicted.notes)
        for side, structure in (("Prediction", self.predicted), ("Reference", reference)):
            self.notes += [f"{side}: {note}" for note in structure.notes]
        self._named = found = correspond(predicted.structure, reference)
        self.chain = reference.atom_chain
        self.true = reference.atoms.coordinates.astype(np.float64)
        polymer = np.array([chain.kind.is_polymer for chain in reference.chains])
        self.counted = reference.atoms.resolved & polymer[self.chain]
        # Names of symmetric atoms say nothing about the prediction.
        self._partner = partners(
            reference.atoms.residue, reference.residues.name[reference.atoms.residue], reference.atoms.name
        )
        atoms = self._exchanged(self.counted)
        self.match = Correspondence(
            found.chains, found.identity, found.residues, atoms, coordinates_on(atoms, self.predicted)
        )
        self.x = self.match.coordinates
        self.trace = representatives(reference)
        self.superposition: Superposition | None = None
        self._searched: dict[bytes, SuperposedScores] = {}
        self.local = lddt(self.x, self.true, self.counted, residue=reference.atoms.residue)
        if not (self.counted & self.match.present).any():
            raise StructureError(
                f"The prediction {self.predicted.name} and the reference {reference.name} have no resolved atom of a "
                "polymer in common."
            )
        missing = [c.chain_id for i, c in enumerate(reference.chains) if polymer[i] and found.chains[i] < 0]
        if missing:
            self.notes.append(f"Chains of the reference that the prediction lacks: {', '.join(missing)}.")

    def _exchanged(self, counted: Bool[np.ndarray, "A"]) -> Int[np.ndarray, "A"]:
        """Predicted atoms with names exchanged as the counted atoms, taken by themselves, fit best."""
        named, residue = self._named, self.reference.atoms.residue
        order = exchanged(named.coordinates, self.true, counted, residue, self._partner)
        atoms: Int[np.ndarray, "A"] = named.atoms[order]
        return atoms

    def _id(self, index: int, structure: Structure) -> str | None:
        if index < 0:
            return None
        chain = structure.chains[index]
        # The depositors give a ligand the name of a polymer near it.
        return chain.author_id if chain.author_id and chain.kind.is_polymer else chain.chain_id

    def whole_scores(self) -> dict[str, float]:
        """Scores of all polymers as one body."""
        scores = {"lddt": self.local.score} if self.local.pairs.any() else {}
        kinds = np.array([chain.kind is ChainKind.PROTEIN for chain in self.reference.chains])
        trace = self.trace[self.trace >= 0]
        alpha = trace[kinds[self.chain[trace]]]
        local = lddt(self.x[alpha], self.true[alpha])
        if local.pairs.any():
            scores["lddt_ca"] = local.score
        found = self._superposed(trace)
        if found is None:
            return scores | {name: value for name, value in self._unplaced_row(trace).items() if value is not None}
        if self.superposition is None:  # TM-align has not laid one chain on the other
            self.superposition = Superposition(found.rotation, found.translation, "TM-score")
        return scores | self._superposed_row(trace, found)

    def _superposed(self, trace: Int[np.ndarray, "k"]) -> SuperposedScores | None:
        present = self.match.present[trace]
        if present.sum() < FEWEST_ATOMS:
            return None
        key = trace.tobytes()  # a single chain is the whole too, and the search takes most of the time
        if key not in self._searched:
            x, true = self.x[trace], self.true[trace]
            self._searched[key] = superposed_scores(x, true, present, length=len(trace), thorough=True)
        return self._searched[key]

    def _superposed_row(self, trace: Int[np.ndarray, "k"], found: SuperposedScores) -> dict[str, float]:
        present = self.match.present[trace]
        return {
            "tm_score": found.tm_score,
            "gdt_ts": found.gdt_ts,
            "gdt_ha": found.gdt_ha,
            "rmsd": rmsd(self.x[trace], self.true[trace], present),
            "coverage": float(present.mean()),
        }

    def _unplaced_row(self, trace: Int[np.ndarray, "k"]) -> dict[str, float | None]:
        """What is not there is worth nothing, and not unknown; a reference too short to superpose tells nothing."""
        worth = 0.0 if len(trace) >= FEWEST_ATOMS else None
        present = float(self.match.present[trace].mean()) if len(trace) else None
        return {"tm_score": worth, "gdt_ts": worth, "gdt_ha": worth, "rmsd": None, "coverage": present}

    def chain_rows(self, align: bool) -> list[dict[str, Any]]:
        """One row for each polymer chain of the reference."""
        rows = []
        for index, chain in enumerate(self.reference.chains):
            trace = self.trace[(self.reference.residues.chain == index) & (self.trace >= 0)]
            if not chain.kind.is_polymer or not len(trace):
                continue
            made = int(self.match.chains[index])
            row: dict[str, Any] = {
                "reference_chain": self._id(index, self.reference),
                "predicted_chain": self._id(made, self.predicted),
                "kind": str(chain.kind),
                "residues": len(trace),
                "identity": float(self.match.identity[index]),
            }
            own = self.counted & (self.chain == index)
            x = coordinates_on(self._exchanged(own), self.predicted)
            local = lddt(x, self.true, own, residue=self.reference.atoms.residue)
            row["lddt"] = local.score if local.pairs.any() else None
            placed = self._superposed(trace)
            row.update(self._unplaced_row(trace) if placed is None else self._superposed_row(trace, placed))
            if chain.kind is ChainKind.PROTEIN:
                alpha = lddt(self.x[trace], self.true[trace])
                row["lddt_ca"] = alpha.score if alpha.pairs.any() else None
            if chain.kind is ChainKind.PROTEIN and made >= 0:
                row |= self._contacts(index, made)
                if align:
                    row |= self._aligned(index, made)
            rows.append(row)
        return rows

    def _aligned(self, index: int, made: int) -> dict[str, Any]:
        parts = []
        for structure, chain in ((self.predicted, made), (self.reference, index)):
            residues = np.flatnonzero(structure.residues.chain == chain)
            trace = representatives(structure)[residues]
            letters = np.array(list(structure.chains[chain].sequence))[trace >= 0]
            parts.append((structure.atoms.coordinates[trace[trace >= 0]].astype(np.float64), "".join(letters)))
        try:
            found = structural_alignment(parts[0][0], parts[1][0], parts[0][1], parts[1][1])
        except MissingExtraError as error:
            self._note_once(str(error))
            return {}
        if found is None:
            return {}
        if sum(chain.kind.is_polymer for chain in self.reference.chains) == 1:
            self.superposition = Superposition(found.rotation, found.translation, "TM-align")
        return {
            "tm_align": found.tm_score,
            "tm_align_rmsd": found.rmsd,
            "tm_align_residues": found.aligned,
            "alignment": [found.predicted_row, found.marks, found.true_row],
        }

    def _contacts(self, index: int, made: int) -> dict[str, Any]:
        """Precision of long-range contacts: of those predicted, or else of those that the model has."""
        residues = np.flatnonzero(self.reference.residues.chain == index)
        true, x, known = self._betas(residues)
        if 2 * known.sum() < len(known):
            return {}  # such as a reference of CA atoms: what is left of the contacts tells little
        near = _distances(true) < CONTACT
        scores = -_distances(x)
        source = "model"
        if self.given.contacts is not None:
            table, partner = self.given.contacts, self.match.residues[residues]
            chain = self.predicted.chains[made]
            numbers = np.where(partner >= 0, self.predicted.residues.number[partner], -1)
            rows = [table.place.get((chain.author_id or chain.chain_id, int(number)), -1) for number in numbers]
            place = np.array(rows, dtype=np.int64)
            if (place >= 0).any():
                scores, source = table.probability[np.ix_(place, place)].astype(np.float64), "distogram"
                scores[place < 0] = scores[:, place < 0] = 0.0
        row: dict[str, Any] = {}
        for name, divisor in DIVISORS.items():
            try:
                row[name] = contact_precision(scores, near, np.outer(known, known), divisor=divisor)
            except ValueError:
                return {}  # a short chain has no long range
        return row | {"contacts_of": source}

    def _betas(
        self, residues: Int[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"], Bool[np.ndarray, "n"]]:
        """True and predicted CB (CA of glycine) of residues, and where the true one is known.

        Where the reference resolves the backbone without CB, both are placed from their backbones.
        """
        atoms = _beta(self.reference)[residues]
        places = [np.where((atoms >= 0)[:, None], side[atoms], 0.0) for side in (self.true, self.x)]
        table = backbone_atoms(self.reference)
        rows = np.stack([table[name][residues] for name in ("N", "CA", "C")])
        ideal = (atoms < 0) & (rows >= 0).all(0)
        for place, side in zip(places, (self.true, self.x), strict=True):
            n, ca, c = (torch.from_numpy(side[row[ideal]]) for row in rows)
            place[ideal] = ideal_cbeta(n, ca, c).numpy()
        return places[0], places[1], (atoms >= 0) | ideal

    def interface_rows(self) -> list[dict[str, Any]]:
        """One row for every two polymer chains that touch in the reference."""
        names = [PROTEIN if chain.kind is ChainKind.PROTEIN else NUCLEIC for chain in self.reference.chains]
        backbone = np.array([name in names[c] for name, c in zip(self.reference.atoms.name, self.chain, strict=True)])
        rows = []
        polymers = [i for i, chain in enumerate(self.reference.chains) if chain.kind.is_polymer]
        for first, second in combinations(polymers, 2):
            row = {
                "reference_chains": f"{self._id(first, self.reference)} {self._id(second, self.reference)}",
                "kinds": "-".join(sorted(str(self.reference.chains[i].kind) for i in (first, second))),
            }
            quality = self._dockq(first, second, backbone)
            if quality is not None:
                rows.append(row | quality)
        return rows

    def _dockq(self, first: int, second: int, backbone: Bool[np.ndarray, "A"]) -> dict[str, Any] | None:
        both = self.counted & np.isin(self.chain, (first, second))
        # DockQ goes by names, also those of a phosphate's oxygens.
        residue, present = self.reference.atoms.residue, self._named.present
        both &= np.isin(residue, residue[both & backbone])
        sides = [both & backbone & (self.chain == index) for index in (first, second)]
        if min(int(side.sum()) for side in sides) < FEWEST_ATOMS:
            return None
        parts = self.true[both], self.chain[both] == second, residue[both], backbone[both]
        if min(int((side & present).sum()) for side in sides) < FEWEST_ATOMS:
            # What touches in the reference, and is not in the prediction, is an interface all the same.
            lost: dict[str, Any] = {"predicted_chains": None, "dockq": 0.0, "dockq_f1": 0.0, "fnat": 0.0, "f1": 0.0}
            lost |= {"irmsd": None, "lrmsd": None}
            return None if dockq(parts[0], *parts) is None else lost
        found = dockq(self._named.coordinates[both], *parts, present[both])
        if found is None:
            return None
        made = [str(self._id(int(self.match.chains[index]), self.predicted)) for index in (first, second)]
        return {
            "predicted_chains": " ".join(made),
            "dockq": found.score,
            "dockq_f1": found.score_f1,
            "fnat": found.fnat,
            "f1": found.f1,
            "irmsd": found.irmsd,
            "lrmsd": found.lrmsd,
        }

    def ligand_rows(self, poses: bool) -> list[dict[str, Any]]:
        """One row for each ligand of the reference whose place its polymers tell; without RMSD where it is lost."""
        true = [i for i, chain in enumerate(self.reference.chains) if not chain.kind.is_polymer]
        made = [i for i, chain in enumerate(self.predicted.chains) if not chain.kind.is_polymer]
        if not true and not made:
            return []
        try:
            found = ligand_scores(self.predicted, self.reference, self.match)
        except MissingExtraError as error:
            self._note_once(str(error))
            return []
        without = len(made) - len(found)
        if without:
            self.notes.append(
                f"{without} of the prediction's {len(made)} ligands were not scored: the reference has no such "
                "molecule beside its polymers."
            )
        reference = self.reference
        lost = lost_ligands(reference, self.match, found)
        if lost:
            names = [self._component(each.reference_chain, reference) for each in lost]
            counted = ", ".join(f"{number} {name}" for name, number in Counter(names).items())
            self.notes.append(
                f"Ligands of the reference that the prediction lacks, which count as not found: {counted}."
            )
        every: list[LigandScore | LostLigand] = sorted([*found, *lost], key=lambda each: each.reference_chain)
        return [self._lost(each) if isinstance(each, LostLigand) else self._ligand(each, poses) for each in every]

    def _component(self, chain: int, structure: Structure) -> str:
        return " ".join(structure.residues.name[structure.residues.chain == chain].tolist())

    def _lost(self, ligand: LostLigand) -> dict[str, Any]:
        index = ligand.reference_chain
        return {
            "reference_chain": self._id(index, self.reference),
            "predicted_chain": None,
            "component": self._component(index, self.reference),
            "atoms": int((self.reference.atom_chain == index).sum()),
            "rmsd": None,
            "lddt_pocket": ligand.lddt_pocket,
            "lddt_pli": ligand.lddt_pli,
        }

    def _ligand(self, score: LigandScore, poses: bool) -> dict[str, Any]:
        reference, predicted = self.reference, self.predicted
        row: dict[str, Any] = {
            "reference_chain": self._id(score.reference_chain, reference),
            "predicted_chain": self._id(score.predicted_chain, predicted),
            "component": self._component(score.predicted_chain, predicted),
            "atoms": len(score.matched),
            "rmsd": score.rmsd,
            "lddt_pocket": score.lddt_pocket,
            "lddt_pli": score.lddt_pli,
        }
        if poses:
            checks = pose_checks(predicted, self.given.library, np.sort(score.matched))
            if checks is not None:
                row["poses_failed"] = [name for name, passed in checks.items() if not passed]
        return row

    def confidence(self) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]:
        """PLDDT and true lDDT of every residue of a polymer that has both, 0 to 100."""
        empty = np.zeros(0)
        if not self.given.plddt:
            return empty, empty
        scored = (self.local.pairs > 0) & self.match.present
        group = self.reference.atoms.residue
        rows = len(self.reference.residues)
        true, _ = self.local.per_group(group, rows)
        count = np.bincount(group[scored], minlength=rows)
        values = self.predicted.atoms.b_factor[self.match.atoms[scored]]
        total = np.bincount(group[scored], weights=values, minlength=rows)
        kept = count > 0
        return total[kept] / count[kept], 100 * true[kept]

    def _note_once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _beta(structure: Structure) -> Int[np.ndarray, "R"]:
    """Resolved CB of every residue, CA for glycine; -1 where there is none."""
    result = np.full(len(structure.residues), -1, dtype=np.int64)
    glycine = (structure.residues.name == "GLY")[structure.atoms.residue]
    wanted = np.where(glycine, "CA", "CB")
    rows = np.flatnonzero((structure.atoms.name == wanted) & structure.atoms.resolved)
    result[structure.atoms.residue[rows]] = rows
    return result


def _distances(x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n n"]:
    result: Float[np.ndarray, "n n"] = np.linalg.norm(x[:, None] - x, axis=-1)
    return result
