"""Archives of Keras 2 compute what Keras 2 computes, or are refused with a way out.

The models are built, saved and run with `tf_keras`, which is Keras 2.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, assert_clear_error, assert_converted, run_tflite, table

from litecheck import archives, keras2, script

tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 is missing: run make test")
layers = tf_keras.layers

RNG = np.random.default_rng(7)


def model_of(function, *shapes, dtype="float32"):
    """Return a Keras 2 model of a function of inputs, whose weights reach all cases."""
    inputs = [tf_keras.Input(shape, dtype=dtype) for shape in shapes]
    model = tf_keras.Model(inputs, function(*inputs))
    weights = [RNG.normal(size=weight.shape) for weight in model.get_weights()]
    for index, weight in enumerate(model.weights):
        if "variance" in weight.name:
            weights[index] = 0.5 + RNG.random(weight.shape)
    model.set_weights(weights)
    return model


def masked(function):
    """Return a function of inputs (6, 3) that masks zeros."""
    return lambda x: layers.GlobalAveragePooling1D()(function(layers.Masking()(x)))


def sequential(*parts):
    """Return a function with a nested model between other layers."""
    return lambda x: layers.Dense(2)(tf_keras.Sequential(list(parts))(layers.Dense(3)(x)))


STEPS = [(6, 3)]
MODELS = {
    "dense": (lambda x: layers.Dense(4, "hard_sigmoid")(x), [(3,)]),
    "activation": (lambda x: layers.Activation("hard_sigmoid")(x), [(3,)]),
    "leaky": (lambda x: layers.LeakyReLU(alpha=0.2)(layers.Dense(4, "gelu")(x)), [(3,)]),
    "norm": (lambda x: layers.BatchNormalization(epsilon=0.1)(layers.Dense(4)(x)), [(3,)]),
    "layer_norm": (
        lambda x: layers.LayerNormalization([1, 2], center=False, scale=False)(x),
        STEPS,
    ),
    "softmax": (lambda x: layers.Softmax(axis=[1, 2])(x), STEPS),
    "lstm": (lambda x: layers.LSTM(4, recurrent_activation="hard_sigmoid")(x), STEPS),
    "gru": (lambda x: layers.GRU(4, reset_after=False)(x), STEPS),
    "gru_after": (lambda x: layers.GRU(4, recurrent_activation="hard_sigmoid")(x), STEPS),
    "simple": (lambda x: layers.SimpleRNN(4, go_backwards=True)(x), STEPS),
    "both_ways": (
        lambda x: layers.Bidirectional(layers.LSTM(3, recurrent_activation="hard_sigmoid"))(x),
        STEPS,
    ),
    "cells": (lambda x: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)])(x), STEPS),
    "conv_lstm": (lambda x: layers.ConvLSTM2D(2, 2)(x), [(3, 5, 5, 1)]),
    "time": (lambda x: layers.TimeDistributed(layers.BatchNormalization())(x), STEPS),
    "depthwise": (lambda x: layers.DepthwiseConv2D(2)(x), [(5, 5, 2)]),
    "transposed": (lambda x: layers.Conv2DTranspose(3, 2, 2)(x), [(5, 5, 2)]),
    "separable": (lambda x: layers.SeparableConv2D(3, 2)(x), [(5, 5, 2)]),
    "attention": (lambda x: layers.Attention()([x, x]), STEPS),
    "heads": (lambda x: layers.MultiHeadAttention(2, 3)(x, layers.Dense(3)(x)), STEPS),
    "state": (lambda x: layers.GRU(3)(x, initial_state=layers.GRU(3)(x)), STEPS),
    "states": (
        lambda x: layers.LSTM(3)(x, initial_state=[layers.GRU(3)(x), layers.GRU(3)(x)]),
        STEPS,
    ),
    "nested": (sequential(layers.Dense(4, "relu"), layers.Dense(3)), [(3,)]),
    "add_masks": (masked(lambda x: layers.Add()([x, layers.Masking(0.5)(x)])), STEPS),
    "one_mask": (lambda x: masked(lambda y: layers.Multiply()([x, y]))(x), STEPS),
    "concatenate": (masked(lambda x: layers.Concatenate()([x, layers.Masking(0.5)(x)])), STEPS),
    "identity": (masked(lambda x: layers.Identity()(x)), STEPS),
    "rescaling": (masked(lambda x: layers.Rescaling(2.0, 1.0)(x)), STEPS),
    "spatial": (lambda x: layers.SpatialDropout1D(0.5)(layers.Conv1D(3, 2)(x)), STEPS),
    "flip": (lambda x: layers.RandomFlip()(layers.Conv2D(3, 2)(x)), [(5, 5, 2)]),
}


def given(shape, count=20):
    """Return samples in which some steps are 0 and some 0.5, so that they are masked."""
    x = (3 * RNG.normal(size=(count, *shape))).astype("float32")
    if len(shape) == 2:
        x[:, -1] = 0
        x[::2, -2] = 0
        x[::3, 1] = 0.5
    return x


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_keras_2_computes(tmp_path, name, suffix, capsys):
    function, shapes = MODELS[name]
    model = model_of(function, *shapes)
    x = [given(shape) for shape in shapes]
    expected = model.predict(x, verbose=0)
    path = tmp_path / f"old.{suffix}"
    model.save(path)
    loaded = archives.load(str(path))
    assert "saved by Keras 2.21.0: computed as Keras 2 does" in capsys.readouterr().out
    np.testing.assert_allclose(loaded(x[0], training=False), expected, rtol=1e-4, atol=1e-5)


def test_bytes_are_resized_to_reals(tmp_path):
    model = model_of(lambda x: layers.Resizing(3, 4)(x), (5, 5, 1), dtype="uint8")
    x = RNG.integers(0, 256, (9, 5, 5, 1)).astype("uint8")
    model.save(tmp_path / "old.h5")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(archives.load(str(tmp_path / "old.h5"))(x), expected, rtol=1e-5)


def as_of_old(path, change, version=b"2.2.4"):
    """Rewrite the configuration in an HDF5 archive as an older Keras would have written it."""

    def bare(part):
        if isinstance(part, dict):
            dropped = ("module", "registered_name", "build_config")
            return {key: bare(value) for key, value in part.items() if key not in dropped}
        return [bare(each) for each in part] if isinstance(part, list) else part

    with h5py.File(path, "r+") as file:
        config = bare(json.loads(file.attrs["model_config"]))
        change(config)
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version
        else:
            del file.attrs["keras_version"]


def layers_of(config):
    """Return the configurations of a model's layers."""
    return config["config"]["layers"]


def without_input(config):
    """Move the input's shape to the first layer, as in a Sequential model of Keras 2."""
    first = layers_of(config).pop(0)["config"]
    layers_of(config)[0]["config"]["batch_input_shape"] = first["batch_input_shape"]


def as_list(config):
    """Turn the configuration into a list, as before Keras 2.2."""
    without_input(config)
    config["config"] = layers_of(config)


def without(*keys):
    """Return a function that removes keywords from all layers."""

    def change(config):
        for layer in layers_of(config):
            for key in keys:
                layer["config"].pop(key, None)

    return change


def hard(kind, **keywords):
    """Return a recurrent layer with hard_sigmoid, the former default."""
    return lambda: getattr(layers, kind)(4, recurrent_activation="hard_sigmoid", **keywords)


OLD = {
    "list": (as_list, lambda: layers.Dense(4, "hard_sigmoid"), (3,)),
    "input": (without_input, lambda: layers.Conv2D(4, 2), (5, 5, 2)),
    "lstm": (without("recurrent_activation", "time_major"), hard("LSTM"), (6, 3)),
    "gru": (
        without("recurrent_activation", "reset_after", "time_major"),
        hard("GRU", reset_after=False),
        (6, 3),
    ),
    "no_version": (without("time_major", "dtype"), hard("LSTM"), (6, 3)),
}


@pytest.mark.parametrize("name", OLD)
def test_files_of_older_versions(tmp_path, name):
    change, layer, shape = OLD[name]
    model = tf_keras.Sequential([tf_keras.Input(shape), layer(), layers.Flatten()])
    model.set_weights([RNG.normal(size=weight.shape) for weight in model.get_weights()])
    x = given(shape)
    expected = model.predict(x, verbose=0)
    path = tmp_path / "old.h5"
    model.save(path)
    as_of_old(path, change, version=None if name == "no_version" else b"2.2.4")
    np.testing.assert_allclose(archives.load(str(path))(x), expected, rtol=1e-4, atol=1e-5)


def test_keras_3_is_not_translated(tmp_path):
    """Keras 3 keeps its own hard_sigmoid, in both formats."""
    import keras

    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Activation("hard_sigmoid")(x))
    values = RNG.normal(size=(9, 3)).astype("float32")
    for name in ("new.keras", "new.h5"):
        model.save(tmp_path / name)
        assert not keras2.is_old(keras2.version(str(tmp_path / name)))
        loaded = archives.load(str(tmp_path / name))
        np.testing.assert_allclose(loaded(values), np.clip(values / 6 + 0.5, 0, 1), atol=1e-6)


def test_an_old_recurrent_archive_is_converted(warm, tmp_path):
    """Once, its messages led from .h5 to a SavedModel, to .keras, and to an error."""
    model = model_of(MODELS["lstm"][0], *STEPS)
    model.save(tmp_path / "old.h5")
    x = given((6, 3))
    np.save(tmp_path / "old.samples.npy", x)
    process = warm("convert", "old.h5", cwd=tmp_path)
    variants = ["float32", "float16", "dynamic range", "full integer"]
    assert "saved by Keras 2.21.0: computed as Keras 2 does\n" in process.stdout
    rows = table(process.stdout)
    assert list(rows)[:4] == variants
    assert rows["float32"]["verdict"] == "verified"
    for index in (0, 7):
        (output,) = run_tflite(tmp_path / "old.tflite", x[index : index + 1]).values()
        expected = model.predict(x[index : index + 1], verbose=0)
        np.testing.assert_allclose(output, expected, atol=1e-5)


REFUSED = {
    "training": (
        lambda x: layers.BatchNormalization()(layers.Dense(4)(x), training=True),
        [(3,)],
        "would not call its layer batch_normalization",
    ),
    "operations": (lambda x: tf.nn.relu(x) * 2, [(3,)], "has no layer TFOpLambda"),
    "threshold": (lambda x: layers.ThresholdedReLU()(x), [(3,)], "has no layer ThresholdedReLU"),
    "local": (lambda x: layers.LocallyConnected1D(2, 2)(x), STEPS, "LocallyConnected1D"),
    "time_major": (lambda x: layers.LSTM(3, time_major=True)(x), STEPS, "time_major"),
    "state": (
        lambda x: layers.GRU(3)(x, initial_state=layers.Dense(3)(x[:, 0])),
        STEPS,
        "has no layer SlicingOpLambda",
    ),
    "mask": (
        lambda x: layers.Softmax()(x, mask=layers.Activation("relu")(x) > 1),
        STEPS,
        "has no layer TFOpLambda",
    ),
    "crop": (lambda x: layers.RandomCrop(3, 3)(x), [(5, 5, 1)], "crops in training only"),
    "heads": (
        masked(lambda x: layers.MultiHeadAttention(2, 3)(x, x)),
        STEPS,
        "where a mask of its layer multi_head_attention",
    ),
    "axes": (lambda x: layers.BatchNormalization(axis=[1, 2])(x), STEPS, "cannot be loaded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_3_would_compute_otherwise_is_refused(tmp_path, name):
    function, shapes, words = REFUSED[name]
    model_of(function, *shapes).save(tmp_path / "old.h5")
    with pytest.raises(script.Failure, match=words) as failure:
        archives.load(str(tmp_path / "old.h5"))
    assert "Keras 2 can: pip install tf_keras && python -c" in str(failure.value)
    assert len(str(failure.value).splitlines()) == 2


def by_keras_2(directory, message):
    """Run the command in a message that saves a SavedModel with Keras 2. Return the next one."""
    code, converts = re.search("python -c (.*) && python -m litecheck (.*)", message).groups()
    (code,) = shlex.split(code)
    subprocess.run(
        [sys.executable, "-c", code], cwd=directory, check=True, capture_output=True, timeout=120
    )
    return shlex.split(converts)


@pytest.mark.parametrize("name", ["operations", "state", "training"])
def test_the_way_out_by_keras_2(warm, tmp_path, name):
    function, shapes, _ = REFUSED[name]
    model = model_of(function, *shapes)
    model.save(tmp_path / "my old.h5")
    process = warm("convert", "my old.h5", cwd=tmp_path)
    assert_clear_error(process, "Keras 2 can")
    process = warm(*by_keras_2(tmp_path, process.stderr), cwd=tmp_path)
    assert_converted(process, tmp_path / "my old")
    (x,) = (given(shape)[:1] for shape in shapes)
    (output,) = run_tflite(tmp_path / "my old.tflite", x).values()
    np.testing.assert_allclose(output, model(x, training=False), rtol=1e-4, atol=1e-4)


def test_a_damaged_archive_of_keras_2(tmp_path):
    model_of(MODELS["dense"][0], (3,)).save(tmp_path / "old.keras")
    with zipfile.ZipFile(tmp_path / "old.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as new:
        for name, content in members.items():
            new.writestr(name, content[: len(content) // 2])
    with pytest.raises(script.Failure, match=r"old\.keras cannot be loaded"):
        archives.load(str(tmp_path / "old.keras"))


def test_the_files_of_an_older_test(tmp_path):
    shutil.copy(REPOSITORY / "tests/keras2/time_major.h5", tmp_path)
    assert archives.load(str(tmp_path / "time_major.h5")).inputs[0].shape == (None, 4, 3)
