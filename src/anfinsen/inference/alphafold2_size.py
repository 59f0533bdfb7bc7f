"""How much memory and time AlphaFold 2 will take for a job, before it is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from anfinsen.common.errors import MemoryLimitError
from anfinsen.features.alphafold2 import AlphaFold2Inputs
from anfinsen.models.alphafold2 import AlphaFold2Config

from .memory import FLOAT, GIB, PROGRAM_BYTES, Estimate, available_bytes, flops_per_second, is_out_of_memory

# Copies alive at the peak, from resident sizes of `mini` at 128 and 384 residues on a CPU: of pair representations in
# the blocks and while inputs are embedded, and of an alignment's representation.
_PAIRS, _EMBEDDED_PAIRS, _ROWS = 3.5, 8.5, 3.0
_PAIR_LOGITS = 4  # of distogram and aligned errors, with what is made of them
_ROW_BYTES = 100  # of one residue of the whole alignment while its clusters are found
_TYPES = 49  # features of one residue of a clustered row
# Two passes of `mini` over 128 and 384 residues took 1.9 and 22.7 s of one core: so much faster than AlphaFold 3's
# blocks were when their speed was measured.
_FASTER = 2.4


@dataclass(frozen=True)
class AlphaFold2Size:
    """What memory and time follow from: residues, rows of the whole alignment, and those that one pass sees.

    Attributes:
        residues, rows: of the complex and its alignment. clusters, extra: rows that one pass sees.
        templates: that one pass sees.
    """

    residues: int
    rows: int
    clusters: int
    extra: int
    templates: int = 0

    @classmethod
    def of(cls, inputs: AlphaFold2Inputs, config: AlphaFold2Config) -> AlphaFold2Size:
        """Return the size of ``inputs`` as a network with ``config`` sees it."""
        rows, residues = inputs.restypes.shape
        clusters = min(rows, config.msa_rows)
        extra = min(rows - clusters, config.extra_rows)
        return cls(residues, rows, clusters, extra, len(inputs.fields["template_mask"]))


def estimate_alphafold2(
    size: AlphaFold2Size, config: AlphaFold2Config, *, samples: int, recycles: int, device: torch.device
) -> Estimate:
    """Return the peak memory of a run and the time of one seed with ``samples`` structures.

    On a CPU within a factor of 2 of what was measured.
    """
    speed = _FASTER * flops_per_second(config.c_z, device)
    seconds = samples * (recycles + 1) * _pass_flops(size, config) / speed
    return Estimate(_peak_bytes(size, config), seconds)


def check_alphafold2_memory(size: AlphaFold2Size, config: AlphaFold2Config, device: torch.device) -> None:
    """Refuse a run that cannot fit, before it starts.

    Raises:
        MemoryLimitError: the estimate exceeds the free memory; the message says what would fit.
    """
    free = available_bytes(device)
    if _peak_bytes(size, config) > free:
        raise MemoryLimitError(_sentence(size, config, device, free))


@contextmanager
def answer_alphafold2_out_of_memory(
    size: AlphaFold2Size, config: AlphaFold2Config, device: torch.device
) -> Iterator[None]:
    """Turn an allocation that fails inside into a `MemoryLimitError` that says what would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        free = min(available_bytes(device), _peak_bytes(size, config) - 1)
        raise MemoryLimitError(f"The run ran out of memory. {_sentence(size, config, device, free)}") from error


def _sentence(size: AlphaFold2Size, config: AlphaFold2Config, device: torch.device, free: int) -> str:
    fits = [n for n in range(10, size.residues, 10) if _peak_bytes(replace(size, residues=n), config) <= free]
    advice = f"About {fits[-1]} residues would fit: use fewer or shorter chains, or" if fits else "Use"
    return (
        f"This job of {size.residues} residues needs about {_peak_bytes(size, config) / GIB:.1f} GiB on {device.type}, "
        f"where {free / GIB:.1f} GiB are free. {advice} a machine with more memory."
    )


def _peak_bytes(size: AlphaFold2Size, config: AlphaFold2Config) -> int:
    """Return program + weights + the largest of the stages: drawing rows, the trunk, structure and heads."""
    n = size.residues
    pairs, kept = FLOAT * n * n, FLOAT * n * n * config.c_z  # one pair representation is handed from pass to pass
    drawing = kept + _ROW_BYTES * size.rows * n
    clusters = FLOAT * size.clusters * n * (_TYPES + _ROWS * config.c_m)
    extra = FLOAT * size.extra * n * (_TYPES + _ROWS * config.c_e)
    templates = pairs * config.c_t * (size.templates + 2) if size.templates else 0
    blocks = _PAIRS * kept + 2 * pairs * config.c_triangle
    trunk = max(blocks, _EMBEDDED_PAIRS * kept, 2 * kept + templates) + clusters + extra
    structure = 2 * kept + _PAIR_LOGITS * pairs * config.heads_points + _PAIR_LOGITS * pairs * 64
    return int(PROGRAM_BYTES + FLOAT * _parameters(config) + max(drawing, trunk, structure))


def _parameters(config: AlphaFold2Config) -> int:
    """Return how many parameters the blocks have, which is nearly all."""
    pair = _pair_weights(config.c_z, config.c_triangle)
    result = 0.0
    for blocks, width in ((config.evoformer_blocks, config.c_m), (config.extra_blocks, config.c_e)):
        result += blocks * (pair + 18 * width * width + config.c_outer**2 * config.c_z)
    return int(result)


def _pair_weights(c_z: int, c_triangle: int) -> int:
    """Weights of one pair block; each is used once for every pair."""
    return 2 * c_z * (5 * c_triangle + c_z) + 2 * 5 * c_z * c_z + 8 * c_z * c_z


def _pair_block_flops(n: int, c_z: int, c_triangle: int) -> float:
    return 2.0 * (n**2 * _pair_weights(c_z, c_triangle) + n**3 * (2 * c_triangle + 4 * c_z))


def _msa_block_flops(n: int, rows: int, width: int, config: AlphaFold2Config) -> float:
    """Attention along rows and columns, transition, and the outer product mean."""
    outer = n**2 * (rows * config.c_outer**2 + config.c_outer**2 * config.c_z)
    # Columns of the extra stack have one query each, in place of one for each row.
    columns = n * rows**2 * 2 * width if width == config.c_m else 0
    return 2.0 * (rows * n * 18 * width * width + n**2 * rows * 2 * width + columns + outer)


def _pass_flops(size: AlphaFold2Size, config: AlphaFold2Config) -> float:
    n = size.residues
    pair = _pair_block_flops(n, config.c_z, config.c_triangle)
    evoformer = config.evoformer_blocks * (pair + _msa_block_flops(n, size.clusters, config.c_m, config))
    extra = config.extra_blocks * (pair + _msa_block_flops(n, size.extra, config.c_e, config))
    templates = size.templates * config.template_blocks * _pair_block_flops(n, config.c_t, config.c_t)
    structure = config.layers * 2.0 * n**2 * config.heads_points * (config.c_z + 3 * config.c_points)
    clusters = 4.0 * size.rows * size.clusters * n * 23
    return evoformer + extra + templates + structure + clusters
