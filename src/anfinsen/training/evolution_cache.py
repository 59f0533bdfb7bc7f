"""Profiles and couplings of the training families, computed once: whole alignments and thinned ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, Int8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from anfinsen.alignments import Msa
from anfinsen.common.errors import InputError
from anfinsen.common.files import atomic_path
from anfinsen.common.progress import Progress
from anfinsen.common.seeding import numpy_generator
from anfinsen.features.alphafold1 import Evolution, evolution_of_msa
from anfinsen.features.coupling_scores import coupling_scores, pair_couplings_of

from .chain_store import ChainStore, a3m_row_starts, a3m_rows
from .workers import Workers

_SHALLOWEST = 2
_ALWAYS = ("depth", "frequencies", "gap_steps")
_ARRAYS = (*_ALWAYS, "scores", "classes")  # a number follows: that of the view
_STEPS = 16.0  # whole numbers per unit of a squashed class coupling; asinh keeps them within a byte
_SOURCE = "source"  # key of a file's metadata; older files have none, and are taken as they are


@dataclass(frozen=True)
class EvolutionConfig:
    """Which views of each alignment are prepared.

    Attributes:
        thinned: random subsets of each alignment besides the whole; their depth is log-uniform (Senior et al. 2020 draw
            new ones at every step; couplings are too slow for that here).
        seed: draws them.
        classes: whether the couplings between classes of amino acids are kept, too; 36 bytes for each pair of residues.
    """

    thinned: int = 2
    seed: int = 0
    classes: bool = False


@dataclass(frozen=True)
class View:
    """One view of an alignment: its profile, and its couplings (None: too few rows, or `classes` not prepared)."""

    evolution: Evolution
    scores: Float32[np.ndarray, "L L"] | None
    classes: Float32[np.ndarray, "L L 36"] | None = None


def view_of(msa: Msa, *, classes: bool = False) -> View:
    """Return profile and couplings of an alignment, as at inference."""
    if not classes:
        return View(evolution_of_msa(msa), coupling_scores(msa))
    found = pair_couplings_of(msa)
    return View(evolution_of_msa(msa), *((None, None) if found is None else (found.scores, found.classes)))


class EvolutionCache:
    """Views of the alignments of one split, one file per chain; made anew where the alignment has changed."""

    def __init__(self, store: ChainStore, folder: Path, config: EvolutionConfig | None = None) -> None:
        self.store, self.folder, self.config = store, folder, config or EvolutionConfig()

    def path(self, index: int) -> Path:
        """Return the file of chain ``index``."""
        return self.folder / f"{self.store.ids[index]}.safetensors"

    def missing(self) -> list[int]:
        """Return the chains with alignments that are not prepared yet."""
        return [int(i) for i in np.flatnonzero(self.store.has_msa) if not self._made(int(i))]

    def prepare(self, indices: Iterable[int]) -> Iterable[int]:
        """Prepare chains one by one, yielding each when it is done; an interrupted run goes on where it stopped."""
        for index in indices:
            if not self._made(index):
                self._write(index)
            yield index

    def view(self, index: int, number: int) -> View:
        """Return view ``number`` (0: the whole alignment) of chain ``index``.

        Raises:
            InputError: it is not prepared, or its file is damaged.
        """
        path = self.path(index)
        try:
            with safe_open(path, framework="numpy") as handle:
                there = set(handle.keys())
                names = [name for name in _ARRAYS if f"{name}{number}" in there or name in _ALWAYS]
                arrays = {name: handle.get_tensor(f"{name}{number}") for name in names}
            depth, effective = arrays["depth"].tolist()
            frequencies, steps = (arrays[name].astype(np.float64) for name in ("frequencies", "gap_steps"))
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete it, and start the training again.") from error
        length = len(frequencies)
        scores = _symmetric(arrays["scores"], length) if "scores" in arrays else None
        classes = _unpacked(arrays["classes"], length) if "classes" in arrays else None
        return View(Evolution(frequencies, steps, effective, int(depth)), scores, classes)

    def _made(self, index: int) -> bool:
        """Whether the file of chain ``index`` is there, and of this alignment: `distill` may give a chain another."""
        if not self.path(index).exists():
            return False
        try:
            with safe_open(self.path(index), framework="numpy") as handle:
                source = str((handle.metadata() or {}).get(_SOURCE, ""))
            # Files so old that they do not say what they were made from know no classes.
            return source == self._source(index) or (source == "" and not self.config.classes)
        except (OSError, SafetensorError):
            return True  # `view` says what is wrong with it

    def _source(self, index: int) -> str:
        """What the views of chain ``index`` follow from, as a short text."""
        # Files made before there were classes stay good for those who do not read them.
        config = str(self.config).replace(", classes=False", "")
        return f"{zlib.crc32(self.store.a3m(index).tobytes()):08x} {config}"

    def _write(self, index: int) -> None:
        arrays: dict[str, np.ndarray] = {}
        for number in range(1 + self.config.thinned):
            view = view_of(self.rows(index, number), classes=self.config.classes)
            evolution = view.evolution
            arrays[f"frequencies{number}"] = evolution.frequencies.astype(np.float16)
            arrays[f"gap_steps{number}"] = evolution.gap_steps.astype(np.float16)
            arrays[f"depth{number}"] = np.array([evolution.depth, evolution.effective_depth])
            if view.scores is not None:
                arrays[f"scores{number}"] = view.scores[np.triu_indices(len(view.scores), 1)].astype(np.float16)
            if view.classes is not None:
                arrays[f"classes{number}"] = _packed(view.classes)
        with atomic_path(self.path(index)) as temporary:
            save_file(arrays, temporary, {_SOURCE: self._source(index)})

    def rows(self, index: int, number: int) -> Msa:
        """Return the rows of view ``number`` of chain ``index``; the same every time."""
        text = self.store.a3m(index)
        spans = a3m_row_starts(text)
        if number:
            rng = numpy_generator(self.config.seed, "thinned", self.store.ids[index], number)
            depth = int(np.exp(rng.uniform(np.log(_SHALLOWEST), np.log(max(len(spans), _SHALLOWEST) + 1))))
            others = 1 + rng.permutation(len(spans) - 1)[: depth - 1]
            spans = spans[np.concatenate([[0], np.sort(others)]).astype(np.int64)]
        restypes, deletions = a3m_rows(text, spans, int(self.store.lengths[index]))
        return Msa(restypes, deletions, ("",) * len(spans))


def prepare_together(cache: EvolutionCache, workers: Workers, progress: Progress) -> None:
    """Fill the cache, every worker its share; then wait for each other."""
    # Workers see files appear while they look: shares go by the chain's number, not by its place among the missing.
    mine = [index for index in cache.missing() if index % workers.count == workers.rank]
    if mine:
        progress.stage("profiles and couplings", len(mine))
    for _ in cache.prepare(mine):
        progress.advance()
    workers.add({"prepared": 1.0})


def _symmetric(upper: Int[np.ndarray, "pairs"] | np.ndarray, length: int) -> Float32[np.ndarray, "L L"]:
    scores = np.zeros((length, length), dtype=np.float32)
    scores[np.triu_indices(length, 1)] = upper
    return scores + scores.T


def _packed(classes: Float32[np.ndarray, "L L 36"]) -> Int8[np.ndarray, "pairs 36"]:
    upper = classes[np.triu_indices(len(classes), 1)]
    return np.clip(np.round(upper * _STEPS), -127, 127).astype(np.int8)


def _unpacked(upper: Int8[np.ndarray, "pairs 36"], length: int) -> Float32[np.ndarray, "L L 36"]:
    result = np.zeros((length, length, upper.shape[1]), dtype=np.float32)
    first, second = np.triu_indices(length, 1)
    values = upper.astype(np.float32) / np.float32(_STEPS)
    result[first, second] = values
    side = round(upper.shape[1] ** 0.5)
    # Seen from the other residue, its classes come first.
    result[second, first] = values.reshape(-1, side, side).swapaxes(1, 2).reshape(len(upper), -1)
    return result
