"""MSA features: profiles, pairing, and rows of several chains laid side by side."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.alignments import Msa, parse_msa
from anfinsen.chemistry import ChainKind, ChainSpec, ComponentLibrary, assemble
from anfinsen.chemistry.tokens import GAP, RESTYPE_INDEX, RESTYPES
from anfinsen.common.errors import JobError
from anfinsen.features import (
    ChainAlignments,
    FeatureConfig,
    complex_from_structure,
    featurise,
    msa_profile,
    pairing_notes,
    prepare_job,
)
from anfinsen.jobs import Job, Ligand, Modification, Polymer, TemplateAlignment

THREE = {"M": "MET", "C": "CYS", "K": "LYS", "W": "TRP", "G": "GLY", "A": "ALA"}


@pytest.fixture(scope="module")
def library():
    return ComponentLibrary()


def _protein(chain_id, entity, sequence, copy=1):
    return ChainSpec(chain_id, entity, copy, ChainKind.PROTEIN, tuple(THREE[letter] for letter in sequence))


def _msa(rows, query):
    text = "".join(f">{name}\n{row}\n" for name, row in [("query", query), *rows])
    return parse_msa(text, query, ChainKind.PROTEIN, "test")


def _featurise(library, chains, alignments, **settings):
    structure = assemble("test", chains, (), library)
    return featurise(complex_from_structure(structure, library, alignments, 0), FeatureConfig(**settings))


def _letters(batch, row):
    names = {code: letter for letter, code in THREE.items()} | {"GAP": "-"}
    return "".join(names[RESTYPES[index]] for index in batch.msa[row].tolist())


def test_unpaired_rows_of_different_chains_share_rows(library):
    first = _msa([("a", "MC-"), ("b", "MAk-")], "MCK")
    second = _msa([("x", "G-")], "GW")
    chains = (_protein("A", 1, "MCK"), _protein("B", 2, "GW"), ChainSpec("Z", 3, 1, ChainKind.LIGAND, ("ZN",)))
    batch = _featurise(library, chains, {"A": first, "B": second})
    assert [_letters(batch, row) for row in range(3)] == ["MCKGW-", "MC-G--", "MA----"]
    expected = torch.zeros(3, 6)
    expected[2, 2] = 1.0
    assert torch.equal(batch.has_deletion, expected)
    assert batch.deletion_value[2, 2] == pytest.approx(2 / np.pi * np.arctan(1 / 3))
    assert batch.deletion_mean.tolist() == pytest.approx([0, 0, 1 / 3, 0, 0, 0])
    # The profile of each chain comes from its own rows: B has two, not three.
    assert batch.profile[3, RESTYPE_INDEX["GLY"]] == 1.0
    assert batch.profile[4, RESTYPE_INDEX["TRP"]] == 0.5
    assert batch.profile[4, GAP] == 0.5
    assert batch.profile[2, GAP] == pytest.approx(2 / 3)
    assert batch.profile[5, GAP] == 1.0


def test_paired_rows_come_first_and_are_not_repeated(library):
    first, second = "MCK", "GW"
    paired_a = _msa([("t OX=1", "MCA"), ("t OX=2", "MAA"), ("t OX=3", "AAA")], first)
    paired_b = _msa([("t OX=2", "GA"), ("t OX=1", "GG")], second)
    alignments = {
        "A": ChainAlignments(unpaired=_msa([("u", "MAA"), ("v", "K--")], first), paired=paired_a),
        "B": ChainAlignments(unpaired=_msa([("u", "WW")], second), paired=paired_b),
    }
    chains = (_protein("A", 1, first), _protein("B", 2, second))
    batch = _featurise(library, chains, alignments)
    rows = [_letters(batch, row) for row in range(len(batch.msa))]
    assert rows[0] == "MCKGW"
    assert set(rows[1:3]) == {"MCAGG", "MAAGA"}
    # Below: A's own row that is not among the paired ones, beside B's; neither query is repeated.
    assert rows[3:] == ["K--WW"]
    # Statistics are those of the unpaired alignment alone, as in the released code.
    assert batch.profile[0, RESTYPE_INDEX["LYS"]] == pytest.approx(1 / 3)


def test_copies_of_one_chain_are_not_paired(library):
    msa = _msa([("t OX=1", "MCA")], "MCK")
    alignments = dict.fromkeys("AB", ChainAlignments(unpaired=_msa([("u", "M--")], "MCK"), paired=msa))
    batch = _featurise(library, (_protein("A", 1, "MCK"), _protein("B", 1, "MCK", 2)), alignments)
    assert [_letters(batch, row) for row in range(len(batch.msa))] == ["MCKMCK", "M--M--"]


def test_paired_alignments_that_add_nothing_are_named(library):
    first, second = "MCK", "GG"

    def notes(chains, **paired):
        structure = assemble("test", chains, (), library)
        given = {name: ChainAlignments(paired=msa) for name, msa in paired.items()}
        return pairing_notes(complex_from_structure(structure, library, given, 0))

    named = _msa([("t OX=1", "MCA")], first)
    two = (_protein("A", 1, first), _protein("B", 2, second))
    assert notes(two, A=named, B=_msa([("t OX=1", "GA")], second)) == ()
    assert notes(two) == ()
    (note,) = notes(two, A=named)
    assert "chains A is not used" in note
    (note,) = notes(two, A=named, B=_msa([("t OX=2", "GA")], second))
    assert "No species" in note
    (note,) = notes((_protein("A", 1, first), _protein("B", 1, first, copy=2)), A=named, B=named)
    assert "chains A, B is not used" in note


def test_rows_are_capped_and_the_profile_is_not(library):
    rows = [(f"r{i}", "MAK") for i in range(9)]
    batch = _featurise(library, (_protein("A", 1, "MCK"),), {"A": _msa(rows, "MCK")}, max_msa_rows=4, max_paired_rows=2)
    assert batch.msa.shape == (4, 3)
    assert batch.profile[1, RESTYPE_INDEX["ALA"]] == pytest.approx(0.9)


def test_modified_residues_repeat_their_column(library):
    chain = ChainSpec("A", 1, 1, ChainKind.PROTEIN, ("GLY", "SEP", "GLY"))
    msa = parse_msa(">q\nGSG\n>a\nGTa-\n", "GSG", ChainKind.PROTEIN, "test")
    batch = _featurise(library, (chain,), {"A": msa})
    inside = batch.residue_index == 2
    assert inside.sum() == 10
    assert (batch.msa[1][inside] == RESTYPE_INDEX["THR"]).all()
    assert (batch.msa[0][inside] == RESTYPE_INDEX["SER"]).all()
    assert (batch.msa[1][batch.residue_index == 3] == GAP).all()


def test_nucleotide_rows_have_nucleotide_types(library):
    chain = ChainSpec("R", 1, 1, ChainKind.RNA, ("G", "C", "U"))
    msa = parse_msa(">q\nGCU\n>a\nGCA\n", "GCU", ChainKind.RNA, "test")
    batch = _featurise(library, (chain,), {"R": msa})
    assert batch.msa[1].tolist() == [RESTYPE_INDEX[name] for name in "GCA"]
    assert batch.profile[2, RESTYPE_INDEX["U"]] == 0.5


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5000), st.integers(1, 12), st.integers(0, 2**32))
def test_profiles_are_the_columns_frequencies(depth, length, seed):
    rng = np.random.default_rng(seed)
    rows, deletions = rng.integers(0, 32, (depth, length)), rng.integers(0, 4, (depth, length))
    profile, deletion_mean = msa_profile(Msa(rows, deletions, ("",) * depth))
    np.testing.assert_allclose(profile, (rows[..., None] == np.arange(32)).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(profile.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(deletion_mean, deletions.mean(axis=0), rtol=1e-5)


def test_jobs_become_complexes_with_their_alignments():
    job = Job(
        name="two copies and an ion",
        entities=(
            Polymer(
                kind="protein",
                ids=("A", "B"),
                sequence="GSG",
                modifications=(Modification(position=2, code="SEP"),),
                unpaired_msa=">q\nGSG\n>a\nG-G\n",
            ),
            Polymer(kind="dna", ids=("C",), sequence="ACGT"),
            Ligand(ids=("D",), ccd_codes=("MG",)),
        ),
    )
    complex_ = prepare_job(job, seed=1)
    assert [chain.chain_id for chain in complex_.structure.chains] == ["A", "B", "C", "D"]
    batch = featurise(complex_)
    assert batch.entity_id.unique().tolist() == [1, 2, 3]
    assert len(batch.msa) == 2
    assert (batch.msa[1][batch.residue_index == 2][:10] == GAP).all()
    again = featurise(prepare_job(job, seed=1))
    assert torch.equal(batch.ref_pos, again.ref_pos)


def test_an_alignment_of_another_sequence_names_the_chain():
    with pytest.raises(JobError, match="chain A has an MSA of another sequence"):
        polymer = Polymer(kind="protein", ids=("A",), sequence="GSG", unpaired_msa=">q\nGAG\n")
        prepare_job(Job(name="wrong", entities=(polymer,)), seed=1)


def test_templates_of_nucleic_acids_are_refused():
    template = TemplateAlignment(mmcif="data_x", query_indices=(0,), template_indices=(0,))
    with pytest.raises((JobError, ValueError), match="emplate"):
        polymer = Polymer(kind="rna", ids=("A",), sequence="GC", templates=(template,))
        prepare_job(Job(name="wrong", entities=(polymer,)), seed=1)
