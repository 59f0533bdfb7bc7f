"""The client of an MSA server, against a local server that speaks the protocol (and misspeaks it)."""

import io
import json
import tarfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anfinsen.alignments import Query, SearchCache, SearchConfig, ServerClient, ServerConfig, ServerEngine
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError
from anfinsen.common.progress import Silent

PROTEIN = ChainKind.PROTEIN
QUERIES = [Query("ACDEFGHIKL", PROTEIN), Query("MNPQRSTVWY", PROTEIN)]


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            data = text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Fake:
    """What the server will say: lists are used up answer by answer, the last one stays."""

    def __init__(self):
        self.submissions, self.asked, self.agents = [], [], set()
        self.submit = ["PENDING"]
        self.states = ["PENDING", "RUNNING", "COMPLETE"]
        self.failures = []  # HTTP codes to answer with first
        self.body = None
        self.archive = None

    def result(self):
        """Relatives of every query that was sent, as the protocol packs them."""
        if self.archive is not None:
            return self.archive
        entries = urllib.parse.parse_qs(self.submissions[-1])["q"][0].split(">")[1:]
        parts = [entry.split("\n")[:2] for entry in entries]
        uniref = "".join(f">{n}\n{s}\n>UniRef100_{n}\t99\t0.9\n{s[:-1]}-\n\x00" for n, s in parts)
        env = "".join(f">{n}\n{s}\n>env{n}\nxx{s}\n\x00" for n, s in parts)
        return archive({"bfd.mgnify30.metaeuk30.smag30.a3m": env, "uniref.a3m": uniref, "msa.sh": "#!/bin/sh"})


def first(answers):
    return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def server():
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, data, code=200, headers=()):
            self.send_response(code)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def refused(self):
            fake.agents.add(self.headers["User-Agent"])
            if not fake.failures:
                return False
            self.answer(b"", fake.failures.pop(0), [("Retry-After", "7")])
            return True

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.refused():
                return
            assert self.path == "/api/ticket/msa"
            fake.submissions.append(content)
            status = first(fake.submit)
            ticket = {"id": f"T{len(fake.submissions)}"} if status in ("PENDING", "RUNNING", "COMPLETE") else {}
            self.answer(fake.body or json.dumps({**ticket, "status": status}).encode())

        def do_GET(self):
            if self.refused():
                return
            fake.asked.append(self.path)
            if self.path.startswith("/api/result/download/"):
                data = fake.result()
                self.answer(data or b"", 200 if data else 404)
            else:
                self.answer(fake.body or json.dumps({"status": first(fake.states)}).encode())

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.url = f"http://127.0.0.1:{http.server_port}/api"
        yield fake
        http.shutdown()
        thread.join()


class Waits:
    """A clock that only counts."""

    def __init__(self, stop_after=None):
        self.seconds, self.stop_after = [], stop_after

    def __call__(self, seconds):
        self.seconds.append(seconds)
        if self.stop_after is not None and len(self.seconds) >= self.stop_after:
            raise KeyboardInterrupt


def engine(url, tickets=None, waits=None, **settings):
    return ServerEngine(ServerClient(ServerConfig(url, **settings), waits or Waits()), SearchConfig(), tickets)


def ask(engine_, queries=QUERIES):
    return {query.sequence: text for query, text in engine_.search(queries, Silent())}


EXPECTED = {
    "ACDEFGHIKL": ">query\nACDEFGHIKL\n>UniRef100_101 99 0.9\nACDEFGHIK-\n>env101\nxxACDEFGHIKL\n",
    "MNPQRSTVWY": ">query\nMNPQRSTVWY\n>UniRef100_102 99 0.9\nMNPQRSTVW-\n>env102\nxxMNPQRSTVWY\n",
}


def test_submit_poll_download(server):
    waits = Waits()
    assert ask(engine(server.url, waits=waits)) == EXPECTED
    form = urllib.parse.parse_qs(server.submissions[0])
    assert form == {"q": [">101\nACDEFGHIKL\n>102\nMNPQRSTVWY\n"], "mode": ["env"]}
    assert server.asked == ["/api/ticket/T1"] * 3 + ["/api/result/download/T1"]
    assert waits.seconds == [2.0, 3.0, 4.5]  # ever more slowly
    assert next(iter(server.agents)).startswith("anfinsen/")


def test_rate_limits_and_passing_faults_are_waited_for(server):
    server.submit = ["RATELIMIT", "UNKNOWN", "PENDING"]
    server.failures = [503, 429]
    waits = Waits()
    assert ask(engine(server.url, waits=waits)) == EXPECTED
    assert waits.seconds[:4] == [7.0, 7.0, 2.0, 3.0]  # as Retry-After asks, then our own pace
    assert len(server.submissions) == 3


def test_an_interrupted_search_goes_on_with_its_ticket(server, tmp_path):
    tickets = SearchCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ask(engine(server.url, tickets, Waits(stop_after=2)))
    assert len(list(tmp_path.rglob("*.gz"))) == 1
    assert ask(engine(server.url, tickets), QUERIES[::-1]) == EXPECTED  # in any order
    assert len(server.submissions) == 1
    assert not list(tmp_path.rglob("*.gz"))


def test_a_forgotten_ticket_is_sent_again(server, tmp_path):
    tickets = SearchCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ask(engine(server.url, tickets, Waits(stop_after=1)))
    server.states = ["UNKNOWN", "COMPLETE"]
    assert ask(engine(server.url, tickets)) == EXPECTED
    assert len(server.submissions) == 2


def test_a_result_that_was_thrown_away(server):
    server.archive = b""
    server.states = ["COMPLETE"]
    with pytest.raises(AlignmentError, match="forgot its ticket 3 times"):
        ask(engine(server.url))


def refuses(server, saying, **settings):
    with pytest.raises(AlignmentError, match=saying) as caught:
        ask(engine(server.url, **settings))
    message = str(caught.value)
    assert server.url in message
    assert message.endswith((".", "?"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("status", "saying"),
    [("ERROR", "reports an error"), ("MAINTENANCE", "under maintenance"), ("WHAT", "answers with the status 'WHAT'")],
)
def test_what_a_server_says_when_it_gives_nothing(server, status, saying):
    server.states = [status]
    refuses(server, saying)
    server.submit = [status]
    refuses(server, saying)


def test_servers_that_do_not_speak_the_protocol(server):
    server.body = b"<html>hello</html>"
    refuses(server, "does not answer in JSON")
    server.body = b"[]"
    refuses(server, "gave no status")
    server.body = b'{"status": "PENDING"}'
    refuses(server, "gave no ticket")
    server.body, server.failures = None, [404]
    refuses(server, "HTTP 404")
    server.failures = [403]
    refuses(server, "HTTP 403")
    server.failures, server.submit = [], ["RATELIMIT"]
    refuses(server, "takes no more sequences for now", attempts=2)


def test_a_server_that_never_finishes(server):
    server.states = ["RUNNING"]
    refuses(server, "has not finished", patience=20.0)


def test_a_server_that_is_away():
    url = "http://127.0.0.1:9/api"
    waits = Waits()
    with pytest.raises(AlignmentError, match="cannot be reached") as caught:
        ask(engine(url, waits=waits, attempts=3))
    assert waits.seconds == [2.0, 3.0, 4.5]
    assert "--url" in str(caught.value)


ARCHIVES = {
    "no archive": (b"hello", "no tar archive"),
    "cut": (archive({"uniref.a3m": ">101\nACDEFGHIKL\n\x00" * 3000})[:60], "no tar archive"),
    "without alignments": (archive({"readme": "hello"}), "no a3m file"),
    "a query is missing": (archive({"uniref.a3m": ">101\nACDEFGHIKL\n\x00"}), "left out query 2"),
    "no number": (archive({"uniref.a3m": ">query\nACDEFGHIKL\n\x00"}), "expected a number"),
    "ragged": (archive({"a.a3m": ">101\nACDEFGHIKL\n>x\nACD\n\x00>102\nMNPQRSTVWY\n\x00"}), "has 3 columns"),
    "no fasta": (archive({"a.a3m": "hello\x00"}), "begins with 'hello'"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_broken_archives(server, case):
    server.archive, saying = ARCHIVES[case]
    refuses(server, saying)


def test_only_proteins_and_nothing_for_nothing(server):
    assert [kind for kind in ChainKind if engine(server.url).accepts(kind)] == [PROTEIN]
    assert ask(engine(server.url), []) == {}
    assert server.submissions == []
