"""Components that the CCD lacks: from SMILES and from SDF or MOL text."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from jaxtyping import Float
from rdkit import Chem, rdBase

from ..common.errors import ChemistryError
from .component import Component
from .component_table import MAX_NAME_LENGTH, read_only
from .elements import HYDROGEN, element_symbol
from .molecules import cip_labels
from .structure import BondOrder

_EXCERPT = 60


def component_from_smiles(smiles: str, code: str) -> Component:
    """Return the component called ``code`` that ``smiles`` describes; charges and stereo as written.

    Atoms are ordered and named (C1, C2, N1, …, counted per element) by RDKit's canonical order, so that every
    SMILES of a molecule gives the same component. Isotopes are dropped.

    Raises:
        ChemistryError: not valid SMILES, blanks in it, several molecules, no heavy atoms, or query and dummy atoms.
    """
    text = smiles.strip()
    where = f"SMILES {_excerpt(text)} of ligand {code}"
    if not text:
        raise ChemistryError(f"The SMILES of ligand {code} is empty: give at least one heavy atom.")
    if len(text.split()) > 1:
        # RDKit would take what follows for a title: half a molecule that was broken over two lines, and nobody told.
        raise ChemistryError(
            f"The {where} holds a blank or a line break: write it in one piece, without the name of the molecule."
        )
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(text, sanitize=False)
        if molecule is None:
            raise ChemistryError(f"The {where} is not valid SMILES: check brackets, ring numbers and element symbols.")
        return _component_from_molecule(molecule, code, where, molblock="")


def component_from_molblock(text: str, code: str) -> Component:
    """Return the component that a MOL or SDF text (V2000 or V3000, one record) describes.

    Three-dimensional coordinates are kept as ``model``. Atoms are ordered and named as by `component_from_smiles`.

    Raises:
        ChemistryError: unreadable text, several records, several molecules, no heavy atoms, or query atoms.
    """
    where = f"SDF or MOL text of ligand {code}"
    records = [record.lstrip("\n") if n else record for n, record in enumerate(_records(text))]
    if not records:
        raise ChemistryError(f"The {where} is empty: expected one V2000 or V3000 record.")
    if len(records) > 1:
        titles = ", ".join(repr(record.splitlines()[0].strip()) for record in records[:5] if record)
        raise ChemistryError(
            f"The {where} holds {len(records)} records (titles {titles}): keep the one you mean, and give others "
            "as ligands of their own."
        )
    with rdBase.BlockLogs():
        molecule = Chem.MolFromMolBlock(records[0], sanitize=False, removeHs=False, strictParsing=False)
        if molecule is None:
            raise ChemistryError(
                f"The {where} cannot be read: expected a counts line such as ' 12 13  0 … V2000' on line 4, then "
                "atoms, bonds and 'M  END'."
            )
        return _component_from_molecule(molecule, code, where, molblock=text)


def named_smiles(component: Component) -> str:
    """Return the SMILES that ``component`` was made from with the names of its atoms: ``[C1][C2](=[O1])[O2]``.

    Hydrogens, chirality and aromaticity are left out: it says which atom is which.

    Raises:
        ChemistryError: the component was not made from SMILES or SDF.
    """
    molecule = Chem.MolFromSmiles(component.smiles)
    if not component.smiles or molecule is None:
        raise ChemistryError(f"Component {component.code} was not made from SMILES: its atoms have names of their own.")
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + 1)
    text = Chem.MolToSmiles(molecule, canonical=False, isomericSmiles=False, kekuleSmiles=True)
    names = [str(name) for name in component.atom_names]
    return re.sub(r"\[[^\]]*:(\d+)\]", lambda match: f"[{names[int(match[1]) - 1]}]", text)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…")


def _records(text: str) -> list[str]:
    parts = re.split(r"^\$\$\$\$[^\n]*\n?", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    return [part for part in parts if part.strip()]


def _component_from_molecule(molecule: Chem.Mol, code: str, where: str, molblock: str) -> Component:
    """Check an unsanitised molecule, bring it into canonical order, and tabulate it."""
    _check_atoms(molecule, where)
    for atom in molecule.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    try:
        Chem.SanitizeMol(molecule)
        if molblock:
            _stereo_of_molblock(molecule)
        else:
            Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)
        molecule = Chem.RemoveHs(molecule)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ChemistryError(f"The {where} is not a possible molecule: {reason}.") from error
    if all(atom.GetAtomicNum() == HYDROGEN for atom in molecule.GetAtoms()):
        raise ChemistryError(f"The {where} has no heavy atoms: hydrogens alone cannot be modelled.")
    if any(atom.GetAtomicNum() == HYDROGEN for atom in molecule.GetAtoms()):
        raise ChemistryError(f"The {where} has hydrogens that are not bonded to one heavy atom: leave them out.")
    fragments = Chem.GetMolFrags(molecule)
    if len(fragments) > 1:
        raise ChemistryError(
            f"The {where} holds {len(fragments)} separate molecules (a salt or mixture): give each that you want as a "
            "ligand of its own, ions by their code such as NA or CL."
        )
    return _tabulate(*_canonical(molecule, where), code, molblock)


def _check_atoms(molecule: Chem.Mol, where: str) -> None:
    if molecule.GetNumAtoms() == 0:
        raise ChemistryError(f"The {where} has no atoms: give at least one heavy atom.")
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0 or atom.HasQuery():
            raise ChemistryError(
                f"The {where} holds a placeholder (atom {atom.GetIdx() + 1}, {atom.GetSymbol()!r}): queries, R groups "
                "and dummy atoms cannot be modelled; write every atom out."
            )
    for bond in molecule.GetBonds():
        if bond.HasQuery() or bond.GetBondType() in {Chem.BondType.UNSPECIFIED, Chem.BondType.ZERO}:
            raise ChemistryError(
                f"The {where} holds a bond of no definite order between atoms {bond.GetBeginAtomIdx() + 1} and "
                f"{bond.GetEndAtomIdx() + 1}: give it as single, double, triple or aromatic."
            )


def _stereo_of_molblock(molecule: Chem.Mol) -> None:
    if molecule.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(molecule)
    else:
        Chem.DetectBondStereochemistry(molecule)
        Chem.AssignChiralTypesFromBondDirs(molecule)
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)


def _canonical(molecule: Chem.Mol, where: str) -> tuple[Chem.Mol, str, Float[np.ndarray, "n 3"] | None]:
    """Return the molecule in canonical order, its SMILES (which parses into that order), and 3D coordinates or None."""
    coordinates = None
    if molecule.GetNumConformers() and molecule.GetConformer().Is3D():
        coordinates = np.array(molecule.GetConformer().GetPositions(), dtype=np.float64)
        if not np.isfinite(coordinates).all():
            raise ChemistryError(f"The {where} holds a coordinate that is not a finite number: correct it.")
        molecule.RemoveAllConformers()
    for _ in range(2):  # the SMILES of a SMILES is stable where the first one is not
        smiles = Chem.MolToSmiles(molecule)
        order = list(molecule.GetPropsAsDict(includePrivate=True, includeComputed=True)["_smilesAtomOutputOrder"])
        coordinates = None if coordinates is None else coordinates[order]
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() != len(order):
            raise ChemistryError(f"The {where} cannot be written as SMILES and read back: give it as mmCIF instead.")
    return molecule, smiles, coordinates


def _tabulate(
    molecule: Chem.Mol, smiles: str, coordinates: Float[np.ndarray, "n 3"] | None, code: str, molblock: str
) -> Component:
    atom_stereo, bond_stereo = cip_labels(molecule)
    kekule = Chem.Mol(molecule)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    atoms, bonds = list(kekule.GetAtoms()), list(kekule.GetBonds())
    n = len(atoms)
    return read_only(
        Component(
            code=code,
            name=code,
            type="NON-POLYMER",
            one_letter="",
            parent="",
            atom_names=np.array(_names([atom.GetAtomicNum() for atom in atoms], code), dtype=np.str_),
            elements=np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.uint8),
            charges=np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int64),
            leaving=np.zeros(n, dtype=bool),
            stereo=np.array(atom_stereo, dtype=np.str_),
            bonds=np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds], dtype=np.int64).reshape(-1, 2),
            orders=np.array([_ORDER_OF_TYPE[b.GetBondType()] for b in bonds], dtype=np.uint8),
            bond_stereo=np.array(bond_stereo, dtype="<U1"),
            ideal=None,
            model=coordinates,
            hydrogens=np.array([atom.GetTotalNumHs() for atom in atoms], dtype=np.int64),
            smiles=smiles,
            molblock=molblock,
        )
    )


_ORDER_OF_TYPE = {
    Chem.BondType.SINGLE: int(BondOrder.SINGLE),
    Chem.BondType.DOUBLE: int(BondOrder.DOUBLE),
    Chem.BondType.TRIPLE: int(BondOrder.TRIPLE),
    Chem.BondType.QUADRUPLE: int(BondOrder.QUADRUPLE),
    Chem.BondType.DATIVE: int(BondOrder.COORDINATION),
}


def _names(elements: list[int], code: str) -> list[str]:
    counts: Counter[str] = Counter()
    names = []
    for element in elements:
        symbol = element_symbol(element).upper()
        counts[symbol] += 1
        names.append(f"{symbol}{counts[symbol]}")
    longest = max(names, key=len)
    if len(longest) > MAX_NAME_LENGTH:
        raise ChemistryError(
            f"Ligand {code} has too many atoms of one element ({longest}): atom names are limited to "
            f"{MAX_NAME_LENGTH} characters; split it into linked components."
        )
    return names
