"""Renaming of chains and atoms: the right names are found again; names that mean a place are kept."""

import dataclasses
from collections.abc import Callable
from itertools import permutations

import biotite.structure as struc
import biotite.structure.info as info
import numpy as np
import pytest
import torch

from anfinsen.chemistry.component import Component
from anfinsen.chemistry.tokens import RESTYPES
from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import random_rotations, rotate
from anfinsen.losses import (
    LossConfig,
    batch_symmetries,
    chain_copies,
    diffusion_loss,
    permute_labels,
    restrict_permutations,
    symmetric_atom_permutations,
)
from anfinsen.nn.batch import Batch, Labels
from tiny_model import batch_of


def _component(code: str) -> Component:
    """From biotite's CCD, heavy atoms only."""
    atoms = info.residue(code)
    atoms = atoms[atoms.element != "H"]
    table = atoms.bonds.as_array()
    order = {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, 6: 2, 7: 3, 9: 1}
    n = len(atoms)
    numbers = {"C": 6, "N": 7, "O": 8, "P": 15, "S": 16, "FE": 26, "F": 9}
    return Component(
        code=code,
        name=code,
        type="",
        one_letter="",
        parent="",
        atom_names=atoms.atom_name,
        elements=np.array([numbers[e] for e in atoms.element], dtype=np.uint8),
        charges=np.zeros(n, dtype=np.int64),
        leaving=np.zeros(n, dtype=bool),
        stereo=np.full(n, "N"),
        bonds=table[:, :2].astype(np.int64),
        orders=np.array([order.get(int(kind), 0) for kind in table[:, 2]], dtype=np.uint8),
        bond_stereo=np.full(len(table), "N"),
        ideal=atoms.coord.astype(np.float64),
        model=None,
        hydrogens=np.zeros(n, dtype=np.int64),
    )


def _moved_names(component: Component) -> set[str]:
    rows = symmetric_atom_permutations(component)
    assert np.array_equal(rows[0], np.arange(len(component)))
    assert len(np.unique(rows, axis=0)) == len(rows)
    moved = (rows != np.arange(len(component))).any(0)
    return set(component.atom_names[moved].tolist())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # AlphaFold 2's ambiguous side chains; the free acid's own carboxylate besides
        ("ASP", {"OD1", "OD2", "O", "OXT"}),
        ("GLU", {"OE1", "OE2", "O", "OXT"}),
        ("PHE", {"CD1", "CD2", "CE1", "CE2", "O", "OXT"}),
        ("TYR", {"CD1", "CD2", "CE1", "CE2", "O", "OXT"}),
        ("ARG", {"NH1", "NH2", "O", "OXT"}),
        # names that mean a place in space
        ("VAL", {"O", "OXT"}),
        ("LEU", {"O", "OXT"}),
        ("ILE", {"O", "OXT"}),
        ("ASN", {"O", "OXT"}),
        ("HIS", {"O", "OXT"}),
        ("TRP", {"O", "OXT"}),
    ],
)
def test_side_chains(code: str, expected: set[str]) -> None:
    assert _moved_names(_component(code)) == expected


def test_groups_have_their_order() -> None:
    """Sulfate: 12 rotations of a tetrahedron, 24 with reflections; benzene: 12; ATP: its last oxygens turn."""
    assert len(symmetric_atom_permutations(_component("SO4"))) == 12
    assert len(symmetric_atom_permutations(_component("BNZ"))) == 12
    assert len(symmetric_atom_permutations(_component("SO4"), allow_inversion=True)) == 24
    assert len(symmetric_atom_permutations(_component("ATP"))) == 3
    # glycerol's ends change places by a reflection only
    assert len(symmetric_atom_permutations(_component("GOL"))) == 1
    assert len(symmetric_atom_permutations(_component("GOL"), allow_inversion=True)) == 2


def test_automorphisms_against_brute_force() -> None:
    """Every permutation of phenol-like atoms that keeps elements and bonds."""
    component = _component("IPH")
    bonds = {frozenset(pair) for pair in component.bonds.tolist()}
    carbons = [i for i, e in enumerate(component.elements) if e == 6]
    count = 0
    for image in permutations(carbons):
        row = np.arange(len(component))
        row[carbons] = image
        count += {frozenset(row[list(pair)].tolist()) for pair in bonds} == bonds
    assert len(symmetric_atom_permutations(component)) == count == 2


def test_permutations_inside_a_residue() -> None:
    component = _component("ASP")
    rows = symmetric_atom_permutations(component)
    present = component.atom_names != "OXT"
    none = np.zeros(len(component), dtype=bool)
    inside = restrict_permutations(rows, present, none)
    names = component.atom_names[present]
    assert [names[row].tolist() for row in inside[:1]] == [names.tolist()]
    assert len(inside) == 2
    assert set(names[inside[1] != np.arange(len(names))].tolist()) == {"OD1", "OD2"}
    # an oxygen with a bond elsewhere keeps its name
    assert len(restrict_permutations(rows, present, component.atom_names == "OD1")) == 1


def _dimer(batch: Batch) -> Batch:
    """The test complex with RNA (chain 2) and DNA (chain 3), equally long, as two copies of one entity."""
    entity = torch.where(batch.asym_id == 3, 2, batch.entity_id)
    kind = torch.where(batch.kind == 2, 1, batch.kind)
    return dataclasses.replace(batch, entity_id=entity, kind=kind, residue_index=_numbers(batch))


def _numbers(batch: Batch) -> torch.Tensor:
    starts = {chain: int((batch.asym_id == chain).nonzero()[0, 0]) for chain in batch.asym_id.unique().tolist()}
    return torch.arange(len(batch.kind)) - torch.tensor([starts[c] for c in batch.asym_id.tolist()])


def test_swapped_copies_are_found(batch: Batch, labels: Labels) -> None:
    batch = _dimer(batch)
    labels = dataclasses.replace(labels, resolved=batch.atom_mask)
    chain = batch.asym_id[batch.atom_to_token]
    first, second = ((chain == c).nonzero()[:, 0] for c in (2, 3))
    swapped = labels.coordinates.clone()
    swapped[first], swapped[second] = labels.coordinates[second], labels.coordinates[first]
    turn = random_rotations(1, torch_generator(5))[0]
    prediction = rotate(swapped, turn) + 12 + 0.3 * torch.randn(swapped.shape, generator=torch_generator(6))

    found = permute_labels(prediction, batch, labels)
    torch.testing.assert_close(found.coordinates, swapped)
    before, after = (
        diffusion_loss(prediction[None], torch.ones(1), batch, given, LossConfig()).mse.item()
        for given in (labels, found)
    )
    assert after < 1 < before
    # and where nothing is swapped, nothing happens
    same = permute_labels(labels.coordinates, batch, labels)
    assert torch.equal(same.coordinates, labels.coordinates)


def test_resolved_travels_with_the_copy(batch: Batch, labels: Labels) -> None:
    batch = _dimer(batch)
    chain = batch.asym_id[batch.atom_to_token]
    first, second = ((chain == c).nonzero()[:, 0] for c in (2, 3))
    resolved = batch.atom_mask.clone()
    resolved[first[:7]] = False
    labels = dataclasses.replace(labels, resolved=resolved)
    prediction = labels.coordinates.clone()
    prediction[first], prediction[second] = labels.coordinates[second], labels.coordinates[first]
    found = permute_labels(prediction, batch, labels)
    assert not found.resolved[second[:7]].any()
    assert found.resolved[first].all()


def test_differently_cropped_copies_keep_their_place(batch: Batch, labels: Labels) -> None:
    batch = _dimer(batch)
    number = batch.residue_index.clone()
    number[batch.asym_id == 3] += 20
    copies = chain_copies(dataclasses.replace(batch, residue_index=number), labels)
    assert all(len(chain.copies) == 1 for chain in copies)
    assert {len(chain.copies) for chain in chain_copies(batch, labels)} == {1, 2}


def test_four_copies_in_any_order(make_oligomer: Callable[..., tuple[Batch, Labels]]) -> None:
    """A homo-tetramer of rods without a unique chain: every cyclic and crossed naming is undone."""
    batch, labels = make_oligomer(copies=4, tokens=9)
    for order in ((1, 0, 3, 2), (2, 3, 1, 0), (3, 1, 0, 2)):
        parts = labels.coordinates.reshape(4, 9, 3)
        prediction = parts[list(order)].reshape(-1, 3)
        found = permute_labels(prediction + 5, batch, labels)
        torch.testing.assert_close(found.coordinates, prediction)


def test_symmetric_atoms_are_renamed(batch: Batch, labels: Labels) -> None:
    labels = dataclasses.replace(labels, resolved=batch.atom_mask)
    orders = torch.tensor([[4, 5, 6, 7], [4, 5, 7, 6]])
    prediction = labels.coordinates.clone()
    prediction[[6, 7]] = labels.coordinates[[7, 6]]
    found = permute_labels(prediction - 3, batch, labels, symmetric_atoms=[orders, torch.tensor([[0, 1], [1, 0]])])
    torch.testing.assert_close(found.coordinates, prediction)


def test_biotite_bond_types_are_understood() -> None:
    """The table in `_component` must not silently turn bonds into unknown ones."""
    assert int(struc.BondType.AROMATIC_DOUBLE) == 6
    assert (_component("PHE").orders > 0).all()


def _named(batch: Batch, names: dict[int, str]) -> Batch:
    """Give atoms names, as the batch encodes them."""
    chars = torch.zeros_like(batch.ref_atom_name_chars)
    for atom, name in names.items():
        chars[atom] = torch.tensor([ord(letter) - 32 for letter in name.ljust(4)])
    return dataclasses.replace(batch, ref_atom_name_chars=chars)


def test_batch_knows_its_symmetric_side_chains(batch: Batch) -> None:
    # tokens 0-2 are alanine's place in the list of types; make token 1 aspartate and token 2 a tyrosine cut short
    restype = batch.restype.clone()
    restype[1], restype[2] = RESTYPES.index("ASP"), RESTYPES.index("TYR")
    batch = dataclasses.replace(batch, restype=restype)
    batch = _named(batch, {4: "CA", 5: "CB", 6: "OD1", 7: "OD2", 8: "CD1", 9: "CD2", 10: "CE1", 2: "OD1", 3: "OD2"})
    orders = [order.tolist() for order in batch_symmetries(batch)]
    assert orders == [[[6, 7], [7, 6]]]
    batch = _named(batch, {8: "CD1", 9: "CD2", 10: "CE1", 11: "CE2"})
    assert [order.tolist() for order in batch_symmetries(batch)] == [[[8, 9, 10, 11], [9, 8, 11, 10]]]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("GOL", 2),  # prochiral only: its ends change places
        ("SRT", 4),  # meso-tartaric acid: the oxygens of each end turn, the ends (one R, one S) keep their places
        ("TLA", 8),  # L-tartaric acid: its ends, both R, change places too
        ("TRE", 2),  # trehalose: two equal sugars
        ("BNZ", 12),
    ],
)
def test_ligands_of_a_batch_keep_their_stereo_centres(code: str, count: int) -> None:
    (orders,) = batch_symmetries(batch_of({"kind": "ligand", "ids": ("L",), "ccd_codes": (code,)}))
    assert len(orders) == len(np.unique(orders.numpy(), axis=0)) == count


def test_every_place_on_the_ring_of_inositol_is_another_in_space() -> None:
    """As a graph it has 12 symmetries; in space one axial oxygen, and mirror images of the others."""
    assert batch_symmetries(batch_of({"kind": "ligand", "ids": ("L",), "ccd_codes": ("INS",)})) == ()


def test_batch_knows_its_symmetric_ligands(batch: Batch) -> None:
    tokens = (batch.kind == 3).nonzero()[:, 0]
    atoms = batch.center_atom[tokens]
    element = batch.ref_element.clone()
    element[atoms] = torch.tensor([16, 8, 8, 8, 8])
    residue = batch.ref_space_uid.clone()
    residue[atoms] = 99
    bonds = batch.token_bonds.clone()
    for other in tokens[1:]:
        bonds[tokens[0], other] = bonds[other, tokens[0]] = True
    reference = batch.ref_pos.clone()
    reference[atoms] = 0.9 * torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    sulfate = dataclasses.replace(
        batch, ref_element=element, ref_space_uid=residue, token_bonds=bonds, ref_pos=reference
    )
    # without reference positions nothing is known of hands, and nothing is renamed
    assert batch_symmetries(dataclasses.replace(sulfate, ref_mask=torch.zeros_like(batch.ref_mask))) == ()
    assert batch_symmetries(dataclasses.replace(sulfate, ref_pos=torch.zeros_like(reference))) == ()
    (orders,) = batch_symmetries(sulfate)
    assert orders.shape == (24, 5)
    assert orders[0].tolist() == atoms.tolist()
    assert (orders[:, 0] == atoms[0]).all()
    # bound to the protein by one oxygen, three are left that look the same
    tied = bonds.clone()
    tied[tokens[1], 0] = tied[0, tokens[1]] = True
    (orders,) = batch_symmetries(dataclasses.replace(sulfate, token_bonds=tied))
    assert orders.shape == (6, 5)
    # the renaming is found again
    true = 5 * torch.randn((len(batch.atom_mask), 3), generator=torch_generator(4))
    labels = Labels(true, batch.atom_mask, torch.zeros((0, 2), dtype=torch.long))
    prediction = true.clone()
    prediction[atoms] = true[atoms[[0, 3, 1, 2, 4]]]
    found = permute_labels(prediction, sulfate, labels, symmetric_atoms=batch_symmetries(sulfate))
    torch.testing.assert_close(found.coordinates, prediction)
