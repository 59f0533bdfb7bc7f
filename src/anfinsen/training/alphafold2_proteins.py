"""Protein chains with side chains, read once from a folder of structure files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.common.errors import AnfinsenError, InputError
from anfinsen.common.files import atomic_path
from anfinsen.common.progress import Progress, Silent
from anfinsen.features.residue_atoms import ResidueAtoms, residue_atoms

from .data_structures import list_training_files

_SHORTEST = 20  # residues with a known CA
_IDENTITY = "files"  # key of the cache's metadata
_CA = 1  # place among the 14 atoms
_FORMAT = 2  # raised when other atoms are kept of the same files
_FIELDS = ("residue_type", "number", "atoms", "mask")


class ProteinStore:
    """Chains of the training part of a folder (its manifest says which), each sequence once.

    Attributes:
        chains: in the order of the files. refused: why files could not be used, by name, if they were read now.
    """

    def __init__(self, folder: Path, cache: Path, progress: Progress | None = None) -> None:
        """Read ``folder``, or what an earlier run kept in ``cache`` of the same files.

        Raises:
            InputError: the folder or the cache cannot be read. OutputError: the cache cannot be written.
        """
        files = list_training_files(folder)
        self.chains: list[ResidueAtoms] = []
        self.refused: dict[str, str] = {}
        identity = _identity(folder, files)
        if cache.exists() and _identity_of(cache) == identity:
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
        if self.refused:
            name, reason = next(iter(self.refused.items()))
            progress.note(f"Structure files that are left out: {len(self.refused)}; {name} for one: {reason}")
        _write(self.chains, cache, identity)

    def __len__(self) -> int:
        return len(self.chains)


def _identity(folder: Path, files: list[str]) -> str:
    """Return what changes when other files, or files of another size or time, are to be read."""
    states: list[tuple[str, int, int]] = []
    for name in files:
        try:
            state = (folder / name).stat()
            states.append((name, state.st_size, state.st_mtime_ns))
        except OSError:
            states.append((name, 0, 0))  # a manifest may name a file that is not there; reading it says so
    return hashlib.sha256(repr((_FORMAT, states)).encode()).hexdigest()


def _identity_of(path: Path) -> str:
    """Return the identity of the files that the cache was made of; empty for one that says none."""
    try:
        with safe_open(path, framework="numpy") as handle:
            return str((handle.metadata() or {}).get(_IDENTITY, ""))
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read ({error}): delete it, and start the training again.")


def _write(chains: list[ResidueAtoms], path: Path, identity: str) -> None:
    arrays = {name: np.concatenate([getattr(c, name) for c in chains]) for name in _FIELDS} if chains else {}
    arrays["lengths"] = np.array([len(c.number) for c in chains], dtype=np.int64)
    with atomic_path(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(values) for name, values in arrays.items()}, temporary, {_IDENTITY: identity}
        )


def _read(path: Path) -> list[ResidueAtoms]:
    try:
        stored = load_file(path)
        if not len(stored["lengths"]):
            return []
        parts = [np.split(stored[name], np.cumsum(stored["lengths"])[:-1]) for name in _FIELDS]
    except (OSError, KeyError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    return [ResidueAtoms(*each) for each in zip(*parts, strict=True)]
