"""Running `anfinsen weights convert` on made-up files."""

import numpy as np
import torch

from anfinsen.cli.app import run
from anfinsen.weights.alphafold2 import load_alphafold2


def random_tensors(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def save_arrays(path, tensors):
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return path


def converted(source, out, *options):
    assert run(["weights", "convert", str(source), "--out", str(out), *options]) == 0
    return load_alphafold2(str(out))


def refused(capsys, source, out, *options, saying, code=2):
    """One sentence, exit code 2, and nothing written."""
    before = sorted(out.parent.iterdir())
    assert run(["weights", "convert", str(source), "--out", str(out), *options]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("anfinsen: ") and lines[0].endswith("."), lines
    assert saying in lines[0] and len(lines[0]) < 700, lines
    assert sorted(out.parent.iterdir()) == before
