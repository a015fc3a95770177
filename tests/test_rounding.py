"""Rounding is measured: sound models of every family pass, and wrong files do not.

One model of each kind runs with the other tests, and `make fuzz` runs all.
"""

import os

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

import litecheck
from litecheck import models, rounding, samples

ALL = float(os.environ.get("FUZZ_SHARE", "0.1")) == 1
RNG = np.random.default_rng(28)


class Formula(layers.Layer):
    """A layer that is one function of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def of(function, *sizes, dtype="float32"):
    """Return a Keras model of one input `x` that computes a function."""
    x = keras.Input(sizes, dtype=dtype, name="x")
    return keras.Model(x, Formula(function)(x))


def stack(*parts, sizes, dtype="float32"):
    """Return a Keras model of a sequence of layers, with random weights from a seed."""
    keras.utils.set_random_seed(28)
    return keras.Sequential([keras.Input(sizes, dtype=dtype, name="x"), *parts])


def normal(*sizes, scale=1.0, offset=0.0):
    return np.float32(offset + scale * np.random.default_rng(len(sizes)).normal(size=sizes))


def trained(model):
    """Return a model with random statistics and weights like those after training."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([np.float32(rng.gamma(2, 0.5, shape)) for shape in shapes])
    return model


def tokens(size, *sizes):
    return np.random.default_rng(size).integers(0, size, sizes).astype("int32")


def attention():
    x = keras.Input((6, 8), name="x")
    y = layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(x, layers.LayerNormalization()(x + y))


def log_mel(x):
    spectrum = tf.abs(tf.signal.rfft(x * tf.signal.hann_window(64)))
    mel = tf.signal.linear_to_mel_weight_matrix(12, 33, 8000, 60.0, 3800.0)
    return tf.math.log(spectrum @ mel + 1e-6)


def standardized(x):
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    return (x - mean) / (tf.sqrt(variance) + 1e-6)


TABLE = normal(500, 6)
WEIGHTS, KERNEL = normal(6, 8), normal(3, 3, 3, 5)
FLAT = np.repeat(normal(20, 1, scale=5), 8, axis=1)  # rows that are constant
WAVES = np.sin(np.arange(64) * np.linspace(0.05, 1.5, 20)[:, None]).astype("float32")
BYTES = RNG.integers(0, 256, (12, 10, 10, 3)).astype("uint8")

# By kind: a function that returns a model and its samples
SOUND = {
    "dense": {
        activation: lambda activation=activation: (
            stack(layers.Dense(9, activation), layers.Dense(3), sizes=(6,)),
            normal(30, 6),
        )
        for activation in [
            "relu",
            "gelu",
            "elu",
            "selu",
            "swish",
            "softplus",
            "mish",
            "tanh",
            "sigmoid",
            "hard_sigmoid",
            "softsign",
            "exponential",
            "log_softmax",
            "celu",
        ]
    }
    | {
        "leaky": lambda: (
            stack(layers.Dense(9), layers.LeakyReLU(), layers.PReLU(), sizes=(6,)),
            normal(30, 6),
        ),
        "softmax": lambda: (stack(layers.Dense(5, "softmax"), sizes=(6,)), normal(30, 6, scale=30)),
        "large": lambda: (
            stack(layers.Dense(9, "relu"), layers.Dense(1), sizes=(6,)),
            normal(30, 6, scale=1e5),
        ),
        "einsum": lambda: (
            stack(layers.EinsumDense("abc,cd->abd", (None, 7)), sizes=(5, 6)),
            normal(20, 5, 6),
        ),
        "float16": lambda: (
            stack(
                layers.Dense(9, "relu", dtype="mixed_float16"),
                layers.Dense(3, dtype="float32"),
                sizes=(6,),
            ),
            normal(30, 6),
        ),
    },
    "image": {
        "convolutions": lambda: (
            stack(
                layers.Conv2D(6, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(4, 3),
                layers.Flatten(),
                layers.Dense(3),
                sizes=(12, 12, 3),
            ),
            normal(12, 12, 12, 3),
        ),
        "depthwise": lambda: (
            stack(
                layers.DepthwiseConv2D(3, strides=2),
                layers.ReLU(6),
                layers.GlobalAveragePooling2D(),
                sizes=(12, 12, 3),
            ),
            normal(12, 12, 12, 3),
        ),
        "separable": lambda: (
            stack(layers.SeparableConv2D(4, 3), layers.GlobalMaxPooling2D(), sizes=(9, 9, 3)),
            normal(12, 9, 9, 3),
        ),
        "transposed": lambda: (
            stack(layers.Conv2DTranspose(2, 3, strides=2, padding="same"), sizes=(5, 5, 3)),
            normal(12, 5, 5, 3),
        ),
        "dilated": lambda: (
            stack(layers.Conv2D(4, 3, dilation_rate=2), sizes=(9, 9, 3)),
            normal(12, 9, 9, 3),
        ),
        "one axis": lambda: (
            stack(layers.Conv1D(5, 3, padding="causal"), layers.AveragePooling1D(2), sizes=(16, 3)),
            normal(12, 16, 3),
        ),
        "three axes": lambda: (
            stack(layers.Conv3D(2, 2), sizes=(4, 4, 4, 2)),
            normal(8, 4, 4, 4, 2),
        ),
        "larger": lambda: (
            stack(
                layers.UpSampling2D(2, interpolation="bilinear"),
                layers.Resizing(7, 9),
                layers.ZeroPadding2D(1),
                layers.Cropping2D(2),
                sizes=(6, 6, 3),
            ),
            normal(12, 6, 6, 3),
        ),
        "a residual network": lambda: (residual(), normal(12, 12, 12, 3)),
        "bytes": lambda: (
            stack(
                layers.Rescaling(1 / 127.5, offset=-1),
                layers.Conv2D(4, 3),
                layers.Flatten(),
                layers.Dense(2),
                sizes=(10, 10, 3),
                dtype="uint8",
            ),
            BYTES,
        ),
    },
    "norm": {
        "batch": lambda: (
            trained(
                stack(
                    layers.Conv2D(5, 3, use_bias=False),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                    layers.Conv2D(5, 3, use_bias=False),
                    layers.BatchNormalization(),
                    sizes=(8, 8, 3),
                )
            ),
            normal(12, 8, 8, 3),
        ),
        "layer": lambda: (stack(layers.LayerNormalization(), sizes=(8,)), normal(20, 8)),
        "layer, of constant rows": lambda: (
            stack(layers.LayerNormalization(), sizes=(8,)),
            np.concatenate([FLAT, normal(20, 8)]),
        ),
        "group, of constant rows": lambda: (
            stack(layers.GroupNormalization(2), sizes=(8,)),
            np.concatenate([FLAT, normal(20, 8)]),
        ),
        "group": lambda: (stack(layers.GroupNormalization(2), sizes=(4, 8)), normal(20, 4, 8)),
        "unit": lambda: (stack(layers.UnitNormalization(), sizes=(8,)), normal(20, 8)),
        "root mean square": lambda: (stack(layers.RMSNormalization(), sizes=(8,)), normal(20, 8)),
        "standardized": lambda: (of(standardized, 8), normal(20, 8, offset=100)),
        "a standardized flat signal": lambda: (
            of(standardized, 8),
            np.concatenate([FLAT[:1], normal(20, 8)]),
        ),
    },
    "sequence": {
        "an LSTM": lambda: (stack(layers.LSTM(5), layers.Dense(2), sizes=(7, 3)), normal(12, 7, 3)),
        "an unrolled LSTM": lambda: (
            stack(layers.LSTM(5, unroll=True), sizes=(4, 3)),
            normal(12, 4, 3),
        ),
        "a GRU, both ways": lambda: (
            stack(layers.Bidirectional(layers.GRU(3, return_sequences=True)), sizes=(5, 3)),
            normal(12, 5, 3),
        ),
        "attention": lambda: (attention(), normal(12, 6, 8)),
        "an embedding": lambda: (
            stack(
                layers.Embedding(500, 6),
                layers.GlobalAveragePooling1D(),
                layers.Dense(2),
                sizes=(9,),
                dtype="int32",
            ),
            tokens(500, 30, 9),
        ),
        "time distributed": lambda: (
            stack(layers.TimeDistributed(layers.Dense(3, "tanh")), sizes=(5, 4)),
            normal(12, 5, 4),
        ),
    },
    "signal": {
        "log-mel": lambda: (of(log_mel, 64), WAVES),
        "log-mel of silence": lambda: (of(log_mel, 64), np.concatenate([WAVES, 0 * WAVES[:4]])),
        "a spectrum": lambda: (of(lambda x: tf.abs(tf.signal.rfft(x)), 64), WAVES),
        "cumulated": lambda: (of(lambda x: tf.cumsum(x, axis=1), 64), WAVES),
        "the mean of a megapixel": lambda: (
            of(lambda x: tf.reduce_mean(x, [1, 2]), 1024, 1024, 1),
            RNG.random((2, 1024, 1024, 1), "float32") * np.float32([1, 3]).reshape(2, 1, 1, 1),
        ),
        "means of bytes": lambda: (
            of(lambda x: tf.reduce_mean(tf.cast(x, "float32"), [1, 2]), 10, 10, 3, dtype="uint8"),
            BYTES,
        ),
    },
    "extreme": {
        "1 - sigmoid": lambda: (of(lambda x: 1 - tf.sigmoid(x), 6), normal(30, 6, scale=8)),
        "tiny probabilities": lambda: (
            of(tf.nn.softmax, 6),
            np.float32(np.linspace([0, -20, -40, -60, -80, -86], np.zeros(6), 30)),
        ),
        "exp": lambda: (of(tf.exp, 1), np.float32(np.linspace(0, 30, 40))[:, None]),
        "log-sum-exp": lambda: (
            of(lambda x: tf.reduce_logsumexp(x, -1), 6),
            normal(30, 6, scale=9),
        ),
        "a price beside a rate": lambda: (
            of(lambda x: tf.concat([tf.sigmoid(x), 1e5 * x * x], -1), 4),
            normal(30, 4),
        ),
        "powers": lambda: (of(lambda x: tf.abs(x) ** 2.5, 6), normal(30, 6, scale=4)),
        "sines of large numbers": lambda: (of(tf.sin, 6), normal(30, 6, scale=60)),
        "a quotient": lambda: (of(lambda x: x[:, :3] / (x[:, 3:] ** 2 + 0.01), 6), normal(30, 6)),
        "a root": lambda: (of(lambda x: tf.sqrt(tf.abs(x)), 6), normal(30, 6)),
    },
    "exact": {
        "argmax": lambda: (
            of(lambda x: tf.argmax(x @ WEIGHTS, -1, "int32"), 6),
            normal(30, 6),
        ),
        "truth values": lambda: (of(lambda x: x @ WEIGHTS > 0.1, 6), normal(30, 6)),
        "rounded": lambda: (
            of(lambda x: tf.cast(tf.floor(10 * x + 0.123), "int32"), 6),
            normal(30, 6),
        ),
        "the largest three": lambda: (of(lambda x: tf.math.top_k(x, 3)[0], 6), normal(30, 6)),
        "frozen constants": lambda: (
            of(lambda x: tf.gather(TABLE, x), 5, dtype="int32"),
            tokens(500, 20, 5),
        ),
        "clipped": lambda: (of(lambda x: tf.clip_by_value(x, -1, 1), 6), normal(30, 6)),
        "counts": lambda: (
            of(lambda x: tf.cast(tf.reduce_sum(tf.cast(x > 0, "float32"), -1), "int32"), 6),
            normal(30, 6),
        ),
        "a vote": lambda: (
            of(
                lambda x: tf.argmax(tf.reduce_sum(tf.one_hot(x, 5), 1), -1, "int32"),
                7,
                dtype="int32",
            ),
            tokens(5, 30, 7),
        ),
        "eighths": lambda: (
            of(lambda x: tf.floor(tf.cumsum(tf.round(8 * x) / 8, 1)), 6),
            normal(30, 6),
        ),
        "places": lambda: (
            of(lambda x: tf.floor(tf.linspace(0.0, 9.0, 10)) + 0 * x[:, :1], 6),
            normal(30, 6),
        ),
        "without numbers": lambda: (of(lambda x: x[:, 6:], 6), normal(30, 6)),
        "a branch": lambda: (
            of(lambda x: tf.where(tf.reduce_sum(x) > 0, x * 2, x / 3), 6),
            normal(30, 6),
        ),
    },
}


def residual():
    keras.utils.set_random_seed(3)
    x = keras.Input((12, 12, 3), name="x")
    y = layers.Conv2D(6, 3, padding="same")(x)
    for _ in range(3):
        z = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(y))
        y = layers.ReLU()(y + z)
    return trained(keras.Model(x, layers.Dense(4, "softmax")(layers.GlobalAveragePooling2D()(y))))


CASES = [
    pytest.param(make, id=f"{kind}: {name}")
    for kind, group in SOUND.items()
    for make, name in [(make, name) for name, make in group.items()][: None if ALL else 1]
]


def checked(tmp_path, model, given, wrong=None):
    """Return the `Check` of a model with its float32 file, or with that of a wrong model."""
    check = litecheck.Check(model, given)
    other = models.load(wrong, str(tmp_path / "wrong")) if wrong else check.model
    converter = tf.lite.TFLiteConverter.from_saved_model(other.source.directory)
    check.add("float32", converter.convert(), str(tmp_path / "m.tflite"))
    return check


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("make", CASES)
def test_a_sound_model_of_any_family_is_verified(tmp_path, make):
    check = checked(tmp_path, *make())
    assert check.rows["float32"].verdict == "verified"


def yolo(x, scores):
    """Return a head of (4 + classes, anchors): coordinates up to 640, and scores."""
    places = 640 * tf.sigmoid(tf.stack([x, x + 1, x - 1, -x], 1))
    return tf.concat([places, scores(x)[:, None]], 1)


def with_border(x, border):
    """Return images whose first column has small numbers next to large ones."""
    image = 1e4 * x
    return tf.concat([border(image[:, :, :1] * 1e-5), image[:, :, 1:]], 2)


FORECAST = np.float32(np.geomspace(1e-3, 1e3, 12))
MANY_SMALL = np.where(np.arange(60) % 8, 1000.0, 1e-3)[:, None] * normal(60, 4)
FAR = np.float32(np.linspace(0, 1, 40))[:, None]
CALIBRATED = np.float32(np.linspace(-4, 4, 60))[:, None]

# What the model computes, what the file computes, and samples
WRONG = {
    "a border column": (
        lambda x: with_border(x, tf.identity),
        lambda x: with_border(x, tf.zeros_like),
        normal(8, 6, 6, 1),
    ),
    "the first hours of a forecast": (
        lambda x: x * FORECAST,
        lambda x: x * tf.where(FORECAST < 0.01, 1.1, 1.0) * FORECAST,
        normal(20, 12),
    ),
    "scores beside coordinates": (
        lambda x: yolo(x, tf.sigmoid),
        lambda x: yolo(x, lambda x: tf.sigmoid(x) * 0 + 0.5),
        normal(20, 30),
    ),
    "an eighth of the samples, much smaller": (
        lambda x: x * 3,
        lambda x: tf.where(tf.abs(x) < 0.1, x * 2, x * 3),
        MANY_SMALL,
    ),
    "all but the largest exponentials": (
        tf.exp,
        lambda x: tf.where(x < 18, 0.0, tf.exp(x)),
        np.float32(np.linspace(0, 30, 40))[:, None],
    ),
    "float16 weights": (
        lambda x: tf.tanh(x @ WEIGHTS),
        lambda x: tf.tanh(x @ np.float32(np.float16(WEIGHTS))),
        normal(30, 6),
    ),
    "tanh in place of erf in gelu": (
        lambda x: tf.nn.gelu(x, approximate=False),
        lambda x: tf.nn.gelu(x, approximate=True),
        CALIBRATED,
    ),
    "another epsilon": (
        lambda x: x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-3),
        lambda x: x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-5),
        normal(30, 6),
    ),
    "another place of the corners": (
        lambda x: tf.compat.v1.image.resize_bilinear(x, (9, 9), align_corners=True),
        lambda x: tf.compat.v1.image.resize_bilinear(x, (9, 9), half_pixel_centers=True),
        normal(8, 5, 5, 1),
    ),
    "another length of integers": (
        lambda x: tf.argmax(x, -1, "int32"),
        lambda x: tf.argmax(x, -1, "int64"),
        normal(30, 6),
    ),
    "no class of a tie": (
        lambda x: tf.argmax(tf.concat([x[:, :1], x[:, :1] - 9, x[:, :1]], -1), -1, "int32"),
        lambda x: tf.argmax(tf.concat([x[:, :1] - 9, x[:, :1], x[:, :1] - 9], -1), -1, "int32"),
        normal(30, 6),
    ),
    "a minority of small numbers": (
        lambda x: tf.concat([tf.exp(x), tf.exp(x - 1)], 1),
        lambda x: tf.where(x < 3, 0.0, tf.concat([tf.exp(x), tf.exp(x - 1)], 1)),
        np.float32([*np.linspace(15, 18, 60), *np.linspace(-1, 2.5, 25)])[:, None],
    ),
    "a minority of small numbers, alone": (
        lambda x: tf.exp(x[:, 0]),
        lambda x: tf.where(x[:, 0] < 3, 0.0, tf.exp(x[:, 0])),
        np.float32([*np.linspace(15, 18, 60), *np.linspace(-1, 2.5, 25)])[:, None],
    ),
    "a remainder that is never 0": (
        lambda x: tf.math.floormod(x, 12.0),
        lambda x: tf.math.floormod(x - 0.5, 12.0) + 0.5,
        np.arange(1, 200, dtype="float32")[:, None],
    ),
    "one day less at the end of each": (
        lambda x: tf.floor(x / 24),
        lambda x: tf.math.ceil(x / 24) - 1,
        np.arange(1, 300, dtype="float32")[:, None],
    ),
    "a seldom match of whole numbers": (
        lambda x: tf.equal(tf.reduce_sum(x, 1), 5.0),
        lambda x: tf.reduce_sum(x, 1) > 5.0,
        np.float32(np.arange(200)[:, None] % [2, 3, 5, 7, 199] == 0),
    ),
    "halves rounded the other way": (
        lambda x: tf.floor(tf.reduce_sum(x, 1) * 0.5),
        lambda x: tf.math.ceil(tf.reduce_sum(x, 1) * 0.5),
        np.float32(RNG.integers(0, 200, (60, 2))),
    ),
    "relu for leaky relu, on random inputs": (tf.nn.leaky_relu, tf.nn.relu, None),
    "clipped at 1, on random inputs": (
        lambda x: x * 1.5,
        lambda x: tf.minimum(x, 1) * 1.5,
        None,
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused(tmp_path, case):
    right, wrong, given = WRONG[case]
    sizes = (6,) if given is None else given.shape[1:]
    with pytest.raises(litecheck.Failure, match="was not written: .*output output_0"):
        checked(tmp_path, of(right, *sizes), given, wrong=of(wrong, *sizes))
    assert not (tmp_path / "m.tflite").exists()


def test_what_was_folded_otherwise_is_not_refused(tmp_path):
    """Adding 1000 and then -1000 loses all of x. Adding their sum does not."""
    model = stack(layers.Rescaling(1, offset=1000), layers.Rescaling(1, offset=-1000), sizes=(4,))
    check = checked(tmp_path, model, normal(30, 4, scale=1e-6))
    assert check.rows["float32"].verdict in ("verified", "cannot be judged")


def test_a_file_of_other_inputs_is_refused_in_a_sentence(tmp_path):
    right, x = of(tf.sin, 3), keras.Input((3,), name="z")
    wrong = keras.Model(x, Formula(tf.sin)(x))
    with pytest.raises(litecheck.Failure, match="its inputs are z, not x"):
        checked(tmp_path, right, normal(20, 3), wrong=wrong)


@pytest.mark.parametrize("offset", [1e6, 5e6])
def test_numbers_far_from_zero_cannot_be_judged(tmp_path, capsys, offset):
    """As for UTM metres or pascals, a slope that is 9% off changes only the last places."""
    for wrong in [lambda x: 1.09 * x + offset, lambda x: 0 * x + offset]:
        check = checked(tmp_path, of(lambda x: x + offset, 1), FAR, wrong=of(wrong, 1))
        assert check.rows["float32"].verdict == "cannot be judged"
        assert "it hardly varies over these samples. Give samples" in capsys.readouterr().out
    varied = checked(tmp_path, of(lambda x: x + offset, 1), FAR * np.float32(offset))
    assert varied.rows["float32"].verdict == "verified"  # the advice works


@pytest.mark.parametrize("size", [7, 3000])
def test_random_indices_reach_the_whole_table(tmp_path, size):
    """Indices for an `Embedding` cover its whole size, so an error in a late row is found."""
    vectors = normal(size, 4)
    late = vectors.copy()
    late[size // 2 :] += 1

    def look_up(table):
        return of(lambda x: tf.gather(table, x), 5, dtype="int32")

    with pytest.raises(litecheck.Failure, match="was not written"):
        checked(tmp_path, look_up(vectors), None, wrong=look_up(late))


def test_random_inputs_are_positive_where_the_model_takes_no_others(tmp_path, capsys):
    check = checked(tmp_path, of(lambda x: tf.math.log(x + 0.01), 3), None)
    assert check.rows["float32"].verdict == "verified"
    assert "verified on random inputs" in capsys.readouterr().out


class Counting(tf.Module):
    """A signature that counts its calls and adds their number."""

    def __init__(self):
        super().__init__()
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([1, 3], name="x")])
    def serve(self, x):
        return {"y": tf.sqrt(x * x + 1) + self.count.assign_add(1.0)}


def source(tmp_path, function_or_module):
    """Return the `Source` of a function of x, (None, 3), or of a module with `serve`."""
    module = function_or_module
    if not isinstance(module, tf.Module):
        module = tf.Module()
        spec = tf.TensorSpec([None, 3], name="x")
        module.serve = tf.function(
            lambda x: {"y": function_or_module(x)}, input_signature=[spec], autograph=False
        )
    path = str(tmp_path / "saved")
    tf.saved_model.save(module, path, signatures=module.serve)
    return models.load(path, str(tmp_path / "named")).source


def given_runs(count=6):
    runs = [{"x": np.full((1, 3), 1 + index / 7, "float32")} for index in range(count)]
    return samples.Samples("x.npy", count, runs, [[index] for index in range(count)])


def measured(given, source, trials=range(4), together=1):
    runs = range(len(given.runs))
    return rounding.changes(source, given, runs, trials, together)


def test_a_state_begins_anew_in_each_trial(tmp_path):
    found = measured(given_runs(), source(tmp_path, Counting()))
    for index, run in found.items():
        x = 1 + index / 7
        assert run["y"].clean == pytest.approx(np.sqrt(x * x + 1) + index + 1, rel=1e-6)
        assert 0 < run["y"].change.max() < 1e-4


@pytest.mark.parametrize(
    ("function", "least", "most"),
    [
        (lambda x: tf.transpose(tf.maximum(-x, x)), 0, 0),
        (lambda x: x + 2.3, 1e-7, 1e-5),
        (lambda x: (x + 1000.3) - 1000.3, 1e-5, 1e-2),
        (lambda x: tf.ones_like(x) + 2, 0, 0),  # integers
        (lambda x: tf.exp(x * 10), 1e-3, 1e3),
    ],
    ids=["moved", "added", "cancelled", "whole", "exp"],
)
def test_noise_is_behind_what_rounds(tmp_path, function, least, most):
    for run in measured(given_runs(), source(tmp_path, function)).values():
        assert (least <= run["y"].change).all()
        assert (run["y"].change <= most).all()


@pytest.mark.parametrize(
    ("function", "terms"),
    [
        (lambda x: tf.reduce_sum(tf.repeat(x, 900, 1), 1), 2700),
        (lambda x: x @ tf.ones((3, 5)), 3),
        (lambda x: tf.repeat(x, 900, 1) @ tf.ones((2700, 5)), 2700),
        (lambda x: tf.cumsum(tf.repeat(x, 900, 1), 1)[:, -1:], 2700),
        (lambda x: tf.einsum("ab,bc->ac", tf.repeat(x, 900, 1), tf.ones((2700, 5))), 2700),
        (
            lambda x: tf.nn.conv1d(
                tf.repeat(x, 40, 1)[..., None], tf.ones((100, 1, 5)), 1, "VALID"
            ),
            100,
        ),
        (lambda x: tf.signal.rfft(tf.repeat(x, 900, 1))[:, :1], 2700),
    ],
    ids=["sum", "few", "product", "cumulated", "einsum", "convolution", "spectrum"],
)
def test_the_noise_of_a_sum_grows_with_the_root_of_its_terms(tmp_path, function, terms):
    """For K equal terms it is 1 + √K / 2. The mean of the largest of four draws is 1.5."""
    made = source(tmp_path, function)
    found = [run["y"] for run in measured(given_runs(40), made).values()]
    shares = [each.change.max() / np.abs(each.clean).max() for each in found]
    typical = 5 * 2**-24 * (1 + 0.5 * np.sqrt(terms))
    assert 0.7 * typical < np.median(shares) < 2.5 * typical


def test_a_sum_that_cancels_is_moved_by_its_terms(tmp_path):
    """Terms of 10,000 cancel to 0.7. The last places of the terms count, not those of 0.7."""
    weights = np.float32([[1e4], [-1e4], [0.7]])
    found = measured(given_runs(), source(tmp_path, lambda x: x @ weights))
    assert all(1e-4 < run["y"].change.max() < 1e-1 for run in found.values())


def test_functions_that_others_compute_as_differences_are_moved_near_zero(tmp_path):
    """Some runtimes compute expm1(x) as exp(x) - 1, which rounds like 1."""

    def function(x):
        return tf.concat([tf.math.expm1(1e-6 * x), tf.sqrt(1e-12 * x)], 1)

    for run in measured(given_runs(), source(tmp_path, function)).values():
        assert 1e-8 < run["y"].change[0, :3].max() < 1e-5
        assert run["y"].change[0, 3:].max() < 1e-11


def test_a_function_is_moved_as_its_input_is(tmp_path):
    """The logarithm of 1 is 0. There the last place of the input counts."""
    found = measured(given_runs(1), source(tmp_path, tf.math.log))
    assert found[0]["y"].clean == pytest.approx(0)
    assert 1e-8 < found[0]["y"].change.max() < 1e-5


@pytest.mark.parametrize("function", [lambda x: tf.math.log(x - x), tf.acos], ids=["log", "acos"])
def test_noise_makes_no_nan(tmp_path, function):
    """Neither for infinity nor at the edge of a function's domain, such as acos(1)."""
    found = measured(given_runs(1), source(tmp_path, function))
    assert not any(run["y"].doubtful.any() for run in found.values())


def test_two_measurements_are_the_same(tmp_path):
    made = source(tmp_path, lambda x: tf.nn.softmax(tf.sin(x) @ WEIGHTS[:3]))
    one, two = measured(given_runs(), made), measured(given_runs(), made)
    for index, run in one.items():
        np.testing.assert_array_equal(run["y"].change, two[index]["y"].change)
    other = measured(given_runs(), made, trials=range(4, 8))
    assert any((run["y"].change != other[index]["y"].change).any() for index, run in one.items())


@pytest.mark.parametrize("together", [1, 32])
def test_loops_branches_and_calls_are_repeated(tmp_path, together):
    @tf.function
    def inner(x):
        return tf.sin(x)

    def function(x):
        for _ in tf.range(3):
            x = inner(x) * 1.5
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 3, lambda: x)

    wrapped = tf.autograph.to_graph(function)
    found = measured(given_runs(), source(tmp_path, wrapped), together=together)
    for index, run in found.items():
        x = np.full((1, 3), 1 + index / 7)
        for _ in range(3):
            x = np.sin(x) * 1.5
        np.testing.assert_allclose(run["y"].clean, 3 * x, rtol=1e-5)
        assert 0 < run["y"].change.max() < 1e-4


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.squeeze(x[:, None, None], [1, 2]),
        lambda x: tf.stack(tf.split(x, 3, 1), 0),
        lambda x: tf.concat(tf.split(x, [1, 2], 1), 1)[..., None],
        lambda x: tf.reduce_max(tf.expand_dims(x, 1), 2, keepdims=True),
        lambda x: tf.compat.v1.where(x > 1, x, -x),
        lambda x: tf.cast(tf.reduce_any(x > 1, 1), "float32"),
        lambda x: tf.image.resize(x[:, None, :, None], (2, 6))[..., 0],
        lambda x: tf.nn.conv1d(x[..., None], tf.ones((2, 1, 4)), 1, "SAME", dilations=1),
        lambda x: tf.math.top_k(x, 2)[0],
        lambda x: tf.matmul(x, x, transpose_a=True)[None],
        lambda x: tf.gather(x, [2, 0], axis=1, batch_dims=0),
    ],
    ids=[
        "squeeze",
        "split",
        "splitv",
        "axis",
        "select",
        "any",
        "resize",
        "conv1d",
        "top",
        "matmul",
        "gather",
    ],
)
def test_operations_are_repeated_with_all_that_they_take(tmp_path, function):
    """Includes arguments that `tf.raw_ops` names differently than a graph, and single samples."""
    for index, run in measured(given_runs(2), source(tmp_path, function)).items():
        x = tf.fill((1, 3), 1 + index / 7)
        true = function(x).numpy()
        assert run["y"].clean.shape == true.shape
        np.testing.assert_allclose(run["y"].clean, true, rtol=1e-6)


def test_runs_that_cannot_be_joined_are_measured_one_by_one(tmp_path):
    """A mask changes the number of rows, so rows cannot be assigned to samples."""
    found = measured(
        given_runs(9),
        source(tmp_path, lambda x: tf.sin(tf.boolean_mask(x, x[:, 0] > 1.5))),
        together=32,
    )
    assert [len(run["y"].clean) for run in found.values()] == [0] * 4 + [1] * 5
    assert all(run["y"].change.min(initial=1) > 0 for run in found.values())


def test_after_the_time_no_more_runs_are_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(rounding, "SECONDS", 0.0)
    found = measured(given_runs(20), source(tmp_path, tf.sin))
    assert list(found) == list(range(10))


def test_the_worst_runs_are_measured_first(tmp_path, monkeypatch):
    """If time is short, a wrong number among the last samples is still found."""
    monkeypatch.setattr(rounding, "SECONDS", 0.0)
    numbers = np.float32(np.geomspace(1e6, 1e-2, 300))[:, None]

    def wrong(x):
        return tf.where(x < 0.02, 0.0, tf.sin(x) + x)

    with pytest.raises(litecheck.Failure, match="was not written"):
        checked(tmp_path, of(lambda x: tf.sin(x) + x, 1), numbers, wrong=of(wrong, 1))


def test_ties_get_trials_until_a_coin_has_fallen_on_both_sides(tmp_path):
    """On average, four trials would miss one side of four of the sixty ties."""

    def classes(x):
        y = tf.sin(x[:, :1]) * [1.0, 1.0]
        return tf.argmax(y * tf.exp(y * 0), -1, "int32")

    found = measured(given_runs(60), source(tmp_path, classes), together=32)
    sides = [{int(trial[0]) for trial in run["y"].trials} for run in found.values()]
    assert all(len(run["y"].trials) in (4, 8) for run in found.values())
    assert sum(side == {0, 1} for side in sides) > 55


def test_a_model_that_cannot_be_repeated_is_not_refused(tmp_path, monkeypatch, capsys):
    """A trial's error is printed. The file is within a few last places, or cannot be judged."""

    def fails(*_):
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(rounding, "_repeat", fails)
    check = checked(
        tmp_path, of(lambda x: tf.reduce_sum(tf.exp(x) @ WEIGHTS, -1), 6), normal(30, 6)
    )
    row = check.rows["float32"]
    assert not row.clear
    out = capsys.readouterr().out
    if row.verdict != "verified":
        assert "rounding could not be measured: no such operation" in out
    near = checked(tmp_path, of(lambda x: x + 1, 6), normal(30, 6)).rows["float32"]
    assert (near.verdict, near.clear) == ("verified", False)


def test_numbers_that_are_near_need_no_measuring(tmp_path, monkeypatch):
    wanted = []

    def changes(source, given, runs, trials, together):
        wanted.append(list(runs))
        return original(source, given, runs, trials, together)

    original = rounding.changes
    monkeypatch.setattr(rounding, "changes", changes)
    model = of(lambda x: tf.where(x > 100, tf.exp(tf.sin(x)), x), 1)
    numbers = np.arange(300, dtype="float32")[:, None] - 150
    check = checked(tmp_path, model, numbers)
    assert check.rows["float32"].verdict == "verified"
    assert len(wanted[0]) < 200
