"""Does a model draw what experiments cannot see as ribbons, or does it invent helices there?

Run: python benchmarks/cross_distillation.py STRUCTURES --models alphafold3-mini,runs/crossed/weights.safetensors
     [--alignments DIR] [--split test] [--min-unresolved 5] [--longest 256] [--limit N] [--write FILE]
STRUCTURES is a folder of structure files with a manifest.csv that has a column `split`; nothing is tuned on the split
named here. Every protein chain of that split with an unresolved stretch of five residues or more is predicted whole and
alone, by each model (names of bundled models, or weights files: with and without cross-distillation), with the
alignments of --alignments where one fits. Of the structure ranked first, the table says how many of the residues in
such stretches are drawn as helix (P-SEA on the CA atoms, `metrics.secondary_structure`) and what pLDDT they have. A
small model's helices may be too narrow for P-SEA: how many residues wind as a helix does, at any width
(`metrics.winding`), and how far the chain gets in four residues (`metrics.stretching`: 6 Å in a helix, 13 in a ribbon)
are shown too; and the same of the resolved residues, predicted and in the experiment. Averages are over residues;
brackets: 95 % bootstrap over chains.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anfinsen.common.errors import InputError
from anfinsen.common.files import write_text
from anfinsen.common.progress import Silent
from anfinsen.common.script import positive, run_script
from anfinsen.inference import DEFAULT_MODEL, PredictOptions, Predictor, make_predictor
from anfinsen.inference.distillation import DistillConfig, distilled_chain
from anfinsen.inference.distillation_cross import CrossConfig, disordered, partly_unresolved, stretches
from anfinsen.inference.distillation_inputs import KnownPart, Unlabelled, read_unlabelled
from anfinsen.metrics import secondary_structure, stretching, winding

BOOTSTRAPS = 2000
_CA = 1  # place in `DistilledRecord.backbone`


@dataclass(frozen=True)
class Shape:
    """How a chain runs, per residue: as helix, winding as one, and Å in four residues."""

    helix: np.ndarray
    winds: np.ndarray
    reach: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """One predicted chain: its shape and pLDDT per residue, and what the experiment says.

    ``unseen``: in an unresolved stretch. ``known``: resolved. ``true``: shape in the experiment (where resolved).
    """

    name: str
    shape: Shape
    plddt: np.ndarray
    unseen: np.ndarray
    known: np.ndarray
    true: Shape
    gdt: float


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--models", default="alphafold3-mini", help="names or weights files, separated by commas")
    parser.add_argument("--alignments", type=Path, action="append", default=[])
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-unresolved", type=int, default=5)
    parser.add_argument("--longest", type=positive, default=256)
    parser.add_argument("--limit", type=positive, default=10_000, help="at most this many chains, the shortest first")
    parser.add_argument("--samples", type=positive, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path, metavar="FILE", help="where to write the Markdown, too")
    return parser.parse_args(arguments)


def shape_of(ca: np.ndarray) -> Shape:
    """Return the shape of an unbroken chain of CA atoms (Å)."""
    return Shape(secondary_structure(ca) == "helix", winding(ca), stretching(ca))


def true_shape(known: KnownPart) -> Shape:
    """Return the shape of the resolved residues, from each resolved stretch by itself."""
    size = len(known.resolved)
    result = Shape(np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), np.zeros(size))
    for start, end in stretches(known.resolved):
        part = shape_of(known.ca[start:end])
        for name, values in vars(result).items():
            values[start:end] = getattr(part, name)
    return result


def draw(request: Unlabelled, predictor: Predictor) -> Drawn:
    """Predict one chain and look at it."""
    assert request.known is not None  # `partly_unresolved` gives nothing else
    chain = distilled_chain(request, predictor.predict(request.job), DistillConfig(), {})
    record = chain.record
    ca = np.array(record.backbone, dtype=np.float64).reshape(len(record.sequence), -1, 3)[:, _CA] / 100
    return Drawn(
        request.name,
        shape_of(ca),
        np.array(record.plddt),
        disordered(request.known.resolved),
        request.known.resolved,
        true_shape(request.known),
        record.gdt or 0.0,
    )


def interval(values: Sequence[tuple[float, int]], seed: int = 0) -> str:
    """Return the mean of sums over counts with its bootstrap interval over chains."""
    sums, counts = np.array(values, dtype=np.float64).T
    drawn = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAPS, len(values)))
    means = sums[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{sums.sum() / max(counts.sum(), 1):.2f} [{low:.2f}, {high:.2f}]"


PARTS = ("unresolved, drawn", "resolved, drawn", "resolved, experiment")
HEADER = (
    "| model | chains | residues | number | helix | wind as one | Å in 4 residues | pLDDT | mean GDT-TS |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def rows(model: str, chains: Sequence[Drawn]) -> list[str]:
    """Return a model's lines of the table, one for each of `PARTS`."""
    lines = []
    for part in PARTS:
        masks = [c.unseen if part == PARTS[0] else c.known for c in chains]
        shapes = [c.true if part == PARTS[2] else c.shape for c in chains]
        columns = [[getattr(shape, name) for shape in shapes] for name in ("helix", "winds", "reach")]
        if part != PARTS[2]:
            columns.append([c.plddt for c in chains])
        cells = [
            interval([(float(v[mask].sum()), int(mask.sum())) for v, mask in zip(values, masks, strict=True)])
            for values in columns
        ]
        cells += [""] * (4 - len(cells))
        gdt = f"{np.mean([c.gdt for c in chains]):.2f}" if part == PARTS[1] else ""
        number = sum(int(mask.sum()) for mask in masks)
        lines.append("| " + " | ".join((f"`{model}`", str(len(chains)), part, str(number), *cells, gdt)) + " |")
    return lines


def chosen(args: argparse.Namespace) -> list[Unlabelled]:
    """Return the held-out chains, the shortest first.

    Raises:
        InputError: the split is that of training, or has no such chain.
    """
    config = CrossConfig(args.min_unresolved, args.longest, args.split)
    if config.split == CrossConfig().split:
        raise InputError("The split for training was named: measure on a held-out one, such as --split test.")
    given, _, _ = read_unlabelled(args.alignments)
    found, _ = partly_unresolved(args.structures, {each.sequence: each.alignment for each in given}, config)
    if not found:
        raise InputError(f"{args.structures} has no chain with an unresolved stretch in the split {args.split!r}.")
    return sorted(found, key=lambda each: (len(each.sequence), each.name))[: args.limit]


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    chains = chosen(args)
    lines = [HEADER]
    for name in args.models.split(","):
        path = Path(name)
        settings = PredictOptions(
            model=DEFAULT_MODEL if path.is_file() else name,
            weights=path if path.is_file() else None,
            seeds=(args.seed,),
            samples=args.samples,
            steps=args.steps,
            recycles=args.recycles,
            device=args.device,
        )
        predictor = make_predictor(settings, Silent())
        drawn = [draw(chain, predictor) for chain in chains]
        lines += rows(f"{name} ({predictor.weights.sha256[:12] or 'random'})", drawn)
        for each in drawn:
            share = each.shape.winds[each.unseen].mean()
            print(f"{name} {each.name}: {share:.2f} of {each.unseen.sum()} unresolved residues wind as a helix does")
    aligned = sum(bool(chain.alignment) for chain in chains)
    lines += ["", f"{len(chains)} chains of the split `{args.split}`, {aligned} with an alignment; seed {args.seed}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        write_text(args.write, text)


if __name__ == "__main__":
    run_script(main)
