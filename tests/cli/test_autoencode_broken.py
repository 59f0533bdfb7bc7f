"""`anfinsen autoencode`: what users get wrong gets one sentence and exit code 2, and nothing is left behind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anfinsen.cli.app import run

RNG = np.random.default_rng(0)
TABLE = "a,b,kind\n" + "".join(f"{x:.3f},{y:.3f},{'ab'[i % 2]}\n" for i, (x, y) in enumerate(RNG.normal(size=(12, 2))))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "good.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, saying: str) -> None:
    """Check exit code, one sentence without traceback, and that no file has appeared."""
    before = sorted(Path().rglob("*"))
    assert run(["autoencode", *arguments]) == 2, capsys.readouterr()
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("anfinsen: ")]
    assert saying in captured.err, captured.err
    assert len(lines) == 1, captured.err
    assert lines[0].rstrip().endswith("."), lines[0]
    assert "Traceback" not in captured.err
    assert sorted(Path().rglob("*")) == before


def text(content: str | bytes, name: str = "data.csv") -> Callable[[], str]:
    def make() -> str:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return make


def npy(array: object, name: str = "data.npy", *, pickled: bool = False) -> Callable[[], str]:
    def make() -> str:
        np.save(name, np.asarray(array), allow_pickle=pickled)
        return name

    return make


def npz(name: str = "data.npz", **arrays: object) -> Callable[[], str]:
    def make() -> str:
        np.savez(name, **{key: np.asarray(value) for key, value in arrays.items()})
        return name

    return make


def cut(make: Callable[[], str], share: float = 0.6) -> Callable[[], str]:
    def shorter() -> str:
        path = Path(make())
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        return str(path)

    return shorter


def parquet(columns: dict[str, object]) -> Callable[[], str]:
    def make() -> str:
        pq.write_table(pa.table(columns), "data.parquet")
        return "data.parquet"

    return make


def images(**made: tuple[str, tuple[int, int]]) -> Callable[[], str]:
    def make() -> str:
        Path("images").mkdir()
        for name, (mode, size) in made.items():
            Image.new(mode, size).save(Path("images") / f"{name}.png")
        return "images"

    return make


def damaged_image() -> str:
    folder = images(a=("L", (40, 40)), b=("L", (40, 40)))()
    path = Path(folder) / "b.png"
    path.write_bytes(path.read_bytes()[:50])
    return folder


NUMBERS = RNG.normal(size=(12, 3))
FILES: dict[str, tuple[Callable[[], str], str]] = {
    "missing": (lambda: "absent.csv", "absent.csv does not exist"),
    "unknown kind": (text("x", "data.xlsx"), "of no known kind"),
    "empty": (text(""), "is empty"),
    "blank": (text("\n\n  \n"), "is empty"),
    "header only": (text("a,b\n"), "holds no rows"),
    "one row": (text("a,b\n1,2\n"), "holds one row: expected at least 2"),
    "short row": (text("a,b\n1,2\n3\n"), "1 cells in line 3, but 2"),
    "long row": (text("a,b\n1,2\n3,4,5\n"), "3 cells in line 3, but 2"),
    "text": (text("a,name\n1,Ann\n2,Bob\n"), "Column 'name' of data.csv holds 'Ann', which is no number"),
    "text among numbers": (text("a,b\n1,2\n2,?\n"), "Column 'b' of data.csv holds '?'"),
    "dates": (text("a,day\n1,2020-01-01\n2,2020-01-02\n"), "Column 'day'"),
    "missing value": (text("a,b\n1,2\n3,\n"), "missing value in row 2, column 'b'"),
    "nan": (text("a,b\n1,2\n3,nan\n"), "missing value in row 2, column 'b'"),
    "named row": (text(",a,b\nfirst,1,2\nsecond,3,\n"), "missing value in row second, column 'b'"),
    "infinite": (text("a,b\n1,2\ninf,4\n"), "infinite value (beyond 1e+100) in row 2, column 'a'"),
    "empty column": (text("a,b\n1,\n3,\n"), "Column 'b' of data.csv is empty"),
    "constant": (text("a,b\n1,2\n1,2\n1,2\n"), "the same row 3 times"),
    "same name": (text("a,a\n1,2\n3,4\n"), "2 columns called 'a'"),
    "no name": (text("a,\n1,2\n3,4\n"), "a column without a name (number 2)"),
    "semicolons": (text("a;b\n1;2\n3;4\n"), "separated by semicolons: expected commas"),
    "commas in TSV": (text("a,b\n1,2\n3,4\n", "data.tsv"), "separated by commas: expected tabs"),
    "binary": (text(bytes(range(256))), "is no text in UTF-8"),
    "Latin-1": (text("größe,b\n1,2\n3,4\n".encode("latin-1")), "is no text in UTF-8"),
    "no UTF-8 further down": (text(b"a,b\n1,2\n" + b"\xae\xff,\xfe\n" * 9), "is no text in UTF-8"),
    "digits apart": (text("a,b\n1_0,2\n3,4\n"), "Column 'a' of data.csv holds '1_0', which is no number"),
    "name too long": (lambda: "x" * 300 + ".csv", "cannot be read: File name too long"),
    "gzip that is none": (text("a,b\n1,2\n", "data.csv.gz"), "cannot be read"),
    "cut gzip": (text(gzip.compress(TABLE.encode() * 9)[:-40], "data.csv.gz"), "cannot be read"),
    "Parquet that is none": (text("a,b\n1,2\n", "data.parquet"), "cannot be read as a Parquet file"),
    "cut Parquet": (cut(parquet({"a": [1.0, 2.0]})), "cannot be read as a Parquet file"),
    "lists in Parquet": (parquet({"a": [1.0, 2.0], "b": [[1], [2]]}), "Column 'b'"),
    "Parquet with null": (parquet({"a": [1.0, 2.0], "b": [1, None]}), "missing value in row 2, column 'b'"),
    "numbers as texts": (parquet({"a": [1.0, 2.0], "b": ["1", "2"]}), "Column 'b' of data.parquet holds texts"),
    "no images in an array": (npy(np.zeros((0, 4, 4))), "holds no rows"),
    "vector": (npy(NUMBERS[0]), "shape (3,): expected rows and columns"),
    "five axes": (npy(np.zeros((2, 2, 2, 2, 2))), "expected rows and columns"),
    "no columns": (npy(np.zeros((4, 0))), "expected at least one column"),
    "complex": (npy(NUMBERS * 1j), "of type complex128: expected real numbers"),
    "texts": (npy([["a", "b"], ["c", "d"]]), "expected real numbers"),
    "pickled": (npy([{"a": 1}, None], pickled=True), "holds Python objects, which are not read"),
    "cut NPY": (cut(npy(NUMBERS)), "cannot be read as an array"),
    "NPY that is none": (text("a,b\n1,2\n", "data.npy"), "cannot be read as an array"),
    "NPY with NaN": (npy(np.where(np.eye(12, 3) > 0, np.nan, NUMBERS)), "missing value in row 1, column 'x0'"),
    "several arrays": (npz(first=NUMBERS, second=NUMBERS), "holds 'first', 'second': expected one array, or its name"),
    "no arrays": (npz(), "holds no arrays"),
    "cut NPZ": (cut(npz(first=NUMBERS)), "is no NPZ archive, or is damaged"),
    "pickled in NPZ": (npz(first=np.array([{"a": 1}, None])), "holds Python objects, which are not read"),
    "NPZ that is an NPY": (lambda: str(Path(npy(NUMBERS)()).rename("data.npz")), "is no NPZ archive"),
    "no images": (images(), "holds no images"),
    "one image": (images(a=("L", (4, 4))), "holds one row"),
    "sizes": (images(a=("L", (4, 4)), b=("L", (4, 5))), "a.png is 4x4, b.png is 5x4 (height x width)"),
    "colours": (images(a=("L", (4, 4)), b=("RGB", (4, 4))), "a.png is grey, b.png is in colour"),
    "transparent": (images(a=("RGBA", (4, 4)), b=("RGBA", (4, 4))), "has mode RGBA"),
    "16 bits": (images(a=("I;16", (4, 4)), b=("I;16", (4, 4))), "more than 8 bits"),
    "damaged image": (damaged_image, "b.png cannot be read"),
}


@pytest.mark.parametrize("case", FILES)
def test_broken_data(here, capsys, case):
    make, saying = FILES[case]
    refused(capsys, make(), "--out", "out", saying=saying)


OPTIONS: dict[str, tuple[list[str], str]] = {
    "unknown variant": (["--variant", "deep"], "--variant is 'deep': expected one of plain"),
    "no components": (["--components", "0"], "--components is 0"),
    "no epochs": (["--epochs", "0"], "--epochs is 0"),
    "no batch": (["--batch", "0"], "--batch is 0"),
    "components no number": (["--components", "two"], "--components"),
    "hidden no numbers": (["--hidden", "64,x"], "--hidden is '64,x'"),
    "hidden of none": (["--hidden", "64,0"], "--hidden is 64,0"),
    "negative seed": (["--seed", "-1"], "--seed is -1"),
    "seed too large": (["--seed", "4294967296"], "--seed is 4294967296"),
    "contamination": (["--contamination", "0.9"], "--contamination is 0.9"),
    "learning rate": (["--learning-rate", "-1"], "--learning-rate is -1"),
    "unknown setting": (["--target", "kind", "--set", "bta=4"], "--set names 'bta': expected one of"),
    "setting without value": (["--set", "beta"], "--set is 'beta': expected NAME=VALUE"),
    "wrong value": (["--target", "kind", "--set", "activation=cubic"], "cubic"),
    "unknown column": (["--columns", "a,z"], "--columns names 'z': good.csv has no such column, but 'a', 'b', 'kind'"),
    "column twice": (["--columns", "a,a"], "names a column twice"),
    "columns of two lines": (["--columns", "a\nb"], "expected names separated by commas"),
    "parameter twice": (["--set", "tol=1", "--set", "tol=2"], "gives a parameter twice"),
    "parameter with an option": (["--target", "kind", "--set", "random_state=none"], "is option --seed"),
    "network too large": (["--target", "kind", "--components", "1000000000000"], "does not fit into memory"),
    "linear with an activation": (
        ["--target", "kind", "--variant", "linear", "--set", "activation=relu"],
        "linear variant has no activation",
    ),
    "linear in batches": (["--target", "kind", "--variant", "linear", "--batch", "4"], "--batch is of Adam"),
    "stream of a table": (["--stream"], "--stream says nothing about good.csv"),
    "out too long": (["--out", "x" * 300], "File name too long"),
    "empty column": (["--columns", "a,,b"], "--columns is 'a,,b'"),
    "unknown target": (["--target", "z"], "--target is 'z'"),
    "target learnt": (["--columns", "a,kind", "--target", "kind"], "named by --columns and by --target"),
    "target not named": ([], "Column 'kind' of good.csv holds 'a', which is no number"),
    "array of a table": (["--array", "x"], "--array says nothing about good.csv"),
    "colour of a table": (["--colour", "grey"], "--colour says nothing about good.csv"),
    "unknown colour": (["--colour", "blue"], "--colour is 'blue'"),
    "size no size": (["--size", "8by8"], "--size is '8by8'"),
    "size that does not fit": (["--target", "kind", "--size", "8x8"], "a row of good.csv has 2 numbers"),
    "convolution of a table": (["--target", "kind", "--variant", "convolutional"], "needs images"),
    "unknown device": (["--device", "abacus"], "Unknown device 'abacus'"),
    "no model": (["--model", "nowhere"], "nowhere holds no trained autoencoder"),
    "model and training": (["--model", "nowhere", "--epochs", "3"], "--epochs is for training"),
    "model and columns": (["--model", "nowhere", "--columns", "a"], "known to the model"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options(here, capsys, case):
    options, saying = OPTIONS[case]
    refused(capsys, "good.csv", "--out", "out", *options, saying=saying)


def test_foreign_folders_stay(here, capsys):
    out = here / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        refused(capsys, "good.csv", "--target", "kind", "--out", "out", *more, saying="was not made by")
    (out / "run.json").write_text(json.dumps({"format": "anfinsen-autoencode-1"}))
    refused(capsys, "good.csv", "--target", "kind", "--out", "out", saying="give --overwrite to replace them")
    refused(capsys, "good.csv", "--target", "kind", "--out", "good.csv", saying="was not made by")
    assert (out / "mine.txt").read_text() == "mine"


def test_data_of_another_kind_refuses_its_options(here, capsys):
    images(a=("L", (4, 4)), b=("L", (4, 4)))()
    refused(capsys, "images", "--columns", "a", saying="--columns says nothing about images")
    refused(capsys, "images", "--size", "99999x99999", saying="of at most 16,777,216 pixels")
    refused(capsys, "images", "--size", "4x4x3", saying="expected height x width")
    refused(capsys, npy(RNG.normal(size=(5, 2, 2)))(), "--columns", "x0", saying="have no columns")
    refused(capsys, "data.npy", "--size", "1x4", saying="holds images of 2x2, which stay so")
    refused(capsys, npz(first=NUMBERS)(), "--array", "second", saying="--array is 'second': data.npz holds 'first'")
    refused(capsys, npz(x=NUMBERS, y=np.arange(3))(), "--target", "y", saying="expected 12 numbers or texts")
