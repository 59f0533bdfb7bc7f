"""The update of weights that all training shares."""

import pytest
import torch

from anfinsen.common.errors import NonFiniteError
from anfinsen.common.optimisation import backward, clip_gradients, step


def test_gradients_are_cut_to_a_norm_and_steps_follow_the_groups_scale():
    first, second = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    groups = [{"params": [first]}, {"params": [second], "scale": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=123.0)
    backward(3.0 * first[0] + 4.0 * second[1])
    assert clip_gradients([first, second], 1.0) == pytest.approx(5.0)
    step((optimizer,), 0.1)
    torch.testing.assert_close(first.detach(), torch.tensor([-0.06, 0.0]))
    torch.testing.assert_close(second.detach(), torch.tensor([0.0, -0.04]))
    assert not torch.are_deterministic_algorithms_enabled()


def test_gradients_that_are_not_finite_are_refused():
    weight = torch.nn.Parameter(torch.ones(1))
    backward((weight * float("inf")).sum())
    with pytest.raises(NonFiniteError, match="not finite"):
        clip_gradients([weight], 1.0)
    assert float(weight.detach()) == 1.0
