"""The image pipelines on tiny random networks: what depends on what, and what is exact whatever the weights are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from anfinsen.common.errors import ConfigError, InputError, WeightsError
from anfinsen.common.seeding import torch_generator
from anfinsen.inference.images.dalle1 import DallE1Pipeline
from anfinsen.inference.images.dalle2 import DallE2Pipeline
from anfinsen.inference.images.files import read_picture, to_pil
from anfinsen.inference.images.record import MAX_FRAMES, DenoisingRecorder
from anfinsen.inference.images.shared import SAMPLERS, image_sampler, picture_seeds
from tiny_pictures import DALLE1, DALLE2, only, write_tiny

PROMPT = "a small red circle"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_tiny(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def pipe(paths: dict[str, str]) -> DallE2Pipeline:
    pipe = DallE2Pipeline.from_files(only(paths, DALLE2), "cpu")
    pipe.options = replace(pipe.options, prior_steps=3, upsampler_steps=2)
    return pipe


@pytest.fixture
def first(paths: dict[str, str]) -> DallE1Pipeline:
    return DallE1Pipeline.from_files(only(paths, DALLE1), "cpu")


def seeded(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch_generator(seed, "test", number) for number in range(count)]


def alike(a, b):
    """Whether pictures are the same up to rounding, which few large steps of a random network make larger."""
    return float((a - b).abs().mean()) < 1e-3


def draw(pipe, count=2, **more):
    return pipe(PROMPT, **{"num_images_per_prompt": count, "generator": seeded(count), "output_type": "pt"} | more)


def test_candidates_are_drawn_a_few_at_a_time(pipe, first, monkeypatch):
    for one, more in ((pipe, {"num_inference_steps": 2}), (first, {})):
        one.options = replace(one.options, candidates=3)
        together = draw(one, **more)
        monkeypatch.setattr("anfinsen.inference.images.shared.PICTURES_AT_ONCE", 4)
        apart = draw(one, **more)
        monkeypatch.undo()
        assert apart.seeds == together.seeds and alike(apart.images, together.images)


def test_pil_and_tensors_are_the_same_pictures(pipe):
    tensors = draw(pipe, num_inference_steps=3).images
    pictures = draw(pipe, num_inference_steps=3, output_type="pil").images
    assert tensors.shape == (2, 3, 64, 64)
    assert float(tensors.abs().max()) <= 1
    assert [picture.size for picture in pictures] == [(64, 64)] * 2
    assert torch.allclose(torch.stack([read_picture(picture) for picture in pictures]), tensors, atol=1 / 255 + 1e-6)


def test_a_picture_is_its_seeds_whatever_is_drawn_beside_it(pipe, first):
    for each, more in ((pipe, {"num_inference_steps": 3}), (first, {})):
        one, three = draw(each, 1, **more), draw(each, 3, **more)
        assert alike(one.images[0], three.images[0])
        assert not alike(three.images[0], three.images[1])
        assert one.seeds[0] == three.seeds[0]
        again = draw(each, 3, **more)
        assert torch.equal(again.images, three.images)
        assert again.clip_scores == three.clip_scores


def test_one_generator_serves_all_pictures(pipe):
    call = {"num_inference_steps": 2}
    one = draw(pipe, 1, generator=torch.Generator().manual_seed(4), **call)
    two = draw(pipe, 2, generator=torch.Generator().manual_seed(4), **call)
    assert two.seeds[:1] == one.seeds
    assert alike(one.images[0], two.images[0])
    with pytest.raises(ConfigError, match="2 generators are given for 3 pictures"):
        picture_seeds(seeded(2), 3)


def test_several_prompts_stand_next_to_each_other(pipe):
    prompts = [PROMPT, "two yellow hearts"]
    both = pipe(prompts, num_inference_steps=2, num_images_per_prompt=2, generator=seeded(4), output_type="pt")
    second = pipe(prompts[1], num_inference_steps=2, num_images_per_prompt=2, generator=seeded(4)[2:], output_type="pt")
    assert alike(both.images[2:], second.images)
    assert torch.allclose(torch.tensor(both.clip_scores[2:]), torch.tensor(second.clip_scores), atol=1e-3)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws(pipe, name):
    pipe.options = replace(pipe.options, sampler=name)
    assert bool(torch.isfinite(draw(pipe, 1, num_inference_steps=2).images).all())
    assert image_sampler(name, 3) is not None


def test_prior_chooses_the_candidate_nearest_to_the_text(pipe, monkeypatch):
    # The denoiser of a Gaussian keeps the direction that the noise has; the random network hardly looks at it.
    monkeypatch.setattr(pipe.prior, "denoiser", lambda text: lambda x, sigma: x / (1 + sigma**2))
    text = pipe.encode([PROMPT], 2)
    seeds = (5, 6)
    pipe.options = replace(pipe.options, embeddings=1)
    single = pipe.image_embeddings(text, seeds)
    pipe.options = replace(pipe.options, embeddings=6)
    best = pipe.image_embeddings(text, seeds)
    assert torch.allclose(best.norm(dim=1), torch.ones(2), atol=1e-5)
    nearer = (best * text.embedding).sum(1) - (single * text.embedding).sum(1)
    assert bool((nearer >= -1e-5).all())
    assert bool((nearer > 0.1).any())
    pipe.options = replace(pipe.options, use_prior=False)
    assert torch.equal(pipe.image_embeddings(text, seeds), text.embedding)


def test_guidance_of_one_needs_no_unconditional_model_and_more_changes_the_picture(pipe, monkeypatch):
    plain = draw(pipe, 1, num_inference_steps=2, guidance_scale=1.0).images
    strong = draw(pipe, 1, num_inference_steps=2, guidance_scale=6.0).images
    assert not torch.allclose(plain, strong, atol=1e-2)


def test_callback_sees_each_step_and_its_last_estimate_is_the_end(pipe):
    told = []

    def listen(which, step, sigma, seen):
        assert which is pipe
        told.append((seen["stage"], step, sigma, seen["latents"], seen["clean"]))

    draw(pipe, 1, num_inference_steps=4, callback_on_step_end=listen)
    assert [(stage, step) for stage, step, *_ in told] == [
        *(("prior", step) for step in range(3)),
        *(("decoder", step) for step in range(4)),
        *(("upsampler", step) for step in range(2)),
    ]
    levels = [sigma for stage, _, sigma, *_ in told if stage == "decoder"]
    assert levels == pytest.approx(pipe.decoder.config.diffusion.sigmas(4)[:-1].tolist())
    assert told[0][4].shape == (pipe.options.embeddings, 8)
    recorder = DenoisingRecorder()
    draw(pipe, 1, num_inference_steps=4, callback_on_step_end=recorder)
    decoder, upsampler = recorder.stages()
    assert (decoder.stage, decoder.of, upsampler.of) == ("decoder", 4, 2)
    assert decoder.noisy.shape == decoder.clean.shape == (4, 1, 32, 32, 3)
    # At the highest level nothing but noise of unit scale is left: a spread of sigma_data around the middle.
    assert 40 < float(decoder.noisy[0].float().std()) < 80


def test_recorder_keeps_first_and_last_of_many_steps():
    recorder = DenoisingRecorder()
    for step in range(100):
        picture = torch.full((1, 3, 4, 4), step / 99)
        recorder(None, step, 80.0 - step / 2, {"stage": "decoder", "latents": picture, "clean": picture})
    (frames,) = recorder.stages()
    assert len(frames.step) == MAX_FRAMES
    assert (frames.step[0], frames.step[-1], frames.of) == (0, 99, 100)
    assert int(frames.clean[-1, 0, 0, 0, 0]) == 255


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 0.05), (0.1, 0.4)])
def test_variation_without_fresh_noise_is_the_picture_as_the_decoder_sees_it(noise, tolerance, pipe):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    low = torch.nn.functional.avg_pool2d(picture[None], 2)
    pipe.options = replace(pipe.options, inversion_noise=noise)

    def difference(eta: float) -> float:
        decoded = []

        def listen(_, step, sigma, seen):
            if seen["stage"] == "decoder":
                decoded.append(seen["clean"])

        call = {"num_inference_steps": 25, "generator": seeded(1), "callback_on_step_end": listen}
        pipe.variation(picture, eta=eta, output_type="pt", **call)
        return float((decoded[-1] - low).abs().mean()) / float(low.abs().mean())

    assert difference(0.0) < tolerance
    assert difference(1.0) > 0.5


def test_interpolation_begins_and_ends_with_the_pictures(pipe):
    a = -torch.ones(3, 64, 64)
    b = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    call = {"num_inference_steps": 8, "output_type": "pt"}
    both = pipe.interpolate(a, b, steps=3, generator=seeded(1)[0], **call).images
    one = pipe.variation(a, eta=0.0, generator=seeded(1), **call).images
    assert alike(both[0], one[0])
    back = pipe.interpolate(b, a, steps=3, generator=seeded(1)[0], **call).images
    assert alike(both, back.flip(0))
    assert not alike(both[0], both[1])


def test_text_difference_begins_with_the_picture(pipe):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    call = {"num_inference_steps": 6, "output_type": "pt"}
    way = pipe.text_difference(picture, PROMPT, "two yellow hearts", steps=3, generator=seeded(1)[0], **call).images
    same = pipe.variation(picture, eta=0.0, generator=seeded(1), **call).images
    assert alike(way[0], same[0])
    assert not torch.equal(way[0], way[2])


def test_inpainting_leaves_the_rest_alone(pipe):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(4)) * 2 - 1
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[16:47, 20:50] = True  # not whole base pixels
    made = pipe.inpaint(
        picture, mask, PROMPT, num_images=2, num_inference_steps=3, generator=seeded(2), output_type="pt"
    ).images
    assert torch.equal(made[:, :, ~mask], picture[:, ~mask].expand(2, -1, -1))
    assert float((made[:, :, mask] - picture[:, mask]).abs().mean()) > 0.1


def test_dalle2_keeps_the_best_by_clip_and_shows_how_it_came_about(pipe):
    pipe.options = replace(pipe.options, candidates=1)
    alone = draw(pipe, 2, num_inference_steps=2)
    pipe.options = replace(pipe.options, candidates=5)
    best = draw(pipe, 2, num_inference_steps=2)
    assert all(new >= old - 1e-5 for new, old in zip(best.clip_scores, alone.clip_scores, strict=True))
    assert best.clip_scores != alone.clip_scores
    assert len(best.seeds) == 2
    recorder = DenoisingRecorder()
    shown = draw(pipe, 2, num_inference_steps=2, callback_on_step_end=recorder)
    assert shown.seeds == best.seeds
    assert alike(shown.images, best.images)
    end = torch.stack([read_picture(picture) for picture in to_pil(shown.images)])
    assert torch.allclose(recorder.stages()[-1].clean[-1].permute(0, 3, 1, 2) / 127.5 - 1, end, atol=1e-2)


def test_variations_are_the_candidates_nearest_to_the_picture(pipe):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(5)) * 2 - 1
    own = pipe.clip.encode_image(picture[None])

    def nearness(candidates: int, callback=None):
        pipe.options = replace(pipe.options, candidates=candidates)
        call = {"num_inference_steps": 2, "eta": 1.0, "output_type": "pt", "callback_on_step_end": callback}
        made = pipe.variation(picture, num_images=2, generator=seeded(2), **call)
        return made, (pipe.clip.encode_image(made.images) @ own.T)[:, 0]

    alone, before = nearness(1)
    best, after = nearness(5)
    assert bool((after >= before - 1e-5).all())
    assert bool((after > before + 1e-5).any())
    assert best.seeds != alone.seeds
    shown, _ = nearness(5, DenoisingRecorder())
    assert shown.seeds == best.seeds
    assert alike(shown.images, best.images)


def test_painted_pictures_are_the_candidates_nearest_to_the_caption(pipe):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(6)) * 2 - 1
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[:, :48] = True
    call = {"num_images": 2, "num_inference_steps": 2, "output_type": "pt"}
    found = []
    for candidates in (1, 5):
        pipe.options = replace(pipe.options, candidates=candidates)
        made = pipe.inpaint(picture, mask, PROMPT, generator=seeded(2), **call)
        assert torch.equal(made.images[:, :, ~mask], picture[:, ~mask].expand(2, -1, -1))
        found.append(made.clip_scores)
    assert all(new >= old - 1e-5 for old, new in zip(*found, strict=True))
    assert found[0] != found[1]


def test_dalle1_keeps_the_best_by_clip_and_shows_rows_of_codes(first):
    first.options = replace(first.options, candidates=1)
    alone = draw(first, 2)
    first.options = replace(first.options, candidates=5)
    recorder = DenoisingRecorder()
    best = draw(first, 2, callback_on_step_end=recorder)
    assert all(new >= old - 1e-5 for new, old in zip(best.clip_scores, alone.clip_scores, strict=True))
    assert best.clip_scores != alone.clip_scores
    (frames,) = recorder.stages()
    assert frames.noisy is None
    assert frames.clean.shape == (8, 2, 64, 64, 3)
    end = torch.stack([read_picture(picture) for picture in to_pil(best.images)])
    assert torch.allclose(frames.clean[-1].permute(0, 3, 1, 2) / 127.5 - 1, end, atol=1e-2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"prompt": "  "}, "The prompt is empty"),
        ({"prompt": []}, "The prompt is empty"),
        ({"guidance_scale": float("nan")}, "'guidance' is nan: expected a number from 0 to 30"),
        ({"num_images_per_prompt": 0}, "'samples' is 0: expected a whole number from 1 to 64"),
        ({"num_inference_steps": 0}, "'steps' is 0"),
        ({"output_type": "np"}, "Output type 'np' is not known"),
        ({"prompt": "very " * 30 + "long"}, "tokens, and 24 are the most"),
    ],
)
def test_calls_that_cannot_be_answered(pipe, call, message):
    with pytest.raises(InputError, match=message):
        pipe(**{"prompt": PROMPT} | call)


def test_networks_that_do_not_belong_together_are_refused(paths, tmp_path: Path):
    other = write_tiny(tmp_path, seed=1)
    with pytest.raises(WeightsError, match="was trained with the CLIP of SHA-256"):
        DallE2Pipeline.from_files(only(paths, DALLE2) | {"dalle2-prior": other["dalle2-prior"]}, "cpu")
    with pytest.raises(WeightsError, match="was trained with the discrete VAE of SHA-256"):
        DallE1Pipeline.from_files(only(paths, DALLE1) | {"dalle1-dvae": other["dalle1-dvae"]}, "cpu")
    with pytest.raises(ConfigError, match="'dalle1-dvae', which is not part of the model"):
        DallE2Pipeline.from_files(only(paths, DALLE1), "cpu")


def test_a_pil_picture_may_be_given(pipe):
    made = pipe.variation(Image.new("RGB", (40, 20), "red"), num_inference_steps=2, generator=seeded(1))
    assert made.images[0].size == (64, 64)
    assert made.clip_scores == ()
