"""What the user chooses about couplings; each number's one home."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ...common.errors import ConfigError

Method = Literal["potts", "mean-field"]
Gap = Literal["missing", "state"]


@dataclass(frozen=True)
class RowConfig:
    """Which rows of an alignment count, and how much.

    Attributes:
        identity: rows at least this alike share one vote (0 to 1; Ekeberg et al. 2013 use 0.8).
        min_coverage: rows with residues in less than this share of the columns are left out (0 to 1).
        max_rows: most rows that are fitted; where an alignment has more, a diverse subset of them is taken.
        max_compared: most rows that are compared with one another to find that subset: rows spread evenly over the
            alignment. Comparing takes time with the square of it.
    """

    identity: float = 0.8
    min_coverage: float = 0.5
    max_rows: int = 4096
    max_compared: int = 16384

    def __post_init__(self) -> None:
        _number("identity", self.identity, 0.0, 1.0)
        _number("min_coverage", self.min_coverage, 0.0, 1.0)
        _whole("max_rows", self.max_rows, 2)
        _whole("max_compared", self.max_compared, 2)


@dataclass(frozen=True)
class PottsConfig:
    """The pseudo-likelihood model and its fit.

    Attributes:
        coupling_penalty: L2 penalty of every coupling, per column besides its own (CCMpred, Seemayer et al. 2014,
            multiplies it with L - 1 too).
        field_penalty: L2 penalty of every field.
        iterations: most steps of L-BFGS.
        tolerance: the fit has converged when the objective falls by less than this share in a step.
        history: pairs of vectors that L-BFGS remembers; each takes memory as large as all couplings, twice.
    """

    coupling_penalty: float = 0.2
    field_penalty: float = 0.01
    iterations: int = 60
    tolerance: float = 1e-4
    history: int = 4

    def __post_init__(self) -> None:
        _number("coupling_penalty", self.coupling_penalty, 1e-6, 1e6)
        _number("field_penalty", self.field_penalty, 1e-6, 1e6)
        _whole("iterations", self.iterations, 1)
        _number("tolerance", self.tolerance, 0.0, 1.0)
        _whole("history", self.history, 1)


@dataclass(frozen=True)
class MeanFieldConfig:
    """Mean-field DCA: couplings are the negative inverse of a covariance that is made invertible.

    Attributes:
        pseudocount: share of the uniform distribution mixed into the frequencies (Morcos et al. 2011: 0.5).
        shrinkage: added to the diagonal of the covariance, divided by the square root of the effective depth.
    """

    pseudocount: float = 0.0
    shrinkage: float = 4.5

    def __post_init__(self) -> None:
        _number("pseudocount", self.pseudocount, 0.0, 1.0)
        _number("shrinkage", self.shrinkage, 0.0, 1e6)
        if self.pseudocount == 0 and self.shrinkage == 0:
            raise ConfigError(
                "Settings 'pseudocount' and 'shrinkage' are both 0: give one a larger value, or the covariance of the "
                "columns cannot be inverted."
            )


@dataclass(frozen=True)
class CouplingConfig:
    """How couplings are inferred.

    Attributes:
        method: a Potts model fitted by pseudo-likelihood, or mean-field DCA (quicker, less precise).
        gap: whether a gap says nothing ("missing"), or is one more state of a column ("state"); mean-field DCA takes it
            as the state whose couplings are 0 in either case.
    """

    method: Method = "potts"
    gap: Gap = "missing"
    rows: RowConfig = field(default_factory=RowConfig)
    potts: PottsConfig = field(default_factory=PottsConfig)
    mean_field: MeanFieldConfig = field(default_factory=MeanFieldConfig)

    def __post_init__(self) -> None:
        _choice("method", self.method, get_args(Method))
        _choice("gap", self.gap, get_args(Gap))


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"Option {name!r} is {value!r}: expected {' or '.join(allowed)}.")


def _number(name: str, value: Any, least: float, most: float) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not right or not least <= value <= most:
        raise ConfigError(f"Option {name!r} is {value!r}: expected a number from {least:g} to {most:g}.")


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"Option {name!r} is {value!r}: expected a whole number, {least} or more.")
