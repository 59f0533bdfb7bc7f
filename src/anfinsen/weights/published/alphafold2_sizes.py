"""AlphaFold 2's sizes as a published file's shapes say them; `converted_state` holds every tensor against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.models.alphafold2 import AlphaFold2Config, alphafold2_config

from .rules import Rules

# Rows of alignment and extra alignment of multimer versions 1 and 2 (released configuration).
EARLY_MULTIMER_ROWS = (252, 1152)
_CLUSTERS_WITHOUT_TEMPLATES = 512

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Published:
    """A whole checkpoint, recognised.

    Attributes:
        config: what its model is. tensors: its numbers, under the names that ``rules`` know.
    """

    config: AlphaFold2Config
    tensors: Mapping[str, Tensor]
    rules: Rules


@dataclass(frozen=True)
class PointTensors:
    """Names of the tensors of the invariant point attention that tell its sizes: by their number of elements.

    Attributes:
        heads: one number for each. scalar_query: a matrix from c_s. point_query, point_value: biases; ``point_value``
            holds the keys' points too unless ``separate``.
    """

    heads: str
    scalar_query: str
    point_query: str
    point_value: str
    separate: bool


def monomer_config(config: AlphaFold2Config, *, templates: bool) -> AlphaFold2Config:
    """Return ``config`` of a monomer with or without templates; without, the rows they would take are clusters."""
    return config if templates else replace(config, templates=False, msa_rows=_CLUSTERS_WITHOUT_TEMPLATES)


def multimer_config(*, fused: bool) -> AlphaFold2Config:
    """Return the configuration of the multimer's version 3 (``fused`` triangle projections), or of versions 1 and 2."""
    config = alphafold2_config("multimer")
    return config if fused else replace(config, msa_rows=EARLY_MULTIMER_ROWS[0], extra_rows=EARLY_MULTIMER_ROWS[1])


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def resized(
    config: AlphaFold2Config,
    widths: Mapping[str, tuple[str, int]],
    depths: Mapping[str, int],
    points: PointTensors,
    shapes: Shapes,
    where: str,
) -> AlphaFold2Config:
    """Return the configuration with the sizes that the file's shapes say.

    Args:
        config: the architecture.
        widths: tensor and axis whose length a setting is. depths: settings that are counted otherwise.
        points: where the sizes of the point attention are.
        shapes: the file's. where: file or format, for messages.

    Raises:
        WeightsError: a tensor is missing or has too few axes, or the sizes do not fit together.
    """
    sizes = {name: _length(shapes, tensor, axis, where) for name, (tensor, axis) in widths.items()} | dict(depths)
    c_s = sizes["c_s"]
    heads = _elements(shapes, points.heads, where)
    query = _elements(shapes, points.point_query, where) // (3 * heads)
    value = _elements(shapes, points.point_value, where) // (3 * heads)
    sizes |= {
        "heads_points": heads,
        "c_points": _elements(shapes, points.scalar_query, where) // (c_s * heads),
        "query_points": query,
        "value_points": value if points.separate else value - query,
    }
    wrong = [name for name, size in sizes.items() if size < 1]
    if wrong:
        raise WeightsError(f"{where} is not a whole checkpoint: by its shapes {wrong[0]} would be {sizes[wrong[0]]}.")
    try:
        return from_mapping(AlphaFold2Config, to_mapping(config) | sizes)
    except ConfigError as error:
        raise WeightsError(f"{where} holds tensors whose sizes do not fit together: {error}") from error


def _length(shapes: Shapes, name: str, axis: int, where: str) -> int:
    shape = _shape(shapes, name, where)
    if len(shape) <= axis or shape[axis] < 1:
        raise WeightsError(f"{where}: {name!r} has shape {list(shape)}, which no AlphaFold 2 has.")
    return shape[axis]


def _elements(shapes: Shapes, name: str, where: str) -> int:
    total = 1
    for axis in range(max(1, len(_shape(shapes, name, where)))):
        total *= _length(shapes, name, axis, where)
    return total


def _shape(shapes: Shapes, name: str, where: str) -> Sequence[int]:
    if name not in shapes:
        raise WeightsError(f"{where} has no tensor {name!r}: it is not a whole checkpoint of AlphaFold 2.")
    return shapes[name]
