"""The one loop against independent transcriptions, an analytic denoiser, and convergence orders."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.common.seeding import Generators, gaussian, torch_generator
from anfinsen.diffusion import (
    ALPHAFOLD3_SAMPLER,
    ANCESTRAL_SAMPLER,
    EULER_SAMPLER,
    HEUN_SAMPLER,
    Churn,
    SamplerConfig,
    alphafold3_sigmas,
    cosine_alphas_bar,
    ddim_sampler,
    edm_sigmas,
    edm_stochastic_sampler,
    sample,
)

# A mixture of two Gaussians in the plane, small against the first noise level.
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([[-6.0, 2.0], [4.0, -1.0]], dtype=torch.float64)
COVARIANCES = torch.tensor([[[1.0, 0.3], [0.3, 0.5]], [[0.4, -0.2], [-0.2, 1.5]]], dtype=torch.float64)


def mixture_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] in closed form."""
    noisy = COVARIANCES + sigma**2 * torch.eye(2, dtype=torch.float64)
    offset = x[:, None, :] - MEANS
    solved = torch.linalg.solve(noisy, offset[..., None])[..., 0]
    log_density = -0.5 * (offset * solved).sum(-1) - 0.5 * torch.logdet(noisy) + WEIGHTS.log()
    expected = MEANS + torch.einsum("kij,nkj->nki", COVARIANCES, solved)
    return (log_density.softmax(-1)[..., None] * expected).sum(1)


def smooth_denoiser(x: np.ndarray, sigma: float) -> np.ndarray:
    """Any non-linear function will do to compare two programs."""
    return np.tanh(x / (1 + sigma)) * 3 + 0.1 * x / (1 + sigma**2)


def algorithm_18(x, levels, rotations, shifts, noise, gamma_0=0.8, gamma_min=1.0, scale=1.003, step=1.5):
    """The supplement's loop in numpy, line by line (line 9 at the noisy positions, as the released code)."""
    draws = iter(noise)
    for tau in range(1, len(levels)):
        # algorithm 19
        x = x - x.mean(axis=0, keepdims=True)
        x = x @ rotations[tau - 1].T + shifts[tau - 1]
        gamma = gamma_0 if levels[tau] > gamma_min else 0.0
        t_hat = levels[tau - 1] * (gamma + 1)
        xi = scale * np.sqrt(t_hat**2 - levels[tau - 1] ** 2) * next(draws) if gamma else 0.0
        x_noisy = x + xi
        delta = (x_noisy - smooth_denoiser(x_noisy, t_hat)) / t_hat
        dt = levels[tau] - t_hat
        x = x_noisy + step * dt * delta
    return x


def test_alphafold3_sampler_is_algorithm_18() -> None:
    steps, atoms = 200, 7
    rng = np.random.default_rng(4)
    rotations = np.linalg.qr(rng.normal(size=(steps, 3, 3)))[0]
    shifts = rng.normal(size=(steps, 1, 3))
    levels = alphafold3_sigmas(steps)
    start = levels[0].item() * rng.normal(size=(atoms, 3))

    twin = torch_generator(9)
    churned = int((levels[1:] > 1.0).sum())
    assert churned == 160
    noise = [torch.randn((atoms, 3), generator=twin, dtype=torch.float64).numpy() for _ in range(churned)]
    expected = algorithm_18(start, levels.numpy(), rotations, shifts, noise)

    frames = iter(zip(rotations, shifts, strict=True))

    def before_step(x: Tensor, _: torch.Generator) -> Tensor:
        rotation, shift = next(frames)
        return (x - x.mean(0, keepdim=True)) @ torch.from_numpy(rotation).T + torch.from_numpy(shift)

    calls: list[int] = []
    actual = sample(
        lambda x, s: torch.from_numpy(smooth_denoiser(x.numpy(), s.item())),
        torch.from_numpy(start),
        levels,
        ALPHAFOLD3_SAMPLER,
        torch_generator(9),
        before_step=before_step,
        on_step=lambda: calls.append(1),
    )
    assert np.abs(actual.numpy() - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())
    assert len(calls) == steps


def test_gate_on_the_current_level_churns_one_step_more() -> None:
    levels = alphafold3_sigmas(200).tolist()
    steps = list(pairwise(levels))
    rules = {gate: Churn(0.8, 1.0, gate=gate) for gate in ("now", "next")}
    counts = {gate: sum(rule(*step) > 0 for step in steps) for gate, rule in rules.items()}
    assert counts == {"now": 161, "next": 160}


SAMPLERS = {
    "euler": (EULER_SAMPLER, edm_sigmas(160, 0.01, 300.0)),
    "heun": (HEUN_SAMPLER, edm_sigmas(60, 0.01, 300.0)),
    "edm": (edm_stochastic_sampler(60, s_noise=1.0), edm_sigmas(60, 0.01, 300.0)),
    "ddim": (ddim_sampler(0.5), edm_sigmas(160, 0.01, 300.0)),
    "ancestral": (ANCESTRAL_SAMPLER, edm_sigmas(400, 0.01, 300.0)),
    # AlphaFold 3's gate with little churn: at its own gamma of 0.8 every Euler step is a coarse one (from 1.8 sigma),
    # whose bias stays however many steps there are; step and noise scales change the distribution on purpose.
    "alphafold3": (SamplerConfig(churn=Churn(0.03, 1.0, gate="next")), alphafold3_sigmas(500)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_mixtures_moments(name: str) -> None:
    config, sigmas = SAMPLERS[name]
    count = 8000
    generator = torch_generator(5, name)
    x = sigmas[0] * torch.randn((count, 2), generator=generator, dtype=torch.float64)
    x = sample(mixture_denoiser, x, sigmas, config, generator)

    mean = (WEIGHTS[:, None] * MEANS).sum(0)
    centred = MEANS - mean
    covariance = (WEIGHTS[:, None, None] * (COVARIANCES + centred[:, :, None] * centred[:, None, :])).sum(0)
    # four standard errors, plus 2 % for the finite number of steps
    error = 4 * (covariance.diagonal() / count).sqrt()
    assert bool(((x.mean(0) - mean).abs() < error + 0.02).all())
    torch.testing.assert_close(torch.cov(x.T), covariance, rtol=0.06, atol=0.25)
    left = x[:, 0] < -1.5
    assert left.double().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / count) + 0.005)
    for mode, members in enumerate((x[left], x[~left])):
        torch.testing.assert_close(torch.cov(members.T), COVARIANCES[mode], rtol=0.1, atol=0.06)


def test_full_alphafold3_sampler_finds_the_modes() -> None:
    sigmas = alphafold3_sigmas(200)
    generator = torch_generator(6)
    x = sigmas[0] * torch.randn((4000, 2), generator=generator, dtype=torch.float64)
    x = sample(mixture_denoiser, x, sigmas, ALPHAFOLD3_SAMPLER, generator)
    left = x[:, 0] < -1.5
    torch.testing.assert_close(x[left].mean(0), MEANS[0], rtol=0, atol=0.2)
    torch.testing.assert_close(x[~left].mean(0), MEANS[1], rtol=0, atol=0.2)
    # a step scale of 1.5 sharpens: less spread than the data, but not collapsed
    spread = torch.cov(x[~left].T).trace() / COVARIANCES[1].trace()
    assert 0.2 < spread.item() < 1.0


def ddim_in_variance_preserving_form(x0_of, x_vp, alphas_bar, noise, eta):
    """Equation 12 and 16 of Song et al. 2021, in the variable x_vp = x / sqrt(1 + sigma²)."""
    for (now, following), xi in zip(pairwise(alphas_bar), noise, strict=True):
        x0 = x0_of(x_vp, now)
        epsilon = (x_vp - np.sqrt(now) * x0) / np.sqrt(1 - now)
        fresh = eta * np.sqrt((1 - following) / (1 - now)) * np.sqrt(1 - now / following)
        x_vp = np.sqrt(following) * x0 + np.sqrt(1 - following - fresh**2) * epsilon + fresh * xi
    return x_vp


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_its_variance_preserving_form(eta: float) -> None:
    alphas_bar = cosine_alphas_bar()[torch.arange(990, 0, -45)].numpy()
    sigmas = torch.from_numpy(np.sqrt((1 - alphas_bar) / alphas_bar))
    start = np.random.default_rng(0).normal(size=(5, 2))
    twin = torch_generator(3)
    noise = [torch.randn((5, 2), generator=twin, dtype=torch.float64).numpy() for _ in range(len(alphas_bar) - 1)]

    def x0_of(x_vp: np.ndarray, alpha_bar: float) -> np.ndarray:
        return smooth_denoiser(x_vp / np.sqrt(alpha_bar), np.sqrt((1 - alpha_bar) / alpha_bar))

    expected = ddim_in_variance_preserving_form(x0_of, start, alphas_bar, noise, eta)
    actual = sample(
        lambda x, s: torch.from_numpy(smooth_denoiser(x.numpy(), s.item())),
        torch.from_numpy(start / np.sqrt(alphas_bar[0])),
        sigmas,
        ddim_sampler(eta),
        torch_generator(3),
    )
    np.testing.assert_allclose(actual.numpy() * np.sqrt(alphas_bar[-1]), expected, rtol=0, atol=1e-11)


def test_ddim_without_noise_is_euler_and_with_full_noise_ancestral() -> None:
    assert ddim_sampler(0.0) == EULER_SAMPLER
    assert ddim_sampler(1.0) == ANCESTRAL_SAMPLER


def test_order_of_convergence() -> None:
    """Euler's error falls with the first power of the step, Heun's with the second."""
    x = torch.tensor([[3.0, -2.0], [-5.0, 4.0], [0.5, 9.0]], dtype=torch.float64)
    generator = torch_generator(0)

    def solve(config: SamplerConfig, steps: int) -> Tensor:
        return sample(mixture_denoiser, x, edm_sigmas(steps, 0.5, 20.0, final="minimum"), config, generator)

    reference = solve(HEUN_SAMPLER, 4096)
    for config, order in ((EULER_SAMPLER, 1), (HEUN_SAMPLER, 2)):
        errors = [(solve(config, steps) - reference).norm().item() for steps in (256, 512)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_same_seed_same_bits_and_float32_stays_float32() -> None:
    sigmas = alphafold3_sigmas(20)
    x = torch.randn((3, 2), generator=torch_generator(1))

    def run() -> Tensor:
        return sample(lambda x, s: x / (1 + s), x, sigmas, ALPHAFOLD3_SAMPLER, torch_generator(2))

    assert run().dtype == torch.float32
    assert torch.equal(run(), run())


@pytest.mark.parametrize("config", [ALPHAFOLD3_SAMPLER, ANCESTRAL_SAMPLER], ids=["churn", "ancestral"])
def test_an_entry_with_a_generator_of_its_own_does_not_depend_on_the_others(config: SamplerConfig) -> None:
    sigmas = alphafold3_sigmas(20)

    def turn(x: Tensor, generator: Generators) -> Tensor:
        return x + gaussian(x.shape, generator)

    def run(entries: range) -> Tensor:
        generators = [torch_generator(2, entry) for entry in entries]
        x = sigmas[0].float() * gaussian((len(entries), 2), generators)
        return sample(lambda x, s: x / (1 + s), x, sigmas, config, generators, before_step=turn)

    together = run(range(5))
    assert torch.equal(together[:1], run(range(1)))
    assert torch.equal(together[2:4], run(range(2, 4)))
    assert len(torch.unique(together)) == 10


def test_as_many_generators_as_entries() -> None:
    with pytest.raises(ValueError, match="2 generators cannot fill"):
        sample(
            lambda x, _: x,
            torch.ones(3, 2),
            alphafold3_sigmas(4),
            ALPHAFOLD3_SAMPLER,
            [torch_generator(n) for n in (0, 1)],
        )


def test_gradients_are_not_kept() -> None:
    scale = torch.ones((), requires_grad=True)
    x = sample(lambda x, _: x * scale, torch.ones(2), torch.tensor([2.0, 1.0]), EULER_SAMPLER, torch_generator(0))
    assert not x.requires_grad


def test_non_finite_is_named_with_its_step() -> None:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.where(sigma < 2.5, torch.full_like(x, torch.nan), x)

    levels = torch.tensor([4.0, 3.0, 2.0, 1.0])
    with pytest.raises(NonFiniteError, match="step 3 of 3"):
        sample(denoise, torch.ones(2), levels, EULER_SAMPLER, torch_generator(0))


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [1.0, 2.0], [1.0, -1.0], [1.0, math.nan]])
def test_levels_must_decrease(levels: list[float]) -> None:
    with pytest.raises(ConfigError, match="strictly decreasing"):
        sample(lambda x, _: x, torch.ones(2), torch.tensor(levels), EULER_SAMPLER, torch_generator(0))


def test_impossible_samplers_are_refused() -> None:
    with pytest.raises(ConfigError, match="'noise_scale'"):
        SamplerConfig(noise_scale=-1.0)
    with pytest.raises(ConfigError, match="eta = 0"):
        SamplerConfig(eta=0.5, correction="heun")


def test_config_survives_yaml_form() -> None:
    assert from_mapping(SamplerConfig, to_mapping(ALPHAFOLD3_SAMPLER)) == ALPHAFOLD3_SAMPLER
