"""Real proteins with side chains, as atoms in the 14 places of their residue types."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from anfinsen.chemistry import RESIDUE_TYPES, ChainKind, atom14_names, read_structure, rigid_groups
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


@dataclass(frozen=True)
class _Rows:
    residue_type: list[int]
    number: list[int]
    chain: list[int]
    atoms: np.ndarray
    mask: np.ndarray


def read_target(path: Path, dtype: torch.dtype = torch.float64) -> StructureTarget:
    """The protein chains of a file; residues other than the twenty are unknown, their side chains left out."""
    structure = read_structure(path)
    table = structure.atoms
    kept = [
        row
        for row, chain in enumerate(structure.residues.chain.tolist())
        if structure.chains[chain].kind is ChainKind.PROTEIN
    ]
    rows = _Rows([], [], [], np.zeros((len(kept), 14, 3)), np.zeros((len(kept), 14), dtype=bool))
    starts = np.searchsorted(table.residue, np.arange(len(structure.residues) + 1))
    for place, row in enumerate(kept):
        name = str(structure.residues.name[row])
        code = name if name in RESIDUE_TYPES else "UNK"
        rows.residue_type.append(RESIDUE_TYPES.index(code))
        rows.number.append(int(structure.residues.number[row]))
        rows.chain.append(int(structure.residues.chain[row]))
        names = atom14_names(code)
        for atom in range(starts[row], starts[row + 1]):
            if table.resolved[atom] and str(table.name[atom]) in names:
                at = names.index(str(table.name[atom]))
                rows.atoms[place, at], rows.mask[place, at] = table.coordinates[atom], True
    return StructureTarget(
        residue_type=torch.tensor(rows.residue_type),
        atoms=torch.tensor(rows.atoms, dtype=dtype),
        atom_mask=torch.tensor(rows.mask),
        residue_index=torch.tensor(rows.number),
        residue_mask=torch.ones(len(kept), dtype=torch.bool),
        chain=torch.tensor(rows.chain),
    )


def part(target: StructureTarget, start: int, stop: int) -> StructureTarget:
    """Residues ``start`` to ``stop``."""
    cut = slice(start, stop)
    return StructureTarget(
        target.residue_type[cut], target.atoms[cut], target.atom_mask[cut], target.residue_index[cut],
        target.residue_mask[cut], None if target.chain is None else target.chain[cut],
    )  # fmt: skip
