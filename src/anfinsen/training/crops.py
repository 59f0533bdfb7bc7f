"""Which tokens of a complex one training example shows (AlphaFold 3 supplement section 2.7)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.common.errors import ConfigError
from anfinsen.features import BATCH_AXES
from anfinsen.nn.batch import Batch, Labels

# Tokens of two chains this near each other (Å, between representative atoms) make an interface (section 2.7.3).
INTERFACE_DISTANCE = 15.0
# Fewer resolved tokens than these cannot be superposed: there is nothing to learn from such a crop.
MIN_RESOLVED = 4


@dataclass(frozen=True)
class CropConfig:
    """Size of a crop and how often each kind is taken (the weights need not sum to 1)."""

    size: int = 128
    contiguous: float = 0.2
    spatial: float = 0.4
    spatial_interface: float = 0.4

    def __post_init__(self) -> None:
        weights = (self.contiguous, self.spatial, self.spatial_interface)
        if self.size < 4 or min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError(
                f"A crop has size {self.size} and weights {weights}: "
                "expected at least 4 tokens and weights of 0 or more."
            )

    @property
    def weights(self) -> tuple[float, float, float]:
        """Probabilities of contiguous, spatial and spatial interface crops."""
        total = self.contiguous + self.spatial + self.spatial_interface
        return self.contiguous / total, self.spatial / total, self.spatial_interface / total


def choose_crop(
    asym_id: Int[np.ndarray, "N"],
    centers: Float[np.ndarray, "N 3"],
    resolved: Bool[np.ndarray, "N"],
    config: CropConfig,
    rng: np.random.Generator,
    *,
    chains: tuple[int, ...] = (),
) -> Int[np.ndarray, "n"]:
    """Return ascending indices of at most ``config.size`` tokens, by a kind of crop drawn from the weights.

    ``chains`` are the asym ids that the example is about: spatial crops start there. A kind that cannot be made gives
    way: without an interface a crop is spatial, with nothing resolved contiguous; and a contiguous crop in which
    hardly anything is resolved is replaced by a spatial one.
    """
    n = len(asym_id)
    if n <= config.size:
        return np.arange(n)
    kind = int(rng.choice(3, p=config.weights))
    about = np.isin(asym_id, chains) if chains else np.ones(n, dtype=bool)
    if kind == 2:
        at_interface = about & interface_tokens(asym_id, centers, resolved, chains)
        if at_interface.any():
            return spatial_crop(centers, resolved, int(rng.choice(np.flatnonzero(at_interface))), config.size)
    candidates = np.flatnonzero(about & resolved)
    if kind == 0:
        crop = contiguous_crop(asym_id, config.size, rng)
        if candidates.size == 0 or np.count_nonzero(resolved[crop]) >= MIN_RESOLVED:
            return crop
    if candidates.size == 0:
        return contiguous_crop(asym_id, config.size, rng)
    return spatial_crop(centers, resolved, int(rng.choice(candidates)), config.size)


def contiguous_crop(asym_id: Int[np.ndarray, "N"], size: int, rng: np.random.Generator) -> Int[np.ndarray, "n"]:
    """Return one stretch from each of some chains, ``size`` tokens in all where there are so many (algorithm 1)."""
    chains = rng.permutation(np.unique(asym_id))
    added, left = 0, len(asym_id)
    pieces = []
    for chain in chains:
        where = np.flatnonzero(asym_id == chain)
        left -= len(where)
        largest = min(size - added, len(where))
        smallest = min(len(where), max(0, size - (added + left)))
        length = int(rng.integers(smallest, largest + 1))
        start = int(rng.integers(0, len(where) - length + 1))
        pieces.append(where[start : start + length])
        added += length
    return np.sort(np.concatenate(pieces))


def spatial_crop(
    centers: Float[np.ndarray, "N 3"], resolved: Bool[np.ndarray, "N"], reference: int, size: int
) -> Int[np.ndarray, "n"]:
    """Return the ``size`` resolved tokens nearest to token ``reference``, ascending (algorithm 2).

    Where fewer are resolved, all of these.
    """
    known = np.flatnonzero(resolved)
    distance = np.linalg.norm(centers[known] - centers[reference], axis=1)
    # Symmetric copies give equal distances: the tokens' order decides (the paper adds 1e-3 times the index).
    order = np.lexsort((known, np.round(distance, 3)))
    return np.sort(known[order[:size]])


def interface_tokens(
    asym_id: Int[np.ndarray, "N"],
    centers: Float[np.ndarray, "N 3"],
    resolved: Bool[np.ndarray, "N"],
    chains: tuple[int, ...] = (),
) -> Bool[np.ndarray, "N"]:
    """Return which resolved tokens lie within 15 Å of another chain (of another of ``chains``, if given)."""
    from scipy.spatial import cKDTree

    found = np.zeros(len(asym_id), dtype=bool)
    known = np.flatnonzero(resolved & (np.isin(asym_id, chains) if len(chains) > 1 else True))
    if known.size:
        pairs = cKDTree(centers[known]).query_pairs(INTERFACE_DISTANCE, output_type="ndarray")
        first, second = known[pairs[:, 0]], known[pairs[:, 1]]
        across = asym_id[first] != asym_id[second]
        found[first[across]] = True
        found[second[across]] = True
    return found


def crop_batch(batch: Batch, labels: Labels, tokens: Int[np.ndarray, "n"]) -> tuple[Batch, Labels]:
    """Return ``batch`` and ``labels`` with only the given tokens (ascending indices) and their atoms.

    Frames that lose an atom are masked; bonds that lose an atom go. ``token_index`` and ``ref_space_uid`` keep their
    values, so that relative positions are those in the whole complex.
    """
    keep_tokens = torch.from_numpy(np.asarray(tokens, dtype=np.int64))
    n, a = len(batch.restype), len(batch.atom_to_token)
    new_token = torch.full((n,), -1, dtype=torch.int64)
    new_token[keep_tokens] = torch.arange(len(keep_tokens))
    keep_atoms = torch.nonzero(new_token[batch.atom_to_token] >= 0).squeeze(1)
    new_atom = torch.full((a,), -1, dtype=torch.int64)
    new_atom[keep_atoms] = torch.arange(len(keep_atoms))

    fields: dict[str, Tensor] = {}
    for field in dataclasses.fields(batch):
        value: Tensor = getattr(batch, field.name)
        for axis, name in enumerate(BATCH_AXES[field.name].split()):
            if name == "N":
                value = value.index_select(axis, keep_tokens)
            elif name == "A":
                value = value.index_select(axis, keep_atoms)
        fields[field.name] = value
    fields["atom_to_token"] = new_token[fields["atom_to_token"]]
    fields["center_atom"] = new_atom[fields["center_atom"]]
    fields["distogram_atom"] = new_atom[fields["distogram_atom"]]
    frames = new_atom[fields["frame_atoms"]]
    fields["frame_mask"] = fields["frame_mask"] & (frames >= 0).all(dim=1)
    fields["frame_atoms"] = torch.where(fields["frame_mask"][:, None], frames, 0)

    bonds = new_atom[labels.bonds]
    cropped = dataclasses.replace(
        labels,
        coordinates=labels.coordinates[keep_atoms],
        resolved=labels.resolved[keep_atoms],
        bonds=bonds[(bonds >= 0).all(dim=1)],
    )
    return Batch(**fields), cropped
