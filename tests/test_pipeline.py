"""The five steps with their defaults: what they write and print, and that all forms agree."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, run

X = np.array([[1], [2], [3], [4], [5]], dtype="float32")


def predictions(stdout):
    """Return the predicted column of a printed prediction table, float32 of shape (5, 1)."""
    rows = re.findall(r"^ +[1-5] +(\S+) +\d05 +\S+$", stdout, re.MULTILINE)
    return np.array(rows, dtype="float32").reshape(5, 1)


def litert(path, inputs):
    """Run a `.tflite` file row by row on float32 inputs (n, 1); return its outputs (n, 1)."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    outputs = []
    for row in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(outputs)


def test_every_artifact_is_there_and_nothing_else(pipeline):
    directory, _ = pipeline
    assert sorted(path.name for path in directory.iterdir()) == ["saved_model"]
    assert sorted(path.name for path in (directory / "saved_model").iterdir()) == [
        "my_model",
        "my_model.cmdline.tflite",
        "my_model.dynamic.tflite",
        "my_model.int8.tflite",
        "my_model.keras",
        "my_model.png",
        "my_model.quant.tflite",
        "my_model.samples.npy",
        "my_model.source",
        "my_model.tflite",
        "my_model.training.png",
        "my_model.variants.png",
    ]
    saved_model = {path.name for path in (directory / "saved_model/my_model").iterdir()}
    assert {"saved_model.pb", "variables", "assets"} <= saved_model


def test_samples_are_the_training_inputs(pipeline):
    directory, _ = pipeline
    samples = np.load(directory / "saved_model/my_model.samples.npy")
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.arange(100, 200).reshape(100, 1))


def test_no_step_writes_to_stderr(pipeline):
    _, processes = pipeline
    assert {step: process.stderr for step, process in processes.items() if process.stderr} == {}


def test_lines_fit_in_100_columns(pipeline):
    _, processes = pipeline
    lines = [line for process in processes.values() for line in process.stdout.splitlines()]
    assert [line for line in lines if len(line) > 100] == []


def test_training_shows_twenty_lines_and_reaches_the_line(pipeline):
    _, processes = pipeline
    stdout = processes["01_create_model.py"].stdout
    updates = re.findall(r"^update +([\d,]+) of 20,000: loss", stdout, re.MULTILINE)
    assert updates == [f"{n:,}" for n in range(1000, 20001, 1000)]
    assert np.abs(predictions(stdout) - (100 * X + 5)).max() <= 0.02


def test_the_model_was_updated_20000_times(pipeline):
    directory, _ = pipeline
    model = tf.keras.models.load_model(directory / "saved_model/my_model.keras")
    assert int(model.optimizer.iterations) == 20_000
    assert float(model.optimizer.learning_rate) == 0.0


def test_stage_2_repeats_stage_1_to_the_last_bit(pipeline):
    _, processes = pipeline
    first = predictions(processes["01_create_model.py"].stdout)
    np.testing.assert_array_equal(predictions(processes["02_load_model.py"].stdout), first)


def test_keras_savedmodel_and_litert_agree(pipeline):
    directory, processes = pipeline
    keras_output = predictions(processes["02_load_model.py"].stdout)
    serving = tf.saved_model.load(str(directory / "saved_model/my_model")).signatures
    saved_model_output = serving["serving_default"](tf.constant(X))["output_0"].numpy()
    np.testing.assert_allclose(saved_model_output, keras_output, rtol=1e-6)
    np.testing.assert_allclose(
        litert(directory / "saved_model/my_model.tflite", X), keras_output, rtol=1e-6
    )
    np.testing.assert_allclose(
        litert(directory / "saved_model/my_model.quant.tflite", X), keras_output, rtol=0.05
    )


def test_command_line_and_python_conversions_are_identical(pipeline):
    saved_model = pipeline[0] / "saved_model"
    command_line = (saved_model / "my_model.cmdline.tflite").read_bytes()
    assert command_line == (saved_model / "my_model.tflite").read_bytes()


@pytest.mark.parametrize("step", ["01_create_model.py", "02_load_model.py"])
def test_the_weights_printed_are_the_models(pipeline, step):
    directory, processes = pipeline
    model = tf.keras.models.load_model(directory / "saved_model/my_model.keras")
    printed = re.findall(r"^weight.*\((.*)\)\n\[(.*)\]$", processes[step].stdout, re.MULTILINE)
    assert len(printed) == 4
    for (shape, values), weight in zip(printed, model.get_weights(), strict=True):
        assert tuple(int(size) for size in shape.split(",") if size) == weight.shape
        np.testing.assert_allclose(np.array(values.split(), float), weight.ravel(), atol=6e-5)


def test_the_picture_shows_both_layers(pipeline):
    if not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    content = (pipeline[0] / "saved_model/my_model.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    # Each layer's box has a black title bar: a run of many dark rows of pixels.
    dark = tf.io.decode_png(content, channels=1).numpy()[:, :, 0].mean(axis=1) < 100
    runs = "".join("x" if row else " " for row in dark).split()
    assert len([run for run in runs if len(run) > 20]) == 2


def test_stage_4_prints_input_output_and_truth(pipeline):
    _, processes = pipeline
    stdout = processes["04_deploy_tflite.py"].stdout
    x, y, true = (
        float(re.search(rf"{label}: \[\[(.*?)\.?\]\]", stdout)[1])
        for label in ["input  keras_tensor", "output output_0", r"100x\+5"]
    )
    assert 0 <= x < 1000
    assert true == 100 * x + 5
    assert y == pytest.approx(true, rel=1e-5)


def test_same_seed_same_bytes(warm, pipeline, tmp_path):
    first = pipeline[0]
    for step in ["01_create_model.py", "03_convert_model.py"]:
        assert warm(step, cwd=tmp_path).returncode == 0
    for name in ["my_model.tflite", "my_model.quant.tflite", "my_model.int8.tflite"]:
        path = f"saved_model/{name}"
        assert (tmp_path / path).read_bytes() == (first / path).read_bytes()


def test_another_seed_gives_another_model_in_place_of_the_first(warm, tmp_path):
    weights = []
    for seed in [1, 2]:
        process = warm("01_create_model.py", "--epochs", 3, "--seed", seed, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert len(re.findall(r"^update +\d+ of 30: loss", process.stdout, re.MULTILINE)) == 15
        model = tf.keras.models.load_model(tmp_path / "saved_model/my_model.keras")
        weights.append(model.get_weights()[0])
        assert int(model.optimizer.iterations) == 30
    assert not np.array_equal(*weights)
    assert len(list((tmp_path / "saved_model").iterdir())) == 4


def test_stage_4_runs_alone_without_tensorflow(pipeline, tmp_path):
    for name in ["tensorflow", "keras", "tf_keras"]:
        blocked = tmp_path / "blocked" / f"{name}.py"
        blocked.parent.mkdir(exist_ok=True)
        blocked.write_text(f"raise ImportError('{name} is not on this device')")
    shutil.copy(REPOSITORY / "04_deploy_tflite.py", tmp_path)
    shutil.copy(pipeline[0] / "saved_model/my_model.tflite", tmp_path)
    blocked = str(tmp_path / "blocked")

    process = run(
        tmp_path / "04_deploy_tflite.py", "my_model.tflite", cwd=tmp_path, PYTHONPATH=blocked
    )
    assert process.returncode == 0, process.stderr
    assert "output output_0: [[" in process.stdout
    assert run("03_convert_model.py", cwd=pipeline[0], PYTHONPATH=blocked).returncode != 0
