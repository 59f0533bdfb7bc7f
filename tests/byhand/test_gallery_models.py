"""Every workbook of the gallery, recalculated by LibreOffice; those of trained models too."""

from pathlib import Path

import pytest

from anfinsen.byhand import (
    change_cells,
    difference_after_change,
    find_libreoffice,
    libreoffice_cells,
    recalculate,
    write_workbook,
)
from anfinsen.byhand.gallery import ENTRIES, entries, plan_of, record
from anfinsen.inference.byhand_models import GALLERY_LOSSES, GallerySources
from anfinsen.jobs import load_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_libreoffice() is None, reason="needs LibreOffice (package libreoffice-calc)"),
]
EXACT = 1e-9
SEEN = 1e-6  # damage must show at least so much
NAMES = [entry.name for entry in ENTRIES]
JOB = Path(__file__).parents[2] / "examples" / "2aee_A.yaml"


@pytest.fixture(scope="module")
def sources():
    (job,) = load_jobs(JOB)
    return {"small": GALLERY_LOSSES, "model": GallerySources(job)}


@pytest.mark.parametrize("kind", ["small", "model"])
@pytest.mark.parametrize("name", NAMES)
def test_every_workbook_is_the_model_in_libreoffice(sources, name, kind, tmp_path):
    (entry,) = entries(name)
    plan = plan_of(record(entry, sources[kind]))
    facts = write_workbook(plan, tmp_path / f"{name}.xlsx")
    assert facts.path.stat().st_size < 10 * 2**20
    found = recalculate(facts.path)
    assert found.errors == ()
    assert found.difference <= EXACT
    assert found.shown <= EXACT
    assert found.formulas == plan.selection.formulas <= 50_000
    # Nothing that follows from what is shown was written as a number.
    assert not facts.numbers["held"]
    cells = list(plan.cells("input"))
    changed = {cell: plan.value(cell) + 0.25 for cell in (cells[0], cells[len(cells) // 2])}
    assert difference_after_change(plan, facts.path, changed, libreoffice_cells) <= EXACT


@pytest.mark.parametrize("kind", ["small", "model"])
def test_libreoffice_sees_damage(sources, kind, tmp_path):
    (entry,) = entries("adaptive_layer_norm")
    plan = plan_of(record(entry, sources[kind]))
    facts = write_workbook(plan, tmp_path / "whole.xlsx")
    weight = next(cell for cell in plan.cells("weight") if plan.origin(cell)[0] == "scale_shift.weight")
    formula = next(plan.cells("output"))
    for number, (cell, content) in enumerate(
        ((weight, plan.value(weight) + 0.125), (formula, f"{plan.formula(formula)}+0.125"))
    ):
        damaged = tmp_path / f"damaged-{number}.xlsx"
        change_cells(facts.path, {plan.address(cell): content}, damaged)
        found = recalculate(damaged)
        assert found.difference > SEEN
        assert found.shown > SEEN
