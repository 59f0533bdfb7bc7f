"""Plain functions as workbooks: the numbers are numpy's, gradients are formulas, and damage is found."""

import numpy as np
import openpyxl
import pytest
import torch
import torch.nn.functional as F
import xlsxwriter

from anfinsen.byhand import (
    Slice,
    change_cells,
    difference_after_change,
    evaluate_workbook,
    make_plan,
    step,
    trace_function,
    write_workbook,
)
from anfinsen.byhand.evaluate import compute_cells, place
from anfinsen.byhand.workbook import Sheets
from anfinsen.common.errors import OutputError

EXACT = 1e-9


def mlp(inputs, weights):
    """A two-layer network, its loss, all gradients, and one step down the slope."""
    with step("layer 1"):
        hidden = torch.relu(F.linear(inputs["x"], weights["w1"], weights["b1"]))
    with step("layer 2"):
        logits = F.linear(hidden, weights["w2"], weights["b2"])
    with step("loss"):
        loss = F.cross_entropy(logits, inputs["target"])
    gradients = torch.autograd.grad(loss, [weights[name] for name in ("w1", "b1", "w2", "b2")])
    with step("gradient descent"):
        moved = weights["w1"] - 0.1 * gradients[0]
    named = dict(zip(("g_w1", "g_b1", "g_w2", "g_b2"), gradients, strict=True))
    return {"loss": loss, "moved": moved, **named}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    generator = torch.Generator().manual_seed(1)
    inputs = {"x": torch.randint(-3, 4, (4, 3), generator=generator).double(), "target": torch.eye(4)[:, :2]}
    inputs["target"][2:, 0] = 1.0
    shapes = {"w1": (5, 3), "b1": (5,), "w2": (2, 5), "b2": (2,)}
    weights = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    trace = trace_function(mlp, inputs, weights, axes={"x": "b c", "target": "b c"}, title="MLP")
    plan = make_plan(trace)
    path = tmp_path_factory.mktemp("mlp") / "mlp.xlsx"
    return inputs, weights, plan, write_workbook(plan, path)


def values_of(plan, name, path):
    computed = compute_cells(path)
    cells = plan.selection.outputs[name]
    found = [plan.address(int(cell)) for cell in cells.reshape(-1)]
    return np.array([computed[sheet, place(at)[1], place(at)[0]] for sheet, at in found]).reshape(cells.shape)


def test_backpropagation_as_formulas_is_that_of_the_chain_rule(network):
    inputs, weights, plan, facts = network
    x, target = inputs["x"].numpy(), inputs["target"].numpy()
    w1, b1, w2, b2 = (weights[name].numpy() for name in ("w1", "b1", "w2", "b2"))
    before = x @ w1.T + b1
    hidden = np.maximum(before, 0)
    logits = hidden @ w2.T + b2
    powers = np.exp(logits - logits.max(1, keepdims=True))
    at_logits = (powers / powers.sum(1, keepdims=True) * target.sum(1, keepdims=True) - target) / len(x)
    at_hidden = (at_logits @ w2) * (before > 0)
    expected = {
        "g_w2": at_logits.T @ hidden,
        "g_b2": at_logits.sum(0),
        "g_w1": at_hidden.T @ x,
        "g_b1": at_hidden.sum(0),
        "moved": w1 - 0.1 * at_hidden.T @ x,
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(values_of(plan, name, facts.path), gradient, atol=1e-12, err_msg=name)


def test_formulas_agree_with_the_model_and_nearly_all_are_formulas(network):
    _, _, plan, facts = network
    agreement = evaluate_workbook(facts.path)
    assert agreement.errors == ()
    assert agreement.difference < EXACT
    assert agreement.shown < EXACT
    assert agreement.formulas == facts.formulas == plan.selection.formulas > 100
    assert agreement.formulas >= 0.95 * (agreement.formulas + agreement.numbers)


def test_stored_results_are_numbers_with_all_their_digits(network):
    _, _, plan, facts = network
    sheets = openpyxl.load_workbook(facts.path, data_only=True)
    formulas = [cell for cell in plan.cells("formula", "output") if plan.is_formula(cell)]
    assert len(formulas) == plan.selection.formulas
    for cell in formulas:
        sheet, at = plan.address(cell)
        stored = sheets[sheet][at]
        assert stored.data_type == "n" and stored.value == plan.value(cell)


def test_changing_inputs_and_weights_changes_the_results_as_in_the_model(network):
    _, _, plan, facts = network
    given = list(plan.cells("input", "weight"))
    changes = {given[1]: 2.5, given[-1]: -0.75, given[-8]: 1.25}
    assert difference_after_change(plan, facts.path, changes) < EXACT


@pytest.mark.parametrize("kind", ["weight", "formula"])
def test_one_damaged_cell_is_found(network, kind, tmp_path):
    _, _, plan, facts = network
    damaged = tmp_path / "damaged.xlsx"
    if kind == "weight":
        cell = next(plan.cells("weight"))
        change_cells(facts.path, {plan.address(cell): plan.value(cell) + 1e-3}, damaged)
    else:
        cell = [cell for cell in plan.cells("formula") if "SUMPRODUCT" in plan.formula(cell)][3]
        change_cells(facts.path, {plan.address(cell): plan.formula(cell).replace("+", "-")}, damaged)
    agreement = evaluate_workbook(damaged)
    assert agreement.difference > 1e-6
    assert agreement.shown == pytest.approx(agreement.difference)


def test_a_full_disk_is_one_sentence_and_a_failure_assembles_no_file(network, tmp_path, monkeypatch):
    plan = network[2]

    def full(book):
        raise xlsxwriter.exceptions.FileCreateError(OSError(28, "No space left on device"))

    monkeypatch.setattr(xlsxwriter.Workbook, "close", full)
    with pytest.raises(OutputError, match=r"one\.xlsx: .*No space left"):
        write_workbook(plan, tmp_path / "one.xlsx")

    def stopped(sheets, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sheets, "write", stopped)
    with pytest.raises(KeyboardInterrupt):  # and not what closing would say
        write_workbook(plan, tmp_path / "one.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_large_logits_are_no_error(tmp_path):
    def attention(inputs, _):
        return {"y": torch.softmax(inputs["x"], -1), "gate": torch.sigmoid(inputs["x"]), "swish": F.silu(inputs["x"])}

    x = torch.tensor([[1e4, -1e9, 999.0], [-800.0, -2000.0, -900.0]])
    plan = make_plan(trace_function(attention, {"x": x}, axes={"x": "n c"}))
    agreement = evaluate_workbook(write_workbook(plan, tmp_path / "large.xlsx").path)
    assert agreement.errors == ()
    assert agreement.difference < EXACT


def test_a_slice_shows_less_and_the_rest_as_constants(tmp_path):
    def attention(inputs, weights):
        q, k, v = (F.linear(inputs["x"], weights[name]) for name in "qkv")
        return {"out": torch.softmax(q @ k.T, -1) @ v}

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 4, generator=generator)
    weights = {name: torch.randn(3, 4, generator=generator) for name in "qkv"}
    trace = trace_function(attention, {"x": x}, weights, axes={"x": "n c"})
    plan = make_plan(trace, Slice(tokens=(1, 4), channels=(0,)))
    facts = write_workbook(plan, tmp_path / "slice.xlsx")
    assert facts.numbers["input"] == 2 * 4
    assert facts.numbers["constant"] == 5 * 3 + 5  # keys and values of the other five tokens, values of one channel
    assert facts.numbers["held"] == 0
    assert evaluate_workbook(facts.path).difference < EXACT
    # What is constant does not depend on the inputs that are shown.
    first = next(plan.cells("input"))
    assert difference_after_change(plan, facts.path, {first: 3.0}) < EXACT
