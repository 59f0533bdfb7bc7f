"""Results for people and programs: mmCIF (ModelCIF), confidence JSON, ranking, and one HTML report per job."""

from .confidences import confidences_json, summary, summary_json
from .folder import model_cif, write_results
from .html import report_html
from .mmcif import ModelSource, prediction_mmcif
from .ranking import ranking_csv, ranking_table

__all__ = [
    "ModelSource",
    "confidences_json",
    "model_cif",
    "prediction_mmcif",
    "ranking_csv",
    "ranking_table",
    "report_html",
    "summary",
    "summary_json",
    "write_results",
]
