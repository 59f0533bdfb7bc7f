"""Tokens and atoms as AlphaFold 3 sees them (supplement section 2.6).

A standard amino acid or nucleotide is one token; every other residue (ligand, ion, modified residue) is one
token per heavy atom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

# The 32 residue types, in the order of OpenFold 3 and Protenix: 20 amino acids, unknown; four RNA bases, unknown;
# four DNA bases, unknown; gap (supplement table 5).
AMINO_ACIDS = (
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE",
    "LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
)  # fmt: skip
RESTYPES = (*AMINO_ACIDS, "UNK", "A", "G", "C", "U", "N", "DA", "DG", "DC", "DT", "DN", "GAP")
RESTYPE_INDEX = {name: index for index, name in enumerate(RESTYPES)}
UNKNOWN_PROTEIN, UNKNOWN_RNA, UNKNOWN_DNA, GAP = (RESTYPE_INDEX[name] for name in ("UNK", "N", "DN", "GAP"))


@dataclass(frozen=True)
class Tokens:
    """Token table with N rows; indices refer to the `Structure` the tokens were made from.

    Attributes:
        residue, chain: index of the residue and the chain.
        restype: index into `RESTYPES`; ligand atoms are unknown amino acids, modified residues their parent or unknown.
        residue_index: 1-based residue number in the chain (equal for all atoms of one ligand component).
        asym_id, entity_id, sym_id: 1-based chain, entity and copy numbers.
        kind: 0 protein, 1 RNA, 2 DNA, 3 ligand (by the chain's kind).
        is_standard: whether the token is a whole standard residue.
        atom_start, atom_count: the token's atoms, contiguous in the atom table.
        center_atom: CA, C1', or the atom itself.
        distogram_atom: CB (CA of glycine), C4 of purines, C2 of pyrimidines, or the atom itself.
        frame_atoms: three atoms that define the token's frame (N CA C; C1' C3' C4'; for others the two nearest
            atoms of the same component around the atom), -1 where there is none.
    """

    residue: Int[np.ndarray, "N"]
    chain: Int[np.ndarray, "N"]
    restype: Int[np.ndarray, "N"]
    residue_index: Int[np.ndarray, "N"]
    asym_id: Int[np.ndarray, "N"]
    entity_id: Int[np.ndarray, "N"]
    sym_id: Int[np.ndarray, "N"]
    kind: Int[np.ndarray, "N"]
    is_standard: Bool[np.ndarray, "N"]
    atom_start: Int[np.ndarray, "N"]
    atom_count: Int[np.ndarray, "N"]
    center_atom: Int[np.ndarray, "N"]
    distogram_atom: Int[np.ndarray, "N"]
    frame_atoms: Int[np.ndarray, "N 3"]

    def __len__(self) -> int:
        return len(self.residue)


@dataclass(frozen=True)
class Atoms:
    """Reference features of A atoms, in the order of the structure's atom table (supplement table 5).

    Attributes:
        token: index of the atom's token.
        ref_pos: reference conformer, Å, each component in a frame of its own.
        ref_mask: whether the reference position is known.
        ref_element: atomic number. ref_charge: formal charge.
        ref_atom_name_chars: four characters as ord(c) - 32, 0 to 63.
        ref_space_uid: one number per residue instance; only positions with the same number are comparable.
        conformer_source: per residue, where its reference conformer came from ("rdkit", "ccd-ideal", "ccd-model",
            "single-atom").
    """

    token: Int[np.ndarray, "A"]
    ref_pos: Float[np.ndarray, "A 3"]
    ref_mask: Bool[np.ndarray, "A"]
    ref_element: Int[np.ndarray, "A"]
    ref_charge: Int[np.ndarray, "A"]
    ref_atom_name_chars: Int[np.ndarray, "A 4"]
    ref_space_uid: Int[np.ndarray, "A"]
    conformer_source: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.token)
