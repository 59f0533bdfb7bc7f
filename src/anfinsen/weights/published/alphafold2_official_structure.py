"""DeepMind's AlphaFold 2 arrays (JAX, Haiku): tensors of the structure module. Prefixes are module paths."""

from __future__ import annotations

from torch import Tensor

from anfinsen.models.alphafold2.structure_module import StructureModuleConfig

from .alphafold2_official_trunk import into_heads, layer_norm, linear
from .openfold_structure import points, points_by_head, scalars
from .rules import Rule, Rules


def invariant_point_attention(config: StructureModuleConfig, source: str, target: str = "") -> Rules:
    """Rules of an `InvariantPointAttention`."""
    sizes = config.attention
    rules = [
        *linear(f"{source}/attention_2d", target + "bias"),
        *linear(f"{source}/output_projection", target + "output"),
        Rule(target + "point_weights", (f"{source}//trainable_point_weights",)),
    ]
    if sizes.multimer:
        names = tuple(f"{source}/{part}_scalar_projection//weights" for part in "qkv")
        rules.append(Rule(target + "scalars.weight", names, into_heads))
    for ours, theirs in (("weight", "weights"), ("bias", "bias")):

        def by_head(*parts: Tensor) -> Tensor:
            return points_by_head(sizes.heads, *(_outputs_first(part.flatten(-2)) for part in parts))

        def scalar(query: Tensor, key_value: Tensor) -> Tensor:
            return scalars(sizes.heads, _outputs_first(query), _outputs_first(key_value))

        def point(query: Tensor, key_value: Tensor) -> Tensor:
            return points(sizes.heads, sizes.query_points, _outputs_first(query), _outputs_first(key_value))

        if sizes.multimer:
            names = tuple(f"{source}/{part}_point_projection/point_projection//{theirs}" for part in "qkv")
            rules.append(Rule(f"{target}points.{ours}", names, by_head))
        else:
            names = tuple(f"{source}/{part}_scalar//{theirs}" for part in ("q", "kv"))
            rules.append(Rule(f"{target}scalars.{ours}", names, scalar))
            names = tuple(f"{source}/{part}_point_local//{theirs}" for part in ("q", "kv"))
            rules.append(Rule(f"{target}points.{ours}", names, point))
    return rules


def _outputs_first(tensor: Tensor) -> Tensor:
    """Return a matrix [in, out] as [out, in], and a bias as it is."""
    return tensor if tensor.dim() == 1 else tensor.T


def torsion_network(blocks: int, source: str, target: str = "") -> Rules:
    """Rules of a `TorsionNetwork`; Haiku numbers modules of the same name from the second on."""
    rules = [
        *linear(f"{source}/input_projection", target + "current"),
        *linear(f"{source}/input_projection_1", target + "initial"),
        *linear(f"{source}/unnormalized_angles", target + "output"),
    ]
    for index in range(blocks):
        number = f"_{index}" if index else ""
        # 1 and 3: the linear maps between the rectifiers.
        rules += linear(f"{source}/resblock1{number}", f"{target}blocks.{index}.1")
        rules += linear(f"{source}/resblock2{number}", f"{target}blocks.{index}.3")
    return rules


def structure_module(config: StructureModuleConfig, source: str, target: str = "") -> Rules:
    """Rules of a `StructureModule`."""
    layer = f"{source}/fold_iteration"
    update = "quat_rigid/rigid" if config.attention.multimer else "affine_update"
    return [
        *layer_norm(f"{source}/single_layer_norm", target + "norm_single"),
        *layer_norm(f"{source}/pair_layer_norm", target + "norm_pair"),
        *linear(f"{source}/initial_projection", target + "input"),
        *invariant_point_attention(config, f"{layer}/invariant_point_attention", target + "attention."),
        *layer_norm(f"{layer}/attention_layer_norm", target + "norm_attention"),
        *linear(f"{layer}/transition", target + "transition.first"),
        *linear(f"{layer}/transition_1", target + "transition.second"),
        *linear(f"{layer}/transition_2", target + "transition.third"),
        *layer_norm(f"{layer}/transition_layer_norm", target + "norm_transition"),
        *linear(f"{layer}/{update}", target + "backbone_update"),
        *torsion_network(config.torsion_blocks, f"{layer}/rigid_sidechain", target + "torsions."),
    ]
