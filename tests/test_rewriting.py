"""Other operations with the same outputs: LSTM as one, unrolled layers, computed sizes."""

import json

import conftest
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from conftest import assert_clear_error, assert_converted, edited, record_of, table, tensors
from tensorflow import keras
from tensorflow.keras import layers

import litecheck
from litecheck import inside, litert, record, rewriting

RNG = np.random.default_rng(7)
WHOLE = ["float32", "float16", "dynamic range", "full integer"]


def saved(directory, outputs_of, shape, count=12, name="net", **given):
    """Save a model of a function of one input, and samples. Return the model and the samples."""
    keras.utils.set_random_seed(5)
    x = keras.Input(shape, **given)
    model = keras.Model(x, outputs_of(x))
    model.save(directory / f"{name}.keras")
    sizes = [8 if size is None else size for size in shape]
    values = RNG.normal(size=(count, *sizes)).astype("float32")
    np.save(directory / f"{name}.samples.npy", values)
    return model, values


def operations(path):
    """Return the names of a file's operations."""
    return [operation.name for operation in inside.read(path).operations]


def lstm(units=16, **given):
    return layers.LSTM(units, **given)


FUSED = {
    "one": (lambda x: layers.Dense(3)(lstm()(x)), (8, 6), 1),
    "two": (lambda x: lstm(16)(lstm(32, return_sequences=True)(x)), (8, 6), 2),
    "three": (
        lambda x: lstm()(lstm(return_sequences=True)(lstm(return_sequences=True)(x))),
        (8, 6),
        3,
    ),
    "no_bias": (lambda x: lstm(use_bias=False)(x), (8, 6), 1),
    "backwards": (lambda x: lstm(go_backwards=True, return_sequences=True)(x), (8, 6), 1),
    "both_ways": (lambda x: layers.Bidirectional(lstm(8, return_sequences=True))(x), (8, 6), 2),
    "summed": (lambda x: layers.Bidirectional(lstm(8), merge_mode="sum")(x), (8, 6), 2),
    "any_length": (lambda x: layers.Dense(2)(lstm()(x)), (None, 6), 1),
    "nested": (lambda x: keras.Sequential([keras.Input((8, 6)), lstm()])(x), (8, 6), 1),
    "long": (lambda x: layers.Dense(2)(lstm(4)(x)), (140, 3), 1),
}


@pytest.mark.parametrize("name", FUSED)
def test_lstm_is_one_operation(warm, tmp_path, name):
    outputs_of, shape, count = FUSED[name]
    model, x = saved(tmp_path, outputs_of, shape, count=3 if name == "long" else 12)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    rows = table(process.stdout)
    assert list(rows)[:4] == WHOLE
    assert rows["float32"]["verdict"] == "verified"
    kept = record_of(tmp_path / "net.check.json")["variants"]
    for suffix, variant in [("", "float32"), (".int8", "full integer")]:
        found = operations(tmp_path / f"net{suffix}.tflite")
        assert found.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == count
        assert "WHILE" not in found
        assert kept[variant]["state"]
    assert rows["full integer"]["of_range"] < 0.2
    runner = litert.Runner(str(tmp_path / "net.tflite"))
    (taken,) = runner.inputs
    for index in (2, 0):
        (output,) = runner({taken: x[index : index + 1]}).values()
        np.testing.assert_allclose(output, model(x[index : index + 1]), atol=1e-6)
    process = warm("run", "net.tflite", "--input", "net.samples.npy", cwd=tmp_path)
    assert f"check: {len(x)} of {len(x)} runs agree" in process.stdout


@pytest.fixture(scope="module")
def stateful(warm, tmp_path_factory):
    """Return a directory with a converted model of two LSTM layers, and the printed text."""
    directory = tmp_path_factory.mktemp("lstm")
    saved(directory, FUSED["two"][0], (8, 6))
    process = warm("convert", "net.keras", cwd=directory)
    return directory, process.stdout


def without_resets(path, runs):
    """Return a file's outputs for runs without a reset of the state between them."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    inputs, outputs = tensors(path)
    found = []
    for run in runs:
        for name, tensor in inputs.items():
            interpreter.set_tensor(tensor["index"], run[name])
        interpreter.invoke()
        found.append(
            {name: interpreter.get_tensor(end["index"]).copy() for name, end in outputs.items()}
        )
    return found


def test_a_state_that_is_not_reset_is_found_out(stateful):
    directory, _ = stateful
    path = directory / "net.tflite"
    recorded = record.read(str(path))
    with_resets = [litert.Runner(str(path))(run) for run in recorded.inputs]
    assert recorded.agreement(with_resets).agreeing == len(recorded.inputs)
    agreement = recorded.agreement(without_resets(path, recorded.inputs))
    assert agreement.worst
    assert agreement.agreeing < len(recorded.inputs) / 2


def with_scales(content, scale):
    """Return a file whose int16 states have the given scale."""

    def change(parsed):
        for tensor in parsed.subgraphs[0].tensors:
            if tensor.isVariable and tensor.type == schema.TensorType.INT16:
                tensor.quantization.scale = np.array([scale], "float32")

    return edited(content, change)


def test_the_scale_of_a_state_is_made_sound(stateful, warm):
    """With scales below 2^-15, LiteRT's integers are off by about the whole range."""
    directory, printed = stateful
    line = "the scales of LSTM states were corrected for LiteRT's int8 kernel"
    assert f"{line}\n" in printed
    assert table(printed)["full integer"]["of_range"] < 0.05
    path = directory / "net.int8.tflite"
    states = [t for t in inside.read(path).states() if t.dtype == "int16"]
    assert {float(tensor.scales[0]) for tensor in states} == {2.0**-15}
    assert rewriting.with_sound_states(path.read_bytes()) is None

    narrow = with_scales(path.read_bytes(), 2.0**-16)
    (directory / "published.tflite").write_bytes(narrow)
    mended = rewriting.with_sound_states(narrow)
    assert len(mended) == len(narrow)
    assert inside.parsed(mended).caution() == ""
    for command in ("look", "run"):
        process = warm(command, "published.tflite", cwd=directory)
        assert "caution: an LSTM's state has the scale 1.53e-05, below 2^-15" in process.stdout
        process = warm(command, "net.int8.tflite", cwd=directory)
        assert "caution" not in process.stdout


UNROLLED = {
    "gru": (lambda x: layers.Dense(3)(layers.GRU(8)(x)), (12, 5)),
    "gru_both_ways": (
        lambda x: layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="ave")(x),
        (12, 5),
    ),
    "simple": (lambda x: layers.SimpleRNN(8, return_sequences=True)(x), (12, 5)),
    "relu": (lambda x: layers.LSTM(8, activation="relu")(x), (12, 5)),
    "cells": (lambda x: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)])(x), (6, 5)),
    "images": (lambda x: layers.Flatten()(layers.ConvLSTM2D(2, 2)(x)), (4, 6, 6, 2)),
    "masked": (lambda x: layers.GRU(4)(layers.Masking()(x)), (8, 5)),
}


@pytest.mark.parametrize("name", UNROLLED)
def test_other_layers_are_unrolled(warm, tmp_path, name):
    outputs_of, shape = UNROLLED[name]
    model, x = saved(tmp_path, outputs_of, shape)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    rows = table(process.stdout)
    assert list(rows)[:4] == WHOLE
    assert rows["float32"]["verdict"] == "verified"
    assert "WHILE" not in operations(tmp_path / "net.int8.tflite")
    loop, whole = (int(rows[v]["bytes"].replace(",", "")) for v in ("float32", "full integer"))
    assert ("WHILE" in operations(tmp_path / "net.tflite")) == (whole > loop)
    (output,) = conftest.run_tflite(tmp_path / "net.tflite", x[:1]).values()
    np.testing.assert_allclose(output, model(x[:1]), atol=1e-5)


LOOPS = {
    "long": (lambda x: layers.GRU(4)(x), (129, 3)),
    "any_length": (lambda x: layers.GRU(4)(x), (None, 3)),
    "mask": (lambda x: layers.LSTM(4)(layers.Masking()(x)), (None, 3)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_stays_a_loop(warm, tmp_path, name):
    outputs_of, shape = LOOPS[name]
    saved(tmp_path, outputs_of, shape, count=2)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "net.keras")
    reason = "crashes on loops (TensorFlow issue 75140): fix the length, and build the recurrent"
    assert f"{reason} layer with unroll=True" in process.stdout


def test_a_layer_that_is_built_without_a_loop(warm, tmp_path):
    """The advice in the message above works for a length that is not unrolled automatically."""
    saved(tmp_path, lambda x: layers.GRU(2, unroll=True)(x), (129, 2), count=2)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert "full integer" in table(process.stdout), process.stdout


def test_a_model_in_memory_stays_as_it_is(tmp_path, monkeypatch):
    """Its layers are not used a second time, and its weights do not change."""
    monkeypatch.chdir(tmp_path)
    model, x = saved(tmp_path, lambda x: layers.Dense(2)(layers.GRU(4)(x)), (6, 3))
    before = [*model.get_weights(), model(x)]
    other = rewriting.rewritten(model)
    np.testing.assert_allclose(other(x[:1]), model(x[:1]), atol=1e-6)
    assert model.layers[1].output is not None  # undefined for layers that are used twice
    for old, new in zip(before, [*model.get_weights(), model(x)], strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_sequential_model_in_memory(tmp_path, monkeypatch):
    """Its copy has other names for the inputs."""
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((6, 3)), layers.LSTM(4)])
    x = RNG.normal(size=(6, 6, 3)).astype("float32")
    assert "full integer" in litecheck.convert(model, "net", samples=x).rows


def test_models_without_such_layers_are_not_copied():
    x = keras.Input((8, 8, 3))
    y = layers.UpSampling2D()(layers.Resizing(4, 4)(layers.Conv2D(2, 3)(x)))
    assert rewriting.rewritten(keras.Model(x, y)) is None


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_sizes_that_vary_are_computed(warm, tmp_path, method):
    def outputs_of(x):
        return layers.Conv2D(2, 3)(layers.UpSampling2D((2, 3), interpolation=method)(x))

    model, x = saved(tmp_path, outputs_of, (None, None, 3), count=8)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "net.keras", WHOLE)
    other = x[:2, :7, :5]
    (output,) = conftest.run_tflite(tmp_path / "net.tflite", other).values()
    np.testing.assert_allclose(output, model(other), atol=1e-5)


@pytest.mark.parametrize(("axis", "keepdims"), [(-1, False), (1, True), (None, False)])
def test_the_largest_component(warm, tmp_path, axis, keepdims):
    def outputs_of(x):
        return keras.ops.argmax(layers.Dense(4)(x), axis=axis, keepdims=keepdims)

    model, x = saved(tmp_path, outputs_of, (5, 6), batch_size=1)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert list(table(process.stdout))[:4] == WHOLE
    (output,) = conftest.run_tflite(tmp_path / "net.tflite", x[:1]).values()
    np.testing.assert_array_equal(output, model(x[:1]))


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_bytes_are_rounded_where_they_are_resized(warm, tmp_path, method):
    """`model(x)` rounds them, but Keras in a graph does not."""
    keras.utils.set_random_seed(5)
    image = keras.Input((12, 12, 3), dtype="uint8")
    y = layers.Rescaling(1 / 255)(layers.Resizing(8, 9, interpolation=method)(image))
    keras.Model(image, layers.Conv2D(2, 3)(y)).save(tmp_path / "net.keras")
    x = RNG.integers(0, 256, (9, 12, 12, 3)).astype("uint8")
    np.save(tmp_path / "net.samples.npy", x)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "net.keras", WHOLE)
    model = keras.models.load_model(tmp_path / "net.keras")
    (output,) = conftest.run_tflite(tmp_path / "net.tflite", x[:1]).values()
    # a tie is rounded up or down, by one grey level
    np.testing.assert_allclose(output, model(x[:1]), atol=1 / 255)


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Return a directory with a model that keeps a state, as an archive and as a SavedModel."""
    import tensorflow as tf

    directory = tmp_path_factory.mktemp("steps")
    keras.utils.set_random_seed(2)
    x = keras.Input(batch_shape=(1, 1, 3))
    y = layers.GRU(4, stateful=True)(layers.LSTM(5, stateful=True, return_sequences=True)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    model.save(directory / "steps.keras")
    function = tf.function(lambda x: {"y": model(x, training=False)}, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((1, 1, 3), name="x"))
    tf.saved_model.save(model, str(directory / "saved"), signatures=concrete)
    values = RNG.normal(size=(30, 1, 3)).astype("float32")
    for name in ("steps", "saved"):
        np.save(directory / f"{name}.samples.npy", values)
    return directory, model, values


@pytest.mark.parametrize("name", ["steps.keras", "saved"])
def test_a_state_is_kept(warm, steps, name):
    directory, model, x = steps
    process = warm("convert", name, cwd=directory)
    assert_converted(process, directory / name)
    assert (
        "the model keeps a state from run to run: runs are compared in their order"
        in process.stdout
    )
    stem = name.removesuffix(".keras")
    runner = litert.Runner(str(directory / f"{stem}.tflite"))
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_states()
    for step in x[:20]:
        (output,) = runner({next(iter(runner.inputs)): step[None]}).values()
        np.testing.assert_allclose(output, model(step[None]), atol=1e-6)
    kept = json.loads((directory / f"{stem}.check.json").read_text())
    assert len(kept["runs"]) == 30
    process = warm("run", f"{stem}.tflite", cwd=directory)
    assert "check: 30 of 30 runs agree" in process.stdout


def test_a_batch_that_the_loops_cannot_take(warm, tmp_path):
    """The loops of a SavedModel keep their variable batch size, so --batch does not help."""
    model, _ = saved(tmp_path, lambda x: layers.GRU(4)(x), (6, 3))
    model.export(tmp_path / "net", verbose=False)
    (tmp_path / "net.keras").rename(tmp_path / "other.keras")
    process = warm("convert", "net", "--batch", 1, cwd=tmp_path)
    assert_clear_error(process, "net is recurrent and was saved with a batch size that varies")
    model.save(tmp_path / "net.keras")
    assert warm("convert", "net.keras", "--batch", 1, cwd=tmp_path).returncode == 0
