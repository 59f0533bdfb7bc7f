"""The convolutional network: strided convolutions down to a code, transposed ones back to an image of any size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .networks import Network, activation_module, initialise

STRIDE = 2


@dataclass(frozen=True)
class ConvolutionalNetworkConfig:
    """Shape of a `ConvolutionalNetwork`.

    Attributes:
        height, width, channels: of the images. n_codes: numbers of a code, as the encoder gives them. n_components: as
            the decoder takes them.
        filters: channels after each convolution, which halves height and width (rounded up); the decoder mirrors them.
        kernel_size: odd.
        hidden: widths of fully connected layers between the last convolution and the code; mirrored too.
        activation: after every layer but the code and the output; "identity" makes the network linear.
    """

    height: int
    width: int
    channels: int
    n_codes: int
    n_components: int
    filters: tuple[int, ...]
    kernel_size: int = 3
    hidden: tuple[int, ...] = ()
    activation: str = "relu"

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width before the first convolution and after each."""
        result = [(self.height, self.width)]
        for _ in self.filters:
            result.append((-(-result[-1][0] // STRIDE), -(-result[-1][1] // STRIDE)))
        return tuple(result)


class ConvolutionalNetwork(Network):
    """Encoder of strided convolutions, mirrored decoder (Masci et al., ICANN 2011; strides as in arXiv:1511.06434).

    Rows are images of height x width x channels numbers, channels last.
    """

    def __init__(self, config: ConvolutionalNetworkConfig, generator: torch.Generator) -> None:
        super().__init__(config.height * config.width * config.channels, config.n_codes)
        self.config = config
        channels, size = (config.channels, *config.filters), config.kernel_size
        self._inner = (channels[-1], *config.sizes[-1])
        convolutions: list[nn.Module] = []
        transposed: list[nn.Module] = []
        for (c_in, c_out), (before, _) in zip(pairwise(channels), pairwise(config.sizes), strict=True):
            convolutions.append(_unset(nn.Conv2d(c_in, c_out, size, STRIDE, size // 2, device="meta")))
            # An even size is twice its half, an odd one is one less than twice its half: this much is added.
            extra = (1 - before[0] % STRIDE, 1 - before[1] % STRIDE)
            back = nn.ConvTranspose2d(c_out, c_in, size, STRIDE, size // 2, extra, device="meta")
            transposed.insert(0, _unset(back))
        down = (prod(self._inner), *config.hidden, config.n_codes)
        up = (config.n_components, *reversed(config.hidden), prod(self._inner))
        to_code: list[nn.Module] = [_unset(nn.Linear(*widths, device="meta")) for widths in pairwise(down)]
        from_code: list[nn.Module] = [_unset(nn.Linear(*widths, device="meta")) for widths in pairwise(up)]
        name = config.activation
        self.encoder = nn.Sequential(*_spaced(convolutions, name, True), nn.Flatten(), *_spaced(to_code, name, False))
        self.decoder = nn.Sequential(
            *_spaced(from_code, name, bool(transposed)),
            nn.Unflatten(1, self._inner),
            *_spaced(transposed, name, False),
        )
        for layers, ends in ((convolutions, name), (to_code, "identity"), (from_code, name), (transposed, "identity")):
            for number, layer in enumerate(layers):
                initialise(layer, name if number < len(layers) - 1 else ends, generator)

    def encode(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n codes"]:
        """Return the raw codes of images."""
        images = x.reshape(-1, self.config.height, self.config.width, self.config.channels)
        result: Tensor = self.encoder(images.permute(0, 3, 1, 2))
        return result

    def decode(self, z: Float[Tensor, "n components"]) -> Float[Tensor, "n features"]:
        """Return means or logits of the pixels."""
        images: Tensor = self.decoder(z)
        return images.permute(0, 2, 3, 1).reshape(len(z), -1)

    def code_norms(self) -> Float[Tensor, " components"]:
        """Return the length of each component's weights into the decoder's first layer."""
        norms: Tensor = torch.linalg.vector_norm(self.decoder[0].get_parameter("weight"), dim=0)
        return norms


def _unset(layer: nn.Module) -> nn.Module:
    """Give memory to a layer made without: torch's own start would draw from the global generator."""
    return layer.to_empty(device="cpu")


def _spaced(layers: list[nn.Module], activation: str, after_last: bool) -> list[nn.Module]:
    """Put the activation between layers, and after the last if wanted."""
    result: list[nn.Module] = []
    for number, layer in enumerate(layers):
        result.append(layer)
        if (after_last or number < len(layers) - 1) and activation != "identity":
            result.append(activation_module(activation))
    return result
