"""What the noise levels of training are worth: DALL·E 2's decoder, trained briefly at each, on the same budget.

Run: python benchmarks/images_noise.py DATA --results FOLDER [--training-steps 800] [--minutes 0] [--no-bf16]
     [--pictures 128] [--clip clip-mini] [--weights NAME=FILE ...] [--write docs/results.md] [--workers 1]
Each decoder is trained by `anfinsen train dalle2-decoder --noise …` from the same seed for the same number of steps,
so on the same pictures in the same order; --minutes also ends each training after so long. Sampling follows the levels
that a decoder was trained at. They draw the same captions of the split `test` from the same seeds, with the same prior
and upsampler. An interrupted run goes on, trainings too. Prints a Markdown table; --write puts it into a page between
the comments `<!-- images-noise: begin -->` and `<!-- images-noise: end -->`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import images_arms as arms
import images_tables as tables
import pages
from images_arms import Arm, Records, Setting

import images
from anfinsen.common.errors import ConfigError
from anfinsen.common.script import positive, run_script
from anfinsen.images.dalle2 import DECODER_PRESETS
from anfinsen.training.images.train import CPU_SECONDS
from anfinsen.weights.tensors import read_tensors

BLOCK = "images-noise"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Noise:
    """Noise levels of a training: name in the table, and the options of the command."""

    name: str
    kind: str
    mean: float | None = None
    std: float | None = None

    @property
    def folder(self) -> str:
        return "-".join(str(part) for part in (self.kind, self.mean, self.std) if part is not None)

    def arguments(self) -> list[str]:
        found = ["--noise", self.kind]
        # With "=", for a mean below 0 would be read as an option.
        found += [] if self.mean is None else [f"--noise-mean={self.mean}"]
        return found + ([] if self.std is None else [f"--noise-std={self.std}"])


def log_normal(mean: float, std: float) -> Noise:
    # A minus sign, not a hyphen, in the table.
    return Noise(f"log-normal, mean {mean:g}, width {std:g}".replace(" -", " −"), "log-normal", mean, std)


_PRESET = DECODER_PRESETS["mini"].diffusion
_MEAN, _STD = _PRESET.noise_mean, _PRESET.noise_std
# The product's own first; its mean and its width, each to both sides; EDM's; then the schedules from before EDM.
NOISES = (
    log_normal(_MEAN, _STD),
    log_normal(_MEAN - 0.8, _STD),
    log_normal(_MEAN + 0.8, _STD),
    log_normal(_MEAN, _STD - 0.6),
    log_normal(_MEAN, _STD + 0.6),
    log_normal(-1.2, 1.2),
    Noise("cosine", "cosine"),
    Noise("linear", "linear"),
)


@dataclass(frozen=True)
class Budget:
    """How long each decoder is trained; 0 minutes: as long as its steps take."""

    steps: int
    minutes: float


def is_done(weights: Path, budget: Budget) -> bool:
    """Return whether a training has had its steps or its minutes."""
    if not weights.exists():
        return False
    told = read_tensors(weights).metadata
    if int(told["steps"]) >= budget.steps:
        return True
    return 0 < 60 * budget.minutes <= float(told[CPU_SECONDS])


def command(noise: Noise, args: argparse.Namespace, folder: Path, minutes: float) -> list[str]:
    """Return the command that trains one decoder."""
    run = [sys.executable, "-m", "anfinsen", "train", "dalle2-decoder", str(args.data), "--out", str(folder)]
    run += ["--clip", args.clip, "--cache", str(args.results / "cache"), "--seed", str(args.seed)]
    run += ["--steps", str(args.training_steps), "--threads", str(args.threads), *noise.arguments()]
    run += ["--bf16" if args.bf16 else "--no-bf16"]
    return run + (["--minutes", f"{minutes:.2f}"] if minutes else [])


def train(noise: Noise, args: argparse.Namespace) -> Path:
    """Train one decoder, or go on with it; return its weights.

    Raises:
        ConfigError: the command failed.
    """
    folder, budget = args.results / noise.folder, Budget(args.training_steps, args.minutes)
    weights = folder / WEIGHTS
    if not is_done(weights, budget):
        spent = float(read_tensors(weights).metadata[CPU_SECONDS]) / 60 if weights.exists() else 0.0
        left = max(budget.minutes - spent, 0.01) if budget.minutes else 0.0
        done = subprocess.run(command(noise, args, folder, left), stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise ConfigError(f"Training at the levels {noise.name!r} failed with exit code {done.returncode}.")
        print(f"{noise.name}: trained", file=sys.stderr, flush=True)
    return weights


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="keeps trainings and records")
    parser.add_argument("--training-steps", type=int, default=800, help="of each decoder")
    parser.add_argument("--minutes", type=float, default=0.0, help="end each training after so long")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="as in `anfinsen train`")
    parser.add_argument("--pictures", type=positive, default=128, help="that each decoder draws")
    parser.add_argument("--steps", type=int, default=0, help="of sampling; 0: the product's")
    parser.add_argument("--clip", default="clip-mini", help="that decoders stand on: a bundled model or a file")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="of prior and upsampler")
    parser.add_argument("--workers", type=positive, default=1, help="trainings, and then arms, at a time")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")), help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    if args.write:
        pages.with_block(args.write, BLOCK, "")
    # The first makes what CLIP says of the data, for all.
    trained = [train(NOISES[0], args)]
    with ThreadPoolExecutor(args.workers) as pool:
        trained += pool.map(lambda noise: train(noise, args), NOISES[1:])
    drawn = [
        Arm(noise.name, arms.DALLE2, "test", args.pictures, candidates=1, decoder=str(file))
        for noise, file in zip(NOISES, trained, strict=True)
    ]
    files = dict(arms.files_of(args.weights))
    if args.clip != "clip-mini":
        files.setdefault("clip", args.clip)
    setting = Setting(args.data, tuple(sorted(files.items())), args.seed, args.threads, args.steps)
    records = Records(args.results)
    found = images.run_all(drawn, setting, records, args.workers)
    steps = sorted({int(read_tensors(file).metadata["steps"]) for file in trained})
    seconds = [float(read_tensors(file).metadata[CPU_SECONDS]) for file in trained]
    length = " to ".join(f"{number:,}" for number in dict.fromkeys((steps[0], steps[-1])))
    made = (
        f"Made by `benchmarks/images_noise.py`, seed {args.seed}: {length} steps each ({min(seconds):,.0f} to "
        f"{max(seconds):,.0f} CPU seconds), {args.pictures} captions of `test`; far shorter than the bundled decoder's "
        "training, so figures are comparable with each other only."
    )
    text = f"{tables.noise_table(found, drawn)}\n\n{made}"
    if args.write:
        pages.write_block(args.write, BLOCK, text)
    print(text)


if __name__ == "__main__":
    run_script(main)
