"""The files that a search leaves: alignments, the completed job, and what was found where."""

from __future__ import annotations

import json
import re
from pathlib import Path

from anfinsen.common.errors import OutputError
from anfinsen.common.files import write_text
from anfinsen.jobs import Polymer, job_json

from .record import settings_file
from .search import CompletedJob, EntitySearch


def write_search(completed: CompletedJob, folder: Path, *, with_job: bool = True) -> Path:
    """Write ``msas/CHAIN.a3m``, ``NAME_search.json`` and (last) the completed job ``NAME_data.json`` into ``folder``.

    Files that an earlier search wrote there are removed first, the completed job before all: an interrupted search
    leaves no job that reads alignments of two.

    Raises:
        OutputError: a file cannot be written, or the folder holds the results of a prediction.
    """
    if settings_file(folder).exists():
        raise OutputError(f"{folder} holds the results of a prediction: choose another folder with --out.")
    _remove_earlier(folder)
    polymers = (entity for entity in completed.job.entities if isinstance(entity, Polymer))
    for entity, found in zip(polymers, completed.entities, strict=True):
        texts = entity.unpaired_msa, entity.paired_msa
        if entity.kind == "dna" and found.result is not None:
            texts = found.result.unpaired, ""  # jobs have no place for it
        for text, name in zip(texts, _msa_files(entity.ids[0]), strict=True):
            if text:
                write_text(folder / name, text)
    write_text(folder / f"{folder.name}_search.json", json.dumps(_summary(completed), indent=2) + "\n")
    if with_job:
        write_text(folder / f"{folder.name}_data.json", job_json(completed.job))
    return folder


def _msa_files(chain: str) -> tuple[str, str]:
    """Return where the unpaired and the paired alignment of a chain go."""
    # Chains "a" and "A" need different files even where the file system takes them for one name.
    name = re.sub(r"([a-z])", r"_\1", chain)
    return f"msas/{name}.a3m", f"msas/{name}_paired.a3m"


def _remove_earlier(folder: Path) -> None:
    """Remove what an earlier search wrote, and nothing else.

    Raises:
        OutputError: a file cannot be removed.
    """
    record = folder / f"{folder.name}_search.json"
    try:
        (folder / f"{folder.name}_data.json").unlink(missing_ok=True)
        chains = [entity["chains"][0] for entity in json.loads(record.read_bytes())["entities"]]
        for name in (name for chain in chains for name in _msa_files(str(chain))):
            (folder / name).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError):
        return  # a damaged record, which is replaced
    except OSError as error:
        raise OutputError(
            f"Cannot replace {error.filename or folder}: {error.strerror or error}. Choose another folder with --out, "
            "or check permissions."
        ) from error


def _summary(completed: CompletedJob) -> dict[str, object]:
    chains = []
    for entity in completed.entities:
        found = entity.result
        chains.append(
            {
                "chains": list(entity.chains),
                "kind": entity.kind,
                "source": entity.source,
                "reason": entity.reason,
                "rows": found.depth if found else None,
                "n_eff": round(found.n_eff, 2) if found else None,
                "species": found.species if found else None,
                "databases": [{"engine": each.engine, "rows": each.rows} for each in found.sources] if found else [],
                "templates": _templates(entity),
            }
        )
    return {"name": completed.job.name, "entities": chains}


def _templates(entity: EntitySearch) -> dict[str, object] | None:
    """What the search for templates found; None where it was not made."""
    found = entity.templates
    if found is None:
        return None
    return {
        "hits": found.hits,
        "refused": found.refused,
        "unusable": list(found.unusable),
        "used": [
            {
                "file": each.chain.file,
                "entry": each.chain.entry,
                "chain": each.chain.chain_id,
                "author_chain": each.chain.author_id,
                "release_date": each.chain.release_date,
                "e_value": each.e_value,
                "score": round(each.score, 1),
                "identity": round(each.identity, 3),
                "residues": len(each.query_indices),
                "query_range": [each.query_indices[0] + 1, each.query_indices[-1] + 1],
                "template_range": [each.template_indices[0] + 1, each.template_indices[-1] + 1],
            }
            for each in found.templates
        ],
    }
