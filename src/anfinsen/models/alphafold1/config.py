"""Sizes of the AlphaFold 1 network: `full` as published, `mini` for a laptop's CPU."""

from __future__ import annotations

from dataclasses import dataclass

from anfinsen.common.errors import ConfigError

DILATIONS = (1, 2, 4, 8)  # Senior et al. 2020: one group of residual blocks


@dataclass(frozen=True)
class Tower:
    """``groups`` of four residual blocks (one per dilation) with ``channels`` each, half of them inside a block."""

    groups: int
    channels: int


@dataclass(frozen=True)
class AlphaFold1Config:
    """Everything about the network's shape.

    Attributes:
        c_single_in, c_pair_in: channels of the features of residues and of residue pairs; as published, the couplings
            themselves (20 x 20 a pair) are among the latter; in `mini` those between six classes of amino acids.
        towers: stretches of residual blocks, one after the other (Senior et al. 2020: 7 groups with 256 channels, 48
            with 128).
        crop: side of the square crops that the network sees.
        separations: largest distance along the chain that the input and the position-specific bias tell apart.
        distances: bins of the distogram. torsions: bins of phi and of psi. surfaces: bins of the accessible surface.
        dihedrals, angles: bins of the orientations; 0: the network predicts none, as published.
    """

    c_single_in: int = 92
    c_pair_in: int = 408
    towers: tuple[Tower, ...] = (Tower(7, 256), Tower(48, 128))
    crop: int = 64
    separations: int = 32
    distances: int = 64
    torsions: int = 36
    surfaces: int = 10
    dihedrals: int = 0
    angles: int = 0

    def __post_init__(self) -> None:
        if not self.towers or any(t.groups < 1 or t.channels < 2 for t in self.towers):
            raise ValueError("towers must be given, each with at least one group and two channels")
        if (self.dihedrals > 0) != (self.angles > 0):
            raise ValueError("dihedrals and angles must be 0 both or neither")
        if self.crop < 2:
            raise ValueError(f"crop is {self.crop}: expected at least 2")

    @property
    def blocks(self) -> int:
        """Number of residual blocks."""
        return len(DILATIONS) * sum(tower.groups for tower in self.towers)

    @property
    def receptive_field(self) -> int:
        """Side of the square of input pairs that one output pair sees, through the dilated convolutions."""
        return 1 + 2 * sum(DILATIONS) * sum(tower.groups for tower in self.towers)


PRESETS: dict[str, AlphaFold1Config] = {
    "full": AlphaFold1Config(),
    "mini": AlphaFold1Config(
        c_pair_in=44, towers=(Tower(12, 64),), separations=48, torsions=24, dihedrals=24, angles=12
    ),
}


def alphafold1_config(name: str) -> AlphaFold1Config:
    """Return the preset called ``name``.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"Unknown AlphaFold 1 preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]
