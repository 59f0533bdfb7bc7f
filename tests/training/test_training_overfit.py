"""The whole training path can learn: a small network remembers 8 real complexes."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "overfit.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("overfit", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["overfit"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["overfit"]


def test_the_chosen_complexes_hold_everything(benchmark, shared, tmp_path):
    data = benchmark.open_data(shared / "data" / "structures", tmp_path)
    assert data.files == tuple(benchmark.COMPLEXES) and len(data.files) == 8
    wholes = [data.whole(file) for file in range(8)]
    kinds = [set(batch.kind.tolist()) for batch, _ in wholes]
    assert any(1 in kind for kind in kinds) and any(2 in kind for kind in kinds)
    modified = [bool((~batch.is_standard & (batch.kind != 3)).any()) for batch, _ in wholes]
    assert sum(modified) >= 3
    per_chain = [
        [int((batch.asym_id == chain).sum()) for chain in batch.asym_id[batch.kind == 3].unique()]
        for batch, _ in wholes
    ]
    assert any(1 in sizes for sizes in per_chain)  # an ion
    assert any(size > 20 for sizes in per_chain for size in sizes)  # a ligand
    proteins = [len(batch.asym_id[batch.kind == 0].unique()) for batch, _ in wholes]
    assert sum(number >= 2 for number in proteins) >= 2
    assert any((batch.sym_id > 1).any() for batch, _ in wholes)  # equal chains: labels must be permuted
    for batch, _ in wholes:
        assert len(batch.restype) <= benchmark.LARGEST


def test_examples_come_whole_and_large_ones_more_often(benchmark, shared, tmp_path):
    data = benchmark.open_data(shared / "data" / "structures", tmp_path)
    sizes = [len(data.whole(file)[0].atom_mask) for file in range(8)]
    drawn = [
        len(benchmark.drawer(data, np.array(sizes), 0, step)(i)[0].atom_mask) for step in range(200) for i in (0, 1)
    ]
    assert set(drawn) == set(sizes)
    expected = len(drawn) * max(sizes) / sum(sizes)
    assert abs(drawn.count(max(sizes)) - expected) < 4 * expected**0.5


@pytest.mark.slow
def test_eight_complexes_are_remembered(benchmark, shared, tmp_path):
    rows = benchmark.overfit(shared / "data" / "structures", tmp_path, benchmark.recipe(benchmark.STEPS))
    print(benchmark.table(rows))
    assert len(rows) == 8
    assert min(row.mean for row in rows) > 0.9
