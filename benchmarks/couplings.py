"""How well couplings find contacts: long-range precision (CB < 8 Å, |i - j| >= 24) at L/5, L/2 and L.

Run: python benchmarks/couplings.py DATA --set families [--method potts] [--rows 4096] [--longest 240] [--record FILE]
     python benchmarks/couplings.py DATA --set train --calibrate
DATA is a folder with families/, chains/ and msas/. Families that the record holds already, made with the same settings,
are not made again. Prints Markdown; the figures of docs/couplings.md are made by this script. Settings were chosen on
training families, never on `families` or `test`, which are test sets. CB is placed ideally where a backbone is all that
is known.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from protein_cases import DEPTHS, DIVISORS, Case, chain_families, deep_families, depth_class

from anfinsen.alignments.couplings import CouplingConfig, Couplings, RowConfig, infer_couplings
from anfinsen.alignments.couplings.contacts import Calibration
from anfinsen.common.script import positive, run_script

LEAST_SEPARATION = 6
MOST_Z = Calibration.highest_z
HALF_DEPTHS = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200)


def score(case: Case, found: Couplings) -> dict[str, object]:
    at_each = case.precision(found.scores)
    return {
        "name": case.name,
        "length": len(found.scores),
        "depth": found.depth,
        "rows": found.rows,
        "neff": found.effective_depth if case.neff is None else case.neff,
        "iterations": found.iterations,
        "precision": {f"L/{d}": value for d, value in zip(DIVISORS, at_each, strict=True)} if at_each else {},
    }


def evaluate(cases: Iterator[Case], args) -> list[dict]:
    config = CouplingConfig(method=args.method, gap=args.gap, rows=RowConfig(max_rows=args.rows))
    settings = asdict(config)
    done = {}
    if args.record and args.record.exists():
        lines = [json.loads(line) for line in args.record.read_text().splitlines()]
        done = {line["name"]: line for line in lines if line["settings"] == json.loads(json.dumps(settings))}
    rows = []
    for case in cases:
        row = done.get(case.name)
        if row is None:
            start = time.process_time()
            found = infer_couplings(case.msa, config, device=args.device)
            row = score(case, found) | {"cpu_seconds": time.process_time() - start, "settings": settings}
            if args.calibrate:
                row["pairs"] = pair_sample(case, found)
            if args.record:
                with args.record.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
        shown = {key: value for key, value in row.items() if key not in {"settings", "pairs"}}
        print(json.dumps(shown), flush=True)
    return rows


def pair_sample(case: Case, found: Couplings) -> list[list[float]]:
    """z and contact of the strongest 10 L pairs and of every 20th of the others, with its weight."""
    first, second = np.triu_indices(len(found.scores), LEAST_SEPARATION)
    keep = case.known[first, second]
    first, second = first[keep], second[keep]
    z = found.z_scores()[first, second]
    order = np.argsort(-z)
    top = 10 * len(found.scores)
    chosen = [(index, 1.0) for index in order[:top]] + [(index, 20.0) for index in order[top::20]]
    return [[round(float(z[k]), 3), float(case.near[first[k], second[k]]), weight] for k, weight in chosen]


def calibrate(rows: list[dict]) -> str:
    """Logistic regression of contacts on z Neff / (Neff + half depth): Newton's method for each half depth."""
    pairs = [(z, near, weight / len(row["pairs"]), row["neff"]) for row in rows for z, near, weight in row["pairs"]]
    z, target, weight, neff = np.array(pairs).T
    best = None
    for half in HALF_DEPTHS:
        design = np.stack([np.ones_like(z), np.clip(z, -MOST_Z, MOST_Z) * neff / (neff + half)], axis=1)
        beta = np.zeros(2)
        for _ in range(30):
            chance = 1 / (1 + np.exp(-design @ beta))
            hessian = (design * (weight * chance * (1 - chance))[:, None]).T @ design
            beta += np.linalg.solve(hessian, design.T @ (weight * (target - chance)))
        chance = 1 / (1 + np.exp(-design @ beta))
        likelihood = (weight * np.log(np.where(target > 0, chance, 1 - chance))).sum()
        if best is None or likelihood > best[0]:
            best = likelihood, half, beta, chance
    _, half, beta, chance = best
    lines = [
        f"Calibration({beta[0]:.2f}, {beta[1]:.3f}, {half:g}) of {len(rows)} families",
        "",
        "| predicted | pairs | true |",
        "|---|---|---|",
    ]
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        inside = (chance >= low) & (chance < high)
        if inside.any():
            mean, true = (np.average(values[inside], weights=weight[inside]) for values in (chance, target))
            lines.append(f"| {mean:.2f} | {inside.sum()} | {true:.2f} |")
    return "\n".join(lines)


def report(rows: list[dict], by_depth: bool) -> str:
    groups: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        if row["precision"]:
            if by_depth:
                groups[depth_class(row["neff"])].append(row)
            groups["all"].append(row)
    lines = ["| set | n | L/5 | L/2 | L | median Neff | median CPU s |", "|---|---|---|---|---|---|---|"]
    for name in [*(name for _, name in DEPTHS), "all"]:
        if group := groups.get(name):
            means = [f"{np.mean([row['precision'][f'L/{d}'] for row in group]):.3f}" for d in DIVISORS]
            medians = [np.median([row[key] for row in group]) for key in ("neff", "cpu_seconds")]
            lines.append(
                f"| {name} | {len(group)} | " + " | ".join([*means, f"{medians[0]:.0f}", f"{medians[1]:.1f}"]) + " |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="families", choices=("families", "train", "validation", "test"))
    parser.add_argument("--method", default="potts")
    parser.add_argument("--gap", default="missing")
    parser.add_argument("--rows", type=positive, default=RowConfig().max_rows)
    parser.add_argument("--longest", type=positive, default=240)
    parser.add_argument("--every", type=positive, default=1, help="take every Nth family of a split")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--record", type=Path, help="JSON lines, appended to; what it holds is not made again")
    parser.add_argument("--calibrate", action="store_true")
    args = parser.parse_args()
    deep = args.set == "families"
    cases = (
        deep_families(args.data, args.longest)
        if deep
        else chain_families(args.data, args.set, args.longest, args.every)
    )
    rows = evaluate(cases, args)
    print("\n" + report(rows, by_depth=not deep))
    if args.calibrate:
        print("\n" + calibrate(rows))


if __name__ == "__main__":
    run_script(main)
