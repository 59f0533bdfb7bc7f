"""Evolutionary couplings: a Potts model by pseudo-likelihood, and mean-field DCA."""

from .config import CouplingConfig, MeanFieldConfig, PottsConfig, RowConfig
from .contacts import RankedContacts, contact_probability, ranked_contacts
from .infer import Couplings, infer_couplings
from .sample import Sample, draw_sample
from .scores import average_product_correction, z_scores

__all__ = [
    "CouplingConfig",
    "Couplings",
    "MeanFieldConfig",
    "PottsConfig",
    "RankedContacts",
    "RowConfig",
    "Sample",
    "average_product_correction",
    "contact_probability",
    "draw_sample",
    "infer_couplings",
    "ranked_contacts",
    "z_scores",
]
