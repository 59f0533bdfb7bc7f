"""Arguments, types and masks of operations are followed or refused in one sentence, never silently dropped."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anfinsen.byhand import (
    difference_after_change,
    evaluate_workbook,
    make_plan,
    trace_function,
    trace_module,
    write_workbook,
)
from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.models.alphafold2.embedders import RecyclingEmbedder

X = torch.tensor([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]]).double()
Y = torch.tensor([[1.0, 0.5, -2.0], [0.75, 3.0, 1.25]]).double()
INF = torch.inf
MASK = torch.tensor([[True, False, True], [True, True, False]])


def _buffer(x, dtype, fill):
    made = torch.zeros(x.shape, dtype=dtype)
    made[0] = fill(x[0])
    return torch.where(made, x, -x) if dtype == torch.bool else made + x


def _inference(function):
    with torch.inference_mode():
        return function()


FUNCTIONS = {
    # Arguments
    "rsub with alpha": lambda x, y: torch.rsub(x, y, alpha=2),
    "selu": lambda x, y: F.selu(x) + F.celu(y, 2.0) + F.elu(x, 0.5),
    "softplus": lambda x, y: F.softplus(x, beta=2) + F.softplus(30 * y, beta=0.5, threshold=3),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=2) + torch.addcdiv(x, x, y, value=3),
    "pooling": lambda x, y: F.avg_pool2d(x[None, None], (1, 2), divisor_override=3),
    "largest of windows": lambda x, y: F.max_pool2d(x[None, None], 2, padding=1) * 2 + F.max_pool1d(y[None], 2).sum(),
    # Types
    "whole numbers": lambda x, y: torch.cat([(x * 3).long().double() * 2, (y * 3).int() + x]),
    "truths": lambda x, y: torch.cat([(~(x * 3).bool()).double(), torch.relu(y).bool().double()]),
    "logic of numbers": lambda x, y: torch.stack(
        [f(torch.relu(x), y).double() for f in (torch.logical_and, torch.logical_or, torch.logical_xor)]
        + [torch.logical_not(torch.relu(x)).double()]
    ),
    "logic of truths": lambda x, y: ((x > -5) + (y > -5)).double() + ((x > 0) ^ (y > 0)).double(),
    # Copies that look like views
    "reshape in inference": lambda x, y: _inference(lambda: (x * 2).T.reshape(-1) * 3),
    "contiguous in inference": lambda x, y: _inference(lambda: (x * 2).T.contiguous() * 3 + (y.T * 3).to(torch.int)),
    # Masks
    "scaled after masking": lambda x, y: (
        (x.masked_fill(MASK, -INF) / 0.5).softmax(-1) + (x.masked_fill(~MASK, -INF) * 0.1).softmax(0)
    ),
    "scaled after a mask that follows": lambda x, y: (x.masked_fill(x < 0, -INF) * 0.1).softmax(-1),
    "masked twice": lambda x, y: (torch.where(MASK, x, -INF) + torch.where(MASK, y, -INF)).softmax(-1),
    "attention to nothing": lambda x, y: F.scaled_dot_product_attention(
        x[None, None], y[None, None], y[None, None], attn_mask=torch.tensor([[True, False], [False, False]])
    ),
    # Sums of nothing
    "nothing": lambda x, y: x[:0].sum() + (x[:, :0] @ y[:, :0].T).sum() + x[:0].cumsum(0).sum() + x[:0].prod() + x,
    # Digits
    "single precision buffer": lambda x, y: _buffer(x, torch.float32, lambda row: row / 3),
    "half precision buffer": lambda x, y: _buffer(x, torch.bfloat16, lambda row: row / 3),
    "truths written one by one": lambda x, y: _buffer(x, torch.bool, lambda row: row > 0),
    "whole numbers written one by one": lambda x, y: _buffer(x, torch.long, lambda row: row * 3),
    # Others that are one line
    "quotients": lambda x, y: torch.stack([torch.div(5 * x, y, rounding_mode=m) for m in (None, "floor", "trunc")]),
    "remainders": lambda x, y: torch.stack([(7 * x) // 2, (7 * x) % 3, torch.fmod(7 * x, 3), x % y]),
    "rounded": lambda x, y: torch.stack([f(2 * x) for f in (torch.ceil, torch.round, torch.trunc, torch.floor)]),
    "hyperbolic": lambda x, y: torch.stack([x.sinh(), x.cosh(), x.tan(), torch.tanh(x).asin(), x.asinh(), x.exp2()]),
    "spread": lambda x, y: torch.stack([*torch.var_mean(x, 1), *torch.std_mean(y, 1), x.std(1)]),
    "x ln x": lambda x, y: (
        torch.xlogy(torch.relu(x), y * y) + F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="sum")
    ),
    "running product": lambda x, y: x.cumprod(1) + torch.bucketize(y, torch.tensor([0.0, 1.0])) * x,
    "gradient of a product": lambda x, y: torch.autograd.grad(x.prod(1).sum(), x)[0],
    "one of several": lambda x, y: F.one_hot(torch.bucketize(x, torch.tensor([0.0, 1.0])), 3) * y[..., None],
    "rows of a table": lambda x, y: F.embedding(torch.bucketize(x, torch.tensor([0.0, 1.0])), 2 * y.T),
    "rows of a table, by smaller numbers": lambda x, y: (
        (2 * y.T)[torch.bucketize(x, torch.tensor([0.0, 1.0])).int()] + F.embedding((x > 0).int(), y)[..., :1]
    ),
    "rows selected": lambda x, y: torch.index_select(3 * y.T, 0, torch.bucketize(x[0], torch.tensor([0.0, 1.0]))),
    "no rows": lambda x, y: x + (2 * y.T)[torch.bucketize(x[:0], torch.tensor([0.0, 1.0]))].sum(),
    "rows counted from the end": lambda x, y: 2 * torch.arange(12.0).view(3, 2, 2)[x.floor().clamp(-3, 2).long()],
    "a single number": lambda x, y: x.sum().softmax(0) + x,
    "instance norm": lambda x, y: F.instance_norm(x[None], weight=y[0, :2], bias=y[1, :2]),
}  # fmt: skip


def _followed(plan, path, changes):
    path = write_workbook(plan, path).path
    agreement = evaluate_workbook(path)
    assert agreement.errors == ()
    assert agreement.difference < 1e-12
    assert plan.selection.formulas
    assert difference_after_change(plan, path, changes) < 1e-11


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_pytorch_computes_is_what_the_formulas_compute(name, tmp_path):
    plan = make_plan(trace_function(lambda i, w: {"z": FUNCTIONS[name](i["x"], i["y"])}, {"x": X, "y": Y}))
    cells = list(plan.cells("input"))
    _followed(plan, tmp_path / "one.xlsx", {cell: plan.value(cell) + 0.4375 for cell in (cells[0], cells[-1])})


class _Widened(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(torch.zeros(1, 3)) + self.linear(torch.arange(3).float()) + x


MODULES = {
    "tensors made inside": _Widened(),
    "fast attention": nn.TransformerEncoderLayer(3, 1, 4, batch_first=True),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_their_plain_way_in_double_precision(name, tmp_path):
    plan = make_plan(trace_module(MODULES[name], (X.float()[None],)))
    _followed(plan, tmp_path / "module.xlsx", {next(plan.cells("input")): 0.75})
    assert torch.get_default_dtype() == torch.float32
    assert torch.backends.mha.get_fastpath_enabled()


def test_recycled_distances_are_looked_up_again_when_an_atom_moves(tmp_path):
    """AlphaFold 2's recycling embedder takes a row of a table for each distance's bin."""
    torch.manual_seed(0)
    embedder = RecyclingEmbedder(2, 3).double().requires_grad_(False)
    for weight in embedder.parameters():
        nn.init.normal_(weight)
    positions = 6 * torch.randn(3, 3, dtype=torch.float64)
    recorded = trace_module(embedder, (torch.randn(3, 2).double(), torch.randn(3, 3, 3).double(), positions))
    plan = make_plan(recorded)
    (moved,) = (cell for cell in plan.cells("input") if plan.value(cell) == positions[1, 0])
    far = positions.clone()
    far[1, 0] += 9.0
    bins = [torch.cdist(x, x).div(1.25).floor() for x in (positions, far)]
    assert not torch.equal(*bins)
    _followed(plan, tmp_path / "recycled.xlsx", {moved: float(far[1, 0])})


TABLE = torch.eye(3, dtype=torch.float64)
REFUSED = {
    # Positions that the inputs decide
    "looked up in two": (lambda x: TABLE[(x > 0).long(), (x < 0).long()], ConfigError, "inputs decide"),
    "masked by bytes": (lambda x: x[(x[:, 0] > 0).byte()] * 2, ConfigError, "inputs decide"),
    "looked up in columns": (lambda x: TABLE[:, (x > 0).long()], ConfigError, "inputs decide"),
    "positive ones": (lambda x: x[x > 0] * 2, ConfigError, "inputs decide"),
    "selected ones": (lambda x: x.masked_select(x > 0), ConfigError, "inputs decide"),
    "written where positive": (lambda x: x.clone().index_put_((x > 0,), x.sum()), ConfigError, "inputs decide"),
    "largest gathered": (lambda x: x.gather(1, x.max(1, keepdim=True).indices), ConfigError, "inputs decide"),
    "gradient of the largest": (
        lambda x: torch.autograd.grad(x.max(1).values.sum(), x)[0], ConfigError, "inputs decide",
    ),
    # Infinity
    "logarithm of 0": (lambda x: torch.relu(x).log(), NonFiniteError, "'logarithm' computes infinity"),
    "too large": (lambda x: (1000 * x).exp(), NonFiniteError, "'exponential' computes infinity"),
    "divided by 0": (lambda x: 1 / torch.relu(x), NonFiniteError, "computes infinity"),
    "given": (lambda x: x * torch.tensor([INF, 1.0, 1.0]), NonFiniteError, "constant 'constant' holds infinity"),
    "nothing unmasked": (lambda x: x.masked_fill(x > -9, -INF).softmax(-1), NonFiniteError, "all -inf"),
    "nothing to add": (lambda x: x.masked_fill(x > -9, -INF).logsumexp(-1), NonFiniteError, "all -inf"),
    "not a number": (lambda x: torch.where(x > 9, torch.nan, x), NonFiniteError, "NaN"),
    # Not known
    "distances of order 1": (lambda x: torch.cdist(x, x, p=1), ConfigError, "order 1"),
    "windows cut off": (lambda x: F.avg_pool2d(x[None], 2, ceil_mode=True), ConfigError, "cut off"),
    "bits": (lambda x: (3 * x).long() & 3, ConfigError, "bits of whole numbers"),
    "complex numbers": (lambda x: torch.view_as_real(torch.complex(x, x) * 2), ConfigError, "complex numbers"),
    "a complex factor": (
        lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(3, 2)) * 1j), ConfigError, "complex numbers",
    ),
    "nothing computed": (lambda x: x.T, ConfigError, "no formulas"),
    "an argument that nothing reads": (lambda x: x.sum(dtype=torch.long), ConfigError, "dtype = torch.int64"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_formulas_cannot_follow_is_refused_in_one_sentence(name):
    function, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make_plan(trace_function(lambda i, w: {"z": function(i["x"])}, {"x": X}))


def test_a_single_precision_tensor_from_outside_is_not_written_to():
    outside = torch.zeros(2, 3)
    with pytest.raises(ConfigError, match=r"torch\.float32.*digits"):
        trace_function(lambda i, w: {"z": outside.copy_(i["x"] / 3) * 2}, {"x": X})


def test_an_error_after_a_change_is_no_agreement(tmp_path):
    plan = make_plan(trace_function(lambda i, w: {"z": 1 / i["x"]}, {"x": X}))
    path = write_workbook(plan, tmp_path / "one.xlsx").path
    assert difference_after_change(plan, path, {next(plan.cells("input")): 0.0}) == INF
