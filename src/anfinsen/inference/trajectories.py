"""How AlphaFold 3 went from noise to a structure: noisy atoms and the clean estimate at steps of the diffusion.

The numbers are those that the diffusion module saw and gave while the runner ran it; nothing is computed again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.chemistry import Structure, Tokens
from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.geometry import rotate, superpose
from anfinsen.jobs import Job

from .alphafold3 import AlphaFold3Predictor
from .prediction import Prediction
from .predictor import Predictor

FORMAT = "anfinsen-trajectory-1"
MAX_FRAMES = 22  # more would not look smoother, and the bundled recording is to stay small
CLEAN_UNIT = 0.02  # Å; two bytes then reach 655 Å, farther than any complex that can be run
_INT16, _INT8 = np.iinfo(np.int16).max, np.iinfo(np.int8).max


@dataclass(frozen=True)
class Trajectory:
    """F frames of P points: one atom for each standard residue (CA, C1'), and each atom of everything else.

    Attributes:
        name: of the job. model, weights_sha256, version: what made it. seed: of the run.
        plddt: mean over atoms of the structure at the end, as predicted, 0 to 100.
        steps: of the diffusion. sigma_data: standard deviation of atom positions, Å.
        step: that each frame was at the start of, from 0; the last frame is the end, ``steps``.
        sigma: noise level that the network was told, Å.
        noisy: x, Å. clean: D(x, sigma), Å. Each frame was moved as a whole to lay ``clean`` over the last frame.
        names: of the points ("A ARG 12", "B GDP 1 PA"). chain: of each point, from 0. element: symbol of each atom.
        polymer: whether a point stands for a residue.
        links: pairs of points to join with a line: neighbours in a polymer, bonds elsewhere.

    Raises:
        NonFiniteError: a coordinate is NaN or infinite.
    """

    name: str
    model: str
    weights_sha256: str
    version: str
    seed: int
    plddt: float
    steps: int
    sigma_data: float
    step: tuple[int, ...]
    sigma: tuple[float, ...]
    noisy: Float[np.ndarray, "F P 3"]
    clean: Float[np.ndarray, "F P 3"]
    names: tuple[str, ...]
    chain: tuple[int, ...]
    element: tuple[int, ...]
    polymer: tuple[bool, ...]
    links: Int[np.ndarray, "L 2"]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.noisy).all() and np.isfinite(self.clean).all()):
            raise NonFiniteError("AlphaFold 3's diffusion gave positions that are not finite: nothing is recorded.")

    def record(self) -> dict[str, Any]:
        """Return the trajectory ready for JSON.

        ``clean`` is kept in two bytes a number. Of ``noisy`` the noise (x - D) / sigma is kept, in one byte: what that
        loses is at most 1 % of the noise level, and far less than can be drawn at its scale.
        """
        sigma = np.asarray(self.sigma, dtype=np.float64)[:, None, None]
        noise = np.divide(self.noisy - self.clean, sigma, out=np.zeros(self.noisy.shape), where=sigma > 0)
        unit = max(float(np.abs(noise).max()), 1e-6) / _INT8
        clean = np.clip(np.rint(self.clean / CLEAN_UNIT), -_INT16, _INT16).astype("<i2")
        return {
            "format": FORMAT,
            "name": self.name,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "version": self.version,
            "seed": self.seed,
            "plddt": round(self.plddt, 1),
            "steps": self.steps,
            "sigma_data": self.sigma_data,
            "step": list(self.step),
            "sigma": [float(f"{level:.5g}") for level in self.sigma],
            "names": list(self.names),
            "chain": list(self.chain),
            "element": list(self.element),
            "polymer": [int(each) for each in self.polymer],
            "links": self.links.reshape(-1).tolist(),
            "clean_unit": CLEAN_UNIT,
            "clean": _base64(clean),
            "noise_unit": float(f"{unit:.6g}"),
            "noise": _base64(np.rint(noise / unit).clip(-_INT8, _INT8).astype(np.int8)),
        }


def record_trajectory(predictor: Predictor, job: Job) -> tuple[Trajectory, Prediction]:
    """Predict ``job`` and return how its first sample of its first seed came about, besides the prediction.

    Raises:
        ConfigError: the predictor is not AlphaFold 3's. See `predict` for the others.
    """
    if not isinstance(predictor, AlphaFold3Predictor):
        raise ConfigError("Only AlphaFold 3 diffuses atoms: choose one of its models to record a trajectory.")
    with _recorded(predictor.model.diffusion) as calls:
        prediction = predictor.predict(job)
    calls = calls[: -(-len(calls) // (len(prediction.seeds) * _groups(predictor, prediction)))]
    structure, tokens = prediction.structure, prediction.tokens
    points = np.asarray(tokens.center_atom)
    final = prediction.seeds[0].coordinates[0][points].astype(np.float64)
    chosen = np.unique(np.linspace(0, len(calls) - 1, MAX_FRAMES - 1).round().astype(int))
    frames = [_laid_over(calls[index][1], calls[index][2], points, final) for index in chosen]
    trajectory = Trajectory(
        name=job.name,
        model=prediction.weights.name,
        weights_sha256=prediction.weights.sha256,
        version=prediction.versions["anfinsen"],
        seed=prediction.seeds[0].seed,
        plddt=float(prediction.seeds[0].confidences[0].atom_plddt.mean()),
        steps=predictor.steps,
        sigma_data=predictor.model.config.diffusion.sigma_data,
        step=(*(int(index) * predictor.steps // len(calls) for index in chosen), predictor.steps),
        sigma=(*(calls[index][0] for index in chosen), 0.0),
        noisy=np.stack([*(noisy for noisy, _ in frames), final]) - final.mean(0),
        clean=np.stack([*(clean for _, clean in frames), final]) - final.mean(0),
        names=_names(structure, tokens),
        chain=tuple(int(each) for each in tokens.chain),
        element=tuple(int(each) for each in structure.atoms.element[points]),
        polymer=tuple(bool(each) for each in tokens.is_standard),
        links=_links(structure, tokens),
    )
    return trajectory, prediction


@contextmanager
def _recorded(module: torch.nn.Module) -> Iterator[list[tuple[float, Tensor, Tensor]]]:
    """Yield a list that collects (sigma, x, D) of the first sample at each call of the diffusion module."""
    calls: list[tuple[float, Tensor, Tensor]] = []

    def keep(_: torch.nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        noisy, sigma = arguments[:2]
        # Copies: the module's buffers are used again at the next step.
        calls.append((float(sigma[0]), noisy[0].double().cpu().clone(), output[0].double().cpu().clone()))

    handle = module.register_forward_hook(keep)
    try:
        yield calls
    finally:
        handle.remove()


def _groups(predictor: AlphaFold3Predictor, prediction: Prediction) -> int:
    """In how many groups the samples of a seed were drawn; the first call of each group begins again at the top."""
    return -(-predictor.samples // prediction.settings.samples_at_once)


def _laid_over(
    noisy: Tensor, clean: Tensor, points: Int[np.ndarray, "P"], final: Float[np.ndarray, "P 3"]
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P 3"]]:
    """Return both clouds, moved by what lays ``clean`` over ``final``: each step had a random rotation of its own."""
    chosen = torch.as_tensor(points)
    noisy, clean = noisy[chosen], clean[chosen]
    rotation, translation = superpose(clean, torch.as_tensor(final))
    moved = [(rotate(each, rotation) + translation).numpy() for each in (noisy, clean)]
    return moved[0], moved[1]


def _names(structure: Structure, tokens: Tokens) -> tuple[str, ...]:
    residues, names = structure.residues, []
    for residue, standard, atom in zip(tokens.residue, tokens.is_standard, tokens.center_atom, strict=True):
        chain = structure.chains[residues.chain[residue]].chain_id
        place = f"{chain} {residues.name[residue]} {residues.number[residue]}"
        names.append(place if standard else f"{place} {structure.atoms.name[atom]}")
    return tuple(names)


def _links(structure: Structure, tokens: Tokens) -> Int[np.ndarray, "L 2"]:
    residue, chain = np.asarray(tokens.residue), np.asarray(tokens.chain)
    standard = np.asarray(tokens.is_standard)
    follows = (chain[1:] == chain[:-1]) & (residue[1:] == residue[:-1] + 1) & standard[1:] & standard[:-1]
    first = np.flatnonzero(follows)
    pairs = [np.stack([first, first + 1], axis=1)]
    # A bond is drawn where both its atoms are points; bonds within standard residues have one point at most.
    point = np.full(len(structure.atoms), -1)
    point[np.asarray(tokens.center_atom)] = np.arange(len(tokens))
    bonded = point[np.asarray(structure.bonds.atoms).reshape(-1, 2)]
    pairs.append(bonded[(bonded >= 0).all(1)])
    return np.concatenate(pairs).astype(np.int64)


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
