"""The check refuses the files of a wrong converter, and no sound model."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    SUFFIXES,
    OnlyFloat32,
    WrongConverter,
    answers,
    assert_clear_error,
    converted,
    record_of,
    run_tflite,
    unpacked,
)
from tensorflow import keras

KEY = "serving_default"
RNG = np.random.default_rng(16)
SIXTY = np.arange(60, dtype="float32")[:, None]
FILES = {variant: f"m{suffix}" for variant, suffix in SUFFIXES.items()}


class Plain(tf.Module):
    """A module with one function of `x` and its weights. Its output is `answer`."""

    def __init__(self, function, shape, dtype="float32", **weights):
        super().__init__()
        self.weights = {name: tf.Variable(weight) for name, weight in weights.items()}
        spec = tf.TensorSpec(shape, dtype, name="x")
        self.f = tf.function(
            lambda x: {"answer": function(x, **self.weights)}, input_signature=[spec]
        )

    def save(self, path):
        tf.saved_model.save(self, str(path), signatures={KEY: self.f})
        return path


def prepare(directory, samples, function, *, wrong=None, batch=None, variant="float32", **weights):
    """Save the model `m` and its samples. Return a `prepare` that makes the converter wrong.

    Args:
        directory: where to save.
        samples: an array, samples first.
        function: computes the model's output from `x` and its weights.
        wrong: what the file computes: a function, a dict of other weights, or None if it is right.
        batch: the number of samples in a run, None if it varies.
        variant: the variant for which the converter is wrong.
        **weights: the initial values of the weights.
    """
    samples = np.asarray(samples)
    shape = (batch, *samples.shape[1:])
    Plain(function, shape, samples.dtype, **weights).save(directory / "m")
    np.save(directory / "m.samples.npy", samples)
    if wrong is None:
        return None
    if isinstance(wrong, dict):
        other = Plain(function, shape, samples.dtype, **weights | wrong)
    else:
        other = Plain(wrong, shape, samples.dtype, **weights)
    directory.joinpath("other").write_bytes(converted(other))
    return WrongConverter(directory / "other", variant)


def convert(warm, directory, model="m", prepare=None):
    """Convert the model `m`."""
    return warm("convert", model, cwd=directory, prepare=prepare)


def written(directory):
    """Return the names of all files that were written, even in part."""
    return {path.name for path in directory.iterdir()} - {"m", "m.keras", "m.samples.npy", "other"}


def row(process, variant):
    """Return the columns of a variant's row by their headings. `of range` is in percent."""
    pattern = rf"^{variant} +([\d,]+) +(\d+)% +(\S+) +(\S+) +(> 999|[\d.,e+-]+|inf)% +(\d+) us  "
    pattern += r"(.+?)(, same class on .+)?$"
    found = re.search(pattern, process.stdout, re.MULTILINE)
    assert found, f"no row of {variant}: {process.stdout}"
    names = ["bytes", "size", "in/out", "error", "range", "us", "verdict"]
    return dict(zip(names, found.groups()[:-1], strict=True))


def assert_refused(process, directory, *phrases):
    """Check that float32 was refused, that nothing was written and nothing calibrated."""
    assert process.returncode > 0, process.returncode
    assert_clear_error(process, "m.tflite was not written", *phrases)
    assert not re.search("^(float|dynamic|full|16-bit)", process.stdout, re.MULTILINE)
    assert not written(directory)


def assert_sound(process, directory, verdict="verified"):
    """Check that float32 was kept, with its verdict, and that it is recorded."""
    assert process.returncode == 0, process.stderr
    assert row(process, "float32")["verdict"] == verdict
    record = record_of(directory / "m.check.json")
    assert record["variants"]["float32"]["verdict"] == verdict
    assert (directory / "m.tflite").exists()
    return record


def line(x, w, b):
    return x @ w + b


LINE = {"w": np.float32([[100]]), "b": np.float32([5])}


def at_17(x, wrong, right):
    """Return a wrong output for the samples whose first number is 17."""
    return tf.where(x[:, :1] == 17, wrong, right)


def logarithm(x, w, b):
    """Return the logarithm of a line, or -inf where the line is not above 0."""
    return tf.math.log(tf.nn.relu(x @ w + b))


# This computes infinities, because the converter stores a constant one as the largest number.
LOGARITHM = {"w": np.float32([[1]]), "b": np.float32([-20.5])}


def probability_and_price(x, p, q, w, error=0.0):
    likely = tf.sigmoid(x @ p + q)
    return tf.concat([at_17(x, likely + error, likely), x @ w], -1)


PRICE = {"p": np.float32([[0.1]]), "q": np.float32([-3]), "w": np.float32([[17_000]])}


def mirrored(x, w):
    """Return the conjugate of `spectrum`, whose imaginary part has the other sign."""
    x = x * w
    return tf.signal.rfft(tf.concat([x[:, :1], x[:, :0:-1]], -1))


def spectrum(x, w):
    return tf.signal.rfft(x * w)


def sizes(x, at):
    """Return six numbers with the shape (1, 2, 3), or (1, 3, 2) if the first is in `at`."""
    found = tf.reduce_any(tf.abs(x[0, 0] - at) < 0.5)
    n = tf.where(found, 3, 2)
    return tf.reshape(x, tf.stack([1, n, 6 // n]))


def look_up(x, table):
    return tf.gather(table, x)


def dense(x, w, b):
    return tf.nn.softplus(x @ w) @ b


def halves(x):
    """Round to float16 and back."""
    return np.float32(np.float16(x))


ALTERNATING = np.where(np.arange(200) % 2, np.linspace(100, 200, 200), np.linspace(0, 1, 200))
ALTERNATING = np.float32(ALTERNATING)[:, None]
SIX = np.float32(RNG.normal(size=(60, 6)))
WORDS = np.arange(60, dtype="int32")[:, None] * 499
TABLE = RNG.permutation(30_000).astype("int32")
VECTORS = np.float32(RNG.normal(size=(50, 4)))
NARROW = {"w": np.float32(RNG.normal(size=(6, 8))), "b": np.float32(RNG.normal(size=(8, 3)))}

# samples, what the model computes, what the file computes, weights, and phrases of the message
WRONG = {
    "NaN in one sample": (
        SIXTY,
        line,
        lambda x, w, b: at_17(x, np.nan, x @ w + b),
        LINE,
        ["1 of 60 samples", "nan", "1705"],
    ),
    "NaN in all samples": (
        SIXTY,
        line,
        lambda x, w, b: (x @ w + b) * np.nan,
        LINE,
        ["60 of 60 samples", "nan"],
    ),
    "infinity for a number": (
        SIXTY,
        line,
        lambda x, w, b: at_17(x, 1 / (x - 17), x @ w + b),
        LINE,
        ["1 of 60 samples", "inf", "1705"],
    ),
    "infinity of the other sign": (
        SIXTY,
        logarithm,
        lambda x, w, b: at_17(x, 1 / (x - 17), logarithm(x, w, b)),
        LOGARITHM,
        ["sample 17", "is inf,", "-inf"],
    ),
    "a number for infinity": (
        SIXTY,
        logarithm,
        lambda x, w, b: at_17(x, 3.25, logarithm(x, w, b)),
        LOGARITHM,
        ["sample 17", "3.25", "-inf"],
    ),
    "infinity where others are": (
        SIXTY,
        logarithm,
        lambda x, w, b: tf.where(x == 21, -1 / (x - 21), logarithm(x, w, b)),
        LOGARITHM,
        ["sample 21", "is -inf,", "-0.69"],
    ),
    "an axis dropped": (
        SIX,
        lambda x, w: (x @ w)[:, :, None],
        lambda x, w: x @ w,
        {"w": np.eye(6, dtype="float32")},
        ["(1, 6)", "(1, 6, 1)"],
    ),
    "sizes exchanged": (
        np.float32(RNG.normal(size=(60, 12))),
        lambda x, w: tf.reshape(x * w, (-1, 6, 2)),
        lambda x, w: tf.reshape(x * w, (-1, 2, 6)),
        {"w": np.float32(2)},
        ["6, 2)", "2, 6)"],
    ),
    "a word's number off by one": (
        WORDS,
        look_up,
        lambda x, table: look_up(x, table) + tf.cast(x == 17 * 499, "int32"),
        {"table": TABLE},
        ["1 of 60", str(TABLE[17 * 499]), str(TABLE[17 * 499] + 1)],
    ),
    "a rounded number off by one": (
        WORDS.astype("float32"),
        lambda x, w: tf.cast(tf.round(x @ w), "int32"),
        lambda x, w: tf.cast(tf.round(x @ w) + tf.where(x == 8483, -1.0, 0.0), "int32"),
        {"w": np.float32([[1]])},
        ["1 of 60", "8483", "8482"],
    ),
    "a truth value flipped": (
        SIXTY,
        lambda x, w: x @ w > 30.5,
        lambda x, w: tf.not_equal(x @ w > 30.5, x == 17),
        {"w": np.float32([[1]])},
        ["1 of 60", "True", "False"],
    ),
    "an argmax without a tie": (
        SIX,
        lambda x, w: tf.argmax(x @ w, -1, "int32"),
        lambda x, w: tf.argmin(x @ w, -1, "int32"),
        {"w": np.float32(RNG.normal(size=(6, 5)))},
        ["60 of 60"],
    ),
    "the imaginary part": (
        np.float32(RNG.normal(size=(60, 8))),
        spectrum,
        mirrored,
        {"w": np.float32(RNG.normal(size=8))},
        ["j"],
    ),
    "a probability beside a price": (
        SIXTY,
        probability_and_price,
        lambda x, p, q, w: probability_and_price(x, p, q, w, error=0.3),
        PRICE,
        ["component 0"],
    ),
    "a probability beside a price, in all samples": (
        SIXTY,
        probability_and_price,
        {"q": np.float32([-1.5])},  # at most 0.3
        PRICE,
        ["component 0"],
    ),
    "every second sample, small": (
        ALTERNATING,
        line,
        lambda x, w, b: tf.where(x < 50, 0.0, x @ w + b),
        LINE,
        ["0.0"],
    ),
    "every second sample, large": (
        ALTERNATING,
        line,
        lambda x, w, b: tf.where(x > 50, 0.0, x @ w + b),
        LINE,
        ["0.0"],
    ),
    "every fourth sample": (
        np.arange(200, dtype="float32")[:, None] % 4,
        line,
        lambda x, w, b: tf.where(x == 3, 300.0, x @ w + b),
        LINE,
        ["300.0", "305.0"],
    ),
    "float16 weights": (
        SIX,
        dense,
        {name: halves(value) for name, value in NARROW.items()},
        NARROW,
        ["component"],
    ),
    "a table rolled by one": (
        np.int32(RNG.integers(0, 50, (60, 8))),
        lambda x, table: tf.reduce_mean(tf.gather(table, x), 1),
        {"table": np.roll(VECTORS, 1, axis=0)},
        {"table": VECTORS},
        ["component"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_converter_is_found_out(warm, tmp_path, case):
    samples, function, wrong, weights, phrases = WRONG[case]
    wrong = prepare(tmp_path, samples, function, wrong=wrong, **weights)
    process = convert(warm, tmp_path, prepare=wrong)
    assert_refused(process, tmp_path, "output answer", *phrases)
    values = re.search(r" is (\S+), but m returns (\S+)", process.stderr)
    assert (values is None) == (case in ["an axis dropped", "sizes exchanged"]), process.stderr


def test_a_size_that_comes_out_otherwise_in_one_run(warm, tmp_path):
    x = np.float32(SIXTY + np.arange(6))
    wrong = prepare(
        tmp_path, x, lambda x: sizes(x, [50.0]), wrong=lambda x: sizes(x, [17.0, 50.0]), batch=1
    )
    assert_refused(
        convert(warm, tmp_path, prepare=wrong), tmp_path, "output answer", "2, 3)", "3, 2)"
    )
    assert_sound(convert(warm, tmp_path, prepare=OnlyFloat32()), tmp_path)


def test_nan_in_float16_only(warm, tmp_path):
    def nan(x, w, b):
        return at_17(x, np.nan, line(x, w, b))

    wrong = prepare(tmp_path, SIXTY, line, wrong=nan, variant="float16", **LINE)
    process = convert(warm, tmp_path, prepare=wrong)
    record = assert_sound(process, tmp_path)
    assert re.search("^float16 +not written: .*1 of 60 samples", process.stdout, re.MULTILINE)
    others = ["float32", "dynamic range", "full integer"]
    made = {"m.check.json", "m.variants.png"}
    assert written(tmp_path) == made | {FILES[variant] for variant in others}
    assert "1 of 60 samples" in record["variants"]["float16"]["not_written"]
    assert "verdict" not in record["variants"]["float16"]


def test_errors_of_float16_are_measured(warm, tmp_path):
    wrong = prepare(
        tmp_path, SIXTY, line, wrong={"b": np.float32([595])}, variant="float16", **LINE
    )
    process = convert(warm, tmp_path, prepare=wrong)
    record = assert_sound(process, tmp_path)
    assert row(process, "float16")["verdict"] == "measured"
    assert float(row(process, "float16")["range"]) == pytest.approx(10)
    assert record["variants"]["float16"]["error"] == pytest.approx(590)


def test_the_range_is_the_worst_components(warm, tmp_path):
    prepare(tmp_path, SIXTY, probability_and_price, **PRICE)
    process = convert(warm, tmp_path)
    record = assert_sound(process, tmp_path)
    assert 90 < float(row(process, "full integer")["range"]) < 120
    assert 0.9 < record["variants"]["full integer"]["of_range"] < 1.2
    assert float(row(process, "float16")["range"]) < 1


def test_calibration_sees_both_kinds(warm, tmp_path):
    prepare(tmp_path, ALTERNATING, line, **LINE)
    process = convert(warm, tmp_path)
    record = assert_sound(process, tmp_path)
    expected = ALTERNATING * 100 + 5
    error = np.abs(answers(tmp_path / "m.int8.tflite", ALTERNATING) - expected).max()
    assert error / np.ptp(expected) < 0.015
    assert record["variants"]["full integer"]["error"] == pytest.approx(error, rel=0.01)
    assert record["samples"] == {
        "file": "m.samples.npy",
        "of": 200,
        "compared": 200,
        "calibrated": 200,
    }


def test_a_thousand_samples_are_compared(warm, tmp_path):
    prepare(tmp_path, np.arange(1_200, dtype="float32")[:, None], line, **LINE)
    process = convert(warm, tmp_path)
    record = assert_sound(process, tmp_path)
    assert (record["samples"]["of"], record["samples"]["compared"]) == (1200, 1000)
    assert record["samples"]["calibrated"] == 500
    assert re.search(r"1,?000 of 1,?200 samples", process.stdout)


def argmax(x, w):
    return tf.argmax(x @ w, -1, "int32")


def tied(ties):
    """Return samples and two arrays of weights, whose outputs differ only in the last bits.

    For the first samples, two columns are the largest and differ only in the last bit. The larger
    of them is the other one with the second array.
    """
    rng = np.random.default_rng(ties)
    w = np.float32(rng.normal(size=(8, 5)))
    x = np.float32(rng.normal(size=(60, 8)))
    last = np.float32(1 + rng.normal(0, 1.2e-7, size=8))
    x[ties:] -= 3 * w[:, 0]
    x[:ties] += 3 * w[:, 0]
    one, other = w.copy(), w.copy()
    one[:, 1], other[:, 1] = w[:, 0] * last, w[:, 0] / last
    larger = [np.float64(x) @ weights[:, :2] @ [1, -1] > 0 for weights in (one, other)]
    assert (larger[0] != larger[1])[:ties].all()
    return x, one, other


@pytest.mark.parametrize("ties", [1, 60])
def test_ties_are_no_errors(warm, tmp_path, ties):
    """If more than a twentieth of the outputs are ties, the file cannot be judged."""
    x, one, other = tied(ties)
    wrong = prepare(tmp_path, x, argmax, wrong={"w": other}, w=one)
    process = convert(warm, tmp_path, prepare=wrong)
    assert_sound(process, tmp_path, "verified" if ties == 1 else "cannot be judged")


def test_an_error_among_ties(warm, tmp_path):
    x, one, _ = tied(59)
    right = (x[59] @ one).argmax()

    def wrong(x_, w):
        return tf.where(x_[:, 0] == x[59, 0], int(right + 1) % 5, argmax(x_, w))

    wrong = prepare(tmp_path, x, argmax, wrong=wrong, w=one)
    process = convert(warm, tmp_path, prepare=wrong)
    assert_refused(process, tmp_path, "of 60", "sample 59", f"is {(right + 1) % 5}, but")


def literal(x, w, b):
    return tf.where(x < 20, -np.inf, x @ w + b)


@pytest.mark.parametrize(
    ("function", "weights"),
    [
        pytest.param(logarithm, LOGARITHM, id="computed"),
        pytest.param(lambda x, w, b: tf.exp(logarithm(x, w, b)), LOGARITHM, id="inside"),
        pytest.param(literal, LINE, id="literal"),
    ],
)
def test_infinity_that_the_model_returns_too(warm, tmp_path, function, weights):
    prepare(tmp_path, SIXTY, function, **weights)
    assert_sound(convert(warm, tmp_path), tmp_path)


def tanh_layers(x, w):
    for i in range(30):
        x = tf.tanh(x @ w[i])
    return x


def test_what_rounding_makes_another_thing_of_cannot_be_judged(warm, tmp_path):
    w = np.float32(RNG.normal(0, 1, size=(30, 24, 24)))
    prepare(tmp_path, np.float32(RNG.normal(size=(60, 24))), tanh_layers, w=w)
    process = convert(warm, tmp_path, prepare=OnlyFloat32())
    assert_sound(process, tmp_path, verdict="cannot be judged")
    lines = [each for each in process.stdout.splitlines() if "cannot be judged" in each]
    assert len(lines) >= 2, "a row and a line say so"


def softmax(x, w, b):
    return tf.nn.softmax(x @ w + b)


def normalized(x, w, mean, variance, gamma, beta):
    for i in range(4):
        x = tf.nn.batch_normalization(
            x @ w[i], mean[i], variance[i], beta[i], gamma[i], variance_epsilon=1e-3
        )
        x = tf.nn.relu6(x)
    return x


def image(x, w, b):
    x = tf.nn.relu(tf.nn.conv2d(tf.cast(x, "float32") / 255, w, 2, "VALID"))
    return tf.nn.softmax(tf.reduce_mean(x, (1, 2)) @ b)


def normal(*size):
    return np.float32(RNG.normal(size=size))


CANCELLING = {"w": normal(6, 3), "b": np.float32([1e4, -2e4, 3e4])}
LIVING = {
    "w": normal(4, 6, 6),
    "mean": normal(4, 6),
    "variance": np.float32(RNG.gamma(1, 1, (4, 6))),
    "gamma": normal(4, 6),
    "beta": normal(4, 6),
}

# samples, what the model computes, weights
SOUND = {
    "a constant": (SIX, lambda x, w: 0 * x[:, :1] + w, {"w": np.float32([7.25])}),
    "a constant of arithmetic": (SIX, lambda x, w: tf.exp(0 * x @ w), {"w": normal(6, 3)}),
    "a constant beside others": (
        SIX,
        lambda x, w: tf.concat([x @ w, 0 * x[:, :1] + 1e6], -1),
        {"w": normal(6, 3)},
    ),
    "no weights": (SIX, lambda x: tf.exp(x) / 3, {}),
    "one sample": (SIX[:1], softmax, {"w": normal(6, 3), "b": normal(3)}),
    "one sample, one number": (SIXTY[7:8], line, LINE),
    "zeros": (SIX * 0, line, {"w": normal(6, 3), "b": np.float32([0, 0, 1])}),
    "zeros alone": (SIX * 0, lambda x, w: x @ w, {"w": normal(6, 3)}),
    "uint8": (
        np.uint8(RNG.integers(0, 256, (40, 12, 12, 3))),
        image,
        {"w": normal(3, 3, 3, 4), "b": normal(4, 3)},
    ),
    "cancelling biases": (
        SIX,
        lambda x, w, b, c: (x @ w + b) + c,
        {"w": normal(6, 3), "b": np.float32([10, -20, 30]), "c": np.float32([-10, 20, -30])},
    ),
    "cancelling layers": (
        SIX,
        lambda x, w, b: tf.reduce_sum(tf.nn.relu(x @ w + b) * [2.0, 1.0, -2 / 3], -1),
        CANCELLING,
    ),
    "a confident softmax": (SIX, softmax, {"w": 60 * normal(6, 5), "b": normal(5)}),
    "log-softmax": (
        SIX,
        lambda x, w: tf.nn.log_softmax(x @ w),
        {"w": 30 * normal(6, 5)},
    ),
    "batch normalization": (SIX, normalized, LIVING),
    "an argmax": (SIX, argmax, {"w": normal(6, 5)}),
    "words": (WORDS, look_up, {"table": TABLE}),
    "complex numbers": (normal(60, 8), spectrum, {"w": normal(8)}),
    "an axis more": (SIX, lambda x, w: tf.reshape(x @ w, (-1, 3, 1, 2)), {"w": normal(6, 6)}),
    "every fourth sample": (np.arange(200, dtype="float32")[:, None] % 4, line, LINE),
    "across the batch": (
        np.float32(SIX + 5),
        lambda x, w: (x - tf.reduce_mean(x, 0, keepdims=True)) @ w,
        {"w": normal(6, 3)},
    ),
}


# These are sound, too. But large numbers cancel, and what is left is as small as their last bits.
UNCERTAIN = {
    "the sum of a softmax": (
        SIX,
        lambda x, w, b: tf.reduce_sum(softmax(x, w, b), -1),
        {"w": normal(6, 9), "b": normal(9)},
    ),
    "the sum of a softmax, less 1": (
        SIX,
        lambda x, w, b: tf.reduce_sum(softmax(x, w, b), -1) - 1,
        {"w": normal(6, 9), "b": normal(9)},
    ),
    "the sum of one softmax, less 1": (
        SIX[:1],
        lambda x, w, b: tf.reduce_sum(softmax(x, w, b), -1) - 1,
        {"w": normal(6, 9), "b": normal(9)},
    ),
    "large cancelling biases": (
        SIX,
        lambda x, w, b, c: (x @ w + b) + c,
        CANCELLING | {"c": -CANCELLING["b"]},
    ),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_model_is_verified(warm, tmp_path, case):
    samples, function, weights = SOUND[case]
    prepare(tmp_path, samples, function, **weights)
    assert_sound(convert(warm, tmp_path, prepare=OnlyFloat32()), tmp_path)


@pytest.mark.parametrize("case", UNCERTAIN)
def test_what_rounding_may_explain_is_kept(warm, tmp_path, case):
    samples, function, weights = UNCERTAIN[case]
    prepare(tmp_path, samples, function, **weights)
    process = convert(warm, tmp_path, prepare=OnlyFloat32())
    assert process.returncode == 0, process.stderr
    assert row(process, "float32")["verdict"] in ("verified", "cannot be judged")


def save_archive(directory, model, samples):
    model.save(directory / "m.keras")
    np.save(directory / "m.samples.npy", samples)


def across_the_batch():
    x = keras.Input((6,))
    centred = x - keras.ops.mean(x, axis=0, keepdims=True)
    return keras.Model(x, keras.layers.Dense(3, name="answer")(centred))


@pytest.mark.parametrize("kind", ["archive", "SavedModel", "both"])
def test_across_the_batch_of_keras(warm, tmp_path, kind):
    model = across_the_batch()
    save_archive(tmp_path, model, SIX + 5)
    if kind != "archive":
        model.export(tmp_path / "m", verbose=False)
    if kind == "SavedModel":
        (tmp_path / "m.keras").unlink()
    given = "m.keras" if kind == "archive" else "m"
    assert_sound(convert(warm, tmp_path, given, OnlyFloat32()), tmp_path)


def test_living_statistics(warm, tmp_path):
    """Trained batch normalization, in a network for which a tolerance of 1e-4 was too small."""
    keras.utils.set_random_seed(5)
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=8)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [np.float32(rng.gamma(4, 0.25, weight.shape)) for weight in layer.get_weights()]
            )
    save_archive(tmp_path, model, rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32"))
    process = convert(warm, tmp_path, "m.keras", OnlyFloat32())
    assert process.returncode == 0, process.stderr
    assert row(process, "float32")["verdict"] in ("verified", "cannot be judged")


def test_softplus_above_88(warm, tmp_path):
    """LiteRT returns NaN above 88, and calibrating with NaN ends the process."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(8, "softplus", kernel_initializer="ones"),
            layers.Dense(1, name="answer"),
        ]
    )
    save_archive(tmp_path, model, np.arange(100, 200, dtype="float32")[:, None])
    process = convert(warm, tmp_path, "m.keras")
    assert_refused(process, tmp_path, "100 of 100 samples", "nan", "output ")


@pytest.mark.parametrize("case", ["a line", "complex", "argmax", "infinity"])
def test_the_record_can_be_read_and_holds(warm, tmp_path, case):
    samples, function, weights = {
        "a line": (SIXTY, line, LINE),
        "complex": SOUND["complex numbers"],
        "argmax": SOUND["an argmax"],
        "infinity": (SIXTY, logarithm, LOGARITHM),
    }[case]
    prepare(tmp_path, samples, function, **weights)
    assert convert(warm, tmp_path).returncode == 0
    text = (tmp_path / "m.check.json").read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert not (tmp_path / "m.source").exists()
    assert len(text) < 3e6
    assert record["format"] == 1
    assert record["model"]["path"] == "m"
    assert set(record["versions"].values()) >= {tf.__version__, keras.__version__}
    for variant, row in record["variants"].items():
        path = tmp_path / FILES[variant]
        if "not_written" in row:
            assert not path.exists()
            continue
        assert row["file"] == path.name
        assert row["bytes"] == path.stat().st_size
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert row["verdict"] == ("verified" if variant == "float32" else "measured")
        assert 0 < row["seconds"] < 1

    assert 1 <= len(record["runs"]) <= 100
    (ranges,) = unpacked(record["ranges"]).values()
    model = tf.saved_model.load(str(tmp_path / "m"))
    for run in record["runs"]:
        assert run.keys() == {"inputs", "outputs", "tolerance"}
        inputs = unpacked(run["inputs"])
        assert inputs["x"].dtype == samples.dtype
        assert any((inputs["x"][0] == sample).all() for sample in samples)
        expected = model.signatures[KEY](x=tf.constant(inputs["x"]))["answer"].numpy()
        (output,) = unpacked(run["outputs"]).values()
        assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
        variants = [name for name, row in record["variants"].items() if "sha256" in row]
        assert list(run["tolerance"]) == variants
        for variant, packed in run["tolerance"].items():
            (tolerance,) = unpacked(packed).values()
            (found,) = run_tflite(tmp_path / FILES[variant], **inputs).values()
            true = output
            if output.dtype == np.complex64:  # real parts first
                found, true = (np.concatenate([a.real, a.imag], -1) for a in (found, output))
            assert tolerance.shape == true.shape
            same = found == true  # equal infinities have no error
            error = np.abs(np.where(same, 0, found) - np.where(same, 0, true))
            assert (error <= tolerance).all()
            if variant == "float32":
                assert (tolerance <= 0.01 * ranges).all()


@pytest.mark.parametrize(("error", "sound"), [(0.0, True), (0.002, True), (0.1, False)])
def test_errors_about_the_tolerance(warm, tmp_path, error, sound):
    """The last place of 10,000 is 0.001. Coarse rounding of two operations moves it by a few."""
    weights = {"w": np.float32([[100.3]]), "b": np.float32([5.7])}
    wrong = weights | {"b": np.float32([5.7 + error])}
    wrong = prepare(tmp_path, SIXTY + np.float32(100.37), line, wrong=wrong, **weights)
    process = convert(warm, tmp_path, prepare=wrong)
    if sound:
        assert_sound(process, tmp_path)
    else:
        assert_refused(process, tmp_path, "output answer", "component 0")


@pytest.mark.parametrize("kind", ["SavedModel", "archive"])
def test_run_tells_what_has_changed(warm, tmp_path, kind):
    def train(bias):
        if kind == "SavedModel":
            prepare(tmp_path, SIXTY, line, **LINE | {"b": np.float32([bias])})
        else:
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="answer")])
            model.layers[0].set_weights([LINE["w"], np.float32([bias])])
            save_archive(tmp_path, model, SIXTY)

    def says_changed(variant):
        process = warm("run", FILES[variant], cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        return "has changed" in process.stdout

    given = "m" if kind == "SavedModel" else "m.keras"
    train(5)
    assert convert(warm, tmp_path, given).returncode == 0
    assert not any(map(says_changed, ["float32", "full integer"]))

    train(6)
    assert all(map(says_changed, ["float32", "full integer"]))

    (tmp_path / "m.samples.npy").unlink()
    process = convert(warm, tmp_path, given)
    assert process.returncode == 0, process.stderr
    assert re.search("^full integer +not written", process.stdout, re.MULTILINE)
    assert not any(map(says_changed, ["float32", "float16", "dynamic range"]))
    assert not (tmp_path / "m.int8.tflite").exists() or says_changed("full integer")

    shutil.copytree(tmp_path, tmp_path / "device", ignore=lambda *_: ["device", "m.check.json"])
    process = warm("run", "m.tflite", cwd=tmp_path / "device")
    assert process.returncode == 0, process.stderr
    assert "has changed" not in process.stdout
