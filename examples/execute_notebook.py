"""Executes ``analysis.ipynb`` and keeps what its cells show.

``python examples/execute_notebook.py`` needs nbclient, ipykernel and ``histo-harness[pandas]``.
Run it after a change to the notebook.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("analysis.ipynb")


def executed(folder: Path) -> nbformat.NotebookNode:
    """The notebook as it stands, with every cell executed in ``folder``.

    Raises nbclient.exceptions.CellExecutionError when a cell does. Bars and messages are left out:
    they say how it went this time.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr"
                and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            ]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)
