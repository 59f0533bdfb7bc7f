"""AlphaFold 2's view of an alignment, against a transcription by loops, and its shares by counting."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.chemistry import (
    RESIDUE_TYPES,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    assemble,
    atom14_names,
    read_structure,
)
from anfinsen.chemistry.tokens import GAP
from anfinsen.common.errors import ChemistryError, ConfigError
from anfinsen.features.alphafold2_msa import (
    MSA_GAP,
    MSA_MASKED,
    AlphaFold2MsaConfig,
    alphafold2_msa,
    alphafold2_types,
)
from anfinsen.features.residue_atoms import residue_atoms
from full_atom import packaged_protein


def alignment(rows: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    types = rng.integers(21, size=(rows, length))
    types[1:][rng.random((rows - 1, length)) < 0.2] = GAP
    return types, rng.integers(3, size=(rows, length)) * rng.integers(2, size=(rows, length))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 12), length=st.integers(1, 9), clusters=st.integers(1, 8), seed=st.integers(0, 99))
def test_clusters_are_those_of_a_plain_loop(rows, length, clusters, seed):
    types, deletions = alignment(rows, length, seed)
    # Nothing masked, and every other row shown: the draw can be read back.
    config = AlphaFold2MsaConfig(clusters=clusters, extra=rows, masked=0.0)
    found = alphafold2_msa(types, deletions, config, np.random.default_rng(seed)).fields
    centres, others = found["msa"].numpy(), found["extra_msa"].numpy()
    assert len(centres) == min(rows, clusters) and len(others) == max(0, rows - clusters)
    assert (centres[0] == alphafold2_types(types[0])).all()
    together = sorted(map(tuple, np.concatenate([centres, others]).tolist()))
    assert together == sorted(map(tuple, alphafold2_types(types).tolist()))

    def raw(value):
        return np.round(3 * np.tan(value.numpy() * math.pi / 2), 3)

    own, theirs = raw(found["deletion_value"]), raw(found["extra_deletion_value"])
    members = [[row] for row in centres.tolist()]
    counted = [[row] for row in own.tolist()]
    for row, gaps in zip(others.tolist(), theirs.tolist(), strict=True):
        shared = [sum(a == b and a < MSA_GAP for a, b in zip(row, c, strict=True)) for c in centres.tolist()]
        best = shared.index(max(shared))
        members[best].append(row)
        counted[best].append(gaps)
    for cluster, (group, gaps) in enumerate(zip(members, counted, strict=True)):
        for column in range(length):
            share = np.bincount([row[column] for row in group], minlength=23) / len(group)
            np.testing.assert_allclose(found["cluster_profile"][cluster, column], share, atol=1e-6)
            mean = sum(row[column] for row in gaps) / len(gaps)
            assert float(found["deletion_mean"][cluster, column]) == pytest.approx(
                2 / math.pi * math.atan(mean / 3), abs=1e-3
            )
    assert (found["has_deletion"].numpy() == (own > 0)).all()


def test_masking_keeps_the_published_shares():
    types, deletions = alignment(300, 200, seed=1)
    found = alphafold2_msa(types, deletions, AlphaFold2MsaConfig(clusters=256), np.random.default_rng(0))
    shown, true, asked = (value.numpy() for value in (found.fields["msa"], found.true, found.asked))
    assert asked.mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[~asked] == true[~asked]).all()
    assert (shown[asked] == MSA_MASKED).mean() == pytest.approx(0.7, abs=0.02)
    # 10 % stay; of the others 10 % + 10 % are the same by chance, one in twenty or as in the column.
    assert (shown[asked] == true[asked]).mean() == pytest.approx(0.1 + 0.1 * 0.05 + 0.1 * 0.07, abs=0.02)
    assert MSA_MASKED not in true and (found.fields["extra_msa"].numpy() != MSA_MASKED).all()
    # The profile of a centre alone shows what is shown, never what is hidden.
    alone = found.fields["cluster_profile"][:, :, MSA_MASKED].numpy()
    assert ((alone > 0) == (shown == MSA_MASKED)).all()


def test_the_same_generator_gives_the_same_draw_and_another_another():
    types, deletions = alignment(40, 10)
    first, again, other = (
        alphafold2_msa(types, deletions, AlphaFold2MsaConfig(clusters=8, extra=8), np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(value, again.fields[name]) for name, value in first.fields.items())
    assert not torch.equal(first.fields["msa"], other.fields["msa"])
    assert first.fields["extra_msa"].shape == (8, 10)


def test_a_sequence_alone_may_stand_among_the_extra_rows():
    types, deletions = alignment(1, 7)
    draw = np.random.default_rng
    assert alphafold2_msa(types, deletions, AlphaFold2MsaConfig(), draw(0)).fields["extra_msa"].shape == (0, 7)
    found = alphafold2_msa(types, deletions, AlphaFold2MsaConfig(extra_query=True), draw(0)).fields
    assert found["extra_msa"].numpy().tolist() == types.tolist() and bool(found["extra_msa_mask"].all())


@pytest.mark.parametrize("values", [{"clusters": 0}, {"extra": -1}, {"masked": 1.1}, {"uniform": 0.6, "same": 0.6}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError):
        AlphaFold2MsaConfig(**values)


def test_atoms_lie_in_the_places_of_their_names():
    structure = read_structure(packaged_protein())
    chain = next(i for i, each in enumerate(structure.chains) if each.kind is ChainKind.PROTEIN)
    found = residue_atoms(structure, chain)
    table, first = structure.atoms, int(np.flatnonzero(structure.residues.chain == chain)[0])
    counted = 0
    for row, name, place in zip(table.residue, table.name, table.coordinates, strict=True):
        if structure.residues.chain[row] != chain or not table.resolved[np.flatnonzero(table.residue == row)[0]]:
            continue
        names = atom14_names(RESIDUE_TYPES[found.residue_type[row - first]])
        if str(name) in names:
            at = (row - first, names.index(str(name)))
            assert found.mask[at]
            np.testing.assert_array_equal(found.atoms[at], place)
            counted += 1
    assert counted == found.mask.sum() > 1000
    assert (found.atoms[~found.mask] == 0).all()


def test_selenium_of_selenomethionine_is_the_sulphur_of_its_parent():
    chain = ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("MET", "MSE", "ALA"))
    structure = assemble("selenium", [chain], (), ComponentLibrary())
    table = structure.atoms
    seen = dataclasses.replace(table, resolved=np.ones(len(table), dtype=bool), coordinates=table.coordinates + 1.0)
    found = residue_atoms(dataclasses.replace(structure, atoms=seen), 0)
    assert RESIDUE_TYPES[found.residue_type[1]] == "MET"
    np.testing.assert_array_equal(found.mask[1], found.mask[0])
    at = atom14_names("MET").index("SD")
    np.testing.assert_array_equal(found.atoms[1, at], seen.coordinates[seen.name == "SE"][0])


def test_only_proteins_have_such_atoms():
    dna = ChainSpec("A", 1, 1, ChainKind.DNA, ("DA", "DC", "DG"))
    structure = assemble("dna", [dna], (), ComponentLibrary())
    with pytest.raises(ChemistryError, match="proteins only"):
        residue_atoms(structure, 0)
