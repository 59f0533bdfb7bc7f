"""A search whose process is killed goes on: what was finished is not searched again, and the result is the same."""

import os
import signal
import subprocess
import sys

from made_up_families import database, sequence

from anfinsen.alignments import HmmerEngine, Query, SearchCache, SearchConfig, open_database, search_alignments
from anfinsen.chemistry import ChainKind

CHAINS, KILLED_AFTER = 6, 2

CHILD = f"""
import os, signal, sys
from pathlib import Path
from anfinsen.alignments import HmmerEngine, Query, SearchCache, SearchConfig, open_database, search_alignments
from anfinsen.chemistry import ChainKind
from anfinsen.common.progress import Silent

class Killed(Silent):
    done = 0
    def advance(self, steps=1):
        self.done += steps
        if self.done == {KILLED_AFTER}:
            os.kill(os.getpid(), signal.SIGKILL)

engine = HmmerEngine(open_database(sys.argv[1]), SearchConfig(cpus=1, iterations=2))
queries = [Query(letters, ChainKind.PROTEIN) for letters in sys.argv[3:]]
search_alignments(queries, [engine], SearchCache(Path(sys.argv[2])), progress=Killed())
"""


class Recording(HmmerEngine):
    """Remembers what it was asked for."""

    asked: tuple[Query, ...] = ()

    def search(self, queries, progress):
        self.asked = tuple(queries)
        return super().search(queries, progress)


def test_a_killed_search_goes_on(tmp_path):
    letters = [sequence(seed, 60) for seed in range(CHAINS)]
    database(tmp_path / "db.fasta", letters, relatives=5)
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", CHILD, tmp_path / "db.fasta", folder, *letters]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert len(list(folder.rglob("*.gz"))) == KILLED_AFTER
    queries = [Query(each, ChainKind.PROTEIN) for each in letters]
    engine = Recording(open_database(tmp_path / "db.fasta"), SearchConfig(cpus=1, iterations=2))
    found = search_alignments(queries, [engine], SearchCache(folder))
    known = [query for query in queries if found[query].sources[0].cached]
    assert len(known) == KILLED_AFTER
    assert set(engine.asked) == set(queries) - set(known)
    whole = search_alignments(queries, [engine])
    assert [found[query].unpaired for query in queries] == [whole[query].unpaired for query in queries]
