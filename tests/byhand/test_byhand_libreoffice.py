"""LibreOffice computes workbooks of a trained model anew and finds the model's numbers, and every damage."""

import pytest

from anfinsen.byhand import (
    change_cells,
    difference_after_change,
    find_libreoffice,
    libreoffice_cells,
    make_plan,
    recalculate,
    trace,
    write_workbook,
)
from anfinsen.byhand.blocks import block_info
from anfinsen.byhand.slicing import Slice
from anfinsen.byhand.slots import Names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_libreoffice() is None, reason="needs LibreOffice (package libreoffice-calc)"),
]
EXACT = 1e-9
BLOCKS = {
    "alphafold3-mini": {
        "pairformer.0.triangle_attention_starting": Slice(tokens=(0, 3)),
        "pairformer.1.triangle_attention_ending": Slice(tokens=(0, 3), heads=(0,)),
        "pairformer.0.triangle_multiplication_outgoing": Slice(tokens=(1, 2)),
        "pairformer.0.triangle_multiplication_incoming": Slice(tokens=(1, 2), channels=(0, 1)),
        "pairformer.3.pair_transition": Slice(tokens=(0,)),
        "pairformer.0.single_attention": Slice(tokens=(0, 1), channels=(0, 1)),
        "pairformer.0.pair": Slice(tokens=(0,), channels=(0,), hold=True),
        "diffusion_transformer.0.attention": Slice(tokens=(0,), channels=(0,)),
    },
    "alphafold2-mini": {
        "evoformer.0.row_attention": Slice(tokens=(0, 1), sequences=(0,)),
        "evoformer.0.outer_product_mean": Slice(tokens=(0, 1), sequences=(0, 1)),
        "structure.invariant_point_attention": Slice(tokens=(0,), channels=(0, 1)),
    },
    "alphafold1-mini": {"blocks.0": Slice(tokens=(0,), channels=(0,))},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    from anfinsen.inference import PredictOptions, make_predictor
    from anfinsen.inference.network_run import network_run
    from anfinsen.jobs import load_jobs

    folder = tmp_path_factory.mktemp("job")
    (folder / "a.a3m").write_text(">q\nGSWKAEDILMVT\n>h\nGSWKAEDALMVS\n>i\nGTWRAEDILLVT\n")
    (folder / "job.yaml").write_text("chains:\n  - {protein: GSWKAEDILMVT, id: A, msa: a.a3m}\n")
    (job,) = load_jobs(folder / "job.yaml")
    return {
        name: network_run(make_predictor(PredictOptions(model=name, recycles=0, device="cpu")), job) for name in BLOCKS
    }


@pytest.mark.parametrize(("model", "block"), [(model, block) for model, blocks in BLOCKS.items() for block in blocks])
def test_trained_blocks_agree_in_libreoffice(runs, model, block, tmp_path):
    run = runs[model]
    info = block_info(run.model, block)
    recorded = trace(run.model, lambda: run.run(info.path), block=info.path, names=Names({"token": run.tokens}))
    wanted = BLOCKS[model][block]
    plan = make_plan(recorded, wanted)
    facts = write_workbook(plan, tmp_path / "block.xlsx")
    assert facts.path.stat().st_size < 10 * 2**20
    agreement = recalculate(facts.path)
    assert agreement.errors == ()
    assert agreement.difference < EXACT
    assert agreement.shown < EXACT
    assert agreement.formulas == plan.selection.formulas
    if wanted.heads is None and not wanted.hold:
        changes = {cell: plan.value(cell) + 0.5 for cell in list(plan.cells("input"))[:3]}
        assert difference_after_change(plan, facts.path, changes, libreoffice_cells) < EXACT


def test_libreoffice_finds_one_wrong_weight_and_one_wrong_formula(runs, tmp_path):
    run = runs["alphafold3-mini"]
    path = "trunk_module.blocks.0.pair.starting"
    recorded = trace(run.model, lambda: run.run(path), block=path)
    plan = make_plan(recorded, Slice(tokens=(0, 3)))
    facts = write_workbook(plan, tmp_path / "block.xlsx")
    weight = next(cell for cell in plan.cells("weight") if plan.origin(cell)[0] == "projection.weight")
    formula = next(cell for cell in plan.cells("formula") if plan.formula(cell).startswith("=EXP"))
    for cell, content in (
        (weight, plan.value(weight) + 0.01),
        (formula, plan.formula(formula).replace("-", "+")),
    ):
        change_cells(facts.path, {plan.address(cell): content}, tmp_path / "damaged.xlsx")
        agreement = recalculate(tmp_path / "damaged.xlsx")
        assert agreement.difference > 1e-6
        assert agreement.shown > 1e-6


def test_results_stored_in_the_file_are_not_believed(runs, tmp_path):
    """A weight is changed inside of the file, where all stored results stay as they were."""
    import zipfile

    run = runs["alphafold3-mini"]
    path = "trunk_module.blocks.0.pair.transition"
    recorded = trace(run.model, lambda: run.run(path), block=path, names=Names({"token": run.tokens}))
    plan = make_plan(recorded, Slice(tokens=(0,), channels=(0,)))
    facts = write_workbook(plan, tmp_path / "block.xlsx")
    cell = next(cell for cell in plan.cells("weight") if plan.origin(cell)[0] == "contract.weight")
    sheet, where = plan.address(cell)
    damaged = tmp_path / "damaged.xlsx"
    with zipfile.ZipFile(facts.path) as old, zipfile.ZipFile(damaged, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/worksheets/sheet3.xml":  # Weights
                before = f"<v>{plan.value(cell)!r}</v>".encode()
                start = content.index(f'r="{where}"'.encode())
                at = content.index(before, start)
                content = content[:at] + b"<v>7.5</v>" + content[at + len(before) :]
            new.writestr(name, content)
    assert sheet == "Weights"
    assert recalculate(damaged).difference > 1e-3
