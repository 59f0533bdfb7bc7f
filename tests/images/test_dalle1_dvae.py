"""The discrete VAE: shapes, limits and distribution of the relaxed sample, the divergence, a fit of four pictures."""

import math

import pytest
import torch

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import torch_generator
from anfinsen.images.dalle1 import DVAE_PRESETS, DiscreteVae, DiscreteVaeConfig, kl_to_uniform, perplexity
from anfinsen.images.dalle1.noise import exponential

TINY = DiscreteVaeConfig(codes=12, code_width=4, channels=(16, 16), picture_size=16)


def tiny_vae() -> DiscreteVae:
    torch.manual_seed(0)
    return DiscreteVae(TINY)


@pytest.mark.parametrize(
    "config", [TINY, DiscreteVaeConfig(codes=5, code_width=3, channels=(16,), blocks=2, picture_size=32)]
)
def test_codes_and_pictures_have_their_shapes(config: DiscreteVaeConfig) -> None:
    vae, grid = DiscreteVae(config), config.grid
    pictures = torch.rand(2, 3, config.picture_size, config.picture_size) * 2 - 1
    codes = vae.codes(pictures)
    assert config.stride * grid == config.picture_size
    assert codes.shape == (2, grid, grid) and codes.min() >= 0 and codes.max() < config.codes
    assert vae.logits(pictures).shape == (2, config.codes, grid, grid)
    decoded = vae.decode_codes(codes)
    assert decoded.shape == pictures.shape and decoded.abs().max() <= 1
    one_hot = torch.nn.functional.one_hot(codes, config.codes).movedim(-1, 1).float()
    torch.testing.assert_close(vae.decode(one_hot).clamp(-1, 1), decoded)


def test_relaxed_sample_becomes_one_hot_as_temperature_falls() -> None:
    vae, logits = tiny_vae(), torch.randn(3, 12, 2, 2) * 2
    largest = []
    for temperature in (8.0, 1.0, 0.1, 1e-4):
        weights = vae.relaxed(logits, temperature, torch_generator(0, "gumbel"))
        torch.testing.assert_close(weights.sum(1), torch.ones(3, 2, 2))
        largest.append(weights.amax(1).mean().item())
    assert largest == sorted(largest) and largest[0] < 0.3 and largest[-1] > 0.999
    with pytest.raises(ValueError, match="expected a positive number"):
        vae.relaxed(logits, 0.0, torch_generator(0))


def test_cold_samples_are_drawn_with_the_probabilities_of_the_logits() -> None:
    probability = torch.tensor([0.6, 0.25, 0.1, 0.05])
    logits = probability.log()[None, :, None, None].expand(1, 4, 100, 100)
    drawn = tiny_vae().relaxed(logits, 0.01, torch_generator(1, "gumbel")).argmax(1)
    share = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    torch.testing.assert_close(share, probability, atol=0.02, rtol=0)  # four deviations of the largest share


def test_a_picture_has_its_own_noise_whatever_stands_beside_it() -> None:
    vae, logits = tiny_vae(), torch.randn(3, 12, 2, 2)
    together = vae.relaxed(logits, 1.0, [torch_generator(seed) for seed in (4, 5, 6)])
    alone = vae.relaxed(logits[1:2], 1.0, [torch_generator(5)])
    assert torch.equal(together[1:2], alone)
    with pytest.raises(ValueError, match="2 generators cannot fill"):
        exponential((3, 1), [torch_generator(0), torch_generator(1)])


def test_divergence_from_uniform() -> None:
    assert kl_to_uniform(torch.full((1, 7, 2, 2), 3.0)).abs().max() < 1e-6
    certain = torch.zeros(1, 7, 1, 1)
    certain[0, 2] = 100
    assert kl_to_uniform(certain).item() == pytest.approx(math.log(7))
    logits = torch.randn(2, 7, 3, 3)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=logits.movedim(1, -1)),
        torch.distributions.Categorical(logits=torch.zeros(2, 3, 3, 7)),
    )
    torch.testing.assert_close(kl_to_uniform(logits), expected)


def test_perplexity_counts_the_codes_in_use() -> None:
    assert perplexity(torch.full((2, 3, 3), 4), 9).item() == pytest.approx(1)
    assert perplexity(torch.arange(9).repeat(4).view(6, 6), 9).item() == pytest.approx(9)
    assert perplexity(torch.tensor([0, 0, 5, 5]), 9).item() == pytest.approx(2)


def test_temperature_falls_along_a_cosine() -> None:
    config = DiscreteVaeConfig(annealing=0.5)
    assert config.temperature(0.0) == 1 and config.temperature(0.5) == config.temperature(1.0) == 1 / 16
    assert config.temperature(0.25) == pytest.approx((1 + 1 / 16) / 2)


def test_learns_four_pictures() -> None:
    """Four flat colours: 160 steps find codes that give each its colour, by the most probable codes too.

    After 80 steps it depends on rounding whether they do.
    """
    vae, generator = tiny_vae(), torch_generator(0, "fit")
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    pictures = colours[:, :, None, None].expand(4, 3, 16, 16)
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    for step in range(160):
        weights = vae.relaxed(vae.logits(pictures), TINY.temperature(step / 160), generator)
        loss = (vae.decode(weights) - pictures).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in vae.parameters())
    assert (vae.decode_codes(vae.codes(pictures)) - pictures).abs().mean() < 0.15
    assert perplexity(vae.codes(pictures), TINY.codes) > 2


def test_same_seed_same_network() -> None:
    for one, other in zip(tiny_vae().parameters(), tiny_vae().parameters(), strict=True):
        assert torch.equal(one, other)


def test_runs_in_bfloat16_and_channels_last() -> None:
    vae = tiny_vae().to(memory_format=torch.channels_last)
    pictures = (torch.rand(2, 3, 16, 16) * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = vae.logits(pictures)
        decoded = vae.decode(vae.relaxed(logits, 1.0, torch_generator(0)))
    assert logits.dtype == decoded.dtype == torch.float32
    torch.testing.assert_close(logits, vae.logits(pictures), atol=0.5, rtol=0)
    decoded.square().mean().backward()


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 16 x 16"):
        tiny_vae().logits(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="cannot be cut"):
        DiscreteVaeConfig(picture_size=20)
    for wrong in ({"codes": 1}, {"channels": ()}, {"channels": (8,)}, {"last_temperature": 2.0}, {"annealing": 0.0}):
        with pytest.raises(ConfigError):
            DiscreteVaeConfig(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("name", sorted(DVAE_PRESETS))
def test_presets_survive_being_written(name: str) -> None:
    assert from_mapping(DiscreteVaeConfig, to_mapping(DVAE_PRESETS[name])) == DVAE_PRESETS[name]


def test_mini_has_the_size_that_was_planned() -> None:
    vae = DiscreteVae(DVAE_PRESETS["mini"])
    assert 0.8e6 < sum(parameter.numel() for parameter in vae.parameters()) < 1.1e6
