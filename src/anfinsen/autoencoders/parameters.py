"""What parameters of estimators may be, said in one sentence where they are not."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np

from anfinsen.common.errors import ParameterError

from .likelihoods import LIKELIHOODS
from .networks import ACTIVATIONS
from .objectives import NOISES, PENALTIES


def check_choice(owner: object, name: str, choices: Collection[str | None]) -> None:
    """Check that a parameter is one of ``choices``.

    Raises:
        ParameterError: it is not.
    """
    value = getattr(owner, name)
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise _wrong(owner, name, value, "one of " + ", ".join(map(repr, choices)))


def check_whole(owner: object, name: str, least: int) -> None:
    """Check that a parameter is a whole number of at least ``least``.

    Raises:
        ParameterError: it is not.
    """
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise _wrong(owner, name, value, f"a whole number of at least {least}")


def check_number(
    owner: object, name: str, least: float = 0.0, most: float = math.inf, *, least_allowed: bool = True
) -> None:
    """Check that a parameter is a finite number from ``least`` (or above it) to ``most``.

    Raises:
        ParameterError: it is not.
    """
    value = getattr(owner, name)
    number = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    if not number or value < least or value > most or (value == least and not least_allowed):
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise _wrong(owner, name, value, f"a number {'of at least' if least_allowed else 'above'} {least:g}{upper}")


def check_flag(owner: object, name: str) -> None:
    """Check that a parameter is True or False.

    Raises:
        ParameterError: it is not.
    """
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong(owner, name, value, "True or False")


def check_widths(owner: object, name: str) -> tuple[int, ...]:
    """Return a parameter that is a list of positive whole numbers, as a tuple.

    Raises:
        ParameterError: it is not.
    """
    value = getattr(owner, name)
    items = [value] if isinstance(value, Integral) else value
    try:
        whole = [int(item) for item in items if isinstance(item, Integral) and int(item) > 0]
        if len(whole) == len(items):
            return tuple(whole)
    except TypeError:
        pass
    raise _wrong(owner, name, value, "positive whole numbers, such as (64, 32), or ()")


def check_noise(owner: Any) -> None:
    """Check the parameters of a denoising objective.

    Raises:
        ParameterError: one is not valid.
    """
    check_choice(owner, "noise", NOISES)
    check_number(owner, "noise_level", 0.0, math.inf if owner.noise == "gaussian" else 1.0)


def check_penalty(owner: Any) -> None:
    """Check the parameters of a sparse objective.

    Raises:
        ParameterError: one is not valid.
    """
    check_choice(owner, "penalty", PENALTIES)
    check_number(owner, "strength")
    check_number(owner, "sparsity", 1e-6, 1 - 1e-6)
    if owner.k is not None:
        check_whole(owner, "k", 1)


def check_common(owner: Any) -> None:
    """Check the parameters that all autoencoders share.

    Raises:
        ParameterError: one is not valid, or two do not go together.
    """
    check_whole(owner, "n_components", 1)
    check_choice(owner, "activation", ACTIVATIONS)
    check_choice(owner, "likelihood", LIKELIHOODS)
    check_choice(owner, "scale", ("auto", "standard", "minmax", None))
    check_choice(owner, "solver", ("adam", "lbfgs"))
    check_number(owner, "learning_rate", least_allowed=False)
    for name in ("tol", "weight_decay"):
        check_number(owner, name)
    for name in ("max_epochs", "n_epochs_no_change"):
        check_whole(owner, name, 1)
    if owner.batch_size != "auto":
        check_whole(owner, "batch_size", 1)
    check_number(owner, "validation_fraction", 0.0, 0.9, least_allowed=False)
    for name in ("early_stopping", "warm_start"):
        check_flag(owner, name)
    check_whole(owner, "verbose", 0)
    if owner.likelihood == "bernoulli" and owner.scale == "standard":
        raise ParameterError("A Bernoulli likelihood needs columns between 0 and 1: set scale='minmax' or 'auto'.")
    if owner.solver == "lbfgs" and owner.early_stopping:
        raise ParameterError("L-BFGS cannot stop early on validation rows: set solver='adam'.")


def _wrong(owner: object, name: str, value: Any, expected: str) -> ParameterError:
    return ParameterError(f"The {name!r} parameter of {type(owner).__name__} is {value!r}: expected {expected}.")
