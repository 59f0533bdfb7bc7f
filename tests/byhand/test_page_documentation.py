"""docs/byhand.md names every option of the command and every workbook of the gallery."""

from pathlib import Path

import pytest
import typer

from anfinsen.byhand.gallery import ENTRIES
from anfinsen.cli.byhand import byhand

DOCUMENT = Path(__file__).parents[2] / "docs" / "byhand.md"


@pytest.fixture(scope="module")
def text():
    return DOCUMENT.read_text(encoding="utf-8")


def test_every_workbook_of_the_gallery_is_listed(text):
    listed = text.split("## The gallery")[1]
    assert [entry.name for entry in ENTRIES if f"`{entry.name}`" not in listed] == []


def test_every_option_is_explained(text):
    app = typer.Typer(add_completion=False)
    app.command()(byhand)
    options = [name for parameter in typer.main.get_command(app).params for name in parameter.opts if name[:2] == "--"]
    assert len(options) > 10
    explained = text.split("## Options")[1].split("## Reading")[0]
    assert [name for name in options if f"`{name}" not in explained] == []
