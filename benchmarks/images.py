"""How good the image models are: CLIP, DALL·E 2 against DALL·E 1, and what each part of DALL·E 2 is worth.

Run: python benchmarks/images.py DATA --results FOLDER [--write docs/results.md] [--plot docs/images/image-steps.svg]
     [--parts clip,comparison,guidance,steps,edits] [--limit 500] [--sweep 64] [--edits 32] [--workers 1] [--threads 1]
     [--splits test,heldout]
DATA is the folder that `scripts/image_data.py` makes. The bundled weights are used, or those of --weights NAME=FILE.
Captions are those of scenes of the split `test`, and of `heldout`, where one combination of shape and colour was never
seen in training; nothing is tuned on either (`--splits validation` is for that). Attributes are read back from the
pictures by a program that knows the renderer (`anfinsen.images.checker`). Fréchet and kernel distance are in the
features of our own CLIP: they are not the FID and KID of the literature. All arms draw the same captions from the same
seeds; brackets: 95 % bootstrap over pictures. FOLDER keeps a record of each arm and its pictures; an interrupted run
goes on, and arms whose weights or settings changed are drawn anew. Prints Markdown tables; --write puts them into a
page between the comments `<!-- images: begin -->` and `<!-- images: end -->`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import images_arms as arms
import images_scores as scores
import images_tables as tables
import numpy as np
import pages
import torch
from images_arms import Arm, Record, Records, Setting

from anfinsen.common.errors import ConfigError
from anfinsen.common.script import positive, run_script
from anfinsen.images.datasets import ImageTextDataset, from_bytes
from anfinsen.inference.images.shared import CANDIDATES

PARTS = ("clip", "comparison", "guidance", "steps", "edits")
CLIP, VARIATIONS, INTERPOLATION = "CLIP", "variations", "interpolation"
UNCHOSEN = "variations, not chosen among several"
EACH = 2  # variations of a picture
BLOCK = "images"


@dataclass(frozen=True)
class Plan:
    """Which parts are run, on how many pictures."""

    parts: tuple[str, ...]
    limit: int
    sweep: int
    edits: int
    splits: tuple[str, ...] = arms.SPLITS

    @property
    def drawn(self) -> dict[str, list[Arm]]:
        """Return the arms of each part that draws from captions."""
        every = {
            "comparison": arms.comparison_arms(self.limit, self.splits),
            "guidance": arms.guidance_arms(self.sweep, self.splits[0]),
            "steps": arms.step_arms(self.sweep, self.splits[0]),
        }
        return {part: found for part, found in every.items() if part in self.parts}

    @property
    def tasks(self) -> list[Arm]:
        """Return all that is to do; those that draw nothing from captions are arms by name."""
        found = [Arm(CLIP, CLIP, "", 0)] if "clip" in self.parts else []
        found += [arm for each in self.drawn.values() for arm in each]
        if "edits" in self.parts:
            found += [
                Arm(VARIATIONS, VARIATIONS, self.splits[0], self.edits),
                Arm(UNCHOSEN, VARIATIONS, self.splits[0], self.edits, candidates=1),
                Arm(INTERPOLATION, INTERPOLATION, self.splits[0], self.edits),
            ]
        return found


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="keeps records and pictures")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--limit", type=positive, default=500, help="pictures of each arm of the comparison")
    parser.add_argument("--sweep", type=positive, default=64, help="pictures of each arm of a sweep")
    parser.add_argument(
        "--edits", type=positive, default=32, help="pictures that are varied, and pairs between which to go"
    )
    parser.add_argument(
        "--splits", default=",".join(arms.SPLITS), help="of the comparison; sweeps and edits take the first"
    )
    parser.add_argument("--steps", type=int, default=0, help="of the decoder where no sweep says; 0: the product's")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--workers", type=positive, default=1, help="processes, an arm each")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")), help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, metavar="SVG", help="where to draw the sweep over steps")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose marked block is replaced")
    args = parser.parse_args(arguments)
    args.parts = _names("part", args.parts, PARTS)
    args.splits = _names("split", args.splits, tables.SPLITS)
    if len(set(args.splits)) < len(args.splits):
        raise ConfigError(f"A split is named twice in {','.join(args.splits)}: name each once.")
    return args


def _names(what: str, text: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the names in a text with commas between them; unknown ones are refused."""
    names = tuple(text.split(","))
    unknown = set(names) - set(known)
    if unknown:
        raise ConfigError(f"Unknown {what} {sorted(unknown)[0]!r}: expected some of {', '.join(known)}.")
    return names


def work(arm: Arm, setting: Setting) -> tuple[Record, np.ndarray | None]:
    """Do one task; return its record, and the pictures if it drew any from captions."""
    torch.set_num_threads(setting.threads)
    if arm.model not in (CLIP, VARIATIONS, INTERPOLATION):
        return arms.run(arm, setting)
    record: Record = {"arm": arm.name, "key": key_of(arm, setting)}
    if arm.model == CLIP:
        clip, tokenizer, info = arms.clip_alone(setting.files)
        datasets = {split: ImageTextDataset(setting.data, split) for split in ("test", "heldout")}
        record["weights"] = {"clip": info.sha256}
        return record | scores.clip_record(scores.Encoder(clip, tokenizer), datasets), None
    pipe = arms.pipeline(arms.DALLE2, tuple(sorted(setting.of(arms.DALLE2).items())))
    several = 2 if arm.model == INTERPOLATION else 1
    what = arms.Prompts(setting.data, arm.split, several * arm.pictures)
    pictures, steps = from_bytes(what.pictures), setting.steps or None
    if arm.model == VARIATIONS:
        with arms.as_in(pipe, arm):
            return record | scores.variation_record(pipe, pictures, what.scenes, EACH, setting.seed, steps), None
    return record | scores.interpolation_record(pipe, pictures, arm.pictures, setting.seed, steps), None


def key_of(arm: Arm, setting: Setting) -> str:
    if arm.model == CLIP:
        return arms.digest(CLIP, arms.clip_alone(setting.files)[-1].sha256, arms.about(setting.data))
    return arms.key_of(arm, setting)


def run_all(tasks: Sequence[Arm], setting: Setting, records: Records, workers: int) -> dict[str, Record]:
    """Do what is not done yet, in ``workers`` processes; return the records by name."""
    keys = {arm.name: key_of(arm, setting) for arm in tasks}
    left = [arm for arm in tasks if records.find(arm.name, keys[arm.name]) is None]
    if workers == 1 or len(left) < 2:
        for arm in left:
            _keep(records, arm, *work(arm, setting))
    else:
        # Each process is started afresh: threads of a forked one would hang.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(work, arm, setting): arm for arm in left}
            for done in as_completed(waiting):
                _keep(records, waiting[done], *done.result())
    return {name: record for name, key in keys.items() if (record := records.find(name, key)) is not None}


def _keep(records: Records, arm: Arm, record: Record, pictures: np.ndarray | None) -> None:
    records.add(record, pictures)
    print(f"{arm.name}: done", file=sys.stderr, flush=True)


def distances(steps: Sequence[Arm], found: dict[str, Record], records: Records) -> dict[str, float]:
    """Return how far each arm's pictures are from those of the most Heun steps, from 0 to 1."""
    heun = [arm for arm in steps if arm.sampler == "heun" and arm.name in found]
    if not heun:
        return {}
    best = max(heun, key=lambda arm: arm.steps)
    target = np.load(records.pictures_path(found[best.name])).astype(np.float32)
    apart = {
        arm.name: float(np.sqrt(np.mean(np.square(np.load(records.pictures_path(found[arm.name])) - target))) / 255)
        for arm in steps
        if arm.name in found
    }
    del apart[best.name]
    return apart


def report(plan: Plan, found: dict[str, Record], records: Records, plot: Path | None) -> str:
    """Return all tables that there are figures for, and draw the plot."""
    parts, drawn = [], plan.drawn
    if CLIP in found:
        parts.append(tables.clip_tables(found[CLIP]))
    if "comparison" in drawn:
        parts.append(tables.comparison_tables(found, drawn["comparison"]))
    if "guidance" in drawn:
        parts.append(tables.guidance_table(found, drawn["guidance"]))
    if "steps" in drawn:
        apart = distances(drawn["steps"], found, records)
        parts.append(tables.steps_table(found, drawn["steps"], apart))
        if plot:
            tables.plot_steps(plot, found, drawn["steps"], apart)
    varied = {
        f"best of {CANDIDATES} by CLIP, %": found.get(VARIATIONS),
        "one each, %": found.get(UNCHOSEN),
    }
    parts.append(tables.edit_tables(varied, found.get(INTERPOLATION), plan.splits[0]))
    return "\n\n".join(part for part in parts if part)


def made_by(plan: Plan, setting: Setting, found: dict[str, Record]) -> str:
    """Return the sentence that says how the tables were made."""
    used = {name: digest for row in found.values() for name, digest in row.get("weights", {}).items()}
    files = ", ".join(f"{name} `{digest[:12]}`" for name, digest in sorted(used.items()))
    told = [f"Made by `benchmarks/images.py`, seed {setting.seed}, on a CPU."]
    if "comparison" in plan.parts:
        told.append(f"The comparison draws {plan.limit} captions of each split.")
    if {"guidance", "steps"} & set(plan.parts):
        told.append(f"A sweep draws {plan.sweep} captions of `{plan.splits[0]}` in each arm.")
    reference = {row["reference"] for row in found.values() if "reference" in row}
    if reference:
        told.append(
            f"Distances are to {max(reference):,} other real scenes of the split, in our own CLIP's features: neither "
            "FID nor KID."
        )
    return " ".join([*told, f"Weights, with the start of their SHA-256: {files}."])


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    if args.write:
        pages.with_block(args.write, BLOCK, "")  # before hours are spent
    plan = Plan(args.parts, args.limit, args.sweep, args.edits, args.splits)
    setting = Setting(args.data, arms.files_of(args.weights), args.seed, args.threads, args.steps)
    records = Records(args.results)
    found = run_all(plan.tasks, setting, records, args.workers)
    text = f"{made_by(plan, setting, found)}\n\n{report(plan, found, records, args.plot)}"
    if args.write:
        pages.write_block(args.write, BLOCK, text)
    print(text)


if __name__ == "__main__":
    run_script(main)
