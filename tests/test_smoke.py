"""In one minute, on every system: the five steps, an own model, and an error in one line.

Two tests in `test_pipeline.py` also belong to the smoke tests.
"""

import re
import shutil

import numpy as np
import pytest
from conftest import assert_clear_error, predictions, run, table

pytestmark = pytest.mark.smoke

OWN_MODEL = """
import numpy as np
from tensorflow import keras

keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(1, "sigmoid")]
model = keras.Sequential([keras.Input([4]), *layers])
model.compile("adam", "binary_crossentropy")
model.fit(x, y, epochs=30, verbose=0)
model.save("own.keras")
np.save("own.samples.npy", x[:100])
np.savez("own.test.npz", inputs=x[100:], labels=y[100:])
"""


def test_the_steps_leave_their_artifacts(pipeline):
    names = {path.name for path in (pipeline[0] / "saved_model").iterdir()}
    pictures = ["training", "steps", "variants", *(["graphs"] if shutil.which("dot") else [])]
    suffixes = [".keras", ".samples.npy", ".check.json", *(f".{name}.png" for name in pictures)]
    suffixes += [".tflite", ".quant.tflite", ".dynamic.tflite", ".int8.tflite"]
    assert {"my_model", *(f"my_model{suffix}" for suffix in suffixes)} <= names
    assert not [name for name in names if name.startswith(".new-")]


def test_the_line_is_found(pipeline):
    line = 100 * np.arange(1, 6).reshape(-1, 1) + 5
    for step in ["01_create_model.py", "02_load_model.py"]:
        assert np.abs(predictions(pipeline[1][step].stdout) - line).max() <= 0.02


def test_the_files_are_what_they_are_said_to_be(pipeline):
    rows = table(pipeline[1]["03_convert_model.py"].stdout)
    assert [row["verdict"] for row in rows.values()] == ["verified"] + 3 * ["measured"]
    assert rows["float32"]["of_range"] < 2e-6
    assert rows["full integer"]["of_range"] < 0.02
    stdout = pipeline[1]["04_deploy_tflite.py"].stdout
    x, output = (
        float(re.search(rf"^{label} : \[\[(.*?)\.?\]\]$", stdout, re.MULTILINE)[1])
        for label in ["input", "output"]
    )
    assert abs(output - (100 * x + 5)) < 0.1
    (integer,) = re.findall(r"^the output is 64: real = .* = (\S+)$", stdout, re.MULTILINE)
    assert abs(float(integer.replace(",", "")) - 15005) < 40
    assert len(re.findall(r"^  check: 100 of 100 runs agree", stdout, re.MULTILINE)) == 2


def test_an_own_model(tmp_path):
    (tmp_path / "own_model.py").write_text(OWN_MODEL, encoding="utf-8")
    for command in [
        [tmp_path / "own_model.py"],
        ["look", "own.keras"],
        ["convert", "own.keras"],
        ["run", "own.int8.tflite", "--test", "own.test.npz"],
    ]:
        process = run(*command, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        if command[0] == "convert":
            metric = table(process.stdout)["full integer"]["metric"]
    assert f"accuracy {metric} on 100 of 100 samples" in process.stdout


def test_a_clear_error(tmp_path):
    missing = "saved_model/my_model is missing. Make it with: python 01_create_model.py"
    assert_clear_error(run("03_convert_model.py", cwd=tmp_path), missing)
    process = run("convert", "missing.keras", cwd=tmp_path)
    assert_clear_error(process, "missing.keras is missing: name a file that exists")
    assert list(tmp_path.iterdir()) == []
