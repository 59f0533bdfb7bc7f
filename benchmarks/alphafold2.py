"""What recycling and the depth of the alignment give AlphaFold 2, on chains that it was never trained on.

Run: python benchmarks/alphafold2.py DATA [--model alphafold2-mini] [--split test] [--longest 140] [--record FILE]
DATA is a folder with chains/ and msas/. Every chain with an alignment is folded with 0, 1, 2, 3 recycles and its whole
alignment, and with 1 recycle and at most 1, 8, 64 random rows of it. lDDT-CA, TM-score over the chain's length,
backbone FAPE (clamped at 10 Å, in units of 10 Å) and mean pLDDT; Spearman correlation of pLDDT with the true lDDT, over
chains and over residues. Chains that the record holds, made with the same weights, are not folded again. Prints
Markdown; docs/results.md quotes it. `benchmarks/accuracy.py` compares with the other models.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from accuracy_models import ALIGNMENT_CLASSES, NO_ALIGNMENT, Entry
from accuracy_runs import chain_sources

from anfinsen.alignments import take_rows
from anfinsen.chemistry import rigid_groups
from anfinsen.common.script import positive, run_script
from anfinsen.common.seeding import numpy_generator
from anfinsen.features import Complex
from anfinsen.features.alphafold2 import alphafold2_inputs
from anfinsen.features.residue_atoms import residue_atoms
from anfinsen.geometry import Frames, ResidueTables, residue_frames
from anfinsen.inference.alphafold2 import feature_config
from anfinsen.inference.confidence import expected_plddt
from anfinsen.losses.alphafold2 import FapeConfig, backbone_fape
from anfinsen.metrics import lddt, spearman, tm_score
from anfinsen.models.alphafold2 import AlphaFold2
from anfinsen.weights.alphafold2 import load_alphafold2

RECYCLES = (0, 1, 2, 3)
ROWS = (1, 8, 64)
ROWS_RECYCLES = 1
CA = 1  # place among the 14 atoms


def settings() -> list[tuple[str, int, int | None]]:
    """Name, recycles and most rows (None: all) of every way to fold a chain."""
    whole = [(f"{recycles} recycles", recycles, None) for recycles in RECYCLES]
    return whole + [(f"{rows} rows", ROWS_RECYCLES, rows) for rows in ROWS]


@torch.no_grad()
def fold(model: AlphaFold2, entry: Entry, recycles: int, rows: int | None, seed: int) -> dict:
    """Scores of one chain."""
    inputs = alphafold2_inputs(thinned(entry.prepared, rows, seed), feature_config(model))

    def draw(cycle: int):
        return inputs.draw(numpy_generator(seed, "alphafold2", 0, cycle))

    output = model(draw(0), recycles=recycles, resample=draw)
    true = residue_atoms(entry.reference, 0)
    atoms, mask = torch.from_numpy(true.atoms).float(), torch.from_numpy(true.mask)
    tables = ResidueTables.of(rigid_groups().arrays(), atoms)
    frames, known = residue_frames(atoms, mask, torch.from_numpy(true.residue_type), tables)
    ca, wanted = output.atoms[:, CA].double().numpy(), true.atoms[:, CA]
    local = lddt(ca, wanted)
    plddt = expected_plddt(output.logits.plddt).double().numpy()
    last = Frames(output.structure.frames.rotation[-1:], output.structure.frames.origin[-1:])
    error = backbone_fape(last, Frames(frames.rotation[:, 0], frames.origin[:, 0]), known[:, 0], FapeConfig())
    return {
        "lddt": local.score,
        "tm": tm_score(ca, wanted),
        "fape": float(error),
        "plddt": plddt.round(1).tolist(),
        "true_lddt": (100 * local.per_atom).round(1).tolist(),
    }


def thinned(prepared: Complex, rows: int | None, seed: int) -> Complex:
    """The chain with at most ``rows`` random rows of its alignment, the query among them."""
    known = prepared.alignments[0]
    msa = known.unpaired
    if rows is None or msa is None or msa.depth <= rows:
        return prepared
    others = 1 + numpy_generator(seed, "rows", rows).permutation(msa.depth - 1)[: rows - 1]
    fewer = take_rows(msa, np.concatenate([[0], np.sort(others)]).astype(np.int64))
    return dataclasses.replace(prepared, alignments=(dataclasses.replace(known, unpaired=fewer),))


def run(args: argparse.Namespace) -> list[dict]:
    """All chains' rows: what the record holds of these weights, and the others, folded now."""
    model, info = load_alphafold2(args.model)
    done: dict[str, dict] = {}
    if args.record and args.record.exists():
        lines = [json.loads(line) for line in args.record.read_text(encoding="utf-8").splitlines()]
        done = {row["id"]: row for row in lines if row["weights"] == info.sha256 and row["seed"] == args.seed}
    rows = []
    for source in chain_sources(args.data, args.split, args.longest):
        if source.kind == NO_ALIGNMENT:
            continue
        if source.key not in done:
            entry = source.load()
            if not isinstance(entry, Entry):
                continue
            scores = {name: fold(model, entry, recycles, most, args.seed) for name, recycles, most in settings()}
            row = {"id": source.key, "class": source.kind, "weights": info.sha256, "seed": args.seed, "scores": scores}
            done[source.key] = row
            if args.record:
                with args.record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, allow_nan=False) + "\n")
            print(
                source.key, source.kind, *(f"{name}: {each['lddt']:.3f}" for name, each in scores.items()), flush=True
            )
        rows.append(done[source.key])
    return rows


def means(rows: Iterable[dict], name: str) -> str:
    """One line of the table: lDDT-CA, TM-score, FAPE, pLDDT."""
    scores = [row["scores"][name] for row in rows]
    values = [np.mean([each[key] for each in scores]) for key in ("lddt", "tm", "fape")]
    return " | ".join(f"{value:.3f}" for value in values) + f" | {np.mean([np.mean(e['plddt']) for e in scores]):.1f}"


def report(rows: list[dict]) -> str:
    """Return the tables as Markdown."""
    lines = ["| alignment | chains | seen | lDDT-CA | TM | FAPE | pLDDT |", "|---|---|---|---|---|---|---|"]
    classes = [("all", rows)] + [(name, [r for r in rows if r["class"] == name]) for _, name in ALIGNMENT_CLASSES]
    for kind, members in classes:
        for name, _, _ in settings() if members else ():
            lines.append(f"| {kind} | {len(members)} | {name} | {means(members, name)} |")
    last = f"{RECYCLES[-1]} recycles"
    found = [row["scores"][last] for row in rows]
    chains = spearman(np.array([np.mean(e["plddt"]) for e in found]), np.array([e["lddt"] for e in found]))
    plddt, true = (np.concatenate([e[key] for e in found]) for key in ("plddt", "true_lddt"))
    lines += [
        "",
        f"Spearman correlation of pLDDT with the true lDDT-CA ({last}): {chains:.2f} over {len(rows)} chains,",
    ]
    lines += [f"{spearman(plddt, true):.2f} over {len(true)} residues."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="alphafold2-mini")
    parser.add_argument("--split", default="test")
    parser.add_argument("--longest", type=positive, default=140)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="file of JSON lines that keeps every chain's scores")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    print(report(run(args)))


if __name__ == "__main__":
    run_script(main)
