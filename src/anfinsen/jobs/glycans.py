"""Glycans as AlphaFold Server writes them: a tree of component codes, ``NAG(FUC)(NAG(BMA(MAN)(MAN)))``.

The notation says which sugar hangs on which, not through which atoms. Where it does not, each link takes the
position that is most common in glycoproteins (chitobiose β1-4, core fucose α1-6, mannose α1-3 and α1-6 on the
branching mannose, α1-2 along the arms …), a choice that is noted for the user. Links can also be stated, as Chai-1
writes them: ``NAG(4-1 NAG(6-1 FUC))`` joins O4 of the first to C1 of the second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..common.errors import JobError
from ..common.text import listed, shown
from .chain_ids import ChainIds
from .job import AtomAddress, JobBond, Ligand
from .reading import Reading

MAX_SUGARS = 200

# The atom of the amino acid that carries a glycan: N-linked and O-linked.
_CARRIER = {"N": "ND2", "S": "OG", "T": "OG1"}
# Sugars whose anomeric carbon is C2 (keto sugars and sialic acids); all others link through C1.
_KETOSES = frozenset({"SIA", "SLB", "NGC", "NGE", "FRU", "KDN", "KDO"})
_FUCOSES = frozenset({"FUC", "FUL"})
_MANNOSES = frozenset({"MAN", "BMA"})
_GLUCOSAMINES = frozenset({"NAG", "NDG"})
_GALACTOSES = frozenset({"GAL", "GLA", "NGA", "A2G"})

_TOKEN = re.compile(r"\s*(?:([()])|(\d)-(\d)(?=[\s(])|([A-Za-z0-9]+))")


@dataclass(frozen=True)
class Sugar:
    """One sugar: its code, the index of the sugar it hangs on (-1: none), and both linked positions (0: not said)."""

    code: str
    parent: int
    parent_position: int = 0
    own_position: int = 0


@dataclass(frozen=True)
class GlycanSite:
    """A glycan to attach: its notation, the protein chains and the 1-based residue (with its letter) that carry it."""

    text: str
    chains: tuple[str, ...]
    position: int
    letter: str
    where: str


def parse_glycan(text: str, where: str) -> tuple[Sugar, ...]:
    """Return the sugars of ``text``, each after the one it hangs on.

    Raises:
        JobError: the text is not such a tree.
    """
    sugars: list[Sugar] = []
    open_at: list[int] = []  # the sugars whose brackets are open
    link = (0, 0)
    expects_code = True
    current = -1
    position = 0
    body = text.strip()
    while position < len(body):
        match = _TOKEN.match(body, position)
        bracket, first, second, code = match.groups() if match else (None, None, None, None)
        if code and expects_code and len(sugars) < MAX_SUGARS:
            sugars.append(Sugar(code, open_at[-1] if open_at else -1, *link))
            current, link, expects_code = len(sugars) - 1, (0, 0), False
        elif first and expects_code and open_at and link == (0, 0):
            link = (int(first), int(second or 0))
        elif bracket == "(" and not expects_code:
            open_at.append(current)
            expects_code = True
        elif bracket == ")" and not expects_code and open_at:
            current = open_at.pop()
        else:
            break
        position = match.end() if match else position
    if position < len(body) or expects_code or open_at:
        raise JobError(
            f"{where} has the glycan {shown(text)}, which cannot be read at character {position + 1}: expected a tree "
            f"of at most {MAX_SUGARS} codes such as NAG(FUC)(NAG(BMA))."
        )
    return tuple(sugars)


def attach_glycan(site: GlycanSite, ids: ChainIds, reading: Reading) -> tuple[Ligand, tuple[JobBond, ...]]:
    """Return a glycan as a ligand with one copy per chain that carries it, and the bonds that hold it together.

    ``ids`` gives the glycan's chains their names; ``reading`` receives a note about links that were chosen.

    Raises:
        JobError: the notation is wrong, the residue cannot carry a glycan, or a sugar has no free position.
    """
    text, where = site.text, site.where
    sugars = parse_glycan(text, where)
    if site.letter not in _CARRIER:
        raise JobError(
            f"{where} attaches a glycan to {site.letter} at position {site.position}: only asparagine (N), serine (S) "
            "and threonine (T) carry one."
        )
    carrier = _CARRIER[site.letter]
    links = _links(sugars, where)
    inner = [f"{sugars[sugar.parent].code}-{a}/{c}-{sugar.code}" for sugar, (a, c) in links]
    chosen = any(sugar.parent_position == 0 for sugar, _ in links)
    anchor = f"{carrier}/C{_anomeric(sugars[0])}-{sugars[0].code}"
    if chosen:
        reading.note(f"{where}: the glycan {shown(text)} does not state its links; took {anchor}, {listed(inner)}.")
    glycan = Ligand(
        ids=ids.take(len(site.chains)),
        ccd_codes=tuple(sugar.code for sugar in sugars),
        description=f"glycan {text.strip()}",
    )
    bonds = []
    for chain, name in zip(site.chains, glycan.ids, strict=True):
        root = AtomAddress(chain=name, residue=1, atom=f"C{_anomeric(sugars[0])}")
        bonds.append(JobBond(first=AtomAddress(chain=chain, residue=site.position, atom=carrier), second=root))
        for index, (sugar, (parent_atom, own_atom)) in enumerate(links, start=2):
            parent = AtomAddress(chain=name, residue=sugar.parent + 1, atom=parent_atom)
            bonds.append(JobBond(first=parent, second=AtomAddress(chain=name, residue=index, atom=own_atom)))
    return glycan, tuple(bonds)


def _links(sugars: tuple[Sugar, ...], where: str) -> list[tuple[Sugar, tuple[str, str]]]:
    """Each sugar but the root, with the atom of its parent and its own atom."""
    children = [sum(other.parent == index for other in sugars) for index in range(len(sugars))]
    used: list[set[int]] = [{sugar.own_position} | {_anomeric(sugar)} for sugar in sugars]
    for sugar in sugars[1:]:
        used[sugar.parent].add(sugar.parent_position)
    links = []
    for sugar in sugars[1:]:
        parent = sugars[sugar.parent]
        wanted = [sugar.parent_position] if sugar.parent_position else []
        if not wanted:
            preferred = _preferred(parent.code, sugar.code, children[sugar.parent])
            wanted = [position for position in preferred if position not in used[sugar.parent]]
        if not wanted:
            raise JobError(f"{where}: {parent.code} has no position left for {sugar.code} in the glycan.")
        used[sugar.parent].add(wanted[0])
        links.append((sugar, (f"O{wanted[0]}", f"C{_anomeric(sugar)}")))
    return links


def _anomeric(sugar: Sugar) -> int:
    return sugar.own_position or (2 if sugar.code in _KETOSES else 1)


def _preferred(parent: str, child: str, children: int) -> tuple[int, ...]:
    """Hydroxyl positions of ``parent`` for ``child``, the most common first; ``children`` is how many it carries."""
    branching = parent == "BMA" or children > 1
    rules = (
        (parent in _GLUCOSAMINES and child in _FUCOSES, (6, 3, 4)),  # core fucose
        (parent in _GLUCOSAMINES, (4, 6, 3)),
        (parent in _MANNOSES and child in _MANNOSES and branching, (3, 6, 2, 4)),
        (parent in _MANNOSES and child in _MANNOSES, (2, 3, 6, 4)),
        (parent == "BMA" and child in _GLUCOSAMINES, (4, 2, 6, 3)),  # the bisecting N-acetylglucosamine
        (parent == "MAN" and child in _GLUCOSAMINES, (2, 4, 6, 3)),
        (parent in _GALACTOSES and child in _FUCOSES, (2, 3, 4, 6)),
        (parent in _GALACTOSES or child in _KETOSES, (3, 6, 4, 2)),
    )
    return next((positions for applies, positions in rules if applies), (4, 6, 3, 2))
