"""What a step of each image network is: which examples, which noise, which loss; and its scores along the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.common.seeding import gaussian
from anfinsen.diffusion import Network, apply_preconditioning
from anfinsen.images.clip import Clip
from anfinsen.images.dalle1 import DiscreteVae, ImageTransformer, perplexity
from anfinsen.images.dalle2 import Decoder, Prior, Upsampler, to_base
from anfinsen.images.retrieval import retrieval_recall
from anfinsen.losses.images import (
    ImageLoss,
    alignment_loss,
    code_accuracy,
    contrastive_loss,
    denoising_loss,
    discrete_vae_loss,
    next_token_loss,
)

from .alignment import PictureTokens
from .data import ImageData
from .features import ClipFeatures
from .recipe import ALIGNMENT_WEIGHT, ConditionDrop


@runtime_checkable
class Objective(Protocol):
    """What a network is trained for, on data in memory."""

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the loss of these pictures when the share ``done`` of the run is over."""

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return scores of these pictures, without gradient."""


@dataclass(frozen=True)
class ClipObjective:
    """Pictures and captions find each other."""

    model: Clip
    data: ImageData
    device: torch.device

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the contrastive loss; siblings stand side by side in ``rows``."""
        del done, generator
        images, texts = self._embeddings(rows)
        scale = self.model.scale
        loss = contrastive_loss(images, texts, scale)
        return ImageLoss(loss, {"scale": scale.detach()})

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the loss, and recall at 1 both ways."""
        del generator
        images, texts = self._embeddings(rows)
        loss = contrastive_loss(images, texts, self.model.scale)
        found = retrieval_recall(images, texts, [self.data.captions[row] for row in rows.tolist()], ranks=(1,))
        return {"loss": float(loss), "caption_recall": found.captions[1], "picture_recall": found.pictures[1]}

    def _embeddings(self, rows: Int[Tensor, "b"]) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        images = self.model.encode_image(self.data.pictures(rows, self.device))
        text = self.model.encode_text(self.data.ids[rows].to(self.device), self.data.mask[rows].to(self.device))
        return images, text.embedding


@dataclass(frozen=True)
class PriorObjective:
    """The embedding of a picture from CLIP's view of its caption."""

    model: Prior
    features: ClipFeatures
    drop: ConditionDrop
    device: torch.device

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the error of what the prior predicts; captions are left out as often as ``drop.image`` says."""
        del done
        return _mean(self._losses(rows, generator, _chosen(len(rows), self.drop.image, generator, self.device)))

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the loss, and the cosine between truth and what is predicted from noise alone."""
        loss = self._losses(rows, generator, None).mean()
        text = self.features.text(rows, self.device)
        clean = self.features.images[rows].to(self.device)
        sigma = torch.full((len(rows),), self.model.config.diffusion.sigma_max, device=self.device)
        noise = sigma[:, None] * gaussian(clean.shape, generator).to(self.device)
        first = apply_preconditioning(self.model.preconditioning, self.model.network(text), noise, sigma)
        return {"loss": float(loss), "cosine": float((self.model.to_unit(first.float()) * clean).sum(-1).mean())}

    def _losses(
        self, rows: Int[Tensor, "b"], generator: torch.Generator, drop: Bool[Tensor, "b"] | None
    ) -> Float[Tensor, "b"]:
        clean = self.model.to_scaled(self.features.images[rows].to(self.device))
        sigma = _levels(self.model, len(rows), generator, self.device)
        network = self.model.network(self.features.text(rows, self.device), drop)
        noise = gaussian(clean.shape, generator).to(self.device)
        return _denoising(self.model, network, clean, noise, sigma)


@dataclass(frozen=True)
class DecoderObjective:
    """Small pictures from CLIP's embedding of the true picture (never of a prior's) and the caption's encodings."""

    model: Decoder
    data: ImageData
    features: ClipFeatures
    drop: ConditionDrop
    device: torch.device
    tokens: PictureTokens | None = None

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the denoising loss; each condition is left out as often as ``drop`` says.

        With ``tokens`` a hidden state is asked for them, too.
        """
        del done
        image, text, both = (
            _chosen(len(rows), share, generator, self.device)
            for share in (self.drop.image, self.drop.text, self.drop.both)
        )
        network = self._network(rows, image | both, text | both)
        if self.tokens is None:
            return _mean(self._losses(rows, generator, network))
        guesses: list[Tensor] = []

        def watched(x: Float[Tensor, "b 3 size size"], noise: Float[Tensor, "b"]) -> Float[Tensor, "b 3 size size"]:
            answer, guess = self.model.watched(network, x, noise)
            guesses.append(guess)
            return answer

        denoising = self._losses(rows, generator, watched).mean()
        alignment = alignment_loss(guesses[0], self.tokens.of(rows))
        terms = {"denoising": denoising.detach(), "alignment": alignment.detach()}
        return ImageLoss(denoising + ALIGNMENT_WEIGHT * alignment, terms)

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the denoising loss with all conditions."""
        return {"loss": float(self._losses(rows, generator, self._network(rows, None, None)).mean())}

    def _network(
        self, rows: Int[Tensor, "b"], drop_embedding: Bool[Tensor, "b"] | None, drop_text: Bool[Tensor, "b"] | None
    ) -> Network:
        image, text = self.features.images[rows].to(self.device), self.features.text(rows, self.device)
        return self.model.network(image, text, drop_embedding, drop_text)

    def _losses(self, rows: Int[Tensor, "b"], generator: torch.Generator, network: Network) -> Float[Tensor, "b"]:
        clean = self.data.small(rows, self.device)
        sigma = _levels(self.model, len(rows), generator, self.device)
        return _denoising(self.model, network, clean, _noise_like(clean, generator), sigma)


@dataclass(frozen=True)
class UpsamplerObjective:
    """Pictures from spoilt small ones and CLIP's embedding."""

    model: Upsampler
    data: ImageData
    features: ClipFeatures
    drop: ConditionDrop
    device: torch.device

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the denoising loss; the embedding is left out as often as ``drop.image`` says."""
        del done
        return _mean(self._losses(rows, generator, _chosen(len(rows), self.drop.image, generator, self.device)))

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the loss with the embedding."""
        return {"loss": float(self._losses(rows, generator, None).mean())}

    def _losses(
        self, rows: Int[Tensor, "b"], generator: torch.Generator, drop: Bool[Tensor, "b"] | None
    ) -> Float[Tensor, "b"]:
        clean = self.data.pictures(rows, self.device)
        sigma = _levels(self.model, len(rows), generator, self.device)
        low, level = self.model.degraded(to_base(clean), generator)
        network = self.model.network(low, level, self.features.images[rows].to(self.device), drop)
        return _denoising(self.model, network, clean, _noise_like(clean, generator), sigma)


@dataclass(frozen=True)
class DiscreteVaeObjective:
    """Pictures through codes."""

    model: DiscreteVae
    data: ImageData
    device: torch.device

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the bound with relaxed codes, which are the more like real ones the more of the run is over."""
        pictures = self.data.pictures(rows, self.device)
        logits = self.model.logits(pictures)
        temperature = self.model.config.temperature(done)
        relaxed = self.model.relaxed(logits, temperature, generator)
        found = discrete_vae_loss(pictures, self.model.decode(relaxed), logits, self.model.config.kl_weight)
        return ImageLoss(found.total, found.terms | {"temperature": torch.tensor(temperature)})

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the mean absolute error of pictures through real codes, and how many codes are in use."""
        del generator
        pictures = self.data.pictures(rows, self.device)
        codes = self.model.codes(pictures)
        error = (self.model.decode_codes(codes) - pictures).abs().mean()
        return {"error": float(error), "perplexity": float(perplexity(codes, self.model.config.codes))}


@dataclass(frozen=True)
class TransformerObjective:
    """The caption's tokens and then the picture's codes, each from those before it."""

    model: ImageTransformer
    data: ImageData
    codes: Int[Tensor, "n h w"]
    device: torch.device

    def loss(self, rows: Int[Tensor, "b"], done: float, generator: torch.Generator) -> ImageLoss:
        """Return the two cross-entropies; captions are left out as often as the configuration says."""
        del done
        ids, mask = self.data.ids[rows].to(self.device), self.data.mask[rows].to(self.device)
        drop = _chosen(len(rows), self.model.config.caption_dropout, generator, self.device)
        seen, seen_mask = self.model.drop_captions(ids, mask, drop)
        codes = self.codes[rows].to(self.device)
        text_logits, image_logits = self.model(seen, seen_mask, codes)
        weight = self.model.config.image_weight
        return next_token_loss(text_logits, image_logits, seen, seen_mask, codes.flatten(1), weight)

    def scores(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, float]:
        """Return the losses in nats per token, and the share of codes that were the most probable."""
        del generator
        ids, mask = self.data.ids[rows].to(self.device), self.data.mask[rows].to(self.device)
        codes = self.codes[rows].to(self.device)
        text_logits, image_logits = self.model(ids, mask, codes)
        flat, weight = codes.flatten(1), self.model.config.image_weight
        found = next_token_loss(text_logits, image_logits, ids, mask, flat, weight)
        terms = {name: float(value) for name, value in found.terms.items()}
        return {**terms, "code_accuracy": float(code_accuracy(image_logits, flat))}


def _mean(losses: Float[Tensor, "b"]) -> ImageLoss:
    return ImageLoss(losses.mean(), {})


def _levels(
    model: Prior | Decoder | Upsampler, count: int, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "b"]:
    return model.config.diffusion.training_noise().sample(count, generator).to(device)


def _denoising(
    model: Prior | Decoder | Upsampler,
    network: Network,
    clean: Float[Tensor, "b ..."],
    noise: Float[Tensor, "b ..."],
    sigma: Float[Tensor, "b"],
) -> Float[Tensor, "b"]:
    """Return the weighted loss of each example."""
    losses = denoising_loss(model.preconditioning, network, clean, noise, sigma)
    return model.config.diffusion.loss_weight(sigma) * losses


def _chosen(count: int, share: float, generator: torch.Generator, device: torch.device) -> Bool[Tensor, "b"]:
    return (torch.rand(count, generator=generator) < share).to(device)


def _noise_like(pictures: Float[Tensor, "b 3 y x"], generator: torch.Generator) -> Float[Tensor, "b 3 y x"]:
    noise = gaussian(pictures.shape, generator).to(pictures.device)
    return noise.contiguous(memory_format=torch.channels_last)


def mean_scores(found: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Return the mean of scores of several batches, each counted as often as it has pictures."""
    total = sum(count for count, _ in found)
    names = found[0][1]
    return {name: math.fsum(count * scores[name] for count, scores in found) / total for name in names}
