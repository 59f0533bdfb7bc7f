"""One training step on one example: trunk, noised copies, roll-out, losses (supplement, section 3.7 and figure 2c)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import NonFiniteError
from anfinsen.diffusion import LogNormalNoise
from anfinsen.geometry import centre_random_augmentation
from anfinsen.losses import (
    ConfidenceLoss,
    TrainingLoss,
    batch_symmetries,
    confidence_loss,
    diffusion_loss,
    distogram_loss,
    permute_labels,
    shared_single,
    training_loss,
)
from anfinsen.models.alphafold3 import AlphaFold3, TrunkOutput
from anfinsen.nn.batch import Batch, Labels

from .recipe import Stage


@dataclass(frozen=True)
class StepSettings:
    """What a step needs beside model and example.

    Attributes:
        stage: sizes and loss weights. recycles: of this step. rollout: whether to train confidence in this step.
        rollout_steps, rollout_samples: of the mini roll-out. bf16: autocast the network (losses stay float32).
    """

    stage: Stage
    recycles: int
    rollout: bool
    rollout_steps: int = 20
    rollout_samples: int = 1
    bf16: bool = False


def example_loss(
    model: AlphaFold3, batch: Batch, labels: Labels, settings: StepSettings, generator: torch.Generator
) -> TrainingLoss:
    """Return the loss of one example, ready for ``backward``.

    Raises:
        NonFiniteError: the loss is NaN or infinite.
    """
    stage = settings.stage
    train_trunk = stage.train != "confidence"
    with torch.autocast(labels.coordinates.device.type, dtype=torch.bfloat16, enabled=settings.bf16):
        with torch.set_grad_enabled(train_trunk):
            trunk = model.trunk(batch, recycles=settings.recycles, generator=generator)
        denoised_and_levels = None
        if stage.train == "all":
            denoised_and_levels = _denoise(model, batch, labels, trunk, stage, generator)
        logits = model.distogram_logits(trunk) if train_trunk else None
    diffusion = distogram = shared = None
    if denoised_and_levels is not None:
        denoised, sigma = denoised_and_levels
        _check_finite(denoised)  # the alignment within the loss cannot cope with NaN
        diffusion = diffusion_loss(denoised.float(), sigma, batch, labels, stage.losses)
    if logits is not None:
        distogram = distogram_loss(logits.float(), batch, labels)
    if stage.train == "all" and stage.losses.shared_single:
        shared = shared_single(trunk.single)
    confidence = _confidence(model, batch, labels, trunk, settings, generator) if settings.rollout else None
    if confidence is not None and labels.predicted:
        # What is predicted is no measure of how good predictions are (section 4.3); the terms keep their names, because
        # workers add them up.
        confidence = ConfidenceLoss(**{name: 0.0 * value for name, value in vars(confidence).items()})
    loss = training_loss(stage.losses, diffusion, distogram, confidence, shared, labels.weight)
    _check_finite(loss.total)
    return loss


def _check_finite(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise NonFiniteError(
            "The training loss is not finite: lower the learning rate, or go on from the last checkpoint in float32."
        )


def noised_copies(
    labels: Labels, copies: int, noise: LogNormalNoise, generator: torch.Generator
) -> tuple[Float[Tensor, "copies a 3"], Float[Tensor, "copies"]]:
    """Return randomly placed copies of the true structure with noise of log-normal levels, and the levels (Å)."""
    sigma = noise.sample(copies, generator).to(labels.coordinates)
    true = labels.coordinates.expand(copies, -1, -1)
    placed = centre_random_augmentation(true, labels.resolved, generator)
    fresh = torch.randn(placed.shape, generator=generator, device=generator.device).to(placed)
    return placed + sigma[:, None, None] * fresh, sigma


def _denoise(
    model: AlphaFold3, batch: Batch, labels: Labels, trunk: TrunkOutput, stage: Stage, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    noise = LogNormalNoise(scale=model.config.sigma_data)
    noisy, sigma = noised_copies(labels, stage.diffusion_batch, noise, generator)
    cache = model.diffusion.precompute(batch, trunk.s_inputs, trunk.single, trunk.pair)
    return model.diffusion(noisy, sigma, batch, cache), sigma


def _confidence(
    model: AlphaFold3,
    batch: Batch,
    labels: Labels,
    trunk: TrunkOutput,
    settings: StepSettings,
    generator: torch.Generator,
) -> ConfidenceLoss:
    # Supplement 4.3: no gradient of the confidence losses reaches trunk or diffusion.
    still = TrunkOutput(*(value.detach().float() for value in (trunk.s_inputs, trunk.single, trunk.pair)))
    coordinates = rollout(model, batch, still, settings, generator)
    with torch.autocast(labels.coordinates.device.type, dtype=torch.bfloat16, enabled=settings.bf16):
        logits = model.confidence(batch, still, coordinates)
    symmetries = batch_symmetries(batch)
    matched = [permute_labels(x, batch, labels, symmetric_atoms=symmetries) for x in coordinates]
    return confidence_loss(
        logits.plddt, logits.pae, logits.pde, logits.resolved, coordinates, batch, matched, settings.stage.losses
    )


def rollout(
    model: AlphaFold3, batch: Batch, trunk: TrunkOutput, settings: StepSettings, generator: torch.Generator
) -> Float[Tensor, "samples a 3"]:
    """Return structures of the mini roll-out, without gradient and without dropout."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model.sample(
                batch,
                trunk,
                samples=settings.rollout_samples,
                steps=settings.rollout_steps,
                generator=generator,
            ).float()
    finally:
        model.train(training)
