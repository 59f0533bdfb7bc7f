"""Whether the scores of `anfinsen evaluate` are those of independent programs, on real pairs of structures.

Run: python benchmarks/metrics_agreement.py PREDICTED REFERENCES [--ost ost] [--dockq DockQ] [--tmalign TMalign]
PREDICTED and REFERENCES are folders of structures, paired by name as `anfinsen evaluate` pairs them. Programs:
OpenStructure (apt-get install openstructure; Debian's `ost` may look for its own files in a wrong folder: then
--ost /usr/bin/python3, which finds them), DockQ (python3 -m venv DIR && DIR/bin/pip install 'DockQ==2.1.3' 'numpy<2';
--dockq DIR/bin/DockQ) and TM-align (apt-get install tm-align). What is not installed is left out, which is said.

Of each file the polymers of the first model are written anew as PDB (heavy atoms, first of alternative places, chains
of one letter), and everything, ours too, reads that: what is compared are scores, not readers of files. OpenStructure
and TM-align -I are told which residues belong together, in one chain; DockQ and TM-align find that out. Prints a
Markdown table, and each value that differs by more than 0.001. docs/evaluation.md quotes it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pages
from metrics_programs import PAIRING, Program, Value, dockq, openstructure, read_case, tm_align

from anfinsen.common.errors import AnfinsenError, InputError
from anfinsen.common.script import run_script
from anfinsen.common.text import counted
from anfinsen.inference.evaluation_files import comparisons, unmatched

TOLERANCE = 1e-3  # of a score, or Å: what differs by more is listed


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predicted", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--ost", default="ost", help="what runs a script with OpenStructure: ost, or its Python")
    parser.add_argument("--dockq", default="DockQ", help="the command of DockQ, in an environment of its own")
    parser.add_argument("--tmalign", default="TMalign", help="the command of TM-align")
    return parser.parse_args(arguments)


def started(args: argparse.Namespace) -> tuple[list[Program], list[str]]:
    """The programs that are there, and a sentence about each of the others.

    Raises:
        InputError: there is none.
    """
    known = (
        ("OpenStructure", "--ost", args.ost, openstructure, "apt-get install openstructure"),
        ("DockQ", "--dockq", args.dockq, dockq, "pip install 'DockQ==2.1.3' 'numpy<2', in an environment of its own"),
        ("TM-align", "--tmalign", args.tmalign, tm_align, "apt-get install tm-align"),
    )
    programs, notes = [], []
    for title, option, command, start, install in known:
        try:
            if shutil.which(command) is None:
                raise InputError(f"there is no command `{command}`")
            programs.append(start(command))
        except InputError as error:
            notes.append(f"{title} is left out: {error}. Install it ({install}), or say where it is ({option}).")
    if not programs:
        raise InputError(f"No program to compare with was found. {' '.join(notes)}")
    return programs, notes


def report(values: Sequence[tuple[str, Value]], notes: Sequence[str]) -> str:
    """Return the table, each value that differs, and ``notes``, as Markdown."""
    lines, far, paired = [], [], []
    for score, title in dict.fromkeys((value.score, title) for title, value in values):
        group = [value for program, value in values if (value.score, program) == (score, title)]
        pairs = len({value.pair for value in group})
        if score == PAIRING:
            alike = sum(value.ours == value.theirs for value in group)
            paired.append(f"{title} pairs the chains as we do in {alike} of {counted(pairs, 'pair')}.")
            continue
        gaps = [abs(value.ours - value.theirs) for value in group if value.theirs is not None]
        shown = [f"{gap:.5f}" for gap in (max(gaps), float(np.median(gaps)))] if gaps else ["–", "–"]
        lines.append((score, title, pairs, len(gaps), *shown))
        for value in group:
            if value.theirs is None or abs(value.ours - value.theirs) > TOLERANCE:
                their = "no value" if value.theirs is None else f"{value.theirs:.5f}"
                far.append(f"- {value.pair}, {value.what}: {score} {value.ours:.5f}, {title} {their}")
    header = ("score", "program", "pairs", "values", "largest difference", "median difference")
    number = sum(value.score != PAIRING for _, value in values)
    listing = "\n".join([f"Differ by more than {TOLERANCE:g}: {len(far)} of {counted(number, 'value')}.", "", *far])
    return "\n\n".join([pages.table(header, lines), *paired, listing.strip(), *notes])


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(arguments)
    programs, notes = started(args)
    tasks = comparisons([("predicted", args.predicted)], [args.references])
    notes += unmatched(tasks, [args.references])
    values: list[tuple[str, Value]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, task in enumerate(tasks):
            try:
                case = read_case(task, Path(folder) / str(number))
            except AnfinsenError as error:
                notes.append(f"{task.name} is left out: {error}")
                continue
            for program in programs:
                try:
                    found = list(program.compare(case))
                except InputError as error:
                    notes.append(f"{task.name} is left out of {program.title}: {error}")
                    continue
                values += [(program.title, value) for value in found if isinstance(value, Value)]
                notes += [note for note in found if isinstance(note, str)]
    if not values:
        raise InputError(f"There is nothing to compare. {' '.join(notes)}")
    print(report(values, notes))


if __name__ == "__main__":
    run_script(main)
