"""All files of one family's couplings: matrix, ranked contacts, CASP's format, a picture, and a record."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..alignments.couplings import RankedContacts, ranked_contacts
from ..common.errors import NonFiniteError
from ..inference.families import FamilyResult, record_file
from .contact_map import contact_map_svg

MOST_CONTACTS = 50_000  # lines of a list; the matrix has all pairs
_SEQUENCE_LINE = 50  # letters per line (CASP)
FIELDS = ("rank", "i", "j", "residue_i", "residue_j", "separation", "score", "z", "probability")


def write_couplings(result: FamilyResult, folder: Path) -> None:
    """Write every file of ``result`` into ``folder``, which exists; files are named after it.

    Raises:
        OSError: a file cannot be written.
        NonFiniteError: a number is NaN or infinite.
    """
    couplings, name = result.couplings, folder.name
    contacts = ranked_contacts(couplings, MOST_CONTACTS)
    if not all(np.isfinite(values).all() for values in (couplings.scores, contacts.z, contacts.probability)):
        raise NonFiniteError(f"The couplings of {name} are not finite: nothing is written.")
    arrays: dict[str, Any] = {"scores": couplings.scores, "norms": couplings.norms, "z_scores": couplings.z_scores()}
    if couplings.couplings is not None:
        arrays["couplings"] = couplings.couplings
        if couplings.fields is not None:
            arrays["fields"] = couplings.fields
    np.savez_compressed(
        folder / f"{name}_couplings.npz",
        query=np.array(result.query),
        letters=np.array(couplings.letters),
        **arrays,
    )
    _write(folder / f"{name}_contacts.csv", contacts_csv(result.query, contacts))
    _write(folder / f"{name}.rr", casp_rr(name, result.query, contacts, couplings.method))
    _write(folder / f"{name}_contact_map.svg", contact_map_svg(name, couplings, contacts))
    _write(record_file(folder), json.dumps(result.record, indent=1, allow_nan=False) + "\n")


def contacts_csv(query: str, contacts: RankedContacts) -> str:
    """Return the contacts, strongest first; residues are numbered from 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for rank, (i, j) in enumerate(zip(contacts.first.tolist(), contacts.second.tolist(), strict=True)):
        score, z, probability = contacts.score[rank], contacts.z[rank], contacts.probability[rank]
        numbers = (f"{score:.6g}", f"{z:.3f}", f"{probability:.4f}")
        writer.writerow([rank + 1, i + 1, j + 1, query[i], query[j], j - i, *numbers])
    return text.getvalue()


def casp_rr(name: str, query: str, contacts: RankedContacts, method: str) -> str:
    """Return the contacts in CASP's residue-residue format: i, j, 0, 8 Å, probability."""
    lines = ["PFRMAT RR", f"TARGET {name}", "AUTHOR anfinsen", f"METHOD couplings, {method}", "MODEL 1"]
    lines += [query[start : start + _SEQUENCE_LINE] for start in range(0, len(query), _SEQUENCE_LINE)]
    for i, j, probability in zip(contacts.first, contacts.second, contacts.probability, strict=True):
        lines.append(f"{i + 1} {j + 1} 0 8 {probability:.5f}")
    return "\n".join([*lines, "END"]) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
