"""Which module, rules and call belong to each golden file of the trunk."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from anfinsen.models.alphafold3.msa_module import MsaBlock, MsaModule, MsaModuleConfig
from anfinsen.nn import (
    AttentionPairBias,
    AttentionPairBiasConfig,
    OuterProductMean,
    PairBlock,
    PairformerBlock,
    PairformerConfig,
    PairWeightedAveraging,
    Transition,
    TriangleAttention,
    TriangleMultiplication,
)
from anfinsen.weights.published import af3_official_trunk, boltz_trunk, openfold3_trunk, protenix_trunk
from anfinsen.weights.published.rules import Rules, load_converted

FORMATS = {
    "af3_official": af3_official_trunk,
    "openfold3": openfold3_trunk,
    "protenix": protenix_trunk,
    "boltz": boltz_trunk,
}
C_Z, C_M, C_S = 16, 16, 32
N = 12


@dataclass
class Golden:
    """One golden file: tensors by kind and name, and its hyper-parameters."""

    path: Path

    def __post_init__(self):
        self.peer, self.name = self.path.parent.name, self.path.stem
        self.tensors: dict[str, dict[str, Tensor]] = {}
        with safe_open(self.path, "pt") as file:
            metadata = file.metadata()
            for key in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                kind, name = key.split(".", 1)
                self.tensors.setdefault(kind, {})[name] = file.get_tensor(key)
        self.hyper = json.loads(metadata["hyper"])

    def mask(self, *names: str) -> Tensor | None:
        """The first input of these names, as a boolean."""
        for name in names:
            if name in self.tensors["input"]:
                return self.tensors["input"][name].bool()
        return None


Case = tuple[nn.Module, Rules, Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]]


def token_mask(golden: Golden) -> Tensor:
    """Tokens whose pairs are valid; the files' pair masks are outer products of it."""
    pair = golden.mask("pair_mask", "mask", "token_mask")
    single = golden.mask("seq_mask", "single_mask", "feats.token_pad_mask")
    if single is not None:
        return single
    if pair is None:
        return torch.ones(N, dtype=torch.bool)
    return pair.diagonal(dim1=-2, dim2=-1) if pair.shape[-1] == pair.shape[-2] else pair


def pair_config(golden: Golden, **changes) -> PairformerConfig:
    h = golden.hyper
    values = {
        "c_s": 0,
        "c_z": C_Z,
        "heads_single": 4,
        "heads_pair": h.get("no_heads_pair", h.get("pairwise_num_heads", h.get("tri_heads", h.get("pair_heads", 4)))),
        "c_pair_attention": h.get("c_hidden_pair_att", h.get("pairwise_head_width", 32)),
        "c_triangle": h.get("c_hidden_mul", {"protenix": 128}.get(golden.peer, C_Z)),
        "ending_bias": "ik" if golden.peer in {"af3_official", "openfold3"} else "ki",
    }
    if golden.peer == "af3_official":
        values["c_pair_attention"] = 16
    return PairformerConfig(**(values | changes))


def first(inputs: dict[str, Tensor], *names: str) -> Tensor:
    return next(inputs[name] for name in names if name in inputs)


def triangle_multiplication(g: Golden, rules) -> Case:
    incoming = "incoming" in g.name
    module = TriangleMultiplication("incoming" if incoming else "outgoing", C_Z, g.hyper.get("c_hidden", C_Z))
    if g.peer == "af3_official":
        chosen = rules.triangle_multiplication("tm", incoming=incoming)
    elif "fused" in g.name:
        chosen = rules.triangle_multiplication(fused=True)
    else:
        chosen = rules.triangle_multiplication()
    mask = token_mask(g)
    return module, chosen, lambda m, x: {"out": m(first(x, "z", "x", "act"), mask)}


def triangle_attention(g: Golden, rules) -> Case:
    node = "starting" if "starting" in g.name else "ending"
    paper = g.name.endswith("_paper") or g.peer in {"boltz", "protenix"}
    heads, width = g.hyper.get("no_heads", 1), g.hyper.get("c_hidden", 16)
    module = TriangleAttention(node, C_Z, heads, width, ending_bias="ki" if paper else "ik")
    chosen = rules.triangle_attention("ga") if g.peer == "af3_official" else rules.triangle_attention()
    mask = token_mask(g)
    return module, chosen, lambda m, x: {"out": m(first(x, "x", "act"), mask)}


def transition(g: Golden, rules) -> Case:
    chosen = rules.transition("tb") if g.peer == "af3_official" else rules.transition()
    return Transition(C_Z, 4), chosen, lambda m, x: {"out": m(first(x, "x", "act"))}


def outer_product_mean(g: Golden, rules) -> Case:
    module = OuterProductMean(C_M, C_Z, 8, "before" if g.peer == "boltz" else "after")
    chosen = rules.outer_product_mean("opm") if g.peer == "af3_official" else rules.outer_product_mean()
    mask = g.mask("mask")
    return module, chosen, lambda m, x: {"out": m(first(x, "m", "act"), mask)}


def pair_weighted_averaging(g: Golden, rules) -> Case:
    official = g.peer == "af3_official"
    module = PairWeightedAveraging(C_M, C_Z, 4, 4 if official else 8)
    chosen = rules.pair_weighted_averaging("ma") if official else rules.pair_weighted_averaging()
    # The released code attends to columns that any row has.
    mask = g.mask("mask").amax(-2) if official else token_mask(g)
    return module, chosen, lambda m, x: {"out": m(first(x, "m", "act"), first(x, "z", "pair_act"), mask)}


def attention_pair_bias(g: Golden, rules) -> Case:
    module = AttentionPairBias(AttentionPairBiasConfig(c_a=C_S, c_z=C_Z, heads=4))
    if g.name.endswith("_v2"):
        module.norm = nn.Identity()  # Boltz-2 normalises before its attention
        chosen = rules.attention_pair_bias(norm=None)
    else:
        chosen = rules.attention_pair_bias()
    mask = token_mask(g).reshape(N)
    return module, chosen, lambda m, x: {"out": m(first(x, "a", "s"), x["z"].reshape(N, N, C_Z), mask)}


def pairformer(g: Golden, rules) -> Case:
    single = "s" in g.tensors["output"]
    module = PairformerBlock(pair_config(g, c_s=C_S if single else 0))
    if g.peer == "af3_official":
        chosen = rules.pairformer_block("pf")
    elif g.peer == "openfold3":
        chosen = rules.pairformer_block()
    elif g.peer == "protenix":
        chosen = rules.pairformer_block(single=single)
    else:
        chosen = rules.pairformer_block(version=1 if g.name.endswith("_v1") else 2, single=single)
    mask = token_mask(g)

    def run(m, x):
        s, z = m(first(x, "s", "single_act") if single else None, first(x, "z", "act"), mask)
        return {"s": s, "z": z} if single else {"out": z}

    return module, chosen, run


def pair_block(g: Golden, rules) -> Case:
    mask = token_mask(g)
    return PairBlock(pair_config(g)), rules.pair_block(), lambda m, x: {"out": m(x["z"], mask)}


def msa_config(g: Golden, **changes) -> MsaModuleConfig:
    boltz, protenix = g.peer == "boltz", g.peer == "protenix"
    values = {
        "blocks": g.hyper.get("no_blocks", g.hyper.get("n_blocks", g.hyper.get("msa_blocks", 1))),
        "c_m": C_M,
        "c_s_inputs": 32,
        "c_features": 36 if boltz else 34,
        "c_outer": g.hyper.get("c_hidden_opm", g.hyper.get("c_hidden", 32)),
        "heads": g.hyper.get("no_heads_msa", 8),
        "c_head": 32 if boltz else 8,
        "order": "msa_first" if boltz else "outer_product_first",
        "outer_product": "before" if boltz else "after",
        "last_block_msa": boltz,
        "use_msa_mask": not protenix,
        "pair": pair_config(g),
    }
    return MsaModuleConfig(**(values | changes))


def msa_block(g: Golden, rules) -> Case:
    module = MsaBlock(msa_config(g))
    version = {"version": 1 if g.name.endswith("_v1") else 2} if g.peer == "boltz" else {}
    mask = token_mask(g)
    msa_mask = g.mask("msa_mask")
    if msa_mask is None:
        msa_mask = torch.ones(5, N, dtype=torch.bool)

    def run(m, x):
        msa, z = m(x["m"], x["z"], msa_mask, mask)
        return {"m": msa, "z": z}

    return module, rules.msa_block(**version), run


class Stack(nn.Module):
    """The blocks of an MSA module without its embedding."""

    def __init__(self, config: MsaModuleConfig):
        super().__init__()
        self.blocks = nn.ModuleList(
            MsaBlock(config, update_msa=index < config.blocks - 1) for index in range(config.blocks)
        )


def msa_stack(g: Golden, rules) -> Case:
    module = Stack(msa_config(g))
    mask, msa_mask = token_mask(g), g.mask("msa_mask")

    def run(m, x):
        msa, z = x["m"], x["z"]
        for block in m.blocks:
            msa, z = block(msa, z, msa_mask, mask)
        return {"out": z}

    return module, rules.msa_blocks(module.blocks.__len__()), run


def msa_module(g: Golden, rules) -> Case:
    config = msa_config(g)
    mask, msa_mask = token_mask(g), g.mask("feats.msa_mask")
    if msa_mask is None:
        msa_mask = torch.ones(5, N, dtype=torch.bool)
    extra = ["feats.msa_paired"] if g.peer == "boltz" else []

    def run(m, x):
        types = F.one_hot(x["feats.msa"], 33 if extra else 32).to(x["z"].dtype)
        scalars = [x[name][..., None] for name in ["feats.has_deletion", "feats.deletion_value", *extra]]
        features = torch.cat([types, *scalars], dim=-1)
        return {"out": m(x["z"], first(x, "s_inputs", "emb"), features, msa_mask, mask)}

    return MsaModule(config), rules.msa_module(config.blocks), run


BUILDERS = {
    "triangle_mult": triangle_multiplication,
    "triangle_att": triangle_attention,
    "transition": transition,
    "outer_product_mean": outer_product_mean,
    "pair_weighted_averaging": pair_weighted_averaging,
    "msa_pair_weighted_averaging": pair_weighted_averaging,
    "msa_attention": pair_weighted_averaging,
    "attention_pair_bias": attention_pair_bias,
    "pairformer": pairformer,
    "pair_block": pair_block,
    "msa_module_block": msa_block,
    "msa_block": msa_block,
    "msa_layer": msa_block,
    "msa_module_stack": msa_stack,
    "msa_module": msa_module,
}

FILES = {
    "af3_official": [
        "triangle_mult_outgoing",
        "triangle_mult_incoming",
        "triangle_att_starting",
        "triangle_att_ending",
        "transition",
        "outer_product_mean",
        "msa_attention",
        "pairformer_iteration",
    ],
    "openfold3": [
        "triangle_mult_outgoing",
        "triangle_mult_incoming",
        "triangle_mult_fused_outgoing",
        "triangle_mult_fused_incoming",
        "triangle_att_starting",
        "triangle_att_ending_as_used",
        "triangle_att_ending_paper",
        "transition",
        "outer_product_mean",
        "msa_pair_weighted_averaging",
        "attention_pair_bias_trunk",
        "pairformer_block",
        "pair_block",
        "msa_module_block",
        "msa_module_stack",
    ],
    "protenix": [
        "triangle_mult_outgoing",
        "triangle_mult_incoming",
        "triangle_att_starting",
        "triangle_att_ending",
        "transition",
        "outer_product_mean",
        "msa_pair_weighted_averaging",
        "attention_pair_bias_trunk",
        "pairformer_block",
        "pairformer_block_nosingle",
        "msa_block",
        "msa_module",
    ],
    "boltz": [
        "triangle_mult_outgoing",
        "triangle_mult_incoming",
        "triangle_att_starting",
        "triangle_att_ending",
        "transition",
        "outer_product_mean",
        "pair_weighted_averaging",
        "attention_pair_bias_v1",
        "attention_pair_bias_v2",
        "pairformer_layer_v2",
        "pairformer_layer_v1",
        "pairformer_noseq_layer",
        "msa_layer_v2",
        "msa_layer_v1",
        "msa_module_v2",
    ],
}


def build(golden: Golden) -> Case:
    """Return the module, the rules and the call of a golden file."""
    kind = max((name for name in BUILDERS if golden.name.startswith(name)), key=len)
    return BUILDERS[kind](golden, FORMATS[golden.peer])


def loaded(golden: Golden, dtype: torch.dtype) -> tuple[nn.Module, Callable]:
    """Return the module filled from the file, in evaluation mode, and its call."""
    module, rules, run = build(golden)
    load_converted(module, golden.tensors["param"], rules, f"{golden.peer}/{golden.name}")
    return module.eval().to(dtype), run
