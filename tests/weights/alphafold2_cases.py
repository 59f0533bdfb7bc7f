"""Which module, rules and call belong to each golden file of OpenFold (AlphaFold 2)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from trunk_cases import Golden

from anfinsen.chemistry import rigid_groups
from anfinsen.geometry import Frames, ResidueTables, atom14_positions, quaternion_to_rotation, torsion_frames
from anfinsen.models.alphafold2.embedders import InputEmbedder, RecyclingEmbedder
from anfinsen.models.alphafold2.evoformer import EvoformerBlock, EvoformerConfig, EvoformerStack
from anfinsen.models.alphafold2.invariant_point_attention import InvariantPointAttention, PointAttentionConfig
from anfinsen.models.alphafold2.structure_module import (
    StructureModule,
    StructureModuleConfig,
    TorsionNetwork,
)
from anfinsen.models.alphafold2.templates import TemplatePairStack, TemplatePointwiseAttention
from anfinsen.nn import (
    MsaColumnAttention,
    MsaColumnGlobalAttention,
    MsaRowAttention,
    OuterProductMean,
    PairformerConfig,
    Transition,
    TriangleAttention,
    TriangleMultiplication,
)
from anfinsen.weights.published import openfold_structure, openfold_trunk
from anfinsen.weights.published.rules import Rules, load_converted

C_Z, C_M, C_S = 16, 16, 32
Run = Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
Case = tuple[nn.Module, Rules, Run]


def tokens(mask: Tensor) -> Tensor:
    """Residues whose pairs are valid; the files' pair masks are outer products of it."""
    residues = mask.bool().diagonal(dim1=-2, dim2=-1)
    assert torch.equal(mask.bool(), residues[..., :, None] & residues[..., None, :])
    return residues


def triangle_multiplication(g: Golden) -> Case:
    direction = "incoming" if "incoming" in g.name else "outgoing"
    module = TriangleMultiplication(direction, C_Z, g.hyper["c_hidden"], biases=True)
    rules = openfold_trunk.triangle_multiplication(fused="fused" in g.name)
    return module, rules, lambda m, x: {"out": m(x["z"], tokens(x["mask"]))}


def triangle_attention(g: Golden) -> Case:
    node = "starting" if "starting" in g.name else "ending"
    module = TriangleAttention(node, C_Z, g.hyper["no_heads"], g.hyper["c_hidden"], "ki", biases=True)
    return module, openfold_trunk.triangle_attention(), lambda m, x: {"out": m(x["x"], tokens(x["mask"]))}


def transition(g: Golden) -> Case:
    # The peer multiplies by the mask, which only changes padding.
    name = "z" if g.name.startswith("pair") else "m"
    return Transition(C_Z, g.hyper["n"], "relu"), openfold_trunk.transition(), lambda m, x: {"out": m(x[name])}


def outer_product_mean(g: Golden) -> Case:
    module = OuterProductMean(C_M, C_Z, g.hyper["c_hidden"], biases=True)
    return module, openfold_trunk.outer_product_mean(), lambda m, x: {"out": m(x["m"], x["mask"].bool())}


def msa_row_attention(g: Golden) -> Case:
    module = MsaRowAttention(C_M, C_Z, g.hyper["no_heads"], g.hyper["c_hidden"])
    return module, openfold_trunk.msa_row_attention(), lambda m, x: {"out": m(x["m"], x["z"], x["mask"].bool())}


def msa_column_attention(g: Golden) -> Case:
    module = MsaColumnAttention(C_M, g.hyper["no_heads"], g.hyper["c_hidden"])
    return module, openfold_trunk.msa_column_attention(), lambda m, x: {"out": m(x["m"], x["mask"].bool())}


def msa_column_global_attention(g: Golden) -> Case:
    module = MsaColumnGlobalAttention(C_M, g.hyper["no_heads"], g.hyper["c_hidden"])
    return module, openfold_trunk.msa_column_global_attention(), lambda m, x: {"out": m(x["m"], x["mask"].bool())}


def pair_config(g: Golden, **changes) -> PairformerConfig:
    values = {
        "c_s": 0,
        "c_z": C_Z,
        "heads_pair": g.hyper["no_heads_pair"],
        "c_pair_attention": g.hyper["c_hidden_pair_att"],
        "c_triangle": g.hyper["c_hidden_mul"],
        "transition_factor": g.hyper["transition_n"],
        "ending_bias": "ki",
        "biases": True,
        "hidden": "relu",
    }
    return PairformerConfig(**(values | changes))


def evoformer_config(g: Golden) -> EvoformerConfig:
    return EvoformerConfig(
        c_m=C_M,
        heads=g.hyper["no_heads_msa"],
        c_head=g.hyper["c_hidden_msa_att"],
        c_outer=g.hyper["c_hidden_opm"],
        transition_factor=g.hyper["transition_n"],
        outer_product_first=g.hyper["opm_first"],
        global_columns=g.name.startswith("extra"),
        pair=pair_config(g),
    )


def run_evoformer(module: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    msa, pair = module(x["m"], x["z"], x["msa_mask"].bool(), tokens(x["pair_mask"]))
    return {"m": msa, "z": pair}


def evoformer_block(g: Golden) -> Case:
    rules = openfold_trunk.evoformer_block(extra=g.name.startswith("extra"), fused=g.hyper["fuse_projection_weights"])
    return EvoformerBlock(evoformer_config(g)), rules, run_evoformer


class StackWithSingle(nn.Module):
    """The peer's stack also makes the single representation."""

    def __init__(self, config: EvoformerConfig, blocks: int, c_s: int):
        super().__init__()
        self.stack = EvoformerStack(config, blocks)
        self.single = nn.Linear(config.c_m, c_s)


def evoformer_stack(g: Golden) -> Case:
    g.hyper.setdefault("opm_first", False)
    blocks = g.hyper["no_blocks"]
    module = StackWithSingle(evoformer_config(g), blocks, g.hyper["c_s"])
    rules = [
        *openfold_trunk.evoformer_stack(blocks, target="stack."),
        *openfold_trunk.linear("linear", "single"),
    ]

    def run(m, x):
        made = run_evoformer(m.stack, x)
        return made | {"s": m.single(made["m"][0])}

    return module, rules, run


def frames_of(x: dict[str, Tensor]) -> Frames:
    return Frames(quaternion_to_rotation(x["quat"]), x["trans"])


def point_attention_config(g: Golden, width: str, heads: str) -> PointAttentionConfig:
    return PointAttentionConfig(
        c_s=C_S,
        c_z=C_Z,
        heads=g.hyper[heads],
        c_head=g.hyper[width],
        query_points=g.hyper["no_qk_points"],
        value_points=g.hyper["no_v_points"],
        multimer=g.name.endswith("multimer"),
    )


def invariant_point_attention(g: Golden) -> Case:
    config = point_attention_config(g, "c_hidden", "no_heads")
    rules = openfold_structure.invariant_point_attention(config.heads, config.query_points, multimer=config.multimer)
    return (
        InvariantPointAttention(config),
        rules,
        lambda m, x: {"out": m(x["s"], x["z"], frames_of(x), x["mask"].bool())},
    )


def as_matrices(frames: Frames) -> Tensor:
    """Frames as 4 x 4 matrices, as the peer writes them."""
    top = torch.cat([frames.rotation, frames.origin[..., None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def ideal_tables(like: Tensor) -> ResidueTables:
    """The ideal geometry, rounded to float32 as the peer keeps it whatever it computes in."""
    single = ResidueTables.of(rigid_groups().arrays(), torch.zeros((), dtype=torch.float32))
    return replace(
        single, **{name: table.to(like) for name, table in vars(single).items() if table.is_floating_point()}
    )


def existing_groups(types: Tensor) -> Tensor:
    """Groups with a frame that means something (the peer's frames of others are singular)."""
    exists = torch.tensor(rigid_groups().group_mask)[types]
    exists[:, 1:3] = True  # pre-omega and phi, which move no heavy atom
    return exists


def structure_module(g: Golden) -> Case:
    attention = point_attention_config(g, "c_ipa", "no_heads_ipa")
    config = StructureModuleConfig(
        layers=g.hyper["no_blocks"],
        attention=attention,
        c_torsions=g.hyper["c_resnet"],
        torsion_blocks=g.hyper["no_resnet_blocks"],
        position_scale=float(g.hyper["trans_scale_factor"]),
    )
    rules = openfold_structure.structure_module(
        attention.heads, attention.query_points, config.torsion_blocks, multimer=attention.multimer
    )

    def run(m, x):
        made = m(x["single"], x["pair"], x["mask"].bool())
        tables = ideal_tables(x["single"])
        types = x["aatype"].expand(config.layers, -1)
        groups = torsion_frames(made.frames, made.torsions, types, tables)
        return {
            "frames": as_matrices(made.frames),
            "angles": made.torsions,
            "unnormalized_angles": made.raw_torsions,
            "states": made.single,
            "single": made.single[-1],
            "sidechain_frames": as_matrices(groups) * existing_groups(x["aatype"])[..., None, None],
            "positions": atom14_positions(groups, types, tables),
        }

    return StructureModule(config), rules, run


def torsion_network(g: Golden) -> Case:
    blocks = g.hyper["no_blocks"]

    def run(m, x):
        angles, raw = m(x["s"], x["s_initial"])
        return {"angles": angles, "unnormalized": raw}

    return TorsionNetwork(C_S, g.hyper["c_hidden"], blocks), openfold_structure.torsion_network(blocks), run


def input_embedder(g: Golden) -> Case:
    module = InputEmbedder(g.hyper["tf_dim"], C_M, C_Z, g.hyper["relpos_k"])

    def run(m, x):
        index = x["ri"].long()
        same = torch.zeros_like(index)
        msa, pair = m(x["tf"], x["msa"], m.position(index, same, same, same))
        return {"m": msa, "z": pair}

    return module, openfold_trunk.input_embedder(), run


def recycling_embedder(g: Golden) -> Case:
    def run(m, x):
        row, pair = m(x["m"], x["z"], x["x"])
        return {"m": row, "z": pair}

    return RecyclingEmbedder(C_M, C_Z), openfold_trunk.recycling_embedder(), run


def template_pointwise_attention(g: Golden) -> Case:
    module = TemplatePointwiseAttention(C_Z, C_Z, g.hyper["no_heads"], g.hyper["c_hidden"])
    rules = openfold_trunk.template_pointwise_attention()
    return module, rules, lambda m, x: {"out": m(x["t"], x["z"], x["template_mask"].bool())}


def template_pair_stack(g: Golden) -> Case:
    config = PairformerConfig(
        c_s=0,
        c_z=C_Z,
        heads_pair=g.hyper["no_heads"],
        c_pair_attention=g.hyper["c_hidden_tri_att"],
        c_triangle=g.hyper["c_hidden_tri_mul"],
        transition_factor=g.hyper["pair_transition_n"],
        ending_bias="ki",
        biases=True,
        hidden="relu",
        attention_first=not g.hyper["tri_mul_first"],
    )
    blocks = g.hyper["no_blocks"]
    rules = openfold_trunk.template_pair_stack(blocks)
    return TemplatePairStack(config, blocks), rules, lambda m, x: {"out": m(x["t"], tokens(x["mask"]))}


BUILDERS: dict[str, Callable[[Golden], Case]] = {
    "triangle_mult_outgoing": triangle_multiplication,
    "triangle_mult_incoming": triangle_multiplication,
    "triangle_mult_fused_outgoing": triangle_multiplication,
    "triangle_mult_fused_incoming": triangle_multiplication,
    "triangle_att_starting": triangle_attention,
    "triangle_att_ending": triangle_attention,
    "pair_transition": transition,
    "msa_transition": transition,
    "outer_product_mean": outer_product_mean,
    "msa_row_attention_pair_bias": msa_row_attention,
    "msa_column_attention": msa_column_attention,
    "msa_column_global_attention": msa_column_global_attention,
    "evoformer_block_monomer": evoformer_block,
    "extra_msa_block_monomer": evoformer_block,
    "evoformer_block_multimer_v3": evoformer_block,
    "extra_msa_block_multimer_v3": evoformer_block,
    "evoformer_stack_monomer": evoformer_stack,
    "ipa_monomer": invariant_point_attention,
    "ipa_multimer": invariant_point_attention,
    "structure_module_monomer": structure_module,
    "structure_module_multimer": structure_module,
    "angle_resnet": torsion_network,
    "input_embedder": input_embedder,
    "recycling_embedder": recycling_embedder,
    "template_pointwise_attention": template_pointwise_attention,
    "template_pair_stack": template_pair_stack,
}


def loaded(golden: Golden, dtype: torch.dtype) -> tuple[nn.Module, Run]:
    """Return the module filled from the file, in evaluation mode, and its call."""
    module, rules, run = BUILDERS[golden.name](golden)
    load_converted(module, golden.tensors["param"], rules, f"openfold/{golden.name}")
    return module.eval().to(dtype), run
