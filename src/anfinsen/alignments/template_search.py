"""`TemplateSearch`: known structures for a protein chain, found by the profile of its alignment and laid over it.

The steps and limits are AlphaFold 3's (supplement section 2.4; where its released code says more, the code): hmmsearch
with open filters, hits refused that are too new, too short, cover too little, or are the query itself, of equal ones
the first kept, four at most.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..chemistry import ChainKind, structure_from_bytes
from ..common.errors import ConfigError, MissingExtraError, StructureError
from ..common.progress import Progress, Silent
from .cache import SearchCache, cache_key
from .engine import SearchConfig
from .msa import Msa
from .template_files import cut_chain
from .template_index import IndexedChain, TemplateIndex
from .template_profile import ProfileHit, build_profile, hits_from_text, hits_text, search_sequences

MAX_TEMPLATES = 20  # that AlphaFold 3 lets a job give for a chain
_LONGEST_TARGET = 100_000  # HMMER's limit
_TRIED = 8  # chains of one sequence that are tried when the ones before cannot be used
TOO_NEW, UNDATED, SHORT, COVERAGE, DUPLICATE, REPEATED, UNRESOLVED = (
    "released after the date",
    "without a release date",
    "too short",
    "cover too little of the chain",
    "identical to the chain",
    "equal to a better one",
    "without coordinates where they are laid over the chain",
)


@dataclass(frozen=True)
class TemplateConfig:
    """Which templates are used.

    Attributes:
        max_templates: kept for a chain.
        latest: templates released after this day are not used, nor those whose file tells no date; None: no limit.
        e_value: limit of hmmsearch (released code: 100).
        p_value: and of the chance that an unrelated sequence is as good, so that a folder of few structures gives no
            templates by chance. From 100,000 sequences on, the limit is ``e_value`` alone.
        filters: P-value that passes HMMER's filters (released code: 0.1).
        max_subsequence_ratio: a hit that is part of the chain, letter by letter, and longer than this fraction of it,
            is taken for the chain itself and not used. 1: the limit is off.
        min_align_ratio: least fraction of the chain that is laid over, exclusive.
        min_hit_length: least number of residues of a hit.

    Raises:
        ConfigError: ``max_templates`` is out of range.
    """

    max_templates: int = 4
    latest: date | None = None
    e_value: float = 100.0
    p_value: float = 1e-3
    filters: float = 0.1
    max_subsequence_ratio: float = 0.95
    min_align_ratio: float = 0.1
    min_hit_length: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.max_templates <= MAX_TEMPLATES:
            raise ConfigError(
                f"Option 'max_templates' is {self.max_templates}: expected a number from 0 to {MAX_TEMPLATES}."
            )


@dataclass(frozen=True)
class FoundTemplate:
    """A template laid over a chain.

    Attributes:
        mmcif: text of its one chain. query_indices, template_indices: 0-based residues laid over each other.
        chain: where it comes from. e_value, score: of the part that is laid over, score in bits.
        identity: fraction of the residues laid over each other that are the same.
    """

    mmcif: str
    query_indices: tuple[int, ...]
    template_indices: tuple[int, ...]
    chain: IndexedChain
    e_value: float
    score: float
    identity: float


@dataclass(frozen=True)
class TemplateResult:
    """The templates of a chain.

    Attributes:
        templates: the best first. hits: number of hits of hmmsearch.
        refused: number of those refused before enough were found, by reason.
        unusable: chains that could not be used as a template, and why.
        cached: whether the hits were known.
    """

    templates: tuple[FoundTemplate, ...]
    hits: int
    refused: dict[str, int]
    unusable: tuple[str, ...]
    cached: bool


class TemplateSearch:
    """Searches one folder of structure files, for many chains.

    The folder is looked at once, before the first search.

    Args:
        folder: with mmCIF files. cache: keeps the folder's index, and the hits.
        config: which templates are used. search: only its threads matter.

    Raises:
        AlignmentError: at construction, when there is no such folder.
        MissingExtraError: at construction, when pyhmmer is not installed.
    """

    def __init__(
        self,
        folder: Path,
        cache: SearchCache,
        config: TemplateConfig | None = None,
        search: SearchConfig | None = None,
    ) -> None:
        try:
            self._version = version("pyhmmer")
        except PackageNotFoundError as error:
            raise MissingExtraError(
                "Searching for templates needs pyhmmer: install it with `pip install 'anfinsen[search]'`."
            ) from error
        self.index = TemplateIndex(folder, cache.folder / "templates")
        self.cache = cache
        self.config = config or TemplateConfig()
        self.threads = (search or SearchConfig()).threads
        self._sequences: list[str] | None = None  # of all chains, once `prepare` has looked
        self._targets_version = ""

    @property
    def name(self) -> str:
        """What notes call it."""
        return self.index.folder.name or str(self.index.folder)

    def prepare(self, progress: Progress | None = None) -> None:
        """Look at the folder, if that was not done yet; ``progress`` is told which files cannot be read.

        Raises:
            AlignmentError: the folder cannot be listed, or holds no structures.
            OutputError: the index cannot be written.
        """
        if self._sequences is not None:
            return
        progress = progress or Silent()
        state = self.index.refresh(progress)
        if state.note:
            progress.note(state.note)
        self._sequences = self.index.sequences(self.config.min_hit_length, _LONGEST_TARGET)
        self._targets_version = hashlib.sha256("\n".join(self._sequences).encode()).hexdigest()

    def find(self, query: str, msa: Msa | None = None) -> TemplateResult:
        """Return the templates of a protein chain.

        Args:
            query: its sequence. msa: its alignment; None searches by the sequence alone.

        Raises:
            AlignmentError, OutputError: as :meth:`prepare`; also when the cache cannot be written.
        """
        self.prepare()
        if self.config.max_templates == 0 or len(query) < self.config.min_hit_length:
            return TemplateResult((), 0, {}, (), False)
        hits, cached = self._hits(query, msa)
        return self._choose(query, hits, cached)

    def _hits(self, query: str, msa: Msa | None) -> tuple[list[ProfileHit], bool]:
        assert self._sequences is not None
        limit = min(self.config.e_value, self.config.p_value * len(self._sequences))
        alignment = hashlib.sha256()
        for values in (msa.restypes, msa.deletions) if msa is not None else ():
            alignment.update(f"{values.shape} {values.dtype}".encode() + values.tobytes())
        key = cache_key(
            {
                "program": f"pyhmmer-{self._version}",
                "search": "templates-1",
                "sequence": query,
                "alignment": alignment.hexdigest(),
                "targets": self._targets_version,
                "e_value": limit,
                "filters": self.config.filters,
            }
        )
        if (text := self.cache.get(key)) is not None:
            return hits_from_text(text), True
        profile = build_profile(query, msa)
        hits = search_sequences(profile, self._sequences, limit, self.config.filters, self.threads)
        self.cache.put(key, hits_text(hits))
        return hits, False

    def _choose(self, query: str, hits: Sequence[ProfileHit], cached: bool) -> TemplateResult:
        found: list[FoundTemplate] = []
        refused: Counter[str] = Counter()
        unusable: list[str] = []
        seen: set[tuple[tuple[int, str], ...]] = set()
        for hit in hits:
            if len(found) == self.config.max_templates:
                break
            pairs = hit.pairs
            laid = tuple((q, hit.sequence[t]) for q, t in pairs)
            reason = self._refusal(query, hit, len(pairs)) or (REPEATED if laid in seen else "")
            if not reason:
                template, reason = self._template(query, hit, pairs, unusable)
                if template is not None:
                    seen.add(laid)
                    found.append(template)
            if reason:
                refused[reason] += 1
        return TemplateResult(tuple(found), len(hits), dict(refused), tuple(unusable), cached)

    def _refusal(self, query: str, hit: ProfileHit, pairs: int) -> str:
        matched = hit.matched
        if len(matched) / len(query) > self.config.max_subsequence_ratio and matched in query:
            return DUPLICATE
        if len(matched) < self.config.min_hit_length:
            return SHORT
        return COVERAGE if pairs / len(query) <= self.config.min_align_ratio else ""

    def _template(
        self, query: str, hit: ProfileHit, pairs: Sequence[tuple[int, int]], unusable: list[str]
    ) -> tuple[FoundTemplate | None, str]:
        """The hit's best chain that can be used; or why there is none."""
        chains = self.index.chains(hit.sequence)
        if self.config.latest is not None:
            dated = [chain for chain in chains if chain.release_date]
            if not dated:
                return None, UNDATED
            chains = [chain for chain in dated if chain.release_date <= self.config.latest.isoformat()]
            if not chains:
                return None, TOO_NEW
        reason = UNRESOLVED
        for chain in chains[:_TRIED]:
            try:
                mmcif, sequence, resolved = cut_chain(self.index.folder / chain.file, chain.chain_id)
                if sequence != hit.sequence:
                    raise StructureError(f"{chain.file} changed while it was searched.")
                if not any(resolved[t] for _, t in pairs):
                    continue
                _check_readable(mmcif, f"Chain {chain.chain_id} of {chain.file}", sequence)
            except StructureError as error:
                unusable.append(str(error))
                reason = "that cannot be read"
                continue
            same = sum(query[q] == hit.sequence[t] for q, t in pairs)
            indices = tuple(q for q, _ in pairs), tuple(t for _, t in pairs)
            return FoundTemplate(mmcif, *indices, chain, hit.e_value, hit.score, same / len(pairs)), ""
        return None, reason


def _check_readable(mmcif: str, name: str, sequence: str) -> None:
    """Read a template as its features will be: one that cannot be read would stop the prediction."""
    structure, _ = structure_from_bytes(mmcif, name)
    proteins = [chain.sequence for chain in structure.chains if chain.kind is ChainKind.PROTEIN]
    if [len(each) for each in proteins] != [len(sequence)]:
        raise StructureError(f"{name} is read as another chain when it is cut out of its file.")
