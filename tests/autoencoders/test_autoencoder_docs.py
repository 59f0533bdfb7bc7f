"""The pages' examples run as they stand, one after another, and what they assert of their results holds."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["autoencoders.md", "linear-is-pca.md"])
def test_the_examples_of_a_page_run(page, monkeypatch):
    # Their paths are those of a checkout.
    monkeypatch.chdir(DOCS.parent)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") > 0
    names = {"__name__": page}
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        # Blank lines in front make a failure name the page's own line.
        exec(compile("\n" * line + block[1], str(DOCS / page), "exec"), names)
