"""AlphaFold 1's estimates: near what was measured, and never smaller for more."""

from itertools import pairwise

import pytest
import torch

from anfinsen.common.errors import MemoryLimitError
from anfinsen.inference import alphafold1_size
from anfinsen.inference.alphafold1_size import estimate_alphafold1
from anfinsen.models.alphafold1 import PRESETS, TORSION_FOLDING, RealisationConfig

CPU, DEFAULT = torch.device("cpu"), RealisationConfig()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


# CPU seconds of couplings, tiles and folding on one core.
@pytest.mark.parametrize(("length", "rows", "seconds"), [(63, 301, 0.03 + 16 * 0.074 + 4.7), (251, 1001, 31.7)])
def test_times_are_those_measured(length, rows, seconds):
    found = estimate_alphafold1(length, rows, PRESETS["mini"], DEFAULT, CPU)
    assert seconds / 2 < found.seconds < 2 * seconds


@pytest.mark.parametrize("preset", list(PRESETS))
def test_more_of_anything_takes_more(preset):
    config = PRESETS[preset]
    by_length = [estimate_alphafold1(length, 500, config, DEFAULT, CPU) for length in (50, 100, 400, 1000)]
    assert all(a.bytes < b.bytes and a.seconds < b.seconds for a, b in pairwise(by_length))
    by_rows = [estimate_alphafold1(300, rows, config, DEFAULT, CPU) for rows in (1, 100, 2000, 4096, 10**6)]
    assert all(a.bytes <= b.bytes and a.seconds <= b.seconds for a, b in pairwise(by_rows))
    longer = estimate_alphafold1(300, 1, config, RealisationConfig(folding=TORSION_FOLDING), CPU)
    assert longer.seconds > by_rows[0].seconds


def test_a_chain_too_long_for_the_machine_is_refused_before_anything_runs(monkeypatch):
    free = 3 * 2**30
    monkeypatch.setattr(alphafold1_size, "available_bytes", lambda device: free)
    alphafold1_size.check_alphafold1_memory(100, 50, PRESETS["mini"], DEFAULT, CPU)
    with pytest.raises(MemoryLimitError, match=r"4000 residues .* About \d+ residues would fit") as caught:
        alphafold1_size.check_alphafold1_memory(4000, 50, PRESETS["mini"], DEFAULT, CPU)
    with pytest.raises(MemoryLimitError, match=r"About \d+ residues would fit"):  # not all rows are read
        alphafold1_size.check_alphafold1_memory(4000, 60_000, PRESETS["mini"], DEFAULT, CPU)
    fits = int(str(caught.value).split("About ")[1].split()[0])
    assert estimate_alphafold1(fits, 50, PRESETS["mini"], DEFAULT, CPU).bytes <= free
