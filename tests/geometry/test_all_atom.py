"""All atoms from torsions and frames: against OpenFold, biotite, and real structures."""

from dataclasses import replace
from pathlib import Path

import biotite.structure as struc
import numpy as np
import pytest
import torch
from golden_tables import NAMES, load, measured_tables

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names, rigid_groups, with_positions
from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import (
    Frames,
    ResidueTables,
    atom14_positions,
    atom14_to_atom37,
    atom37_to_atom14,
    compose_frames,
    dihedrals,
    gram_schmidt_frames,
    quaternion_to_rotation,
    residue_frames,
    residue_torsions,
    rotate,
    torsion_frames,
)
from anfinsen.losses.alphafold2 import StructureTarget
from full_atom import SHARP, complete, packaged_protein, part, read_target, tables


def _backbone(target: StructureTarget) -> Frames:
    return gram_schmidt_frames(target.atoms[:, 0], target.atoms[:, 1], target.atoms[:, 2])


def _rebuilt(target: StructureTarget) -> torch.Tensor:
    """Atoms from nothing but the true backbone frames and torsions."""
    ideal = tables(target.atoms.dtype)
    frames = torsion_frames(_backbone(target), target.torsions(ideal).values, target.residue_type, ideal)
    return atom14_positions(frames, target.residue_type, ideal)


def _rotations(count: int, seed: int) -> torch.Tensor:
    """Exact to double precision."""
    return quaternion_to_rotation(torch.randn(count, 4, generator=torch_generator(seed), dtype=torch.float64))


def _random_torsions(*shape: int, seed: int = 0) -> torch.Tensor:
    angle = torch.rand(*shape, 7, generator=torch_generator(seed), dtype=torch.float64) * 2 * torch.pi
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


@pytest.mark.parametrize("name", NAMES)
def test_openfold_places_the_same_atoms(shared, name) -> None:
    """Its frames, torsions and ideal places in, its atoms and side-chain frames out."""
    golden = load(shared, name)
    kind, frames = golden["input.aatype"], golden["output64.sidechain_frames"]
    backbone = Frames(frames[:, :, 0, :3, :3], frames[:, :, 0, :3, 3])
    for exact in (True, False):
        used = measured_tables(golden, tables()) if exact else tables()
        built = torsion_frames(backbone, golden["output64.angles"], kind.expand(2, -1), used)
        atoms = atom14_positions(built, kind.expand(2, -1), used)
        error = (atoms - golden["output64.positions"]).norm(dim=-1)
        if not exact:
            # What this package's own ideal places differ by from the published ones, over ten residue types.
            assert float(error[:, used.atom_mask[kind]].mean()) < 0.015
            assert float(error.max()) < 0.06
            continue
        assert float(error.max()) < 1e-9
        there = used.group_mask[kind].clone()
        there[:, 1:3] = True  # pre-omega and phi are defined, too, though they move no atom
        torch.testing.assert_close(built.rotation[:, there], frames[..., :3, :3][:, there], atol=1e-9, rtol=0)
        torch.testing.assert_close(built.origin[:, there], frames[..., :3, 3][:, there], atol=1e-9, rtol=0)


def test_biotite_measures_the_torsions_that_were_asked_for() -> None:
    ideal, kind = tables(), torch.arange(20)
    torsions = _random_torsions(20)
    frames = Frames(_rotations(20, 1), 20 * torch.arange(60.0).double().reshape(20, 3))
    atoms = atom14_positions(torsion_frames(frames, torsions, kind, ideal), kind, ideal).numpy()
    rows = [(row, place, name) for row in range(20) for place, name in enumerate(atom14_names(RESIDUE_TYPES[row]))]
    array = struc.AtomArray(len(rows))
    array.coord = np.array([atoms[row, place] for row, place, _ in rows], dtype=np.float32)
    array.atom_name = np.array([name for *_, name in rows])
    array.res_name = np.array([RESIDUE_TYPES[row] for row, *_ in rows])
    array.res_id = np.array([row + 1 for row, *_ in rows])
    array.element = np.array([name[0] for *_, name in rows])
    measured = struc.dihedral_side_chain(array)
    asked = torch.atan2(torsions[..., 0], torsions[..., 1])[:, 3:].numpy()
    assert (np.isfinite(measured) == ideal.chi_mask[:20].numpy()).all()
    turn = (measured - asked)[np.isfinite(measured)]
    np.testing.assert_allclose(np.cos(turn), 1.0, atol=1e-6)
    # Psi is asked for as the angle N-CA-C-N, and the oxygen is opposite that N.
    oxygen = dihedrals(*torch.from_numpy(atoms)[:, :4].unbind(1))
    psi = torch.atan2(torsions[:, 2, 0], torsions[:, 2, 1])
    torch.testing.assert_close(torch.cos(oxygen - psi), -torch.ones(20, dtype=torch.float64))


def test_torsions_read_off_are_those_biotite_reads_off() -> None:
    import biotite.structure.io.pdb as pdb

    target = read_target(packaged_protein())
    array = pdb.PDBFile.read(packaged_protein()).get_structure(model=1)
    array = array[struc.filter_amino_acids(array)]
    phi, psi, omega = struc.dihedral_backbone(array)
    chi = struc.dihedral_side_chain(array)
    found = target.torsions(tables())
    angle = torch.atan2(found.values[..., 0], found.values[..., 1]).numpy()
    mask = found.mask.numpy()
    assert len(phi) == len(angle)
    # The pre-omega of a residue is the omega of the one before.
    expected = np.column_stack([np.roll(omega, 1), phi, psi, chi])
    both = mask & np.isfinite(expected)
    assert both[:, 1].sum() > 180
    assert both[:, 3].sum() > 140
    chis = both.copy()
    chis[:, 2] = False
    np.testing.assert_allclose(np.cos(angle - expected)[chis], 1.0, atol=1e-5)
    # Psi from the oxygen; the carbonyl is not quite flat in crystals.
    assert np.cos(angle - expected)[both[:, 2] & (np.arange(len(phi)) < len(phi) - 1), 2].min() > 0.9


def _whole(path: Path) -> StructureTarget:
    """The residues that have all their atoms; they count as neighbours of none."""
    target = read_target(path)
    rows = complete(target).nonzero()[:, 0]
    names = ("residue_type", "atoms", "atom_mask", "residue_index", "residue_mask")
    return StructureTarget(*(getattr(target, name)[rows] for name in names))


def _rms(distance: torch.Tensor) -> float:
    return float(distance.square().mean().sqrt())


def _fitted(target: StructureTarget) -> torch.Tensor:
    """Atoms from the frames and torsions that come nearest to the true atoms, starting from the measured ones."""
    ideal, start = tables(), _backbone(target)
    measured = target.torsions(ideal).values
    angle = torch.atan2(measured[..., 0], measured[..., 1]).requires_grad_()
    turn, shift = (torch.zeros(len(angle), 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def build() -> torch.Tensor:
        step = Frames(quaternion_to_rotation(torch.cat([torch.ones_like(turn[:, :1]), turn], dim=1)), shift)
        torsions = torch.stack([angle.sin(), angle.cos()], dim=-1)
        frames = torsion_frames(compose_frames(start, step), torsions, target.residue_type, ideal)
        return atom14_positions(frames, target.residue_type, ideal)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = (build() - target.atoms)[target.atom_mask].square().sum()
        loss.backward()
        return loss

    optimiser = torch.optim.LBFGS([turn, shift, angle], max_iter=60, history_size=20, line_search_fn="strong_wolfe")
    optimiser.step(closure)
    return build().detach()


@pytest.mark.parametrize("file", SHARP)
def test_torsions_and_frames_describe_real_structures(shared, file) -> None:
    """To 0.1 Å where frames and torsions are the best ones; measured ones add up the errors of angles to the tips."""
    target = _whole(shared / "data/structures" / file)
    assert len(target.residue_type) > 80
    there = target.atom_mask
    assert _rms((_fitted(target) - target.atoms).norm(dim=-1)[there]) < 0.1
    error = (_rebuilt(target) - target.atoms).norm(dim=-1)
    assert float(error[there].median()) < 0.07
    assert _rms(error[there]) < 0.22
    assert _rms(error[:, :4]) < 0.09  # N, CA, C, O


def test_ideal_bond_lengths_and_angles_are_all_that_is_off() -> None:
    """With every residue's own places in its groups instead of the ideal ones, measured torsions rebuild it exactly."""
    target, shared_tables = _whole(packaged_protein()), tables()
    kind = target.residue_type.numpy()
    frames, _ = residue_frames(target.atoms, target.atom_mask, target.residue_type, shared_tables)
    group = shared_tables.atom_group[target.residue_type]
    rotation = frames.rotation.take_along_dim(group[..., None, None], dim=1)
    origin = frames.origin.take_along_dim(group[..., None], dim=1)
    own = ((target.atoms - origin).unsqueeze(-2) @ rotation).squeeze(-2) * target.atom_mask.unsqueeze(-1)
    # One row of the tables for each residue.
    rows = replace(rigid_groups(), **{name: table[kind] for name, table in rigid_groups().arrays().items()})
    each = ResidueTables.of(with_positions(rows, own.numpy()).arrays(), target.atoms)
    torsions, index = target.torsions(shared_tables).values, torch.arange(len(kind))
    built = atom14_positions(torsion_frames(_backbone(target), torsions, index, each), index, each)
    assert float((built - target.atoms)[target.atom_mask].abs().max()) < 1e-9
    assert _rms((_rebuilt(target) - target.atoms).norm(dim=-1)[target.atom_mask]) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torsions_and_frames_of_built_residues_come_back(dtype) -> None:
    ideal, kind = tables(dtype), torch.arange(21)
    torsions = _random_torsions(21).to(dtype)
    backbone = Frames(_rotations(21, 2).to(dtype), torch.zeros(21, 3, dtype=dtype))
    frames = torsion_frames(backbone, torsions, kind, ideal)
    atoms = atom14_positions(frames, kind, ideal)
    follows = torch.zeros(21, dtype=torch.bool)
    found = residue_torsions(atoms, ideal.atom_mask, kind, follows, ideal)
    assert found.values.dtype == dtype
    wanted = torch.cat([torch.zeros(21, 2, dtype=torch.bool), torch.ones(21, 1, dtype=torch.bool), ideal.chi_mask], 1)
    assert bool((found.mask == wanted).all())
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(found.values[wanted], torsions[wanted], atol=tolerance, rtol=0)
    assert bool((found.values[~wanted] == 0).all())
    again, known = residue_frames(atoms, ideal.atom_mask, kind, ideal)
    assert bool((known == ideal.group_mask).all())
    torch.testing.assert_close(again.rotation[known], frames.rotation[known], atol=tolerance, rtol=0)
    torch.testing.assert_close(again.origin[known], frames.origin[known], atol=tolerance, rtol=0)
    identity = torch.eye(3, dtype=dtype).expand(int((~known).sum()), 3, 3)
    torch.testing.assert_close(again.rotation[~known], identity)


def test_building_moves_with_the_frames() -> None:
    ideal, kind, torsions = tables(), torch.arange(20), _random_torsions(20)
    turn, shift = _rotations(1, 3)[0], torch.tensor([3.0, -40.0, 7.0]).double()
    backbone = Frames(_rotations(20, 4), torch.randn(20, 3).double())
    moved = compose_frames(Frames(turn, shift), backbone)
    first, second = (atom14_positions(torsion_frames(b, torsions, kind, ideal), kind, ideal) for b in (backbone, moved))
    there = ideal.atom_mask[kind]
    torch.testing.assert_close((rotate(first, turn.expand(20, 3, 3)) + shift)[there], second[there], atol=1e-10, rtol=0)


def test_places_of_all_names_and_back() -> None:
    ideal, kind = tables(), torch.arange(21).reshape(3, 7)
    values = torch.randn(3, 7, 14, 3).double() * ideal.atom_mask[kind].unsqueeze(-1)
    wide = atom14_to_atom37(values, kind, ideal)
    assert wide.shape == (3, 7, 37, 3)
    assert torch.equal(atom37_to_atom14(wide, kind, ideal), values)
    assert torch.equal(wide[..., 1, :], values[..., 1, :])  # CA
    assert int((wide != 0).any(-1).sum()) == int(ideal.atom_mask.sum())


def test_torsions_need_neighbours_and_known_atoms() -> None:
    target = part(read_target(packaged_protein()), 10, 16)
    ideal = tables()
    whole = target.torsions(ideal)
    assert whole.mask[:, 1].tolist() == [False, True, True, True, True, True]
    broken = residue_torsions(target.atoms, target.atom_mask, target.residue_type, target.follows & False, ideal)
    assert not bool(broken.mask[:, :2].any())
    mask = target.atom_mask.clone()
    mask[2, 2] = False  # C: psi of 2, phi of 2 and 3, pre-omega of 3
    holed = residue_torsions(target.atoms, mask, target.residue_type, target.follows, ideal).mask
    gone = (whole.mask & ~holed).nonzero().tolist()
    assert gone == [[2, 1], [2, 2], [3, 0], [3, 1]]
    frames, known = residue_frames(target.atoms, mask, target.residue_type, ideal)
    assert not bool(known[2, 0])
    torch.testing.assert_close(frames.rotation[2, 0], torch.eye(3).double())


def test_gradients_are_right_and_finite_also_on_a_line() -> None:
    ideal, kind = tables(), torch.tensor([1, 14])  # arginine, proline
    backbone = Frames(_rotations(2, 5), torch.randn(2, 3).double())

    def build(torsions: torch.Tensor) -> torch.Tensor:
        return atom14_positions(torsion_frames(backbone, torsions, kind, ideal), kind, ideal)

    torsions = _random_torsions(2).requires_grad_()
    assert torch.autograd.gradcheck(build, (torsions,))
    follows = torch.tensor([False, True])

    def read(atoms: torch.Tensor) -> torch.Tensor:
        return residue_torsions(atoms, ideal.atom_mask[kind], kind, follows, ideal).values

    atoms = build(torsions).detach().requires_grad_()
    assert torch.autograd.gradcheck(read, (atoms,))
    for points in (torch.zeros(2, 14, 3), torch.arange(28.0).reshape(2, 14, 1) * torch.ones(3)):
        line = points.double().requires_grad_()
        torsion = residue_torsions(line, ideal.atom_mask[kind], kind, follows, ideal)
        frames, known = residue_frames(line, ideal.atom_mask[kind], kind, ideal)
        assert not bool(torsion.mask.any())
        assert not bool(known.any())
        (torsion.values.sum() + frames.rotation.sum() + frames.origin.sum()).backward()
        assert bool(torch.isfinite(line.grad).all())
