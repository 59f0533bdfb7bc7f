"""OpenFold's tensors in DeepMind's layout: a block, and the whole model."""

import torch
from alphafold2_published import ROOT, Sizes
from torch import Tensor

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
    """The arrays of one Evoformer or template block, as OpenFold's importer would have read them."""
    arrays = {ours: tensors[name].T for name, ours in BIASES.items() if name in tensors}
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
    if "outer_product_mean.linear_out.weight" in tensors:
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


# ---- the whole model

TRUNK = {
    "input_embedder.linear_tf_m": "preprocess_1d",
    "input_embedder.linear_msa_m": "preprocess_msa",
    "input_embedder.linear_tf_z_i": "left_single",
    "input_embedder.linear_tf_z_j": "right_single",
    "recycling_embedder.linear": "prev_pos_linear",
    "recycling_embedder.layer_norm_m": "prev_msa_first_row_norm",
    "recycling_embedder.layer_norm_z": "prev_pair_norm",
    "extra_msa_embedder.linear": "extra_msa_activations",
    "evoformer.linear": "single_activations",
}
TEMPLATE = "template_embedding/single_template_embedding"
TEMPLATES = {
    False: {
        "template_pair_embedder.linear": f"{TEMPLATE}/embedding2d",
        "template_single_embedder.linear_1": "template_single_embedding",
        "template_single_embedder.linear_2": "template_projection",
    },
    True: {
        "template_pair_embedder.query_embedding_layer_norm": f"{TEMPLATE}/query_embedding_norm",
        "template_pair_embedder.dgram_linear": f"{TEMPLATE}/template_pair_embedding_0",
        "template_pair_embedder.pseudo_beta_mask_linear": f"{TEMPLATE}/template_pair_embedding_1",
        "template_pair_embedder.aatype_linear_1": f"{TEMPLATE}/template_pair_embedding_2",
        "template_pair_embedder.aatype_linear_2": f"{TEMPLATE}/template_pair_embedding_3",
        "template_pair_embedder.x_linear": f"{TEMPLATE}/template_pair_embedding_4",
        "template_pair_embedder.y_linear": f"{TEMPLATE}/template_pair_embedding_5",
        "template_pair_embedder.z_linear": f"{TEMPLATE}/template_pair_embedding_6",
        "template_pair_embedder.backbone_mask_linear": f"{TEMPLATE}/template_pair_embedding_7",
        "template_pair_embedder.query_embedding_linear": f"{TEMPLATE}/template_pair_embedding_8",
        "linear_t": "template_embedding/output_linear",
        "template_single_embedder.template_single_embedder": "template_single_embedding",
        "template_single_embedder.template_projector": "template_projection",
    },
}
FOLD = "fold_iteration"
STRUCTURE = {
    "layer_norm_s": "single_layer_norm",
    "layer_norm_z": "pair_layer_norm",
    "linear_in": "initial_projection",
    "layer_norm_ipa": f"{FOLD}/attention_layer_norm",
    "transition.layers.0.linear_1": f"{FOLD}/transition",
    "transition.layers.0.linear_2": f"{FOLD}/transition_1",
    "transition.layers.0.linear_3": f"{FOLD}/transition_2",
    "transition.layer_norm": f"{FOLD}/transition_layer_norm",
    "angle_resnet.linear_in": f"{FOLD}/rigid_sidechain/input_projection",
    "angle_resnet.linear_initial": f"{FOLD}/rigid_sidechain/input_projection_1",
    "angle_resnet.layers.0.linear_1": f"{FOLD}/rigid_sidechain/resblock1",
    "angle_resnet.layers.0.linear_2": f"{FOLD}/rigid_sidechain/resblock2",
    "angle_resnet.layers.1.linear_1": f"{FOLD}/rigid_sidechain/resblock1_1",
    "angle_resnet.layers.1.linear_2": f"{FOLD}/rigid_sidechain/resblock2_1",
    "angle_resnet.linear_out": f"{FOLD}/rigid_sidechain/unnormalized_angles",
    "ipa.linear_b": f"{FOLD}/invariant_point_attention/attention_2d",
    "ipa.linear_out": f"{FOLD}/invariant_point_attention/output_projection",
}
HEADS = {
    "plddt.layer_norm": "predicted_lddt_head/input_layer_norm",
    "plddt.linear_1": "predicted_lddt_head/act_0",
    "plddt.linear_2": "predicted_lddt_head/act_1",
    "plddt.linear_3": "predicted_lddt_head/logits",
    "distogram.linear": "distogram_head/half_logits",
    "masked_msa.linear": "masked_msa_head/logits",
    "experimentally_resolved.linear": "experimentally_resolved_head/logits",
    "tm.linear": "predicted_aligned_error_head/logits",
}


def whole_arrays(tensors: dict[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    """The arrays of a file of DeepMind's that says the same as OpenFold's ``tensors``."""
    multimer = "structure_module.ipa.linear_k.weight" in tensors
    arrays = _maps(tensors, "", "evoformer/", TRUNK)
    position = "~_relative_encoding/position_activations" if multimer else "pair_activiations"
    arrays |= _maps(tensors, "input_embedder.", "evoformer/", {"linear_relpos": position})
    arrays |= _maps(tensors, "template_embedder.", "evoformer/", TEMPLATES[multimer])
    arrays |= _maps(tensors, "structure_module.", "structure_module/", STRUCTURE)
    update = "quat_rigid/rigid" if multimer else "affine_update"
    arrays |= _maps(tensors, "structure_module.bb_update.", f"structure_module/{FOLD}/", {"linear": update})
    arrays |= _maps(tensors, "aux_heads.", "", HEADS)
    arrays |= _points(tensors, sizes.point_heads, multimer)
    arrays |= _stack(tensors, "evoformer.blocks.", "evoformer/evoformer_iteration", sizes.heads)
    arrays |= _stack(tensors, "extra_msa_stack.blocks.", "evoformer/extra_msa_stack", sizes.heads)
    if "template_embedder.template_pair_stack.layer_norm.weight" in tensors:
        arrays |= _templates(tensors, sizes, multimer)
    return {ROOT + name: array.contiguous() for name, array in arrays.items()}


def _maps(tensors: dict[str, Tensor], source: str, target: str, names: dict[str, str]) -> dict[str, Tensor]:
    """Linear maps and norms; vectors of weights stand for maps of single numbers."""
    arrays = {}
    for theirs, ours in names.items():
        if f"{source}{theirs}.weight" not in tensors:
            continue
        weight, bias = (tensors[f"{source}{theirs}.{kind}"] for kind in ("weight", "bias"))
        kinds = LINEAR if weight.dim() == 2 else NORM
        array = weight.T if weight.dim() == 2 else weight
        arrays[f"{target}{ours}//{kinds['weight']}"] = array[0] if array.shape[0] == 1 else array
        arrays[f"{target}{ours}//{kinds['bias']}"] = bias
    return arrays


def _points(tensors: dict[str, Tensor], heads: int, multimer: bool) -> dict[str, Tensor]:
    source, target = "structure_module.ipa.", f"structure_module/{FOLD}/invariant_point_attention"
    arrays = {f"{target}//trainable_point_weights": tensors[source + "head_weights"]}
    for part in "qkv" if multimer else ("q", "kv"):
        weight = tensors[f"{source}linear_{part}.weight"].T
        points = [tensors[f"{source}linear_{part}_points.linear.{kind}"] for kind in ("weight", "bias")]
        if multimer:
            arrays[f"{target}/{part}_scalar_projection//weights"] = weight.unflatten(1, (heads, -1))
            projection = f"{target}/{part}_point_projection/point_projection//"
            arrays[projection + "weights"] = points[0].T.unflatten(1, (heads, -1))
            arrays[projection + "bias"] = points[1].unflatten(0, (heads, -1))
        else:
            arrays[f"{target}/{part}_scalar//weights"] = weight
            arrays[f"{target}/{part}_scalar//bias"] = tensors[f"{source}linear_{part}.bias"]
            arrays[f"{target}/{part}_point_local//weights"] = points[0].T
            arrays[f"{target}/{part}_point_local//bias"] = points[1]
    return arrays


def _stack(tensors: dict[str, Tensor], source: str, target: str, heads: int, below: str = "") -> dict[str, Tensor]:
    depth = 1 + max(int(name.removeprefix(source).split(".")[0]) for name in tensors if name.startswith(source))
    blocks = []
    for index in range(depth):
        prefix = f"{source}{index}."
        block = {below + name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
        blocks.append(block_arrays(block, heads))
    return {f"{target}/{name}": torch.stack([block[name] for block in blocks]) for name in blocks[0]}


def _templates(tensors: dict[str, Tensor], sizes: Sizes, multimer: bool) -> dict[str, Tensor]:
    source = "template_embedder.template_pair_stack."
    path = "template_embedding_iteration" if multimer else "template_pair_stack/__layer_stack_no_state"
    target = f"evoformer/{TEMPLATE}"
    arrays = _stack(tensors, source + "blocks.", f"{target}/{path}", sizes.pair_heads, "pair_stack.")
    for kind, ours in NORM.items():
        arrays[f"{target}/output_layer_norm//{ours}"] = tensors[f"{source}layer_norm.{kind}"]
    if multimer:
        return arrays
    mha = "template_embedder.template_pointwise_att.mha"
    attention = "evoformer/template_embedding/attention//"
    for part, name in (("q", "query_w"), ("k", "key_w"), ("v", "value_w")):
        arrays[attention + name] = tensors[f"{mha}.linear_{part}.weight"].T.unflatten(1, (sizes.pair_heads, -1))
    arrays[attention + "output_w"] = tensors[f"{mha}.linear_o.weight"].T.unflatten(0, (sizes.pair_heads, -1))
    arrays[attention + "output_b"] = tensors[f"{mha}.linear_o.bias"]
    return arrays
