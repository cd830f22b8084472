"""Do the notebooks answer their questions?  Run top to bottom, each in a kernel of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the development extra: [notebooks]")
nbclient = pytest.importorskip("nbclient", reason="needs the development extra: [notebooks]")
pytest.importorskip("ipykernel", reason="needs the development extra: [notebooks]")
pytest.importorskip("matplotlib", reason="needs the development extra: [notebooks]")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
HANGS = 300  # seconds for one cell: none takes ten; this ends a cell that never would

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def executed(path: Path, where: Path, **environment: str) -> Any:
    """The notebook after a run in the directory ``where``; a cell that raises is an error here."""
    own = {name: str(where / "jupyter") for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {name: str(where / "settings") for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR")}
    # a run that nobody's own settings or kernels change, on the code of this checkout
    settings = {**os.environ, **own, "PYTHONPATH": str(ROOT), **environment}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        notebook = read(path)
        client = nbclient.NotebookClient(
            notebook, timeout=HANGS, kernel_name="python3", resources={"metadata": {"path": where}}
        )
        return client.execute(env=settings)


def outputs(cell: Any, kind: str) -> list[str]:
    return [out.data[kind] for out in cell.get("outputs", []) if kind in out.get("data", {})]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,.]*\d|\d", text))


def answer(notebook: Any) -> str:
    (text,) = outputs(notebook.cells[-1], "text/markdown")
    return str(text)


@each_notebook
def test_a_notebook_runs_and_computes_its_answer(path: Path, tmp_path: Path) -> None:
    notebook = executed(path, tmp_path)
    last = notebook.cells[-1]
    assert last.cell_type == "code"
    assert numbers(answer(notebook)) - numbers(last.source), "an answer is computed, not written"
    assert any(outputs(cell, "image/png") for cell in notebook.cells), "an answer is shown, too"
    said = [
        out.text
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        if out.output_type == "stream" and out.name == "stderr"
    ]
    assert said == [], "nothing complains"


@each_notebook
def test_a_notebook_asks_in_its_title(path: Path) -> None:
    title, _, _ = read(path).cells[0].source.partition("\n")
    assert re.fullmatch(r"# .+\?", title)


@each_notebook
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = read(path)
    assert notebook.metadata == KERNEL, "which kernel ran it last is of no concern to others"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_a_notebook_reads_the_log_that_it_is_given(tmp_path: Path) -> None:
    log = tmp_path / "mine.txt"
    log.write_text("".join(f"session-{number % 700}\n" for number in range(2100)), encoding="utf-8")
    (path,) = (path for path in NOTEBOOKS if path.stem.endswith("my-own-log"))
    notebook = executed(
        path, tmp_path, HASHRING_LOG=str(log), HASHRING_HOSTS="x1,x2", HASHRING_ADD="x3"
    )
    assert "700 clients" in answer(notebook)
    assert "x3" in answer(notebook)
