"""Arcs on the sphere of embeddings."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from anfinsen.common.seeding import torch_generator
from anfinsen.images.dalle2 import slerp, text_difference


def unit(label: str, count: int = 5, c: int = 7) -> torch.Tensor:
    return F.normalize(torch.randn((count, c), generator=torch_generator(0, label), dtype=torch.float64), dim=-1)


def angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return 2 * torch.asin((a - b).norm(dim=-1) / 2)


@settings(deadline=None)
@given(st.floats(0, 1))
def test_the_angle_grows_evenly_along_the_arc(weight: float) -> None:
    a, b = unit("a"), unit("b")
    point = slerp(a, b, weight)
    torch.testing.assert_close(point.norm(dim=-1), torch.ones(5).double())
    torch.testing.assert_close(angle(a, point), weight * angle(a, b), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(angle(point, b), (1 - weight) * angle(a, b), rtol=1e-6, atol=1e-6)


def test_a_quarter_circle() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    half = math.sqrt(0.5)
    torch.testing.assert_close(slerp(a, b, 1 / 3), torch.tensor([math.cos(math.pi / 6), 0.5]))
    torch.testing.assert_close(slerp(a, b, 0.5), torch.tensor([half, half]))


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_and_opposite_vectors_give_finite_unit_vectors(sign: int) -> None:
    a = unit("a").float()
    point = slerp(a, sign * a, 0.3)
    torch.testing.assert_close(point.norm(dim=-1), torch.ones(5))
    if sign == 1:
        torch.testing.assert_close(point, a)


def test_a_text_difference_turns_the_image_toward_the_new_text() -> None:
    image, before, after = unit("image"), unit("before"), unit("after")
    torch.testing.assert_close(text_difference(image, before, after, 0.0), image)
    direction = F.normalize(after - before, dim=-1)
    turned = [angle(text_difference(image, before, after, weight), direction) for weight in (0.0, 0.2, 0.4, 1.0)]
    assert all(bool((a > b).all()) for a, b in pairwise(turned))
    torch.testing.assert_close(turned[-1], torch.zeros(5).double(), rtol=0, atol=1e-6)
