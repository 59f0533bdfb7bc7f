"""The report: self-contained, complete, and safe whatever a job is called."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_prediction import made_prediction, small_job

from anfinsen.common.errors import MissingExtraError
from anfinsen.jobs import Job, Polymer
from anfinsen.reports import model_cif, report_html
from anfinsen.reports.report_data import sample_label

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)> & 'quotes' @@DATA@@ ok"


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.loads, self.text, self.blocks = [], set(), [], [], {}
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.ids.add(named.get("id"))
        self.loads += [
            value for key, value in attributes if key in {"src", "href", "srcset", "action", "data"} and value
        ]
        assert not [key for key in named if key.startswith("on")], "no inline handlers"
        self._open = named.get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._open:
            self.blocks[self._open] = self.blocks.get(self._open, "") + data
        self.text.append(data)


def _page(prediction) -> tuple[str, Page]:
    models = {sample_label(ranked): model_cif(prediction, ranked) for ranked in prediction.ranking}
    text = report_html(prediction, models)
    return text, Page(text)


@pytest.fixture(scope="module")
def page() -> tuple[str, Page]:
    return _page(made_prediction(small_job(EVIL)))


def _unpacked(page: Page, name: str) -> str:
    return gzip.decompress(base64.b64decode(page.blocks[name])).decode()


def test_nothing_is_loaded_from_elsewhere(page):
    text, parsed = page
    assert all(load.startswith(("#", "data:")) for load in parsed.loads), parsed.loads
    visible = re.sub(r'<script type="application/octet-stream".*?</script>', "", text, flags=re.DOTALL)
    assert "http://" not in visible
    assert "https://" not in visible
    assert "@import" not in visible
    assert "url(" not in visible.replace("createObjectURL(", "").replace("revokeObjectURL(", "")


def test_all_sections_are_there(page):
    _, parsed = page
    for name in (
        "ranking",
        "structure",
        "plddt",
        "pae",
        "chains",
        "interfaces",
        "settings",
        "notes",
        "viewer",
        "colour",
    ):
        assert name in parsed.ids, name
    text = " ".join(parsed.text)
    for part in ("seed 1, sample 0", "seed 7, sample 1", "A – B", "ab" * 32, "Chain A was inferred.", "0.1.0", "dna"):
        assert part in text, part


def test_the_users_text_is_only_text(page):
    _, parsed = page
    assert parsed.tags.count("script") == 5
    assert "img" not in parsed.tags
    assert any(EVIL in part for part in parsed.text)


def test_libraries_are_inside_once_and_whole(page):
    _, parsed = page
    assert "Plotly" in _unpacked(parsed, "data-plotly")
    assert "var molstar" in _unpacked(parsed, "data-viewer")
    assert ".msp-" in _unpacked(parsed, "data-viewer-style")


def test_the_numbers_reach_the_page(page):
    _, parsed = page
    prediction = made_prediction(small_job(EVIL))
    data = json.loads(_unpacked(parsed, "data-report"))
    assert [sample["file"].rpartition("_seed-")[2] for sample in data["samples"]] == [
        f"{ranked.seed}_sample-{ranked.sample}" for ranked in prediction.ranking
    ]
    for ranked, sample in zip(prediction.ranking, data["samples"], strict=True):
        confidence = prediction.confidence(ranked)
        size = data["pae"]["size"]
        pixels = np.frombuffer(base64.b64decode(sample["pae"]), np.uint8).reshape(size, size)
        np.testing.assert_allclose(pixels / data["pae"]["scale"], confidence.pae, atol=0.0626)
        for residue, value in enumerate(sample["plddt"]):
            mine = prediction.structure.atoms.residue == residue
            assert value == pytest.approx(confidence.atom_plddt[mine].mean(), abs=0.051)
        assert sample["model"].startswith("data_")
    assert data["tokenSpans"][-1]["end"] == len(prediction.tokens) == len(data["tokens"])
    assert data["residueSpans"][-1]["end"] == len(data["residues"])


def test_large_maps_are_averaged(monkeypatch):
    monkeypatch.setattr("anfinsen.reports.report_data.MAX_PAE_PIXELS", 20)
    prediction = made_prediction()
    data = json.loads(_unpacked(_page(prediction)[1], "data-report"))
    step, size = data["pae"]["step"], data["pae"]["size"]
    assert size <= 20 < len(prediction.tokens) <= size * step
    pixels = np.frombuffer(base64.b64decode(data["samples"][0]["pae"]), np.uint8).reshape(size, size)
    pae = prediction.confidence(prediction.ranking[0]).pae
    assert pixels[1, 2] / 8 == pytest.approx(pae[step : 2 * step, 2 * step : 3 * step].mean(), abs=0.0626)
    assert pixels[-1, -1] / 8 == pytest.approx(pae[(size - 1) * step :, (size - 1) * step :].mean(), abs=0.0626)


def test_a_missing_library_is_named(monkeypatch):
    def missing(package: str):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("anfinsen.reports.page.resources.files", missing)
    from anfinsen.reports.page import packed_library

    with pytest.raises(MissingExtraError, match=r"anfinsen\[report\]"):
        packed_library.__wrapped__("molstar_cli", "static/molstar/molstar.js")


def test_alignment_depths():
    """Rows that cover each position, counted by hand; copies share a plot, and a lone sequence has none."""
    first, second = "GSWKYEAFLR", "ACDEFGHIKL"
    msa = (
        f">q\n{first}\n"
        ">same but gaps\n--WKYEAF--\n"  # 6 of 6 residues
        ">half\nGSWKYdddCCCCC\n"  # 5 of 10; insertions are no positions
        ">less than half\nGSWKDDDDD-\n"  # 4 of 9
    )
    entities = (
        Polymer(kind="protein", ids=("A", "B"), sequence=first, unpaired_msa=msa),
        Polymer(kind="protein", ids=("C",), sequence=second, unpaired_msa=f">q\n{second}\n"),
        Polymer(kind="dna", ids=("D",), sequence="ACGT"),
    )
    _, parsed = _page(made_prediction(Job(name="deep", seeds=(1,), entities=entities)))
    data = json.loads(_unpacked(parsed, "data-report"))
    assert data["depths"] == [
        {"chain": "A", "covering": [3, 3, 4, 4, 4, 4, 4, 4, 3, 2], "similar": [2, 2, 3, 3, 3, 3, 3, 3, 2, 2]}
    ]
    assert {"depth-plot-0"} <= parsed.ids
    assert "depth-plot-1" not in parsed.ids
    # Of the four rows none is 80 % like another but the first two.
    assert "Chains A, B: 4 sequences, N_eff 3.0" in "".join(parsed.text)


def test_only_some_depths_are_shown(monkeypatch):
    monkeypatch.setattr("anfinsen.reports.depth.MAX_PLOTS", 1)
    text = ">q\nGSW\n>h\nGSW\n"
    entities = tuple(Polymer(kind="protein", ids=(name,), sequence="GSW", unpaired_msa=text) for name in "AB")
    _, parsed = _page(made_prediction(Job(name="two", seeds=(1,), entities=entities)))
    assert len(json.loads(_unpacked(parsed, "data-report"))["depths"]) == 1
    assert "The first 1 of 2 alignments" in "".join(parsed.text)
