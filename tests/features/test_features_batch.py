"""From complexes to batches: tokens, bonds, padding, and what must not change anything."""

import dataclasses

import gemmi
import numpy as np
import pytest
import torch

from anfinsen.alignments import parse_msa
from anfinsen.chemistry import (
    AtomRef,
    BondSpec,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    assemble,
    component_from_smiles,
)
from anfinsen.chemistry.read_structure import read_structure_and_library
from anfinsen.chemistry.tokens import GAP, RESTYPE_INDEX
from anfinsen.common.errors import AlignmentError
from anfinsen.features import BATCH_AXES, FeatureConfig, complex_from_structure, featurise, loss_bonds
from anfinsen.nn.batch import Batch

PROTEIN = ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("MET", "CYS", "SEP", "GLY", "LYS", "CYS", "TRP"))
DNA = ChainSpec("B", 2, 1, ChainKind.DNA, ("DA", "DC", "DG", "DT"))
LIGAND = ChainSpec("L", 3, 1, ChainKind.LIGAND, ("ATP",))
ION = ChainSpec("Z", 4, 1, ChainKind.LIGAND, ("ZN",))
DISULFIDE = BondSpec(AtomRef("A", 2, "SG"), AtomRef("A", 6, "SG"))


@pytest.fixture(scope="module")
def library():
    return ComponentLibrary()


def _complex(library, chains, bonds=(), alignments=None):
    return complex_from_structure(assemble("test", chains, bonds, library), library, alignments or {}, seed=1)


def _by_chain(batch: Batch, asym_id: int) -> dict[str, torch.Tensor]:
    """What a batch says of one chain, without the numbers that depend on the other chains."""
    tokens = batch.asym_id == asym_id
    atoms = tokens[batch.atom_to_token]
    first_token, first_atom = int(tokens.nonzero()[0]), int(atoms.nonzero()[0])
    said = {}
    for name, axes in BATCH_AXES.items():
        if name in ("asym_id", "entity_id", "token_index", "ref_space_uid"):
            continue
        value = getattr(batch, name)
        for axis, letter in enumerate(axes.split()):
            kept = {"N": tokens, "A": atoms}.get(letter, slice(None))
            value = value[(slice(None),) * axis + (kept,)]
        if name in ("center_atom", "distogram_atom"):
            value = value - first_atom
        if name == "frame_atoms":
            value = torch.where(batch.frame_mask[tokens][:, None], value - first_atom, 0)
        if name == "atom_to_token":
            value = value - first_token
        said[name] = value
    return said


def test_chain_order_permutes_the_features_and_changes_nothing_else(library):
    chains = (PROTEIN, DNA, LIGAND, ION)
    order = (2, 3, 0, 1)
    first = featurise(_complex(library, chains, (DISULFIDE,)))
    second = featurise(_complex(library, [chains[i] for i in order], (DISULFIDE,)))
    for place, chain in enumerate(order):
        before, after = _by_chain(first, chain + 1), _by_chain(second, place + 1)
        for name, value in before.items():
            assert torch.equal(value, after[name]), (name, chains[chain].chain_id)


def test_ligand_atom_order_permutes_the_atoms_and_changes_nothing_else(library):
    # Without its SMILES, whose atoms have an order of their own.
    component = dataclasses.replace(component_from_smiles("C[C@H](N)C(=O)Oc1ccccc1Cl", "LIG"), smiles="")
    order = np.random.default_rng(0).permutation(len(component))
    place = np.argsort(order)
    permuted = dataclasses.replace(
        component,
        **{
            name: getattr(component, name)[order]
            for name in ("atom_names", "elements", "charges", "leaving", "stereo", "hydrogens")
        },
        bonds=np.sort(place[component.bonds], axis=1),
        ideal=None if component.ideal is None else component.ideal[order],
        model=None if component.model is None else component.model[order],
    )
    spec = (ChainSpec("A", 1, 1, ChainKind.LIGAND, ("LIG",)),)
    first, second = (featurise(_complex(library.with_components([version]), spec)) for version in (component, permuted))
    for name in ("ref_pos", "ref_element", "ref_charge", "ref_atom_name_chars"):
        assert torch.equal(getattr(first, name)[torch.from_numpy(order)], getattr(second, name)), name
    index = torch.from_numpy(order)
    assert torch.equal(first.token_bonds[index][:, index], second.token_bonds)
    mask = first.frame_mask[index]
    assert torch.equal(mask, second.frame_mask)
    expected = torch.from_numpy(place)[first.frame_atoms[index][mask]]
    assert torch.equal(expected, second.frame_atoms[mask])


def test_tokens_say_what_they_are(library):
    batch = featurise(_complex(library, (PROTEIN, DNA, LIGAND, ION), (DISULFIDE,)))
    phosphoserine, atp = 10, 31  # heavy atoms; phosphoserine loses OXT in the chain
    assert len(batch.restype) == 6 + phosphoserine + 4 + atp + 1
    assert batch.is_standard.sum() == 10
    assert batch.kind.tolist() == [0] * 16 + [2] * 4 + [3] * 32
    assert batch.restype[2 : 2 + phosphoserine].tolist() == [RESTYPE_INDEX["SER"]] * phosphoserine
    assert batch.residue_index[2 : 2 + phosphoserine].tolist() == [3] * phosphoserine
    assert batch.token_index.tolist() == list(range(1, len(batch.restype) + 1))
    assert batch.asym_id.unique().tolist() == [1, 2, 3, 4]
    assert batch.ref_element[batch.center_atom[-1]] == 30
    assert not batch.frame_mask[-1]
    assert batch.frame_atoms.min() >= 0
    assert (batch.cyclic_period == 0).all()


def test_token_bonds_are_those_that_the_sequence_does_not_tell(library):
    complex_ = _complex(library, (PROTEIN, LIGAND), (DISULFIDE,))
    batch = featurise(complex_)
    pairs = {tuple(pair) for pair in batch.token_bonds.nonzero().tolist()}
    assert all((b, a) in pairs for a, b in pairs)
    last_of_modified = 11
    assert (1, last_of_modified + 3) in pairs  # the disulfide, residues 2 and 6
    assert not batch.token_bonds[0, 1]  # a peptide bond between standard residues
    names = complex_.structure.atoms.name[complex_.tokens.center_atom]
    n, c = (2 + list(names[2:12]).index(name) for name in ("N", "C"))
    assert (1, n) in pairs  # peptide bonds of the modified residue
    assert (c, last_of_modified + 1) in pairs
    atp = [pair for pair in pairs if min(pair) >= 16]
    assert len(atp) == 2 * 33  # 31 atoms in three rings
    assert len(loss_bonds(complex_.structure, complex_.tokens, complex_.atoms.token)) == 33 + 9 + 2


@pytest.mark.parametrize(
    ("kind", "codes", "bond"),
    [
        (ChainKind.PROTEIN, ("GLY", "CYS", "CYS", "GLY"), ("SG", "SG")),
        (ChainKind.PROTEIN, ("GLY", "LYS", "ASP", "GLY"), ("NZ", "CG")),
    ],
)
def test_a_cross_link_of_neighbours_is_a_token_bond(library, kind, codes, bond):
    spec = BondSpec(AtomRef("A", 2, bond[0]), AtomRef("A", 3, bond[1]))
    batch = featurise(_complex(library, (ChainSpec("A", 1, 1, kind, codes),), (spec,)))
    assert batch.token_bonds.nonzero().tolist() == [[1, 2], [2, 1]]


def test_chain_links_are_no_token_bonds_and_a_ring_of_two_has_its_closure(library):
    open_chains = (ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("CYS", "CYS", "LYS")), DNA)
    assert not featurise(_complex(library, open_chains)).token_bonds.any()
    ring = ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("GLY", "ALA"), cyclic=True)
    assert featurise(_complex(library, (ring,))).token_bonds.nonzero().tolist() == [[0, 1], [1, 0]]


def test_cyclic_chains_have_a_period_and_a_closing_bond(library):
    chain = ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("GLY", "ALA", "PRO", "LEU", "PHE"), cyclic=True)
    batch = featurise(_complex(library, (chain, ION)))
    assert batch.cyclic_period.tolist() == [5] * 5 + [0]
    assert batch.token_bonds.nonzero().tolist() == [[0, 4], [4, 0]]


def test_the_seed_changes_reference_positions_only_if_frames_are_random(library):
    complex_ = _complex(library, (PROTEIN,))
    canonical = [featurise(complex_, FeatureConfig(), seed).ref_pos for seed in (1, 2)]
    assert torch.equal(*canonical)
    config = FeatureConfig(reference_frame="random")
    random = [featurise(complex_, config, seed).ref_pos for seed in (1, 2, 1)]
    assert torch.equal(random[0], random[2])
    assert (random[0] - random[1]).abs().max() > 0.5


def test_alignments_must_fit_their_chains(library):
    msa = parse_msa(">q\nMCS\n>a\nMC-\n", "MCS", ChainKind.PROTEIN, "test")
    with pytest.raises(AlignmentError, match="3 columns: expected 7"):
        _complex(library, (PROTEIN,), (), {"A": msa})
    with pytest.raises(AlignmentError, match="'Q'"):
        _complex(library, (PROTEIN,), (), {"Q": msa})
    with pytest.raises(AlignmentError, match="ligand"):
        _complex(library, (ION,), (), {"Z": msa})


@pytest.mark.parametrize("file", ["glycan/2HYV.cif.gz", "protein_dna/1A74.pdb.gz", "protein_rna/1MMS.pdb.gz"])
def test_counts_agree_with_gemmi(shared, file):
    path = shared / "data" / "structures" / file
    structure, library = read_structure_and_library(path)
    complex_ = complex_from_structure(structure, library, {}, seed=0)
    batch = featurise(complex_)
    theirs = gemmi.read_structure(str(path))
    theirs.setup_entities()
    theirs.remove_hydrogens()
    theirs.remove_waters()
    theirs.remove_alternative_conformations()
    model = theirs[0]
    assert complex_.structure.atoms.resolved.sum() == model.count_atom_sites()
    resolved = torch.from_numpy(complex_.structure.atoms.resolved)
    standard = [r for chain in model for r in chain if r.name in RESTYPE_INDEX]
    assert (resolved[batch.center_atom] & batch.is_standard).sum() == len(standard)
    # Elements of resolved atoms, as counted by an independent program.
    elements = np.bincount([atom.element.atomic_number for chain in model for r in chain for atom in r], minlength=128)
    np.testing.assert_array_equal(np.bincount(batch.ref_element[resolved].numpy(), minlength=128), elements)
    assert (batch.msa[0][batch.kind == 3] == GAP).all()
    assert torch.equal(batch.msa[0][batch.is_standard], batch.restype[batch.is_standard])
    torch.testing.assert_close(batch.profile.sum(dim=1), torch.ones(len(batch.restype)))
