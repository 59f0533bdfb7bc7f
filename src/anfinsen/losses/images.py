"""What the image networks are trained against: CLIP, DALL·E 2 (denoising) and DALL·E 1 (discrete VAE, transformer)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from anfinsen.diffusion import Network, Preconditioning, training_target
from anfinsen.images.dalle1 import kl_to_uniform


@dataclass(frozen=True)
class ImageLoss:
    """A loss and the terms that curves show.

    Attributes:
        total: what gradients are taken of. terms: by name, without gradient.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def contrastive_loss(
    images: Float[Tensor, "b c"], texts: Float[Tensor, "b c"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return CLIP's loss: the mean cross-entropy of finding each picture's caption and each caption's picture.

    Equal captions, which a small grammar often brings into one batch, do no harm: summed over them, the gradient is the
    one for which all of their pictures are right answers.

    Args:
        images, texts: embeddings of unit length, a row a pair.
        scale: inverse temperature.

    Source: Radford et al. 2021, figure 3.
    """
    logits = scale.float() * images.float() @ texts.float().T
    right = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def denoising_loss(
    preconditioning: Preconditioning,
    network: Network,
    clean: Float[Tensor, "b *shape"],
    noise: Float[Tensor, "b *shape"],
    sigma: Float[Tensor, "b"],
) -> Float[Tensor, "b"]:
    """Return each example's mean square error of the network's own answer.

    That is |D(x, sigma) - clean|² / c_out²: EDM's weights 1 / c_out² with EDM's preconditioning, and the simple loss
    on noise, data or velocity with the variance-preserving ones.

    Args:
        preconditioning: how the network becomes a denoiser.
        network: F, called with the scaled noisy data and the noise feature of each example.
        clean: the data.
        noise: standard normal.
        sigma: level of each example.

    Source: Karras et al. 2022, equation 8; Ho et al. 2020, equation 14.
    """
    level = sigma.reshape(-1, *(1,) * (clean.ndim - 1))
    noisy = clean + level * noise
    target = training_target(preconditioning, clean, noisy, sigma)
    answer = network(preconditioning.c_in(level) * noisy, preconditioning.c_noise(sigma))
    square: Tensor = (answer.float() - target).square()
    return square.flatten(1).mean(-1)


def alignment_loss(guessed: Float[Tensor, "b n c"], tokens: Float[Tensor, "b n c"]) -> Float[Tensor, ""]:
    """Return how far the directions of guessed tokens are from those of an encoder's: the mean of 1 - cosine.

    Tokens count by their lengths: what stands out of its place's mean is what is to be learnt.

    Args:
        guessed: by a hidden state of a denoiser, from noise.
        tokens: of the clean picture.

    Source: Yu et al. 2024 ("Representation alignment for generation"), equation 8.
    """
    lengths = tokens.norm(dim=-1)
    cosines = functional.cosine_similarity(guessed.float(), tokens, dim=-1)
    agreement: Tensor = (lengths * cosines).sum() / lengths.sum().clamp(min=1e-6)
    return 1 - agreement


def discrete_vae_loss(
    pictures: Float[Tensor, "b 3 y x"],
    reconstruction: Float[Tensor, "b 3 y x"],
    logits: Float[Tensor, "b k h w"],
    kl_weight: float,
) -> ImageLoss:
    """Return the negative evidence bound, up to its scale and a constant: error of pixels and divergence of the codes.

    The error is |d| + d² of each difference d: a likelihood between Laplace's and Gauss's. With |d| alone, pictures
    that are mostly white are learnt as blank, and stay so.

    Args:
        pictures: in [-1, 1].
        reconstruction: of relaxed codes.
        logits: of the codes.
        kl_weight: of the mean divergence from uniform codes, nats a code, against the mean error of a pixel's value.

    Source: Ramesh et al. 2021, section 2.1.
    """
    difference = reconstruction.float() - pictures
    error = difference.abs().mean()
    divergence = kl_to_uniform(logits.float()).mean()
    total = error + difference.square().mean() + kl_weight * divergence
    return ImageLoss(total, {"error": error.detach(), "divergence": divergence.detach()})


def next_token_loss(
    text_logits: Float[Tensor, "b words vocabulary"],
    image_logits: Float[Tensor, "b image k"],
    ids: Int[Tensor, "b words+1"],
    mask: Bool[Tensor, "b words+1"],
    codes: Int[Tensor, "b image"],
    image_weight: float,
) -> ImageLoss:
    """Return the weighted mean of the cross-entropies of the next text token and of the next image code.

    Args:
        text_logits: entry i is about the token after token i.
        image_logits: entry i is about code i.
        ids, mask: the caption's tokens and which of them are real; padding is not asked for.
        codes: in reading order.
        image_weight: weight of the codes, where the text's is 1.

    Source: Ramesh et al. 2021, section 2.2; each term is in nats per token.
    """
    asked = mask[:, 1:].float()
    each = functional.cross_entropy(text_logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
    text = (each * asked).sum() / asked.sum().clamp(min=1)
    image = functional.cross_entropy(image_logits.float().flatten(0, 1), codes.flatten())
    total = (text + image_weight * image) / (1 + image_weight)
    return ImageLoss(total, {"text": text.detach(), "image": image.detach()})


def code_accuracy(image_logits: Float[Tensor, "b image k"], codes: Int[Tensor, "b image"]) -> Float[Tensor, ""]:
    """Return the share of codes that were the most probable ones."""
    return (image_logits.argmax(-1) == codes).float().mean()
