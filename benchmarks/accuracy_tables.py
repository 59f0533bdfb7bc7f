"""Markdown tables of scored entries: means of each class with 95 % bootstrap intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from anfinsen.common.seeding import numpy_generator
from anfinsen.metrics import spearman

Row = Mapping[str, object]
RESAMPLES = 1000
FEWEST_GROUPS = 5  # with fewer, resampling pretends to know more than it does
INTERVAL = (2.5, 97.5)  # per cent
CLOSE = 2.0  # Å, a ligand that is right (PoseBusters)
ACCEPTABLE = 0.23  # DockQ
MODELS = ("trained", "untrained")
BASELINES = (*MODELS, "helix")


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
    """Return the rows of each class, classes in order, and of all."""
    names = sorted({str(row["class"]) for row in rows})
    return [*((name, [row for row in rows if row["class"] == name]) for name in names), ("all", list(rows))]


def values(rows: Iterable[Row], who: str, key: str) -> list[list[float]]:
    """Return one score of every row, each a list of at most one value."""
    return [[row[who][key]] if key in row[who] else [] for row in rows]


def parts(rows: Iterable[Row], who: str, what: str, name: str, pick: tuple[str, str]) -> list[list[float]]:
    """Return what lists in the rows hold: ``row[who][what]`` has records; those with ``pick`` give ``name``."""
    return [[part[name] for part in row[who][what] if part[pick[0]] == pick[1]] for row in rows]


def protein_table(rows: Sequence[Row]) -> str:
    """lDDT-CA and TM-score within protein chains, per class, against both baselines."""
    header = ["class", "n", *(f"{what}: {who}" for what in ("lDDT-Cα", "TM") for who in BASELINES), "CPU s"]
    lines = []
    for name, group in by_class([row for row in rows if "lddt_ca" in row["trained"]]):
        scores = [cell(values(group, who, key)) for key in ("lddt_ca", "tm") for who in BASELINES]
        seconds = np.mean([row["trained"]["seconds"] for row in group]) if group else 0.0
        lines.append([name, len(group), *scores, f"{seconds:.1f}"])
    return table(header, lines)


def contact_table(rows: Sequence[Row]) -> str:
    """Precision of long-range contacts (top L/5), per class."""
    header = ["class", "n", *(f"contacts L/5: {who}" for who in MODELS)]
    known = [row for row in rows if "precision" in row["trained"]]
    return table(
        header,
        (
            [name, len(group), *(cell(values(group, who, "precision")) for who in MODELS)]
            for name, group in by_class(known)
        ),
    )


def complex_table(rows: Sequence[Row]) -> str:
    """All-atom lDDT of whole complexes per class, with the mean pLDDT."""
    header = ["class", "n", "tokens (mean)", *(f"lDDT: {who}" for who in MODELS), "pLDDT", "CPU s"]
    lines = []
    for name, group in by_class(rows):
        scores = [cell(values(group, who, "lddt")) for who in MODELS]
        means = [np.mean([row["trained"][key] for row in group]) for key in ("plddt", "seconds")]
        tokens = np.mean([row["tokens"] for row in group])
        lines.append([name, len(group), f"{tokens:.0f}", *scores, *(f"{mean:.1f}" for mean in means)])
    return table(header, lines)


def interaction_table(rows: Sequence[Row]) -> str:
    """All-atom lDDT per interaction class; each entry that has such pairs counts once."""
    names = {name for row in rows for name in row["trained"]["classes"]}
    names = sorted(names, key=lambda name: (name.startswith("inter"), name))
    lines = []
    for name in names:
        found = [row for row in rows if name in row["trained"]["classes"]]
        each = [cell([[row[who]["classes"][name]] for row in found]) for who in MODELS]
        lines.append([name, len(found), *each])
    return table(["atom pairs", "n", *(f"lDDT: {who}" for who in MODELS)], lines)


def placement_table(rows: Sequence[Row]) -> str:
    """Pocket-aligned RMSD of ligands, ions and modified residues."""
    lines = []
    for what in ("ligand", "linked ligand", "ion", "modified residue"):
        found = {who: parts(rows, who, "groups", "rmsd", ("what", what)) for who in MODELS}
        entries = sum(map(bool, found["trained"]))
        if entries:
            lines.append(
                [
                    what,
                    sum(map(len, found["trained"])),
                    entries,
                    *(cell(found[who], lambda rmsd: float(np.mean(rmsd < CLOSE))) for who in MODELS),
                    *(cell(found[who], lambda rmsd: float(np.median(rmsd)), 1) for who in MODELS),
                ]
            )
    header = ["what", "n", "entries", *(f"share < 2 Å: {w}" for w in MODELS), *(f"median Å: {w}" for w in MODELS)]
    return table(header, lines)


def interface_table(rows: Sequence[Row]) -> str:
    """Quality of interfaces between polymer chains (DockQ, F1 of contacts; `accuracy_scores.interfaces`)."""
    lines = []
    for kinds in sorted({str(part["kinds"]) for row in rows for part in row["trained"]["interfaces"]}):
        found = {who: parts(rows, who, "interfaces", "dockq_f1", ("kinds", kinds)) for who in MODELS}
        lines.append(
            [
                kinds,
                sum(map(len, found["trained"])),
                sum(map(bool, found["trained"])),
                *(cell(found[who]) for who in MODELS),
                *(cell(found[who], lambda score: float(np.mean(score >= ACCEPTABLE))) for who in MODELS),
            ]
        )
    header = [
        "interface",
        "n",
        "entries",
        *(f"DockQ (F1): {w}" for w in MODELS),
        *(f"share ≥ 0.23: {w}" for w in MODELS),
    ]
    return table(header, lines)


def rank_correlation(pairs: np.ndarray) -> float:
    """Return Spearman's correlation of two columns; NaN where it is not defined."""
    try:
        return spearman(pairs[:, 0], pairs[:, 1])
    except ValueError:
        return float("nan")


def correlation_table(sets: Mapping[str, Sequence[Row]]) -> str:
    """Spearman correlation of pLDDT with true lDDT over entries, over all residues, and within one entry."""
    lines = []
    for name, rows in sets.items():
        if not rows:
            continue
        whole = [[[row["trained"]["plddt"], row["trained"]["lddt"]]] for row in rows]
        residues = [list(zip(row["residues"]["plddt"], row["residues"]["lddt"], strict=True)) for row in rows]
        within = [rank_correlation(np.array(pairs)) for pairs in residues if pairs]
        cells = [
            _correlation(whole),
            _correlation(residues),
            cell([[value] for value in within if np.isfinite(value)], digits=2),
        ]
        lines.append([name, len(rows), sum(map(len, residues)), *cells])
    return table(["set", "entries", "residues", "over entries", "over residues", "within an entry (mean)"], lines)


def _correlation(groups: Sequence[Sequence[Sequence[float]]]) -> str:
    filled = [group for group in groups if len(group)]
    # A constant pLDDT has no ranks: then there is nothing to report.
    return cell(filled, rank_correlation, 2) if np.isfinite(rank_correlation(np.concatenate(filled))) else "–"


def gain_table(sets: Mapping[str, Sequence[Row]]) -> str:
    """How much better the trained model is, entry by entry, than each baseline."""
    lines = []
    for name, rows in sets.items():
        for key, label in (("lddt", "lDDT, all atoms"), ("lddt_ca", "lDDT-Cα"), ("tm", "TM")):
            gains = [
                [[row["trained"][key] - row[who][key]] if key in row[who] else [] for row in rows]
                for who in ("untrained", "helix")
            ]
            if any(gains[0]):
                lines.append([name, label, *map(cell, gains)])
    return table(["set", "score", "trained − untrained", "trained − helix"], lines)


def left_out(rows: Sequence[Row], longest: int) -> str:
    """Return sentences that count the entries that were too large, by set and class, and name those refused."""
    lines = []
    for name in dict.fromkeys(str(row["set"]) for row in rows if "refused" not in row):
        large = Counter(str(row["class"]) for row in rows if row["set"] == name and "refused" not in row)
        each = ", ".join(f"{class_} {count}" for class_, count in sorted(large.items()))
        lines.append(f"Left out of the {name}: {sum(large.values())} entries of more than {longest} tokens ({each}).")
    lines += [f"Left out: {row['id']} ({row['refused']})" for row in rows if "refused" in row]
    return "\n\n".join(lines)
