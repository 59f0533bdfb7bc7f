"""Components as RDKit molecules: valence, aromaticity and handedness as the component states them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler
from rdkit.Geometry import Point3D

from ..common.errors import ChemistryError
from .component import Component
from .elements import is_metal
from .structure import BondOrder

BOND_TYPES = {
    int(BondOrder.SINGLE): Chem.BondType.SINGLE,
    int(BondOrder.DOUBLE): Chem.BondType.DOUBLE,
    int(BondOrder.TRIPLE): Chem.BondType.TRIPLE,
    int(BondOrder.QUADRUPLE): Chem.BondType.QUADRUPLE,
    int(BondOrder.AROMATIC): Chem.BondType.AROMATIC,
    int(BondOrder.COORDINATION): Chem.BondType.DATIVE,
    int(BondOrder.UNKNOWN): Chem.BondType.UNSPECIFIED,
}
# What is left of sanitisation for molecules whose valences RDKit does not accept (boron cages, metal clusters):
# enough for rings, hybridisation and embedding; charges and bond orders are never rewritten.
_LENIENT = (
    Chem.SanitizeFlags.SANITIZE_SYMMRINGS
    | Chem.SanitizeFlags.SANITIZE_SETCONJUGATION
    | Chem.SanitizeFlags.SANITIZE_SETHYBRIDIZATION
)
_FULL = Chem.SanitizeFlags.SANITIZE_ALL & ~(
    Chem.SanitizeFlags.SANITIZE_CLEANUP | Chem.SanitizeFlags.SANITIZE_CLEANUP_ORGANOMETALLICS
)
_FLIPPED = {
    Chem.ChiralType.CHI_TETRAHEDRAL_CW: Chem.ChiralType.CHI_TETRAHEDRAL_CCW,
    Chem.ChiralType.CHI_TETRAHEDRAL_CCW: Chem.ChiralType.CHI_TETRAHEDRAL_CW,
}
_NITROGEN = 7
_HANDS, _SIDES = "RS", "EZ"
_CIP_ITERATIONS = 500_000  # about half a second
_STEREO_ROUNDS = 8  # flipping one centre can change the label of centres that depend on it


def to_rdkit(component: Component) -> Chem.Mol:
    """Return ``component`` as an RDKit molecule: same atoms in the same order, hydrogens as counts.

    Handedness comes from the component's SMILES where it was made from one; else from the ideal or the model
    coordinates, whichever agrees with more of the component's R, S, E and Z labels (ideal first); else from
    the labels alone. A metal's bonds become dative where the ligand atom's valence would be exceeded, and a
    neutral nitrogen of four bonds is given its charge.

    Raises:
        ChemistryError: RDKit cannot represent the component at all.
    """
    with rdBase.BlockLogs():
        if component.smiles:
            return _from_smiles(component)
        molecule = _bare_molecule(component)
        _sanitize(molecule)
        _assign_stereo(molecule, component)
    return molecule


def cip_labels(molecule: Chem.Mol) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels of the atoms ("R", "S" or "N") and of the bonds ("E", "Z" or "N"), by CIP's full rules.

    Highly symmetric molecules, for which the full rules take too long, get RDKit's simplified labels.
    """
    try:
        rdCIPLabeler.AssignCIPLabels(molecule, maxRecursiveIterations=_CIP_ITERATIONS)
    except RuntimeError:
        # Symmetric cages: the full rules explode, the simplified ones do not.
        Chem.AssignStereochemistry(molecule, cleanIt=False, force=True)
    atoms = tuple(_label(atom, _HANDS) for atom in molecule.GetAtoms())
    return atoms, tuple(_label(bond, _SIDES) for bond in molecule.GetBonds())


def _label(thing: Chem.Atom | Chem.Bond, allowed: str) -> str:
    label = thing.GetProp("_CIPCode") if thing.HasProp("_CIPCode") else "N"
    return label if label in allowed else "N"


def _from_smiles(component: Component) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(component.smiles)
    if molecule is None or molecule.GetNumAtoms() != len(component):
        raise ChemistryError(
            f"Component {component.code} says that it was made from the SMILES {component.smiles!r}, "
            "which does not give its atoms: build it with component_from_smiles."
        )
    return molecule


def _bare_molecule(component: Component) -> Chem.RWMol:
    molecule = Chem.RWMol()
    for row in range(len(component)):
        atom = Chem.Atom(int(component.elements[row]))
        atom.SetFormalCharge(int(component.charges[row]))
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(int(component.hydrogens[row]))
        molecule.AddAtom(atom)
    for (first, second), order in zip(component.bonds.tolist(), component.orders.tolist(), strict=True):
        molecule.AddBond(first, second, BOND_TYPES[order])
        if order == BondOrder.AROMATIC:
            bond = molecule.GetBondBetweenAtoms(first, second)
            for thing in (bond, bond.GetBeginAtom(), bond.GetEndAtom()):
                thing.SetIsAromatic(True)
    _make_metal_bonds_dative(molecule)
    for atom in molecule.GetAtoms():
        # The dictionary writes a few ammoniums as neutral; RDKit cannot embed those. The component keeps its 0.
        valence = atom.GetNumExplicitHs() + sum(bond.GetValenceContrib(atom) for bond in atom.GetBonds())
        if atom.GetAtomicNum() == _NITROGEN and atom.GetFormalCharge() == 0 and valence == 4:
            atom.SetFormalCharge(1)
    return molecule


def _make_metal_bonds_dative(molecule: Chem.RWMol) -> None:
    """Where an atom's bonds exceed its valence, turn its single bonds to metals into dative ones."""
    table = Chem.GetPeriodicTable()
    for atom in molecule.GetAtoms():
        if is_metal(atom.GetAtomicNum()):
            continue
        metals = [bond for bond in atom.GetBonds() if is_metal(bond.GetOtherAtom(atom).GetAtomicNum())]
        isoelectronic = atom.GetAtomicNum() - atom.GetFormalCharge()
        if not metals or isoelectronic < 1:
            continue
        allowed = max(table.GetValenceList(isoelectronic))
        used = atom.GetNumExplicitHs() + sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds())
        if allowed < 0 or used <= allowed:
            continue
        for bond in metals:
            # RDKit's dative bonds run from the donor to the metal.
            donor, metal = atom.GetIdx(), bond.GetOtherAtomIdx(atom.GetIdx())
            molecule.RemoveBond(donor, metal)
            molecule.AddBond(donor, metal, Chem.BondType.DATIVE)


def _sanitize(molecule: Chem.RWMol) -> None:
    if Chem.SanitizeMol(molecule, sanitizeOps=_FULL, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE:
        return
    molecule.UpdatePropertyCache(strict=False)
    Chem.SanitizeMol(molecule, sanitizeOps=_LENIENT, catchErrors=True)


def _assign_stereo(molecule: Chem.RWMol, component: Component) -> None:
    best: tuple[int, Float[np.ndarray, "n 3"]] | None = None
    labelled = bool(np.isin(component.stereo, list(_HANDS)).any() or np.isin(component.bond_stereo, list(_SIDES)).any())
    for coordinates in (component.ideal, component.model):
        if coordinates is not None:
            _stereo_from_coordinates(molecule, coordinates)
            wrong = _count_wrong(molecule, component) if labelled else 0
            if best is None or wrong < best[0]:
                best = (wrong, coordinates)
            if wrong == 0:
                break
    if best is None:
        _stereo_from_labels(molecule, component)
        Chem.AssignStereochemistry(molecule, cleanIt=False, force=True)  # for writers: E and Z from cis and trans
    else:
        _stereo_from_coordinates(molecule, best[1])


def _stereo_from_coordinates(molecule: Chem.RWMol, coordinates: Float[np.ndarray, "n 3"]) -> None:
    conformer = Chem.Conformer(len(coordinates))
    for row, (x, y, z) in enumerate(coordinates.tolist()):
        conformer.SetAtomPosition(row, Point3D(x, y, z))
    conformer.Set3D(True)
    molecule.RemoveAllConformers()
    molecule.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(molecule, replaceExistingTags=True)
    molecule.RemoveAllConformers()


def _count_wrong(molecule: Chem.Mol, component: Component) -> int:
    return len(_wrong_atoms(molecule, component)) + len(_wrong_bonds(molecule, component))


def _wrong_atoms(molecule: Chem.Mol, component: Component) -> list[int]:
    """Return labelled atoms whose label in the molecule is another one; atoms without a label are never wrong."""
    labels, _ = cip_labels(molecule)
    return [
        row for row, label in enumerate(labels) if component.stereo[row] in _HANDS and component.stereo[row] != label
    ]


def _wrong_bonds(molecule: Chem.Mol, component: Component) -> list[Chem.Bond]:
    cip_labels(molecule)
    wrong = []
    for (first, second), label in zip(component.bonds.tolist(), component.bond_stereo, strict=True):
        if label in _SIDES:
            bond = molecule.GetBondBetweenAtoms(first, second)
            if _label(bond, _SIDES) != label:
                wrong.append(bond)
    return wrong


def _stereo_from_labels(molecule: Chem.RWMol, component: Component) -> None:
    """Choose tags by trial: tag all labelled centres, then flip those that came out wrong until none is."""
    for row in np.flatnonzero(np.isin(component.stereo, list(_HANDS))).tolist():
        molecule.GetAtomWithIdx(row).SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    for row in np.flatnonzero(np.isin(component.bond_stereo, list(_SIDES))).tolist():
        bond = molecule.GetBondBetweenAtoms(*component.bonds[row].tolist())
        begin, end = bond.GetBeginAtom(), bond.GetEndAtom()
        beside_begin = [n.GetIdx() for n in begin.GetNeighbors() if n.GetIdx() != end.GetIdx()]
        beside_end = [n.GetIdx() for n in end.GetNeighbors() if n.GetIdx() != begin.GetIdx()]
        if beside_begin and beside_end:
            bond.SetStereoAtoms(beside_begin[0], beside_end[0])
            bond.SetStereo(Chem.BondStereo.STEREOCIS)
    for _ in range(_STEREO_ROUNDS):
        atoms, bonds = _wrong_atoms(molecule, component), _wrong_bonds(molecule, component)
        if not atoms and not bonds:
            return
        for row in atoms:
            atom = molecule.GetAtomWithIdx(row)
            atom.SetChiralTag(_FLIPPED.get(atom.GetChiralTag(), Chem.ChiralType.CHI_TETRAHEDRAL_CW))
        for bond in bonds:
            if bond.GetStereo() == Chem.BondStereo.STEREOCIS:
                bond.SetStereo(Chem.BondStereo.STEREOTRANS)
            elif bond.GetStereo() == Chem.BondStereo.STEREOTRANS:
                bond.SetStereo(Chem.BondStereo.STEREOCIS)
