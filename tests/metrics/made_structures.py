"""Structures for tests of scores: made of ideal components on a walk, or real ones shaken in a known way."""

import dataclasses
from pathlib import Path

import gemmi
import numpy as np

from anfinsen.jobs import Job, job_structure
from anfinsen.metrics.naming import SYMMETRIC


def made(*entities, seed=0, spread=40.0):
    """Every residue as its component's ideal conformer, residues of a chain 4 Å apart on a walk."""
    structure, library = job_structure(Job(name="made", seeds=(1,), entities=entities))
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(len(structure.residues), 3))
    walk = np.cumsum(4.0 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    for chain in range(len(structure.chains)):
        own = structure.residues.chain == chain
        walk[own] += rng.uniform(0, spread, size=3) - walk[own].mean(0)
    x = walk[structure.atoms.residue]
    for row in range(len(structure.atoms)):
        component = library.get(str(structure.residues.name[structure.atoms.residue[row]]))
        place = component.atom_names.tolist().index(structure.atoms.name[row])
        x[row] += component.ideal[place] - component.ideal.mean(0)
    return with_coordinates(structure, x), library


def with_coordinates(structure, x, **changes):
    """The same molecules elsewhere, all resolved."""
    atoms = dataclasses.replace(
        structure.atoms, coordinates=x.astype(np.float64), resolved=np.ones(len(x), dtype=bool), **changes
    )
    return dataclasses.replace(structure, atoms=atoms)


def clean(path: Path, target: Path):
    """A real entry's polymers without hydrogens and alternative places, as PDB; returns what was written."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_ligands_and_waters()
    structure.remove_hydrogens()
    structure.remove_alternative_conformations()
    structure.remove_empty_chains()
    structure.write_pdb(str(target))
    return structure


def shaken(structure, target: Path, *, noise=0.3, shift=0.6, seed=1):
    """Write it with noise on atoms and chains, some residues missing, and half of the symmetric names exchanged."""
    rng = np.random.default_rng(seed)
    for chain in structure[0]:
        step, lost = rng.normal(size=3) * shift, []
        for index, residue in enumerate(chain):
            if rng.random() < 0.5:
                other = {a: b for pair in SYMMETRIC.get(residue.name, ()) for a, b in (pair, pair[::-1])}
                for atom in residue:
                    atom.name = other.get(atom.name, atom.name)
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) + rng.normal(size=3) * noise + step))
                atom.b_iso = 80 - 10 * rng.random()
            inside = 0 < index < len(chain) - 1
            # Which of two equal neighbours is missing, no alignment can tell.
            if rng.random() < 0.05 and inside and residue.name not in (chain[index - 1].name, chain[index + 1].name):
                lost.append(index)
        for index in reversed(lost):
            del chain[index]
    structure.write_pdb(str(target))


def renamed_chains(structure, target: Path, *, noise=0.3, shift=1.0, seed=3, names="CABDFE"):
    """Write it with noise, and its chains in reverse order under other names."""
    rng = np.random.default_rng(seed)
    for chain in structure[0]:
        step = rng.normal(size=3) * shift
        for residue in chain:
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) + rng.normal(size=3) * noise + step))
    model = gemmi.Model(1)
    for chain, name in zip(reversed(list(structure[0])), names, strict=True):
        copy = chain.clone()
        copy.name = name
        model.add_chain(copy)
    result = gemmi.Structure()
    result.add_model(model)
    result.write_pdb(str(target))
