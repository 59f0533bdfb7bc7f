"""Search with HMMER inside this process (pyhmmer): phmmer and jackhmmer for proteins, nhmmer for nucleotides.

The rounds are jackhmmer's: relatives up to the E-value are aligned to the query's columns, and the profile of that
alignment is searched next, until no new ones turn up (Johnson, Eddy & Portugaly 2010). The database is read in
blocks, so that memory does not grow with it.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..chemistry.structure import ChainKind
from ..common.errors import AlignmentError, MissingExtraError
from ..common.progress import Progress
from .database import Database, first_fault
from .engine import Query, SearchConfig, a3m_text
from .records import excerpt
from .text_files import OpenFile, open_binary

if TYPE_CHECKING:
    from pyhmmer.easel import DigitalSequenceBlock
    from pyhmmer.plan7 import HMM, Background, Builder, Pipeline, TopHits

_BLOCK_RESIDUES = 2_000_000  # a fraction of a second's work, so that Ctrl-C is answered soon
_KEPT_BYTES = 64 * 2**20
_LONGEST_TARGET = 100_000  # HMMER's limit for proteins
_MERGE = 64
# No match of so few letters means anything, and nhmmer's own code breaks on a single one.
_SHORTEST_QUERY = 5
# AlphaFold 3's released code: a short query finds nothing behind nhmmer's usual filter.
_SHORT_NUCLEOTIDES, _SHORT_F3, _USUAL_F3 = 50, 0.02, 1e-5


class HmmerEngine:
    """HMMER over one FASTA file.

    Raises:
        MissingExtraError: at construction, when pyhmmer is not installed.
    """

    def __init__(self, database: Database, config: SearchConfig | None = None) -> None:
        try:
            self._version = version("pyhmmer")
        except PackageNotFoundError as error:
            raise MissingExtraError(
                "Searching a database in this process needs pyhmmer: install it with "
                "`pip install 'anfinsen[search]'`, or use another --engine."
            ) from error
        self.database = database
        self.config = config or SearchConfig()

    @property
    def name(self) -> str:
        """What notes call it."""
        return f"pyhmmer in {self.database.name}"

    def accepts(self, kind: ChainKind) -> bool:
        """Return whether the database holds relatives of chains of ``kind``."""
        return self.database.suits(kind)

    def identity(self, query: Query) -> Mapping[str, str | int | float]:
        """Return everything that decides the result."""
        return {
            "program": f"pyhmmer-{self._version}",
            "database": self.database.version,
            "iterations": self.config.iterations if query.kind is ChainKind.PROTEIN else 1,
            "e_value": self.config.e_value,
            "max_rows": self.config.max_rows,
        }

    def search(self, queries: Sequence[Query], progress: Progress) -> Generator[tuple[Query, str], None, None]:
        """Yield each query with its alignment as soon as that is whole; chains are searched side by side.

        Raises:
            AlignmentError: the database cannot be read.
        """
        if not queries:
            return
        cancelled = threading.Event()
        targets = _Targets(self.database, cancelled)
        at_once = min(self.config.threads, len(queries))
        with ThreadPoolExecutor(at_once, "search") as chains, ExitStack() as stack:
            # Left over when there are more processors than chains: several blocks of one chain at once.
            blocks = (
                stack.enter_context(ThreadPoolExecutor(self.config.threads, "block")) if len(queries) == 1 else None
            )
            futures = {chains.submit(_Search(query, targets, self.config, blocks).run): query for query in queries}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                cancelled.set()
                for future in futures:
                    future.cancel()


_OF_DNA = str.maketrans("Uu", "Tt")


class _CancelledError(Exception):
    """The search was stopped from outside; nobody reads its result."""


class _Targets:
    """The database as blocks of sequences; small ones stay in memory between rounds and chains."""

    def __init__(self, database: Database, cancelled: threading.Event | None = None) -> None:
        from pyhmmer.easel import Alphabet

        self.alphabet: Any = Alphabet.amino() if database.letters == "protein" else Alphabet.rna()
        self._database = database
        self._cancelled = cancelled or threading.Event()
        self._lock = threading.Lock()
        self._kept: list[DigitalSequenceBlock[Any]] | None = None
        self._residues: int | None = None

    def blocks(self) -> Iterator[DigitalSequenceBlock[Any]]:
        """Yield all sequences, in order."""
        # A compressed file holds several times its size.
        small = self._database.path.stat().st_size * (4 if self._database.compressed else 1) <= _KEPT_BYTES
        if small:
            with self._lock:
                self._kept = list(self._read()) if self._kept is None else self._kept
        for block in self._kept if small and self._kept is not None else self._read():
            self._go_on()
            yield block

    def _go_on(self) -> None:
        if self._cancelled.is_set():
            raise _CancelledError

    @property
    def residues(self) -> int:
        """Residues of all sequences, counted once; nhmmer's E-values need them."""
        if self._residues is None:
            self._residues = sum(len(sequence) for block in self.blocks() for sequence in block)
        return self._residues

    def _read(self) -> Iterator[DigitalSequenceBlock[Any]]:
        from pyhmmer.easel import DigitalSequenceBlock, SequenceFile

        longest = _LONGEST_TARGET if self._database.letters == "protein" else None
        with open_binary(self._database.path, self._database.where) as raw:
            # HMMER reads plain files itself, faster than through Python; but it goes by names: one in .gz it gives to
            # a shell to unpack, whatever the name says to a shell, and "-" is its standard input.
            path = self._database.path.resolve()
            named = path.suffix.lower() == ".gz"
            source: Any = _Watched(raw) if self._database.compressed or named else str(path)
            file: Any  # its type in pyhmmer's stubs takes every block for text
            with SequenceFile(source, format="fasta", digital=True, alphabet=self.alphabet) as file:
                while block := self._next_block(file):
                    if isinstance(source, _Watched):
                        source.check()
                    self._go_on()
                    if longest is not None and any(len(sequence) > longest for sequence in block):
                        kept = (sequence for sequence in block if len(sequence) <= longest)
                        block = DigitalSequenceBlock(self.alphabet, kept)
                    self._check_gaps(block)
                    yield block
                if isinstance(source, _Watched):
                    source.check()

    def _next_block(self, file: Any) -> Any:
        try:
            return file.read_block(residues=_BLOCK_RESIDUES)
        except ValueError as error:
            fault = self._fault() or "it cannot be parsed as FASTA"
            raise AlignmentError(f"{self._database.where} cannot be read: {fault}.") from error

    def _fault(self) -> str:
        return first_fault(self._database, self.alphabet.symbols.replace("-", "") + "TUX")

    def _check_gaps(self, block: DigitalSequenceBlock[Any]) -> None:
        """Refuse ``.`` and ``_``: HMMER reads gaps, and then loses count of the residues. It refuses ``-`` itself."""
        gap = bytes([self.alphabet.K])
        for sequence in block:
            if gap in bytes(sequence.sequence):
                fault = self._fault() or f"there is a gap in {excerpt(_told(sequence, 'name'))}"
                raise AlignmentError(f"{self._database.where} cannot be read: {fault}; sequences here have no gaps.")


class _Watched(io.RawIOBase):
    """A file whose errors are kept: HMMER's reader, written in C, would take them for the end of the file."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)
        except Exception as error:
            self._error = error
            return 0

    def check(self) -> None:
        """Raise what went wrong while reading, if anything did."""
        if self._error is not None:
            raise self._error


class _Search:
    """The search of one chain."""

    def __init__(
        self, query: Query, targets: _Targets, config: SearchConfig, blocks: ThreadPoolExecutor | None
    ) -> None:
        from pyhmmer.plan7 import Background, Builder

        self.query, self.targets, self.config, self.blocks = query, targets, config, blocks
        self.background: Background[Any] = Background(targets.alphabet)
        # "hand": the alignment's marked columns, which are the query's residues, become the profile's.
        self.builder: Builder[Any] = Builder(targets.alphabet, architecture="hand")

    def run(self) -> str:
        """Return the alignment as a3m."""
        if len(self.query.sequence) < _SHORTEST_QUERY:
            return a3m_text(self.query, [])
        rows = _rows(self.hits(), len(self.query.sequence), self.config.max_rows)
        if self.query.kind is ChainKind.DNA:
            # The database was read with the letters of RNA, as chains of both kinds may be searched in it.
            rows = [(name, letters.translate(_OF_DNA)) for name, letters in rows]
        return a3m_text(self.query, rows)

    def hits(self) -> TopHits[Any]:
        """Return the hits of the last round, the best first."""
        from pyhmmer.easel import KeyHash, TextSequence
        from pyhmmer.plan7 import Trace

        alphabet, is_protein = self.targets.alphabet, self.query.kind is ChainKind.PROTEIN
        sequence = TextSequence(name="query", sequence=self.query.sequence).digitize(alphabet)
        profile, _, _ = self.builder.build(sequence, self.background)
        rounds = self.config.iterations if is_protein else 1
        known, depth = KeyHash(), 1
        for done in range(1, rounds + 1):
            hits = self._round(profile)
            hits.sort(by="key")
            new = hits.compare_ranking(known)
            if done == rounds or not hits.included:
                break
            msa: Any = hits.to_msa(  # its type in pyhmmer's stubs lacks what digital alignments have
                alphabet,
                sequences=[sequence],
                traces=[Trace.from_sequence(sequence)],
                all_consensus_cols=True,
                digitize=True,
            )
            if new == 0 and len(msa.sequences) <= depth:
                break  # converged
            depth = len(msa.sequences)
            msa.name = f"query-i{done}"
            profile, _, _ = self.builder.build_msa(msa, self.background)
        return hits

    def _round(self, profile: HMM[Any]) -> TopHits[Any]:
        """Search the whole database with ``profile``, and judge all hits together."""
        parts: list[TopHits[Any]] = []
        for hits in self._block_hits(profile):
            parts.append(hits)
            if len(parts) == _MERGE:
                parts = [parts[0].merge(*parts[1:])]
        if not parts:
            raise AlignmentError(f"{self.targets._database.where} holds no sequences.")
        return parts[0].merge(*parts[1:]) if len(parts) > 1 else parts[0]

    def _block_hits(self, profile: HMM[Any]) -> Iterator[TopHits[Any]]:
        if self.blocks is None:
            for block in self.targets.blocks():
                yield self._pipeline().search_hmm(profile, block)
            return
        waiting: deque[Future[TopHits[Any]]] = deque()
        for block in self.targets.blocks():
            waiting.append(self.blocks.submit(self._pipeline().search_hmm, profile, block))
            if len(waiting) > 2 * self.config.threads:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()

    def _pipeline(self) -> Pipeline[Any]:
        from pyhmmer.plan7 import LongTargetsPipeline, Pipeline

        limit = self.config.e_value
        if self.query.kind is ChainKind.PROTEIN:
            return Pipeline(self.targets.alphabet, E=limit, incE=limit, domE=limit, incdomE=limit)
        short = len(self.query.sequence) < _SHORT_NUCLEOTIDES
        return LongTargetsPipeline(
            self.targets.alphabet,
            # A relative of an RNA is read in the same direction; DNA has two strands.
            strand="watson" if self.query.kind is ChainKind.RNA else None,
            F3=_SHORT_F3 if short else _USUAL_F3,
            Z=self.targets.residues / 1e6,
            E=limit,
            incE=limit,
            domE=limit,
            incdomE=limit,
        )


def _told(named: Any, what: str) -> str:
    """The name or description of a sequence or hit; where it is not UTF-8, nobody can say which letters are meant."""
    try:
        return str(getattr(named, what) or "")
    except UnicodeDecodeError:
        return f"(its {what} is not UTF-8)" if what == "description" else "unreadable"


def _rows(hits: TopHits[Any], length: int, max_rows: int) -> list[tuple[str, str]]:
    """One row per included domain, the best targets first; the profile's columns are the query's residues."""
    rows = []
    for hit in hits.included:
        for domain in hit.domains.included:
            found = domain.alignment
            letters = found.target_sequence
            if "*" in letters:  # a stop inside a sequence: some residue, or an inserted one
                columns = zip(letters, found.hmm_sequence, strict=True)
                letters = "".join(("x" if over == "." else "X") if each == "*" else each for each, over in columns)
            row = "-" * (found.hmm_from - 1) + letters + "-" * (length - found.hmm_to)
            name = f"{_told(hit, 'name')}/{found.target_from}-{found.target_to}"
            rows.append((f"{name} {_told(hit, 'description')}".rstrip(), row))
            if len(rows) == max_rows:
                return rows
    return rows
