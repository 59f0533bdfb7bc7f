"""In-painting of a correlated Gaussian, whose conditional distribution is known."""

import math

import pytest
import torch
from torch import Tensor

from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import (
    EULER_SAMPLER,
    HEUN_SAMPLER,
    Churn,
    SamplerConfig,
    edm_sigmas,
    edm_stochastic_sampler,
    inpainting_denoiser,
    sample,
)

CORRELATION = 0.9
COVARIANCE = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]], dtype=torch.float64)
KNOWN = 1.5


def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    noisy = COVARIANCE + sigma**2 * torch.eye(2, dtype=torch.float64)
    return torch.linalg.solve(noisy, x[..., None])[..., 0] @ COVARIANCE


def painted(config: SamplerConfig, steps: int, count: int = 3000) -> Tensor:
    known = torch.full((count, 2), KNOWN, dtype=torch.float64)
    known[:, 1] = math.inf  # not looked at
    mask = torch.tensor([True, False]).expand(count, 2)
    sigmas = edm_sigmas(steps, 0.01, 20.0)
    generator = torch_generator(3)
    x = sigmas[0] * torch.randn((count, 2), generator=generator, dtype=torch.float64)
    return sample(inpainting_denoiser(denoiser, known, mask), x, sigmas, config, generator)


@pytest.mark.parametrize("config", [EULER_SAMPLER, HEUN_SAMPLER, edm_stochastic_sampler(30)])
def test_known_values_stay(config: SamplerConfig) -> None:
    result = painted(config, 30, 50)
    torch.testing.assert_close(result[:, 0], torch.full_like(result[:, 0], KNOWN), rtol=0, atol=1e-9)
    assert bool(torch.isfinite(result).all())


def test_resampling_by_churn_comes_nearer_to_the_conditional_distribution() -> None:
    """Given the one, the other has mean 0.9 * 1.5 and standard deviation sqrt(1 - 0.9²)."""
    plain = painted(EULER_SAMPLER, 200)[:, 1]
    churned = painted(SamplerConfig(churn=Churn(0.4, 0.0, 20.0)), 200)[:, 1]
    mean, spread = CORRELATION * KNOWN, math.sqrt(1 - CORRELATION**2)
    assert abs(churned.mean().item() - mean) < 0.5 * abs(plain.mean().item() - mean)
    # replacement is no exact conditioning: what is left of its bias is a tenth
    assert churned.mean().item() == pytest.approx(mean, rel=0.12)
    assert churned.std().item() == pytest.approx(spread, rel=0.25)


def test_all_known_and_nothing_known() -> None:
    x, sigma = torch.randn((5, 2), generator=torch_generator(0), dtype=torch.float64), torch.tensor(2.0).double()
    known = torch.ones_like(x)
    everywhere = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(inpainting_denoiser(denoiser, known, everywhere)(x, sigma), known)
    assert torch.equal(inpainting_denoiser(denoiser, known, ~everywhere)(x, sigma), denoiser(x, sigma))
