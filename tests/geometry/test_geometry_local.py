"""Frames, dihedrals, building and bins, against biotite and constructed cases."""

import math

import biotite.structure as struc
import numpy as np
import pytest
import torch

from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import (
    angles,
    backbone_from_dihedrals,
    bin_boundaries,
    bin_centres,
    bin_index,
    bisector_frames,
    dihedrals,
    express_in_frames,
    gram_schmidt_frames,
    ideal_cbeta,
    pairwise_distances,
    place_atom,
    random_rotations,
    rotate,
)


def _points(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn((*shape, 3), generator=torch_generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("build", [gram_schmidt_frames, bisector_frames])
def test_frames_are_orthonormal_and_local_coordinates_invariant(build) -> None:
    x = _points(3, 9)
    frames = build(*x)
    identity = torch.eye(3, dtype=torch.float64).expand(9, 3, 3)
    torch.testing.assert_close(frames.rotation.mT @ frames.rotation, identity, atol=1e-12, rtol=0)
    assert bool((torch.linalg.det(frames.rotation) > 0.999).all())
    points = _points(20, seed=1)
    local = express_in_frames(points, frames)
    assert local.shape == (9, 20, 3)

    turn = random_rotations(1, torch_generator(2))[0].double()
    moved = build(*(rotate(part, turn) + 7 for part in x))
    torch.testing.assert_close(express_in_frames(rotate(points, turn) + 7, moved), local, atol=1e-5, rtol=0)
    # a mirror image is seen differently
    mirrored = express_in_frames(points * -1, build(*(-x)))
    assert (mirrored - local).abs().max() > 1


def test_axes_point_where_they_should() -> None:
    n = torch.tensor([0.5, 1.3, 0.0], dtype=torch.float64)
    ca = torch.zeros(3, dtype=torch.float64)
    c = torch.tensor([1.5, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(gram_schmidt_frames(n, ca, c).rotation, torch.eye(3, dtype=torch.float64))
    bisector = bisector_frames(torch.tensor([1.0, -1.0, 0.0]), torch.zeros(3), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(bisector.rotation, torch.eye(3))


def test_degenerate_frames_stay_finite() -> None:
    zero = torch.zeros((2, 3), requires_grad=True)
    for build in (gram_schmidt_frames, bisector_frames):
        rotation = build(zero, zero, zero).rotation
        assert torch.isfinite(rotation).all()
        (gradient,) = torch.autograd.grad(rotation.sum(), zero)
        assert torch.isfinite(gradient).all()


def test_angles_and_dihedrals_are_biotites() -> None:
    a, b, c, d = _points(4, 50)
    expected = struc.dihedral(a.numpy(), b.numpy(), c.numpy(), d.numpy())
    np.testing.assert_allclose(dihedrals(a, b, c, d).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(angles(a, b, c).numpy(), struc.angle(a.numpy(), b.numpy(), c.numpy()), atol=1e-6)


def test_place_atom_has_the_internal_coordinates_asked_for() -> None:
    a, b, c = _points(3, 40)
    generator = torch_generator(1)
    length = 1 + torch.rand(40, generator=generator, dtype=torch.float64)
    angle = 0.3 + 2.5 * torch.rand(40, generator=generator, dtype=torch.float64)
    dihedral = (torch.rand(40, generator=generator, dtype=torch.float64) - 0.5) * 6.2
    d = place_atom(a, b, c, length, angle, dihedral)
    torch.testing.assert_close((d - c).norm(dim=-1), length)
    torch.testing.assert_close(angles(b, c, d), angle)
    torch.testing.assert_close(dihedrals(a, b, c, d), dihedral)


def test_ideal_helix() -> None:
    n = 12
    phi, psi, omega = (torch.full((n,), math.radians(v), dtype=torch.float64) for v in (-57.8, -47.0, 180.0))
    backbone = backbone_from_dihedrals(phi, psi, omega)
    nitrogen, ca, carbon = backbone.unbind(1)
    torch.testing.assert_close(dihedrals(carbon[:-1], nitrogen[1:], ca[1:], carbon[1:]), phi[1:])
    torch.testing.assert_close(dihedrals(nitrogen[:-1], ca[:-1], carbon[:-1], nitrogen[1:]), psi[:-1])
    torch.testing.assert_close(angles(nitrogen, ca, carbon), torch.full((n,), math.radians(111.0)).double())
    # An alpha helix rises 1.5 Å a residue: 3.6 residues a turn, 5.4 Å.
    rise = (ca[-1] - ca[0]).norm().item() / (n - 1)
    assert rise == pytest.approx(1.5, abs=0.1)
    # right-handed
    assert dihedrals(ca[0], ca[1], ca[2], ca[3]).item() == pytest.approx(math.radians(50), abs=0.1)
    # trans CA-CA distance
    assert (ca[1] - ca[0]).norm().item() == pytest.approx(3.8, abs=0.03)


def test_cbeta_has_l_chirality_and_standard_geometry() -> None:
    """The ideal alanine of the CCD (L)."""
    import biotite.structure.info as info

    alanine = info.residue("ALA")
    n, ca, c, cb = (
        torch.from_numpy(alanine.coord[alanine.atom_name == name][0]).double() for name in ("N", "CA", "C", "CB")
    )
    assert (ideal_cbeta(n, ca, c) - cb).norm().item() < 0.1
    assert angles(c, ca, ideal_cbeta(n, ca, c)).item() == pytest.approx(math.radians(110.1), abs=0.03)


def test_bins() -> None:
    boundaries = bin_boundaries(2.3125, 21.6875, 64)
    assert len(boundaries) == 63
    assert boundaries.diff().mean().item() == pytest.approx(0.3125, abs=1e-5)
    values = torch.tensor([0.0, 2.4, 21.6, 500.0])
    assert bin_index(values, boundaries).tolist() == [0, 1, 62, 63]
    centres = bin_centres(2.3125, 21.6875, 64)
    assert bin_index(centres, boundaries).tolist() == list(range(64))
    # the 64 bins of 0.5 Å of PAE
    pae = bin_centres(0.5, 31.5, 64)
    torch.testing.assert_close(pae, torch.arange(64) * 0.5 + 0.25)


def test_distances_are_exact_far_from_the_origin() -> None:
    x = torch.tensor([[2560.0, 0, 0], [2560.0, 0.01, 0]])
    assert pairwise_distances(x)[0, 1].item() == pytest.approx(0.01, rel=1e-4)
    assert pairwise_distances(x, x[:1]).shape == (2, 1)
