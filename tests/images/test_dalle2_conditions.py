"""What each network of DALL·E 2 sees, and what it does not: conditions, nulls, masks, order, guidance."""

from dataclasses import replace

import dalle2_tiny as tiny
import pytest
import torch
from dalle2_tiny import BATCH, N_TEXT, embedding, normal, text
from torch import Tensor, nn

from anfinsen.diffusion import GuidanceConfig, classifier_free_guidance
from anfinsen.images.dalle2 import Decoder, Prior, Upsampler

SIGMA = torch.tensor(0.7)
ALL = torch.ones(BATCH, dtype=torch.bool)
FIRST = torch.tensor([True, False, False])
PICTURES = normal(BATCH, 3, 8, 8)


def same(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-5, atol=1e-5))


def test_the_decoder_sees_both_conditions_and_either_may_be_left_out() -> None:
    decoder = tiny.decoder()
    image, words = embedding(), text()
    answers = [
        decoder.denoiser(*conditions)(PICTURES, SIGMA)
        for conditions in ((image, words), (image, None), (None, words), (None, None), (embedding("other"), words))
    ]
    assert not any(same(a, b) for index, a in enumerate(answers) for b in answers[:index])


def test_dropped_conditions_of_the_decoder_are_none() -> None:
    decoder = tiny.decoder()
    noise = torch.full((BATCH,), 0.3)

    def answer(*conditions: object) -> Tensor:
        return decoder.network(*conditions)(PICTURES, noise)

    image, words = embedding(), text()
    assert same(answer(image, words, ALL, None), answer(None, words))
    assert same(answer(image, words, None, ALL), answer(image, None))
    assert same(answer(image, words, ALL, ALL), answer(None, None))
    assert torch.equal(answer(image, words, ALL, ALL), answer(embedding("other"), text("other"), ALL, ALL))
    some = answer(image, words, FIRST, FIRST)
    assert same(some[0], answer(None, None)[0])
    assert same(some[1:], answer(image, words)[1:])


def test_dropped_text_of_the_prior_is_none() -> None:
    prior = tiny.prior()
    x, noise = normal(BATCH, tiny.C_CLIP), torch.full((BATCH,), -0.2)
    nothing = prior.network(None)(x, noise)
    assert same(prior.network(text(), ALL)(x, noise), nothing)
    assert torch.equal(prior.network(text(), ALL)(x, noise), prior.network(text("other"), ALL)(x, noise))
    some = prior.network(text(), FIRST)(x, noise)
    assert same(some[0], nothing[0])
    assert same(some[1:], prior.network(text())(x, noise)[1:])
    assert not same(some[1:], nothing[1:])


def test_dropped_embedding_of_the_upsampler_is_none() -> None:
    upsampler = tiny.upsampler()
    x, noise, low, level = normal(BATCH, 3, 16, 16), torch.zeros(BATCH), PICTURES, torch.full((BATCH,), 0.1)

    def answer(*conditions: object) -> Tensor:
        return upsampler.network(*conditions)(x, noise)

    assert same(answer(low, level, embedding(), ALL), answer(low, level, None))
    assert not same(answer(low, level, embedding()), answer(low, level, None))
    assert not same(answer(low, level, None), answer(low, 2 * level, None))
    assert not same(answer(low, level, None), answer(low + 0.1, level, None))


def test_padding_of_the_text_is_not_seen() -> None:
    words = text()
    spoilt = replace(words, encodings=torch.where(words.mask[..., None], words.encodings, 100.0))
    decoder, prior, x = tiny.decoder(), tiny.prior(), normal(BATCH, tiny.C_CLIP)
    assert not words.mask.all()
    assert same(decoder.denoiser(None, words)(PICTURES, SIGMA), decoder.denoiser(None, spoilt)(PICTURES, SIGMA))
    assert same(prior.denoiser(words)(x, SIGMA), prior.denoiser(spoilt)(x, SIGMA))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_guidance_of_the_decoder(weight: float) -> None:
    decoder = tiny.decoder()
    conditional, unconditional = decoder.denoiser(embedding(), text()), decoder.denoiser(None, None)
    guided = classifier_free_guidance(conditional, unconditional, GuidanceConfig(weight))(PICTURES, SIGMA)
    with_condition, without = conditional(PICTURES, SIGMA), unconditional(PICTURES, SIGMA)
    assert same(guided, (1 - weight) * without + weight * with_condition)
    assert weight == 1 or not same(guided, with_condition)


def test_the_prior_is_causal() -> None:
    """What comes before the noised embedding cannot see it; the query behind it does."""
    prior, seen = tiny.prior(), []
    prior.transformer.register_forward_hook(lambda *call: seen.append(call[2]))
    network = prior.network(text())
    answers = [network(normal(BATCH, tiny.C_CLIP, label=label), torch.zeros(BATCH)) for label in ("x", "y")]
    before = N_TEXT + 2
    assert same(seen[0][:, :before], seen[1][:, :before])
    assert not any(same(seen[0][:, position], seen[1][:, position]) for position in (before, before + 1))
    assert not same(*answers)
    # and the noise level is not seen by the text
    network(normal(BATCH, tiny.C_CLIP), torch.ones(BATCH))
    assert same(seen[0][:, : N_TEXT + 1], seen[2][:, : N_TEXT + 1])
    assert not same(seen[0][:, N_TEXT + 1], seen[2][:, N_TEXT + 1])


@pytest.mark.parametrize("network", ["prior", "decoder", "upsampler"])
def test_an_untrained_network_answers_what_preconditioning_passes_on(network: str) -> None:
    """Its output starts at zero: D = c_skip x, and nothing else."""
    model: nn.Module
    if network == "prior":
        model, x = Prior(tiny.PRIOR), normal(BATCH, tiny.C_CLIP)
        denoiser = model.denoiser(text())
    elif network == "decoder":
        model, x = Decoder(tiny.DECODER), PICTURES
        denoiser = model.denoiser(embedding(), text())
    else:
        model, x = Upsampler(tiny.UPSAMPLER), normal(BATCH, 3, 16, 16)
        denoiser = model.denoiser(PICTURES, torch.zeros(BATCH), None)
    skip = model.config.diffusion.preconditioning().c_skip(SIGMA)
    assert torch.equal(denoiser(x, SIGMA), skip * x)
    assert skip == (0 if network == "prior" else 0.25 / (0.25 + 0.49))


def test_one_condition_serves_many_pictures() -> None:
    decoder = tiny.decoder()
    one = (embedding(batch=1), text(batch=1))
    together = decoder.denoiser(*one)(PICTURES, SIGMA)
    alone = torch.cat([decoder.denoiser(*one)(picture[None], SIGMA) for picture in PICTURES])
    assert same(together, alone)
    prior, x = tiny.prior(), normal(BATCH, tiny.C_CLIP)
    together = prior.denoiser(one[1])(x, SIGMA)
    assert same(together, torch.cat([prior.denoiser(one[1])(each[None], SIGMA) for each in x]))
