"""The average of two weights files of one network: python scripts/average_weights.py FIRST SECOND OUT [--share 0.5]

For weights of which one was trained on from the other: their average keeps most of what the second has learnt, and of
what the first knew beside it (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). --share is the second's
part. OUT has the second's metadata, and the hashes of both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.common.script import run_script
from anfinsen.weights.tensors import TensorFile, read_tensors, write_tensors

# What two files must agree on to be one network.
SAME = ("format", "config")


def averaged(first: TensorFile, second: TensorFile, share: float) -> dict[str, torch.Tensor]:
    """Return the tensors ``share`` of the way from ``first`` to ``second``, in the second's format of numbers.

    Raises:
        ConfigError: ``share`` is not between 0 and 1. WeightsError: they are of different networks.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"Option --share is {share}: expected 0 (the first) to 1 (the second).")
    other = [name for name in SAME if first.metadata.get(name) != second.metadata.get(name)]
    shapes = [{name: tensor.shape for name, tensor in file.tensors.items()} for file in (first, second)]
    if other or shapes[0] != shapes[1]:
        what = f"another {other[0]!r}" if other else "other tensors"
        raise WeightsError(
            f"The two files cannot be averaged, for one has {what} than the other: name two of one network."
        )
    return {
        name: torch.lerp(first.tensors[name].double(), tensor.double(), share).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in second.tensors.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    args = parser.parse_args(arguments)
    first, second = read_tensors(args.first), read_tensors(args.second)
    told = f"{1 - args.share:g} of {first.sha256}, {args.share:g} of {second.sha256}"
    write_tensors(args.out, averaged(first, second, args.share), second.metadata | {"averaged": told})


if __name__ == "__main__":
    run_script(main)
