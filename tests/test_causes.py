"""Each cause of a failed conversion has its own message with a way out, and each way out works."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    assert_clear_error,
    assert_converted,
    converted,
    run_tflite,
    save_function,
    save_line,
    table,
)
from keras import layers

from litecheck import causes, samples

RNG = np.random.default_rng(7)
MLIR = """Could not translate MLIR to FlatBuffer.<unknown>:0: error: loc(callsite(fused["Mul:", \
"model/words/mul@__inference_f_1"] at fused["PartitionedCall:", "PartitionedCall"])): {error}
<unknown>:0: note: loc(fused["PartitionedCall:", "PartitionedCall"]): called from
Details:
\ttf.Mul(tensor<?x3x{dtype}>) -> (tensor<?x3x{dtype}>)

<unknown>:0: note: see current operation"""
NEITHER = "'tf.Mul' op is neither a custom op nor a flex op"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("a long story\nthe last line", "the last line"),
        (
            "error: 'tf.B' op is neither a custom op\n error: 'tf.A' op requires",
            "LiteRT has no A, B",
        ),
        ("'tf.A' op is neither; \"model/words/A@__inference_f\"", "LiteRT has no A (layer words)"),
        ("", "ValueError"),
        (MLIR.format(error=NEITHER, dtype="f32"), "LiteRT has no Mul (layer words)"),
        (
            MLIR.format(error=NEITHER, dtype="complex<f32>"),
            "LiteRT has no Mul of complex64 (layer words)",
        ),
        (MLIR.format(error=NEITHER, dtype="f64"), "LiteRT has no Mul of float64 (layer words)"),
        (
            MLIR.format(error="'tfl.x' op operand #0 must be another", dtype="f32"),
            "'tfl.x' op operand #0 must be another (layer words)",
        ),
    ],
)
def test_refusal(message, reason):
    assert causes.refusal(ValueError(message)) == reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "Graph execution error:\n\nDetected at node Sub defined at x",
            "in the operation Sub, without a reason",
        ),
        ("Graph execution error:\n\n\n", "TensorFlow raises ValueError, without a reason"),
        ("{{node a}} indices = 9 is not in [0, 5)\n\t [[{{node a}}]] [Op:f]", "9 is not in [0, 5)"),
    ],
)
def test_a_failure_is_never_empty(message, reason):
    assert causes.failing(ValueError(message)).endswith(reason)


def stft(length):
    """Return a function that computes Fourier transforms of a given length, of 1,600 numbers."""
    return lambda x: {"y": tf.abs(tf.signal.stft(x, 400, 160, fft_length=length))}


def combined(boxes, scores):
    return {"y": tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 5, 5)[0]}


def padded(boxes, scores):
    found, _ = tf.image.non_max_suppression_padded(
        boxes[0], scores[0, :, 0], 5, pad_to_max_output_size=True
    )
    return {"y": tf.gather(boxes[0], found)}


SHAPE, BOXES = [(1, 1600)], [(1, 20, 4), (1, 20, 2)]
FUNCTIONS = {
    "fft": (stft(400), stft(512), SHAPE, "powers of two: use the next one as fft_length"),
    "complex": (
        lambda x: {"y": tf.abs(tf.signal.rfft(x)[:, :5])},
        lambda x: {"y": tf.abs(tf.signal.rfft(x))[:, :5]},
        [(1, 16)],
        "no StridedSlice of complex64. LiteRT has few operations on complex numbers: use",
    ),
    "boxes": (combined, padded, BOXES, "Use tf.image.non_max_suppression_padded"),
    "double": (
        lambda x: {"y": tf.cast(tf.cast(x, tf.float64) * 2, tf.float32)},
        lambda x: {"y": x * 2},
        [(1, 3)],
        "LiteRT has no Mul of float64. It computes in float64: build it in float32",
    ),
    "empty": (
        lambda x: {"y": x * 2, "z": x[:, :0]},
        lambda x: {"y": x * 2},
        [(1, 3)],
        "Output z has no numbers: leave it out of the model",
    ),
    "text": (
        lambda x: {"y": tf.strings.length(tf.strings.lower(tf.strings.as_string(x)))},
        lambda x: {"y": x + 1},
        [(1, 3)],
        "Move the preprocessing of text out of the model",
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_litert_lacks(warm, tmp_path, name):
    refused, instead, shapes, words = FUNCTIONS[name]
    specs = [tf.TensorSpec(shape, name=f"x{index}") for index, shape in enumerate(shapes)]
    save_function(tmp_path / "net", refused, *specs)
    arrays = {f"x{i}": RNG.random((9, *shape[1:])) for i, shape in enumerate(shapes)}
    if name == "boxes":  # the upper left corner comes first
        arrays["x0"] = np.sort(arrays["x0"].reshape(9, 20, 2, 2), axis=2).reshape(9, 20, 4)
    np.savez(tmp_path / "net.samples.npz", **arrays)
    process = warm("convert", "net", cwd=tmp_path)
    assert_clear_error(process, words)
    assert not list(tmp_path.glob("*.tflite"))
    shutil.rmtree(tmp_path / "net")
    save_function(tmp_path / "net", instead, *specs)
    assert table(warm("convert", "net", cwd=tmp_path).stdout)["float32"]["verdict"] == "verified"


class Sampling(layers.Layer):
    """Draws a random sample, as in a variational autoencoder."""

    def call(self, ends):
        mean, spread = ends
        return mean + tf.exp(spread) * keras.random.normal(keras.ops.shape(mean))


def pooled(x):
    return layers.MaxPool3D()(x)


def strided(x):
    return layers.Conv3D(2, 2, strides=2)(x)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(3)
    return tmp_path


def model(function, *shape, **given):
    """Return a Keras model of a function of one input."""
    x = keras.Input(shape, **given)
    return keras.Model(x, function(x))


def test_pooling_in_three_dimensions(warm, here):
    model(pooled, 8, 8, 8, 2).save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(process, "no MaxPool3D (layer max_pooling3d", "Conv3D(…, strides=2)")
    model(strided, 8, 8, 8, 2).save("net.keras")
    assert_converted(warm("convert", "net.keras", cwd=here), here / "net.keras")


def test_a_model_that_is_quantized_already(warm, here):
    net = model(lambda x: layers.Dense(3)(layers.Dense(8)(x)), 16)
    net.save("net.keras")
    assert_converted(warm("convert", "net.keras", cwd=here), here / "net.keras")
    net.quantize("int8")
    net.save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(
        process, "'tfl.fully_connected' op operand #0", "as it was before model.quantize"
    )
    assert "note" not in process.stderr


def test_layers_of_ones_own_that_are_random(warm, here):
    """Once, the message for each of archive and SavedModel sent the reader to the other."""
    x = keras.Input((6,))
    mean = layers.Dense(2)(x)
    net = keras.Model(x, layers.Dense(3)(Sampling()([mean, layers.Dense(2)(x)])))
    net.save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(process, "it holds Sampling, which is code of your own", "MEAN", "export")
    net.export("net", verbose=False)
    process = warm("convert", "net", cwd=here)
    assert_clear_error(process, "is random in inference: leave it out")
    assert "state from run to run" not in process.stdout
    keras.Model(net.input, mean).save("net.mean.keras")
    process = warm("convert", "net.mean.keras", cwd=here)
    assert_converted(process, here / "net.mean.keras")


def test_layers_of_keras_that_are_random(warm, here):
    net = model(lambda x: layers.Dense(2)(layers.Flatten()(layers.RandomFlip()(x))), 4, 4, 1)
    net.export("net", verbose=False)
    process = warm("convert", "net", cwd=here)
    assert_clear_error(process, "(augmentation) are switched on", "model.save('net.keras')")
    net.save("net.keras")
    assert_converted(warm("convert", "net.keras", cwd=here), here / "net.keras")


def test_a_layer_that_points_to_a_saved_model(warm, here):
    model(layers.Dense(2), 3).export("inner", verbose=False)
    layer = layers.TFSMLayer("inner", call_endpoint="serve")
    keras.Sequential([keras.Input((3,)), layer]).save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(process, "holds a TFSMLayer", "Convert that SavedModel")
    assert "Lambda" not in process.stderr
    assert_converted(warm("convert", "inner", cwd=here), here / "inner")


def test_a_lambda_layer(warm, here):
    net = model(layers.Lambda(lambda x: 2 * x), 3)
    net.save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(process, "holds a Lambda layer", 'model.export("net")')
    net.export("net", verbose=False)
    assert_converted(warm("convert", "net", cwd=here), here / "net")


@pytest.mark.parametrize(("file", "named"), [("h5", "keras"), ("keras", "KERAS"), ("keras", "h5")])
def test_the_content_decides_what_an_archive_is(warm, here, file, named):
    model(layers.Dense(2), 3).save(f"net.{file}")
    os.rename(f"net.{file}", f"net.{named}")
    process = warm("convert", f"net.{named}", cwd=here)
    assert process.returncode == 0, process.stderr
    assert (here / "net.tflite").exists()


@pytest.mark.parametrize("name", ["net.weights.h5", "net.h5", "net.keras"])
def test_weights_without_a_model(warm, here, name):
    net = model(layers.Dense(2), 3)
    net.save_weights("net.weights.h5")
    os.rename("net.weights.h5", name)
    process = warm("convert", name, cwd=here)
    assert_clear_error(process, f"{name} holds weights without a model", "model.load_weights(")
    place = process.stderr.split('load_weights("')[1].split('"')[0]
    os.rename(name, place)
    if place.endswith(".weights.h5"):
        net.load_weights(place)
        net.save("MODEL.keras")
        assert_converted(warm("convert", "MODEL.keras", cwd=here), here / "MODEL.keras")


def test_what_is_no_archive(warm, here):
    (here / "net.keras").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert_clear_error(warm("convert", "net.keras", cwd=here), "no Keras archive")


def test_a_batch_of_one_is_tried(warm, here):
    """Texts with a variable batch size give wrong results. One text at a time is right."""
    words = layers.StringLookup(vocabulary=["a", "b", "c"])
    text = keras.Input((1,), dtype="string")
    y = layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(words(text))))
    net = keras.Model(text, y)
    net.save("net.keras")
    np.save("net.samples.npy", np.array([[b"a"], [b"c"], [b"other"]]))
    process = warm("convert", "net.keras", cwd=here)
    rows = table(process.stdout)
    assert rows["float32"]["verdict"] == "verified"
    note = "the batch size is fixed to 1: LiteRT cannot run this model with a variable one\n"
    assert note in process.stdout
    (output,) = run_tflite(here / "net.tflite", np.array([[b"c"]])).values()
    np.testing.assert_allclose(output, net(tf.constant([["c"]])), atol=1e-6)
    assert not list(here.glob(".new-*"))


def test_the_sizes_of_samples_are_tried(warm, here):
    net = model(layers.TimeDistributed(layers.Dense(3)), None, 5)
    net.save("net.keras")
    process = warm("convert", "net.keras", cwd=here)
    assert_clear_error(process, "LiteRT gets some variable sizes wrong: give samples")
    x = RNG.normal(size=(9, 7, 5)).astype("float32")
    np.save("net.samples.npy", x)
    process = warm("convert", "net.keras", cwd=here)
    assert (
        "sizes are fixed to those of the samples: LiteRT gets variable ones wrong\n"
        in process.stdout
    )
    (output,) = run_tflite(here / "net.tflite", x[:1]).values()
    np.testing.assert_allclose(output, net(x[:1]), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "shape", "dtype", "words"),
    [
        (lambda x: layers.LayerNormalization()(layers.Dense(300)(x)), 6, "float32", "LayerNorm"),
        (lambda x: layers.Flatten()(layers.Embedding(30, 4)(x)), 6, "int32", "those of Embedding"),
    ],
)
def test_what_has_no_16_bit_form(warm, here, function, shape, dtype, words):
    net = model(lambda x: layers.Dense(3)(function(x)), shape, dtype=dtype)
    weights = net.get_weights()
    weights[-2] = weights[-2] * np.float32([1000, 1, 1])  # 8 bits lose much accuracy
    net.set_weights(weights)
    net.save("net.keras")
    x = RNG.integers(0, 30, (40, shape)).astype(dtype)
    np.save("net.samples.npy", x)
    np.savez("net.test.npz", inputs=x, labels=net.predict(x, verbose=0))
    process = warm("convert", "net.keras", cwd=here)
    line = next(x for x in process.stdout.splitlines() if x.startswith("16-bit int "))
    assert line.startswith("16-bit int     not written: LiteRT has no 16-bit form of ")
    assert words in line


def test_two_signatures_of_one_name(warm, here):
    """The files of the second would replace those of the first."""
    module = tf.Module()
    spec = [tf.TensorSpec([None, 2], name="x")]
    module.one = tf.function(lambda x: {"y": 2 * x}, input_signature=spec)
    module.two = tf.function(lambda x: {"y": 3 * x}, input_signature=spec)
    tf.saved_model.save(module, "a b", signatures={"one": module.one, "two": module.two})
    assert warm("convert", "a b", "--signature", "one", cwd=here).returncode == 0
    before = {path.name: path.read_bytes() for path in here.glob("a b.*")}
    assert warm("convert", "a b", "--signature", "one", "--batch", "2", cwd=here).returncode == 0
    before = {path.name: path.read_bytes() for path in here.glob("a b.*")}
    process = warm("convert", "a b", "--signature", "two", "--batch", "3", cwd=here)
    assert_clear_error(process, "a b.check.json belongs to the signature one")
    assert {path.name: path.read_bytes() for path in here.glob("a b.*")} == before
    command = process.stderr.splitlines()[1].split("their own name: python ")[1]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    subprocess.run(
        f'"{sys.executable}" {command}', shell=True, check=True, cwd=here, env=environment
    )
    (output,) = run_tflite(here / "a b.two.tflite", np.ones((3, 2), "float32")).values()
    np.testing.assert_array_equal(output, np.full((3, 2), 3))
    process = warm("run", "a b.two.tflite", cwd=here)
    assert "runs agree" in process.stdout


def test_operations_of_ones_own(warm, here):
    """A published file may have custom operations that only its own program supports."""
    content = converted(
        lambda x: {"y": tf.raw_ops.Betainc(a=x, b=x, x=x)},
        tf.TensorSpec((1, 3)),
        allow_custom_ops=True,
    )
    (here / "net.tflite").write_bytes(content)
    process = warm("run", "net.tflite", cwd=here)
    assert_clear_error(process, "net.tflite", "Betainc", "only a program that provides this")
    assert "--input" not in process.stderr


def test_parts_of_a_graph_are_no_samples(warm, here):
    """Nodes and edges have first axes of different sizes, so each run is one sample."""

    def outputs_of(nodes, edges):
        return {"y": tf.math.unsorted_segment_sum(tf.gather(nodes, edges[:, 0]), edges[:, 1], 25)}

    specs = [tf.TensorSpec((25, 8), name="x"), tf.TensorSpec((300, 2), tf.int32, name="e")]
    save_function(here / "net", outputs_of, *specs)
    process = warm("convert", "net", cwd=here)
    assert "on 8 random samples" in process.stdout
    nodes, edges = RNG.normal(size=(5, 25, 8)), RNG.integers(0, 25, (5, 300, 2))
    np.savez("net.samples.npz", x=nodes, e=edges)
    process = warm("convert", "net", cwd=here)
    assert "on 5 of 5 samples of net.samples.npz\n" in process.stdout
    np.savez("net.samples.npz", x=nodes, e=edges[:4])
    process = warm("convert", "net", cwd=here)
    assert_clear_error(process, "e (4, 300, 2) 4", "x (5, 25, 8) 5")


def test_rows_of_a_run_are_counted():
    inputs = {"x": samples.Input((12, 8), np.dtype("float32"))}
    whole = samples.for_calibration(np.zeros((25, 12, 8)), "m", inputs)
    assert (len(whole.runs), str(whole)) == (25, "25 of 25 samples")
    rows = samples.for_calibration(np.zeros((300, 8)), "m", inputs)
    assert (len(rows.runs), str(rows)) == (25, "300 of 300 samples, 12 a run")


def test_a_text_among_arrays(warm, here):
    import zipfile

    save_line(here / "line.keras", 3)
    np.savez("line.test.npz", inputs=np.ones((3, 1)), labels=np.ones((3, 1)))
    with zipfile.ZipFile("line.test.npz", "a") as file:
        file.writestr("notes.txt", "a text")
    process = warm("convert", "line.keras", cwd=here)
    assert_clear_error(process, "line.test.npz does not fit", "'notes.txt' in it is not an array")
