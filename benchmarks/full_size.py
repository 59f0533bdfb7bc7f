"""Whether the published sizes get through a large complex on this machine: CPU seconds and peak memory of every stage.

    python benchmarks/full_size.py [--tokens 512] [--recycles 0] [--steps 2] [--samples 1]
    python benchmarks/full_size.py --model alphafold2-ptm:random --tokens 1000 [--extra-rows 5120] [--blocks 1]
        [--without-arithmetic]

Weights and alignments are random: memory and time do not depend on their values. The cost of a block, a recycle and a
step is linear, and blocks, like recycles, share their buffers (compare the peaks of `--blocks 1` and `--blocks 2`), so
that a real run's figures follow from those printed. `--without-arithmetic` fills the results of products, attention and
normalisation with zeros (`dry_run.py`): the memory is that of a real run, the seconds mean nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from dry_run import WithoutArithmetic
from harness import peak_memory, start_peak

from anfinsen.common.script import positive, run_script
from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.features import featurise, prepare_job
from anfinsen.jobs import Job
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config, alphafold2_config
from anfinsen.nn.batch import AlphaFold2Batch
from anfinsen.weights import load_model

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
ALPHAFOLD2, RANDOM = "alphafold2-", ":random"
peaks: list[float] = []  # GiB, of all that ran so far


def peak() -> float:
    """GiB of resident memory at most since the last stage began; kept for the last line."""
    peaks.append(peak_memory() / 1024)
    return peaks[-1]


@contextmanager
def stage(name: str) -> Iterator[None]:
    start_peak()
    start, cpu = time.monotonic(), time.process_time()
    yield
    wall, used = time.monotonic() - start, time.process_time() - cpu
    print(f"| {name} | {wall:.1f} | {used:.1f} | {peak():.2f} |", flush=True)


def alphafold3(args: argparse.Namespace) -> None:
    letters = numpy_generator(0, "sequence").choice(list(LETTERS), args.tokens)
    sequence = "".join(letters)
    job = Job.model_validate(
        {"name": "random", "entities": ({"kind": "protein", "ids": ("A",), "sequence": sequence},)}
    )
    with stage("features"):
        batch = featurise(prepare_job(job, 1))
    with stage("weights"):
        model, _ = load_model(args.model)
    with stage(f"trunk, {args.recycles + 1} passes"):
        trunk = model.trunk(batch, recycles=args.recycles, generator=torch_generator(1, "trunk"))
    with stage(f"diffusion, {args.steps} steps, {args.samples} samples"):
        generator = torch_generator(1, "sample")
        x = model.sample(batch, trunk, samples=args.samples, steps=args.steps, generator=generator)
    with stage("confidence"):
        model.confidence(batch, trunk, x)


def alphafold2(args: argparse.Namespace) -> None:
    config = alphafold2_config(args.model.removeprefix(ALPHAFOLD2).removesuffix(RANDOM))
    if args.blocks:
        config = dataclasses.replace(config, evoformer_blocks=args.blocks)
    if args.extra_blocks:
        config = dataclasses.replace(config, extra_blocks=args.extra_blocks)
    extra_rows = config.extra_rows if args.extra_rows is None else args.extra_rows
    with stage("features"):
        batch = random_alphafold2(config, args.tokens, extra_rows)
    with stage("weights"):
        model = AlphaFold2(config).eval()
    trunk = model.trunk
    parts = {
        f"extra rows: {extra_rows}, {len(trunk.extra.blocks)} blocks": trunk.extra,
        f"Evoformer: {config.msa_rows} rows, {len(trunk.evoformer.blocks)} blocks": trunk.evoformer,
        "structure module": model.structure,
        "heads": model.heads,
    }
    if trunk.templates is not None:
        parts = {f"templates: {config.template_count}": trunk.templates, **parts}
    for name, module in parts.items():
        measure(name, module)
    with stage(f"all of these, {args.recycles + 1} passes"), WithoutArithmetic() if args.dry else nullcontext():
        model(batch, recycles=args.recycles)
    print(f"\nHighest peak: {max(peaks):.2f} GiB")


def measure(name: str, module: torch.nn.Module) -> None:
    """Print a line for every run of ``module``."""
    opened = []

    def before(*_: object) -> None:
        peak()  # of what ran since the last stage
        opened.append(stage(name))
        opened[-1].__enter__()

    def after(*_: object) -> None:
        opened.pop().__exit__(None, None, None)
        start_peak()

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


def random_alphafold2(config: AlphaFold2Config, n: int, extra_rows: int) -> AlphaFold2Batch:
    """One chain with full alignments and templates of random residues."""
    generator = torch_generator(1, "features")

    def types(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=generator)

    def places(*shape: int) -> torch.Tensor:
        return 20 * torch.randn(shape, generator=generator)

    def known(*shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=torch.bool)

    s, t = config.msa_rows, config.template_count if config.templates else 0
    zeros, torsions = torch.zeros(s, n), torch.nn.functional.normalize(places(t, n, 7, 2), dim=-1)
    one = torch.zeros(n, dtype=torch.long)
    return AlphaFold2Batch(
        aatype=types(20, n), residue_index=torch.arange(n), asym_id=one, entity_id=one, sym_id=one, mask=known(n),
        msa=types(22, s, n), has_deletion=zeros, deletion_value=zeros, deletion_mean=zeros,
        cluster_profile=torch.full((s, n, 23), 1 / 23), msa_mask=known(s, n), extra_msa=types(22, extra_rows, n),
        extra_has_deletion=torch.zeros(extra_rows, n), extra_deletion_value=torch.zeros(extra_rows, n),
        extra_msa_mask=known(extra_rows, n), pair_couplings=torch.zeros(n, n, 0), template_aatype=types(20, t, n),
        template_mask=known(t), template_pseudo_beta=places(t, n, 3), template_pseudo_beta_mask=known(t, n),
        template_backbone=places(t, n, 3, 3), template_backbone_mask=known(t, n), template_torsions=torsions,
        template_alternative_torsions=torsions, template_torsion_mask=known(t, n, 7),
    )  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="or residues")
    parser.add_argument("--model", default="alphafold3-full:random", help="with :random; also alphafold2-ptm:random")
    parser.add_argument("--recycles", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2, help="of AlphaFold 3's diffusion")
    parser.add_argument("--samples", type=positive, default=1, help="of AlphaFold 3")
    parser.add_argument("--extra-rows", type=int, help="AlphaFold 2: extra alignment rows (default: the preset's)")
    parser.add_argument("--blocks", type=int, help="AlphaFold 2: Evoformer blocks (default: the preset's)")
    parser.add_argument("--extra-blocks", type=int, help="AlphaFold 2: blocks of the extra stack (likewise)")
    parser.add_argument("--without-arithmetic", dest="dry", action="store_true", help="AlphaFold 2: memory only")
    args = parser.parse_args()
    print("| stage | wall s | CPU s | peak GiB |\n|---|---|---|---|")
    (alphafold2 if args.model.startswith(ALPHAFOLD2) else alphafold3)(args)


if __name__ == "__main__":
    run_script(main)
