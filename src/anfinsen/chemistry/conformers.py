"""Reference conformers (supplement section 2.8): one plausible geometry per component and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from ..common.errors import ChemistryError
from ..common.seeding import derive_seed
from .component import Component
from .elements import is_metal
from .molecules import to_rdkit

_CARBON = 6
_LARGE = 100  # heavy atoms; the time of an attempt rises with the second power and more


@dataclass(frozen=True)
class ConformerConfig:
    """Limits of the conformer search.

    Attributes:
        iterations: attempts of RDKit's distance geometry from its usual start.
        random_iterations: attempts from random coordinates, each slower, when the usual start fails.
        last_iterations: the same for components that have no coordinates to fall back on; fewer for large ones, whose
            attempts take longer.
        max_atoms: heavy atoms above which RDKit is not tried where there are coordinates to fall back on.
        max_alone: the same where there are none: an attempt takes seconds at 200 atoms, and minutes beyond.
    """

    iterations: int = 10
    random_iterations: int = 5
    last_iterations: int = 50
    max_atoms: int = 250
    max_alone: int = 200

    def last_iterations_of(self, atoms: int) -> int:
        """Return the attempts from random coordinates for a component without coordinates of so many heavy atoms."""
        return max(1, round(self.last_iterations * min(1.0, (_LARGE / max(1, atoms)) ** 2)))


@dataclass(frozen=True)
class Conformer:
    """Positions of a component's n atoms in Å, centred on their mean.

    Attributes:
        mask: which positions are known (all, but for components without any geometry).
        source: "rdkit", "ccd-ideal", "ccd-model" or "single-atom".
    """

    coordinates: Float[np.ndarray, "n 3"]
    mask: Bool[np.ndarray, "n"]
    source: str


def reference_conformer(component: Component, seed: int, config: ConformerConfig | None = None) -> Conformer:
    """Return a conformer of ``component``, the same for the same seed, whatever the order of its atoms.

    Sources, in this order: RDKit ETKDGv3; ETKDGv3 from random coordinates; the component's ideal coordinates;
    its model coordinates. A single atom stands at the origin. The answer is cached.

    Raises:
        ChemistryError: no source gives coordinates.
    """
    return _cached(_Key.of(component), component.code, seed, config or ConformerConfig())


class _Key:
    """A component, compared by everything that decides its conformer."""

    def __init__(self, component: Component, content: tuple[object, ...]) -> None:
        self.component = component
        self._content = content

    @classmethod
    def of(cls, component: Component) -> _Key:
        arrays = (value for value in vars(component).values() if isinstance(value, np.ndarray))
        content = (component.smiles, *((array.dtype.str, array.tobytes()) for array in arrays))
        return cls(component, content)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._content == other._content


@lru_cache(maxsize=4096)
def _cached(key: _Key, code: str, seed: int, config: ConformerConfig) -> Conformer:
    # Atoms in the order of their names: the embedding's random numbers follow the atoms. A component made from
    # SMILES is in canonical order already, and its molecule is parsed from the SMILES in that order.
    component, order = key.component, np.arange(len(key.component))
    if not component.smiles:
        order = np.argsort(component.atom_names, kind="stable")
        component = _reordered(component, order)
    # A ligand that the user wrote down is called after its first chain: its SMILES, not that name, chooses.
    conformer = _search(component, derive_seed(seed, "conformer", component.smiles or code), config)
    coordinates, mask = np.empty_like(conformer.coordinates), np.empty_like(conformer.mask)
    coordinates[order], mask[order] = conformer.coordinates, conformer.mask
    for array in (coordinates, mask):
        array.setflags(write=False)
    return Conformer(coordinates, mask, conformer.source)


def _search(component: Component, seed: int, config: ConformerConfig) -> Conformer:
    n = len(component)
    if n <= 1:
        return Conformer(np.zeros((n, 3)), np.ones(n, dtype=bool), "single-atom")
    alone = component.ideal is None and component.model is None
    if alone and n > config.max_alone:
        raise ChemistryError(
            f"Component {component.code} has {n} heavy atoms and no coordinates: conformers of at most "
            f"{config.max_alone} atoms are made; give it as SDF or mmCIF with coordinates, or as bonded components."
        )
    sources: tuple[tuple[str, Callable[[], Float[np.ndarray, "n 3"] | None]], ...] = (
        ("rdkit", lambda: _embed(component, seed, config, alone)),
        ("ccd-ideal", lambda: component.ideal),
        ("ccd-model", lambda: component.model),
    )
    for name, source in sources:
        coordinates = source()
        if coordinates is not None and np.isfinite(coordinates).all() and np.ptp(coordinates, axis=0).any():
            return Conformer(coordinates - coordinates.mean(axis=0), np.ones(n, dtype=bool), name)
    raise ChemistryError(
        f"No conformer of component {component.code} ({component.name}) can be made: RDKit fails to embed it, and it "
        "has neither ideal nor model coordinates; give the component as mmCIF or SDF with coordinates."
    )


def _embed(component: Component, seed: int, config: ConformerConfig, alone: bool) -> Float[np.ndarray, "n 3"] | None:
    """Return ETKDGv3 coordinates of the heavy atoms, or None where RDKit finds none.

    A component that is ``alone`` has no other coordinates to fall back on.
    """
    if len(component) > config.max_atoms and not alone:
        return None
    random_iterations = config.last_iterations_of(len(component)) if alone else config.random_iterations
    with rdBase.BlockLogs():
        # RDKit raises RuntimeError or ValueError on chemistry it has no parameters for; the next source is then
        # used and recorded as the conformer's source.
        try:
            molecule = Chem.AddHs(to_rdkit(component))
            for random_start, iterations in ((False, config.iterations), (True, random_iterations)):
                if random_start:
                    _free_metal_centres(molecule)
                if rdDistGeom.EmbedMolecule(molecule, _parameters(seed, random_start, iterations)) == 0:
                    return np.array(molecule.GetConformer().GetPositions()[: len(component)], dtype=np.float64)
        except (RuntimeError, ValueError):
            return None
    return None


def _free_metal_centres(molecule: Chem.Mol) -> None:
    """Forget the handedness of metals and of the N, O, S … bonded to them.

    Distance geometry cannot meet it in flat macrocycles (chlorophyll); the carbons keep theirs.
    """
    for atom in molecule.GetAtoms():
        near = (atom, *atom.GetNeighbors())
        if atom.GetAtomicNum() != _CARBON and any(is_metal(other.GetAtomicNum()) for other in near):
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)


def _parameters(seed: int, random_start: bool, iterations: int) -> Any:
    # Any: RDKit's type stubs give the fields of this object wrong types.
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed % (2**31 - 1)
    parameters.maxIterations = iterations
    parameters.useRandomCoords = random_start
    return parameters


def _reordered(component: Component, order: np.ndarray) -> Component:
    """Return ``component`` with its atoms in another order, and its bonds sorted by their atoms' new places."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    bonds = np.sort(place[component.bonds], axis=1).reshape(-1, 2)
    rows = np.lexsort((bonds[:, 1], bonds[:, 0]))
    return replace(
        component,
        atom_names=component.atom_names[order],
        elements=component.elements[order],
        charges=component.charges[order],
        leaving=component.leaving[order],
        stereo=component.stereo[order],
        bonds=bonds[rows],
        orders=component.orders[rows],
        bond_stereo=component.bond_stereo[rows],
        ideal=None if component.ideal is None else component.ideal[order],
        model=None if component.model is None else component.model[order],
        hydrogens=component.hydrogens[order],
    )
