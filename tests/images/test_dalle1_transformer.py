"""DALL·E 1's transformer: what predicts what, the cache, sampling, guidance, and a fit of three captions."""

import pytest
import torch
import torch.nn.functional as F

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import torch_generator
from anfinsen.images.dalle1 import DVAE_PRESETS, TRANSFORMER_PRESETS, ImageTransformer, ImageTransformerConfig
from anfinsen.images.dalle1.transformer import _draw, _kept
from anfinsen.images.transformer import TransformerConfig

TINY = ImageTransformerConfig(TransformerConfig(16, 2, 2), vocabulary=10, length=5, codes=7, grid=3)


@pytest.fixture
def network() -> ImageTransformer:
    """With large weights, so that every input matters to every output that sees it."""
    torch.manual_seed(0)
    network = ImageTransformer(TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network.eval()


@pytest.fixture
def captions() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch_generator(0, "captions")
    ids = torch.randint(0, 10, (3, 5), generator=generator)
    return ids, torch.arange(5)[None] < torch.tensor([[5], [3], [2]])


@pytest.fixture
def codes() -> torch.Tensor:
    return torch.randint(0, 7, (3, 3, 3), generator=torch_generator(0, "codes"))


def test_words_and_codes_see_what_stands_before_them_only(network, captions, codes) -> None:
    ids, mask = captions
    words, places = network(ids, mask, codes)
    assert words.shape == (3, 4, 10) and places.shape == (3, 9, 7)
    changed = codes.clone()
    changed[:, 1, 1] = (changed[:, 1, 1] + 1) % 7
    other_words, other_places = network(ids, mask, changed)
    torch.testing.assert_close(words, other_words)
    torch.testing.assert_close(places[:, :5], other_places[:, :5])  # code 4 itself is predicted without itself
    assert (places[:, 5:] - other_places[:, 5:]).abs().amax(dim=(0, 2)).min() > 1e-3
    other_ids = ids.clone()
    other_ids[:1, 4] = (ids[:1, 4] + 1) % 10
    other_words, other_places = network(other_ids, mask, codes)
    torch.testing.assert_close(words, other_words)  # the last word has no word after it
    assert (places[:1] - other_places[:1]).abs().amax(dim=2).min() > 1e-4
    changed = codes.clone()
    changed[:, 2, 2] = (changed[:, 2, 2] + 1) % 7
    torch.testing.assert_close(network(ids, mask, changed)[1], places)  # nor has the last code one


def test_padding_has_no_words(network, captions, codes) -> None:
    ids, mask = captions
    expected = network(ids, mask, codes)
    for one, other in zip(network(torch.where(mask, ids, (ids + 3) % 10), mask, codes), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(network((ids + 3) % 10, mask, codes)[1], expected[1])


def test_hidden_captions_are_all_alike(network, captions, codes) -> None:
    ids, mask = network.drop_captions(*captions, torch.tensor([True, False, True]))
    assert not mask[[0, 2]].any() and torch.equal(mask[1], captions[1][1])
    places = network(ids, mask, codes[:1].expand(3, 3, 3))[1]
    torch.testing.assert_close(places[0], places[2])
    assert not torch.allclose(places[0], places[1])


def test_places_are_told_apart_by_row_and_column(network, captions) -> None:
    """With equal codes everywhere only positions are left to tell codes apart."""
    tokens = network._embed_codes(torch.zeros(1, 9, dtype=torch.long), 0)[0]
    assert torch.cdist(tokens, tokens).add(torch.eye(9) * 9).min() > 0.1
    torch.testing.assert_close(tokens[4] - tokens[3], tokens[7] - tokens[6])  # one column further, in any row
    torch.testing.assert_close(tokens[4] - tokens[1], tokens[5] - tokens[2])
    torch.testing.assert_close(network._embed_codes(torch.zeros(1, 2, dtype=torch.long), 4)[0], tokens[4:6])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_generation_with_the_cache_follows_the_forward_pass(network, captions, guidance: float) -> None:
    """Most probable codes, chosen one by one by the whole network without a cache."""
    ids, mask = captions
    drawn = network.generate(ids, mask, torch_generator(0), temperature=0.0, guidance=guidance)
    codes, nothing = torch.zeros(3, 9, dtype=torch.long), torch.zeros_like(mask)
    for place in range(9):
        conditional = network(ids, mask, codes.view(3, 3, 3))[1][:, place]
        unconditional = network(ids, nothing, codes.view(3, 3, 3))[1][:, place]
        codes[:, place] = (unconditional + guidance * (conditional - unconditional)).argmax(-1)
    assert torch.equal(drawn, codes.view(3, 3, 3))


def test_generation_depends_on_its_generator_alone(network, captions) -> None:
    ids, mask = captions
    first = network.generate(ids, mask, [torch_generator(seed) for seed in (1, 2, 3)])
    again = network.generate(ids, mask, [torch_generator(seed) for seed in (1, 2, 3)])
    alone = network.generate(ids[1:2], mask[1:2], [torch_generator(2)])
    assert torch.equal(first, again) and torch.equal(first[1:2], alone)
    assert not torch.equal(first, network.generate(ids, mask, [torch_generator(seed) for seed in (4, 5, 6)]))


def test_every_code_is_shown(network, captions) -> None:
    seen: list[tuple[int, torch.Tensor]] = []
    drawn = network.generate(
        *captions, torch_generator(0), on_code=lambda number, codes: seen.append((number, codes.clone()))
    )
    assert [number for number, _ in seen] == list(range(1, 10))
    assert torch.equal(seen[-1][1], drawn)
    assert all(torch.equal(codes.flatten(1)[:, :number], drawn.flatten(1)[:, :number]) for number, codes in seen)


def test_draws_have_the_network_s_probabilities(network, captions) -> None:
    """The first code of many draws for one caption, at a temperature of 2."""
    ids, mask = captions[0][:1], captions[1][:1]
    expected = torch.softmax(network(ids, mask, torch.zeros(1, 3, 3, dtype=torch.long))[1][0, 0] / 2, -1)
    noise = torch_generator(0, "draws")
    drawn = _draw(_kept(torch.log(expected).expand(20000, 7), 1.0, None, None), noise)
    share = torch.bincount(drawn, minlength=7) / len(drawn)
    torch.testing.assert_close(share, expected, atol=0.015, rtol=0)
    codes = network.generate(ids.expand(2000, 5), mask.expand(2000, 5), noise, temperature=2.0)[:, 0, 0]
    share = torch.bincount(codes, minlength=7) / len(codes)
    torch.testing.assert_close(share, expected, atol=0.045, rtol=0)  # four deviations


def test_kept_probabilities() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]]).log()
    plain = _kept(logits, 1.0, None, None)
    torch.testing.assert_close(plain, logits.exp())
    assert _kept(logits, 1.0, 2, None).gt(0).tolist() == [[True, True, False, False], [True, True, True, True]]
    assert _kept(logits, 1.0, None, 0.69).gt(0).tolist() == [[True, True, False, False], [False, False, False, True]]
    assert _kept(logits, 1.0, None, 1e-9).gt(0).sum(1).tolist() == [1, 1]
    assert torch.equal(_kept(logits, 1.0, 9, 1.0), plain)
    torch.testing.assert_close(
        _kept(logits, 0.5, None, None)[0, 0] / _kept(logits, 0.5, None, None)[0, 1], (plain[0, 0] / plain[0, 1]) ** 2
    )


@pytest.mark.parametrize("setting", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_sampling_is_refused(network, captions, setting) -> None:
    with pytest.raises(ConfigError):
        network.generate(*captions, torch_generator(0), **setting)


def test_wrong_lengths_and_sizes_are_refused(network, codes) -> None:
    with pytest.raises(ValueError, match="4 tokens: expected 5"):
        network(torch.zeros(3, 4, dtype=torch.long), torch.ones(3, 4, dtype=torch.bool), codes)
    with pytest.raises(ConfigError, match="no image transformer"):
        ImageTransformerConfig(TransformerConfig(16, 2, 2), length=1)
    with pytest.raises(ConfigError, match="image_weight"):
        ImageTransformerConfig(TransformerConfig(16, 2, 2), image_weight=0.0)


def test_learns_three_pictures_by_their_captions() -> None:
    torch.manual_seed(0)
    network, generator = ImageTransformer(TINY), torch_generator(0, "fit")
    ids = torch.tensor([[0, 3, 1, 2, 2], [0, 4, 1, 2, 2], [0, 3, 4, 1, 2]])
    mask, codes = ids != 2, torch.randint(0, 7, (3, 3, 3), generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(80):
        words, places = network(ids, mask, codes)
        loss = F.cross_entropy(places.flatten(0, 1), codes.flatten())
        loss = loss + F.cross_entropy(words[mask[:, 1:]], ids[:, 1:][mask[:, 1:]]) / TINY.image_weight
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(network.generate(ids, mask, generator, temperature=0.3), codes)


@pytest.mark.parametrize("name", sorted(TRANSFORMER_PRESETS))
def test_presets_fit_their_discrete_vae_and_survive_being_written(name: str) -> None:
    config, vae = TRANSFORMER_PRESETS[name], DVAE_PRESETS[name]
    assert (config.codes, config.grid) == (vae.codes, vae.grid)
    assert from_mapping(ImageTransformerConfig, to_mapping(config)) == config


def test_mini_has_the_size_that_was_planned() -> None:
    with torch.device("meta"):
        network = ImageTransformer(TRANSFORMER_PRESETS["mini"])
    assert 3.7e6 < sum(parameter.numel() for parameter in network.parameters()) < 4.5e6
