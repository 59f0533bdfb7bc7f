"""OpenFold's whole checkpoints of AlphaFold 2 and AlphaFold-Multimer, and the names of its first releases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from anfinsen.common.errors import WeightsError
from anfinsen.models.alphafold2 import AlphaFold2Config, alphafold2_config

from .alphafold2_sizes import PointTensors, Published, Shapes, monomer_config, multimer_config, resized, shapes_of
from .openfold_structure import structure_module
from .openfold_trunk import (
    evoformer_stack,
    input_embedder,
    linear,
    recycling_embedder,
    template_pair_stack,
    template_pointwise_attention,
)
from .rules import Rule, Rules, layer_norm, rename

# Wrappers that training tools leave in front of the model's own names.
_WRAPPERS = re.compile(r"^(?:module\.)?(?:model\.)?")
# Names of releases before 2.0, and what the parts are called since.
_FIRST_NAMES = (
    (re.compile(r"^template_angle_embedder\."), "template_embedder.template_single_embedder."),
    (re.compile(r"^template_(?=(?:pair_embedder|pair_stack|pointwise_att)\.)"), "template_embedder.template_"),
    (re.compile(r"\.core\.(?=tri_|pair_transition)"), ".pair_stack."),
    (re.compile(r"\.core\."), "."),
    (re.compile(r"\.ipa\.(linear_(?:q|kv)_points)\.(?!linear\.)"), r".ipa.\1.linear."),
)
_PAIR = "template_embedder.template_pair_embedder."
# Order of the columns of our one map of the multimer's template features.
_TEMPLATE_FEATURES = (
    "dgram_linear",
    "pseudo_beta_mask_linear",
    "aatype_linear_1",
    "aatype_linear_2",
    "x_linear",
    "y_linear",
    "z_linear",
    "backbone_mask_linear",
)
_FUSED = "evoformer.blocks.0.pair_stack.tri_mul_out.linear_ab_p.weight"
_PAE = "aux_heads.tm.linear.weight"
_INPUT = "input_embedder.linear_tf_m.weight"
_IPA = "structure_module.ipa."


def openfold(tensors: Mapping[str, Tensor], where: str) -> Published:
    """Return OpenFold's tensors with what is known of them; all are in use, and each once.

    Args:
        tensors: the file's, by name, of this or an earlier release.
        where: file or format, for messages.

    Raises:
        WeightsError: these are not OpenFold's tensors, or some of them have shapes that cannot be.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        today = todays_name(name)
        if today in named:
            raise WeightsError(f"{where} holds {today!r} twice, once as {name!r}: expected one release's names.")
        named[today] = tensor
    config = openfold_config(shapes_of(named), where)
    return Published(config, named, openfold_rules(config, fused=_FUSED in named))


def todays_name(name: str) -> str:
    """Return what a tensor is called in release 2 and later, without wrappers' prefixes."""
    name = _WRAPPERS.sub("", name)
    for pattern, replacement in _FIRST_NAMES:
        name = pattern.sub(replacement, name)
    return name


def openfold_config(shapes: Shapes, where: str) -> AlphaFold2Config:
    """Return the configuration that a file with tensors of these shapes belongs to.

    Raises:
        WeightsError: these are not OpenFold's tensors.
    """
    if _INPUT not in shapes:
        raise WeightsError(f"{where} holds no OpenFold model of AlphaFold 2: it has no tensor {_INPUT!r}.")
    if f"{_IPA}linear_k.weight" in shapes:
        config = multimer_config(fused=_FUSED in shapes)
    else:
        config = alphafold2_config("ptm" if _PAE in shapes else "monomer")
    feature = f"{_PAIR}dgram_linear" if config.multimer else f"{_PAIR}linear"
    templates = f"{feature}.weight" in shapes
    config = replace(config, templates=templates) if config.multimer else monomer_config(config, templates=templates)
    block = "evoformer.blocks.0."
    triangle = block + "pair_stack.tri_mul_out."
    widths = {
        "c_m": ("input_embedder.linear_tf_m.bias", 0),
        "c_z": ("input_embedder.linear_tf_z_i.bias", 0),
        "c_s": ("evoformer.linear.bias", 0),
        "c_e": ("extra_msa_embedder.linear.bias", 0),
        "heads_msa": (block + "msa_att_row.linear_z.weight", 0),
        "heads_pair": (block + "pair_stack.tri_att_start.linear.weight", 0),
        "c_outer": (block + "outer_product_mean.linear_1.bias", 0),
        "c_triangle": (triangle + "layer_norm_out.weight", 0),
        "c_torsions": ("structure_module.angle_resnet.linear_in.bias", 0),
        "c_plddt": ("aux_heads.plddt.linear_1.bias", 0),
    }
    depths = {
        "evoformer_blocks": _count("evoformer.blocks.", shapes),
        "extra_blocks": _count("extra_msa_stack.blocks.", shapes),
        "torsion_blocks": _count("structure_module.angle_resnet.layers.", shapes),
    }
    if config.templates:
        widths["c_t"] = (f"{feature}.bias", 0)
        depths["template_blocks"] = _count("template_embedder.template_pair_stack.blocks.", shapes)
    value = "v" if config.multimer else "kv"
    points = PointTensors(
        _IPA + "head_weights",
        _IPA + "linear_q.weight",
        _IPA + "linear_q_points.linear.bias",
        f"{_IPA}linear_{value}_points.linear.bias",
        config.multimer,
    )
    return resized(config, widths, depths, points, shapes, where)


def _count(stack: str, shapes: Shapes) -> int:
    return len({name[len(stack) :].split(".", 1)[0] for name in shapes if name.startswith(stack)})


def openfold_rules(config: AlphaFold2Config, *, fused: bool) -> Rules:
    """Return the rules of the whole network, for tensors under the names of `todays_name`."""
    sizes = config.structure.attention
    rules = [
        *input_embedder("input_embedder.", "trunk.inputs."),
        *recycling_embedder("recycling_embedder.", "trunk.recycling."),
        *linear("extra_msa_embedder.linear", "trunk.extra_features"),
        *evoformer_stack(config.extra_blocks, "extra_msa_stack.", "trunk.extra.", extra=True, fused=fused),
        *evoformer_stack(config.evoformer_blocks, "evoformer.", "trunk.evoformer.", fused=fused),
        *linear("evoformer.linear", "trunk.single"),
        *structure_module(
            sizes.heads,
            sizes.query_points,
            config.torsion_blocks,
            "structure_module.",
            "structure.",
            multimer=config.multimer,
        ),
        *layer_norm("aux_heads.plddt.layer_norm", "heads.plddt.norm"),
        *linear("aux_heads.plddt.linear_1", "heads.plddt.first"),
        *linear("aux_heads.plddt.linear_2", "heads.plddt.second"),
        *linear("aux_heads.plddt.linear_3", "heads.plddt.logits"),
        *linear("aux_heads.distogram.linear", "heads.distogram"),
        *linear("aux_heads.masked_msa.linear", "heads.masked_msa"),
        *linear("aux_heads.experimentally_resolved.linear", "heads.resolved"),
    ]
    if config.predicts_pae:
        rules += linear("aux_heads.tm.linear", "heads.pae")
    if config.templates:
        stack = "template_embedder.template_pair_stack."
        rules += template_pair_stack(config.template_blocks, stack, "trunk.templates.stack.", fused=fused)
        rules += _multimer_templates() if config.multimer else _monomer_templates()
    return rules


def _monomer_templates() -> Rules:
    single = "template_embedder.template_single_embedder."
    return [
        *linear(f"{_PAIR}linear", "trunk.templates.features"),
        *template_pointwise_attention("template_embedder.template_pointwise_att.", "trunk.templates.attention."),
        *linear(single + "linear_1", "trunk.template_torsions.first"),
        *linear(single + "linear_2", "trunk.template_torsions.second"),
    ]


def _multimer_templates() -> Rules:
    """Each feature has its own map there, and all biases are added up."""

    def columns(*weights: Tensor) -> Tensor:
        return torch.cat(weights, dim=1)

    def total(*biases: Tensor) -> Tensor:
        return torch.stack(biases).sum(0)

    single = "template_embedder.template_single_embedder."
    features, query = tuple(_PAIR + name for name in _TEMPLATE_FEATURES), f"{_PAIR}query_embedding_linear"
    return [
        *layer_norm(f"{_PAIR}query_embedding_layer_norm", "trunk.templates.norm_pair"),
        Rule("trunk.templates.features.weight", tuple(f"{name}.weight" for name in features), columns),
        Rule("trunk.templates.features.bias", tuple(f"{name}.bias" for name in (*features, query)), total),
        *rename({"pair.weight": f"{query}.weight"}, target="trunk.templates."),
        *linear("template_embedder.linear_t", "trunk.templates.output"),
        *linear(single + "template_single_embedder", "trunk.template_torsions.first"),
        *linear(single + "template_projector", "trunk.template_torsions.second"),
    ]
