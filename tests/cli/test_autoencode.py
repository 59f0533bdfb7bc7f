"""`anfinsen autoencode`: planted outliers, equal bits, models that are applied again, every kind of data."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from anfinsen.autoencoders import Autoencoder
from anfinsen.autoencoders import dataset as dataset_module
from anfinsen.autoencoders.detector import AutoencoderDetector
from anfinsen.cli.app import run
from anfinsen.common.errors import MissingExtraError
from anfinsen.reports import autoencoder_files

VARIANTS = ("plain", "denoising", "sparse", "variational", "convolutional", "linear")
ROWS, PLANTED = 120, (7, 40, 41, 99)
NAMES = [f"c{place}" for place in range(6)]


def plane(seed: int = 0) -> np.ndarray:
    """Rows near a plane of two dimensions in six, in units of their own; the planted ones stand off it."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, 2)) @ rng.normal(size=(2, 6)) + 0.02 * rng.normal(size=(ROWS, 6))
    normal = np.linalg.svd(rows - rows.mean(0))[2][-1]
    rows[list(PLANTED)] += np.outer([3, -3, 4, -4], normal)
    return rows * [1, 10, 100, 1, 0.1, 5] + [0, 3, -50, 7, 0, 1]


def write_csv(path: Path, rows: np.ndarray, delimiter: str = ",") -> Path:
    labels = ["good" if row % 2 else "bad" for row in range(len(rows))]
    lines = [delimiter.join([*NAMES, "kind"])]
    lines += [delimiter.join([*map(repr, map(float, row)), label]) for row, label in zip(rows, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_csv(tmp_path / "data.csv", plane())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> None:
    assert run(["autoencode", *arguments, *([] if "--model" in arguments else ["--device", "cpu"])]) == 0


def records(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def column(path: str, name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in records(path)])


def test_planted_outliers_rank_first_and_every_file_says_the_same(here, capsys):
    command("data.csv", "--target", "kind", "--components", "2", "--contamination", "0.04", "--epochs", "80")
    out = capsys.readouterr().out
    assert "120 rows, 6 columns, 2 components (plain)" in out
    names = {"latents.csv", "reconstructions.csv", "scores.csv", "model.safetensors", "model.json", "run.json"}
    assert {path.name for path in Path("autoencoded").iterdir()} == {*names, "report.html"}

    scores = records("autoencoded/scores.csv")
    first = sorted(scores, key=lambda row: int(row["rank"]))[: len(PLANTED)]
    assert {int(row["row"]) - 1 for row in first} == set(PLANTED)
    assert {int(row["row"]) - 1 for row in scores if row["outlier"] == "1"} == set(PLANTED)
    assert [row["label"] for row in scores[:2]] == ["bad", "good"]

    made = np.array([[float(row[name]) for name in NAMES] for row in records("autoencoded/reconstructions.csv")])
    kept = np.setdiff1d(np.arange(ROWS), PLANTED)
    residual = ((made - plane())[kept] ** 2).sum(0) / ((plane()[kept] - plane()[kept].mean(0)) ** 2).sum(0)
    assert residual.mean() < 0.1  # the planted rows take part of the plane

    record = json.loads(Path("autoencoded/run.json").read_text())
    assert record["results"]["outliers"] == len(PLANTED)
    assert record["data"]["rows"] == ROWS
    errors = ((made - plane()) ** 2).mean(0) / plane().var(0)
    assert record["results"]["mean_r2"] == pytest.approx(1 - errors.mean(), rel=1e-9)
    assert f"mean R2 {record['results']['mean_r2']:.4f}" in out
    assert len(record["training_loss"]) == len(record["validation_loss"]) <= 80


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(here):
    for out, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        command("data.csv", "--target", "kind", "--epochs", "3", "--seed", seed, "--out", out, "--variant", "denoising")
    for path in Path("a").iterdir():
        assert path.read_bytes() == (Path("b") / path.name).read_bytes(), path.name
        assert path.read_bytes() != (Path("c") / path.name).read_bytes(), path.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_written_model_gives_the_same_bits_again(here, variant):
    # Sizes after which a decoder has to be cut to its image, and settings of each variant that are not the defaults.
    more = {
        "convolutional": ["--size", "2x3", "--set", "filters=[4]", "--set", "objective=variational"],
        "sparse": ["--set", "penalty=kl"],
        "variational": ["--set", "beta=0.5", "--set", "variance=learned_per_feature"],
        "plain": ["--hidden", "5,4", "--set", "likelihood=bernoulli"],
        "denoising": ["--hidden", "", "--batch", "16"],
    }.get(variant, [])
    command("data.csv", "--target", "kind", "--variant", variant, "--epochs", "3", "--out", "a", "--seed", "3", *more)
    command("data.csv", "--target", "kind", "--model", "a", "--out", "b")
    for name in ("latents.csv", "reconstructions.csv", "scores.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    assert not Path("b/model.json").exists()

    lines = Path("data.csv").read_text().splitlines()
    # One row, its columns in another order and among others.
    order = [f"{cells[6]},{cells[5]},{','.join(cells[:5])},1" for cells in (lines[at].split(",") for at in (0, 9))]
    Path("one.csv").write_text("\n".join(order).replace(",1\n", ",other\n") + "\n")
    command("one.csv", "--model", "a", "--out", "c")
    for name in ("score", "outlier"):
        assert column("c/scores.csv", name)[0] == pytest.approx(column("a/scores.csv", name)[8], rel=1e-6)


def test_the_linear_variant_is_principal_component_analysis(here):
    command("data.csv", "--target", "kind", "--variant", "linear", "--components", "2", "--epochs", "2000")
    standard = (plane() - plane().mean(0)) / plane().std(0)
    share = PCA(2).fit(standard).explained_variance_ratio_.sum()
    record = json.loads(Path("autoencoded/run.json").read_text())
    assert record["results"]["mean_r2"] == pytest.approx(share, abs=1e-3)


def test_outliers_are_those_of_the_detector(here):
    command("data.csv", "--target", "kind", "--epochs", "4", "--contamination", "0.11", "--components", "2")
    inner = Autoencoder(2, max_epochs=4, early_stopping=True, random_state=0, device="cpu")
    found = AutoencoderDetector(inner, contamination=0.11).fit(plane()).predict(plane()) == -1
    np.testing.assert_array_equal(found, column("autoencoded/scores.csv", "outlier") == 1)


def test_the_same_numbers_in_every_kind_of_table_give_the_same_latents(here):
    rows = plane()
    write_csv(here / "data.tsv", rows, "\t")
    (here / "data.csv.gz").write_bytes(gzip.compress((here / "data.csv").read_bytes()))
    kinds = ["bad", "good"] * (ROWS // 2)
    pq.write_table(pa.table({**{name: rows[:, at] for at, name in enumerate(NAMES)}, "kind": kinds}), "data.parquet")
    np.save("data.npy", rows)
    np.savez("data.npz", rows=rows, kind=np.array(kinds))
    np.savetxt("bare.csv", rows, delimiter=",", fmt="%.17g")
    for name, target in {
        "data.csv": "kind", "data.tsv": "kind", "data.csv.gz": "kind", "data.parquet": "kind", "data.npz": "kind",
        "data.npy": None, "bare.csv": None,
    }.items():  # fmt: skip
        command(name, "--epochs", "1", "--out", f"out-{name}", *(["--target", target] if target else []))
        expected, found = records("out-data.csv/latents.csv"), records(f"out-{name}/latents.csv")
        assert [row["autoencoder0"] for row in found] == [row["autoencoder0"] for row in expected], name
        assert ("label" in found[0]) == bool(target)
    assert np.load("out-data.npy/reconstructions.npy").shape == rows.shape


def make_images(folder: Path, *, mode: str = "L", size: int = 6, count: int = 24) -> None:
    rng = np.random.default_rng(1)
    for number in range(count):
        pixels = np.zeros((size, size), np.uint8)
        line = int(rng.integers(size))
        pixels[(line, slice(None)) if number % 2 else (slice(None), line)] = 200
        place = folder / ("across" if number % 2 else "down")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(place / f"{number}.png")


def test_image_folders(here):
    make_images(here / "images")
    command("images", "--variant", "convolutional", "--epochs", "2", "--set", "filters=[4]", "--out", "a")
    made = np.load("a/reconstructions.npy")
    assert made.shape == (24, 6, 6, 1)
    assert records("a/scores.csv")[0]["row"] == "across/1.png"
    assert {row["label"] for row in records("a/scores.csv")} == {"across", "down"}
    command("images", "--model", "a", "--out", "b")
    np.testing.assert_array_equal(np.load("b/reconstructions.npy"), made)
    # Others are brought to the size and colours of the model only where its own images were.
    make_images(here / "large", mode="RGB", size=12)
    command("large", "--size", "6x6", "--colour", "grey", "--epochs", "1", "--out", "c")
    command("images", "--model", "c", "--out", "d")
    assert np.load("d/reconstructions.npy").shape == (24, 6, 6, 1)
    assert run(["autoencode", "large", "--model", "a", "--out", "e"]) == 2
    assert not Path("e").exists()


def test_streamed_files_are_learnt_in_chunks(here, monkeypatch):
    rows = np.tile(plane()[np.setdiff1d(np.arange(ROWS), PLANTED)], (8, 1)).astype(np.float32)
    np.save("data.npy", rows)
    monkeypatch.setattr(dataset_module, "CHUNK_BYTES", 200 * 6 * 4)
    for out in ("a", "b"):
        command("data.npy", "--stream", "--epochs", "12", "--components", "2", "--out", out)
    record = json.loads(Path("a/run.json").read_text())
    assert record["data"]["streamed"]
    assert len(record["training_loss"]) == 12
    assert record["results"]["mean_r2"] > 0.9
    made = np.load("a/reconstructions.npy")
    assert made.shape == rows.shape
    errors = ((made - rows.astype(np.float64)) ** 2).mean(0) / rows.var(0, dtype=np.float64)
    assert record["results"]["mean_r2"] == pytest.approx(1 - errors.mean(), rel=1e-5)
    assert Path("a/latents.csv").read_bytes() == Path("b/latents.csv").read_bytes()
    command("data.npy", "--stream", "--no-reconstructions", "--model", "a", "--out", "c")
    assert Path("a/scores.csv").read_bytes() == Path("c/scores.csv").read_bytes()
    assert not Path("c/reconstructions.npy").exists()


def test_models_that_do_not_fit_or_are_damaged_are_refused(here, capsys):
    command("data.csv", "--target", "kind", "--epochs", "1", "--out", "a")
    Path("other.csv").write_text("c0,c1,z\n1,2,3\n4,5,6\n")
    np.save("narrow.npy", plane()[:, :3])
    damages = {
        "model.safetensors": lambda content: content[:-3] + b"abc",
        "model.json": lambda content: content[:-40],
    }
    for name, saying in {"other.csv": "The model of a needs column 'c2'", "narrow.npy": "column 'c0'"}.items():
        assert run(["autoencode", name, "--model", "a", "--out", "b"]) == 2
        assert saying in capsys.readouterr().err
    for name, damage in damages.items():
        path = Path("a") / name
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        assert run(["autoencode", "data.csv", "--model", "a", "--out", "b"]) == 2
        assert f"{path} is damaged" in capsys.readouterr().err
        path.write_bytes(whole)
    settings = json.loads(Path("a/model.json").read_text())
    nothing, width = float("nan"), 10**9
    for change in (
        {"format": "other"}, {"columns": NAMES[:4]}, {"columns": ["c0"] * 6}, {"variant": "deep"}, {"colour": "blue"},
        {"parameters": {"nothing": 1}}, {"parameters": {"n_components": width}}, {"image_shape": [4, 4, 1]},
        {"threshold": nothing}, {"threshold": 10**400}, {"contamination": nothing}, {"seed": -1},
    ):  # fmt: skip
        Path("a/model.json").write_text(json.dumps(settings | change))
        assert run(["autoencode", "data.csv", "--model", "a", "--out", "b"]) == 2
        assert "This is a bug" not in capsys.readouterr().err
    Path("a/model.json").write_text("[" * 100_000)
    assert run(["autoencode", "data.csv", "--model", "a", "--out", "b"]) == 2
    assert not Path("b").exists()


def test_rows_without_any_difference_are_scored_by_a_model(here):
    command("data.csv", "--target", "kind", "--epochs", "1", "--out", "a")
    Path("equal.csv").write_text(",".join(NAMES) + "\n" + "1,2,3,4,5,6\n" * 5)
    command("equal.csv", "--model", "a", "--out", "b")
    assert Path("b/report.html").exists()


def test_rows_of_bytes_are_pixels_for_the_model_of_pixels(here):
    np.save("bytes.npy", np.random.default_rng(0).integers(0, 255, (30, 16), dtype=np.uint8))
    command("bytes.npy", "--size", "4x4", "--epochs", "1", "--out", "a")
    command("bytes.npy", "--model", "a", "--out", "b")
    assert Path("a/latents.csv").read_bytes() == Path("b/latents.csv").read_bytes()


def test_results_never_replace_their_own_source(here, capsys):
    command("data.csv", "--target", "kind", "--epochs", "1", "--out", "a")
    for source in (["data.csv", "--model", "a"], ["a/latents.csv"]):
        assert run(["autoencode", *source, "--out", "a", "--overwrite"]) == 2
        assert "would be lost" in capsys.readouterr().err
    assert Path("a/model.safetensors").exists()


def test_results_are_replaced_only_when_asked_and_whole(here, capsys):
    command("data.csv", "--target", "kind", "--epochs", "1")
    before = Path("autoencoded/latents.csv").read_bytes()
    assert run(["autoencode", "data.csv", "--target", "kind"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    command("data.csv", "--target", "kind", "--epochs", "1", "--seed", "9", "--overwrite")
    assert Path("autoencoded/latents.csv").read_bytes() != before
    assert not list(here.glob(".*"))


def test_divergence_leaves_nothing(here, capsys):
    assert run(["autoencode", "data.csv", "--target", "kind", "--learning-rate", "1e30", "--epochs", "20"]) == 2
    assert "not finite" in capsys.readouterr().err
    assert not Path("autoencoded").exists()


def test_without_plotly_everything_else_is_written(here, capsys, monkeypatch):
    def absent(*arguments: object) -> str:
        raise MissingExtraError("The report needs plotly: pip install 'anfinsen[report]'.")

    monkeypatch.setattr(autoencoder_files, "autoencoder_html", absent)
    command("data.csv", "--target", "kind", "--epochs", "1")
    captured = capsys.readouterr()
    assert "note: report.html was not written. The report needs plotly" in captured.err
    assert "Page" not in captured.out
    assert not Path("autoencoded/report.html").exists()
    assert "plotly" in json.loads(Path("autoencoded/run.json").read_text())["notes"][0]
    assert len(records("autoencoded/scores.csv")) == ROWS


def test_images_are_read_as_they_are_seen_and_only_as_png_or_jpeg(here, capsys):
    Path("photos").mkdir()
    turned, pixels = Image.Exif(), np.random.default_rng(0).integers(0, 255, (4, 12, 8), dtype=np.uint8)
    turned[0x112] = 6  # to be turned by 90 degrees
    for place, image in enumerate(pixels):
        turned_image = Image.fromarray(np.rot90(image))
        turned_image.save(f"photos/{place}.png", exif=turned)
    command("photos", "--epochs", "1", "--out", "a")
    assert json.loads(Path("a/run.json").read_text())["data"]["image_shape"] == [12, 8, 1]
    Image.fromarray(pixels[0]).save("photos/5.gif")
    Path("photos/5.gif").rename("photos/5.png")
    assert run(["autoencode", "photos", "--epochs", "1", "--out", "b"]) == 2
    assert "5.png cannot be read" in capsys.readouterr().err


def test_text_tables_of_other_systems_and_with_long_lines(here):
    text = Path("data.csv").read_text()
    command("data.csv", "--target", "kind", "--epochs", "1", "--out", "a")
    for name, content in {"old": text.replace("\n", "\r"), "windows": "\ufeff" + text.replace("\n", "\r\n")}.items():
        Path(f"{name}.csv").write_bytes(content.encode())
        command(f"{name}.csv", "--target", "kind", "--epochs", "1", "--out", name)
        assert Path(f"{name}/latents.csv").read_bytes() == Path("a/latents.csv").read_bytes()
    header = ",".join(f"{place}{'x' * 100_000}" for place in range(20))
    Path("long.csv").write_text(header + "\n" + "".join(",".join([str(row)] * 20) + "\n" for row in range(5)))
    command("long.csv", "--epochs", "1", "--out", "long")
    assert json.loads(Path("long/run.json").read_text())["data"]["columns"] == 20


def test_numbers_at_the_end_of_their_range_give_no_warning(here):
    # Warnings are errors in tests; the sum of such numbers is infinite minus infinite.
    np.save("large.npy", (np.sign(plane()) * 3e38).astype(np.float32))
    command("large.npy", "--epochs", "1", "--out", "a")


@pytest.mark.parametrize("constant", [5.0, 1.7e18, 1e70])
def test_a_constant_column_spoils_nothing_however_large(here, constant):
    rows = plane()
    np.save("plain.npy", np.c_[rows, np.full(ROWS, 5.0)])
    np.save("large.npy", np.c_[rows, np.full(ROWS, constant)])
    for name in ("plain", "large"):
        command(f"{name}.npy", "--components", "2", "--epochs", "40", "--out", name)
    plain, large = (json.loads(Path(f"{name}/run.json").read_text()) for name in ("plain", "large"))
    assert large["results"]["mean_r2"] == pytest.approx(plain["results"]["mean_r2"], abs=0.02)
    assert large["results"]["standard_rmse"] == pytest.approx(plain["results"]["standard_rmse"], abs=0.02)
    assert large["notes"] == ["1 column does not vary, or by no more than rounding: x6."]
