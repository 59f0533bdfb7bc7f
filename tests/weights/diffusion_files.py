"""The golden files of the input embedder and the diffusion module: which there are, their variants, their features."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from trunk_cases import Golden

from anfinsen.models.alphafold3.atom_attention import AtomAttentionConfig
from anfinsen.nn.batch import Batch
from random_batch import random_batch

PAIR_NORM = {"openfold3": "shared", "protenix": "block_scale", "boltz": "block_affine"}
# The variants of /parity/README.md, as fields of our configurations.
ATOMS = {
    "openfold3": AtomAttentionConfig(count_epsilon=1e-9),
    "protenix": AtomAttentionConfig(window_edges="masked", pair_norm="block_scale", key_norm="stacked"),
    "boltz": AtomAttentionConfig(
        window_edges="masked",
        query_base="reference",
        count_epsilon=1e-6,
        pair_norm="block_affine",
        key_norm="shared",
        projections=3,
        charge="raw",
        offset=True,
        mask_features=False,
    ),
}
# Sizes of all files.
SMALL_ATOMS = {"c_atom": 16, "c_atompair": 8, "c_token": 32, "blocks": 2, "heads": 2, "queries": 8, "keys": 16}
TOKENS = {"blocks": 2, "heads": 4, "c_a": 32, "c_z": 16}

FILES = {
    "af3_official": ("self_attention_cond", "transition_block_cond", "diffusion_transformer"),
    "openfold3": (
        "adaln",
        "conditioned_transition",
        "attention_pair_bias_diffusion",
        "diffusion_transformer",
        "relpos_complex",
        "atom_attention_encoder",
        "atom_attention_encoder_nocoords",
        "diffusion_conditioning",
        "diffusion_module",
    ),
    "protenix": (
        "adaln",
        "conditioned_transition",
        "attention_pair_bias_diffusion",
        "diffusion_transformer_block",
        "fourier_embedding",
        "relative_position_encoding",
        "atom_attention_encoder",
        "atom_attention_encoder_nocoords",
        "diffusion_conditioning",
        "diffusion_module",
    ),
    "boltz": (
        "adaln",
        "conditioned_transition",
        "diffusion_transformer_layer_v1",
        "diffusion_transformer_layer_v2",
        "fourier_embedding",
        "single_conditioning_v2",
        "pairwise_conditioning_v2",
        "relative_position_fixsym0",
        "relative_position_fixsym1",
        "atom_encoder_v2",
        "diffusion_module_v1",
        "diffusion_module_v2",
    ),
}


def squeezed(x: Tensor) -> Tensor:
    """Without the leading axes of length one (batch, and samples that share everything)."""
    while x.ndim > 1 and x.shape[0] == 1:
        x = x[0]
    return x


def batch_of(features: dict[str, Tensor]) -> Batch:
    """A `Batch` with the features of a file; the rest is arbitrary."""
    f = {key.removeprefix("feats."): squeezed(value) for key, value in features.items() if key.startswith("feats.")}
    tokens = len(f["token_index"]) if "token_index" in f else 6
    atoms = len(f["ref_pos"]) if "ref_pos" in f else tokens
    mask = f.get("atom_pad_mask", f.get("atom_mask", torch.ones(atoms))).bool()
    values: dict[str, Tensor] = {"atom_mask": mask}
    for name in ("asym_id", "entity_id", "sym_id", "residue_index", "token_index"):
        if name in f:
            values[name] = f[name]
    if "cyclic_period" in f:
        values["cyclic_period"] = f["cyclic_period"].long()
    if "ref_pos" in f:
        index = next(f[name] for name in ("atom_to_token_idx", "atom_to_token_index", "atom_to_token") if name in f)
        values |= {
            "atom_to_token": index if index.ndim == 1 else index.argmax(-1),
            "ref_pos": f["ref_pos"],
            "ref_mask": f["ref_mask"].bool() if "ref_mask" in f else mask,
            "ref_element": f["ref_element"].argmax(-1),
            "ref_charge": f["ref_charge"],
            "ref_atom_name_chars": f["ref_atom_name_chars"].reshape(atoms, 4, 64).argmax(-1),
            "ref_space_uid": f["ref_space_uid"],
        }
    return dataclasses.replace(random_batch(tokens, atoms_per_token=(1, 2)), **values)


def atoms_config(g: Golden) -> AtomAttentionConfig:
    return dataclasses.replace(ATOMS[g.peer], **SMALL_ATOMS, feature_offset=g.name.endswith("_v2"))


def valid_region(g: Golden, name: str, expected: Tensor) -> Tensor:
    """Which rows of an output are compared: not padding."""
    valid = g.tensors.get("valid", {}).get(name)
    if valid is not None:
        return squeezed(valid.bool())
    keep = torch.ones(expected.shape[:-1], dtype=torch.bool)
    features = g.tensors["input"]
    if not any(key.endswith("ref_pos") for key in features):
        return keep
    batch = batch_of(features)
    if name in {"p", "atom_enc_bias", "atom_dec_bias"}:
        windows = atoms_config(g).windows(batch.atom_mask)
        return windows.split_queries(batch.atom_mask, 0)[:, :, None] & windows.key_mask[:, None]
    if name in {"q", "c", "r_update"}:
        return keep & batch.atom_mask
    return keep
