"""Real proteins with side chains, as atoms in the 14 places of their residue types."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from anfinsen.chemistry import ChainKind, read_structure, rigid_groups
from anfinsen.features.residue_atoms import residue_atoms
from anfinsen.geometry import ResidueTables
from anfinsen.losses.alphafold2 import StructureTarget

# Of the train split, 1.3 to 1.5 Å.
SHARP = ("single/1CYO.pdb.gz", "single/1PIN.pdb.gz", "single/1RRO.pdb.gz", "mixed/1nlu.pdb.gz")


def tables(dtype: torch.dtype = torch.float64) -> ResidueTables:
    return ResidueTables.of(rigid_groups().arrays(), torch.zeros((), dtype=dtype))


def packaged_protein() -> Path:
    """1S3V (186 residues, 1.8 Å), which comes with PoseBusters."""
    return Path(str(files("posebusters"))) / "datasets/pdb/1s3v/1s3v_protein_one_lig_removed.pdb"


def complete(target: StructureTarget) -> torch.Tensor:
    """Residues with all their atoms."""
    return (target.atom_mask == tables().atom_mask[target.residue_type]).all(-1)


def read_target(path: Path, dtype: torch.dtype = torch.float64) -> StructureTarget:
    """The protein chains of a file, one after the other."""
    structure = read_structure(path)
    chains = [index for index, chain in enumerate(structure.chains) if chain.kind is ChainKind.PROTEIN]
    found = [residue_atoms(structure, index) for index in chains]
    count = [len(each.number) for each in found]
    return StructureTarget(
        residue_type=torch.from_numpy(np.concatenate([each.residue_type for each in found])),
        atoms=torch.from_numpy(np.concatenate([each.atoms for each in found])).to(dtype),
        atom_mask=torch.from_numpy(np.concatenate([each.mask for each in found])),
        residue_index=torch.from_numpy(np.concatenate([each.number for each in found])),
        residue_mask=torch.ones(sum(count), dtype=torch.bool),
        chain=torch.from_numpy(np.repeat(chains, count)),
    )


def part(target: StructureTarget, start: int, stop: int) -> StructureTarget:
    """Residues ``start`` to ``stop``."""
    cut = slice(start, stop)
    return StructureTarget(
        target.residue_type[cut], target.atoms[cut], target.atom_mask[cut], target.residue_index[cut],
        target.residue_mask[cut], None if target.chain is None else target.chain[cut],
    )  # fmt: skip
