"""The diffusion module and the input embedder: padding, samples, caches, gradients, windows, cyclic chains."""

import dataclasses

import pytest
import torch

from anfinsen.common.errors import ConfigError
from anfinsen.models.alphafold3.atom_attention import AtomAttentionConfig
from anfinsen.models.alphafold3.diffusion_conditioning import DiffusionConditioningConfig
from anfinsen.models.alphafold3.diffusion_module import DiffusionModule, DiffusionModuleConfig
from anfinsen.models.alphafold3.input_embedder import InputEmbedder, InputEmbedderConfig
from anfinsen.models.alphafold3.relative_position import (
    RelativePositionConfig,
    RelativePositionEncoding,
    one_hot_positions,
    relative_positions,
)
from anfinsen.nn.diffusion_transformer import DiffusionTransformerConfig
from anfinsen.nn.memory import chunk_budget
from random_batch import pad_batch, random_batch

C_INPUTS = 24 + 65
VARIANTS = {
    "alphafold3": {},
    "protenix": {"window_edges": "masked", "pair_norm": "block_scale", "key_norm": "stacked"},
    "boltz": {
        "window_edges": "masked",
        "query_base": "reference",
        "pair_norm": "block_affine",
        "key_norm": "shared",
        "projections": 3,
        "offset": True,
        "feature_offset": True,
    },
}


def atoms(c_token, **changes):
    small = {"c_atom": 16, "c_atompair": 8, "blocks": 2, "heads": 2, "queries": 8, "keys": 16}
    return AtomAttentionConfig(c_token=c_token, **(small | changes))


def config(variant="alphafold3", **changes):
    differences = VARIANTS[variant]
    token = {key: differences[key] for key in ("pair_norm", "projections") if key in differences}
    return DiffusionModuleConfig(
        conditioning=DiffusionConditioningConfig(
            c_s_inputs=C_INPUTS, c_s=16, c_z=16, c_cond=16, c_noise=16, offset=differences.get("offset", False)
        ),
        atoms=atoms(32, **differences),
        transformer=DiffusionTransformerConfig(blocks=2, heads=4, c_a=32, c_s=16, c_z=16, **token),
        **changes,
    )


def randomised(module, dtype=torch.float64):
    """Zero-initialised layers would hide errors."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return module.to(dtype)


def inputs(batch, samples=3, dtype=torch.float64):
    g = torch.Generator().manual_seed(2)
    n, a = len(batch.token_mask), len(batch.atom_mask)
    draw = {"s_inputs": (n, C_INPUTS), "single": (n, 16), "pair": (n, n, 16), "noisy": (samples, a, 3)}
    values = {name: torch.randn(shape, generator=g, dtype=dtype) for name, shape in draw.items()}
    return values | {"noisy": 16 * values["noisy"]}


def denoise(module, batch, values, sigma):
    cache = module.precompute(batch, values["s_inputs"], values["single"], values["pair"])
    return module(values["noisy"], sigma, batch, cache)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_nothing(variant, gradients):
    batch = random_batch(10)
    n, a = len(batch.token_mask), len(batch.atom_mask)
    module = randomised(DiffusionModule(config(variant)))
    values, sigma = inputs(batch), torch.tensor([1.0, 20.0, 300.0], dtype=torch.float64)
    padded = inputs(pad_batch(batch, 3, 13))
    for name, extra in padded.items():
        region = tuple(slice(size) for size in values[name].shape)
        extra[region] = values[name]
    with torch.set_grad_enabled(gradients):
        plain = denoise(module, batch, values, sigma)
        with_padding = denoise(module, pad_batch(batch, 3, 13), padded, sigma)
    assert torch.isfinite(with_padding).all()
    torch.testing.assert_close(with_padding[:, :a], plain, rtol=1e-10, atol=1e-9)
    assert n == 10


def test_padding_changes_nothing_in_the_input_embedder():
    batch = random_batch(10)
    module = randomised(InputEmbedder(InputEmbedderConfig(atoms(24))))
    plain, padded = module(batch), module(pad_batch(batch, 3, 13))
    assert plain.shape == (10, C_INPUTS)
    torch.testing.assert_close(padded[:10], plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_share_the_cache_but_not_each_other(variant):
    batch = random_batch(9)
    module, values = randomised(DiffusionModule(config(variant))), inputs(batch)
    sigma = torch.full((3,), 7.0, dtype=torch.float64)
    with torch.no_grad():
        together = denoise(module, batch, values, sigma)
        alone = [denoise(module, batch, values | {"noisy": x[None]}, sigma[:1])[0] for x in values["noisy"]]
        mixed = denoise(module, batch, values, torch.tensor([7.0, 8.0, 7.0], dtype=torch.float64))
    torch.testing.assert_close(together, torch.stack(alone))
    torch.testing.assert_close(mixed[::2], together[::2])
    assert (mixed[1] - together[1]).abs().max() > 1e-3
    torch.testing.assert_close(denoise(module, batch, values, sigma), together)  # the path with gradients


def test_rows_in_chunks_are_the_whole():
    batch = random_batch(9)
    module, values = randomised(DiffusionModule(config())), inputs(batch)
    whole = module.conditioning.pair.of_batch(batch, values["pair"])
    with torch.no_grad(), chunk_budget(1):
        torch.testing.assert_close(module.conditioning.pair.of_batch(batch, values["pair"]), whole)


def test_biases_that_do_not_fit_are_made_in_every_step():
    batch = random_batch(9)
    values, sigma = inputs(batch), torch.full((3,), 7.0, dtype=torch.float64)
    kept, made = (randomised(DiffusionModule(config(bias_cache_bytes=size))) for size in (2**31, 0))
    with torch.no_grad():
        assert made.precompute(batch, *(values[k] for k in ("s_inputs", "single", "pair"))).token_biases is None
        torch.testing.assert_close(denoise(made, batch, values, sigma), denoise(kept, batch, values, sigma))


def test_gradients_reach_everything_and_checkpoints_change_nothing():
    batch = random_batch(9)
    sigma = torch.tensor([0.5, 5.0, 50.0], dtype=torch.float64)
    gradients = []
    for recompute in (False, True):
        base = config()
        changed = dataclasses.replace(
            base,
            atoms=dataclasses.replace(base.atoms, checkpoint_blocks=recompute),
            transformer=dataclasses.replace(base.transformer, checkpoint_blocks=recompute),
        )
        module, values = randomised(DiffusionModule(changed)), inputs(batch)
        for name in ("s_inputs", "single", "pair"):
            values[name].requires_grad_(True)
        denoise(module, batch, values, sigma).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
        gradients.append([p.grad for p in module.parameters()] + [values[n].grad for n in ("single", "pair")])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_at_first_the_module_is_the_skip_connection():
    batch = random_batch(9)
    module, values = DiffusionModule(config()).double(), inputs(batch)
    sigma = torch.tensor([4.0, 16.0, 160.0], dtype=torch.float64)
    expected = values["noisy"] * (256 / (256 + sigma**2))[:, None, None]
    torch.testing.assert_close(denoise(module, batch, values, sigma), expected)


def test_widths_that_do_not_agree_are_refused():
    with pytest.raises(ConfigError, match=r"atoms.c_token and transformer.c_a .* 768 and 512"):
        DiffusionModuleConfig(transformer=DiffusionTransformerConfig(c_a=512))


def test_residue_offsets_wrap_in_cyclic_chains():
    length = 12
    batch = random_batch(length)
    one = torch.ones(length, dtype=torch.long)
    batch = dataclasses.replace(batch, asym_id=one, entity_id=one, sym_id=one, cyclic_period=length * one)
    relpos = RelativePositionConfig(c_z=8, residues=32)
    found = relative_positions(batch, relpos).residue - 32
    # Turning the ring by one residue changes nothing: the offset depends on (i - j) mod 12 only.
    assert torch.equal(found.roll((1, 1), (0, 1)), found)
    assert found[0, 11] == 1
    assert found[11, 0] == -1
    assert found[0, 5] == -5
    assert found.min() == -5
    assert found.max() == 6
    opened = dataclasses.replace(batch, cyclic_period=0 * one)
    assert relative_positions(opened, relpos).residue[11, 0] - 32 == 11


def test_embedding_of_positions_is_the_linear_map_of_their_one_hots():
    batch = random_batch(9)
    relpos = RelativePositionConfig(c_z=8)
    module = RelativePositionEncoding(relpos).double()
    one_hots = one_hot_positions(relative_positions(batch, relpos), relpos, torch.float64)
    assert one_hots.shape == (9, 9, 139)
    torch.testing.assert_close(module(batch), one_hots @ module.linear.weight.T)
