"""How good the bundled model is on proteins it never saw, against untrained weights and against an ideal helix.

Run: python benchmarks/accuracy.py DATA [--model alphafold3-mini] [--longest 256] [--samples 1] [--steps 50]
DATA is a folder with chains/test.parquet and msas/test*.parquet. Prints a Markdown table; the figures of
docs/results.md are made by this script. Nothing is tuned on the split that is named here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import backbone_from_dihedrals
from anfinsen.inference.confidence import expected_plddt
from anfinsen.metrics import contact_precision, lddt, spearman, tm_score
from anfinsen.nn.batch import Batch, Labels
from anfinsen.training.data_chains import ChainDataset
from anfinsen.weights import load_model

CONTACT = 8.0  # Å
CONTACT_BINS = 20  # distogram bins that end below 8 Å: 64 bins, 2-22 Å


def helix(length: int) -> np.ndarray:
    """CA trace of an ideal alpha helix: the best guess that knows nothing of the sequence."""
    phi, psi, omega = (torch.full((length,), float(np.deg2rad(angle))) for angle in (-57.0, -47.0, 180.0))
    return backbone_from_dihedrals(phi, psi, omega)[:, 1].double().numpy()


def depth_class(rows: int, neff: float) -> str:
    if rows <= 1:
        return "no alignment (stored profile)"
    for limit, name in ((300, "neff >= 300"), (100, "neff 100-300"), (50, "neff 50-100")):
        if neff >= limit:
            return name
    return "neff < 50"


@torch.no_grad()
def predict(model, batch: Batch, args, name: str) -> dict[str, np.ndarray]:
    generator = torch_generator(args.seed, name)
    trunk = model.trunk(batch, recycles=args.recycles, generator=generator)
    x = model.sample(batch, trunk, samples=args.samples, steps=args.steps, generator=generator)
    plddt = torch.stack([expected_plddt(logits) for logits in model.confidence(batch, trunk, x).plddt])
    best = int(plddt[:, batch.center_atom].mean(1).argmax())
    contact = torch.softmax(model.distogram_logits(trunk).float(), -1)[..., :CONTACT_BINS].sum(-1)
    return {
        "ca": x[best][batch.center_atom].double().numpy(),
        "plddt": plddt[best][batch.center_atom].double().numpy(),
        "contact": contact.double().numpy(),
    }


def scores(ca: np.ndarray, batch: Batch, labels: Labels) -> dict[str, float]:
    true = labels.coordinates[batch.center_atom].double().numpy()
    return {"lddt": lddt(ca, true).score, "tm": tm_score(ca, true)}


def evaluate(args) -> list[dict[str, object]]:
    data = ChainDataset(args.data, args.split)
    table = data.store
    models = {"trained": load_model(args.model)[0], "untrained": load_model(args.untrained)[0]}
    rows: list[dict[str, object]] = []
    neff = read_neff(args.data, args.split)
    for index in range(min(args.limit, len(table))):
        record = table.record(index)
        if len(record.restype) > args.longest:
            continue
        batch, labels = data.whole(index)
        row: dict[str, object] = {
            "id": record.id,
            "length": len(record.restype),
            "class": depth_class(len(batch.msa), neff.get(record.id, 0.0)),
        }
        for name, model in models.items():
            start = time.process_time()
            out = predict(model, batch, args, record.id)
            row |= {f"{name}_{key}": value for key, value in scores(out["ca"], batch, labels).items()}
            row[f"{name}_seconds"] = time.process_time() - start
            if name == "trained":
                true = labels.coordinates[batch.center_atom].double().numpy()
                row["per_residue"] = lddt(out["ca"], true).per_atom.tolist()
                row["plddt"] = out["plddt"].tolist()
                beta = labels.coordinates[batch.distogram_atom].double().numpy()
                near = np.linalg.norm(beta[:, None] - beta[None], axis=-1) < CONTACT
                if len(beta) > 40 and np.triu(near, 24).any():
                    row["precision"] = contact_precision(out["contact"], near, divisor=5.0)
        row |= {f"helix_{key}": value for key, value in scores(helix(len(record.restype)), batch, labels).items()}
        rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if k not in {"per_residue", "plddt"}}), flush=True)
    return rows


def read_neff(folder: Path, split: str) -> dict[str, float]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "chains" / f"{split}.parquet", columns=["id", "msa_neff"])
    return dict(zip(table["id"].to_pylist(), map(float, table["msa_neff"].to_pylist()), strict=True))


def report(rows: list[dict[str, object]]) -> str:
    groups: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[str(row["class"])].append(row)
    lines = [
        "| class | n | lDDT-Cα: trained | untrained | helix | TM: trained | untrained | helix | contacts L/5 | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in [*sorted(groups.items()), ("all", rows)]:

        def mean(key: str, group: list[dict[str, object]] = group) -> str:
            values = [float(row[key]) for row in group if key in row]
            return f"{np.mean(values):.3f}" if values else "–"

        cells = [mean(f"{who}_{what}") for what in ("lddt", "tm") for who in ("trained", "untrained", "helix")]
        lines.append(
            f"| {name} | {len(group)} | " + " | ".join([*cells, mean("precision"), mean("trained_seconds")]) + " |"
        )
    chains = spearman(
        np.array([np.mean(row["plddt"]) for row in rows]), np.array([float(row["trained_lddt"]) for row in rows])
    )
    residues = spearman(
        np.concatenate([np.array(row["plddt"]) for row in rows]),
        np.concatenate([np.array(row["per_residue"]) for row in rows]),
    )
    lines += [
        "",
        f"Spearman correlation of pLDDT with true lDDT-Cα: {chains:.2f} over chains, {residues:.2f} over residues.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="alphafold3-mini")
    parser.add_argument("--untrained", default="alphafold3-mini:random")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = evaluate(args)
    if args.json:
        args.json.write_text(json.dumps(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
