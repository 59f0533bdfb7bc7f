"""OpenFold's structure module, as the golden files hold it, and the tables of ideal places it must have used."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from anfinsen.chemistry import rigid_groups, with_positions
from anfinsen.geometry import Frames, ResidueTables, express_in_frames

NAMES = ("structure_module_monomer", "structure_module_multimer")


def load(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "parity" / "openfold" / f"{name}.safetensors")


def measured_tables(golden: dict[str, torch.Tensor], tables: ResidueTables) -> ResidueTables:
    """Return ``tables`` with the atoms where the golden output has them in their frames, to the published 0.001 Å.

    Only the ten residue types of the file change. Everything else (default frames, how frames follow from torsions,
    which atom goes with which) is this package's own.
    """
    kind = golden["input.aatype"]
    frames, atoms = golden["output64.sidechain_frames"][-1], golden["output64.positions"][-1]
    local = express_in_frames(atoms, Frames(frames[..., :3, :3], frames[..., :3, 3]))
    position = rigid_groups().atom_position.copy()
    own = local.take_along_dim(tables.atom_group[kind][:, None, :, None], dim=1)[:, 0]
    position[kind.numpy()] = ((own * 1000).round() / 1000 * tables.atom_mask[kind].unsqueeze(-1)).numpy()
    # OpenFold keeps its tables in float32, also where it computes in float64.
    single = ResidueTables.of(with_positions(rigid_groups(), position).arrays(), torch.zeros(()))
    return single.to(tables.atom_position)
