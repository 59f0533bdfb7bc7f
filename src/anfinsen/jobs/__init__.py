"""What the user asks for: a frozen, validated `Job`, and one reader per input dialect."""

from .chain_ids import generated_chain_id
from .components import JobComponents, job_components, job_structure
from .job import AtomAddress, Entity, Job, JobBond, Ligand, Modification, Polymer, TemplateAlignment
from .load import LoadedJobs, load_jobs, load_jobs_with_notes
from .schema import job_schema
from .write import job_json

__all__ = [
    "AtomAddress",
    "Entity",
    "Job",
    "JobBond",
    "JobComponents",
    "Ligand",
    "LoadedJobs",
    "Modification",
    "Polymer",
    "TemplateAlignment",
    "generated_chain_id",
    "job_components",
    "job_json",
    "job_schema",
    "job_structure",
    "load_jobs",
    "load_jobs_with_notes",
]
