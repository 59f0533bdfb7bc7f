"""`anfinsen byhand` from the shell."""

import pytest

from anfinsen.byhand import evaluate_workbook
from anfinsen.cli.app import run

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
    assert run(["byhand", "--list", *MODEL]) == 0
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
        (["--gallery", "there", "--list"], "without --block and --list"),
        (["--gallery", "there", "--small"], "need no job"),
        (["--gallery", "there", "--only", "sofmax"], "softmax"),
    ],
)
def test_mistakes_get_one_sentence(job, arguments, message, capsys):
    assert run(["byhand", str(job), *MODEL, *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) == 1


def test_the_gallery_without_a_job_needs_small(tmp_path, capsys):
    out = tmp_path / "gallery"
    assert run(["byhand", "--gallery", str(out)]) == 2
    assert "or --small for the small workbooks alone" in capsys.readouterr().err and not out.exists()
    assert run(["byhand", "--gallery", str(out), "--small", "--only", "softmax"]) == 0
    assert capsys.readouterr().out == f"{out / 'softmax-small.xlsx'}: 87 formulas.\n"
    assert evaluate_workbook(out / "softmax-small.xlsx").difference < 1e-9
