import pytest
import torch
from torch import nn

from anfinsen.training.optimizer import make_optimizers


@pytest.fixture
def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"wide": (16, 48), "tall": (48, 16), "narrow": (4, 48), "bias": (16,), "heads": (3, 16, 16)}
    result = {}
    for name, shape in shapes.items():
        result[name] = nn.Parameter(torch.zeros(shape))
        gradient = torch.randn(shape, generator=generator)
        # One direction that all tokens share dwarfs what tells them apart.
        result[name].grad = gradient + (100.0 if gradient.ndim == 2 else 0.0)
    return result


def _step(parameters, matrix_rate):
    optimizers = make_optimizers(parameters.values(), (0.9, 0.98), matrix_rate)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group["scale"]
        optimizer.step()
    return optimizers


def test_every_parameter_is_moved_by_one_optimiser(parameters):
    held = [id(p) for optimizer in _step(parameters, 0.5) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in parameters.values())
    assert len(_step(parameters, 0.0)) == 1


def test_muon_moves_all_directions_of_a_matrix_alike_and_adam_the_rest_by_the_rate(parameters):
    _step(parameters, 0.5)
    for name in ("wide", "tall"):
        singular = torch.linalg.svdvals(parameters[name].detach()) / (0.5 * 0.01 * 0.2 * 48**0.5)
        assert singular.min() > 0.5 and singular.max() < 1.3, name
    for name in ("narrow", "bias", "heads"):
        assert parameters[name].detach().abs().numpy() == pytest.approx(0.01, rel=1e-4), name


def test_adam_alone_moves_a_matrix_along_what_all_tokens_share(parameters):
    _step(parameters, 0.0)
    singular = torch.linalg.svdvals(parameters["wide"].detach())
    assert singular[0] == pytest.approx(0.01 * (16 * 48) ** 0.5, rel=1e-3) and singular[1] < 1e-3 * singular[0]
