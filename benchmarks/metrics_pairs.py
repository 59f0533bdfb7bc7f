"""Make pairs for `metrics_agreement.py`: real structures, and what may go wrong with a prediction done to them.

Run: python benchmarks/metrics_pairs.py OUT FILE [FILE...]
Of each structure's polymers OUT/references gets three copies (NAME_a, NAME_b, NAME_c) and OUT/predicted as many changed
ones: atoms moved by noise of 0.3 or 1 Å, chains by about as much, names of symmetric atoms of amino acids exchanged in
half of the residues, and one residue in twenty missing (a, b); chains in reverse order, under each other's names (c).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import gemmi
import numpy as np

from anfinsen.common.errors import InputError
from anfinsen.common.script import run_script
from anfinsen.metrics.naming import SYMMETRIC

NOISE, SHIFT = {"a": 0.3, "b": 1.0, "c": 0.3}, {"a": 0.5, "b": 2.0, "c": 1.5}  # Å, along each axis
LOST, EXCHANGED = 0.05, 0.5  # shares of residues
CAPS = ("ACE", "NH2", "NME")  # OpenStructure knows the amino acids themselves


def polymers(path: Path) -> gemmi.Structure:
    """Return the polymers of the first model: heavy atoms, in one place each.

    Raises:
        InputError: it cannot be read, or has none.
    """
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    structure.setup_entities()
    del structure[1:]
    structure.remove_ligands_and_waters()
    structure.remove_hydrogens()
    structure.remove_alternative_conformations()
    for chain in structure[0] if len(structure) else ():
        for index in reversed([i for i, residue in enumerate(chain) if residue.name in CAPS]):
            del chain[index]
    structure.remove_empty_chains()
    if not len(structure) or not len(structure[0]):
        raise InputError(f"{path} has no polymers.")
    for entity in structure.entities:
        entity.full_sequence = [name for name in entity.full_sequence if name not in CAPS]
    return structure


def changed(structure: gemmi.Structure, kind: str, rng: np.random.Generator) -> gemmi.Structure:
    result = structure.clone()
    for chain in result[0]:
        step, lost = rng.normal(size=3) * SHIFT[kind], []
        for index, residue in enumerate(chain):
            # The names of a phosphate's oxygens mean something to DockQ.
            known = SYMMETRIC.get(residue.name, ()) if len(residue.name) == 3 else ()
            if rng.random() < EXCHANGED:
                other = {a: b for pair in known for a, b in (pair, pair[::-1])}
                for atom in residue:
                    atom.name = other.get(atom.name, atom.name)
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) + rng.normal(size=3) * NOISE[kind] + step))
            # Which of two equal neighbours is missing, no alignment can tell.
            beside = [chain[i].name for i in (index - 1, index + 1) if 0 <= i < len(chain)]
            if rng.random() < LOST and len(beside) == 2 and residue.name not in beside:
                lost.append(index)
        for index in reversed(lost) if kind != "c" else ():
            del chain[index]
    if kind == "c":
        model = gemmi.Model(1)
        chains = list(result[0])
        for chain, like in zip(reversed(chains), chains, strict=True):
            copy = chain.clone()
            copy.name = like.name
            model.add_chain(copy)
        del result[0]
        result.add_model(model)
        result.setup_entities()
    return result


def pairs(path: Path, seed: int) -> Iterator[tuple[str, gemmi.Structure, gemmi.Structure]]:
    """Yield name, prediction and reference; a chain alone has no other order."""
    structure = polymers(path)
    for number, kind in enumerate(NOISE):
        if kind != "c" or len(structure[0]) > 1:
            made = changed(structure, kind, np.random.default_rng([seed, number]))
            yield f"{path.name.split('.')[0]}_{kind}", made, structure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    for folder in ("predicted", "references"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for seed, path in enumerate(args.files):
        for name, made, true in pairs(path, seed):
            made.write_pdb(str(args.out / "predicted" / f"{name}.pdb"))
            true.write_pdb(str(args.out / "references" / f"{name}.pdb"))
            count += 1
    print(f"{count} pairs in {args.out}.")


if __name__ == "__main__":
    run_script(main)
