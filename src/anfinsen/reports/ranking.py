"""The ranking of all structures of a job, as CSV and for the screen."""

from __future__ import annotations

import csv
import io

from rich import box
from rich.markup import escape
from rich.table import Table

from ..inference import Prediction

FIELDS = ("seed", "sample", "ranking_score")


def ranking_csv(prediction: Prediction) -> str:
    """Return ``*_ranking_scores.csv``: one line per structure, in the order they were made."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for ranked in sorted(prediction.ranking, key=lambda each: (each.index, each.sample)):
        writer.writerow([ranked.seed, ranked.sample, f"{ranked.ranking_score:.6f}"])
    return text.getvalue()


def ranking_table(prediction: Prediction, limit: int = 10) -> Table:
    """Return the best ``limit`` structures as a table for the screen."""
    total = len(prediction.ranking)
    shown = f"best {limit} of {total}" if total > limit else f"{total} structure{'s' if total > 1 else ''}"
    title = escape(f"{prediction.job.name}: {shown}")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("seed", "sample", "ranking", "pTM", "ipTM", "mean pLDDT", "disordered", "clash"):
        table.add_column(name, justify="right", no_wrap=True)
    for ranked in prediction.ranking[:limit]:
        scores = prediction.confidence(ranked)
        table.add_row(
            str(ranked.seed),
            str(ranked.sample),
            f"{ranked.ranking_score:.3f}",
            f"{scores.ptm:.3f}",
            "–" if scores.iptm is None else f"{scores.iptm:.3f}",
            f"{scores.atom_plddt.mean():.1f}",
            f"{scores.fraction_disordered:.0%}",
            "yes" if scores.has_clash else "no",
        )
    return table
