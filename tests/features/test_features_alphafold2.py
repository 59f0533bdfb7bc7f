"""AlphaFold 2's features of a complex: residues and chains, merged rows, couplings, templates; what is refused."""

import dataclasses

import gemmi
import numpy as np
import pytest
import torch

from anfinsen.alignments import parse_msa
from anfinsen.chemistry import (
    RESIDUE_TYPES,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    assemble,
    atom14_names,
    rigid_groups,
)
from anfinsen.chemistry.tokens import GAP, RESTYPES
from anfinsen.common.errors import AlignmentError, JobError
from anfinsen.common.seeding import numpy_generator
from anfinsen.features import ChainAlignments, complex_from_structure, coupling_channels
from anfinsen.features.alphafold2 import (
    MULTIMER_ROWS,
    AlphaFold2FeatureConfig,
    alphafold2_batch,
    alphafold2_inputs,
    merged_rows,
)
from anfinsen.features.alphafold2_msa import AlphaFold2MsaConfig
from anfinsen.features.alphafold2_templates import _features_of
from anfinsen.features.coupling_scores import coupling_scores
from anfinsen.features.msa import chain_rows
from anfinsen.geometry import ResidueTables, random_rotations
from anfinsen.jobs import TemplateAlignment

LETTERS = dict(zip("ARNDCQEGHILKMFPSTWYVX", RESIDUE_TYPES, strict=True))
MONOMER, MULTIMER = AlphaFold2FeatureConfig(), AlphaFold2FeatureConfig(multimer=True)


@pytest.fixture(scope="module")
def library():
    return ComponentLibrary()


def protein(chain_id, entity, sequence, copy=1, replaced=()):
    codes = [LETTERS[letter] for letter in sequence]
    for place, code in replaced:
        codes[place] = code
    return ChainSpec(chain_id, entity, copy, ChainKind.PROTEIN, tuple(codes))


def aligned(query, *rows):
    named = [row if isinstance(row, tuple) else (f"r{i}", row) for i, row in enumerate(rows)]
    text = "".join(f">{name}\n{row}\n" for name, row in [("query", query), *named])
    return parse_msa(text, query, ChainKind.PROTEIN, "test")


def complex_of(library, chains, alignments=None):
    return complex_from_structure(assemble("test", chains, (), library), library, alignments, 0)


def batch_of(library, chains, alignments=None, config=MONOMER, seed=0):
    return alphafold2_batch(complex_of(library, chains, alignments), config, numpy_generator(seed, "test"))


def rows_of(library, chains, alignments, limits=MULTIMER_ROWS):
    made = complex_of(library, chains, alignments)
    return merged_rows(chain_rows(made, limits), made.structure, limits.max_msa_rows)


def text_of(rows):
    one = {code: letter for letter, code in LETTERS.items()} | {"GAP": "-"}
    return ["".join(one[RESTYPES[type_]] for type_ in row) for row in rows]


def test_residues_of_one_chain(library):
    batch = batch_of(library, [protein("A", 1, "MSXSW", replaced=[(1, "SEP"), (3, "MSE")])])
    # A phosphoserine is serine, selenomethionine methionine; an unknown residue is the 21st type.
    assert batch.aatype.tolist() == [RESIDUE_TYPES.index(name) for name in ("MET", "SER", "UNK", "MET", "TRP")]
    assert batch.residue_index.tolist() == [0, 1, 2, 3, 4]
    assert batch.asym_id.tolist() == [1] * 5
    assert batch.mask.all()
    assert batch.msa.shape == (1, 5)
    assert batch.pair_couplings.shape == (5, 5, 0)
    assert batch.template_aatype.shape == (0, 5)
    assert len(batch.extra_msa) == 0
    alone = dataclasses.replace(MONOMER, msa=AlphaFold2MsaConfig(extra_query=True))
    shown = batch_of(library, [protein("A", 1, "MSW")], config=alone)
    assert torch.equal(shown.extra_msa[0], shown.aatype)


def test_chains_know_their_sequence_and_copy(library):
    chains = [protein("A", 1, "MK"), protein("B", 2, "GWY"), protein("C", 1, "MK", copy=2)]
    batch = batch_of(library, chains, config=MULTIMER)
    assert batch.residue_index.tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert batch.asym_id.tolist() == [1, 1, 2, 2, 2, 3, 3]
    assert batch.entity_id.tolist() == [1, 1, 2, 2, 2, 1, 1]
    assert batch.sym_id.tolist() == [1, 1, 1, 1, 1, 2, 2]
    swapped = batch_of(library, [chains[1], chains[0], chains[2]], config=MULTIMER)
    moved = [3, 4, 0, 1, 2, 5, 6]
    for name in ("aatype", "residue_index", "entity_id", "sym_id"):
        assert torch.equal(getattr(swapped, name)[moved], getattr(batch, name)), name


def test_rows_of_different_sequences_stand_in_blocks(library):
    chains = [protein("A", 1, "MCK"), protein("B", 2, "GW"), protein("C", 1, "MCK", copy=2)]
    first, second = aligned("MCK", "MC-", "MAwwK"), aligned("GW", "G-")
    rows, deletions = rows_of(library, chains, {"A": first, "B": second, "C": first})
    assert text_of(rows) == ["MCKGWMCK", "MC---MC-", "MAK--MAK", "---G----"]
    assert deletions.nonzero()[0].tolist() == [2, 2]
    assert deletions[2, [2, 7]].tolist() == [2, 2]


def test_rows_of_copies_stand_side_by_side(library):
    msa = aligned("MCK", "MC-")
    chains = [protein("A", 1, "MCK"), protein("B", 1, "MCK", copy=2)]
    rows, _ = rows_of(library, chains, {"A": msa, "B": msa})
    assert text_of(rows) == ["MCKMCK", "MC-MC-"]


def test_paired_rows_stand_first_and_are_not_repeated(library):
    one = ChainAlignments(
        unpaired=aligned("MCK", "MAA", "KKK"), paired=aligned("MCK", ("a OX=1", "MCA"), ("b OX=2", "MAA"))
    )
    two = ChainAlignments(unpaired=aligned("GW", "WW"), paired=aligned("GW", ("c OX=2", "GA"), ("d OX=1", "GG")))
    chains = [protein("A", 1, "MCK"), protein("B", 2, "GW")]
    rows, _ = rows_of(library, chains, {"A": one, "B": two})
    assert text_of(rows) == ["MCKGW", "MCAGG", "MAAGA", "KKK--", "---WW"]


def test_the_multimer_reads_a_limited_number_of_rows(library):
    limits = dataclasses.replace(MULTIMER_ROWS, max_msa_rows=4, max_paired_rows=2)
    msa = aligned("MCK", *["MC-", "M-K", "-CK", "M--", "--K"])
    chains = [protein("A", 1, "MCK"), protein("B", 2, "GW")]
    rows, _ = rows_of(library, chains, {"A": msa}, limits)
    # The query over all chains, and three rows of the first; the second has none.
    assert text_of(rows) == ["MCKGW", "MC---", "M-K--", "-CK--"]


def test_draws_depend_on_the_generator_only(library):
    rng = np.random.default_rng(0)
    query = "MKWGPLRACDEF"
    msa = aligned(query, *("".join(rng.choice(list(query), 12)) for _ in range(30)))
    config = dataclasses.replace(MONOMER, msa=AlphaFold2MsaConfig(clusters=5, extra=7))
    made = complex_of(library, [protein("A", 1, query)], {"A": msa})
    inputs = alphafold2_inputs(made, config)
    first, again, other = (inputs.draw(numpy_generator(seed, "x")) for seed in (1, 1, 2))
    assert first.msa.shape == (5, 12)
    assert first.extra_msa.shape == (7, 12)
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name)), field.name
    assert not torch.equal(first.extra_msa, other.extra_msa)
    assert torch.equal(first.aatype, other.aatype)


def test_couplings_are_those_of_each_chain(library):
    rng = np.random.default_rng(1)
    query = "MKWGPLRA"
    msa = aligned(query, *("".join(rng.choice(list("MKWGPLRA"), 8)) for _ in range(40)))
    chains = [protein("A", 1, query, replaced=[(4, "HYP")]), protein("B", 2, "GG"), protein("C", 1, query, copy=2)]
    config = dataclasses.replace(MULTIMER, couplings=True)
    couplings = batch_of(library, chains, {"A": msa, "C": msa}, config).pair_couplings
    expected = torch.from_numpy(coupling_channels(coupling_scores(msa)))
    assert couplings.shape == (18, 18, 5)
    assert torch.equal(couplings[:8, :8], expected)
    assert torch.equal(couplings[10:, 10:], expected)
    couplings[:8, :8] = couplings[10:, 10:] = 0
    assert not couplings.any()


# Templates

KNOWN = ("ASP", "TYR", "GLY", "LYS", "SER")


def _atoms(seed=0):
    rng = np.random.default_rng(seed)
    return {
        (number, name): rng.normal(size=3) * 2 + [3.8 * number, 0, 0]
        for number, code in enumerate(KNOWN)
        for name in atom14_names(code)
        if (number, name) not in {(3, "CG"), (4, "N")}
    }


def _mmcif():
    structure = gemmi.Structure()
    structure.name = "TMPL"
    chain = gemmi.Chain("A")
    for number, code in enumerate(KNOWN):
        residue = gemmi.Residue()
        residue.name, residue.seqid = code, gemmi.SeqId(str(number + 1))
        residue.label_seq, residue.subchain, residue.entity_id = number + 1, "A", "1"
        residue.entity_type = gemmi.EntityType.Polymer
        for (of, name), position in _atoms().items():
            if of == number:
                atom = gemmi.Atom()
                atom.name, atom.element, atom.pos = name, gemmi.Element(name[0]), gemmi.Position(*position)
                residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.full_sequence, entity.subchains = list(KNOWN), ["A"]
    structure.entities = gemmi.EntityList([entity])
    return structure.make_mmcif_document().as_string()


def _template(query, hit):
    return ChainAlignments(templates=(TemplateAlignment(mmcif=_mmcif(), query_indices=query, template_indices=hit),))


def _angle(*atoms):
    """Of gemmi, an independent program."""
    known = _atoms()
    radians = gemmi.calculate_dihedral(*(gemmi.Position(*known[atom]) for atom in atoms))
    return torch.tensor([np.sin(radians), np.cos(radians)], dtype=torch.float32)


def test_templates_are_laid_over_the_query(library):
    # Template residues 0 to 4 over query residues 1, 2, 4, 5, 6.
    batch = batch_of(library, [protein("A", 1, "MDYWGKS")], {"A": _template((1, 2, 4, 5, 6), (0, 1, 2, 3, 4))})
    types = [21, *(RESIDUE_TYPES.index(code) for code in ("ASP", "TYR")), 21]
    types += [RESIDUE_TYPES.index(code) for code in ("GLY", "LYS", "SER")]
    assert batch.template_aatype.tolist() == [types]
    assert batch.template_mask.tolist() == [True]
    assert batch.template_backbone_mask[0].tolist() == [False, True, True, False, True, True, False]
    assert batch.template_pseudo_beta_mask[0].tolist() == [False, True, True, False, True, True, True]
    known, close = _atoms(), {"atol": 2e-3, "rtol": 0}
    expected = torch.tensor(np.stack([known[0, name] for name in ("N", "CA", "C")]), dtype=torch.float32)
    torch.testing.assert_close(batch.template_backbone[0, 1], expected, **close)
    for residue, atom in ((1, (0, "CB")), (4, (2, "CA"))):
        expected = torch.tensor(known[atom], dtype=torch.float32)
        torch.testing.assert_close(batch.template_pseudo_beta[0, residue], expected, **close)
    assert not batch.template_backbone[0, [0, 3, 6]].any()


def test_template_torsions_are_those_of_an_independent_program(library):
    batch = batch_of(library, [protein("A", 1, "MDYWGKS")], {"A": _template((1, 2, 4, 5, 6), (0, 1, 2, 3, 4))})
    torsions, mask = batch.template_torsions[0], batch.template_torsion_mask[0]
    close = {"atol": 5e-3, "rtol": 0}
    # phi of tyrosine, from the residue before it; its psi is told from the oxygen, half a turn away.
    torch.testing.assert_close(torsions[2, 1], _angle((0, "C"), (1, "N"), (1, "CA"), (1, "C")), **close)
    torch.testing.assert_close(torsions[2, 2], -_angle((1, "N"), (1, "CA"), (1, "C"), (1, "O")), **close)
    chi2 = _angle((0, "CA"), (0, "CB"), (0, "CG"), (0, "OD1"))
    torch.testing.assert_close(torsions[1, 4], chi2, **close)
    # A half turn of aspartate's chi2 exchanges its oxygens; its chi1 is unique.
    alternative = batch.template_alternative_torsions[0]
    torch.testing.assert_close(alternative[1, 4], -torsions[1, 4])
    torch.testing.assert_close(alternative[1, 3], torsions[1, 3])
    assert mask[1].tolist() == [False, False, True, True, True, False, False]
    assert mask[2].tolist() == [True, True, True, True, True, False, False]
    # Glycine's neighbour in the query is not known; lysine lacks CG, serine N.
    assert mask[4].tolist() == [False, False, True, False, False, False, False]
    assert mask[5].tolist() == [True, True, True, False, False, False, False]
    assert mask[6].tolist() == [False] * 7
    assert not torsions[~mask].any()


def test_templates_of_several_chains_and_empty_slots(library):
    chains = [protein("A", 1, "MDY"), protein("B", 2, "GG")]
    batch = batch_of(library, chains, {"A": _template((1, 2), (0, 1))}, MULTIMER)
    # The multimer averages over four slots; where a chain has no template the released code has alanine.
    assert batch.template_mask.tolist() == [True, False, False, False]
    assert batch.template_aatype[0].tolist() == [21, RESIDUE_TYPES.index("ASP"), RESIDUE_TYPES.index("TYR"), 0, 0]
    assert not batch.template_aatype[1:].any()
    assert not batch.template_backbone_mask[1:].any()
    assert not batch.template_backbone_mask[:, 3:].any()
    none = batch_of(library, chains[:1], {"A": _template((1,), (0,))}, dataclasses.replace(MONOMER, templates=0))
    assert len(none.template_aatype) == 0


def test_a_motion_of_the_template_does_not_turn_torsions():
    generator = torch.Generator().manual_seed(0)
    kind = torch.tensor([RESIDUE_TYPES.index(code) for code in KNOWN])
    tables = ResidueTables.of(rigid_groups().arrays(), torch.zeros((), dtype=torch.float64))
    atoms = 3 * torch.randn(5, 14, 3, generator=generator, dtype=torch.float64)
    rotation = random_rotations(1, generator)[0].double()
    before = _features_of(kind, atoms, tables.atom_mask[kind], tables)
    after = _features_of(kind, atoms @ rotation.T + 5.0, tables.atom_mask[kind], tables)
    for name in ("torsions", "alternative_torsions"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), atol=2e-6, rtol=0)
    moved = before.pseudo_beta[0].double() @ rotation.T + 5.0
    torch.testing.assert_close(after.pseudo_beta[0].double(), moved, atol=1e-5, rtol=0)


# What is refused


def test_only_protein_chains_are_folded(library):
    rna = ChainSpec("B", 2, 1, ChainKind.RNA, ("A", "C"))
    zinc = ChainSpec("Z", 3, 1, ChainKind.LIGAND, ("ZN",))
    for config in (MONOMER, MULTIMER):
        with pytest.raises(JobError, match=r"has rna B, ligand Z: .* AlphaFold 3"):
            batch_of(library, [protein("A", 1, "MK"), rna, zinc], config=config)


def test_the_monomer_folds_one_chain(library):
    with pytest.raises(JobError, match=r"2 chains \(A, B\).*Multimer"):
        batch_of(library, [protein("A", 1, "MK"), protein("B", 1, "MK", copy=2)])


def test_a_cap_is_no_amino_acid(library):
    with pytest.raises(JobError, match=r"Residue 1 \(ACE\) of chain A .* no atoms N, CA and C"):
        batch_of(library, [protein("A", 1, "AMK", replaced=[(0, "ACE")])])


def test_wrong_template_indices_are_named(library):
    with pytest.raises(AlignmentError, match="template 1 of chain 'A' uses template index 5"):
        batch_of(library, [protein("A", 1, "MK")], {"A": _template((0,), (5,))})


def test_gaps_are_gaps(library):
    rows, _ = rows_of(library, [protein("A", 1, "MCK")], {"A": aligned("MCK", "M--")})
    assert rows[1].tolist()[1:] == [GAP, GAP]
