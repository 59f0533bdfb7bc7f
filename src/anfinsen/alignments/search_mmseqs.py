"""Search with MMseqs2, a program of its own: fast over large protein databases, on a GPU where it has one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ..chemistry.structure import ChainKind
from ..common.errors import AlignmentError, MissingExtraError, OutputError
from ..common.progress import Progress
from .database import Database, first_fault
from .engine import Query, SearchConfig, a3m_text
from .text_files import compression, open_binary

_RESIDUES = "ACDEFGHIKLMNPQRSTVWYBJZOUX*"  # as HMMER reads; MMseqs2 itself takes any byte
_COLUMNS = "query,qstart,qend,tstart,tend,qaln,taln,theader"


@dataclass(frozen=True)
class MmseqsConfig:
    """How MMseqs2 is run.

    Attributes:
        program: name or path of the program.
        gpu: search on the GPU (MMseqs2 16 and later).
        sensitivity: its -s, 1 (fast) to 7.5 (sensitive); the GPU needs none.
    """

    program: str = "mmseqs"
    gpu: bool = False
    sensitivity: float = 7.5


class MmseqsEngine:
    """MMseqs2 over one FASTA file; it searches all queries together.

    Raises:
        MissingExtraError: at construction, when the program is not installed, or too old for a GPU.
    """

    def __init__(
        self,
        database: Database,
        config: SearchConfig | None = None,
        program: MmseqsConfig | None = None,
        folder: Path | None = None,
    ) -> None:
        """``folder`` keeps the database in MMseqs2's own format between runs; without it, it is made each time."""
        self.database, self.config, self.program = database, config or SearchConfig(), program or MmseqsConfig()
        self._folder = folder
        if shutil.which(self.program.program) is None:
            raise MissingExtraError(
                f"Engine mmseqs needs the program {self.program.program!r}, which is not found: install MMseqs2 "
                "(Debian: `apt-get install mmseqs2`), or use --engine pyhmmer."
            )
        self._version = _run([self.program.program, "version"]).strip()
        if self.program.gpu and "--gpu" not in _run([self.program.program, "search", "-h"]):
            raise MissingExtraError(
                f"MMseqs2 {self._version} cannot use a GPU: install version 16 or later, or leave out --gpu."
            )

    @property
    def name(self) -> str:
        """What notes call it."""
        return f"mmseqs in {self.database.name}"

    def accepts(self, kind: ChainKind) -> bool:
        """Return whether the database holds relatives of chains of ``kind``; nucleotides are left to nhmmer."""
        return kind is ChainKind.PROTEIN and self.database.suits(kind)

    def identity(self, query: Query) -> Mapping[str, str | int | float]:
        """Return everything that decides the result."""
        return {
            "program": f"mmseqs-{self._version}{'-gpu' if self.program.gpu else ''}",
            "sensitivity": 0.0 if self.program.gpu else self.program.sensitivity,
            "database": self.database.version,
            "iterations": self.config.iterations,
            "e_value": self.config.e_value,
            "max_rows": self.config.max_rows,
        }

    def search(self, queries: Sequence[Query], progress: Progress) -> Generator[tuple[Query, str], None, None]:
        """Yield each query with its alignment, all after one run of the program.

        Raises:
            AlignmentError: the program fails, usually because of the database.
            OutputError: its files cannot be written.
        """
        if not queries:
            return
        with tempfile.TemporaryDirectory(prefix="anfinsen-mmseqs-", ignore_cleanup_errors=True) as name:
            work = Path(name)
            fasta = work / "queries.fasta"
            fasta.write_text("".join(f">{i}\n{query.sequence}\n" for i, query in enumerate(queries)), encoding="ascii")
            table = work / "table.tsv"
            target = self._target(work)
            threads = ["--threads", str(self.config.threads), "-v", "1"]
            search = ["--num-iterations", str(self.config.iterations), "-a", "-e", str(self.config.e_value)]
            search += ["--max-seqs", str(self.config.max_rows)]
            search += ["--gpu", "1"] if self.program.gpu else ["-s", str(self.program.sensitivity)]
            self._step("createdb", fasta, work / "queries", "-v", "1")
            self._step("search", work / "queries", target, work / "hits", work / "scratch", *search, *threads)
            files = (work / "queries", target, work / "hits", table)
            self._step("convertalis", *files, "--format-output", _COLUMNS, *threads)
            rows = dict.fromkeys(range(len(queries)), "")
            for index, text in self._alignments(table, queries):
                del rows[index]
                yield queries[index], text
        for index in rows:
            yield queries[index], a3m_text(queries[index], [])

    def _target(self, work: Path) -> Path:
        """The database in MMseqs2's format; where it is kept, it appears whole, by one renaming."""
        kind = "-gpu" if self.program.gpu else ""
        kept = self._folder / f"{self.database.version}-{self._version}{kind}" if self._folder else None
        if kept is not None and kept.is_dir():
            return kept / "db"
        # On the same file system as its last place, so that renaming is one step.
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".making-", dir=self._folder or work))
        except OSError as error:
            raise OutputError(f"Cannot write {self._folder}: {error.strerror or error}. Choose --cache.") from error
        try:
            if fault := first_fault(self.database, _RESIDUES):
                raise AlignmentError(f"{self.database.where} cannot be read: {fault}.")
            self._step("createdb", self._source(work), new / ("plain" if kind else "db"), "-v", "1")
            if kind:
                self._step("makepaddedseqdb", new / "plain", new / "db", "-v", "1")
            if kept is None:
                return new / "db"
            try:
                new.rename(kept)
            except OSError:
                if not kept.is_dir():  # else another process was quicker, with the same content
                    raise
            return kept / "db"
        finally:
            if kept is not None:
                shutil.rmtree(new, ignore_errors=True)

    def _source(self, work: Path) -> Path:
        """The database under a name that says how it is packed: MMseqs2 goes by names, and knows nothing of xz."""
        path = self.database.path.resolve()
        if self.database.compressed and compression(path) == "xz":
            plain = work / "database.fasta"
            with open_binary(path, self.database.where) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
            return plain
        link = work / f"database.fasta{'.gz' if self.database.compressed else ''}"
        link.symlink_to(path)
        return link

    def _step(self, command: str, *arguments: Path | str) -> None:
        where = f"MMseqs2 ({command}) over {self.database.where.lower()}"
        _run([self.program.program, command, *map(str, arguments)], where)

    def _alignments(self, table: Path, queries: Sequence[Query]) -> Iterator[tuple[int, str]]:
        """Queries (their numbers) and their a3m, from the table of hits, which is sorted by query."""
        with table.open(encoding="utf-8", errors="replace") as lines:
            fields = (line.rstrip("\n").split("\t") for line in lines)
            for number, hits in groupby(fields, key=lambda each: each[0]):
                query = queries[int(number)]
                rows = [_row(hit, len(query.sequence)) for hit in hits]
                yield int(number), a3m_text(query, rows[: self.config.max_rows])


def _row(hit: Sequence[str], length: int) -> tuple[str, str]:
    """Description and a3m letters of one hit: what stands over a gap of the query is an insertion.

    Letters come as they stand in the database: small ones, where it masks, and what is no residue (``*``).
    """
    start, end, target_start, target_end = map(int, hit[1:5])
    letters = "".join(_letter(target, inserted=query == "-") for query, target in zip(hit[5], hit[6], strict=True))
    name, _, rest = hit[7].strip().partition(" ")
    description = f"{name}/{target_start}-{target_end} {rest}".strip()
    return description, "-" * (start - 1) + letters + "-" * (length - end)


def _letter(target: str, *, inserted: bool) -> str:
    if target in "-.":
        return "" if inserted else "-"
    letter = target if target.isalpha() else "X"
    return letter.lower() if inserted else letter.upper()


def _run(command: Sequence[str], where: str = "") -> str:
    """Run a program to its end and return what it printed; it and its children end when this is interrupted."""
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise MissingExtraError(f"Cannot run {command[0]!r}: {error.strerror or error}. Install MMseqs2.") from error
    try:
        printed, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0 and where:
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        reason = next((line for line in lines if "rror" in line or "annot" in line), lines[-1] if lines else "")
        raise AlignmentError(f"{where} failed with exit code {process.returncode}: {reason.rstrip('.')}.")
    return printed
