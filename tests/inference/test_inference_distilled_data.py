"""Distilled chains as training data: what is masked, what is shown, how often they are drawn."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_model import FakeModel, install

from anfinsen.alignments import parse_msa
from anfinsen.chemistry import ChainKind
from anfinsen.common.distilled import DistilledFolder
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.progress import Silent
from anfinsen.inference import PredictOptions
from anfinsen.inference.alphafold3 import AlphaFold3Predictor
from anfinsen.inference.distillation import DistillConfig, run_distillation
from anfinsen.inference.distillation_inputs import KnownPart, Unlabelled, single_chain
from anfinsen.losses import LossConfig
from anfinsen.nn.batch import Batch, Labels
from anfinsen.reports.distillation import a3m_of, finish, write_chain
from anfinsen.training import Stage, TrainOptions
from anfinsen.training.alphafold2_data import AlphaFold2DataConfig, AlphaFold2Dataset
from anfinsen.training.alphafold2_mixture import AlphaFold2Mixture
from anfinsen.training.chain_store import ChainStore
from anfinsen.training.crops import CropConfig
from anfinsen.training.data_chains import ChainDataConfig, ChainDataset
from anfinsen.training.data_folder import TrainingData, mixed
from anfinsen.training.distilled import DistilledDataset, share_left
from anfinsen.training.sampling import Mixture
from anfinsen.training.step import StepSettings, example_loss
from tiny_model import tiny_model

LONG, SHORT = "MKVLAAGIVGLCAKELPWNYFHTQRSDEGKAVLIMPWY", "GSWKMDTAYIAKQRQISF"
SURE = 14  # residues at the beginning of every chain
ALIGNMENT = f">query\n{LONG}\n>other\n{LONG[:10].lower()}{LONG[:30]}--------\n>third\n--{LONG[2:]}\n"
NAMES = ("long", "short")


@dataclasses.dataclass
class Unsure(FakeModel):
    """Sure of the first residues of a chain only."""

    def confidence(self, batch, trunk, coordinates):
        logits = super().confidence(batch, trunk, coordinates)
        early = batch.atom_to_token < SURE
        logits.plddt[0, early, -1] = logits.plddt[0, ~early, 0] = 100.0
        return logits


def distilled(path: Path, monkeypatch, *, cross: bool = False) -> DistilledFolder:
    """A folder of two chains, the longer with an alignment, made by the product's own writers."""
    install(monkeypatch, Unsure())
    predictor = AlphaFold3Predictor(PredictOptions(samples=1, steps=1))
    folder = DistilledFolder(path)
    folder.begin("cross" if cross else "self")
    known = [KnownPart(np.zeros((len(s), 3)), np.arange(len(s)) < 4) if cross else None for s in (LONG, SHORT)]
    asked = (
        Unlabelled("long", single_chain("long", LONG, ALIGNMENT), Path("many.fasta"), known[0]),
        Unlabelled("short", single_chain("short", SHORT), Path("many.fasta"), known[1]),
    )
    config = DistillConfig(min_confident=0.1, min_gdt=0.0)
    outcomes = [outcome for outcome, _ in run_distillation(asked, predictor, folder, write_chain, config=config)]
    assert [outcome.message for outcome in outcomes] == ["", ""]
    finish(folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return distilled(tmp_path / "distilled", monkeypatch)


def test_residues_below_the_threshold_never_enter_a_loss(folder, tmp_path):
    data = DistilledDataset(folder.path, tmp_path / "cache")
    assert set(data.files) == {"long.cif", "short.cif"} and not data.refused
    for number in range(2):
        name = data.files[number].removesuffix(".cif")
        batch, labels = data.whole(number)
        record = folder.read(name)
        confident = torch.tensor(record.confident)
        assert confident.sum() == SURE and len(batch.restype) == len(record.sequence)
        # Nothing of an unconfident residue is resolved; of the others everything is, but for the end's OXT.
        assert not labels.resolved[~confident[batch.atom_to_token]].any()
        assert labels.resolved[confident[batch.atom_to_token]].all()
        assert labels.predicted
        backbone = torch.tensor(record.backbone).reshape(-1, 4, 3)[:, 1] / 100
        close = labels.coordinates[batch.center_atom][confident] - backbone[confident]
        assert close.abs().max() < 0.01
    rng = np.random.default_rng(0)
    for _ in range(10):
        batch, labels = data.example(data.draw(rng), rng)
        late = batch.residue_index > SURE
        assert labels.predicted and not labels.resolved[late[batch.atom_to_token]].any()
        assert labels.resolved.any()


def test_alignments_are_shown_with_the_structure(folder, tmp_path):
    data = DistilledDataset(folder.path, tmp_path / "cache")
    depth = {name: len(data.whole(number)[0].msa) for number, name in enumerate(data.files)}
    assert depth == {"long.cif": 3, "short.cif": 1}
    # An alignment that changes is read again, though the structure is the same.
    folder.alignment("long").write_text("".join(f">{row}\n{LONG}\n" for row in "ab"))
    again = DistilledDataset(folder.path, tmp_path / "cache")
    assert len(again.whole(again.files.index("long.cif"))[0].msa) == 2


def test_the_parquet_files_hold_the_same_chains_with_their_mask(folder):
    store = ChainStore(folder.path, "train")
    assert store.ids == NAMES and store.has_msa.tolist() == [True, False]
    for index, name in enumerate(NAMES):
        record, made = store.record(index), folder.read(name)
        assert record.sequence == made.sequence
        assert tuple(record.resolved.tolist()) == made.confident
        expected = np.array(made.backbone).reshape(-1, 4, 3) / 100
        moved = record.backbone - expected
        np.testing.assert_allclose(moved - moved.mean(axis=(0, 1)), 0.0, atol=1e-3)
    profile = store.record(0).profile
    np.testing.assert_allclose(profile.sum(1), 1.0, atol=0.01)
    # Column 1: M and M; column 35 (P) has a gap in one row of three.
    assert profile[0].max() == pytest.approx(1.0, abs=0.01)
    data = ChainDataset(folder.path, "train", ChainDataConfig(crop=CropConfig(16, 1.0, 0.0, 0.0), single_sequence=0.0))
    batch, labels = data.whole(0)
    assert len(batch.msa) == 3
    np.testing.assert_array_equal(batch.msa[1].numpy(), parse_msa(ALIGNMENT, LONG, ChainKind.PROTEIN, "it").restypes[1])
    assert batch.deletion_value[1, 0] == pytest.approx(2 / np.pi * np.arctan(10 / 3))
    late = batch.residue_index > SURE
    assert not labels.resolved[late[batch.atom_to_token]].any() and labels.resolved.any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        batch, labels = data.example(data.draw(rng), rng)
        late = batch.residue_index > SURE
        assert not labels.resolved[late[batch.atom_to_token]].any()
        assert labels.resolved.any()


def test_the_manifest_lists_what_training_may_read(folder, tmp_path):
    with (folder.structures / "manifest.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["file"], row["split"], row["kind"]) for row in rows] == [
        (f"{name}.cif", "train", "self-distilled") for name in NAMES
    ]
    assert [row["confident"] for row in rows] == [str(SURE)] * 2
    assert {row["weights_sha256"] for row in rows} == {"f" * 64}
    # A structure that no record stands for, as a killed run leaves it, is not read.
    (folder.structures / "left.cif").write_text("data_left\n")
    assert set(DistilledDataset(folder.path, tmp_path / "cache").files) == {"long.cif", "short.cif"}


def test_finishing_twice_gives_the_same_files(folder):
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    finish(folder)
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in folder.path.rglob("*") if path.name.startswith(".")]


def test_cross_distilled_chains_keep_their_unsure_residues(tmp_path, monkeypatch):
    data = DistilledDataset(distilled(tmp_path / "crossed", monkeypatch, cross=True).path, tmp_path / "cache")
    assert (data.kind, data.published_weight) == ("cross", 0.02)
    assert all(data.whole(number)[1].resolved.all() for number in range(2))


class _Numbered:
    """A data set whose examples are its own number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 1

    def draw(self, rng: np.random.Generator) -> int:
        return 0

    def example(self, index: int, rng: np.random.Generator) -> tuple[Batch, Labels]:
        raise AssertionError(index)


def _frequencies(mixture: Mixture, draws: int = 4000) -> dict[int, float]:
    rng = np.random.default_rng(0)
    drawn = [int(rng.choice(len(mixture.datasets), p=mixture.probabilities)) for _ in range(draws)]
    return {n: drawn.count(i) / draws for i, n in enumerate(d.number for d in mixture.datasets)}


def test_each_folder_has_its_share_of_the_examples():
    known = Mixture([_Numbered(0), _Numbered(1)], [0.75, 0.25])
    mixture = mixed(known, [_Numbered(2), _Numbered(3)], [0.5, 0.02])
    np.testing.assert_allclose(mixture.probabilities, [0.36, 0.12, 0.5, 0.02])
    found = _frequencies(mixture)
    assert found[0] + found[1] == pytest.approx(0.48, abs=0.03)
    assert found[2] == pytest.approx(0.5, abs=0.03)
    assert found[3] == pytest.approx(0.02, abs=0.01)
    with pytest.raises(ConfigError, match="would make 1 of all examples: give --distilled-weight"):
        mixed(known, [_Numbered(2), _Numbered(3)], [0.5, 0.5])


def test_training_draws_distilled_chains_by_weight_and_never_for_confidence(folder, tmp_path):
    # The folder itself serves as the known data: it is laid out as any other.
    known = tmp_path / "known"
    known.mkdir()
    (known / "short.cif").write_bytes((folder.structures / "short.cif").read_bytes())
    data = TrainingData(known, tmp_path / "cache", 0.5, Silent(), distilled=[(folder.path, 0.3)])
    stage = Stage(steps=1, crop=16, diffusion_batch=1, losses=LossConfig(), msa_rows=2)
    data.show(stage)
    rng = np.random.default_rng(1)
    drawn = [data.example(rng) for _ in range(120)]
    share = np.mean([labels.predicted for _, labels in drawn])
    assert share == pytest.approx(0.3, abs=0.13)  # three standard deviations
    assert all(len(batch.restype) <= 16 and len(batch.msa) <= 2 for batch, _ in drawn)
    data.show(dataclasses.replace(stage, train="confidence"))
    assert not any(data.example(rng)[1].predicted for _ in range(40))


def test_predicted_structures_teach_no_confidence(folder, tmp_path):
    batch, labels = DistilledDataset(folder.path, tmp_path / "cache").whole(1)
    model = tiny_model()
    stage = Stage(steps=1, crop=32, diffusion_batch=1, losses=LossConfig(confidence=1.0))
    settings = StepSettings(stage, recycles=0, rollout=True, rollout_steps=1)
    gradients = {}
    for predicted in (True, False):
        model.zero_grad(set_to_none=True)
        generator = torch.Generator().manual_seed(0)
        loss = example_loss(model, batch, dataclasses.replace(labels, predicted=predicted), settings, generator)
        loss.total.backward()
        head = [p.grad for n, p in model.named_parameters() if n.startswith("confidence_head.") and p.grad is not None]
        gradients[predicted] = max(float(gradient.abs().max()) for gradient in head)
        assert (float(loss.terms["confidence"]) == 0.0) is predicted and float(loss.terms["diffusion"]) > 0
    assert gradients[True] == 0.0 < gradients[False]


def test_a_folder_without_chains_to_train_on_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="is no folder of distilled chains"):
        DistilledDataset(tmp_path / "nothing", tmp_path / "cache")
    whole = folder.structure(NAMES[0]).read_bytes()
    folder.structure(NAMES[0]).unlink()
    with pytest.raises(InputError, match=rf"lacks {NAMES[0]}\.cif: run `anfinsen distill`"):
        DistilledDataset(folder.path, tmp_path / "cache")
    folder.structure(NAMES[0]).write_bytes(whole)
    plddt = folder.read(NAMES[1]).plddt
    for wrong in ({"plddt": (120.0, *plddt[1:])}, {"plddt": (-1.0, *plddt[1:])}, {"gdt": 1.5}):
        folder.write(dataclasses.replace(folder.read(NAMES[1]), name="odd"))
        folder.write(dataclasses.replace(folder.read("odd"), **wrong))
        with pytest.raises(InputError, match="pLDDT is not between 0 and 100, or GDT-TS"):
            folder.read("odd")
        folder.forget("odd")
    for name in NAMES:
        folder.write(dataclasses.replace(folder.read(name), kept=False, reason="No."))
    summary = finish(folder)
    assert (summary.kept, summary.left_out) == (0, 2)
    with pytest.raises(InputError, match="holds no chain to train on"):
        DistilledDataset(folder.path, tmp_path / "cache")
    empty = AlphaFold2Dataset(folder.path, "train", tmp_path / "cache", AlphaFold2DataConfig(), couplings=False)
    with pytest.raises(InputError, match="holds no chain to train on"):
        AlphaFold2Mixture(empty)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (float("nan"),), (0.1, float("inf"))])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(ConfigError, match="less than 1 in all"):
        share_left(shares)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((0.1,), "1 weights are given for 2 folders"), ((0.5, 0.6), "expected shares"), ((0.0, 0.1), "expected shares")],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        TrainOptions(data=Path(), out=Path(), distilled=(Path("a"), Path("b")), distilled_weights=weights)


def test_alignments_keep_their_rows_and_insertions():
    msa = parse_msa(ALIGNMENT, LONG, ChainKind.PROTEIN, "it")
    again = parse_msa(a3m_of(msa), LONG, ChainKind.PROTEIN, "it")
    np.testing.assert_array_equal(again.restypes, msa.restypes)
    np.testing.assert_array_equal(again.deletions, msa.deletions)
