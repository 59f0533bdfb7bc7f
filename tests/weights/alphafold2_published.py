"""Every array of DeepMind's published AlphaFold 2 files with its shape, and OpenFold's tensors in DeepMind's layout.

Names and shapes follow the released code (google-deepmind/alphafold, Apache-2.0) and OpenFold's importer of these
files; no published number is in here.
"""

from dataclasses import dataclass

from torch import Tensor

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


# ---- OpenFold's tensors in DeepMind's layout

LINEAR = {"weight": "weights", "bias": "bias"}
NORM = {"weight": "scale", "bias": "offset"}
PLAIN = {
    "msa_att_row.layer_norm_m": ("msa_row_attention_with_pair_bias/query_norm", NORM),
    "msa_att_row.layer_norm_z": ("msa_row_attention_with_pair_bias/feat_2d_norm", NORM),
    "msa_att_col._msa_att.layer_norm_m": ("msa_column_attention/query_norm", NORM),
    "msa_att_col.layer_norm_m": ("msa_column_global_attention/query_norm", NORM),
    "msa_transition.layer_norm": ("msa_transition/input_layer_norm", NORM),
    "msa_transition.linear_1": ("msa_transition/transition1", LINEAR),
    "msa_transition.linear_2": ("msa_transition/transition2", LINEAR),
    "outer_product_mean.layer_norm": ("outer_product_mean/layer_norm_input", NORM),
    "outer_product_mean.linear_1": ("outer_product_mean/left_projection", LINEAR),
    "outer_product_mean.linear_2": ("outer_product_mean/right_projection", LINEAR),
    "pair_stack.pair_transition.layer_norm": ("pair_transition/input_layer_norm", NORM),
    "pair_stack.pair_transition.linear_1": ("pair_transition/transition1", LINEAR),
    "pair_stack.pair_transition.linear_2": ("pair_transition/transition2", LINEAR),
}
ATTENTIONS = {
    "msa_att_row.mha": "msa_row_attention_with_pair_bias/attention",
    "msa_att_col._msa_att.mha": "msa_column_attention/attention",
    "msa_att_col.global_attention": "msa_column_global_attention/attention",
    "pair_stack.tri_att_start.mha": "triangle_attention_starting_node/attention",
    "pair_stack.tri_att_end.mha": "triangle_attention_ending_node/attention",
}
BIASES = {
    "msa_att_row.linear_z.weight": "msa_row_attention_with_pair_bias//feat_2d_weights",
    "pair_stack.tri_att_start.linear.weight": "triangle_attention_starting_node//feat_2d_weights",
    "pair_stack.tri_att_end.linear.weight": "triangle_attention_ending_node//feat_2d_weights",
}


def block_arrays(tensors: dict[str, Tensor], heads: int) -> dict[str, Tensor]:
    """The arrays of one Evoformer block, as OpenFold's importer would have read them."""
    arrays = {ours: tensors[name].T for name, ours in BIASES.items()}
    for name, (ours, kinds) in PLAIN.items():
        for kind, their in kinds.items():
            if f"{name}.{kind}" in tensors:
                tensor = tensors[f"{name}.{kind}"]
                arrays[f"{ours}//{their}"] = tensor.T if tensor.dim() == 2 else tensor
    for name, ours in ATTENTIONS.items():
        if f"{name}.linear_q.weight" in tensors:
            arrays |= {f"{ours}//{key}": array for key, array in attention_arrays(tensors, name, heads).items()}
    for name in ("start", "end"):
        norm_name = f"triangle_attention_{name}ing_node/query_norm" if name == "start" else ""
        norm_name = norm_name or "triangle_attention_ending_node/query_norm"
        for kind, their in NORM.items():
            arrays[f"{norm_name}//{their}"] = tensors[f"pair_stack.tri_att_{name}.layer_norm.{kind}"]
    outer = tensors["outer_product_mean.linear_out.weight"]
    width = round(outer.shape[1] ** 0.5)
    arrays["outer_product_mean//output_w"] = outer.T.reshape(width, width, -1)
    arrays["outer_product_mean//output_b"] = tensors["outer_product_mean.linear_out.bias"]
    for name, long in (("out", "outgoing"), ("in", "incoming")):
        made = multiplication_arrays(tensors, f"pair_stack.tri_mul_{name}", incoming=name == "in")
        arrays |= {f"triangle_multiplication_{long}/{key}": array for key, array in made.items()}
    return arrays


def attention_arrays(tensors: dict[str, Tensor], name: str, heads: int) -> dict[str, Tensor]:
    def split(tensor: Tensor) -> Tensor:
        return tensor.T.reshape(tensor.shape[1], heads, -1)

    single = "global" in name
    arrays = {f"{long}_w": split(tensors[f"{name}.linear_{short}.weight"]) for short, long in (("q", "query"),)}
    for short, long in (("k", "key"), ("v", "value")):
        weight = tensors[f"{name}.linear_{short}.weight"]
        arrays[f"{long}_w"] = weight.T if single else split(weight)
    output = tensors[f"{name}.linear_o.weight"]
    return arrays | {
        "gating_w": split(tensors[f"{name}.linear_g.weight"]),
        "gating_b": tensors[f"{name}.linear_g.bias"].reshape(heads, -1),
        "output_w": output.T.reshape(heads, -1, output.shape[0]),
        "output_b": tensors[f"{name}.linear_o.bias"],
    }


def multiplication_arrays(tensors: dict[str, Tensor], name: str, incoming: bool) -> dict[str, Tensor]:
    """DeepMind's left and right are the paper's a and b, and for incoming edges b and a."""
    fused = f"{name}.linear_ab_p.weight" in tensors
    names = {"linear_z": "output_projection", "linear_g": "gating_linear"}
    norms = {"layer_norm_in": "left_norm_input", "layer_norm_out": "center_norm"}
    if not fused:
        norms = {"layer_norm_in": "layer_norm_input", "layer_norm_out": "center_layer_norm"}
        a, b = ("right", "left") if incoming else ("left", "right")
        for part, side in (("a", a), ("b", b)):
            names |= {f"linear_{part}_p": f"{side}_projection", f"linear_{part}_g": f"{side}_gate"}
    arrays = {}
    for theirs, ours in names.items():
        arrays[f"{ours}//weights"] = tensors[f"{name}.{theirs}.weight"].T
        arrays[f"{ours}//bias"] = tensors[f"{name}.{theirs}.bias"]
    for theirs, ours in norms.items():
        arrays[f"{ours}//scale"] = tensors[f"{name}.{theirs}.weight"]
        arrays[f"{ours}//offset"] = tensors[f"{name}.{theirs}.bias"]
    for theirs, ours in (("linear_ab_p", "projection"), ("linear_ab_g", "gate")) if fused else ():
        for kind, key in LINEAR.items():
            tensor = tensors[f"{name}.{theirs}.{kind}"]
            first, second = tensor.chunk(2)
            ordered = [second, first] if incoming else [first, second]
            joined = tensor.new_empty(tensor.shape)
            joined[: len(first)], joined[len(first) :] = ordered
            arrays[f"{ours}//{key}"] = joined.T if joined.dim() == 2 else joined
    return arrays
