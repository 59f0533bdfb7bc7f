"""A client of the ColabFold MSA server's protocol: submit sequences, poll the ticket, download an archive.

Submit with ``POST /ticket/msa`` (fields ``q``, FASTA, and ``mode``), or ``POST /ticket/pair`` for chains that are to
be paired, ask with ``GET /ticket/ID``, fetch with ``GET /result/download/ID``, as Mirdita et al. (2022), *ColabFold*,
describe and as its public client does.
"""

from __future__ import annotations

import http
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..common.errors import AlignmentError, ConfigError

WAITING = ("PENDING", "RUNNING")
MAX_ARCHIVE = 1024 * 2**20
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


class UnknownPathError(AlignmentError):
    """The server does not know a path of the protocol (HTTP 404)."""


@dataclass(frozen=True)
class ServerConfig:
    """Where the server is, and how patiently it is asked.

    Attributes:
        url: of the server, such as "https://msa.example.org".
        mode: the server's word for what to search; "env" is UniRef and environmental sequences, "all" UniRef alone.
        pair_mode: its word for how chains are paired; "pairgreedy" takes species in which two chains or more have a
            relative, "paircomplete" those in which all have one.
        timeout: of one request, seconds.
        first_wait, longest_wait: seconds between two questions; each wait is 1.5 times the one before.
        attempts: how often a request is tried when the server does not answer, or says that it is busy.
        patience: seconds to wait for one result in all.

    Raises:
        ConfigError: the address is none of HTTP.
    """

    url: str
    mode: str = "env"
    pair_mode: str = "pairgreedy"
    timeout: float = 30.0
    first_wait: float = 2.0
    longest_wait: float = 60.0
    attempts: int = 6
    patience: float = 6 * 3600.0

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            host = (parts.hostname or "").encode("idna")  # names may be of any letters, paths may not
            plain = (parts.path + parts.query).isascii() and self.url.isprintable() and " " not in self.url
            usable = parts.scheme in {"http", "https"} and bool(host) and parts.port != 0 and plain
        except ValueError:  # a port beyond 65535, brackets that hold no address, or no name of a host
            usable = False
        if not usable:
            raise ConfigError(f"Option --url is {self.url!r}: expected the address of an MSA server, https://….")


class ServerClient:
    """Speaks with one server; ``sleep`` waits (tests pass their own)."""

    def __init__(self, config: ServerConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._sleep = sleep

    def submit(self, fasta: str, *, together: bool = False) -> tuple[str, str]:
        """Send sequences and return the ticket's id and status; ``together``: they are chains to be paired.

        Raises:
            UnknownPathError: the server does not do this.
            AlignmentError: the server cannot be reached, refuses, or does not speak the protocol.
        """
        path, mode = ("/ticket/pair", self.config.pair_mode) if together else ("/ticket/msa", self.config.mode)
        form = urllib.parse.urlencode({"q": fasta, "mode": mode}).encode()
        for wait in self._waits():
            answer = self._json(path, form)
            status = str(answer.get("status", ""))
            if status == "RATELIMIT" or (status == "UNKNOWN" and not answer.get("id")):
                self._sleep(wait)
                continue
            self.check(status)
            ticket = answer.get("id")
            if not isinstance(ticket, str) or not ticket:
                raise AlignmentError(f"{self._where} accepted the sequences but gave no ticket: is it an MSA server?")
            return ticket, status
        raise AlignmentError(f"{self._where} takes no more sequences for now (rate limit): try again later.")

    def status(self, ticket: str) -> str:
        """Return the status of ``ticket``: COMPLETE, PENDING, RUNNING, UNKNOWN, ERROR or MAINTENANCE.

        Raises:
            AlignmentError: the server cannot be reached.
        """
        return str(self._json(f"/ticket/{urllib.parse.quote(ticket, safe='')}").get("status", ""))

    def wait(self, ticket: str, status: str) -> bool:
        """Ask until the ticket is done and return True; False where the server does not know it (any more).

        Raises:
            AlignmentError: the server reports an error, or nothing for too long.
        """
        waited, pause = 0.0, self.config.first_wait
        while status in (*WAITING, "RATELIMIT"):
            if waited > self.config.patience:
                raise AlignmentError(
                    f"{self._where} has not finished in {waited / 3600:.1f} hours: run the same command again later, "
                    "it goes on with the same ticket."
                )
            self._sleep(pause)
            waited, pause = waited + pause, min(1.5 * pause, self.config.longest_wait)
            status = self.status(ticket)
        self.check(status)
        return status == "COMPLETE"

    def check(self, status: str) -> None:
        """Refuse what the server says when it will give no result.

        Raises:
            AlignmentError: status is ERROR, MAINTENANCE, or no word of the protocol.
        """
        if status == "ERROR":
            raise AlignmentError(f"{self._where} reports an error: are the sequences valid proteins? Try again later.")
        if status == "MAINTENANCE":
            raise AlignmentError(f"{self._where} is under maintenance: try again later, or search a local --db.")
        if status not in (*WAITING, "COMPLETE", "UNKNOWN", "RATELIMIT"):
            raise AlignmentError(f"{self._where} answers with the status {status!r}: is it an MSA server?")

    def download(self, ticket: str) -> bytes | None:
        """Return the archive of a finished ticket; None where the server has thrown it away.

        Raises:
            AlignmentError: the server cannot be reached.
        """
        return self._request(f"/result/download/{urllib.parse.quote(ticket, safe='')}")

    @property
    def _where(self) -> str:
        return f"The MSA server {self.config.url}"

    def _waits(self) -> list[float]:
        config = self.config
        return [min(config.first_wait * 1.5**n, config.longest_wait) for n in range(config.attempts)]

    def _json(self, path: str, form: bytes | None = None) -> dict[str, Any]:
        data = self._request(path, form)
        if data is None:
            raise UnknownPathError(f"{self._where} has no {path} (HTTP 404): is --url the address of an MSA server?")
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise AlignmentError(f"{self._where} does not answer in JSON at {path}: is it an MSA server?") from error
        if not isinstance(answer, dict):
            raise AlignmentError(f"{self._where} gave no status at {path}: is it an MSA server?")
        return answer

    def _request(self, path: str, form: bytes | None = None) -> bytes | None:
        """Return the body, trying again, ever more slowly, what may pass by itself; None for HTTP 404."""
        request = urllib.request.Request(
            self.config.url.rstrip("/") + path, data=form, headers={"User-Agent": f"anfinsen/{version('anfinsen')}"}
        )
        reason = ""
        for usual in self._waits():
            wait = usual
            try:
                # The scheme was checked to be HTTP's.
                with urllib.request.urlopen(request, timeout=self.config.timeout) as answer:
                    data: bytes = answer.read(MAX_ARCHIVE + 1)
                if len(data) > MAX_ARCHIVE:
                    raise AlignmentError(f"{self._where} sends more than {MAX_ARCHIVE // 2**20} MiB at once.")
                return data
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                asked = error.headers.get("Retry-After", "")
                error.close()
                if error.code == http.HTTPStatus.NOT_FOUND:
                    return None
                if error.code not in _RETRIED:
                    raise AlignmentError(f"{self._where} refuses {path}: {reason}.") from error
                wait = max(usual, min(float(asked), 3600.0)) if asked.isascii() and asked.isdigit() else usual
            except (OSError, http.client.HTTPException) as error:
                inner = getattr(error, "reason", None) or error
                reason = str(getattr(inner, "strerror", None) or inner)
            self._sleep(wait)
        raise AlignmentError(
            f"{self._where} cannot be reached ({reason}): check --url and the network, or search a local --db; the "
            "same command goes on where this one stopped."
        )
