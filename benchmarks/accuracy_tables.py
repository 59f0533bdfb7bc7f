"""Markdown tables of scored entries: means of each class with 95 % bootstrap intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from accuracy_models import ALIGNMENT_CLASSES, HELIX

from anfinsen.common.seeding import numpy_generator
from anfinsen.metrics import spearman

Row = Mapping[str, Any]
RESAMPLES = 1000
FEWEST_GROUPS = 5  # with fewer, resampling pretends to know more than it does
INTERVAL = (2.5, 97.5)  # per cent
CLOSE = 2.0  # Å, a ligand that is right (PoseBusters)
ACCEPTABLE = 0.23  # DockQ
CONTACTS = {"contacts_l5": "L/5", "contacts_l2": "L/2", "contacts_l": "L"}


def interval(groups: Sequence[Sequence[float]], statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of a statistic of all values; whole groups (entries) are drawn anew.

    Values of one entry are not independent of each other. None for fewer than 5 groups. The draw is seeded.
    """
    filled = [np.asarray(group, dtype=float) for group in groups if len(group)]
    if len(filled) < FEWEST_GROUPS:
        return None
    draw = numpy_generator(0, "bootstrap", len(filled))
    found = []
    for _ in range(RESAMPLES):
        value = statistic(np.concatenate([filled[i] for i in draw.integers(len(filled), size=len(filled))]))
        if np.isfinite(value):
            found.append(value)
    low, high = np.percentile(found, INTERVAL)
    return float(low), float(high)


def cell(groups: Iterable[Sequence[float]], statistic: Callable[[np.ndarray], float] = np.mean, digits: int = 3) -> str:
    """Return a statistic of all values and its interval as text; a dash where there is no value."""
    filled = [group for group in groups if len(group)]
    if not filled:
        return "–"
    text = f"{statistic(np.concatenate([np.asarray(group, dtype=float) for group in filled])):.{digits}f}"
    bounds = interval(filled, statistic)
    return text if bounds is None else f"{text} ({bounds[0]:.{digits}f} to {bounds[1]:.{digits}f})"


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    body = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in body)


def by_class(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows of each class, the deepest alignments first and other classes by name, and of all."""
    depths = [name for _, name in ALIGNMENT_CLASSES]
    names = sorted({str(row["class"]) for row in rows})
    names.sort(key=lambda name: depths.index(name) if name in depths else len(depths))
    return [*((name, [row for row in rows if row["class"] == name]) for name in names), ("all", list(rows))]


def models_of(rows: Iterable[Row], *, helix: bool = True) -> list[str]:
    """Return the models that any row has, in the order they were given; ideal helices last, if at all."""
    names = list(dict.fromkeys(who for row in rows for who in row["models"]))
    return [*(who for who in names if who != HELIX), *([HELIX] if helix and HELIX in names else [])]


def with_score(rows: Iterable[Row], key: str) -> list[Row]:
    """Return the rows for which some model that was run has a score; helices alone do not count."""
    return [row for row in rows if any(key in scores for who, scores in row["models"].items() if who != HELIX)]


def values(rows: Iterable[Row], who: str, key: str) -> list[list[float]]:
    """Return one score of every row, each a list of at most one value."""
    return [[row["models"][who][key]] if key in row["models"].get(who, {}) else [] for row in rows]


def parts(rows: Iterable[Row], who: str, what: str, name: str, pick: tuple[str, str]) -> list[list[float]]:
    """Return what lists in the rows hold: ``what`` of a model has records; those with ``pick`` give ``name``."""
    found = [row["models"].get(who, {}).get(what, []) for row in rows]
    return [[part[name] for part in each if part[pick[0]] == pick[1]] for each in found]


def protein_table(rows: Sequence[Row]) -> str:
    """lDDT-CA and TM-score within protein chains, per class, of every model and of ideal helices; CPU seconds."""
    rows = with_score(rows, "lddt_ca")
    names = models_of(rows)
    timed = [who for who in names if who != HELIX]
    header = ["class", "n", *(f"{what}: {who}" for what in ("lDDT-Cα", "TM") for who in names)]
    lines = []
    for name, group in by_class(rows):
        scores = [cell(values(group, who, key)) for key in ("lddt_ca", "tm") for who in names]
        seconds = [_median(values(group, who, "seconds")) for who in timed]
        lines.append([name, len(group), *scores, *seconds])
    return table([*header, *(f"CPU s (median): {who}" for who in timed)], lines)


def _median(groups: Sequence[Sequence[float]]) -> str:
    found = [value for group in groups for value in group]
    return f"{np.median(found):.1f}" if found else "–"


def contact_table(rows: Sequence[Row]) -> str:
    """Precision of long-range contacts (top L/5, L/2, L), per class."""
    rows = with_score(rows, "contacts_l")
    names = models_of(rows, helix=False)
    header = ["class", "n", *(f"{label}: {who}" for who in names for label in CONTACTS.values())]
    lines = []
    for name, group in by_class(rows):
        lines.append([name, len(group), *(cell(values(group, who, key)) for who in names for key in CONTACTS)])
    return table(header, lines)


def complex_table(rows: Sequence[Row]) -> str:
    """All-atom lDDT of the polymers of whole entries per class, with the mean pLDDT."""
    names = models_of(rows, helix=False)
    header = ["class", "n", "tokens (mean)", *(f"{what}: {who}" for what in ("lDDT", "pLDDT") for who in names)]
    lines = []
    for name, group in by_class(rows):
        tokens = np.mean([row["tokens"] for row in group]) if group else 0.0
        scores = [cell(values(group, who, "lddt")) for who in names]
        scores += [cell(values(group, who, "plddt"), digits=1) for who in names]
        lines.append([name, len(group), f"{tokens:.0f}", *scores])
    return table(header, lines)


def interaction_table(rows: Sequence[Row]) -> str:
    """All-atom lDDT per interaction class; each entry that has such pairs counts once."""
    names = models_of(rows, helix=False)
    kinds = {kind for row in rows for who in names for kind in row["models"].get(who, {}).get("classes", {})}
    lines = []
    for kind in sorted(kinds, key=lambda kind: (kind.startswith("inter"), kind)):
        found = {
            who: [[row["models"][who]["classes"][kind]] for row in rows if kind in _classes(row, who)] for who in names
        }
        lines.append([kind, max(map(len, found.values())), *(cell(found[who]) for who in names)])
    return table(["atom pairs", "n", *(f"lDDT: {who}" for who in names)], lines)


def _classes(row: Row, who: str) -> Mapping[str, float]:
    found: Mapping[str, float] = row["models"].get(who, {}).get("classes", {})
    return found


def placement_table(rows: Sequence[Row]) -> str:
    """Pocket-aligned RMSD of ligands, ions and modified residues."""
    names, lines = models_of(rows, helix=False), []
    for what in ("ligand", "linked ligand", "ion", "modified residue"):
        found = {who: parts(rows, who, "groups", "rmsd", ("what", what)) for who in names}
        if any(map(any, found.values())):
            share = [cell(found[who], lambda rmsd: float(np.mean(rmsd < CLOSE))) for who in names]
            middle = [cell(found[who], lambda rmsd: float(np.median(rmsd)), 1) for who in names]
            lines.append([what, *_counts(found), *share, *middle])
    header = ["what", "n", "entries", *(f"share < 2 Å: {w}" for w in names), *(f"median Å: {w}" for w in names)]
    return table(header, lines) if lines else ""


def interface_table(rows: Sequence[Row]) -> str:
    """Quality of interfaces between polymer chains (DockQ with the F1 of contacts)."""
    names, lines = models_of(rows, helix=False), []
    every = [part for row in rows for who in names for part in row["models"].get(who, {}).get("interfaces", [])]
    for kinds in sorted({str(part["kinds"]) for part in every}):
        found = {who: parts(rows, who, "interfaces", "dockq_f1", ("kinds", kinds)) for who in names}
        share = [cell(found[who], lambda score: float(np.mean(score >= ACCEPTABLE))) for who in names]
        lines.append([kinds, *_counts(found), *(cell(found[who]) for who in names), *share])
    header = ["interface", "n", "entries", *(f"DockQ (F1): {w}" for w in names), *(f"share ≥ 0.23: {w}" for w in names)]
    return table(header, lines) if lines else ""


def _counts(found: Mapping[str, Sequence[Sequence[float]]]) -> tuple[int, int]:
    """The most things and entries that a model has."""
    return max(sum(map(len, each)) for each in found.values()), max(sum(map(bool, each)) for each in found.values())


def rank_correlation(pairs: np.ndarray) -> float:
    """Return Spearman's correlation of two columns; NaN where it is not defined."""
    try:
        return spearman(pairs[:, 0], pairs[:, 1])
    except ValueError:
        return float("nan")


def correlation_table(sets: Mapping[str, Sequence[Row]]) -> str:
    """Spearman correlation of pLDDT with true lDDT over entries, over all residues, and within one entry."""
    lines = []
    for name, every in sets.items():
        for who in models_of(every, helix=False):
            rows = [row["models"][who] for row in every if who in row["models"]]
            whole = [[[row["plddt"], row["lddt"]]] for row in rows]
            residues = [list(zip(row["residues"]["plddt"], row["residues"]["lddt"], strict=True)) for row in rows]
            within = [rank_correlation(np.array(pairs)) for pairs in residues if pairs]
            cells = [
                _correlation(whole),
                _correlation(residues),
                cell([[value] for value in within if np.isfinite(value)], digits=2),
            ]
            lines.append([name, who, len(rows), sum(map(len, residues)), *cells])
    header = ["set", "model", "entries", "residues", "over entries", "over residues", "within an entry (mean)"]
    return table(header, lines)


def _correlation(groups: Sequence[Sequence[Sequence[float]]]) -> str:
    filled = [group for group in groups if len(group)]
    # A constant pLDDT has no ranks: then there is nothing to report.
    return cell(filled, rank_correlation, 2) if np.isfinite(rank_correlation(np.concatenate(filled))) else "–"


def gain_table(sets: Mapping[str, Sequence[Row]], baselines: Sequence[str]) -> str:
    """How much better each model is, entry by entry, than each baseline."""
    lines = []
    for name, rows in sets.items():
        for who in models_of(rows, helix=False):
            for key, label in (("lddt", "lDDT, all atoms"), ("lddt_ca", "lDDT-Cα"), ("tm", "TM")):
                gains = []
                for other in baselines:
                    pairs = zip(values(rows, who, key), values(rows, other, key), strict=True)
                    gains.append([[mine[0] - theirs[0]] if mine and theirs else [] for mine, theirs in pairs])
                if who not in baselines and any(map(any, gains)):
                    lines.append([name, who, label, *map(cell, gains)])
    return table(["set", "model", "score", *(f"minus {other}" for other in baselines)], lines) if lines else ""


def left_out(rows: Sequence[Row], longest: int) -> str:
    """Return sentences that count the entries that were too large, by set and class, and name those refused."""
    lines = []
    for name in dict.fromkeys(str(row["set"]) for row in rows if "refused" not in row):
        large = Counter(str(row["class"]) for row in rows if row["set"] == name and "refused" not in row)
        each = ", ".join(f"{class_} {count}" for class_, count in sorted(large.items()))
        lines.append(f"Left out of the {name}: {sum(large.values())} entries of more than {longest} tokens ({each}).")
    lines += [f"Left out: {row['id']} ({row['refused']})" for row in rows if "refused" in row]
    return "\n\n".join(lines)
