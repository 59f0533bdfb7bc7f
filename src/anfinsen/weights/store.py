"""Weights files: safetensors with the model's configuration in the metadata, so that a file says what it is.

All families of models share one format; "model" in the metadata tells them apart (AlphaFold 3's older files have none).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.images.clip import CLIP_PRESETS
from anfinsen.images.dalle1 import DVAE_PRESETS, TRANSFORMER_PRESETS
from anfinsen.images.dalle2 import DECODER_PRESETS, PRIOR_PRESETS, UPSAMPLER_PRESETS
from anfinsen.models.alphafold1 import PRESETS as ALPHAFOLD1_PRESETS
from anfinsen.models.alphafold2 import PRESETS as ALPHAFOLD2_PRESETS
from anfinsen.models.alphafold3 import PRESETS as ALPHAFOLD3_PRESETS

from .tensors import TensorFile, read_tensors, stored_tensors, write_tensors

FORMAT = "anfinsen-weights-1"
_ALL_PRESETS: dict[str, Mapping[str, object]] = {
    "alphafold3": ALPHAFOLD3_PRESETS,
    "alphafold1": ALPHAFOLD1_PRESETS,
    "alphafold2": ALPHAFOLD2_PRESETS,
    "clip": CLIP_PRESETS,
    "dalle2-prior": PRIOR_PRESETS,
    "dalle2-decoder": DECODER_PRESETS,
    "dalle2-upsampler": UPSAMPLER_PRESETS,
    "dalle1-dvae": DVAE_PRESETS,
    "dalle1-transformer": TRANSFORMER_PRESETS,
}
# Of every family the preset "mini" is bundled: files by the models' names, by family.
BUNDLED_FILES = {family: {f"{family}-mini": f"{family}-mini.safetensors"} for family in _ALL_PRESETS}
BUNDLED = BUNDLED_FILES["alphafold3"]
ALPHAFOLD1_BUNDLED, ALPHAFOLD2_BUNDLED = BUNDLED_FILES["alphafold1"], BUNDLED_FILES["alphafold2"]
RANDOM = ":random"  # ends the names of untrained models
OLDEST = "alphafold3"  # of the files without "model"
_HEADER = {"format", "model", "config"}  # metadata that says what the file is; the rest is about its making

ModelT = TypeVar("ModelT", bound=nn.Module)
ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class WeightsInfo:
    """Where a model's weights came from.

    Attributes:
        name: model name. path: file, or "" for random weights. sha256: of the file's bytes ("" likewise).
        preset: name of the configuration. metadata: what the training run recorded about itself.
    """

    name: str
    path: str
    sha256: str
    preset: str
    metadata: dict[str, str] = field(default_factory=dict)


def info_of(file: TensorFile, name: str) -> WeightsInfo:
    """Return what a weights file says of itself."""
    # The library gives them in another order each time, and results that hold them should be the same bytes.
    about = {key: value for key, value in sorted(file.metadata.items()) if key not in _HEADER}
    return WeightsInfo(name, str(file.path), file.sha256, file.metadata.get("preset", ""), about)


def bundled_path(file: str) -> Path:
    """Return where the bundled weights file called ``file`` lies in this installation, whether it is there or not."""
    return Path(str(resources.files("anfinsen.weights") / "bundled" / file))


def _all_bundled() -> dict[str, str]:
    return {name: file for files in BUNDLED_FILES.values() for name, file in files.items()}


def family_of(name: str) -> str:
    """Return the family of a model's name: "dalle2-prior" of "dalle2-prior-mini".

    Raises:
        ConfigError: it begins like none.
    """
    for family in _ALL_PRESETS:
        if name.startswith(f"{family}-"):
            return family
    raise ConfigError(f"Unknown model {name!r}: expected one of {', '.join(model_names())}, or a weights file.")


def model_names() -> list[str]:
    """Return the names of all models: the bundled ones that this installation has, then the untrained ones."""
    return [
        *(name for name, file in _all_bundled().items() if bundled_path(file).is_file()),
        *(f"{family}-{preset}{RANDOM}" for family, presets in _ALL_PRESETS.items() for preset in presets),
    ]


def weights_path(name_or_path: str) -> Path:
    """Return the path that ``name_or_path`` is, whether there is a file or not.

    Raises:
        ConfigError: it looks like the name of a model, and there is none of that name.
    """
    path = Path(name_or_path)
    if name_or_path and (path.suffix or path.exists() or len(path.parts) > 1):
        return path
    known = ", ".join(model_names())
    raise ConfigError(f"Unknown model {name_or_path!r}: expected one of {known}, or a weights file.")


@dataclass(frozen=True)
class Family(Generic[ModelT, ConfigT]):
    """How one family of models is kept in files.

    Attributes:
        name: "alphafold1"; title: "AlphaFold 1". build: makes a model of a configuration.
        config: type of the configuration. presets: configurations by name. bundled: files by the models' names.
    """

    name: str
    title: str
    build: Callable[[ConfigT], ModelT]
    config: type[ConfigT]
    presets: Mapping[str, ConfigT]
    bundled: Mapping[str, str]

    def owns(self, name_or_path: str) -> bool:
        """Return whether a model name, or a weights file, is this family's; False for files that cannot be read."""
        if name_or_path.startswith(f"{self.name}-") and not Path(name_or_path).exists():
            return True
        try:
            with safe_open(name_or_path, framework="pt") as handle:
                return (handle.metadata() or {}).get("model") == self.name
        except (OSError, SafetensorError):
            return False

    def save(self, model: ModelT, path: Path, metadata: dict[str, str], *, bf16: bool) -> None:
        """Write weights and configuration of ``model`` to ``path``, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
            WeightsError: a weight is NaN or infinite.
        """
        buffers = {name for name, _ in model.named_buffers()}
        self.write(stored_tensors(model.state_dict(), path, bf16=bf16, exact=buffers), model.config, path, metadata)

    def write(self, tensors: dict[str, Tensor], config: Any, path: Path, metadata: dict[str, str]) -> None:
        """Write the tensors of a model of this configuration to ``path``, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        header = {"format": FORMAT, "model": self.name, "config": json.dumps(to_mapping(config))}
        write_tensors(path, tensors, {**metadata, **header})

    def outline(self, config: ConfigT) -> ModelT:
        """Return a model without numbers: names and shapes only."""
        with torch.device("meta"):
            return self.build(config)

    def load(self, name_or_path: str, device: torch.device | str) -> tuple[ModelT, WeightsInfo]:
        """Return the model of a name or file in evaluation mode and what is known of its weights.

        Raises:
            ConfigError: the name is unknown.
            WeightsError: the file is missing, damaged, another family's, or does not match its configuration.
        """
        preset = self.random_preset(name_or_path)
        if preset is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = self.build(self.presets[preset])
            return model.to(device).eval(), WeightsInfo(name=name_or_path, path="", sha256="", preset=preset)
        if name_or_path not in self.bundled:
            if name_or_path in _all_bundled() and not Path(name_or_path).exists():
                raise ConfigError(
                    f"Model {name_or_path!r} is no {self.title}: expected one of {', '.join(self.bundled)}, or a "
                    "weights file."
                )
            path = weights_path(name_or_path)
            return self._read(path, path.stem, device)
        return self._read(self.bundled_file(name_or_path), name_or_path, device)

    def bundled_file(self, name: str) -> Path:
        """Return the file of a bundled model.

        Raises:
            WeightsError: this installation came without it.
        """
        path = bundled_path(self.bundled[name])
        if not path.exists():
            raise WeightsError(
                f"This installation has no weights of {name!r}: name a weights file in its place, made by "
                f"`anfinsen train {self.name}`."
            )
        return path

    def random_preset(self, name: str) -> str | None:
        """Return the preset of an untrained model's name ("mini" of "…-mini:random"), None for other names.

        Raises:
            ConfigError: there is no such preset.
        """
        return self.untrained_preset(name) if name.endswith(RANDOM) else None

    def untrained_preset(self, name: str) -> str:
        """Return the preset of an untrained model's name.

        Raises:
            ConfigError: there is no such preset.
        """
        family = family_of(name)
        preset = name.removesuffix(RANDOM).removeprefix(f"{family}-")
        if family != self.name or preset not in self.presets:
            raise ConfigError(
                f"Unknown model {name!r}: expected {self.name}-PRESET{RANDOM} with one of {', '.join(self.presets)} "
                "(untrained, for measuring time and memory)."
            )
        return preset

    def _read(self, path: Path, name: str, device: torch.device | str) -> tuple[ModelT, WeightsInfo]:
        file = read_tensors(path)
        model = self.build(self.configuration(file))
        file.fill(model)
        return model.to(device).eval(), info_of(file, name)

    def configuration(self, file: TensorFile) -> ConfigT:
        """Return the configuration that a weights file of this family holds.

        Raises:
            WeightsError: it is another family's or program's, or holds none that can be used.
        """
        metadata = file.metadata
        if metadata.get("format") != FORMAT:
            raise WeightsError(
                f"{file.path} was not written by anfinsen: its format is {metadata.get('format', 'not named')!r}, "
                f"expected {FORMAT!r}."
            )
        if metadata.get("model", OLDEST) != self.name:
            raise WeightsError(
                f"{file.path} holds no {self.title}: its model is {metadata.get('model', OLDEST)!r}, expected "
                f"{self.name!r}."
            )
        try:
            values = json.loads(metadata["config"])
            if not isinstance(values, dict):
                raise ConfigError(f"expected a mapping, got {values!r}.")
            return from_mapping(self.config, values)
        except (KeyError, ValueError, ConfigError) as error:
            raise WeightsError(f"{file.path} holds no usable model configuration: {error}") from error
