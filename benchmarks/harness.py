"""Fair timing on a busy machine: one process per implementation, calls interleaved, CPU seconds beside wall seconds.

Each implementation runs in its own process (a peer in its own environment), so that memory peaks do not mix. The parent
asks every process in turn for one call, round after round. Seconds are the smallest of all rounds; ratios are the
median of the rounds' own, since a shared processor's clock moves by a quarter from one minute to the next, and the
calls of one round lie seconds apart. CPU seconds depend less than wall seconds on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# With OpenMP's default spinning, waiting threads burn the CPU time that is measured.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "LAYERNORM_TYPE": "torch"}
STATUS = Path("/proc/self/status")

Call = Callable[[], object]
Makers = dict[str, Callable[[dict[str, int]], Call]]


def start_peak() -> bool:
    """Let the peak of resident memory count from here; return whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory() -> float:
    """MiB of resident memory at most since :func:`start_peak` (or since the process began, where that fails)."""
    return _field(STATUS, "VmHWM") / 1024


def peak_rise(call: Call) -> float | None:
    """MiB by which resident memory rises while ``call`` runs; None where the system does not tell."""
    if not start_peak():
        return None
    before = _field(STATUS, "VmRSS") / 1024
    call()
    return peak_memory() - before


def _field(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def serve(make: Callable[[dict[str, int]], Call], case: dict[str, int], threads: int) -> None:
    """Answer the parent's requests: the first call measures memory, each later one time."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    call = make(case)
    print(json.dumps({"memory": peak_rise(call)}), flush=True)
    for _ in sys.stdin:
        used, started = _cpu_seconds(), time.perf_counter()
        call()
        wall = time.perf_counter() - started
        print(json.dumps({"cpu": _cpu_seconds() - used, "wall": wall}), flush=True)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Worker:
    """One implementation in its own process."""

    def __init__(self, python: str, script: Path, name: str, case: dict[str, int], threads: int) -> None:
        command = [python, str(script), "--worker", name, "--case", json.dumps(case), "--threads", str(threads)]
        environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.cpu: list[float] = []
        self.wall: list[float] = []
        first = self._read()
        self.alive = first is not None
        self.memory = first["memory"] if first else None

    def _read(self) -> dict[str, float] | None:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return None

    def call(self) -> None:
        """Time one call."""
        print("run", file=self.process.stdin, flush=True)
        result = self._read()
        if result is None:
            self.alive = False
            return
        self.cpu.append(result["cpu"])
        self.wall.append(result["wall"])

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(script: Path, ours: Makers, peers: Makers, cases: list[dict[str, int]], title: str) -> None:
    """Parse the command line; run as the parent, or as the worker that the parent started."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--peer-python", action="append", default=[], metavar="PATH", help="interpreter with peers")
    parser.add_argument("--rounds", type=int, default=3, help="timed calls per implementation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="names of implementations, separated by semicolons")
    parser.add_argument("--tokens", default="", help="comma-separated numbers of tokens")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve((ours | peers)[options.worker], options.case, options.threads)
        return
    wanted = set(options.only.split(";")) if options.only else set(ours) | set(peers)
    pythons = [(sys.executable, name) for name in ours if name in wanted]
    pythons += [(path, name) for path in options.peer_python for name in peers if name in wanted]
    chosen = [int(n) for n in options.tokens.split(",") if n]
    print(
        f"## {title}\n\n{options.threads} threads; CPU s / wall s per call (smallest of {options.rounds} interleaved"
        " calls), rise of peak memory in MiB, CPU time relative to the first row (median of the rounds' ratios).\n"
    )
    for case in cases:
        if not chosen or case["tokens"] in chosen:
            _case(script, pythons, case, options)


def _case(script: Path, pythons: list[tuple[str, str]], case: dict[str, int], options: argparse.Namespace) -> None:
    workers: dict[str, Worker] = {}
    for python, name in pythons:
        worker = Worker(python, script, name, case, options.threads)
        if worker.alive:
            workers[name] = worker
    for _ in range(options.rounds):
        for worker in workers.values():
            if worker.alive:
                worker.call()
    print(f"| {', '.join(f'{key} {value}' for key, value in case.items())} | CPU s | wall s | MiB | x |")
    print("|---|---|---|---|---|")
    base = next(iter(workers.values())).cpu
    for name, worker in workers.items():
        worker.close()
        # One that died on the way has fewer rounds than the others, or none.
        ratios = [mine / first for mine, first in zip(worker.cpu, base, strict=False)]
        if not ratios:
            print(f"| {name} | – | – | – | – |", flush=True)
            continue
        memory = "-" if worker.memory is None else f"{worker.memory:.0f}"
        cpu, wall, ratio = min(worker.cpu), min(worker.wall), statistics.median(ratios)
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {memory} | {ratio:.2f} |", flush=True)
    print(flush=True)
