"""DALL·E 2's entry of the gallery, on the bundled decoder."""

from pathlib import Path

import torch

from anfinsen.byhand.gallery import entries, record
from anfinsen.byhand.gallery.generation import GUIDANCE, PICTURE_LEVEL, SHRINKS, shown_patch
from anfinsen.common.seeding import gaussian, torch_generator
from anfinsen.diffusion import EULER_SAMPLER, classifier_free_guidance, sample
from anfinsen.inference.byhand_models import GallerySources
from anfinsen.jobs import load_jobs

JOB = Path(__file__).parents[2] / "examples" / "2aee_A.yaml"


def test_the_patch_is_what_the_whole_decoder_draws():
    """DALL·E 2's entry shows one patch of one step: the sampler's, with guidance, on the whole picture."""
    (job,) = load_jobs(JOB)
    sources = GallerySources(job)
    (entry,) = entries("dalle2_diffusion_step")
    source = sources.decoder()
    result = record(entry, sources).trace.run({}, {})["x after one step"]
    noise = gaussian(source.picture.shape, torch_generator(0, "gallery", "picture"), source.picture.dtype)
    denoisers = (source.model.denoiser(embedding, None) for embedding in (source.embedding, None))
    guided = classifier_free_guidance(*denoisers, GUIDANCE)
    levels = torch.tensor([PICTURE_LEVEL, SHRINKS * PICTURE_LEVEL])
    whole = sample(guided, source.picture + PICTURE_LEVEL * noise, levels, EULER_SAMPLER, torch_generator(0))
    size = source.model.config.unet.patch
    patch = shown_patch(source.model)
    place = slice(size * patch, size * (patch + 1))
    torch.testing.assert_close(result.float(), whole[:, :, place, place], rtol=1e-3, atol=1e-4)
