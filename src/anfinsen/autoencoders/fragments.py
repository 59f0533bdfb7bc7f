"""Windows of protein backbones as rows of numbers for any estimator, and the way back to CA atoms. Å and radians.

A row holds the distances of all pairs of CA atoms, the sines and cosines of psi and phi at each peptide bond, or both.
Neither changes when the chain is turned or moved. Distances do not know a structure from its mirror image, nor from one
with a peptide plane flipped about its CA atoms; phi and psi see both, but no bond that is too long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from anfinsen.chemistry import Structure
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.geometry import backbone_from_dihedrals, dihedrals, pairwise_distances
from anfinsen.metrics import secondary_structure
from anfinsen.metrics.backbone import backbone_atoms, following_residues

N, CA, C = range(3)  # the first atoms of each residue, in the order of every backbone array in this package
FEATURES = ("distances", "torsions", "both")
SHORTEST, LONGEST = 5, 64  # residues of a window; 5 are the fewest that a helix can be told by
# CA dihedrals of helices and of all else: centre (radians), sharpness of a von Mises distribution, weight; set by the
# histogram of 6,000 training windows. They choose the hand of 100 % of helical windows, 90 % of the others.
_CA_DIHEDRALS = ((math.radians(50.0), 60.0, 0.4), (math.radians(-155.0), 2.0, 0.6))


@dataclass(frozen=True)
class FragmentConfig:
    """Which windows are cut, and what a row says of them.

    Attributes:
        length: residues of a window, 5 to 64.
        features: "distances" (length (length - 1) / 2 columns), "torsions" (4 (length - 1)), or "both", in this order.
        stride: residues from the start of a window to that of the next.

    Raises ConfigError: a value is outside its range.
    """

    length: int = 12
    features: str = "both"
    stride: int = 1

    def __post_init__(self) -> None:
        if not SHORTEST <= self.length <= LONGEST:
            raise ConfigError(
                f"A fragment of {self.length} residues was asked for: expected {SHORTEST} to {LONGEST} residues."
            )
        if self.stride < 1:
            raise ConfigError(f"Fragments {self.stride} residues apart were asked for: expected 1 or more.")
        if self.features not in FEATURES:
            raise ConfigError(f"Features {self.features!r} were asked for: expected one of {', '.join(FEATURES)}.")

    @property
    def n_distances(self) -> int:
        """Columns that are distances; the others are sines and cosines."""
        return 0 if self.features == "torsions" else self.length * (self.length - 1) // 2

    @property
    def n_torsions(self) -> int:
        """Columns that are sines and cosines of torsions."""
        return 0 if self.features == "distances" else 4 * (self.length - 1)


@dataclass(frozen=True)
class Fragments:
    """n windows of k residues.

    Attributes:
        features: d columns, named by `feature_names`; float32.
        ca: Å, where the CA atoms are; float32.
        residues: rows of the chain (or of the structure's residue table) that each window covers.
        secondary_structure: "helix", "strand" or "coil": that of the window's centre (residue k // 2, from 0).
        source: the chain that each window is of, "" where no name was given.
    """

    features: Float[np.ndarray, "n d"]
    ca: Float[np.ndarray, "n k 3"]
    residues: Int[np.ndarray, "n k"]
    secondary_structure: NDArray[np.character]
    source: NDArray[np.character]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Int[np.ndarray, "m"]) -> Fragments:
        """Return the windows ``rows``."""
        return Fragments(
            self.features[rows], self.ca[rows], self.residues[rows], self.secondary_structure[rows], self.source[rows]
        )

    @classmethod
    def join(cls, parts: Sequence[Fragments]) -> Fragments:
        """Return all windows of ``parts``, one or more cut with the same configuration."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.ca for part in parts]),
            np.concatenate([part.residues for part in parts]),
            np.concatenate([part.secondary_structure for part in parts]),
            np.concatenate([part.source for part in parts]),
        )


@runtime_checkable
class Detector(Protocol):
    """Whatever tells outliers by scikit-learn's convention: lower is more abnormal, below 0 is an outlier."""

    def decision_function(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
        """Return one number for each row."""


@dataclass(frozen=True)
class FragmentAnomalies:
    """How abnormal residues are.

    Attributes:
        residues: those that a window covers, as rows of the residue table, ascending.
        scores: mean over the windows that cover the residue of minus the detector's decision function: above 0, the
            windows around it are outliers on average.
    """

    residues: Int[np.ndarray, "k"]
    scores: Float[np.ndarray, "k"]


def feature_names(config: FragmentConfig) -> tuple[str, ...]:
    """Return the name of each column; residues of the window are counted from 1."""
    first, second = np.triu_indices(config.length, k=1)
    distances = [f"ca_distance_{i + 1}_{j + 1}" for i, j in zip(first, second, strict=True)]
    torsions = [
        f"{angle}_{residue}_{part}"
        for i in range(1, config.length)
        for angle, residue in (("psi", i), ("phi", i + 1))
        for part in ("sin", "cos")
    ]
    return (*distances[: config.n_distances], *torsions[: config.n_torsions])


def backbone_fragments(
    backbone: Float[np.ndarray, "L atoms 3"],
    config: FragmentConfig,
    resolved: Bool[np.ndarray, "L"] | None = None,
    follows: Bool[np.ndarray, "L"] | None = None,
    source: str = "",
) -> Fragments:
    """Return the windows of a chain that are resolved and unbroken throughout.

    Args:
        backbone: Å; N, CA and C of each residue first, others (O, CB) are not used.
        resolved: residues whose atoms are known (default: all); one that is not finite is never used.
        follows: whether residue i is bonded to residue i - 1 (default: all); the first one's entry is not used.
        source: name of the chain.

    Raises:
        InputError: there are fewer than three atoms for each residue.
    """
    length, atoms = backbone.shape[:2]
    if atoms <= C:
        raise InputError(f"A backbone has {atoms} atoms for each residue: expected N, CA and C first.")
    usable = np.isfinite(backbone[:, : C + 1]).all(axis=(1, 2))
    usable &= True if resolved is None else resolved
    joined = np.ones(length, dtype=bool) if follows is None else follows.copy()
    joined[:1] = False
    joined[1:] &= usable[1:] & usable[:-1]
    # A window from s holds when all of s + 1 .. s + length - 1 are joined to their predecessors.
    joints = np.concatenate([[0], np.cumsum(joined)])
    starts = np.arange(0, max(length - config.length + 1, 0), config.stride)
    starts = starts[joints[starts + config.length] - joints[starts + 1] == config.length - 1]
    residues = starts[:, None] + np.arange(config.length)
    points = torch.from_numpy(backbone[residues][:, :, : C + 1].astype(np.float64))
    return Fragments(
        features=_features(points, config).numpy().astype(np.float32),
        ca=points[:, :, CA].numpy().astype(np.float32),
        residues=residues,
        secondary_structure=_stretches(backbone[:, CA], joined, config.length)[residues[:, config.length // 2]],
        source=np.full(len(starts), source),
    )


def structure_fragments(structure: Structure, config: FragmentConfig) -> Fragments:
    """Return the windows of all protein chains of ``structure``; `Fragments.residues` are rows of its residue table."""
    atoms, following = backbone_atoms(structure), following_residues(structure)
    rows = np.stack([atoms[name] for name in ("N", "CA", "C")], axis=1)
    follows = np.zeros(len(rows), dtype=bool)
    linked = np.flatnonzero(following == np.arange(1, len(rows) + 1))
    follows[linked + 1] = True
    resolved: Bool[np.ndarray, "R"] = np.min(rows, axis=1) >= 0
    return backbone_fragments(
        structure.atoms.coordinates[rows].astype(np.float64), config, resolved, follows, structure.name
    )


def fragment_anomalies(structure: Structure, detector: Detector, config: FragmentConfig) -> FragmentAnomalies:
    """Return how abnormal each residue of ``structure`` is.

    Args:
        structure: read from a file or predicted.
        detector: fitted to rows of fragments of ``config``; any of scikit-learn's outlier detectors will do.
        config: that of the fragments; a stride of 1 covers every residue.

    Raises:
        InputError: no protein chain has an unbroken stretch of the window's length.
    """
    fragments = structure_fragments(structure, config)
    if not len(fragments):
        raise InputError(
            f"{structure.name or 'The structure'} has no unbroken stretch of {config.length} protein residues with "
            "N, CA and C: choose shorter fragments, or another structure."
        )
    scores = np.repeat(-np.asarray(detector.decision_function(fragments.features), dtype=np.float64), config.length)
    covered = fragments.residues.ravel()
    count = np.bincount(covered)
    residues = np.flatnonzero(count)
    return FragmentAnomalies(residues, np.bincount(covered, weights=scores)[residues] / count[residues])


def phi_psi_of(features: Float[np.ndarray, "n d"], config: FragmentConfig) -> Float[np.ndarray, "n inner 2"]:
    """Return phi and psi in radians of the residues that have both, the second to the last but one of each window.

    Raises:
        InputError: the rows hold no torsions, or do not have the columns of ``config``.
    """
    psi, phi = _torsions(features, config)
    return np.stack([phi[:, :-1], psi[:, 1:]], axis=-1)


def ca_from_features(features: Float[np.ndarray, "n d"], config: FragmentConfig) -> Float[np.ndarray, "n k 3"]:
    """Return CA atoms that have these features, in Å; place and orientation say nothing.

    Where there are torsions, a backbone with ideal bonds, angles and trans peptides is built from them. From distances
    alone, classical scaling (Torgerson 1952) gives the points, and of both mirror images the one whose CA dihedrals are
    the more usual in helices and strands is returned.

    Raises:
        InputError: the rows do not have the columns of ``config``.
    """
    if config.n_torsions:
        psi, phi = (torch.from_numpy(angle.astype(np.float64)) for angle in _torsions(features, config))
        unused = psi.new_zeros(len(psi), 1)
        phi, psi = torch.cat([unused, phi], dim=1), torch.cat([psi, unused], dim=1)
        if not len(phi):
            return np.zeros((0, config.length, 3))
        atoms: Tensor = torch.vmap(backbone_from_dihedrals)(phi, psi, torch.full_like(phi, math.pi))
        return np.asarray(atoms[:, :, CA].numpy())
    _check_columns(features, config)
    first, second = np.triu_indices(config.length, k=1)
    squared = np.zeros((len(features), config.length, config.length))
    squared[:, first, second] = squared[:, second, first] = np.maximum(features, 0.0).astype(np.float64) ** 2
    centring = np.eye(config.length) - 1.0 / config.length
    values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)
    points = vectors[..., -3:] * np.sqrt(np.maximum(values[:, None, -3:], 0.0))
    mirrored = points * np.array([-1.0, 1.0, 1.0])
    better = _usual(mirrored) > _usual(points)
    chosen: Float[np.ndarray, "n k 3"] = np.where(better[:, None, None], mirrored, points)
    return chosen


def _features(points: Float[Tensor, "n k 3 3"], config: FragmentConfig) -> Float[Tensor, "n d"]:
    columns = []
    if config.n_distances:
        first, second = np.triu_indices(config.length, k=1)
        columns.append(pairwise_distances(points[:, :, CA])[:, first, second])
    if config.n_torsions:
        before, after = points[:, :-1], points[:, 1:]
        psi = dihedrals(before[:, :, N], before[:, :, CA], before[:, :, C], after[:, :, N])
        phi = dihedrals(before[:, :, C], after[:, :, N], after[:, :, CA], after[:, :, C])
        columns.append(torch.stack([psi.sin(), psi.cos(), phi.sin(), phi.cos()], dim=-1).flatten(1))
    return torch.cat(columns, dim=1)


def _torsions(
    features: Float[np.ndarray, "n d"], config: FragmentConfig
) -> tuple[Float[np.ndarray, "n bonds"], Float[np.ndarray, "n bonds"]]:
    """Psi before and phi after each peptide bond; sines and cosines need not lie on the circle."""
    _check_columns(features, config)
    if not config.n_torsions:
        raise InputError("These fragments hold distances only: expected features 'torsions' or 'both'.")
    pairs = features[:, config.n_distances :].reshape(len(features), config.length - 1, 2, 2)
    angle = np.arctan2(pairs[..., 0], pairs[..., 1])
    return angle[..., 0], angle[..., 1]


def _check_columns(features: Float[np.ndarray, "n d"], config: FragmentConfig) -> None:
    expected = config.n_distances + config.n_torsions
    if features.shape[1] != expected:
        raise InputError(
            f"Rows of {features.shape[1]} features were given: expected {expected} for fragments of {config.length} "
            f"residues with features {config.features!r}."
        )


def _usual(ca: Float[np.ndarray, "n k 3"]) -> Float[np.ndarray, "n"]:
    """Log-density of the CA dihedrals, up to a constant."""
    points = torch.from_numpy(ca)
    angle = dihedrals(points[:, :-3], points[:, 1:-2], points[:, 2:-1], points[:, 3:]).numpy()
    # The von Mises density of sharpness k is exp(k cos(angle - centre)) over about exp(k) sqrt(2 pi / k).
    density = sum(
        weight * math.sqrt(sharpness) * np.exp(sharpness * (np.cos(angle - centre) - 1.0))
        for centre, sharpness, weight in _CA_DIHEDRALS
    )
    total: Float[np.ndarray, "n"] = np.log(density + 0.05).sum(axis=1)
    return total


def _stretches(ca: Float[np.ndarray, "L 3"], joined: Bool[np.ndarray, "L"], shortest: int) -> NDArray[np.character]:
    """Secondary structure of every residue, found in each unbroken stretch of ``shortest`` residues or more."""
    result = np.full(len(ca), "coil", dtype="U6")
    bounds = [*np.flatnonzero(~joined), len(ca)]
    for start, stop in pairwise(bounds):
        if stop - start >= shortest:
            result[start:stop] = secondary_structure(ca[start:stop])
    return result
