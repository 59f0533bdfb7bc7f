"""The client of an MSA server, against a local server that speaks the protocol (and misspeaks it)."""

import io
import json
import tarfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anfinsen.alignments import (
    FilterConfig,
    Query,
    SearchCache,
    SearchConfig,
    ServerClient,
    ServerConfig,
    ServerEngine,
    pair_rows,
    parse_msa,
    search_alignments,
    species_of,
)
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError
from anfinsen.common.progress import Silent
from anfinsen.features import pairing_notes, prepare_job
from anfinsen.inference.search import complete_job
from anfinsen.jobs import Job, Polymer

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


# As pairaln writes it: rows of the same number belong together, and DUMMY stands where a chain has none.
PAIRED = (
    ">101\nACDEFGHIKL\n>UniRef100_A1\t99\t0.9\nACDEFGHIKV\n>DUMMY\n----------\n>UniRef100_A3\t80\t0.5\nACDEFww-----\n\x00"
    ">102\nMNPQRSTVWY\n>UniRef100_B1\t99\t0.9\nMNPQRSTVWV\n>UniRef100_B2\t90\t0.8\nMNPQRST---\n>UniRef100_B3\t80\t0.5\n-NPQRSTVWY\n\x00"
)


class Fake:
    """What the server will say: lists are used up answer by answer, the last one stays."""

    def __init__(self):
        self.submissions, self.asked, self.agents = [], [], set()
        self.submit = ["PENDING"]
        self.states = ["PENDING", "RUNNING", "COMPLETE"]
        self.failures = []  # HTTP codes to answer with first
        self.body = None
        self.archive = None
        self.pairs = True  # whether it knows /ticket/pair
        self.paired = set()  # its tickets
        self.pair_archive = None

    def result(self, ticket):
        """Relatives of every query that was sent, as the protocol packs them."""
        if ticket in self.paired:
            return self.pair_archive if self.pair_archive is not None else archive({"pair.a3m": PAIRED, "pair.sh": "#"})
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
            together = self.path == "/api/ticket/pair"
            if together and not fake.pairs:
                self.answer(b"404 page not found", 404)
                return
            assert together or self.path == "/api/ticket/msa"
            fake.submissions.append(content)
            status, name = first(fake.submit), f"T{len(fake.submissions)}"
            fake.paired |= {name} if together else set()
            ticket = {"id": name} if status in ("PENDING", "RUNNING", "COMPLETE") else {}
            self.answer(fake.body or json.dumps({**ticket, "status": status}).encode())

        def do_GET(self):
            if self.refused():
                return
            fake.asked.append(self.path)
            if self.path.startswith("/api/result/download/"):
                data = fake.result(self.path.rpartition("/")[2])
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


class Told(Silent):
    """A progress that remembers what it was told."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def pairs(found):
    """Descriptions of the rows that are paired, the queries left out."""
    msas = [parse_msa(found[query].paired, query.sequence, PROTEIN, "MSA") for query in QUERIES]
    table = pair_rows(msas, max_rows=100)[1:]
    return [tuple(msa.descriptions[row].split()[1] for msa, row in zip(msas, rows, strict=True)) for rows in table]


def test_chains_of_a_complex_are_paired_by_the_server(server, tmp_path):
    server.states = ["COMPLETE"]
    cache = SearchCache(tmp_path)
    found = search_alignments(QUERIES, [engine(server.url, cache)], cache, together=True)
    assert urllib.parse.parse_qs(server.submissions[1]) == {
        "q": [">101\nACDEFGHIKL\n>102\nMNPQRSTVWY\n"],
        "mode": ["pairgreedy"],
    }
    assert pairs(found) == [("UniRef100_A1", "UniRef100_B1"), ("UniRef100_A3", "UniRef100_B3")]
    first_chain = found[QUERIES[0]]
    assert first_chain.paired == (
        ">query\nACDEFGHIKL\n>tr|PAIRED|PAIR_00001 UniRef100_A1\nACDEFGHIKV\n"
        ">tr|PAIRED|PAIR_00003 UniRef100_A3\nACDEFww-----\n"
    )
    assert (first_chain.species, found[QUERIES[1]].species) == (2, 3)
    # What is paired is found once more among the chain's own relatives; nothing is counted twice.
    assert "PAIRED" not in first_chain.unpaired
    assert [(each.engine.rpartition(" ")[2], each.rows) for each in first_chain.sources] == [
        (server.url, 2),
        ("(paired)", 2),
    ]
    # The same complex, in any order, is known now; each chain is known in every other complex.
    again = search_alignments(QUERIES[::-1], [engine(server.url, cache)], cache, together=True)
    assert [again[query].paired for query in QUERIES] == [found[query].paired for query in QUERIES]
    assert all(source.cached for query in QUERIES for source in again[query].sources)
    assert len(server.submissions) == 2
    # A row that is filtered out of one alignment has no partner; the others keep theirs.
    covering = search_alignments(QUERIES, [engine(server.url, cache)], cache, FilterConfig(0.8), together=True)
    assert pairs(covering) == [("UniRef100_A1", "UniRef100_B1")]


def test_chains_on_their_own_are_not_paired(server):
    server.states = ["COMPLETE"]
    search_alignments(QUERIES, [engine(server.url)])
    search_alignments(QUERIES[:1] * 2, [engine(server.url)], together=True)
    assert len(server.submissions) == 2
    assert not server.paired
    assert engine(server.url).pair(QUERIES[:1], Silent()) == {}


def test_the_model_sees_the_pairs(server):
    server.states = ["COMPLETE"]
    chains = (("A", "B"), QUERIES[0].sequence), (("C",), QUERIES[1].sequence)
    job = Job(name="two", entities=tuple(Polymer(kind="protein", ids=ids, sequence=letters) for ids, letters in chains))
    completed = complete_job(job, [engine(server.url)])
    assert [entity.paired_msa.count("|PAIR_") for entity in completed.job.entities] == [2, 3]
    assert f"the MSA server {server.url} (paired)" in completed.note
    prepared = prepare_job(completed.job, 0)
    assert pairing_notes(prepared) == ()
    assert {species_of(text) for text in prepared.alignments[2].paired.descriptions[1:]} == {"00001", "00002", "00003"}


def test_an_interrupted_pairing_goes_on_with_its_ticket(server, tmp_path):
    cache = SearchCache(tmp_path)
    server.states = ["COMPLETE"]
    search_alignments(QUERIES, [engine(server.url, cache)], cache)
    server.states = ["PENDING", "COMPLETE"]
    with pytest.raises(KeyboardInterrupt):
        search_alignments(QUERIES, [engine(server.url, cache, Waits(stop_after=1))], cache, together=True)
    assert len(server.submissions) == 2
    server.states = ["COMPLETE"]
    assert pairs(search_alignments(QUERIES, [engine(server.url, cache)], cache, together=True))
    assert len(server.submissions) == 2


def test_a_server_that_does_not_pair(server, tmp_path):
    server.pairs, server.states, told, cache = False, ["COMPLETE"], Told(), SearchCache(tmp_path)
    found = search_alignments(QUERIES, [engine(server.url, cache)], cache, progress=told, together=True)
    assert [result.depth for result in found.values()] == [3, 3]
    assert [result.paired.count(">") for result in found.values()] == [1, 1]
    assert "does not pair chains" in told.notes[-1]
    server.pairs = True  # asked again next time
    assert pairs(search_alignments(QUERIES, [engine(server.url, cache)], cache, together=True))


BROKEN_PAIRS = {
    "other rows": (PAIRED.replace(">UniRef100_B2\t90\t0.8\nMNPQRST---\n", ""), "pairs 3, 2 rows"),
    "a query is missing": (PAIRED.partition("\x00")[0], "left out query 2"),
    "ragged": (PAIRED.replace("MNPQRST---", "MNPQRST"), "has 7 columns"),
}


@pytest.mark.parametrize("case", BROKEN_PAIRS)
def test_broken_pairs(server, case):
    text, saying = BROKEN_PAIRS[case]
    server.states, server.pair_archive = ["COMPLETE"], archive({"pair.a3m": text})
    with pytest.raises(AlignmentError, match=saying) as caught:
        engine(server.url).pair(QUERIES, Silent())
    assert server.url in str(caught.value)
    server.pair_archive = archive({"uniref.a3m": text})
    with pytest.raises(AlignmentError, match=r"holds no pair\.a3m"):
        engine(server.url).pair(QUERIES, Silent())
