"""From a job to a prediction: what is run how often, what is repeatable, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_model import FakeModel, install

from anfinsen.common.errors import ConfigError, JobError, MemoryLimitError, NonFiniteError
from anfinsen.features import prepare_job
from anfinsen.inference import PredictOptions, predict
from anfinsen.inference.predictor import surplus_templates
from anfinsen.jobs import Job, Ligand, Polymer
from anfinsen.jobs.job import TemplateAlignment

JOB = Job(
    name="tiny",
    seeds=(3, 4),
    entities=(
        Polymer(kind="protein", ids=("A",), sequence="GSWK"),
        Ligand(ids=("M",), ccd_codes=("MG",)),
    ),
)
UNTRAINED = PredictOptions(model="alphafold3-mini:random", samples=2, steps=2, recycles=0, device="cpu")


class Recorder:
    def __init__(self):
        self.stages, self.steps = [], 0

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, steps=1):
        self.steps += steps

    def note(self, message):
        raise AssertionError(message)


def test_trunk_runs_once_per_seed_and_progress_adds_up(monkeypatch):
    model, progress = install(monkeypatch), Recorder()
    prediction = predict(JOB, PredictOptions(samples=5, steps=7, recycles=2, samples_at_once=2), progress=progress)
    assert model.calls == 2 * (["trunk 2"] + ["sample 2 x 7"] * 2 + ["sample 1 x 7"] + ["confidence"] * 5)
    assert progress.steps == sum(total for _, total in progress.stages) == 2 * (1 + 3 + 21 + 5)
    assert [result.seed for result in prediction.seeds] == [3, 4]
    assert prediction.seeds[0].coordinates.shape == (5, len(prediction.structure.atoms), 3)
    assert prediction.settings.samples_at_once == 2


def test_the_same_seed_gives_the_same_bits():
    first, second = predict(JOB, UNTRAINED), predict(JOB, UNTRAINED)
    for one, two in zip(first.seeds, second.seeds, strict=True):
        assert one.coordinates.tobytes() == two.coordinates.tobytes()
        for left, right in zip(one.confidences, two.confidences, strict=True):
            assert left.pae.tobytes() == right.pae.tobytes()
            assert left.ranking_score == right.ranking_score


def test_seeds_are_independent_of_each_other_and_differ():
    both = predict(JOB, UNTRAINED)
    alone = predict(JOB, dataclasses.replace(UNTRAINED, seeds=(4,)))
    assert alone.job.seeds == (4,)
    np.testing.assert_array_equal(both.seeds[1].coordinates, alone.seeds[0].coordinates)
    assert np.abs(both.seeds[0].coordinates - both.seeds[1].coordinates).max() > 0.1
    assert np.abs(both.seeds[0].coordinates[0] - both.seeds[0].coordinates[1]).max() > 0.1


def test_a_sample_is_the_same_however_many_are_drawn(monkeypatch):
    one = predict(JOB, dataclasses.replace(UNTRAINED, samples=1))
    three = predict(JOB, dataclasses.replace(UNTRAINED, samples=3, samples_at_once=2))
    for alone, together in zip(one.seeds, three.seeds, strict=True):
        # Structures computed together are rounded otherwise; the noise they start from is the same.
        np.testing.assert_allclose(together.coordinates[0], alone.coordinates[0], atol=2e-3)
        assert np.abs(together.coordinates[1] - alone.coordinates[0]).max() > 0.1
        assert np.abs(together.coordinates[2] - together.coordinates[0]).max() > 0.1
    install(monkeypatch)
    drawn = [predict(JOB, PredictOptions(samples=count, steps=1)).seeds[0].coordinates for count in (1, 5)]
    np.testing.assert_array_equal(drawn[0], drawn[1][:1])


def test_ranking_is_best_first(monkeypatch):
    install(monkeypatch)
    prediction = predict(JOB, PredictOptions(samples=3, steps=1))
    scores = [ranked.ranking_score for ranked in prediction.ranking]
    assert scores == sorted(scores, reverse=True)
    best = prediction.ranking[0]
    assert prediction.confidence(best).ranking_score == scores[0]
    assert len({(ranked.seed, ranked.sample) for ranked in prediction.ranking}) == 6


def test_a_missing_alignment_is_noted(monkeypatch):
    install(monkeypatch)
    assert any("Protein chain A: no alignment" in note for note in predict(JOB).notes)


@pytest.mark.parametrize("poison", ["coordinates", "pae", "plddt"])
def test_non_finite_answers_are_refused(monkeypatch, poison):
    install(monkeypatch, FakeModel(poison=poison))
    with pytest.raises(NonFiniteError):
        predict(JOB, PredictOptions(samples=1, steps=1))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_is_answered_with_what_fits(monkeypatch, error):
    install(monkeypatch, FakeModel(error=error))
    with pytest.raises(MemoryLimitError, match=r"ran out of memory.*would fit|smaller model"):
        predict(JOB, PredictOptions(samples=1, steps=1))


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    install(monkeypatch, FakeModel(error=RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(JOB, PredictOptions(samples=1, steps=1))


def test_a_file_with_two_jobs_is_refused(tmp_path: Path):
    job = '{"name": "x", "modelSeeds": [], "sequences": [{"proteinChain": {"sequence": "GSGS", "count": 1}}]}'
    path = tmp_path / "two.json"
    path.write_text(f"[{job}, {job}]")
    with pytest.raises(JobError, match="holds 2 jobs"):
        predict(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "'samples' is 0"),
        ({"samples": True}, "'samples' is True"),
        ({"steps": -1}, "'steps' is -1"),
        ({"recycles": -1}, "'recycles' is -1"),
        ({"samples_at_once": 0}, "'samples_at_once' is 0"),
        ({"seeds": ()}, "empty"),
        ({"seeds": (1, 1)}, "twice"),
        ({"seeds": (2**32,)}, "'seeds' is 4294967296"),
        ({"model": "alphafold3-full:random", "weights": Path("x.safetensors")}, "give one"),
    ],
)
def test_bad_options_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        PredictOptions(**change)


def test_templates_beyond_those_that_the_model_reads_are_told():
    chains = tuple({"kind": "protein", "ids": (name,), "sequence": "MKVLAATG"} for name in "AB")
    prepared = prepare_job(Job.model_validate({"name": "two", "entities": chains}), 1)
    one = TemplateAlignment(mmcif="data_x", query_indices=(0,), template_indices=(0,))
    counts = iter((4, 5))
    crowded = dataclasses.replace(
        prepared,
        alignments=tuple(dataclasses.replace(known, templates=(one,) * next(counts)) for known in prepared.alignments),
    )
    assert surplus_templates(crowded, 4) == ("Of the templates of chain B the first 4 are used.",)
    assert surplus_templates(crowded, 3) == ("Of the templates of chains A, B the first 3 are used.",)
    assert surplus_templates(crowded, 5) == ()
