"""Which module, rules and call belong to each golden file of the input embedder and the diffusion module.

Files of that kind that are tested elsewhere or cannot apply:

| file | why |
| --- | --- |
| openfold3, chai: noise_schedule | a function of `anfinsen.diffusion`: tests/diffusion |
| boltz: attention_pair_bias_v1, _v2; openfold3, protenix: attention_pair_bias_trunk | the trunk's kind: trunk_cases |

Padding: the files mark valid tokens; of the atom pairs `p` those of real queries and keys are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusion_files import PAIR_NORM, TOKENS, atoms_config, batch_of, squeezed
from torch import Tensor, nn
from trunk_cases import Golden

from anfinsen.models.alphafold3.atom_attention import AtomAttentionEncoder
from anfinsen.models.alphafold3.diffusion_conditioning import (
    DiffusionConditioning,
    DiffusionConditioningConfig,
    PairConditioning,
    SingleConditioning,
)
from anfinsen.models.alphafold3.diffusion_module import DiffusionModule, DiffusionModuleConfig
from anfinsen.models.alphafold3.relative_position import (
    RelativePositionConfig,
    RelativePositionEncoding,
    one_hot_positions,
    relative_positions,
)
from anfinsen.nn.adaptive_layer_norm import AdaptiveLayerNorm
from anfinsen.nn.attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig, mask_keys
from anfinsen.nn.conditioned_transition import ConditionedTransition, ConditionedTransitionConfig
from anfinsen.nn.diffusion_transformer import (
    DiffusionTransformer,
    DiffusionTransformerBlock,
    DiffusionTransformerConfig,
)
from anfinsen.nn.fourier_embedding import FourierEmbedding
from anfinsen.weights.published import af3_official_diffusion as official
from anfinsen.weights.published import boltz_diffusion as boltz
from anfinsen.weights.published import openfold3_diffusion as openfold3
from anfinsen.weights.published import protenix_diffusion as protenix
from anfinsen.weights.published.rules import Rules, load_converted

FORMATS = {"openfold3": openfold3, "protenix": protenix, "boltz": boltz}
Run = Callable[[Any, dict[str, Tensor]], dict[str, Tensor]]
Case = tuple[nn.Module, Rules, Run]


def rules_for(g: Golden):
    return FORMATS[g.peer]


def adaln(g: Golden) -> Case:
    module = AdaptiveLayerNorm(32, 32)
    return module, rules_for(g).adaptive_layer_norm(), lambda m, x: {"out": m(x["a"], x["s"])}


def conditioned_transition(g: Golden) -> Case:
    if g.peer == "af3_official":
        module = ConditionedTransition(ConditionedTransitionConfig(32, 24, 2))
        return module, official.conditioned_transition("tr"), lambda m, x: {"out": m(x["x"], x["cond"])}
    module = ConditionedTransition(ConditionedTransitionConfig(32, 32, 2, 3 if g.peer == "boltz" else 2))
    return module, rules_for(g).conditioned_transition(), lambda m, x: {"out": m(x["a"], x["s"])}


class Given(nn.Module):
    """Attention whose pair bias comes from outside: the module's own is not filled."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        holder = inner.attention if isinstance(inner, DiffusionTransformerBlock) else inner
        del holder.pair


def self_attention(g: Golden) -> Case:
    module = Given(AttentionPairBias(AttentionPairBiasConfig(32, 16, 4, c_s=24, pair_norm="none")))

    def run(m, x):
        bias = mask_keys(x["pair_logits"].clone(), x["mask"].bool())
        return {"out": m.inner.attend(x["x"], bias, x["cond"])}

    return module, official.attention_pair_bias("sa", "inner."), run


def attention(g: Golden) -> Case:
    norm = {"openfold3": "none", "protenix": "scale"}[g.peer]
    module = AttentionPairBias(AttentionPairBiasConfig(32, 16, 4, c_s=32, pair_norm=norm))
    mask = g.mask("mask")
    mask = None if mask is None else squeezed(mask)

    def run(m, x):
        return {"out": m(squeezed(x["a"]), squeezed(x["z"]), mask, squeezed(x["s"]))}

    return module, rules_for(g).attention_pair_bias(), run


def transformer(g: Golden) -> Case:
    mask = g.mask("mask")
    mask = torch.ones(12, dtype=torch.bool) if mask is None else squeezed(mask)
    if g.peer == "af3_official":
        module = DiffusionTransformer(DiffusionTransformerConfig(4, 4, 32, 24, 16))

        def run_official(m, x):
            return {"out": m(x["act"], x["cond"], m.pair_biases(x["pair"], mask))}

        return module, official.diffusion_transformer(4, "tf"), run_official
    single = g.name != "diffusion_transformer"
    config = DiffusionTransformerConfig(
        1 if single else 2, 4, 32, 32, 16, PAIR_NORM[g.peer], projections=3 if g.peer == "boltz" else 2
    )
    module = DiffusionTransformer(config)

    def run(m, x):
        a, s, z = (squeezed(x[name]) for name in "asz")
        return {"out": m(a, s, m.each_pair_bias(z, mask) if m.training else m.pair_biases(z, mask))}

    if g.peer == "openfold3":
        return module, openfold3.diffusion_transformer(2), run
    if g.peer == "protenix":
        return module, protenix.diffusion_transformer_block("", "blocks.0."), run
    return module, boltz.diffusion_transformer_block("", "blocks.0.", bias="pair_bias_attn.proj_z."), run


def given_bias_layer(g: Golden) -> Case:
    config = DiffusionTransformerConfig(1, 4, 32, 32, 16, "block_affine", projections=3)
    mask = squeezed(g.mask("mask"))

    def run(m, x):
        bias = mask_keys(squeezed(x["bias"]).movedim(-1, 0).clone(), mask)
        return {"out": m.inner(squeezed(x["a"]), squeezed(x["s"]), bias)}

    return Given(DiffusionTransformerBlock(config)), boltz.diffusion_transformer_block("", "inner."), run


def fourier(g: Golden) -> Case:
    return (
        FourierEmbedding(16),
        rules_for(g).fourier_embedding(),
        lambda m, x: {"out": m(x["t"] if "t" in x else x["times"])},
    )


def relative_position(g: Golden) -> Case:
    offsets = "other_chain" if g.name.endswith("fixsym0") else "same_entity"
    config = RelativePositionConfig(16, chain_offsets=offsets)
    module = RelativePositionEncoding(config)
    if g.peer == "openfold3":

        def one_hots(m, x):
            return {"out": one_hot_positions(relative_positions(batch_of(x), config), config, torch.float32)}

        return nn.Module(), [], one_hots
    return module, rules_for(g).relative_position_encoding(), lambda m, x: {"out": m(batch_of(x))}


def atom_encoder(g: Golden) -> Case:
    trunk = not g.name.endswith("nocoords")
    config = atoms_config(g)
    module = AtomAttentionEncoder(config, *((16, 16) if trunk else ()))

    def run(m, x):
        batch = batch_of(x)
        windows = config.windows(batch.atom_mask)
        extra = (squeezed(x["s"]), squeezed(x["z"])) if trunk else ()
        conditions = m.conditioning(batch, windows, *extra)
        queries = conditions.single
        if trunk:
            positions = squeezed(x["rl"] if "rl" in x else x["r_l"])
            queries = m.query_base(conditions) + m.from_position(positions)
        biases = m.transformer.pair_biases(conditions.pair, windows.key_mask)
        a, q = m(queries, conditions.single, biases, windows, config.atom_token(batch, queries.dtype))
        return {"a": a, "q": q, "c": conditions.single, "p": conditions.pair}

    return module, rules_for(g).atom_attention_encoder(2, trunk=trunk), run


def atom_conditioning(g: Golden) -> Case:
    config = atoms_config(g)
    module = AtomAttentionEncoder(config, 16, 16).conditioning

    def run(m, x):
        batch = batch_of(x)
        found = m(batch, config.windows(batch.atom_mask), squeezed(x["s_trunk"]), squeezed(x["z"]))
        return {"q": found.reference, "c": found.single, "p": found.pair}

    return module, boltz.atom_conditioning(version=2), run


def conditioning_config(g: Golden) -> DiffusionConditioningConfig:
    widths = {"c_s_inputs": 24, "c_s": 16, "c_z": 16, "c_cond": 16, "c_noise": 16}
    if g.peer == "protenix" and g.name == "diffusion_module":
        widths["c_noise"] = 256
    if g.peer == "boltz":
        widths |= {"c_s_inputs": 87 if g.name.endswith("v1") else 16, "c_cond": 32}
    return DiffusionConditioningConfig(
        **widths,
        relative_position=RelativePositionConfig(16),
        relative_position_input="one_hot" if g.peer == "openfold3" else "embedded",
        offset=g.peer == "boltz",
    )


def encoded_positions(m, x) -> Tensor:
    """The relative positions as a file gives them: features, one-hot classes, or embedded."""
    if "rel" in x:
        return squeezed(x["rel"])
    if "relp" in x:
        return x["relp"] @ m.relative_position.linear.weight.T
    return m.features(relative_positions(batch_of(x), m.config.relative_position), x["z_trunk"].dtype)


def conditioning(g: Golden) -> Case:
    module = DiffusionConditioning(conditioning_config(g))

    def run(m, x):
        s_inputs, single, pair = (
            squeezed(x[n] if n in x else x[n.rstrip("s")]) for n in ("s_inputs", "s_trunk", "z_trunk")
        )
        noise = torch.log(squeezed(x["t"]) / 16) / 4
        return {
            "s": m.single(m.single.base(single, s_inputs), noise),
            "z": m.pair(pair, encoded_positions(m.pair, x)),
        }

    return module, rules_for(g).diffusion_conditioning(), run


def single_conditioning(g: Golden) -> Case:
    module = SingleConditioning(conditioning_config(g))

    def run(m, x):
        base = m.base(squeezed(x["s_trunk"]), squeezed(x["s_inputs"]))
        return {"s": m(base, x["times"]), "normed_fourier": m.norm_noise(m.fourier(x["times"]))}

    return module, boltz.single_conditioning(), run


def pair_conditioning(g: Golden) -> Case:
    module = PairConditioning(conditioning_config(g))
    rules = boltz.pair_conditioning(relative_position="rel_pos.")
    return module, rules, lambda m, x: {"out": m(squeezed(x["z_trunk"]), squeezed(x["rel"]))}


def diffusion_module(g: Golden) -> Case:
    conditions = conditioning_config(g)
    config = DiffusionModuleConfig(
        conditioning=conditions,
        atoms=atoms_config(g),
        transformer=DiffusionTransformerConfig(
            **TOKENS,
            c_s=conditions.c_cond,
            pair_norm=PAIR_NORM[g.peer],
            projections=3 if g.peer == "boltz" else 2,
        ),
        offset=g.peer == "boltz",
    )

    def run(m, x):
        batch = batch_of(x)
        s_inputs, single, pair = (
            squeezed(x[n] if n in x else x[n.rstrip("s")]) for n in ("s_inputs", "s_trunk", "z_trunk")
        )
        pair = m.conditioning.pair(pair, encoded_positions(m.conditioning.pair, x))
        cache = m.cache(batch, s_inputs, single, pair)
        if g.peer == "boltz":
            return raw_network(m, x, batch, cache, single, pair)
        return {"out": m(squeezed(x["x_noisy"]), squeezed(x["t"]), batch, cache)}

    extra = {"version": int(g.name[-1])} if g.peer == "boltz" else {}
    return DiffusionModule(config), rules_for(g).diffusion_module(2, 2, **extra), run


def raw_network(m, x, batch, cache, single, pair) -> dict[str, Tensor]:
    seen = []
    handle = m.norm_token.register_forward_hook(lambda module, arguments, result: seen.append(result.clone()))
    update = m.network(x["r_noisy"], x["times"], batch, cache)
    handle.remove()
    heads_last = {
        "token_trans_bias": cache.token_biases,
        "atom_enc_bias": cache.encoder_biases,
        "atom_dec_bias": cache.decoder_biases,
    }
    return {
        "r_update": update,
        "token_a": seen[0],
        "c": m.encoder.conditioning(batch, cache.windows, single, pair).single,
        "q": cache.atom_base,
        **{name: bias.flatten(0, 1).movedim(0, -1) for name, bias in heads_last.items()},
    }


MAKERS = {
    "adaln": adaln,
    "conditioned_transition": conditioned_transition,
    "transition_block_cond": conditioned_transition,
    "self_attention_cond": self_attention,
    "attention_pair_bias_diffusion": attention,
    "diffusion_transformer": transformer,
    "diffusion_transformer_block": transformer,
    "diffusion_transformer_layer_v1": transformer,
    "diffusion_transformer_layer_v2": given_bias_layer,
    "fourier_embedding": fourier,
    "relpos_complex": relative_position,
    "relative_position_encoding": relative_position,
    "relative_position_fixsym0": relative_position,
    "relative_position_fixsym1": relative_position,
    "atom_attention_encoder": atom_encoder,
    "atom_attention_encoder_nocoords": atom_encoder,
    "atom_encoder_v2": atom_conditioning,
    "diffusion_conditioning": conditioning,
    "single_conditioning_v2": single_conditioning,
    "pairwise_conditioning_v2": pair_conditioning,
    "diffusion_module": diffusion_module,
    "diffusion_module_v1": diffusion_module,
    "diffusion_module_v2": diffusion_module,
}


def loaded(g: Golden, dtype: torch.dtype) -> tuple[nn.Module, Run]:
    """The module with the file's weights, and how to call it."""
    module, rules, run = MAKERS[g.name](g)
    source = dict(g.tensors.get("param", {}))
    if g.peer == "af3_official" and g.name == "diffusion_transformer":
        source = official.unstack_blocks(source, "tf")
    if any("rel_pos." in key for rule in rules for key in rule.sources):
        # Boltz's encoding of relative positions is shared with the trunk; these files hold its output.
        source["rel_pos.linear_layer.weight"] = torch.zeros(16, 139)
    load_converted(module, source, rules, g.name)
    return module.to(dtype), run
