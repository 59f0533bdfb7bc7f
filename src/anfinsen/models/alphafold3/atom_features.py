"""What atoms and atom pairs know from the reference conformer and the trunk (AlphaFold 3, Algorithm 5, lines 1-14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.nn.adaptive_layer_norm import lecun_
from anfinsen.nn.batch import Batch
from anfinsen.nn.windows import Windows

N_ELEMENTS = 128
N_NAME_CHARACTERS = 64
NAME_LENGTH = 4
# position 3, charge, mask, element, name (paper, table 5)
C_FEATURES = 3 + 1 + 1 + N_ELEMENTS + NAME_LENGTH * N_NAME_CHARACTERS


@dataclass(frozen=True)
class AtomConditioningConfig:
    """Sizes and variants of `AtomConditioning`.

    Attributes:
        c_atom, c_atompair: widths. c_s, c_z: widths of the trunk's single and pair representation; None: no trunk (the
            input embedder).
        charge: how the formal charge enters: "arcsinh" (released AlphaFold 3 code, OpenFold 3, Protenix) or "raw"
            (paper, Boltz).
        offset: whether the LayerNorms of the trunk's representations have an offset (Boltz). feature_offset: whether
            the linear map of the features has one (Boltz-2).
        mask_features: whether atoms without reference position lose all their features (released AlphaFold 3 code,
            Protenix).
    """

    c_atom: int = 128
    c_atompair: int = 16
    c_s: int | None = 384
    c_z: int | None = 128
    charge: Literal["arcsinh", "raw"] = "arcsinh"
    offset: bool = False
    feature_offset: bool = False
    mask_features: bool = True


@dataclass(frozen=True)
class AtomConditions:
    """What the atom transformer is conditioned on.

    Attributes:
        reference: from the reference conformer only. single: with the trunk's single added (the paper's c).
        pair: for each window (the paper's p).
    """

    reference: Float[Tensor, "a c_atom"]
    single: Float[Tensor, "a c_atom"]
    pair: Float[Tensor, "w q k c_atompair"]


class AtomConditioning(nn.Module):
    """Single and pair conditioning of atoms; nothing here depends on the noise level.

    The columns of ``features`` are [position 3 | charge | mask | element 128 | name 4 x 64].
    """

    def __init__(self, config: AtomConditioningConfig) -> None:
        super().__init__()
        self.config = config
        c_atom, c_pair = config.c_atom, config.c_atompair
        self.features = nn.Linear(C_FEATURES, c_atom, bias=config.feature_offset)
        if config.feature_offset:
            nn.init.zeros_(self.features.bias)
        self.offset = nn.Linear(3, c_pair, bias=False)
        self.inverse_distance = nn.Linear(1, c_pair, bias=False)
        self.valid = nn.Linear(1, c_pair, bias=False)
        if config.c_s is not None and config.c_z is not None:
            self.norm_single = nn.LayerNorm(config.c_s, bias=config.offset)
            self.from_single = nn.Linear(config.c_s, c_atom, bias=False)
            self.norm_pair = nn.LayerNorm(config.c_z, bias=config.offset)
            self.from_pair = nn.Linear(config.c_z, c_pair, bias=False)
            # The trunk enters as a correction of zero at first.
            nn.init.zeros_(self.from_single.weight)
            nn.init.zeros_(self.from_pair.weight)
        self.from_query = nn.Linear(c_atom, c_pair, bias=False)
        self.from_key = nn.Linear(c_atom, c_pair, bias=False)
        layers = [nn.Linear(c_pair, c_pair, bias=False) for _ in range(3)]
        self.mlp = nn.ModuleList(layers)
        for layer in (self.features, self.offset, self.inverse_distance, self.valid, self.from_query, self.from_key):
            lecun_(layer.weight)
        for hidden in layers[:2]:
            nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
        nn.init.zeros_(layers[2].weight)

    def forward(
        self,
        batch: Batch,
        windows: Windows,
        single: Float[Tensor, "n c_s"] | None = None,
        pair: Float[Tensor, "n n c_z"] | None = None,
    ) -> AtomConditions:
        """Return the conditioning of all atoms and of the atom pairs inside ``windows``."""
        reference = self._embed(batch)
        atom_single = reference
        atom_pair = self._embed_pairs(batch, windows)
        if single is not None and pair is not None:
            atom_single = atom_single + self.from_single(self.norm_single(single))[batch.atom_to_token]
            token_pair = self.from_pair(self.norm_pair(pair))
            query, key = _window_tokens(batch, windows)
            atom_pair = atom_pair + token_pair[query[:, :, None], key[:, None, :]]
        active = F.relu(atom_single)
        atom_pair = atom_pair + windows.split_queries(self.from_query(active), 0)[:, :, None]
        atom_pair = atom_pair + windows.gather_keys(self.from_key(active), 0)[:, None, :]
        hidden = atom_pair
        for layer in self.mlp:
            hidden = layer(F.relu(hidden))
        return AtomConditions(reference=reference, single=atom_single, pair=atom_pair + hidden)

    def _embed(self, batch: Batch) -> Float[Tensor, "a c_atom"]:
        weight = self.features.weight
        charge = batch.ref_charge.to(weight)
        if self.config.charge == "arcsinh":
            charge = torch.arcsinh(charge)
        features = torch.cat(
            [
                batch.ref_pos.to(weight),
                charge[:, None],
                batch.ref_mask[:, None].to(weight),
                F.one_hot(batch.ref_element, N_ELEMENTS).to(weight),
                F.one_hot(batch.ref_atom_name_chars, N_NAME_CHARACTERS).flatten(1).to(weight),
            ],
            dim=-1,
        )
        embedded: Tensor = self.features(features)
        return embedded * batch.ref_mask[:, None] if self.config.mask_features else embedded

    def _embed_pairs(self, batch: Batch, windows: Windows) -> Float[Tensor, "w q k c_atompair"]:
        position = batch.ref_pos.to(self.offset.weight)
        offset = windows.split_queries(position, 0)[:, :, None] - windows.gather_keys(position, 0)[:, None]
        # Padded queries get a space of their own, so that nothing is comparable with them.
        space = windows.split_queries(batch.ref_space_uid + 1, 0)[:, :, None]
        valid = space == windows.gather_keys(batch.ref_space_uid + 1, 0)[:, None]
        valid = (valid & windows.key_mask[:, None])[..., None].to(position)
        inverse = 1 / (1 + offset.square().sum(dim=-1, keepdim=True))
        embedded: Tensor = (self.offset(offset) + self.inverse_distance(inverse) + self.valid(valid)) * valid
        return embedded


def _window_tokens(batch: Batch, windows: Windows) -> tuple[Tensor, Tensor]:
    """Return the token of each query and each key of every window."""
    return windows.split_queries(batch.atom_to_token, 0), windows.gather_keys(batch.atom_to_token, 0)
