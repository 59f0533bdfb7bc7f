"""Protein chains with side chains, read once from a folder of structure files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.common.errors import AnfinsenError, InputError
from anfinsen.common.files import atomic_path
from anfinsen.common.progress import Progress, Silent
from anfinsen.features.residue_atoms import ResidueAtoms, residue_atoms

from .data_structures import list_training_files

_SHORTEST = 20  # residues with a known CA
_CA = 1  # place among the 14 atoms
_FIELDS = ("residue_type", "number", "atoms", "mask")


class ProteinStore:
    """Chains of the training part of a folder (its manifest says which), each sequence once.

    Attributes:
        chains: in the order of the files. refused: why files could not be used, by name.
    """

    def __init__(self, folder: Path, cache: Path, progress: Progress | None = None) -> None:
        """Read ``folder``, or what an earlier run kept of it in ``cache``.

        Raises:
            InputError: the folder or the cache cannot be read. OutputError: the cache cannot be written.
        """
        files = list_training_files(folder)
        self.chains: list[ResidueAtoms] = []
        self.refused: dict[str, str] = {}
        if cache.exists():
            self.chains = _read(cache)
            return
        progress = progress or Silent()
        progress.stage("proteins with side chains", len(files))
        seen: set[bytes] = set()
        for name in files:
            try:
                structure = read_structure(folder / name)
            except AnfinsenError as error:
                self.refused[name] = str(error)
                continue
            finally:
                progress.advance()
            for index, chain in enumerate(structure.chains):
                if chain.kind is not ChainKind.PROTEIN:
                    continue
                found = residue_atoms(structure, index)
                key = found.residue_type.tobytes()
                if found.mask[:, _CA].sum() >= _SHORTEST and key not in seen:
                    seen.add(key)
                    self.chains.append(found)
        _write(self.chains, cache)

    def __len__(self) -> int:
        return len(self.chains)


def _write(chains: list[ResidueAtoms], path: Path) -> None:
    arrays = {name: np.concatenate([getattr(c, name) for c in chains]) for name in _FIELDS} if chains else {}
    arrays["lengths"] = np.array([len(c.number) for c in chains], dtype=np.int64)
    with atomic_path(path) as temporary:
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, temporary)


def _read(path: Path) -> list[ResidueAtoms]:
    try:
        stored = load_file(path)
        if not len(stored["lengths"]):
            return []
        parts = [np.split(stored[name], np.cumsum(stored["lengths"])[:-1]) for name in _FIELDS]
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it, and start the training again.") from error
    return [ResidueAtoms(*each) for each in zip(*parts, strict=True)]
