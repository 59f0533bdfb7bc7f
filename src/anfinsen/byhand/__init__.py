"""Blocks of models as live spreadsheets that agree with the model.

Three steps, each a function:

1. **Trace.** `trace` (a block of a model, on what it gets while the model runs), `trace_module` (one call of a module)
   or `trace_function` (plain PyTorch, gradients included) run the computation in float64 and record every primitive
   operation. The models know nothing of it. The `Trace` holds a `Graph` of `Step` objects; every element of every
   tensor is a numbered *cell*; views and copies only rearrange cell numbers. Cells carry labels (token i and j, head,
   channel: `slots.SLOTS`), read from the shapes in signatures and followed through the operations.
2. **Plan.** `make_plan(trace, Slice(tokens=..., heads=..., channels=...))` chooses the cells that the wanted results
   need, decides which are formulas, and lays them out as labelled tiles. The `Plan` answers everything a view asks:
   ``steps()``, ``tiles``, ``kind(cell)``, ``value(cell)``, ``formula(cell)``, ``sources(cell)``, ``address(cell)``,
   ``origin(cell)``.
3. **Write.** `write_workbook(plan, path)`, or `write_page(plan, path)` for a web page that computes the same
   formulas; `make_exercise(plan, "7,9.1")` leaves tiles blank, for `write_exercise(exercise, path)` and
   `write_page(plan, path, exercise)`. `evaluate_workbook(path)` computes such a file again in Python,
   `recalculate(path)` with LibreOffice, and both say how far the formulas are from the model: `Agreement`.

`difference_after_change(plan, path, {cell: value})` changes inputs in the file and in the model, and compares results.
``trace.run(inputs, weights)`` runs the model itself again, in float64, with some inputs or weights replaced (by name;
`source_tensor` makes them), to compare with a workbook in which the same cells were changed.
"""

from .blocks import BlockInfo, block_info, blocks_of
from .checks import change_cells, difference_after_change
from .equations import equation
from .evaluate import Agreement, Evaluator, compare, compute_cells, evaluate_workbook, read_cells
from .exercise import Exercise, make_exercise, write_exercise
from .formulas import Range, address
from .graph import Graph, Step
from .layout import Tile
from .page import page_html, write_page
from .plan import MAX_FORMULAS, CellKind, Plan, make_plan, plan_that_fits
from .recalculate import find_libreoffice, libreoffice_cells, recalculate
from .slicing import Slice
from .slots import SLOTS, Names
from .trace import Trace, named_tensors, source_tensor, step, trace, trace_function, trace_module
from .workbook import COLOURS, LEGEND, WorkbookFacts, step_title, write_workbook

__all__ = [
    "COLOURS",
    "LEGEND",
    "MAX_FORMULAS",
    "SLOTS",
    "Agreement",
    "BlockInfo",
    "CellKind",
    "Evaluator",
    "Exercise",
    "Graph",
    "Names",
    "Plan",
    "Range",
    "Slice",
    "Step",
    "Tile",
    "Trace",
    "WorkbookFacts",
    "address",
    "block_info",
    "blocks_of",
    "change_cells",
    "compare",
    "compute_cells",
    "difference_after_change",
    "equation",
    "evaluate_workbook",
    "find_libreoffice",
    "libreoffice_cells",
    "make_exercise",
    "make_plan",
    "named_tensors",
    "page_html",
    "plan_that_fits",
    "read_cells",
    "recalculate",
    "source_tensor",
    "step",
    "step_title",
    "trace",
    "trace_function",
    "trace_module",
    "write_exercise",
    "write_page",
    "write_workbook",
]
