"""Pictures with captions to train image models on: python scripts/image_data.py OUT [--scenes 40000] [--emoji FOLDER]

Writes OUT/{train,validation,test,heldout}-images.npy and .jsonl, and OUT/about.json (see
`anfinsen.images.datasets`). Training has --scenes scenes, each other split a twentieth of that; scenes of `heldout`
show a shape with a colour that no other split has. The emoji are the named drawings of an Iconify package: a folder or
its icons.json given with --emoji, else the Fluent flat set (MIT licence), fetched with `npm pack`; --no-emoji leaves
them out. Needs the extra `images`. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import write_text
from anfinsen.common.script import run_script
from anfinsen.common.seeding import numpy_generator
from anfinsen.images.captions import describe
from anfinsen.images.datasets import SPLITS, Captioned, write_split
from anfinsen.images.emoji import rasterise, read_icons
from anfinsen.images.rendering import PICTURE_SIZE, render
from anfinsen.images.scenes import HELD_OUT, sample_scene, sibling
from anfinsen.images.tokenizer import MOST_TOKENS, Tokenizer

PACKAGE, VERSION = "@iconify-json/fluent-emoji-flat", "1.2.6"
LICENCE = "emoji: Fluent Emoji by Microsoft Corporation, MIT licence (Iconify's package); scenes: made by this script"
OTHER_SPLITS = 20  # times smaller than training

Rows = list[tuple[Captioned, np.ndarray]]


def scenes_of(split: str, number: int, seed: int) -> Rows:
    """Return `number` (even) scenes: siblings side by side, in one wording and drawn from the same numbers."""
    rows: Rows = []
    for pair in range(number // 2):
        generator = numpy_generator(seed, "scenes", split, pair)
        first = sample_scene(generator, held_out=split == "heldout")
        for scene in (first, sibling(first, generator)[0]):
            words = describe(scene, numpy_generator(seed, "captions", split, pair))
            picture = render(scene, numpy_generator(seed, "pictures", split, pair))
            rows.append((Captioned(words, "scenes", scene), picture))
    return rows


def fetch_icons(folder: Path) -> Path:
    """Download the icon set as a package into `folder` and return the path of its icons.json."""
    program = shutil.which("npm")
    if program is None:
        raise ConfigError(f"npm, which fetches the emoji, is not installed: give icons.json of {PACKAGE} with --emoji.")
    done = subprocess.run(
        [program, "pack", f"{PACKAGE}@{VERSION}", "--silent"], cwd=folder, capture_output=True, text=True, check=False
    )
    packages = list(folder.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        raise InputError(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-300:] or 'no file came'}.")
    with tarfile.open(packages[0]) as archive:
        member = archive.extractfile("package/icons.json")
        assert member is not None
        (folder / "icons.json").write_bytes(member.read())
    return folder / "icons.json"


def emoji_of(path: Path, captions: list[str]) -> dict[str, Rows]:
    """Return the emoji of each split, without captions that are too long and pictures that were there before."""
    icons = read_icons(path)
    words = captions + [icon.caption for icon in icons if icon.split == "train"]
    tokenizer = Tokenizer.train(words)
    rows: dict[str, Rows] = {split: [] for split in SPLITS}
    known: set[bytes] = set()
    for icon in icons:
        picture = rasterise(icon.svg)
        if tokenizer.length(icon.caption) <= MOST_TOKENS and picture.tobytes() not in known:
            known.add(picture.tobytes())
            rows[icon.split].append((Captioned(icon.caption, "emoji"), picture))
    return rows


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=40_000)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--no-emoji", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.scenes < 2 * OTHER_SPLITS:
        parser.error(f"--scenes is {options.scenes}: expected at least {2 * OTHER_SPLITS}")
    started = time.process_time()
    (options.out / "about.json").unlink(missing_ok=True)  # until all is there, the folder is not one to train on
    train = options.scenes // 2 * 2
    numbers = {split: train if split == "train" else train // OTHER_SPLITS // 2 * 2 for split in SPLITS}
    rows = {split: scenes_of(split, number, options.seed) for split, number in numbers.items()}
    if not options.no_emoji:
        with tempfile.TemporaryDirectory() as folder:
            path = options.emoji or fetch_icons(Path(folder))
            captions = [row.caption for row, _ in rows["train"]]
            for split, emoji in emoji_of(path, captions).items():
                rows[split].extend(emoji)
    counts = {}
    for split in SPLITS:
        pictures = np.stack([picture for _, picture in rows[split]])
        write_split(options.out, split, pictures, [row for row, _ in rows[split]])
        sources = [row.source for row, _ in rows[split]]
        counts[split] = {source: sources.count(source) for source in sorted(set(sources))}
    about = {
        "seed": options.seed,
        "size": PICTURE_SIZE,
        "pictures": counts,
        "held_out": sorted(" ".join((colour, shape)) for shape, colour in HELD_OUT),
        "emoji": None if options.no_emoji else str(options.emoji or f"{PACKAGE}@{VERSION}"),
        "licence": LICENCE,
        "anfinsen": importlib.metadata.version("anfinsen"),
    }
    write_text(options.out / "about.json", json.dumps(about, indent=2) + "\n")
    print(f"{options.out}: {counts}; {time.process_time() - started:.0f} s of CPU")


if __name__ == "__main__":
    run_script(main)
