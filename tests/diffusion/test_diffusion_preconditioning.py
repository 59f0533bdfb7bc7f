"""Preconditioning and guidance: defining properties."""

import pytest
import torch
from torch import Tensor

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import (
    EdmPreconditioning,
    GuidanceConfig,
    VariancePreserving,
    apply_preconditioning,
    as_denoiser,
    classifier_free_guidance,
    linear_alphas_bar,
    sigmas_from_alphas_bar,
    training_target,
)

CASES = [
    EdmPreconditioning(),
    EdmPreconditioning(0.5, relative_noise=False),
    VariancePreserving("epsilon"),
    VariancePreserving("x0"),
    VariancePreserving("v"),
]


def _draw(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch_generator(seed)
    clean = torch.randn((4, 5, 3), generator=generator, dtype=torch.float64)
    noise = torch.randn((4, 5, 3), generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.7, 3.0, 60.0], dtype=torch.float64)
    return clean, noise, sigma


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_network_that_answers_the_target_denoises_perfectly(case: EdmPreconditioning | VariancePreserving) -> None:
    clean, noise, sigma = _draw()
    noisy = clean + sigma[:, None, None] * noise
    target = training_target(case, clean, noisy, sigma)
    seen = []

    def network(x: Tensor, feature: Tensor) -> Tensor:
        seen.append((x, feature))
        return target

    torch.testing.assert_close(apply_preconditioning(case, network, noisy, sigma), clean, rtol=1e-10, atol=1e-10)
    assert seen[0][1].shape == sigma.shape


def test_targets_are_what_they_are_called() -> None:
    clean, noise, sigma = _draw()
    level = sigma[:, None, None]
    noisy = clean + level * noise
    alpha, rest = 1 / (1 + level**2).sqrt(), level / (1 + level**2).sqrt()
    expected = {"epsilon": noise, "x0": clean, "v": alpha * noise - rest * clean}
    for kind, value in expected.items():
        target = training_target(VariancePreserving(kind), clean, noisy, sigma)
        torch.testing.assert_close(target, value, rtol=1e-9, atol=1e-9)


def test_edm_input_and_target_have_unit_variance() -> None:
    generator = torch_generator(1)
    case = EdmPreconditioning(16.0)
    clean = 16 * torch.randn(100_000, generator=generator, dtype=torch.float64)
    for level in (0.1, 16.0, 900.0):
        sigma = torch.tensor(level, dtype=torch.float64)
        noisy = clean + sigma * torch.randn(100_000, generator=generator, dtype=torch.float64)
        assert (case.c_in(sigma) * noisy).std().item() == pytest.approx(1, abs=0.02)
        assert training_target(case, clean, noisy, sigma).std().item() == pytest.approx(1, abs=0.02)
        assert case.loss_weight(sigma).item() == pytest.approx(case.c_out(sigma).item() ** -2)


def test_alphafold3_noise_feature() -> None:
    sigma = torch.tensor([16.0, 16.0 * torch.e**4])
    torch.testing.assert_close(EdmPreconditioning().c_noise(sigma), torch.tensor([0.0, 1.0]))


def test_timesteps_are_found_between_levels() -> None:
    table = sigmas_from_alphas_bar(linear_alphas_bar())
    case = VariancePreserving("epsilon", tuple(table.tolist()))
    torch.testing.assert_close(case.c_noise(table[[0, 1, 500, 999]]), torch.tensor([0.0, 1.0, 500.0, 999.0]).double())
    between = case.c_noise((table[10] * table[11]).sqrt())
    assert between.item() == pytest.approx(10.5)
    outside = case.c_noise(torch.tensor([1e-9, 1e9], dtype=torch.float64))
    assert outside.tolist() == [0.0, 999.0]
    assert VariancePreserving("x0", (1.0,)).c_noise(torch.tensor([3.0])).tolist() == [0.0]
    with pytest.raises(ConfigError, match="ascending"):
        VariancePreserving("x0", (2.0, 1.0))


def _conditional(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.sin(x) / (1 + sigma)


def _unconditional(x: Tensor, sigma: Tensor) -> Tensor:
    return x / (2 + sigma)


def test_guidance_is_linear_in_its_weight() -> None:
    x, sigma = torch.randn((3, 4), generator=torch_generator(0)), torch.tensor(1.0)
    for weight, expected in (
        (1.0, _conditional(x, sigma)),
        (0.0, _unconditional(x, sigma)),
        (3.0, 3 * _conditional(x, sigma) - 2 * _unconditional(x, sigma)),
    ):
        guided = classifier_free_guidance(_conditional, _unconditional, GuidanceConfig(weight))(x, sigma)
        torch.testing.assert_close(guided, expected)


def test_weight_one_is_the_conditional_model_bit_for_bit() -> None:
    def never(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError("the unconditional model is not needed")

    x, sigma = torch.randn((3, 4), generator=torch_generator(0)), torch.tensor(1.0)
    guided = classifier_free_guidance(_conditional, never, GuidanceConfig())
    assert torch.equal(guided(x, sigma), _conditional(x, sigma))


def test_guidance_interval_and_rescaling() -> None:
    x = torch.randn((3, 400), generator=torch_generator(0))
    config = GuidanceConfig(4.0, rescale=1.0, sigma_min=0.5, sigma_max=2.0)
    guided = classifier_free_guidance(_conditional, _unconditional, config)
    for level in (0.5, 2.1):
        assert torch.equal(guided(x, torch.tensor(level)), _conditional(x, torch.tensor(level)))
    inside = guided(x, torch.tensor(1.0))
    assert not torch.allclose(inside, _conditional(x, torch.tensor(1.0)))
    torch.testing.assert_close(inside.std(dim=1), _conditional(x, torch.tensor(1.0)).std(dim=1))
    with pytest.raises(ConfigError, match="rescale"):
        GuidanceConfig(rescale=2.0)
    with pytest.raises(ConfigError, match="lower"):
        GuidanceConfig(sigma_min=2.0, sigma_max=1.0)


def test_as_denoiser_takes_one_level_for_all() -> None:
    denoise = as_denoiser(VariancePreserving("epsilon"), lambda x, _: torch.zeros_like(x))
    x = torch.randn((3, 4), generator=torch_generator(0))
    assert torch.equal(denoise(x, torch.tensor(2.0)), x)
