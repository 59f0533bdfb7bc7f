"""What an entry of the gallery is, what its makers need from the rooms below, and helpers that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.alignments import Msa
from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import Frames
from anfinsen.images.dalle2 import Decoder

from ..slicing import Slice
from ..slots import Names
from ..trace import Trace, step, trace, trace_module

TOKENS = ("M1", "K2", "V3", "L4")  # of small entries: a peptide that is nobody's


@dataclass(frozen=True)
class Losses:
    """Loss functions as models are trained with them; handed in, since rooms of this row do not import each other.

    Attributes:
        fape: (predicted frames, predicted points, true frames, true points) → frame aligned point error.
        contrastive: (image embeddings, text embeddings, scale) → CLIP's loss.
    """

    fape: Callable[[Frames, Tensor, Frames, Tensor], Tensor]
    contrastive: Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """A trained network that is ready to run on the example.

    Attributes:
        name: of the weights. model: the network. run: runs the parts of it that module ``path`` needs; returns what
            they give. tokens: names of the residues.
    """

    name: str
    model: nn.Module
    run: Callable[[str], object]
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """Pictures and captions as CLIP sees them.

    Attributes:
        name: of the weights. images, texts: unit embeddings, a row a pair. scale: inverse temperature.
        captions: the words.
    """

    name: str
    images: Float[Tensor, "n c"]
    texts: Float[Tensor, "n c"]
    scale: Float[Tensor, ""]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class PictureDecoder:
    """DALL·E 2's decoder with a picture and its embedding.

    Attributes:
        name: of the weights. model: the decoder. picture: in [-1, 1]. embedding: CLIP's, of unit length.
    """

    name: str
    model: Decoder
    picture: Float[Tensor, "1 3 size size"]
    embedding: Float[Tensor, "1 c"]


@runtime_checkable
class Sources(Protocol):
    """Trained networks on one example; each is loaded when it is first asked for."""

    @property
    def losses(self) -> Losses:
        """The loss functions."""

    def network(self, family: str) -> Network:
        """Return "alphafold1", "alphafold2" or "alphafold3"."""

    def alignment(self) -> Msa:
        """Return the alignment of the example's first chain."""

    def pairs(self) -> Pairs:
        """Return some pictures and captions as CLIP sees them."""

    def decoder(self) -> PictureDecoder:
        """Return DALL·E 2's decoder with a picture."""


@dataclass(frozen=True)
class Recorded:
    """A trace, and the part of it that the gallery shows; ``about``: whose numbers these are."""

    trace: Trace
    wanted: Slice = field(default_factory=Slice)
    about: str = "small whole numbers"


@dataclass(frozen=True)
class Entry:
    """One computation, twice.

    Attributes:
        name: of the files. title: of the workbook. shows: what one sees. reference: paper and algorithm.
        small: makes it on small whole numbers. model: makes it on a trained model's numbers.
    """

    name: str
    title: str
    shows: str
    reference: str
    small: Callable[[Losses], Recorded]
    model: Callable[[Sources], Recorded]


def whole_numbers(module: nn.Module, label: str) -> nn.Module:
    """Return ``module`` with every weight a whole number from -2 to 2; norms keep their scale of 1 and offset of 0."""
    generator = torch_generator(0, "gallery", label)
    plain = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
    with torch.no_grad():
        for owner in module.modules():
            for parameter in owner.parameters(recurse=False):
                if not isinstance(owner, plain):
                    parameter.copy_(torch.randint(-2, 3, parameter.shape, generator=generator))
    return module


def whole(label: str, *shape: int, low: int = -3, high: int = 3) -> Tensor:
    """Return whole numbers from ``low`` to ``high``, always the same for the same ``label``."""
    generator = torch_generator(0, "gallery", label)
    return torch.randint(low, high + 1, shape, generator=generator).to(torch.float64)


def small_block(module: nn.Module, args: tuple[object, ...], tokens: int, wanted: Slice | None = None) -> Recorded:
    """Record a block of whole-number weights on whole-number inputs of so many tokens."""
    module = whole_numbers(module, type(module).__name__)
    recorded = trace_module(module, args, names=Names({"token": TOKENS[:tokens]}))
    return Recorded(recorded, wanted or Slice())


def model_block(network: Network, block: str, wanted: Slice, call: int = -1) -> Recorded:
    """Record a block of a trained network while it runs on the example."""
    recorded = trace(
        network.model, lambda: network.run(block), block=block, call=call, names=Names({"token": network.tokens})
    )
    return Recorded(recorded, wanted, network.name)


def everyone(*shape: int) -> Tensor:
    """Return a mask that leaves nothing out."""
    return torch.ones(shape, dtype=torch.bool)


def descent(
    loss: Tensor, weights: Mapping[str, Tensor], rate: Tensor, stepped: Callable[[str], bool] = lambda name: True
) -> dict[str, Tensor]:
    """Return the gradient of ``loss`` by every weight, and those ``stepped`` after one step of gradient descent."""
    gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    results = {f"gradient of {name}": gradient for name, gradient in gradients.items()}
    with step("one step of gradient descent"):
        for name, weight in weights.items():
            if stepped(name):
                results[f"{name} after one step"] = weight - rate * gradients[name]
    return results
