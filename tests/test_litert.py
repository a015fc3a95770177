"""Real numbers in and out: quantization, details by name, and how arrays are shown."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litecheck import litert, script


def tensor(dtype, scale=0.0, zero_point=0, shape=(1, 3)):
    """Return the details of a tensor in the form that LiteRT gives them."""
    return {"dtype": dtype, "quantization": (scale, zero_point), "shape": np.array(shape)}


@pytest.mark.parametrize(
    ("dtype", "zero_point", "real", "stored"),
    [
        (np.int8, -3, [0.49, 0.26, 0.24], [-2, -2, -3]),  # to the nearest: 0.98, 0.52, 0.48
        (np.int8, -3, [-0.49, -0.26, -0.24], [-4, -4, -3]),
        (np.int8, 0, [0.25, 0.75, -0.25], [0, 2, 0]),  # halves are rounded to the even neighbour
        (np.int8, 10, [58.5, 59, 1e9], [127, 127, 127]),  # clipped above
        (np.int8, 10, [-69, -69.5, -1e9], [-128, -128, -128]),  # and below
        (np.uint8, 128, [-64, -65, 63.5], [0, 0, 255]),
        (np.int16, 0, [1, 16383.5, -16384], [2, 32767, -32768]),
    ],
)
def test_quantize_and_dequantize(dtype, zero_point, real, stored):
    details = tensor(dtype, 0.5, zero_point)
    result = litert.quantize(np.float32(real), details)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, stored)
    back = litert.dequantize(result, details)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, 0.5 * (np.array(stored, float) - zero_point))


def test_numbers_are_real_whatever_their_dtype_and_without_a_scale_kept():
    stored = np.int8([-5, 7])
    real = litert.quantize(stored, tensor(np.int8, 0.5, 3))
    np.testing.assert_array_equal(real, [-7, 17])
    assert litert.quantize(np.float64([0.5]), tensor(np.float32)).dtype == np.float32
    assert litert.dequantize(stored, tensor(np.int8)) is stored
    with pytest.raises(TypeError, match="float64"):
        litert.quantize(np.array([0.5]), tensor(np.int32))
    words = np.array(["yes"])
    assert litert.quantize(words, tensor(np.bytes_)) is words


@pytest.mark.parametrize(
    ("details", "low", "high"),
    [
        (tensor(np.float32, shape=(20, 500)), -1, 1),
        (tensor(np.uint8, shape=(20, 500)), 0, 255),
        (tensor(np.int32, shape=(20, 500)), 0, 1),
        (tensor(np.bool_, shape=(20, 500)), 0, 1),
    ],
)
def test_random_input_covers_its_range(details, low, high):
    values = litert.random_input(details, "x")
    assert (values.dtype, values.shape) == (np.dtype(details["dtype"]), (20, 500))
    assert (values.min(), values.max()) == pytest.approx((low, high), abs=0.01)


def test_random_input_of_a_quantized_tensor_covers_what_it_was_calibrated_for():
    values = litert.random_input(tensor(np.int8, 0.5, -28, (100, 500)), "x")
    assert values.dtype == np.float32
    assert values.min() == pytest.approx(-50, abs=0.1)
    assert values.max() == pytest.approx(77.5, abs=0.1)
    with pytest.raises(script.Failure, match="words takes bytes: give --input FILE"):
        litert.random_input(tensor(np.bytes_), "words")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.float32([[1.5, 2]]), "[[1.5 2. ]]"),
        (np.arange(20), " ".join(map(str, np.arange(20))).join(["[ ", "]"]).replace("[ 0", "[ 0")),
        (np.arange(30) ** 2, "[30] min 0 mean 285.17 max 841 first 0 1 4"),
        (np.array([1, np.nan]), "[2] holds NaN or infinity, first [ 1. nan]"),
        (np.array([1, np.inf]), "[2] holds NaN or infinity, first [ 1. inf]"),
        (np.array(["word"] * 30), "[30] first ['word' 'word' 'word']"),
        (np.array([True] * 30), "[30] min 1 mean 1 max 1 first 1 1 1"),
    ],
)
def test_text(values, shown):
    assert litert.text(values).replace("[ 0", "[0") == shown.replace("[ 0", "[0")
    assert len(litert.text(values)) <= 80


def test_runner_and_curve_agree_with_the_interpreter(pipeline):
    path = pipeline[0] / "saved_model/my_model.int8.tflite"
    x = np.arange(100, 200, 7, dtype="float32")
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    for model in [str(path), path.read_bytes()]:
        runner = litert.Runner(model)
        assert (list(runner.inputs), list(runner.outputs)) == (["x"], ["output_0"])
        assert litert.dtypes(runner.inputs, runner.outputs) == "int8"
        assert runner.outputs["output_0"]["quantization"] == taken["quantization"]
        results = [runner({"x": value.reshape(1, 1)}) for value in x]
        assert 0 < runner.seconds < 1
        for value, result, point in zip(x, results, litert.curve(str(path), x), strict=True):
            scale, zero_point = given["quantization"]
            q = min(max(round(float(value) / scale) + zero_point, -128), 127)
            interpreter.set_tensor(given["index"], np.int8([[q]]))
            interpreter.invoke()
            scale, zero_point = taken["quantization"]
            real = scale * (interpreter.get_tensor(taken["index"]).item() - zero_point)
            assert result["output_0"].item() == pytest.approx(real, rel=1e-6)
            assert point == result["output_0"].item()
    assert [list(side) for side in litert.names(interpreter)] == [["x"], ["output_0"]]


def test_runner_takes_other_sizes_from_run_to_run(pipeline):
    runner = litert.Runner(str(pipeline[0] / "saved_model/my_model.tflite"))
    x = np.arange(12, dtype="float32").reshape(-1, 1)
    whole = runner({"x": x})["output_0"]
    for size in (1, 5, 1):
        part = runner({"x": x[:size]})["output_0"]
        np.testing.assert_allclose(part, whole[:size], rtol=1e-5, atol=1e-3)
    with pytest.raises(RuntimeError, match="dimension"):
        runner({"x": np.ones((2, 3), "float32")})
