"""The notebook of the tour: its cells run, and show what they promise."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "scripts" / "exercises" / "tour.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries that run notebooks
def test_the_tour_runs_from_the_text_to_a_cell():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in stored)
    client = nbclient.NotebookClient(
        notebook, timeout=200, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    text, run, model, sample, score, units, gate = (cell.outputs for cell in stored)
    assert text[0].text.count("\n") > 3
    (report,) = run
    assert '<iframe srcdoc="&lt;!doctype html&gt;' in report.data["text/html"]
    assert report.data["text/plain"].startswith("TrainedRun(")
    assert "1 of 64 units" in model[0].data["text/html"]
    assert sample[0].text.startswith("BEATRIX.\n") and len(sample[0].text) > 300
    assert "surprisal" in score[0].data["text/html"]
    assert "correlation" in units[0].text and "layer 1, unit " in units[0].text
    assert gate[0].text.count("\n") == 60 and "####" in gate[0].text
