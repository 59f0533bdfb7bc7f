"""Search on an MSA server that speaks ColabFold's protocol; the ticket is remembered, so that a search goes on."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Generator, Mapping, Sequence

from ..chemistry.structure import ChainKind
from ..common.errors import AlignmentError
from ..common.progress import Progress
from .cache import SearchCache, cache_key
from .engine import Query, SearchConfig, a3m_text
from .parse import parse_msa
from .records import Row, a3m_records
from .server_client import MAX_ARCHIVE, ServerClient, UnknownPathError

_FIRST = 101  # the protocol numbers its queries from here
_RESUBMITTED = 3
_PAIRED = "pair.a3m"
# The server names no species, but says which rows belong together. A header in UniProt's manner, whose "species" is the
# number of the row (no species is called so), carries this to whatever pairs by species, AlphaFold 3 included.
_PARTNER, _MOST_PARTNERS = "tr|PAIRED|PAIR_{:05d}", 99_999


class ServerEngine:
    """Proteins searched by a server; the sequences leave this machine.

    The server has no versions of its databases: results are remembered by its address and mode.
    """

    def __init__(
        self, client: ServerClient, config: SearchConfig | None = None, tickets: SearchCache | None = None
    ) -> None:
        self.client, self.config, self._tickets = client, config or SearchConfig(), tickets

    @property
    def name(self) -> str:
        """What notes call it."""
        return f"the MSA server {self.client.config.url}"

    def accepts(self, kind: ChainKind) -> bool:
        """Return whether ``kind`` is protein."""
        return kind is ChainKind.PROTEIN

    def identity(self, query: Query) -> Mapping[str, str | int | float]:
        """Return everything that is known to decide the result."""
        config = self.client.config
        return {"program": "server", "url": config.url, "mode": config.mode, "max_rows": self.config.max_rows}

    def search(self, queries: Sequence[Query], progress: Progress) -> Generator[tuple[Query, str], None, None]:
        """Yield each query with its alignment, all from one ticket.

        Raises:
            AlignmentError: the server cannot be reached, refuses, or sends what is no alignment of the queries.
        """
        if not queries:
            return
        fasta, key = self._request(queries, self.client.config.mode)
        archive = self._archive(key, fasta, progress)
        for query, rows in self._alignments(archive, queries).items():
            yield query, self._text(query, rows[: self.config.max_rows])
        # Only now: whoever was interrupted before finds the ticket, and the server's result, again.
        if self._tickets:
            self._tickets.remove(key)

    def pair_identity(self) -> Mapping[str, str | int | float]:
        """Return everything that is known to decide which rows belong together, the queries apart."""
        config = self.client.config
        return {"program": "server", "url": config.url, "pair_mode": config.pair_mode, "max_rows": self.config.max_rows}

    def pair(self, queries: Sequence[Query], progress: Progress) -> Mapping[Query, str]:
        """Return each query with the relatives that have partners, from one ticket; empty where the server has none.

        Raises:
            AlignmentError: as :meth:`search`; also when the rows of the queries are not as many.
        """
        if len(queries) < 2:
            return {}
        fasta, key = self._request(queries, self.client.config.pair_mode)
        try:
            archive = self._archive(key, fasta, progress, together=True)
        except UnknownPathError:
            progress.note(f"The MSA server {self.client.config.url} does not pair chains: their rows stay unpaired.")
            return {}
        found = self._alignments(archive, queries, _PAIRED)
        if len({len(rows) for rows in found.values()}) > 1:
            numbers = ", ".join(f"{len(rows):,}" for rows in found.values())
            raise AlignmentError(
                f"The MSA server {self.client.config.url} pairs {numbers} rows with each other: expected the same "
                "number for each chain."
            )
        texts = {query: self._text(query, self._partners(rows)) for query, rows in found.items()}
        if self._tickets:
            self._tickets.remove(key)
        return texts

    def _request(self, queries: Sequence[Query], mode: str) -> tuple[str, str]:
        """What is sent, and where its ticket is remembered; neither depends on the order of the queries."""
        numbered = enumerate(_ordered(queries), start=_FIRST)
        fasta = "".join(f">{number}\n{query.sequence}\n" for number, query in numbered)
        return fasta, cache_key({"ticket": fasta, "url": self.client.config.url, "mode": mode})

    def _alignments(self, archive: bytes, queries: Sequence[Query], only: str = "") -> dict[Query, list[Row]]:
        """The rows of each query, its own left out."""
        found = alignments_of(archive, self.client.config.url, only)
        rows = {}
        for number, query in enumerate(_ordered(queries), start=_FIRST):
            if number not in found:
                raise AlignmentError(f"The MSA server {self.client.config.url} left out query {number - _FIRST + 1}.")
            rows[query] = found[number]
        return rows

    def _partners(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are there, not gaps alone, with their number for a species."""
        most = min(self.config.max_rows, _MOST_PARTNERS)
        return [
            (" ".join([_PARTNER.format(number), *description.split()[:1]]), letters)
            for number, (description, letters) in enumerate(rows[:most], start=1)
            if letters.strip("-.")
        ]

    def _text(self, query: Query, rows: Sequence[Row]) -> str:
        """The alignment; what others sent is looked at before it is remembered."""
        text = a3m_text(query, rows)
        parse_msa(text, query.sequence, query.kind, f"The alignment that {self.name} gave")
        return text

    def _archive(self, key: str, fasta: str, progress: Progress, *, together: bool = False) -> bytes:
        ticket, status = self._known_ticket(key)
        for _ in range(_RESUBMITTED):
            if not ticket:
                ticket, status = self.client.submit(fasta, together=together)
                if self._tickets:
                    self._tickets.put(key, json.dumps({"ticket": ticket, "url": self.client.config.url}))
                progress.note(f"Sequences were sent to the MSA server {self.client.config.url}: ticket {ticket}.")
            if self.client.wait(ticket, status) and (archive := self.client.download(ticket)) is not None:
                return archive
            ticket = ""  # forgotten by the server: send again
        raise AlignmentError(
            f"The MSA server {self.client.config.url} forgot its ticket {_RESUBMITTED} times: try again later."
        )

    def _known_ticket(self, key: str) -> tuple[str, str]:
        text = self._tickets.get(key) if self._tickets else None
        if text is None:
            return "", ""
        ticket = str(json.loads(text)["ticket"])
        return ticket, self.client.status(ticket)


def _ordered(queries: Sequence[Query]) -> list[Query]:
    return sorted(queries, key=lambda query: query.sequence)


def alignments_of(archive: bytes, url: str, only: str = "") -> dict[int, list[Row]]:
    """Return the rows (without the query's) of each numbered query in the archive that a server sent.

    The archive holds a3m files, each with one alignment per query, which end in a NUL byte and begin with the query's
    number; those of UniRef come first. With ``only``, other files than the one of this name are passed over.

    Raises:
        AlignmentError: it is no such archive.
    """
    where = f"The archive of the MSA server {url}"
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            members = [each for each in files.getmembers() if each.isfile() and each.name.endswith(".a3m")]
            if only:
                members = [each for each in members if each.name.rpartition("/")[2] == only]
            if sum(each.size for each in members) > MAX_ARCHIVE:
                raise AlignmentError(f"{where} holds more than {MAX_ARCHIVE // 2**20} MiB of alignments.")
            members.sort(key=lambda each: (not each.name.rpartition("/")[2].startswith("uniref"), each.name))
            opened = [file for each in members if (file := files.extractfile(each)) is not None]
            texts = [file.read().decode("utf-8", "replace") for file in opened]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AlignmentError(f"{where} is damaged or no tar archive: try again later.") from error
    if not texts:
        raise AlignmentError(f"{where} holds no {only or 'a3m file'}: is it an MSA server?")
    found: dict[int, list[Row]] = {}
    for text in texts:
        for part in text.split("\x00"):
            if not part.strip():
                continue
            first, *rows = a3m_records(part, where)
            number = re.match(r"\d+", first[0])
            if number is None:
                raise AlignmentError(f"{where} has an alignment that begins with {first[0]!r}: expected a number.")
            found.setdefault(int(number[0]), []).extend(rows)
    return found
