"""Cubic splines through evenly spaced knots, one curve per row, evaluated at many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Splines:
    """``P`` curves that share their knots.

    Attributes:
        coefficients: of 1, u, u², u³ in each segment, where u runs from 0 to 1.
        first: place of the first knot. spacing: between knots.
        periodic: whether the curve goes on at its first knot after its last one.
        flat_from: the curve is constant from here on (its value at this place); None: never.
    """

    coefficients: Float[Tensor, "P segments 4"]
    first: float
    spacing: float
    periodic: bool = False
    flat_from: float | None = None

    def __call__(self, x: Float[Tensor, "R P"]) -> Float[Tensor, "R P"]:
        """Return the value of each curve at its own place, with gradient.

        Beyond its knots a curve that is not periodic goes on as a straight line.
        """
        segments = self.coefficients.shape[1]
        if self.flat_from is not None:
            x = x.clamp(max=self.flat_from)
        place = (x - self.first) / self.spacing
        if self.periodic:
            place = torch.remainder(place, segments)
        segment = place.detach().floor().clamp(0, segments - 1)
        u = place - segment
        row = torch.arange(x.shape[1], device=x.device) * segments
        c = self.coefficients.reshape(-1, 4)[(segment.long() + row).flatten()].reshape(*x.shape, 4)
        if self.periodic:
            return _cubic(c, u)
        inside = u.clamp(0, 1)
        slope = c[..., 1] + inside * (2 * c[..., 2] + 3 * inside * c[..., 3])
        # Outside the knots the slope is that of the end; inside, the second term is 0.
        return _cubic(c, inside) + slope.detach() * (u - inside)


def natural_splines(
    values: Float[Tensor, "P knots"], first: float, spacing: float, flat_from: float | None = None
) -> Splines:
    """Return splines through ``values`` whose second derivative vanishes at the first and last knot."""
    knots = values.shape[1]
    second = torch.zeros_like(values)
    if knots > 2:
        # M_{k-1} + 4 M_k + M_{k+1} = 6 Δ²y_k for the second derivatives M (in units of the spacing).
        size = knots - 2
        ones = torch.ones(size - 1, dtype=torch.float64)
        system = 4 * torch.eye(size, dtype=torch.float64) + torch.diag(ones, 1) + torch.diag(ones, -1)
        right = 6 * torch.diff(values.double(), n=2, dim=1)
        inverse = torch.linalg.inv(system).to(right.device)
        second[:, 1:-1] = (right @ inverse).to(values.dtype)
    return Splines(_coefficients(values, second), first, spacing, flat_from=flat_from)


def periodic_splines(values: Float[Tensor, "P knots"], first: float, period: float) -> Splines:
    """Return smooth splines through ``values`` at ``first + k · period / knots``, going round."""
    knots = values.shape[1]
    y = values.double()
    right = 6 * (y.roll(1, dims=1) - 2 * y + y.roll(-1, dims=1))
    # The same equations as above, but circulant: solved exactly in Fourier space.
    symbol = 4 + 2 * torch.cos(2 * torch.pi * torch.arange(knots // 2 + 1, dtype=torch.float64) / knots)
    second = torch.fft.irfft(torch.fft.rfft(right, dim=1) / symbol.to(right.device), n=knots, dim=1).to(values.dtype)
    closed = [torch.cat([part, part[:, :1]], dim=1) for part in (values, second)]
    return Splines(_coefficients(*closed), first, period / knots, periodic=True)


def _coefficients(y: Float[Tensor, "P knots"], second: Float[Tensor, "P knots"]) -> Float[Tensor, "P segments 4"]:
    left, right = second[:, :-1], second[:, 1:]
    slope = y[:, 1:] - y[:, :-1] - (2 * left + right) / 6
    return torch.stack([y[:, :-1], slope, left / 2, (right - left) / 6], dim=-1).contiguous()


def _cubic(c: Float[Tensor, "*shape 4"], u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    value: Tensor = c[..., 0] + u * (c[..., 1] + u * (c[..., 2] + u * c[..., 3]))
    return value
