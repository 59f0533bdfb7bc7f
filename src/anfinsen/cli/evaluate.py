"""`anfinsen evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError

from .failures import report_failures

if TYPE_CHECKING:
    from anfinsen.inference.evaluation_run import Judged

SHOWN = ("lddt", "lddt_ca", "tm_score", "gdt_ts", "rmsd", "dockq", "ligand_rmsd", "plddt")  # on the screen
MOST_ROWS = 40  # on the screen; the files have all

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="[PREDICTED] REFERENCE...",
        help="Predictions (a structure file, a results folder, or a folder of either), then references (files "
        "or folders of them). With --model, references only.",
        show_default=False,
    ),
]


def evaluate(
    paths: Paths,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Predictions of one model; repeat it to compare several."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Class of each entry: a header, then lines of entry,class.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results.")] = Path("evaluation"),
    all_samples: Annotated[
        bool, typer.Option("--all-samples", help="Judge every structure of a job, not only the one ranked first.")
    ] = False,
    plddt: Annotated[bool, typer.Option(help="Take B-factors of predictions as pLDDT.")] = True,
    posebusters: Annotated[bool, typer.Option("--posebusters", help="Check the poses of ligands too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation that is there.")] = False,
) -> int:
    """Judge predictions against known structures: chains, residues and ligands are matched, entries by file names."""
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference import prepare_output
    from anfinsen.inference.evaluation_files import comparisons, unmatched
    from anfinsen.inference.evaluation_run import run_evaluations
    from anfinsen.reports.evaluation import check_target, write_evaluation

    from .terminal import Terminal

    models, references = _models(paths, model or [])
    tasks = comparisons(models, references, classes, every_sample=all_samples)
    check_target(out, overwrite=overwrite)
    prepare_output(out.resolve().parent)
    with Terminal() as terminal:
        judged = list(run_evaluations(tasks, plddt=plddt, poses=posebusters, progress=terminal))
        terminal.clear()
    if not any(each.evaluation for each in judged):
        return report_failures([each.outcome for each in judged])
    notes = write_evaluation(judged, out)
    _show(judged, out)
    for note in dict.fromkeys((*notes, *unmatched(tasks, references, classes), *_common_notes(judged))):
        typer.echo(f"note: {note}", err=True)
    return report_failures([each.outcome for each in judged])


def _models(paths: list[Path], given: list[str]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Return the models' names with their predictions, and the references.

    Raises:
        ConfigError: a model has no name or two have one, or there is no reference.
    """
    if not given:
        if len(paths) < 2:
            raise ConfigError(
                f"Only {str(paths[0])!r} is given: expected predictions and at least one reference, "
                "`anfinsen evaluate PREDICTED REFERENCE`."
            )
        return [(paths[0].resolve().name or "predictions", paths[0])], paths[1:]
    models: dict[str, Path] = {}
    for text in given:
        name, equals, place = text.partition("=")
        if not (name.strip() and equals and place):
            raise ConfigError(f"Option --model is {text!r}: expected NAME=PATH, such as mine=results/.")
        if name.strip() in models:
            raise ConfigError(f"Option --model names {name.strip()!r} twice: give each model a name of its own.")
        models[name.strip()] = Path(place)
    return list(models.items()), paths


def _show(judged: list[Judged], out: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from anfinsen.inference.evaluation_scores import SCORES
    from anfinsen.reports.evaluation_summary import Summary

    summary = Summary.of(judged)
    names = [name for name in SHOWN if name in summary.scores()]
    done = [each for each in judged if each.evaluation is not None]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("model", "entry"):
        table.add_column(title, overflow="fold")
    for name in names:
        table.add_column(SCORES[name].label, justify="right", no_wrap=True)
    for each in done[:MOST_ROWS]:
        assert each.evaluation is not None
        cells = [_shown(name, each.evaluation.scores.get(name)) for name in names]
        table.add_row(escape(each.comparison.model), escape(each.comparison.name), *cells)
    console = Console(highlight=False, soft_wrap=True)
    # Means side by side are of the same entries; the files have each model's own, too.
    shared = {name: summary.shared(name) for name in names}
    if len(done) > 1:
        table.add_section()
        for model in summary.models:
            columns = {name: shared[name].get(model, []) for name in names}
            cells = [_shown(name, sum(own) / len(own) if own else None) for name, own in columns.items()]
            count = max((len(own) for own in columns.values()), default=0)
            if not count:
                continue
            table.add_row(escape(model), f"mean of {count}", *cells)
    if done:
        console.print(table)
    if len(summary.models) > 1 and any(
        len(own) > len(shared[name].get(model, [])) for name in names for model, own in summary.values(name).items()
    ):
        console.print(
            "Means are over the entries that all models have; the files have each model's own."
            if any(any(own.values()) for own in shared.values())
            else "The models have no entry in common, so that no means are shown; the files have each model's own."
        )
    if len(done) > MOST_ROWS:
        console.print(f"The first {MOST_ROWS} of {len(done)} entries are shown.")
    console.print(f"{len(done)} of {len(judged)} comparisons scored; results in {out}", markup=False)
    page = out / "evaluation.html"
    if page.exists():
        console.print(f"Page: {page.resolve()}", markup=False)


def _shown(name: str, value: float | None) -> str:
    from anfinsen.inference.evaluation_scores import SCORES

    return "–" if value is None else f"{value:.{SCORES[name].decimals}f}"


def _common_notes(judged: list[Judged]) -> list[str]:
    """What holds for the whole run, such as an extra that is not installed; of a single comparison everything."""
    return [
        note
        for each in judged
        if each.evaluation
        for note in each.evaluation.notes
        if len(judged) == 1 or "pip install" in note
    ]
