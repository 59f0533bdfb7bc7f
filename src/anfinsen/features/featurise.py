"""From a `Complex` to a `Batch`."""

from __future__ import annotations

from torch import Tensor

from anfinsen.nn.batch import Batch

from .bonds import token_bond_features, token_bond_pairs
from .complexes import Complex
from .config import FeatureConfig
from .couplings import no_couplings, pair_couplings
from .msa import msa_features
from .reference import reference_features
from .templates import template_features
from .tokens import token_features


def featurise(complex_: Complex, config: FeatureConfig | None = None, seed: int = 0) -> Batch:
    """Return all features of ``complex_``; ``seed`` matters only where ``config.reference_frame`` is random.

    Raises:
        StructureError, AlignmentError: a template cannot be used.
    """
    config = config or FeatureConfig()
    structure, tokens, atoms = complex_.structure, complex_.tokens, complex_.atoms
    pairs = token_bond_pairs(structure, tokens, atoms.token)
    fields: dict[str, Tensor] = {
        **token_features(structure, tokens),
        **reference_features(tokens, atoms, config.reference_frame, seed),
        **msa_features(complex_, config),
        **template_features(complex_, config.max_templates),
        "token_bonds": token_bond_features(pairs, len(tokens)),
        "pair_couplings": pair_couplings(complex_) if config.couplings else no_couplings(len(tokens)),
    }
    return Batch(**fields)


# The axes of every field, so that cropping (in training) need not know the fields one by one.
BATCH_AXES: dict[str, str] = {
    **dict.fromkeys(
        ("restype", "residue_index", "token_index", "asym_id", "entity_id", "sym_id", "kind", "is_standard",
         "token_mask", "cyclic_period", "profile", "deletion_mean", "center_atom", "distogram_atom", "frame_atoms",
         "frame_mask"),
        "N",
    ),
    **dict.fromkeys(("msa", "has_deletion", "deletion_value", "msa_mask"), "S N"),
    **dict.fromkeys(("token_bonds", "pair_couplings"), "N N"),
    **dict.fromkeys(
        ("atom_to_token", "atom_mask", "ref_pos", "ref_mask", "ref_element", "ref_charge", "ref_atom_name_chars",
         "ref_space_uid"),
        "A",
    ),
    **dict.fromkeys(
        ("template_restype", "template_pseudo_beta", "template_pseudo_beta_mask", "template_backbone",
         "template_backbone_mask"),
        "T N",
    ),
}  # fmt: skip
