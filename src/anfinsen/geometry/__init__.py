"""Rigid frames, superposition, dihedrals and building from them, distance bins. Å and radians."""

from .distances import bin_boundaries, bin_centres, bin_index, pairwise_distances
from .frames import Frames, bisector_frames, express_in_frames, gram_schmidt_frames
from .internal import angles, backbone_from_dihedrals, dihedrals, ideal_cbeta, place_atom
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
    "angles",
    "backbone_from_dihedrals",
    "bin_boundaries",
    "bin_centres",
    "bin_index",
    "bisector_frames",
    "centre",
    "centre_random_augmentation",
    "dihedrals",
    "express_in_frames",
    "gram_schmidt_frames",
    "ideal_cbeta",
    "pairwise_distances",
    "place_atom",
    "quaternion_to_rotation",
    "random_rotations",
    "rigid_align",
    "rotate",
    "superpose",
]
