"""Computing a workbook again with LibreOffice, which is made to forget the results stored in the file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from anfinsen.common.errors import MissingExtraError, OutputError

from .evaluate import Agreement, Computed, compare, read_cells

# Without this LibreOffice shows the results that it finds in a file, right or wrong ("0": always recalculate).
_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="OOXMLRecalcMode" oor:op="fuse">
<value>0</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="ODFRecalcMode" oor:op="fuse">
<value>0</value></prop></item>
</oor:items>
"""
DIGITS = 15  # of the results that LibreOffice writes to a file; the workbook's own difference cell knows them all
TIME_LIMIT = 600  # seconds for one workbook


def find_libreoffice() -> str | None:
    """Return the path of LibreOffice, None if it is not installed."""
    return shutil.which("soffice") or shutil.which("libreoffice")


def recalculate(path: Path) -> Agreement:
    """Let LibreOffice compute every formula of the workbook at ``path`` and compare with the model's numbers.

    Raises:
        MissingExtraError: LibreOffice or openpyxl is not installed. OutputError: it did not convert the file.
    """
    return compare(read_cells(path), libreoffice_cells(path), digits=DIGITS)


def libreoffice_cells(path: Path) -> Computed:
    """Return LibreOffice's results of every formula of the workbook at ``path``, to 15 digits.

    Raises:
        MissingExtraError, OutputError: as :func:`recalculate`.
    """
    with tempfile.TemporaryDirectory(prefix="anfinsen-byhand-") as folder:
        return read_cells(convert(path, Path(folder)), values=True)


def convert(path: Path, folder: Path) -> Path:
    """Return a copy of ``path`` in ``folder`` whose stored results are LibreOffice's own."""
    program = find_libreoffice()
    if program is None:
        raise MissingExtraError("Recalculating workbooks needs LibreOffice Calc: install the package libreoffice-calc.")
    profile, out = folder / "profile", folder / "recalculated"
    (profile / "user").mkdir(parents=True)
    (profile / "user" / "registrymodifications.xcu").write_text(_SETTINGS, encoding="utf-8")
    command = [program, f"-env:UserInstallation={profile.resolve().as_uri()}", "--headless", "--norestore"]
    command += ["--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(out), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    result = out / f"{path.stem}.xlsx"
    if done.returncode or not result.is_file():
        raise OutputError(
            f"LibreOffice did not convert {path}: {(done.stderr or done.stdout).strip()[-300:] or 'it said nothing'}. "
            "Check that the file opens in it."
        )
    return result
