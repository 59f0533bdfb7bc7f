"""How much memory and time AlphaFold 1 will take for a chain, before it is run."""

from __future__ import annotations

import torch

from anfinsen.common.errors import MemoryLimitError
from anfinsen.features.alphafold1 import PAIR_CHANNELS
from anfinsen.features.coupling_scores import COUPLINGS, LOW_RANK_BELOW
from anfinsen.models.alphafold1 import AlphaFold1Config, FoldingConfig, RealisationConfig, Stage, count_tiles
from anfinsen.models.alphafold1.config import DILATIONS

from .memory import CUDA_FLOPS, FLOAT, GIB, MPS_FLOPS, PROGRAM_BYTES, Estimate, available_bytes

# Measured at 60 and 250 residues with `mini` on one core of a 2-core server (see `docs/outputs.md`).
CORE_FLOPS = 39e9  # of the network
STEP_SECONDS = 9.5e-3  # of the descent, whatever the length
START_SECONDS = 1.35e-7  # of the descent, per start, step and pair of residues
COUPLING_SECONDS = 5e-11  # per product of two numbers of the alignment's matrix
_STATES = 20
_SPLINE = 4  # coefficients per bin
_MAPS, _ALIGNMENT = 3.5, 5.0  # copies alive at the peak
_START_NUMBERS = 60  # per start and pair of residues, with the gradient


def estimate_alphafold1(
    length: int, rows: int, config: AlphaFold1Config, realisation: RealisationConfig, device: torch.device
) -> Estimate:
    """Return the peak memory of a run and the time of one seed; how many structures are kept hardly matters.

    On a CPU within a factor of 2 of what was measured; the network alone runs on ``device``.

    Args:
        length: residues. rows: of the alignment, 1 for the sequence alone.
        config: of the network. realisation: tiling and folding.
        device: of the network.
    """
    read = min(rows, COUPLINGS.rows.max_rows)
    couplings, network = _coupling_work(length, read), _network_flops(length, config, realisation)
    speed = {"cuda": CUDA_FLOPS, "mps": MPS_FLOPS}.get(device.type, CORE_FLOPS * torch.get_num_threads())
    seconds = COUPLING_SECONDS * couplings + network / speed + _folding_seconds(length, realisation.folding)
    return Estimate(_peak_bytes(length, read, config, realisation), seconds)


def check_alphafold1_memory(
    length: int, rows: int, config: AlphaFold1Config, realisation: RealisationConfig, device: torch.device
) -> None:
    """Refuse a run that cannot fit, before it starts; arguments as for :func:`estimate_alphafold1`.

    Raises:
        MemoryLimitError: the estimate exceeds the free memory; the message says what would fit.
    """
    free = available_bytes(torch.device("cpu"))  # all but the network's crops is there
    needed = estimate_alphafold1(length, rows, config, realisation, device).bytes
    if needed <= free:
        return
    fits = [n for n in range(50, length, 10) if estimate_alphafold1(n, rows, config, realisation, device).bytes <= free]
    advice = f"About {fits[-1]} residues would fit: use a shorter chain, or" if fits else "Use"
    raise MemoryLimitError(
        f"This chain of {length} residues needs about {needed / GIB:.1f} GiB, where {free / GIB:.1f} GiB are free. "
        f"{advice} a machine with more memory."
    )


def _coupling_work(length: int, rows: int) -> float:
    """Products of the shrunk inverse, by the shorter way (see `features.coupling_scores`)."""
    states = _STATES * length
    if rows < 2:
        return 0.0
    if rows < LOW_RANK_BELOW * states:
        return 1.5 * rows**2 * states + 0.5 * rows * states**2
    return float(states**3 + rows * states**2)


def _network_flops(length: int, config: AlphaFold1Config, realisation: RealisationConfig) -> float:
    per_pair = config.c_pair_in * config.towers[0].channels
    for tower in config.towers:
        half = tower.channels // 2
        per_pair += len(DILATIONS) * tower.groups * (2 * half * tower.channels + 9 * half**2)
    per_pair += config.towers[-1].channels * (config.distances + 2 * config.dihedrals + config.angles)
    return 2.0 * per_pair * config.crop**2 * count_tiles(length, config.crop, realisation.tiling)


def _folding_seconds(length: int, folding: FoldingConfig) -> float:
    rounds = [(folding.starts, folding.stages), *[(folding.pool, folding.later)] * folding.rounds]
    steps = sum(stage.steps for _, stages in rounds for stage in stages)
    taken = sum(_start_steps(starts, stages) for starts, stages in rounds)
    return STEP_SECONDS * steps + START_SECONDS * taken * length**2


def _start_steps(starts: int, stages: tuple[Stage, ...]) -> int:
    taken = 0
    for stage in stages:
        taken += starts * stage.steps
        starts = min(starts, stage.keep)
    return taken


def _peak_bytes(length: int, rows: int, config: AlphaFold1Config, realisation: RealisationConfig) -> int:
    """Return program + weights + the largest of the stages: couplings, network, folding."""
    pairs, states = length**2, _STATES * length
    numbers = config.distances + 2 * config.dihedrals + config.angles
    alignment = _ALIGNMENT * max(rows * states, 0 if rows < LOW_RANK_BELOW * states else states**2) + 2 * rows**2
    blocks = pairs * (config.c_pair_in - PAIR_CHANNELS)
    widest = max(tower.channels for tower in config.towers)
    crops = realisation.tiling.batch * config.crop**2 * (3 * widest + config.c_pair_in + 2 * numbers)
    network = crops + _MAPS * pairs * numbers + 2 * blocks
    starts = max(realisation.folding.starts, realisation.folding.pool)
    folding = 2 * pairs * numbers + _SPLINE * pairs * (0.5 * config.distances + numbers - config.distances)
    folding += starts * pairs * _START_NUMBERS
    parameters = sum(
        len(DILATIONS) * tower.groups * (tower.channels**2 + 9 * (tower.channels // 2) ** 2) for tower in config.towers
    )
    return int(PROGRAM_BYTES + FLOAT * (parameters + max(alignment + blocks, network, folding)))
