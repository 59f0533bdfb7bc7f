"""Shapes in annotations are enforced while tests run; `../shared` is optional."""

import os
import warnings
from pathlib import Path

# Workers of pytest-xdist stand side by side: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from jaxtyping import install_import_hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _hook = install_import_hook("anfinsen", "beartype.beartype")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ANFINSEN_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden tensors; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder (looked for it at {SHARED}; set ANFINSEN_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """The committed golden files."""
    return Path(__file__).parent / "golden"
