"""The files of an evaluation: predictions in every layout that users have, references, and which belong together."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from anfinsen.chemistry import ComponentLibrary, Structure, read_structure_and_library
from anfinsen.common.errors import InputError
from anfinsen.common.text import listed

STRUCTURE_SUFFIXES = (".cif", ".mmcif", ".bcif", ".pdb", ".ent")
COMPRESSED = ".gz"
MODEL = "_model"  # ends the name of a structure in a results folder
SAMPLES = "seed-*_sample-*"  # folders of a results folder: the structures of one job
SHOWN = 10  # names in a note
CONFIDENCES = ("ptm", "iptm", "ranking_score")


@dataclass(frozen=True)
class ContactProbabilities:
    """Predicted contacts: ``place`` gives the row of each residue, by (chain id, number)."""

    place: dict[tuple[str, int], int]
    probability: Float[np.ndarray, "N N"]


@dataclass(frozen=True)
class Predicted:
    """A prediction as it was read.

    Attributes:
        structure, library: molecules, coordinates in Å, and their components.
        plddt: whether the B-factors are pLDDT, 0 to 100.
        contacts: probability of contact of two residues, by (chain id, residue number); None without any.
        confidences: pTM, ipTM and ranking score, as far as they are known.
        notes: what was chosen when it was read.
    """

    structure: Structure
    library: ComponentLibrary
    plddt: bool = True
    contacts: ContactProbabilities | None = None
    confidences: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PredictedFile:
    """Where a prediction is.

    Attributes:
        name: of the entry. sample: label of the structure among several of one job; "" for the first.
        structure: its file. summary, confidences: files of a results folder; None where there is none.
    """

    name: str
    structure: Path
    sample: str = ""
    summary: Path | None = None
    confidences: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """One prediction to be judged: by ``model``, of the entry ``name`` (of class ``kind``); None: no reference."""

    model: str
    predicted: PredictedFile
    reference: Path | None
    kind: str = ""

    @property
    def name(self) -> str:
        """The entry, and the sample where it is not the first."""
        return f"{self.predicted.name}/{self.predicted.sample}" if self.predicted.sample else self.predicted.name


def comparisons(
    models: Sequence[tuple[str, Path]],
    references: Sequence[Path],
    classes: Path | None = None,
    *,
    every_sample: bool = False,
) -> tuple[Comparison, ...]:
    """Return what is compared with what; entries are matched by name, whatever the case of its letters.

    A single reference file is what every prediction is compared with, whatever it is called.

    Args:
        models: names and places of predictions: a structure file, a results folder, or a folder of either.
        references: structure files, or folders of them. classes: CSV with a class for each entry.
        every_sample: take all structures of a results folder, not only the one ranked first.

    Raises:
        InputError: a path does not exist or holds no structures; two references, or two predictions of a model, have
            one name; the CSV cannot be read.
    """
    files = [file for path in references for file in _structures(path, "Reference")]
    by_name: dict[str, Path] = {}
    for file in files:
        if by_name.setdefault(_key(entry_name(file)), file) != file:
            raise InputError(
                f"References {by_name[_key(entry_name(file))]} and {file} have the same name: give each entry one."
            )
    only = files[0] if len(files) == 1 and all(path.is_file() for path in references) else None
    kinds = {} if classes is None else read_classes(classes)
    result = []
    spelling: dict[str, str] = {}
    for model, path in models:
        own: dict[tuple[str, str], Path] = {}
        for predicted in predicted_files(path, every_sample=every_sample):
            key = _key(predicted.name)
            file = own.setdefault((key, predicted.sample), predicted.structure)
            if file != predicted.structure:
                raise InputError(
                    f"Predictions {file} and {predicted.structure} have the same name: give each entry one, or the "
                    "models of one entry as models of their own."
                )
            # Models that write a name in other letters mean one entry.
            named = replace(predicted, name=spelling.setdefault(key, predicted.name))
            result.append(Comparison(model, named, only or by_name.get(key), kinds.get(key, "")))
    return tuple(result)


def unmatched(tasks: Sequence[Comparison], references: Sequence[Path], classes: Path | None = None) -> tuple[str, ...]:
    """Return what `comparisons` was given and ``tasks`` do not use, one sentence each.

    Raises:
        InputError: as `comparisons`.
    """
    notes = []
    models = list(dict.fromkeys(task.model for task in tasks))
    files = [file for path in references for file in _structures(path, "Reference")]
    for model in models:
        used = {task.reference for task in tasks if task.model == model}
        lost = [entry_name(file) for file in files if file not in used]
        if lost:
            of = f" of {model}" if len(models) > 1 else ""
            notes.append(f"References without a prediction{of}: {listed(lost, SHOWN)}.")
    if classes is not None:
        known = {_key(task.predicted.name) for task in tasks}
        lost = [name for name in read_classes(classes) if name not in known]
        if lost:
            notes.append(f"Entries of {classes} without a prediction: {listed(lost, SHOWN)}.")
    return tuple(notes)


def predicted_files(path: Path, *, every_sample: bool = False) -> tuple[PredictedFile, ...]:
    """Return the predictions that ``path`` means (see `comparisons`), by name.

    Raises:
        InputError: it does not exist, or holds no structures.
    """
    if not path.exists():
        raise InputError(f"Prediction {str(path)!r} does not exist: check the path.")
    if path.is_file():
        return (_beside(path),)
    found = _results(path, every_sample) if _is_results(path) else []
    if not found:
        found = _beside_each(path)
        # What lies flat among other structures has its samples in folders of its own there, as AlphaFold 3 writes them.
        mixed = any(file.summary for file in found)
        for child in sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")):
            if not (mixed and child.match(SAMPLES)):
                found += _results(child, every_sample)
    if not found:
        raise InputError(
            f"Folder {str(path)!r} holds no predictions: expected structure files ({', '.join(STRUCTURE_SUFFIXES)}, "
            "also gzipped), or results folders of `anfinsen predict`."
        )
    return tuple(sorted(found, key=lambda file: (file.name, file.sample)))


def entry_name(path: Path) -> str:
    """Return what a structure file is called: its name without endings."""
    name = path.name
    if name.lower().endswith(COMPRESSED):
        name = name[: -len(COMPRESSED)]
    for suffix in STRUCTURE_SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name.removesuffix(MODEL)


def read_classes(path: Path) -> dict[str, str]:
    """Return the class of each entry, by its name in small letters: the first two columns of a CSV with a header.

    Raises:
        InputError: the file cannot be read, has a line without two columns, or an entry twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Classes file {str(path)!r} cannot be read as CSV in UTF-8: {error}.") from error
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise InputError(
                f"Classes file {str(path)!r} has {len(row)} column in line {number}: expected a header and lines of "
                "entry, class."
            )
    if len(rows) < 2:
        raise InputError(f"Classes file {str(path)!r} has no entries: expected a header and lines of entry, class.")
    result: dict[str, str] = {}
    for row in rows[1:]:
        name = row[0].strip()
        if _key(name) in result:
            raise InputError(f"Classes file {str(path)!r} has entry {name!r} twice: give each entry one class.")
        result[_key(name)] = row[1].strip()
    return result


def read_predicted(file: PredictedFile, *, plddt: bool = True) -> Predicted:
    """Read one prediction with its confidences.

    B-factors are taken as pLDDT if they lie between 0 and 100 and differ; otherwise `Predicted.notes` says so.

    Raises:
        InputError: a file cannot be read.
    """
    structure, library = read_structure_and_library(file.structure)
    result = Predicted(structure, library, plddt=False)
    if plddt:
        values = structure.atoms.b_factor[structure.atoms.resolved]
        wrong = ""
        if values.min() < 0 or values.max() > 100:
            wrong = f"lie between {values.min():g} and {values.max():g}"
        elif values.max() == values.min():
            wrong = f"are all {values.max():g}"
        elif values.max() <= 1:
            wrong = "lie between 0 and 1"
        note = f"The B-factors {wrong}: they were not taken as pLDDT, which is 0 to 100."
        result = replace(result, plddt=not wrong, notes=(note,) if wrong else ())
    if file.summary is not None:
        content = _json(file.summary)
        numbers = {name: content.get(name) for name in CONFIDENCES}
        known = {n: float(v) for n, v in numbers.items() if isinstance(v, int | float) and np.isfinite(v)}
        result = replace(result, confidences=known)
    if file.confidences is not None:
        result = replace(result, contacts=_contact_probabilities(file.confidences))
    return result


def _contact_probabilities(path: Path) -> ContactProbabilities | None:
    content = _json(path)
    if "contact_probs" not in content:
        return None
    try:
        probability = np.array(content["contact_probs"], dtype=np.float64)
        tokens = list(zip(content["token_chain_ids"], content["token_res_ids"], strict=True))
        if probability.shape != (len(tokens), len(tokens)) or not np.isfinite(probability).all():
            raise ValueError("contact_probs is not one finite number for each pair of tokens")
        place: dict[tuple[str, int], int] = {}
        for row, (chain, number) in enumerate(tokens):
            place.setdefault((str(chain), int(number)), row)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"Confidences {path} cannot be used: {type(error).__name__}, {error}.") from error
    return ContactProbabilities(place, probability)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Confidences {path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"Confidences {path} hold a {type(content).__name__}: expected a JSON object.")
    return content


def _results(folder: Path, every_sample: bool) -> list[PredictedFile]:
    """The structures of a results folder of `anfinsen predict` or AlphaFold 3, and what others lie with them.

    There are none where no structure has confidences beside it.
    """
    every = _beside_each(folder)
    found = [file for file in every if _is_result(file)]
    if not found or not _is_results(folder):
        return every if found else []
    if not every_sample:
        return found
    name, result = found[0].name, []
    for child in sorted(folder.glob(SAMPLES)):
        files = [file for file in sorted(child.iterdir()) if _is_structure(file)] if child.is_dir() else []
        result += [replace(_beside(file), name=name, sample=child.name) for file in files[:1]]
    return result or found


def _is_result(file: PredictedFile) -> bool:
    return file.summary is not None and entry_name(file.structure) != _stem(file.structure)


def _is_results(folder: Path) -> bool:
    """Whether all that lies in a folder is of one job."""
    every = _beside_each(folder)
    found = {file.name for file in every if _is_result(file)}
    return len(found) == 1 and (
        {file.name for file in every} == found or (folder / f"{min(found)}_settings.json").is_file()
    )


def _beside_each(folder: Path) -> list[PredictedFile]:
    return [_beside(child) for child in sorted(folder.iterdir()) if _is_structure(child)]


def _beside(structure: Path) -> PredictedFile:
    """A structure file with the confidences that stand beside it, if any."""
    name = entry_name(structure)
    files = [structure.parent / f"{name}_{what}.json" for what in ("summary_confidences", "confidences")]
    summary, confidences = (file if file.is_file() else None for file in files)
    return PredictedFile(name, structure, "", summary, confidences)


def _structures(path: Path, what: str) -> list[Path]:
    if not path.exists():
        raise InputError(f"{what} {str(path)!r} does not exist: check the path.")
    if path.is_file():
        return [path]
    found = sorted(child for child in path.iterdir() if _is_structure(child))
    if not found:
        raise InputError(
            f"{what} folder {str(path)!r} holds no structures: expected files that end in "
            f"{', '.join(STRUCTURE_SUFFIXES)} (also gzipped)."
        )
    return found


def _is_structure(path: Path) -> bool:
    name = path.name.lower().removesuffix(COMPRESSED)
    return path.is_file() and name.endswith(STRUCTURE_SUFFIXES) and not name.startswith(".")


def _stem(path: Path) -> str:
    name = entry_name(path)
    return name + MODEL if path.name.startswith(name + MODEL) else name


def _key(name: str) -> str:
    return name.lower()
