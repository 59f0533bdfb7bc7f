"""A Potts model: letters of an alignment's columns, coupled."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anfinsen.alignments import Msa
from anfinsen.alignments.couplings import CouplingConfig, infer_couplings

from ..slots import Names
from ..trace import Function, step, trace_function
from .entry import Entry, Losses, Recorded, Sources

COLUMNS = 3
LEAST_SEPARATION = 6
LETTERS = "ARNDCQEGHILKMFPSTWYV"  # in the order of residue types


def _potts(length: int, letters: int) -> Function:
    """Pseudo-likelihood of a sequence, its gradient, and the coupling scores, of some columns out of ``length``."""

    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        x, h, j = inputs["x"], weights["h"], weights["J"]
        n, q = x.shape
        with step("energy of each letter, given the others"):
            energies = h + torch.matmul(j.reshape(n * q, n * q), x.reshape(n * q)).reshape(n, q)
        with step("probability of each letter, given the others"):
            logs = torch.log_softmax(energies, dim=-1)
            probabilities = torch.exp(logs)
        with step("minus the logarithm of the pseudo-likelihood"):
            loss = -(x * logs).sum()
        by_h, by_j = torch.autograd.grad(loss, [h, j])
        with step("zero-sum gauge"):
            over_a = j.mean(1, keepdim=True)
            gauged = j - over_a
            gauged = gauged - gauged.mean(3, keepdim=True)
        with step("Frobenius norms"):
            norms = gauged[:, :letters, :, :letters].square().sum((1, 3)).sqrt()
        with step("average product correction"):
            means = (norms.sum(1) + inputs["norms with other columns"]) / (length - 1)
            overall = inputs["mean norm"] if "mean norm" in inputs else means.mean()
            corrected = (norms - means[:, None] * means[None, :] / overall) * (1 - torch.eye(n, dtype=x.dtype))
        return {
            "probabilities": probabilities,
            "loss": loss,
            "gradient of h": by_h,
            "gradient of J": by_j,
            "scores": corrected,
        }

    return function


def _record(
    inputs: dict[str, Tensor],
    weights: dict[str, Tensor],
    length: int,
    letters: str,
    columns: tuple[str, ...],
    about: str,
) -> Recorded:
    names = Names({"token": columns, "channel": tuple(letters)})
    axes = {"x": "n c", "h": "n c", "J": "n c n c", "norms with other columns": "n"}
    known = len(letters.rstrip("-"))
    recorded = trace_function(_potts(length, known), inputs, weights, axes=axes, names=names)
    return Recorded(recorded, about=about)


def small_couplings() -> tuple[Tensor, Tensor, Tensor]:
    """Return letters, fields and couplings of three columns of two letters."""
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    h = torch.tensor([[1.0, -1], [0, 0], [1, 0]])
    j = torch.zeros(COLUMNS, 2, COLUMNS, 2)
    j[0, :, 1] = torch.tensor([[2.0, -1], [0, 1]])
    j[0, :, 2] = torch.tensor([[0.0, 1], [1, 0]])
    j[1, :, 2] = torch.tensor([[-1.0, 3], [2, 0]])
    return x, h, j + j.permute(2, 3, 0, 1)


def _small(losses: Losses) -> Recorded:
    x, h, j = small_couplings()
    inputs = {"x": x, "norms with other columns": torch.zeros(COLUMNS)}
    return _record(inputs, {"h": h, "J": j}, COLUMNS, "AB", ("1", "2", "3"), "small whole numbers")


def _model(sources: Sources) -> Recorded:
    msa = sources.alignment()
    found = infer_couplings(msa, CouplingConfig(), device="cpu", keep=True)
    if found.fields is None or found.couplings is None:
        raise RuntimeError("Couplings were asked for with fields, and came without.")
    # The two columns that are coupled most, and the one that is coupled most with them.
    far = np.triu(found.scores, LEAST_SEPARATION)
    i, j = np.unravel_index(int(far.argmax()), far.shape)
    with_both = found.scores[i] + found.scores[j]
    with_both[[i, j]] = -np.inf
    columns = sorted((int(i), int(j), int(with_both.argmax())))
    others = [column for column in range(len(found.scores)) if column not in columns]
    row = np.array([found.letters.find(letter) for letter in _query(msa)])
    fields = found.fields[columns] + found.couplings[columns][:, :, others, row[others]].sum(-1)
    x = np.eye(len(found.letters))[row[columns]]
    length = len(found.norms)
    inputs = {
        "x": torch.from_numpy(x),
        "norms with other columns": torch.from_numpy(found.norms[np.ix_(columns, others)].sum(1)),
        "mean norm": torch.tensor(float(found.norms.sum(dtype=np.float64)) / length / (length - 1)),
    }
    weights = {
        "h": torch.from_numpy(fields),
        "J": torch.from_numpy(found.couplings[np.ix_(columns, range(x.shape[1]), columns, range(x.shape[1]))]),
    }
    names = tuple(f"{_query(msa)[column]}{column + 1}" for column in columns)
    return _record(inputs, weights, length, found.letters, names, "a Potts model of the example's alignment")


def _query(msa: Msa) -> str:
    """Return the letters of an alignment's first row, "-" for what is no amino acid."""
    return "".join(LETTERS[code] if code < len(LETTERS) else "-" for code in msa.restypes[0].tolist())


COUPLINGS = (
    Entry(
        "potts_coupling",
        "A Potts model's couplings",
        "Each column's letter has a probability given all others': a field of its own and a coupling with every "
        "other column's letter. The pseudo-likelihood of a sequence, its gradient by every field and coupling, and "
        "from the couplings the score of each pair of columns: zero-sum gauge, norm, average product correction.",
        "Ekeberg et al. 2013; Kamisetty et al. 2013; Dunn et al. 2008",
        _small,
        _model,
    ),
)
