"""Means over a data set: by model, by class of entry, and over the entries that every model has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.evaluation_run import Judged
from ..inference.evaluation_scores import SCORES
from ..metrics import calibration_error, reliability, spearman

DECIMALS = 5  # of every number in the files; coordinates have three
EVERY = ""  # the class that holds all entries


@dataclass(frozen=True)
class Summary:
    """The results of one run of `anfinsen evaluate`.

    Attributes:
        judged: every comparison, in order. models, classes: their names, in the order they came; no class is "".
    """

    judged: tuple[Judged, ...]
    models: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Summary:
        """Sort what was judged."""
        models = tuple(dict.fromkeys(each.comparison.model for each in judged))
        kinds = tuple(sorted({each.comparison.kind for each in judged} - {EVERY}))
        return cls(tuple(judged), models, kinds)

    @property
    def failed(self) -> tuple[Judged, ...]:
        """Comparisons without scores."""
        return tuple(each for each in self.judged if each.evaluation is None)

    def values(self, score: str, kind: str = EVERY) -> dict[str, dict[str, float]]:
        """Return a score of each model (outer) and entry (inner), of one class or of all."""
        result: dict[str, dict[str, float]] = {model: {} for model in self.models}
        for each in self.judged:
            task, found = each.comparison, each.evaluation
            if found is not None and score in found.scores and kind in (EVERY, task.kind):
                result[task.model][task.name] = found.scores[score]
        return result

    def common(self, score: str, kind: str = EVERY) -> dict[str, list[float]]:
        """Return a score of each model over the entries for which every model has it, in one order."""
        values = self.values(score, kind)
        entries = set.intersection(*(set(each) for each in values.values())) if values else set()
        return {model: [each[entry] for entry in sorted(entries)] for model, each in values.items()}

    def shared(self, score: str) -> dict[str, list[float]]:
        """Return what :meth:`common` does for the models that have the score at all, as not all have a confidence."""
        values = {model: each for model, each in self.values(score).items() if each}
        entries = set.intersection(*(set(each) for each in values.values())) if values else set()
        return {model: [each[entry] for entry in sorted(entries)] for model, each in values.items()}

    def scores(self) -> tuple[str, ...]:
        """Return the names of all scores that any entry has, in the order of `SCORES`."""
        return tuple(name for name in SCORES if any(self.values(name).values()))

    def model_record(self, model: str) -> dict[str, Any]:
        """Return counts, means and calibration of one model over all its entries, ready for JSON."""
        own = [each for each in self.judged if each.comparison.model == model]
        means = {
            kind or "all": {
                name: {
                    "mean": rounded(np.mean(list(values))),
                    "median": rounded(np.median(list(values))),
                    "entries": len(values),
                }
                for name in self.scores()
                if (values := self.values(name, kind)[model].values())
            }
            for kind in (EVERY, *self.classes)
        }
        return {
            "entries": sum(each.evaluation is not None for each in own),
            "failed": sum(each.evaluation is None for each in own),
            "scores": means,
            "calibration": self.calibration(model),
        }

    def calibration(self, model: str) -> dict[str, Any] | None:
        """Return the reliability of pLDDT over all residues of a model's entries; None without pLDDT."""
        found = [each.evaluation for each in self.judged if each.comparison.model == model and each.evaluation]
        plddt, truth = (
            np.concatenate([np.zeros(0), *(getattr(each, side) for each in found)]) for side in ("plddt", "truth")
        )
        if not len(plddt):
            return None
        bins = reliability(plddt, truth)
        try:
            order = rounded(spearman(plddt, truth))
        except ValueError:
            order = None
        rows = [
            {
                "from": row.low,
                "to": row.high,
                "residues": row.count,
                "plddt": None if row.confidence is None else rounded(row.confidence),
                "lddt": None if row.truth is None else rounded(row.truth),
            }
            for row in bins
        ]
        return {"residues": len(plddt), "spearman": order, "error": rounded(calibration_error(bins)), "bins": rows}


def rounded(value: Any) -> Any:
    """Return numbers with `DECIMALS` decimals, also within lists and mappings; the rest as it is."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float | np.floating):
        # Adding 0 makes -0 plain.
        return round(float(value), DECIMALS) + 0.0
    return value
