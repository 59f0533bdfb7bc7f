"""Settings of the feature pipeline: each number has its one home here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReferenceFrame = Literal["canonical", "random", "given"]


@dataclass(frozen=True)
class FeatureConfig:
    """How a `Complex` becomes a `Batch`.

    Attributes:
        max_msa_rows: rows kept in all, the query included (supplement section 2.2: 16,384).
        max_paired_rows: of these, paired rows at most, the query included (8,191 and the query).
        max_paired_per_species: paired rows one species may give (released AlphaFold 3 code: 600).
        max_templates: templates kept per chain (supplement section 2.4: 4).
        reference_frame: where each reference conformer lies. "random" draws AlphaFold 3's random rotation and
            translation per residue anew, "given" keeps what `tokenise` drew. "canonical" puts every conformer into a
            frame that follows from the molecule alone, so that results depend neither on the frame a component came
            in nor on the order of atoms and chains.
        couplings: whether the couplings of each chain's alignment are computed, for networks that read them.
    """

    max_msa_rows: int = 16_384
    max_paired_rows: int = 8_192
    max_paired_per_species: int = 600
    max_templates: int = 4
    reference_frame: ReferenceFrame = "canonical"
    couplings: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_paired_rows <= self.max_msa_rows:
            raise ValueError(
                f"max_paired_rows is {self.max_paired_rows} and max_msa_rows {self.max_msa_rows}: "
                "expected 1 <= max_paired_rows <= max_msa_rows"
            )
        if self.max_templates < 0 or self.max_paired_per_species < 1:
            raise ValueError("max_templates must be at least 0 and max_paired_per_species at least 1")
