"""The four scripts as notebooks: executed in order, pictures inline, errors as exceptions."""

import shutil

import pytest
from conftest import REPOSITORY

jupytext = pytest.importorskip("jupytext", reason="jupytext is missing: make test installs it")
nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: make test installs it")
pytest.importorskip("ipykernel", reason="ipykernel is missing: make test installs it")

SCRIPTS = sorted(path.name for path in REPOSITORY.glob("0*.py"))


def execute(script, directory):
    """Execute a script as a notebook in `directory`. Return the notebook with its outputs."""
    notebook = jupytext.read(REPOSITORY / script)
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": directory}}
    )
    return client.execute()


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """Return a dict of the four executed notebooks and their directory."""
    directory = tmp_path_factory.mktemp("notebooks")
    return {script: execute(script, directory) for script in SCRIPTS}, directory


def outputs(notebook):
    """Return all outputs of a notebook, in order."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


def test_artifacts_are_those_of_the_scripts(notebooks):
    _, directory = notebooks
    names = {path.name for path in (directory / "saved_model").iterdir()}
    assert {"my_model.keras", "my_model", "my_model.int8.tflite", "my_model.check.json"} <= names
    assert not [name for name in names if name.startswith(".new-")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_code_cell_is_introduced(notebooks, script):
    cells = notebooks[0][script].cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {script[1]}. ")
    section = ""
    for before, cell in zip(cells, cells[1:], strict=False):
        assert (before.cell_type, cell.cell_type) in [("markdown", "code"), ("code", "markdown")]
        if cell.cell_type == "markdown":
            section = cell.source.split("\n")[0] if cell.source.startswith("#") else section
            # One section has three cells: the conversion, its check by hand, its check by name.
            assert cell.source.startswith("## ") or section == "## Convert without quantization"
            assert len(cell.source) > 60


@pytest.mark.parametrize("script", SCRIPTS)
def test_outputs_are_clean(notebooks, script):
    for output in outputs(notebooks[0][script]):
        assert output.get("name") != "stderr", output
        if output.output_type == "execute_result":  # no other value is shown
            assert "image/png" in output.data or "image/svg+xml" in output.data


@pytest.mark.parametrize(
    ("script", "pictures"),
    [("01_create_model.py", 1), ("02_load_model.py", 1), ("03_convert_model.py", 3)],
)
def test_pictures_are_inline(notebooks, script, pictures):
    if not script.startswith("01") and not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    found = [o.get("data", {}) for o in outputs(notebooks[0][script])]
    assert sum("image/png" in data or "image/svg+xml" in data for data in found) == pictures


def test_a_failure_is_an_exception(tmp_path):
    for script in SCRIPTS[1:]:
        error, message = (
            nbclient.exceptions.CellExecutionError,
            "saved_model/.* is missing",
        )
        with pytest.raises(error, match=message):
            execute(script, tmp_path)
