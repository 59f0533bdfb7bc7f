"""How fast an autoencoder is fitted, against PyOD's equal network, and what a table on disk costs in memory.

Run: python benchmarks/autoencoder_speed.py [--rounds 3] [--gigabytes 5] [--folder TMP] [--write docs/results.md]
Needs: pip install 'anfinsen[autoencoders,peers]'.

Speed: the same widths, activation, epochs, batch size and learning rate, no dropout and no batch normalisation; PyOD's
`fit` ends with scores of the training rows, so ours is timed with `score_samples` of them. Calls alternate in one
process; the smallest CPU times are kept. Memory: `partial_fit` over consecutive blocks of a float32 table that is made
in a temporary folder, mapped block by block, and deleted at the end; the rise of the process's peak is measured, with
what of the file is mapped. Prints Markdown; --write puts it between `<!-- autoencoder-speed: begin -->` and its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import autoencoders_data as data
import harness
import numpy as np
import pages
import torch
from sklearn.preprocessing import StandardScaler

from anfinsen.autoencoders import Autoencoder
from anfinsen.common.errors import InputError
from anfinsen.common.script import run_script

EPOCHS, RATE = 3, 1e-3
WIDTHS = (64, 32)  # PyOD's defaults; the last is the code
CASES = {"Satellite": (32, 256), "MNIST, 5,000": (32, 256)}  # data and batch sizes
COLUMNS, BLOCK = 64, 65_536  # of the table on disk; a block has 16 MiB
GIGABYTE = 10**9


def speed(rounds: int) -> str:
    """Return the table of fit times."""
    lines = []
    for name, batches in CASES.items():
        rows = _rows(name)
        for batch in batches:
            calls = {"ours": _ours(rows, batch), "PyOD": _pyod(rows, batch)}
            times = {who: float("inf") for who in calls}
            for _ in range(rounds):
                for who, call in calls.items():
                    started = time.process_time()
                    call()
                    times[who] = min(times[who], time.process_time() - started)
            size = f"{rows.shape[0]:,} × {rows.shape[1]}"
            ratio = times["PyOD"] / times["ours"]
            lines.append([name, size, batch, f"{times['ours']:.2f}", f"{times['PyOD']:.2f}", f"{ratio:.2f}"])
    header = ["data", "rows × columns", "batch", "ours, CPU s", "PyOD AutoEncoder, CPU s", "PyOD / ours"]
    return pages.table(header, lines)


def _rows(name: str) -> np.ndarray:
    tables = data.tables()
    found = (tables[name] if name in tables else data.anomaly_sets()[name])().rows
    return StandardScaler().fit_transform(found).astype(np.float32)


def _ours(rows: np.ndarray, batch: int) -> Callable[[], object]:
    def call() -> object:
        model = Autoencoder(
            n_components=WIDTHS[-1],
            hidden_layer_sizes=WIDTHS[:-1],
            scale="standard",
            learning_rate=RATE,
            batch_size=batch,
            max_epochs=EPOCHS,
            tol=0.0,
            n_epochs_no_change=EPOCHS,
            weight_decay=1e-5,
            random_state=0,
            device="cpu",
        )
        return model.fit(rows).score_samples(rows)

    return call


def _pyod(rows: np.ndarray, batch: int) -> Callable[[], object]:
    try:
        from pyod.models.auto_encoder import AutoEncoder
    except ImportError as error:
        raise InputError(
            "PyOD is not installed, so there is nothing to compare with: run `pip install pyod`."
        ) from error

    def call() -> object:
        model = AutoEncoder(
            hidden_neuron_list=list(WIDTHS),
            epoch_num=EPOCHS,
            batch_size=batch,
            lr=RATE,
            batch_norm=False,
            dropout_rate=0.0,
            device=torch.device("cpu"),
            random_state=0,
            verbose=0,
        )
        return model.fit(rows).decision_scores_

    return call


def memory(gigabytes: float, folder: Path | None) -> str:
    """Return the sentence about `partial_fit` over a table on disk.

    Raises:
        InputError: the disk has no room for it.
    """
    place = folder or Path(tempfile.gettempdir())
    n_blocks = max(4, round(gigabytes * GIGABYTE / (4 * COLUMNS * BLOCK)))
    size = 4 * COLUMNS * BLOCK * n_blocks
    free = shutil.disk_usage(place).free
    if free < 2 * size:
        raise InputError(
            f"{place} has {free / GIGABYTE:.1f} GB free; the table needs twice its {size / GIGABYTE:.1f} GB."
        )
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        path = Path(temporary) / "table.f32"
        _make(path, n_blocks)
        model = Autoencoder(n_components=8, hidden_layer_sizes=(32,), batch_size=4096, random_state=0, device="cpu")
        model.partial_fit(_block(path, 0))  # what torch needs in any case is loaded by the first step
        quarter = n_blocks // 4
        started = time.process_time()
        first = _rise(lambda: _pass(model, path, range(1, quarter)))
        last = _rise(lambda: _pass(model, path, range(quarter, n_blocks)))
        seconds = time.process_time() - started
    return (
        f"`partial_fit` over a table of {n_blocks * BLOCK:,} × {COLUMNS} float32 numbers on disk "
        f"({size / GIGABYTE:.1f} GB), mapped in blocks of {BLOCK:,} rows, batches of 4,096: {seconds:.0f} "
        f"CPU s; peak memory rises by {_mebibytes(first)} in the first quarter and by {_mebibytes(last)} after it."
    )


def _mebibytes(value: float | None) -> str:
    return "an amount that this system does not tell" if value is None else f"{value:.0f} MiB"


def _rise(call: Callable[[], object]) -> float | None:
    rise = harness.peak_rise(call)
    return None if rise is None else max(0.0, rise)


def _make(path: Path, n_blocks: int) -> None:
    """Write correlated normal numbers; every block has its own scale, so that no two are alike."""
    draw = np.random.default_rng(0)
    block = (draw.normal(size=(BLOCK, 8)) @ draw.normal(size=(8, COLUMNS))).astype(np.float32)
    with path.open("wb") as file:
        for number in range(n_blocks):
            file.write((block * np.float32(1 + number / n_blocks)).data)
            if number % 64 == 63:
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _block(path: Path, number: int) -> np.ndarray:
    return np.memmap(path, np.float32, "r", offset=4 * COLUMNS * BLOCK * number, shape=(BLOCK, COLUMNS))


def _pass(model: Autoencoder, path: Path, numbers: range) -> None:
    for number in numbers:
        model.partial_fit(_block(path, number))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, help="where the table is made; default: the system's temporary folder")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    args = parser.parse_args(arguments)
    if args.write:
        pages.with_block(args.write, "autoencoder-speed", "")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    made = (
        f"Made by `benchmarks/autoencoder_speed.py`: {torch.get_num_threads()} thread(s), {EPOCHS} epochs, layers "
        f"{' and '.join(map(str, WIDTHS))} and their mirror, the smallest of {args.rounds} alternating calls."
    )
    text = "\n\n".join([made, speed(args.rounds), memory(args.gigabytes, args.folder)])
    if args.write:
        pages.write_block(args.write, "autoencoder-speed", text)
    print(text)


if __name__ == "__main__":
    run_script(main)
