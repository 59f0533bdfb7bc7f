"""Proof that the training path learns: a small network over-fits 8 real complexes and samples them from noise.

Run: python benchmarks/overfit.py STRUCTURES [--out overfit-output] [--steps N] [--samples 4]
(on two cores: torchrun --nproc-per-node 2 benchmarks/overfit.py …). STRUCTURES is the folder that holds the files named
in `COMPLEXES`. Everything is the product's own code: `StructureDataset`, `Trainer` with its losses, label permutation
and averaged weights, and the sampler; only the sizes are small. Prints a Markdown table of lDDT, all atoms, pairs in
a residue left out. The run goes on from its last checkpoint when started again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anfinsen.common.script import positive, run_script
from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.inference.confidence import expected_plddt
from anfinsen.losses import LossConfig, batch_symmetries, permute_labels
from anfinsen.metrics import lddt
from anfinsen.models.alphafold3 import AlphaFold3Config, TemplateEmbedderConfig
from anfinsen.nn.batch import Batch, Labels
from anfinsen.training import Recipe, Stage, Trainer
from anfinsen.training.crops import CropConfig
from anfinsen.training.data_structures import StructureDataConfig, StructureDataset
from anfinsen.training.workers import Workers, joined_workers

# Small complexes of the training split, with everything that the network must be able to place.
COMPLEXES = {
    "mixed/2n0n_M1.pdb.gz": "peptide, modified residues",
    "mixed/1AS5.cif.gz": "conotoxin, modified residues, disulfides",
    "mixed/209d-assembly1.cif.gz": "DNA duplex with a drug peptide",
    "modified/1A93.cif.gz": "protein–protein (Myc–Max), capped ends",
    "single/2ZTA.pdb.gz": "protein–protein, two equal chains",
    "single/1IGV.pdb.gz": "protein with an ion (Mn)",
    "protein_rna/1C9S.pdb.gz": "protein–RNA",
    "modified/1B7V.cif.gz": "protein with a ligand (haem C)",
}
LARGEST = 128  # tokens; no complex is cropped
STEPS = 3000

NETWORK = AlphaFold3Config(
    c_s=96,
    c_z=24,
    c_m=16,
    c_token_inputs=64,
    c_token=128,
    c_atom=64,
    c_atompair=16,
    atom_blocks=2,
    atom_heads=4,
    msa_blocks=1,
    msa_heads=2,
    c_outer=8,
    msa_rows=1,
    pairformer_blocks=2,
    heads_single=4,
    heads_pair=2,
    c_pair_attention=8,
    c_triangle=24,
    template=TemplateEmbedderConfig(blocks=1, c=8),
    confidence_blocks=1,
    token_blocks=4,
    token_heads=4,
    c_noise=32,
    recycles=0,
    dropout_pair=0.0,
    dropout_msa=0.0,
)


def recipe(steps: int, examples_per_step: int = 2, learning_rate: float = 1e-2, copies: int = 16) -> Recipe:
    """Return ``steps`` steps, the first three tenths of the trunk alone, then few of the confidence head alone."""
    # Equation 6 as the supplement prints it weighs all noise levels alike, and so the high ones, where a structure is
    # remembered, far more than the form that is the default (there, what counts is to remove a little noise).
    losses = LossConfig(weighting="supplement", smooth_lddt=4.0, bond=1.0, distogram=4.0)
    trunk = Stage(
        steps=round(0.3 * steps), crop=LARGEST, diffusion_batch=1, losses=losses, train="trunk", rollout=0, msa_rows=1
    )
    everything = Stage(
        steps=steps - round(0.3 * steps), crop=LARGEST, diffusion_batch=copies, losses=losses, rollout=0, msa_rows=1
    )
    confidence = Stage(
        steps=max(1, steps // 100),
        crop=LARGEST,
        diffusion_batch=1,
        losses=LossConfig(confidence=1.0, pae=1.0),
        train="confidence",
        msa_rows=1,
        learning_rate=1e-3,
    )
    return Recipe(
        stages=(trunk, everything, confidence),
        examples_per_step=examples_per_step,
        learning_rate=learning_rate,
        beta2=0.98,
        warmup=max(1, min(50, steps // 10)),
        final_fraction=0.03,
        matrix_rate=1.0,
        clip=1.0,
        ema=0.99,
        recycles=0,
    )


@dataclass(frozen=True)
class Row:
    """One complex: tokens, resolved atoms, lDDT of every sample (pairs within a residue left out), mean pLDDT."""

    file: str
    tokens: int
    atoms: int
    lddt: tuple[float, ...]
    plddt: float

    @property
    def mean(self) -> float:
        """Mean lDDT of the samples."""
        return float(np.mean(self.lddt))


def open_data(structures: Path, cache: Path) -> StructureDataset:
    config = StructureDataConfig(crop=CropConfig(LARGEST), max_msa_rows=1, hidden_polymer_bonds=0.0)
    data = StructureDataset(structures, cache, config, files=COMPLEXES)
    if data.refused:
        raise SystemExit(f"Cannot read {data.refused}.")
    return data


def drawer(data: StructureDataset, atoms: np.ndarray, seed: int, step: int) -> Callable[[int], tuple[Batch, Labels]]:
    """Return what gives the examples of a step: a complex is drawn in proportion to its resolved atoms.

    Every atom is a thing to remember, so the large complexes need more visits than the small ones.
    """
    entry_of = {entry.file: index for index, entry in reversed(list(enumerate(data.entries)))}

    def draw(index: int) -> tuple[Batch, Labels]:
        file = int(numpy_generator(seed, "drawn", step, index).choice(len(atoms), p=atoms / atoms.sum()))
        return data.example(entry_of[file], numpy_generator(seed, "example", step, index))

    return draw


def score(trainer: Trainer, data: StructureDataset, samples: int, steps: int) -> list[Row]:
    """Sample every complex from noise with the averaged weights and compare with the true structure."""
    rows = []
    model = trainer.model
    with trainer.ema.applied(model), torch.no_grad():
        model.eval()
        for file, name in enumerate(data.files):
            batch, labels = data.whole(file)
            generator = torch_generator(trainer.seed, "score", name)
            trunk = model.trunk(batch, recycles=0, generator=generator)
            x = model.sample(batch, trunk, samples=samples, steps=steps, generator=generator)
            plddt = torch.stack([expected_plddt(logits) for logits in model.confidence(batch, trunk, x).plddt])
            scores = tuple(_lddt(sample, batch, labels) for sample in x)
            resolved = int(labels.resolved.sum())
            rows.append(Row(name, len(batch.restype), resolved, scores, float(plddt[:, labels.resolved].mean())))
    return rows


def _lddt(x: torch.Tensor, batch: Batch, labels: Labels) -> float:
    named = permute_labels(x, batch, labels, symmetric_atoms=batch_symmetries(batch))
    return lddt(
        x.double().numpy(),
        named.coordinates.double().numpy(),
        resolved=named.resolved.numpy(),
        residue=batch.ref_space_uid.numpy(),
    ).score


def overfit(
    structures: Path,
    out: Path,
    plan: Recipe,
    *,
    samples: int = 4,
    sampler_steps: int = 100,
    seed: int = 0,
    workers: Workers | None = None,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train by ``plan`` on `COMPLEXES` and return how well each is sampled afterwards; goes on from ``out``."""
    workers = workers or Workers()
    data = open_data(structures, out / "cache")
    trainer = Trainer(NETWORK, plan, seed, bf16=True, workers=workers)
    if trainer.resume(out):
        say(f"Going on from step {trainer.steps_done}.")
    atoms = np.array([int(data.whole(file)[1].resolved.sum()) for file in range(len(data.files))])
    recent: dict[str, list[float]] = {}
    cpu = time.process_time()
    while trainer.steps_done < plan.steps:
        terms = trainer.step(drawer(data, atoms, seed, trainer.steps_done))
        for name, value in terms.items():
            recent.setdefault(name, []).append(value)
        done = trainer.steps_done
        if workers.leads and (done % 100 == 0 or done == plan.steps):
            means = ", ".join(f"{name} {np.mean(values):.4g}" for name, values in recent.items())
            say(f"step {done} ({time.process_time() - cpu:.0f} s of this process's CPU): {means}")
            recent.clear()
        if workers.leads and (done % 200 == 0 or done == plan.steps):
            trainer.save(out, {"preset": "overfit", "seed": str(seed), "model": "alphafold3"})
    return score(trainer, data, samples, sampler_steps) if workers.leads else []


def table(rows: list[Row]) -> str:
    """Return a Markdown table of ``rows`` and their mean."""
    lines = [
        "| complex | what | tokens | atoms | lDDT (mean) | lDDT (each sample) | pLDDT |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = " ".join(f"{value:.3f}" for value in row.lddt)
        lines.append(
            f"| {row.file} | {COMPLEXES[row.file]} | {row.tokens} | {row.atoms} "
            f"| {row.mean:.3f} | {each} | {row.plddt:.1f} |"
        )
    lines.append(f"| mean | | | | {np.mean([row.mean for row in rows]):.3f} | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("overfit-output"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--examples-per-step", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--copies", type=positive, default=16)
    parser.add_argument("--samples", type=positive, default=4)
    parser.add_argument("--sampler-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    plan = recipe(args.steps, args.examples_per_step, args.learning_rate, args.copies)
    with joined_workers(torch.device("cpu")) as workers:
        rows = overfit(
            args.structures,
            args.out,
            plan,
            samples=args.samples,
            sampler_steps=args.sampler_steps,
            seed=args.seed,
            workers=workers,
            say=lambda text: print(text, flush=True),
        )
        if workers.leads:
            print(table(rows), flush=True)


if __name__ == "__main__":
    run_script(main)
