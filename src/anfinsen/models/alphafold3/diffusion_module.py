"""The denoiser: noisy atoms in, atoms at rest out (AlphaFold 3, Algorithm 20)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.errors import ConfigError
from anfinsen.diffusion import EdmPreconditioning
from anfinsen.nn.adaptive_layer_norm import lecun_
from anfinsen.nn.batch import Batch
from anfinsen.nn.diffusion_transformer import BlockModulation, DiffusionTransformer, DiffusionTransformerConfig
from anfinsen.nn.windows import Windows

from .atom_attention import AtomAttentionConfig, AtomAttentionDecoder, AtomAttentionEncoder, AtomToken
from .diffusion_conditioning import DiffusionConditioning, DiffusionConditioningConfig


@dataclass(frozen=True)
class DiffusionModuleConfig:
    """Sizes and variants of `DiffusionModule`; the defaults are the released AlphaFold 3 code.

    Attributes:
        sigma_data: standard deviation of the coordinates, Å.
        conditioning, atoms, transformer: the parts. The widths they share must agree: atoms.c_token = transformer.c_a,
            conditioning.c_cond = transformer.c_s, conditioning.c_z = transformer.c_z.
        offset: whether the LayerNorms around the token transformer have an offset (Boltz).
        bias_cache_bytes: attention biases of the token transformer are kept for all steps if they fit into so many
            bytes; otherwise the pair conditioning is kept and they are made anew in every step. Likewise for the
            modulations of an atom transformer.
    """

    sigma_data: float = 16.0
    conditioning: DiffusionConditioningConfig = field(default_factory=DiffusionConditioningConfig)
    atoms: AtomAttentionConfig = field(default_factory=AtomAttentionConfig)
    transformer: DiffusionTransformerConfig = field(default_factory=DiffusionTransformerConfig)
    offset: bool = False
    bias_cache_bytes: int = 2**31

    def __post_init__(self) -> None:
        for first, second, name in (
            (self.atoms.c_token, self.transformer.c_a, "atoms.c_token and transformer.c_a"),
            (self.conditioning.c_cond, self.transformer.c_s, "conditioning.c_cond and transformer.c_s"),
            (self.conditioning.c_z, self.transformer.c_z, "conditioning.c_z and transformer.c_z"),
        ):
            if first != second:
                raise ConfigError(f"Settings {name} of the diffusion module must be equal: got {first} and {second}.")


@dataclass(frozen=True)
class DiffusionCache:
    """All that does not depend on the noisy positions and the noise level; made once per trunk pass.

    Attributes:
        single: conditioning before the noise level is added. token_biases: of all blocks, or None where they were too
            large; then ``pair`` is the pair conditioning they are made from.
        encoder_conditions, decoder_conditions: conditioning of the atoms, or (without gradients) the modulations that
            the atom transformers make of it. atom_base: what the noisy positions are added to.
        encoder_biases, decoder_biases: of the atom transformers. windows, atom_token: indices.
    """

    single: Float[Tensor, "n c_cond"]
    token_biases: Float[Tensor, "blocks heads n n"] | None
    pair: Float[Tensor, "n n c_z"] | None
    encoder_conditions: Float[Tensor, "a c_atom"] | tuple[BlockModulation, ...]
    decoder_conditions: Float[Tensor, "a c_atom"] | tuple[BlockModulation, ...]
    atom_base: Float[Tensor, "a c_atom"]
    encoder_biases: Float[Tensor, "atom_blocks atom_heads w q k"]
    decoder_biases: Float[Tensor, "atom_blocks atom_heads w q k"]
    windows: Windows
    atom_token: AtomToken


class DiffusionModule(nn.Module):
    """Denoiser D(x, sigma) with its scalings (AlphaFold 3, Algorithm 20).

    `precompute` once per trunk pass, then call the module for every step; samples share everything in the cache.
    """

    def __init__(self, config: DiffusionModuleConfig) -> None:
        super().__init__()
        self.config = config
        c_s, c_z = config.conditioning.c_s, config.conditioning.c_z
        c_token, c_cond = config.transformer.c_a, config.transformer.c_s
        self.scaling = EdmPreconditioning(config.sigma_data)
        self.conditioning = DiffusionConditioning(config.conditioning)
        self.encoder = AtomAttentionEncoder(config.atoms, c_s, c_z)
        self.norm_single = nn.LayerNorm(c_cond, bias=config.offset)
        self.from_single = nn.Linear(c_cond, c_token, bias=False)
        self.transformer = DiffusionTransformer(config.transformer)
        self.norm_token = nn.LayerNorm(c_token, bias=config.offset)
        self.decoder = AtomAttentionDecoder(config.atoms)
        lecun_(self.from_single.weight)

    def precompute(
        self,
        batch: Batch,
        s_inputs: Float[Tensor, "n c_s_inputs"],
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
    ) -> DiffusionCache:
        """Return what all steps and samples share; under autograd it belongs to the graph."""
        return self.cache(batch, s_inputs, single, self.conditioning.pair.of_batch(batch, pair))

    def cache(
        self,
        batch: Batch,
        s_inputs: Float[Tensor, "n c_s_inputs"],
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
    ) -> DiffusionCache:
        """Return what all steps and samples share from a ``pair`` that is conditioned already."""
        windows = self.config.atoms.windows(batch.atom_mask)
        conditions = self.encoder.conditioning(batch, windows, single, pair)
        transformer = self.config.transformer
        size = transformer.blocks * transformer.heads * pair.shape[0] ** 2 * pair.element_size()
        fits = size <= self.config.bias_cache_bytes
        return DiffusionCache(
            single=self.conditioning.single.base(single, s_inputs),
            token_biases=self.transformer.pair_biases(pair, batch.token_mask) if fits else None,
            pair=None if fits else pair,
            encoder_conditions=self._modulations(self.encoder.transformer, conditions.single),
            decoder_conditions=self._modulations(self.decoder.transformer, conditions.single),
            atom_base=self.encoder.query_base(conditions),
            encoder_biases=self.encoder.transformer.pair_biases(conditions.pair, windows.key_mask),
            decoder_biases=self.decoder.transformer.pair_biases(conditions.pair, windows.key_mask),
            windows=windows,
            atom_token=self.config.atoms.atom_token(batch, pair.dtype),
        )

    def _modulations(
        self, transformer: DiffusionTransformer, single: Float[Tensor, "a c_atom"]
    ) -> Float[Tensor, "a c_atom"] | tuple[BlockModulation, ...]:
        # Up to eight vectors per atom and block; with gradients they would defeat checkpointing.
        size = 8 * transformer.config.blocks * single.numel() * single.element_size()
        if torch.is_grad_enabled() or size > self.config.bias_cache_bytes:
            return single
        return transformer.modulations(single)

    def forward(
        self,
        noisy: Float[Tensor, "samples a 3"],
        sigma: Float[Tensor, " samples"],
        batch: Batch,
        cache: DiffusionCache,
    ) -> Float[Tensor, "samples a 3"]:
        """Return the denoised coordinates in Å of ``noisy`` (Å) at the noise levels ``sigma`` (Å).

        Rows of padding atoms are arbitrary but finite.
        """
        level = sigma[:, None, None]
        if not torch.is_grad_enabled() and bool((sigma == sigma[0]).all()):
            sigma = sigma[:1]
        update = self.network(self.scaling.c_in(level) * noisy, self.scaling.c_noise(sigma), batch, cache)
        return self.scaling.c_skip(level) * noisy + self.scaling.c_out(level) * update

    def network(
        self,
        positions: Float[Tensor, "samples a 3"],
        noise: Float[Tensor, " levels"],
        batch: Batch,
        cache: DiffusionCache,
    ) -> Float[Tensor, "samples a 3"]:
        """Return the network's displacement of scaled ``positions`` at c_noise ``noise``: one, or one per sample."""
        # One level for all samples: the conditioning has no sample axis and is broadcast.
        single = self.conditioning.single(cache.single, noise if len(noise) > 1 else noise[0])
        queries = cache.atom_base + self.encoder.from_position(positions)
        tokens, atoms = self.encoder(
            queries, cache.encoder_conditions, cache.encoder_biases, cache.windows, cache.atom_token
        )
        tokens = tokens + self.from_single(self.norm_single(single))
        tokens = self.norm_token(self.transformer(tokens, single, self._token_biases(batch, cache)))
        displacement: Tensor = self.decoder(
            tokens, atoms, cache.decoder_conditions, cache.decoder_biases, cache.windows, cache.atom_token
        )
        return displacement

    def _token_biases(self, batch: Batch, cache: DiffusionCache) -> Iterable[Tensor]:
        if cache.token_biases is not None:
            return cache.token_biases
        assert cache.pair is not None
        return self.transformer.each_pair_bias(cache.pair, batch.token_mask)
