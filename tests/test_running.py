"""The command `run`, on `.tflite` files of all kinds."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    REPOSITORY,
    answers,
    assert_clear_error,
    converted,
    tensors,
)


def test_numbers_are_quantized_and_dequantized(warm, pipeline, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[150.0]]))
    model = pipeline[0] / "saved_model/my_model.int8.tflite"
    process = warm("run", model, "--input", "x.npy", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    inputs, outputs = tensors(model)
    scale, zero_point = inputs["x"]["quantization"]
    q_in = round(150 / scale) + zero_point
    scale, zero_point = outputs["output_0"]["quantization"]
    q_out, real = re.search(
        rf"input  \S+: \[\[150\.\]\]\n +stored as int8 \[\[{q_in}\]\]\n +stored as int8"
        r" \[\[(-?\d+)\]\]\noutput \S+: \[\[(\S+?)\.?\]\]",
        process.stdout,
    ).groups()
    assert float(real) == pytest.approx(scale * (int(q_out) - zero_point), rel=1e-6)
    assert float(real) == pytest.approx(answers(model, np.array([[150.0]])).item(), rel=1e-6)
    assert float(real) == pytest.approx(15_005, abs=110)


class Counter(tf.Module):
    """Adds up its inputs in a variable, like the state of a streaming model."""

    def __init__(self):
        """Start at zero."""
        self.sum = tf.Variable([0.0])

    @tf.function
    def f(self, x):
        """Add `x`, float32 (1,), and return the sum so far."""
        self.sum.assign_add(x)
        return self.sum.read_value()


def deploy(warm, directory, content, *arguments):
    """Run the content of a file, and return the process."""
    (directory / "model.tflite").write_bytes(content)
    return warm("run", "model.tflite", *arguments, cwd=directory)


def test_bools_and_integers(warm, tmp_path):
    spec = tf.TensorSpec([2], tf.bool)
    process = deploy(warm, tmp_path, converted(lambda a, b: a & b, spec, spec))
    assert "output output_0: bool [2]" in process.stdout, process.stderr
    gather = converted(
        lambda i: tf.gather(tf.constant([10, 11, 12], tf.int64), i), tf.TensorSpec([3], tf.int64)
    )
    np.save(tmp_path / "i.npy", np.array([2, 0, 1]))
    process = deploy(warm, tmp_path, gather, "--input", "i.npy")
    assert "output output_0: [12 10 11]" in process.stdout, process.stderr
    np.save(tmp_path / "i.npy", np.array([0.5, 0, 1]))
    process = deploy(warm, tmp_path, gather, "--input", "i.npy")
    assert_clear_error(process, "i.npy does not fit model.tflite", "int64 cannot hold 0.5")
    np.save(tmp_path / "i.npy", np.array([99, 0, 1]))
    assert_clear_error(deploy(warm, tmp_path, gather, "--input", "i.npy"), "out of bounds")


@pytest.mark.parametrize(
    ("dtype", "ops"),
    [
        ("int8", "TFLITE_BUILTINS_INT8"),
        ("uint8", "TFLITE_BUILTINS_INT8"),
        ("int16", "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"),
    ],
)
def test_files_of_other_integers(warm, tmp_path, dtype, ops):
    content = converted(
        lambda x: tf.nn.relu(x) * 3.0,
        tf.TensorSpec([1, 4], tf.float32),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([x] for x in np.float32([[[0, 1, 2, 4]]])),
        supported_ops=[getattr(tf.lite.OpsSet, ops)],
        inference_input_type=tf.as_dtype(dtype),
        inference_output_type=tf.as_dtype(dtype),
    )
    np.save(tmp_path / "x.npy", np.array([[0, 1, 2, 3.0]]))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    values = re.search(r"output output_0: \[\[(.*)\]\]", process.stdout)[1].split()
    np.testing.assert_allclose(np.array(values, float), [0, 3, 6, 9], atol=0.1)
    assert f"stored as {dtype} [[" in process.stdout


def test_streams_and_large_outputs(warm, tmp_path):
    content = converted(
        Counter(), tf.TensorSpec([1], tf.float32), experimental_enable_resource_variables=True
    )
    np.save(tmp_path / "x.npy", np.float32([[1], [2], [3]]))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert re.findall(r"output \S+: \[(.*)\.\]", process.stdout) == ["1", "3", "6"]
    content = converted(lambda a: a * tf.ones([1000, 1000]), tf.TensorSpec([], tf.float32))
    np.save(tmp_path / "x.npy", np.float32(2.5))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert "[1000, 1000] min 2.5 mean 2.5 max 2.5 first 2.5 2.5 2.5" in process.stdout


def test_sizes_that_vary(warm, tmp_path):
    content = converted(
        lambda image: tf.nn.conv2d(image, tf.ones([3, 3, 1, 1]), 1, "VALID"),
        tf.TensorSpec([1, None, None, 1], tf.float32),
    )
    assert_clear_error(
        deploy(warm, tmp_path, content),
        "The input was random (image [1, 1, 1, 1], -1 to 1): give typical input with --input FILE",
    )
    np.save(tmp_path / "image.npy", np.ones((2, 5, 4, 1), "float32"))
    process = deploy(warm, tmp_path, content, "--input", "image.npy")
    assert process.stdout.count("output output_0: [[[[9.] [9.]] [[9.] [9.]] [[9.] [9.]]]]") == 2


def test_inputs_by_names(warm, tmp_path):
    spec = tf.TensorSpec([1], tf.float32)
    content = converted(lambda minuend, subtrahend: minuend - subtrahend, spec, spec)
    np.savez(tmp_path / "x.npz", subtrahend=np.float32([1, 2]), minuend=np.float32([10, 20]))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert re.findall(r"output \S+: \[(.*)\.\]", process.stdout) == ["9", "18"], process.stderr
    np.savez(tmp_path / "x.npz", a=np.float32([1, 2]), minuend=np.float32([10, 20]))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert_clear_error(process, "x.npz", "an array named 'subtrahend'")
    np.savez(tmp_path / "x.npz", subtrahend=np.float32([1, 2, 3]), minuend=np.float32([10, 20]))
    assert_clear_error(deploy(warm, tmp_path, content, "--input", "x.npz"), "numbers of samples")
    np.save(tmp_path / "x.npy", np.float32([1, 2]))
    assert_clear_error(deploy(warm, tmp_path, content, "--input", "x.npy"), "must be a .npz file")


def test_a_file_without_a_signature(warm, tmp_path):
    saved_model = str(REPOSITORY / "tests/keras2/adam")
    content = tf.compat.v1.lite.TFLiteConverter.from_saved_model(saved_model).convert()
    known = np.load(REPOSITORY / "tests/keras2/expected.npz")
    np.save(tmp_path / "x.npy", known["x"][:1])
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    value = float(re.search(r"output \S+: \[\[(.*)\]\]", process.stdout)[1])
    assert value == pytest.approx(known["adam"].ravel()[0], abs=1e-6)


def test_strings_and_flex_ops(warm, tmp_path):
    spec = tf.TensorSpec([2], tf.string)
    content = converted(lambda words: words == "yes", spec)
    assert_clear_error(deploy(warm, tmp_path, content), "words takes bytes: give --input FILE")
    np.save(tmp_path / "words.npy", np.array(["yes", "no"]))
    process = deploy(warm, tmp_path, content, "--input", "words.npy")
    assert "output output_0: [ True False]" in process.stdout, process.stderr
    flex = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    content = converted(lambda words: tf.strings.lower(words), spec, supported_ops=flex)
    process = deploy(warm, tmp_path, content, "--input", "words.npy")
    assert_clear_error(process, "Select TensorFlow op", "FlexStringLower")


def test_samples_left_over_are_named(warm, tmp_path):
    content = converted(lambda x: 2 * x, tf.TensorSpec([3, 1], tf.float32))
    np.save(tmp_path / "x.npy", np.ones((100, 1), "float32"))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert process.returncode == 0, process.stderr
    assert "left out the last 1 of x.npy" in process.stdout
    assert process.stdout.count("output ") == 34  # one of the details
    np.save(tmp_path / "x.npy", np.ones((2, 1), "float32"))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert_clear_error(process, "x.npy does not fit model.tflite (x float32 (3, 1))", "too few")


def test_a_batch_that_varies_beside_one_that_is_fixed(warm, tmp_path):
    specs = [tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([1, 3], tf.float32)]
    content = converted(lambda a, b: a - b, *specs)
    np.savez(tmp_path / "x.npz", a=np.full((4, 3), 5.0), b=np.arange(12.0).reshape(4, 3))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    rows = re.findall(r"output \S+: \[\[(.*)\]\]", process.stdout)
    assert [float(row.split()[0]) for row in rows] == [5, 2, -1, -4]
    np.savez(tmp_path / "x.npz", a=np.full((4, 2), 5.0), b=np.ones((4, 3)))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert_clear_error(process, "x.npz")
    assert "np.int" not in process.stderr


def test_what_was_random_is_said_where_it_is_refused(warm, tmp_path):
    table = tf.constant([[1.0], [2.0]])
    content = converted(lambda x: tf.gather(table, tf.cast(x + 5, tf.int32)), tf.TensorSpec([9]))
    process = deploy(warm, tmp_path, content)
    assert_clear_error(process, "out of bounds", "random (x [9], -1 to 1)", "--input FILE")
    np.save(tmp_path / "x.npy", np.full(9, 7.0))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert_clear_error(process, "model.tflite with x.npy", "out of bounds")
    assert "random" not in process.stderr


def test_integers_for_a_quantized_tensor_are_real_numbers(warm, pipeline, tmp_path):
    model = pipeline[0] / "saved_model/my_model.int8.tflite"
    outputs = []
    for dtype in ["int8", "float32"]:
        np.save(tmp_path / "x.npy", np.array([[100]], dtype))
        process = warm("run", model, "--input", "x.npy", cwd=tmp_path)
        outputs.append(re.search(r"output .*\]\]", process.stdout[200:])[0])
    assert outputs[0] == outputs[1]


def test_inputs_of_another_shape_or_number(warm, tmp_path):
    spec = tf.TensorSpec([None, 3], tf.float32)
    content = converted(lambda a, b: a - b, spec, spec)
    np.savez(tmp_path / "x.npz", a=np.ones((5, 3)), b=np.ones((4, 3)))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert_clear_error(
        process, "x.npz", "the inputs have different numbers of samples: ", "a 5", "b 4"
    )
    np.savez(tmp_path / "x.npz", a=np.ones((5, 3)), b=np.ones((5, 2)))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert_clear_error(process, "x.npz", "a sample of b has the shape (5, 2)")


def test_a_record_of_other_files(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    old = tmp_path / "saved_model/my_model.int16.tflite"  # of a variant that was not tried again
    shutil.copy(tmp_path / "saved_model/my_model.int8.tflite", old)
    process = warm("run", old, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "my_model.int16.tflite has changed: it is not from the last conversion" in process.stdout
    own = tmp_path / "other.int8.tflite"  # of a model that has its own name
    shutil.copy(tmp_path / "saved_model/my_model.tflite", own)
    process = warm("run", own, cwd=tmp_path)
    assert "has changed" not in process.stdout
    assert process.stdout.endswith("there is no record of this file, so nothing to compare with\n")
