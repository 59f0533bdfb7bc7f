"""`anfinsen distill`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError

from .arguments import Device, Model, Recycles, Seeds, Steps, Weights, predict_options
from .failures import report_failures

if TYPE_CHECKING:
    from anfinsen.common.distilled import DistilledRecord
    from anfinsen.inference import Outcome
    from anfinsen.inference.distillation_inputs import Unlabelled

    from .terminal import Terminal

# AlphaFold 3 learns from AlphaFold 2 how disorder looks (supplement section 2.5.1), not from itself.
CROSS_TEACHER = "alphafold2-mini"

Inputs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="INPUT...",
        help="FASTA files, job files or alignments (.a3m), or folders of them. With --cross: alignments of its chains.",
        show_default=False,
    ),
]


def distill(
    inputs: Inputs = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set; a run there goes on.")] = Path(
        "distilled"
    ),
    cross: Annotated[
        Path | None,
        typer.Option(
            metavar="STRUCTURES",
            help="Predict the partly unresolved chains of these structure files, and compare with what is resolved; "
            f"by {CROSS_TEACHER} unless --model or --weights is given.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    weights: Weights = None,
    seeds: Seeds = None,
    samples: Annotated[int, typer.Option(metavar="N", help="Structures per seed; the best-ranked is kept.")] = 1,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "auto",
    min_plddt: Annotated[float, typer.Option(metavar="X", help="Residues below it are not learnt.")] = 50.0,
    min_confident: Annotated[
        float, typer.Option(metavar="X", help="Chains with a smaller share of confident residues are left out.")
    ] = 0.5,
    min_gdt: Annotated[
        float, typer.Option(metavar="X", help="With --cross: chains that agree less (GDT-TS, 0 to 1) are left out.")
    ] = 0.6,
    min_unresolved: Annotated[
        int, typer.Option(metavar="N", help="With --cross: unresolved residues, in stretches of 5 and more.")
    ] = 40,
    longest: Annotated[
        int | None, typer.Option(metavar="N", help="Leave out longer chains.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished chains again.")] = False,
) -> int:
    """Predict proteins and write what can be trusted as a data set for training.

    Finished chains are skipped, so that an interrupted run goes on where it stopped.
    """
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.common.distilled import DistilledFolder
    from anfinsen.inference import failure, make_predictor
    from anfinsen.inference.distillation import DistillConfig, run_distillation
    from anfinsen.reports.distillation import finish, require_parquet, summary_sentence, write_chain

    from .terminal import Terminal

    if not inputs and cross is None:
        raise ConfigError("Nothing to predict: give FASTA, job or alignment files, or --cross with structure files.")
    require_parquet()
    if cross is not None and model is None and weights is None:
        model = CROSS_TEACHER
    options = predict_options(model, weights, seeds, samples, (recycles, steps, None), device)
    config = DistillConfig(min_plddt, min_confident, min_gdt)
    folder = DistilledFolder(out)
    with Terminal() as terminal:
        requests, failed = _requests(inputs or [], cross, min_unresolved, longest, terminal)
        outcomes = list(failed)
        if requests:
            predictor = make_predictor(options, terminal)
            folder.begin("self" if cross is None else "cross")
            try:
                for outcome, record in run_distillation(
                    requests, predictor, folder, write_chain, config=config, overwrite=overwrite, progress=terminal
                ):
                    terminal.clear()
                    _show(outcome, record)
                    outcomes.append(outcome)
            finally:
                # After Ctrl-C too: what was finished can be trained on.
                summary = finish(folder)
            terminal.clear()
            typer.echo(summary_sentence(summary, out))
            named = {outcome.name for outcome in outcomes if outcome.status == "failed"}
            outcomes.extend(failure(name, error) for name, error in summary.broken.items() if name not in named)
        elif not failed:
            raise ConfigError("No chain is to be predicted: all are too long, or too well resolved for --cross.")
    return report_failures(outcomes)


def _requests(
    inputs: list[Path], cross: Path | None, min_unresolved: int, longest: int | None, terminal: Terminal
) -> tuple[tuple[Unlabelled, ...], tuple[Outcome, ...]]:
    from anfinsen.inference.distillation_cross import CrossConfig, partly_unresolved
    from anfinsen.inference.distillation_inputs import read_unlabelled

    given, failed, too_long = read_unlabelled(inputs, longest)
    if too_long:
        terminal.note(f"{too_long} chains have more than {longest} residues and are left out.")
    if cross is None:
        return given, failed
    alignments = {each.sequence: each.alignment for each in given if each.alignment}
    found, unreadable = partly_unresolved(cross, alignments, CrossConfig(min_unresolved, longest), terminal)
    aligned = sum(bool(each.alignment) for each in found)
    terminal.note(f"{len(found)} partly unresolved chains, {aligned} of them with an alignment.")
    # A folder of structures is seldom without files that cannot be read: that is no failure of the command.
    for outcome in unreadable:
        terminal.note(f"{outcome.name} is left out: {outcome.message}")
    return found, failed


def _show(outcome: Outcome, record: DistilledRecord | None) -> None:
    if record is None:
        return
    if not record.kept:
        typer.echo(f"{outcome.name}: left out. {record.reason}")
        return
    agreement = "" if record.gdt is None else f", GDT-TS {record.gdt:.2f}"
    done = "done already" if outcome.status == "skipped" else "kept"
    typer.echo(
        f"{outcome.name}: {done}, {sum(record.confident)} of {len(record.sequence)} residues, mean pLDDT "
        f"{record.mean_plddt:.0f}{agreement}"
    )
