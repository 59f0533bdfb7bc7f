"""Autoencoders on protein backbones: python scripts/protein_fragments.py CHAINS --out DIR

CHAINS holds `train.parquet` and `validation.parquet` (columns: see `read_backbones`). Three detectors learn windows of
training chains; so does a variational autoencoder of two components, and another learns their torsions. On validation
chains the detectors are measured by windows with planted faults, and, with --predicted A.cif --true B.pdb, by a
predicted structure beside the true one; generated windows are measured by their Ramachandran angles. Writes
DIR/fragments.json, DIR/latent_map.html and, where there is Chromium, DIR/latent_map.png. Needs the extras
`autoencoders` and `report`. The same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from scipy.spatial.distance import jensenshannon
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from anfinsen.autoencoders import Autoencoder, AutoencoderDetector, VariationalAutoencoder
from anfinsen.autoencoders.fragment_chains import read_backbones, sample_fragments
from anfinsen.autoencoders.fragment_faults import mirrored, with_flipped_peptide, with_noise
from anfinsen.autoencoders.fragments import (
    FragmentConfig,
    Fragments,
    backbone_fragments,
    ca_from_features,
    fragment_anomalies,
    phi_psi_of,
    structure_fragments,
)
from anfinsen.chemistry import Structure, read_structure
from anfinsen.common.files import atomic_path, write_text
from anfinsen.common.script import run_script
from anfinsen.common.seeding import numpy_generator
from anfinsen.metrics import secondary_structure
from anfinsen.metrics.ramachandran import FAVOURED, GENERAL, OUTLIER, ramachandran_levels

CONTAMINATION = 0.05
BUILT = 1000  # generated windows that are built, to see their secondary structure
ANGLE_BINS = 36  # of 10 degrees, where two distributions of phi and psi are compared
COLOURS = {"helix": "#d1495b", "strand": "#2e86ab", "coil": "#9a9a9a"}
NETWORK = {"hidden_layer_sizes": (128, 128), "early_stopping": True, "learning_rate": 1e-3}


def backbone_windows(path: Path, config: FragmentConfig, most: int, seed: int) -> np.ndarray:
    """Return backbones [n, length, 4, 3] of windows far apart, one chain of each cluster."""
    found: list[np.ndarray] = []
    for chain in read_backbones(path, numpy_generator(seed, "validation")):
        residues = np.arange(config.length) + np.arange(0, len(chain.sequence) - config.length, 15)[:, None]
        found.extend(chain.backbone[rows] for rows in residues if chain.resolved[rows].all())
    order = numpy_generator(seed, "windows").permutation(len(found))[:most]
    return np.stack([found[place] for place in order])


def rows_of(windows: np.ndarray, config: FragmentConfig) -> Fragments:
    """Return the fragments of separate windows."""
    follows = np.ones(windows.shape[:2], dtype=bool)
    follows[:, 0] = False
    apart = FragmentConfig(config.length, config.features, stride=config.length)
    return backbone_fragments(windows.reshape(-1, *windows.shape[2:]), apart, follows=follows.ravel())


def faults(length: int) -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    return {
        "peptide flip": lambda x, draw: with_flipped_peptide(x, int(draw.integers(2, length - 3))),
        "noise 0.1 Å": lambda x, draw: with_noise(x, 0.1, draw),
        "noise 0.5 Å": lambda x, draw: with_noise(x, 0.5, draw),
        "noise 1 Å": lambda x, draw: with_noise(x, 1.0, draw),
        "mirror image": lambda x, draw: mirrored(x),
    }


def detection(detectors: dict, windows: np.ndarray, config: FragmentConfig, seed: int) -> dict:
    """Return the AUROC of each detector for each fault, of all windows and by secondary structure of the true ones."""
    true = rows_of(windows, config)
    result: dict = {}
    for name, fault in faults(config.length).items():
        draw = numpy_generator(seed, name)
        wrong = rows_of(np.stack([fault(window, draw) for window in windows]), config)
        for detector, estimator in detectors.items():
            good, bad = (estimator.score_samples(rows.features) for rows in (true, wrong))
            chosen = {"all": np.ones(len(true), dtype=bool)}
            chosen |= {kind: true.secondary_structure == kind for kind in COLOURS}
            result.setdefault(name, {})[detector] = {
                kind: round(auroc(good[rows], bad[rows]), 3) for kind, rows in chosen.items()
            }
    return result


def auroc(good: np.ndarray, bad: np.ndarray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(good), len(bad)]), -np.concatenate([good, bad])))


def structures(detectors: dict, files: dict[str, Path], config: FragmentConfig) -> dict:
    """Return what detectors say of a predicted and a true structure."""
    read: dict[str, Structure] = {name: read_structure(path) for name, path in files.items()}
    result: dict = {name: {"file": str(files[name].name)} for name in read}
    cut = {name: structure_fragments(structure, config) for name, structure in read.items()}
    for name, structure in read.items():
        ca = cut[name].ca
        for apart in (1, 2, 4):
            mean = np.linalg.norm(ca[:, apart:] - ca[:, :-apart], axis=-1).mean()
            result[name][f"mean CA distance, {apart} residues apart, Å"] = round(float(mean), 2)
        for detector, estimator in detectors.items():
            found = fragment_anomalies(structure, estimator, config)
            result[name][f"residues that are outliers, {detector}"] = round(float((found.scores > 0).mean()), 3)
    for detector, estimator in detectors.items():
        scores = {name: estimator.score_samples(rows.features) for name, rows in cut.items()}
        result[f"AUROC predicted against true, {detector}"] = round(auroc(scores["true"], scores["predicted"]), 3)
    return result


def angles_of(features: np.ndarray, config: FragmentConfig) -> tuple[np.ndarray, dict]:
    """Return the histogram of phi and psi, and how usual they are (as residues that are not GLY, PRO, …)."""
    angles = phi_psi_of(features, config).reshape(-1, 2).astype(np.float64)
    levels = ramachandran_levels(angles, np.full(len(angles), GENERAL))
    edges = np.linspace(-np.pi, np.pi, ANGLE_BINS + 1)
    histogram, _, _ = np.histogram2d(*angles.T, bins=[edges, edges])
    return histogram.ravel(), {
        "favoured": round(float((levels >= FAVOURED).mean()), 4),
        "outliers": round(float((levels < OUTLIER).mean()), 4),
    }


def generation(model: VariationalAutoencoder, train: np.ndarray, test: np.ndarray, config: FragmentConfig) -> dict:
    """Return how like real windows generated ones are; rows hold torsions."""
    generated = model.sample(len(test), random_state=1)
    noisy = model.sample(len(test), random_state=1, observation_noise=True)
    real, _ = angles_of(train, config)
    result = {}
    for name, rows in {"validation": test, "generated": generated, "generated, with noise": noisy}.items():
        histogram, entry = angles_of(rows, config)
        entry["Jensen-Shannon distance of (phi, psi) to training"] = round(float(jensenshannon(histogram, real)), 3)
        built = ca_from_features(rows[:BUILT], config)
        kinds = np.array([secondary_structure(each)[config.length // 2] for each in built])
        result[name] = entry | {kind: round(float((kinds == kind).mean()), 3) for kind in COLOURS}
    return result


def latent_map(places: np.ndarray, fragments: Fragments, out: Path) -> dict:
    """Draw latent means of two components, coloured by secondary structure."""
    figure = go.Figure()
    for kind, colour in COLOURS.items():
        chosen = fragments.secondary_structure == kind
        figure.add_scatter(
            x=places[chosen, 0],
            y=places[chosen, 1],
            mode="markers",
            name=f"{kind} ({chosen.mean():.0%})",
            text=[f"{fragments.source[i]}, residue {fragments.residues[i, 0] + 1}" for i in np.flatnonzero(chosen)],
            marker={"size": 4, "color": colour, "opacity": 0.6},
        )
    figure.update_layout(
        title=f"Latent space of backbone windows ({len(fragments):,}, validation chains), VariationalAutoencoder(2)",
        template="plotly_white",
        height=720,
        xaxis_title="first component",
        yaxis_title="second component",
    )
    page = out / "latent_map.html"
    with atomic_path(page) as temporary:
        figure.write_html(temporary, include_plotlyjs=True)
    if shutil.which("chromium") or shutil.which("google-chrome"):
        camera = Path(__file__).with_name("screenshot_report.py")
        picture = [str(out / "latent_map.png"), "--width", "1000", "--height", "760"]
        subprocess.run([sys.executable, str(camera), str(page), *picture], check=True)
    neighbours = cross_val_score(KNeighborsClassifier(15), places, fragments.secondary_structure, cv=5)
    return {"15 neighbours in it tell the secondary structure of": round(float(neighbours.mean()), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--predicted", type=Path, help="a predicted structure of a validation chain")
    parser.add_argument("--true", type=Path, help="the true structure of the same chain")
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("--windows", type=int, default=30_000, help="of training chains")
    parser.add_argument("--tests", type=int, default=600, help="windows of validation chains, for each fault")
    parser.add_argument("--components", type=int, default=20, help="of the detectors")
    parser.add_argument("--generator-components", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = FragmentConfig(args.length, "both")
    apart = FragmentConfig(args.length, "both", stride=args.length // 2)
    train = sample_fragments(args.chains / "train.parquet", apart, args.windows, numpy_generator(args.seed, "train"))
    started = time.monotonic()
    common = {**NETWORK, "max_epochs": args.epochs, "random_state": args.seed}
    detectors = {
        "plain": AutoencoderDetector(Autoencoder(args.components, **common), contamination=CONTAMINATION),
        "variational": AutoencoderDetector(
            VariationalAutoencoder(args.components, variance="learned_per_feature", warm_up_epochs=5, **common),
            contamination=CONTAMINATION,
        ),
        "IsolationForest": IsolationForest(contamination=CONTAMINATION, random_state=args.seed),
    }
    for detector in detectors.values():
        detector.fit(train.features)
    torsions = FragmentConfig(args.length, "torsions")
    generator = VariationalAutoencoder(args.generator_components, warm_up_epochs=5, **common)
    generator.fit(train.features[:, config.n_distances :])
    flat = VariationalAutoencoder(2, variance="learned_per_feature", warm_up_epochs=5, **common).fit(train.features)
    seconds = time.monotonic() - started
    test_windows = backbone_windows(args.chains / "validation.parquet", config, args.tests, args.seed)
    test = sample_fragments(args.chains / "validation.parquet", apart, 4000, numpy_generator(args.seed, "test"))
    result = {
        "windows": {"training": len(train), "validation": len(test), "for each fault": len(test_windows)},
        "epochs": {name: detectors[name].autoencoder_.n_epochs_ for name in ("plain", "variational")},
        "seconds of training": round(seconds, 1),
        "AUROC": detection(detectors, test_windows, config, args.seed),
        "generation": generation(
            generator, train.features[:, config.n_distances :], test.features[:, config.n_distances :], torsions
        ),
        "latent map": latent_map(flat.transform(test.features), test, args.out),
    }
    if args.predicted and args.true:
        result["structures"] = structures(detectors, {"predicted": args.predicted, "true": args.true}, config)
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(args.out / "fragments.json", text + "\n")
    print(text)


if __name__ == "__main__":
    run_script(main)
