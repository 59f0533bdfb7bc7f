"""Room: chemistry. Components, structures, and the tokens and atoms that AlphaFold 3 makes of them."""

from .assemble import ChainSpec, assemble
from .bonding import AtomRef, BondSpec
from .ccd import ComponentLibrary
from .component import Component
from .component_mmcif import components_from_mmcif
from .conformers import Conformer, ConformerConfig, reference_conformer
from .custom import component_from_molblock, component_from_smiles, named_smiles
from .elements import atomic_number, element_symbol, is_metal
from .molecules import cip_labels, to_rdkit
from .polymers import COMPONENT_OF_LETTER, UNKNOWN_LETTER, chain_sequence, residue_letter, residue_type, standard_type
from .read_structure import read_structure, read_structure_and_library, structure_from_bytes
from .rigid_groups import ATOM37, RESIDUE_TYPES, RigidGroups, atom14_names, rigid_groups, with_positions
from .rigid_groups_bounds import DistanceBounds, distance_bounds
from .structure import AtomTable, BondOrder, Bonds, Chain, ChainKind, Residues, Structure
from .tokenise import tokenise
from .tokens import Atoms, Tokens

__all__ = [
    "ATOM37",
    "COMPONENT_OF_LETTER",
    "RESIDUE_TYPES",
    "UNKNOWN_LETTER",
    "AtomRef",
    "AtomTable",
    "Atoms",
    "BondOrder",
    "BondSpec",
    "Bonds",
    "Chain",
    "ChainKind",
    "ChainSpec",
    "Component",
    "ComponentLibrary",
    "Conformer",
    "ConformerConfig",
    "DistanceBounds",
    "Residues",
    "RigidGroups",
    "Structure",
    "Tokens",
    "assemble",
    "atom14_names",
    "atomic_number",
    "chain_sequence",
    "cip_labels",
    "component_from_molblock",
    "component_from_smiles",
    "components_from_mmcif",
    "distance_bounds",
    "element_symbol",
    "is_metal",
    "named_smiles",
    "read_structure",
    "read_structure_and_library",
    "reference_conformer",
    "residue_letter",
    "residue_type",
    "rigid_groups",
    "standard_type",
    "structure_from_bytes",
    "to_rdkit",
    "tokenise",
    "with_positions",
]
