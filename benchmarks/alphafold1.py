"""How well AlphaFold 1 finds contacts and folds: families and chains that it was never trained on, by depth.

Run: python benchmarks/alphafold1.py DATA --set test [--model alphafold1-mini] [--longest 260] [--record FILE]
     python benchmarks/alphafold1.py DATA --set families --longest 240
     python benchmarks/alphafold1.py DATA --set test --longest 1000 --contacts-only
DATA is a folder with families/, chains/ and msas/. Long-range precision (CB < 8 Å, |i - j| >= 24) at L/5, L/2 and L of
the couplings alone, of the network without couplings (profile only), and of the network; TM-score and lDDT-CA of the
structure with the lowest potential (--contacts-only: nothing is folded); Spearman correlation of its predicted TM-score
and pLDDT with the true ones. CPU seconds hold couplings, network, folding; --workers chains run at once, one thread
each. Proteins that the record holds, made with the same weights and seed, are not made again. Prints Markdown;
docs/results.md quotes it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from protein_cases import CONTACT, DEPTHS, Case, chain_families, deep_families, depth_class

from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.common.errors import InputError
from anfinsen.common.script import positive, run_script
from anfinsen.common.seeding import torch_generator
from anfinsen.features.alphafold1 import alphafold1_features, evolution_of_msa, features_of_msa, no_extra
from anfinsen.features.coupling_scores import coupling_scores
from anfinsen.metrics import lddt, spearman, tm_score
from anfinsen.models.alphafold1 import AlphaFold1, PairMaps, predict_maps, realise
from anfinsen.weights.alphafold1 import load_alphafold1

KINDS = ("couplings", "profile only", "network")
GLYCINE = AMINO_ACIDS.index("GLY")


def fold_case(case: Case, model: AlphaFold1, seed: int) -> dict:
    """Everything that is reported of one protein."""
    query, started = case.msa.restypes[0], time.process_time()
    features = features_of_msa(query, case.msa, model.config.c_pair_in)
    glycine = torch.from_numpy(query == GLYCINE)
    found = realise(model, features.single, features.pair, glycine, torch_generator(seed, "alphafold1"))
    cpu = time.process_time() - started
    resolved = ~np.isnan(case.ca).any(-1)
    true, ca = case.ca[resolved], found.fold.backbone.ca[0].double().numpy()[resolved]
    local = lddt(ca, true)
    return contacts_of(case, model, found.maps) | {
        "tm": tm_score(ca, true),
        "mirror": tm_score(ca, true * np.array([1.0, 1.0, -1.0])),
        "lddt": local.score,
        "predicted_tm": float(found.confidence.tm_score),
        "plddt": found.confidence.plddt.double().numpy()[resolved].round(1).tolist(),
        "true_lddt": (100 * local.per_atom).round(1).tolist(),
        "cpu_seconds": cpu,
    }


def contacts_of(case: Case, model: AlphaFold1, maps: PairMaps | None = None) -> dict:
    """What is reported of one protein's contacts; ``maps`` are made where they are not there yet."""
    query, channels = case.msa.restypes[0], model.config.c_pair_in
    if maps is None:
        features = features_of_msa(query, case.msa, channels)
        maps = predict_maps(model, features.single, features.pair)
    evolution, scores = evolution_of_msa(case.msa), coupling_scores(case.msa)
    profile = alphafold1_features(query, evolution, None, no_extra(len(query), channels))
    profile_maps = predict_maps(model, profile.single, profile.pair)
    contacts = {
        "couplings": np.zeros((len(query), len(query))) if scores is None else scores,
        "profile only": profile_maps.probability_within(CONTACT).numpy(),
        "network": maps.probability_within(CONTACT).numpy(),
    }
    return {
        "name": case.name,
        "length": len(query),
        "depth": case.msa.depth,
        "neff": evolution.effective_depth if case.neff is None else case.neff,
        "precision": {kind: case.precision(contacts[kind]) for kind in KINDS},
    }


_loaded: dict[str, AlphaFold1] = {}


def work(case: Case, source: str, seed: int, contacts_only: bool) -> dict:
    """One protein in a worker of the pool."""
    torch.set_num_threads(1)
    if source not in _loaded:
        _loaded[source] = load_alphafold1(source, "cpu")[0].eval()
    model = _loaded[source]
    return contacts_of(case, model) if contacts_only else fold_case(case, model, seed)


def evaluate(cases: Iterator[Case], args: argparse.Namespace) -> list[dict]:
    settings = {"model": load_alphafold1(args.model, "cpu")[1].sha256, "seed": args.seed}
    settings |= {"contacts_only": True} if args.contacts_only else {}
    done: dict[str, dict] = {}
    if args.record and args.record.exists():
        lines = [json.loads(line) for line in args.record.read_text().splitlines()]
        done = {line["name"]: line for line in lines if line["settings"] == settings}
    rows, futures = [], []
    with ProcessPoolExecutor(args.workers) as pool:
        for case in cases:
            if case.name in done:
                rows.append(done[case.name])
            else:
                futures.append(pool.submit(work, case, args.model, args.seed, args.contacts_only))
        for future in as_completed(futures):
            row = future.result() | {"settings": settings}
            rows.append(row)
            if args.record:
                with args.record.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            tm = f" TM {row['tm']:.2f}" if "tm" in row else ""
            print(f"{row['name']} L {row['length']} neff {row['neff']:.0f}{tm}", flush=True)
    return rows


def report(rows: list[dict], name: str) -> str:
    if name == "families":
        # Not every family there is deep.
        least, title = DEPTHS[0]
        groups = {f"families, {title}": [row for row in rows if row["neff"] >= least], "families": rows}
    else:
        groups = {title: [] for _, title in DEPTHS}
        for row in rows:
            groups[depth_class(row["neff"])].append(row)
        groups["all"] = rows
    folded = "tm" in rows[0]
    head = [f"{kind} L/5, L/2, L" for kind in KINDS]
    head += ["TM", "TM ≥ 0.5", "lDDT-Cα", "CPU s (median)"] if folded else []
    lines = [f"| class | n | {' | '.join(head)} |", "| --- " * (len(head) + 2) + "|"]
    for title, group in groups.items():
        if not group:
            continue
        cells = []
        for kind in KINDS:
            known = [row["precision"][kind] for row in group if row["precision"][kind]]
            cells.append(" / ".join(f"{mean:.2f}" for mean in np.mean(known, axis=0)) if known else "–")
        if folded:
            tms = np.array([row["tm"] for row in group])
            cells += [_mean(tms), f"{np.mean(tms >= 0.5):.0%}", f"{np.mean([row['lddt'] for row in group]):.3f}"]
            cells.append(f"{np.median([row['cpu_seconds'] for row in group]):.0f}")
        lines.append(f"| {title} | {len(group)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _correlations(rows)] if folded else lines)


def _correlations(rows: list[dict]) -> str:
    """How well confidence ranks, and how often the wrong hand won, in a sentence."""
    mirrored = [row["mirror"] for row in rows if row["mirror"] > row["tm"]]
    predicted, tms = (np.array([row[key] for row in rows]) for key in ("predicted_tm", "tm"))
    trusted = [np.concatenate([row[key] for row in rows]) for key in ("plddt", "true_lddt")]
    return (
        f"Spearman: predicted and true TM-score {_rank(predicted, tms)} over {len(rows)} chains, "
        f"pLDDT and true lDDT {_rank(*trusted)} over residues. "
        f"{len(mirrored)} of {len(rows)} structures are closer to the native one's mirror image"
        + (f", to which they have TM-scores of {min(mirrored):.2f} to {max(mirrored):.2f}." if mirrored else ".")
    )


def _mean(values: np.ndarray) -> str:
    """Mean with a 95 % bootstrap interval over proteins."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def _rank(first: np.ndarray, second: np.ndarray) -> str:
    return f"{spearman(first, second):.2f}" if len(first) > 2 else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="test", choices=("families", "validation", "test"))
    parser.add_argument("--model", default="alphafold1-mini")
    parser.add_argument("--longest", type=positive, default=260)
    parser.add_argument("--every", type=positive, default=1, help="take every Nth chain of a split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument("--contacts-only", action="store_true", help="fold nothing")
    parser.add_argument("--record", type=Path, help="JSON lines, appended to; what it holds is not made again")
    args = parser.parse_args()
    cases = (
        deep_families(args.data, args.longest)
        if args.set == "families"
        else chain_families(args.data, args.set, args.longest, args.every)
    )
    rows = evaluate(cases, args)
    if not rows:
        raise InputError(f"{args.data} has no protein of the set {args.set!r} with at most {args.longest} residues.")
    print("\n" + report(rows, args.set))


if __name__ == "__main__":
    run_script(main)
