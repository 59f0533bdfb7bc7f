"""Count the Ramachandran regions: python scripts/ramachandran_regions.py CHAINS.parquet

Writes `src/anfinsen/metrics/ramachandran.npz` from the training chains: how many residues of each class have phi and
psi in each cell of 5 degrees, smoothed over neighbouring cells, as the share of residues in rarer cells. Needs the
extra `train`. The same file gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy.ndimage import gaussian_filter

from anfinsen.chemistry import COMPONENT_OF_LETTER, ChainKind
from anfinsen.common.script import run_script
from anfinsen.geometry import dihedrals
from anfinsen.metrics.ramachandran import BINS, CLASSES, SCALE, ramachandran_bins, ramachandran_class

TARGET = Path(__file__).resolve().parent.parent / "src" / "anfinsen" / "metrics" / "ramachandran.npz"
SMOOTHING = 1.2  # cells


def count(path: Path) -> np.ndarray:
    code = COMPONENT_OF_LETTER[ChainKind.PROTEIN]
    counts = np.zeros((len(CLASSES), BINS, BINS))
    for batch in pq.ParquetFile(path).iter_batches(256, columns=["sequence", "x", "y", "z"]):
        for row in batch.to_pylist():
            x = torch.from_numpy(np.stack([row[axis] for axis in "xyz"], axis=-1).astype(np.float64) / 100)
            n, ca, c, _ = x.reshape(-1, 4, 3).unbind(1)
            if len(n) < 3:
                continue
            phi = dihedrals(c[:-2], n[1:-1], ca[1:-1], c[1:-1])
            psi = dihedrals(n[1:-1], ca[1:-1], c[1:-1], n[2:])
            names = np.array([code.get(letter, "UNK") for letter in row["sequence"]])
            place = ramachandran_bins(torch.stack([phi, psi], dim=-1).numpy())
            np.add.at(counts, (ramachandran_class(names[1:-1], names[2:]), *place.T), 1)
    return counts


def levels(counts: np.ndarray) -> np.ndarray:
    density = gaussian_filter(counts, SMOOTHING, mode="wrap").ravel()
    order = np.argsort(density, kind="stable")
    rarer = np.empty(len(order))
    rarer[order] = np.concatenate([[0.0], np.cumsum(density[order])[:-1]]) / density.sum()
    return np.round(rarer * SCALE).astype(np.uint16).reshape(counts.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    counts = count(parser.parse_args().chains)
    np.savez_compressed(TARGET, levels=np.stack([levels(part) for part in counts]))
    for name, part in zip(CLASSES, counts, strict=True):
        print(f"{name}: {int(part.sum()):,} residues")


if __name__ == "__main__":
    run_script(main)
