"""What is shown from inside a file is read from it, and suffices to compute outputs by hand."""

import re
import shutil

import numpy as np
import pytest
from conftest import SUFFIXES, answers, lesson, run, tensors

from litecheck import inside, litert, pictures

X = np.float32([[1], [150], [199]])


@pytest.fixture
def contents(pipeline):
    """Return the contents of the lesson's files, by variant."""
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


def test_the_float32_files_numbers_give_its_outputs(pipeline, contents):
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
    inputs, outputs = tensors(pipeline[0] / "saved_model/my_model.int8.tflite")
    for tensor, detail in [
        (contents["full integer"].inputs[0], inputs["x"]),
        (contents["full integer"].outputs[0], outputs["output_0"]),
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


def arrays(text, mark=""):
    """Return the arrays that are printed on lines of their own, after a marker."""
    found = re.findall(rf"^ {{4}}{re.escape(mark)}\[([^]]*)\]$", text, re.MULTILINE)
    return [np.array(numbers.split(), float) for numbers in found]


def test_what_is_printed_is_in_the_files(warm, tmp_path):
    """Use another seed, so that no number can be a constant in the script."""
    process = warm(lesson(tmp_path, "01_create_model.py", seed=2, epochs=100), cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    process = warm("03_convert_model.py", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    for variant, suffix in [("float32", ".tflite"), ("full integer", ".int8.tflite")]:
        path = f"saved_model/my_model{suffix}"
        weights = [
            weights
            for operation in inside.read(tmp_path / path).operations
            for weights in operation.weights
        ]
        shown = re.findall(rf"^{variant}: FULLY_CONNECTED\n(?:  .*\n)+", process.stdout, re.M)
        assert len(shown) == 2
        looked = warm("look", path, cwd=tmp_path)
        for text in ["".join(shown), looked.stdout]:
            assert re.findall(r"^  (\w+ \[.*\], \d+ bytes)$", text, re.M) == [*map(str, weights)]
            for tensor, printed in zip(weights, arrays(text), strict=True):
                np.testing.assert_allclose(printed, tensor.values.ravel(), atol=6e-6, rtol=1e-5)
        scales = arrays("".join(shown), "* ")
        if variant == "float32":
            assert not scales
            continue
        for tensor, printed in zip(weights, scales, strict=True):
            np.testing.assert_allclose(printed, tensor.scales, atol=6e-6)
            step = printed.reshape([-1] + [1] * (tensor.values.ndim - 1))
            np.testing.assert_allclose(step * tensor.values, tensor.real(), atol=2e-3)


def test_the_graphs(contents, tmp_path):
    drawing = pictures.graphs(contents, str(tmp_path / "graphs.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["graphs.png"]
    for variant, content in contents.items():
        assert f'label="{variant}\n{content.size:,} bytes"' in drawing.source
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
    process = run("look", "saved_model/my_model.tflite", cwd=tmp_path, PATH="")
    assert process.returncode == 0, process.stderr
    assert "my_model.graph.png was not drawn: Graphviz's `dot` is missing" in process.stdout


def test_own_models_are_looked_into(warm, models, tmp_path):
    """Each operation is shown with dtypes, shapes and bytes, and small arrays with numbers."""
    process = warm("convert", models / "mobilenet.keras", "--output", "m", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    process = warm("look", "m.tflite", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    content = inside.read(tmp_path / "m.tflite")
    assert f"model m.tflite, {content.size:,} bytes\n" in process.stdout
    for operation in content.operations:
        lines = [operation.name, *(f"  {weights}" for weights in operation.weights)]
        assert all(f"{line}\n" in process.stdout for line in lines)
    assert process.stdout.count("DEPTHWISE_CONV_2D\n") == 13
    assert all(len(line) <= 100 for line in process.stdout.splitlines())
    drawn = (tmp_path / "m.graph.png").exists()  # some versions of Graphviz fail here
    assert ("saved m.graph.png" if drawn else "m.graph.png was not drawn") in process.stdout


def test_a_device_looks_into_a_file_without_a_picture(pipeline, tmp_path):
    for name in ["tensorflow", "keras", "matplotlib", "graphviz"]:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here')")
    shutil.copy(pipeline[0] / "saved_model/my_model.tflite", tmp_path)
    process = run("look", "my_model.tflite", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("FULLY_CONNECTED\n") == 2
    assert "my_model.graph.png was not drawn: no graphviz here" in process.stdout


def test_a_model_of_several_outputs(warm, tmp_path):
    """This model has two outputs. The lesson's model has one."""
    from tensorflow import keras

    x = keras.Input([1], name="x")
    model = keras.Model(x, [keras.layers.Dense(1, name=f"y{i}")(x) for i in range(2)])
    model.save(tmp_path / "two.keras")
    samples = np.random.default_rng(0).normal(size=(20, 1)).astype("float32")
    np.save(tmp_path / "two.samples.npy", samples)
    for command in [["look", "two.keras"], ["convert", "two.keras"], ["run", "two.int8.tflite"]]:
        process = warm(*command, cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, ""), command
    outputs = re.findall(r"^output (output_\d): int8", process.stdout, re.M)
    assert sorted(outputs) == ["output_0", "output_1"]


@pytest.mark.parametrize("low", [-100, -201])
def test_samples_whose_range_lies_elsewhere(warm, pipeline, tmp_path, low):
    """Stages 3 and 4 follow x = 150, which is outside this range. So is 0 in one case."""
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    x = f'np.arange({low}, {low + 100}, dtype="float32")[:, None]'
    process = warm(lesson(tmp_path, "03_convert_model.py", samples=x), cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    low, high = inside.read(tmp_path / "saved_model/my_model.int8.tflite").inputs[0].limits()
    assert high < 150
    process = warm("04_deploy_tflite.py", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "150 / " in process.stdout
    assert "stored as 127\n" in process.stdout  # clipped
