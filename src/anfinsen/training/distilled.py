"""Training on chains that a model predicted (`anfinsen distill`), beside known structures.

A folder of distilled chains is also a data folder like any other (``structures/`` with a manifest, ``chains/`` and
``msas/``): `ChainStore` and `StructureDataset` read it as it is, and residues that are not confident are unresolved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from anfinsen.alignments import Msa, read_msa
from anfinsen.chemistry import ChainKind, Structure
from anfinsen.common.distilled import STRUCTURE_SUFFIX, DistilledFolder, Kind
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.progress import Progress
from anfinsen.common.text import listed
from anfinsen.nn.batch import Batch, Labels

from .crops import CropConfig
from .data_structures import StructureDataConfig, StructureDataset

# Shares of all examples in AlphaFold 3's training (supplement section 2.5): monomers predicted by AlphaFold 2, long and
# short together, and the partly unresolved proteins of cross-distillation.
PUBLISHED_WEIGHT: dict[Kind, float] = {"self": 0.5, "cross": 0.02}
# Kinds of crops for such chains (supplement section 2.7); they have no interfaces.
DISTILLED_CROP = CropConfig(contiguous=0.25, spatial=0.75, spatial_interface=0.0)


class DistilledDataset(StructureDataset):
    """The chains of a folder made by ``anfinsen distill``, with their alignments.

    Attributes:
        kind: which distillation made them. published_weight: share of the examples that such chains have in the paper.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        config: StructureDataConfig | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        """Read, featurise and store what is not in ``cache`` yet.

        Raises:
            InputError: the folder was not made by ``anfinsen distill``, or holds no chain to train on.
        """
        found = DistilledFolder(Path(folder))
        self.kind = found.kind()
        self.published_weight = PUBLISHED_WEIGHT[self.kind]
        self._distilled = found
        # By the records, which are written last: a structure without one may be of a run that was cut off.
        files = [found.structure(name).name for name in found.names() if found.read(name).kept]
        if not files:
            raise InputError(
                f"{folder} holds no chain to train on: `anfinsen distill` has finished none, or left all of them out."
            )
        if gone := [name for name in files if not (found.structures / name).is_file()]:
            raise InputError(
                f"{found.structures} lacks {listed(gone, 3)}: run `anfinsen distill` on the same sequences again, "
                "which makes what is missing anew."
            )
        super().__init__(
            found.structures,
            cache,
            config or StructureDataConfig(crop=DISTILLED_CROP),
            files=files,
            alignments=self._given,
            progress=progress,
        )

    def whole(self, file: int) -> tuple[Batch, Labels]:
        """Return file number ``file`` of `files`, uncropped; its labels say that they are predicted."""
        batch, labels = super().whole(file)
        return batch, dataclasses.replace(labels, predicted=True)

    def _state(self, path: Path) -> tuple[object, ...]:
        """Also of the chain's alignment."""
        alignment = self._distilled.alignment(path.name.removesuffix(STRUCTURE_SUFFIX))
        return *super()._state(path), *(super()._state(alignment) if alignment.is_file() else ())

    def _given(self, structure: Structure) -> dict[str, Msa]:
        """The alignment of the one chain of ``structure``, by chain id; empty where there is none."""
        path, chain = self._distilled.alignment(structure.name), structure.chains[0]
        if not path.is_file():
            return {}
        return {chain.chain_id: read_msa(path, chain.sequence, ChainKind.PROTEIN)}


def share_left(shares: Sequence[float]) -> float:
    """Return the share of all examples that folders of distilled chains with these ``shares`` leave to known ones.

    Raises:
        ConfigError: they leave nothing.
    """
    left = 1.0 - sum(shares)
    if not left > 0:  # nor may it be NaN
        raise ConfigError(
            f"Folders of distilled chains would make {sum(shares):.3g} of all examples: give --distilled-weight for "
            "each, less than 1 in all."
        )
    return left
