"""`anfinsen couplings`: files, batches, resuming, and one sentence for what is wrong."""

import csv
import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import anfinsen
from anfinsen.cli.app import run

QUERY = "MKTAYIAKQRQISFVKSHFSRQ"
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def a3m(seed: int = 0, rows: int = 60) -> str:
    rng = np.random.default_rng(seed)
    lines = [">query", QUERY]
    for number in range(rows):
        row = np.where(rng.random(len(QUERY)) < 0.5, rng.choice(LETTERS, len(QUERY)), list(QUERY))
        row[20] = row[2]  # columns 3 and 21 always agree
        lines += [f">row{number}", "".join(row[:9]) + "xy" + "".join(row[9:])]
    return "\n".join(lines) + "\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.a3m").write_text(a3m())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> int:
    return run(["couplings", *arguments, "--device", "cpu"])


def test_every_file_is_written_and_says_the_same(here, capsys):
    assert command("tiny.a3m", "--out", "out", "--save-model") == 0
    assert "tiny: 22 residues, 61 of 61 rows, effective depth" in capsys.readouterr().out
    folder = here / "out" / "tiny"
    names = {"couplings.npz", "contacts.csv", "contact_map.svg", "couplings.json"}
    assert {path.name for path in folder.iterdir()} == {*(f"tiny_{name}" for name in names), "tiny.rr"}

    with np.load(folder / "tiny_couplings.npz") as arrays:
        scores, z = arrays["scores"], arrays["z_scores"]
        assert str(arrays["query"]) == QUERY
        assert str(arrays["letters"]) == "ARNDCQEGHILKMFPSTWYV"
        assert arrays["couplings"].shape == (22, 20, 22, 20)
        assert arrays["fields"].shape == (22, 20)
        assert all(np.isfinite(arrays[name]).all() for name in ("scores", "norms", "z_scores", "couplings", "fields"))
    np.testing.assert_array_equal(scores, scores.T)
    assert np.unravel_index(scores.argmax(), scores.shape) == (2, 20)

    with (folder / "tiny_contacts.csv").open() as file:
        contacts = list(csv.DictReader(file))
    assert len(contacts) == 16 * 17 // 2  # pairs at least 6 apart
    first = contacts[0]
    assert (first["rank"], first["i"], first["j"], first["separation"]) == ("1", "3", "21", "18")
    assert (first["residue_i"], first["residue_j"]) == ("T", "R")
    assert float(first["z"]) == pytest.approx(z[2, 20], abs=1e-3)

    lines = (folder / "tiny.rr").read_text().splitlines()
    assert lines[0] == "PFRMAT RR"
    assert lines[1] == "TARGET tiny"
    assert lines[-1] == "END"
    assert QUERY in lines
    pairs = [line.split() for line in lines[lines.index(QUERY) + 1 : -1]]
    assert [(pair[0], pair[1]) for pair in pairs] == [(row["i"], row["j"]) for row in contacts]
    assert all(pair[2:4] == ["0", "8"] and 0 <= float(pair[4]) <= 1 for pair in pairs)
    chances = [float(pair[4]) for pair in pairs]
    assert chances == sorted(chances, reverse=True)

    picture = ElementTree.parse(folder / "tiny_contact_map.svg").getroot()
    tips = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert tips[0] == "Contact map of tiny"
    assert tips[1].startswith("3 – 21: z ")
    assert len(tips) == 1 + 22

    record = json.loads((folder / "tiny_couplings.json").read_text())
    assert record["fingerprint"]["version"] == anfinsen.__version__ == record["versions"]["anfinsen"]
    assert record["fingerprint"]["settings"]["method"] == "potts"
    assert record["figures"]["alignment_rows"] == 61
    assert record["figures"]["converged"]


def test_a_batch_goes_on_where_it_stopped_and_past_bad_files(here, capsys):
    folder = here / "many"
    folder.mkdir()
    (folder / "b.a3m").write_text(a3m(1))
    (folder / "a.a3m.gz").write_bytes(gzip.compress(a3m(2).encode()))
    (folder / "bad.a3m").write_text(f">q\n{QUERY}\n>h\nAC\n")
    (folder / "notes.txt").write_text("not an alignment")
    quick = ("--method", "mean-field", "--out", "out")
    assert command("many", *quick) == 2
    seen = capsys.readouterr()
    assert "1 of 3 jobs failed" in seen.err
    assert "row 2 ('h') has 2 columns: expected 22" in seen.err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a", "b"]
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*")}
    (folder / "bad.a3m").write_text(a3m(3))
    assert command("many", *quick) == 0
    seen = capsys.readouterr().out
    assert seen.count("done already, skipped") == 2
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "out"} == before
    assert (here / "out" / "bad" / "bad_couplings.npz").exists()


def test_several_at_once_write_what_one_by_one_does(here, capsys, monkeypatch):
    for number in range(5):
        (here / f"{number}.a3m").write_text(a3m(number))
    (here / "5.a3m").write_text(f">q\n{QUERY}\n>h\nAC\n")
    assert command(*(f"{number}.a3m" for number in range(6)), "--out", "one") == 2
    capsys.readouterr()
    threads = torch.get_num_threads()
    # With one byte free, no two fits have room side by side: they wait for each other.
    for out, free in (("narrow", 1), ("wide", 2**40)):
        monkeypatch.setattr("anfinsen.inference.families.free_bytes", lambda _device, free=free: free)
        assert command(*(f"{number}.a3m" for number in range(6)), "--out", out, "--workers", "3", "--save-model") == 2
        seen = capsys.readouterr()
        assert "1 of 6 jobs failed" in seen.err
        assert "row 2 ('h') has 2 columns: expected 22" in seen.err
        assert len(seen.out.splitlines()) == 5
        assert torch.get_num_threads() == threads
        assert sorted(path.name for path in (here / out).iterdir()) == ["0", "1", "2", "3", "4"]
        for number in range(5):
            with (
                np.load(here / "one" / f"{number}" / f"{number}_couplings.npz") as one,
                np.load(here / out / f"{number}" / f"{number}_couplings.npz") as other,
            ):
                np.testing.assert_allclose(other["scores"], one["scores"], atol=1e-4)
                assert other["couplings"].shape == (22, 20, 22, 20)


def test_several_at_once_are_interrupted_together(here, monkeypatch):
    for number in range(4):
        (here / f"{number}.a3m").write_text(a3m(number))

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("anfinsen.cli.couplings._show", stop)
    assert command(".", "--out", "out", "--workers", "2") == 130
    assert len([path for path in (here / "out").iterdir() if (path / f"{path.name}_couplings.json").exists()]) >= 1
    assert [path for path in (here / "out").iterdir() if not (path / f"{path.name}_couplings.json").exists()] == []


def test_results_of_another_run_are_replaced_only_when_asked(here, capsys):
    quick = ("tiny.a3m", "--out", "out", "--method", "mean-field")
    assert command(*quick) == 0
    record = here / "out" / "tiny" / "tiny_couplings.json"
    before = record.read_bytes()
    assert command(*quick, "--min-coverage", "0.9") == 2
    assert "differs in settings: give --overwrite" in capsys.readouterr().err
    assert record.read_bytes() == before
    assert command(*quick, "--min-coverage", "0.9", "--overwrite") == 0
    assert json.loads(record.read_text())["fingerprint"]["settings"]["rows"]["min_coverage"] == 0.9
    strange = here / "out" / "other"
    strange.mkdir()
    (strange / "mine.txt").write_text("mine")
    (here / "other.a3m").write_text(a3m(4))
    assert command("other.a3m", *quick[1:], "--overwrite") == 2
    assert "was not made by `anfinsen couplings`" in capsys.readouterr().err
    assert (strange / "mine.txt").read_text() == "mine"


BAD_FILES = {
    "empty": ("", "is empty"),
    "query only": (f">q\n{QUERY}\n", "has 1 row, of which 1 cover 50%"),
    "no rows": (">q\n>h\n", "has no letters"),
    "only gaps": (">q\n-----\n>h\nAAAAA\n", "first row without residues"),
    "ragged": (f">q\n{QUERY}\n>h\n{QUERY}AAA\n", "has 25 columns: expected 22"),
    "NUL bytes": (f">q\n{QUERY}\n>h\n{QUERY[:-1]}\0\n", "has a NUL byte in line 4"),
    "not an alignment": ("hello\n", "begins with 'hello'"),
    "one column": (">q\nM\n>h\nM\n", "has 1 column: couplings need at least 2"),
    "lower case only": (f">q\n{QUERY.lower()}\n>h\nac\n", "in small letters alone"),
}


@pytest.mark.parametrize(("text", "saying"), BAD_FILES.values(), ids=BAD_FILES)
def test_broken_alignments_get_one_sentence(here, capsys, text, saying):
    (here / "bad.a3m").write_text(text)
    assert command("bad.a3m", "--out", "out") == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert saying in message[0]
    assert message[0].startswith("anfinsen: ")
    assert message[0].endswith(".")
    assert list((here / "out").iterdir()) == []


OPTIONS = {
    "method": (["--method", "dca"], "expected one of 'potts', 'mean-field'"),
    "gap": (["--gap", "no"], "expected one of 'missing', 'state'"),
    "kind": (["--kind", "ligand"], "--kind is 'ligand'"),
    "identity": (["--identity", "80"], "'identity' is 80"),
    "rows": (["--max-rows", "1"], "'max_rows' is 1"),
    "penalty": (["--penalty", "nan"], "'coupling_penalty' is nan"),
    "penalty of mean-field": (["--method", "mean-field", "--penalty", "3"], "--penalty is for --method potts"),
    "steps of mean-field": (["--method", "mean-field", "--iterations", "7"], "--iterations is for --method potts"),
    "gaps of mean-field": (["--method", "mean-field", "--gap", "state"], "--gap state is for --method potts"),
    "workers": (["--workers", "0"], "--workers is 0"),
    "device": (["--device", "tpu"], "Unknown device 'tpu'"),
    "no file": (["missing.a3m"], "'missing.a3m' does not exist"),
    "empty folder": (["."], "holds no alignments"),
}


@pytest.mark.parametrize(("arguments", "saying"), OPTIONS.values(), ids=OPTIONS)
def test_wrong_options_get_one_sentence_and_no_folder(tmp_path, monkeypatch, capsys, arguments, saying):
    monkeypatch.chdir(tmp_path)
    if arguments[0].startswith("--"):
        (tmp_path / "tiny.a3m").write_text(a3m())
        arguments = ["tiny.a3m", *arguments]
    assert run(["couplings", *arguments]) == 2
    assert saying in capsys.readouterr().err
    assert not (tmp_path / "couplings").exists()


def test_a_fit_that_was_stopped_early_says_so(here, capsys):
    assert command("tiny.a3m", "--out", "out", "--iterations", "2") == 0
    said = capsys.readouterr().err
    assert "had not converged after 2 steps: raise --iterations" in said
    notes = json.loads(next(here.glob("out/**/*_couplings.json")).read_text())["notes"]
    assert said == "".join(f"note: tiny: {note}\n" for note in notes)


def test_an_interrupted_run_leaves_nothing(here, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("anfinsen.reports.couplings.casp_rr", stop)
    assert command("tiny.a3m", "--out", "out", "--method", "mean-field") == 130
    assert list((here / "out").iterdir()) == []


def test_names_that_are_no_good_for_files_or_pages(here):
    (here / "a b<&>.a3m").write_text(a3m())
    assert command("a b<&>.a3m", "--out", "out", "--method", "mean-field") == 0
    folder = next((here / "out").iterdir())
    ElementTree.parse(folder / f"{folder.name}_contact_map.svg")


def test_bases_read_as_a_protein_are_doubted(here, capsys):
    query = "ACGTTGCAACGTAGGCATTACG"
    rng = np.random.default_rng(0)
    rows = ["".join(np.where(rng.random(22) < 0.4, rng.choice(list("ACGT"), 22), list(query))) for _ in range(40)]
    text = "".join(f">r{number}\n{row}\n" for number, row in enumerate([query, *rows]))
    (here / "bases.a3m").write_text(text)
    (here / "rna.a3m").write_text(text.replace("T", "U"))
    assert command("bases.a3m", "rna.a3m", "tiny.a3m", "--out", "out", "--method", "mean-field") == 0
    said = capsys.readouterr().err
    for name, kind in (("bases", "dna"), ("rna", "rna")):
        assert (
            f"note: {name}: The query holds the letters of bases only, but was read as a protein: give --kind {kind}"
            in said
        )
        (note, *_) = json.loads((here / "out" / name / f"{name}_couplings.json").read_text())["notes"]
        assert note.endswith(f"give --kind {kind} if it is none.")
    assert "note: tiny: The query" not in said
    assert command("bases.a3m", "--out", "as-dna", "--kind", "dna") == 0
    assert "bases only" not in capsys.readouterr().err
