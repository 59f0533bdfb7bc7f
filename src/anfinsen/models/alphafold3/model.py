"""AlphaFold 3: the trunk, the diffusion module over raw atoms, and the confidence head (algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.errors import NonFiniteError
from anfinsen.common.seeding import Generators, gaussian
from anfinsen.diffusion import alphafold3_sigmas, sample
from anfinsen.geometry import centre_random_augmentation
from anfinsen.nn import GatedAttention, PairWeightedAveraging, RowAttention
from anfinsen.nn.batch import Batch

from .config import AlphaFold3Config
from .diffusion_module import DiffusionModule
from .heads import ConfidenceHead, ConfidenceLogits, DistogramHead, TrunkOutput
from .trunk import Trunk

ATTENTION_KINDS = (RowAttention, PairWeightedAveraging, GatedAttention)


class AlphaFold3(nn.Module):
    """The whole network; one instance of this code serves every preset.

    Use :meth:`trunk` once, then :meth:`sample` and :meth:`confidence`; training calls the parts itself.
    """

    def __init__(self, config: AlphaFold3Config) -> None:
        super().__init__()
        self.config = config
        self.trunk_module = Trunk(config)
        self.diffusion = DiffusionModule(config.diffusion)
        self.distogram = DistogramHead(config.c_z)
        self.confidence_head = ConfidenceHead(
            config.confidence_blocks, config.c_s_inputs, config.pairformer, row_means=config.confidence_row_means
        )

    @property
    def reads_templates(self) -> bool:
        """Whether templates change anything; training without them leaves the embedder's last layer at zero."""
        return bool(self.trunk_module.templates.output.weight.any())

    def attention_modules(self) -> dict[str, nn.Module]:
        """Return every attention by its name, for :func:`anfinsen.nn.watch`."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ATTENTION_KINDS)}

    def trunk(
        self,
        batch: Batch,
        *,
        recycles: int,
        generator: torch.Generator | None = None,
        on_recycle: Callable[[], None] | None = None,
    ) -> TrunkOutput:
        """Return the representations after ``recycles`` recycles.

        Args:
            batch: features of one complex.
            recycles: how often the trunk's output is fed back (0: one pass).
            generator: draws the MSA rows of each pass.
            on_recycle: called after each pass.

        Raises:
            NonFiniteError: the representations contain NaN or infinity.
        """
        output: TrunkOutput = self.trunk_module(batch, recycles, generator, on_recycle)
        if not (torch.isfinite(output.single).all() and torch.isfinite(output.pair).all()):
            raise NonFiniteError("The trunk produced non-finite numbers: the weights or the features are damaged.")
        return output

    def sample(
        self,
        batch: Batch,
        trunk: TrunkOutput,
        *,
        samples: int,
        steps: int,
        generator: Generators,
        on_step: Callable[[], None] | None = None,
    ) -> Float[Tensor, "samples a 3"]:
        """Return ``samples`` structures in Å drawn by algorithm 18; padding atoms are at the origin.

        Args:
            batch, trunk: the complex and its representations.
            samples: number of structures. steps: of the diffusion.
            generator: draws all randomness; one for each sample makes a sample the same whatever the number of samples
                (up to the rounding of computing them together).
            on_step: called after each step.

        Raises:
            NonFiniteError: the coordinates became NaN or infinite.
        """
        cache = self.diffusion.precompute(batch, trunk.s_inputs, trunk.single, trunk.pair)
        sigmas = alphafold3_sigmas(steps, sigma_data=self.config.diffusion.sigma_data)
        shape = (samples, batch.atom_mask.shape[0], 3)
        noise = gaussian(shape, generator).to(trunk.single.device)

        def denoise(x: Float[Tensor, "samples a 3"], sigma: Float[Tensor, ""]) -> Float[Tensor, "samples a 3"]:
            levels = sigma.to(x).expand(samples)
            result: Tensor = self.diffusion(x, levels, batch, cache)
            return result

        def augment(x: Float[Tensor, "samples a 3"], step: Generators) -> Float[Tensor, "samples a 3"]:
            return centre_random_augmentation(x, batch.atom_mask, step)

        x = sample(
            denoise,
            noise * sigmas[0].to(noise),
            sigmas,
            self.config.sampler,
            generator,
            before_step=augment,
            on_step=on_step,
        )
        return x * batch.atom_mask[:, None]

    def confidence(
        self, batch: Batch, trunk: TrunkOutput, coordinates: Float[Tensor, "samples a 3"]
    ) -> ConfidenceLogits:
        """Return the confidence logits of each sampled structure."""
        logits: ConfidenceLogits = self.confidence_head(batch, trunk, coordinates)
        return logits

    def distogram_logits(self, trunk: TrunkOutput) -> Float[Tensor, "n n 64"]:
        """Return the logits of the distance between the tokens' representative atoms (64 bins, 2-22 Å)."""
        logits: Tensor = self.distogram(trunk.pair)
        return logits
