"""How good the bundled model is on what it never saw, by class, against untrained weights and against ideal helices.

Run: python benchmarks/accuracy.py DATA [--results FILE.jsonl] [--model alphafold3-mini] [--longest 256] [--samples 1]
DATA is a folder with chains/test.parquet and msas/test*.parquet (protein chains, by depth of their alignment) and with
structures/manifest.csv (whole entries with nucleic acids, ligands, ions and modified residues, by their kind). Either
may be missing. Every entry of the split that can be read and has at most --longest tokens is scored; what is left out
is said. Prints Markdown tables; the figures of docs/results.md are made by this script. Nothing is tuned on the split
that is named here. With --results every scored entry is written at once, and a run that was interrupted goes on.

Prediction: one trunk, all samples in one batch; the sample ranked first is scored, after true chains and symmetric
atoms were renamed to fit it. Intervals are 95 % bootstraps over entries. The scores are explained in
`accuracy_scores.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import accuracy_tables as tables
import torch
from accuracy_runs import Chosen, Results, Settings, chain_rows, run, structure_rows

from anfinsen.common.errors import AnfinsenError, InputError
from anfinsen.common.files import write_text
from anfinsen.weights import load_model

CHAINS, STRUCTURES = "protein chains", "structures"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="alphafold3-mini")
    parser.add_argument("--untrained", default="alphafold3-mini:random")
    parser.add_argument("--split", default="test")
    parser.add_argument("--sets", choices=("both", "chains", "structures"), default="both")
    parser.add_argument("--limit", type=int, default=10_000, help="at most this many scored entries of each class")
    parser.add_argument("--longest", type=int, default=256, help="tokens; larger entries are left out")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, help="file of JSON lines that keeps every scored entry")
    parser.add_argument("--json", type=Path, help="where to write all rows as one JSON list at the end")
    return parser.parse_args()


def report(sets: dict[str, list[dict]], left: list[dict], longest: int) -> str:
    """Return all tables as Markdown."""
    chains, structures = sets[CHAINS], sets[STRUCTURES]
    parts = []
    if chains:
        parts += ["### Protein chains, by depth of the alignment", tables.protein_table(chains)]
        parts += [tables.contact_table(chains)]
    if structures:
        parts += ["### Whole entries, by kind", tables.complex_table(structures)]
        parts += ["### Protein chains of these entries", tables.protein_table(structures)]
        parts += ["### Interaction classes", tables.interaction_table(structures)]
        parts += ["### Ligands, ions, modified residues", tables.placement_table(structures)]
        parts += ["### Interfaces of polymers", tables.interface_table(structures)]
    parts += ["### Gain, entry by entry", tables.gain_table(sets)]
    parts += ["### Spearman correlation of pLDDT with true lDDT", tables.correlation_table(sets)]
    parts += [tables.left_out(left, longest)]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    args = options()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    loaded = {
        who: load_model(name, args.device) for who, name in (("trained", args.model), ("untrained", args.untrained))
    }
    models = {who: model for who, (model, _) in loaded.items()}
    identity = {who: (info.name, info.sha256) for who, (_, info) in loaded.items()}
    settings = Settings(identity, args.split, args.samples, args.steps, args.recycles, args.seed)
    results = Results(args.results, settings)
    chosen = Chosen(args.limit, args.longest)
    sets: dict[str, list[dict]] = {CHAINS: [], STRUCTURES: []}
    left: list[dict] = []
    sources = (
        (CHAINS, "chains", chain_rows, args.data, args.data / "chains" / f"{args.split}.parquet"),
        (STRUCTURES, "structures", structure_rows, args.data / "structures", args.data / "structures" / "manifest.csv"),
    )
    for name, option, rows, folder, needed in sources:
        if args.sets in (option, "both") and needed.is_file():
            sets[name], without = run(name, rows(folder, models, settings, chosen), results, chosen)
            left += without
    if not any(sets.values()):
        raise InputError(f"{args.data} has no entry of split {args.split!r} of at most {args.longest} tokens to score.")
    if args.json:
        write_text(args.json, json.dumps([row for rows in sets.values() for row in rows] + left, allow_nan=False))
    print()
    print(report(sets, left, args.longest))


if __name__ == "__main__":
    try:
        main()
    except AnfinsenError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
