"""First description of each token: its atoms, its type and its alignment column (AlphaFold 3, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.nn.batch import Batch

from .atom_attention import AtomAttentionConfig, AtomAttentionEncoder

N_RESTYPES = 32
C_TOKEN_FEATURES = N_RESTYPES + N_RESTYPES + 1  # restype, profile, mean number of deletions


@dataclass(frozen=True)
class InputEmbedderConfig:
    """The atom encoder of `InputEmbedder`: without trunk and noise, 384 wide."""

    atoms: AtomAttentionConfig = field(default_factory=lambda: AtomAttentionConfig(c_token=384))

    @property
    def c_s_inputs(self) -> int:
        """Return the width of the output (449)."""
        return self.atoms.c_token + C_TOKEN_FEATURES


class InputEmbedder(nn.Module):
    """Per-token input representation (AlphaFold 3, Algorithm 2)."""

    def __init__(self, config: InputEmbedderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AtomAttentionEncoder(config.atoms)

    def forward(self, batch: Batch) -> Float[Tensor, "n c_s_inputs"]:
        """Return [atoms, aggregated | restype one-hot 32 | profile 32 | deletion_mean 1] for every token."""
        windows = self.config.atoms.windows(batch.atom_mask)
        conditions = self.encoder.conditioning(batch, windows)
        single = conditions.single
        biases = self.encoder.transformer.pair_biases(conditions.pair, windows.key_mask)
        tokens, _ = self.encoder(single, single, biases, windows, self.config.atoms.atom_token(batch, single.dtype))
        return torch.cat(
            [
                tokens,
                F.one_hot(batch.restype, N_RESTYPES).to(tokens),
                batch.profile.to(tokens),
                batch.deletion_mean[:, None].to(tokens),
            ],
            dim=-1,
        )
