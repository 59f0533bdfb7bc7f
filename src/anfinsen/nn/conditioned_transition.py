"""Gated transition of a vector under adaptive layer norm (AlphaFold 3, Algorithm 25)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from .adaptive_layer_norm import AdaptiveLayerNorm, Modulation, OutputGate, lecun_
from .linear import linear

TransitionModulation = tuple[Modulation, Tensor]
"""Modulation of the norm, and output gate."""


@dataclass(frozen=True)
class ConditionedTransitionConfig:
    """Sizes and variants of `ConditionedTransition`.

    Attributes:
        c_a: width of the representation. c_s: width of the conditioning vector. factor: widening of the hidden layer.
        projections: 2: silu(u) v (paper, released AlphaFold 3 code); 3: silu(u) v w (Boltz).
    """

    c_a: int = 768
    c_s: int = 384
    factor: int = 2
    projections: Literal[2, 3] = 2


class ConditionedTransition(nn.Module):
    """SwiGLU transition with adaptive norm and output gate (Algorithm 25), without the residual connection.

    The rows of ``expand`` are [u | v] or [u | v | w].
    """

    def __init__(self, config: ConditionedTransitionConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.factor * config.c_a
        self.norm = AdaptiveLayerNorm(config.c_a, config.c_s)
        self.expand = nn.Linear(config.c_a, config.projections * hidden, bias=False)
        self.contract = nn.Linear(hidden, config.c_a, bias=False)
        self.gate = OutputGate(config.c_s, config.c_a)
        lecun_(self.expand.weight)
        lecun_(self.contract.weight)

    def forward(
        self, a: Float[Tensor, "*samples n c_a"], s: Float[Tensor, "*s_samples n c_s"]
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the update of ``a``; the sample axes of ``s`` must broadcast to those of ``a``."""
        return self.update(a, self.modulation(s))

    def modulation(self, s: Float[Tensor, "*samples n c_s"]) -> TransitionModulation:
        """Return all that depends on ``s``: modulation of the norm, and output gate."""
        return self.norm.modulation(s), self.gate(s)

    def update(
        self,
        a: Float[Tensor, "*samples n c_a"],
        modulation: TransitionModulation,
        plus: Float[Tensor, "*samples n c_a"] | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the update of ``a``, plus ``plus``, under a modulation made beforehand."""
        of_norm, gate = modulation
        normal = self.norm.modulate(a, of_norm)
        of_u, *others = self.expand.weight.chunk(self.config.projections)
        hidden = linear(normal, of_u, activation="swish")
        for weight in others:
            hidden = linear(normal, weight, times=hidden)
        return linear(hidden, self.contract.weight, times=gate, plus=plus)
