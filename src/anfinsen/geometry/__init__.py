"""Rigid frames, superposition, dihedrals, atoms built from them, distance bins. Å and radians."""

from .all_atom import ResidueTables, atom14_positions, atom14_to_atom37, atom37_to_atom14, torsion_frames
from .distances import bin_boundaries, bin_centres, bin_index, pairwise_distances
from .frames import Frames, bisector_frames, compose_frames, express_in_frames, gram_schmidt_frames
from .internal import angles, backbone_from_dihedrals, dihedrals, ideal_cbeta, place_atom
from .residue_angles import ResidueTorsions, residue_frames, residue_torsions
from .superposition import (
    centre,
    centre_random_augmentation,
    quaternion_to_rotation,
    random_rotations,
    rigid_align,
    rotate,
    superpose,
)

__all__ = [
    "Frames",
    "ResidueTables",
    "ResidueTorsions",
    "angles",
    "atom14_positions",
    "atom14_to_atom37",
    "atom37_to_atom14",
    "backbone_from_dihedrals",
    "bin_boundaries",
    "bin_centres",
    "bin_index",
    "bisector_frames",
    "centre",
    "centre_random_augmentation",
    "compose_frames",
    "dihedrals",
    "express_in_frames",
    "gram_schmidt_frames",
    "ideal_cbeta",
    "pairwise_distances",
    "place_atom",
    "quaternion_to_rotation",
    "random_rotations",
    "residue_frames",
    "residue_torsions",
    "rigid_align",
    "rotate",
    "superpose",
    "torsion_frames",
]
