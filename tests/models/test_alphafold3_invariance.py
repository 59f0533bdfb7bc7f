"""What must not matter: padding, the order of chains and ligand atoms, the frame of reference conformers, chunks."""

import dataclasses

import numpy as np
import pytest
import torch
from rdkit import Chem
from scipy.spatial.transform import Rotation

from anfinsen.common.seeding import torch_generator
from anfinsen.features import BATCH_AXES, featurise
from anfinsen.models.alphafold3 import TrunkOutput
from anfinsen.nn.memory import chunk_budget
from tiny_model import TINY, batch_of, complex_of, pad_batch, reorder, tiny_model, with_templates

PROTEIN = {"kind": "protein", "ids": ("A",), "sequence": "GSAK"}
DNA = {"kind": "dna", "ids": ("B",), "sequence": "AC"}
LIGAND = {"kind": "ligand", "ids": ("C",), "smiles": "OC(=O)c1ccccc1O"}
ION = {"kind": "ligand", "ids": ("D",), "ccd_codes": ("ZN",)}
# All atoms within the 128 keys of an atom window; beyond it the order of chains decides which atoms see one another.
FEW = (PROTEIN, DNA, LIGAND, ION)
TOLERANCE = {"atol": 1e-9, "rtol": 1e-7}


@pytest.fixture(scope="module")
def model():
    return tiny_model().double()


@pytest.fixture(scope="module")
def batch():
    return with_templates(batch_of(*FEW), 2)


def _positions(batch, samples=2):
    return 8 * torch.randn(samples, len(batch.atom_mask), 3, generator=torch_generator(3), dtype=torch.float64)


@torch.no_grad()
def _outputs(model, batch, x, recycles=1):
    """Everything the network says of a complex, with fixed positions for denoiser and confidence head."""
    trunk = model.trunk(_double(batch), recycles=recycles, generator=torch_generator(0))
    confidence = model.confidence(_double(batch), trunk, x)
    cache = model.diffusion.precompute(_double(batch), trunk.s_inputs, trunk.single, trunk.pair)
    sigma = torch.tensor([2.0, 11.0], dtype=torch.float64)
    return {
        "single": trunk.single,
        "pair": trunk.pair,
        "distogram": model.distogram_logits(trunk),
        "denoised": model.diffusion(x, sigma, _double(batch), cache),
        **dataclasses.asdict(confidence),
    }


def _double(batch):
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return type(batch)(**{k: v.double() if v.is_floating_point() else v for k, v in values.items()})


TOKEN_AXES = {"single": (0,), "pair": (0, 1), "distogram": (0, 1), "pae": (1, 2), "pde": (1, 2)}
ATOM_AXES = {"denoised": (1,), "plddt": (1,), "resolved": (1,)}


def _select(outputs, tokens, atoms):
    result = {}
    for name, value in outputs.items():
        index, moved = tokens if name in TOKEN_AXES else atoms, value
        for axis in TOKEN_AXES.get(name, ATOM_AXES.get(name, ())):
            moved = moved.index_select(axis, index)
        result[name] = moved
    return result


def _assert_same(found, expected, **tolerance):
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, **(tolerance or TOLERANCE), msg=lambda text, name=name: name + text
        )
        assert value.abs().max() > 1e-3, name  # not the same because all is zero


def test_padding_changes_nothing(model, batch):
    x = _positions(batch)
    n, a = len(batch.restype), len(batch.atom_mask)
    padded = pad_batch(batch, n + 5, a + 41)
    filler = torch.full((2, 41, 3), 7.0, dtype=torch.float64)
    found = _outputs(model, padded, torch.cat([x, filler], dim=1))
    assert all(torch.isfinite(value).all() for value in found.values())
    _assert_same(_select(found, torch.arange(n), torch.arange(a)), _outputs(model, batch, x))


def test_the_order_of_chains_changes_nothing(model, batch):
    assert len(batch.atom_mask) <= 128
    x = _positions(batch)
    chain = batch.asym_id.numpy()
    tokens = np.concatenate([np.flatnonzero(chain == number) for number in (3, 1, 4, 2)])
    turned, atoms = reorder(batch, tokens)
    numbers = torch.tensor([0, 2, 4, 1, 3])  # chains are numbered as they come
    turned = dataclasses.replace(
        turned,
        asym_id=numbers[turned.asym_id],
        entity_id=numbers[turned.entity_id],
        token_index=torch.arange(1, len(tokens) + 1),
    )
    expected = _select(_outputs(model, batch, x), torch.as_tensor(tokens), atoms)
    _assert_same(_outputs(model, turned, x[:, atoms]), expected)


def test_the_order_of_a_jobs_chains_changes_nothing(model):
    """The same through the whole front of the program: two jobs that list the same entities in another order."""
    first, second = complex_of(*FEW), complex_of(DNA, ION, LIGAND, PROTEIN)
    one, two = featurise(first), featurise(second)
    chain_of = [np.array([c.structure.chains[i].chain_id for i in c.tokens.chain]) for c in (first, second)]
    tokens = torch.from_numpy(np.concatenate([np.flatnonzero(chain_of[0] == name) for name in "BDCA"]))
    assert (chain_of[0][tokens] == chain_of[1]).all()
    turned, atoms = reorder(one, tokens.numpy())
    assert torch.equal(turned.ref_pos, two.ref_pos)
    x = _positions(one)
    _assert_same(_outputs(model, two, x[:, atoms]), _select(_outputs(model, one, x), tokens, atoms))


def test_the_order_of_a_ligands_atoms_changes_nothing(model, batch):
    """Of the tensors: an atom's number in its ligand (`token_index`) goes with it."""
    x = _positions(batch)
    ligand = np.flatnonzero(batch.asym_id.numpy() == 3)
    tokens = np.arange(len(batch.restype))
    tokens[ligand] = np.random.default_rng(0).permutation(ligand)
    turned, atoms = reorder(batch, tokens)
    expected = _outputs(model, batch, x)
    found = _outputs(model, turned, x[:, atoms])
    _assert_same(found, _select(expected, torch.as_tensor(tokens), atoms))


def test_how_a_ligand_is_written_changes_nothing(model, batch):
    """Of the job: SMILES and SDF text in any order of atoms give the same features, bit for bit."""
    molecule = Chem.MolFromSmiles(LIGAND["smiles"])
    order = np.random.default_rng(1).permutation(molecule.GetNumAtoms()).tolist()
    turned = Chem.RenumberAtoms(molecule, order)
    texts = [
        {"smiles": "c1ccc(O)c(C(O)=O)c1"},
        {"smiles": Chem.MolToSmiles(turned, canonical=False)},
        {"molblock": Chem.MolToMolBlock(turned)},
    ]
    plain = batch_of(*FEW)
    for text in texts:
        entity = {"kind": "ligand", "ids": ("C",), **text}
        other = batch_of(PROTEIN, DNA, entity, ION)
        for name in BATCH_AXES:
            if name != "ref_pos":
                assert torch.equal(getattr(other, name), getattr(plain, name)), name
        torch.testing.assert_close(other.ref_pos, plain.ref_pos, atol=2e-4, rtol=0)


def test_the_frame_of_reference_conformers_changes_nothing(model):
    complex_ = complex_of(*FEW)
    rng = np.random.default_rng(0)
    moved = complex_.atoms.ref_pos.astype(np.float64).copy()
    for residue in np.unique(complex_.atoms.ref_space_uid):
        here = complex_.atoms.ref_space_uid == residue
        moved[here] = Rotation.random(random_state=int(residue)).apply(moved[here]) + rng.normal(size=3)
    atoms = dataclasses.replace(complex_.atoms, ref_pos=moved.astype(complex_.atoms.ref_pos.dtype))
    first, second = featurise(complex_), featurise(dataclasses.replace(complex_, atoms=atoms))
    assert (first.ref_pos - second.ref_pos).abs().max() < 2e-4  # canonical positions are rounded to 1e-4 Å
    x = _positions(first)
    expected = _outputs(model, first, x)
    _assert_same(_outputs(model, second, x), expected, atol=2e-3, rtol=2e-3)


def test_chunk_sizes_change_nothing(model, batch):
    x = _positions(batch)
    expected = _outputs(model, batch, x)
    for size in (1, 4096, 2**30):
        with chunk_budget(size):
            _assert_same(_outputs(model, batch, x), expected)


def test_moving_the_predicted_structure_leaves_confidences_alone(model, batch):
    x = _positions(batch)
    with torch.no_grad():
        trunk = model.trunk(_double(batch), recycles=0)
        rotation = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
        moved = x @ rotation.T + 300.0
        first, second = model.confidence(_double(batch), trunk, x), model.confidence(_double(batch), trunk, moved)
    _assert_same(dataclasses.asdict(second), dataclasses.asdict(first))


def test_samples_do_not_see_one_another(model, batch):
    x = _positions(batch)
    with torch.no_grad():
        trunk = model.trunk(_double(batch), recycles=0)
        both = model.confidence(_double(batch), trunk, x)
        alone = model.confidence(_double(batch), trunk, x[1:])
    _assert_same(
        {k: v[0] for k, v in dataclasses.asdict(alone).items()}, {k: v[1] for k, v in dataclasses.asdict(both).items()}
    )


def test_checkpointed_blocks_give_the_same_gradients(batch):
    gradients = []
    for checkpointed in (False, True):
        model = tiny_model(dataclasses.replace(TINY, checkpoint_blocks=checkpointed)).double()
        trunk = model.trunk(_double(batch), recycles=1, generator=torch_generator(0))
        x = _positions(batch)
        cache = model.diffusion.precompute(_double(batch), trunk.s_inputs, trunk.single, trunk.pair)
        out = model.diffusion(x, torch.tensor([2.0, 11.0], dtype=torch.float64), _double(batch), cache)
        out.square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, atol=1e-10, rtol=1e-7)


def test_float32_is_close_to_float64(batch):
    model = tiny_model()
    x = _positions(batch)
    with torch.no_grad():
        trunk = model.trunk(batch, recycles=1, generator=torch_generator(0))
        found = dataclasses.asdict(trunk) | dataclasses.asdict(model.confidence(batch, trunk, x.float()))
        wide = model.double()
        reference = wide.trunk(_double(batch), recycles=1, generator=torch_generator(0))
        expected = dataclasses.asdict(reference) | dataclasses.asdict(wide.confidence(_double(batch), reference, x))
    assert isinstance(trunk, TrunkOutput)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, atol=2e-4, rtol=2e-4)
