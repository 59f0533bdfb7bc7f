"""Physical plausibility of ligand poses by PoseBusters, by the extra ``posebusters``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Float, Int
from rdkit import Chem, rdBase
from rdkit.Geometry import Point3D

from anfinsen.chemistry import ComponentLibrary, Structure, element_symbol, to_rdkit
from anfinsen.common.errors import MissingExtraError


def require_posebusters() -> None:
    """Raise MissingExtraError where PoseBusters is not installed."""
    try:
        import posebusters  # noqa: F401 - only asked whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError("The checks of poses need PoseBusters: pip install 'anfinsen[posebusters]'.") from error


def pose_checks(predicted: Structure, library: ComponentLibrary, atoms: Int[np.ndarray, "m"]) -> dict[str, bool] | None:
    """Return what each check says of one predicted ligand of a single component; None for other ligands.

    Args:
        predicted: with the polymers that the ligand must not run into. library: knows its components.
        atoms: of the ligand.

    Raises:
        MissingExtraError: PoseBusters is not installed.

    Source: Buttenschoen et al. 2024.
    """
    require_posebusters()
    import posebusters

    if len(np.unique(predicted.atoms.residue[atoms])) != 1 or len(atoms) < 2:
        return None
    component = library.get(str(predicted.residues.name[predicted.atoms.residue[atoms[0]]]))
    rows = {str(name): row for row, name in enumerate(component.atom_names)}
    order = [rows[str(name)] for name in predicted.atoms.name[atoms]]
    if sorted(order) != list(range(len(component))):
        return None  # linked ligands have lost atoms
    places = np.argsort(order)
    pose = _molecule(to_rdkit(component), predicted.atoms.coordinates[atoms][places])
    with tempfile.TemporaryDirectory() as folder, rdBase.BlockLogs():
        surroundings = _write_polymers(predicted, Path(folder) / "polymers.pdb")
        found = posebusters.PoseBusters(config="dock").bust(pose, None, surroundings)
    return {str(name): bool(value) for name, value in found.iloc[0].items()}


def _molecule(molecule: Chem.Mol, coordinates: Float[np.ndarray, "m 3"]) -> Chem.Mol:
    conformer = Chem.Conformer(len(coordinates))
    for row, (x, y, z) in enumerate(coordinates.tolist()):
        conformer.SetAtomPosition(row, Point3D(x, y, z))
    conformer.Set3D(True)
    result = Chem.Mol(molecule)
    result.RemoveAllConformers()
    result.AddConformer(conformer, assignId=True)
    return result


def _write_polymers(structure: Structure, path: Path) -> Path:
    """Write the polymers as PDB, in chains that its one letter for chains can name."""
    model = gemmi.Model(1)
    for index, chain in enumerate(structure.chains):
        if not chain.kind.is_polymer:
            continue
        written = gemmi.Chain(chr(ord("A") + index % 26))
        for residue in np.flatnonzero(structure.residues.chain == index).tolist():
            made = gemmi.Residue()
            made.name = str(structure.residues.name[residue])
            made.seqid = gemmi.SeqId(int(structure.residues.number[residue]), " ")
            for row in np.flatnonzero((structure.atoms.residue == residue) & structure.atoms.resolved).tolist():
                atom = gemmi.Atom()
                atom.name = str(structure.atoms.name[row])
                atom.element = gemmi.Element(element_symbol(int(structure.atoms.element[row])))
                atom.pos = gemmi.Position(*structure.atoms.coordinates[row].tolist())
                made.add_atom(atom)
            written.add_residue(made)
        model.add_chain(written)
    whole = gemmi.Structure()
    whole.add_model(model)
    whole.write_pdb(str(path))
    return path
