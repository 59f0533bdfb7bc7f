"""`anfinsen byhand` from the shell."""

from types import SimpleNamespace

import pytest
import torch

from anfinsen.byhand import evaluate_workbook, make_plan, trace_function
from anfinsen.cli.app import run
from anfinsen.cli.byhand import _note_unused, _write
from anfinsen.common.errors import OutputError

MODEL = ["--model", "alphafold3-mini", "--recycles", "0"]


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("chains:\n  - {protein: GSWKAE, id: A}\n")
    return path


def test_a_workbook_of_a_block_of_the_bundled_model(job, tmp_path, capsys):
    out = tmp_path / "block.xlsx"
    block = ["--block", "pairformer.0.triangle_multiplication_outgoing"]
    assert run(["byhand", str(job), *MODEL, *block, "--tokens", "1,3", "--channels", "0-1", "--out", str(out)]) == 0
    assert "formulas over 128 input" in capsys.readouterr().out
    agreement = evaluate_workbook(out)
    assert agreement.errors == ()
    assert agreement.difference < 1e-9


def test_every_block_is_listed_with_what_it_does(capsys):
    assert run(["byhand", "--list", "--model", "alphafold3-mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("pairformer.0-3.triangle_attention_starting: ")]
    assert line.endswith("(Abramson et al. 2024 (AlphaFold 3), Algorithm 14)")
    assert all(": " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--block", "pairformer.9"], "did you mean pairformer"),
        (["--block", "pairformer.0", "--tokens", "4-2"], "runs backwards"),
        (["--block", "pairformer.0", "--tokens", "0"], "numbers from 1"),
        (["--block", "pairformer.0", "--out", "x.csv"], "ends in .xlsx"),
        (["--block", "pairformer.0.single_transition", "--tokens", "7"], "no token 7"),
        ([], "--block"),
        (["--only", "softmax"], "belong to --gallery"),
        (["--small"], "belong to --gallery"),
        (["--gallery", "there", "--list"], "without --recycles and --list and --model"),
        (
            ["--gallery", "there", "--tokens", "x", "--call", "0", "--hold"],
            "without --tokens and --hold and --call and",
        ),
        (["--list"], "--list names the blocks of a model and runs nothing: give it without --recycles and a job"),
        (["--block", "pairformer.0", "--call", "-2"], "--call is -2: expected the number of a call, from 0, or -1"),
        (["--block", "pairformer.0", "--out", "folder.xlsx"], "--out is 'folder.xlsx', but it is a folder"),
        (["--block", "pairformer.0", "--page", "file/x.html"], "file is no folder: choose another file"),
    ],
)
def test_mistakes_get_one_sentence(job, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(job.parent)
    (job.parent / "folder.xlsx").mkdir()
    (job.parent / "file").write_text("")
    assert run(["byhand", str(job), *MODEL, *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) == 1
    assert {path.name for path in job.parent.iterdir()} == {"one.yaml", "folder.xlsx", "file"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.yaml", "--gallery", "there", "--small"], "need no job"),
        (["one.yaml", "--gallery", "there", "--only", "sofmax"], "softmax"),
        (["--gallery", "one.yaml", "--small", "--only", "softmax"], "Cannot make the folder one.yaml for the gallery"),
    ],
)
def test_mistakes_with_the_gallery_get_one_sentence(job, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(job.parent)
    assert run(["byhand", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) == 1


def test_a_page_that_cannot_be_written_leaves_no_workbook(tmp_path):
    plan = make_plan(trace_function(lambda i, w: {"y": i["x"] * 2}, {"x": torch.ones(2)}))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"one\.html"):
        _write(plan, None, tmp_path / "one.xlsx", tmp_path / "file" / "one.html", "")
    assert not (tmp_path / "one.xlsx").exists()


def test_options_that_a_model_does_not_know_are_said(capsys):
    model = SimpleNamespace(steps=0, recycles=0, weights=SimpleNamespace(name="alphafold2-mini"))
    _note_unused(model, 7, None)
    assert capsys.readouterr().err == "note: alphafold2-mini knows no number of steps: --steps is not used.\n"
    _note_unused(SimpleNamespace(steps=20, recycles=1), 7, 1)
    assert capsys.readouterr().err == ""


def test_the_gallery_without_a_job_needs_small(tmp_path, capsys):
    out = tmp_path / "gallery"
    assert run(["byhand", "--gallery", str(out)]) == 2
    assert "or --small for the small workbooks alone" in capsys.readouterr().err and not out.exists()
    assert run(["byhand", "--gallery", str(out), "--small", "--only", "softmax"]) == 0
    assert capsys.readouterr().out == f"{out / 'softmax-small.xlsx'}: 87 formulas.\n"
    assert evaluate_workbook(out / "softmax-small.xlsx").difference < 1e-9
