"""Many chains predicted to be trained on: each once, the untrustworthy left out, and how far each can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from anfinsen.common.distilled import BACKBONE, DistilledFolder, DistilledRecord
from anfinsen.common.errors import ConfigError, InputError, OutputError
from anfinsen.common.progress import Progress, Silent
from anfinsen.metrics import superposed_scores

from .distillation_inputs import Unlabelled
from .prediction import Prediction, RankedSample
from .predictor import Predictor
from .record import fingerprint
from .runner import Outcome, failure

_CA = BACKBONE.index("CA")
_CENTI = 100  # stored coordinates are in 0.01 Å


@dataclass(frozen=True)
class DistillConfig:
    """What is kept of the predictions.

    Attributes:
        min_plddt: residues below it are not learnt (unlabelled sequences only: in cross-distillation disorder, of which
            a model is never sure, is what is to be learnt). 50 is what AlphaFold 2's authors call very low.
        min_confident: chains with a smaller share of such residues are left out; the value is ours.
        min_gdt: in cross-distillation, chains whose GDT-TS against what is resolved is smaller are left out; the value
            is ours.
    """

    min_plddt: float = 50.0
    min_confident: float = 0.5
    min_gdt: float = 0.6

    def __post_init__(self) -> None:
        for name, most in (("min_plddt", 100.0), ("min_confident", 1.0), ("min_gdt", 1.0)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(f"Option {name!r} is {value}: expected 0 to {most:g}.")


@dataclass(frozen=True)
class DistilledChain:
    """A kept chain: its record, and what it was made from.

    Attributes:
        record: sequence, confidence, mask. prediction, ranked: the structure. alignment: its text, or empty.
    """

    record: DistilledRecord
    prediction: Prediction
    ranked: RankedSample
    alignment: str


WriteChain = Callable[[DistilledChain, DistilledFolder], None]
"""Writes structure and alignment of one kept chain into a folder."""


@dataclass(frozen=True)
class Verdict:
    """Which residues may be learnt, the GDT-TS where a structure is known, and why the chain is left out, if it is."""

    confident: Bool[np.ndarray, "L"]
    gdt: float | None
    reason: str


def judge(
    request: Unlabelled, plddt: Float[np.ndarray, "L"], ca: Float[np.ndarray, "L 3"], config: DistillConfig
) -> Verdict:
    """Return what may be learnt of a predicted chain.

    Args:
        request: says what is known of the structure. plddt: per residue, 0 to 100. ca: predicted, Å.
        config: thresholds.
    """
    if request.known is None:
        confident = plddt >= config.min_plddt
        share = float(confident.mean())
        reason = ""
        if share < config.min_confident or not confident.any():
            reason = f"{share:.0%} of the residues have a pLDDT of {config.min_plddt:g} or more."
        return Verdict(confident, None, reason)
    known = request.known
    gdt = superposed_scores(ca, known.ca, known.resolved).gdt_ts
    reason = f"Its GDT-TS against what is resolved is {gdt:.2f}." if gdt < config.min_gdt else ""
    return Verdict(np.ones(len(plddt), dtype=bool), gdt, reason)


def run_distillation(
    requests: Sequence[Unlabelled],
    predictor: Predictor,
    folder: DistilledFolder,
    write: WriteChain,
    *,
    config: DistillConfig | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Outcome, DistilledRecord | None]]:
    """Predict the chains one by one; yield what became of each, and its record unless it failed.

    A chain with a record of the same run is skipped; one of another run is left alone and the chain fails, unless
    ``overwrite``. The record is written last, so that a chain with a record is whole.

    Raises:
        KeyboardInterrupt: passed on; finished chains are whole, the running one has no record.
    """
    config, progress = config or DistillConfig(), progress or Silent()
    for request in requests:
        log = folder.path / f"{request.name}.error.log"
        try:
            run = _fingerprint(request, predictor, config)
            done = _done(folder, request.name, run, overwrite)
            if done is not None:
                yield Outcome(request.name, "skipped", folder.path), done
                continue
            prediction = predictor.predict(request.job)
            chain = distilled_chain(request, prediction, config, run)
            folder.forget(request.name)
            if chain.record.kept:
                progress.stage("Writing the chain", 1)
                write(chain, folder)
            folder.write(chain.record)
            with suppress(OSError):
                log.unlink(missing_ok=True)
        except Exception as error:
            yield failure(request.name, error, log), None
            continue
        yield Outcome(request.name, "done", folder.path), chain.record


def distilled_chain(
    request: Unlabelled, prediction: Prediction, config: DistillConfig, run: dict[str, Any]
) -> DistilledChain:
    """Return the structure of ``prediction`` that is ranked first, and what may be learnt of it.

    ``run`` is everything that decides the result.
    """
    ranked = prediction.ranking[0]
    atoms = prediction.structure.atoms
    coordinates = prediction.coordinates(ranked).astype(np.float64)
    count = np.bincount(atoms.residue)
    plddt = np.bincount(atoms.residue, weights=prediction.confidence(ranked).atom_plddt) / count
    backbone = coordinates[_backbone(prediction)]
    verdict = judge(request, plddt, backbone[:, _CA], config)
    record = DistilledRecord(
        name=request.name,
        sequence=request.sequence,
        kept=not verdict.reason,
        reason=verdict.reason,
        plddt=tuple(round(float(value), 2) for value in plddt),
        confident=tuple(bool(value) for value in verdict.confident),
        backbone=tuple(np.rint(_CENTI * backbone).astype(np.int64).ravel().tolist()),
        gdt=None if verdict.gdt is None else round(verdict.gdt, 4),
        source=Path(request.source).name,
        model=prediction.weights.name,
        weights_sha256=prediction.weights.sha256,
        fingerprint=run,
    )
    return DistilledChain(record, prediction, ranked, request.alignment)


def _backbone(prediction: Prediction) -> Int[np.ndarray, "L 4"]:
    """Atoms N, CA, C and O of every residue of the one chain."""
    structure = prediction.structure
    names = structure.atoms.name
    columns = [np.flatnonzero(names == name) for name in BACKBONE]
    if any(len(column) != len(structure.residues) for column in columns):
        raise InputError(f"Chain {structure.name!r} has residues without a whole backbone: it cannot be distilled.")
    return np.stack(columns, axis=1)


def _fingerprint(request: Unlabelled, predictor: Predictor, config: DistillConfig) -> dict[str, Any]:
    known = request.known
    truth = None if known is None else hashlib.sha256(known.ca.tobytes() + known.resolved.tobytes()).hexdigest()
    run = fingerprint(request.job, predictor).record() | asdict(config) | {"known": truth}
    result: dict[str, Any] = json.loads(json.dumps(run))  # tuples and lists are the same in records
    return result


def _done(folder: DistilledFolder, name: str, run: dict[str, Any], overwrite: bool) -> DistilledRecord | None:
    """Return the record of a chain that the same run has made; None where it must be made.

    Raises:
        OutputError: another run made it. InputError: the record is broken.
    """
    if overwrite or not folder.record(name).exists():
        return None
    record = folder.read(name)
    if record.fingerprint != run:
        differs = sorted(key for key in {*run, *record.fingerprint} if run.get(key) != record.fingerprint.get(key))
        raise OutputError(
            f"{folder.record(name)} is of another run; it differs in {', '.join(differs)}: give --overwrite to replace "
            "it, or choose another folder with --out."
        )
    if record.kept and not folder.structure(name).is_file():
        return None
    return record
