"""Prepare the demo's protein: python scripts/demo_protein.py CHAINS.parquet MSAS.parquet 2aee_A examples --title TEXT

CHAINS and MSAS hold chains with known backbones and their alignments (columns `id`, `sequence`, `x`, `y`, `z`, and
`id`, `a3m`). Writes a job (ID.yaml) with its alignment (ID.a3m: rows that cover much of the chain, thinned by identity
until few enough are left) and the known backbone (ID.pdb). Needs the extra `train`; equal input gives equal bytes.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import gemmi
import numpy as np
import pyarrow.parquet as pq

from anfinsen.alignments import FilterConfig, parse_msa
from anfinsen.alignments.filters import kept_rows
from anfinsen.chemistry import ChainKind
from anfinsen.common.files import write_text
from anfinsen.common.script import positive, run_script

BACKBONE = ("N", "CA", "C", "O")
COVERAGE = 0.5  # of the chain, that a row must have
PER_CENT = range(95, 40, -1)  # identity of two rows: the largest that leaves few enough


def record(path: Path, key: str) -> dict:
    rows = pq.read_table(path, filters=[("id", "=", key)]).to_pylist()
    if len(rows) != 1:
        raise SystemExit(f"{path} has {len(rows)} rows called {key}: expected one.")
    return rows[0]


def thinned(a3m: str, sequence: str, most: int) -> str:
    """Return at most ``most`` rows of the alignment, the first among them."""
    lines = a3m.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith(">")]
    blocks = ["\n".join(lines[a:b]) for a, b in pairwise([*starts, len(lines)])]
    msa = parse_msa(a3m, sequence, ChainKind.PROTEIN, "The alignment")
    for per_cent in PER_CENT:
        rows = kept_rows(msa, FilterConfig(min_coverage=COVERAGE, max_identity=per_cent / 100))
        if len(rows) <= most:
            return "\n".join(blocks[row] for row in rows) + "\n"
    raise SystemExit(f"More than {most} rows are left however alike they may not be.")


def backbone(row: dict) -> gemmi.Structure:
    """Return the chain's N, CA, C and O, numbered from 1."""
    places = np.stack([row[axis] for axis in "xyz"], axis=-1).reshape(-1, len(BACKBONE), 3) / 100
    chain = gemmi.Chain("A")
    names = gemmi.expand_one_letter_sequence(row["sequence"], gemmi.ResidueKind.AA)
    for number, (name, atoms) in enumerate(zip(names, places, strict=True), 1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
        for atom_name, place in zip(BACKBONE, atoms, strict=True):
            atom = gemmi.Atom()
            atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
            atom.pos, atom.occ, atom.b_iso = gemmi.Position(*place), 1.0, 0.0
            residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.name = row["id"]
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(chain)
    structure.setup_entities()
    return structure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("msas", type=Path)
    parser.add_argument("id")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--title", required=True, help="one sentence about the protein, the job's first line")
    parser.add_argument("--rows", type=positive, default=400, help="of the alignment, at most")
    args = parser.parse_args()
    row = record(args.chains, args.id)
    a3m = thinned(record(args.msas, args.id)["a3m"], row["sequence"], args.rows)
    depth = a3m.count(">") - 1
    job = f"""\
# {args.title}
# {args.id}.a3m: {depth} relatives from UniProt/Swiss-Prot 2014_01 (UniProt Consortium, CC BY 4.0), headers: accessions.
# {args.id}.pdb: its known backbone (PDB entry {row["pdb_id"]}, chain {row["chain"]}, CC0), to compare with.
name: {args.id}
chains:
  - protein: {row["sequence"]}
    id: A
    msa: {args.id}.a3m
"""
    write_text(args.folder / f"{args.id}.a3m", a3m)
    write_text(args.folder / f"{args.id}.yaml", job)
    write_text(
        args.folder / f"{args.id}.pdb",
        backbone(row).make_pdb_string(gemmi.PdbWriteOptions(minimal=True, cryst1_record=False)),
    )


if __name__ == "__main__":
    run_script(main)
