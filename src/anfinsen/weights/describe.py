"""What a model's name or weights file stands for, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from anfinsen.common.errors import WeightsError

from . import alphafold1, alphafold2, alphafold3
from .images import IMAGE_FAMILIES
from .store import OLDEST, RANDOM, Family, WeightsInfo, family_of, info_of, weights_path
from .tensors import read_tensors

FAMILIES: dict[str, Family[Any, Any]] = {
    **{family.name: family for family in (alphafold1.FAMILY, alphafold2.FAMILY, alphafold3.FAMILY)},
    **IMAGE_FAMILIES,
}


@dataclass(frozen=True)
class WeightsSummary:
    """A model and its weights.

    Attributes:
        family: "AlphaFold 2". info: name, file, hash, preset, and what its making recorded.
        parameters: how many numbers training changes. types: of the numbers in the file, such as "float32".
        bytes: of the file; 0 for untrained models.
    """

    family: str
    info: WeightsInfo
    parameters: int
    types: tuple[str, ...]
    bytes: int


def describe_weights(name_or_path: str) -> WeightsSummary:
    """Return what is known of a model, which is read in full and checked, but not built.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, or does not match its configuration.
    """
    if name_or_path.endswith(RANDOM):
        return _untrained(name_or_path)
    bundled = next((family for family in FAMILIES.values() if name_or_path in family.bundled), None)
    if bundled is not None:
        path, name = bundled.bundled_file(name_or_path), name_or_path
    else:
        path = weights_path(name_or_path)
        name = path.stem
    file = read_tensors(path)
    model = file.metadata.get("model", OLDEST)
    if model not in FAMILIES:
        raise WeightsError(f"{path} holds a model {model!r}: expected one of {', '.join(FAMILIES)}.")
    family = FAMILIES[model]
    config = family.configuration(file)
    outline = family.outline(config)
    file.check(outline.state_dict())
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in file.tensors.values()})
    info = info_of(file, name)
    return WeightsSummary(family.title, info, _parameters(outline), tuple(types), path.stat().st_size)


def _untrained(name: str) -> WeightsSummary:
    family = FAMILIES[family_of(name)]
    preset = family.untrained_preset(name)
    config = family.presets[preset]
    info = WeightsInfo(name=name, path="", sha256="", preset=preset)
    return WeightsSummary(family.title, info, _parameters(family.outline(config)), ("float32",), 0)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
