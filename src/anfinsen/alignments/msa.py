"""`Msa`: the rows of a multiple sequence alignment, laid over its query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Msa:
    """S rows over L query positions; row 0 is the query.

    Attributes:
        restypes: S x L indices into the 32 residue types (`chemistry.tokens.RESTYPES`), of the chain's kind.
        deletions: S x L; number of inserted residues (relative to the query) just before each position.
        descriptions: header of each row, without ">".
    """

    restypes: Int[np.ndarray, "S L"]
    deletions: Int[np.ndarray, "S L"]
    descriptions: tuple[str, ...]

    @property
    def depth(self) -> int:
        """Number of rows, the query included."""
        return len(self.descriptions)
