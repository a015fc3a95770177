"""What is shown of a file's inside: read from it, and enough to compute its answers by hand."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import SUFFIXES, answers, run
from test_deploy import converted

from backstage import inside, litert, pictures

X = np.float32([[1], [150], [199]])


@pytest.fixture
def contents(pipeline):
    """Return a dict from variants to what the lesson's files hold."""
    return {
        variant: inside.read(pipeline[0] / f"saved_model/my_model{suffix}")
        for variant, suffix in list(SUFFIXES.items())[:4]
    }


def test_the_operations_and_their_weights(contents):
    described = {
        variant: [
            (operation.name, *map(str, operation.weights)) for operation in content.operations
        ]
        for variant, content in contents.items()
    }
    floats = [
        ("FULLY_CONNECTED", "float32 [10, 1], 40 bytes"),
        ("FULLY_CONNECTED", "float32 [1, 10], 40 bytes", "float32 [1], 4 bytes"),
    ]
    assert described["float32"] == described["dynamic range"] == floats
    assert sorted(described["float16"]) == [
        ("DEQUANTIZE", "float16 [1, 10], 20 bytes"),
        ("DEQUANTIZE", "float16 [10, 1], 20 bytes"),
        ("DEQUANTIZE", "float16 [1], 2 bytes"),
        ("FULLY_CONNECTED",),
        ("FULLY_CONNECTED",),
    ]
    assert described["full integer"] == [
        ("FULLY_CONNECTED", "int8 [10, 1], 10 bytes"),
        ("FULLY_CONNECTED", "int8 [1, 10], 10 bytes", "int32 [1], 4 bytes"),
    ]


def test_the_float32_files_numbers_give_its_answers(pipeline, contents):
    (kernel,), (second, bias) = (op.weights for op in contents["float32"].operations)
    by_hand = X @ kernel.values.T @ second.values.T + bias.values
    path = pipeline[0] / "saved_model/my_model.tflite"
    np.testing.assert_allclose(by_hand, answers(path, X), rtol=1e-6)


def test_the_integers_stand_for_the_float32_files_numbers(contents):
    floats, integers = contents["float32"].operations, contents["full integer"].operations
    for true, stored in zip(floats, integers, strict=True):
        for weights, quantized in zip(true.weights, stored.weights, strict=True):
            sizes = [-1] + [1] * (weights.values.ndim - 1)
            step = quantized.scales.reshape(sizes)
            assert (np.abs(quantized.real() - weights.values) <= 0.51 * step).all()


def test_ends_and_their_ranges_are_those_of_litert(pipeline, contents):
    path = pipeline[0] / "saved_model/my_model.int8.tflite"
    interpreter = Interpreter(str(path))
    for tensor, detail in [
        (contents["full integer"].inputs[0], interpreter.get_input_details()[0]),
        (contents["full integer"].outputs[0], interpreter.get_output_details()[0]),
    ]:
        assert tensor.shape == detail["shape_signature"].tolist()
        assert (tensor.scales[0], tensor.zero_points[0]) == pytest.approx(detail["quantization"])
        np.testing.assert_allclose(
            tensor.real(np.arange(-128, 128)),
            litert.dequantize(np.arange(-128, 128), detail),
            rtol=1e-6,
        )
    low, high = contents["full integer"].inputs[0].limits()
    assert (low, high) == (0, pytest.approx(199))


def test_what_is_printed_is_in_the_files(warm, tmp_path):
    """With another seed, so that nothing can be written down beforehand."""
    for step in (["01_create_model.py", "--seed", 2, "--epochs", 100], ["03_convert_model.py"]):
        process = warm(*step, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
    shown = process.stdout.split("inside saved_model/my_model.tflite\n")[1]
    shown, integers = shown.split("inside saved_model/my_model.int8.tflite\n")
    for text, suffix in [(shown, ".tflite"), (integers, ".int8.tflite")]:
        content = inside.read(tmp_path / f"saved_model/my_model{suffix}")
        weights = [tensor for operation in content.operations for tensor in operation.weights]
        printed = re.findall(r"^ {6}\[(.*)\]$", text, re.MULTILINE)
        for tensor, numbers in zip(weights, printed, strict=True):
            np.testing.assert_allclose(
                np.array(numbers.split(), float), tensor.values.ravel(), atol=6e-6, rtol=1e-5
            )
    real = re.findall(r"^ {6}= \[(.*)\]$", integers, re.MULTILINE)
    for tensor, numbers in zip(weights, real, strict=True):
        np.testing.assert_allclose(
            np.array(numbers.split(), float), tensor.real().ravel(), atol=6e-6
        )


def test_the_graphs(contents, tmp_path):
    sizes = dict(zip(contents, [1, 2, 3, 4], strict=True))
    drawing = pictures.graphs(contents, sizes, str(tmp_path / "graphs.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["graphs.png"]
    for variant, content in contents.items():
        boxes = re.findall(
            rf'^\t+"{variant} operation \d+" \[label=(.*?)\]$', drawing.source, re.M | re.S
        )
        assert len(boxes) == len(content.operations)
        for box, operation in zip(boxes, content.operations, strict=True):
            assert all(text in box for text in [operation.name, *map(str, operation.weights)])
    edges = [line.split() for line in drawing.source.splitlines() if " -> " in line]
    assert len(edges) == 3 + 6 + 3 + 3


def test_without_dot_the_graphs_are_not_drawn(pipeline, tmp_path):
    for name in ["saved_model/my_model", "saved_model/my_model.samples.npy"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(pipeline[0] / name)
    process = run("03_convert_model.py", cwd=tmp_path, PATH="")
    assert process.returncode == 0, process.stderr
    assert "my_model.graphs.png was not drawn: Graphviz's `dot` is missing" in process.stdout
    assert (tmp_path / "saved_model/my_model.variants.png").exists()


def test_own_models_are_told_where_to_look(warm, models, tmp_path):
    process = warm("03_convert_model.py", models / "mobilenet.keras", "--output", "m", cwd=tmp_path)
    assert "to look inside: pip install netron, then netron m.tflite\n" in process.stdout


def test_one_number_followed(pipeline):
    """Each step of the arithmetic that stage 4 prints, done again."""
    stdout = pipeline[1]["04_deploy_tflite.py"].stdout
    path = pipeline[0] / "saved_model/my_model.int8.tflite"
    given, taken = (
        Interpreter(str(path)).get_input_details(),
        Interpreter(str(path)).get_output_details(),
    )
    scale = given[0]["quantization"][0]
    steps, minus, q = re.search(r"stored as (\d+) - (\d+) = (\d+)", stdout).groups()
    assert f"  150 / {scale:.5f} = {150 / scale:.1f}, stored" in stdout
    assert int(steps) == round(150 / scale)
    assert int(steps) - int(minus) == int(q)
    answer = answers(path, np.float32([[150]])).item()
    stored = round(answer / taken[0]["quantization"][0]) - 128
    assert f"it answers {stored}, which is " in stdout
    assert f" = {answer:,.1f}\n  the line is at 15,005\n" in stdout


def test_without_the_other_file_nothing_is_followed(warm, pipeline, tmp_path):
    content = (pipeline[0] / "saved_model/my_model.tflite").read_bytes()
    (tmp_path / "my_model.tflite").write_bytes(content)
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=tmp_path)
    assert process.returncode == 0
    assert "150" not in process.stdout.split("one run takes")[1].splitlines()[-1]
    assert "through" not in process.stdout


def int8_file(path, low, high, outputs):
    """Write a full-integer file of one input, calibrated from low to high, and some outputs."""
    content = converted(
        lambda x: {f"y{i}": x * (2.0 + i) for i in range(outputs)},
        tf.TensorSpec([None, 1], tf.float32),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([np.float32([[x]])] for x in (low, high)),
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )
    path.write_bytes(content)


@pytest.mark.parametrize("sibling", ["damaged", "float", "directory", "narrow", "two outputs"])
def test_a_file_beside_it_that_cannot_be_followed_is_left_alone(warm, pipeline, tmp_path, sibling):
    shutil.copy(pipeline[0] / "saved_model/my_model.tflite", tmp_path)
    path = tmp_path / "my_model.int8.tflite"
    if sibling == "damaged":
        path.write_bytes((pipeline[0] / "saved_model/my_model.int8.tflite").read_bytes()[:700])
    elif sibling == "float":
        shutil.copy(tmp_path / "my_model.tflite", path)
    elif sibling == "directory":
        path.mkdir()
    else:
        int8_file(path, -100, 99 if sibling == "narrow" else 300, 1 if sibling == "narrow" else 2)
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "through" not in process.stdout


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 2)])
def test_another_model_under_the_lessons_name(warm, tmp_path, inputs, outputs):
    """It has more inputs or outputs than the lesson's model."""
    from tensorflow import keras

    ends = [keras.Input([1], name=f"x{i}") for i in range(inputs)]
    total = keras.layers.Add()(ends) if inputs > 1 else ends[0]
    model = keras.Model(ends, [keras.layers.Dense(1, name=f"y{i}")(total) for i in range(outputs)])
    (tmp_path / "saved_model").mkdir()
    model.save(tmp_path / "saved_model/my_model.keras")
    model.export(tmp_path / "saved_model/my_model", verbose=False)
    samples = np.random.default_rng(0).normal(size=(20, 1)).astype("float32")
    np.savez(tmp_path / "saved_model/my_model.samples.npz", **{f"x{i}": samples for i in range(2)})
    for step in ["02_load_model.py", "03_convert_model.py", "04_deploy_tflite.py"]:
        process = warm(step, cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, ""), step


def test_a_model_whose_range_lies_elsewhere(warm, tmp_path):
    from tensorflow import keras

    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    (tmp_path / "saved_model").mkdir()
    model.export(tmp_path / "saved_model/my_model", verbose=False)
    for low in (-100, -201):
        samples = np.arange(low, low + 100, dtype="float32").reshape(-1, 1)
        np.save(tmp_path / "saved_model/my_model.samples.npy", samples)
        for step in ["03_convert_model.py", "04_deploy_tflite.py"]:
            process = warm(step, cwd=tmp_path)
            assert (process.returncode, process.stderr) == (0, ""), step
        assert not (tmp_path / "saved_model/my_model.steps.png").exists()
