"""Softmax, one neuron, and a multi-layer perceptron that learns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..slicing import Slice
from ..slots import Names
from ..trace import capture, step, trace_function
from .entry import Entry, Losses, Network, Recorded, Sources, descent

TEMPERATURES = (0.5, 1.0, 4.0)
GATE = "trunk_module.blocks.0.pair.outgoing.gate"
TARGET_BIN = 45  # of pLDDT's 50: an lDDT of 90 to 92
BINS = 64  # of the distogram, 2 to 22 Å


def _softmax(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    with step("divide by the temperature"):
        scaled = inputs["logits"] / inputs["temperature"][:, None]
    probabilities = torch.softmax(scaled, dim=-1)
    with step("entropy, nats"):
        entropy = -(probabilities * torch.log(probabilities)).sum(-1)
    return {"probabilities": probabilities, "entropy": entropy}


def _record_softmax(logits: Tensor, members: tuple[str, ...], about: str) -> Recorded:
    inputs = {"logits": logits, "temperature": torch.tensor(TEMPERATURES)}
    names = Names({"channel": members, "sample": tuple(f"T = {value:g}" for value in TEMPERATURES)})
    return Recorded(
        trace_function(_softmax, inputs, axes={"logits": "c", "temperature": "b"}, names=names), about=about
    )


def _small_softmax(losses: Losses) -> Recorded:
    return _record_softmax(torch.tensor([3.0, 2, 1, 0, -1]), ("A", "B", "C", "D", "E"), "small whole numbers")


def _model_softmax(sources: Sources) -> Recorded:
    network = sources.network("alphafold3")
    with torch.no_grad():
        logits = network.run("distogram")
    assert isinstance(logits, Tensor)
    # Two residues that lie near each other in the fold, far apart in the sequence.
    far = torch.triu(torch.ones_like(logits[..., 0]), 12).bool()
    near = (torch.softmax(logits, -1)[..., : BINS * 6 // 20].sum(-1) * far).flatten().argmax()
    i, j = divmod(int(near), logits.shape[1])
    width = 20 / BINS
    bins = tuple(f"{2 + width * (n + 0.5):.1f} Å" for n in range(BINS))
    pair = f"{network.tokens[i]} and {network.tokens[j]}"
    return _record_softmax(logits[i, j], bins, f"{network.name}, distance of {pair}")


def _neuron(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    with step("weighted sum"):
        total = inputs["x"] @ weights["w"] + weights["b"]
    with step("activation"):
        y = torch.sigmoid(total)
    with step("loss: half the squared error"):
        loss = 0.5 * (y - inputs["target"]) ** 2
    return {"y": y, "loss": loss, **descent(loss, weights, inputs["rate"])}


def _record_neuron(x: Tensor, w: Tensor, target: float, about: str) -> Recorded:
    inputs = {"x": x, "target": torch.tensor(target), "rate": torch.tensor(1.0)}
    weights = {"w": w, "b": torch.tensor(0.0)}
    return Recorded(trace_function(_neuron, inputs, weights, axes={"x": "c", "w": "c"}), about=about)


def _small_neuron(losses: Losses) -> Recorded:
    return _record_neuron(torch.tensor([2.0, -1, 3]), torch.tensor([1.0, 2, -1]), 1.0, "small whole numbers")


def _model_neuron(sources: Sources) -> Recorded:
    network = sources.network("alphafold3")
    (edges,) = capture(network.model, lambda: network.run(GATE), GATE).args
    weight = network.model.get_submodule(GATE).get_parameter("weight")
    about = f"{network.name}, one gate of a triangle multiplication, {network.tokens[0]} and {network.tokens[1]}"
    return _record_neuron(edges[0, 1], weight[0].detach(), 1.0, about)


def _perceptron(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    with step("hidden layer"):
        hidden = torch.relu(F.linear(inputs["x"], weights["W1"], weights["b1"]))
    with step("output layer"):
        y = F.linear(hidden, weights["W2"], weights["b2"])
    with step("loss: mean squared error"):
        loss = (y - inputs["target"]).square().mean()
    return {"y": y, "loss": loss, **descent(loss, weights, inputs["rate"])}


def _small_perceptron(losses: Losses) -> Recorded:
    inputs = {
        "x": torch.tensor([[1.0, 2], [-1, 1], [2, -1]]),
        "target": torch.tensor([[1.0], [0], [2]]),
        "rate": torch.tensor(0.1),
    }
    weights = {
        "W1": torch.tensor([[1.0, -1], [2, 1], [0, 1]]),
        "b1": torch.tensor([0.0, -1, 1]),
        "W2": torch.tensor([[1.0, -1, 2]]),
        "b2": torch.tensor([1.0]),
    }
    axes = {"x": "b c", "target": "b c", "W1": "c d", "b1": "c", "W2": "c d", "b2": "c"}
    return Recorded(trace_function(_perceptron, inputs, weights, axes=axes))


def _plddt(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    single, trained = inputs["single"], weights
    normal = F.layer_norm(single, single.shape[-1:], trained["norm.weight"], trained["norm.bias"])
    with step("first layer"):
        hidden = torch.relu(F.linear(normal, trained["first.weight"], trained["first.bias"]))
    with step("second layer"):
        hidden = torch.relu(F.linear(hidden, trained["second.weight"], trained["second.bias"]))
    with step("logits"):
        logits = F.linear(hidden, trained["logits.weight"], trained["logits.bias"])
    with step("loss: cross-entropy"):
        loss = -(inputs["target"] * torch.log_softmax(logits, dim=-1)).sum(-1).mean()
    learnt = descent(loss, trained, inputs["rate"], lambda name: name.startswith("logits"))
    return {"logits": logits, "loss": loss, **learnt}


def plddt_inputs(network: Network) -> tuple[nn.Module, Tensor]:
    """Return the pLDDT head and what it reads of the first two residues."""
    (single,) = capture(network.model, lambda: network.run("heads.plddt"), "heads.plddt").args
    return network.model.get_submodule("heads.plddt"), single[:2]


def _model_perceptron(sources: Sources) -> Recorded:
    network = sources.network("alphafold2")
    head, single = plddt_inputs(network)
    weights = {name: parameter.detach() for name, parameter in head.named_parameters()}
    target = torch.zeros(len(single), weights["logits.bias"].shape[0])
    target[:, TARGET_BIN] = 1
    axes = {"single": "n c", "target": "n c", **{name: "c d" if w.dim() == 2 else "c" for name, w in weights.items()}}
    inputs = {"single": single, "target": target, "rate": torch.tensor(0.01)}
    names = Names({"token": network.tokens})
    recorded = trace_function(_plddt, inputs, weights, axes=axes, names=names)
    return Recorded(recorded, Slice(), f"{network.name}, the head that predicts lDDT")


BASICS = (
    Entry(
        "softmax",
        "Softmax and temperature",
        "Logits become probabilities: exponentials over their sum. Divided by a low temperature first, nearly all of "
        "the probability goes to the largest; by a high one, all become alike, and the entropy grows.",
        "Bridle 1990; Hinton et al. 2015, equation 1",
        _small_softmax,
        _model_softmax,
    ),
    Entry(
        "neuron",
        "One neuron learns",
        "A weighted sum, a sigmoid, and a loss; then the chain rule back to every weight, and one step of gradient "
        "descent. The gradients are formulas too: change the target and see where each weight would go.",
        "Rumelhart, Hinton and Williams 1986",
        _small_neuron,
        _model_neuron,
    ),
    Entry(
        "mlp",
        "A multi-layer perceptron with backpropagation",
        "Layers of rectified neurons forwards, the loss, and the gradients of all weights backwards, each from the "
        "layer above it; then one step of stochastic gradient descent.",
        "Rumelhart, Hinton and Williams 1986; of the model: Jumper et al. 2021, Algorithm 29",
        _small_perceptron,
        _model_perceptron,
    ),
)
