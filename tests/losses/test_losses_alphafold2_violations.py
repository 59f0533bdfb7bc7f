"""Structural violations: none in good structures, the right ones in broken structures, finite gradients everywhere."""

import math

import pytest
import torch

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names
from anfinsen.common.seeding import torch_generator
from anfinsen.losses.alphafold2 import StructureTarget, ViolationConfig, ViolationLoss, Violations
from full_atom import SHARP, complete, packaged_protein, part, read_target, tables


def _violations(target: StructureTarget, atoms: torch.Tensor | None = None) -> Violations:
    loss = ViolationLoss(ViolationConfig(), tables(target.atoms.dtype))
    x = target.atoms if atoms is None else atoms
    return loss(x, target.atom_mask, target.residue_type, target.follows)


@pytest.mark.parametrize("file", SHARP)
def test_sharp_crystals_have_none(shared, file) -> None:
    target = read_target(shared / "data/structures" / file)
    found = _violations(target)
    assert float(found.total) == 0.0
    assert not bool(found.residues.any())
    # Without tolerance, every bond and many a contact is off.
    strict = ViolationLoss(ViolationConfig(deviations=0.0, overlap_tolerance=0.0), tables())
    every = strict(target.atoms, target.atom_mask, target.residue_type, target.follows)
    assert 0.001 < float(every.bond) < 0.03
    assert 0.003 < float(every.c_n_ca) < 0.05
    assert bool(every.residues[complete(target)].all())


def test_each_kind_is_found_and_measured() -> None:
    target = part(read_target(packaged_protein()), 30, 70)
    clean = _violations(target)
    assert float(clean.bond) == float(clean.ca_c_n) == float(clean.c_n_ca) == 0.0
    # Second half moved away by 5 Å along the broken bond: one bond of 39 is 5 Å too long.
    step = target.atoms[20, 0] - target.atoms[19, 2]
    pulled = target.atoms.clone()
    pulled[20:] += 5 * step / step.norm()
    found = _violations(target, pulled)
    proline = RESIDUE_TYPES[int(target.residue_type[20])] == "PRO"
    ideal, deviation = (1.341, 0.016) if proline else (1.329, 0.014)
    excess = float(step.norm()) + 5 - ideal - 12 * deviation
    assert float(found.bond) == pytest.approx(excess / 39, rel=1e-5)
    assert {19, 20} <= set(found.residues.nonzero()[:, 0].tolist())
    # A chain break there is none.
    loss = ViolationLoss(ViolationConfig(), tables())
    follows = target.follows.clone()
    follows[20] = False
    assert float(loss(pulled, target.atom_mask, target.residue_type, follows).bond) == 0.0
    # One atom of residue 5 laid 1 Å from one of residue 25.
    count = int(target.atom_mask.sum())
    clash = target.atoms.clone()
    clash[5, 3] = target.atoms[25, 1] + torch.tensor([0.0, 0.0, 1.0]).double()
    found = _violations(target, clash)
    assert float(found.clash) > 2 * (1.70 + 1.52 - 1.5 - 1.0) / count - 1e-9
    assert bool(found.residues[5] & found.residues[25])
    # One oxygen 3 Å from its carbon, straight on: only bounds within residues tell.
    stretched = target.atoms.clone()
    direction = stretched[7, 3] - stretched[7, 2]
    stretched[7, 3] = stretched[7, 2] + 3 * direction / direction.norm()
    found = _violations(target, stretched)
    assert float(found.within) > 4 * (3 - 1.24 - 12 * 0.02) / count - 0.01
    assert bool(found.residues[7])


def test_angles_at_the_peptide_bond() -> None:
    target = part(read_target(packaged_protein()), 30, 34)
    c, n = target.atoms[1, 2], target.atoms[2, 0]
    # The next residue turned about its N, so that C-N-CA is straight.
    out = (n - c) / (n - c).norm()
    bent = target.atoms.clone()
    bent[2, 1] = n + 1.46 * out
    found = _violations(target, bent)
    assert float(found.c_n_ca) == pytest.approx((1 - 0.5203 - 12 * 0.0353) / 3, rel=1e-3)
    bent = target.atoms.clone()
    bent[1, 1] = c - 1.52 * out
    assert float(_violations(target, bent).ca_c_n) == pytest.approx((1 - 0.4473 - 12 * 0.0311) / 3, rel=1e-3)


def test_disulphides_and_peptide_bonds_do_not_clash() -> None:
    kind = torch.tensor([RESIDUE_TYPES.index(code) for code in ("CYS", "ALA", "CYS")])
    place = atom14_names("CYS").index("SG")
    atoms = 100 * torch.arange(42.0).double().reshape(3, 14, 1) * torch.ones(3).double()
    mask = torch.zeros(3, 14, dtype=torch.bool)
    mask[0, place] = mask[2, place] = True
    atoms[2, place] = atoms[0, place] + torch.tensor([2.05, 0.0, 0.0]).double()
    loss = ViolationLoss(ViolationConfig(), tables())
    follows = torch.tensor([False, True, True])
    assert float(loss(atoms, mask, kind, follows).clash) == 0.0
    serine = torch.tensor([RESIDUE_TYPES.index(code) for code in ("SER", "ALA", "SER")])
    assert float(loss(atoms, mask, serine, follows).clash) == 0.0  # 2.05 Å are enough for oxygens
    mask[:] = False
    mask[0, 2] = mask[1, 0] = True
    atoms[1, 0] = atoms[0, 2] + torch.tensor([1.33, 0.0, 0.0]).double()
    assert float(loss(atoms, mask, kind, follows).clash) == 0.0
    apart = loss(atoms, mask, kind, follows & False)
    assert float(apart.clash) == pytest.approx(2 * (1.70 + 1.55 - 1.5 - 1.33) / 2)


def test_gradients_are_right_and_finite_where_atoms_coincide() -> None:
    target = part(read_target(packaged_protein()), 30, 33)
    noise = 0.6 * torch.randn(3, 14, 3, generator=torch_generator(1), dtype=torch.float64)
    broken = (target.atoms + noise).requires_grad_()
    assert float(_violations(target, broken.detach()).total) > 0.1
    assert torch.autograd.gradcheck(
        lambda x: _violations(target, x).total, (broken,), eps=1e-7, atol=1e-4, fast_mode=True
    )
    for dtype in (torch.float32, torch.float64):
        packed = torch.zeros(3, 14, 3, dtype=dtype, requires_grad=True)
        small = ViolationLoss(ViolationConfig(), tables(dtype))
        total = small(packed, target.atom_mask, target.residue_type, target.follows).total
        total.backward()
        assert total.dtype == dtype
        assert math.isfinite(float(total.detach()))
        assert bool(torch.isfinite(packed.grad).all())
    line = (torch.arange(42.0).double().reshape(3, 14, 1) * torch.ones(3).double() / 10).requires_grad_()
    _violations(target, line).total.backward()
    assert bool(torch.isfinite(line.grad).all())


def test_nothing_known_is_nothing_wrong() -> None:
    loss = ViolationLoss(ViolationConfig(), tables())
    kind = torch.tensor([0, 1])
    nothing = loss(torch.zeros(2, 14, 3).double(), torch.zeros(2, 14, dtype=torch.bool), kind, kind > 0)
    assert float(nothing.total) == 0.0
    assert not bool(nothing.residues.any())
