"""`infer_couplings`: an alignment's couplings, and how strongly each pair of columns is coupled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil
import torch
from jaxtyping import Float, Float32, Int8
from torch import Tensor

from ...chemistry.structure import ChainKind
from ...common.device import choose_device
from ...common.errors import MemoryLimitError, NonFiniteError
from ...common.progress import Progress, Silent
from ..msa import Msa
from .config import CouplingConfig, Method, PottsConfig
from .kernels import CodedRows, coded_rows
from .lbfgs import Curvature, Parameters, minimise
from .mean_field import mean_field_couplings
from .potts import PseudoLikelihood
from .sample import MISSING, Sample, draw_sample
from .scores import average_product_correction, frobenius_norms, varying_columns, z_scores, zero_sum_

_MEMORY_SHARE = 0.9  # of what is free; the rest is for others


@dataclass(frozen=True)
class Couplings:
    """How strongly the L columns of an alignment are coupled.

    Attributes:
        scores: corrected norms, higher is stronger; symmetric, 0 on the diagonal. Scales differ between methods.
        norms: Frobenius norms in zero-sum gauge, before the average-product correction.
        fields: h, L x q, zero-sum; None for mean-field DCA, which does not give them.
        couplings: J_ij(a, b) in zero-sum gauge, i and a first; None unless they were asked for.
        letters: one-letter names of the q states; "-" is the gap.
        depth: rows of the alignment. rows: those that were fitted. effective_depth: sum of their weights.
        method: that they were inferred with. iterations: steps of the fit, 0 for mean-field DCA. converged: whether
            they were enough.
    """

    scores: Float32[np.ndarray, "L L"]
    norms: Float32[np.ndarray, "L L"]
    fields: Float32[np.ndarray, "L q"] | None
    couplings: Float32[np.ndarray, "L q L q"] | None
    letters: str
    depth: int
    rows: int
    effective_depth: float
    method: Method
    iterations: int
    converged: bool

    def z_scores(self) -> Float32[np.ndarray, "L L"]:
        """Return the scores in robust standard deviations above the usual one, comparable between alignments."""
        return z_scores(self.scores, varying_columns(self.norms))


@dataclass(frozen=True)
class _Fit:
    fields: Float[Tensor, "L q"] | None
    couplings: Float[Tensor, "D D"]
    iterations: int
    converged: bool


_LETTERS = {20: "ARNDCQEGHILKMFPSTWYV", 4: "AGCU"}


def infer_couplings(
    msa: Msa,
    config: CouplingConfig | None = None,
    kind: ChainKind = ChainKind.PROTEIN,
    *,
    device: str = "auto",
    keep: bool = False,
    where: str = "The alignment",
    progress: Progress | None = None,
) -> Couplings:
    """Return the couplings of an alignment of a protein (or of RNA or DNA).

    Args:
        msa: row 0 is the query.
        config: method and settings; the defaults if None.
        kind: of the chain.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        keep: also return the couplings themselves, 4 (L q)^2 bytes.
        where: what the alignment is called in messages.
        progress: told the steps of the fit.

    Raises:
        AlignmentError: too few rows or columns, or no kind that has couplings.
        ConfigError: the device is unknown or not there.
        MemoryLimitError: the couplings do not fit into memory.
        NonFiniteError: the fit produced NaN or infinity.
    """
    config, progress = config or CouplingConfig(), progress or Silent()
    chosen = choose_device(device)
    if chosen.type == "mps" and config.method == "mean-field":
        chosen = torch.device("cpu")  # not all that an inverse takes is there on Apple's GPUs
    sample = draw_sample(msa, kind, config.rows, where)
    letters = _LETTERS[sample.n_states] if kind is not ChainKind.DNA else "AGCT"
    states, q = _with_gap_state(sample) if _gap_counts(config) else (sample.states, sample.n_states)
    _check_memory(states.shape[1] * q, config, chosen, where)
    rows = coded_rows(torch.from_numpy(states).to(chosen), q)
    weights = torch.from_numpy(sample.weights).float().to(chosen)
    fit = (
        _fit_potts(rows, weights, config.potts, progress)
        if config.method == "potts"
        else _mean_field(rows, weights, config)
    )
    zero_sum_(fit.couplings, q)
    norms = frobenius_norms(fit.couplings, q, sample.n_states)
    if not np.isfinite(norms).all():
        raise NonFiniteError(f"{where}: the couplings are not finite; raise the penalties or the shrinkage.")
    length = len(norms)
    return Couplings(
        scores=average_product_correction(norms),
        norms=norms,
        fields=None if fit.fields is None else (fit.fields - fit.fields.mean(1, keepdim=True)).cpu().numpy(),
        couplings=fit.couplings.view(length, q, length, q).cpu().numpy() if keep else None,
        letters=letters + "-" * (q - len(letters)),
        depth=sample.depth,
        rows=len(sample.states),
        effective_depth=sample.effective_depth,
        method=config.method,
        iterations=fit.iterations,
        converged=fit.converged,
    )


def _gap_counts(config: CouplingConfig) -> bool:
    return config.method == "potts" and config.gap == "state"


def _with_gap_state(sample: Sample) -> tuple[Int8[np.ndarray, "n L"], int]:
    gap = sample.n_states
    return np.where(sample.states == MISSING, np.int8(gap), sample.states).astype(np.int8), gap + 1


def _fit_potts(rows: CodedRows, weights: Float[Tensor, "N"], config: PottsConfig, progress: Progress) -> _Fit:
    """Start from the columns' own frequencies and no couplings, and go downhill."""
    length, q = rows.states.shape[1], rows.n_states
    depth = float(weights.sum())
    counts = torch.stack([weights @ rows.one_hot(i, i + 1, weights.dtype) for i in range(length)])
    frequencies = (counts + 1.0) / (counts.sum(1, keepdim=True) + q)  # one of each: no logarithm of 0
    fields = frequencies.log()
    fields -= fields.mean(1, keepdim=True)
    objective = PseudoLikelihood(
        rows,
        weights,
        centre=counts.flatten() / depth,
        field_penalty=config.field_penalty,
        coupling_penalty=config.coupling_penalty * (length - 1),
    )
    # Second derivatives of the independent model; for a coupling, with both letters as common as in a mixture of all.
    curvature = Curvature(
        2 * config.field_penalty + depth * frequencies * (1 - frequencies),
        objective.coupling_penalty + depth / q**2,
    )
    point = Parameters(fields, fields.new_zeros(length * q, length * q))
    progress.stage("Fitting couplings", config.iterations)

    minimum = minimise(
        objective,
        point,
        curvature,
        iterations=config.iterations,
        tolerance=config.tolerance,
        history=config.history,
        on_step=lambda _: progress.advance(),
    )
    fields = point.fields - (objective.centre @ point.couplings).view(length, q)
    # In the zero-sum gauge the fields take over each letter's mean coupling to the columns, where these have a letter.
    present = objective.centre.view(length, q).sum(1)
    fields += point.couplings.view(length, q, length, q).mean(3) @ present
    return _Fit(fields, point.couplings, len(minimum.trace) - 1, minimum.converged)


def _mean_field(rows: CodedRows, weights: Float[Tensor, "N"], config: CouplingConfig) -> _Fit:
    return _Fit(None, mean_field_couplings(rows, weights, config.mean_field), 0, True)


def needed_bytes(size: int, config: CouplingConfig) -> int:
    """Return about how many bytes the couplings of ``size`` = L q states take while they are inferred."""
    # Point, two gradients, direction and the history; or covariance, factor and inverse.
    copies = 5 + 2 * config.potts.history if config.method == "potts" else 3
    return copies * 4 * size**2


def free_bytes(device: torch.device) -> int:
    """Return how many bytes of memory are free where couplings are inferred."""
    return int(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available)


def _check_memory(size: int, config: CouplingConfig, device: torch.device, where: str) -> None:
    needed = needed_bytes(size, config)
    free = free_bytes(device)
    if needed > _MEMORY_SHARE * free:
        advice = "use --method mean-field, which takes a quarter, or" if config.method == "potts" else ""
        raise MemoryLimitError(
            f"{where} needs about {needed / 2**30:.1f} GiB for its couplings and {free / 2**30:.1f} GiB are free: "
            f"{advice} cut the alignment into domains.".replace("  ", " ")
        )
