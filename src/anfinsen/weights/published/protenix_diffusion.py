"""Protenix (2.0): tensors of the input embedder and the diffusion module. Prefixes end in a dot, or are empty."""

from __future__ import annotations

import torch
from torch import Tensor

from .protenix_trunk import transition
from .rules import Rule, Rules, rename, rows


def adaptive_layer_norm(source: str = "", target: str = "") -> Rules:
    """Rules of an `AdaptiveLayerNorm`."""
    parts = (source + "linear_s.weight", source + "linear_nobias_s.weight")
    return [
        Rule(target + "scale_shift.weight", parts, rows),
        *rename({"norm_s.weight": "layernorm_s.weight", "scale_bias": "linear_s.bias"}, source, target),
    ]


def attention_pair_bias(source: str = "", target: str = "", *, key_norm: bool = False) -> Rules:
    """Rules of a conditioned `AttentionPairBias`; ``key_norm``: atom attention, whose keys have a norm of their own."""
    names = {
        "attention.query_bias": "attention.linear_q.bias",
        "attention.output.weight": "attention.linear_o.weight",
        "pair.linear.weight": "linear_nobias_z.weight",
        "pair.norm.weight": "layernorm_z.weight",
        "gate.weight": "linear_a_last.weight",
        "gate.bias": "linear_a_last.bias",
    }
    parts = tuple(f"{source}attention.linear_{part}.weight" for part in "qkvg")
    rules = [
        *adaptive_layer_norm(source + "layernorm_a.", target + "norm."),
        Rule(target + "attention.projection.weight", parts, rows),
        *rename(names, source, target),
    ]
    if key_norm:
        rules += adaptive_layer_norm(source + "layernorm_kv.", target + "key_norm.")
    return rules


def conditioned_transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `ConditionedTransition`."""
    names = {
        "contract.weight": "linear_nobias_b.weight",
        "gate.weight": "linear_s.weight",
        "gate.bias": "linear_s.bias",
    }
    parts = (source + "linear_nobias_a1.weight", source + "linear_nobias_a2.weight")
    return [
        *adaptive_layer_norm(source + "adaln.", target + "norm."),
        Rule(target + "expand.weight", parts, rows),
        *rename(names, source, target),
    ]


def diffusion_transformer_block(source: str = "", target: str = "", *, key_norm: bool = False) -> Rules:
    """Rules of a `DiffusionTransformerBlock`."""
    return [
        *attention_pair_bias(source + "attention_pair_bias.", target + "attention.", key_norm=key_norm),
        *conditioned_transition(source + "conditioned_transition_block.", target + "transition."),
    ]


def diffusion_transformer(blocks: int, source: str = "", target: str = "", *, key_norm: bool = False) -> Rules:
    """Rules of a `DiffusionTransformer`."""
    return [
        rule
        for index in range(blocks)
        for rule in diffusion_transformer_block(
            f"{source}blocks.{index}.", f"{target}blocks.{index}.", key_norm=key_norm
        )
    ]


def atom_conditioning(source: str = "", target: str = "", *, trunk: bool) -> Rules:
    """Rules of an `AtomConditioning`; their features are [mask | element | name], position and charge apart."""

    def features(position: Tensor, charge: Tensor, rest: Tensor) -> Tensor:
        return torch.cat([position, charge, rest], dim=1)

    parts = tuple(f"{source}linear_no_bias_{part}.weight" for part in ("ref_pos", "ref_charge", "f"))
    names = {
        "offset.weight": "linear_no_bias_d.weight",
        "inverse_distance.weight": "linear_no_bias_invd.weight",
        "valid.weight": "linear_no_bias_v.weight",
        "from_query.weight": "linear_no_bias_cl.weight",
        "from_key.weight": "linear_no_bias_cm.weight",
        **{f"mlp.{index}.weight": f"small_mlp.{2 * index + 1}.weight" for index in range(3)},
    }
    if trunk:
        names |= {
            "norm_single.weight": "layernorm_s.weight",
            "from_single.weight": "linear_no_bias_s.weight",
            "norm_pair.weight": "layernorm_z.weight",
            "from_pair.weight": "linear_no_bias_z.weight",
        }
    return [Rule(target + "features.weight", parts, features), *rename(names, source, target)]


def atom_attention_encoder(blocks: int, source: str = "", target: str = "", *, trunk: bool) -> Rules:
    """Rules of an `AtomAttentionEncoder`, in the diffusion module (``trunk``) or in the input embedder."""
    names = {"to_token.weight": "linear_no_bias_q.weight"}
    if trunk:
        names["from_position.weight"] = "linear_no_bias_r.weight"
    transformer = source + "atom_transformer.diffusion_transformer."
    return [
        *atom_conditioning(source, target + "conditioning.", trunk=trunk),
        *diffusion_transformer(blocks, transformer, target + "transformer.", key_norm=True),
        *rename(names, source, target),
    ]


def atom_attention_decoder(blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of an `AtomAttentionDecoder`."""
    names = {
        "from_token.weight": "linear_no_bias_a.weight",
        "norm.weight": "layernorm_q.weight",
        "to_position.weight": "linear_no_bias_out.weight",
    }
    transformer = source + "atom_transformer.diffusion_transformer."
    return [
        *diffusion_transformer(blocks, transformer, target + "transformer.", key_norm=True),
        *rename(names, source, target),
    ]


def relative_position_encoding(source: str = "", target: str = "") -> Rules:
    """Rules of a `RelativePositionEncoding`."""
    return rename({"linear.weight": "linear_no_bias.weight"}, source, target)


def fourier_embedding(source: str = "", target: str = "") -> Rules:
    """Rules of a `FourierEmbedding`."""
    return rename({"w": "w", "b": "b"}, source, target)


def diffusion_conditioning(source: str = "", target: str = "") -> Rules:
    """Rules of a `DiffusionConditioning`."""
    names = {
        "single.norm.weight": "layernorm_s.weight",
        "single.linear.weight": "linear_no_bias_s.weight",
        "single.norm_noise.weight": "layernorm_n.weight",
        "single.from_noise.weight": "linear_no_bias_n.weight",
        "pair.norm.weight": "layernorm_z.weight",
        "pair.linear.weight": "linear_no_bias_z.weight",
    }
    return [
        *rename(names, source, target),
        *fourier_embedding(source + "fourier_embedding.", target + "single.fourier."),
        *relative_position_encoding(source + "relpe.", target + "pair.relative_position."),
        *(
            rule
            for part in ("single", "pair")
            for index in range(2)
            for rule in transition(
                f"{source}transition_{'s' if part == 'single' else 'z'}{index + 1}.",
                f"{target}{part}.transitions.{index}.",
            )
        ),
    ]


def diffusion_module(blocks: int, atom_blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of a `DiffusionModule` with ``blocks`` token blocks and ``atom_blocks`` in encoder and decoder each."""
    names = {
        "norm_single.weight": "layernorm_s.weight",
        "from_single.weight": "linear_no_bias_s.weight",
        "norm_token.weight": "layernorm_a.weight",
    }
    return [
        *diffusion_conditioning(source + "diffusion_conditioning.", target + "conditioning."),
        *atom_attention_encoder(atom_blocks, source + "atom_attention_encoder.", target + "encoder.", trunk=True),
        *diffusion_transformer(blocks, source + "diffusion_transformer.", target + "transformer."),
        *atom_attention_decoder(atom_blocks, source + "atom_attention_decoder.", target + "decoder."),
        *rename(names, source, target),
    ]
