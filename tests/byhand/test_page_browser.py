"""Pages in a real browser: pointing, stepping, changing inputs, exercises."""

import pytest
import torch
from browser import open_browser, resize, visit
from hand_attention import small_plan
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from anfinsen.byhand import (
    change_cells,
    compute_cells,
    make_exercise,
    make_plan,
    source_tensor,
    trace_function,
    write_page,
    write_workbook,
)
from anfinsen.byhand.evaluate import place

pytestmark = pytest.mark.slow

SOFTMAX, PRODUCT = 12, 13  # steps of the small attention


@pytest.fixture(scope="module")
def browser():
    driver = open_browser()
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def quiet(browser):
    """No test may leave an error in the browser's console."""
    resize(browser, 1280, 900)
    yield
    assert browser.get_log("browser") == []


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def page(plan, tmp_path_factory):
    return write_page(plan, tmp_path_factory.mktemp("page") / "attention.html")


def cell_at(browser, step, tile, row, column):
    """Return a cell of the matrices that a step gives, in view."""
    script = """const view = document.querySelectorAll(`#step-${arguments[0]} .gives .tile`)[arguments[1]].view;
        if (!view.window) view.draw();
        const td = view.cells[arguments[2]][arguments[3]];
        td.scrollIntoView({ block: "center" });
        return td;"""
    return browser.execute_script(script, step, tile, row, column)


def told(browser, term):
    """Return what the inspector says about the chosen cell."""
    found = {
        title.text: text.text
        for title, text in zip(
            browser.find_elements(By.CSS_SELECTOR, "#inspector dt"),
            browser.find_elements(By.CSS_SELECTOR, "#inspector dd"),
            strict=True,
        )
    }
    return found[term]


def text_of(browser, identifier):
    return browser.find_element(By.ID, identifier).text


def point(browser, cell):
    ActionChains(browser).move_to_element(cell).perform()


def tiles_of(plan, number):
    return next(tiles for count, _, tiles in plan.steps() if count == number)


def test_pointing_at_a_cell_shows_its_formula_and_lights_up_its_sources(browser, page, plan):
    visit(browser, page, PRODUCT)
    point(browser, cell_at(browser, PRODUCT, 1, 2, 0))
    cell = int(tiles_of(plan, PRODUCT)[1].cells[2, 0])
    assert told(browser, "Formula") == plan.formula(cell)
    assert float(told(browser, "Value").replace("−", "-")) == pytest.approx(plan.value(cell), abs=1e-12)
    maps, values = tiles_of(plan, SOFTMAX)[1], tiles_of(plan, 6)[1]
    pairs = [(plan.value(int(maps.cells[2, n])), plan.value(int(values.cells[n, 0]))) for n in range(3)]
    words = told(browser, "In numbers").replace("−", "-").replace("(", "").replace(")", "").removeprefix("= ")
    read = [tuple(float(factor) for factor in term.split("·")) for term in words.split(" + ")]
    assert read == [tuple(pytest.approx(factor, rel=1e-3) for factor in pair) for pair in pairs]
    lit = browser.execute_script(
        "return [...document.querySelectorAll('#step-13 .takes td.source')].map((td) => td.textContent)"
    )
    expected = [f"{value:.3f}".replace("-", "−") for column in zip(*pairs, strict=True) for value in column]
    assert sorted(lit) == sorted(expected)


def test_a_kept_cell_stays_until_it_is_let_go(browser, page):
    visit(browser, page, SOFTMAX)
    first = cell_at(browser, SOFTMAX, 0, 0, 0)
    first.click()
    kept = told(browser, "Value")
    point(browser, cell_at(browser, SOFTMAX, 0, 2, 2))
    assert told(browser, "Value") == kept
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    point(browser, cell_at(browser, SOFTMAX, 0, 1, 1))
    assert told(browser, "Value") != kept


def test_the_keyboard_reaches_every_cell(browser, page, plan):
    visit(browser, page, SOFTMAX)
    first = cell_at(browser, SOFTMAX, 0, 0, 0)
    assert first.get_property("tabIndex") == 0
    browser.execute_script("arguments[0].focus()", first)
    ActionChains(browser).send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER).perform()
    cell = int(tiles_of(plan, SOFTMAX)[0].cells[1, 2])
    assert float(told(browser, "Value")) == pytest.approx(plan.value(cell), abs=1e-12)
    assert "kept" in text_of(browser, "inspector")


def test_steps_are_revealed_one_by_one(browser, page, plan):
    visit(browser, page)
    shown = "return [...document.querySelectorAll('.step')].filter((card) => !card.hidden).length"
    assert browser.execute_script(shown) == 2  # what is given, and the first step
    browser.find_element(By.ID, "forward").click()
    browser.find_element(By.ID, "forward").click()
    assert browser.execute_script(shown) == 4
    card = browser.find_element(By.ID, "step-3")
    assert "(x − [1]) · [2]" in card.text
    assert "[1] layer norm" in card.find_element(By.CLASS_NAME, "takes").text
    browser.find_element(By.ID, "back").click()
    assert browser.execute_script(shown) == 3
    browser.find_element(By.ID, "all").click()
    last = sum(1 for _ in plan.steps())
    assert text_of(browser, "where") == f"Step {last} of {last}"
    assert not browser.find_element(By.ID, "forward").is_enabled()


def test_a_changed_input_is_followed_as_in_model_and_workbook(browser, page, plan, tmp_path):
    visit(browser, page, 0)
    browser.execute_script("document.querySelector('#step-0 details').open = true")
    last = sum(1 for _ in plan.steps())
    given = next(tile for tile in plan.tiles if tile.step.name == "x")
    assert plan.tiles.index(given) == 0
    cell_at(browser, 0, 0, 1, 2).click()
    box = browser.find_element(By.ID, "change")
    box.clear()
    box.send_keys("1.625", Keys.ENTER)
    browser.find_element(By.ID, "all").click()
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    changed = int(given.cells[1, 2])
    name, index = plan.origin(changed)
    expected = plan.trace.run({name: source_tensor(plan.trace.inputs[name], {index: 1.625})}, {})["out"]
    wanted = dict(zip(plan.selection.outputs["out"].reshape(-1).tolist(), expected.reshape(-1).tolist(), strict=True))
    workbook = write_workbook(plan, tmp_path / "attention.xlsx").path
    change_cells(workbook, {plan.address(changed): 1.625}, tmp_path / "changed.xlsx")
    computed = compute_cells(tmp_path / "changed.xlsx")
    for number, tile in enumerate(tiles_of(plan, last)):
        for row, column in ((0, 0), (1, 1), (2, 0)):
            point(browser, cell_at(browser, last, number, row, column))
            value = float(told(browser, "Value").replace("−", "-"))
            cell = int(tile.cells[row, column])
            assert abs(value - wanted[cell]) < 1e-9
            sheet, address = plan.address(cell)
            at, line = place(address)
            assert abs(value - computed[sheet, line, at]) < 1e-9
            assert abs(value - plan.value(cell)) > 1e-6
    browser.find_element(By.ID, "reset").click()
    assert "off the model" in text_of(browser, "agreement")


def test_an_answer_is_judged_and_hints_and_solutions_are_shown(browser, plan, tmp_path):
    exercise = make_exercise(plan, "12.1")
    visit(browser, write_page(plan, tmp_path / "exercise.html", exercise), PRODUCT)
    tile = tiles_of(plan, SOFTMAX)[0]
    assert text_of(browser, "score") == "Right: 0 of 9"
    point(browser, cell_at(browser, PRODUCT, 0, 0, 0))
    assert told(browser, "In numbers").count("?") == 3, "what follows must not give the solution away"
    box = cell_at(browser, SOFTMAX, 0, 0, 0)
    entry = box.find_element(By.TAG_NAME, "input")
    entry.click()
    assert "yours to compute" in text_of(browser, "inspector") and "Value" not in text_of(browser, "inspector")
    entry.send_keys("7")
    assert "wrong" in box.get_attribute("class") and "✗" in box.text
    entry.clear()
    entry.send_keys(f"{plan.value(int(tile.cells[0, 0])):.4f}")
    assert "right" in box.get_attribute("class") and "✓" in box.text
    assert text_of(browser, "score") == "Right: 1 of 9"
    hint, solution = browser.find_elements(By.CSS_SELECTOR, "#step-12 .gives .tools button")
    assert "[10] / [11]" not in browser.find_element(By.ID, "step-12").text
    hint.click()
    assert "[10] / [11]" in browser.find_element(By.CSS_SELECTOR, "#step-12 .gives .hint").text
    hint.click()
    first = exercise.plan.formula(int(tile.cells[0, 0])).replace("Solution!", "")
    assert first in browser.find_element(By.CSS_SELECTOR, "#step-12 .gives .hint").text
    solution.click()
    assert cell_at(browser, SOFTMAX, 0, 2, 2).text == f"{plan.value(int(tile.cells[2, 2])):.3f}"
    assert text_of(browser, "score") == "Right: 0 of 9", "what was looked up is no answer"


def test_a_large_matrix_scrolls_inside_of_itself(browser, tmp_path):
    generator = torch.Generator().manual_seed(2)
    square = torch.randn(70, 70, generator=generator, dtype=torch.float64)
    large = make_plan(trace_function(lambda x, _: {"y": torch.exp(x["x"] - 1)}, {"x": square}, axes={"x": "n n"}))
    visit(browser, write_page(large, tmp_path / "large.html"))
    drawn = "return document.querySelectorAll('#step-1 .gives td').length"
    assert browser.execute_script(drawn) < 4000
    first = cell_at(browser, 1, 0, 0, 0)
    browser.execute_script("arguments[0].focus()", first)
    script = "document.querySelector('#step-1 .gives .tile').view.focus(69, 69); return document.activeElement"
    last = browser.execute_script(script)
    point(browser, last)
    tile = tiles_of(large, 1)[0]
    assert float(told(browser, "Value").replace("−", "-")) == pytest.approx(large.value(int(tile.cells[69, 69])))
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(browser, page, plan, width):
    resize(browser, width, 844)
    visit(browser, page, sum(1 for _ in plan.steps()))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
