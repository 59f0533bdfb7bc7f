"""Convolutions both ways and their gradients as formulas."""

import pytest
import torch
import torch.nn.functional as F

from anfinsen.byhand import difference_after_change, evaluate_workbook, make_plan, trace_function, write_workbook
from anfinsen.common.errors import ConfigError

EXACT = 1e-9
CASES = {
    "plain": (F.conv2d, (1, 2, 4, 3), (3, 2, 3, 3), {}),
    "stride, padding": (F.conv2d, (1, 2, 5, 4), (1, 2, 3, 3), {"stride": 2, "padding": 1}),
    "groups, two samples": (F.conv2d, (2, 2, 3, 3), (4, 1, 2, 2), {"groups": 2}),
    "dilation": (F.conv2d, (1, 1, 5, 5), (1, 1, 2, 3), {"dilation": 2, "padding": (1, 2)}),
    "signal": (F.conv1d, (1, 2, 6), (2, 2, 3), {"stride": 2}),
    "transposed": (F.conv_transpose2d, (1, 2, 2, 3), (2, 1, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "transposed, groups": (F.conv_transpose2d, (1, 2, 2, 2), (2, 2, 2, 2), {"groups": 2}),
    "transposed, dilation": (F.conv_transpose2d, (2, 1, 2, 2), (1, 2, 2, 2), {"dilation": 2}),
}


def numbers(*shape):
    return (
        torch.linspace(-2, 3, max(2, torch.Size(shape).numel())).mul(7).sin()[: torch.Size(shape).numel()].view(shape)
    )


@pytest.mark.parametrize("name", CASES)
def test_convolutions_and_their_gradients_agree(name, tmp_path):
    operation, x, filters, settings = CASES[name]
    transposed = "transposed" in name
    channels = filters[1] * settings.get("groups", 1) if transposed else filters[0]

    def function(inputs, weights):
        y = operation(inputs["x"], weights["filters"], weights["offset"], **settings)
        loss = y.square().sum()
        sources = [inputs["x"], weights["filters"], weights["offset"]]
        return dict(zip(("y", "x", "filters", "offset"), (y, *torch.autograd.grad(loss, sources)), strict=True))

    weights = {"filters": numbers(*filters), "offset": numbers(channels)}
    plan = make_plan(trace_function(function, {"x": numbers(*x)}, weights))
    facts = write_workbook(plan, tmp_path / "convolution.xlsx")
    found = evaluate_workbook(facts.path)
    assert found.errors == ()
    assert found.difference < EXACT
    cells = [*plan.cells("input"), *plan.cells("weight")]
    changed = {cell: plan.value(cell) + 1 for cell in (cells[0], cells[len(cells) // 2], cells[-1])}
    assert difference_after_change(plan, facts.path, changed) < EXACT


def test_padding_beyond_the_filter_is_refused():
    def function(inputs, weights):
        y = F.conv2d(inputs["x"], weights["filters"], padding=2)
        return {"x": torch.autograd.grad(y.sum(), [inputs["x"]])[0]}

    with pytest.raises(ConfigError, match="padded by more than its filter"):
        trace_function(function, {"x": numbers(1, 1, 2, 2)}, {"filters": numbers(1, 1, 2, 2)})
