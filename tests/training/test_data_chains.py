"""The chain data set: alignments parsed, labels placed, and batches equal to those of the general path."""

import builtins
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.alignments import Msa, parse_msa
from anfinsen.chemistry import ChainKind, ChainSpec, ComponentLibrary, assemble
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.common.errors import ConfigError, InputError, MissingExtraError
from anfinsen.features import (
    complex_from_structure,
    coupling_channels,
    featurise,
    frame_rotations,
)
from anfinsen.features.coupling_scores import coupling_scores
from anfinsen.nn.batch import COUPLING_CHANNELS, Labels
from anfinsen.training.chain_store import a3m_row_starts, a3m_rows
from anfinsen.training.crops import CropConfig, crop_batch
from anfinsen.training.data_chains import ChainDataConfig, ChainDataset, ideal_cbeta


@pytest.fixture(scope="module")
def dataset(shared):
    return ChainDataset(shared / "data", "validation", ChainDataConfig(crop=CropConfig(48, 0.5, 0.5, 0.0)))


LETTERS = st.tuples(st.sampled_from("ACDWXBZU-"), st.text("acdx", max_size=2))
rows = st.integers(1, 12).flatmap(
    lambda length: st.tuples(
        st.text("ACDWX", min_size=length, max_size=length),
        st.lists(st.lists(LETTERS, min_size=length, max_size=length), max_size=5),
    )
)


@settings(deadline=None, max_examples=60)
@given(rows, st.booleans(), st.text("ac", max_size=2))
def test_a3m_bytes_are_parsed_as_by_the_alignments_room(alignment, newline, tail):
    query, cells = alignment
    lines = [f">r{i}\n" + "".join(before + letter for letter, before in row) + tail for i, row in enumerate(cells)]
    text = "\n".join([f">query\n{query}", *lines]) + ("\n" if newline else "")
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    restypes, deletions = a3m_rows(data, a3m_row_starts(data), len(query))
    expected = parse_msa(text, query, ChainKind.PROTEIN, "test")
    np.testing.assert_array_equal(restypes, expected.restypes)
    np.testing.assert_array_equal(deletions, expected.deletions)


def test_rows_of_another_length_are_refused():
    data = np.frombuffer(b">a\nACD\n>b\nACDE\n", dtype=np.uint8)
    with pytest.raises(InputError, match="3 aligned positions"):
        a3m_rows(data, a3m_row_starts(data), 3)


def test_stored_alignments_start_with_their_chain(dataset):
    for index in range(len(dataset)):
        record = dataset.store.record(index)
        assert record.has_msa
        text = dataset.store.a3m(index)
        restypes, _ = a3m_rows(text, a3m_row_starts(text)[:1], len(record.restype))
        np.testing.assert_array_equal(restypes[0], record.restype)
        assert len(record.sequence) == len(record.backbone)


def test_stored_profiles_agree_with_the_alignments(dataset):
    """Two independent searches of the same family: the columns of the profile are in the right order."""
    correlations = []
    for index in range(30):
        record = dataset.store.record(index)
        np.testing.assert_allclose(record.profile.sum(axis=1), 1.0, atol=1e-5)
        batch, _ = dataset.whole(index, "msa")
        ours = batch.profile[:, :20].numpy()
        correlations.append(np.corrcoef(ours.ravel(), record.profile.ravel())[0, 1])
    assert np.mean(correlations) > 0.7


def _general_path(dataset, index, max_rows):
    """The same chain through assemble, complex_from_structure and featurise."""
    record = dataset.store.record(index)
    text = dataset.store.a3m(index).tobytes().decode()
    library = ComponentLibrary()
    codes = tuple(AMINO_ACIDS[restype] for restype in record.restype)
    structure = assemble(record.id, (ChainSpec("A", 1, 1, ChainKind.PROTEIN, codes),), (), library)
    msa = parse_msa(text, record.sequence, ChainKind.PROTEIN, "test")
    config = dataclasses.replace(
        dataset.config.features, max_msa_rows=max_rows, max_paired_rows=1, couplings=dataset.config.couplings
    )
    complex_ = complex_from_structure(structure, library, {"A": msa}, seed=0)
    return complex_, featurise(complex_, config)


def _assert_same(first, second):
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert a.dtype == b.dtype, field.name
        assert torch.equal(a, b), field.name


@pytest.mark.parametrize("index", [0, 7])
def test_the_fast_path_equals_the_general_path(dataset, index):
    fast, labels = dataset.whole(index, "msa", max_msa_rows=20)
    complex_, general = _general_path(dataset, index, 20)
    _assert_same(fast, general)
    names = complex_.structure.atoms.name
    known = names[labels.resolved.numpy()]
    assert set(known) == {"N", "CA", "C", "O", "CB"}
    record = dataset.store.record(index)
    for column, name in enumerate(("N", "CA", "C", "O")):
        np.testing.assert_allclose(labels.coordinates.numpy()[names == name], record.backbone[:, column], atol=1e-5)


def test_couplings_are_those_of_the_general_path(shared):
    dataset = ChainDataset(shared / "data", "validation", ChainDataConfig(couplings=True))
    index = int(np.argmin(np.where(dataset.store.has_msa, dataset.store.lengths, 10**6)))
    fast, _ = dataset.whole(index, "msa")
    _, general = _general_path(dataset, index, dataset.config.features.max_msa_rows)
    assert fast.pair_couplings.shape[-1] == COUPLING_CHANNELS and fast.pair_couplings.any()
    torch.testing.assert_close(fast.pair_couplings, general.pair_couplings, atol=1e-5, rtol=0)
    assert not dataset.whole(index, "single")[0].pair_couplings.any()


def test_prepared_couplings_are_shown_with_the_rows_they_came_from(shared, tmp_path):
    config = ChainDataConfig(
        couplings=True,
        crop=CropConfig(1000, contiguous=1.0, spatial=0.0, spatial_interface=0.0),
        single_sequence=0.0,
        stored_profile=0.0,
        max_msa_rows=10**6,
    )
    dataset = ChainDataset(shared / "data", "validation", config, tmp_path)
    index = int(np.argmin(np.where(dataset.store.has_msa, dataset.store.lengths, 10**6)))
    list(dataset.views.prepare([index]))
    seen = set()
    for seed in range(8):
        batch, _ = dataset.example(index, np.random.default_rng(seed))
        rows = batch.msa.numpy()
        scores = coupling_scores(Msa(rows, np.zeros_like(rows), ("",) * len(rows)))
        channels = np.zeros(batch.pair_couplings.shape) if scores is None else coupling_channels(scores)
        # They are stored in half precision, and ranks of near equals may change places.
        assert np.abs(batch.pair_couplings.numpy() - channels)[..., :2].max() < 0.02
        seen.add(len(rows))
    assert len(seen) > 1


def test_a_crop_equals_the_general_path_cropped(dataset):
    """Whatever crop is drawn, its atoms are those that cropping the whole batch gives."""
    config = dataclasses.replace(dataset.config, single_sequence=1.0, stored_profile=0.0, conformers=1)
    single = ChainDataset(dataset.store.data_dir, "validation", config)
    rng = np.random.default_rng(0)
    for index in range(6):
        batch, labels = single.example(index, rng)
        whole, whole_labels = single.whole(index, "single")
        expected, expected_labels = crop_batch(whole, whole_labels, batch.residue_index.numpy() - 1)
        _assert_same(batch, expected)
        assert torch.equal(labels.resolved, expected_labels.resolved)
        torch.testing.assert_close(labels.coordinates, expected_labels.coordinates)
        assert len(batch.restype) == min(48, len(whole.restype))


def test_unresolved_atoms_have_plausible_places(dataset):
    batch, labels = dataset.whole(3)
    token = batch.atom_to_token
    distance = (labels.coordinates - labels.coordinates[batch.center_atom][token]).norm(dim=1)
    assert not labels.resolved.all()
    assert distance.max() < 9.0  # arginine's far end lies about 7 Å from CA
    # Bonded neighbours of the backbone frame: C-CA-N as in the crystal, side chain attached to CB at 1.5 Å.
    first = labels.coordinates[batch.frame_atoms]
    assert ((first[:, 0] - first[:, 1]).norm(dim=1) - 1.46).abs().max() < 0.15


def test_examples_depend_on_the_generator_alone(dataset):
    first = dataset.example(4, np.random.default_rng(5))
    second = dataset.example(4, np.random.default_rng(5))
    other = dataset.example(4, np.random.default_rng(6))
    _assert_same(first[0], second[0])
    assert not torch.equal(first[0].residue_index, other[0].residue_index) or not torch.equal(
        first[0].profile, other[0].profile
    )


def test_profiles_sum_to_one_whatever_the_source(dataset):
    rng = np.random.default_rng(1)
    depths = set()
    for _ in range(40):
        batch, _ = dataset.example(dataset.draw(rng), rng)
        torch.testing.assert_close(batch.profile.sum(dim=1), torch.ones(len(batch.restype)), atol=1e-5, rtol=0)
        torch.testing.assert_close(batch.msa[0], batch.restype)
        assert len(batch.msa) <= dataset.config.max_msa_rows
        depths.add(len(batch.msa))
    assert 1 in depths
    assert max(depths) > 20


def test_ideal_cbeta_lies_where_the_reference_conformers_have_it():
    library = ComponentLibrary()
    for code in ("ALA", "LEU", "TRP"):
        component = library.get(code)
        place = {str(name): component.ideal[i] for i, name in enumerate(component.atom_names)}
        n, ca, c, cb = (np.array(place[name], dtype=np.float64)[None] for name in ("N", "CA", "C", "CB"))
        assert np.linalg.norm(ideal_cbeta(n, ca, c) - cb) < 0.15
        rotation = frame_rotations(n, ca, c)[0]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)


def test_cbeta_counts_as_resolved_only_if_wanted(shared):
    config = ChainDataConfig(ideal_cbeta=False)
    _, labels = ChainDataset(shared / "data", "validation", config).whole(0, "single")
    record = ChainDataset(shared / "data", "validation", config).store.record(0)
    assert labels.resolved.sum() == 4 * len(record.restype)


def test_missing_files_and_packages_are_explained(tmp_path, shared, monkeypatch):
    with pytest.raises(InputError, match="Cannot read"):
        ChainDataset(tmp_path, "train")
    real = builtins.__import__

    def without_pyarrow(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r"anfinsen\[train\]"):
        ChainDataset(shared / "data", "validation")


def test_senseless_settings_are_refused():
    with pytest.raises(ConfigError, match="sum to at most 1"):
        ChainDataConfig(single_sequence=0.6, stored_profile=0.6)
    with pytest.raises(ConfigError, match="at least 1"):
        ChainDataConfig(max_msa_rows=0)


def test_labels_carry_no_bonds(dataset):
    _, labels = dataset.whole(0, "single")
    assert isinstance(labels, Labels)
    assert labels.bonds.shape == (0, 2)


@pytest.mark.slow
def test_chains_with_alignments_are_drawn_as_often_as_asked(shared):
    dataset = ChainDataset(shared / "data", "train", ChainDataConfig(aligned=0.6))
    rng = np.random.default_rng(0)
    drawn = [dataset.store.has_msa[dataset.draw(rng)] for _ in range(2000)]
    assert abs(np.mean(drawn) - 0.6) < 0.04
