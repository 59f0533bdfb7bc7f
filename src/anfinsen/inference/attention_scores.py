"""What one head attends to, in numbers: contacts, distance along the chain, other chains, itself; and its gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from .attention_maps import LayerMaps

SEPARATION = 6  # residues: closer pairs of one chain say nothing about the fold
LOCAL = 5  # residues
# Of pairs in one chain: first and last separation. The last one is open.
BINS = ((0, 0), (1, 1), (2, 5), (6, 11), (12, 23), (24, None))
DISORDERED = 50.0  # pLDDT below which a residue counts as disordered


@dataclass(frozen=True)
class Score:
    """One number of a head: what it is called, what it means."""

    label: str
    meaning: str


SCORES: dict[str, Score] = {
    "contact_precision": Score(
        "contact precision", "share of true contacts among the N strongest pairs (N: tokens), at least 6 apart"
    ),
    "contact_auc": Score("contact AUC", "chance that a contact has more attention than another pair; 0.5: none"),
    "local": Score("local", "share of the attention that stays within 5 residues, without the token itself"),
    "long_range": Score("long range", "share of the attention to residues of the same chain at least 24 away"),
    "mean_separation": Score("mean separation", "residues between query and key, within chains"),
    "cross_chain": Score("other chains", "share of the attention that crosses to another chain"),
    "to_self": Score("to itself", "share of the attention from a token, or an alignment's row, to itself"),
    "to_first": Score("to the first", "share of the attention to the first token, or to the alignment's query"),
    "entropy": Score("entropy", "bits: 0 for one key, log2 of their number for all alike"),
    "relative_entropy": Score("relative entropy", "entropy over the largest possible: 0 for one key, 1 for all alike"),
    "symmetry": Score("symmetry", "1 where tokens attend to each other alike, 0 where attention is never returned"),
    "gate": Score("gate", "mean of the sigmoid gates: 0 shut, 1 open"),
    "gate_by_depth": Score("gate by depth", "rank correlation of a token's gate with the alignment's depth there"),
    "gate_by_plddt": Score("gate by pLDDT", "rank correlation of a token's gate with its pLDDT"),
    "gate_disordered": Score("gate, disordered", "mean gate at tokens with pLDDT below 50, minus that at the others"),
}


@dataclass(frozen=True)
class Ranking:
    """Heads by one score: how the list is called, the score, and which end of it comes first."""

    title: str
    score: str
    first: Literal["high", "low"] = "high"


RANKINGS = (
    Ranking("Contacts", "contact_precision"),
    Ranking("Neighbours along the chain", "local"),
    Ranking("Far along the chain", "long_range"),
    Ranking("Other chains", "cross_chain"),
    Ranking("Themselves", "to_self"),
    Ranking("The first", "to_first"),
    Ranking("Few keys", "relative_entropy", "low"),
    Ranking("All keys alike", "relative_entropy"),
    Ranking("Not returned", "symmetry", "low"),
    Ranking("Gates shut", "gate", "low"),
    Ranking("Gates open where the alignment is deep", "gate_by_depth"),
    Ranking("Gates open where the structure is sure", "gate_by_plddt"),
)


@dataclass(frozen=True)
class Setting:
    """What heads are compared with: N tokens.

    Attributes:
        chain: index of each token's chain. number: of its residue in the chain.
        contacts: pairs that touch. known: tokens whose contacts are known.
        depth: rows of the alignment with a residue there. plddt: 0 to 100.
    """

    chain: Int[np.ndarray, "N"]
    number: Int[np.ndarray, "N"]
    contacts: Bool[np.ndarray, "N N"]
    known: Bool[np.ndarray, "N"]
    depth: Int[np.ndarray, "N"]
    plddt: Float[np.ndarray, "N"]

    @property
    def counted(self) -> Bool[np.ndarray, "N N"]:
        """Pairs i < j that contacts are judged by: known ones at least 6 apart, or of different chains."""
        apart = np.abs(self.number[:, None] - self.number[None, :]) >= SEPARATION
        apart |= self.chain[:, None] != self.chain[None, :]
        counted: Bool[np.ndarray, "N N"] = np.triu(apart & self.known[:, None] & self.known[None, :], 1)
        return counted

    @property
    def base_rate(self) -> float | None:
        """Share of contacts among the counted pairs: the precision of chance; None where no pair counts."""
        pairs = self.contacts[self.counted]
        return float(pairs.mean()) if len(pairs) else None


@dataclass(frozen=True)
class HeadScores:
    """One head's numbers.

    Attributes:
        layer: label. kind: of attention. head: from 0. index: position of its layer among all.
        scores: by the names of `SCORES`; None where one means nothing here.
        bins: share of the attention in each of `BINS`; empty where there is no map of tokens.
    """

    layer: str
    kind: str
    head: int
    index: int
    scores: dict[str, float | None]
    bins: tuple[float, ...]


def score_heads(layers: Sequence[LayerMaps], setting: Setting) -> tuple[HeadScores, ...]:
    """Return the numbers of all heads, layer by layer."""
    pairs = np.nonzero(setting.counted)
    truth = setting.contacts[pairs]
    result = []
    for index, layer in enumerate(layers):
        for head in range(layer.layer.heads):
            relative = float(layer.entropy[head] / layer.most) if layer.most > 0 else 0.0
            scores: dict[str, float | None] = dict.fromkeys(SCORES)
            bins: tuple[float, ...] = ()
            scores |= {
                "entropy": float(layer.entropy[head]),
                "relative_entropy": min(max(relative, 0.0), 1.0),
                "to_self": _finite(float(layer.to_self[head])),
                "to_first": _finite(float(layer.to_first[head])),
            }
            if layer.maps is not None:
                one = layer.maps[head].astype(np.float64)
                found, bins = map_scores(one, setting)
                scores |= found
                scores["contact_precision"], scores["contact_auc"] = contact_scores(
                    ((one + one.T) / 2)[pairs], truth, int(setting.known.sum())
                )
            if layer.gates is not None:
                scores |= gate_scores(layer.gates[head].astype(np.float64), setting)
            result.append(HeadScores(layer.label, layer.layer.kind, head, index, scores, bins))
    return tuple(result)


def map_scores(
    weights: Float[np.ndarray, "N N"], setting: Setting
) -> tuple[dict[str, float | None], tuple[float, ...]]:
    """Return the scores that follow from one map alone, and the share of its attention by separation."""
    n = len(weights)
    same = setting.chain[:, None] == setting.chain[None, :]
    apart = np.abs(setting.number[:, None] - setting.number[None, :])
    inside = weights * same
    shares = []
    for low, high in BINS:
        here = (apart >= low) if high is None else (apart >= low) & (apart <= high)
        shares.append(float(inside[here].sum() / n))
    off = weights - np.diag(weights.diagonal())
    both = off.sum()
    within = inside.sum()
    scores: dict[str, float | None] = {
        "local": float(inside[(apart >= 1) & (apart <= LOCAL)].sum() / n),
        "long_range": shares[-1],
        "mean_separation": float((inside * apart).sum() / within) if within > 0 else None,
        "cross_chain": float((weights * ~same).sum() / n) if not same.all() else None,
        "to_self": float(weights.diagonal().mean()),
        "to_first": float(weights[:, 0].mean()),
        # Half of what is not returned, over all of it.
        "symmetry": float(1 - np.abs(off - off.T).sum() / (2 * both)) if both > 0 else None,
    }
    return scores, tuple(shares)


def contact_scores(
    attention: Float[np.ndarray, "P"], contact: Bool[np.ndarray, "P"], length: int
) -> tuple[float | None, float | None]:
    """Return the precision of the ``length`` pairs with most attention, and the area under the ROC curve.

    Pairs with equal attention share what they would give on average in any order. None where no pair is a contact, or
    every one is.
    """
    contacts, others = int(contact.sum()), int((~contact).sum())
    if not contacts or not others:
        return None, None
    top = min(length, len(attention))
    least = np.partition(attention, -top)[-top]
    above, equal = attention > least, attention == least
    expected = contact[above].sum() + (top - above.sum()) * contact[equal].mean()
    ranks = rankdata(attention)
    area = (ranks[contact].sum() - contacts * (contacts + 1) / 2) / (contacts * others)
    return float(expected / top), float(area)


def gate_scores(gates: Float[np.ndarray, "N"], setting: Setting) -> dict[str, float | None]:
    """Return what the gates of one head do: their mean, and how they follow depth and confidence."""
    disordered = setting.plddt < DISORDERED
    mixed = disordered.any() and not disordered.all()
    return {
        "gate": float(gates.mean()),
        "gate_by_depth": rank_correlation(gates, setting.depth.astype(np.float64)),
        "gate_by_plddt": rank_correlation(gates, setting.plddt),
        "gate_disordered": float(gates[disordered].mean() - gates[~disordered].mean()) if mixed else None,
    }


def rank_correlation(x: Float[np.ndarray, "N"], y: Float[np.ndarray, "N"]) -> float | None:
    """Return Spearman's correlation; None where one of the two does not vary."""
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b / size) if size > 0 else None


def ranked(heads: Sequence[HeadScores], ranking: Ranking, top: int) -> tuple[HeadScores, ...]:
    """Return the first ``top`` heads of a ranking; heads without that score have no place in it.

    Equal scores stay in the order of the network.
    """
    sign = -1 if ranking.first == "high" else 1
    known = [(value, head) for head in heads if (value := head.scores[ranking.score]) is not None]
    return tuple(head for _, head in sorted(known, key=lambda each: sign * each[0])[:top])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
