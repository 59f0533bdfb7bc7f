"""What one of two structures lacks: ends, inner parts, interfaces, ligands, nearly all; and chains of mixed kinship."""

import numpy as np
import pytest
from made_structures import made, with_coordinates

from anfinsen.inference.evaluation import evaluate
from anfinsen.inference.evaluation_files import Predicted
from anfinsen.jobs import Ligand, Polymer
from anfinsen.metrics import correspond
from anfinsen.metrics.correspondence import aligned_residues

END = "MKVIEDLISTGGSVLDAAAASREGADVLGVVAIFTYELPKASQN"  # its ends occur again within, and in TAGS
TAGS = ("MGSSHHHHHH", "LEHHHHHHN")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("longer", "shorter", "first"),
    [
        (TAGS[0] + END, END, len(TAGS[0])),
        (END + TAGS[1], END, 0),
        (END[: END.index("N") + 1], END[: END.index("K", 2) + 1], 0),
        ("GA" + "WYLV" * 3 + "GA" + END, "GA" + END, 14),
        (END, END[:3], 0),
    ],
)
def test_what_one_lacks_at_an_end_is_a_gap_at_the_end(longer, shorter, first, swapped):
    pairs, identity = aligned_residues(*((shorter, longer) if swapped else (longer, shorter)))
    assert identity == 1
    expected = np.stack([np.arange(len(shorter)) + first, np.arange(len(shorter))], axis=1)
    np.testing.assert_array_equal(pairs[:, ::-1] if swapped else pairs, expected)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_lone_letter_stays_before_an_interruption(swapped):
    """Of the reference; in a prediction an end that lacks is likelier, and inner gaps follow the interruption."""
    rest = END[5:]
    found, _ = aligned_residues(END, END[:2] + END[2:4] + rest, (4,))
    assert found[:4].tolist() == [[i, i] for i in range(4)]
    # The letter before the gap is that of its end: only the interruption tells which of the two is there.
    whole, parted = "WKYAEFDSHAPQRTLV", "WKYA" + "PQRTLV"
    for where, place in ((4, 3), (3, 9)):
        given = (whole, parted, (where,)) if not swapped else (parted, whole, (), (where,))
        pairs, _ = aligned_residues(*given)
        assert pairs[3].tolist() == ([place, 3] if not swapped else [3, place])


def test_relatives_in_a_row_are_mapped():
    """A chain is like the next, and not like the one after: some mappings pair none at all."""
    letters = [list("GSWKYEAFLRTHDQNPIVCM")]
    for start in (0, 4, 8, 12):
        letters.append(["A" if start <= i < start + 4 else letter for i, letter in enumerate(letters[-1])])
    names = ["".join(each) for each in letters]
    predicted, _ = made(
        *(Polymer(kind="protein", ids=(n,), sequence=names[i]) for n, i in zip("ABC", (0, 2, 4), strict=True))
    )
    reference, _ = made(
        *(Polymer(kind="protein", ids=(n,), sequence=names[i]) for n, i in zip("AB", (1, 3), strict=True))
    )
    assert (correspond(predicted, reference).chains >= 0).all()


def test_copies_of_too_few_atoms_to_superpose_are_mapped():
    true, _ = made(Polymer(kind="protein", ids=tuple("ABCDEFG"), sequence="GW"))
    assert sorted(correspond(true, true).chains) == list(range(7))


def test_an_interface_that_the_prediction_lacks_is_worth_nothing():
    walked, library = made(Polymer(kind="protein", ids=("A", "B"), sequence="GAVSGTAGAVSGTA"))
    # Two straight chains that meet at a right angle.
    index, half = np.tile(np.arange(14), 2), walked.atom_chain == 1
    line = np.where(
        np.arange(28)[:, None] < 14, index[:, None] * [4.0, 0, 0], [0, 4.0, 0] + index[:, None] * [0, 4.0, 0]
    )
    residue = walked.atoms.residue
    middle = np.stack([walked.atoms.coordinates[residue == r].mean(0) for r in range(28)])
    x = walked.atoms.coordinates + (line - middle)[residue]
    both = with_coordinates(walked, x)
    far = np.linalg.norm(x[~half][:, None] - x[half], axis=-1)

    def without(distance):
        near = np.concatenate([far.min(1), far.min(0)]) < distance
        lost = np.isin(both.atoms.residue, both.atoms.residue[near])
        kept = with_coordinates(both, x)
        kept.atoms.resolved[:] = ~lost
        (row,) = evaluate(Predicted(kept, library, plddt=False), both, align=False).interfaces
        return row

    whole, part, none = without(0.0), without(6.0), without(10.0)
    assert whole["dockq"] == pytest.approx(1)
    assert part["fnat"] == none["fnat"] == 0
    assert part["irmsd"] == pytest.approx(0, abs=1e-6)
    assert part["dockq"] == none["dockq"] == 0
    assert none["irmsd"] is None


def test_ligands_that_the_prediction_lacks_count_as_not_found():
    chain = Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR")
    true, _ = made(chain, Ligand(ids=("L",), ccd_codes=("ZN",)), Ligand(ids=("M",), ccd_codes=("MG",)), spread=3.0)
    for codes, success, lost in (({"L": "ZN"}, 0.5, "1 MG"), ({}, 0.0, "1 ZN, 1 MG")):
        less, library = made(chain, *(Ligand(ids=(name,), ccd_codes=(code,)) for name, code in codes.items()))
        x = true.atoms.coordinates[: len(less.atoms)]
        found = evaluate(Predicted(with_coordinates(less, x), library, plddt=False), true)
        assert found.scores["ligand_success"] == success
        assert [row["component"] for row in found.ligands] == ["ZN", "MG"]
        assert [row["rmsd"] for row in found.ligands if row["predicted_chain"] is None] == [None] * (2 - len(codes))
        assert found.scores["lddt_pli"] == pytest.approx(success)
        (note,) = found.notes
        assert note == f"Ligands of the reference that the prediction lacks, which count as not found: {lost}."


def test_two_residues_are_a_bad_prediction_and_a_reference_of_two_tells_nothing():
    whole, library = made(Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"))
    two = with_coordinates(whole, whole.atoms.coordinates)
    two.atoms.resolved[:] = two.atoms.residue < 2
    found = evaluate(Predicted(two, library, plddt=False), whole)
    assert [found.scores[name] for name in ("tm_score", "tm_chain", "gdt_ts", "gdt_ha")] == [0.0] * 4
    assert found.scores["coverage"] == found.chains[0]["coverage"] == pytest.approx(0.2)
    assert "rmsd" not in found.scores
    short = evaluate(Predicted(whole, library, plddt=False), two).scores
    assert short["coverage"] == 1
    assert not {"tm_score", "tm_chain", "gdt_ts"} & set(short)
