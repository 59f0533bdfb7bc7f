"""Exercises: blank tiles are judged, hints and score work, and what follows is right whatever is entered."""

import numpy as np
import openpyxl
import pytest
import torch
from hand_attention import small_plan

from anfinsen.byhand import (
    Evaluator,
    Slice,
    change_cells,
    compare,
    compute_cells,
    evaluate_workbook,
    libreoffice_cells,
    make_exercise,
    make_plan,
    read_cells,
    recalculate,
    source_tensor,
    trace_function,
    write_exercise,
)
from anfinsen.byhand import plan as plan_module
from anfinsen.byhand.evaluate import place
from anfinsen.byhand.exercise import MIDDLE_CELLS, SCORE, SOLUTION, TOLERANCE_CELL
from anfinsen.byhand.formulas import address
from anfinsen.byhand.workbook import OVERVIEW
from anfinsen.common.errors import ConfigError, MemoryLimitError

EXACT = 1e-9
WORDS = {"right", "wrong", "…"}


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def exercise(plan):
    return make_exercise(plan, "12.1,16-17")


@pytest.fixture(scope="module")
def workbook(exercise, tmp_path_factory):
    return write_exercise(exercise, tmp_path_factory.mktemp("exercise") / "exercise.xlsx").path


@pytest.fixture(scope="module")
def cells(workbook):
    return read_cells(workbook)


def blank_tile(exercise, step, number=0):
    tiles = [
        n for n in sorted(exercise.blanks) if exercise.plan.tiles[n].step.number == step_number(exercise.plan, step)
    ]
    return exercise.plan.tiles[tiles[number]]


def step_number(plan, number):
    return next(step.number for count, step, _ in plan.steps() if count == number)


def entry(tile, row, column):
    return "Steps", address(tile.row + row, tile.column + column)


def read(computed, sheet, where):
    column, row = place(where)
    return computed[sheet, row, column]


def verdict(computed, tile, row, column):
    return read(computed, "Steps", address(tile.row + row, tile.column + tile.cells.shape[1] + 1 + column))


def with_answers(plan, tile, path, target):
    """Answer one cell right, one a little off, one wrongly, one in words; leave the others blank."""
    values = plan.value(int(tile.cells[0, 0])), plan.value(int(tile.cells[0, 1])), plan.value(int(tile.cells[1, 0]))
    answers = {(0, 0): values[0], (0, 1): values[1] * 1.009, (1, 0): values[2] * 1.02 + 0.01, (1, 1): "no idea"}
    change_cells(path, {entry(tile, *at): answer for at, answer in answers.items()}, target)


@pytest.mark.parametrize(
    "compute",
    [
        pytest.param(compute_cells, id="python"),
        pytest.param(libreoffice_cells, id="libreoffice", marks=pytest.mark.slow),
    ],
)
def test_blank_right_and_wrong_answers_are_told_apart(exercise, workbook, tmp_path, compute):
    tile = blank_tile(exercise, 12)
    computed = compute(workbook)
    assert {verdict(computed, tile, row, column) for row in range(3) for column in range(3)} == {"…"}
    assert read(computed, OVERVIEW, SCORE) == 0
    with_answers(exercise.plan, tile, workbook, tmp_path / "answered.xlsx")
    computed = compute(tmp_path / "answered.xlsx")
    found = [[verdict(computed, tile, row, column) for column in range(3)] for row in range(3)]
    assert found == [["right", "right", "…"], ["wrong", "…", "…"], ["…", "…", "…"]]
    assert read(computed, OVERVIEW, SCORE) == 2
    strict = {(OVERVIEW, TOLERANCE_CELL): 0.001}
    change_cells(tmp_path / "answered.xlsx", strict, tmp_path / "strict.xlsx")
    assert verdict(compute(tmp_path / "strict.xlsx"), tile, 0, 1) == "wrong"


@pytest.mark.parametrize(
    "agree",
    [pytest.param(evaluate_workbook, id="python"), pytest.param(recalculate, id="libreoffice", marks=pytest.mark.slow)],
)
def test_what_follows_agrees_with_the_model_whatever_is_entered(exercise, workbook, tmp_path, agree):
    with_answers(exercise.plan, blank_tile(exercise, 12), workbook, tmp_path / "answered.xlsx")
    for path in (workbook, tmp_path / "answered.xlsx"):
        agreement = agree(path)
        assert agreement.difference <= EXACT and agreement.shown <= EXACT and agreement.errors == ()
        assert agreement.formulas == exercise.plan.selection.formulas


def test_answers_are_judged_rightly_after_an_input_was_changed(exercise, cells):
    plan, tile = exercise.plan, blank_tile(exercise, 12)
    changed = next(iter(plan.cells("input")))
    name, index = plan.origin(changed)
    new = plan.value(changed) + 1.0
    model = plan.trace.run({name: source_tensor(plan.trace.inputs[name], {index: new})}, {})["out"]
    column, row = place(plan.address(changed)[1])
    other = {**cells, ("Inputs", row, column): new}
    computed = Evaluator(other).all()
    for cell, value in zip(plan.selection.outputs["out"].reshape(-1).tolist(), model.reshape(-1).tolist(), strict=True):
        sheet, where = plan.address(cell)
        assert sheet == SOLUTION and abs(read(computed, sheet, where) - value) <= EXACT
    old, now = plan.value(int(tile.cells[0, 0])), read(computed, *plan.address(int(tile.cells[0, 0])))
    assert abs(old - now) > 0.02 * abs(now)
    for answer, word in ((old, "wrong"), (now, "right")):
        answered = {**other, ("Steps", tile.row + 1, tile.column + 1): answer}
        assert verdict(Evaluator(answered).all(), tile, 0, 0) == word


def test_a_wrong_solution_is_caught(exercise, cells):
    tile = blank_tile(exercise, 12)
    wrong = f"{exercise.formula(int(tile.cells[0, 0]))}*1.001"
    bad = {**cells, (SOLUTION, tile.row + 1, tile.column + 1): wrong}
    agreement = compare(bad, Evaluator(bad).all())
    assert agreement.difference > 1e-5 and agreement.shown > 1e-5


def test_hints_are_shown_when_asked_for(exercise, cells):
    tile = blank_tile(exercise, 12)
    row, column = tile.row + 3, tile.column
    shown = []
    for wish in (0.0, 1.0, 2.0):
        computed = Evaluator({**cells, ("Steps", row + 1, column + 1): wish})
        shown.append(computed.value(("Steps", row + 1, column + 2)))
    assert "hint" in shown[0] and "[10] / [11]" in shown[1]
    assert shown[2] == f"{address(tile.row, tile.column)} {exercise.plan.formula(int(tile.cells[0, 0]))}"


def test_the_equation_of_a_blank_step_is_not_given_away(exercise, cells):
    texts = [str(content) for (sheet, _, _), content in cells.items() if sheet in ("Overview", "Steps")]
    assert sum("softmax: exponential / sum" in text for text in texts) == 2  # in the overview, and above the step
    assert not any("[10] / [11]" in text for text in texts)
    assert sum("Σ ([10])" in text for text in texts) == 2


def test_solutions_are_hidden_and_blank_cells_are_blank(exercise, workbook):
    book = openpyxl.load_workbook(workbook)
    assert {sheet.title for sheet in book.worksheets if sheet.sheet_state == "hidden"} == {SOLUTION, "Model"}
    asked = 0
    for number in exercise.blanks:
        tile = exercise.plan.tiles[number]
        for row, column in np.ndindex(*tile.cells.shape):
            where = address(tile.row + row, tile.column + column)
            assert book["Steps"][where].value is None and str(book[SOLUTION][where].value).startswith("="), where
            asked += 1
    assert asked == 9 + 12 + 12
    rules = [rule.formula[0] for each in book["Steps"].conditional_formatting for rule in each.rules if rule.formula]
    for word in ("right", "wrong"):  # for the answers and for the verdicts
        assert sum(f'"{word}"' in rule for rule in rules) == 2 * len(exercise.blanks)


def test_no_verdict_hint_or_tile_stands_on_another(exercise):
    taken = set()
    for number, tile in enumerate(exercise.plan.tiles):
        if tile.sheet != "Steps":
            continue
        rows, columns = tile.cells.shape
        areas = [(tile.row - 1, tile.column - 1, rows + 1, columns + 1), (tile.row - 2, tile.column - 1, 1, 2)]
        if number in exercise.blanks:
            verdicts = tile.column + columns + 1
            areas += [(tile.row, verdicts, rows, columns), (tile.row - 2, verdicts, 1, 1)]
            areas += [(tile.row + rows, tile.column - 1, 1, 3)]
        for top, left, height, width in areas:
            cells = {(row, column) for row in range(top, top + height) for column in range(left, left + width)}
            assert not cells & taken, tile.subtitle
            taken |= cells


def test_the_middle_is_chosen_where_nothing_is_named(plan):
    exercise = make_exercise(plan)
    chosen = [exercise.plan.tiles[number] for number in sorted(exercise.blanks)]
    numbers = {step.number: number for number, step, _ in plan.steps()}
    last = max(numbers.values())
    assert len(chosen) == 3 and len({tile.step.name for tile in chosen}) == 3
    assert all(2 <= tile.cells.size <= MIDDLE_CELLS for tile in chosen)
    assert all(abs(numbers[tile.step.number] - last / 2) <= 2.5 for tile in chosen)


@pytest.mark.parametrize("text", ["", "0", "18", "3-2", "12.3", "12.0", "7,x", "1-99", "softmax"])
def test_tiles_that_do_not_exist_are_refused(plan, text):
    with pytest.raises(ConfigError, match="Exercise"):
        make_exercise(plan, text)


def test_steps_without_formulas_cannot_be_asked_for():
    trace = trace_function(
        lambda i, w: {"y": i["x"][:1] + (i["x"][1:] * 3).sum(0)}, {"x": torch.ones(3, 2)}, axes={"x": "n c"}
    )
    outside = make_plan(trace, Slice(tokens=(0,)))
    assert [step.name for _, step, _ in outside.steps()] == ["sum", "sum"]
    for text in ("1", "1.1", "1,2"):
        with pytest.raises(ConfigError, match=r"names '1.*' *, which has no formulas in this slice"):
            make_exercise(outside, text)
    assert len(make_exercise(outside, "1-2").blanks) == len(make_exercise(outside, "2.1").blanks) == 1


def test_verdicts_do_not_leave_the_sheet():
    wide = make_plan(trace_function(lambda i, w: {"y": i["x"] * 2}, {"x": torch.ones(1, 9000)}))
    with pytest.raises(MemoryLimitError, match="more columns than the 16,000"):
        make_exercise(wide, "1")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, float("nan")])
def test_tolerances_that_judge_nothing_are_refused(plan, tolerance):
    with pytest.raises(ConfigError, match="tolerance"):
        make_exercise(plan, "12", tolerance)


def test_more_verdicts_than_a_workbook_may_have_are_refused(plan, monkeypatch):
    monkeypatch.setattr("anfinsen.byhand.exercise.MAX_FORMULAS", plan.selection.formulas + 20)
    make_exercise(plan, "12")
    with pytest.raises(MemoryLimitError, match="21 cells blank"):
        make_exercise(plan, "12,1")
    assert plan_module.MAX_FORMULAS == 50_000
