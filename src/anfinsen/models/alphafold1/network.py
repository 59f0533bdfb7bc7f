"""The AlphaFold 1 network: dilated residual blocks over residue pairs, and its heads (Senior et al. 2020, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .confidence import Calibration
from .config import DILATIONS, AlphaFold1Config
from .reference import ReferenceDistribution


@dataclass(frozen=True)
class Crops:
    """B crops of pair maps, ``n`` rows by ``m`` columns; residues outside the chain are padding.

    Attributes:
        rows, columns: features of the residues along each side; 0 for padding.
        pair: features of the pairs; 0 for padding.
        separation: residue number of the row minus that of the column.
        row_mask, column_mask: which residues exist.
    """

    rows: Float[Tensor, "B n c1"]
    columns: Float[Tensor, "B m c1"]
    pair: Float[Tensor, "B n m c2"]
    separation: Int[Tensor, "B n m"]
    row_mask: Bool[Tensor, "B n"]
    column_mask: Bool[Tensor, "B m"]

    @property
    def mask(self) -> Bool[Tensor, "B n m"]:
        """Which pairs exist."""
        return self.row_mask[:, :, None] & self.column_mask[:, None, :]

    def to(self, device: torch.device | str) -> Crops:
        """Return the crops on ``device``."""
        return Crops(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class ResidueLogits:
    """Logits of the residues along one side of each crop."""

    torsion: Float[Tensor, "B n torsions torsions"]
    secondary_structure: Float[Tensor, "B n 8"]
    accessibility: Float[Tensor, "B n surfaces"]


@dataclass(frozen=True)
class CropLogits:
    """What the network says about crops.

    Attributes:
        distogram: of the CB-CB distance.
        omega, theta, phi: of the orientations; None for networks without them.
        rows, columns: of the residues along each side.
    """

    distogram: Float[Tensor, "B n m distances"]
    omega: Float[Tensor, "B n m dihedrals"] | None
    theta: Float[Tensor, "B n m dihedrals"] | None
    phi: Float[Tensor, "B n m angles"] | None
    rows: ResidueLogits
    columns: ResidueLogits


class ResidualBlock(nn.Module):
    """Down to half the channels, dilated 3×3 convolution, up again (Senior et al. 2020, extended data figure 3)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        half = channels // 2
        self.norm_down = nn.BatchNorm2d(channels)
        self.down = nn.Conv2d(channels, half, 1)
        self.norm_dilated = nn.BatchNorm2d(half)
        self.dilated = nn.Conv2d(half, half, 3, padding=dilation, dilation=dilation)
        self.norm_up = nn.BatchNorm2d(half)
        self.up = nn.Conv2d(half, channels, 1)
        # Each block starts as the identity, so that depth costs nothing at the start of training.
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]  # the layer has a bias

    def forward(self, x: Float[Tensor, "B c n m"]) -> Float[Tensor, "B c n m"]:
        """Return x plus the block's change."""
        y = self.down(nn.functional.elu(self.norm_down(x)))
        y = self.dilated(nn.functional.elu(self.norm_dilated(y)))
        y = self.up(nn.functional.elu(self.norm_up(y)))
        result: Tensor = x + y
        return result


class InputEmbedding(nn.Module):
    """One linear layer over the features of both residues, of the pair, and of their separation.

    The same as tiling the residues' features over the pairs and one 1×1 convolution over all channels, as the paper
    has it, without the tiled array.
    """

    def __init__(self, config: AlphaFold1Config) -> None:
        super().__init__()
        c = config.towers[0].channels
        self.row = nn.Linear(config.c_single_in, c)
        self.column = nn.Linear(config.c_single_in, c, bias=False)
        self.pair = nn.Linear(config.c_pair_in, c, bias=False)
        self.separation = nn.Embedding(2 * config.separations + 1, c)
        self.limit = config.separations

    def forward(self, crops: Crops) -> Float[Tensor, "B c n m"]:
        """Return the embedded pairs, 0 where there is padding."""
        x = self.row(crops.rows)[:, :, None] + self.column(crops.columns)[:, None] + self.pair(crops.pair)
        x = x + self.separation(crops.separation.clamp(-self.limit, self.limit) + self.limit)
        x = x * crops.mask[..., None]
        # Channels lie innermost already: the convolutions' fast layout costs no copy.
        embedded: Tensor = x.permute(0, 3, 1, 2)
        return embedded


class AlphaFold1(nn.Module):
    """Distogram network with its auxiliary heads."""

    def __init__(self, config: AlphaFold1Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = InputEmbedding(config)
        layers: list[nn.Module] = []
        channels = config.towers[0].channels
        for tower in config.towers:
            if tower.channels != channels:
                layers.append(nn.Conv2d(channels, tower.channels, 1))
            channels = tower.channels
            layers.extend(ResidualBlock(channels, d) for _ in range(tower.groups) for d in DILATIONS)
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.pair_sizes = [config.distances, config.dihedrals, config.dihedrals, config.angles]
        self.pair_head = nn.Linear(channels, sum(self.pair_sizes))
        # "A position-specific bias, indexed by the separation, up to 32": what a distance is without looking.
        self.position_bias = nn.Embedding(config.separations + 1, config.distances)
        nn.init.zeros_(self.position_bias.weight)
        self.residue_sizes = [config.torsions**2, 8, config.surfaces]
        self.residue_head = nn.Linear(2 * channels, sum(self.residue_sizes))
        # Not trained by gradients, but part of what the weights file must hold.
        self.reference = ReferenceDistribution(config.distances)
        self.calibration = Calibration()

    def forward(self, crops: Crops) -> CropLogits:
        """Return logits for crops."""
        x = self.embedding(crops)
        x = self.blocks(x)
        x = nn.functional.elu(self.norm(x)).permute(0, 2, 3, 1)
        distogram, omega, theta, phi = self.pair_head(x).float().split(self.pair_sizes, dim=-1)
        separation = crops.separation.abs().clamp(max=self.config.separations)
        oriented = self.config.dihedrals > 0
        return CropLogits(
            distogram=distogram + self.position_bias(separation),
            omega=omega if oriented else None,
            theta=theta if oriented else None,
            phi=phi if oriented else None,
            rows=self._residues(x, crops.column_mask[:, None, :]),
            columns=self._residues(x.transpose(1, 2), crops.row_mask[:, None, :]),
        )

    def _residues(self, x: Float[Tensor, "B n m c"], mask: Bool[Tensor, "B 1 m"]) -> ResidueLogits:
        """Logits of the residues along the second axis, from mean and maximum over the third."""
        inside = mask[..., None]
        mean = (x * inside).sum(2) / inside.sum(2).clamp(min=1)
        top = x.masked_fill(~inside, torch.finfo(x.dtype).min).amax(2)
        # A crop beyond the chain's end has no residue to look at.
        top = torch.where(inside.any(2), top, torch.zeros_like(top))
        torsion, structure, surface = (
            self.residue_head(torch.cat([mean, top], dim=-1)).float().split(self.residue_sizes, dim=-1)
        )
        return ResidueLogits(torsion.unflatten(-1, (self.config.torsions, -1)), structure, surface)
