"""What a run of an image network needs: the network, its data, and what frozen networks say of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.common.progress import Progress
from anfinsen.images.clip import Clip, ClipConfig
from anfinsen.images.dalle1 import DiscreteVae
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.weights.images import CLIP, CLIP_HASH, DALLE1_DVAE, DVAE_HASH, IMAGE_FAMILIES, TOKENIZER, tokenizer_of
from anfinsen.weights.store import WeightsInfo

from .alignment import PictureTokens
from .data import ImageData, Split, read_captions, read_images
from .features import FeatureStore
from .objectives import (
    ClipObjective,
    DecoderObjective,
    DiscreteVaeObjective,
    Objective,
    PriorObjective,
    TransformerObjective,
    UpsamplerObjective,
)
from .options import ImageTrainOptions
from .recipe import CONDITION_DROPS, ConditionDrop

SPLITS: tuple[Split, Split] = ("train", "validation")
DALLE2 = ("dalle2-prior", "dalle2-decoder", "dalle2-upsampler")
DROPPED = "conditions_dropped"


@dataclass(frozen=True)
class Ingredients:
    """Everything that a trainer works with.

    Attributes:
        model: with its first weights. train, validation: the data.
        objective, scoring: what is learnt on the first, and how it is scored on the second.
        sources: hashes of the data and of the networks that this one stands on, and how often the decoder does
            without them: what must be the same for a run to go on.
        metadata: what else its weights are to hold.
        start: weights that it goes on from, if any.
    """

    model: nn.Module
    train: ImageData
    validation: ImageData
    objective: Objective
    scoring: Objective
    sources: dict[str, str]
    metadata: dict[str, str]
    start: WeightsInfo | None = None


def gather(options: ImageTrainOptions, device: torch.device, progress: Progress) -> Ingredients:
    """Return what a run needs.

    Raises:
        ConfigError: a configuration cannot be. InputError: the data cannot be used.
        WeightsError: the weights of a network that this one stands on, or begins with, cannot be used, or are of other
            sizes.
    """
    family, folder = IMAGE_FAMILIES[options.network], options.run.data
    config = family.presets[options.run.preset]
    config = options.noise.applied(config) if options.network in DALLE2 else config
    under = _Under.load(options, device)
    first, start = family.load(options.run.start, device) if options.run.start else (None, None)
    own = options.network in ("clip", "dalle1-transformer")
    if own and start is not None:
        tokenizer = tokenizer_of(start)
    else:
        tokenizer = under.tokenizer or Tokenizer.train(read_captions(folder))
    _check_sizes(options, config, under, tokenizer)
    train, validation = (read_images(folder, split, tokenizer) for split in SPLITS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.run.seed)
        model = family.build(config).to(device)
    if first is not None and start is not None:
        _check_start(options, config, first.config, start, under, progress)
        model.load_state_dict(first.state_dict())
    store = FeatureStore(options.features, device, options.run.bf16, progress)
    usual = CONDITION_DROPS.get(options.network, ConditionDrop())
    drop = options.drop.applied(usual)
    sources = {"data": train.digest, **under.sources, **({"start": start.sha256} if start else {})}
    if drop != usual:
        sources[DROPPED] = f"embedding {drop.image:g}, caption {drop.text:g}, both {drop.both:g}"
    return Ingredients(
        model,
        train,
        validation,
        _objective(options, model, under, train, store, drop),
        _objective(options, model, under, validation, store, drop),
        sources,
        {TOKENIZER: tokenizer.to_json()} if own else {},
        start,
    )


@dataclass(frozen=True)
class _Under:
    """The frozen network that another stands on, if any."""

    network: Clip | DiscreteVae | None = None
    info: WeightsInfo | None = None
    tokenizer: Tokenizer | None = None

    @classmethod
    def load(cls, options: ImageTrainOptions, device: torch.device) -> _Under:
        if options.network in DALLE2:
            clip, info = CLIP.load(options.clip, device)
            return cls(clip.requires_grad_(False), info, tokenizer_of(info))
        if options.network == "dalle1-transformer":
            dvae, info = DALLE1_DVAE.load(options.dvae, device)
            return cls(dvae.requires_grad_(False), info)
        return cls()

    @property
    def sha256(self) -> str:
        return self.info.sha256 if self.info else ""

    @property
    def sources(self) -> dict[str, str]:
        if self.info is None:
            return {}
        return {CLIP_HASH if isinstance(self.network, Clip) else DVAE_HASH: self.sha256}


def _check_start(
    options: ImageTrainOptions, config: Any, first: Any, start: WeightsInfo, under: _Under, progress: Progress
) -> None:
    """Refuse to begin with weights of other sizes; noise levels may differ, and the network that they stand on.

    A CLIP that was trained on itself places pictures much as before, and learning the rest is what training is for.
    """
    if hasattr(config, "diffusion"):
        first = replace(first, diffusion=config.diffusion)
    if first != config:
        raise WeightsError(
            f"The weights {options.run.start} are not of the sizes of preset {options.run.preset!r}: name their preset "
            "with --preset."
        )
    for name, sha256 in under.sources.items():
        if start.metadata.get(name) != sha256:
            progress.note(
                f"The weights {options.run.start} were trained with another {name} (SHA-256 "
                f"{start.metadata.get(name, 'unknown')[:12]}, now {sha256[:12]}): this one is now learnt."
            )


def _check_sizes(options: ImageTrainOptions, config: Any, under: _Under, tokenizer: Tokenizer) -> None:
    """Refuse a network whose widths are not those of the network it stands on, or whose vocabulary is too small."""
    if isinstance(under.network, Clip):
        clip = under.network.config
        _check_alignment(options, config, clip)
        wanted = (config.c_clip, getattr(config, "c_text", clip.text.width))
        given = (clip.embedding, clip.text.width)
        if wanted != given:
            raise WeightsError(
                f"The CLIP {options.clip} has embeddings of {given[0]} and encodings of {given[1]} numbers, and preset "
                f"{options.run.preset!r} of {options.network} wants {wanted[0]} and {wanted[1]}: give a CLIP of the "
                "same preset."
            )
    if isinstance(under.network, DiscreteVae) and under.network.config.codes != config.codes:
        raise WeightsError(
            f"The discrete VAE {options.dvae} has {under.network.config.codes} codes, and preset "
            f"{options.run.preset!r} of {options.network} wants {config.codes}: give one of the same preset."
        )
    if tokenizer.vocabulary_size > getattr(config, "vocabulary", tokenizer.vocabulary_size):
        raise ConfigError(
            f"The captions have a vocabulary of {tokenizer.vocabulary_size} tokens, and {options.network} takes at "
            f"most {config.vocabulary}."
        )


def _check_alignment(options: ImageTrainOptions, config: Any, clip: ClipConfig) -> None:
    """Refuse a decoder that would guess tokens of another number or width than CLIP's pictures have."""
    if not getattr(config, "c_aligned", 0):
        return
    wanted = (config.unet.lowest_side**2, config.c_aligned)
    given = (clip.image_tokens, clip.image.width)
    if wanted != given:
        raise WeightsError(
            f"The CLIP {options.clip} has {given[0]} picture tokens of {given[1]} numbers, and preset "
            f"{options.run.preset!r} of {options.network} guesses {wanted[0]} of {wanted[1]}: give a CLIP of the same "
            "preset."
        )


def _objective(
    options: ImageTrainOptions, model: Any, under: _Under, data: ImageData, store: FeatureStore, drop: ConditionDrop
) -> Objective:
    """Return what the network of these options learns on a split."""
    network, device = options.network, store.device
    if isinstance(under.network, Clip):
        features = store.clip(under.network, under.sha256, data)
        if network == "dalle2-prior":
            return PriorObjective(model, features, drop, device)
        if network == "dalle2-decoder":
            aligned = model.config.c_aligned and data.split == "train"
            tokens = PictureTokens(under.network, data, device) if aligned else None
            return DecoderObjective(model, data, features, drop, device, tokens)
        return UpsamplerObjective(model, data, features, drop, device)
    if isinstance(under.network, DiscreteVae):
        return TransformerObjective(model, data, store.codes(under.network, under.sha256, data), device)
    if network == "clip":
        return ClipObjective(model, data, device)
    return DiscreteVaeObjective(model, data, device)
