"""How good the bundled models are on what they never saw, by class and by depth of the alignment.

Run: python benchmarks/accuracy.py DATA --results FILE.jsonl --write docs/results.md
     [--models NAME[,NAME]] [--baseline alphafold3-mini:random] [--sets chains] [--longest 256] [--limit N]
DATA is a folder with chains/test.parquet and msas/test*.parquet (protein chains, by depth of their alignment) and with
structures/manifest.csv (whole entries with nucleic acids, ligands, ions and modified residues, by their kind). Either
may be missing. Every bundled model is run (AlphaFold 1 on the chains only) on every entry of the split that can be
read and has at most --longest tokens; what is left out is said. Prints Markdown tables; --write puts them into a page,
between the comments `<!-- accuracy: begin -->` and `<!-- accuracy: end -->`. Nothing is tuned on the split that is
named here. With --results every score is written at once, by model, and a run that was interrupted, or that another
model joins, goes on; figures of other weights are made anew.

Prediction: as the product's, the structure ranked first is scored, as by `anfinsen evaluate`. Intervals are 95 %
bootstraps over entries. Baselines: untrained weights, and an ideal alpha helix.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import accuracy_tables as tables
import pages
import torch
from accuracy_models import HELIX, Model, Settings, bundled, open_model
from accuracy_runs import Chosen, Results, Row, Source, chain_sources, run, structure_sources

from anfinsen.common.errors import InputError
from anfinsen.common.files import write_text
from anfinsen.common.script import positive, run_script

CHAINS, STRUCTURES = "protein chains", "structures"
BLOCK = "accuracy"  # the comments in the page begin with it


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default=",".join(bundled()), help="names or weights files; default: all bundled")
    parser.add_argument("--baseline", default="alphafold3-mini:random", help="a model to compare with, or nothing")
    parser.add_argument("--split", default="test")
    parser.add_argument("--sets", choices=("both", "chains", "structures"), default="both")
    parser.add_argument("--limit", type=positive, default=10_000, help="at most this many scored entries of each class")
    parser.add_argument("--longest", type=positive, default=256, help="tokens; larger entries are left out")
    parser.add_argument("--samples", type=positive, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, help="file of JSON lines that keeps every score")
    parser.add_argument("--json", type=Path, help="where to write all rows as one JSON list at the end")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    return parser.parse_args(arguments)


def report(sets: dict[str, list[Row]], left: list[Row], longest: int, baselines: Sequence[str]) -> str:
    """Return all tables as Markdown."""
    chains, structures = sets[CHAINS], sets[STRUCTURES]
    parts: list[tuple[str, str]] = []
    if chains:
        parts += [("Protein chains, by depth of the alignment", tables.protein_table(chains))]
        parts += [("Their long-range contacts: precision of the L/5, L/2, L likeliest", tables.contact_table(chains))]
    if structures:
        parts += [("Whole entries, by kind", tables.complex_table(structures))]
        parts += [("Protein chains of these entries", tables.protein_table(structures))]
        parts += [("Interaction classes", tables.interaction_table(structures))]
        parts += [("Ligands, ions, modified residues", tables.placement_table(structures))]
        parts += [("Interfaces of polymers", tables.interface_table(structures))]
    parts += [("Gain, entry by entry", tables.gain_table(sets, baselines))]
    parts += [("Spearman correlation of pLDDT with true lDDT", tables.correlation_table(sets))]
    text = [f"### {title}\n\n{body}" for title, body in parts if body]
    return "\n\n".join(part for part in (*text, tables.left_out(left, longest)) if part)


def made_by(args: argparse.Namespace, models: Sequence[Model]) -> str:
    """Return the sentence that says how the tables were made."""
    names = ", ".join(f"`{each.name}` ({each.weights[:12] or 'random'})" for each in models)
    return (
        f"Made by `benchmarks/accuracy.py`: split `{args.split}`, at most {args.longest} tokens, seed {args.seed}, "
        f"{args.samples} sample(s), {args.steps} diffusion steps, {args.recycles} recycle(s). Models, with the start "
        f"of their files' SHA-256: {names}. TM-scores are over the chain's length; brackets: 95 % bootstrap over "
        "entries."
    )


def sources(args: argparse.Namespace) -> Iterator[tuple[str, Iterator[Source]]]:
    """The sets that were asked for and are there."""
    data: Path = args.data
    if args.sets in ("both", "chains") and (data / "chains" / f"{args.split}.parquet").is_file():
        yield CHAINS, chain_sources(data, args.split, args.longest)
    if args.sets in ("both", "structures") and (data / "structures" / "manifest.csv").is_file():
        yield STRUCTURES, structure_sources(data / "structures", args.split, args.longest)


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    if args.write:
        pages.with_block(args.write, BLOCK, "")  # before hours are spent
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    settings = Settings(args.split, args.samples, args.steps, args.recycles, args.seed)
    names = [name for name in dict.fromkeys((*args.models.split(","), args.baseline)) if name]
    models = [open_model(name, settings, args.device) for name in names]
    results = Results(args.results, settings)
    chosen = Chosen(args.limit, args.longest)
    sets: dict[str, list[Row]] = {CHAINS: [], STRUCTURES: []}
    left: list[Row] = []
    for name, found in sources(args):
        sets[name], without = run(name, found, models, results, chosen)
        left += without
    if not any(sets.values()):
        raise InputError(f"{args.data} has no entry of split {args.split!r} of at most {args.longest} tokens to score.")
    if args.json:
        write_text(args.json, json.dumps([row for rows in sets.values() for row in rows] + left, allow_nan=False))
    baselines = [*([args.baseline] if args.baseline else []), HELIX]
    text = f"{made_by(args, models)}\n\n{report(sets, left, args.longest, baselines)}"
    if args.write:
        pages.write_block(args.write, BLOCK, text)
    print(f"\n{text}")


if __name__ == "__main__":
    run_script(main)
