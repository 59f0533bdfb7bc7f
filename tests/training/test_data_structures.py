"""Structure folders as training data: indexing, weights, crops of whole complexes, the store on disk."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from anfinsen.chemistry import ComponentLibrary
from anfinsen.chemistry.read_structure import read_structure, read_structure_and_library
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.features import BATCH_AXES, FeatureConfig, complex_from_structure
from anfinsen.training import structure_index
from anfinsen.training.crops import CropConfig, crop_batch
from anfinsen.training.data_structures import (
    StructureDataConfig,
    StructureDataset,
    hide_polymer_bonds,
    sample_rows,
)
from anfinsen.training.examples import load_example, save_example, structure_example
from anfinsen.training.sampling import EntryWeights, Mixture
from anfinsen.training.structure_index import (
    CONTACT_DISTANCE,
    ChainSummary,
    StructureSummary,
    build_entries,
    cluster_sequences,
    summarise,
)

FILES = ("protein_dna/1A74.pdb.gz", "modified/1A93.cif.gz", "protein_rna/1DI2.pdb.gz", "protein_protein/1A2K.pdb.gz")


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "structures"


@pytest.fixture(scope="module")
def example(folder):
    """A protein-DNA complex with zinc: complex, batch, labels."""
    structure, library = read_structure_and_library(folder / FILES[0])
    complex_ = complex_from_structure(structure, library, {}, 0)
    return complex_, *structure_example(complex_, FeatureConfig(), 0)


@pytest.fixture(scope="module")
def dataset(folder, tmp_path_factory):
    config = StructureDataConfig(crop=CropConfig(64))
    return StructureDataset(folder, tmp_path_factory.mktemp("cache"), config, files=FILES)


def _assert_same(first, second):
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def test_labels_hold_the_files_coordinates_and_place_the_rest_nearby(example):
    complex_, batch, labels = example
    atoms = complex_.structure.atoms
    resolved = labels.resolved
    np.testing.assert_allclose(labels.coordinates[resolved].numpy(), atoms.coordinates[atoms.resolved], atol=1e-4)
    assert 0 < (~resolved).sum() < len(resolved)
    assert torch.isfinite(labels.coordinates).all()
    distance = torch.cdist(labels.coordinates[~resolved], labels.coordinates[resolved]).min(dim=1).values
    assert distance.max() < 6.0
    # Metal coordination is not shown: no bond leads to an ion.
    ions = torch.tensor([chain.kind == "ligand" for chain in complex_.structure.chains])[batch.asym_id - 1]
    assert ions.any()
    assert not batch.token_bonds[ions][:, batch.is_standard].any()


def test_unresolved_side_chains_keep_their_bond_lengths(folder):
    """All beyond CB is hidden; laid over the rest, the conformer goes on from CB at a bond's length."""
    structure, library = read_structure_and_library(folder / FILES[1])
    hidden = ~np.isin(structure.atoms.name, ("N", "CA", "C", "O", "CB"))
    atoms = dataclasses.replace(structure.atoms, resolved=structure.atoms.resolved & ~hidden)
    complex_ = complex_from_structure(dataclasses.replace(structure, atoms=atoms), library, {}, 0)
    _, labels = structure_example(complex_, FeatureConfig(), 0)
    names = structure.atoms.name
    for index in np.flatnonzero((names == "CG") & structure.atoms.resolved):
        mine = structure.atoms.residue == structure.atoms.residue[index]
        beta = np.flatnonzero(mine & (names == "CB"))[0]
        assert 1.1 < float((labels.coordinates[index] - labels.coordinates[beta]).norm()) < 1.9


def test_stored_examples_come_back_as_they_were(example, tmp_path):
    _, batch, labels = example
    path = tmp_path / "one.safetensors"
    save_example(path, batch, labels, {"note": "x"})
    again, labels_again = load_example(path)
    _assert_same(batch, again)
    _assert_same(labels, labels_again)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="delete it"):
        load_example(path)


def test_a_crop_keeps_what_its_tokens_say(example):
    _, batch, labels = example
    rng = np.random.default_rng(0)
    tokens = np.sort(rng.choice(len(batch.restype), 50, replace=False))
    crop, crop_labels = crop_batch(batch, labels, tokens)
    keep = torch.from_numpy(tokens)
    atoms = torch.isin(batch.atom_to_token, keep)
    assert torch.equal(crop.token_index, batch.token_index[keep])
    assert torch.equal(crop.token_bonds, batch.token_bonds[keep][:, keep])
    assert torch.equal(crop.ref_pos, batch.ref_pos[atoms])
    assert torch.equal(crop_labels.coordinates, labels.coordinates[atoms])
    assert torch.equal(crop_labels.coordinates[crop.center_atom], labels.coordinates[batch.center_atom][keep])
    assert torch.equal(crop_labels.coordinates[crop.distogram_atom], labels.coordinates[batch.distogram_atom][keep])
    frames = crop.frame_mask
    whole = labels.coordinates[batch.frame_atoms][keep]
    assert torch.equal(crop_labels.coordinates[crop.frame_atoms][frames], whole[frames])
    assert crop.atom_to_token.max() == 49
    everything, labels_again = crop_batch(batch, labels, np.arange(len(batch.restype)))
    _assert_same(batch, everything)
    _assert_same(labels, labels_again)
    assert set(BATCH_AXES) == {field.name for field in dataclasses.fields(batch)}


def test_a_crop_through_a_ligand_masks_frames_and_drops_bonds(folder):
    structure, library = read_structure_and_library(folder / "ligand" / "1qz5-assembly.cif.gz")
    batch, labels = structure_example(complex_from_structure(structure, library, {}, 0), FeatureConfig(), 0)
    ligand = np.flatnonzero((batch.kind == 3).numpy() & batch.frame_mask.numpy())
    crop, crop_labels = crop_batch(batch, labels, ligand[::3])
    assert crop.frame_mask.sum() < len(crop.frame_mask)
    assert len(crop_labels.bonds) < len(labels.bonds)
    assert crop_labels.bonds.numel() == 0 or crop_labels.bonds.max() < len(crop.atom_to_token)
    assert crop.frame_atoms.min() >= 0


def test_examples_are_crops_around_their_entry(dataset):
    rng = np.random.default_rng(0)
    for index in range(len(dataset)):
        batch, labels = dataset.example(index, rng)
        assert 4 <= len(batch.restype) <= 64
        assert len(labels.coordinates) == len(batch.atom_to_token) == len(labels.resolved)
        assert labels.resolved.any()
        assert batch.atom_to_token.max() == len(batch.restype) - 1
    assert len(dataset.files) == 4
    assert not dataset.refused
    assert dataset.weights.sum() == pytest.approx(1.0)


def test_spatial_crops_contain_the_chain_they_are_about(folder, dataset, tmp_path):
    config = StructureDataConfig(crop=CropConfig(48, 0.0, 0.0, 1.0))
    spatial = StructureDataset(folder, dataset._cache, config, files=FILES)
    rng = np.random.default_rng(0)
    interfaces = [i for i, entry in enumerate(spatial.entries) if len(entry.chains) == 2]
    assert interfaces
    n_chains = []
    for index in interfaces:
        batch, _ = spatial.example(index, rng)
        assert torch.isin(batch.asym_id, torch.tensor(spatial.entries[index].chains)).any()
        n_chains.append(len(batch.asym_id.unique()))
    assert np.mean(np.array(n_chains) > 1) > 0.7


def test_files_are_read_once(folder, dataset, monkeypatch):
    monkeypatch.setattr(StructureDataset, "_read", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(structure_index, "cluster_sequences", lambda *_: pytest.fail("clustered again"))
    again = StructureDataset(folder, dataset._cache, dataset.config, files=FILES)
    assert again.entries == dataset.entries
    np.testing.assert_array_equal(again.weights, dataset.weights)
    first, second = (data.example(3, np.random.default_rng(7)) for data in (dataset, again))
    _assert_same(first[0], second[0])
    _assert_same(first[1], second[1])


def test_only_the_training_split_of_a_manifest_is_used(folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name, copy in ((FILES[1], "a.cif.gz"), (FILES[1], "b.cif.gz")):
        shutil.copy(folder / name, data / copy)
    (data / "broken.pdb").write_text("nothing\n")
    everything = StructureDataset(data, tmp_path / "cache")
    assert everything.files == ("a.cif.gz", "b.cif.gz")
    assert set(everything.refused) == {"broken.pdb"}
    (data / "manifest.csv").write_text("file,split\na.cif.gz,train\nb.cif.gz,test\n")
    assert StructureDataset(data, tmp_path / "cache").files == ("a.cif.gz",)
    (data / "manifest.csv").write_text("file,split\na.cif.gz,test\nb.cif.gz,test\n")
    with pytest.raises(InputError, match="No structure"):
        StructureDataset(data, tmp_path / "cache")
    with pytest.raises(InputError, match="does not exist"):
        StructureDataset(data, tmp_path / "cache", files=["c.cif"])
    with pytest.raises(InputError, match="not a folder"):
        StructureDataset(tmp_path / "nowhere", tmp_path / "cache")


def test_interfaces_are_the_chains_in_contact(folder):
    structure = read_structure(folder / FILES[0])
    summary = summarise(structure, 10)
    atoms, chain = structure.atoms, structure.atom_chain
    expected = set()
    for first in range(len(structure.chains)):
        for second in range(first + 1, len(structure.chains)):
            a, b = (atoms.coordinates[atoms.resolved & (chain == which)] for which in (first, second))
            if np.linalg.norm(a[:, None] - b[None], axis=-1).min() < CONTACT_DISTANCE:
                expected.add((first + 1, second + 1))
    assert expected
    assert set(summary.interfaces) == expected
    assert StructureSummary.from_json(summary.to_json()) == summary


def test_similar_proteins_share_a_cluster():
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    first, other = ("".join(rng.choice(letters, 150)) for _ in range(2))
    mutated = list(first)
    for place in rng.choice(150, 60, replace=False):
        mutated[place] = str(rng.choice(letters))
    found = cluster_sequences([first, other, "".join(mutated)[20:], first], 0.4)
    assert found[0] == found[2] == found[3]
    assert len({found[0], found[1]}) == 2


def test_entries_are_weighted_by_cluster_and_kind():
    protein, ligand = ChainSummary(1, "protein", "MKV" * 20), ChainSummary(2, "ligand", "ATP")
    files = [StructureSummary((protein, ligand), ((1, 2),), 80), StructureSummary((protein,), (), 60)]
    entries, weights = build_entries(files, [None, None], EntryWeights())
    assert [(entry.file, entry.chains) for entry in entries] == [(0, (1,)), (0, (2,)), (0, (1, 2)), (1, (1,))]
    expected = np.array([0.5 / 2 * 3, 0.5 * 1, 1.0 * 4, 0.5 / 2 * 3])
    np.testing.assert_allclose(weights, expected / expected.sum())
    _, given = build_entries(files, ["x", "y"], EntryWeights())
    expected = np.array([0.5 * 3, 0.5 * 1, 1.0 * 4, 0.5 * 3])
    np.testing.assert_allclose(given, expected / expected.sum())


def test_rows_and_bonds_can_be_thinned(example):
    _, batch, _ = example
    deep = dataclasses.replace(
        batch,
        msa=torch.arange(10)[:, None].expand(10, len(batch.restype)) % 32,
        has_deletion=torch.zeros(10, len(batch.restype)),
        deletion_value=torch.zeros(10, len(batch.restype)),
        msa_mask=torch.ones(10, len(batch.restype), dtype=torch.bool),
    )
    rows = sample_rows(deep, 4, np.random.default_rng(0)).msa[:, 0]
    assert rows[0] == 0
    assert len(rows) == 4
    assert (rows.diff() > 0).all()
    linked = batch.token_bonds.clone()
    a, b = torch.nonzero(batch.is_standard)[[0, 30], 0].tolist()
    linked[a, b] = linked[b, a] = True
    hidden = hide_polymer_bonds(dataclasses.replace(batch, token_bonds=linked)).token_bonds
    assert not hidden[a, b]
    assert hidden.sum() <= batch.token_bonds.sum()


def test_mixtures_draw_by_weight(dataset):
    rng = np.random.default_rng(0)
    batch, labels = Mixture([dataset, dataset], [1.0, 3.0]).example(rng)
    assert len(labels.coordinates) == len(batch.atom_to_token)

    class Counted:
        def __init__(self):
            self.drawn = 0

        def __len__(self):
            return 1

        def draw(self, rng):
            self.drawn += 1
            return 0

        def example(self, index, rng):
            return batch, labels

    parts = [Counted(), Counted()]
    mixture = Mixture(parts, [1.0, 3.0])
    for _ in range(800):
        mixture.example(rng)
    assert abs(parts[0].drawn - 200) < 45
    with pytest.raises(ConfigError, match="one positive weight"):
        Mixture([dataset], [0.0])


def test_the_library_of_a_dataset_knows_the_ccd(dataset):
    assert "ATP" in ComponentLibrary()
    assert len(dataset.complex(0).tokens) == len(dataset.whole(0)[0].restype)
