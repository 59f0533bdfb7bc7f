"""FAPE, torsions, symmetric atoms and heads of AlphaFold 2, against slow transcriptions and on real structures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names
from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import (
    Frames,
    atom14_positions,
    compose_frames,
    gram_schmidt_frames,
    quaternion_to_rotation,
    residue_frames,
    rotate,
    torsion_frames,
)
from anfinsen.losses import alphafold2_fape
from anfinsen.losses.alphafold2 import (
    AlphaFold2LossConfig,
    FapeConfig,
    FramedPoints,
    StructurePrediction,
    StructureTarget,
    alphafold2_loss,
    angle_norm_loss,
    backbone_fape,
    ca_lddt,
    chain_links,
    chi_loss,
    distogram_loss,
    experimentally_resolved_loss,
    fape,
    local_fape,
    masked_msa_loss,
    plddt_loss,
    predicted_aligned_error_loss,
    rename_symmetric_atoms,
    structure_losses,
)
from full_atom import complete, packaged_protein, part, read_target, tables


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(seed), dtype=torch.float64)


def _rotations(count: int, seed: int) -> torch.Tensor:
    return quaternion_to_rotation(_noise(count, 4, seed=seed))


def _framed(n: int, points: int, seed: int) -> FramedPoints:
    frames = Frames(_rotations(n, seed), 6 * _noise(n, 3, seed=seed + 1))
    known, seen = torch.rand(n, generator=torch_generator(seed)) < 0.8, torch.rand(points) < 0.8
    return FramedPoints(frames, 6 * _noise(points, 3, seed=seed + 2), known, seen)


def _slow_fape(predicted, true, clamp, unit, pairs) -> float:
    """Algorithm 28, one frame and one point at a time, in numpy."""
    total, count = 0.0, 0
    for i in range(len(true.frames.origin)):
        for j in range(len(true.points)):
            if not (true.frame_mask[i] and true.point_mask[j] and pairs[i, j]):
                continue
            local = [
                np.linalg.inv(s.frames.rotation[i].numpy()) @ (s.points[j].numpy() - s.frames.origin[i].numpy())
                for s in (predicted, true)
            ]
            error = math.sqrt(float(((local[0] - local[1]) ** 2).sum()) + 1e-4)
            total += min(error, math.inf if clamp is None else clamp)
            count += 1
    return total / unit / count


@pytest.mark.parametrize("clamp", [None, 10.0])
@pytest.mark.parametrize("at_once", [1 << 20, 50])
def test_fape_is_what_the_algorithm_says(clamp, at_once, monkeypatch) -> None:
    monkeypatch.setattr(alphafold2_fape, "_PAIRS_AT_ONCE", at_once)
    predicted, true = _framed(7, 11, 0), _framed(7, 11, 10)
    pairs = torch.rand(7, 11, generator=torch_generator(3)) < 0.6
    expected = _slow_fape(predicted, true, clamp, 20.0, pairs)
    assert float(fape(predicted, true, clamp, 20.0, pairs)) == pytest.approx(expected, rel=1e-12)
    assert expected < 0.5 or clamp is None
    nothing = fape(predicted, true, clamp, 20.0, torch.zeros(7, 11, dtype=torch.bool))
    assert float(nothing) == 0.0


def test_fape_does_not_feel_a_motion_and_does_feel_a_mirror() -> None:
    """A real protein and itself: 0.001; moved as a whole, too; its mirror image, with frames of its own: 0.79."""
    target = part(read_target(packaged_protein()), 0, 60)
    n, ca, c = target.atoms[:, :3].unbind(1)
    true = FramedPoints(gram_schmidt_frames(n, ca, c), ca)
    turn, shift = _rotations(1, 5), torch.tensor([30.0, -200.0, 7.0]).double()
    n2, ca2, c2 = (rotate(x, turn[0]) + shift for x in (n, ca, c))
    moved = FramedPoints(gram_schmidt_frames(n2, ca2, c2), ca2)
    assert float(fape(true, true)) == pytest.approx(1e-3, abs=1e-12)
    assert float(fape(moved, true)) == pytest.approx(1e-3, abs=1e-9)
    # Prediction and truth may each be moved: a noisy prediction keeps its error to 1e-12.
    noisy = FramedPoints(true.frames, ca + _noise(60, 3, seed=6))
    away = FramedPoints(compose_frames(Frames(turn[0], shift), true.frames), rotate(noisy.points, turn[0]) + shift)
    assert float(fape(noisy, true)) == pytest.approx(float(fape(away, true)), rel=1e-9)
    assert 0.1 < float(fape(noisy, true)) < 0.25
    flip = torch.tensor([-1.0, 1.0, 1.0]).double()
    image = FramedPoints(gram_schmidt_frames(n * flip, ca * flip, c * flip), ca * flip)
    assert float(fape(image, true)) == pytest.approx(0.788, abs=1e-3)
    # Distances are those of the mirror image: a distance-based score cannot tell the two apart.
    assert float(ca_lddt(ca * flip, ca, torch.ones(60, dtype=torch.bool)).mean()) == 1.0


def test_backbone_fape_averages_layers_and_parts_chains() -> None:
    layers = [_framed(6, 6, seed) for seed in (20, 30)]
    truth = _framed(6, 6, 40)
    stacked = Frames(torch.stack([x.frames.rotation for x in layers]), torch.stack([x.frames.origin for x in layers]))
    mask, config = torch.tensor([True, True, False, True, True, True]), FapeConfig()
    chain = torch.tensor([0, 0, 0, 1, 1, 1])
    same = chain[:, None] == chain[None, :]
    true = FramedPoints(truth.frames, truth.frames.origin, mask, mask)
    found = [FramedPoints(x.frames, x.frames.origin) for x in layers]

    def mean(clamp, unit, pairs) -> float:
        return sum(_slow_fape(x, true, clamp, unit, pairs) for x in found) / 2

    everything = torch.ones(6, 6, dtype=torch.bool)
    assert float(backbone_fape(stacked, truth.frames, mask, config)) == pytest.approx(mean(10.0, 10.0, everything))
    free = backbone_fape(stacked, truth.frames, mask, config, clamped=False)
    assert float(free) == pytest.approx(mean(None, 10.0, everything))
    both = backbone_fape(stacked, truth.frames, mask, config, same)
    assert float(both) == pytest.approx(mean(10.0, 10.0, same) + mean(30.0, 20.0, ~same))
    assert float(local_fape(stacked, truth.frames, mask, same, config)) == pytest.approx(mean(10.0, 10.0, same))


def test_fape_has_right_gradients_also_at_the_truth_and_in_parts(monkeypatch) -> None:
    true = _framed(4, 5, 50)
    wrong = _framed(4, 5, 60)

    def loss(points: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
        return fape(FramedPoints(Frames(wrong.frames.rotation, origin), points), true, 15.0)

    arguments = wrong.points.clone().requires_grad_(), wrong.frames.origin.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, arguments)
    whole = torch.autograd.grad(loss(*arguments), arguments)
    monkeypatch.setattr(alphafold2_fape, "_PAIRS_AT_ONCE", 10)
    for a, b in zip(whole, torch.autograd.grad(loss(*arguments), arguments), strict=True):
        torch.testing.assert_close(a, b)
    exact = true.points.clone().requires_grad_()
    fape(FramedPoints(true.frames, exact), true).backward()
    assert bool(torch.isfinite(exact.grad).all())


def test_chi_loss_takes_the_nearer_of_two_equal_chis() -> None:
    target = part(read_target(packaged_protein()), 0, 40)
    ideal = tables()
    true, symmetric = target.torsions(ideal), ideal.chi_symmetric[target.residue_type]
    assert bool((symmetric & true.mask[:, 3:]).any())
    exact = true.values[None].expand(2, -1, -1, -1)
    assert float(chi_loss(exact, true, symmetric)) == 0.0
    turned = exact.clone()
    turned[..., 3:, :] *= torch.where(symmetric, -1.0, 1.0).unsqueeze(-1)
    assert float(chi_loss(turned, true, symmetric)) == 0.0
    assert float(chi_loss(turned, true, torch.zeros_like(symmetric))) > 0.1
    # A quarter turn is sqrt(2) off on the circle, whichever of the two is taken; all chis turned count 2.
    quarter = torch.stack([exact[..., 1], -exact[..., 0]], dim=-1)
    assert float(chi_loss(quarter, true, symmetric)) == pytest.approx(2.0)
    # Backbone torsions do not count.
    other = exact.clone()
    other[..., :3, :] = -other[..., :3, :]
    assert float(chi_loss(other, true, symmetric)) == 0.0
    mask = torch.ones(40, dtype=torch.bool)
    assert float(angle_norm_loss(3 * _unit_pairs(2, 40), mask)) == pytest.approx(2.0, abs=1e-6)
    assert float(angle_norm_loss(_unit_pairs(2, 40), mask)) < 1e-6
    zero = torch.zeros(2, 40, 7, 2, dtype=torch.float64, requires_grad=True)
    angle_norm_loss(zero, mask).backward()
    assert bool(torch.isfinite(zero.grad).all())


def _unit_pairs(*shape: int) -> torch.Tensor:
    angle = _noise(*shape, 7)
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


def _swapped(target: StructureTarget, rows: list[int]) -> torch.Tensor:
    partner = tables().atom_partner[target.residue_type]
    atoms = target.atoms.clone()
    for row in rows:
        atoms[row] = target.atoms[row][partner[row]]
    return atoms


def test_renaming_takes_the_names_that_fit() -> None:
    target, ideal = part(read_target(packaged_protein()), 0, 60), tables()
    partner = ideal.atom_partner[target.residue_type]
    rows = ((partner != torch.arange(14)).any(-1) & complete(target)).nonzero()[:, 0].tolist()
    kinds = {RESIDUE_TYPES[int(target.residue_type[row])] for row in rows}
    assert kinds == {"ASP", "GLU", "PHE", "TYR"}
    predicted = target.atoms + 0.1 * _noise(60, 14, 3, seed=7)
    wrong = _swapped(target, rows[::2])
    arguments = (target.atom_mask, target.residue_type, ideal)
    assert torch.equal(rename_symmetric_atoms(predicted, wrong, *arguments), target.atoms)
    assert torch.equal(rename_symmetric_atoms(predicted, target.atoms, *arguments), target.atoms)
    # Turned and moved, too: only distances are compared.
    moved = rotate(predicted.flatten(0, 1), _rotations(1, 8)[0]).reshape(60, 14, 3) + 50
    assert torch.equal(rename_symmetric_atoms(moved, wrong, *arguments), target.atoms)
    # Whatever the prediction, the names taken fit at least as well as the other ones, residue by residue.
    random = target.atoms + 3 * _noise(60, 14, 3, seed=9)
    chosen = rename_symmetric_atoms(random, target.atoms, *arguments)
    certain = target.atom_mask & (partner == torch.arange(14))
    for row in rows:
        own = (partner[row] != torch.arange(14)).nonzero()[:, 0]
        found = torch.cdist(random[row, own], random[certain])
        errors = [
            float((torch.cdist(x[row, own], target.atoms[certain]) - found).abs().sum())
            for x in (chosen, _swapped(replace(target, atoms=chosen), [row]))
        ]
        assert errors[0] <= errors[1]
    assert not torch.equal(chosen, target.atoms)
    # Half a pair is left alone.
    half = target.atom_mask.clone()
    names = atom14_names(RESIDUE_TYPES[int(target.residue_type[rows[0]])])
    half[rows[0], names.index({"D": "OD1", "E": "OE1"}.get(names[-1][1], "CD1"))] = False
    kept = rename_symmetric_atoms(predicted, wrong, half, target.residue_type, ideal)
    pair = [i for i in range(14) if not half[rows[0], i] or not half[rows[0], int(partner[rows[0], i])]]
    assert torch.equal(kept[rows[0], pair], wrong[rows[0], pair])


def _prediction(target: StructureTarget, noise: float) -> StructurePrediction:
    """Built from the true frames and torsions, and something else in a first layer."""
    ideal = tables(target.atoms.dtype)
    frames, _ = residue_frames(target.atoms, target.atom_mask, target.residue_type, ideal)
    backbone = Frames(frames.rotation[:, 0], frames.origin[:, 0] + noise * _noise(len(target.atoms), 3, seed=11))
    torsions = target.torsions(ideal).values + torch.tensor([0.0, 1e-9])  # unknown ones are 0
    groups = torsion_frames(backbone, torsions / torsions.norm(dim=-1, keepdim=True), target.residue_type, ideal)
    atoms = atom14_positions(groups, target.residue_type, ideal)
    layers = Frames(backbone.rotation.expand(2, -1, -1, -1), backbone.origin.expand(2, -1, -1))
    both = torsions.expand(2, -1, -1, -1)
    return StructurePrediction(layers, both, both, groups, atoms)


def test_structure_losses_know_the_truth_under_any_names() -> None:
    target, ideal, config = part(read_target(packaged_protein()), 20, 50), tables(), AlphaFold2LossConfig()
    assert target.chain is not None
    target = replace(target, chain=None)
    rows = (ideal.atom_partner[target.residue_type] != torch.arange(14)).any(-1).nonzero()[:, 0].tolist()
    renamed = replace(target, atoms=_swapped(target, rows))
    exact = structure_losses(_prediction(target, 0.0), target, ideal, config)
    other = structure_losses(_prediction(target, 0.0), renamed, ideal, config)
    assert float(exact["backbone_fape"]) == pytest.approx(1e-3, abs=1e-9)
    assert float(exact["side_chain_fape"]) < 0.11  # this entry's bond angles; 0.04 in those of 1.5 Å
    assert float(exact["chi"]) == pytest.approx(0.0, abs=1e-12)
    for name in ("backbone_fape", "local_fape", "side_chain_fape"):
        assert float(other[name]) == pytest.approx(float(exact[name]), abs=1e-9)
    assert float(other["chi"]) < 5e-3  # the two carboxylate oxygens are not quite half a turn apart
    worse = structure_losses(_prediction(target, 1.0), target, ideal, config)
    assert float(worse["backbone_fape"]) > 0.1
    assert float(worse["side_chain_fape"]) > 0.1
    total = alphafold2_loss(config, worse, residues=30)
    expected = math.sqrt(30) * sum(getattr(config, name) * float(value) for name, value in worse.items())
    assert float(total.total) == pytest.approx(expected)
    assert set(total.terms) == {*worse, "total"}
    with pytest.raises(ValueError, match="expected terms among"):
        alphafold2_loss(config, {"fape": worse["chi"]}, residues=30)
    with pytest.raises(ValueError, match="none"):
        alphafold2_loss(config, {}, residues=30)


def test_two_chains_change_the_backbone_term_and_links() -> None:
    target, config = part(read_target(packaged_protein()), 20, 50), AlphaFold2LossConfig()
    chains = replace(target, chain=torch.arange(30) // 15)
    assert chains.follows.tolist() == [i not in (0, 15) for i in range(30)]
    assert chain_links(torch.tensor([4, 5, 9, 10])).tolist() == [False, True, False, True]
    one = structure_losses(_prediction(target, 1.0), replace(target, chain=None), tables(), config)
    two = structure_losses(_prediction(target, 1.0), chains, tables(), config)
    assert float(one["backbone_fape"]) != float(two["backbone_fape"])
    assert float(one["side_chain_fape"]) == float(two["side_chain_fape"])
    assert not bool(chains.torsions(tables()).mask[15, :2].any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_structure_losses_train(dtype) -> None:
    """Gradients are finite and reach frames, torsions and atoms, in either precision."""
    target = part(read_target(packaged_protein(), dtype), 20, 40)
    ideal, backbone = tables(dtype), torch.zeros(20, 3, dtype=dtype, requires_grad=True)
    raw = _noise(2, 20, 7, 2, seed=12).to(dtype).requires_grad_()
    torsions = raw / raw.norm(dim=-1, keepdim=True)
    # The black hole: all residues in one place.
    frames = Frames(torch.eye(3, dtype=dtype).expand(20, 3, 3), backbone)
    groups = torsion_frames(frames, torsions[-1], target.residue_type, ideal)
    layers = Frames(frames.rotation.expand(2, -1, -1, -1), backbone.expand(2, -1, -1))
    atoms = atom14_positions(groups, target.residue_type, ideal)
    terms = structure_losses(
        StructurePrediction(layers, torsions, raw, groups, atoms), target, ideal, AlphaFold2LossConfig()
    )
    loss = alphafold2_loss(AlphaFold2LossConfig(), terms, 20).total
    assert loss.dtype == dtype
    loss.backward()
    for gradient in (backbone.grad, raw.grad):
        assert bool(torch.isfinite(gradient).all())
        assert float(gradient.abs().max()) > 0


def test_heads_against_their_definitions() -> None:
    target = part(read_target(packaged_protein()), 0, 30)
    ca, mask = target.atoms[:, 1], torch.rand(30, generator=torch_generator(1)) < 0.7
    i, j = mask.nonzero()[:, 0].tolist(), mask.nonzero()[:, 0].tolist()
    # Distogram: 64 bins; the boundaries are 2.3125, 2.625, ..., 21.6875 Å.
    logits = _noise(30, 30, 64, seed=2)
    expected = []
    for a in i:
        for b in j:
            k = sum(float((ca[a] - ca[b]).norm()) > 2.3125 + 0.3125 * step for step in range(63))
            expected.append(float(-logits[a, b].log_softmax(-1)[k]))
    assert float(distogram_loss(logits, ca, mask)) == pytest.approx(np.mean(expected))
    # Masked MSA.
    msa, true = _noise(4, 30, 23, seed=3), torch.randint(0, 22, (4, 30), generator=torch_generator(4))
    masked = torch.rand(4, 30, generator=torch_generator(5)) < 0.15
    assert float(masked_msa_loss(msa, true, masked)) == pytest.approx(float(cross_entropy(msa[masked], true[masked])))
    assert float(masked_msa_loss(msa, true, masked & False)) == 0.0
    # Experimentally resolved.
    resolved, exists = torch.rand(30, 37) < 0.5, torch.rand(30, 37) < 0.5
    raw = _noise(30, 37, seed=6)
    chance = torch.where(resolved, raw.sigmoid(), 1 - raw.sigmoid())[exists]
    assert float(experimentally_resolved_loss(raw, resolved, exists)) == pytest.approx(float(-chance.log().mean()))
    # pLDDT: of a perfect prediction, the last of 50 bins.
    certain = torch.full((30, 50), -50.0).double()
    certain[:, 49] = 50.0
    assert float(plddt_loss(certain, ca + 3, ca, mask)) == pytest.approx(0.0, abs=1e-12)
    assert float(plddt_loss(certain, ca + 3 * _noise(30, 3), ca, mask)) > 20
    assert float(masked_msa_loss(msa.half(), true, masked)) == pytest.approx(
        float(masked_msa_loss(msa, true, masked)), rel=1e-2
    )


def test_lddt_is_that_of_the_metrics() -> None:
    from anfinsen.metrics import lddt

    target = part(read_target(packaged_protein()), 0, 80)
    ca = target.atoms[:, 1]
    predicted = ca + _noise(80, 3, seed=3)
    mask = torch.ones(80, dtype=torch.bool)
    mask[10:14] = False
    kept = mask.numpy()
    expected = lddt(predicted.numpy()[kept], ca.numpy()[kept]).per_atom
    np.testing.assert_allclose(ca_lddt(predicted, ca, mask).numpy()[kept], expected, atol=1e-9)


def test_predicted_aligned_error_bins() -> None:
    n = 5
    true = Frames(_rotations(n, 1), 10 * _noise(n, 3, seed=2))
    shifted = Frames(true.rotation, true.origin.clone())
    shifted.origin[4, 0] += 1.3  # between 1.0 and 1.5 Å: the fourth bin, after the one of exactly 0
    logits = torch.zeros(n, n, 64).double()
    for wanted, frames in ((0, true), (3, shifted)):
        sure = logits.clone()
        sure[0, 4, wanted] = 60.0
        only = torch.tensor([True, False, False, False, True])
        loss = float(predicted_aligned_error_loss(sure, frames, true, only))
        assert loss == pytest.approx(3 / 4 * math.log(64), abs=1e-6)
    # Seen from the residue that moved, all others have moved by as much.
    seen = predicted_aligned_error_loss(logits, shifted, true, torch.ones(n, dtype=torch.bool))
    assert float(seen) == pytest.approx(math.log(64))
