"""The five steps with their defaults: their files and output, and all forms agree."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import SUFFIXES, answers, predictions

X = np.array([[1], [2], [3], [4], [5]], dtype="float32")


def test_every_artifact_is_there_and_nothing_else(pipeline):
    directory, _ = pipeline
    assert sorted(path.name for path in directory.iterdir()) == ["saved_model"]
    assert sorted(path.name for path in (directory / "saved_model").iterdir()) == [
        "my_model",
        "my_model.check.json",
        "my_model.cmdline.tflite",
        "my_model.dynamic.tflite",
        "my_model.graphs.png",
        "my_model.int8.tflite",
        "my_model.keras",
        "my_model.png",
        "my_model.quant.tflite",
        "my_model.samples.npy",
        "my_model.steps.png",
        "my_model.tflite",
        "my_model.training.png",
        "my_model.variants.png",
    ]
    saved_model = {path.name for path in (directory / "saved_model/my_model").iterdir()}
    assert {"saved_model.pb", "variables", "assets"} <= saved_model


@pytest.mark.smoke
def test_no_step_writes_to_stderr(pipeline):
    _, processes = pipeline
    assert {step: process.stderr for step, process in processes.items() if process.stderr} == {}


def test_lines_fit_in_100_columns(pipeline):
    _, processes = pipeline
    lines = [line for process in processes.values() for line in process.stdout.splitlines()]
    assert [line for line in lines if len(line) > 100] == []


def test_keras_savedmodel_and_litert_agree(pipeline):
    directory, processes = pipeline
    keras_output = predictions(processes["02_load_model.py"].stdout)
    serving = tf.saved_model.load(str(directory / "saved_model/my_model")).signatures
    saved_model_output = serving["serving_default"](tf.constant(X))["output_0"].numpy()
    np.testing.assert_allclose(saved_model_output, keras_output, rtol=1e-6)
    for suffix, rtol in [("", 1e-6), (".quant", 0.05)]:
        output = answers(directory / f"saved_model/my_model{suffix}.tflite", X)
        np.testing.assert_allclose(output, keras_output, rtol=rtol)


@pytest.mark.smoke
@pytest.mark.skipif(not shutil.which("sh"), reason="there is no sh: Git Bash has one")
def test_command_line_and_python_conversions_are_identical(pipeline):
    saved_model = pipeline[0] / "saved_model"
    command_line = (saved_model / "my_model.cmdline.tflite").read_bytes()
    assert command_line == (saved_model / "my_model.tflite").read_bytes()


def test_stage_2_repeats_stage_1_to_the_last_bit(pipeline):
    _, processes = pipeline
    first = predictions(processes["01_create_model.py"].stdout)
    np.testing.assert_array_equal(predictions(processes["02_load_model.py"].stdout), first)


@pytest.mark.parametrize("step", ["01_create_model.py", "02_load_model.py"])
def test_the_weights_printed_are_the_models(pipeline, step):
    directory, processes = pipeline
    model = tf.keras.models.load_model(directory / "saved_model/my_model.keras")
    printed = re.findall(r"^weight.*\((.*)\)\n\[(.*)\]$", processes[step].stdout, re.MULTILINE)
    assert len(printed) == 4
    for (shape, values), weight in zip(printed, model.get_weights(), strict=True):
        assert tuple(int(size) for size in shape.split(",") if size) == weight.shape
        np.testing.assert_allclose(np.array(values.split(), float), weight.ravel(), atol=6e-5)


def test_same_seed_same_bytes(warm, pipeline, tmp_path):
    first = pipeline[0]
    for step in ["01_create_model.py", "03_convert_model.py"]:
        assert warm(step, cwd=tmp_path).returncode == 0
    for suffix in list(SUFFIXES.values())[:4]:
        path = f"saved_model/my_model{suffix}"
        assert (tmp_path / path).read_bytes() == (first / path).read_bytes()
