"""The converter is strict: nothing missing, nothing left over, nothing used twice, every shape right."""

import pytest
import torch

from anfinsen.common.errors import WeightsError
from anfinsen.nn import Transition
from anfinsen.weights.published import boltz_trunk
from anfinsen.weights.published.rules import Rule, convert, load_converted, rows, transposed


def source(c=8):
    return {
        "norm.weight": torch.randn(c),
        "norm.bias": torch.randn(c),
        "fc1.weight": torch.randn(4 * c, c),
        "fc2.weight": torch.randn(4 * c, c),
        "fc3.weight": torch.randn(c, 4 * c),
    }


def test_a_whole_checkpoint_loads():
    module, tensors = Transition(8), source()
    load_converted(module, tensors, boltz_trunk.transition(), "file")
    assert torch.equal(module.expand.weight, torch.cat([tensors["fc1.weight"], tensors["fc2.weight"]]))


def test_missing_source():
    tensors = source()
    del tensors["fc2.weight"]
    with pytest.raises(WeightsError, match=r"model\.pt has no tensor 'fc2\.weight', which 'expand\.weight' needs"):
        load_converted(Transition(8), tensors, boltz_trunk.transition(), "model.pt")


def test_unused_source():
    with pytest.raises(WeightsError, match=r"holds 1 tensors that this model does not use: 'extra'"):
        load_converted(Transition(8), source() | {"extra": torch.zeros(1)}, boltz_trunk.transition(), "file")


def test_source_used_twice():
    rules = [Rule("a", ("x",)), Rule("b", ("x",))]
    with pytest.raises(WeightsError, match="use 'x' twice"):
        convert({"x": torch.zeros(1)}, rules, "file")


def test_target_made_twice():
    rules = [Rule("a", ("x",)), Rule("a", ("y",))]
    with pytest.raises(WeightsError, match="make 'a' twice"):
        convert({"x": torch.zeros(1), "y": torch.zeros(1)}, rules, "file")


def test_target_not_filled():
    tensors = source()
    del tensors["norm.bias"]
    rules = [rule for rule in boltz_trunk.transition() if rule.target != "norm.bias"]
    with pytest.raises(WeightsError, match=r"does not fill 1 tensors of this model: 'norm\.bias'"):
        load_converted(Transition(8), tensors, rules, "file")


def test_unknown_target():
    rules = [*boltz_trunk.transition(), Rule("other", ("extra",))]
    with pytest.raises(WeightsError, match="fills 1 tensors that this model does not have: 'other'"):
        load_converted(Transition(8), source() | {"extra": torch.zeros(1)}, rules, "file")


def test_wrong_shape():
    with pytest.raises(WeightsError, match=r"has shape \[6\], expected \[8\].*another configuration"):
        load_converted(Transition(8), source(6), boltz_trunk.transition(), "file")


def test_impossible_combination():
    rules = [Rule("a", ("x", "y"), rows)]
    with pytest.raises(WeightsError, match=r"'a' cannot be made from x \[2, 3\], y \[2, 4\]"):
        convert({"x": torch.zeros(2, 3), "y": torch.zeros(2, 4)}, rules, "file")


def test_transposed_is_contiguous():
    made = convert({"x": torch.randn(2, 3)}, [Rule("a", ("x",), transposed)], "file")
    assert made["a"].shape == (3, 2)
    assert made["a"].is_contiguous()
