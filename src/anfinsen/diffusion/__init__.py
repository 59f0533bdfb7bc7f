"""The one diffusion core: noise levels, preconditioning, training noise, samplers, guidance, inversion, in-painting.

It knows no network, no molecule and no image.
"""

from .guidance import GuidanceConfig, classifier_free_guidance
from .inpainting import inpainting_denoiser
from .inversion import invert
from .noise import (
    SIGMA_DATA,
    Final,
    alphafold3_sigmas,
    cosine_alphas_bar,
    cosine_sigmas,
    edm_sigmas,
    linear_alphas_bar,
    linear_sigmas,
    power_sigmas,
    sigmas_from_alphas_bar,
)
from .preconditioning import (
    EdmPreconditioning,
    Network,
    Preconditioning,
    VariancePreserving,
    apply_preconditioning,
    as_denoiser,
    training_target,
)
from .samplers import (
    ALPHAFOLD3_SAMPLER,
    ANCESTRAL_SAMPLER,
    EULER_SAMPLER,
    HEUN_SAMPLER,
    BeforeStep,
    Churn,
    Denoise,
    SamplerConfig,
    ddim_sampler,
    edm_stochastic_sampler,
    sample,
)
from .training_noise import CosineNoise, DiscreteNoise, LogNormalNoise, TrainingNoise, UniformPowerNoise

__all__ = [
    "ALPHAFOLD3_SAMPLER",
    "ANCESTRAL_SAMPLER",
    "EULER_SAMPLER",
    "HEUN_SAMPLER",
    "SIGMA_DATA",
    "BeforeStep",
    "Churn",
    "CosineNoise",
    "Denoise",
    "DiscreteNoise",
    "EdmPreconditioning",
    "Final",
    "GuidanceConfig",
    "LogNormalNoise",
    "Network",
    "Preconditioning",
    "SamplerConfig",
    "TrainingNoise",
    "UniformPowerNoise",
    "VariancePreserving",
    "alphafold3_sigmas",
    "apply_preconditioning",
    "as_denoiser",
    "classifier_free_guidance",
    "cosine_alphas_bar",
    "cosine_sigmas",
    "ddim_sampler",
    "edm_sigmas",
    "edm_stochastic_sampler",
    "inpainting_denoiser",
    "invert",
    "linear_alphas_bar",
    "linear_sigmas",
    "power_sigmas",
    "sample",
    "sigmas_from_alphas_bar",
    "training_target",
]
