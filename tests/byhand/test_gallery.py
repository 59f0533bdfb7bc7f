"""The gallery's small workbooks: computed again they are the models', they follow their inputs, and damage shows."""

import math

import pytest
import torch
from openpyxl.utils.cell import coordinate_to_tuple

from anfinsen.alignments.couplings.kernels import coded_rows
from anfinsen.alignments.couplings.potts import PseudoLikelihood
from anfinsen.alignments.couplings.scores import average_product_correction, frobenius_norms, zero_sum_
from anfinsen.byhand import Evaluator, compare, read_cells, source_tensor, write_workbook
from anfinsen.byhand.gallery import ENTRIES, entries, plan_of, record, write_gallery
from anfinsen.byhand.gallery.couplings import small_couplings
from anfinsen.byhand.gallery.generation import walked
from anfinsen.byhand.gallery.structures import spline_at
from anfinsen.byhand.workbook import MODEL
from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import gaussian, torch_generator
from anfinsen.diffusion import (
    ALPHAFOLD3_SAMPLER,
    EULER_SAMPLER,
    EdmPreconditioning,
    VariancePreserving,
    as_denoiser,
    sample,
)
from anfinsen.inference.byhand_models import GALLERY_LOSSES
from anfinsen.models.alphafold1 import natural_splines

EXACT = 1e-9
SEEN = 1e-6  # damage must show at least so much
NAMES = [entry.name for entry in ENTRIES]


def made(name, folder):
    (entry,) = entries(name)
    plan = plan_of(record(entry, GALLERY_LOSSES))
    return plan, write_workbook(plan, folder / f"{name}.xlsx")


@pytest.mark.parametrize("name", NAMES)
def test_small_workbooks_are_the_model_in_formulas(name, tmp_path):
    """As written they agree, without numbers in place of formulas; they follow their inputs; and damage shows."""
    (entry,) = entries(name)
    plan = plan_of(record(entry, GALLERY_LOSSES))
    cells = read_cells(write_workbook(plan, tmp_path / f"{name}.xlsx").path)
    computed = Evaluator(cells).all()
    found = compare(cells, computed)
    assert found.errors == ()
    assert max(found.difference, found.shown) <= EXACT
    assert found.formulas == plan.selection.formulas > 0
    assert found.formulas >= 0.95 * (found.formulas + found.numbers)
    results = [cell for ids in plan.selection.outputs.values() for cell in ids.reshape(-1).tolist()]
    made = [cell for cell in results if plan.trace.graph.step_of(cell).kind == "formula"]
    assert made
    assert all(plan.is_formula(cell) for cell in made)

    inputs = {cell: plan.value(cell) + 0.25 for cell in spread(list(plan.cells("input")), 3)}
    changed = Evaluator(with_contents(cells, plan, inputs)).all()
    expected = results_after(plan, inputs)
    for name_, ids in plan.selection.outputs.items():
        for cell, value in zip(ids.reshape(-1).tolist(), expected[name_].reshape(-1).tolist(), strict=True):
            if plan.is_formula(cell):
                assert abs(changed[place(plan, cell)] - value) <= EXACT

    given = list(plan.cells("weight")) or list(plan.cells("input"))
    weight = spread(given, 1)[0]
    damaged = with_contents(cells, plan, {weight: plan.value(weight) + 0.125})
    found = compare(damaged, Evaluator(damaged).all())
    assert min(found.difference, found.shown) > SEEN

    formula = spread([cell for cell in plan.cells("formula", "output") if abs(plan.value(cell)) > SEEN], 1)[0]
    damaged = with_contents(cells, plan, {formula: f"{plan.formula(formula)}+0.125"})
    # All other steps stay as computed: what follows from the damage is not needed to see it.
    steps = {key: value for key, value in computed.items() if key[0] == "Steps" and (MODEL, *key[1:]) in cells}
    steps.pop(place(plan, formula))
    found = compare(damaged, computed | Evaluator(damaged | steps).all())
    assert min(found.difference, found.shown) > SEEN


def spread(cells, count):
    """Return some cells out of all of a list, a middle one first."""
    return [cells[(2 * n + 1) * len(cells) // (2 * count)] for n in range(count)]


def place(plan, cell):
    sheet, address = plan.address(cell)
    return (sheet, *coordinate_to_tuple(address))


def with_contents(cells, plan, contents):
    """Return the cells of a workbook with other contents in some."""
    return cells | {place(plan, cell): content for cell, content in contents.items()}


def results_after(plan, changes):
    """Return what the model itself gives once some inputs are changed."""
    elements = {}
    for cell, value in changes.items():
        name, element = plan.origin(cell)
        elements.setdefault(name, {})[element] = value
    return plan.trace.run({name: source_tensor(plan.trace.inputs[name], each) for name, each in elements.items()}, {})


def test_entries_have_what_a_reader_needs():
    assert len(set(NAMES)) == len(NAMES) >= 25
    for entry in ENTRIES:
        assert entry.title
        assert len(entry.shows) > 60
        assert any(year in entry.reference for year in ("19", "20"))


def test_one_entry_is_written_and_an_unknown_one_refused(tmp_path):
    (facts,) = write_gallery(tmp_path / "new", GALLERY_LOSSES, only="neuron")
    assert facts.path == tmp_path / "new" / "neuron-small.xlsx"
    assert facts.path.is_file()
    with pytest.raises(ConfigError, match=r"no entry 'nothing'.*softmax"):
        list(write_gallery(tmp_path, GALLERY_LOSSES, only="nothing"))


@pytest.mark.parametrize("sampler", [ALPHAFOLD3_SAMPLER, EULER_SAMPLER], ids=["alphafold3", "euler"])
@pytest.mark.parametrize("preconditioning", [EdmPreconditioning(16.0), VariancePreserving("x0")], ids=["edm", "x0"])
def test_a_step_is_the_samplers(sampler, preconditioning):
    denoise = as_denoiser(preconditioning, lambda x, noise: torch.tanh(x) + noise)
    x = 10 * gaussian((4, 3), torch_generator(1), torch.float64)
    levels = torch.tensor([10.0, 6.0], dtype=torch.float64)
    expected = sample(denoise, x, levels, sampler, torch_generator(2))
    noise = gaussian((4, 3), torch_generator(2), torch.float64)
    torch.testing.assert_close(walked(denoise, x, (levels[0], levels[1]), noise, sampler), expected, rtol=1e-13, atol=0)


def test_splines_told_by_ones_and_zeros_are_splines():
    values = torch.linspace(0, 9, 12, dtype=torch.float64).sin().reshape(2, 6)
    splines = natural_splines(values, 2.0, 1.5, flat_from=8.0)
    for place in (2.0, 3.49, 3.5, 7.99, 8.0, 30.0):
        x = torch.tensor([[place, place + 0.1]], dtype=torch.float64)
        torch.testing.assert_close(spline_at(splines, x[0]), splines(x)[0], rtol=1e-12, atol=1e-12)


def test_the_potts_entry_is_the_potts_model():
    (entry,) = entries("potts_coupling")
    results = record(entry, GALLERY_LOSSES).trace.run({}, {})
    x, h, j = (tensor.double() for tensor in small_couplings())
    flat = j.reshape(6, 6)
    rows = coded_rows(x.argmax(1)[None].to(torch.int8), 2)
    objective = PseudoLikelihood(rows, torch.ones(1).double(), torch.zeros(6).double(), 0.0, 0.0)
    by_j = torch.empty_like(flat)
    loss, by_h = objective(h, flat, by_j)
    assert math.isclose(float(results["loss"]), loss, rel_tol=1e-12)
    torch.testing.assert_close(results["gradient of h"], by_h)
    both = results["gradient of J"].reshape(6, 6)
    off = ~torch.block_diag(*[torch.ones(2, 2)] * 3).bool()
    torch.testing.assert_close(((both + both.T) / 2)[off], by_j[off])
    norms = frobenius_norms(zero_sum_(flat.clone(), 2), 2, 2)
    expected = torch.from_numpy(average_product_correction(norms)).double()
    torch.testing.assert_close(results["scores"], expected, rtol=1e-5, atol=1e-6)
