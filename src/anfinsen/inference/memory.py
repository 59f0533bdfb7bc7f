"""How much memory and time a job will take, before it is run; and what to say when it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from anfinsen.common.errors import MemoryLimitError
from anfinsen.models.alphafold3 import AlphaFold3Config
from anfinsen.nn.batch import Batch

FLOAT = 4  # bytes
GIB = 2**30
# Samples are drawn together while their own memory stays below this; the same on all machines, because the grouping
# decides which random numbers each sample gets.
GROUP_BYTES = 2 * GIB
# Fitted to peak resident sizes of 128 to 768 tokens with `mini`, `small` and `full` on a CPU (see `docs/outputs.md`).
PROGRAM_BYTES = 610 * 2**20  # Python, torch, and the chemistry with its dictionary of components
TRUNK_PAIRS, CONFIDENCE_PAIRS = 7.5, 6.0  # pair representations alive at the peak of the stage
CONFIDENCE_PAIR_BYTES = 1340  # per pair of tokens, whatever the width: encoded distances, PAE and PDE logits
# Arithmetic per second and core, measured at c_z = 128 on a 2-core server; narrow networks reach less, as the power
# says (22, 34 and 52 GFLOP/s for mini, small and full). Those of accelerators are assumed.
CORE_FLOPS, WIDTH_POWER = 52e9, 0.6
CUDA_FLOPS, MPS_FLOPS = 2e13, 1e12


@dataclass(frozen=True)
class Size:
    """What memory and time follow from: numbers of tokens, atoms, MSA rows used per recycle, and templates."""

    tokens: int
    atoms: int
    msa_rows: int
    templates: int = 0

    @classmethod
    def of(cls, batch: Batch, config: AlphaFold3Config) -> Size:
        """Return the size of ``batch`` as a network with ``config`` sees it."""
        rows = min(batch.msa.shape[0], config.msa_rows)
        return cls(len(batch.restype), len(batch.atom_to_token), rows, len(batch.template_restype))


@dataclass(frozen=True)
class Estimate:
    """Peak memory in bytes, and seconds for one seed."""

    bytes: int
    seconds: float


def estimate(
    size: Size, config: AlphaFold3Config, *, samples: int, at_once: int, recycles: int, steps: int, device: torch.device
) -> Estimate:
    """Return the peak memory of a run and the time of one seed with ``samples`` structures.

    The formula counts the tensors that grow with the job; its constants were fitted to measured runs (peak resident
    size and CPU time). On a CPU memory is within 10 % and time within a factor of 2 of what was measured.
    """
    trunk = (recycles + 1) * _trunk_flops(size, config)
    confidence = samples * config.confidence_blocks * _pair_block_flops(size.tokens, config)
    diffusion = samples * steps * _step_flops(size, config)
    seconds = (trunk + confidence + diffusion) / flops_per_second(config.c_z, device)
    return Estimate(_peak_bytes(size, config, at_once), seconds)


def samples_at_once(size: Size, config: AlphaFold3Config) -> int:
    """Return how many structures are sampled together; it depends on the job and the model only."""
    return max(1, int(GROUP_BYTES // _sample_bytes(size, config)))


def available_bytes(device: torch.device) -> int:
    """Return the free memory of ``device``, within the limit of a container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file outside of a container; "max" where there is no limit
            continue
    # What this process holds already is part of the estimate too.
    return max(0, free + int(psutil.Process().memory_info().rss))


def check_memory(size: Size, config: AlphaFold3Config, at_once: int, device: torch.device) -> None:
    """Refuse a run that cannot fit, before it starts.

    Raises:
        MemoryLimitError: the estimate exceeds the free memory; the message says what would fit.
    """
    free = available_bytes(device)
    if _peak_bytes(size, config, at_once) > free:
        raise MemoryLimitError(f"{_needs(size, config, at_once, free, device)} {_advice(size, config, at_once, free)}")


@contextmanager
def answer_out_of_memory(size: Size, config: AlphaFold3Config, at_once: int, device: torch.device) -> Iterator[None]:
    """Turn an allocation that fails inside into a `MemoryLimitError` that says what would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        free = available_bytes(device)
        raise MemoryLimitError(
            f"The run ran out of memory. {_needs(size, config, at_once, free, device)} "
            f"{_advice(size, config, at_once, min(free, _peak_bytes(size, config, at_once) - 1))}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, on whichever device."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in text
        for words in ("can't allocate memory", "not enough memory", "out of memory", "invalid buffer size")
    )


def _needs(size: Size, config: AlphaFold3Config, at_once: int, free: int, device: torch.device) -> str:
    return (
        f"This job of {size.tokens} tokens and {size.atoms} atoms needs about "
        f"{_gib(_peak_bytes(size, config, at_once))} on {device.type}, where {_gib(free)} are free."
    )


def _advice(size: Size, config: AlphaFold3Config, at_once: int, free: int) -> str:
    if at_once > 1 and _peak_bytes(size, config, 1) <= free:
        fit = max(count for count in range(1, at_once) if _peak_bytes(size, config, count) <= free)
        return f"Sampling {fit} at once would fit: use --at-once {fit}."
    fit = _largest_tokens(size, config, free)
    if fit < 1:
        return "Use a smaller model or a machine with more memory."
    return f"About {fit} tokens would fit: use a smaller complex, a smaller model, or a machine with more memory."


def _largest_tokens(size: Size, config: AlphaFold3Config, free: int) -> int:
    low, high = 0, size.tokens
    while low < high:
        middle = (low + high + 1) // 2
        smaller = replace(size, tokens=middle, atoms=round(size.atoms * middle / size.tokens))
        if _peak_bytes(smaller, config, 1) <= free:
            low = middle
        else:
            high = middle - 1
    return low


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def _peak_bytes(size: Size, config: AlphaFold3Config, at_once: int) -> int:
    """Return program + weights + the largest of the stages; the trunk's output stays through all of them."""
    n = size.tokens
    pair, logits = FLOAT * n * n * config.c_z, FLOAT * n * n * 64
    trunk = TRUNK_PAIRS * pair + FLOAT * 3 * size.msa_rows * n * (config.c_m + 34)
    contacts = 2 * pair + 3 * logits
    biases = min(FLOAT * n * n * config.token_heads * config.token_blocks, config.diffusion.bias_cache_bytes)
    diffusion = 2 * pair + biases + at_once * _sample_bytes(size, config)
    confidence = CONFIDENCE_PAIRS * pair + CONFIDENCE_PAIR_BYTES * n * n
    return int(PROGRAM_BYTES + FLOAT * _parameters(config) + max(trunk, contacts, diffusion, confidence))


def _sample_bytes(size: Size, config: AlphaFold3Config) -> int:
    """Return what one more structure adds while sampling: activations of tokens and atoms, and attention logits."""
    tokens = size.tokens * (6 * config.c_token + config.token_heads * size.tokens)
    atoms = size.atoms * (10 * config.c_atom + 4 * 128 * config.atom_heads)
    return FLOAT * (tokens + atoms)


def _parameters(config: AlphaFold3Config) -> int:
    """Return about how many parameters the network has."""
    z, s, t = config.c_z, config.c_s, config.c_token
    pair = 2 * z * (5 * config.c_triangle + z) + 2 * 5 * z * config.heads_pair * config.c_pair_attention + 12 * z * z
    block = pair + 5 * s * s + 12 * s * s
    token_block = 5 * t * t + 9 * t * t + 4 * t * s
    return (config.pairformer_blocks + config.confidence_blocks) * block + config.token_blocks * token_block


def _pair_block_flops(n: int, config: AlphaFold3Config) -> float:
    z, s, triangle = config.c_z, config.c_s, config.c_triangle
    attention = config.heads_pair * config.c_pair_attention
    per_pair = 2 * z * (5 * triangle + z) + 2 * 5 * z * attention + 12 * z * z + 2 * s
    return 2.0 * (n**2 * per_pair + n**3 * (2 * triangle + 4 * attention) + n * 17 * s * s)


def _trunk_flops(size: Size, config: AlphaFold3Config) -> float:
    n, rows, m, z = size.tokens, size.msa_rows, config.c_m, config.c_z
    pair = _pair_block_flops(n, config)
    outer = n**2 * (rows * config.c_outer**2 + config.c_outer**2 * z)
    heads = config.msa_heads * config.c_msa_head
    msa = rows * n * (12 * m * m + 3 * m * heads) + n**2 * rows * heads
    templates = size.templates * config.template.blocks * pair * (config.template.c / z) ** 2
    return config.pairformer_blocks * pair + config.msa_blocks * (2.0 * (outer + msa) + pair) + templates


def _step_flops(size: Size, config: AlphaFold3Config) -> float:
    """Return the arithmetic of one diffusion step of one sample."""
    n, t, a = size.tokens, config.c_token, config.c_atom
    tokens = config.token_blocks * (n * (14 * t * t + 4 * t * config.c_s) + 2 * n * n * t)
    atoms = 2 * config.atom_blocks * size.atoms * (22 * a * a + 2 * 128 * a)
    return 2.0 * (tokens + atoms)


def flops_per_second(c_z: int, device: torch.device) -> float:
    """Return the arithmetic that a network with a pair representation of width ``c_z`` does in a second."""
    if device.type == "cuda":
        return CUDA_FLOPS
    if device.type == "mps":
        return MPS_FLOPS
    narrow: float = min(1.0, (c_z / 128) ** WIDTH_POWER)
    return CORE_FLOPS * narrow * torch.get_num_threads()
