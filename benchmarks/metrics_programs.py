"""Programs that `metrics_agreement.py` compares with: what each is asked, and how a pair is written for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from anfinsen.chemistry import ChainKind, Structure, read_structure
from anfinsen.common.errors import InputError
from anfinsen.inference.evaluation import Evaluation, evaluate
from anfinsen.inference.evaluation_files import Comparison, PredictedFile, read_predicted
from anfinsen.metrics.correspondence import Correspondence, correspond, representatives

MOST_RESIDUES = 9999  # that a PDB file can number
PAIRING = "chains paired"  # a score that is no number: whether they are paired as ours are

# Runs in OpenStructure's own Python. lDDTScorer makes no stereochemical checks, and compares the first chains only, of
# which it knows the twenty amino acids.
OST_SCRIPT = """
import json, sys
from ost import VERSION, io
from ost.mol.alg import lDDTScorer, lDDTSettings

found = {"version": VERSION, "values": []}
for made, true in json.loads(sys.argv[1]):
    model, reference = io.LoadPDB(made), io.LoadPDB(true)
    row = {}
    for name, query in (("lddt", ""), ("lddt_ca", "aname=CA")):
        asked = {"references": [reference.Select(query)], "model": model.Select(query)}
        row[name] = lDDTScorer(**asked, settings=lDDTSettings()).global_score
    found["values"].append(row)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Case:
    """One pair: the files that everything reads, what Anfinsen makes of them, and a folder for more files."""

    name: str
    folder: Path
    structures: tuple[Structure, Structure]
    match: Correspondence
    evaluation: Evaluation

    @property
    def files(self) -> tuple[str, str]:
        """Of the prediction and the reference."""
        return written(self.folder)


@dataclass(frozen=True)
class Value:
    """One score of ``what`` (a chain, an interface) by both; ``theirs`` is None where the program has none."""

    score: str
    pair: str
    what: str
    ours: float
    theirs: float | None


@dataclass(frozen=True)
class Program:
    """An independent program: ``compare`` yields values, or sentences about what is not a number."""

    title: str
    compare: Callable[[Case], Iterator[Value | str]]


def said(command: Sequence[str]) -> str:
    """Return what a program prints.

    Raises:
        InputError: it does not end well.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise InputError(f"`{command[0]}` ended with exit code {done.returncode}: {last}")
    return done.stdout


# --- pairs


def written(folder: Path) -> tuple[str, str]:
    return str(folder / "predicted.pdb"), str(folder / "reference.pdb")


def write_polymers(source: Path, target: str) -> None:
    """Write what all programs can read alike.

    Raises:
        InputError: it cannot be read, has no polymers, or too many chains.
    """
    try:
        structure = gemmi.read_structure(str(source))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{source} cannot be read: {error}.") from error
    structure.setup_entities()
    del structure[1:]
    structure.remove_ligands_and_waters()
    structure.remove_hydrogens()
    structure.remove_alternative_conformations()
    structure.remove_empty_chains()
    structure.shorten_chain_names()
    if len(structure) == 0 or len(structure[0]) == 0:
        raise InputError(f"{source} has no polymers.")
    if any(len(chain.name) > 1 for chain in structure[0]):
        raise InputError(f"{source} has {len(structure[0])} chains: expected at most one for each letter or digit.")
    for chain in structure[0]:
        for residue in chain:
            residue.het_flag = "A"  # DockQ skips HETATM, and modified residues are part of the chain
    structure.write_pdb(target)


def read_case(task: Comparison, folder: Path) -> Case:
    """Read a pair and judge it.

    Raises:
        AnfinsenError: a file cannot be used, or they have nothing in common.
    """
    if task.reference is None:
        raise InputError("there is no reference of this name")
    folder.mkdir()
    files = written(folder)
    for source, target in zip((task.predicted.structure, task.reference), files, strict=True):
        write_polymers(source, target)
    predicted = read_predicted(PredictedFile(task.name, Path(files[0])), plddt=False)
    reference = read_structure(Path(files[1]))
    found = evaluate(predicted, reference)
    structures = predicted.structure, reference
    return Case(task.name, folder, structures, correspond(*structures), found)


def write_residues(structure: Structure, residues: np.ndarray, numbers: np.ndarray, target: Path) -> str:
    """Write residues as one chain, so numbered; return the name of the file."""
    chain = gemmi.Chain("A")
    atoms = structure.atoms
    for row, number in zip(residues.tolist(), numbers.tolist(), strict=True):
        residue = gemmi.Residue()
        residue.name, residue.seqid, residue.het_flag = str(structure.residues.name[row]), gemmi.SeqId(number, " "), "A"
        for place in np.flatnonzero((atoms.residue == row) & atoms.resolved):
            atom = gemmi.Atom()
            atom.name, atom.element = str(atoms.name[place]), gemmi.Element(int(atoms.element[place]))
            atom.pos = gemmi.Position(*atoms.coordinates[place].tolist())
            residue.add_atom(atom)
        if len(residue):
            chain.add_residue(residue)
    model, result = gemmi.Model(1), gemmi.Structure()
    model.add_chain(chain)
    result.add_model(model)
    result.write_pdb(str(target))
    return str(target)


def chain_pairs(case: Case) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The row of each chain that both have, with its places in the prediction and in the reference."""
    rows = {row["reference_chain"]: row for row in case.evaluation.chains}
    for index, made in enumerate(case.match.chains.tolist()):
        row = rows.get(case.structures[1].chains[index].author_id)
        if made >= 0 and row is not None:
            yield row, made, index


# --- programs


def openstructure(command: str) -> Program:
    """Return lDDT by OpenStructure.

    Raises:
        InputError: it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        version = _ost(command, Path(folder), [])["version"]
    return Program(f"OpenStructure {version}", partial(_compare_lddt, command))


def _ost(command: str, folder: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    script = folder / "lddt.py"
    script.write_text(OST_SCRIPT, encoding="utf-8")
    printed = said([command, str(script), json.dumps(pairs)])
    try:
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise InputError(f"`{command}` does not run scripts with OpenStructure.") from error
    return found


def _compare_lddt(command: str, case: Case) -> Iterator[Value | str]:
    predicted, reference = case.structures
    protein = np.array([chain.kind is ChainKind.PROTEIN for chain in reference.chains])
    asked: list[tuple[str, str, dict[str, Any], np.ndarray]] = [
        ("chain by chain", f"chain {row['reference_chain']}", row, np.flatnonzero(reference.residues.chain == index))
        for row, _, index in chain_pairs(case)
        if protein[index]
    ]
    residues = np.flatnonzero(protein[reference.residues.chain])
    if 0 < len(residues) <= MOST_RESIDUES:
        # Our lDDT of the whole has the nucleic acids too.
        names = ("lddt", "lddt_ca") if protein.all() else ("lddt_ca",)
        scores = {name: case.evaluation.scores[name] for name in names if name in case.evaluation.scores}
        asked.append(("of all chains", "all chains", scores, residues))
    elif len(residues):
        yield f"{case.name}: all chains as one body were not asked for, of more than {MOST_RESIDUES:,} residues."
    if not asked:
        return
    files = []
    for place, (_, _, _, true) in enumerate(asked):
        made = case.match.residues[true]
        numbers = np.arange(1, len(true) + 1)
        stem = case.folder / f"lddt_{place}"
        files.append(
            (
                write_residues(predicted, made[made >= 0], numbers[made >= 0], stem.with_suffix(".predicted.pdb")),
                write_residues(reference, true, numbers, stem.with_suffix(".reference.pdb")),
            )
        )
    for (how, what, row, _), found in zip(asked, _ost(command, case.folder, files)["values"], strict=True):
        for name, title in (("lddt", "lDDT"), ("lddt_ca", "lDDT-CA")):
            if row.get(name) is not None:
                yield Value(f"{title}, {how}", case.name, what, row[name], found[name])


def dockq(command: str) -> Program:
    """Return DockQ and its parts, by DockQ.

    Raises:
        InputError: it does not start.
    """
    said([command, "--help"])
    # It does not tell its version; the Python of its environment does.
    python = Path(shutil.which(command) or command).parent / "python"
    ask = "from importlib.metadata import version; print(version('DockQ'))"
    version = said([str(python), "-c", ask]).strip() if python.exists() else "of unknown version"
    return Program(f"DockQ {version}", partial(_compare_dockq, command))


def _dockq(command: str, case: Case, *more: str) -> dict[str, Any]:
    target = case.folder / "dockq.json"
    target.unlink(missing_ok=True)
    printed = said([command, *case.files, "--n_cpu", "1", "--json", str(target), *more])
    if not target.exists():
        raise InputError(f"`{command}` wrote no results: {(printed.strip() or 'it says nothing').splitlines()[-1]}")
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found


def _compare_dockq(command: str, case: Case) -> Iterator[Value | str]:
    rows = case.evaluation.interfaces
    if not rows:
        return
    ours = {row["reference_chain"]: row["predicted_chain"] for row, _, _ in chain_pairs(case)}
    theirs: dict[str, str] | None = None
    try:
        found = _dockq(command, case)
        theirs = found["best_mapping"]
    except InputError as error:
        yield f"{case.name}: DockQ paired no chains, and was told ours. {error}"
    same = theirs is not None and {true: theirs.get(true) for true in ours} == ours
    if theirs is not None:
        yield Value(PAIRING, case.name, "all chains", 1.0, float(same))
    if not same:
        found = _dockq(command, case, "--mapping", f"{''.join(ours.values())}:{''.join(ours)}")
    if theirs is not None and not same:
        shown = [" ".join(f"{made}={true}" for true, made in sorted(each.items())) for each in (ours, theirs)]
        yield f"{case.name}: we pair {shown[0]} and DockQ {shown[1]}; the scores below are of our pairs."
    names = {"dockq": "DockQ", "fnat": "fnat", "f1": "F1", "irmsd": "iRMSD", "lrmsd": "LRMSD"}
    for row in rows:
        chains = row["reference_chains"].split()
        result = found["best_result"].get("".join(chains)) or found["best_result"].get("".join(reversed(chains)))
        if row["predicted_chains"] is None:
            continue  # DockQ leaves out what the prediction lacks
        for name, title in names.items():
            if row[name] is not None:
                their = None if result is None else result[title]
                unit = ", Å" if name.endswith("rmsd") else ""
                yield Value(f"{title}{unit}", case.name, f"interface {' '.join(chains)}", row[name], their)
    known = {frozenset(row["reference_chains"].split()) for row in rows}
    for chains in found["best_result"]:
        if frozenset(chains) not in known:
            yield f"{case.name}: DockQ finds an interface of {' and '.join(chains)}, and we do not."


def tm_align(command: str) -> Program:
    """Return TM-scores by TM-align, of its own alignment and of the known one.

    Raises:
        InputError: it does not start.
    """
    version = re.search(r"Version (\w+)", said([command, "-v"]))
    name = version[1] if version else "of unknown version"
    return Program(f"TM-align {name}", partial(_compare_tm, command))


def _compare_tm(command: str, case: Case) -> Iterator[Value | str]:
    for row, made, index in chain_pairs(case):
        if case.structures[1].chains[index].kind is not ChainKind.PROTEIN or row.get("tm_score") is None:
            continue
        what, files = f"chain {row['reference_chain']}", []
        for side, (structure, chain) in enumerate(zip(case.structures, (made, index), strict=True)):
            residues = np.flatnonzero(structure.residues.chain == chain)
            target = case.folder / f"tm_{index}_{side}.pdb"
            files.append(write_residues(structure, residues, np.arange(1, len(residues) + 1), target))
        known = case.folder / f"tm_{index}.fasta"
        known.write_text(aligned(case, made, index), encoding="utf-8")
        yield Value(
            "TM-score, known residues", case.name, what, row["tm_score"], _tm(command, *files, "-I", str(known))
        )
        if row.get("tm_align") is not None:
            yield Value("TM-score, TM-align's residues", case.name, what, row["tm_align"], _tm(command, *files))


def _tm(command: str, *arguments: str) -> float:
    printed = said([command, *arguments])
    found = re.search(r"TM-score= *([\d.]+) *\(if normalized by length of Chain_2", printed)
    if found is None:
        raise InputError(f"`{command}` printed no TM-score.")
    return float(found[1])


def aligned(case: Case, made: int, index: int) -> str:
    """Return which residues belong together as FASTA, of those that have CA atoms: TM-align sees no others."""
    sides = []
    for structure, chain in zip(case.structures, (made, index), strict=True):
        residues, trace = np.flatnonzero(structure.residues.chain == chain).tolist(), representatives(structure)
        letters = dict(zip(residues, structure.chains[chain].sequence, strict=True))
        sides.append({row: letter for row, letter in letters.items() if trace[row] >= 0})
    rows, left = ["", ""], list(sides[0])
    for true, letter in sides[1].items():
        partner = int(case.match.residues[true])
        taken = left[: left.index(partner) + 1] if partner in left else []
        rows[0] += "".join(sides[0][row] for row in taken) or "-"
        rows[1] += "-" * (len(taken) - 1) + letter
        left = left[len(taken) :]
    rows[0] += "".join(sides[0][row] for row in left)
    rows[1] += "-" * len(left)
    return f">predicted\n{rows[0]}\n>reference\n{rows[1]}\n"
