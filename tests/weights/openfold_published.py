"""Every tensor of OpenFold's checkpoints of AlphaFold 2 with its shape, under the names of release 2.

Names and shapes follow OpenFold's modules (Apache-2.0); those of its golden files are compared with them.
"""

from alphafold2_published import Shapes, Sizes


def linear(name: str, c_in: int, c_out: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (c_out, c_in)} | ({f"{name}.bias": (c_out,)} if bias else {})


def norm(name: str, c: int) -> Shapes:
    return {f"{name}.weight": (c,), f"{name}.bias": (c,)}


def attention(name: str, c: int) -> Shapes:
    shapes = linear(f"{name}.linear_g", c, c) | linear(f"{name}.linear_o", c, c)
    for part in "qkv":
        shapes |= linear(f"{name}.linear_{part}", c, c, bias=False)
    return shapes


def transition(name: str, c: int, factor: int) -> Shapes:
    return (
        norm(f"{name}.layer_norm", c)
        | linear(f"{name}.linear_1", c, factor * c)
        | linear(f"{name}.linear_2", factor * c, c)
    )


def pair_block(name: str, c: int, hidden: int, heads: int, factor: int, fused: bool) -> Shapes:
    shapes = transition(f"{name}.pair_transition", c, factor)
    parts = {"ab_p": 2 * hidden, "ab_g": 2 * hidden} if fused else dict.fromkeys(("a_p", "a_g", "b_p", "b_g"), hidden)
    for update in ("tri_mul_out", "tri_mul_in"):
        for part, width in parts.items():
            shapes |= linear(f"{name}.{update}.linear_{part}", c, width)
        shapes |= linear(f"{name}.{update}.linear_g", c, c) | linear(f"{name}.{update}.linear_z", hidden, c)
        shapes |= norm(f"{name}.{update}.layer_norm_in", c) | norm(f"{name}.{update}.layer_norm_out", hidden)
    for update in ("tri_att_start", "tri_att_end"):
        shapes |= norm(f"{name}.{update}.layer_norm", c) | attention(f"{name}.{update}.mha", c)
        shapes |= linear(f"{name}.{update}.linear", c, heads, bias=False)
    return shapes


def evoformer_block(name: str, sizes: Sizes, c_m: int, extra: bool, fused: bool) -> Shapes:
    shapes = pair_block(f"{name}.pair_stack", sizes.z, sizes.triangle, sizes.pair_heads, 4, fused)
    shapes |= norm(f"{name}.msa_att_row.layer_norm_m", c_m) | norm(f"{name}.msa_att_row.layer_norm_z", sizes.z)
    shapes |= linear(f"{name}.msa_att_row.linear_z", sizes.z, sizes.heads, bias=False)
    shapes |= attention(f"{name}.msa_att_row.mha", c_m)
    if extra:
        columns, width = f"{name}.msa_att_col.global_attention", c_m // sizes.heads
        shapes |= norm(f"{name}.msa_att_col.layer_norm_m", c_m) | attention(columns, c_m)
        # Keys and values of one head.
        shapes |= linear(f"{columns}.linear_k", c_m, width, bias=False)
        shapes |= linear(f"{columns}.linear_v", c_m, width, bias=False)
    else:
        columns = f"{name}.msa_att_col._msa_att"
        shapes |= norm(f"{columns}.layer_norm_m", c_m) | attention(f"{columns}.mha", c_m)
    outer = f"{name}.outer_product_mean"
    shapes |= norm(f"{outer}.layer_norm", c_m) | linear(f"{outer}.linear_out", sizes.outer**2, sizes.z)
    shapes |= linear(f"{outer}.linear_1", c_m, sizes.outer) | linear(f"{outer}.linear_2", c_m, sizes.outer)
    return shapes | transition(f"{name}.msa_transition", c_m, 4)


def templates(sizes: Sizes, multimer: bool, fused: bool) -> Shapes:
    name, t, z, m = "template_embedder", sizes.t, sizes.z, sizes.m
    single, pair = f"{name}.template_single_embedder", f"{name}.template_pair_embedder"
    shapes = norm(f"{name}.template_pair_stack.layer_norm", t)
    for index in range(sizes.template_blocks):
        shapes |= pair_block(f"{name}.template_pair_stack.blocks.{index}", t, t, sizes.pair_heads, 2, fused)
    if not multimer:
        mha = f"{name}.template_pointwise_att.mha"
        shapes |= linear(f"{pair}.linear", 88, t) | linear(f"{single}.linear_1", 57, m)
        shapes |= linear(f"{single}.linear_2", m, m)
        shapes |= linear(f"{mha}.linear_q", z, t, bias=False) | linear(f"{mha}.linear_k", t, t, bias=False)
        return shapes | linear(f"{mha}.linear_v", t, t, bias=False) | linear(f"{mha}.linear_o", t, z)
    features = {"dgram": 39, "aatype_1": 22, "aatype_2": 22, "pseudo_beta_mask": 1, "x": 1, "y": 1, "z": 1}
    for feature, width in (features | {"backbone_mask": 1, "query_embedding": z}).items():
        kind, _, number = feature.partition("_") if feature.startswith("aatype") else (feature, "", "")
        shapes |= linear(f"{pair}.{kind}_linear{'_' + number if number else ''}", width, t)
    shapes |= norm(f"{pair}.query_embedding_layer_norm", z) | linear(f"{name}.linear_t", t, z)
    return shapes | linear(f"{single}.template_single_embedder", 34, m) | linear(f"{single}.template_projector", m, m)


def structure_module(sizes: Sizes, multimer: bool) -> Shapes:
    name, s, c = "structure_module", sizes.s, sizes.torsion
    ipa, torsions, heads = f"{name}.ipa", f"{name}.angle_resnet", sizes.point_heads
    scalar, q, v = heads * sizes.scalar, 3 * heads * sizes.query_points, 3 * heads * sizes.value_points
    shapes = {f"{ipa}.head_weights": (heads,)}
    shapes |= linear(f"{ipa}.linear_b", sizes.z, heads)
    shapes |= linear(f"{ipa}.linear_out", heads * (sizes.scalar + 4 * sizes.value_points + sizes.z), s)
    if multimer:
        for part, width in (("q", q), ("k", q), ("v", v)):
            shapes |= linear(f"{ipa}.linear_{part}", s, scalar, bias=False)
            shapes |= linear(f"{ipa}.linear_{part}_points.linear", s, width)
    else:
        shapes |= linear(f"{ipa}.linear_q", s, scalar) | linear(f"{ipa}.linear_kv", s, 2 * scalar)
        shapes |= linear(f"{ipa}.linear_q_points.linear", s, q) | linear(f"{ipa}.linear_kv_points.linear", s, q + v)
    for part, width in (("layer_norm_s", s), ("layer_norm_z", sizes.z), ("layer_norm_ipa", s)):
        shapes |= norm(f"{name}.{part}", width)
    shapes |= norm(f"{name}.transition.layer_norm", s) | linear(f"{name}.linear_in", s, s)
    for index in (1, 2, 3):
        shapes |= linear(f"{name}.transition.layers.0.linear_{index}", s, s)
    for index in (0, 1):
        shapes |= linear(f"{torsions}.layers.{index}.linear_1", c, c)
        shapes |= linear(f"{torsions}.layers.{index}.linear_2", c, c)
    shapes |= linear(f"{torsions}.linear_in", s, c) | linear(f"{torsions}.linear_initial", s, c)
    return shapes | linear(f"{torsions}.linear_out", c, 14) | linear(f"{name}.bb_update.linear", s, 6)


def openfold_published(kind: str, sizes: Sizes) -> Shapes:
    """Every tensor of a file of one kind, called as in `alphafold2_published.published`."""
    multimer, fused = kind.startswith("multimer"), kind == "multimer_v3"
    target, (m, z, s) = 21 if multimer else 22, (sizes.m, sizes.z, sizes.s)
    shapes = structure_module(sizes, multimer)
    for name, c_in, c_out in (
        ("input_embedder.linear_tf_z_i", target, z),
        ("input_embedder.linear_tf_z_j", target, z),
        ("input_embedder.linear_tf_m", target, m),
        ("input_embedder.linear_msa_m", 49, m),
        ("input_embedder.linear_relpos", 73 if multimer else 65, z),
        ("recycling_embedder.linear", 15, z),
        ("extra_msa_embedder.linear", 25, sizes.e),
        ("evoformer.linear", m, s),
        ("aux_heads.plddt.linear_1", s, sizes.plddt),
        ("aux_heads.plddt.linear_2", sizes.plddt, sizes.plddt),
        ("aux_heads.plddt.linear_3", sizes.plddt, 50),
        ("aux_heads.distogram.linear", z, 64),
        ("aux_heads.masked_msa.linear", m, 22 if multimer else 23),
        ("aux_heads.experimentally_resolved.linear", s, 37),
    ):
        shapes |= linear(name, c_in, c_out)
    shapes |= norm("recycling_embedder.layer_norm_m", m) | norm("recycling_embedder.layer_norm_z", z)
    shapes |= norm("aux_heads.plddt.layer_norm", s)
    if multimer or kind == "ptm":
        shapes |= linear("aux_heads.tm.linear", z, 64)
    for index in range(sizes.extra_blocks):
        shapes |= evoformer_block(f"extra_msa_stack.blocks.{index}", sizes, sizes.e, True, fused)
    for index in range(sizes.blocks):
        shapes |= evoformer_block(f"evoformer.blocks.{index}", sizes, m, False, fused)
    return shapes if kind == "monomer_no_templates" else shapes | templates(sizes, multimer, fused)
