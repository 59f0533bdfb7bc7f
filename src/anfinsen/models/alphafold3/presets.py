"""Three sizes of one code: `full` as published, `small` for one GPU, `mini` for a laptop's CPU (bundled weights)."""

from __future__ import annotations

from anfinsen.common.errors import ConfigError

from .config import AlphaFold3Config
from .template_embedder import TemplateEmbedderConfig

PRESETS: dict[str, AlphaFold3Config] = {
    "full": AlphaFold3Config(),
    "small": AlphaFold3Config(
        c_s=256,
        c_z=64,
        c_m=64,
        c_token_inputs=256,
        c_token=384,
        c_atom=64,
        pairformer_blocks=12,
        heads_single=8,
        c_pair_attention=16,
        c_triangle=64,
        template=TemplateEmbedderConfig(c=32),
        confidence_blocks=2,
        confidence_row_means=True,
        token_blocks=12,
        token_heads=8,
        recycles=3,
    ),
    "mini": AlphaFold3Config(
        c_s=128,
        c_z=32,
        c_m=32,
        c_token_inputs=96,
        c_token=192,
        c_atom=48,
        c_atompair=16,
        atom_blocks=2,
        atom_heads=4,
        msa_blocks=1,
        msa_heads=4,
        c_msa_head=8,
        c_outer=16,
        msa_rows=128,
        pairformer_blocks=4,
        heads_single=8,
        heads_pair=4,
        c_pair_attention=8,
        c_triangle=32,
        template=TemplateEmbedderConfig(blocks=1, c=16),
        confidence_blocks=2,
        confidence_row_means=True,
        token_blocks=6,
        token_heads=8,
        c_noise=64,
        recycles=1,
        steps=100,
        dropout_pair=0.0,
        dropout_msa=0.0,
    ),
}


def alphafold3_config(name: str) -> AlphaFold3Config:
    """Return the preset called ``name``.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]
