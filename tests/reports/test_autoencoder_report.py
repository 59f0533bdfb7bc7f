"""An autoencoder's page: self-contained, its numbers those of an independent program, names from the data harmless."""

import base64
import dataclasses
import gzip
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from anfinsen.autoencoders import dataset as dataset_module
from anfinsen.autoencoders.dataset import DataSet
from anfinsen.autoencoders.findings import MAP_POINTS, RANKED, TYPICAL, examples, latent_map, sweep
from anfinsen.common.errors import NonFiniteError
from anfinsen.reports.autoencoder import AutoencoderReport, autoencoder_html, histogram
from anfinsen.reports.autoencoder_pictures import MOST_PIXELS, picture_bytes, picture_row

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)> @@DATA@@'


class Principal:
    """Principal component analysis with the interface of an autoencoder."""

    def __init__(self, rows: np.ndarray, components: int) -> None:
        self.pca = PCA(components, random_state=0).fit(rows)

    def transform(self, x):
        return self.pca.transform(x)

    def inverse_transform(self, x):
        return self.pca.inverse_transform(x)

    def score_samples(self, x):
        return -((self.inverse_transform(self.transform(x)) - x) ** 2).mean(1)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.loads, self.text, self.blocks, self.options, self.images = [], [], "", {}, {}, []
        self._open, self._select = None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        assert not [key for key in named if key.startswith("on")], "no inline handlers"
        sources = [value for key, value in attributes if key in {"src", "href", "srcset", "action"} and value]
        self.loads += sources
        self.images += sources if tag == "img" else []
        self._open = named.get("id") if tag == "script" else None
        self._select = named.get("id") if tag == "select" else self._select
        if tag == "option":
            self.options.setdefault(self._select, []).append(named["value"])

    def handle_data(self, data):
        if self._open:
            self.blocks[self._open] = self.blocks.get(self._open, "") + data
        else:
            self.text += data

    def data(self) -> dict:
        return json.loads(gzip.decompress(base64.b64decode(self.blocks["data-report"])))


def made_data(rows: int = 300, width: int = 5, labels: np.ndarray | None = None, **more: object) -> DataSet:
    rng = np.random.default_rng(rows + width)
    values = rng.normal(size=(rows, width)) * np.arange(1, width + 1) + 3
    columns = (EVIL, *(f"c{place}" for place in range(1, width)))
    target = "" if labels is None else "kind & class"
    return DataSet(Path("table.csv"), "0" * 64, values, columns, labels=labels, target=target, **more)


def made_report(data: DataSet, components: int = 3, **more: object) -> AutoencoderReport:
    fitted = Principal(data.all_rows(), components)
    found = sweep(fitted, data)
    values = {"training_loss": (1.0, 0.5, 0.25), "validation_loss": (1.1, 0.6, 0.7)} | more
    chart, shown = latent_map(fitted, data, found, 0), examples(fitted, data, found)
    threshold = found.threshold(0.1)
    return AutoencoderReport(EVIL, EVIL, data, found, shown, chart, threshold, settings=((EVIL, EVIL),), **values)


def test_a_pass_in_chunks_gives_what_scikit_learn_gives_of_the_whole(monkeypatch):
    monkeypatch.setattr(dataset_module, "CHUNK_BYTES", 37 * 5 * 8)
    data = made_data()
    data.values[:, 3] = 1e6 / 3  # constant, and not a sum of powers of two
    fitted = Principal(data.values, 2)
    starts = []
    found = sweep(fitted, data, lambda start, latents, made: starts.append((start, len(latents), len(made))))
    assert starts == [(start, min(37, 300 - start), min(37, 300 - start)) for start in range(0, 300, 37)]
    made = fitted.inverse_transform(fitted.transform(data.values))
    varying = [0, 1, 2, 4]
    expected = r2_score(data.values[:, varying], made[:, varying], multioutput="raw_values")
    np.testing.assert_allclose([found.column_r2[place] for place in varying], expected, rtol=1e-9)
    assert found.column_r2[3] is None
    assert found.mean_r2 == pytest.approx(expected.mean())
    weighted = r2_score(data.values[:, varying], made[:, varying], multioutput="variance_weighted")
    assert found.pooled_r2 == pytest.approx(weighted)
    np.testing.assert_allclose(found.centre, data.values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.spread[varying], data.values[:, varying].std(0), rtol=1e-9)
    np.testing.assert_allclose(found.scores, ((made - data.values) ** 2).mean(1), rtol=1e-9)
    assert (np.diff(found.scores[found.order]) <= 0).all()
    for share, count in ((0.1, 30), (0.01, 3), (0.001, 0), (0.5, 150)):
        assert (found.scores > found.threshold(share)).sum() == count


@pytest.mark.parametrize("part", ["transform", "inverse_transform", "score_samples"])
def test_numbers_that_are_not_finite_are_refused_by_row(part, monkeypatch):
    data = made_data()
    fitted = Principal(data.values, 2)
    right = getattr(fitted, part)

    def wrong(x):
        result = right(x)
        result[11] = np.nan
        return result

    monkeypatch.setattr(fitted, part, wrong)
    with pytest.raises(NonFiniteError, match=r"of row 12 of table\.csv is not finite"):
        sweep(fitted, data)


def test_the_latent_map_is_the_plane_of_most_variance_and_shows_the_strangest():
    data = made_data(MAP_POINTS + 500)
    fitted = Principal(data.values, 4)
    found = sweep(fitted, data)
    chart = latent_map(fitted, data, found, 0)
    assert set(found.order[:RANKED]) <= set(chart.rows.tolist())
    assert MAP_POINTS - RANKED <= len(chart.rows) <= MAP_POINTS
    latents = fitted.transform(data.take(chart.rows))
    expected = PCA(2).fit_transform(latents)
    for axis in (0, 1):
        assert abs(np.corrcoef(expected[:, axis], chart.points[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
    share = 100 * PCA(4).fit(latents).explained_variance_ratio_[0]
    assert f"({share:.0f} %)" in chart.axes[0]
    for components, names in ((2, ("component 1", "component 2")), (1, ("component 1", "anomaly score"))):
        fitted = Principal(data.values, components)
        chart = latent_map(fitted, data, found, 0)
        assert chart.axes == names
        np.testing.assert_array_equal(chart.points[:, 0], fitted.transform(data.take(chart.rows))[:, 0])


def test_the_page_needs_no_network_and_nothing_in_the_data_becomes_markup():
    labels = np.array([EVIL, "b", "c"] * 100)
    page = Page(autoencoder_html(made_report(made_data(labels=labels, row_names=(EVIL,) * 300))))
    assert page.loads == ["data:,", "#ranking"]
    assert page.tags.count("script") == 3
    assert page.tags.count("img") == 0
    assert "@@" not in page.text.replace(EVIL, "")
    data = page.data()
    assert data["columns"][0] == EVIL
    assert data["map"]["labels"][0] == EVIL
    assert page.options["colour"] == ["label", "score", "outlier"]
    assert len(page.options["row"]) == len(data["examples"]) == 20


def test_the_page_says_what_was_found():
    report = made_report(made_data(labels=np.linspace(0, 1, 300)))
    page = Page(autoencoder_html(report))
    data = page.data()
    assert sum(data["histogram"]["counts"]) == 300
    assert sum(data["map"]["outlier"]) == 30
    assert data["map"]["numeric"]
    assert data["losses"] == {"training": [1.0, 0.5, 0.25], "validation": [1.1, 0.6, 0.7]}
    assert "lowest on rows that were held out in epoch 2: 0.6" in page.text
    assert f"{report.sweep.mean_r2:.4f}" in page.text
    first = report.examples[0]
    assert first.row == report.sweep.order[0]
    np.testing.assert_allclose(data["examples"][0]["values"], first.values, rtol=1e-5)
    # The most usual row leads the second half.
    np.testing.assert_allclose(data["examples"][10]["values"], report.data.values[report.sweep.order[-1]], rtol=1e-5)
    assert [each.rank for each in report.examples] == [*range(1, RANKED + 1), *range(301 - TYPICAL, 301)]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (None, (False, False)),
        (np.arange(300) % 3, (True, False)),
        (np.arange(300) % 30, (True, True)),
        (np.array([f"name {row}" for row in range(300)]), (False, False)),
    ],
    ids=["none", "few numbers", "many numbers", "a name for each row"],
)
def test_labels_are_classes_a_scale_or_nothing(labels, kind):
    page = Page(autoencoder_html(made_report(made_data(labels=labels))))
    found = page.data()["map"]
    assert (found["labels"] is not None, found["numeric"]) == kind
    assert ("label" in page.options["colour"]) == kind[0]


def test_few_rows_one_row_and_equal_scores_make_a_page():
    for rows in (1, 2, 7, 55):
        data = made_data(max(rows, 3))
        whole = made_report(data, components=2)
        one = dataclasses.replace(data, values=data.values[:rows])
        fitted = Principal(data.values, 2)
        found = sweep(fitted, one)
        chart, shown = latent_map(fitted, one, found, 0), examples(fitted, one, found)
        assert len({each.row for each in shown}) == len(shown) == min(rows, RANKED + TYPICAL)
        report = dataclasses.replace(
            whole, data=one, sweep=found, examples=shown, latent_map=chart, training_loss=(), validation_loss=()
        )
        page = Page(autoencoder_html(report))
        assert sum(page.data()["histogram"]["counts"]) == rows
        assert "trained earlier" in page.text
    counts, edges = histogram(np.zeros(9), 0.0)
    assert counts.sum() == 9
    assert (np.diff(edges) > 0).all()


def test_images_stand_in_the_page_as_they_are():
    rng = np.random.default_rng(0)
    values = rng.random((30, 4 * 6 * 3))
    data = DataSet(Path("images"), "0" * 64, values, tuple(map(str, range(72))), image_shape=(4, 6, 3))
    page = Page(autoencoder_html(made_report(data, components=5)))
    assert len(page.images) == 3 * 20
    assert all(image.startswith("data:image/png;base64,") for image in page.images)
    assert "columns" not in page.data()
    report = made_report(data, components=5)
    first = report.examples[0].values.reshape(4, 6, 3)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(page.images[0].split(",")[1]))))
    low, high = (extreme(values[[each.row for each in report.examples]]) for extreme in (np.min, np.max))
    np.testing.assert_array_equal(pixels, np.round((first - low) / (high - low) * 255).astype(np.uint8))


def test_pictures_of_other_channels_are_grey_and_large_ones_are_made_small():
    image = np.zeros((2, 3, 2))
    image[0, 0], image[1, 2] = (1.0, 3.0), (4.0, 4.0)
    expected = np.zeros((2, 3))
    expected[0, 0], expected[1, 2] = 128, 255
    np.testing.assert_array_equal(picture_bytes(image, 0.0, 4.0), expected)
    large = np.random.default_rng(0).random((400, 300, 1))
    for address in picture_row(large, large, (0.0, 1.0)):
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
        assert picture.size == (MOST_PIXELS * 3 // 4, MOST_PIXELS)
    assert np.asarray(picture).max() == 0  # no difference
