"""In-painting: sampling what is missing, given the rest."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .samplers import Denoise


def inpainting_denoiser(denoise: Denoise, known: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Denoise:
    """Return a denoiser that answers the known values where they are known.

    A sampler that starts from noise then carries, in the known region, the known values under the noise of each level,
    and the network fits the rest to them. With churn (``edm_stochastic_sampler``) each step first goes up again under
    fresh noise, which harmonises both parts as RePaint's resampling does. Where levels end at 0 and steps are not
    lengthened, the known values come out as they went in, up to rounding.

    Args:
        denoise: D(x, sigma).
        known: data; its values outside of the mask are not looked at.
        mask: True where ``known`` is to be kept.

    Source: Lugmayr et al. 2022 (RePaint), equation 8, written for x = x0 + sigma * noise.
    """

    def answer(x: Float[Tensor, "*shape"], sigma: Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
        return torch.where(mask, known.to(x.dtype), denoise(x, sigma))

    return answer
