"""Reading tables: what goes in comes out, whatever the file; anything else is one sentence, never a crash."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anfinsen.autoencoders import dataset as dataset_module
from anfinsen.autoencoders.dataset import ReadOptions
from anfinsen.autoencoders.tables import read_data
from anfinsen.common.errors import AnfinsenError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.floats(-1e100, 1e100) | st.integers(-(10**9), 10**9).map(float)
# Names that are no numbers (a line of numbers is data), without control characters, which no table has.
NAMES = st.text(
    st.characters(exclude_categories=("C", "Z"), include_characters=' ",\n'), min_size=1, max_size=8
).filter(lambda name: name.strip() == name and name[0].isalpha() and name.lower() not in {"nan", "inf", "infinity"})


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    width = draw(st.integers(1, 5))
    names = draw(st.lists(NAMES, min_size=width, max_size=width, unique=True))
    rows = draw(st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=2, max_size=6))
    return names, np.array(rows, dtype=np.float64)


def as_text(names: list[str], rows: np.ndarray, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[repr(float(value)) for value in row] for row in rows])
    return text.getvalue()


@QUICK
@given(tables(), st.sampled_from([".csv", ".tsv"]))
def test_written_numbers_and_names_come_back(tmp_path: Path, table: tuple[list[str], np.ndarray], suffix: str):
    names, rows = table
    path = tmp_path / f"table{suffix}"
    path.write_text(as_text(names, rows, "," if suffix == ".csv" else "\t"), encoding="utf-8", newline="")
    if (rows == rows[0]).all():
        with pytest.raises(AnfinsenError, match="the same row"):
            read_data(path)
        return
    found = read_data(path)
    assert found.columns == tuple(names)
    np.testing.assert_array_equal(found.all_rows(), rows)


@QUICK
@given(st.binary(max_size=200) | st.text(st.sampled_from('a1.,;\t\n\r" -eNA'), max_size=60).map(str.encode))
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".npy", ".npz", ".parquet"])
def test_any_bytes_are_a_table_or_one_sentence(tmp_path: Path, suffix: str, content: bytes):
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)
    try:
        found = read_data(path)
    except AnfinsenError as error:
        assert str(error).endswith(".")
        assert "\n" not in str(error)
    else:
        rows = found.all_rows()
        assert rows.shape == (len(found), len(found.columns))
        assert len(found) >= 2
        assert np.isfinite(rows).all()


REAL = st.sampled_from(["?", "i1", "u2", "<i4", ">i4", "i8", "f2", "f4", ">f4", "f8"])


@QUICK
@given(st.data(), REAL, st.booleans(), st.booleans())
def test_arrays_of_every_type_come_back(tmp_path: Path, data: st.DataObject, kind: str, fortran: bool, stream: bool):
    elements = {"min_value": -60000.0, "max_value": 60000.0} if "f" in kind else None
    shape = data.draw(st.tuples(st.integers(2, 5), st.integers(1, 4)))
    rows = data.draw(arrays.arrays(kind, shape, elements=elements))
    rows[0, 0], rows[1, 0] = 0, 1
    np.save(tmp_path / "rows.npy", np.asfortranarray(rows) if fortran else rows)
    found = read_data(tmp_path / "rows.npy", ReadOptions(stream=stream))
    assert found.streamed == stream
    assert found.dtype == (np.float64 if np.dtype(kind).itemsize > 2 and kind != ">f4" and kind != "f4" else np.float32)
    np.testing.assert_array_equal(found.all_rows(), rows.astype(np.float64))
    np.testing.assert_array_equal(found.take([1, 0]), rows[[1, 0]].astype(np.float64))


def test_names_may_hold_what_separates_cells_elsewhere(tmp_path):
    (tmp_path / "table.tsv").write_text("a, b; c\n1\n2\n")
    assert read_data(tmp_path / "table.tsv").columns == ("a, b; c",)


def test_columns_are_chosen_in_the_order_asked_for(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(',a,"b, c",d\nfirst,1,2,x\nsecond,4,5,y\n')
    found = read_data(path, ReadOptions(columns=("b, c", "a"), target="d"))
    assert found.columns == ("b, c", "a")
    np.testing.assert_array_equal(found.all_rows(), [[2, 1], [5, 4]])
    assert found.row_names == ("first", "second")
    assert found.labels is not None
    assert found.labels.tolist() == ["x", "y"]
    np.save(tmp_path / "rows.npy", np.arange(12.0).reshape(4, 3))
    found = read_data(tmp_path / "rows.npy", ReadOptions(columns=("x2", "x0"), target="x1", stream=True))
    np.testing.assert_array_equal(found.rows(1, 3), [[5, 3], [8, 6]])
    assert found.labels is not None
    assert found.labels.tolist() == [1, 4, 7, 10]


def test_kinds_of_parquet_columns(tmp_path):
    columns = {
        "whole": pa.array([1, 2]),
        "single": pa.array([0.5, 0.1], pa.float32()),
        "flag": pa.array([True, False]),
        "exact": pa.array(["1.25", "2.5"]).cast(pa.decimal128(8, 2)),
        "__index_level_0__": pa.array(["p", "q"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    found = read_data(tmp_path / "table.parquet")
    assert found.row_names == ("p", "q")
    np.testing.assert_array_equal(found.all_rows(), [[1, 0.5, 1, 1.25], [2, np.float32(0.1), 0, 2.5]])
    assert read_data(tmp_path / "table.parquet", ReadOptions(columns=("single",))).dtype == np.float32


def test_images_in_arrays_are_divided_by_255_only_where_they_are_bytes(tmp_path):
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    for kind, scale in ((np.uint8, 255.0), (np.float32, 1.0)):
        np.save(tmp_path / "images.npy", pixels.astype(kind))
        for stream in (False, True):
            found = read_data(tmp_path / "images.npy", ReadOptions(stream=stream))
            assert found.image_shape == (3, 4, 1)
            np.testing.assert_array_equal(
                found.all_rows(), pixels.reshape(2, 12).astype(np.float32) / np.float32(scale)
            )


def test_files_larger_than_the_share_of_memory_are_mapped(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 4))
    np.save(tmp_path / "rows.npy", rows)
    assert not read_data(tmp_path / "rows.npy").streamed
    monkeypatch.setattr(dataset_module, "MEMORY_SHARE", 1e-12)
    found = read_data(tmp_path / "rows.npy")
    assert found.streamed
    assert isinstance(found.values, np.memmap)
    (tmp_path / "rows.csv").write_text(as_text(list("abcd"), rows))
    with pytest.raises(AnfinsenError, match=r"too large to be read at once: save it as one \.npy file"):
        read_data(tmp_path / "rows.csv")


def test_chunks_cover_every_row_once(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(53, 4))
    np.save(tmp_path / "rows.npy", rows)
    monkeypatch.setattr(dataset_module, "CHUNK_BYTES", 10 * 4 * 8)
    found = read_data(tmp_path / "rows.npy", ReadOptions(stream=True))
    bounds = list(found.chunks())
    assert len(bounds) == math.ceil(53 / 10)
    np.testing.assert_array_equal(np.concatenate([found.rows(*each) for each in bounds]), rows)
    rows[47, 2] = np.inf
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(AnfinsenError, match=r"an infinite value \(beyond 1e\+100\) in row 48, column 'x2'"):
        read_data(tmp_path / "rows.npy", ReadOptions(stream=True))
