"""A million rows are read as a stream: plain and compressed, the memory stays far below the file's weight in Python."""

import gzip
import os
import random
import subprocess
import sys

import pytest

ROWS, LENGTH, LIMIT_MIB = 1_000_000, 60, 2048

CHILD = """
import resource, sys
from anfinsen.alignments import read_msa
from anfinsen.chemistry import ChainKind
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
msa = read_msa(sys.argv[1], sys.argv[2], ChainKind.PROTEIN)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(msa.depth, int(msa.deletions[1:1001].sum()), before, peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_million_rows_in_less_than_2_gib(tmp_path, packed):
    rng = random.Random(0)
    query = "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=LENGTH))
    rows = ["".join(rng.choices("ACDEFGHIKLMNPQRSTVWY-", k=LENGTH)) for _ in range(1000)]
    rows = [f"{row[:20]}{'acd' * (number % 3)}{row[20:]}" for number, row in enumerate(rows)]
    path = tmp_path / "million.a3m"
    with gzip.open(path, "wt", compresslevel=1) if packed else path.open("w") as file:
        file.write(f">query\n{query}\n")
        for block in range(ROWS // 1000):
            lines = (f">UniRef100_{block:04d}{number:03d} n=1\n{row}\n" for number, row in enumerate(rows))
            file.write("".join(lines))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, path, query]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    depth, inserted, before, peak = map(int, answer.split())
    print(f"{before} MiB before, {peak} MiB at most")
    assert depth == ROWS + 1
    assert inserted == sum(3 * (number % 3) for number in range(1000))
    assert peak < LIMIT_MIB, f"{before} MiB before, {peak} MiB after"
