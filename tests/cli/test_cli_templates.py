"""`--templates` of `search` and `predict`: what is found becomes part of the job, and runs as if given by hand."""

import json
import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent / "alignments"))
from made_up_structures import mmcif

from anfinsen.cli.app import run
from anfinsen.features import featurise, prepare_job
from anfinsen.inference import alphafold3
from anfinsen.jobs import load_jobs

QUICK = ["--model", "alphafold3-mini:random", "--samples", "1", "--steps", "1", "--recycles", "0", "--device", "cpu"]
CHAIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSG"
OTHER = "GSHMRYWDDTCEVLPQNAWKTPFDGHIVKSLE"


def mutant(seed, changed=0.2):
    """A relative whose ends are the chain's own, so that the alignment reaches them."""
    rng = random.Random(seed)
    middle = "".join(rng.choice("ACDEFGHIKLMNPQRSTVWY") if rng.random() < changed else x for x in CHAIN[8:-8])
    return CHAIN[:8] + middle + CHAIN[-8:]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pdb").mkdir()
    (tmp_path / "pdb" / "old.cif").write_text(mmcif({"A": "GG" + mutant(1)}, released="2001-02-03", entry="OLD"))
    (tmp_path / "pdb" / "new.cif").write_text(mmcif({"X": mutant(2)}, released="2020-02-03", entry="NEW"))
    (tmp_path / "pdb" / "bad.cif").write_text("data_\n")
    (tmp_path / "db.fasta").write_text("".join(f">r{k}\n{mutant(k, 0.4)}\n" for k in range(10, 16)))
    (tmp_path / "job.yaml").write_text(f"name: one\nchains:\n  - {{protein: {CHAIN}, copies: 2}}\n  - {{ion: MG}}\n")
    (tmp_path / "mixed.yaml").write_text(
        f"name: mixed\nchains:\n  - {{protein: {CHAIN}, templates: none}}\n  - {{protein: {OTHER}}}\n"
        "  - {rna: GGCC}\n"
        f"  - protein: {CHAIN}\n    templates: [{{file: pdb/old.cif, query: 1-3, template: 3-5}}]\n"
    )
    return tmp_path


def coordinates(folder):
    (model,) = Path(folder).glob("*_model.cif")
    return [line for line in model.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]


def contacts(folder):
    return json.loads(Path(folder, "one_confidences.json").read_text())["contact_probs"]


def test_search_completes_a_job_with_templates(here, capsys):
    arguments = ["search", "job.yaml", "--templates", "pdb", "--template-date", "2010-01-01", "--cpus", "1"]
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert "bad.cif" in captured.err
    assert "OLD A" in captured.out
    (job,) = load_jobs("msas/one/one_data.json")
    (template,) = job.entities[0].templates
    assert list(zip(template.query_indices, template.template_indices, strict=True)) == [(k, k + 2) for k in range(50)]
    summary = json.loads((here / "msas" / "one" / "one_search.json").read_text())["entities"][0]["templates"]
    assert summary["refused"] == {"released after the date": 1}
    assert [(each["file"], each["release_date"]) for each in summary["used"]] == [("old.cif", "2001-02-03")]
    # With relatives from a database, and without the date, there are two; the completed job is left as it is.
    assert run(["search", "job.yaml", "--templates", "pdb", "--db", "db.fasta", "--cpus", "1", "--out", "all"]) == 0
    (job,) = load_jobs("all/one/one_data.json")
    assert len(job.entities[0].templates) == 2
    data = (here / "all" / "one" / "one_data.json").read_bytes()
    assert run(["search", "all/one/one_data.json", "--templates", "pdb", "--max-templates", "1", "--out", "again"]) == 0
    assert (here / "again" / "one" / "one_data.json").read_bytes() == data


def test_what_the_job_says_about_templates_is_kept(here, capsys):
    assert run(["search", "mixed.yaml", "--templates", "pdb", "--cpus", "1"]) == 0
    out = capsys.readouterr().out
    assert "as the job says" in out
    (job,) = load_jobs("msas/mixed/mixed_data.json")
    refused, stranger, rna, own = job.entities
    assert refused.templates == ()
    assert stranger.templates == ()  # none is like it; the completed job does not ask again
    assert rna.templates is None
    assert own.templates[0].template_indices == (2, 3, 4)


@pytest.fixture
def listening(monkeypatch):
    """An untrained network to which templates matter: weights that begin as zeros are none."""
    original = alphafold3.load_model

    def changed(*arguments):
        model, info = original(*arguments)
        for parameter in model.parameters():
            if not parameter.any():
                values = torch.linspace(-0.1, 0.1, parameter.numel() + 1)[1:]
                parameter.data.copy_(values.reshape(parameter.shape))
        return model, info

    monkeypatch.setattr(alphafold3, "load_model", changed)


def test_a_network_that_learnt_nothing_of_templates_says_so(here, capsys):
    assert run(["predict", "job.yaml", "--templates", "pdb", "--cpus", "1", *QUICK]) == 0
    assert "was trained without templates" in capsys.readouterr().err
    assert run(["predict", "job.yaml", "--out", "without", *QUICK]) == 0
    assert "templates" not in capsys.readouterr().err


def test_a_found_template_runs_as_one_given_by_hand(here, capsys, listening):
    assert run(["predict", "job.yaml", "--templates", "pdb", "--max-templates", "1", "--cpus", "1", *QUICK]) == 0
    said = capsys.readouterr().err
    assert "Templates from pdb: protein A, B " in said
    (job,) = load_jobs("output/one/one_data.json")
    (template,) = job.entities[0].templates
    # Which of the two it was, its file as it lies in the folder, and the map by hand.
    source, chain, shift = ("old.cif", "A", 2) if "OLD" in template.mmcif.split("\n")[0] else ("new.cif", "X", 0)
    assert f"{source[:3].upper()} {chain}" in said
    (here / "byhand.yaml").write_text(
        f"name: one\nchains:\n  - protein: {CHAIN}\n    copies: 2\n    templates:\n      - file: pdb/{source}\n"
        f"        query: 1-50\n        template: {1 + shift}-{50 + shift}\n  - {{ion: MG}}\n"
    )
    assert run(["predict", "byhand.yaml", "--out", "byhand", *QUICK]) == 0
    assert run(["predict", "output/one/one_data.json", "--out", "again", *QUICK]) == 0
    assert run(["predict", "job.yaml", "--out", "without", *QUICK]) == 0
    assert coordinates("output/one") == coordinates("byhand/one") == coordinates("again/one")
    assert contacts("output/one") == contacts("byhand/one") == contacts("again/one")
    assert contacts("output/one") != contacts("without/one")
    # The features themselves.
    batches = [
        featurise(prepare_job(load_jobs(path)[0], 1))
        for path in ("output/one/one_data.json", "byhand.yaml", "job.yaml")
    ]
    found, byhand, without = (batch.template_backbone for batch in batches)
    assert found.equal(byhand)
    assert found.abs().sum() > 0
    assert len(without) == 0
    # The same command again finds the same, and so the job is done.
    assert run(["predict", "job.yaml", "--templates", "pdb", "--max-templates", "1", "--cpus", "1", *QUICK]) == 0
    assert "skipped" in capsys.readouterr().out


WRONG = {
    "no such folder": (["--templates", "absent"], "Template folder 'absent' does not exist"),
    "a file": (["--templates", "db.fasta"], "Template folder 'db.fasta' does not exist, or is not a folder"),
    "date without folder": (["--db", "db.fasta", "--template-date", "2020-01-01"], "--template-date belongs"),
    "number without folder": (["--db", "db.fasta", "--max-templates", "2"], "--max-templates belongs"),
    "no date": (["--templates", "pdb", "--template-date", "yesterday"], "--template-date is 'yesterday'"),
    "no day": (["--templates", "pdb", "--template-date", "2021-02-30"], "expected a day of the calendar"),
    "another style": (["--templates", "pdb", "--template-date", "20210220"], "expected a day of the calendar"),
    "too many": (["--templates", "pdb", "--max-templates", "21"], "'max_templates' is 21"),
    "less than none": (["--templates", "pdb", "--max-templates", "-1"], "'max_templates' is -1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(here, capsys, case):
    options, saying = WRONG[case]
    for command in ("search", "predict"):
        assert run([command, "job.yaml", *options]) == 2
        captured = capsys.readouterr()
        assert saying in captured.err
        assert len([line for line in captured.err.splitlines() if line.startswith("anfinsen: ")]) == 1
        assert not (here / "msas").exists()
        assert not (here / "output").exists()


def test_templates_alone_need_the_completed_job(here, capsys):
    assert run(["search", "job.yaml", "--templates", ".", "--msa-only"]) == 2
    assert "Templates stand in the completed job" in capsys.readouterr().err
    assert not (here / "msas").exists()


def test_a_folder_without_structures(here, capsys):
    (here / "empty").mkdir()
    assert run(["search", "job.yaml", "--templates", "empty"]) == 2
    assert "holds no structures" in capsys.readouterr().err
