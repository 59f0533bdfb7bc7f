"""The Chemical Component Dictionary (CCD), as biotite ships it, and the library of components a job may use."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from biotite.structure.info import get_ccd
from biotite.structure.io.pdbx.encoding import decode_stepwise, deserialize_encoding
from jaxtyping import Bool, Float, Float32, Int, Int8
from numpy.typing import NDArray

from ..common.errors import ChemistryError
from .component import Component
from .component_table import ComponentTable, component_from_table

_CACHED_COMPONENTS = 4096
_CCD_DECIMALS = 3  # coordinates are written with three decimals; float32 storage keeps them


class ComponentLibrary:
    """Components by code: the full CCD, and before it the components given by the user.

    The CCD is read on first use, once per process (about 0.5 s and 180 MB).
    """

    def __init__(self, extra: Mapping[str, Component] | None = None) -> None:
        self._extra = dict(extra or {})

    @property
    def extra(self) -> Mapping[str, Component]:
        """The components that were added to the CCD, by code."""
        return self._extra

    def get(self, code: str) -> Component:
        """Return the component called ``code`` (upper and lower case differ, as in the CCD).

        Raises:
            ChemistryError: there is none; the message names the nearest codes.
        """
        if code in self._extra:
            return self._extra[code]
        if code not in _tables().rows:
            near = self._near(code)
            hint = f"; near codes are {', '.join(near)}" if near else ""
            raise ChemistryError(
                f"Unknown chemical component {code!r}: neither the Chemical Component Dictionary nor the components "
                f"given with the job have this code{hint}."
            )
        return _ccd_component(code)

    def with_components(self, components: Iterable[Component]) -> ComponentLibrary:
        """Return a library that also holds ``components``; they take precedence over the CCD's of the same code."""
        return ComponentLibrary(self._extra | {component.code: component for component in components})

    def replaced_by(self, code: str) -> str | None:
        """Return None for a current component, and for an obsolete one its successor ("" where there is none)."""
        if code in self._extra or code not in _tables().rows:
            return None
        return _tables().obsolete.get(code)

    def __contains__(self, code: object) -> bool:
        return code in self._extra or code in _tables().rows

    def __iter__(self) -> Iterator[str]:
        yield from self._extra
        yield from (code for code in _tables().rows if code not in self._extra)

    def _near(self, code: str) -> list[str]:
        upper = code.strip().upper()
        exact = [upper] if upper in self else []
        close = difflib.get_close_matches(upper, [*self._extra, *_tables().rows], n=4, cutoff=0.6)
        return [*exact, *(name for name in close if name not in exact)]


@dataclass(frozen=True)
class _Tables:
    """The CCD's columns, compact: text as bytes, coordinates as float32; rows of one component are contiguous."""

    rows: dict[str, int]
    obsolete: dict[str, str]
    names: _Text
    types: NDArray[np.character]
    one_letter: NDArray[np.character]
    parents: NDArray[np.character]
    atom_ranges: dict[str, tuple[int, int]]
    bond_ranges: dict[str, tuple[int, int]]
    atom_names: NDArray[np.character]
    symbols: NDArray[np.character]
    charges: Int8[np.ndarray, "a"]
    leaving: Bool[np.ndarray, "a"]
    stereo: NDArray[np.character]
    ideal: Float32[np.ndarray, "a 3"]
    model: Float32[np.ndarray, "a 3"]
    has_ideal: Bool[np.ndarray, "a"]
    has_model: Bool[np.ndarray, "a"]
    first: NDArray[np.character]
    second: NDArray[np.character]
    orders: NDArray[np.character]
    bond_stereo: NDArray[np.character]


@cache
def _tables() -> _Tables:
    # The undecoded file, past biotite's cache, which would keep it and every decoded column alive.
    block = get_ccd.__wrapped__().serialize()
    raw = {category["name"].lstrip("_"): category["columns"] for category in block["categories"]}
    components, atoms, bonds = (_Columns(raw[name]) for name in ("chem_comp", "chem_comp_atom", "chem_comp_bond"))
    codes = components.text("id").decode()
    released = components.text("pdbx_release_status").decode()
    successors = components.text("pdbx_replaced_by").decode()
    ideal, has_ideal = atoms.coordinates("pdbx_model_Cartn_{}_ideal")
    model, has_model = atoms.coordinates("model_Cartn_{}")
    return _Tables(
        rows={str(code): row for row, code in enumerate(codes)},
        obsolete={str(codes[row]): str(successors[row]) for row in np.flatnonzero(released == "OBS")},
        names=components.text("name"),
        types=components.text("type").decode(),
        one_letter=components.text("one_letter_code").decode(),
        parents=components.text("mon_nstd_parent_comp_id").decode(),
        atom_ranges=atoms.text("comp_id").ranges(),
        bond_ranges=bonds.text("comp_id").ranges(),
        atom_names=atoms.text("atom_id").encoded(),
        symbols=atoms.text("type_symbol").encoded(),
        charges=atoms.numbers("charge").astype(np.int8),
        leaving=atoms.text("pdbx_leaving_atom_flag").encoded() == b"Y",
        stereo=atoms.text("pdbx_stereo_config").encoded(),
        ideal=ideal,
        model=model,
        has_ideal=has_ideal,
        has_model=has_model,
        first=bonds.text("atom_id_1").encoded(),
        second=bonds.text("atom_id_2").encoded(),
        orders=bonds.text("value_order").encoded(),
        bond_stereo=bonds.text("pdbx_stereo_config").encoded(),
    )


@lru_cache(maxsize=_CACHED_COMPONENTS)
def _ccd_component(code: str) -> Component:
    tables = _tables()
    row = tables.rows[code]
    atoms = slice(*tables.atom_ranges.get(code, (0, 0)))
    bonds = slice(*tables.bond_ranges.get(code, (0, 0)))
    symbols = tables.symbols[atoms].astype(str)
    heavy = ~np.isin(symbols, ("H", "D"))
    parent = str(tables.parents[row])
    table = ComponentTable(
        code=code,
        name=tables.names[row].replace("\n", "").strip(),
        type=str(tables.types[row]).upper(),
        one_letter=str(tables.one_letter[row]),
        # Chromophores made of several residues list them all, which is no single parent.
        parent="" if "," in parent else parent,
        atom_names=tables.atom_names[atoms].astype(str),
        symbols=symbols,
        charges=tables.charges[atoms].astype(np.int64),
        leaving=tables.leaving[atoms],
        stereo=tables.stereo[atoms].astype(str),
        first=tables.first[bonds].astype(str),
        second=tables.second[bonds].astype(str),
        orders=tables.orders[bonds].astype(str),
        bond_stereo=tables.bond_stereo[bonds].astype(str),
        ideal=_complete(tables.ideal[atoms], tables.has_ideal[atoms], heavy),
        model=_complete(tables.model[atoms], tables.has_model[atoms], heavy),
    )
    return component_from_table(table)


def _complete(
    values: Float32[np.ndarray, "n 3"], present: Bool[np.ndarray, "n"], heavy: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3"] | None:
    if not heavy.any() or not present[heavy].all():
        return None
    return np.asarray(np.round(values.astype(np.float64), _CCD_DECIMALS), dtype=np.float64)


@dataclass(frozen=True)
class _Text:
    """A text column as BinaryCIF stores it: the distinct strings in one text, and each row's string (-1: missing).

    Decoded by biotite, every row is padded to the longest: the names alone would take 165 MB.
    """

    text: str
    offsets: Int[np.ndarray, "k"]
    index: Int[np.ndarray, "r"]

    def __getitem__(self, row: int) -> str:
        entry = int(self.index[row])
        return "" if entry < 0 else self.text[self.offsets[entry] : self.offsets[entry + 1]]

    def decode(self) -> NDArray[np.character]:
        """Return one string per row, "" where missing."""
        return np.take(np.array([*self._distinct(), ""], dtype=np.str_), self.index)

    def encoded(self) -> NDArray[np.character]:
        """Return one byte string per row, b"" where missing."""
        return np.take(np.array([*self._distinct(), ""], dtype=np.bytes_), self.index)

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return first row and one past the last row of each string; equal strings must be contiguous."""
        starts = np.concatenate([[0], np.flatnonzero(np.diff(self.index)) + 1])
        stops = np.append(starts[1:], len(self.index))
        return {self[int(a)]: (int(a), int(b)) for a, b in zip(starts, stops, strict=True)}

    def _distinct(self) -> list[str]:
        return [self.text[a:b] for a, b in itertools.pairwise(self.offsets)]


class _Columns:
    """A BinaryCIF category, decoded column by column without keeping what was decoded."""

    def __init__(self, columns: list[dict[str, Any]]) -> None:
        self._raw = {column["name"]: column for column in columns}

    def numbers(self, name: str) -> NDArray[Any]:
        return _decode(self._raw[name]["data"]["data"], self._raw[name]["data"]["encoding"])

    def present(self, name: str) -> NDArray[np.bool_]:
        mask = self._raw[name]["mask"]
        if mask is None:
            return np.ones(len(self.numbers(name)), dtype=bool)
        return np.asarray(_decode(mask["data"], mask["encoding"]) == 0, dtype=np.bool_)

    def text(self, name: str) -> _Text:
        data = self._raw[name]["data"]
        encoding = data["encoding"][0]
        index = _decode(data["data"], encoding["dataEncoding"]).astype(np.int32)
        if (mask := self._raw[name]["mask"]) is not None:
            index = np.where(_decode(mask["data"], mask["encoding"]) == 0, index, np.int32(-1))
        offsets = _decode(encoding["offsets"], encoding["offsetEncoding"]).astype(np.int64)
        return _Text(encoding["stringData"], offsets, index)

    def coordinates(self, pattern: str) -> tuple[Float32[np.ndarray, "a 3"], Bool[np.ndarray, "a"]]:
        names = [pattern.format(axis) for axis in "xyz"]
        values = np.stack([self.numbers(name).astype(np.float32) for name in names], axis=1)
        present = np.logical_and.reduce([self.present(name) for name in names])
        return np.where(present[:, None], values, np.float32(0)), present


def _decode(data: bytes, encoding: list[dict[str, Any]]) -> NDArray[Any]:
    return np.asarray(decode_stepwise(data, [deserialize_encoding(step) for step in encoding]))
