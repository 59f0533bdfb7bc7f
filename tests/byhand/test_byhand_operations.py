"""Every primitive operation alone: its formulas give what PyTorch gives, also after an input was changed."""

import pytest
import torch
import torch.nn.functional as F

from anfinsen.byhand import difference_after_change, evaluate_workbook, make_plan, trace_function, write_workbook
from anfinsen.byhand.operations import _HANDLERS
from anfinsen.common.errors import ConfigError

X = torch.tensor([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])
Y = torch.tensor([[1.0, 0.5, -2.0], [0.75, 3.0, 1.25]])
IMAGE = torch.linspace(-1, 1, 4 * 4 * 4).reshape(1, 4, 4, 4).sin()

FUNCTIONS = {
    "arithmetic": lambda x, y: torch.stack([x + y, x - 2 * y, 3 - x, x * y, x / y, -x, torch.add(x, y, alpha=0.5)]),
    "exponentials": lambda x, y: torch.stack([x.exp(), torch.expm1(x), (x * x + 1).log(), torch.log1p(x * x)]),
    "logarithms": lambda x, y: torch.stack([torch.log2(x * x + 1), torch.log10(x * x + 1)]),
    "roots": lambda x, y: torch.stack([x.abs().sqrt(), (x * x + 1).rsqrt(), y.reciprocal(), x**2, x**3, 2**x]),
    "angles": lambda x, y: torch.stack([x.sin(), y.cos(), torch.atan2(x, y), (x / 4).acos(), x.atan(), x.tanh()]),
    "activations": lambda x, y: torch.stack([F.silu(x), F.relu(x), F.elu(x), F.gelu(x), F.softplus(x), x.sigmoid()]),
    "gelu by tanh": lambda x, y: F.gelu(x, approximate="tanh") + F.leaky_relu(y, 0.1),
    "error function": lambda x, y: torch.erf(x),
    "choices": lambda x, y: torch.stack(
        [torch.where(x > y, x, y), x.clamp(-1, 1), x.clamp(min=0), torch.maximum(x, y)]
    ),
    "comparisons": lambda x, y: torch.stack([(x > y).double(), (x <= 0.25).double(), ((x > 0) & (y > 0)).double()]),
    "signs": lambda x, y: torch.stack([x.sign(), x.abs(), torch.minimum(x, y), x.floor()]),
    "masked": lambda x, y: x.masked_fill(torch.tensor([True, False, False]), -5.0) * 2 + x.masked_fill(y > 0, 1.0),
    "sums": lambda x, y: torch.cat([x.sum(0), x.mean(1), x.sum().view(1), y.amax(0), y.amin(-1), x.prod(1), x.var(0)]),
    "largest": lambda x, y: torch.cat([x.max(1).values, x.min(0).values, x.max().view(1)]),
    "running sum": lambda x, y: x.cumsum(1),
    "lengths": lambda x, y: torch.cat([x.norm(dim=1), torch.linalg.vector_norm(y, dim=0), y.norm(p=1, dim=1)]),
    "products": lambda x, y: torch.cat([x.matmul(y.T).flatten(), x[0].matmul(y.T), x[0].dot(y[1]).view(1), x.mv(y[0])]),
    "einsum": lambda x, y: torch.einsum("ic,jd->ijcd", x, y),
    "outer sum": lambda x, y: torch.einsum("sic,sjc->ij", x[None], y[None]),
    "normalised": lambda x, y: F.normalize(x, dim=-1),
    "softmax": lambda x, y: torch.softmax(x, 0) + torch.log_softmax(y, 1) + torch.logsumexp(x, 1, keepdim=True),
    "layer norm": lambda x, y: F.layer_norm(x, (3,), y[0], y[1]),
    "group norm": lambda x, y: F.group_norm(x.view(1, 6, 1), 2, x.flatten(), y.flatten()),
    "batch norm": lambda x, y: F.batch_norm(x, y[0].detach(), torch.ones(3).double(), x[0], x[1]),
    "distances": lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"),
    "moves": lambda x, y: torch.cat([x.flip(0), y.roll(1, 1), x[[1, 0]], F.pad(y, (0, 1))[:, 1:], x.tril()]) * 2,
    "picked": lambda x, y: torch.cat(
        [x.gather(1, torch.tensor([[0, 2], [1, 1]])), y.index_select(1, torch.tensor([2, 0])) * 2]
    ),
    "one row written": lambda x, y: x.clone().index_put_((torch.tensor([1]),), y[0] * 2),
    "in place": lambda x, y: x.clone().add_(y).mul_(2).sigmoid_(),
    "rows in place": lambda x, y: _rows_in_place(x, y) + 0,
    "attention": lambda x, y: F.scaled_dot_product_attention(x[None], y[None], y[None]),
    "causal attention": lambda x, y: F.scaled_dot_product_attention(x[None], y[None], y[None], is_causal=True),
    "masked with infinity": lambda x, y: torch.softmax(x.masked_fill(torch.eye(2, 3) > 0, -torch.inf), -1),
    "repeated": lambda x, y: x.repeat(2, 1) * y.expand(2, 2, 3).reshape(4, 3),
    "single precision on purpose": lambda x, y: x.float() / 3,
}


def _rows_in_place(x, y):
    out = torch.zeros_like(x)
    out[0] += x[0] * y[1]
    out[1].copy_(y[0])
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_formulas_give_what_the_operation_gives(name, tmp_path):
    function = FUNCTIONS[name]
    trace = trace_function(
        lambda i, w: {"z": function(i["x"], i["y"])}, {"x": X, "y": Y}, axes={"x": "n c", "y": "n c"}
    )
    plan = make_plan(trace)
    path = write_workbook(plan, tmp_path / "one.xlsx").path
    agreement = evaluate_workbook(path)
    assert agreement.errors == ()
    assert agreement.difference < 1e-12
    changed = {cell: plan.value(cell) + 0.125 for cell in list(plan.cells("input"))[1:5:2]}
    if plan.selection.formulas:
        assert difference_after_change(plan, path, changed) < 1e-12


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(4, 2, 3, padding=1),
        torch.nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, bias=False),
        torch.nn.Conv2d(4, 2, 2, stride=2),
        torch.nn.AvgPool2d(2),
        torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Sigmoid()),
    ],
)
def test_layers_of_images(layer, tmp_path):
    from anfinsen.byhand import trace_module

    plan = make_plan(trace_module(layer, (IMAGE,)))
    path = write_workbook(plan, tmp_path / "layer.xlsx").path
    agreement = evaluate_workbook(path)
    assert agreement.errors == ()
    assert agreement.difference < 1e-12


GRADIENTS = {
    "softmax": lambda x: torch.softmax(x, -1)[..., 0],
    "layer norm": lambda x: F.layer_norm(x, (3,)) ** 2,
    "activations": lambda x: F.silu(x) * torch.tanh(x) + F.gelu(x) + F.relu(x) + torch.sigmoid(x),
    "picked": lambda x: x[1:, 1] * x[0, 2] + x.amax(1),
    "distances": lambda x: (x[0] - x[1]).norm(),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_recorded_as_formulas(name, tmp_path):
    def function(inputs, _):
        return {"g": torch.autograd.grad(GRADIENTS[name](inputs["x"]).sum(), inputs["x"])[0]}

    plan = make_plan(trace_function(function, {"x": X}, axes={"x": "n c"}))
    path = write_workbook(plan, tmp_path / "gradient.xlsx").path
    agreement = evaluate_workbook(path)
    assert agreement.errors == ()
    assert agreement.difference < 1e-12
    assert any(shown.backward for _, shown, _ in plan.steps())
    assert difference_after_change(plan, path, {next(plan.cells("input")): 0.625}) < 1e-12


def test_what_has_no_formulas_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"linalg_inv_ex.*spreadsheet formulas"):
        trace_function(lambda i, w: {"z": torch.linalg.inv(i["x"])}, {"x": torch.eye(2)})


def test_every_operation_has_a_handler_that_is_reachable():
    assert all(callable(handler) for handler in _HANDLERS.values())
    packets = {name.partition(".")[0] for name in _HANDLERS}
    missing = [name for name in packets if not hasattr(torch.ops.aten, name)]
    assert missing == []
