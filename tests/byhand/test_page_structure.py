"""Pages without a browser: what they carry is the workbook's, and nothing points outside."""

import base64
import gzip
import json
import re
from importlib import resources

import pytest
from hand_attention import small_plan

from anfinsen.byhand import evaluate, make_exercise, page_html, read_cells, step_title, write_page, write_workbook
from anfinsen.byhand.evaluate import place
from anfinsen.byhand.exercise import SOLUTION
from anfinsen.common.errors import OutputError


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def text(plan):
    return page_html(plan)


def data_of(text):
    packed = re.search(r'<script type="application/octet-stream" id="data">([^<]*)</script>', text).group(1)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def cells_of(data):
    """Yield (sheet, row from 1, column from 1, letter, value, formula) of every cell that the page carries."""
    for tile in data["tiles"]:
        for n, kind in enumerate(tile["kinds"]):
            row, column = divmod(n, tile["columns"])
            formula = tile["formulas"][n] if "formulas" in tile else ""
            if kind != ".":
                at = tile["sheet"], tile["row"] + row + 1, tile["column"] + column + 1
                yield *at, kind, tile["values"][n], formula


def test_the_page_carries_the_workbooks_cells_at_the_workbooks_addresses(plan, text, tmp_path):
    cells = read_cells(write_workbook(plan, tmp_path / "same.xlsx").path)
    found = list(cells_of(data_of(text)))
    assert len(found) == len({each[:3] for each in found})
    for sheet, row, column, kind, value, formula in found:
        content = cells[sheet, row, column]
        assert content == (formula or value), (sheet, row, column)
        assert bool(formula) == (kind in "fo")
    counted = [key for key, content in cells.items() if key[0] == "Steps" and str(content).startswith("=")]
    of_differences = sum(str(cells[key]).startswith("=SUMPRODUCT(MAX(ABS(") for key in counted)
    assert sum(1 for each in found if each[5]) == len(counted) - of_differences == plan.selection.formulas


def test_every_step_has_its_title_equation_and_tiles(plan, text):
    data = data_of(text)
    assert [step["number"] for step in data["steps"]] == list(range(len(data["steps"])))
    for (number, step, tiles), shown in zip(plan.steps(), data["steps"][1:], strict=True):
        assert shown["name"] in step_title(plan, step, number) and shown["equation"] in step_title(plan, step, number)
        assert [data["tiles"][n]["subtitle"] for n in shown["tiles"]] == [tile.subtitle for tile in tiles]
    listed = sorted(n for step in data["steps"] for n in step["tiles"])
    assert listed == list(range(len(data["tiles"])))


def test_only_attention_maps_have_a_colour_scale(plan, text):
    data = data_of(text)
    maps = {step["name"] for step in data["steps"] if any(data["tiles"][n]["map"] for n in step["tiles"])}
    assert maps == {"softmax: exponential / sum"}


def test_the_page_needs_no_network_and_shows_titles_as_text(text):
    assert "Gated attention &lt;&amp;&gt; two heads" in text
    assert "<&>" not in text.split("<body>")[1].split("<script")[0]
    without_data = re.sub(r'id="data">[^<]*<', "", text)
    assert not re.findall(r"https?:|//[a-z]|@import|url\(", without_data)
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "#flow"]
    assert "@@" not in text
    assert page_html(small_plan()) == text, "equal plans give equal pages"


def test_the_page_knows_every_function_of_the_workbooks_formulas():
    script = resources.files("anfinsen.byhand").joinpath("assets", "formulas.js").read_text(encoding="utf-8")
    known = set(re.findall(r"^  ([A-Z][A-Z0-9]*): \[", script, re.M))
    only_in_verdicts = {"ISNUMBER", "N", "COUNTIF"}
    assert known == set(evaluate.FUNCTIONS) - only_in_verdicts


def test_blank_tiles_stand_apart_and_hide_behind_no_address_of_steps(plan):
    exercise = make_exercise(plan, "12.1")
    data = data_of(page_html(plan, exercise))
    assert data["tolerance"] == exercise.tolerance
    blank = [tile for tile in data["tiles"] if tile.get("blank")]
    assert [tile["sheet"] for tile in blank] == [SOLUTION] and len(blank[0]["values"]) == 9
    following = [formula for *_, formula in cells_of(data) if SOLUTION in formula]
    assert len(following) == 6, "each of the products of head 0 takes a row of the blank map"
    at = {(sheet, row, column): value for sheet, row, column, _, value, _ in cells_of(data)}
    for formula in following:
        first = re.search(rf"{SOLUTION}!([A-Z]+\d+)", formula).group(1)
        column, row = place(first)
        assert (SOLUTION, row, column) in at and ("Steps", row, column) not in at


def test_a_page_that_cannot_be_written_says_so(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        write_page(plan, tmp_path / "file" / "page.html")
