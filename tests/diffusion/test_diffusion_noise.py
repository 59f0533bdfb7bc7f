"""Schedules against golden levels of peers, published numbers and their definitions."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import (
    CosineNoise,
    DiscreteNoise,
    LogNormalNoise,
    UniformPowerNoise,
    alphafold3_sigmas,
    cosine_alphas_bar,
    cosine_sigmas,
    edm_sigmas,
    linear_alphas_bar,
    linear_sigmas,
    power_sigmas,
)


def test_alphafold3_levels_are_those_of_openfold3(golden: Path) -> None:
    expected = load_file(golden / "openfold3" / "noise_schedule.safetensors")["output.out"]
    sigmas = alphafold3_sigmas(200)
    assert sigmas.dtype == torch.float64
    # The golden levels were computed in float32, whose 7th power loses a few units.
    torch.testing.assert_close(sigmas.float(), expected, rtol=3e-6, atol=0.0)


def test_chai_levels_are_the_same_formula_at_mid_points(golden: Path) -> None:
    expected = load_file(golden / "chai" / "noise_schedule.safetensors")["output.out"]
    times = (2 * torch.arange(200, dtype=torch.float64) + 1) / 400
    torch.testing.assert_close((16 * power_sigmas(times, 4e-4, 80.0)).float(), expected, rtol=3e-6, atol=0.0)


def test_alphafold3_end_points() -> None:
    sigmas = alphafold3_sigmas(200)
    assert sigmas[0].item() == pytest.approx(2560.0, rel=1e-12)
    assert sigmas[-1].item() == pytest.approx(0.0064, rel=1e-9)
    to_zero = alphafold3_sigmas(200, final="zero")
    assert to_zero[-1] == 0
    assert torch.equal(to_zero[:-1], sigmas[:-1])


def test_edm_levels_by_definition() -> None:
    sigmas = edm_sigmas(18)
    assert len(sigmas) == 19
    assert sigmas[0].item() == pytest.approx(80.0)
    assert sigmas[17].item() == pytest.approx(0.002)
    assert sigmas[18] == 0
    # EDM, equation 5, written out for i = 5.
    expected = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert sigmas[5].item() == pytest.approx(expected, rel=1e-12)
    assert edm_sigmas(18, final="minimum")[-1].item() == pytest.approx(0.002)
    assert edm_sigmas(1).tolist() == pytest.approx([80.0, 0.0])


def test_variance_preserving_schedules() -> None:
    assert cosine_alphas_bar(1000)[499].item() == pytest.approx(0.4938, abs=1e-3)
    # DDPM: alpha_bar at the last of 1,000 linear steps is 4.04e-5.
    assert linear_alphas_bar()[-1].item() == pytest.approx(4.0358e-5, rel=1e-3)
    for schedule in (cosine_sigmas, linear_sigmas):
        for final in ("zero", "minimum"):
            sigmas = schedule(50, final=final)
            assert len(sigmas) == 51
            assert bool((sigmas.diff() < 0).all())
            assert (sigmas[-1] == 0) == (final == "zero")


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_is_an_error(steps: int) -> None:
    for schedule in (alphafold3_sigmas, edm_sigmas, cosine_sigmas, linear_sigmas):
        with pytest.raises(ConfigError, match="steps"):
            schedule(steps)


def test_more_steps_than_were_trained_is_an_error() -> None:
    with pytest.raises(ConfigError, match="1 to 1000"):
        linear_sigmas(1001)
    with pytest.raises(ConfigError, match="0 < lowest"):
        edm_sigmas(10, sigma_min=2.0, sigma_max=1.0)


def test_log_normal_noise_has_the_papers_moments() -> None:
    sigmas = LogNormalNoise().sample(200_000, torch_generator(0))
    logs = (sigmas / 16).log().double()
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.015)
    assert logs.std().item() == pytest.approx(1.5, abs=0.01)
    assert torch.equal(sigmas, LogNormalNoise().sample(200_000, torch_generator(0)))


def test_other_training_noise_stays_in_range_and_has_its_median() -> None:
    power = UniformPowerNoise(0.002, 80.0).sample(20_000, torch_generator(1))
    assert power.min() >= 0.0019
    assert power.max() <= 80.1
    middle = power_sigmas(torch.tensor([0.5], dtype=torch.float64), 0.002, 80.0).item()
    assert power.median().item() == pytest.approx(middle, rel=0.1)
    cosine = CosineNoise().sample(20_000, torch_generator(2))
    # tan(pi t / 2) is 1 at the middle of the cosine schedule.
    assert cosine.median().item() == pytest.approx(1.0, rel=0.05)
    discrete = DiscreteNoise((1.0, 2.0, 4.0)).sample(9_000, torch_generator(3))
    values, counts = discrete.unique(return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0]
    assert bool(((counts - 3000).abs() < 250).all())
