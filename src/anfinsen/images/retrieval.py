"""Retrieval: how often the right caption of a picture, or picture of a caption, is among the first k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RECALL_RANKS = (1, 5, 10)


@dataclass(frozen=True)
class RetrievalRecall:
    """Recall at each k, both ways.

    Attributes:
        captions: share of the pictures one of whose correct captions is among the k nearest of all different captions.
        pictures: share of the different captions one of whose pictures is among the k nearest of all pictures.
    """

    captions: dict[int, float]
    pictures: dict[int, float]


def first_correct_rank(
    similarity: Float[Tensor, "queries candidates"], correct: Bool[Tensor, "queries candidates"]
) -> Int[Tensor, " queries"]:
    """Return how many wrong candidates stand before (or level with) the best correct one, for each query.

    Counting only wrong ones lets several correct candidates share the first place; counting level ones keeps a network
    that gives everything the same similarity from looking perfect.

    Raises:
        ValueError: a query has no correct candidate.
    """
    if not bool(correct.any(1).all()):
        raise ValueError("a query has no correct candidate")
    best = similarity.masked_fill(~correct, -torch.inf).amax(1, keepdim=True)
    return ((similarity >= best) & ~correct).sum(1)


def recall_at(
    k: int, similarity: Float[Tensor, "queries candidates"], correct: Bool[Tensor, "queries candidates"]
) -> float:
    """Return the share of queries with a correct candidate among the first ``k``.

    Raises:
        ValueError: a query has no correct candidate.
    """
    return float((first_correct_rank(similarity, correct) < k).double().mean())


def retrieval_recall(
    images: Float[Tensor, "n c"],
    texts: Float[Tensor, "n c"],
    captions: Sequence[str],
    ranks: Sequence[int] = RECALL_RANKS,
) -> RetrievalRecall:
    """Return recall both ways over pictures and their captions.

    Equal captions are one caption, of all their pictures; so neither way punishes a network for mixing them up.

    Args:
        images, texts: unit embeddings; row i of both belongs to caption i.

    Raises:
        ValueError: the numbers of rows and captions differ, or there are none.
    """
    if not len(images) == len(texts) == len(captions) or not captions:
        raise ValueError(f"there are {len(images)} images, {len(texts)} texts and {len(captions)} captions")
    different = {caption: row for row, caption in reversed(list(enumerate(captions)))}
    column = {caption: number for number, caption in enumerate(different)}
    of_picture = torch.tensor([column[caption] for caption in captions], device=images.device)
    correct = of_picture[:, None] == torch.arange(len(different), device=images.device)
    similarity = images @ texts[list(different.values())].T
    to_caption = first_correct_rank(similarity, correct)
    to_picture = first_correct_rank(similarity.T, correct.T)
    return RetrievalRecall(
        {k: float((to_caption < k).double().mean()) for k in ranks},
        {k: float((to_picture < k).double().mean()) for k in ranks},
    )
