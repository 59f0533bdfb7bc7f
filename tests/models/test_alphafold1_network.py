"""AlphaFold 1's network: sizes of the paper, receptive field, and maps put together from tiles."""

import math

import pytest
import torch

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError
from anfinsen.models.alphafold1 import (
    PRESETS,
    AlphaFold1,
    AlphaFold1Config,
    CropLogits,
    Crops,
    ResidueLogits,
    TilingConfig,
    Tower,
    alphafold1_config,
    count_tiles,
    cut,
    predict_maps,
    tile_starts,
)
from anfinsen.models.alphafold1.network import ResidualBlock
from anfinsen.models.alphafold1.tiling import centre_weights

TINY = AlphaFold1Config(
    c_single_in=5, c_pair_in=3, towers=(Tower(1, 8), Tower(1, 6)), crop=16, torsions=6, dihedrals=4, angles=3
)


def _features(length: int, config: AlphaFold1Config = TINY, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    single = torch.randn(length, config.c_single_in, generator=generator)
    return single, torch.randn(length, length, config.c_pair_in, generator=generator)


def _model(config: AlphaFold1Config = TINY) -> AlphaFold1:
    """Every weight random: blocks begin as the identity, and would hide mistakes."""
    torch.manual_seed(1)
    model = AlphaFold1(config)
    for module in model.modules():
        if isinstance(module, ResidualBlock):
            torch.nn.init.normal_(module.up.weight, std=0.3)
    torch.nn.init.normal_(model.position_bias.weight)
    return model.eval()


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def full() -> AlphaFold1:
    return AlphaFold1(PRESETS["full"])


def test_full_has_the_papers_blocks(full):
    assert full.config.blocks == 220
    assert full.config.receptive_field == 1 + 2 * 15 * 55
    blocks = [m for m in full.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == 220
    assert [block.dilated.dilation[0] for block in blocks] == [1, 2, 4, 8] * 55
    assert [block.down.in_channels for block in blocks] == [256] * 28 + [128] * 192


def test_full_parameters_are_those_of_the_papers_block(full):
    """By hand: 1x1 down to half, 3x3, 1x1 up, each with its bias, and a scale and shift before each."""

    def block(c: int) -> int:
        h = c // 2
        return (c * h + h) + (9 * h * h + h) + (h * c + c) + 2 * (c + h + h)

    expected = 28 * block(256) + (256 * 128 + 128) + 192 * block(128)
    assert _count(full.blocks) == expected == 16_410_752
    # The paper says 21 million without saying where; its blocks as it draws them hold 16.4, heads and inputs the rest.
    assert 16_800_000 < _count(full) < 17_100_000


def test_mini_is_small_and_sees_far():
    model = AlphaFold1(PRESETS["mini"])
    assert 250_000 < _count(model) < 1_000_000
    assert PRESETS["mini"].receptive_field >= 2 * PRESETS["mini"].crop


def test_output_sees_exactly_the_receptive_field():
    config = AlphaFold1Config(c_single_in=2, c_pair_in=2, towers=(Tower(1, 4),), crop=48, torsions=4)
    assert config.receptive_field == 31
    model = _model(config)
    single, pair = _features(48, config)
    crops = cut(single, pair, [(0, 0)], 48)
    x = model.embedding(crops).detach().requires_grad_()
    model.blocks(x)[0, :, 24, 24].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    rows = seen.any(1).nonzero()[:, 0]
    assert (int(rows.min()), int(rows.max())) == (24 - 15, 24 + 15)
    assert seen.any(0).nonzero()[:, 0].tolist() == rows.tolist()


def test_presets_survive_a_trip_through_plain_mappings():
    for name, config in PRESETS.items():
        assert from_mapping(AlphaFold1Config, to_mapping(config)) == alphafold1_config(name)
    with pytest.raises(ConfigError, match="'huge': expected one of full, mini"):
        alphafold1_config("huge")
    with pytest.raises(ValueError, match="both or neither"):
        AlphaFold1Config(dihedrals=24)


def test_padding_says_nothing():
    model = _model()
    single, pair = _features(10)
    crops = cut(single, pair, [(-3, -2)], 16)
    assert crops.row_mask[0].tolist() == [False] * 3 + [True] * 10 + [False] * 3
    loud = Crops(**{**vars(crops), "pair": torch.where(crops.mask[..., None], crops.pair, 7.0)})
    a, b = (model(c) for c in (crops, loud))
    inside = crops.mask
    torch.testing.assert_close(a.distogram[inside], b.distogram[inside])
    torch.testing.assert_close(a.rows.torsion[crops.row_mask], b.rows.torsion[crops.row_mask])


def test_rows_and_columns_are_the_same_residues():
    """The crop of the transposed pairs says of its columns what the crop itself says of its rows."""
    model = _model()
    single, pair = _features(16)
    with torch.no_grad():
        # A network that cannot tell rows from columns.
        model.embedding.column.weight.copy_(model.embedding.row.weight)
        model.embedding.separation.weight.zero_()
        for block in model.modules():
            if isinstance(block, ResidualBlock):
                block.dilated.weight.copy_((block.dilated.weight + block.dilated.weight.transpose(2, 3)) / 2)
        forward = model(cut(single, pair, [(0, 0)], 16))
        backward = model(cut(single, pair.transpose(0, 1), [(0, 0)], 16))
    torch.testing.assert_close(forward.rows.torsion, backward.columns.torsion, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(forward.distogram, backward.distogram.transpose(1, 2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("length", "stride", "offset"), [(5, 8, 3), (16, 16, 0), (17, 16, 0), (61, 8, 7), (40, 5, 4)])
def test_tiles_leave_no_gap(length, stride, offset):
    starts = tile_starts(length, 16, stride, offset)
    covered = {place for start in starts for place in range(start, start + 16)}
    assert covered >= set(range(length))
    assert all(start < length and start + 16 > 0 for start in starts)


def test_tiles_that_would_leave_gaps_are_refused():
    with pytest.raises(ValueError, match="do not cover"):
        tile_starts(50, 16, 17, 0)
    assert (centre_weights(16) > 0).all()
    assert centre_weights(16).argmax() in (7, 8)


class _PerPair(AlphaFold1):
    """A network whose answer for a pair depends on that pair alone, and for a residue on that residue."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.weight = torch.nn.Parameter(torch.randn(3, 64, generator=torch.Generator().manual_seed(3)))
        self.residue = torch.nn.Parameter(torch.randn(5, 36, generator=torch.Generator().manual_seed(4)))

    def forward(self, crops: Crops) -> CropLogits:
        def side(x: torch.Tensor) -> ResidueLogits:
            logits = x @ self.residue
            return ResidueLogits(logits.unflatten(-1, (6, 6)), logits[..., :8], logits[..., :10])

        logits = crops.pair @ self.weight
        return CropLogits(
            logits, logits[..., :4], logits[..., :4], logits[..., :3], side(crops.rows), side(crops.columns)
        )


@pytest.mark.parametrize("length", [7, 16, 41])
def test_tiled_maps_of_a_network_without_surroundings_are_its_own(length):
    single, pair = _features(length, seed=5)
    model = _PerPair()
    maps = predict_maps(model, single, pair, TilingConfig(stride=7, ensemble=3, batch=5))
    probability = (pair @ model.weight).softmax(-1)
    expected = (probability + probability.transpose(0, 1)) / 2
    torch.testing.assert_close(maps.distogram, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(maps.theta, (pair @ model.weight)[..., :4].softmax(-1), atol=1e-6, rtol=1e-5)
    torsion = (single @ model.residue).softmax(-1).unflatten(-1, (6, 6))
    torch.testing.assert_close(maps.torsion, torsion, atol=1e-6, rtol=1e-5)


def test_tiled_maps_are_the_weighted_mean_of_the_tiles():
    """By hand, for one pair of a chain that four tiles cover."""
    model = _model()
    single, pair = _features(24, seed=6)
    maps = predict_maps(model, single, pair, TilingConfig(stride=8, ensemble=1, batch=2))
    assert count_tiles(24, 16, TilingConfig(stride=8, ensemble=1)) == 4
    total, weight = torch.zeros(4), 0.0
    i, j = 10, 12
    for row in (0, 8):
        for column in (0, 8):
            with torch.no_grad():
                logits = model(cut(single, pair, [(row, column)], 16)).theta
            share = min(i - row + 1, 16 - (i - row)) / 8 * min(j - column + 1, 16 - (j - column)) / 8
            total += share * logits[0, i - row, j - column].softmax(-1)
            weight += share
    torch.testing.assert_close(maps.theta[i, j], total / weight, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(maps.distogram, maps.distogram.transpose(0, 1))
    torch.testing.assert_close(maps.distogram.sum(-1), torch.ones(24, 24))
    assert math.isclose(float(maps.torsion[3].sum()), 1.0, rel_tol=1e-5)


def test_networks_without_orientations_give_none():
    config = AlphaFold1Config(c_single_in=5, c_pair_in=3, towers=(Tower(1, 4),), crop=16, torsions=4)
    maps = predict_maps(_model(config), *_features(9, config), TilingConfig(stride=16, ensemble=1))
    assert maps.omega is None and maps.theta is None and maps.phi is None
    assert maps.secondary_structure.shape == (9, 8)
