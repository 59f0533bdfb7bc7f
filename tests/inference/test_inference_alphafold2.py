"""AlphaFold 2 on jobs: every atom of protein chains, confidences, seeds and samples; anything else is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names, read_structure
from anfinsen.common.errors import JobError, MemoryLimitError, NonFiniteError
from anfinsen.common.seeding import torch_generator
from anfinsen.inference import PredictOptions, fingerprint, inspect_job, make_predictor
from anfinsen.inference.alphafold2 import AlphaFold2Predictor, reads_templates
from anfinsen.inference.alphafold2_confidence import alphafold2_confidence
from anfinsen.jobs import Job
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config
from anfinsen.reports import write_results
from anfinsen.weights.alphafold2 import save_alphafold2

SEQUENCE = "MKWGPLRACDEFHIYNSTQV"
TINY = AlphaFold2Config(
    predicts_pae=True,
    pair_couplings=True,
    c_m=16,
    c_z=8,
    c_s=16,
    c_e=8,
    c_t=8,
    evoformer_blocks=1,
    extra_blocks=1,
    template_blocks=1,
    heads_msa=2,
    heads_pair=2,
    c_outer=4,
    c_triangle=8,
    layers=2,
    heads_points=2,
    c_points=4,
    query_points=2,
    value_points=2,
    c_torsions=8,
    torsion_blocks=1,
    c_plddt=8,
    msa_rows=4,
    extra_rows=4,
    recycles=1,
)
MULTIMER = dataclasses.replace(TINY, architecture="multimer", pair_couplings=False, recycle_tolerance=0.5)


def random_model(config: AlphaFold2Config) -> AlphaFold2:
    """Layers that begin at zero would hide what reaches them."""
    model, generator = AlphaFold2(config), torch_generator(0, "tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 1 + 0.2 * noise)
        model.structure.backbone_update.weight *= 0.3
        model.structure.backbone_update.bias.zero_()
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name, config in {
        "monomer": TINY,
        "multimer": MULTIMER,
        "plain": dataclasses.replace(TINY, predicts_pae=False, templates=False),
    }.items():
        save_alphafold2(random_model(config), folder / f"{name}.safetensors", {"preset": "tiny"})
    return folder


def predictor_of(weights, name="monomer", **options):
    return make_predictor(PredictOptions(weights=weights / f"{name}.safetensors", device="cpu", **options))


def protein(sequence=SEQUENCE, ids=("A",), **more):
    return {"kind": "protein", "ids": ids, "sequence": sequence} | more


def job_of(*entities, seeds=(1,)):
    return Job(name="one", seeds=seeds, entities=entities)


def alignment(rows=9):
    rng = np.random.default_rng(0)
    found = ["".join(rng.choice(list(SEQUENCE), len(SEQUENCE))) for _ in range(rows)]
    return f">q\n{SEQUENCE}\n" + "".join(f">{i}\n{row}\n" for i, row in enumerate(found))


def test_a_chain_gets_every_atom_and_confidence(weights):
    predictor = predictor_of(weights)
    assert isinstance(predictor, AlphaFold2Predictor)
    prediction = predictor.predict(job_of(protein(unpaired_msa=alignment()), seeds=(1, 2)))
    structure = prediction.structure
    assert [seed.seed for seed in prediction.seeds] == [1, 2]
    assert prediction.settings.samples == 1
    assert prediction.settings.recycles == 1
    for result in prediction.seeds:
        assert result.coordinates.shape == (1, len(structure.atoms), 3)
        (found,) = result.confidences
        assert found.pae.shape == found.pde.shape == result.contact_probs.shape == (20, 20)
        assert 0 < found.pae.min() <= found.pae.max() < 32
        assert ((found.atom_plddt > 0) & (found.atom_plddt < 100)).all()
        assert 0 < found.ptm < 1
        assert found.iptm is None
        assert found.chain_iptm is None
        per_residue = [found.atom_plddt[structure.atoms.residue == i] for i in range(20)]
        assert max(np.ptp(values) for values in per_residue) == 0
        # One chain is ranked by its mean pLDDT over residues, whatever their size.
        assert found.ranking_score == pytest.approx(np.mean([values[0] for values in per_residue]) / 100)
    assert not np.array_equal(prediction.seeds[0].coordinates, prediction.seeds[1].coordinates)
    assert not prediction.notes


def test_atoms_are_ideal_within_their_groups_and_the_end_is_flat(weights):
    prediction = predictor_of(weights).predict(job_of(protein()))
    structure, x = prediction.structure, prediction.seeds[0].coordinates[0]
    names = [str(name) for name in structure.atoms.name]
    starts = np.searchsorted(structure.atoms.residue, np.arange(20))
    at = {(int(r), name): x[i] for i, (r, name) in enumerate(zip(structure.atoms.residue, names, strict=True))}
    assert len(starts) == 20
    for residue in range(20):
        assert np.linalg.norm(at[residue, "CA"] - at[residue, "C"]) == pytest.approx(1.525, abs=0.02)
        assert np.linalg.norm(at[residue, "N"] - at[residue, "CA"]) == pytest.approx(1.46, abs=0.02)
    o, oxt, c, ca = (at[19, name] for name in ("O", "OXT", "C", "CA"))
    assert np.linalg.norm(oxt - c) == pytest.approx(1.25, abs=1e-3)
    assert np.linalg.norm(oxt - o) == pytest.approx(2.2, abs=0.1)
    volume = np.linalg.det(np.stack([o - c, oxt - c, ca - c]).astype(np.float64))
    assert volume == pytest.approx(0.0, abs=1e-2)


def test_a_sample_is_the_same_however_many_are_drawn(weights):
    job = job_of(protein(unpaired_msa=alignment()))
    three = predictor_of(weights, samples=3, recycles=0).predict(job)
    two = predictor_of(weights, samples=2, recycles=0).predict(job)
    np.testing.assert_array_equal(three.seeds[0].coordinates[:2], two.seeds[0].coordinates)
    first, second, third = three.seeds[0].coordinates
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    assert three.settings.samples == 3


def test_the_default_number_of_samples_is_the_models_own(weights):
    job = job_of(protein())
    assert fingerprint(job, predictor_of(weights)).samples == 1
    assert fingerprint(job, predictor_of(weights, samples=2)).samples == 2
    assert PredictOptions().samples is None
    assert fingerprint(job, make_predictor(PredictOptions(model="alphafold3-mini:random"))).samples == 5


def test_files_can_be_read_back(weights, tmp_path):
    predictor = predictor_of(weights)
    job = job_of(protein(unpaired_msa=alignment()))
    prediction = predictor.predict(job)
    folder = tmp_path / "one"
    folder.mkdir()
    write_results(prediction, folder, fingerprint(job, predictor))
    model = read_structure(folder / "one_model.cif")
    np.testing.assert_allclose(model.atoms.coordinates, prediction.seeds[0].coordinates[0], atol=2e-3)
    assert model.atoms.resolved.all()
    text = (folder / "one_model.cif").read_text()
    assert "(AlphaFold 2)" in text
    assert "diffusion" not in text
    summary = json.loads((folder / "one_summary_confidences.json").read_text())
    assert summary["iptm"] is None
    assert summary["ranking_score"] == pytest.approx(prediction.ranking[0].ranking_score, abs=0.01)


def test_several_chains_are_ranked_by_their_interfaces(weights):
    predictor = predictor_of(weights, "multimer")
    job = job_of(protein("MKWGPLRAC", ids=("A", "B")), protein("GDEFHIYNST", ids=("C",)))
    prediction = predictor.predict(job)
    (found,) = prediction.seeds[0].confidences
    assert found.pae.shape == (28, 28)
    assert found.chain_pair_iptm.shape == (3, 3)
    assert found.ranking_score == pytest.approx(0.8 * found.iptm + 0.2 * found.ptm)
    with pytest.raises(JobError, match="Multimer"):
        predictor_of(weights).predict(job)


def test_scores_are_those_of_the_published_formula(weights):
    """Transcribed from AlphaFold 2's equation 38 and the multimer's section 7.9, on random errors."""
    predictor = predictor_of(weights, "multimer", recycles=0)
    prediction = predictor.predict(job_of(protein("MKWGPLRAC", ids=("A", "B"))))
    n, chain = 18, np.repeat([0, 1], 9)
    logits = 3 * torch.randn(n, n, 64, generator=torch_generator(0, "pae"))
    captured = {}
    predictor.model.register_forward_hook(lambda module, inputs, output: captured.update(output=output))
    again = predictor.predict(job_of(protein("MKWGPLRAC", ids=("A", "B"))))
    np.testing.assert_array_equal(again.seeds[0].coordinates, prediction.seeds[0].coordinates)
    output = captured["output"]
    output = dataclasses.replace(output, logits=dataclasses.replace(output.logits, pae=logits))
    found = alphafold2_confidence(output, prediction.structure, prediction.tokens, prediction.seeds[0].coordinates[0])
    chances = np.exp(logits.double().numpy())
    chances /= chances.sum(-1, keepdims=True)
    middles = 0.25 + 0.5 * np.arange(64)
    np.testing.assert_allclose(found.pae, chances @ middles, rtol=1e-5)
    scale = 1.24 * (max(n, 19) - 15) ** (1 / 3) - 1.8
    kernel = chances @ (1 / (1 + (middles / scale) ** 2))
    assert found.ptm == pytest.approx(kernel.mean(1).max(), rel=1e-5)
    other = chain[:, None] != chain[None, :]
    assert found.iptm == pytest.approx(max((row * o).sum() / o.sum() for row, o in zip(kernel, other, strict=True)))


def test_weights_without_errors_take_those_of_distances(weights):
    prediction = predictor_of(weights, "plain").predict(job_of(protein()))
    (found,) = prediction.seeds[0].confidences
    assert any("do not predict aligned errors" in note for note in prediction.notes)
    assert 0 < found.ptm <= 1
    # In steps of half an ångström, but the same numbers.
    np.testing.assert_allclose(found.pae, found.pde, atol=0.2501)
    assert np.ptp(found.pde) > 1


def test_modified_residues_keep_their_bonds_and_hands(weights):
    codes = {2: "SEP", 5: "MSE", 8: "HYP", 11: "DAL", 14: "MVA"}
    modified = tuple({"position": position, "code": code} for position, code in codes.items())
    sequence = "ASGGMGGPGGAGGVGG"
    prediction = predictor_of(weights).predict(job_of(protein(sequence, modifications=modified)))
    structure, library, x = prediction.structure, prediction.library, prediction.seeds[0].coordinates[0]
    x = x.astype(np.float64)
    assert any("HYP, MSE, MVA, SEP" in note and "DAL" in note for note in prediction.notes)
    for position, code in codes.items():
        component = library.get(code)
        rows = {str(structure.atoms.name[i]): i for i in np.flatnonzero(structure.atoms.residue == position - 1)}
        ideal = dict(zip(component.atom_names.tolist(), component.ideal, strict=True))
        network = set(atom14_names(component.parent if component.parent in RESIDUE_TYPES else "UNK"))
        for first, second in component.bonds:
            pair = [str(component.atom_names[i]) for i in (first, second)]
            grown = not set(pair) <= network or code == "DAL"
            if set(pair) <= set(rows) and grown and "OXT" not in pair:
                length = np.linalg.norm(x[rows[pair[0]]] - x[rows[pair[1]]])
                expected = np.linalg.norm(ideal[pair[0]] - ideal[pair[1]])
                assert length == pytest.approx(expected, abs=0.03), (code, pair)
        if "CB" in rows:
            hands = [
                np.sign(np.linalg.det(np.stack([each[name] - each["CA"] for name in ("N", "C", "CB")])))
                for each in ({name: x[row] for name, row in rows.items()}, ideal)
            ]
            assert hands[0] == hands[1], code
    assert prediction.seeds[0].confidences[0].pae.shape == (len(prediction.tokens),) * 2
    # Tokens of one residue share what is predicted of it.
    inside = np.flatnonzero(prediction.tokens.residue == 1)
    assert len(inside) > 1
    assert np.ptp(prediction.seeds[0].confidences[0].pae[inside][:, 0]) == 0


def test_what_cannot_be_folded_is_refused(weights):
    predictor = predictor_of(weights)
    rna = {"kind": "rna", "ids": ("B",), "sequence": "ACGU"}
    with pytest.raises(JobError, match="rna B"):
        predictor.predict(job_of(protein(), rna))
    with pytest.raises(JobError, match=r"\(ACE\)"):
        predictor.predict(job_of(protein(modifications=({"position": 1, "code": "ACE"},))))


def test_what_is_not_read_is_told(weights):
    cyclic = predictor_of(weights, steps=3, samples_at_once=2, recycles=0).predict(job_of(protein(cyclic=True)))
    assert any("one structure at a time" in note for note in cyclic.notes)
    assert any("chains A are cyclic" in note for note in cyclic.notes)
    assert any("no diffusion" in note for note in cyclic.notes)
    assert not any("no bonds" in note for note in cyclic.notes)


def test_an_amide_between_the_ends_is_told(weights):
    chain = {"kind": "protein", "ids": ("A",), "sequence": "CCKMCTAY"}
    ends = ({"chain": "A", "residue": 1, "atom": "N"}, {"chain": "A", "residue": 8, "atom": "C"})
    job = Job.model_validate(
        {"name": "closed", "entities": (chain,), "bonds": ({"first": ends[0], "second": ends[1]},)}
    )
    assert any("no bonds" in note for note in predictor_of(weights, recycles=0).predict(job).notes)


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("second", [2, 5])
def test_bonds_inside_a_chain_are_told_too(weights, cyclic, second):
    chain = {"kind": "protein", "ids": ("A",), "sequence": "CCKMCTAY", "cyclic": cyclic}
    ends = [{"chain": "A", "residue": position, "atom": "SG"} for position in (1, second)]
    job = Job.model_validate(
        {"name": "bridged", "entities": (chain,), "bonds": ({"first": ends[0], "second": ends[1]},)}
    )
    notes = predictor_of(weights, recycles=0).predict(job).notes
    assert any("no bonds" in note for note in notes)
    assert any("are cyclic" in note for note in notes) == cyclic


def test_untrained_templates_are_left_out(weights):
    assert not reads_templates(predictor_of(weights, "plain").model)
    model = predictor_of(weights).model
    assert reads_templates(model)
    torch.nn.init.zeros_(model.trunk.templates.attention.output.weight)
    assert not reads_templates(model)


def test_damaged_weights_write_nothing(weights):
    predictor = predictor_of(weights)
    torch.nn.init.constant_(predictor.model.heads.plddt.logits.weight, torch.nan)
    with pytest.raises(NonFiniteError, match="pLDDT"):
        predictor.predict(job_of(protein()))


def test_inspection_tells_size_and_refuses_alike(weights):
    options = PredictOptions(weights=weights / "monomer.safetensors", device="cpu", samples=3)
    found = inspect_job(job_of(protein(unpaired_msa=alignment()), seeds=(1, 2)), options)
    assert found.settings == {"seeds": 2, "samples": 3, "recycles": 1}
    assert found.msa_rows == 10
    one = inspect_job(job_of(protein(unpaired_msa=alignment())), dataclasses.replace(options, samples=None))
    assert one.estimate.seconds == pytest.approx(found.estimate.seconds / 6)
    with pytest.raises(JobError, match="rna B"):
        inspect_job(job_of(protein(), {"kind": "rna", "ids": ("B",), "sequence": "AC"}), options)


def test_a_job_too_large_is_refused_before_it_runs(weights, monkeypatch):
    monkeypatch.setattr("anfinsen.inference.alphafold2_size.available_bytes", lambda device: 2**29 + 110 * 2**20)
    with pytest.raises(MemoryLimitError, match=r"job of 400 residues needs .* About \d+ residues would fit"):
        predictor_of(weights).predict(job_of(protein("M" * 400)))


def test_an_allocation_that_fails_is_told(weights, monkeypatch):
    predictor = predictor_of(weights)

    def fail(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(predictor.model.trunk, "forward", fail)
    with pytest.raises(MemoryLimitError, match="ran out of memory"):
        predictor.predict(job_of(protein()))
