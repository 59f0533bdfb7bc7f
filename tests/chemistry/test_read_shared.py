"""Every structure of the shared data set: read or refused with a reason, and as gemmi counts it."""

import csv
import os
from collections import Counter
from pathlib import Path

import gemmi
import numpy as np
import pytest

from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.common.errors import StructureError

# Curated copies whose atoms or chemistry contradict themselves.
REFUSED = {
    "protein_rna/3DD2.pdb.gz": "holds atom N of residue ALA H 129 more than once",
    "protein_rna/5HR7.pdb.gz": "holds atom P of residue C D 20 more than once",
    "protein_rna/5ZQ8.pdb.gz": "cannot be bonded",
}


def entries(shared):
    folder = shared / "data" / "structures"
    with (folder / "manifest.csv").open() as stream:
        return [(folder / row["file"], row["file"]) for row in csv.DictReader(stream)]


def residue_key(author, number, code):
    return (author.strip(), str(number), code.strip())


def gemmi_conformers(path):
    """Per residue of the first model, from gemmi alone: heavy atom names of each conformer; water left out."""
    structure = gemmi.read_structure(str(path))
    found = {}
    for chain in structure[0]:
        for residue in chain:
            atoms = [atom for atom in residue if not atom.is_hydrogen()]
            if residue.is_water() or not atoms:
                continue
            letters = {atom.altloc for atom in atoms if atom.has_altloc()} or {"\0"}
            options = found.setdefault(residue_key(chain.name, residue.seqid.num, residue.seqid.icode), [])
            # A blank may be the letter of the first alternative.
            for letter in letters | {"\0"}:
                options.append(sorted({a.name for a in atoms if not a.has_altloc() or a.altloc == letter}))
    return structure, found


def check(path, name):
    try:
        structure = read_structure(path)
    except StructureError as error:
        assert name in REFUSED, f"{name}: {error}"
        assert REFUSED[name] in str(error)
        return str(error)
    assert name not in REFUSED
    other, expected = gemmi_conformers(path)
    dropped = any("were dropped" in note for note in structure.notes)
    renamed = any("Atoms renamed" in note for note in structure.notes)
    rows = [structure.atoms.name[part].tolist() for part in split_resolved(structure)]
    ours: dict = {}
    authors = {chain.name.strip() for chain in other[0]}
    chains = structure.residues.chain.tolist()
    for row, names in enumerate(rows):
        if names:
            author = structure.chains[chains[row]].author_id
            key = residue_key(
                author if author in authors else "",
                structure.residues.author_number[row],
                str(structure.residues.insertion_code[row]),
            )
            ours.setdefault(key, []).extend(names)
    # Residues: every one that gemmi holds, and no other.
    missing = [key for key in expected if key not in ours]
    assert not missing or dropped, (name, missing[:5])
    assert set(ours) <= set(expected), name
    # Atoms: exactly those of one conformer, unless a note tells of atoms dropped or renamed.
    different = [key for key, names in ours.items() if sorted(names) not in expected[key]]
    if not (dropped or renamed):
        assert not different, (name, [(key, ours[key], expected[key]) for key in different[:3]])
    else:
        counts = [key for key in different if len(ours[key]) > max(map(len, expected[key]))]
        assert not counts, (name, counts[:3])
    # Chains: every polymer whose type gemmi recognises is one of ours.
    other.setup_entities()
    polymers = {chain.name for chain in other[0] if len(chain.get_polymer()) > 1 and _known(chain.get_polymer())}
    mine = {chain.author_id for chain in structure.chains if chain.kind is not ChainKind.LIGAND}
    assert polymers - {""} <= mine, (name, polymers - mine)
    assert np.isfinite(structure.atoms.coordinates).all()
    return None


def _known(polymer):
    return polymer.check_polymer_type() not in {gemmi.PolymerType.Unknown, gemmi.PolymerType.Other}


def split_resolved(structure):
    resolved = np.flatnonzero(structure.atoms.resolved)
    cuts = np.searchsorted(structure.atoms.residue[resolved], np.arange(1, len(structure.residues)))
    return np.split(resolved, cuts)


def test_a_sample_of_the_shared_structures(shared):
    files = entries(shared)
    kinds = Counter(name.split("/")[0] for _, name in files)
    step = {kind: max(1, count // 3) for kind, count in kinds.items()}
    seen: Counter = Counter()
    for path, name in files:
        kind = name.split("/")[0]
        seen[kind] += 1
        if seen[kind] % step[kind] == 0:
            check(path, name)
    assert sum(seen.values()) == 924


@pytest.mark.slow
def test_every_shared_structure_is_read_or_refused_with_a_reason(shared):
    """The refused files are listed; ANFINSEN_READ_REPORT names a file to write the list to."""
    refused = {name: reason for path, name in entries(shared) if (reason := check(path, name)) is not None}
    assert set(refused) == set(REFUSED)
    if report := os.environ.get("ANFINSEN_READ_REPORT"):
        lines = [f"{name}: {reason}" for name, reason in refused.items()]
        Path(report).write_text("\n".join(lines) + "\n")
