"""Whether the linear autoencoder finds the subspace of principal component analysis, on five real data sets.

Run: python benchmarks/linear_pca.py [--write docs/linear-is-pca.md]
Needs: pip install 'anfinsen[autoencoders]'. Rows are standardised once, before either method, and all of them are used.
Prints a Markdown table; --write puts it into a page, between `<!-- linear: begin -->` and `<!-- linear: end -->`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import autoencoders_data as data
import numpy as np
import pages
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from anfinsen.autoencoders import Autoencoder
from anfinsen.common.script import run_script

COMPONENTS = {"iris": 2, "wine": 3, "breast cancer": 5, "digits": 8, "diabetes": 4}
MOST_STEPS = 5_000
TOLERANCE = 1e-15  # relative fall of the loss at which L-BFGS stops


def compare(rows: np.ndarray, k: int, tied: bool, seed: int) -> tuple[float, float, float]:
    """Return the largest principal angle (rad), the ratio of the squared errors, and how far the axes are apart.

    The last is the largest angle (rad) between a row of the decoder and the principal axis nearest to it.
    """
    pca = PCA(k, svd_solver="full").fit(rows)
    model = Autoencoder(
        n_components=k,
        hidden_layer_sizes=(),
        activation="identity",
        tied_weights=tied,
        scale=None,
        solver="lbfgs",
        max_epochs=MOST_STEPS,
        tol=TOLERANCE,
        weight_decay=0.0,
        random_state=seed,
    ).fit(rows)
    decoder = model.inverse_transform(np.eye(k)) - model.inverse_transform(np.zeros((1, k)))
    angle = float(subspace_angles(decoder.T, pca.components_.T).max())
    ours = np.square(rows - model.reconstruct(rows)).sum()
    theirs = np.square(rows - pca.inverse_transform(pca.transform(rows))).sum()
    cosines = np.abs(decoder @ pca.components_.T) / np.linalg.norm(decoder, axis=1, keepdims=True)
    return angle, float(ours / theirs), float(np.arccos(np.clip(cosines.max(1), 0, 1)).max())


def table(seed: int) -> str:
    """Return the comparison of all data sets as Markdown."""
    header = ["data", "rows × columns", "k", "λ_k / λ_k+1", "largest angle, rad: untied", "tied"]
    header += ["error / PCA's − 1: untied", "tied", "an axis is off by, rad: untied", "tied"]
    lines = []
    for name, k in COMPONENTS.items():
        rows = StandardScaler().fit_transform(data.tables()[name]().rows)
        spectrum = PCA(svd_solver="full").fit(rows).explained_variance_
        free, tied = (compare(rows, k, each, seed) for each in (False, True))
        size = f"{rows.shape[0]:,} × {rows.shape[1]}"
        numbers = [
            f"{free[0]:.1e}",
            f"{tied[0]:.1e}",
            *(f"{each[1] - 1:.1e}" for each in (free, tied)),
            *(f"{each[2]:.2f}" for each in (free, tied)),
        ]
        lines.append([name, size, k, f"{spectrum[k - 1] / spectrum[k]:.2f}", *numbers])
    return pages.table(header, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    args = parser.parse_args(arguments)
    if args.write:
        pages.with_block(args.write, "linear", "")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    started = time.process_time()
    found = table(args.seed)
    seconds = time.process_time() - started
    made = f"Made by `benchmarks/linear_pca.py`, seed {args.seed}, double precision, {seconds:.0f} CPU seconds in all."
    text = f"{found}\n\n{made}"
    if args.write:
        pages.write_block(args.write, "linear", text)
    print(text)


if __name__ == "__main__":
    run_script(main)
