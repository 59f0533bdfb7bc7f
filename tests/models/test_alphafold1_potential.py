"""AlphaFold 1's potential: splines against SciPy, gradients against differences, backbones against building by atom."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from anfinsen.geometry import backbone_from_dihedrals, dihedrals, pairwise_distances
from anfinsen.models.alphafold1 import (
    Backbone,
    PairMaps,
    Potential,
    PotentialConfig,
    TermWeights,
    angle_centres,
    backbone_of_frames,
    backbone_of_torsions,
    bond_term,
    distance_bins,
    distance_centres,
    frames_of_backbone,
    native_maps,
    natural_splines,
    orientations,
    periodic_splines,
    torsions,
)
from anfinsen.models.alphafold1.potential import von_mises_fit

KNOTS = torch.linspace(2.0, 7.5, 12, dtype=torch.float64)


def _chain(length: int, seed: int, copies: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Torsions of helices and strands with noise, double precision."""
    generator = torch.Generator().manual_seed(seed)
    helix = torch.rand(copies, length // 8 + 1, generator=generator).repeat_interleave(8, dim=1)[:, :length] < 0.5
    phi = torch.where(helix, -57.0, -115.0) + 12 * torch.randn(copies, length, generator=generator)
    psi = torch.where(helix, -47.0, 130.0) + 12 * torch.randn(copies, length, generator=generator)
    return torch.deg2rad(phi).double(), torch.deg2rad(psi).double()


def _values(curves: int, knots: int) -> torch.Tensor:
    return torch.randn(curves, knots, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_natural_splines_are_scipys_and_exact_at_the_knots():
    values = _values(5, 12)
    splines = natural_splines(values, 2.0, 0.5)
    torch.testing.assert_close(splines(KNOTS[:, None].expand(-1, 5)), values.T, atol=1e-12, rtol=0)
    x = torch.rand(40, 5, dtype=torch.float64) * 5.5 + 2.0
    expected = [CubicSpline(KNOTS.numpy(), values[p].numpy(), bc_type="natural")(x[:, p].numpy()) for p in range(5)]
    np.testing.assert_allclose(splines(x).T.numpy(), np.stack(expected), atol=1e-10)


def test_natural_splines_go_on_straight_and_stop_where_told():
    values = _values(1, 12)
    at = lambda *x: torch.tensor([[v] for v in x], dtype=torch.float64)  # noqa: E731 (three letters, many uses)
    line = natural_splines(values, 2.0, 0.5)(at(1.0, 1.5, 2.0, 7.5, 8.0, 8.5))[:, 0]
    torch.testing.assert_close(line[1] - line[0], line[2] - line[1])
    torch.testing.assert_close(line[4] - line[3], line[5] - line[4])
    slope = natural_splines(values, 2.0, 0.5)(at(2.0, 2.0 + 1e-6))[:, 0]
    torch.testing.assert_close((slope[1] - slope[0]) / 1e-6, (line[2] - line[1]) / 0.5, atol=1e-4, rtol=1e-4)
    x = at(5.3, 6.0, 30.0).requires_grad_()
    flat = natural_splines(values, 2.0, 0.5, flat_from=5.3)(x)
    assert flat[0] == flat[1] == flat[2]
    flat[1:].sum().backward()
    assert not x.grad[1:].any()


@pytest.mark.parametrize("knots", [7, 24])
def test_periodic_splines_are_scipys(knots):
    values = _values(3, knots)
    splines = periodic_splines(values, -math.pi, 2 * math.pi)
    places = -math.pi + 2 * math.pi * torch.arange(knots + 1, dtype=torch.float64) / knots
    closed = torch.cat([values, values[:, :1]], dim=1)
    x = torch.rand(50, 3, dtype=torch.float64) * 20 - 10
    expected = [CubicSpline(places.numpy(), closed[p].numpy(), bc_type="periodic")(x[:, p].numpy()) for p in range(3)]
    np.testing.assert_allclose(splines(x).T.numpy(), np.stack(expected), atol=1e-9)
    torch.testing.assert_close(splines(places[:-1, None].expand(-1, 3)), values.T, atol=1e-12, rtol=0)


def test_spline_gradients_are_those_of_differences():
    x = torch.rand(4, 5, dtype=torch.float64) * 8 + 0.5
    splines = natural_splines(_values(5, 12), 2.0, 0.5, flat_from=6.8)
    assert torch.autograd.gradcheck(splines, x.requires_grad_())
    assert torch.autograd.gradcheck(periodic_splines(_values(5, 9), 0.3, 2 * math.pi), x)


def test_parallel_building_is_atom_by_atom_building():
    phi, psi = _chain(37, 0, copies=3)
    built = backbone_of_torsions(phi, psi)
    for copy in range(3):
        expected = backbone_from_dihedrals(phi[copy], psi[copy], torch.full_like(phi[copy], math.pi))
        found = torch.stack([built.n[copy], built.ca[copy], built.c[copy]], dim=1)
        torch.testing.assert_close(
            pairwise_distances(found.flatten(0, 1)), pairwise_distances(expected.flatten(0, 1)), atol=1e-9, rtol=0
        )
    again = torsions(built)
    torch.testing.assert_close(torch.cos(again[0][:, 1:] - phi[:, 1:]), torch.ones_like(phi[:, 1:]))
    torch.testing.assert_close(torch.cos(again[1][:, :-1] - psi[:, :-1]), torch.ones_like(psi[:, :-1]))
    assert bond_term(built).max() < 1e-3


def test_frames_give_the_backbone_back():
    built = backbone_of_torsions(*_chain(20, 3, copies=2))
    again = backbone_of_frames(*frames_of_backbone(built.n, built.ca, built.c))
    torch.testing.assert_close(again.atoms, built.atoms, atol=1e-9, rtol=0)


def test_carbonyl_oxygen_lies_trans_to_the_next_nitrogen():
    built = backbone_of_torsions(*_chain(12, 4))
    oxygen = built.oxygen
    torch.testing.assert_close((oxygen - built.c).norm(dim=-1), torch.full((1, 12), 1.231, dtype=torch.float64))
    # O, C, N, CA of the next residue: cis, as in every peptide.
    across = dihedrals(oxygen[:, :-1], built.c[:, :-1], built.n[:, 1:], built.ca[:, 1:])
    assert across.abs().max() < math.radians(3.0)


def _maps(length: int, seed: int) -> tuple[PairMaps, Backbone]:
    built = backbone_of_torsions(*(angle.float() for angle in _chain(length, seed)))
    return native_maps(built), built


@pytest.mark.parametrize("form", ["joint", "von_mises"])
def test_potential_gradient_is_that_of_differences(form):
    maps, _ = _maps(16, 5)
    potential = Potential(maps, config=PotentialConfig(torsion_form=form))
    generator = torch.Generator().manual_seed(2)
    phi, psi = _chain(16, 6)
    built = backbone_of_torsions(phi, psi)
    quaternion, origin = frames_of_backbone(built.n, built.ca, built.c)
    # Crushed together a little, so that some atoms clash.
    x = torch.cat([quaternion, 0.45 * origin], dim=-1).requires_grad_()

    def energy(point: torch.Tensor) -> torch.Tensor:
        return potential(backbone_of_frames(point[..., :4], point[..., 4:]))

    terms = potential.terms(backbone_of_frames(x[..., :4], x[..., 4:]))
    assert all(value.abs() > 1e-3 for value in terms.values())
    (gradient,) = torch.autograd.grad(energy(x).sum(), x)
    for _ in range(5):
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        step = 1e-5 * direction / direction.norm()
        with torch.no_grad():
            difference = (energy(x + step) - energy(x - step)).item() / 2e-5
        assert (gradient * step / 1e-5).sum().item() == pytest.approx(difference, rel=2e-4, abs=1e-3)


def test_potential_is_the_weighted_sum_of_its_terms_and_lowest_at_the_truth():
    maps, built = _maps(24, 7)
    potential = Potential(maps)
    weights = TermWeights(0.7, 1.3, 0.4, 2.0, 9.0)
    other = backbone_of_torsions(*(angle.float() for angle in _chain(24, 8, copies=3)))
    terms = potential.terms(other)
    expected = sum(getattr(weights, name) * value for name, value in terms.items())
    torch.testing.assert_close(potential(other, weights), expected, rtol=1e-5, atol=1e-2)
    assert (potential(other) > potential(built)).all()


def test_reference_state_is_subtracted_and_far_pairs_are_flat():
    maps, built = _maps(20, 9)
    # What the sequence says is what every sequence says: no pair prefers any distance.
    nothing = Potential(PairMaps(maps.distogram), maps.distogram).terms(built)["distance"]
    assert nothing.abs().max() < 1e-3
    stretched = Backbone(*(100 * part for part in vars(built).values()))
    assert Potential(maps).terms(stretched)["distance"].abs().max() < 1e-3


def test_energy_does_not_change_when_a_structure_moves():
    maps, built = _maps(18, 10)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    turn = turn * torch.linalg.det(turn)
    moved = Backbone(*(part @ turn.T + 5.0 for part in vars(built).values()))
    potential = Potential(maps)
    torch.testing.assert_close(potential(moved), potential(built), rtol=1e-4, atol=0.5)


def test_mirror_image_has_a_higher_potential():
    maps, built = _maps(30, 11)
    mirror = Backbone.of(
        torch.stack([part * torch.tensor([1.0, 1.0, -1.0]) for part in (built.n, built.ca, built.c)], 2)
    )
    for seen in (maps, PairMaps(maps.distogram), PairMaps(maps.distogram, maps.torsion)):
        assert Potential(seen)(mirror) > Potential(seen)(built) + 5.0


def test_glycine_has_no_clashing_cb():
    built = backbone_of_torsions(*(angle.float() for angle in _chain(30, 12)))
    crushed = Backbone.of(0.6 * torch.stack([built.n, built.ca, built.c], 2))
    glycine = torch.ones(30, dtype=torch.bool)
    maps = native_maps(built)
    assert Potential(maps, glycine=glycine).terms(crushed)["clash"] < Potential(maps).terms(crushed)["clash"]


def test_bins_and_centres_agree():
    assert distance_bins(distance_centres(64), 64).tolist() == list(range(64))
    assert distance_bins(torch.tensor([0.0, 2.31, 2.32, 21.7, 99.0]), 64).tolist() == [0, 0, 1, 63, 63]
    assert float(angle_centres(36)[0]) == pytest.approx(-math.pi + math.radians(5))


def test_orientations_follow_their_definition():
    built = backbone_of_torsions(*_chain(10, 13))
    found = orientations(built, torch.tensor([2, 7]), torch.tensor([7, 2]))
    # omega is the same from both sides.
    torch.testing.assert_close(found.omega[0, 0], found.omega[0, 1])
    a, b = built.cb[0, 2] - built.ca[0, 2], built.cb[0, 7] - built.cb[0, 2]
    cosine = -(a @ b) / a.norm() / b.norm()
    torch.testing.assert_close(torch.cos(found.phi[0, 0]), cosine)


def test_von_mises_fit_finds_mean_and_concentration():
    centres = angle_centres(360)
    mean, concentration = torch.tensor([0.5, -3.0, 2.0]), torch.tensor([0.7, 4.0, 30.0])
    density = torch.exp(concentration[:, None] * (torch.cos(centres - mean[:, None]) - 1))
    found = von_mises_fit(density / density.sum(1, keepdim=True), centres)
    torch.testing.assert_close(found[0], mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1], concentration, rtol=0.05, atol=0)
