"""The comparison with other programs says what they say: stand-ins print what a test wants."""

import importlib
import sys
from pathlib import Path

import gemmi
import pytest

from anfinsen.chemistry import read_structure
from anfinsen.common.errors import InputError
from anfinsen.inference.evaluation import evaluate
from anfinsen.inference.evaluation_files import PredictedFile, comparisons, read_predicted

REPOSITORY = Path(__file__).resolve().parents[2]
HALF = 20  # residues of each chain

# Each prints what the program prints of structures that are the same; marks are replaced.
OST = """
import json, sys
values = [{"lddt": 1.0, "lddt_ca": CA} for _ in json.loads(sys.argv[2])]
print("a warning", json.dumps({"version": "2.9", "values": values}), sep="\\n")
"""
DOCKQ = """
import json, sys
if "--help" not in sys.argv:
    same = {"DockQ": 1.0, "fnat": 1.0, "F1": 1.0, "iRMSD": 0.0, "LRMSD": 0.0}
    found = {"best_mapping": MAPPING, "best_result": {"AB": same}}
    with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
        json.dump(found, file)
"""
TM_ALIGN = """
print("TM-align (Version 20990101)")
print("TM-score= 0.50000 (if normalized by length of Chain_1, i.e., LN=9, d0=1)")
print("TM-score= 1.00000 (if normalized by length of Chain_2, i.e., LN=9, d0=1)")
"""


@pytest.fixture(scope="module")
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(REPOSITORY / "benchmarks"), *sys.path])
        yield
        for name in ("metrics_agreement", "metrics_programs", "metrics_pairs"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def agreement(benchmarks):
    return importlib.import_module("metrics_agreement")


@pytest.fixture(scope="module")
def programs(benchmarks):
    return importlib.import_module("metrics_programs")


@pytest.fixture
def folders(tmp_path):
    """Two pairs: a protein cut into two chains on itself, and a prediction without a reference."""
    whole = gemmi.read_structure(str(REPOSITORY / "examples" / "2aee_A.pdb"))
    model, result = gemmi.Model(1), gemmi.Structure()
    for name, start in (("A", 0), ("B", HALF)):
        chain = gemmi.Chain(name)
        for residue in list(whole[0][0])[start : start + HALF]:
            chain.add_residue(residue)
        model.add_chain(chain)
    result.add_model(model)
    paths = tmp_path / "predicted", tmp_path / "references"
    for path in paths:
        path.mkdir()
        result.write_pdb(str(path / "one.pdb"))
    result.write_pdb(str(paths[0] / "alone.pdb"))
    return paths


def _program(path: Path, text: str, **marks: str) -> str:
    for mark, value in marks.items():
        text = text.replace(mark, value)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def _options(folder: Path, ca: str = "1.0", mapping: str = '{"A": "A", "B": "B"}') -> list[str]:
    programs = {
        "--ost": _program(folder / "bin" / "ost", OST, CA=ca),
        "--dockq": _program(folder / "bin" / "DockQ", DOCKQ, MAPPING=mapping),
        "--tmalign": _program(folder / "bin" / "TMalign", TM_ALIGN),
    }
    return [word for option in programs.items() for word in option]


def test_the_table_counts_values_and_what_differs_is_listed(agreement, folders, tmp_path, capsys):
    agreement.main([*map(str, folders), *_options(tmp_path, ca="0.9")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| score | program | pairs | values | largest difference | median difference |"
    table = {tuple(line.split(" | ")[:2]): line.rstrip(" |").split(" | ")[2:] for line in lines if line[:1] == "|"}
    assert table["| lDDT, chain by chain", "OpenStructure 2.9"] == ["1", "2", "0.00000", "0.00000"]
    assert table["| lDDT-CA, chain by chain", "OpenStructure 2.9"] == ["1", "2", "0.10000", "0.10000"]
    assert table["| lDDT-CA, of all chains", "OpenStructure 2.9"] == ["1", "1", "0.10000", "0.10000"]
    assert table["| LRMSD, Å", "DockQ of unknown version"] == ["1", "1", "0.00000", "0.00000"]
    assert table["| TM-score, known residues", "TM-align 20990101"] == ["1", "2", "0.00000", "0.00000"]
    assert len(table) == 2 + 4 + 5 + 2
    assert [line for line in lines if line.startswith("- ")] == [
        "- one, chain A: lDDT-CA, chain by chain 1.00000, OpenStructure 2.9 0.90000",
        "- one, chain B: lDDT-CA, chain by chain 1.00000, OpenStructure 2.9 0.90000",
        "- one, all chains: lDDT-CA, of all chains 1.00000, OpenStructure 2.9 0.90000",
    ]
    assert "Differ by more than 0.001: 3 of 15 values." in lines
    assert "DockQ of unknown version pairs the chains as we do in 1 of 1 pair." in lines
    assert any(line.startswith("alone is left out: there is no reference") for line in lines)


def test_chains_that_are_paired_otherwise_are_told(agreement, folders, tmp_path, capsys):
    agreement.main([*map(str, folders), *_options(tmp_path, mapping='{"A": "B", "B": "A"}')])
    printed = capsys.readouterr().out
    assert "pairs the chains as we do in 0 of 1 pair." in printed
    assert "one: we pair A=A B=B and DockQ B=A A=B; the scores below are of our pairs." in printed
    assert "Differ by more than 0.001: 0 of 15 values." in printed


def test_residues_that_belong_together_stand_in_one_column(programs, folders, tmp_path):
    file = folders[0] / "one.pdb"
    structure = gemmi.read_structure(str(file))
    del structure[0]["B"][10:12]
    structure.write_pdb(str(file))
    (task,) = [task for task in comparisons([("", folders[0])], [folders[1]]) if task.name == "one"]
    case = programs.read_case(task, tmp_path / "case")
    made, true = programs.aligned(case, 1, 1).split("\n")[1:4:2]
    assert (len(made), len(true)) == (HALF, HALF)
    assert true == case.structures[1].chains[1].sequence
    assert made == true[:10] + "--" + true[12:]
    assert programs.aligned(case, 0, 0).count("-") == 0


def test_what_is_not_there_is_left_out_and_without_any_there_is_an_error(agreement, folders, tmp_path, capsys):
    options = _options(tmp_path)
    for option in ("--dockq", "--tmalign"):
        options[options.index(option) + 1] = str(tmp_path / "nowhere")
    agreement.main([*map(str, folders), *options])
    printed = capsys.readouterr().out
    assert "DockQ is left out: there is no command" in printed
    assert "Install it (apt-get install tm-align), or say where it is (--tmalign)." in printed
    assert "OpenStructure 2.9" in printed
    options[options.index("--ost") + 1] = _program(tmp_path / "bin" / "broken", "raise SystemExit('no module ost')")
    with pytest.raises(InputError, match=r"No program to compare .* exit code 1: no module ost\. Install it"):
        agreement.main([*map(str, folders), *options])


def test_pairs_are_made_of_structures(benchmarks, folders, tmp_path, monkeypatch, capsys):
    pairs = importlib.import_module("metrics_pairs")
    monkeypatch.setattr(sys, "argv", ["metrics_pairs", str(tmp_path / "out"), str(folders[1] / "one.pdb")])
    pairs.main()
    assert "3 pairs in" in capsys.readouterr().out
    results = {path.stem: evaluate(read_predicted(PredictedFile(path.stem, path), plddt=False), read_structure(true))
               for path in sorted((tmp_path / "out" / "predicted").iterdir())
               for true in [tmp_path / "out" / "references" / path.name]}  # fmt: skip
    near, far, exchanged = (each.scores["lddt"] for each in results.values())
    assert 0.95 > near > far > 0.4
    assert exchanged > far
    assert {row["reference_chain"]: row["predicted_chain"] for row in results["one_c"].chains} == {"A": "B", "B": "A"}
    assert all(each.scores["coverage"] > 0.8 for each in results.values())
    (tmp_path / "no.pdb").write_text("END\n")
    monkeypatch.setattr(sys, "argv", ["metrics_pairs", str(tmp_path / "out"), str(tmp_path / "no.pdb")])
    with pytest.raises(InputError, match="has no polymers"):
        pairs.main()
