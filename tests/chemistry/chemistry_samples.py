"""What the chemistry tests share: deterministic samples of the CCD, real SMILES, and geometry helpers."""

import itertools
import random
from functools import cache

import numpy as np
from biotite.structure.info import get_ccd

from anfinsen.chemistry import Component, ComponentLibrary

TYPES = ("PEPTIDE", "SACCHARIDE", "DNA", "RNA", "NON-POLYMER")

# Drugs, cofactors and odd cases: charges, stereo centres and double bonds, macrocycles, P, S, B, Si, Se, halogens.
SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "OC[C@H]1O[C@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C/C=C/C(=O)O",
    "C/C=C\\C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "C[N+](C)(C)CC(=O)[O-]",
    "[O-][N+](=O)c1ccccc1",
    "C[N+](C)(C)CCOC(C)=O",
    "OP(=O)(O)OP(=O)(O)O",
    "Nc1ncnc2c1ncn2[C@@H]1O[C@H](CO)[C@@H](O)[C@H]1O",
    "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
    "COc1ccc2[nH]c(nc2c1)S(=O)Cc1ncc(C)c(OC)c1C",
    "C[S@](=O)c1ccccc1",
    "C[S@@](=O)c1ccccc1",
    "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "O=C(O)[C@H](O)[C@@H](O)C(=O)O",
    "C1CC1",
    "C1CCCCCCCCCCC1",
    "O=C1CCCCCCCCCCCCCCO1",
    "C[C@@H]1CCCCCCCCCCCCC(=O)C1",
    "N#Cc1ccccc1",
    "C#CC",
    "C=CC(=O)Nc1ccccc1",
    "OB(O)c1ccccc1",
    "C[Si](C)(C)C",
    "C[Se]CC[C@H](N)C(=O)O",
    "FC(F)(F)c1ccc(Cl)c(Br)c1I",
    "CC(=O)N[C@@H](CS)C(=O)O",
    "CN(C)CCC=C1c2ccccc2CCc2ccccc12",
    "O=c1[nH]cc(F)c(=O)[nH]1",
    "c1ccc2c(c1)ccc1ccccc12",
    "C1=CC=CC=C1",
    "Oc1ccc(cc1)/C=C/c1cc(O)cc(O)c1",
    "CC(C)=CCC/C(C)=C/CC/C(C)=C/CO",
    "C[C@]12CC[C@H]3[C@@H](CCc4cc(O)ccc34)[C@@H]1CC[C@@H]2O",
    "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "N[C@@H](CCC(=O)N[C@@H](CS)C(=O)NCC(=O)O)C(=O)O",
    "CS(=O)(=O)N",
    "[NH4+]",
    "[Zn+2]",
    "O=C=O",
    "C12C3C4C1C5C2C3C45",
    "Cn1c(=O)c2[nH]cnc2n(C)c1=O",
    "CC(C)[C@@H]1NC(=O)[C@H](C)NC(=O)[C@@H]2CCCN2C(=O)[C@H](Cc2ccccc2)NC1=O",
)


@cache
def _codes_by_type() -> dict[str, list[str]]:
    category = get_ccd.__wrapped__()["chem_comp"]
    rows = list(zip(category["id"].as_array().tolist(), category["type"].as_array().tolist(), strict=True))
    random.Random(20240508).shuffle(rows)
    return {
        kind: [code for code, text in rows if next((t for t in TYPES if t in text.upper()), TYPES[-1]) == kind]
        for kind in TYPES
    }


def sample(library: ComponentLibrary, count: int, max_atoms: int = 10_000, stereo: bool = False) -> list[Component]:
    """Return components spread evenly over the types, the same every time."""
    found = []
    for codes in _codes_by_type().values():
        components = (library.get(code) for code in codes)
        fitting = (
            component
            for component in components
            if 0 < len(component) <= max_atoms and (not stereo or np.isin(component.stereo, ["R", "S"]).any())
        )
        found.extend(itertools.islice(fitting, count // len(TYPES)))
    return found


def hands(component: Component, coordinates: np.ndarray) -> dict[str, int]:
    """Return the sign of the volume spanned by three heavy neighbours (by name) of each R or S centre that has them."""
    signs = {}
    for row in np.flatnonzero(np.isin(component.stereo, ["R", "S"])):
        near = [int(b if a == row else a) for a, b in component.bonds if row in (a, b)]
        near.sort(key=lambda atom: str(component.atom_names[atom]))
        if len(near) >= 3:
            a, b, c = (coordinates[atom] - coordinates[near[0]] for atom in (row, *near[1:3]))
            volume = float(np.dot(a, np.cross(b, c)))
            if abs(volume) > 0.3:  # Å³; flatter centres have no hand
                signs[str(component.atom_names[row])] = int(np.sign(volume))
    return signs
