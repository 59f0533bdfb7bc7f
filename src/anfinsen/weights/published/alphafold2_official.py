"""DeepMind's AlphaFold 2 parameter files (``params_model_1_ptm.npz`` and its like): monomer, pTM, multimer 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anfinsen.common.errors import WeightsError
from anfinsen.models.alphafold2 import AlphaFold2Config, alphafold2_config

from .alphafold2_official_structure import structure_module
from .alphafold2_official_trunk import (
    evoformer_block,
    into_heads,
    layer_norm,
    linear,
    out_of_heads,
    pair_block,
)
from .alphafold2_sizes import PointTensors, Published, Shapes, monomer_config, multimer_config, resized, shapes_of
from .rules import Rule, Rules, transposed

ROOT = "alphafold/alphafold_iteration"
EVOFORMER = f"{ROOT}/evoformer"
TEMPLATES = f"{EVOFORMER}/template_embedding"
TEMPLATE = f"{TEMPLATES}/single_template_embedding"
# What a file says about its model.
MULTIMER_POSITION = f"{EVOFORMER}/~_relative_encoding/position_activations"
MONOMER_POSITION = f"{EVOFORMER}/pair_activiations"  # the released spelling
PAE_HEAD = f"{ROOT}/predicted_aligned_error_head/logits"
FUSED = f"{EVOFORMER}/evoformer_iteration/triangle_multiplication_outgoing/projection"  # multimer version 3
TEMPLATE_FEATURES = 8  # maps of the multimer's template features; a ninth is of the pair representation


def official(arrays: Mapping[str, Tensor], where: str) -> Published:
    """Return DeepMind's arrays with what is known of them; all are in use, and each once.

    Args:
        arrays: the file's, by name.
        where: file or format, for messages.

    Raises:
        WeightsError: these are not AlphaFold 2's arrays, or some of them have shapes that cannot be.
    """
    config = official_config(shapes_of(arrays), where)
    stacks = {prefix: depth for prefix, (_, depth) in _stacks(config).items()}
    rules = official_rules(config, fused=f"{FUSED}//weights" in arrays)
    return Published(config, unstacked(arrays, stacks, where), rules)


def official_config(shapes: Shapes, where: str) -> AlphaFold2Config:
    """Return the configuration that a file with arrays of these shapes belongs to.

    Raises:
        WeightsError: these are not AlphaFold 2's arrays.
    """
    fused = f"{FUSED}//weights" in shapes
    if f"{MULTIMER_POSITION}//weights" in shapes:
        config = multimer_config(fused=fused)
    elif f"{MONOMER_POSITION}//weights" in shapes:
        config = alphafold2_config("ptm" if f"{PAE_HEAD}//weights" in shapes else "monomer")
        config = monomer_config(config, templates=f"{TEMPLATE}/embedding2d//weights" in shapes)
    else:
        raise WeightsError(
            f"{where} holds no AlphaFold 2 parameters: it has neither {MONOMER_POSITION}//weights nor "
            f"{MULTIMER_POSITION}//weights."
        )
    attention = f"{ROOT}/structure_module/fold_iteration/invariant_point_attention"
    if config.multimer:
        names = ("q_scalar_projection", "q_point_projection/point_projection", "v_point_projection/point_projection")
    else:
        names = ("q_scalar", "q_point_local", "kv_point_local")
    scalar, query, value = (f"{attention}/{name}//" for name in names)
    points = PointTensors(
        f"{attention}//trainable_point_weights", scalar + "weights", query + "bias", value + "bias", config.multimer
    )
    widths = _widths(config, fused=fused)
    sidechain = f"{ROOT}/structure_module/fold_iteration/rigid_sidechain/resblock1"
    residual = sum(name.startswith(sidechain) and name.endswith("//bias") for name in shapes)
    return resized(config, widths, {"torsion_blocks": residual}, points, shapes, where)


def _widths(config: AlphaFold2Config, *, fused: bool) -> dict[str, tuple[str, int]]:
    """Return the array and axis whose length each size is; the first axis of stacks is the block."""
    block, extra = f"{EVOFORMER}/evoformer_iteration", f"{EVOFORMER}/extra_msa_stack"
    norm = "center_norm" if fused else "center_layer_norm"
    widths = {
        "c_m": (f"{EVOFORMER}/preprocess_1d//bias", 0),
        "c_z": (f"{EVOFORMER}/left_single//bias", 0),
        "c_s": (f"{EVOFORMER}/single_activations//bias", 0),
        "c_e": (f"{EVOFORMER}/extra_msa_activations//bias", 0),
        "evoformer_blocks": (f"{block}/outer_product_mean//output_b", 0),
        "extra_blocks": (f"{extra}/outer_product_mean//output_b", 0),
        "heads_msa": (f"{block}/msa_row_attention_with_pair_bias//feat_2d_weights", 2),
        "heads_pair": (f"{block}/triangle_attention_starting_node//feat_2d_weights", 2),
        "c_outer": (f"{block}/outer_product_mean/left_projection//bias", 1),
        "c_triangle": (f"{block}/triangle_multiplication_outgoing/{norm}//scale", 1),
        "c_torsions": (f"{ROOT}/structure_module/fold_iteration/rigid_sidechain/input_projection//bias", 0),
        "c_plddt": (f"{ROOT}/predicted_lddt_head/act_0//bias", 0),
    }
    if config.templates:
        first = "template_pair_embedding_0" if config.multimer else "embedding2d"
        widths["c_t"] = (f"{TEMPLATE}/{first}//bias", 0)
        widths["template_blocks"] = (f"{TEMPLATE}/{_template_stack(config)}/pair_transition/transition2//bias", 0)
    return widths


def unstacked(arrays: Mapping[str, Tensor], stacks: Mapping[str, int], where: str) -> dict[str, Tensor]:
    """Return the arrays with those of stacks taken apart: ``stack/x`` becomes ``stack.0/x``, ``stack.1/x``, ...

    Args:
        arrays: the file's.
        stacks: number of blocks by module path.
        where: file or format, for messages.

    Raises:
        WeightsError: an array of a stack has another number of blocks, or a name stands twice.
    """
    result: dict[str, Tensor] = {}

    def add(name: str, array: Tensor) -> None:
        if name in result:
            raise WeightsError(f"{where} holds {name!r} twice, alone and among the blocks of its stack.")
        result[name] = array

    for name, array in arrays.items():
        prefix = next((stack for stack in stacks if name.startswith(stack + "/")), None)
        if prefix is None:
            add(name, array)
            continue
        depth = stacks[prefix]
        if array.dim() == 0 or array.shape[0] != depth:
            raise WeightsError(
                f"{where}: {name!r} has shape {list(array.shape)}, expected {depth} blocks along its first axis: the "
                "file was made with another configuration."
            )
        for index, block in enumerate(array.unbind(0)):
            add(f"{prefix}.{index}{name[len(prefix) :]}", block)
    return result


def official_rules(config: AlphaFold2Config, *, fused: bool) -> Rules:
    """Return the rules of the whole network, for arrays that `unstacked` took apart."""
    heads = f"{ROOT}/predicted_lddt_head"
    rules = [
        *_embedders(config),
        *linear(f"{EVOFORMER}/single_activations", "trunk.single"),
        *structure_module(config.structure, f"{ROOT}/structure_module", "structure."),
        *linear(f"{ROOT}/distogram_head/half_logits", "heads.distogram"),
        *linear(f"{ROOT}/masked_msa_head/logits", "heads.masked_msa"),
        *linear(f"{ROOT}/experimentally_resolved_head/logits", "heads.resolved"),
        *layer_norm(f"{heads}/input_layer_norm", "heads.plddt.norm"),
        *linear(f"{heads}/act_0", "heads.plddt.first"),
        *linear(f"{heads}/act_1", "heads.plddt.second"),
        *linear(f"{heads}/logits", "heads.plddt.logits"),
    ]
    if config.predicts_pae:
        rules += linear(PAE_HEAD, "heads.pae")
    for prefix, (target, depth) in _stacks(config).items():
        for index in range(depth):
            source, block = f"{prefix}.{index}", f"{target}.{index}."
            if target.startswith("trunk.templates"):
                rules += pair_block(source, block, fused=fused)
            else:
                rules += evoformer_block(source, block, extra=target.startswith("trunk.extra"), fused=fused)
    if config.templates:
        rules += _multimer_templates() if config.multimer else _monomer_templates()
        rules += linear(f"{EVOFORMER}/template_single_embedding", "trunk.template_torsions.first")
        rules += linear(f"{EVOFORMER}/template_projection", "trunk.template_torsions.second")
    return rules


def _stacks(config: AlphaFold2Config) -> dict[str, tuple[str, int]]:
    """Return the module path of every stack, with its name in our model and its depth."""
    stacks = {
        f"{EVOFORMER}/evoformer_iteration": ("trunk.evoformer.blocks", config.evoformer_blocks),
        f"{EVOFORMER}/extra_msa_stack": ("trunk.extra.blocks", config.extra_blocks),
    }
    if config.templates:
        stacks[f"{TEMPLATE}/{_template_stack(config)}"] = ("trunk.templates.stack.blocks", config.template_blocks)
    return stacks


def _template_stack(config: AlphaFold2Config) -> str:
    return "template_embedding_iteration" if config.multimer else "template_pair_stack/__layer_stack_no_state"


def _embedders(config: AlphaFold2Config) -> Rules:
    return [
        *linear(f"{EVOFORMER}/preprocess_1d", "trunk.inputs.target"),
        *linear(f"{EVOFORMER}/preprocess_msa", "trunk.inputs.msa"),
        *linear(f"{EVOFORMER}/left_single", "trunk.inputs.left"),
        *linear(f"{EVOFORMER}/right_single", "trunk.inputs.right"),
        *linear(MULTIMER_POSITION if config.multimer else MONOMER_POSITION, "trunk.inputs.position.linear"),
        *linear(f"{EVOFORMER}/prev_pos_linear", "trunk.recycling.distance"),
        *layer_norm(f"{EVOFORMER}/prev_msa_first_row_norm", "trunk.recycling.norm_msa"),
        *layer_norm(f"{EVOFORMER}/prev_pair_norm", "trunk.recycling.norm_pair"),
        *linear(f"{EVOFORMER}/extra_msa_activations", "trunk.extra_features"),
    ]


def _monomer_templates() -> Rules:
    attention, target = f"{TEMPLATES}/attention//", "trunk.templates."
    return [
        *linear(f"{TEMPLATE}/embedding2d", target + "features"),
        *layer_norm(f"{TEMPLATE}/output_layer_norm", target + "stack.norm"),
        Rule(target + "attention.query.weight", (attention + "query_w",), into_heads),
        Rule(target + "attention.key_value.weight", (attention + "key_w", attention + "value_w"), into_heads),
        Rule(target + "attention.output.weight", (attention + "output_w",), out_of_heads),
        Rule(target + "attention.output.bias", (attention + "output_b",)),
    ]


def _multimer_templates() -> Rules:
    """Each feature has its own map there; those of single numbers are vectors, and all biases are added up."""

    def columns(*weights: Tensor) -> Tensor:
        return torch.cat([weight.reshape(-1, weight.shape[-1]) for weight in weights]).T

    def total(*biases: Tensor) -> Tensor:
        return torch.stack(biases).sum(0)

    maps = [f"{TEMPLATE}/template_pair_embedding_{index}//" for index in range(TEMPLATE_FEATURES + 1)]
    target = "trunk.templates."
    return [
        *layer_norm(f"{TEMPLATE}/query_embedding_norm", target + "norm_pair"),
        Rule(target + "features.weight", tuple(name + "weights" for name in maps[:-1]), columns),
        Rule(target + "features.bias", tuple(name + "bias" for name in maps), total),
        Rule(target + "pair.weight", (maps[-1] + "weights",), transposed),
        *layer_norm(f"{TEMPLATE}/output_layer_norm", target + "stack.norm"),
        *linear(f"{TEMPLATES}/output_linear", target + "output"),
    ]
