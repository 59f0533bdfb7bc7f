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
from .server_client import MAX_ARCHIVE, ServerClient

_FIRST = 101  # the protocol numbers its queries from here
_RESUBMITTED = 3


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
        queries = sorted(queries, key=lambda query: query.sequence)  # a ticket does not depend on their order
        fasta = "".join(f">{number}\n{query.sequence}\n" for number, query in enumerate(queries, start=_FIRST))
        key = cache_key({"ticket": fasta, "url": self.client.config.url, "mode": self.client.config.mode})
        archive = self._archive(key, fasta, progress)
        found = alignments_of(archive, self.client.config.url)
        for number, query in enumerate(queries, start=_FIRST):
            if number not in found:
                raise AlignmentError(f"The MSA server {self.client.config.url} left out query {number - _FIRST + 1}.")
            text = a3m_text(query, found[number][: self.config.max_rows])
            # What others sent is looked at before it is remembered.
            parse_msa(text, query.sequence, query.kind, f"The alignment that {self.name} gave")
            yield query, text
        # Only now: whoever was interrupted before finds the ticket, and the server's result, again.
        if self._tickets:
            self._tickets.remove(key)

    def _archive(self, key: str, fasta: str, progress: Progress) -> bytes:
        ticket, status = self._known_ticket(key)
        for _ in range(_RESUBMITTED):
            if not ticket:
                ticket, status = self.client.submit(fasta)
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


def alignments_of(archive: bytes, url: str) -> dict[int, list[Row]]:
    """Return the rows (without the query's) of each numbered query in the archive that a server sent.

    The archive holds a3m files, each with one alignment per query, which end in a NUL byte and begin with the query's
    number; those of UniRef come first.

    Raises:
        AlignmentError: it is no such archive.
    """
    where = f"The archive of the MSA server {url}"
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            members = [each for each in files.getmembers() if each.isfile() and each.name.endswith(".a3m")]
            if sum(each.size for each in members) > MAX_ARCHIVE:
                raise AlignmentError(f"{where} holds more than {MAX_ARCHIVE // 2**20} MiB of alignments.")
            members.sort(key=lambda each: (not each.name.rpartition("/")[2].startswith("uniref"), each.name))
            opened = [file for each in members if (file := files.extractfile(each)) is not None]
            texts = [file.read().decode("utf-8", "replace") for file in opened]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AlignmentError(f"{where} is damaged or no tar archive: try again later.") from error
    if not texts:
        raise AlignmentError(f"{where} holds no a3m file: is it an MSA server?")
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
