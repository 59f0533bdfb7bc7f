"""Proteins in a molecular force field: hydrogens, forces, restraints and minimisation, by OpenMM (extra ``relax``).

OpenMM counts in nm and kJ/mol; everything that enters or leaves this file is in Å and kcal/mol.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from rdkit import Chem
from scipy.spatial import cKDTree

from anfinsen.chemistry import Structure
from anfinsen.common.errors import ChemistryError, NonFiniteError

from .relax_options import RelaxConfig, require_openmm
from .relax_parts import RelaxParts

_NM, _KJ = 0.1, 4.184  # of an Å, of a kcal
_PLATFORM = {"Threads": "1", "DeterministicForces": "true"}  # of OpenMM's CPU platform: the same bits every time
_RESTRAINTS = 1  # force group
# Atoms of molecules that the force field does not know keep proteins off by their van der Waals radius alone: the
# depth is about that of carbon's and oxygen's (0.1 to 0.2 kcal/mol in Amber).
_DEPTH = 0.1  # kcal/mol
_REACH = 12.0  # Å; others beyond do not matter


class ProteinForces:
    """Relaxed chains with hydrogens, in a force field and among all that is held; minimised in place.

    Attributes:
        iterations: of L-BFGS so far. converged: whether the last minimisation ended by itself.
    """

    def __init__(
        self, structure: Structure, parts: RelaxParts, coordinates: Float[np.ndarray, "A 3"], config: RelaxConfig
    ) -> None:
        """Add hydrogens (as at pH 7) to ``parts`` and set up their forces; ``coordinates`` in Å, all finite.

        Raises:
            MissingExtraError: OpenMM is not installed.
            ChemistryError: the force field has no template for a residue. NonFiniteError: hydrogens cannot be placed.
        """
        require_openmm()
        import openmm
        from openmm import app

        self._config, self._parts = config, parts
        self._names = [structure.chains[index].chain_id for index in structure.atom_chain[parts.atoms]]
        self.iterations, self.converged = 0, True
        with _one_sentence(self._names), repeatable():
            topology, positions = _with_hydrogens(structure, parts, coordinates[parts.atoms])
            field = app.ForceField(config.force_field)
            system = field.createSystem(topology, nonbondedMethod=app.NoCutoff, removeCMMotion=False)
            elements = [atom.element.atomic_number for atom in topology.atoms()]
            self._heavy = np.flatnonzero(np.array(elements) > 1)
            residue_of = np.array([atom.residue.index for atom in topology.atoms()])
            held = np.isin(residue_of, residue_of[self._heavy[parts.held]])
            for index in np.flatnonzero(held).tolist():
                system.setParticleMass(index, 0.0)  # does not move
            near = _near(coordinates[parts.others], coordinates[parts.atoms])
            others = parts.others[near]
            if len(others):
                _add_others(system, structure.atoms.element[others], np.flatnonzero(~held))
            self._restraints = self._add_restraints(system)
            self._integrator = openmm.VerletIntegrator(0.001)
            platform = openmm.Platform.getPlatformByName("CPU")
            self._context = openmm.Context(system, self._integrator, platform, _PLATFORM)
            self._context.setPositions(np.concatenate([positions, coordinates[others] * _NM]))

    def energy(self) -> float | None:
        """Return the energy without restraints, kcal/mol; None where it is not finite."""
        state = self._context.getState(energy=True, groups={0})
        value = float(state.getPotentialEnergy()._value) / _KJ
        return value if np.isfinite(value) else None

    def coordinates(self) -> Float[np.ndarray, "k 3"]:
        """Return the heavy atoms, in the order of the parts' atoms, Å.

        Raises:
            NonFiniteError: a coordinate is NaN or infinite.
        """
        every = np.asarray(self._context.getState(positions=True).getPositions(asNumpy=True)._value)
        found: Float[np.ndarray, "k 3"] = every[self._heavy].astype(np.float64) / _NM
        broken = ~np.isfinite(found).all(1)
        if broken.any():
            chains = sorted({self._names[index] for index in np.flatnonzero(broken).tolist()})
            raise NonFiniteError(f"Relaxation gave coordinates of chain {', '.join(chains)} that are not finite.")
        return found

    def minimise(self, free: Bool[np.ndarray, "k"]) -> None:
        """Minimise, with restraints on every heavy atom but the ``free`` to where it is now.

        Raises:
            NonFiniteError: the minimisation broke down.
        """
        import openmm

        where = self.coordinates() * _NM
        stiffness = self._config.stiffness * _KJ / _NM**2
        for number, (x, loose) in enumerate(zip(where.tolist(), free.tolist(), strict=True)):
            atom = int(self._heavy[number])
            self._restraints.setParticleParameters(number, atom, [0.0 if loose else stiffness, *x])
        self._restraints.updateParametersInContext(self._context)
        count = _counter(openmm)
        with _one_sentence(self._names):
            openmm.LocalEnergyMinimizer.minimize(
                self._context, self._config.tolerance * _KJ, self._config.iterations, count
            )
        self.iterations += count.total
        self.converged = count.total < self._config.iterations

    def _add_restraints(self, system: Any) -> Any:
        import openmm

        force = openmm.CustomExternalForce("0.5 * k * ((x - x0)^2 + (y - y0)^2 + (z - z0)^2)")
        for name in ("k", "x0", "y0", "z0"):
            force.addPerParticleParameter(name)
        for atom in self._heavy.tolist():
            force.addParticle(atom, [0.0, 0.0, 0.0, 0.0])
        force.setForceGroup(_RESTRAINTS)
        system.addForce(force)
        return force


def _with_hydrogens(
    structure: Structure, parts: RelaxParts, coordinates: Float[np.ndarray, "k 3"]
) -> tuple[Any, Float[np.ndarray, "h 3"]]:
    """The relaxed chains as OpenMM's topology, and all positions in nm; heavy atoms keep their order."""
    import openmm
    from openmm import app

    topology = app.Topology()
    atoms: list[Any] = []
    table, residues = structure.atoms, structure.residues
    added: dict[int, Any] = {}
    first: dict[int, Any] = {}  # residue of each chain
    for index in parts.atoms.tolist():
        row = int(table.residue[index])
        chain = int(residues.chain[row])
        if row not in added:
            if chain not in first:
                newest = topology.addChain(structure.chains[chain].chain_id)
            added[row] = topology.addResidue(str(residues.name[row]), newest, str(residues.number[row]))
            first.setdefault(chain, added[row])
        element = app.Element.getByAtomicNumber(int(table.element[index]))
        atoms.append(topology.addAtom(str(table.name[index]), element, added[row]))
    for i, j in parts.bonds.tolist():
        topology.addBond(atoms[i], atoms[j])
    modeller = app.Modeller(topology, [openmm.Vec3(*x) for x in (coordinates * _NM).tolist()] * openmm.unit.nanometer)
    modeller.addHydrogens(platform=openmm.Platform.getPlatformByName("CPU"))
    # OpenMM takes the first residue of every chain for its end; that of a ring has one hydrogen on its nitrogen.
    rings = {first[chain].index for chain in parts.chains if structure.chains[chain].cyclic}
    surplus = [a for a in modeller.topology.atoms() if a.residue.index in rings and a.name in ("H2", "H3")]
    modeller.delete(surplus)
    positions = np.array(modeller.positions.value_in_unit(openmm.unit.nanometer), dtype=np.float64)
    return modeller.topology, positions


def _near(others: Float[np.ndarray, "m 3"], mine: Float[np.ndarray, "k 3"]) -> Bool[np.ndarray, "m"]:
    if not len(others):
        return np.zeros(0, dtype=bool)
    distance, _ = cKDTree(mine).query(others)
    near: Bool[np.ndarray, "m"] = distance < _REACH
    return near


def _add_others(system: Any, elements: UInt8[np.ndarray, "m"], moving: Int[np.ndarray, "n"]) -> None:
    """Add immobile atoms that attract and repel the ``moving`` ones by van der Waals forces, and nothing else."""
    import openmm

    (charged,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    contact = openmm.CustomNonbondedForce(
        "4 * sqrt(depth1 * depth2) * ((size / r)^12 - (size / r)^6); size = 0.5 * (size1 + size2)"
    )
    contact.addPerParticleParameter("size")
    contact.addPerParticleParameter("depth")
    for index in range(charged.getNumParticles()):
        _, size, depth = charged.getParticleParameters(index)
        contact.addParticle([size, depth])
    for index in range(charged.getNumExceptions()):  # OpenMM wants the same ones in every such force
        contact.addExclusion(*charged.getExceptionParameters(index)[:2])
    radius = Chem.GetPeriodicTable().GetRvdw
    before = system.getNumParticles()
    for element in elements.tolist():
        system.addParticle(0.0)
        charged.addParticle(0.0, 1.0, 0.0)
        # The energy is least where the distance is the sum of the radii.
        contact.addParticle([2 * radius(int(element)) * _NM / 2 ** (1 / 6), _DEPTH * _KJ])
    contact.addInteractionGroup(moving.tolist(), range(before, system.getNumParticles()))
    system.addForce(contact)


def _counter(openmm: Any) -> Any:
    class Counter(openmm.MinimizationReporter):  # type: ignore[misc]  # OpenMM has no types
        """Counts the iterations of one minimisation."""

        total = 0

        def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
            """Take note of an iteration; never stops."""
            self.total += 1
            return False

    return Counter()


@contextmanager
def repeatable() -> Iterator[None]:
    """Let OpenMM place hydrogens alike every time: it draws their first positions from Python's own generator."""
    import openmm

    platform = openmm.Platform.getPlatformByName("CPU")
    state, defaults = random.getstate(), {name: platform.getPropertyDefaultValue(name) for name in _PLATFORM}
    try:
        random.seed(0)
        for name, value in _PLATFORM.items():
            platform.setPropertyDefaultValue(name, value)
        yield
    finally:
        random.setstate(state)
        for name, value in defaults.items():
            platform.setPropertyDefaultValue(name, value)


@contextmanager
def _one_sentence(chains: Iterable[str]) -> Iterator[None]:
    """Turn what OpenMM raises into errors of this package, which name the ``chains``."""
    import openmm

    where = f"chain {', '.join(sorted(set(chains)))}"

    try:
        yield
    except ZeroDivisionError as error:
        raise NonFiniteError(f"Relaxation of {where} met atoms in one place, where no hydrogen can be put.") from error
    except ValueError as error:
        raise ChemistryError(f"The force field does not know a residue of {where} ({_first(error)}).") from error
    except openmm.OpenMMException as error:
        raise NonFiniteError(
            f"Relaxation of {where} broke down, as it does where atoms lie in one place ({_first(error)})."
        ) from error


def _first(error: Exception) -> str:
    """The first sentence of a message."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")
