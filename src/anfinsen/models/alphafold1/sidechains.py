"""Side chains on a finished backbone: ideal geometry of each component, turned about CA-CB to clash least. Å."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from anfinsen.chemistry import Component

_BACKBONE = ("N", "CA", "C", "O", "CB", "OXT")
_CHI_TURNS = np.radians([0.0, 120.0, -120.0])  # from one staggered rotamer to the others
_TOUCH = 3.0  # Å; heavy atoms of different residues closer than this overlap
_SWEEPS = 2
# How much worse, in Å² of overlap, the other rotamers are to begin with: of two equally good ones, the ideal
# conformer's is taken.
_TURN_COST = np.array([0.0, 0.2, 0.2])
_OXT_LENGTH = 1.25


@dataclass(frozen=True)
class PlacedResidue:
    """One residue's heavy atoms, in the component's order without those that leave.

    Attributes:
        names: atom names. coordinates: Å. known: False where the component gives no geometry (0 there).
    """

    names: tuple[str, ...]
    coordinates: Float[np.ndarray, "n 3"]
    known: Bool[np.ndarray, "n"]


def place_side_chains(backbone: Float[np.ndarray, "L 5 3"], components: list[Component]) -> tuple[PlacedResidue, ...]:
    """Return all heavy atoms of a chain.

    Every side chain is the component's ideal one, laid on N, CA and C, in the one of three rotamers about CA-CB that
    overlaps least with the backbone and with the side chains placed so far (then once more with all of them). Rings
    that close on the backbone (proline) and CB itself are not turned. The last residue gets its OXT.

    Args:
        backbone: N, CA, C, O and CB of each residue; CB of glycine is not used.
        components: of each residue; peptides without N, CA or C get no coordinates beyond what they have.
    """
    last = len(components) - 1
    residues = [_ideal(backbone[i], components[i], ends=i == last) for i in range(len(components))]
    candidates = [_rotamers(residue, components[i]) for i, residue in enumerate(residues)]
    chosen = [0] * len(residues)
    # Backbones are all there from the start; side chains join as they are placed.
    placed: list[np.ndarray] = [_backbone_atoms(residue) for residue in residues]
    for _ in range(_SWEEPS):
        for i, options in enumerate(candidates):
            others = np.concatenate([*placed[:i], *placed[i + 1 :], np.zeros((0, 3))])
            if len(options) > 1 and len(others):
                chosen[i] = int(np.argmin(_overlaps(options, residues[i], others) + _TURN_COST))
            placed[i] = options[chosen[i]][residues[i].known]
    return tuple(
        PlacedResidue(residue.names, candidates[i][chosen[i]], residue.known) for i, residue in enumerate(residues)
    )


def _ideal(atoms: Float[np.ndarray, "5 3"], component: Component, *, ends: bool) -> PlacedResidue:
    """The component's ideal conformer laid on N, CA and C; backbone atoms as built, CB as its side chain wants it."""
    names = [str(name) for name in component.atom_names]
    keep = [i for i, name in enumerate(names) if not component.leaving[i] or (ends and name == "OXT")]
    kept = tuple(names[i] for i in keep)
    built = dict(zip(("N", "CA", "C", "O"), atoms, strict=False))
    coordinates, known = np.zeros((len(keep), 3)), np.zeros(len(keep), dtype=bool)
    geometry = component.ideal if component.ideal is not None else component.model
    if geometry is not None and {"N", "CA", "C"} <= set(names):
        own = [geometry[names.index(name)] for name in ("N", "CA", "C")]
        turn = _frame(*atoms[:3]) @ _frame(*own).T
        coordinates = (geometry[keep] - own[1]) @ turn.T + atoms[1]
        known[:] = True
    for place, name in enumerate(kept):
        if name in built:
            coordinates[place], known[place] = built[name], True
        elif name == "CB" and not known[place]:
            coordinates[place], known[place] = atoms[4], True
        elif name == "OXT":
            # The second oxygen lies opposite the first, as seen from CA-C.
            coordinates[place], known[place] = _second_oxygen(atoms), True
    return PlacedResidue(kept, coordinates, known)


def _second_oxygen(atoms: Float[np.ndarray, "5 3"]) -> Float[np.ndarray, "3"]:
    ca, c, o = atoms[1], atoms[2], atoms[3]
    outward = (c - ca) / np.linalg.norm(c - ca) - (o - c) / np.linalg.norm(o - c)
    along = (c - ca) / np.linalg.norm(c - ca)
    across = outward - (outward @ along) * along
    direction = 0.5 * along + np.sqrt(0.75) * across / np.linalg.norm(across)
    return np.asarray(c + _OXT_LENGTH * direction)


def _rotamers(residue: PlacedResidue, component: Component) -> list[Float[np.ndarray, "n 3"]]:
    """The residue in every rotamer about CA-CB; only as it is where nothing can turn."""
    free = [i for i, name in enumerate(residue.names) if name not in _BACKBONE and residue.known[i]]
    if not free or "CB" not in residue.names or component.code == "PRO":
        return [residue.coordinates]
    ca, cb = (residue.coordinates[residue.names.index(name)] for name in ("CA", "CB"))
    axis = (cb - ca) / np.linalg.norm(cb - ca)
    options = []
    for angle in _CHI_TURNS:
        turned = residue.coordinates.copy()
        v = turned[free] - cb
        # Rodrigues' formula.
        turned[free] = (
            cb + v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + np.outer(v @ axis, axis) * (1 - np.cos(angle))
        )
        options.append(turned)
    return options


def _overlaps(
    options: list[Float[np.ndarray, "n 3"]], residue: PlacedResidue, others: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "o"]:
    """Squared overlap, Å², of the atoms that turn with all other residues' atoms."""
    free = [i for i, name in enumerate(residue.names) if name not in _BACKBONE and residue.known[i]]
    tree = cKDTree(others)
    costs = []
    for option in options:
        distance, _ = tree.query(option[free], k=min(4, len(others)), distance_upper_bound=_TOUCH)
        near = np.asarray(distance)[np.isfinite(distance)]
        costs.append(float(((_TOUCH - near) ** 2).sum()))
    return np.array(costs)


def _backbone_atoms(residue: PlacedResidue) -> Float[np.ndarray, "n 3"]:
    keep = [i for i, name in enumerate(residue.names) if name in _BACKBONE and residue.known[i]]
    return residue.coordinates[keep]


def _frame(n: Float[np.ndarray, "3"], ca: Float[np.ndarray, "3"], c: Float[np.ndarray, "3"]) -> np.ndarray:
    x = (c - ca) / np.linalg.norm(c - ca)
    y = (n - ca) - ((n - ca) @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
