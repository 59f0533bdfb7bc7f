"""Published parameters of AlphaFold 2 become a weights file; nothing is downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.common.files import file_sha256
from anfinsen.models.alphafold2 import AlphaFold2Config, alphafold2_config

from .alphafold2 import FAMILY
from .published.alphafold2_official import official
from .published.alphafold2_openfold import openfold
from .published.alphafold2_sizes import EARLY_MULTIMER_ROWS
from .published.files import kind_of, read_arrays, read_checkpoint
from .published.rules import converted_state
from .tensors import stored_tensors

SUFFIX = ".safetensors"
_FORMATS = {"arrays": "DeepMind's arrays", "checkpoint": "OpenFold's checkpoint"}
_NAME = re.compile(r"model_([1-5])(_ptm|_multimer(?:_v[123])?)?")
_FILE_PREFIX = "params_"
# Released configuration, by number: what the parameters alone do not say.
_WITH_TEMPLATES = (1, 2)
_MONOMER_EXTRA_ROWS = {1: 5120, 2: 1024, 3: 5120, 4: 5120, 5: 1024}
_MULTIMER_EXTRA_ROWS = {1: 2048, 2: 2048, 3: 2048, 4: 1152, 5: 1152}


@dataclass(frozen=True)
class PublishedModel:
    """One of DeepMind's models.

    Attributes:
        name: "model_1_ptm". preset: of the same architecture. early: version 1 or 2 of the multimer.
        templates: whether it has a template embedder. extra_rows: of the extra alignment.
    """

    name: str
    preset: str
    early: bool
    templates: bool
    extra_rows: int

    def fits(self, config: AlphaFold2Config) -> bool:
        """Return whether a file of this configuration can be this model."""
        early = (config.msa_rows, config.extra_rows) == EARLY_MULTIMER_ROWS
        return (_kind(config), early, config.templates) == (self.preset, self.early, self.templates)


def published_model(name: str) -> PublishedModel:
    """Return the model that DeepMind calls ``name``, such as model_1, model_3_ptm or model_5_multimer_v3.

    Raises:
        ConfigError: there is no such model.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"Unknown published model {name!r}: expected model_1 to model_5, alone or with _ptm, _multimer_v1, "
            "_multimer_v2 or _multimer_v3."
        )
    number, kind = int(match[1]), match[2] or ""
    if not kind.startswith("_multimer"):
        preset = "ptm" if kind else "monomer"
        return PublishedModel(name, preset, False, number in _WITH_TEMPLATES, _MONOMER_EXTRA_ROWS[number])
    early = not kind.endswith("_v3")  # the first release has no version in its files' names
    return PublishedModel(
        name, "multimer", early, True, EARLY_MULTIMER_ROWS[1] if early else _MULTIMER_EXTRA_ROWS[number]
    )


def convert_published(source: Path, out: Path, model: str | None = None) -> None:
    """Convert DeepMind's arrays or OpenFold's checkpoint to the weights file ``out``, whole or not at all.

    Every tensor of the source is used exactly once and every tensor of the model is filled. The file records the
    source's name and SHA-256.

    Args:
        source: ``params_model_*.npz``, or OpenFold's ``.pt`` or ``.ckpt``; recognised by its content.
        out: weights file to write.
        model: which of DeepMind's models this is; by default what the source's name says, or else unknown, with the
            alignment depth of the first.

    Raises:
        ConfigError: ``out`` has another ending than ``.safetensors``, or ``model`` is unknown.
        WeightsError: the source is damaged, of another format or model, or not whole.
        OutputError: ``out`` cannot be written.
    """
    if out.suffix != SUFFIX:
        raise ConfigError(f"Option --out is {str(out)!r}: expected a file that ends in {SUFFIX}.")
    named = None if model is None else published_model(model)
    kind = kind_of(source)
    where = str(source)
    found = official(read_arrays(source), where) if kind == "arrays" else openfold(read_checkpoint(source), where)
    if named is not None and not named.fits(found.config):
        templates = "with" if found.config.templates else "without"
        raise WeightsError(
            f"{source} is not {model}: it holds a {_kind(found.config)} model {templates} templates; leave --model "
            "out, or name the model that it is."
        )
    named = named or _named_by(source, found.config)
    config = found.config if named is None else replace(found.config, extra_rows=named.extra_rows)
    state = converted_state(FAMILY.outline(config), found.tensors, found.rules, where)
    state = {name: tensor.to(torch.float32) for name, tensor in state.items()}
    metadata = {
        "preset": _preset(config),
        "source": source.name,
        "source_format": _FORMATS[kind],
        "source_sha256": file_sha256(source),
    }
    if named is not None:
        metadata["published_model"] = named.name
    FAMILY.write(stored_tensors(state, out, bf16=False), config, out, metadata)


def _named_by(source: Path, config: AlphaFold2Config) -> PublishedModel | None:
    """Return the model that the file's name says, unless its content says otherwise."""
    name = source.stem.removeprefix(_FILE_PREFIX)
    model = published_model(name) if _NAME.fullmatch(name) else None
    return model if model is not None and model.fits(config) else None


def _kind(config: AlphaFold2Config) -> str:
    """Return the name of the preset with this architecture."""
    if config.multimer:
        return "multimer"
    return "ptm" if config.predicts_pae else "monomer"


def _preset(config: AlphaFold2Config) -> str:
    """Return the name of the preset that this is; "" for other sizes."""
    preset = alphafold2_config(_kind(config))
    variant = replace(preset, templates=config.templates, msa_rows=config.msa_rows, extra_rows=config.extra_rows)
    return _kind(config) if config == variant else ""
