import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.spatial.transform import Rotation

from anfinsen.autoencoders.fragment_chains import read_backbones, sample_fragments
from anfinsen.autoencoders.fragment_faults import mirrored, with_flipped_peptide, with_noise
from anfinsen.autoencoders.fragments import (
    FragmentConfig,
    Fragments,
    backbone_fragments,
    ca_from_features,
    feature_names,
    fragment_anomalies,
    phi_psi_of,
    structure_fragments,
)
from anfinsen.chemistry import read_structure
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.seeding import numpy_generator
from anfinsen.geometry import backbone_from_dihedrals
from anfinsen.metrics import rmsd
from anfinsen.metrics.backbone import phi_psi

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "2aee_A.pdb"
CONFIG = FragmentConfig(length=9)


def ideal(phi: float, psi: float, length: int = 14) -> np.ndarray:
    angles = [torch.full((length,), math.radians(degrees), dtype=torch.float64) for degrees in (phi, psi, 180.0)]
    return backbone_from_dihedrals(*angles).numpy()


def column(features: np.ndarray, config: FragmentConfig, name: str) -> np.ndarray:
    return features[:, feature_names(config).index(name)]


def test_alpha_helix_has_the_distances_and_angles_of_the_textbook():
    helix = backbone_fragments(ideal(-57.8, -47.0), CONFIG)  # IUPAC's alpha helix: 3.6 residues a turn, 1.5 Å a residue
    assert len(helix) == 14 - 9 + 1
    turns = math.hypot(8 * 1.5, 2 * 2.3 * math.sin(math.radians(8 * 100 / 2)))  # CA atoms lie 2.3 Å from the axis
    for pair, distance in {"1_2": 3.80, "1_3": 5.5, "1_4": 5.2, "1_5": 6.2, "1_9": turns}.items():
        found = column(helix.features, CONFIG, f"ca_distance_{pair}")
        assert found == pytest.approx(distance, abs=0.15 if pair != "1_9" else 0.35)
    np.testing.assert_allclose(np.degrees(phi_psi_of(helix.features, CONFIG)), [[[-57.8, -47.0]] * 7] * 6, atol=1e-3)
    assert set(helix.secondary_structure) == {"helix"}
    assert set(backbone_fragments(ideal(-120.0, 130.0), CONFIG).secondary_structure) == {"strand"}


def test_features_do_not_change_when_the_chain_is_turned_and_moved_and_torsions_see_a_mirror():
    chain = with_noise(np.pad(ideal(-70.0, 140.0), ((0, 0), (0, 1), (0, 0))), 0.3, numpy_generator(1))
    turned = chain @ Rotation.random(random_state=3).as_matrix().T + np.array([5.0, -40.0, 12.0])
    before, after = backbone_fragments(chain, CONFIG), backbone_fragments(turned, CONFIG)
    np.testing.assert_allclose(after.features, before.features, atol=2e-5)
    image = backbone_fragments(mirrored(chain), CONFIG).features
    distances = CONFIG.n_distances
    np.testing.assert_allclose(image[:, :distances], before.features[:, :distances], atol=1e-5)
    np.testing.assert_allclose(phi_psi_of(image, CONFIG), -phi_psi_of(before.features, CONFIG), atol=1e-4)


@pytest.mark.parametrize("features", ["distances", "torsions", "both"])
def test_way_back_finds_the_ca_atoms(features):
    generator = numpy_generator(5)
    angles = torch.from_numpy(np.radians(generator.normal([-70.0, -30.0], 25.0, size=(40, 2))))
    chain = backbone_from_dihedrals(*angles.unbind(-1), torch.full((40,), math.pi, dtype=torch.float64)).numpy()
    config = FragmentConfig(length=11, features=features)
    fragments = backbone_fragments(chain, config)
    assert fragments.features.shape == (30, len(feature_names(config)))
    back = ca_from_features(fragments.features, config)
    away = np.array(
        [
            [rmsd(a * [hand, 1.0, 1.0], b.astype(np.float64)) for hand in (1.0, -1.0)]
            for a, b in zip(back, fragments.ca, strict=True)
        ]
    )
    # Distances cannot tell the hand of a chain that is no protein's.
    assert (away.min(axis=1) if features == "distances" else away[:, 0]).max() < 2e-3
    assert ca_from_features(fragments.features[:0], config).shape == (0, 11, 3)


def test_gaps_and_unresolved_residues_are_in_no_window():
    chain = ideal(-60.0, -45.0, length=40)
    chain[3] = np.nan
    resolved = np.ones(40, dtype=bool)
    resolved[15] = False
    follows = np.ones(40, dtype=bool)
    follows[26] = False
    found = backbone_fragments(chain, CONFIG, resolved, follows, source="x")
    assert np.isfinite(found.features).all()
    assert found.residues[:, 0].tolist() == [4, 5, 6, 16, 17, *range(26, 32)]
    assert (found.source == "x").all()
    stride = FragmentConfig(length=9, stride=5)
    assert backbone_fragments(chain, stride, resolved, follows).residues[:, 0].tolist() == [5, 30]
    assert len(backbone_fragments(chain[:8], CONFIG)) == 0


def test_structures_give_the_windows_of_their_chains_and_the_angles_of_metrics():
    structure = read_structure(EXAMPLE)
    fragments = structure_fragments(structure, CONFIG)
    assert len(fragments) == len(structure.residues) - 8
    residues, angles = phi_psi(structure)
    expected = dict(zip(residues.tolist(), angles, strict=True))
    wanted = np.array([[expected[row] for row in window[1:-1]] for window in fragments.residues])
    np.testing.assert_allclose(phi_psi_of(fragments.features, CONFIG), wanted, atol=1e-4)
    # Real peptides are not quite flat: what building with ideal ones costs over 9 residues.
    back = ca_from_features(fragments.features, CONFIG)
    assert np.median([rmsd(a, b.astype(np.float64)) for a, b in zip(back, fragments.ca, strict=True)]) < 0.6


def test_flipped_peptide_turns_psi_and_the_next_phi_only():
    chain = np.pad(ideal(-60.0, -45.0), ((0, 0), (0, 1), (0, 0)))
    config = FragmentConfig(length=14)
    flipped = with_flipped_peptide(chain, 6)
    before, after = (backbone_fragments(each, config) for each in (chain, flipped))
    np.testing.assert_array_equal(after.ca, before.ca)
    np.testing.assert_array_equal(np.linalg.norm(flipped[6, 2] - chain[6, 1]).round(6), 1.525)  # CA-C
    angles = [phi_psi_of(each.features, config)[0] for each in (before, after)]
    turned = np.degrees(np.abs(np.angle(np.exp(1j * (angles[1] - angles[0])))))  # residues 1 to 12; phi, psi
    assert turned[5, 1] > 120 and turned[6, 0] > 120
    np.testing.assert_allclose(np.delete(turned, [5, 6], axis=0), 0.0, atol=1e-3)
    assert turned[5, 0] < 60 and turned[6, 1] < 60  # C and N swing about the CA atoms, and these angles with them
    np.testing.assert_allclose(with_flipped_peptide(flipped, 6), chain, atol=1e-9)
    with pytest.raises(IndexError, match="no peptide bond"):
        with_flipped_peptide(chain, 13)


class FarFromHelix:
    """A detector whose outliers are windows of which the end stands too far from the start."""

    def decision_function(self, X):
        return 13.0 - column(X, CONFIG, "ca_distance_1_9").astype(np.float64)


def test_anomalies_are_means_over_the_windows_of_each_residue():
    structure = read_structure(EXAMPLE)
    fragments = structure_fragments(structure, CONFIG)
    found = fragment_anomalies(structure, FarFromHelix(), CONFIG)
    window = -FarFromHelix().decision_function(fragments.features)
    for row, score in list(zip(found.residues, found.scores, strict=True))[::7]:
        covers = (fragments.residues == row).any(axis=1)
        assert score == pytest.approx(window[covers].mean())


def test_structures_without_a_window_have_no_anomalies():
    structure = read_structure(EXAMPLE)
    nothing = replace(structure, atoms=replace(structure.atoms, resolved=np.zeros(len(structure.atoms), dtype=bool)))
    with pytest.raises(InputError, match="no unbroken stretch of 9 protein residues"):
        fragment_anomalies(nothing, FarFromHelix(), CONFIG)


@pytest.mark.parametrize("values", [{"length": 4}, {"length": 65}, {"stride": 0}, {"features": "chirality"}])
def test_wrong_configurations_are_refused(values):
    with pytest.raises(ConfigError, match="expected"):
        FragmentConfig(**values)


def test_rows_of_another_configuration_are_refused():
    rows = backbone_fragments(ideal(-60.0, -45.0), CONFIG).features
    with pytest.raises(InputError, match=r"Rows of 68 features were given: expected 95"):
        ca_from_features(rows, FragmentConfig(length=11, features="both"))
    with pytest.raises(InputError, match="distances only"):
        phi_psi_of(rows[:, :36], FragmentConfig(length=9, features="distances"))
    with pytest.raises(InputError, match="N, CA and C"):
        backbone_fragments(np.zeros((20, 2, 3)), CONFIG)


def stored(path: Path, **changes) -> Path:
    chains = [np.pad(ideal(-60.0, 100.0 + 10 * i, length=12 + i), ((0, 0), (0, 1), (0, 0))) for i in range(4)]
    hundredths = [np.round(chain.reshape(-1, 3) * 100).astype(np.int16) for chain in chains]
    columns = {
        "id": [f"chain{i}" for i in range(4)],
        "sequence": ["A" * len(chain) for chain in chains],
        **{axis: [each[:, i] for each in hundredths] for i, axis in enumerate("xyz")},
        "cluster": [7, 7, 8, 9],
    }
    pq.write_table(pa.table({k: v for k, v in (columns | changes).items() if v is not None}), path)
    return path


def test_stored_chains_are_read_as_they_stand_and_drawn_one_of_a_cluster(tmp_path):
    path = stored(tmp_path / "chains.parquet")
    chains = list(read_backbones(path))
    assert [(chain.id, len(chain.sequence)) for chain in chains] == [(f"chain{i}", 12 + i) for i in range(4)]
    np.testing.assert_allclose(chains[1].backbone[:, :3], ideal(-60.0, 110.0, length=13), atol=0.0051)
    drawn = [[chain.id for chain in read_backbones(path, numpy_generator(seed))] for seed in range(8)]
    assert all(len(set(ids) & {"chain0", "chain1"}) == 1 and {"chain2", "chain3"} < set(ids) for ids in drawn)
    assert len({tuple(ids) for ids in drawn}) > 1
    fragments = sample_fragments(path, CONFIG, 9, numpy_generator(0))
    assert len(fragments) == 9
    assert len(sample_fragments(path, CONFIG, 999, numpy_generator(0))) < 4 + 5 + 6 + 7
    joined = Fragments.join([fragments.take(np.array([i])) for i in range(9)])
    np.testing.assert_array_equal(joined.features, fragments.features)
    unresolved = stored(path, resolved=[bytes([1] * 9 + [0] * (3 + i)) for i in range(4)])
    assert len(sample_fragments(unresolved, CONFIG, 99, numpy_generator(0))) == 3


def test_files_that_hold_no_chains_are_refused(tmp_path):
    with pytest.raises(InputError, match="lacks the column 'z'"):
        next(read_backbones(stored(tmp_path / "a.parquet", z=None)))
    with pytest.raises(InputError, match="do not fit its sequence"):
        next(read_backbones(stored(tmp_path / "b.parquet", sequence=["A", "A", "A", "A"])))
    (tmp_path / "c.parquet").write_text("not a table")
    with pytest.raises(InputError, match=r"Expected a Parquet file\.$"):
        next(read_backbones(tmp_path / "c.parquet"))
    with pytest.raises(InputError, match="has no chain with 20 successive residues"):
        sample_fragments(stored(tmp_path / "d.parquet"), FragmentConfig(length=20), 5, numpy_generator(0))


def test_real_chains_keep_their_hand_when_built_from_distances(shared):
    config = FragmentConfig(length=12, features="distances", stride=6)
    fragments = sample_fragments(shared / "data" / "chains" / "validation.parquet", config, 600, numpy_generator(0))
    back = ca_from_features(fragments.features, config)
    away = np.array([rmsd(a, b.astype(np.float64)) for a, b in zip(back, fragments.ca, strict=True)])
    helix = fragments.secondary_structure == "helix"
    assert helix.sum() > 100
    assert (away[helix] < 0.1).mean() > 0.99
    assert (away < 0.1).mean() > 0.9
