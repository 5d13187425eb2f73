"""The notebook of the examples, executed afresh, and what a session shows in a notebook."""

import base64
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("pandas", reason="pandas is not installed")

import nbformat
from nbclient import NotebookClient

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"
spec = importlib.util.spec_from_file_location("execute_notebook", EXAMPLES / "execute_notebook.py")
execute_notebook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute_notebook)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The code cells of the notebook, executed, by how they begin."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)  # a command run in this process sets it
        notebook = execute_notebook.executed(folder)
    assert (folder / "confusion.pdf").stat().st_size > 1000
    return {cell.source.split("\n")[0]: cell for cell in notebook.cells if cell.source}


def text(cell, kind="text/plain"):
    """What a cell prints and returns."""
    return "".join(output.get("text") or output.data.get(kind, "") for output in cell.outputs)


def pictures(cell):
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.data]
    data = [np.frombuffer(base64.b64decode(picture), np.uint8) for picture in found]
    return [cv2.imdecode(picture, cv2.IMREAD_COLOR) for picture in data]


def test_models_are_run_and_ranked(cells):
    assert text(cells['session.run([DATASET], ["rgb-means", "color-histogram"])']) == "{}"
    board = cells["board = session.leaderboard(DATASET)"]
    assert text(board).startswith("<leaderboard of nct-crc-he-sample: 2 measured, ")
    table = text(board, "text/html")
    assert table.index("color-histogram") < table.index("rgb-means")
    assert "How to read this table" in table


def test_confusion_and_mistakes_are_seen(cells):
    (matrix,) = pictures(cells['predictions = session.predictions(DATASET, "color-histogram")'])
    assert len(np.unique(matrix.reshape(-1, 3), axis=0)) > 50
    cell = cells["wrong = predictions.wrong()"]
    printed = next(output.text for output in cell.outputs if output.output_type == "stream")
    n = int(printed.split()[0])
    assert 0 < n < 111
    shown = next(output for output in cell.outputs if output.output_type == "display_data")
    patches = cv2.imdecode(
        np.frombuffer(base64.b64decode(shown.data["image/png"]), np.uint8), cv2.IMREAD_COLOR
    )
    tissue = patches[(patches.max(axis=2) - patches.min(axis=2)) > 40]
    assert len(tissue) > patches.shape[0] * patches.shape[1] / 4


def test_models_are_compared_and_the_dataset_is_audited(cells):
    compared = text(cells['session.compare("rgb-means", "color-histogram", DATASET)'], "text/html")
    assert "color-histogram is more accurate than rgb-means" in compared
    assert compared.count("<table") == 3
    assert "dynamic-range  FLAG" in text(cells["audit = session.audit(DATASET)"])
    estimates = cells["""audit.to_dataframe().round(3).query("probe == 'compression'")"""]
    assert text(estimates, "text/html").count("<td>compression</td>") > 5


def test_the_notebook_that_is_kept_is_small_and_shows_what_it_gives(cells):
    path = execute_notebook.NOTEBOOK
    assert path.stat().st_size < 500_000
    kept = nbformat.read(path, as_version=4)
    latex = next(cell for cell in kept.cells if cell.source.startswith("print(board.to_latex"))
    assert "\\toprule" in text(latex)
    assert text(latex) == text(cells[latex.source]), "run python examples/execute_notebook.py"
    for cell in kept.cells:
        if cell.cell_type == "code" and not cell.source.startswith("import"):
            assert cell.outputs, cell.source


def test_a_notebook_shows_a_bar_unless_the_session_is_quiet(tmp_path):
    source = (
        "import harness\n"
        "session = harness.Session({store!r}, quiet={quiet})\n"
        "session.run(['nct-crc-he-sample'], ['rgb-means'])"
    )
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(source.format(store=str(tmp_path / str(quiet)), quiet=quiet))
        for quiet in (False, True)
    ]
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown, quiet = (
        "".join(output.text for output in cell.outputs if output.get("name") == "stderr")
        for cell in notebook.cells
    )
    assert "nct-crc-he-sample: list patches:" in shown
    assert "5/5" in shown or "100%" in shown
    assert quiet == ""
