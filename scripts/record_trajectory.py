"""Record how AlphaFold 3 denoises a small complex, for the page of `anfinsen image`:

python scripts/record_trajectory.py examples/demo.yaml src/anfinsen/reports/assets/trajectory.json

Runs the bundled model through the runner once (one sample) and keeps a few steps of its diffusion. What made it (model,
SHA-256 of its weights, seed, version) stands in the file. Equal input gives equal bytes on the same machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anfinsen.common.errors import InputError
from anfinsen.common.files import write_text
from anfinsen.common.script import run_script
from anfinsen.inference import PredictOptions, make_predictor
from anfinsen.inference.trajectories import record_trajectory
from anfinsen.jobs import load_jobs

MOST = 60_000  # bytes of the file that travels in the package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="alphafold3-mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of the diffusion (default: the model's)")
    args = parser.parse_args()
    options = PredictOptions(model=args.model, seeds=(args.seed,), samples=1, steps=args.steps, device="cpu")
    trajectory, prediction = record_trajectory(make_predictor(options), load_jobs(args.job)[0])
    text = json.dumps(trajectory.record(), allow_nan=False, separators=(",", ":")) + "\n"
    if len(text) > MOST:
        raise InputError(f"The recording takes {len(text):,} bytes, more than {MOST:,}: choose a smaller complex.")
    write_text(args.out, text)
    best = prediction.confidence(prediction.ranking[0])
    print(f"{args.out}: {len(text):,} bytes, {len(trajectory.names)} points, {len(trajectory.step)} frames", end="; ")
    print(f"mean pLDDT {best.atom_plddt.mean():.1f}, pTM {best.ptm:.2f}")


if __name__ == "__main__":
    run_script(main)
