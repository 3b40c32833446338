"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.examples import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for module in ("ipykernel", "pandas"):
        pytest.importorskip(module)
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
    for name in ("PRIME_AUDIT_CACHE", "TMPDIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = {
        kind for cell in book.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())
    }
    assert {"text/html", "image/png"} <= kinds  # frames and figures
    assert list(tmp_path.glob("*/run/index.html"))
