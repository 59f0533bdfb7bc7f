"""Distillation: sequences in, trustworthy residues kept, resumable, and agreement with what is resolved."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_model import FakeModel, install
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.distilled import DistilledFolder
from anfinsen.common.errors import ConfigError, InputError, OutputError
from anfinsen.inference import PredictOptions
from anfinsen.inference.alphafold3 import AlphaFold3Predictor
from anfinsen.inference.distillation import DistillConfig, judge, run_distillation
from anfinsen.inference.distillation_cross import (
    CrossConfig,
    disordered,
    partly_unresolved,
    stretches,
    structure_files,
)
from anfinsen.inference.distillation_inputs import (
    SHORTEST,
    KnownPart,
    Unlabelled,
    chain_name,
    read_unlabelled,
    single_chain,
)

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCES = ("GSWKMDTAYIAKQRQISF", "MKVLAAGIVGLCAKELPWNYFH", "DDEEKKRRSSTTAAGGPPLLVV")


def requests(*sequences: str) -> tuple[Unlabelled, ...]:
    return tuple(
        Unlabelled(f"chain{number}", single_chain(f"chain{number}", sequence), Path(__file__))
        for number, sequence in enumerate(sequences)
    )


@dataclasses.dataclass
class Unsure(FakeModel):
    """Sure of the first half of a chain, not of the second: pLDDT 99 and 1."""

    def confidence(self, batch, trunk, coordinates):
        logits = super().confidence(batch, trunk, coordinates)
        early = batch.atom_to_token < len(batch.restype) // 2
        logits.plddt[0, early, -1] = logits.plddt[0, ~early, 0] = 100.0
        return logits


def run(folder: DistilledFolder, asked, *, config=None, written=None, overwrite=False, **options):
    """Outcomes and records; ``written`` collects the names whose files were written."""
    predictor = AlphaFold3Predictor(PredictOptions(**({"samples": 1, "steps": 1} | options)))
    folder.begin("self")

    def write(chain, there):
        (written if written is not None else []).append(chain.record.name)
        there.structures.mkdir(exist_ok=True)
        there.structure(chain.record.name).write_text(chain.record.sequence)

    return list(
        run_distillation(asked, predictor, folder, write, config=config or DistillConfig(), overwrite=overwrite)
    )


def test_records_hold_sequence_coordinates_confidence_and_what_made_them(monkeypatch, tmp_path):
    install(monkeypatch, Unsure())
    folder = DistilledFolder(tmp_path / "out")
    ((outcome, record),) = run(folder, requests(SEQUENCES[0]))
    length = len(SEQUENCES[0])
    assert outcome.status == "done"
    assert record == folder.read("chain0")
    assert record.sequence == SEQUENCES[0]
    assert (record.model, record.weights_sha256) == ("fake", "f" * 64)
    assert record.confident == tuple(index < length // 2 for index in range(length))
    np.testing.assert_allclose(record.plddt, np.where(record.confident, 99.0, 1.0))
    # The fake network sets residues 4 Å apart on a line.
    ca = np.array(record.backbone).reshape(length, 4, 3)[:, 1] / 100
    np.testing.assert_allclose(np.diff(ca[:, 0]), 4.0, atol=2.5)
    assert record.kept and record.gdt is None


def test_chains_with_few_confident_residues_are_left_out_and_not_predicted_again(monkeypatch, tmp_path):
    model = install(monkeypatch, Unsure())
    folder, written = DistilledFolder(tmp_path / "out"), []
    ((_, record),) = run(folder, requests(SEQUENCES[0]), config=DistillConfig(min_confident=0.6), written=written)
    assert not record.kept
    assert record.reason == "50% of the residues have a pLDDT of 50 or more."
    assert not written
    calls = len(model.calls)
    ((outcome, again),) = run(folder, requests(SEQUENCES[0]), config=DistillConfig(min_confident=0.6))
    assert (outcome.status, again, len(model.calls)) == ("skipped", record, calls)


def test_a_run_that_is_interrupted_goes_on_where_it_stopped(monkeypatch, tmp_path):
    folder, written = DistilledFolder(tmp_path / "out"), []
    model = install(monkeypatch, Unsure())
    stop = model.trunk

    def trunk(batch, **kwargs):
        if len(batch.restype) == len(SEQUENCES[1]):
            raise KeyboardInterrupt
        return stop(batch, **kwargs)

    monkeypatch.setattr(model, "trunk", trunk)
    with pytest.raises(KeyboardInterrupt):
        run(folder, requests(*SEQUENCES), written=written)
    assert folder.names() == ("chain0",) and written == ["chain0"]
    monkeypatch.setattr(model, "trunk", stop)
    outcomes = run(folder, requests(*SEQUENCES), written=written)
    assert [outcome.status for outcome, _ in outcomes] == ["skipped", "done", "done"]
    assert written == ["chain0", "chain1", "chain2"]
    assert [outcome.status for outcome, _ in run(folder, requests(*SEQUENCES))] == ["skipped"] * 3


def test_a_chain_interrupted_between_its_files_has_no_record(monkeypatch, tmp_path):
    install(monkeypatch, Unsure())
    folder = DistilledFolder(tmp_path / "out")
    folder.begin("self")

    def write(chain, there):
        raise KeyboardInterrupt

    predictor = AlphaFold3Predictor(PredictOptions(samples=1, steps=1))
    with pytest.raises(KeyboardInterrupt):
        list(run_distillation(requests(SEQUENCES[0]), predictor, folder, write))
    assert folder.names() == ()


def test_other_settings_never_replace_a_chain_unless_told_to(monkeypatch, tmp_path):
    install(monkeypatch, Unsure())
    folder = DistilledFolder(tmp_path / "out")
    run(folder, requests(SEQUENCES[0]))
    ((outcome, record),) = run(folder, requests(SEQUENCES[0]), config=DistillConfig(min_plddt=70.0))
    assert outcome.status == "failed" and record is None
    assert "differs in min_plddt: give --overwrite" in outcome.message
    ((outcome, _),) = run(folder, requests(SEQUENCES[0]), config=DistillConfig(min_plddt=70.0), overwrite=True)
    assert outcome.status == "done"
    assert folder.read("chain0").fingerprint["min_plddt"] == 70.0


def test_one_chain_that_fails_does_not_stop_the_rest(monkeypatch, tmp_path):
    install(monkeypatch, Unsure(poison="coordinates"))
    folder = DistilledFolder(tmp_path / "out")
    outcomes = run(folder, requests(*SEQUENCES[:2]))
    assert [outcome.status for outcome, _ in outcomes] == ["failed", "failed"]
    assert folder.names() == ()
    assert not list(folder.path.glob("*.log"))


def test_gdt_keeps_what_agrees_with_the_experiment_and_drops_the_rest():
    rng = np.random.default_rng(0)
    true = np.cumsum(rng.normal(size=(40, 3)) * 2.2, axis=0)
    resolved = np.arange(40) < 30
    known = KnownPart(np.where(resolved[:, None], true, 0.0), resolved)
    asked = dataclasses.replace(requests("ACDEFGHIKL" * 4)[0], known=known)
    plddt = np.full(40, 20.0)
    turned = true[:, [1, 2, 0]] + 50.0  # by a third of a turn about the diagonal
    good = judge(asked, plddt, turned, DistillConfig())
    # Where nothing is resolved the prediction may be anywhere, and however unsure it is, it is learnt.
    moved = true.copy()
    moved[~resolved] += 100.0
    assert good.gdt == pytest.approx(1.0) and not good.reason and good.confident.all()
    assert judge(asked, plddt, moved, DistillConfig()).gdt == pytest.approx(1.0)
    # A third of the resolved part is far away: GDT-TS is two thirds.
    moved = true.copy()
    moved[:10] += 60.0
    part = judge(asked, plddt, moved, DistillConfig())
    assert part.gdt == pytest.approx(2 / 3, abs=0.1)
    assert not part.reason
    assert judge(asked, plddt, moved, DistillConfig(min_gdt=0.9)).reason.startswith("Its GDT-TS against what is")
    bad = judge(asked, plddt, rng.normal(size=(40, 3)) * 15, DistillConfig())
    assert bad.gdt < 0.5 and bad.reason == f"Its GDT-TS against what is resolved is {bad.gdt:.2f}."


def test_stretches_shorter_than_five_are_no_disorder():
    resolved = np.array([c == "+" for c in "-----+++----+++++------"])
    assert stretches(~resolved).tolist() == [[0, 5], [8, 12], [17, 23]]
    assert np.flatnonzero(disordered(resolved)).tolist() == [0, 1, 2, 3, 4, 17, 18, 19, 20, 21, 22]
    assert not disordered(np.ones(7, dtype=bool)).any()


def test_only_the_training_split_is_read(tmp_path, shared):
    structures = shared / "data" / "structures"
    wanted = structure_files(structures, "train")
    held_out = set(structure_files(structures, "test")) | set(structure_files(structures, "near_test"))
    assert len(wanted) > 100 and not held_out & set(wanted)
    rows = {"modified/2CFH.cif.gz": "test", "single/2AFG.pdb.gz": "train"}
    for name in rows:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(structures / name)
    table = "file,split\n" + "".join(f"{name},{split}\n" for name, split in rows.items())
    (tmp_path / "manifest.csv").write_text(table)
    found, failed = partly_unresolved(tmp_path, {}, CrossConfig(min_unresolved=5))
    assert [each.name for each in found] == ["2AFG_A"] and not failed
    # 2AFG: 140 residues of which 129 are seen; 9 of the others are one stretch.
    known = found[0].known
    assert (len(known.resolved), known.resolved.sum(), disordered(known.resolved).sum()) == (140, 129, 9)
    assert np.isfinite(known.ca).all()
    assert partly_unresolved(tmp_path, {}, CrossConfig(min_unresolved=10)) == ((), ())
    assert partly_unresolved(tmp_path, {}, CrossConfig(min_unresolved=5, longest=139)) == ((), ())
    held, _ = partly_unresolved(tmp_path, {found[0].sequence: ""}, CrossConfig(min_unresolved=5, split="test"))
    assert {each.name for each in held} == {"2CFH_A", "2CFH_D"}  # C and D are copies, and more of D is seen


def test_alignments_are_matched_by_sequence(tmp_path, shared):
    (tmp_path / "2AFG.pdb.gz").symlink_to(shared / "data" / "structures" / "single" / "2AFG.pdb.gz")
    (first,), _ = partly_unresolved(tmp_path, {}, CrossConfig(min_unresolved=5))
    text = f">q\n{first.sequence}\n>r\n{'A' * len(first.sequence)}\n"
    (again,), _ = partly_unresolved(tmp_path, {first.sequence: text}, CrossConfig(min_unresolved=5))
    assert first.alignment == "" and again.alignment == text


def test_every_kind_of_file_gives_its_proteins_alone(tmp_path):
    a, b, c = SEQUENCES
    (tmp_path / "many.fasta").write_text(
        f">sp|P1|LONG_NAME some protein\n{a[:9]}\n{a[9:]}*\n>second\n{b}\n>again\n{a}\n"
    )
    (tmp_path / "aligned.a3m").write_text(f">q\n{c}\n>r\n{'-' * len(c)}\n")
    chains = f"  - protein: {c[::-1]}\n    id: [A, B]\n  - protein: {b[::-1]}\n    id: C\n  - ligand: ATP\n    id: D\n"
    (tmp_path / "job.yaml").write_text(f"name: pair\nchains:\n{chains}")
    found, failed, too_long = read_unlabelled([tmp_path])
    assert not failed and too_long == 0
    names = {each.name: each.sequence for each in found}
    assert names == {"aligned": c, "pair_A": c[::-1], "pair_C": b[::-1], "sp_P1_LONG_NAME": a, "second": b}
    assert {each.name for each in found if each.alignment} == {"aligned"}
    assert all(list(each.job.lengths) == ["A"] for each in found)
    found, _, too_long = read_unlabelled([tmp_path], longest=20)
    assert [each.sequence for each in found] == [a] and too_long == 5 - 1
    with pytest.raises(ConfigError, match="Chains of at most -1 residues are asked for"):
        read_unlabelled([tmp_path], longest=-1)


def test_an_alignment_of_a_sequence_that_was_read_already_counts(tmp_path):
    sequence = SEQUENCES[0]
    bare, text = tmp_path / "a.fasta", f">q\n{sequence}\n>r\n{'-' * len(sequence)}\n"
    bare.write_text(f">bare\n{sequence}\n")
    aligned = tmp_path / "b.a3m"
    aligned.write_text(text)
    for paths in ([bare, aligned], [aligned, bare]):
        (chain,), failed, _ = read_unlabelled(paths)
        assert not failed and chain.alignment == text and chain.name == {bare: "bare", aligned: "b"}[paths[0]]


def test_what_cannot_be_distilled_is_said_in_one_sentence(tmp_path):
    (tmp_path / "odd.fasta").write_text(f">x\n{SEQUENCES[0]}X\n>short\nGSW\n>good\n{SEQUENCES[1]}\n")
    (tmp_path / "ligand.yaml").write_text("name: atp\nchains:\n  - ligand: ATP\n    id: A\n")
    (tmp_path / "broken.json").write_text("{")
    chain = f"chains:\n  - protein: {SEQUENCES[2]}\n    id: A\n    modifications: {{5: SEP}}\n"
    (tmp_path / "modified.yaml").write_text(f"name: modified\n{chain}")
    found, failed, _ = read_unlabelled([tmp_path])
    assert [each.name for each in found] == ["good"]
    messages = sorted(outcome.message for outcome in failed)
    assert not any(outcome.is_bug for outcome in failed) and len(messages) == 5
    assert any("has modified residues: distillation takes the 20 standard amino acids" in text for text in messages)
    assert any("holds 'X': distillation takes the 20 standard amino acids" in message for message in messages)
    assert any(f"has 3 residues: distillation takes {SHORTEST} or more" in message for message in messages)
    assert any("has no protein: only proteins are distilled" in message for message in messages)
    with pytest.raises(InputError, match="does not exist: check the path"):
        read_unlabelled([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no sequences"):
        read_unlabelled([tmp_path / "empty"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=90), st.text(alphabet=LETTERS + "X*-a\r\n ", max_size=60)), max_size=6))
def test_any_fasta_gives_usable_chains_or_one_sentence(tmp_path_factory, records):
    file = tmp_path_factory.mktemp("fasta") / "any.fasta"
    text = "".join(f">{header}\n{letters}\n" for header, letters in records)
    file.write_text(text, encoding="utf-8", errors="replace")
    found, failed, _ = read_unlabelled([file])
    assert not any(outcome.is_bug for outcome in failed)
    assert len({each.name.lower() for each in found}) == len(found) == len({each.sequence for each in found})
    for each in found:
        assert each.name == each.job.name == each.job.file_name
        assert len(each.sequence) >= SHORTEST


def test_names_are_short_and_do_not_collide():
    long = chain_name("x" * 300, set())
    assert len(long) <= 60 and long != chain_name("x" * 299, set())
    assert chain_name("a/b c", set()) == "a_b"
    assert chain_name("name|protein", {"name"}) == "name-2"
    assert chain_name("", set()) == "chain"


@pytest.mark.parametrize("values", [{"min_plddt": 101.0}, {"min_confident": -0.1}, {"min_gdt": 2.0}])
def test_thresholds_out_of_range_are_refused(values):
    with pytest.raises(ConfigError, match="expected 0 to"):
        DistillConfig(**values)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="was not made by `anfinsen distill`"):
        DistilledFolder(tmp_path).begin("self")
    mine = DistilledFolder(tmp_path / "out")
    mine.begin("self")
    mine.begin("self")
    with pytest.raises(OutputError, match="holds chains of self-distillation"):
        mine.begin("cross")
    (mine.path / "distilled.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="is not of the format"):
        mine.kind()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80) | st.from_regex(r'\{"name": "a", "sequence": "[A-Z]{0,3}"(, "plddt": \[[0-9, ]*\])?\}'))
def test_broken_records_are_one_sentence(tmp_path_factory, content):
    folder = DistilledFolder(tmp_path_factory.mktemp("records"))
    folder.record("a").parent.mkdir()
    folder.record("a").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"cannot be read .*: delete it and run"):
        folder.read("a")
