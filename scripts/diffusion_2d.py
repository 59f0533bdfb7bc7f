"""Forward process, reverse process and samplers in the plane, where the truth is known: numbers and an animation.

Run: python scripts/diffusion_2d.py [--write docs/diffusion-2d.md] [--page docs/diffusion-2d-animation.html]
     [--points 20000] [--training-steps 5000] [--seed 0]
A mixture of seven Gaussians has its density, its score and its best denoiser in closed form at every noise level
(`diffusion_2d_mixture.py`). The product's own samplers, schedules and preconditioning (`anfinsen.diffusion`) run on it
with that denoiser and with a small network trained on points. Prints Markdown tables; --write puts them into a page,
between `<!-- diffusion-2d: begin -->` and `<!-- diffusion-2d: end -->`; --page writes a page that plays the processes
and needs nothing else. Three minutes of CPU time.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import diffusion_2d_mixture as plane
import numpy as np
import torch
from torch import Tensor

from anfinsen.common.files import write_text
from anfinsen.common.script import run_script
from anfinsen.common.seeding import torch_generator
from anfinsen.diffusion import (
    ALPHAFOLD3_SAMPLER,
    ANCESTRAL_SAMPLER,
    EULER_SAMPLER,
    HEUN_SAMPLER,
    Denoise,
    SamplerConfig,
    alphafold3_sigmas,
    cosine_sigmas,
    ddim_sampler,
    edm_sigmas,
    edm_stochastic_sampler,
    linear_sigmas,
    sample,
)

STEPS = (4, 8, 16, 32, 64, 128, 250)
BLOCK = "diffusion-2d"
LEVELS_TOLD = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # at which the network's answers are compared with the exact ones
STEPS_PLAYED, POINTS_PLAYED = 40, 220
VIEW = 4.0  # half the width of what the animation can show, in units of the spread at a level
HEUN, ANCESTRAL, ALPHAFOLD3 = "Heun", "ancestral (DDPM)", "AlphaFold 3's"
Levels = Callable[[int], Tensor]


def samplers(mixture: plane.Mixture) -> dict[str, Callable[[int], tuple[SamplerConfig, Tensor]]]:
    """Return each sampler with its levels, by the number of steps."""
    width = mixture.sigma_data
    # AlphaFold 3 adds noise down to 1 Å, a 16th of its data's spread.
    churn = replace(ALPHAFOLD3_SAMPLER.churn, minimum=ALPHAFOLD3_SAMPLER.churn.minimum * width / 16)
    alphafold3 = replace(ALPHAFOLD3_SAMPLER, churn=churn)
    return {
        "Euler (DDIM)": lambda steps: (EULER_SAMPLER, edm_sigmas(steps)),
        HEUN: lambda steps: (HEUN_SAMPLER, edm_sigmas(steps)),
        "DDIM, η ½": lambda steps: (ddim_sampler(0.5), edm_sigmas(steps)),
        ANCESTRAL: lambda steps: (ANCESTRAL_SAMPLER, edm_sigmas(steps)),
        "EDM stochastic": lambda steps: (edm_stochastic_sampler(steps), edm_sigmas(steps)),
        ALPHAFOLD3: lambda steps: (alphafold3, alphafold3_sigmas(steps, width)),
        "the same, step scale 1": lambda steps: (
            replace(alphafold3, noise_scale=1.0, step_scale=1.0),
            alphafold3_sigmas(steps, width),
        ),
    }


SCHEDULES: dict[str, Levels] = {
    "EDM, ρ 7": edm_sigmas,
    "EDM, ρ 3": lambda steps: edm_sigmas(steps, rho=3.0),
    "EDM, ρ 1 (evenly spaced)": lambda steps: edm_sigmas(steps, rho=1.0),
    "cosine": cosine_sigmas,
    "linear": linear_sigmas,
}


class Yardstick:
    """Distances of samples from the exact distribution, and what chance alone gives."""

    def __init__(self, mixture: plane.Mixture, points: int, seed: int) -> None:
        self.points, self._seed, self._mixture = points, seed, mixture
        self._cells = plane.cell_probabilities(mixture)
        self._reference = self.exact("reference")

    def exact(self, label: str) -> Tensor:
        """Return points of the distribution itself."""
        return self._mixture.draw(self.points, torch_generator(self._seed, "exact", label))

    def chance(self, sets: int = 20) -> list[str]:
        """Return, of each distance, what sets of exact points get."""
        found = np.array([self.distances(self.exact(f"chance {index}")) for index in range(sets)])
        return [
            f"By chance alone ({sets} sets of exact points instead of samples): {np.median(each):.4f} (median), "
            f"{each.max():.4f} (largest)."
            for each in found.T
        ]

    def distances(self, points: Tensor) -> tuple[float, float]:
        """Return sliced Wasserstein distance and Kullback-Leibler divergence."""
        return plane.sliced_wasserstein(points, self._reference), plane.histogram_divergence(points, self._cells)

    def run(self, denoise: Denoise, config: SamplerConfig, levels: Tensor) -> tuple[float, float]:
        """Return the distances of what a sampler makes."""
        generator = torch_generator(self._seed, "start")
        x = levels[0] * torch.randn((self.points, 2), generator=generator, dtype=torch.float64)
        return self.distances(sample(denoise, x, levels, config, generator))


def carried_log_density(mixture: plane.Mixture, x: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Carry ``x`` down by Heun's steps; return the logarithm of the density there, carried along and exact.

    A deterministic reverse process is a change of variables: ln p at the end is ln p at the start minus the logarithm
    of the map's Jacobian determinant (by central differences).
    """
    generator = torch_generator(0)

    def flow(start: Tensor) -> Tensor:
        return sample(mixture.denoiser, start, levels, HEUN_SAMPLER, generator)

    step = 1e-6 * float(levels[0])
    columns = [(flow(x + step * e) - flow(x - step * e)) / (2 * step) for e in torch.eye(2, dtype=torch.float64)]
    jacobian = torch.linalg.slogdet(torch.stack(columns, dim=2)).logabsdet
    return mixture.log_density(x, levels[0]) - jacobian, mixture.log_density(flow(x), levels[-1])


def sampler_tables(mixture: plane.Mixture, yardstick: Yardstick, steps: Sequence[int], table: Callable) -> str:
    chance = yardstick.chance()
    chosen = samplers(mixture)
    found = {
        (name, count): yardstick.run(mixture.denoiser, *make(count)) for name, make in chosen.items() for count in steps
    }
    parts = []
    for index, title in enumerate(
        ("Sliced Wasserstein-2 distance", "Kullback-Leibler divergence of the histogram, nats")
    ):
        lines = [[count, *(f"{found[name, count][index]:.4f}" for name in chosen)] for count in steps]
        parts.append(f"### {title}, exact denoiser\n\n{table(['steps', *chosen], lines)}\n\n{chance[index]}")
    return "\n\n".join(parts)


def schedule_table(mixture: plane.Mixture, yardstick: Yardstick, steps: Sequence[int], table: Callable) -> str:
    lines = [
        [name, *(f"{yardstick.run(mixture.denoiser, EULER_SAMPLER, make(count))[0]:.4f}" for count in steps)]
        for name, make in SCHEDULES.items()
    ]
    head = ["levels of", *(f"{count} steps" for count in steps)]
    return f"### Euler's steps along other schedules: sliced Wasserstein-2 distance\n\n{table(head, lines)}"


def density_table(mixture: plane.Mixture, steps: Sequence[int], seed: int, table: Callable, count: int = 400) -> str:
    lines = []
    for number in steps:
        levels, generator = edm_sigmas(number), torch_generator(seed, "carried")
        x = levels[0] * torch.randn((count, 2), generator=generator, dtype=torch.float64) + mixture.draw(
            count, generator
        )
        carried, exact = carried_log_density(mixture, x, levels)
        apart = (carried - exact).abs()
        lines.append([number, f"{apart.median():.1e}", f"{apart.quantile(0.95):.1e}"])
    head = ["Heun steps", "error of ln p: median", "95 % are below"]
    return f"### The density that the reverse process carries, against the exact one\n\n{table(head, lines)}"


def network_tables(
    mixture: plane.Mixture, network: Denoise, yardstick: Yardstick, steps: Sequence[int], table: Callable
) -> str:
    generator, lines = torch_generator(1, "network"), []
    for sigma in LEVELS_TOLD:
        clean = mixture.draw(yardstick.points, generator)
        x = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        best, answer = mixture.denoiser(x, sigma), network(x, torch.tensor(sigma))
        # (D - x) / sigma² is the score, so its relative error is that of D - x.
        wrong = (answer - best).square().sum(1).mean() / (best - x).square().sum(1).mean()
        losses = [(each - clean).square().sum(1).mean() for each in (best, answer)]
        lines.append([sigma, *(f"{loss:.4f}" for loss in losses), f"{100 * wrong.sqrt():.1f} %"])
    head = ["noise level", "E abs(x₀ − D)²: exact D", "network's D", "error of the score (relative, RMS)"]
    first = f"### A trained network's score against the exact one\n\n{table(head, lines)}"
    rows = []
    for count in steps:
        both = [yardstick.run(denoise, HEUN_SAMPLER, edm_sigmas(count)) for denoise in (mixture.denoiser, network)]
        rows.append([count, *(f"{value:.4f}" for each in zip(*both, strict=True) for value in each)])
    names = [f"{what}: {who}" for what in ("sliced W₂", "KL, nats") for who in ("exact", "network")]
    return f"{first}\n\n### Samples by the network (Heun)\n\n{table(['steps', *names], rows)}"


def played(mixture: plane.Mixture, network: Denoise, seed: int) -> dict[str, object]:
    """Return what the animation shows: the mixture itself, and points of each process at each level."""
    chosen = samplers(mixture)
    runs = [_forward(mixture, edm_sigmas(STEPS_PLAYED), seed)]
    told = {
        HEUN: "Reverse: Heun's steps",
        ANCESTRAL: "Reverse: ancestral (DDPM)",
        ALPHAFOLD3: "Reverse: AlphaFold 3’s sampler",
    }
    for name, title in told.items():
        config, levels = chosen[name](STEPS_PLAYED)
        runs.append(_reverse(mixture, title, mixture.denoiser, config, levels, seed))
    runs.append(
        _reverse(mixture, "Reverse: Heun, trained network", network, HEUN_SAMPLER, edm_sigmas(STEPS_PLAYED), seed)
    )
    parts = {name: getattr(mixture, name).tolist() for name in ("weights", "means", "variances", "axes")}
    return {**parts, "sigmaData": mixture.sigma_data, "view": VIEW, "points": POINTS_PLAYED, "runs": runs}


def _forward(mixture: plane.Mixture, levels: Tensor, seed: int) -> dict[str, object]:
    generator = torch_generator(seed, "forward")
    frames, rising = [mixture.draw(POINTS_PLAYED, generator)], levels.flip(0).tolist()
    for now, following in pairwise(rising):
        fresh = torch.randn(frames[0].shape, generator=generator, dtype=torch.float64)
        frames.append(frames[-1] + (following**2 - now**2) ** 0.5 * fresh)
    return _run("Forward: noise is added", mixture, rising, frames)


def _reverse(
    mixture: plane.Mixture, title: str, denoise: Denoise, config: SamplerConfig, levels: Tensor, seed: int
) -> dict[str, object]:
    generator = torch_generator(seed, "played")
    start = levels[0] * torch.randn((POINTS_PLAYED, 2), generator=generator, dtype=torch.float64)
    frames: list[Tensor] = []

    def keep(x: Tensor, _: object) -> Tensor:
        frames.append(x)
        return x

    end = sample(denoise, start, levels, config, generator, before_step=keep)
    return _run(title, mixture, levels.tolist(), [*frames, end])


def _run(title: str, mixture: plane.Mixture, levels: Sequence[float], frames: Sequence[Tensor]) -> dict[str, object]:
    """Pack places as 16-bit numbers, each frame in units of the spread at its level."""
    spread = (torch.tensor(levels, dtype=torch.float64) ** 2 + mixture.sigma_data**2).sqrt()
    places = (torch.stack(list(frames)) / spread[:, None, None]).clamp(-VIEW, VIEW)
    numbers = ((places / VIEW + 1) / 2 * 65535).round().numpy().astype("<u2")
    return {"title": title, "sigmas": levels, "places": base64.b64encode(numbers.tobytes()).decode("ascii")}


def page(data: dict[str, object]) -> str:
    """Return the animation's page with its data inside."""
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    before, after = template.split("@@DATA@@")
    return before + json.dumps(data, allow_nan=False) + after


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    parser.add_argument("--page", type=Path, metavar="FILE", help="where the animation goes")
    parser.add_argument("--points", type=int, default=20_000, help="samples that are compared with the distribution")
    parser.add_argument("--training-steps", type=int, default=5_000)
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="numbers of sampling steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    # Tables and pages have one home, beside the other scripts that write into the documentation.
    sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import pages

    if args.write:
        pages.with_block(args.write, BLOCK, "")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    started, steps = time.process_time(), [int(text) for text in args.steps.split(",")]
    mixture = plane.spiral()
    yardstick = Yardstick(mixture, args.points, args.seed)
    network, seen = plane.train(mixture, args.training_steps, torch_generator(args.seed, "training"))
    trained = plane.trained_denoiser(network, mixture)
    texts = [
        density_table(mixture, steps, args.seed, pages.table),
        sampler_tables(mixture, yardstick, steps, pages.table),
        schedule_table(mixture, yardstick, steps, pages.table),
        network_tables(mixture, trained, yardstick, steps, pages.table),
    ]
    size = sum(weight.numel() for weight in network.parameters())
    made = (
        f"Made by `scripts/diffusion_2d.py`: {args.points:,} samples each, seed {args.seed}; the network has {size:,} "
        f"weights and saw {seen:,} points; {time.process_time() - started:.0f} CPU seconds in all."
    )
    text = "\n\n".join([*texts, made])
    if args.page:
        write_text(args.page, page(played(mixture, trained, args.seed)))
    if args.write:
        pages.write_block(args.write, BLOCK, text)
    print(text)


if __name__ == "__main__":
    run_script(main)
