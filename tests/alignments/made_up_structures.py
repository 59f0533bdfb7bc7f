"""Made-up structure files: chains of any sequence along a helix, full backbones, written by gemmi."""

import math

import gemmi

from anfinsen.chemistry import COMPONENT_OF_LETTER, ChainKind

CODES = COMPONENT_OF_LETTER[ChainKind.PROTEIN]
# About the residue's CA, Å: enough for features of templates, not a real geometry.
BACKBONE = {"N": (-0.8, -1.2, 0.1), "CA": (0.0, 0.0, 0.0), "C": (0.9, 0.8, 0.9), "O": (1.6, 1.7, 0.5)}


def helix(number, shift=0.0):
    """Place of a CA."""
    turn = math.radians(100) * number
    return 2.3 * math.cos(turn) + shift, 2.3 * math.sin(turn), 1.5 * number


def mmcif(chains, released="", missing=(), entry="MADE"):
    """mmCIF text of chains (name → sequence); residues of ``missing`` (0-based) have no coordinates."""
    structure, model, entities = gemmi.Structure(), gemmi.Model(1), []
    structure.name = entry
    for place, (name, sequence) in enumerate(chains.items()):
        chain, codes = gemmi.Chain(name), [CODES[letter] for letter in sequence]
        for number, code in enumerate(codes):
            if number in missing:
                continue
            residue = gemmi.Residue()
            residue.name, residue.seqid = code, gemmi.SeqId(str(number + 101))
            residue.label_seq, residue.subchain, residue.entity_id = number + 1, name, str(place + 1)
            residue.entity_type = gemmi.EntityType.Polymer
            atoms = BACKBONE if code == "GLY" else {**BACKBONE, "CB": (0.5, -0.6, -1.3)}
            x, y, z = helix(number, 40.0 * place)
            for atom_name, (dx, dy, dz) in atoms.items():
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
                atom.pos, atom.occ, atom.b_iso = gemmi.Position(x + dx, y + dy, z + dz), 1.0, 20.0
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
        entity = gemmi.Entity(str(place + 1))
        entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
        entity.full_sequence, entity.subchains = codes, [name]
        entities.append(entity)
    structure.add_model(model)
    structure.entities = gemmi.EntityList(entities)
    document = structure.make_mmcif_document()
    if released:
        block = document.sole_block()
        block.set_pairs("_pdbx_audit_revision_history.", {"ordinal": "1", "revision_date": released})
    return document.as_string()
