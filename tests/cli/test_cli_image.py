"""`anfinsen image`: what it writes, that it says what is wrong in one sentence, and that nothing is half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from anfinsen.cli.app import app, run
from anfinsen.inference.images import run as image_run
from anfinsen.inference.images.run import ImageRequest, load_pipeline
from anfinsen.weights import WeightsInfo
from anfinsen.weights.store import bundled_path
from tiny_model import tiny_model
from tiny_pictures import DALLE1, DALLE2, only, write_tiny

PROMPT = "a small red circle"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_tiny(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (80, 64), colour).save(f"{name}.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 20, 40, 40))
    mask.save("mask.png")
    Image.new("L", (64, 64)).save("black.png")
    Path("no.png").write_text("hello")
    return tmp_path


def chosen(paths: dict[str, str], names: tuple[str, ...] = DALLE2) -> list[str]:
    return [part for name, path in only(paths, names).items() for part in ("--weights", f"{name}={path}")]


def test_a_prompt_gives_pictures_a_manifest_and_a_page(here, paths, capsys):
    call = ["image", PROMPT, "--samples", "3", "--steps", "2", "--seed", "5", *chosen(paths)]
    assert run(call) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    folder = here / "output" / "a-small-red-circle"
    assert "3 pictures, CLIP score" in said
    assert str(folder / "report.html") in said
    names = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert names == ["01.png", "02.png", "03.png", "grid.png", "manifest.json", "report.html"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["run"]["settings"] == {
        "samples": 3, "seed": 5, "candidates": 4, "guidance": 3.0, "steps": 2, "sampler": "euler", "prior": True,
    }  # fmt: skip
    assert [Path(each["file"]).name for each in manifest["pictures"]] == names[:3]
    assert set(manifest["weights"]) == set(DALLE2)
    assert all(len(each["sha256"]) == 64 for each in manifest["weights"].values())
    # The files are the pipeline's pictures, and the grid holds them.
    pipeline = load_pipeline(ImageRequest(PROMPT, weights=only(paths, DALLE2)), "cpu")
    request = ImageRequest(PROMPT, samples=3, steps=2, seed=5, weights=only(paths, DALLE2))
    again = image_run.draw(request, pipeline)
    pixels = [np.asarray(Image.open(folder / "pictures" / name)) for name in names[:3]]
    assert np.array_equal(np.stack(pixels), again.pictures.numpy())
    grid = np.asarray(Image.open(folder / "grid.png"))
    assert np.array_equal(grid[4:68, 72:136], pixels[1])
    assert manifest["pictures"][2]["clip_score"] == pytest.approx(again.clip_scores[2], abs=1e-6)

    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert run(call) == 0
    assert "done already, skipped" in capsys.readouterr().out
    assert run([*call[:-1], call[-1], "--seed", "6"]) == 2
    assert "differs in settings: give --overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before
    assert run([*call, "--overwrite"]) == 0
    assert (folder / "grid.png").read_bytes() == before[folder / "grid.png"]


@pytest.mark.parametrize(
    ("arguments", "folder", "labels"),
    [
        (["--variation", "a.png"], "variations-of-a-png", ["1", "2"]),
        (["--interpolate", "a.png", "b.png"], "from-a-png-to-b-png", ["0%", "100%"]),
        (
            ["--variation", "a.png", "--text-difference", "a red square", "a blue square"],
            "a-png-from-a-red-square-to-a-blue-square",
            ["0%", "100%"],
        ),
        (
            [PROMPT, "--inpaint", "a.png", "--mask", "mask.png", "--guidance", "2"],
            "a-small-red-circle-in-a-png",
            ["1", "2"],
        ),
        ([PROMPT, "--sampler", "ancestral", "--no-prior", "--candidates", "1"], "a-small-red-circle", ["1", "2"]),
    ],
)
def test_pictures_can_be_changed(arguments, folder, labels, here, paths, capsys):
    assert run(["image", *arguments, "--samples", "2", "--steps", "2", *chosen(paths)]) == 0, capsys.readouterr()
    manifest = json.loads((here / "output" / folder / "manifest.json").read_text())
    assert [each["label"] for each in manifest["pictures"]] == labels
    assert len(manifest["run"]["inputs"]) == len(manifest["inputs"])


def test_fresh_noise_of_variations_is_as_told(here, paths, capsys):
    grids = []
    for number, eta in enumerate(([], ["--eta", "0"], ["--eta", "1"])):
        call = ["image", "--variation", "a.png", "--samples", "1", "--steps", "3", "--out", str(number)]
        assert run([*call, *eta, *chosen(paths)]) == 0, capsys.readouterr()
        folder = here / str(number) / "variations-of-a-png"
        assert json.loads((folder / "manifest.json").read_text())["run"]["settings"]["eta"] == (0.4, 0.0, 1.0)[number]
        assert "Fresh noise" in (folder / "report.html").read_text()
        grids.append((folder / "grid.png").read_bytes())
    assert len(set(grids)) == 3


def test_dalle1_draws_and_has_a_folder_of_its_own(here, paths, capsys):
    assert run(["image", PROMPT, "--model", "dalle1", "--samples", "2", *chosen(paths, DALLE1)]) == 0, (
        capsys.readouterr()
    )
    manifest = json.loads((here / "output" / "a-small-red-circle-dalle1" / "manifest.json").read_text())
    assert set(manifest["weights"]) == set(DALLE1)
    assert manifest["run"]["settings"] == {"samples": 2, "seed": 0, "candidates": 4, "guidance": 3.0}


def test_an_own_job_is_shown_beside_the_pictures(here, paths, capsys, monkeypatch):
    Path("job.yaml").write_text("name: own\nchains:\n  - protein: GSWK\n")
    tiny = tiny_model(), WeightsInfo("tiny", "", "", "tiny")
    monkeypatch.setattr("anfinsen.inference.alphafold3.load_model", lambda name, device: tiny)
    call = ["image", PROMPT, "--samples", "1", "--steps", "2", "--job", "job.yaml", *chosen(paths)]
    assert run(call) == 0, capsys.readouterr()
    manifest = json.loads((here / "output" / "a-small-red-circle" / "manifest.json").read_text())
    assert manifest["trajectory"]["name"] == "own"
    assert manifest["run"]["job"] is not None


WRONG = {
    "no prompt": ([], "The prompt is empty"),
    "blank prompt": (["  "], "The prompt is empty"),
    "long prompt": ([" ".join(["circle"] * 30)], "24 are the most"),
    "model": ([PROMPT, "--model", "dalle3"], "Unknown model 'dalle3': expected dalle2 or dalle1"),
    "samples": ([PROMPT, "--samples", "0"], "'samples' is 0: expected a whole number from 1 to 64"),
    "many samples": ([PROMPT, "--samples", "65"], "'samples' is 65"),
    "one step of a way": (["--interpolate", "a.png", "b.png", "--samples", "1"], "'samples' is 1"),
    "guidance": ([PROMPT, "--guidance", "nan"], "'guidance' is nan: expected a number from 0 to 30"),
    "high guidance": ([PROMPT, "--guidance", "31"], "'guidance' is 31"),
    "seed": ([PROMPT, "--seed", "-1"], "'seed' is -1"),
    "steps": ([PROMPT, "--steps", "0"], "'steps' is 0: expected a whole number from 1 to 1000"),
    "sampler": ([PROMPT, "--sampler", "rk4"], "Unknown sampler 'rk4': expected one of euler, heun"),
    "two edits": (["--variation", "a.png", "--interpolate", "a.png", "b.png"], "--interpolate do not go together"),
    "no picture": (["--text-difference", "a", "b"], "--text-difference changes a picture: name it with --variation"),
    "no mask": ([PROMPT, "--inpaint", "a.png"], "--inpaint and --mask go together"),
    "black mask": ([PROMPT, "--inpaint", "a.png", "--mask", "black.png"], "is white for nothing"),
    "prompt too many": ([PROMPT, "--variation", "a.png"], "--variation takes no prompt"),
    "guidance of an edit": (["--variation", "a.png", "--guidance", "2"], "--guidance is for pictures of a prompt"),
    "candidates of an edit": (["--interpolate", "a.png", "b.png", "--candidates", "2"], "not for --interpolate"),
    "eta of a way": (["--interpolate", "a.png", "b.png", "--eta", "0.5"], "--eta is for variations"),
    "eta too large": (["--variation", "a.png", "--eta", "1.5"], "'eta' is 1.5: expected a number from 0 to 1"),
    "no candidates": ([PROMPT, "--candidates", "0"], "'candidates' is 0"),
    "prior of an edit": (["--interpolate", "a.png", "b.png", "--no-prior"], "--no-prior is for pictures of a prompt"),
    "blank caption": (["--variation", "a.png", "--text-difference", " ", "b"], "A caption of --text-difference"),
    "equal captions": (["--variation", "a.png", "--text-difference", "a  b", "a b"], "are the same"),
    "unknown letters": (["日本語"], "has no letter that the model knows"),
    "no letters": (["..."], "has no letter that the model knows"),
    "half a letter": (["a red circle \udcff"], "at letter 14, what is no letter of any script"),
    "long name": (["--variation", "a" * 300], "cannot be read: File name too long"),
    "folder as picture": (["--variation", "."], "cannot be read: Is a directory"),
    "missing picture": (["--variation", "absent.png"], "'absent.png' does not exist"),
    "text as picture": (["--interpolate", "a.png", "no.png"], "no.png cannot be read as a picture"),
    "dalle1 edits": (["--model", "dalle1", "--variation", "a.png"], "--variation needs --model dalle2"),
    "dalle1 steps": ([PROMPT, "--model", "dalle1", "--steps", "3"], "--steps is for --model dalle2"),
    "weights": ([PROMPT, "--weights", "decoder"], "expected NETWORK=FILE"),
    "weights twice": ([PROMPT, "--weights", "clip=a", "--weights", "clip=b"], "names 'clip' twice"),
    "unknown network": ([PROMPT, "--weights", "dalle1-dvae=a"], "not part of the model"),
    "no weights file": ([PROMPT, "--weights", "clip=absent.safetensors"], "absent.safetensors"),
    "device": ([PROMPT, "--device", "abacus"], "Unknown device 'abacus'"),
    "job": ([PROMPT, "--job", "absent.yaml"], "absent.yaml"),
    "out is a file": ([PROMPT, "--out", "a.png"], "Cannot write a.png"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_get_one_sentence_and_nothing_is_written(case, here, paths, capsys):
    arguments, saying = WRONG[case]
    weights = [] if "--weights" in arguments or "dalle1" in arguments else chosen(paths)
    before = sorted(here.rglob("*"))
    assert run(["image", *arguments, *weights]) == 2, capsys.readouterr()
    said = capsys.readouterr().err
    assert saying in said
    assert len([line for line in said.splitlines() if line.startswith("anfinsen: ")]) == 1
    assert "Traceback" not in said
    assert sorted(here.rglob("*")) == before


def test_names_that_are_no_text_do_not_lose_what_was_drawn(here, paths, capsys):
    name = os.fsdecode(b"bad\xff.png")
    Path(name).write_bytes(Path("a.png").read_bytes())
    Path(f"{'星' * 80}.png").write_bytes(Path("a.png").read_bytes())
    for number, picture in enumerate((name, f"{'星' * 80}.png")):
        call = ["image", "--variation", picture, "--samples", "1", "--steps", "2", "--out", str(number)]
        assert run([*call, *chosen(paths)]) == 0, capsys.readouterr()
        (folder,) = Path(str(number)).iterdir()
        assert len(os.fsencode(folder.name)) <= 120 and (folder / "manifest.json").is_file()
    assert "bad\ufffd.png" in json.loads((here / "0" / "variations-of-bad-png" / "manifest.json").read_text())["title"]


def test_an_installation_without_weights_says_so(here, capsys, monkeypatch):
    monkeypatch.setattr("anfinsen.weights.store.bundled_path", lambda file: here / "bundled" / file)
    assert run(["image", PROMPT]) == 2
    assert "This installation has no weights of 'clip-mini'" in capsys.readouterr().err
    assert not (here / "output").exists()
    assert bundled_path("x").name == "x"


def test_folders_of_others_are_left_alone(here, paths, capsys):
    folder = here / "output" / "a-small-red-circle"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert run(["image", PROMPT, "--overwrite", *chosen(paths)]) == 2
    assert "was not made by `anfinsen image`" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_ctrl_c_leaves_nothing(here, paths, capsys, monkeypatch):
    def interrupt(report):
        raise KeyboardInterrupt

    monkeypatch.setattr("anfinsen.reports.image_files.image_html", interrupt)
    before = sorted(here.rglob("*"))
    assert run(["image", PROMPT, "--samples", "1", "--steps", "1", *chosen(paths)]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == sorted([*before, here / "output"])
    assert list((here / "output").iterdir()) == []


def test_without_pillow_the_extra_is_named(here, paths, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    assert run(["image", PROMPT, *chosen(paths)]) == 2
    assert "pip install 'anfinsen[images]'" in capsys.readouterr().err


def test_every_option_and_every_field_stands_in_the_docs(here, paths, capsys):
    docs = (Path(__file__).parents[2] / "docs" / "image-command.md").read_text(encoding="utf-8")
    command = typer.main.get_command(app).commands["image"]
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    assert len(options) > 15
    assert [name for name in options if f"`{name}" not in docs and name not in {"--inpaint", "--mask"}] == []
    assert "--inpaint FILE --mask FILE" in docs
    assert run(["image", PROMPT, "--samples", "1", "--steps", "1", *chosen(paths)]) == 0, capsys.readouterr()
    manifest = json.loads((here / "output" / "a-small-red-circle" / "manifest.json").read_text())
    fields = [*manifest, *manifest["run"], *manifest["run"]["settings"], *manifest["pictures"][0]]
    fields += [*manifest["trajectory"], *next(iter(manifest["weights"].values()))]
    assert [name for name in fields if f"`{name}`" not in docs and f"`run.{name}`" not in docs] == []
