"""The report's plots of alignment depth: what they show, and the words below them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..alignments import AlignmentDepth, alignment_depth, parse_msa
from ..alignments.depth import DEPTH_ROWS
from ..chemistry import ChainKind
from ..common.text import listed
from ..jobs import Job, Polymer

MAX_PLOTS = 20  # in one page
_LABELLED = 6  # copies of a chain that a caption names


@dataclass(frozen=True)
class EntityDepth:
    """The alignment of one polymer: ids of its copies, which share it, and its depth."""

    chains: tuple[str, ...]
    depth: AlignmentDepth


def entity_depths(job: Job) -> tuple[EntityDepth, ...]:
    """Return the depth of every alignment in ``job`` that holds more than the chain itself.

    Raises:
        AlignmentError: an alignment cannot be read.
    """
    found = []
    for entity in job.entities:
        text = (entity.unpaired_msa or entity.paired_msa) if isinstance(entity, Polymer) else None
        if isinstance(entity, Polymer) and text:
            msa = parse_msa(text, entity.sequence, ChainKind(entity.kind), f"MSA of chain {entity.ids[0]}")
            if msa.depth > 1:
                found.append(EntityDepth(entity.ids, alignment_depth(msa)))
    return tuple(found)


def depth_data(depths: Sequence[EntityDepth]) -> list[dict[str, Any]]:
    """Return the numbers of the plots, ready for JSON."""
    return [
        {
            "chain": each.chains[0],
            "covering": each.depth.covering.tolist(),
            "similar": each.depth.similar.tolist(),
        }
        for each in depths[:MAX_PLOTS]
    ]


def depth_figures(depths: Sequence[EntityDepth]) -> str:
    """Return the HTML of the plots' places and captions."""
    if not depths:
        return '<p class="hint">No chain has an alignment: each was predicted from its sequence alone.</p>'
    parts = [
        f'<figure><div id="depth-plot-{index}" class="plot"></div><figcaption>{_caption(each)}</figcaption></figure>'
        for index, each in enumerate(depths[:MAX_PLOTS])
    ]
    if len(depths) > MAX_PLOTS:
        parts.append(f'<p class="hint">The first {MAX_PLOTS} of {len(depths)} alignments.</p>')
    return "".join(parts)


def _caption(each: EntityDepth) -> str:
    chains = f"Chain{'s' if len(each.chains) > 1 else ''} {listed(each.chains, _LABELLED)}"
    of = f" of the first {DEPTH_ROWS:,}" if each.depth.rows > DEPTH_ROWS else ""
    return html.escape(f"{chains}: {each.depth.rows:,} sequences, N_eff {each.depth.n_eff:,.1f}{of}")
