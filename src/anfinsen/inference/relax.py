"""Relaxation: predicted proteins brought to chemically possible geometry by restrained energy minimisation.

Source: AlphaFold 2 supplement, section 1.8.6 and algorithm of its released ``amber_minimize.py``. Each round minimises
with restraints to where atoms were at its beginning (the supplement says: to the prediction; the released code is
followed); residues that violate what is known of proteins have no restraints in later rounds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from anfinsen.chemistry import ComponentLibrary, Structure, rigid_groups
from anfinsen.common.errors import AnfinsenError, ChemistryError, NonFiniteError
from anfinsen.common.progress import Progress, Silent
from anfinsen.features.residue_atoms import residue_atoms
from anfinsen.geometry import ResidueTables
from anfinsen.losses.alphafold2_config import ViolationConfig
from anfinsen.losses.alphafold2_violations import ViolationLoss
from anfinsen.metrics import stereochemistry

from .prediction import Prediction, RankedSample
from .relax_forces import ProteinForces
from .relax_options import RelaxConfig, openmm_version
from .relax_parts import RelaxParts, relax_parts, with_terminal_oxygens
from .relaxation import Relaxation


def relax_structure(
    structure: Structure,
    coordinates: Float[np.ndarray, "A 3"],
    library: ComponentLibrary,
    config: RelaxConfig | None = None,
) -> Relaxation:
    """Relax the protein chains of a complete structure; everything else is held in place. Deterministic.

    Args:
        structure: the molecules, A heavy atoms. coordinates: Å. library: knows the structure's components.
        config: how.

    Raises:
        MissingExtraError: OpenMM is not installed.
        ChemistryError: there is no protein chain that the force field knows; or relaxing turns centres to the wrong
            hand, because atoms lie in each other too deep.
        NonFiniteError: the coordinates, or the result, are not finite.
    """
    config = config or RelaxConfig()
    version = openmm_version()
    broken = sorted({structure.chains[i].chain_id for i in structure.atom_chain[~np.isfinite(coordinates).all(1)]})
    if broken:
        raise NonFiniteError(f"The coordinates of chain {', '.join(broken)} are not finite: nothing can be relaxed.")
    parts = relax_parts(structure, coordinates)
    if not parts.chains:
        raise ChemistryError(" ".join(parts.notes) or "There is no protein chain, and nothing else can be relaxed.")
    start = with_terminal_oxygens(structure, coordinates, parts)
    forces = ProteinForces(structure, parts, start, config)
    before = forces.energy()
    bad_before = bad = violating_residues(structure, start, parts)
    released = np.zeros(len(structure.residues), dtype=bool)
    atom_residue = structure.atoms.residue[parts.atoms]
    now = start.copy()
    rounds, free = 0, released
    while rounds == 0 or (bad.any() and rounds < config.rounds):
        free = released.copy()
        forces.minimise(free[atom_residue])
        now[parts.atoms] = forces.coordinates()
        bad = violating_residues(structure, now, parts)
        released |= bad
        rounds += 1
    after = forces.energy()
    names = ", ".join(structure.chains[index].chain_id for index in parts.chains)
    if after is None:
        raise NonFiniteError(f"Relaxation of chain {names} ended with an energy that is not finite.")
    shift = np.linalg.norm(now[parts.atoms] - start[parts.atoms], axis=1)
    result: Float[np.ndarray, "A 3"] = coordinates.copy()
    result[parts.atoms] = now[parts.atoms]
    given, made = (stereochemistry(_placed(structure, x), library) for x in (coordinates, result))
    if made.chirality_errors > given.chirality_errors:
        raise ChemistryError(
            f"Relaxation of chain {names} would give {made.chirality_errors} centres of the wrong hand, where there "
            f"are {given.chirality_errors}: its atoms lie in each other too deep to be parted."
        )
    return Relaxation(
        coordinates=result,
        unrelaxed=coordinates,
        chains=tuple(structure.chains[index].chain_id for index in parts.chains),
        energy_before=before,
        energy_after=after,
        rounds=rounds,
        iterations=forces.iterations,
        converged=forces.converged,
        released=int(free.sum()),
        residues=int(np.isin(structure.residues.chain, parts.chains).sum()),
        violating_before=int(bad_before.sum()),
        violating_after=int(bad.sum()),
        before=given,
        after=made,
        rmsd=float(np.sqrt((shift**2).mean())),
        largest_shift=float(shift.max()),
        force_field=config.name,
        software=f"OpenMM {version}",
        notes=parts.notes,
    )


def violating_residues(
    structure: Structure, coordinates: Float[np.ndarray, "A 3"], parts: RelaxParts
) -> Bool[np.ndarray, "R"]:
    """Return the residues of the relaxed chains with a violation of bonds, angles, distances or space (AlphaFold 2)."""
    placed = _placed(structure, coordinates)
    chains = [residue_atoms(placed, index) for index in parts.chains]
    tables = ResidueTables.of(rigid_groups().arrays(), torch.zeros((), dtype=torch.float64))
    found = ViolationLoss(ViolationConfig(), tables)(
        _joined([chain.atoms for chain in chains]).double(),
        _joined([chain.mask for chain in chains]),
        _joined([chain.residue_type for chain in chains]),
        # All residues of a relaxed chain are linked to the one before but the first.
        _joined([np.arange(len(chain.number)) > 0 for chain in chains]),
    )
    result = np.zeros(len(structure.residues), dtype=bool)
    rows: Int[np.ndarray, "n"] = np.concatenate([np.flatnonzero(structure.residues.chain == i) for i in parts.chains])
    result[rows] = found.residues.numpy()
    return result


def relaxed_prediction(
    prediction: Prediction, choice: str, config: RelaxConfig | None = None, progress: Progress | None = None
) -> Prediction:
    """Return ``prediction`` with the structures of ``choice`` relaxed: none, the one ranked first ("best"), or all.

    Confidences and ranking are those of the model, and stay. A structure that cannot be relaxed is left as it is, with
    a note: the prediction, which took far longer, is still what was asked for.

    Raises:
        MissingExtraError: OpenMM is not installed.
    """
    if choice == "none":
        return prediction
    version, progress = openmm_version(), progress or Silent()
    chosen = prediction.ranking[:1] if choice == "best" else prediction.ranking
    progress.stage("Relaxation", len(chosen))
    done: dict[tuple[int, int], Relaxation] = {}
    notes: list[str] = []
    for ranked in chosen:
        try:
            found = relax_structure(prediction.structure, prediction.coordinates(ranked), prediction.library, config)
            done[ranked.index, ranked.sample] = found
            notes += found.notes
        except AnfinsenError as error:
            notes.append(_not_relaxed(ranked, error))
        progress.advance()
    seeds = list(prediction.seeds)
    for (index, sample), relaxation in done.items():
        coordinates = seeds[index].coordinates.copy()
        coordinates[sample] = relaxation.coordinates
        seeds[index] = replace(seeds[index], coordinates=coordinates)
    return replace(
        prediction,
        seeds=tuple(seeds),
        relaxations=done,
        versions=prediction.versions | {"openmm": version},
        notes=(*prediction.notes, *dict.fromkeys(notes)),
    )


def _not_relaxed(ranked: RankedSample, error: AnfinsenError) -> str:
    reason = str(error)
    return f"Sample {ranked.sample} of seed {ranked.seed} was not relaxed: {reason[0].lower()}{reason[1:].rstrip('.')}."


def _placed(structure: Structure, coordinates: Float[np.ndarray, "A 3"]) -> Structure:
    atoms = replace(structure.atoms, coordinates=coordinates, resolved=np.ones(len(structure.atoms), dtype=bool))
    return replace(structure, atoms=atoms)


def _joined(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))
