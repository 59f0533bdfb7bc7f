"""OpenFold 3 (0.5): tensors of the input embedder and the diffusion module. Prefixes end in a dot, or are empty."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .openfold3_trunk import transition
from .rules import Rule, Rules, rename, rows

# Our one-hot elements run to 127; OpenFold 3's to 118.
N_ELEMENTS = 128


def adaptive_layer_norm(source: str = "", target: str = "") -> Rules:
    """Rules of an `AdaptiveLayerNorm`."""
    return [
        Rule(target + "scale_shift.weight", (source + "linear_g.weight", source + "linear_s.weight"), rows),
        *rename({"norm_s.weight": "layer_norm_s.weight", "scale_bias": "linear_g.bias"}, source, target),
    ]


def attention_pair_bias(source: str = "", target: str = "", *, key_norm: bool = False) -> Rules:
    """Rules of a conditioned `AttentionPairBias`; ``key_norm``: atom attention, whose keys have a norm of their own."""
    names = {
        "attention.query_bias": "mha.linear_q.bias",
        "attention.output.weight": "mha.linear_o.weight",
        "pair.linear.weight": "linear_z.weight",
        "gate.weight": "linear_ada_out.weight",
        "gate.bias": "linear_ada_out.bias",
    }
    parts = tuple(f"{source}mha.linear_{part}.weight" for part in "qkvg")
    rules = [Rule(target + "attention.projection.weight", parts, rows), *rename(names, source, target)]
    if not key_norm:
        return rules + adaptive_layer_norm(source + "layer_norm_a.", target + "norm.")
    return [
        *rules,
        *adaptive_layer_norm(source + "layer_norm_a_q.", target + "norm."),
        *adaptive_layer_norm(source + "layer_norm_a_k.", target + "key_norm."),
    ]


def conditioned_transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `ConditionedTransition`."""
    names = {"contract.weight": "linear_out.weight", "gate.weight": "linear_g.weight", "gate.bias": "linear_g.bias"}
    parts = (source + "swiglu.linear_a.weight", source + "swiglu.linear_b.weight")
    return [
        *adaptive_layer_norm(source + "layer_norm.", target + "norm."),
        Rule(target + "expand.weight", parts, rows),
        *rename(names, source, target),
    ]


def diffusion_transformer(blocks: int, source: str = "", target: str = "", *, key_norm: bool = False) -> Rules:
    """Rules of a `DiffusionTransformer`, whose blocks share one LayerNorm of the pairs."""
    rules = rename({"pair_norm.weight": "layer_norm_z.weight"}, source, target)
    for index in range(blocks):
        theirs, ours = f"{source}blocks.{index}.", f"{target}blocks.{index}."
        rules += attention_pair_bias(theirs + "attention_pair_bias.", ours + "attention.", key_norm=key_norm)
        rules += conditioned_transition(theirs + "conditioned_transition.", ours + "transition.")
    return rules


def atom_conditioning(source: str = "", target: str = "", *, trunk: bool) -> Rules:
    """Rules of an `AtomConditioning`: they map every reference feature apart."""

    def features(position: Tensor, charge: Tensor, mask: Tensor, element: Tensor, name: Tensor) -> Tensor:
        element = F.pad(element, (0, N_ELEMENTS - element.shape[1]))
        return torch.cat([position, charge, mask, element, name], dim=1)

    reference = source + "ref_atom_feature_embedder."
    parts = ("ref_pos", "ref_charge", "ref_mask", "ref_element", "ref_atom_chars")
    pairs = {
        "offset.weight": "linear_ref_offset.weight",
        "inverse_distance.weight": "linear_inv_sq_dists.weight",
        "valid.weight": "linear_valid_mask.weight",
    }
    names = {
        "from_query.weight": "linear_l.weight",
        "from_key.weight": "linear_m.weight",
        **{f"mlp.{index}.weight": f"pair_mlp.{2 * index + 1}.weight" for index in range(3)},
    }
    if trunk:
        names |= {
            f"{ours}.weight": f"noisy_position_embedder.{theirs}.weight"
            for ours, theirs in {
                "norm_single": "layer_norm_s",
                "from_single": "linear_s",
                "norm_pair": "layer_norm_z",
                "from_pair": "linear_z",
            }.items()
        }
    return [
        Rule(target + "features.weight", tuple(f"{reference}linear_{part}.weight" for part in parts), features),
        *rename(pairs, reference, target),
        *rename(names, source, target),
    ]


def atom_attention_encoder(blocks: int, source: str = "", target: str = "", *, trunk: bool) -> Rules:
    """Rules of an `AtomAttentionEncoder`, in the diffusion module (``trunk``) or in the input embedder."""
    names = {"to_token.weight": "linear_q.0.weight"}
    if trunk:
        names["from_position.weight"] = "noisy_position_embedder.linear_r.weight"
    return [
        *atom_conditioning(source, target + "conditioning.", trunk=trunk),
        *diffusion_transformer(blocks, source + "atom_transformer.", target + "transformer.", key_norm=True),
        *rename(names, source, target),
    ]


def atom_attention_decoder(blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of an `AtomAttentionDecoder`."""
    names = {
        "from_token.weight": "linear_q_in.weight",
        "norm.weight": "layer_norm.weight",
        "to_position.weight": "linear_q_out.weight",
    }
    return [
        *diffusion_transformer(blocks, source + "atom_transformer.", target + "transformer.", key_norm=True),
        *rename(names, source, target),
    ]


def diffusion_conditioning(source: str = "", target: str = "") -> Rules:
    """Rules of a `DiffusionConditioning`."""
    names = {
        "single.norm.weight": "layer_norm_s.weight",
        "single.linear.weight": "linear_s.weight",
        "single.fourier.w": "fourier_emb.w",
        "single.fourier.b": "fourier_emb.b",
        "single.norm_noise.weight": "layer_norm_n.weight",
        "single.from_noise.weight": "linear_n.weight",
        "pair.norm.weight": "layer_norm_z.weight",
        "pair.linear.weight": "linear_z.weight",
    }
    rules = rename(names, source, target)
    for part, letter in (("single", "s"), ("pair", "z")):
        for index in range(2):
            rules += transition(f"{source}transition_{letter}.{index}.", f"{target}{part}.transitions.{index}.")
    return rules


def diffusion_module(blocks: int, atom_blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of a `DiffusionModule` with ``blocks`` token blocks and ``atom_blocks`` in encoder and decoder each."""
    names = {
        "norm_single.weight": "layer_norm_s.weight",
        "from_single.weight": "linear_s.weight",
        "norm_token.weight": "layer_norm_a.weight",
    }
    return [
        *diffusion_conditioning(source + "diffusion_conditioning.", target + "conditioning."),
        *atom_attention_encoder(atom_blocks, source + "atom_attn_enc.", target + "encoder.", trunk=True),
        *diffusion_transformer(blocks, source + "diffusion_transformer.", target + "transformer."),
        *atom_attention_decoder(atom_blocks, source + "atom_attn_dec.", target + "decoder."),
        *rename(names, source, target),
    ]
