"""The published sizes, and `mini` for two CPU cores."""

from __future__ import annotations

from anfinsen.common.errors import ConfigError

from .config import AlphaFold2Config

PRESETS: dict[str, AlphaFold2Config] = {
    # Where there are templates, the released configuration takes their 4 rows off the 512 clusters.
    "monomer": AlphaFold2Config(msa_rows=508),
    "ptm": AlphaFold2Config(predicts_pae=True, msa_rows=508),
    "multimer": AlphaFold2Config(
        architecture="multimer",
        predicts_pae=True,
        position_scale=20.0,
        msa_rows=508,
        extra_rows=2048,
        recycles=20,
        recycle_tolerance=0.5,
    ),
    "mini": AlphaFold2Config(
        templates=False,
        predicts_pae=True,
        pair_couplings=True,
        c_m=64,
        c_z=64,
        c_s=128,
        c_e=32,
        evoformer_blocks=4,
        extra_blocks=1,
        heads_msa=4,
        heads_pair=4,
        c_outer=16,
        c_triangle=64,
        layers=6,
        heads_points=6,
        c_torsions=64,
        c_plddt=64,
        msa_rows=64,
        extra_rows=128,
        extra_query=True,
        dropout_msa=0.0,
        dropout_pair=0.0,
    ),
}


def alphafold2_config(name: str) -> AlphaFold2Config:
    """Return the preset called ``name``.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]
