"""Inversion against the closed form of a Gaussian, and there and back."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import EULER_SAMPLER, cosine_sigmas, edm_sigmas, invert, sample

SPREAD = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)


def gaussian_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    return x * SPREAD**2 / (SPREAD**2 + sigma**2)


def bent_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """Two modes at -2 and 2, each of standard deviation 0.5."""
    variance = 0.25 + sigma**2
    mean = 2 * torch.tanh(2 * x / variance)
    return mean + 0.25 / variance * (x - mean)


def data(count: int = 40) -> Tensor:
    return SPREAD * torch.randn((count, 3), generator=torch_generator(0), dtype=torch.float64)


def there_and_back(steps: int, refinements: int = 0) -> float:
    sigmas = edm_sigmas(steps, 0.01, 20.0)
    x = data()
    noise = invert(gaussian_denoiser, x, sigmas, refinements)
    return (sample(gaussian_denoiser, noise, sigmas, EULER_SAMPLER, torch_generator(0)) - x).abs().max().item()


def test_the_way_back_gets_better_with_the_number_of_steps() -> None:
    errors = [there_and_back(steps) for steps in (50, 100, 200)]
    assert errors[2] < 0.05 * data().abs().max().item()
    for more, fewer in pairwise(errors):
        assert math.log2(more / fewer) == pytest.approx(1, abs=0.3)


def test_refinements_make_few_steps_exact() -> None:
    errors = [there_and_back(12, refinements) for refinements in (0, 4, 200)]
    assert errors[0] > 10 * errors[1] > 0
    assert errors[2] < 1e-8


def test_a_gaussians_noise_is_its_data_scaled() -> None:
    """The probability-flow equation of a Gaussian keeps x / sqrt(spread² + sigma²)."""
    sigmas = edm_sigmas(4000, 0.001, 20.0)
    noise = invert(gaussian_denoiser, data(), sigmas)
    expected = data() * (SPREAD**2 + 400).sqrt() / SPREAD
    torch.testing.assert_close(noise, expected, rtol=0.01, atol=0)
    assert noise.std().item() == pytest.approx(20, rel=0.2)


def test_levels_that_end_above_zero_start_at_their_last() -> None:
    sigmas = edm_sigmas(1, 0.5, 2.0, final="minimum")
    x = data(4)
    slope = (x - gaussian_denoiser(x, torch.tensor(0.5))) / 0.5
    torch.testing.assert_close(invert(gaussian_denoiser, x, sigmas), x + 1.5 * slope)


def test_a_bent_flow_comes_back_along_the_cosine_schedule() -> None:
    sigmas = cosine_sigmas(100, sigma_max=80.0)
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)
    noise = invert(bent_denoiser, x, sigmas, refinements=60)
    assert bool((noise.diff() > 0).all())  # an ordinary differential equation's paths do not cross
    back = sample(bent_denoiser, noise, sigmas, EULER_SAMPLER, torch_generator(0))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


def test_the_highest_level_can_be_limited() -> None:
    everything, limited = cosine_sigmas(1000), cosine_sigmas(20, sigma_max=80.0)
    assert everything[0] > 1000 > 80 >= limited[0] > 60
    assert set(limited.tolist()) <= set(everything.tolist())
    with pytest.raises(ConfigError, match="expected 1 to 99"):
        cosine_sigmas(1000, sigma_max=80.0)


def test_what_cannot_be_inverted_is_refused() -> None:
    with pytest.raises(ConfigError, match="strictly decreasing"):
        invert(gaussian_denoiser, data(), torch.tensor([1.0, 2.0]))
    with pytest.raises(ConfigError, match="refinements is -1"):
        invert(gaussian_denoiser, data(), torch.tensor([2.0, 1.0]), -1)
    with pytest.raises(NonFiniteError):
        invert(lambda x, _: x * math.nan, data(), torch.tensor([2.0, 1.0]))
