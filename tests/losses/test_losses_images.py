"""Losses of the image networks against numbers computed by hand, and against what they must be blind to."""

import math

import pytest
import torch

from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import EdmPreconditioning, VariancePreserving, apply_preconditioning
from anfinsen.losses.images import code_accuracy, contrastive_loss, denoising_loss, discrete_vae_loss, next_token_loss


def test_contrastive_loss_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    scale = torch.tensor(2.0)
    # logits: rows (1.2, 1.6) and (1.6, 1.2); the right one is the smaller in each row and column.
    expected = math.log(math.exp(1.2) + math.exp(1.6)) - 1.2
    assert float(contrastive_loss(images, texts, scale)) == pytest.approx(expected, rel=1e-6)
    assert float(contrastive_loss(texts, images, scale)) == pytest.approx(expected, rel=1e-6)


def test_contrastive_loss_takes_equal_captions_for_one():
    generator = torch_generator(0)
    images = torch.nn.functional.normalize(torch.randn(3, 4, generator=generator), dim=-1)
    different = torch.nn.functional.normalize(torch.randn(2, 4, generator=generator), dim=-1)
    scale, gradients = torch.tensor(3.0), []
    for shared in (False, True):
        texts, seen = different.clone().requires_grad_(), images.clone().requires_grad_()
        logits = 3 * seen @ texts[[0, 0, 1]].T
        if shared:  # both pictures of the first caption are right answers to it, wherever it stands
            right = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
            loss = -(right * (logits.log_softmax(0) + logits.log_softmax(1))).sum() / 6
        else:
            loss = contrastive_loss(seen, texts[[0, 0, 1]], scale)
        loss.backward()
        gradients.append((loss.detach(), texts.grad, seen.grad))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "preconditioning",
    [EdmPreconditioning(0.5, relative_noise=False), *(VariancePreserving(kind) for kind in ("epsilon", "x0", "v"))],
)
def test_denoising_loss_is_the_denoisers_error_over_c_out(preconditioning):
    generator = torch_generator(1)
    clean, noise = (torch.randn(5, 3, 4, 4, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.01, 0.2, 1.0, 5.0, 60.0])

    def network(x, feature):
        return torch.tanh(x) + 0.1 * feature[:, None, None, None]

    noisy = clean + sigma[:, None, None, None] * noise
    denoised = apply_preconditioning(preconditioning, network, noisy, sigma)
    expected = (denoised - clean).square().flatten(1).mean(1) / preconditioning.c_out(sigma) ** 2
    found = denoising_loss(preconditioning, network, clean, noise, sigma)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-4)
    if isinstance(preconditioning, EdmPreconditioning):
        torch.testing.assert_close(preconditioning.loss_weight(sigma), preconditioning.c_out(sigma) ** -2)


def test_a_network_that_knows_the_noise_has_no_loss():
    clean, noise = torch.zeros(2, 6), torch.randn(2, 6, generator=torch_generator(2))
    for preconditioning, answer in ((VariancePreserving("epsilon"), noise), (VariancePreserving("x0"), clean)):
        found = denoising_loss(preconditioning, lambda x, feature, a=answer: a, clean, noise, torch.tensor([0.5, 3.0]))
        torch.testing.assert_close(found, torch.zeros(2), atol=1e-9, rtol=0)


def test_discrete_vae_loss_by_hand():
    pictures = torch.zeros(2, 3, 8, 8)
    reconstruction = torch.full_like(pictures, 0.25)
    # One sure place of two codes diverges by ln 2 from even ones, an undecided place not at all.
    logits = torch.zeros(2, 2, 1, 2)
    logits[:, 0, 0, 0] = 40.0
    found = discrete_vae_loss(pictures, reconstruction, logits, 0.5)
    assert float(found.total) == pytest.approx(0.25 + 0.25**2 + 0.5 * math.log(2) / 2, rel=1e-6)
    assert float(found.terms["error"]) == pytest.approx(0.25)


def test_next_token_loss_by_hand():
    ids = torch.tensor([[0, 2, 1, 3]])
    mask = torch.tensor([[True, True, True, False]])
    text_logits = torch.zeros(1, 3, 4)
    text_logits[0, 0, 2] = math.log(3)  # probabilities 3/6 and 1/6
    image_logits = torch.zeros(1, 2, 5)
    image_logits[0, 1, 4] = math.log(6)  # 6/10
    codes = torch.tensor([[1, 4]])
    text = (math.log(2) + math.log(4)) / 2  # padding is not asked for
    image = (math.log(5) - math.log(0.6)) / 2
    found = next_token_loss(text_logits, image_logits, ids, mask, codes, 7.0)
    assert float(found.terms["text"]) == pytest.approx(text, rel=1e-6)
    assert float(found.terms["image"]) == pytest.approx(image, rel=1e-6)
    assert float(found.total) == pytest.approx(text / 8 + image * 7 / 8, rel=1e-6)
    assert float(code_accuracy(image_logits, codes)) == 0.5
    # A hidden caption asks for nothing.
    hidden = next_token_loss(text_logits, image_logits, ids, torch.zeros_like(mask), codes, 7.0)
    assert float(hidden.terms["text"]) == 0.0
