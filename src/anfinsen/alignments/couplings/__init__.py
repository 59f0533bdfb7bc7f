"""Evolutionary couplings: a Potts model by pseudo-likelihood, and mean-field DCA."""

from .config import CouplingConfig, MeanFieldConfig, PottsConfig, RowConfig
from .contacts import RankedContacts, contact_probability, ranked_contacts
from .infer import Couplings, infer_couplings
from .sample import Sample, covering_rows, draw_sample
from .scores import average_product_correction, varying_columns, z_scores

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
    "covering_rows",
    "draw_sample",
    "infer_couplings",
    "ranked_contacts",
    "varying_columns",
    "z_scores",
]
