"""DeepMind's AlphaFold 2 parameter files (``params_model_1_ptm.npz`` and its like): monomer, pTM, multimer 1 to 3."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anfinsen.common.errors import WeightsError
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config, alphafold2_config

from .alphafold2_official_structure import structure_module
from .alphafold2_official_trunk import (
    evoformer_block,
    into_heads,
    layer_norm,
    linear,
    out_of_heads,
    pair_block,
)
from .rules import Rule, Rules, load_converted, transposed

ROOT = "alphafold/alphafold_iteration"
EVOFORMER = f"{ROOT}/evoformer"
TEMPLATES = f"{EVOFORMER}/template_embedding"
TEMPLATE = f"{TEMPLATES}/single_template_embedding"
# What a file says about its model.
MULTIMER_POSITION = f"{EVOFORMER}/~_relative_encoding/position_activations"
MONOMER_POSITION = f"{EVOFORMER}/pair_activiations"  # the released spelling
PAE_HEAD = f"{ROOT}/predicted_aligned_error_head/logits"
FUSED = f"{EVOFORMER}/evoformer_iteration/triangle_multiplication_outgoing/projection//weights"
TEMPLATE_FEATURES = 8  # maps of the multimer's template features; a ninth is of the pair representation


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an ``.npz`` file by name.

    Raises:
        WeightsError: the file cannot be read, or is no archive of arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read as an archive of arrays (.npz): {error}.") from error


def official_config(names: Iterable[str], where: str) -> AlphaFold2Config:
    """Return the published configuration that a file with these arrays belongs to.

    Raises:
        WeightsError: these are not AlphaFold 2's arrays.
    """
    known = set(names)
    if f"{MULTIMER_POSITION}//weights" in known:
        config = alphafold2_config("multimer")
        # Versions 1 and 2 were trained on smaller alignments.
        return config if FUSED in known else replace(config, msa_rows=252, extra_rows=1152)
    if f"{MONOMER_POSITION}//weights" in known:
        templates = f"{TEMPLATE}/embedding2d//weights" in known
        return replace(alphafold2_config("monomer"), templates=templates, predicts_pae=f"{PAE_HEAD}//weights" in known)
    raise WeightsError(
        f"{where} holds no AlphaFold 2 parameters: it has neither {MONOMER_POSITION}//weights nor "
        f"{MULTIMER_POSITION}//weights."
    )


def fill_official(model: AlphaFold2, arrays: Mapping[str, Tensor], where: str) -> None:
    """Fill all parameters of ``model`` from DeepMind's arrays, using each array exactly once.

    Raises:
        WeightsError: an array is missing, left over, or of another shape than the model's configuration says.
    """
    config = model.config
    stacks = {prefix: depth for prefix, (_, depth) in _stacks(config).items()}
    load_converted(model, unstacked(arrays, stacks, where), official_rules(config, fused=FUSED in arrays), where)


def unstacked(arrays: Mapping[str, Tensor], stacks: Mapping[str, int], where: str) -> dict[str, Tensor]:
    """Return the arrays with those of stacks taken apart: ``stack/x`` becomes ``stack.0/x``, ``stack.1/x``, ...

    Args:
        arrays: the file's.
        stacks: number of blocks by module path.
        where: file or format, for messages.

    Raises:
        WeightsError: an array of a stack has another number of blocks.
    """
    result: dict[str, Tensor] = {}
    for name, array in arrays.items():
        prefix = next((stack for stack in stacks if name.startswith(stack + "/")), None)
        if prefix is None:
            result[name] = array
            continue
        depth = stacks[prefix]
        if array.dim() == 0 or array.shape[0] != depth:
            raise WeightsError(
                f"{where}: {name!r} has shape {list(array.shape)}, expected {depth} blocks along its first axis: the "
                "file was made with another configuration."
            )
        for index, block in enumerate(array.unbind(0)):
            result[f"{prefix}.{index}{name[len(prefix) :]}"] = block
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
        path = "template_embedding_iteration" if config.multimer else "template_pair_stack/__layer_stack_no_state"
        stacks[f"{TEMPLATE}/{path}"] = ("trunk.templates.stack.blocks", config.template_blocks)
    return stacks


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
