"""Coupling channels: what they mean, and where they stand among the tokens of a complex."""

import dataclasses

import numpy as np
import pytest
import torch

from anfinsen.alignments import parse_msa
from anfinsen.chemistry import ChainKind
from anfinsen.features import FeatureConfig, complex_from_structure, coupling_channels, featurise
from anfinsen.jobs import Job, job_structure
from anfinsen.nn.batch import COUPLING_CHANNELS

SEQUENCE = "MKVLAWERTYHGFDSPLKND"


@pytest.fixture(scope="module")
def msa():
    """Random relatives in which columns 2 and 15 always change together."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        row = [c if rng.random() < 0.5 else str(rng.choice(list("ARNDCQEGHILKMFPSTWYV"))) for c in SEQUENCE]
        row[2], row[15] = ("V", "P") if rng.random() < 0.5 else ("K", "D")
        rows.append("".join(row))
    text = "".join(f">r{i}\n{row}\n" for i, row in enumerate([SEQUENCE, *rows]))
    return parse_msa(text, SEQUENCE, ChainKind.PROTEIN, "test")


def _complex(msa, *entities):
    structure, library = job_structure(Job.model_validate({"name": "test", "entities": entities}))
    proteins = [chain.chain_id for chain in structure.chains if chain.sequence == SEQUENCE]
    return complex_from_structure(structure, library, dict.fromkeys(proteins, msa))


def _protein(*ids, **more):
    return {"kind": "protein", "ids": ids, "sequence": SEQUENCE, **more}


LIGAND = {"kind": "ligand", "ids": ("L",), "ccd_codes": ("GOL",)}


def test_the_coupled_pair_stands_out_in_every_channel(msa):
    batch = featurise(_complex(msa, _protein("A")), FeatureConfig(couplings=True))
    channels = batch.pair_couplings
    assert channels.shape == (len(SEQUENCE), len(SEQUENCE), COUPLING_CHANNELS)
    assert (channels[..., 0] == 1).all()
    torch.testing.assert_close(channels[..., :3], channels.transpose(0, 1)[..., :3])
    torch.testing.assert_close(channels[..., 3], channels[..., 4].T)
    pairs = channels.clone()
    pairs[torch.arange(len(SEQUENCE)), torch.arange(len(SEQUENCE))] = -9
    for channel in range(1, COUPLING_CHANNELS):
        assert pairs[2, 15, channel] == pairs[..., channel].max() == pairs[15, 2, channel]
    assert pairs[2, 15, 3] == 1  # no pair of the row is stronger


def test_channels_do_not_depend_on_the_scale_of_the_scores():
    scores = np.abs(np.random.default_rng(1).normal(size=(12, 12))).astype(np.float32)
    scores = scores + scores.T
    np.fill_diagonal(scores, 0)
    np.testing.assert_allclose(coupling_channels(scores), coupling_channels(64 * scores), atol=1e-5)


def test_copies_share_couplings_and_nothing_is_said_between_chains_or_about_ligands(msa):
    alone = featurise(_complex(msa, _protein("A")), FeatureConfig(couplings=True)).pair_couplings
    batch = featurise(_complex(msa, _protein("A", "B"), LIGAND), FeatureConfig(couplings=True))
    n = len(SEQUENCE)
    assert torch.equal(batch.pair_couplings[:n, :n], alone)
    assert torch.equal(batch.pair_couplings[n : 2 * n, n : 2 * n], alone)
    rest = batch.pair_couplings.clone()
    rest[:n, :n] = rest[n : 2 * n, n : 2 * n] = 0
    assert not rest.any() and len(rest) > 2 * n


def test_atoms_of_a_modified_residue_stand_in_its_column(msa):
    modified = ({"position": 3, "code": "MVA"},)  # N-methylated valine
    plain = featurise(_complex(msa, _protein("A")), FeatureConfig(couplings=True)).pair_couplings
    batch = featurise(_complex(msa, _protein("A", modifications=modified)), FeatureConfig(couplings=True))
    residue = batch.residue_index.numpy() - 1
    assert (residue == 2).sum() > 5
    np.testing.assert_array_equal(batch.pair_couplings.numpy(), plain.numpy()[np.ix_(residue, residue)])


def test_nothing_is_computed_unless_asked_for_and_one_row_says_nothing(msa):
    assert featurise(_complex(msa, _protein("A"))).pair_couplings.shape[-1] == 0
    query = parse_msa(f">q\n{SEQUENCE}\n", SEQUENCE, ChainKind.PROTEIN, "test")
    batch = featurise(_complex(query, _protein("A")), FeatureConfig(couplings=True))
    assert batch.pair_couplings.shape[-1] == COUPLING_CHANNELS and not batch.pair_couplings.any()
    assert dataclasses.asdict(FeatureConfig())["couplings"] is False
