"""Structures for the page of an evaluation: all laid on the references, as mmCIF texts of what a view draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from ..chemistry import ChainKind, Structure, element_symbol, read_structure
from ..common.errors import InputError
from ..inference.evaluation_pair import Superposition
from ..inference.evaluation_run import Judged
from .evaluation_summary import Summary, rounded
from .page import packed

MAX_BYTES = 4_000_000  # of compressed structures in one page
MAX_ENTRIES = 60  # in one page: each is read from its files again
DRAWN = ("N", "CA", "C", "O")  # of proteins: what a ribbon needs; of everything else all atoms are drawn
ORDERED_BY = ("tm_score", "lddt")  # the first that an entry has


@dataclass(frozen=True)
class Overlays:
    """What the page shows.

    Attributes:
        entries: for the page's script, the best entry first: its name, class, reference, and models.
        available: entries that could be shown, of which ``entries`` may be a part. notes: why some are not, one
            sentence each.
    """

    entries: tuple[dict[str, Any], ...]
    available: int
    notes: tuple[str, ...]


def overlays(summary: Summary) -> Overlays:
    """Return the superposed structures of as many entries as fit, the worst and the best before those between."""
    groups: dict[str, list[Judged]] = {}
    for each in summary.judged:
        if each.evaluation is not None and each.evaluation.superposition is not None:
            groups.setdefault(each.comparison.name, []).append(each)
    ranked = sorted(groups.values(), key=lambda group: (-_quality(group), group[0].comparison.name))
    chosen: dict[int, dict[str, Any]] = {}
    used, notes = 0, []
    for place in _from_both_ends(len(ranked))[:MAX_ENTRIES]:
        try:
            entry = _entry(ranked[place])
        except InputError as error:
            notes.append(f"{ranked[place][0].comparison.name} cannot be shown. {error}")
            continue
        size = sum(len(packed(text)) for text in (entry["reference"], *(model["cif"] for model in entry["models"])))
        if used + size <= MAX_BYTES:
            chosen[place] = entry
            used += size
    if len(chosen) + len(notes) < len(ranked):
        notes.append(
            f"This page shows the structures of {len(chosen)} of {len(ranked)} entries, the best and the worst before "
            "those between; more would not fit."
        )
    return Overlays(tuple(chosen[place] for place in sorted(chosen)), len(ranked), tuple(notes))


def drawn_cif(structure: Structure, motion: Superposition | None = None) -> str:
    """Return the resolved backbones, nucleotides and ligands of ``structure`` as mmCIF, moved by ``motion``; Å."""
    atoms, residues = structure.atoms, structure.residues
    chain = structure.atom_chain
    protein = np.array([each.kind is ChainKind.PROTEIN for each in structure.chains])[chain]
    rows = np.flatnonzero(atoms.resolved & (~protein | np.isin(atoms.name, DRAWN)))
    x = atoms.coordinates[rows].astype(np.float64)
    if motion is not None:
        x = x @ motion.rotation.T + motion.translation
    polymer = [structure.chains[c].kind.is_polymer for c in chain[rows]]
    residue = atoms.residue[rows]
    kinds = {each.entity_id: each.kind.is_polymer for each in structure.chains}
    block = gemmi.cif.Block("overlay")
    block.set_mmcif_category(
        "_entity.",
        {"id": [str(number) for number in kinds], "type": ["polymer" if k else "non-polymer" for k in kinds.values()]},
    )
    columns: dict[str, list[Any]] = {
        "group_PDB": ["ATOM" if each else "HETATM" for each in polymer],
        "id": [str(number) for number in range(1, len(rows) + 1)],
        "type_symbol": [element_symbol(int(number)) for number in atoms.element[rows]],
        "label_atom_id": [str(name) for name in atoms.name[rows]],
        "label_alt_id": [False] * len(rows),
        "label_comp_id": [str(name) for name in residues.name[residue]],
        "label_asym_id": [structure.chains[c].chain_id for c in chain[rows]],
        "label_entity_id": [str(structure.chains[c].entity_id) for c in chain[rows]],
        "label_seq_id": [str(n) if p else False for n, p in zip(residues.number[residue], polymer, strict=True)],
        "Cartn_x": [f"{value:.2f}" for value in x[:, 0]],
        "Cartn_y": [f"{value:.2f}" for value in x[:, 1]],
        "Cartn_z": [f"{value:.2f}" for value in x[:, 2]],
        "auth_seq_id": [str(number) for number in residues.number[residue]],
    }
    block.set_mmcif_category("_atom_site.", columns)
    return block.as_string()


def _quality(group: Sequence[Judged]) -> float:
    """Mean over the models."""
    found = []
    for each in group:
        assert each.evaluation is not None
        found.append(next((each.evaluation.scores[s] for s in ORDERED_BY if s in each.evaluation.scores), 0.0))
    return float(np.mean(found))


def _from_both_ends(count: int) -> list[int]:
    """0, the last, 1, the last but one, …"""
    return [number // 2 if number % 2 == 0 else count - 1 - number // 2 for number in range(count)]


def _entry(group: Sequence[Judged]) -> dict[str, Any]:
    """Read one entry's structures.

    Raises:
        InputError: a file cannot be read any more.
    """
    first = group[0].comparison
    assert first.reference is not None
    return {
        "name": first.name,
        "kind": first.kind,
        "quality": rounded(_quality(group)),
        "reference": _read(first.reference, None),
        "models": [_model(each) for each in group],
    }


def _model(each: Judged) -> dict[str, Any]:
    found = each.evaluation
    assert found is not None and found.superposition is not None
    aligned = [row["tm_align"] for row in found.chains if "tm_align" in row] if len(found.chains) == 1 else []
    return {
        "model": each.comparison.model,
        "cif": _read(each.comparison.predicted.structure, found.superposition),
        "by": found.superposition.by,
        "tm": rounded(found.scores.get("tm_score")),
        "tmAlign": rounded(aligned[0]) if aligned else None,
        "lddt": rounded(found.scores.get("lddt")),
    }


def _read(path: Path, motion: Superposition | None) -> str:
    return drawn_cif(read_structure(path), motion)
