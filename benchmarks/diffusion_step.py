"""Full-size diffusion step: ours, a naive version, and published implementations where they are installed.

    python benchmarks/diffusion_step.py [--peer-python /path/to/python] [--tokens 128,256] [--rounds 3]

24 token blocks of width 768, three atom blocks on either side, eight atoms per token. Timed is one step of the sampler:
what an implementation computes once per trunk pass (ours, Boltz, Protenix "cached") is done before.
"""

from __future__ import annotations

from pathlib import Path

from harness import Call, compare
from pairformer import randomised

C_S, C_Z, C_S_INPUTS, C_TOKEN, ATOMS_PER_TOKEN = 384, 128, 449, 768, 8
SIGMA_DATA, SIGMA = 16.0, 20.0
CASES = [{"tokens": n, "samples": samples} for n in (128, 256, 384) for samples in (1, 5)]


def inputs(case: dict[str, int]):
    """Trunk output and noisy coordinates."""
    import torch

    n, samples = case["tokens"], case["samples"]
    s_inputs, single, pair = torch.randn(n, C_S_INPUTS), torch.randn(n, C_S), torch.randn(n, n, C_Z)
    return s_inputs, single, pair, SIGMA_DATA * torch.randn(samples, n * ATOMS_PER_TOKEN, 3)


def features(n: int):
    """A chain of ``n`` residues with eight atoms each, in plain tensors."""
    import torch

    atoms = n * ATOMS_PER_TOKEN
    token = torch.arange(n).repeat_interleave(ATOMS_PER_TOKEN)
    return {
        "token": token,
        "index": torch.arange(n),
        "zeros": torch.zeros(n, dtype=torch.long),
        "ref_pos": torch.randn(atoms, 3),
        "ref_charge": torch.zeros(atoms),
        "ref_element": torch.randint(1, 17, (atoms,)),
        "ref_atom_name_chars": torch.randint(0, 64, (atoms, 4)),
    }


def our_batch(n: int):
    import torch

    from anfinsen.nn.batch import Batch

    f = features(n)
    atoms, index, zeros, token = n * ATOMS_PER_TOKEN, f["index"], f["zeros"], f["token"]
    first = index * ATOMS_PER_TOKEN
    yes, no = torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    return Batch(
        restype=zeros, residue_index=index, token_index=index, asym_id=zeros, entity_id=zeros, sym_id=zeros,
        kind=zeros, is_standard=yes, token_mask=yes, cyclic_period=zeros, profile=torch.zeros(n, 32),
        deletion_mean=torch.zeros(n), msa=zeros[None], has_deletion=torch.zeros(1, n), deletion_value=torch.zeros(1, n),
        msa_mask=yes[None], token_bonds=no[:, None] & no, pair_couplings=torch.zeros(n, n, 0), atom_to_token=token,
        atom_mask=torch.ones(atoms, dtype=torch.bool), ref_pos=f["ref_pos"],
        ref_mask=torch.ones(atoms, dtype=torch.bool), ref_element=f["ref_element"], ref_charge=f["ref_charge"],
        ref_atom_name_chars=f["ref_atom_name_chars"], ref_space_uid=token, center_atom=first, distogram_atom=first,
        frame_atoms=torch.stack([first, first + 1, first + 2], dim=-1), frame_mask=yes,
        template_restype=zeros[None][:0], template_pseudo_beta=torch.zeros(0, n, 3),
        template_pseudo_beta_mask=yes[None][:0], template_backbone=torch.zeros(0, n, 3, 3),
        template_backbone_mask=yes[None][:0],
    )  # fmt: skip


def our_module():
    from anfinsen.models.alphafold3.diffusion_module import DiffusionModule, DiffusionModuleConfig

    return randomised(DiffusionModule(DiffusionModuleConfig()))


def make_ours(case: dict[str, int]) -> Call:
    import torch

    from anfinsen.nn import reuse_buffers

    module, batch = our_module(), our_batch(case["tokens"])
    s_inputs, single, pair, noisy = inputs(case)
    sigma = torch.full((case["samples"],), SIGMA)
    cache = module.precompute(batch, s_inputs, single, pair)
    buffers = reuse_buffers()
    buffers.__enter__()
    return lambda: module(noisy, sigma, batch, cache)


def make_naive(case: dict[str, int]) -> Call:
    """Everything anew in every step and for every sample, whole tensors at a time."""
    import torch

    module, batch = our_module(), our_batch(case["tokens"])
    s_inputs, single, pair, noisy = inputs(case)
    sigma = torch.full((1,), SIGMA)
    module.transformer.forward = lambda a, s, biases: naive_transformer(module.transformer, a, s, biases)

    def one(x):
        return module(x[None], sigma, batch, module.precompute(batch, s_inputs, single, pair))[0]

    return lambda: torch.stack([one(x) for x in noisy])


def naive_transformer(transformer, a, s, biases):
    """Algorithm 23 as it is written."""
    for block, bias in zip(transformer.blocks, biases, strict=True):
        a = a + naive_attention(block.attention, a, s, bias)
        a = a + naive_transition(block.transition, a, s)
    return a


def naive_norm(m, a, s):
    import torch

    scale, shift = m.scale_shift(m.norm_s(s)).chunk(2, dim=-1)
    return torch.sigmoid(scale + m.scale_bias) * torch.nn.functional.layer_norm(a, (m.c_a,)) + shift


def naive_gate(m, s):
    import torch

    return torch.sigmoid(torch.nn.functional.linear(s, m.weight, m.bias))


def naive_attention(m, a, s, bias):
    import torch

    inner = m.attention
    q, k, v, g = inner.projection(naive_norm(m.norm, a, s)).chunk(4, dim=-1)
    q, k, v = (x.unflatten(-1, (inner.heads, -1)) for x in (q + inner.query_bias, k, v))
    weights = torch.softmax(torch.einsum("...qhc,...khc->...hqk", q, k) * inner.c_head**-0.5 + bias, dim=-1)
    attended = torch.einsum("...hqk,...khc->...qhc", weights, v).flatten(-2)
    return naive_gate(m.gate, s) * inner.output(torch.sigmoid(g) * attended)


def naive_transition(m, a, s):
    import torch

    u, v = m.expand(naive_norm(m.norm, a, s)).chunk(2, dim=-1)
    return naive_gate(m.gate, s) * m.contract(torch.nn.functional.silu(u) * v)


def make_boltz(case: dict[str, int]) -> Call:
    import torch
    import torch.nn.functional as F
    from boltz.model.modules.diffusion_conditioning import DiffusionConditioning
    from boltz.model.modules.diffusionv2 import DiffusionModule

    n, samples = case["tokens"], case["samples"]
    f = features(n)
    token_transformer = {"token_transformer_depth": 24, "token_transformer_heads": 16}
    conditioning = randomised(
        DiffusionConditioning(
            token_s=C_S, token_z=C_Z, atom_s=128, atom_z=16, atom_feature_dim=388, **token_transformer
        )
    )
    module = randomised(DiffusionModule(token_s=C_S, atom_s=128, **token_transformer))
    feats = {
        "atom_pad_mask": torch.ones(1, n * ATOMS_PER_TOKEN),
        "token_pad_mask": torch.ones(1, n),
        "atom_to_token": F.one_hot(f["token"], n).float()[None],
        "ref_atom_name_chars": F.one_hot(f["ref_atom_name_chars"], 64).float()[None],
        "ref_charge": f["ref_charge"][None],
        "ref_element": F.one_hot(f["ref_element"], 128).float()[None],
        "ref_pos": f["ref_pos"][None],
        "ref_space_uid": f["token"][None],
    }
    _, single, pair, noisy = inputs(case)
    names = ("q", "c", "to_keys", "atom_enc_bias", "atom_dec_bias", "token_trans_bias")
    made = conditioning(single[None], pair[None], torch.randn(1, n, n, C_Z), feats)
    conditions = dict(zip(names, made, strict=True))
    scaled = noisy / (SIGMA**2 + SIGMA_DATA**2) ** 0.5
    times = torch.full((samples,), 0.25).log()
    s_inputs = torch.randn(1, n, C_S)
    return lambda: module(
        s_inputs=s_inputs, s_trunk=single[None], r_noisy=scaled, times=times, feats=feats,
        diffusion_conditioning=conditions, multiplicity=samples,
    )  # fmt: skip


def make_protenix(case: dict[str, int], cached: bool = False) -> Call:
    import torch
    import torch.nn.functional as F
    from protenix.model.modules.diffusion import DiffusionModule
    from protenix.model.protenix import update_input_feature_dict

    n = case["tokens"]
    f = features(n)
    atoms = n * ATOMS_PER_TOKEN
    module = randomised(DiffusionModule())
    feats = {
        "ref_pos": f["ref_pos"],
        "ref_charge": f["ref_charge"],
        "ref_mask": torch.ones(atoms),
        "ref_element": F.one_hot(f["ref_element"], 128).float(),
        "ref_atom_name_chars": F.one_hot(f["ref_atom_name_chars"], 64).float().flatten(1),
        "ref_space_uid": f["token"],
        "atom_to_token_idx": f["token"],
        "relp": F.one_hot(torch.randint(0, 139, (n, n)), 139).float(),
    }
    feats = update_input_feature_dict(feats)
    s_inputs, single, pair, noisy = inputs(case)
    sigma = torch.full((case["samples"],), SIGMA)
    pair_z = p_lm = c_l = None
    if cached:
        pair_z = module.diffusion_conditioning.prepare_cache(feats["relp"], pair, False)
        names = ("ref_pos", "ref_charge", "ref_mask", "ref_element", "ref_atom_name_chars", "atom_to_token_idx")
        local = {name: feats[name] for name in (*names, "d_lm", "v_lm", "pad_info")}
        p_lm, c_l = module.atom_attention_encoder.prepare_cache(**local, r_l=True, z=pair_z, inplace_safe=False)
    return lambda: module(
        x_noisy=noisy, t_hat_noise_level=sigma, input_feature_dict=feats, s_inputs=s_inputs, s_trunk=single,
        z_trunk=None if cached else pair, pair_z=pair_z, p_lm=p_lm, c_l=c_l, inplace_safe=True,
    )  # fmt: skip


def make_openfold3(case: dict[str, int]) -> Call:
    import torch
    import torch.nn.functional as F
    from ml_collections import ConfigDict
    from openfold3.core.model.structure.diffusion_module import DiffusionModule

    n = case["tokens"]
    f = features(n)
    atoms = n * ATOMS_PER_TOKEN
    local = {"c_hidden": 32, "no_heads": 4, "no_blocks": 3, "n_transition": 2, "n_query": 32, "n_key": 128, "inf": 1e9}
    atom = {"c_atom": 128, "c_atom_pair": 16, "c_token": C_TOKEN}
    config = {
        "diffusion_module": {"c_s": C_S, "c_token": C_TOKEN, "sigma_data": SIGMA_DATA},
        "diffusion_conditioning": {
            "c_s_input": C_S_INPUTS, "c_s": C_S, "c_z": C_Z, "c_fourier_emb": 256, "max_relative_idx": 32,
            "max_relative_chain": 2, "sigma_data": SIGMA_DATA,
        },
        "atom_attn_enc": {
            "c_s": C_S, "c_z": C_Z, "c_atom_ref": {"element": 119, "name_chars": 256}, **atom, **local,
        },
        "diffusion_transformer": {
            "c_a": C_TOKEN, "c_s": C_S, "c_z": C_Z, "c_hidden": 48, "no_heads": 16, "no_blocks": 24, "n_transition": 2,
            "n_query": None, "n_key": None, "inf": 1e9,
        },
        "atom_attn_dec": {**atom, **local},
    }  # fmt: skip
    module = randomised(DiffusionModule(ConfigDict(config)))
    feats = {
        "ref_pos": f["ref_pos"],
        "ref_charge": f["ref_charge"],
        "ref_mask": torch.ones(atoms),
        "ref_element": F.one_hot(f["ref_element"], 119).float(),
        "ref_atom_name_chars": F.one_hot(f["ref_atom_name_chars"], 64).float(),
        "ref_space_uid": f["token"],
        "atom_mask": torch.ones(atoms),
        "atom_to_token_index": f["token"],
        "token_mask": torch.ones(n),
        "num_atoms_per_token": torch.full((n,), ATOMS_PER_TOKEN),
        "asym_id": f["zeros"],
        "residue_index": f["index"],
        "entity_id": f["zeros"],
        "token_index": f["index"],
        "sym_id": f["zeros"],
    }
    feats = {name: value[None, None] for name, value in feats.items()}
    s_inputs, single, pair, noisy = (x[None] for x in inputs(case))
    sigma = torch.full((1, case["samples"]), SIGMA)
    return lambda: module(
        feats, noisy, feats["token_mask"], feats["atom_mask"], sigma, s_inputs[None], single[None], pair[None], True
    )


OURS = {"ours": make_ours, "naive": make_naive}
PEERS = {
    "boltz": make_boltz,
    "protenix": make_protenix,
    "protenix, cached": lambda case: make_protenix(case, cached=True),
    "openfold3": make_openfold3,
}

if __name__ == "__main__":
    compare(Path(__file__), OURS, PEERS, CASES, "Diffusion step (24 blocks, c_token 768, 8 atoms per token)")
