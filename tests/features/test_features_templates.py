"""Templates laid over chains."""

import gemmi
import numpy as np
import pytest
import torch

from anfinsen.chemistry import ChainKind, ChainSpec, ComponentLibrary, assemble
from anfinsen.chemistry.tokens import GAP, RESTYPE_INDEX
from anfinsen.common.errors import AlignmentError, StructureError
from anfinsen.features import ChainAlignments, FeatureConfig, complex_from_structure, featurise
from anfinsen.jobs import TemplateAlignment

# A template of four residues: Ala Gly Ser Trp; serine lacks its CB and tryptophan is not resolved.
SEQUENCE = ("ALA", "GLY", "SER", "TRP")
ATOMS = (("N", "CA", "C", "O", "CB"), ("N", "CA", "C", "O"), ("N", "CA", "C"), ())


def _position(residue, atom):
    return residue * 3.8 + atom * 0.7, atom * 0.5 - residue, residue + 1.0 + 0.1 * atom


def _mmcif(edit=lambda text: text, chains=1):
    structure = gemmi.Structure()
    structure.name = "TMPL"
    model = gemmi.Model(1)
    for copy in range(chains):
        chain = gemmi.Chain("AB"[copy])
        for number, (code, names) in enumerate(zip(SEQUENCE, ATOMS, strict=True)):
            residue = gemmi.Residue()
            residue.name, residue.seqid = code, gemmi.SeqId(str(number + 1))
            residue.label_seq, residue.subchain, residue.entity_id = number + 1, "AB"[copy], "1"
            residue.entity_type = gemmi.EntityType.Polymer
            for place, name in enumerate(names):
                atom = gemmi.Atom()
                atom.name, atom.element = name, gemmi.Element(name[0])
                atom.pos = gemmi.Position(*_position(number, place))
                residue.add_atom(atom)
            if names:
                chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.full_sequence, entity.subchains = list(SEQUENCE), list("AB"[:chains])
    structure.entities = gemmi.EntityList([entity])
    return edit(structure.make_mmcif_document().as_string())


def _featurise(templates, config=None, codes=("MET", "ALA", "SEP", "GLY", "TRP")):
    library = ComponentLibrary()
    chains = (
        ChainSpec("A", 1, 1, ChainKind.PROTEIN, codes),
        ChainSpec("B", 2, 1, ChainKind.PROTEIN, ("GLY", "GLY")),
    )
    structure = assemble("test", chains, (), library)
    alignments = {"A": ChainAlignments(templates=tuple(templates))}
    return featurise(complex_from_structure(structure, library, alignments, 0), config)


def _template(query, hit, **options):
    return TemplateAlignment(mmcif=_mmcif(**options), query_indices=query, template_indices=hit)


def test_no_templates_give_empty_features():
    batch = _featurise([])
    assert batch.template_restype.shape == (0, len(batch.restype))
    assert batch.template_backbone.shape == (0, len(batch.restype), 3, 3)


def test_residues_of_the_template_land_on_their_query_residues():
    batch = _featurise([_template((0, 2, 3, 4), (0, 1, 2, 3))])
    restype, numbers = batch.template_restype[0], batch.residue_index
    chain = batch.asym_id == 1
    aligned = {1: "ALA", 3: "GLY", 4: "SER", 5: "TRP"}
    for number, name in aligned.items():
        assert (restype[chain & (numbers == number)] == RESTYPE_INDEX[name]).all()
    assert restype[1] == GAP
    assert (restype[~chain] == GAP).all()
    # The modified residue's ten tokens all see what is known of the residue.
    inside = chain & (numbers == 3)
    assert inside.sum() == 10
    torch.testing.assert_close(
        batch.template_pseudo_beta[0][inside], torch.tensor([_position(1, 1)]).expand(10, 3), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(batch.template_pseudo_beta[0][0], torch.tensor(_position(0, 4)), atol=1e-3, rtol=0)
    expected = torch.tensor([_position(0, place) for place in range(3)])
    torch.testing.assert_close(batch.template_backbone[0][0], expected, atol=1e-3, rtol=0)
    serine, tryptophan = 12, 13
    assert batch.template_backbone_mask[0][serine]
    assert not batch.template_pseudo_beta_mask[0][serine]
    assert not batch.template_backbone_mask[0][tryptophan]
    assert not batch.template_pseudo_beta_mask[0][~chain].any()
    assert (batch.template_backbone[0][~batch.template_backbone_mask[0]] == 0).all()


def test_a_modified_residue_of_the_template_counts_as_its_parent():
    def with_selenomethionine(text):
        return text.replace("ALA", "MSE")

    batch = _featurise([_template((0,), (0,), edit=with_selenomethionine)])
    assert batch.template_restype[0][0] == RESTYPE_INDEX["MET"]
    assert batch.template_backbone_mask[0][0]


def test_templates_beyond_the_limit_are_left_out():
    templates = [_template((0,), (index % 3,)) for index in range(6)]
    batch = _featurise(templates)
    assert len(batch.template_restype) == FeatureConfig().max_templates
    assert batch.template_restype[:, 0].tolist() == [RESTYPE_INDEX[name] for name in ("ALA", "GLY", "SER", "ALA")]
    assert len(_featurise(templates, FeatureConfig(max_templates=0)).template_restype) == 0


@pytest.mark.parametrize(
    ("query", "hit", "message"),
    [((0, 1), (0,), "2 query and 1 template"), ((5,), (0,), "query index 5"), ((0,), (4,), "template index 4")],
)
def test_wrong_indices_are_named(query, hit, message):
    template = TemplateAlignment.model_construct(mmcif=_mmcif(), query_indices=query, template_indices=hit)
    with pytest.raises(AlignmentError, match=message):
        _featurise([template])


def test_broken_templates_are_refused():
    def with_nan(text):
        document = gemmi.cif.read_string(text)
        document.sole_block().find_values("_atom_site.Cartn_y")[0] = "nan"
        return document.as_string()

    with pytest.raises(StructureError, match="finite"):
        _featurise([_template((0,), (0,), edit=with_nan)])
    with pytest.raises(StructureError, match="2 protein chains"):
        _featurise([_template((0,), (0,), chains=2)])
    with pytest.raises(StructureError):
        _featurise([_template((0,), (0,), edit=lambda _: "nothing of the kind")])


def test_features_are_finite():
    batch = _featurise([_template((0, 1), (0, 1))])
    assert np.isfinite(batch.template_backbone.numpy()).all()
    assert np.isfinite(batch.template_pseudo_beta.numpy()).all()
