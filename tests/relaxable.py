"""Complete structures to relax: peptides with ideal side chains, and a piece of a real protein."""

import numpy as np
import torch

from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.jobs import AtomAddress, Job, JobBond, Polymer, job_structure
from anfinsen.models.alphafold1 import backbone_of_torsions, place_side_chains
from full_atom import packaged_protein

STRAND, HELIX = (-2.1, 2.4), (-1.05, -0.79)


def protein(sequence, chain="A", **more):
    return Polymer(kind="protein", ids=(chain,), sequence=sequence, **more)


def bond(first, second):
    ends = [AtomAddress(chain=chain, residue=residue, atom=atom) for chain, residue, atom in (first, second)]
    return JobBond(first=ends[0], second=ends[1])


def made(*entities, bonds=(), angles=HELIX):
    """Structure, library and coordinates: ideal peptides and ideal components, chains 40 Å apart."""
    job = Job(name="made", seeds=(1,), entities=entities, bonds=bonds)
    structure, library = job_structure(job)
    x = np.zeros((len(structure.atoms), 3))
    for index, chain in enumerate(structure.chains):
        rows = np.flatnonzero(structure.residues.chain == index).tolist()
        components = [library.get(str(structure.residues.name[row])) for row in rows]
        if chain.kind is ChainKind.PROTEIN:
            length = len(rows)
            backbone = backbone_of_torsions(*(torch.full((1, length), a, dtype=torch.float64) for a in angles))
            places = place_side_chains(backbone.atoms[0].numpy(), components)
            atoms = [dict(zip(p.names, p.coordinates, strict=True)) for p in places]
        else:
            atoms = [
                {str(n): p + np.array([5.0 * i, 0, 0]) for n, p in zip(c.atom_names, c.ideal, strict=True)}
                for i, c in enumerate(components)
            ]
        for atom in np.flatnonzero(structure.atom_chain == index).tolist():
            residue = rows.index(int(structure.atoms.residue[atom]))
            x[atom] = atoms[residue][str(structure.atoms.name[atom])] + [0, 40.0 * index, 0]
    return structure, library, x


def piece(start, stop):
    """Residues ``start`` to ``stop`` of 1S3V as a molecule of their own; the last one's OXT lies at the origin."""
    real = read_structure(packaged_protein())
    table = real.atoms
    places = {
        (int(table.residue[i]) - start, str(table.name[i])): table.coordinates[i]
        for i in np.flatnonzero(table.resolved).tolist()
    }
    structure, library = job_structure(
        Job(name="piece", seeds=(1,), entities=(protein(real.chains[0].sequence[start:stop]),))
    )
    rows = zip(structure.atoms.residue.tolist(), structure.atoms.name.tolist(), strict=True)
    x = np.array([places.get(key, np.zeros(3)) if key[1] != "OXT" else np.zeros(3) for key in rows])
    return structure, library, x


def atom(structure, chain, number, name):
    """The place of one atom."""
    residues, table = structure.residues, structure.atoms
    (found,) = [
        i
        for i in np.flatnonzero(table.name == name).tolist()
        if structure.chains[residues.chain[table.residue[i]]].chain_id == chain
        and residues.number[table.residue[i]] == number
    ]
    return found


def distance(x, i, j):
    return float(np.linalg.norm(x[i] - x[j]))
