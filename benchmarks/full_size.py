"""Whether the published size gets through a large complex on this machine: seconds and peak memory of every stage.

Run: python benchmarks/full_size.py [--tokens 512] [--recycles 0] [--steps 2] [--samples 1]
Weights are random: memory and time do not depend on their values. The cost of a recycle and of a step is linear, so
the time of a real run follows from the figures printed.
"""

from __future__ import annotations

import argparse
import resource
import time
from contextlib import contextmanager

import torch

from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.features import featurise, prepare_job
from anfinsen.jobs import Job
from anfinsen.weights import load_model

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@contextmanager
def stage(name: str):
    start, cpu = time.monotonic(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wall, used = time.monotonic() - start, time.process_time() - cpu
    print(f"| {name} | {wall:.1f} | {used:.1f} | {peak:.2f} |", flush=True)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--model", default="alphafold3-full:random")
    parser.add_argument("--recycles", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1)
    args = parser.parse_args()
    letters = numpy_generator(0, "sequence").choice(list(LETTERS), args.tokens)
    sequence = "".join(letters)
    job = Job.model_validate(
        {"name": "random", "entities": ({"kind": "protein", "ids": ("A",), "sequence": sequence},)}
    )
    print("| stage | wall s | CPU s | peak GiB so far |\n|---|---|---|---|")
    with stage("features"):
        batch = featurise(prepare_job(job, 1))
    with stage("weights"):
        model, _ = load_model(args.model)
    with stage(f"trunk, {args.recycles + 1} passes"):
        trunk = model.trunk(batch, recycles=args.recycles, generator=torch_generator(1, "trunk"))
    with stage(f"diffusion, {args.steps} steps, {args.samples} samples"):
        generator = torch_generator(1, "sample")
        x = model.sample(batch, trunk, samples=args.samples, steps=args.steps, generator=generator)
    with stage("confidence"):
        model.confidence(batch, trunk, x)


if __name__ == "__main__":
    main()
