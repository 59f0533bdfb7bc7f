"""Networks of autoencoders: what every network offers, and the fully connected one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)

_MODULES: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_RECTIFIERS = frozenset({"relu", "leaky_relu", "elu", "gelu", "silu"})
"""Activations that let half of a signal's power through (He et al. 2015)."""


class Network(nn.Module):
    """What objectives and estimators need of a network; rows of the (scaled) table go in and come out.

    Attributes:
        n_features: columns of the table. n_codes: numbers that `encode` gives for each row: one for each component, or
            two (mean and log-variance) where the objective asks for them.
        observation_log_variance: log-variance of the observations around the decoder's output, where an objective
            has learned it (see `VariationalObjective`); None otherwise.
    """

    def __init__(self, n_features: int, n_codes: int) -> None:
        super().__init__()
        self.n_features, self.n_codes = n_features, n_codes
        self.observation_log_variance: nn.Parameter | None = None

    def encode(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n codes"]:
        """Return the raw codes of rows; the objective makes latent components of them."""
        raise RuntimeError(f"{type(self).__name__} has no encoder.")

    def decode(self, z: Float[Tensor, "n components"]) -> Float[Tensor, "n features"]:
        """Return the natural parameters of the rows' distribution: means (Gaussian) or logits (Bernoulli)."""
        raise RuntimeError(f"{type(self).__name__} has no decoder.")

    def code_norms(self) -> Float[Tensor, " components"] | None:
        """Return the length of each component's weights into the decoder, None where there is no such thing.

        An L1 penalty on codes times these lengths cannot be evaded by small codes and large weights.
        """
        return None


def activation_module(name: str) -> nn.Module:
    """Return a fresh module of the activation called ``name`` (one of ``ACTIVATIONS``)."""
    return _MODULES[name]()


@torch.no_grad()
def initialise(layer: nn.Module, activation: str, generator: torch.Generator) -> None:
    """Draw a layer's weights by Glorot's (2010) rule, at twice the variance before a rectifier; biases start at zero.

    Args:
        layer: linear, convolution or transposed convolution, with ``weight`` and perhaps ``bias``; on the CPU.
        activation: what follows the layer. generator: on the CPU.
    """
    weight = layer.get_parameter("weight")
    gain = 2.0**0.5 if activation in _RECTIFIERS else 1.0
    drawn = torch.empty_like(weight, dtype=torch.float64)  # the same weights in single and double precision
    nn.init.xavier_uniform_(drawn, gain, generator)
    weight.copy_(drawn)
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.get_parameter("bias"))


@dataclass(frozen=True)
class DenseNetworkConfig:
    """Shape of a `DenseNetwork`.

    Attributes:
        n_features: columns. n_codes: numbers of a code, as the encoder gives them. n_components: as the decoder takes.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        activation: after every hidden layer; "identity" makes the network linear.
        tied: the decoder uses the encoder's weights, transposed; needs n_codes = n_components.
    """

    n_features: int
    n_codes: int
    n_components: int
    hidden: tuple[int, ...]
    activation: str = "relu"
    tied: bool = False


class DenseNetwork(Network):
    """Encoder and mirrored decoder of fully connected layers (Hinton and Salakhutdinov, Science 313, 2006)."""

    def __init__(self, config: DenseNetworkConfig, generator: torch.Generator) -> None:
        super().__init__(config.n_features, config.n_codes)
        self.config = config
        down = (config.n_features, *config.hidden, config.n_codes)
        up = (config.n_components, *reversed(config.hidden), config.n_features)
        self.encoder = _layers(down, config.activation, generator)
        self.decoder = None if config.tied else _layers(up, config.activation, generator)
        biases = [nn.Parameter(torch.zeros(width)) for width in up[1:]] if config.tied else []
        self.decoder_biases = nn.ParameterList(biases)

    def encode(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n codes"]:
        """Return the raw codes of rows."""
        result: Tensor = self.encoder(x)
        return result

    def decode(self, z: Float[Tensor, "n components"]) -> Float[Tensor, "n features"]:
        """Return means or logits of rows."""
        if self.decoder is not None:
            result: Tensor = self.decoder(z)
            return result
        mirrored = [layer for layer in reversed(list(self.encoder)) if isinstance(layer, nn.Linear)]
        activation = activation_module(self.config.activation)
        x = z
        for number, (layer, bias) in enumerate(zip(mirrored, self.decoder_biases, strict=True)):
            x = F.linear(x if number == 0 else activation(x), layer.weight.T, bias)
        return x

    def code_norms(self) -> Float[Tensor, " components"] | None:
        """Return the length of each component's weights into the decoder's first layer."""
        if self.decoder is None:
            *_, last = (layer for layer in self.encoder if isinstance(layer, nn.Linear))
            vectors = last.weight
        else:
            vectors = self.decoder[0].get_parameter("weight").T
        norms: Tensor = torch.linalg.vector_norm(vectors, dim=1)
        return norms


def _layers(widths: tuple[int, ...], activation: str, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (c_in, c_out) in enumerate(pairwise(widths)):
        last = number == len(widths) - 2
        # Made without memory, so that torch's own start does not draw from the global generator.
        layer = nn.Linear(c_in, c_out, device="meta").to_empty(device="cpu")
        initialise(layer, "identity" if last else activation, generator)
        layers.append(layer)
        if not last and activation != "identity":
            layers.append(activation_module(activation))
    return nn.Sequential(*layers)
