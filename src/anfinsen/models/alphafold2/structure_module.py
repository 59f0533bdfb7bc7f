"""Structure module: backbone frames and torsion angles from the representations (AlphaFold 2, Algorithm 20)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.geometry import Frames, compose_frames, quaternion_to_rotation
from anfinsen.nn.dense import dense

from .invariant_point_attention import InvariantPointAttention, PointAttentionConfig

TORSIONS = 7  # omega, phi, psi, chi 1-4
NORM_FLOOR = 1e-6  # of an angle's (sine, cosine) before it is normalised


@dataclass(frozen=True)
class StructureModuleConfig:
    """Sizes of the structure module.

    Attributes:
        layers: passes with shared weights. attention: the invariant point attention.
        c_torsions, torsion_blocks: hidden width and residual blocks of the torsion network.
        position_scale: Å per unit of length inside the module (10; multimer 20).
        dropout: rate after the attention and after the transition.
    """

    layers: int = 8
    attention: PointAttentionConfig = field(default_factory=PointAttentionConfig)
    c_torsions: int = 128
    torsion_blocks: int = 2
    position_scale: float = 10.0
    dropout: float = 0.1


@dataclass(frozen=True)
class Structure:
    """What the structure module predicts after each of its layers (the last one is the prediction).

    Attributes:
        frames: backbone frames, origins (CA) in Å.
        torsions: sine and cosine of omega, phi, psi, chi 1-4. raw_torsions: the same before normalisation.
        single: the single representation.
    """

    frames: Frames
    torsions: Float[Tensor, "layers n 7 2"]
    raw_torsions: Float[Tensor, "layers n 7 2"]
    single: Float[Tensor, "layers n c_s"]


class TorsionNetwork(nn.Module):
    """Algorithm 20, lines 11-14: torsion angles from the current and the first single representation."""

    def __init__(self, c_s: int, c_hidden: int, blocks: int) -> None:
        super().__init__()
        self.current = dense(c_s, c_hidden)
        self.initial = dense(c_s, c_hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), dense(c_hidden, c_hidden, "relu"), nn.ReLU(), dense(c_hidden, c_hidden, "zeros"))
            for _ in range(blocks)
        )
        self.output = dense(c_hidden, 2 * TORSIONS)

    def forward(
        self, single: Float[Tensor, "n c_s"], initial: Float[Tensor, "n c_s"]
    ) -> tuple[Float[Tensor, "n 7 2"], Float[Tensor, "n 7 2"]]:
        """Return the angles' sines and cosines, normalised and as they come."""
        # The released code rectifies both inputs; the supplement does not.
        hidden = self.current(F.relu(single)) + self.initial(F.relu(initial))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        raw = self.output(F.relu(hidden)).unflatten(-1, (TORSIONS, 2))
        return F.normalize(raw, dim=-1, eps=NORM_FLOOR), raw


class StructureTransition(nn.Module):
    """Algorithm 20, lines 8-9, without dropout and LayerNorm."""

    def __init__(self, c_s: int) -> None:
        super().__init__()
        self.first = dense(c_s, c_s, "relu")
        self.second = dense(c_s, c_s, "relu")
        self.third = dense(c_s, c_s, "zeros")

    def forward(self, single: Float[Tensor, "n c_s"]) -> Float[Tensor, "n c_s"]:
        """Return the update of ``single``."""
        hidden = F.relu(self.second(F.relu(self.first(single))))
        return self.third(hidden)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class StructureModule(nn.Module):
    """Algorithm 20, up to the torsion angles; `geometry` builds the atoms from them."""

    def __init__(self, config: StructureModuleConfig) -> None:
        super().__init__()
        c_s, c_z = config.attention.c_s, config.attention.c_z
        self.layers = config.layers
        self.position_scale = config.position_scale
        self.norm_single = nn.LayerNorm(c_s)
        self.norm_pair = nn.LayerNorm(c_z)
        self.input = dense(c_s, c_s)
        self.attention = InvariantPointAttention(config.attention)
        self.norm_attention = nn.LayerNorm(c_s)
        self.transition = StructureTransition(c_s)
        self.norm_transition = nn.LayerNorm(c_s)
        self.backbone_update = dense(c_s, 6, "zeros")
        self.torsions = TorsionNetwork(c_s, config.c_torsions, config.torsion_blocks)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
        mask: Bool[Tensor, "n"],
        start: Frames | None = None,
    ) -> Structure:
        """Return the structure after every layer.

        Args:
            single, pair: the trunk's representations. mask: real residues.
            start: frames to begin with, origins in Å; all residues at the origin if not given.
        """
        initial, pair = self.norm_single(single), self.norm_pair(pair)
        single = self.input(initial)
        frames = _identity(single) if start is None else _scaled(start, 1 / self.position_scale)
        layers = []
        for _ in range(self.layers):
            single = single + self.attention(single, pair, frames, mask)
            single = self.norm_attention(self.dropout(single))
            single = single + self.transition(single)
            single = self.norm_transition(self.dropout(single))
            frames = moved(frames, self.backbone_update(single))
            torsions, raw = self.torsions(single, initial)
            layers.append((_scaled(frames, self.position_scale), torsions, raw, single))
            # No gradient flows through rotations from layer to layer (section 1.8.1).
            frames = Frames(frames.rotation.detach(), frames.origin)
        steps, torsions, raw, singles = zip(*layers, strict=True)
        return Structure(
            frames=Frames(torch.stack([step.rotation for step in steps]), torch.stack([step.origin for step in steps])),
            torsions=torch.stack(torsions),
            raw_torsions=torch.stack(raw),
            single=torch.stack(singles),
        )


def moved(frames: Frames, update: Float[Tensor, "n 6"]) -> Frames:
    """Return the frames after a motion in their own coordinates (Algorithm 23).

    ``update`` holds b, c, d of the quaternion (1, b, c, d), which is normalised, and the translation.
    """
    quaternion, shift = F.pad(update[..., :3], (1, 0), value=1.0), update[..., 3:]
    return compose_frames(frames, Frames(quaternion_to_rotation(quaternion), shift))


def _identity(single: Float[Tensor, "n c_s"]) -> Frames:
    n = single.shape[0]
    return Frames(torch.eye(3, dtype=single.dtype, device=single.device).expand(n, 3, 3), single.new_zeros(n, 3))


def _scaled(frames: Frames, factor: float) -> Frames:
    return Frames(frames.rotation, frames.origin * factor)
