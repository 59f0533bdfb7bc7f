"""Boltz-1 and Boltz-2: tensors of the diffusion module. Prefixes end in a dot, or are empty.

Boltz-2 keeps everything that depends on the pair representation (the blocks' attention biases too) in a module
"DiffusionConditioning" and the rest in a "score model"; in Boltz-1 it stands where the paper has it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .boltz_trunk import transition
from .rules import Rule, Rules, layer_norm, rename, rows

_CONDITIONING = {
    "inverse_distance.weight": "embed_atompair_ref_dist.weight",
    "valid.weight": "embed_atompair_mask.weight",
    "norm_single.weight": "s_to_c_trans.0.weight",
    "norm_single.bias": "s_to_c_trans.0.bias",
    "from_single.weight": "s_to_c_trans.1.weight",
    "norm_pair.weight": "z_to_p_trans.0.weight",
    "norm_pair.bias": "z_to_p_trans.0.bias",
    "from_pair.weight": "z_to_p_trans.1.weight",
    "from_query.weight": "c_to_p_trans_q.1.weight",
    "from_key.weight": "c_to_p_trans_k.1.weight",
    **{f"mlp.{index}.weight": f"p_mlp.{2 * index + 1}.weight" for index in range(3)},
}


def adaptive_layer_norm(source: str = "", target: str = "") -> Rules:
    """Rules of an `AdaptiveLayerNorm`."""
    return [
        Rule(target + "scale_shift.weight", (source + "s_scale.weight", source + "s_bias.weight"), rows),
        *rename({"norm_s.weight": "s_norm.weight", "scale_bias": "s_scale.bias"}, source, target),
    ]


def conditioned_transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `ConditionedTransition` with three projections; ``swish_gate`` holds [value | gate]."""

    def expand(swish_gate: Tensor, third: Tensor) -> Tensor:
        value, gate = swish_gate.chunk(2)
        return torch.cat([gate, value, third])

    names = {
        "contract.weight": "b_to_a.weight",
        "gate.weight": "output_projection.0.weight",
        "gate.bias": "output_projection.0.bias",
    }
    return [
        *adaptive_layer_norm(source + "adaln.", target + "norm."),
        Rule(target + "expand.weight", (source + "swish_gate.0.weight", source + "a_to_b.weight"), expand),
        *rename(names, source, target),
    ]


def pair_bias(source: str, target: str) -> Rules:
    """Rules of a `PairBias`; ``source`` is the sequence of a LayerNorm and a linear map."""
    return [
        *layer_norm(source + "0", target + "norm"),
        *rename({"linear.weight": "1.weight"}, source, target),
    ]


def diffusion_transformer_block(source: str = "", target: str = "", *, bias: str | None = None) -> Rules:
    """Rules of a `DiffusionTransformerBlock`.

    ``bias`` is where its pair bias stands; None: the file holds none (a Boltz-2 layer by itself).
    The output gate stands in the file under two names.
    """

    def once(tensor: Tensor, again: Tensor) -> Tensor:
        if not torch.equal(tensor, again):
            raise ValueError("the two names of the output gate hold different numbers")
        return tensor

    attention = target + "attention."
    names = {"attention.query_bias": "proj_q.bias", "attention.output.weight": "proj_o.weight"}
    parts = tuple(f"{source}pair_bias_attn.proj_{part}.weight" for part in "qkvg")
    gates = (source + "output_projection.0.", source + "output_projection_linear.")
    return [
        *adaptive_layer_norm(source + "adaln.", attention + "norm."),
        Rule(attention + "attention.projection.weight", parts, rows),
        *rename(names, source + "pair_bias_attn.", attention),
        *(Rule(f"{attention}gate.{part}", (gates[0] + part, gates[1] + part), once) for part in ("weight", "bias")),
        *(pair_bias(bias, attention + "pair.") if bias is not None else []),
        *conditioned_transition(source + "transition.", target + "transition."),
    ]


def diffusion_transformer(blocks: int, source: str, target: str, *, biases: str | None = None) -> Rules:
    """Rules of a `DiffusionTransformer`; ``biases``: the list of pair biases (Boltz-2); None: inside the blocks."""
    rules: Rules = []
    for index in range(blocks):
        layer = f"{source}layers.{index}."
        bias = f"{layer}pair_bias_attn.proj_z." if biases is None else f"{biases}{index}."
        rules += diffusion_transformer_block(layer, f"{target}blocks.{index}.", bias=bias)
    return rules


def atom_conditioning(source: str = "", target: str = "", *, version: int = 2) -> Rules:
    """Rules of an `AtomConditioning`; Boltz-2 does not look at the mask and has an offset."""

    def without_mask(features: Tensor) -> Tensor:
        before, after = features[:, :4], features[:, 4:]
        return torch.cat([before, torch.zeros_like(features[:, :1]), after], dim=1)

    features = source + "embed_atom_features."
    if version == 1:
        made = [Rule(target + "features.weight", (features + "weight",))]
    else:
        made = [
            Rule(target + "features.weight", (features + "weight",), without_mask),
            Rule(target + "features.bias", (features + "bias",)),
        ]
    return [
        *made,
        # Their offset points from the query to the key, the paper's the other way.
        Rule(target + "offset.weight", (source + "embed_atompair_ref_pos.weight",), torch.neg),
        *rename(_CONDITIONING, source, target),
    ]


def relative_position_encoding(source: str = "", target: str = "") -> Rules:
    """Rules of a `RelativePositionEncoding`."""
    return rename({"linear.weight": "linear_layer.weight"}, source, target)


def fourier_embedding(source: str = "", target: str = "") -> Rules:
    """Rules of a `FourierEmbedding`."""
    return [
        Rule(target + "w", (source + "proj.weight",), torch.flatten),
        *rename({"b": "proj.bias"}, source, target),
    ]


def single_conditioning(source: str = "", target: str = "") -> Rules:
    """Rules of a `SingleConditioning`."""
    names = {
        "linear.weight": "single_embed.weight",
        "linear.bias": "single_embed.bias",
        "from_noise.weight": "fourier_to_single.weight",
    }
    rules = [
        *layer_norm(source + "norm_single", target + "norm"),
        *layer_norm(source + "norm_fourier", target + "norm_noise"),
        *fourier_embedding(source + "fourier_embed.", target + "fourier."),
        *rename(names, source, target),
    ]
    for index in range(2):
        rules += transition(f"{source}transitions.{index}.", f"{target}transitions.{index}.")
    return rules


def pair_conditioning(source: str = "", target: str = "", *, relative_position: str) -> Rules:
    """Rules of a `PairConditioning`; ``relative_position`` is where the trunk's encoding stands, which Boltz shares."""
    rules = [
        *layer_norm(source + "dim_pairwise_init_proj.0", target + "norm"),
        *rename({"linear.weight": "dim_pairwise_init_proj.1.weight"}, source, target),
        *relative_position_encoding(relative_position, target + "relative_position."),
    ]
    for index in range(2):
        rules += transition(f"{source}transitions.{index}.", f"{target}transitions.{index}.")
    return rules


def diffusion_module(
    blocks: int,
    atom_blocks: int,
    source: str = "",
    target: str = "",
    *,
    version: int = 2,
    relative_position: str = "rel_pos.",
) -> Rules:
    """Rules of a `DiffusionModule` with ``blocks`` token blocks and ``atom_blocks`` in encoder and decoder each."""

    def positions(weight: Tensor) -> Tensor:
        # Boltz-1 gives seven zeros beside the three coordinates.
        return weight[:, :3]

    two = version == 2
    score = source + ("score_model." if two else "")
    pairs = source + ("diffusion_conditioning." if two else "")
    encoder, decoder = score + "atom_attention_encoder.", score + "atom_attention_decoder."
    biases = {
        part: f"{pairs}{name}_proj_z." if two else None
        for part, name in (("encoder", "atom_enc"), ("token", "token_trans"), ("decoder", "atom_dec"))
    }
    conditioning = pairs + ("atom_encoder." if two else "atom_attention_encoder.")
    update = decoder + "atom_feat_to_atom_pos_update."
    return [
        *single_conditioning(score + "single_conditioner.", target + "conditioning.single."),
        *pair_conditioning(
            pairs + "pairwise_conditioner.", target + "conditioning.pair.", relative_position=relative_position
        ),
        *atom_conditioning(conditioning, target + "encoder.conditioning.", version=version),
        Rule(target + "encoder.from_position.weight", (encoder + "r_to_q_trans.weight",), positions),
        *rename({"encoder.to_token.weight": "atom_to_token_trans.0.weight"}, encoder, target),
        *diffusion_transformer(
            atom_blocks,
            encoder + "atom_encoder.diffusion_transformer.",
            target + "encoder.transformer.",
            biases=biases["encoder"],
        ),
        *layer_norm(score + "s_to_a_linear.0", target + "norm_single"),
        *rename({"from_single.weight": "s_to_a_linear.1.weight"}, score, target),
        *diffusion_transformer(blocks, score + "token_transformer.", target + "transformer.", biases=biases["token"]),
        *layer_norm(score + "a_norm", target + "norm_token"),
        *rename({"decoder.from_token.weight": "a_to_q_trans.weight"}, decoder, target),
        *diffusion_transformer(
            atom_blocks,
            decoder + "atom_decoder.diffusion_transformer.",
            target + "decoder.transformer.",
            biases=biases["decoder"],
        ),
        *layer_norm(update + "0", target + "decoder.norm"),
        *rename({"decoder.to_position.weight": "1.weight"}, update, target),
    ]
