"""Relaxation: violations go, the fold stays; what the force field does not know stays where it is, and is named."""

import random
import sys

import numpy as np
import pytest

from anfinsen.common.errors import ChemistryError, ConfigError, MissingExtraError, NonFiniteError
from anfinsen.inference import PredictOptions, RelaxConfig, relax_structure
from anfinsen.inference.relax_forces import repeatable
from anfinsen.jobs import Ligand, Modification, Polymer
from anfinsen.metrics import lddt, rmsd, stereochemistry
from relaxable import STRAND, atom, bond, distance, made, piece, protein

openmm = pytest.importorskip("openmm")
NOISE = 0.3  # Å, root mean square length


@pytest.fixture(scope="module")
def shaken():
    """24 residues of 1S3V, and the same shaken."""
    structure, library, true = piece(20, 44)
    noise = np.random.default_rng(3).normal(size=true.shape) * NOISE / np.sqrt(3)
    noise[structure.atoms.name == "OXT"] = 0
    return structure, library, true, (true + noise).astype(np.float32)


@pytest.fixture(scope="module")
def relaxed(shaken):
    structure, library, _, x = shaken
    return relax_structure(structure, x, library)


def test_a_shaken_protein_becomes_flawless_and_comes_nearer_to_the_truth(shaken, relaxed):
    structure, _, true, x = shaken
    assert relaxed.violating_before > 15
    assert relaxed.violating_after == 0
    assert relaxed.before.distorted_bonds > 3
    assert relaxed.after.distorted_bonds == relaxed.after.clashes == 0
    assert relaxed.before.bond_outliers > 0.5
    assert relaxed.after.bond_outliers == 0
    assert relaxed.after.bond_rmsd < 0.02
    assert relaxed.after.angle_rmsd < 3.0
    assert relaxed.energy_before > 500
    assert relaxed.energy_after < -100
    assert relaxed.converged and relaxed.iterations > 10
    placed = structure.atoms.name != "OXT"
    moved = np.linalg.norm(relaxed.coordinates - x, axis=1)[placed]
    assert 0.05 < np.sqrt((moved**2).mean()) < 0.5
    assert relaxed.rmsd == pytest.approx(np.sqrt((moved**2).mean()), abs=0.02)
    assert rmsd(relaxed.coordinates[placed], true[placed]) < rmsd(x[placed], true[placed])
    ca = structure.atoms.name == "CA"
    assert lddt(relaxed.coordinates[ca], true[ca]).score >= lddt(x[ca], true[ca]).score


def test_hands_stay_right(relaxed):
    assert relaxed.before.chiral_centres >= 24
    assert relaxed.before.chirality_errors == relaxed.after.chirality_errors == 0


def test_twice_gives_the_same_bits(shaken, relaxed):
    structure, library, _, x = shaken
    again = relax_structure(structure, x, library)
    np.testing.assert_array_equal(again.coordinates, relaxed.coordinates)
    assert again.record() == relaxed.record()


def test_the_generator_of_others_is_left_as_it_was():
    platform = openmm.Platform.getPlatformByName("CPU")
    state, threads = random.getstate(), platform.getPropertyDefaultValue("Threads")
    with repeatable():
        first = random.random()
        assert platform.getPropertyDefaultValue("Threads") == "1"
    assert (random.getstate(), platform.getPropertyDefaultValue("Threads")) == (state, threads)
    with repeatable():
        assert random.random() == first


def test_the_given_structure_is_kept_beside(shaken, relaxed):
    *_, x = shaken
    assert relaxed.unrelaxed is x
    assert relaxed.coordinates.dtype == x.dtype
    assert relaxed.chains == ("A",)
    assert relaxed.notes == ()
    assert "residues with violations" in relaxed.sentence and relaxed.software.startswith("OpenMM")


def test_an_oxygen_without_a_place_gets_one(shaken, relaxed):
    structure, *_ = shaken
    x, c = relaxed.coordinates, atom(structure, "A", 24, "C")
    oxygens = [atom(structure, "A", 24, name) for name in ("O", "OXT")]
    assert [distance(x, c, o) for o in oxygens] == pytest.approx([1.25, 1.25], abs=0.03)
    assert distance(x, *oxygens) == pytest.approx(2.2, abs=0.1)


def test_stiffer_restraints_move_atoms_less():
    structure, library, x = made(protein("GSWKYEAF"), angles=STRAND)
    x = x + 0.1 * np.random.default_rng(0).normal(size=x.shape)
    found = [relax_structure(structure, x, library, RelaxConfig(stiffness=k, rounds=1)) for k in (0.0, 10.0, 1000.0)]
    assert found[0].rmsd > 1.5 * found[1].rmsd > 3 * found[2].rmsd
    assert found[0].energy_after < found[1].energy_after < found[2].energy_after


def test_chains_that_run_through_each_other_are_parted():
    structure, library, x = made(protein("AEAWKALLAA"), protein("AKELIAAFQA", "B"))
    second = structure.atom_chain == 1
    x[second] += [0, -33.5, 0]  # 6.5 Å beside each other
    found = relax_structure(structure, x, library)
    assert found.before.clashes > 20
    assert found.after.clashes <= found.before.clashes // 5
    assert found.after.clashes == stereochemistry(_placed(structure, found.coordinates), library).clashes
    assert found.violating_after < found.violating_before
    assert found.chains == ("A", "B")


def test_what_cannot_be_mended_is_counted():
    structure, library, x = made(protein("AEAWKALLAA"), protein("AEAWKALLAA", "B"))
    x[structure.atom_chain == 1] += [0, -40.0 + 0.3, 0]  # almost in one place
    found = relax_structure(structure, x, library, RelaxConfig(rounds=2, iterations=3))
    assert not found.converged
    assert found.rounds == 2
    assert found.released > 0
    assert found.violating_after > 0
    assert "stopped before" in found.sentence


def test_a_broken_chain_is_closed():
    structure, library, x = made(protein("AEAWKALLAA"))
    c, n = atom(structure, "A", 5, "C"), atom(structure, "A", 6, "N")
    apart = (x[n] - x[c]) / distance(x, n, c)
    x[structure.atoms.residue >= 5] += 1.5 * apart
    found = relax_structure(structure, x, library)
    assert distance(x, c, n) == pytest.approx(2.83, abs=0.01)
    assert distance(found.coordinates, c, n) == pytest.approx(1.335, abs=0.05)
    assert found.violating_before == 2
    assert found.violating_after == 0


@pytest.mark.parametrize(("gap", "joined", "bonded"), [(2.4, False, True), (4.2, False, False), (4.2, True, True)])
def test_cysteines_that_are_near_or_joined_by_the_job_are_bonded(gap, joined, bonded):
    bonds = (bond(("A", 2, "SG"), ("B", 2, "SG")),) if joined else ()
    structure, library, x = made(protein("ACA"), protein("ACA", "B"), bonds=bonds, angles=STRAND)
    one, other = (atom(structure, chain, 2, "SG") for chain in "AB")
    outward = x[one] - x[structure.atom_chain == 0].mean(0)
    outward /= np.linalg.norm(outward)
    # Chain B is chain A turned half about an axis across the way out, in front of it.
    axis = np.cross(outward, [0.3, 0.5, 0.8])
    axis /= np.linalg.norm(axis)
    centre = x[one] + gap / 2 * outward
    local = x[structure.atom_chain == 0] - centre
    x[structure.atom_chain == 1] = 2 * np.outer(local @ axis, axis) - local + centre
    assert distance(x, one, other) == pytest.approx(gap, abs=1e-6)
    found = relax_structure(structure, x, library)
    after = distance(found.coordinates, one, other)
    if bonded:
        assert after == pytest.approx(2.05, abs=0.25)  # restraints hold against the bond
    else:
        assert after > 3.3


def test_other_molecules_stay_and_proteins_give_way():
    structure, library, x = made(
        protein("AEAWKALLAA"), Polymer(kind="dna", ids=("C",), sequence="AC"), Ligand(ids=("D",), ccd_codes=("ATP",))
    )
    side = atom(structure, "A", 4, "CZ3")
    ligand = structure.atom_chain == 2
    near = atom(structure, "D", 1, "C8")
    x[ligand] += x[side] + [2.0, 0, 0] - x[near]
    found = relax_structure(structure, x, library)
    rest = structure.atom_chain > 0
    np.testing.assert_array_equal(found.coordinates[rest], x[rest])
    assert distance(x, side, near) == pytest.approx(2.0)
    assert distance(found.coordinates, side, near) > 2.8
    assert found.after.clashes < found.before.clashes
    assert found.notes == ("Relaxation moves proteins only and left in place: C (dna), D (ligand).",)


def test_a_chain_with_a_modified_residue_is_left_in_place_and_named():
    structure, library, x = made(
        protein("AEAWKSLLAA", modifications=(Modification(position=6, code="SEP"),)), protein("AKELIA", "B")
    )
    x += 0.1 * np.random.default_rng(0).normal(size=x.shape)
    found = relax_structure(structure, x, library)
    first = structure.atom_chain == 0
    np.testing.assert_array_equal(found.coordinates[first], x[first])
    assert found.chains == ("B",)
    assert found.residues == 6
    assert not np.array_equal(found.coordinates[~first], x[~first])
    assert found.notes == (
        "Relaxation left protein chain A in place: the force field knows the 20 standard amino acids only, and it has "
        "SEP 6.",
    )


def test_residues_bonded_to_others_or_near_metals_are_held():
    structure, library, x = made(
        protein("ANAHAKA"),
        Ligand(ids=("G",), ccd_codes=("NAG",)),
        Ligand(ids=("Z",), ccd_codes=("ZN",)),
        bonds=(bond(("A", 2, "ND2"), ("G", 1, "C1")),),
    )
    x[atom(structure, "Z", 1, "ZN")] = x[atom(structure, "A", 4, "NE2")] + [1.2, 1.2, 1.2]
    x[structure.atom_chain == 0] += 0.1 * np.random.default_rng(0).normal(
        size=(int((structure.atom_chain == 0).sum()), 3)
    )
    found = relax_structure(structure, x, library)
    still = np.isin(structure.atoms.residue, [1, 3]) | (structure.atom_chain > 0)
    np.testing.assert_allclose(found.coordinates[still], x[still], atol=1e-5)
    assert np.linalg.norm(found.coordinates - x, axis=1)[~still].min() > 1e-3
    assert "near metals: A ASN 2, A HIS 4." in " ".join(found.notes)


def test_a_ring_is_closed():
    structure, library, x = made(protein("GAPGAG", cyclic=True))
    ring = 2 * np.pi * np.arange(6) / 6
    # Residues around a circle, each with its side outward.
    for residue, angle in enumerate(ring):
        mine = structure.atoms.residue == residue
        local = x[mine] - x[atom(structure, "A", residue + 1, "CA")]
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        x[mine] = (local + np.array([3.8, 0, 0])) @ turn.T
    found = relax_structure(structure, x, library)
    ends = atom(structure, "A", 6, "C"), atom(structure, "A", 1, "N")
    assert distance(found.coordinates, *ends) == pytest.approx(1.34, abs=0.1)


def test_nothing_to_relax():
    structure, library, x = made(Polymer(kind="dna", ids=("C",), sequence="AC"))
    with pytest.raises(ChemistryError, match="no protein chain"):
        relax_structure(structure, x, library)
    structure, library, x = made(protein("A"))
    with pytest.raises(ChemistryError, match="chain A in place: it is a single residue"):
        relax_structure(structure, x, library)


def test_coordinates_that_are_not_finite_name_their_chain():
    structure, library, x = made(protein("AEA"), protein("AKA", "B"))
    x[-1, 0] = np.nan
    with pytest.raises(NonFiniteError, match="chain B are not finite"):
        relax_structure(structure, x, library)


def test_atoms_in_one_place_are_an_error_that_names_their_chains():
    structure, library, x = made(protein("AEA"), protein("AKA", "B"))
    x[:] = 0.0
    with pytest.raises(NonFiniteError, match=r"^Relaxation of chain A, B (met|broke down)"):
        relax_structure(structure, x, library)


def test_a_structure_that_would_lose_its_hands_is_left_alone(shaken):
    """Squeezed to half its size: right hands in the prediction, atoms that cannot find their way out of each other."""
    structure, library, true, _ = shaken
    squeezed = (true.mean(0) + 0.45 * (true - true.mean(0))).astype(np.float32)
    with pytest.raises(ChemistryError, match=r"would give \d+ centres of the wrong hand, where there are 0"):
        relax_structure(structure, squeezed, library)


def test_options(monkeypatch):
    assert PredictOptions(relax="all").relax == "all"
    with pytest.raises(ConfigError, match="'relax' is 'yes': expected none, best, all"):
        PredictOptions(relax="yes")
    monkeypatch.setitem(sys.modules, "openmm", None)
    assert PredictOptions().relax == "none"
    with pytest.raises(MissingExtraError, match=r"pip install 'anfinsen\[relax\]'"):
        PredictOptions(relax="best")


@pytest.mark.slow
def test_a_whole_shaken_protein_becomes_flawless():
    structure, library, true = piece(0, 186)
    x = (true + np.random.default_rng(0).normal(size=true.shape) * NOISE / np.sqrt(3)).astype(np.float32)
    found = relax_structure(structure, x, library)
    assert found.violating_before > 150
    assert found.violating_after == found.after.clashes == found.after.distorted_bonds == 0
    assert found.after.chirality_errors <= found.before.chirality_errors
    assert found.rmsd < 0.5
    ca = structure.atoms.name == "CA"
    assert lddt(found.coordinates[ca], true[ca]).score >= lddt(x[ca], true[ca]).score


def _placed(structure, x):
    from anfinsen.inference.relax import _placed

    return _placed(structure, x)
