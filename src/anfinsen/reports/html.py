"""One self-contained page per job: structures, plots and tables; it opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

from ..inference import Confidence, Prediction, RankedSample
from .depth import depth_data, depth_figures, entity_depths
from .folding import error_words, folding_data, folding_parts, folding_scripts
from .page import filled, packed, packed_library, table
from .report_data import report_data

MAX_STRUCTURES = 25  # in one page; all of them are in the results folder
MAX_INTERFACES = 100  # rows of the interface table


def report_html(prediction: Prediction, models: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        prediction: what is shown.
        models: mmCIF text of each structure, by `sample_label`.

    Raises:
        MissingExtraError: plotly or the structure viewer is not installed.
    """
    ranking = prediction.ranking[:MAX_STRUCTURES]
    name = prediction.job.name
    depths = entity_depths(prediction.job)
    data = {
        **report_data(prediction, ranking, models),
        "depths": depth_data(depths),
        "folding": folding_data(prediction, ranking),
    }
    parts = {
        "TITLE": html.escape(f"{name} · Anfinsen"),
        "NAME": html.escape(name),
        "LEAD": html.escape(_lead(prediction)),
        "RANKING": _ranking(prediction, ranking),
        "CHAINS": _chains(prediction, ranking),
        "INTERFACES": _interfaces(prediction, ranking),
        "DEPTHS": depth_figures(depths),
        **folding_parts(prediction, ranking),
        **error_words(prediction),
        "SETTINGS": _definitions(_settings(prediction, ranking)),
        "NOTES": _notes(prediction, len(ranking)),
        "VERSION": html.escape(prediction.versions["anfinsen"]),
        "DATA": packed(json.dumps(data, allow_nan=False)),
        "VIEWER": packed_library("molstar_cli", "static/molstar/molstar.js"),
        "VIEWER_STYLE": packed_library("molstar_cli", "static/molstar/molstar.css"),
    }
    return filled("report", parts, folding_scripts(prediction))


def _lead(prediction: Prediction) -> str:
    settings, structure = prediction.settings, prediction.structure
    return (
        f"{_count(len(structure.chains), 'chain')}, {_count(len(prediction.tokens), 'token')}, "
        f"{_count(len(structure.atoms), 'atom')} · {prediction.weights.name} · "
        f"{_count(len(prediction.seeds), 'seed')} × {_count(settings.samples, 'sample')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _ranking(prediction: Prediction, ranking: Sequence[RankedSample]) -> str:
    rows = []
    for index, ranked in enumerate(ranking):
        scores = prediction.confidence(ranked)
        checked = " checked" if index == 0 else ""
        choice = (
            f'<label><input type="radio" name="sample" value="{index}"{checked}>'
            f"seed {ranked.seed}, sample {ranked.sample}</label>"
        )
        cells = [
            f"{ranked.ranking_score:.3f}",
            f"{scores.ptm:.3f}",
            _or_dash(scores.iptm),
            f"{scores.atom_plddt.mean():.1f}",
            f"{scores.fraction_disordered:.0%}",
            "yes" if scores.has_clash else "no",
        ]
        rows.append([choice, *cells])
    head = ("structure", "ranking score", "pTM", "ipTM", "mean pLDDT", "disordered", "clash")
    return table(head, [rows])


def _chains(prediction: Prediction, ranking: Sequence[RankedSample]) -> str:
    structure, tokens = prediction.structure, prediction.tokens
    atom_chain = structure.atom_chain
    bodies = []
    for ranked in ranking:
        scores = prediction.confidence(ranked)
        rows = []
        for index, chain in enumerate(structure.chains):
            rows.append(
                [
                    html.escape(chain.chain_id),
                    html.escape(str(chain.kind)),
                    str(int((structure.residues.chain == index).sum())),
                    str(int((tokens.chain == index).sum())),
                    f"{scores.atom_plddt[atom_chain == index].mean():.1f}",
                    f"{scores.chain_ptm[index]:.3f}",
                    "–" if scores.chain_iptm is None else f"{scores.chain_iptm[index]:.3f}",
                ]
            )
        bodies.append(rows)
    head = ("chain", "kind", "residues", "tokens", "mean pLDDT", "pTM", "mean ipTM")
    return table(head, bodies, text_columns=2)


def _interfaces(prediction: Prediction, ranking: Sequence[RankedSample]) -> str:
    chains = prediction.structure.chains
    if len(chains) < 2:
        return '<p class="hint">A single chain has none.</p>'
    pairs = [(i, j) for i in range(len(chains)) for j in range(i)]
    bodies = []
    for ranked in ranking:
        scores = prediction.confidence(ranked)
        best = sorted(pairs, key=lambda pair: -scores.chain_pair_iptm[pair])[:MAX_INTERFACES]
        bodies.append([_interface(chains[j].chain_id, chains[i].chain_id, i, j, scores) for i, j in best])
    shown = table(("chains", "ipTM", "least PAE (Å)"), bodies)
    if len(pairs) > MAX_INTERFACES:
        shown += f'<p class="hint">The {MAX_INTERFACES} interfaces with the highest ipTM of {len(pairs)}.</p>'
    return shown


def _interface(first: str, second: str, i: int, j: int, scores: Confidence) -> list[str]:
    pae = min(scores.chain_pair_pae_min[i, j], scores.chain_pair_pae_min[j, i])
    return [html.escape(f"{first} – {second}"), f"{scores.chain_pair_iptm[i, j]:.3f}", f"{pae:.1f}"]


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _settings(prediction: Prediction, ranking: Sequence[RankedSample]) -> dict[str, str]:
    settings, weights = prediction.settings, prediction.weights
    # AlphaFold 1 has neither, AlphaFold 2 no diffusion.
    numbers = {"Recycles": str(settings.recycles)} if settings.recycles or settings.steps else {}
    if settings.steps:
        numbers["Diffusion steps"] = str(settings.steps)
    return {
        "Model": weights.name,
        "Weights (SHA-256)": weights.sha256 or "untrained: random numbers",
        "Seeds": ", ".join(map(str, prediction.job.seeds)),
        "Samples per seed": str(settings.samples),
        **numbers,
        "Device": settings.device,
        **_relaxations(prediction, ranking),
        "Software": ", ".join(f"{name} {version}" for name, version in prediction.versions.items()),
    }


def _relaxations(prediction: Prediction, ranking: Sequence[RankedSample]) -> dict[str, str]:
    found = [(ranked, prediction.relaxation(ranked)) for ranked in ranking]
    return {
        f"Relaxed: seed {ranked.seed}, sample {ranked.sample}": f"{relaxation.sentence} ({relaxation.force_field})"
        for ranked, relaxation in found
        if relaxation is not None
    }


def _notes(prediction: Prediction, shown: int) -> str:
    notes = list(prediction.notes)
    if shown < len(prediction.ranking):
        notes.append(
            f"This page shows the best {shown} of {len(prediction.ranking)} structures; all are in the results folder."
        )
    if not notes:
        return "<p>None.</p>"
    return "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>"


def _definitions(entries: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in entries.items()) + "</dl>"
