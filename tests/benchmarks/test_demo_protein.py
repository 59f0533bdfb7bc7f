"""The script that prepared the demo's protein makes the committed files again."""

import importlib
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_demos_files_are_made_again(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    script = importlib.import_module("demo_protein")
    examples = REPOSITORY / "examples"
    title = (examples / "2aee_A.yaml").read_text().splitlines()[0].removeprefix("# ")
    data = [str(shared / "data" / part / "validation.parquet") for part in ("chains", "msas")]
    monkeypatch.setattr(sys, "argv", ["demo_protein", *data, "2aee_A", str(tmp_path), "--title", title])
    script.main()
    for suffix in (".yaml", ".a3m", ".pdb"):
        assert (tmp_path / f"2aee_A{suffix}").read_bytes() == (examples / f"2aee_A{suffix}").read_bytes()
    assert (tmp_path / "2aee_A.a3m").stat().st_size <= 60_000
