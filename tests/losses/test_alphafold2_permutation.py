"""Chains of AlphaFold-Multimer's truth: whatever the depositors called them, the prediction's names are found."""

import dataclasses
from itertools import permutations, product

import pytest
import torch

from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import random_rotations, rotate
from anfinsen.losses.alphafold2 import StructureTarget
from anfinsen.losses.alphafold2_permutation import WholeAssembly, permute_chains
from anfinsen.nn.batch import AlphaFold2Batch

# (entity, residues) of every chain
HOMODIMER = ((1, 12), (1, 12))
HOMOTRIMER = ((1, 10),) * 3
A2B2 = ((1, 10), (2, 14), (1, 10), (2, 14))
A3B = ((1, 8), (1, 8), (2, 16), (1, 8))
LAYOUTS = {"homodimer": HOMODIMER, "homotrimer": HOMOTRIMER, "A2B2": A2B2, "A3B": A3B}
UNRESOLVED = 7.0  # what stands in the coordinates there


def _noise(*shape, seed):
    return torch.randn(*shape, generator=torch_generator(seed))


def make_batch(layout) -> AlphaFold2Batch:
    """Only what tells residues and chains apart; the rest is empty."""
    n = sum(length for _, length in layout)
    chain = torch.repeat_interleave(torch.arange(len(layout)), torch.tensor([length for _, length in layout]))
    given = {
        "asym_id": chain + 1,
        "entity_id": torch.tensor([entity for entity, _ in layout])[chain],
        "residue_index": torch.cat([torch.arange(length) for _, length in layout]),
        "mask": torch.ones(n, dtype=torch.bool),
        "msa_mask": torch.ones(1, n, dtype=torch.bool),
    }
    shapes = {
        "template_pseudo_beta": (0, n, 3), "template_backbone": (0, n, 3, 3), "template_mask": (0,),
        "template_torsions": (0, n, 7, 2), "template_alternative_torsions": (0, n, 7, 2),
        "template_torsion_mask": (0, n, 7), "cluster_profile": (1, n, 23), "pair_couplings": (n, n, 0),
    }  # fmt: skip
    rows = {"msa": 1, "has_deletion": 1, "deletion_value": 1, "deletion_mean": 1}
    for field in dataclasses.fields(AlphaFold2Batch):
        name = field.name
        if name not in given:
            shape = shapes.get(name, (rows[name], n) if name in rows else (n,))
            shape = (0, n) if name.startswith(("extra", "template")) and name not in shapes else shape
            kind = {"F": torch.float32, "I": torch.long, "B": torch.bool}[str(field.type)[0]]
            given[name] = torch.zeros(shape, dtype=kind)
    return AlphaFold2Batch(**given)


def make_target(layout, seed=0) -> StructureTarget:
    """Chains of one entity have one shape, and stand anywhere."""
    parts = []
    for place, (entity, length) in enumerate(layout):
        walk = (3.8 * torch.nn.functional.normalize(_noise(length, 3, seed=seed + entity), dim=-1)).cumsum(0)
        atoms = walk[:, None] + _noise(length, 14, 3, seed=seed + 50 + entity)
        turn = random_rotations(1, torch_generator(seed + 100 + place))
        parts.append(
            rotate(atoms.reshape(1, -1, 3), turn).reshape(length, 14, 3) + 15 * _noise(3, seed=seed + 9 + place)
        )
    atoms = torch.cat(parts)
    batch = make_batch(layout)
    known = torch.ones(atoms.shape[:2], dtype=torch.bool)
    return StructureTarget(batch.aatype, atoms, known, batch.residue_index, batch.mask, batch.asym_id)


def shuffle(target, layout, order) -> StructureTarget:
    """The target whose chain i is chain ``order[i]``."""
    starts = torch.tensor([0, *(length for _, length in layout)]).cumsum(0)
    rows = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in order])
    return dataclasses.replace(target, atoms=target.atoms[rows], atom_mask=target.atom_mask[rows])


def orders_of(layout):
    """Every way to exchange chains of the same entity."""
    entities = [entity for entity, _ in layout]
    groups = [[i for i, e in enumerate(entities) if e == entity] for entity in sorted(set(entities))]
    for images in product(*(permutations(group) for group in groups)):
        order = [0] * len(layout)
        for group, image in zip(groups, images, strict=True):
            for place, other in zip(group, image, strict=True):
                order[place] = other
        yield tuple(order)


def moved(atoms, seed=5, shift=40.0):
    turn = random_rotations(1, torch_generator(seed))
    return rotate(atoms.reshape(1, -1, 3), turn).reshape(atoms.shape) + shift


def predict(target, noise=0.5, seed=3):
    """A prediction near the truth, turned and shifted, also where the truth is not known."""
    return moved(target.atoms + noise * _noise(*target.atoms.shape, seed=seed))


def hide(target, rows) -> StructureTarget:
    atoms, mask = target.atoms.clone(), target.atom_mask.clone()
    atoms[rows], mask[rows] = UNRESOLVED, False
    return dataclasses.replace(target, atoms=atoms, atom_mask=mask)


def assert_same(found, expected):
    assert torch.equal(found.atom_mask, expected.atom_mask)
    assert torch.equal(found.atoms, expected.atoms)
    assert torch.equal(found.chain, expected.chain)


@pytest.mark.parametrize("name", LAYOUTS)
def test_shuffled_names_are_undone(name):
    layout = LAYOUTS[name]
    batch, target = make_batch(layout), make_target(layout)
    prediction = predict(target)
    orders = list(orders_of(layout))
    assert len(orders) == {"homodimer": 2, "homotrimer": 6, "A2B2": 4, "A3B": 6}[name]
    for order in orders:
        shuffled = shuffle(target, layout, order)
        found = permute_chains(prediction, batch, shuffled)
        assert_same(found, target)
        assert (found is shuffled) == (order == tuple(range(len(layout))))


def test_unresolved_parts_move_with_their_chain():
    """Copies resolved to different extent, one chain not at all; side chains missing where CA is known."""
    layout = ((1, 12), (1, 12), (1, 12), (2, 9))
    batch, whole = make_batch(layout), make_target(layout)
    prediction = predict(whole)
    target = hide(hide(whole, slice(0, 5)), slice(20, 24))
    target.atom_mask[6, 4:] = False
    for order in orders_of(layout):
        assert_same(permute_chains(prediction, batch, shuffle(target, layout, order)), target)
    target = hide(target, slice(24, 36))  # takes the place that is left
    for order in orders_of(layout):
        assert_same(permute_chains(prediction, batch, shuffle(target, layout, order)), target)
    nothing = hide(whole, slice(0, 45))
    assert permute_chains(prediction, batch, nothing) is nothing


@pytest.mark.parametrize(
    ("layout", "order"),
    [(((1, 10), (1, 10), (2, 7), (2, 7)), (1, 0, 2, 3)), (((1, 9),) * 4, (2, 3, 0, 1)), (A3B, (3, 0, 2, 1))],
)
def test_motions_do_not_matter(layout, order):
    batch, target = make_batch(layout), make_target(layout)
    shuffled, prediction = shuffle(target, layout, order), predict(target, noise=1.5)
    expected = permute_chains(prediction, batch, shuffled)
    assert_same(expected, target)
    for seed in range(3):
        assert_same(permute_chains(moved(prediction, seed, -200.0), batch, shuffled), expected)
    turned = dataclasses.replace(shuffled, atoms=moved(shuffled.atoms, 8, 90.0))
    torch.testing.assert_close(permute_chains(prediction, batch, turned).atoms, moved(expected.atoms, 8, 90.0))


def test_other_chains_stay():
    """One chain; chains of different sequences; copies of which the crop holds different residues."""
    for layout in (((1, 20),), ((1, 10), (2, 10)), ((1, 10), (1, 11))):
        batch, target = make_batch(layout), make_target(layout)
        assert permute_chains(moved(_noise(len(batch.mask), 14, 3, seed=1)), batch, target) is target


def test_copies_cropped_alike_are_exchanged_among_themselves():
    layout = ((1, 6), (1, 9), (1, 6), (1, 9))
    batch, target = make_batch(layout), make_target(layout)
    assert_same(permute_chains(predict(target), batch, shuffle(target, layout, (2, 3, 0, 1))), target)
    assert_same(permute_chains(predict(target), batch, shuffle(target, layout, (2, 1, 0, 3))), target)


def test_padding_is_no_residue():
    layout = (*HOMODIMER, (1, 4))
    batch, target = make_batch(layout), make_target(layout)
    real = torch.arange(28) < 24
    batch = dataclasses.replace(batch, mask=real, asym_id=torch.where(real, batch.asym_id, 1))
    target = dataclasses.replace(hide(target, slice(24, 28)), residue_mask=real)
    assert_same(permute_chains(predict(target), batch, shuffle(target, layout, (1, 0, 2))), target)


def crop(layout, kept):
    """A batch and a target of some residues of the assembly."""
    batch, target = make_batch(layout), make_target(layout)
    fields = {}
    for field in dataclasses.fields(StructureTarget):
        fields[field.name] = getattr(target, field.name)[kept]
    small = make_batch(((1, len(kept)),))
    names = ("asym_id", "entity_id", "residue_index")
    return dataclasses.replace(small, **{name: getattr(batch, name)[kept] for name in names}), StructureTarget(**fields)


def test_a_chain_may_be_a_copy_that_was_cropped_away():
    """The crop holds halves of A and B of a trimer; the network put them where C and A are."""
    layout = ((1, 24), (1, 24), (1, 24))
    whole_batch, whole_target = make_batch(layout), hide(make_target(layout), slice(60, 66))
    whole = WholeAssembly(whole_target, whole_batch.asym_id, whole_batch.entity_id)
    kept = torch.cat([torch.arange(12), torch.arange(36, 48)])
    batch, target = crop(layout, kept)
    true_rows = torch.cat([torch.arange(48, 60), torch.arange(12, 24)])
    prediction = moved(make_target(layout).atoms[true_rows] + 0.3 * _noise(24, 14, 3, seed=2))
    assert permute_chains(prediction, batch, target) is target
    found = permute_chains(prediction, batch, target, whole)
    assert torch.equal(found.atoms, whole_target.atoms[true_rows])
    assert torch.equal(found.atom_mask, whole_target.atom_mask[true_rows])
    assert torch.equal(found.chain, target.chain)

    # Residues that a copy lacks altogether are not known there.
    part = torch.ones(72, dtype=torch.bool)
    part[50:53] = False
    fields = {f.name: getattr(whole_target, f.name)[part] for f in dataclasses.fields(StructureTarget)}
    gap = WholeAssembly(StructureTarget(**fields), whole.asym_id[part], whole.entity_id[part])
    found = permute_chains(prediction, batch, target, gap)
    assert not found.atom_mask[2:5].any()
    assert torch.equal(found.atoms[found.atom_mask], whole_target.atoms[true_rows][found.atom_mask])
    assert int(found.atom_mask.sum()) == 14 * 21


def test_a_whole_without_the_chain_is_refused():
    batch, target = make_batch(HOMODIMER), make_target(HOMODIMER)
    half = StructureTarget(**{f.name: getattr(target, f.name)[:12] for f in dataclasses.fields(StructureTarget)})
    whole = WholeAssembly(half, batch.asym_id[:12], batch.entity_id[:12])
    with pytest.raises(ValueError, match="chain 2 of entity 1"):
        permute_chains(predict(target), batch, target, whole)
