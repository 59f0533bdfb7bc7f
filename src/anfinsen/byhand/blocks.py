"""The blocks of models by name: what each does, and which algorithm of which paper it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from anfinsen.common.errors import ConfigError


@dataclass(frozen=True)
class BlockInfo:
    """One block of a model.

    Attributes:
        name: as users write it, e.g. ``pairformer.0.triangle_attention_starting``. path: dotted name of the module.
        kind: class of the module. does: one sentence. reference: algorithm and paper, "" if there is none.
    """

    name: str
    path: str
    kind: str
    does: str
    reference: str


# What blocks do, and the algorithm's number in the papers of AlphaFold 3 and AlphaFold 2.
_KNOWN: dict[str, tuple[str, str, str]] = {
    "Trunk": ("From features to single and pair representations, recycled", "1", "2"),
    "PairformerBlock": ("Pairformer block: triangle updates, then attention over tokens with pair bias", "17", ""),
    "PairBlock": ("Triangle updates and transition of the pair representation", "17, lines 2-6", "6, lines 6-10"),
    "outgoing": ("Pair (i, j) from the products of edges (i, k) and (j, k)", "12", "11"),
    "incoming": ("Pair (i, j) from the products of edges (k, i) and (k, j)", "13", "12"),
    "starting": ("Edge (i, j) attends to the edges (i, k) that start at the same token", "14", "13"),
    "ending": ("Edge (i, j) attends to the edges (k, j) that end at the same token", "15", "14"),
    "Transition": ("Two-layer network on every position alone", "11", "9 and 15"),
    "AttentionPairBias": ("Gated attention over tokens (or atoms) with a bias from the pairs", "24", ""),
    "GatedAttention": ("Queries, keys, values and gates of attention with a given bias", "24", ""),
    "PairBias": ("One attention logit for each head and pair", "24", ""),
    "OuterProductMean": ("Pairs from the mean, over alignment rows, of outer products", "9", "10"),
    "PairWeightedAveraging": ("Alignment rows mixed by weights from the pairs", "10", ""),
    "MsaModule": ("Alignment rows speak to the pairs, block by block", "8", ""),
    "MsaBlock": ("One block of the MSA module", "8", ""),
    "TemplateEmbedder": ("Known structures of relatives, as an update of the pairs", "16", "16 and 17"),
    "InputEmbedder": ("Features to the first representations", "2", "3"),
    "RelativePositionEncoding": ("How far apart two tokens are in sequence, chain and entity", "3", ""),
    "RelativePosition": ("How far apart two residues are in the sequence", "", "4"),
    "AtomAttentionEncoder": ("From atoms to tokens, attention in windows of atoms", "5", ""),
    "AtomAttentionDecoder": ("From tokens back to a displacement of each atom", "6", ""),
    "AtomConditioning": ("What atoms know from their reference conformer and the trunk", "5, lines 1-14", ""),
    "DiffusionTransformer": ("Attention and transitions under conditioning", "23 (atoms: 7)", ""),
    "DiffusionTransformerBlock": ("One block of the diffusion transformer", "23", ""),
    "ConditionedTransition": ("Transition under adaptive layer norm, with an output gate", "25", ""),
    "AdaptiveLayerNorm": ("Layer norm whose scale and shift a second vector makes", "26", ""),
    "FourierEmbedding": ("The noise level as cosines of random frequencies", "22", ""),
    "DiffusionConditioning": ("What the denoiser is told: trunk, positions, noise level", "21", ""),
    "SingleConditioning": ("Conditioning of tokens", "21, lines 6-12", ""),
    "PairConditioning": ("Conditioning of pairs", "21, lines 1-5", ""),
    "DiffusionModule": ("One denoising: noisy atoms in, atoms at rest out", "20", ""),
    "ConfidenceHead": ("How far to trust a structure: pLDDT, PAE, PDE, resolved", "31", ""),
    "RecyclingEmbedder": ("What the last pass found, fed back", "", "32"),
    "EvoformerStack": ("Evoformer blocks one after the other", "", "6"),
    "EvoformerBlock": ("Evoformer block: attention over the alignment, then updates of the pairs", "", "6"),
    "MsaRowAttention": ("Attention along each alignment row, with a bias from the pairs", "", "7"),
    "MsaColumnAttention": ("Attention down each alignment column", "", "8"),
    "MsaColumnGlobalAttention": ("Attention down each column with one query, the column's mean", "", "19"),
    "StructureModule": ("From the representations to atoms, by moving rigid residues", "", "20"),
    "InvariantPointAttention": ("Attention whose logits also see distances of points in residues' frames", "", "22"),
    "StructureTransition": ("Transition of the single representation in the structure module", "", "20, lines 8-9"),
    "TorsionNetwork": ("Seven torsion angles of each residue", "", "20, lines 11-14"),
    "PlddtHead": ("Expected local accuracy of each residue", "", "29"),
}  # fmt: skip
_PAPERS = {"AlphaFold3": "Abramson et al. 2024 (AlphaFold 3)", "AlphaFold2": "Jumper et al. 2021 (AlphaFold 2)"}
# Plain layers and containers, which --list leaves out; they can be traced all the same.
_PLAIN = ("torch.",)
_SKIPPED = {"SharedDropout", "OutputGate"}

# How users name the parts: (pattern in module paths, name), applied in order.
_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "AlphaFold3": (
        (r"^trunk_module\.blocks\.", "pairformer."),
        (r"^trunk_module\.msa\.blocks\.", "msa_module."),
        (r"^trunk_module\.templates\.blocks\.", "template_pairformer."),
        (r"^diffusion\.transformer\.blocks\.", "diffusion_transformer."),
        (r"^confidence_head\.blocks\.", "confidence_pairformer."),
        (r"^trunk_module\.", "trunk."),
        (r"^trunk_module$", "trunk"),
        (r"(pairformer\.\d+)\.attention\b", r"\1.single_attention"),
        (r"(pairformer\.\d+)\.transition\b", r"\1.single_transition"),
    ),
    "AlphaFold2": (
        (r"^trunk\.evoformer\.blocks\.", "evoformer."),
        (r"^trunk\.extra\.blocks\.", "extra_msa."),
        (r"\.rows\b", ".row_attention"),
        (r"\.columns\b", ".column_attention"),
        (r"^structure\.attention\b", "structure.invariant_point_attention"),
        (r"((?:evoformer|extra_msa)\.\d+)\.transition\b", r"\1.msa_transition"),
    ),
}
_SHARED_NAMES = (
    (r"\bpair\.starting\b", "triangle_attention_starting"),
    (r"\bpair\.ending\b", "triangle_attention_ending"),
    (r"\bpair\.outgoing\b", "triangle_multiplication_outgoing"),
    (r"\bpair\.incoming\b", "triangle_multiplication_incoming"),
    (r"\bpair\.transition\b", "pair_transition"),
    (r"\bouter_product\b", "outer_product_mean"),
)


def blocks_of(model: nn.Module) -> tuple[BlockInfo, ...]:
    """Return the blocks of ``model`` in the order in which they are defined.

    Plain layers are left out, and so are holders of parts, which have no forward pass of their own.
    """
    family = type(model).__name__
    found = []
    for path, module in model.named_modules():
        kind = type(module)
        runs = kind.forward is not nn.Module.forward
        if not path or not runs or kind.__module__.startswith(_PLAIN) or kind.__name__ in _SKIPPED:
            continue
        does, reference = _describe(module, family)
        found.append(BlockInfo(_friendly(path, family), path, kind.__name__, does, reference))
    return tuple(found)


def block_info(model: nn.Module, name: str) -> BlockInfo:
    """Return the block of ``model`` that a user names, by its friendly name or its module path.

    Raises:
        ConfigError: there is none of that name; the message shows the nearest ones.
    """
    for info in blocks_of(model):
        if name in (info.name, info.path):
            return info
    modules = dict(model.named_modules())
    if name and name in modules:  # a plain layer
        return BlockInfo(name, name, type(modules[name]).__name__, *_describe(modules[name], type(model).__name__))
    from difflib import get_close_matches

    near = get_close_matches(name, [info.name for info in blocks_of(model)], n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(f"The model has no block {name!r}: {hint}`anfinsen byhand --list` names all of them.")


def listing(blocks: tuple[BlockInfo, ...]) -> Mapping[str, BlockInfo]:
    """Return one block for each name once layers are counted together (``pairformer.0-3.single_attention``)."""
    groups: dict[str, list[BlockInfo]] = {}
    for block in blocks:
        groups.setdefault(re.sub(r"\b\d+\b", "#", block.name), []).append(block)
    named = {}
    for members in groups.values():
        numbers = [re.findall(r"\b\d+\b", block.name) for block in members]
        spans = [sorted({int(column) for column in columns}) for columns in zip(*numbers, strict=True)]
        words = [f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans]
        first, *others = re.split(r"\b\d+\b", members[0].name)
        named[first + "".join(word + other for word, other in zip(words, others, strict=True))] = members[0]
    return named


def _friendly(path: str, family: str) -> str:
    for pattern, name in (*_NAMES.get(family, ()), *_SHARED_NAMES):
        path = re.sub(pattern, name, path)
    return path


def _describe(module: nn.Module, family: str) -> tuple[str, str]:
    kind = type(module).__name__
    key = str(getattr(module, "node", getattr(module, "direction", kind)))
    known = _KNOWN.get(key if key in _KNOWN else kind)
    if known is not None and family in _PAPERS:
        number = known[1] if family == "AlphaFold3" else known[2]
        reference = f"{_PAPERS[family]}, Algorithm{'s' if ' and ' in number else ''} {number}" if number else ""
        return known[0], reference
    text = " ".join((type(module).__doc__ or "").split("\n\n")[0].split()) or kind
    cited = re.search(r"\(([^()]*(?:Algorithm|et al|section|figure|supplement)[^()]*(?:\([^()]*\))?[^()]*)\)", text)
    if type(module).__module__.startswith(_PLAIN):
        return f"{kind} of PyTorch", ""
    return re.sub(r"\s*\([^()]*(?:et al|Algorithm)[^()]*\)", "", text).rstrip(". "), cited.group(1) if cited else ""
