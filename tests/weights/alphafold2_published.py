"""Every array of DeepMind's published AlphaFold 2 files with its shape.

Names and shapes follow the released code (google-deepmind/alphafold, Apache-2.0) and OpenFold's importer of these
files; they are written down here, not asked of the converter. No published number is in here.
"""

from dataclasses import dataclass, replace

from anfinsen.models.alphafold2 import AlphaFold2Config

ROOT = "alphafold/alphafold_iteration/"
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """The published sizes; tests shrink them."""

    m: int = 256
    z: int = 128
    s: int = 384
    e: int = 64
    t: int = 64
    heads: int = 8
    pair_heads: int = 4
    outer: int = 32
    triangle: int = 128
    blocks: int = 48
    extra_blocks: int = 4
    template_blocks: int = 2
    point_heads: int = 12
    scalar: int = 16
    query_points: int = 4
    value_points: int = 8
    torsion: int = 128
    plddt: int = 128


SMALL = Sizes(
    m=16,
    z=8,
    s=12,
    e=8,
    t=8,
    heads=2,
    pair_heads=2,
    outer=3,
    triangle=6,
    blocks=2,
    extra_blocks=1,
    template_blocks=1,
    point_heads=3,
    scalar=4,
    query_points=2,
    value_points=3,
    torsion=5,
    plddt=7,
)


def resized(config: AlphaFold2Config, sizes: Sizes = SMALL) -> AlphaFold2Config:
    """The same architecture with these sizes; a file without templates says nothing of theirs."""
    if config.templates:
        config = replace(config, c_t=sizes.t, template_blocks=sizes.template_blocks)
    return replace(
        config,
        c_m=sizes.m,
        c_z=sizes.z,
        c_s=sizes.s,
        c_e=sizes.e,
        heads_msa=sizes.heads,
        heads_pair=sizes.pair_heads,
        c_outer=sizes.outer,
        c_triangle=sizes.triangle,
        evoformer_blocks=sizes.blocks,
        extra_blocks=sizes.extra_blocks,
        heads_points=sizes.point_heads,
        c_points=sizes.scalar,
        query_points=sizes.query_points,
        value_points=sizes.value_points,
        c_torsions=sizes.torsion,
        c_plddt=sizes.plddt,
    )


SMALL_CONFIG = resized(AlphaFold2Config(predicts_pae=True))


def dense(c_in: int, *c_out: int) -> Shapes:
    return {"//weights": (c_in, *c_out), "//bias": c_out}


def norm(c: int) -> Shapes:
    return {"//scale": (c,), "//offset": (c,)}


def inside(name: str, shapes: Shapes) -> Shapes:
    """The shapes below a module."""
    return {(f"{name}{key}" if key.startswith("//") else f"{name}/{key}"): shape for key, shape in shapes.items()}


def join(*parts: Shapes) -> Shapes:
    return {key: shape for part in parts for key, shape in part.items()}


def attention(c: int, heads: int) -> Shapes:
    w = c // heads
    matrices = {f"//{kind}_w": (c, heads, w) for kind in ("query", "key", "value", "gating")}
    return matrices | {"//gating_b": (heads, w), "//output_w": (heads, w, c), "//output_b": (c,)}


def global_attention(c: int, heads: int) -> Shapes:
    w = c // heads
    return attention(c, heads) | {"//key_w": (c, w), "//value_w": (c, w)}


def transition(c: int, factor: int) -> Shapes:
    return join(
        inside("input_layer_norm", norm(c)),
        inside("transition1", dense(c, factor * c)),
        inside("transition2", dense(factor * c, c)),
    )


def triangle_multiplication(c: int, hidden: int, fused: bool) -> Shapes:
    shared = join(inside("output_projection", dense(hidden, c)), inside("gating_linear", dense(c, c)))
    if fused:
        return join(
            shared,
            inside("left_norm_input", norm(c)),
            inside("projection", dense(c, 2 * hidden)),
            inside("gate", dense(c, 2 * hidden)),
            inside("center_norm", norm(hidden)),
        )
    names = ("left_projection", "right_projection", "left_gate", "right_gate")
    return join(
        shared,
        inside("layer_norm_input", norm(c)),
        *(inside(name, dense(c, hidden)) for name in names),
        inside("center_layer_norm", norm(hidden)),
    )


def triangle_attention(c: int, heads: int) -> Shapes:
    return join(
        inside("query_norm", norm(c)), {"//feat_2d_weights": (c, heads)}, inside("attention", attention(c, heads))
    )


def pair_block(c: int, hidden: int, heads: int, factor: int, fused: bool) -> Shapes:
    return join(
        inside("triangle_multiplication_outgoing", triangle_multiplication(c, hidden, fused)),
        inside("triangle_multiplication_incoming", triangle_multiplication(c, hidden, fused)),
        inside("triangle_attention_starting_node", triangle_attention(c, heads)),
        inside("triangle_attention_ending_node", triangle_attention(c, heads)),
        inside("pair_transition", transition(c, factor)),
    )


def evoformer_block(sizes: Sizes, c_m: int, extra: bool, fused: bool) -> Shapes:
    row = join(
        inside("query_norm", norm(c_m)),
        inside("feat_2d_norm", norm(sizes.z)),
        {"//feat_2d_weights": (sizes.z, sizes.heads)},
        inside("attention", attention(c_m, sizes.heads)),
    )
    of_columns = (global_attention if extra else attention)(c_m, sizes.heads)
    columns = join(inside("query_norm", norm(c_m)), inside("attention", of_columns))
    outer = join(
        inside("layer_norm_input", norm(c_m)),
        inside("left_projection", dense(c_m, sizes.outer)),
        inside("right_projection", dense(c_m, sizes.outer)),
        {"//output_w": (sizes.outer, sizes.outer, sizes.z), "//output_b": (sizes.z,)},
    )
    return join(
        inside("msa_row_attention_with_pair_bias", row),
        inside("msa_column_global_attention" if extra else "msa_column_attention", columns),
        inside("msa_transition", transition(c_m, 4)),
        inside("outer_product_mean", outer),
        pair_block(sizes.z, sizes.triangle, sizes.pair_heads, 4, fused),
    )


def stacked(depth: int, shapes: Shapes) -> Shapes:
    return {key: (depth, *shape) for key, shape in shapes.items()}


def templates(sizes: Sizes, multimer: bool, fused: bool) -> Shapes:
    block = stacked(sizes.template_blocks, pair_block(sizes.t, sizes.t, sizes.pair_heads, 2, fused))
    w = sizes.t // sizes.pair_heads
    if not multimer:
        single = join(
            inside("embedding2d", dense(88, sizes.t)),
            inside("template_pair_stack/__layer_stack_no_state", block),
            inside("output_layer_norm", norm(sizes.t)),
        )
        pointwise = {
            "//query_w": (sizes.z, sizes.pair_heads, w),
            "//key_w": (sizes.t, sizes.pair_heads, w),
            "//value_w": (sizes.t, sizes.pair_heads, w),
            "//output_w": (sizes.pair_heads, w, sizes.z),
            "//output_b": (sizes.z,),
        }
        return join(inside("single_template_embedding", single), inside("attention", pointwise))
    # Features of one number each have a vector of weights.
    vector = {"//weights": (sizes.t,), "//bias": (sizes.t,)}
    maps = [dense(39, sizes.t), vector, dense(22, sizes.t), dense(22, sizes.t), vector, vector, vector, vector]
    maps.append(dense(sizes.z, sizes.t))
    single = join(
        inside("query_embedding_norm", norm(sizes.z)),
        *(inside(f"template_pair_embedding_{index}", shapes) for index, shapes in enumerate(maps)),
        inside("template_embedding_iteration", block),
        inside("output_layer_norm", norm(sizes.t)),
    )
    return join(inside("single_template_embedding", single), inside("output_linear", dense(sizes.t, sizes.z)))


def fold_iteration(sizes: Sizes, multimer: bool) -> Shapes:
    heads, scalar, s = sizes.point_heads, sizes.scalar, sizes.s
    q, v = sizes.query_points, sizes.value_points
    if multimer:
        attention = join(
            *(inside(f"{part}_scalar_projection", {"//weights": (s, heads, scalar)}) for part in "qkv"),
            *(
                inside(f"{part}_point_projection/point_projection", dense(s, heads, 3 * count))
                for part, count in (("q", q), ("k", q), ("v", v))
            ),
        )
        update = inside("quat_rigid/rigid", dense(s, 6))
    else:
        attention = join(
            inside("q_scalar", dense(s, heads * scalar)),
            inside("kv_scalar", dense(s, heads * 2 * scalar)),
            inside("q_point_local", dense(s, heads * 3 * q)),
            inside("kv_point_local", dense(s, heads * 3 * (q + v))),
        )
        update = inside("affine_update", dense(s, 6))
    attention = join(
        attention,
        {"//trainable_point_weights": (heads,)},
        inside("attention_2d", dense(sizes.z, heads)),
        inside("output_projection", dense(heads * (scalar + 4 * v + sizes.z), s)),
    )
    c = sizes.torsion
    residual = ("resblock1", "resblock2", "resblock1_1", "resblock2_1")
    sidechain = join(
        inside("input_projection", dense(s, c)),
        inside("input_projection_1", dense(s, c)),
        *(inside(name, dense(c, c)) for name in residual),
        inside("unnormalized_angles", dense(c, 14)),
    )
    return join(
        inside("invariant_point_attention", attention),
        inside("attention_layer_norm", norm(s)),
        *(inside(name, dense(s, s)) for name in ("transition", "transition_1", "transition_2")),
        inside("transition_layer_norm", norm(s)),
        update,
        inside("rigid_sidechain", sidechain),
    )


def published(kind: str, sizes: Sizes | None = None) -> Shapes:
    """Every array of a file of one kind: monomer, monomer_no_templates, ptm, multimer_v2, multimer_v3."""
    sizes = sizes or Sizes()
    multimer, fused = kind.startswith("multimer"), kind == "multimer_v3"
    target = 21 if multimer else 22
    position = inside("~_relative_encoding/position_activations", dense(73, sizes.z))
    evoformer = join(
        inside("preprocess_1d", dense(target, sizes.m)),
        inside("preprocess_msa", dense(49, sizes.m)),
        inside("left_single", dense(target, sizes.z)),
        inside("right_single", dense(target, sizes.z)),
        position if multimer else inside("pair_activiations", dense(65, sizes.z)),
        inside("prev_pos_linear", dense(15, sizes.z)),
        inside("prev_msa_first_row_norm", norm(sizes.m)),
        inside("prev_pair_norm", norm(sizes.z)),
        inside("extra_msa_activations", dense(25, sizes.e)),
        inside("extra_msa_stack", stacked(sizes.extra_blocks, evoformer_block(sizes, sizes.e, True, fused))),
        inside("evoformer_iteration", stacked(sizes.blocks, evoformer_block(sizes, sizes.m, False, fused))),
        inside("single_activations", dense(sizes.m, sizes.s)),
    )
    if kind != "monomer_no_templates":
        evoformer |= inside("template_embedding", templates(sizes, multimer, fused))
        evoformer |= inside("template_single_embedding", dense(34 if multimer else 57, sizes.m))
        evoformer |= inside("template_projection", dense(sizes.m, sizes.m))
    structure = join(
        inside("single_layer_norm", norm(sizes.s)),
        inside("initial_projection", dense(sizes.s, sizes.s)),
        inside("pair_layer_norm", norm(sizes.z)),
        inside("fold_iteration", fold_iteration(sizes, multimer)),
    )
    plddt = join(
        inside("input_layer_norm", norm(sizes.s)),
        inside("act_0", dense(sizes.s, sizes.plddt)),
        inside("act_1", dense(sizes.plddt, sizes.plddt)),
        inside("logits", dense(sizes.plddt, 50)),
    )
    heads = join(
        inside("predicted_lddt_head", plddt),
        inside("distogram_head/half_logits", dense(sizes.z, 64)),
        inside("masked_msa_head/logits", dense(sizes.m, 22 if multimer else 23)),
        inside("experimentally_resolved_head/logits", dense(sizes.s, 37)),
    )
    if multimer or kind == "ptm":
        heads |= inside("predicted_aligned_error_head/logits", dense(sizes.z, 64))
    everything = join(inside("evoformer", evoformer), inside("structure_module", structure), heads)
    return {ROOT + key: shape for key, shape in everything.items()}
