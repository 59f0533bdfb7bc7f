"""Atoms and pictures are diffused by the same objects; nowhere else is a schedule, a preconditioning or a sampler."""

import ast
import inspect
import re
from pathlib import Path

import dalle2_tiny as tiny
import pytest
import torch

import anfinsen
from anfinsen import diffusion
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import noise, preconditioning, samplers
from anfinsen.images import dalle2
from anfinsen.inference.images import shared as images
from anfinsen.losses import images as image_losses
from anfinsen.models.alphafold3 import model as alphafold3
from anfinsen.models.alphafold3.diffusion_module import DiffusionModule
from tiny_model import TINY, batch_of, tiny_model

PACKAGE = Path(anfinsen.__file__).parent
# The words of the field for what only anfinsen/diffusion may define.
DEFINED = re.compile(
    r"(alphas?|betas?)_(bar|cumprod)|(beta|noise|sigma|karras|cosine|linear)_(schedule|sigmas)|c_(skip|in|out|noise)$"
    r"|dd[ip]m|(euler|heun|ancestral|predictor_corrector|langevin)_?(step|sampler?)|classifier_free|log_?normal_noise",
    re.IGNORECASE,
)
FOREIGN = {"diffusers", "k_diffusion", "denoising_diffusion_pytorch", "dalle2_pytorch", "torchsde", "torchdiffeq"}
EDM = dalle2.DiffusionConfig(prediction="edm")  # AlphaFold 3's case


class Silent:
    """A pipeline as far as the sampler needs one."""

    def __init__(self):
        self.progress = self

    def stage(self, *_):
        pass

    def advance(self):
        pass


@pytest.fixture
def calls(monkeypatch):
    """Which parts of the core are used, each with the name of what it was used with."""
    found = []

    def spy(module, name, told):
        true = getattr(module, name)

        def spied(*args, **named):
            found.append((name, told(args)))
            return true(*args, **named)

        monkeypatch.setattr(module, name, spied)

    spy(samplers, "_step", lambda args: id(args[4]))
    spy(noise, "power_sigmas", lambda args: len(args[0]))
    for name in ("c_skip", "c_out", "c_in", "c_noise"):
        for kind in (preconditioning.EdmPreconditioning, preconditioning.VariancePreserving):
            spy(kind, name, lambda args: type(args[0]))
    return found


def _atoms(steps):
    batch = batch_of({"kind": "protein", "ids": ("A",), "sequence": "GS"})
    model = tiny_model()
    with torch.no_grad():
        trunk = model.trunk(batch, recycles=0, generator=torch_generator(0))
        return model.sample(batch, trunk, samples=1, steps=steps, generator=torch_generator(1))


def _picture(steps, diffusion=EDM):
    decoder = tiny.decoder(diffusion)
    sigmas = decoder.config.diffusion.sigmas(steps)
    denoise = decoder.denoiser(tiny.embedding(), tiny.text())
    start = tiny.normal(tiny.BATCH, 3, 8, 8) * float(sigmas[0])
    sampler = images.image_sampler("heun", steps)
    with torch.no_grad():
        return images.walk(Silent(), "decoder", denoise, start, sigmas, sampler, torch_generator(0), None)


def test_atoms_and_pictures_go_through_the_same_schedule_preconditioning_and_loop(calls):
    used = {}
    for name, run, config in (
        ("atoms", _atoms, diffusion.ALPHAFOLD3_SAMPLER),
        ("pictures", _picture, diffusion.HEUN_SAMPLER),
    ):
        calls.clear()
        assert torch.isfinite(run(3)).all()
        assert [told for what, told in calls if what == "_step"] == [id(config)] * 3
        assert any(what == "power_sigmas" for what, _ in calls)
        used[name] = {what for what, _ in calls}
    assert used["atoms"] == used["pictures"]
    assert used["atoms"] == {"_step", "power_sigmas", "c_skip", "c_out", "c_in", "c_noise"}


def test_the_decoder_as_it_is_trained_goes_through_the_core_too(calls):
    trained = dalle2.DECODER_PRESETS["mini"].diffusion
    assert torch.isfinite(_picture(3, trained)).all()
    assert [told for what, told in calls if what == "_step"] == [id(diffusion.HEUN_SAMPLER)] * 3
    assert {told for what, told in calls if what.startswith("c_")} == {type(trained.preconditioning())}
    assert {what for what, _ in calls} == {"_step", "power_sigmas", "c_skip", "c_out", "c_in", "c_noise"}


def test_they_hold_the_same_objects():
    assert alphafold3.sample is images.sample is diffusion.sample
    assert TINY.sampler is diffusion.ALPHAFOLD3_SAMPLER
    named = {name: images.image_sampler(name, 10) for name in images.SAMPLERS}
    assert named["heun"] is diffusion.HEUN_SAMPLER
    assert named["euler"] is diffusion.EULER_SAMPLER
    assert named["ancestral"] is diffusion.ANCESTRAL_SAMPLER
    assert {type(each) for each in named.values()} == {type(TINY.sampler)} == {diffusion.SamplerConfig}
    atoms = DiffusionModule(TINY.diffusion).scaling
    for model in (tiny.prior(), tiny.decoder(), tiny.upsampler()):
        kind = type(model.preconditioning)
        assert kind.__module__ == type(atoms).__module__ == "anfinsen.diffusion.preconditioning"
        assert type(model.config.diffusion.training_noise()).__module__ == "anfinsen.diffusion.training_noise"
    assert type(EDM.preconditioning()) is type(atoms) is diffusion.EdmPreconditioning
    assert image_losses.training_target is diffusion.training_target


def test_schedules_of_both_are_one_curve():
    # AlphaFold 3's levels are EDM's in units of its data's spread: the pictures' own, from other ends.
    steps = 7
    atoms = diffusion.alphafold3_sigmas(steps, sigma_data=1.0, s_max=80.0, s_min=0.002)
    pictures = dalle2.DiffusionConfig(sigma_min=0.002, sigma_max=80.0).sigmas(steps + 1)
    torch.testing.assert_close(atoms, pictures[:-1], rtol=1e-12, atol=0)


def own_diffusion(source):
    """Return what a file has of its own that belongs into anfinsen/diffusion."""
    kept = {
        name
        for name in diffusion.__all__
        if inspect.isclass(getattr(diffusion, name)) or inspect.isfunction(getattr(diffusion, name))
    }
    found, tree = [], ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and DEFINED.search(node.name):
            found.append(node.name)
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and re.search(DEFINED.pattern.split("|c_(")[0], node.id)
        ):
            found.append(node.id)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            levels = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
            if name == "cumprod" or (
                name == "pairwise" and any(re.search("sigma|level|alpha", each) for each in levels)
            ):
                found.append(name)
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in FOREIGN]
    return found + [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in kept
    ]


def test_no_other_file_has_a_schedule_or_a_sampler():
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "diffusion"]
    assert len(files) > 200
    found = {str(path.relative_to(PACKAGE)): own_diffusion(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: each for name, each in found.items() if each}


@pytest.mark.parametrize(
    "source",
    [
        "import diffusers",
        "from k_diffusion.sampling import get_sigmas_karras",
        "def cosine_schedule(steps):\n    pass",
        "class Model:\n    def p_sample_ddim(self):\n        pass",
        "class EdmPreconditioning:\n    pass",
        "def f(betas):\n    return (1 - betas).cumprod(0)",
        "def f(x, sigmas):\n    for now, following in pairwise(sigmas):\n        x = x + (following - now) * slope(x)",
        "alphas_bar = 1 - betas",
        "class Mine:\n    def c_skip(self, sigma):\n        return 1 / sigma",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert own_diffusion(source)


def test_the_core_itself_would_be_found_elsewhere():
    own = {
        path.name for path in (PACKAGE / "diffusion").glob("*.py") if own_diffusion(path.read_text(encoding="utf-8"))
    }
    assert own >= {"noise.py", "preconditioning.py", "samplers.py", "training_noise.py", "guidance.py"}
