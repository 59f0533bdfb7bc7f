"""The plane where the truth is known: its closed forms, what the core makes of them, and the page that shows it."""

import base64
import importlib
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from anfinsen.common.errors import InputError
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import EULER_SAMPLER, HEUN_SAMPLER, edm_sigmas, training_target

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SIGMAS = (0.0, 0.1, 0.7, 5.0)


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        yield importlib.import_module("diffusion_2d")
        for name in ("diffusion_2d", "diffusion_2d_mixture"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def mixture(script):
    return script.plane.spiral()


@pytest.fixture
def places(mixture):
    return mixture.draw(50, torch_generator(0)) + torch.randn((50, 2), generator=torch_generator(1)).double()


@pytest.fixture
def grid():
    """A fine grid of the plane, and the area of its cells."""
    line = torch.linspace(-6, 6, 601, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@pytest.mark.parametrize("sigma", SIGMAS[:3])
def test_probabilities_add_up(mixture, grid, sigma):
    points, area = grid
    # up to what lies outside
    assert float(mixture.log_density(points, sigma).exp().sum() * area) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_score_is_the_gradient_and_tweedies_formula_gives_the_denoiser(mixture, places, sigma):
    x = places.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(mixture.score(places, sigma), gradient, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mixture.denoiser(places, sigma), places + sigma**2 * gradient, rtol=1e-9, atol=1e-9)


def test_denoiser_is_the_expectation_by_integration(mixture, places, grid):
    points, area = grid
    prior = mixture.log_density(points, 0.0).exp() * area
    for sigma in SIGMAS[1:]:
        likelihood = (-torch.cdist(places, points).square() / (2 * sigma**2)).exp() * prior
        expected = likelihood @ points / likelihood.sum(1, keepdim=True)
        torch.testing.assert_close(mixture.denoiser(places, sigma), expected, rtol=0, atol=2e-5)


def test_forward_process_obeys_the_heat_equation(mixture, places):
    # ∂p/∂σ = σ Δp, both by differences.
    sigma, step = 0.6, 1e-3

    def density(x, level):
        return mixture.log_density(x, level).exp()

    in_sigma = (density(places, sigma + step) - density(places, sigma - step)) / (2 * step)
    moves = step * torch.eye(2, dtype=torch.float64)
    bent = sum(density(places + e, sigma) - 2 * density(places, sigma) + density(places - e, sigma) for e in moves)
    torch.testing.assert_close(in_sigma, sigma * bent / step**2, rtol=1e-4, atol=1e-6)


def test_drawn_points_have_the_moments_and_the_densitys_entropy(mixture):
    points = mixture.draw(40_000, torch_generator(2))
    assert points.mean(0).abs().max() < 4 * mixture.sigma_data / math.sqrt(len(points))
    assert float(points.square().mean().sqrt()) == pytest.approx(mixture.sigma_data, rel=0.01)
    # E[-ln p] of points is that of the density: by integration over the histogram's squares, finely divided.
    line = torch.linspace(-3, 3, 601, dtype=torch.float64)
    logs = mixture.log_density(torch.cartesian_prod(line, line), 0.0)
    entropy = -float((logs.exp() * logs).sum() * float(line[1] - line[0]) ** 2)
    assert -float(mixture.log_density(points, 0.0).mean()) == pytest.approx(entropy, abs=0.02)


def test_reverse_process_carries_the_exact_density_and_heun_is_of_second_order(script, mixture):
    noise = torch.randn((60, 2), generator=torch_generator(3), dtype=torch.float64)
    found = []
    for steps in (64, 128):
        levels = edm_sigmas(steps)
        x = mixture.draw(60, torch_generator(4)) + levels[0] * noise
        carried, exact = script.carried_log_density(mixture, x, levels)
        found.append(float((carried - exact).abs().median()))
    assert found[1] < 5e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.25)


def test_distances_know_right_from_wrong(script, mixture):
    yardstick = script.Yardstick(mixture, 4000, 0)
    exact = yardstick.exact("another")
    near, far = yardstick.distances(exact), yardstick.distances(exact * 0.7)
    assert near[0] < 0.08
    # shrinking moves each point by 0.3 of its distance from the mean
    assert far[0] == pytest.approx(0.3 * mixture.sigma_data, abs=0.03)
    assert far[1] > 5 * near[1]
    shifted = script.plane.sliced_wasserstein(exact, exact + torch.tensor([0.3, 0.0], dtype=torch.float64))
    # of a shift d every line sees its projection: d / √2 on the average of squares
    assert shifted == pytest.approx(0.3 / math.sqrt(2), rel=1e-9)
    assert script.plane.histogram_divergence(exact, script.plane.cell_probabilities(mixture)) == near[1]


def test_histogram_is_exact_and_counts_what_lies_outside(script, mixture):
    cells = script.plane.cell_probabilities(mixture)
    assert cells.sum() == pytest.approx(1, abs=1e-6)
    width = 2 * script.plane.HALF_WIDTH / script.plane.CELLS
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    middle = torch.tensor([[(i + 0.5) * width - script.plane.HALF_WIDTH for i in (row, column)]])
    # All points in one square: the divergence is minus the logarithm of its probability.
    found = script.plane.histogram_divergence(middle.expand(10, 2), cells)
    assert found == pytest.approx(-math.log(cells.max()), rel=1e-9)
    assert script.plane.histogram_divergence(middle + 100, cells) > 10


def test_samplers_reach_the_distribution_and_more_steps_are_nearer(script, mixture):
    yardstick = script.Yardstick(mixture, 4000, 0)
    few, many = (yardstick.run(mixture.denoiser, EULER_SAMPLER, edm_sigmas(steps)) for steps in (8, 64))
    assert many[0] < few[0] / 3
    assert many[1] < few[1] / 5
    config, levels = script.samplers(mixture)[script.HEUN](32)
    assert yardstick.run(mixture.denoiser, config, levels)[0] < 0.08


def test_training_is_that_of_the_product_and_is_repeatable(script, mixture):
    networks = [script.plane.train(mixture, 60, torch_generator(5), batch=256)[0] for _ in range(2)]
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    outer = script.plane.preconditioning(mixture)
    clean = mixture.draw(500, torch_generator(6)).float()
    sigma = torch.full((500,), 0.5)
    noisy = clean + 0.5 * torch.randn((500, 2), generator=torch_generator(7))
    answer = script.plane.trained_denoiser(networks[0], mixture)(noisy.double(), torch.tensor(0.5)).float()
    # Answering with the target itself would be perfect, and the trained network beats not answering at all.
    target = training_target(outer, clean, noisy, sigma)
    perfect = outer.c_skip(sigma[:, None]) * noisy + outer.c_out(sigma[:, None]) * target
    torch.testing.assert_close(perfect, clean, rtol=0, atol=1e-5)
    assert (answer - clean).square().mean() < (outer.c_skip(sigma[:, None]) * noisy - clean).square().mean()


class _Balance(HTMLParser):
    """Counts opened and closed elements and collects addresses."""

    void = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_script_writes_tables_and_a_page_that_needs_nothing_else(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    markdown, page = tmp_path / "page.md", tmp_path / "page.html"
    markdown.write_text("Before\n<!-- diffusion-2d: begin -->\nstale words\n<!-- diffusion-2d: end -->\nAfter\n")
    few = ["--points", "300", "--training-steps", "3", "--steps", "4,6"]
    script.main(["--write", str(markdown), "--page", str(page), *few])
    text = markdown.read_text()
    assert text.startswith("Before")
    assert text.rstrip().endswith("After")
    assert "stale words" not in text
    assert capsys.readouterr().out.strip() in text
    # Every table has as many cells in a row as in its head.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    html = page.read_text()
    parser = _Balance()
    parser.feed(html)
    assert not parser.open
    assert not parser.links
    assert "//" not in re.sub(r'(?m)^\s*//.*$|@@.*|"places": "[^"]*"', "", html)
    _check_played(script, json.loads(re.search(r'id="data">(.*?)</script>', html)[1]))


def _check_played(script, data):
    assert [len(run["sigmas"]) for run in data["runs"]] == [script.STEPS_PLAYED + 1] * 5
    for run in data["runs"]:
        numbers = np.frombuffer(base64.b64decode(run["places"]), "<u2").reshape(-1, data["points"], 2)
        assert len(numbers) == len(run["sigmas"])
        x = (numbers / 65535 * 2 - 1) * data["view"]
        noisy = x[int(np.argmax(run["sigmas"]))]
        # In units of its spread, what is mostly noise is the unit Gaussian.
        assert noisy.std() == pytest.approx(1, abs=0.15)
    forward, heun = (run["sigmas"] for run in data["runs"][:2])
    assert forward == heun[::-1]


def test_reverse_is_the_samplers_own_way(script, mixture):
    levels = edm_sigmas(script.STEPS_PLAYED)
    run = script._reverse(mixture, "name", mixture.denoiser, HEUN_SAMPLER, levels, 0)
    numbers = np.frombuffer(base64.b64decode(run["places"]), "<u2").reshape(len(levels), -1, 2)
    spread = np.hypot(levels.numpy(), mixture.sigma_data)[:, None, None]
    x = torch.tensor((numbers / 65535 * 2 - 1) * script.VIEW * spread)
    now, following = float(levels[10]), float(levels[11])
    slope = (x[10] - mixture.denoiser(x[10], now)) / now
    ahead = x[10] + (following - now) * slope
    after = (ahead - mixture.denoiser(ahead, following)) / following
    expected = x[10] + (following - now) * (slope + after) / 2
    torch.testing.assert_close(x[11], expected, rtol=0, atol=2e-3 * now)


def test_wrong_page_is_refused_before_anything_is_computed(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(InputError, match="does not have the comments"):
        script.main(["--write", str(tmp_path / "page.md")])
