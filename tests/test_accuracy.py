"""The metric that fits the labels, how it is computed, and which labels are refused."""

import re
import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import zoo
from conftest import assert_clear_error, record_of, run_tflite, save_function, table
from tensorflow import keras

from litecheck import accuracy, script

RANDOM = np.random.default_rng(17)
SCORES = RANDOM.normal(size=(30, 5)).astype("float32")
CLASSES = np.where(RANDOM.random(30) < 0.6, SCORES.argmax(1), RANDOM.integers(0, 5, 30))
LOGITS = RANDOM.normal(size=(30, 1)).astype("float32")
TRUTH = (RANDOM.random(30) < 0.5).astype(int)
PIXELS = RANDOM.normal(size=(6, 4, 3, 5)).astype("float32")
MASKS = RANDOM.integers(0, 5, (6, 4, 3))
MASKS[:, :2] = PIXELS.argmax(-1)[:, :2]
SEVERAL = (RANDOM.random((30, 5)) < 0.5).astype(int)
REAL = RANDOM.normal(size=(30, 5))
PARTLY = np.where(np.arange(30) % 3 == 0, -1, CLASSES)
FOUND = SCORES.argmax(1)


def sigmoid(values):
    return (1 / (1 + np.exp(-values.astype("float64")))).astype("float32")


def task(labels, outputs):
    """Return the `Task` of the only output."""
    found = accuracy.tasks({"y": labels}, {"y": outputs}, "net.test.npz")
    assert list(found) == ["y"]
    return found["y"]


def metric(task, outputs, size):
    """Return the metric, computed from parts of `size` samples."""
    parts = [
        accuracy.count(task, outputs[start : start + size], start)
        for start in range(0, len(outputs), size)
    ]
    assert {(type(total), type(number)) for total, number in parts} == {(float, int)}
    total = sum(total for total, _ in parts) / sum(number for _, number in parts)
    found = accuracy.metrics(
        {"y": task}, ({"y": outputs[i : i + size]} for i in range(0, len(outputs), size))
    )
    assert found == {"y": pytest.approx(total, nan_ok=True)}
    return total


def test_what_is_called_what():
    """Includes labels with ignored elements, and several booleans at once."""
    outputs = {"y": SCORES}
    for labels, classes in [(CLASSES, CLASSES), (PARTLY, CLASSES)]:
        (score,) = accuracy.scores({"y": task(labels, SCORES)}, [outputs]).values()
        kept = labels != -1
        pairs = list(zip(classes[kept], FOUND[kept], strict=True))
        assert score.pairs == Counter((int(true), int(given)) for true, given in pairs)
    (score,) = accuracy.scores({"y": task(SEVERAL, SCORES)}, [outputs]).values()
    assert not score.pairs
    (score,) = accuracy.scores({"y": task(TRUTH, LOGITS)}, [{"y": LOGITS}]).values()
    given = (LOGITS > 0).astype(int).ravel()
    assert score.pairs == Counter(zip(TRUTH.tolist(), given.tolist(), strict=True))
    (score,) = accuracy.scores({"y": task(REAL, SCORES)}, [outputs]).values()
    assert not score.pairs


def right_classes(labels, scores):
    """Return the share of rows whose largest number is at the label."""
    rows = scores.reshape(-1, scores.shape[-1]).tolist()
    pairs = [(row, c) for row, c in zip(rows, labels.ravel().tolist(), strict=True) if c != -1]
    return sum(max(row) == row[int(c)] for row, c in pairs) / len(pairs)


def right_above(labels, outputs, threshold):
    """Return the share of the numbers that are on the labels' side of a threshold."""
    pairs = list(zip(outputs.ravel().tolist(), labels.ravel().tolist(), strict=True))
    return sum((x > threshold) == bool(label) for x, label in pairs) / len(pairs)


def same(labels, outputs):
    """Return the share of labels that are predicted. Labels of -1 are ignored."""
    pairs = list(zip(outputs.ravel().tolist(), labels.ravel().tolist(), strict=True))
    return sum(x == c for x, c in pairs if c != -1) / sum(c != -1 for _, c in pairs)


def distance(labels, outputs):
    """Return the mean absolute error."""
    pairs = list(zip(outputs.ravel().tolist(), labels.ravel().tolist(), strict=True))
    return sum(abs(x - label) for x, label in pairs) / len(pairs)


@pytest.mark.parametrize("dtype", ["int64", "int8", "float32", "float64"])
@pytest.mark.parametrize(
    ("labels", "outputs"),
    [
        (CLASSES, SCORES),
        (CLASSES[:, None], SCORES),
        (TRUTH, SCORES[:, :2]),
        (np.ones(30), SCORES[:, :2]),
        (MASKS, PIXELS),
        (MASKS[..., None], PIXELS),
        (CLASSES.reshape(3, 10), SCORES.reshape(3, 10, 5)),
        (CLASSES, SCORES.reshape(30, 1, 1, 5)),
        (CLASSES, np.round(10 * SCORES + np.arange(5) / 5 + 50).astype("uint8")),
        (PARTLY, SCORES),
        (np.where(MASKS == 2, -1, MASKS), PIXELS),
        (CLASSES[:1], SCORES[:1]),
    ],
)
def test_classes(labels, outputs, dtype):
    found = task(labels.astype(dtype), outputs)
    assert (found.kind, found.rule, found.threshold) == ("accuracy", "largest", None)
    if outputs.dtype == "uint8":  # the first of equal numbers
        outputs = outputs - np.arange(5) / 10
    for size in [1, 4, len(labels)]:
        assert metric(found, outputs, size) == pytest.approx(right_classes(labels, outputs))


def test_unsigned_and_true_classes():
    assert task(CLASSES.astype("uint8"), SCORES).labels.tolist() == CLASSES.tolist()
    assert task(TRUTH.astype(bool), SCORES[:, :2]).labels.tolist() == TRUTH.tolist()


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
@pytest.mark.parametrize(("labels", "outputs"), [(CLASSES, SCORES), (MASKS, PIXELS)])
def test_one_hot(labels, outputs, dtype):
    found = task(np.eye(5)[labels].astype(dtype), outputs)
    assert (found.kind, found.rule, found.threshold) == ("accuracy", "largest", None)
    assert found.labels.tolist() == labels.tolist()
    assert metric(found, outputs, 4) == pytest.approx(right_classes(labels, outputs))


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool"])
@pytest.mark.parametrize(
    ("labels", "outputs"),
    [
        (TRUTH, LOGITS),
        (TRUTH[:, None], LOGITS),
        (TRUTH, LOGITS[:, 0]),
        (TRUTH[:, None], LOGITS[:, 0]),
        (np.ones(30), LOGITS),
        (np.ones((30, 1)), LOGITS),
        (SEVERAL, SCORES),
        (np.zeros((30, 5)), SCORES),
        (MASKS > 2, PIXELS[..., :1]),
    ],
)
def test_thresholds(labels, outputs, dtype):
    for values, threshold in [(outputs, 0.0), (sigmoid(outputs), 0.5), (outputs / 100 + 1, 0.0)]:
        found = task(labels.astype(dtype), values)
        assert (found.kind, found.rule, found.threshold) == ("accuracy", "threshold", threshold)
        for size in [1, 4, 30]:
            assert metric(found, values, size) == pytest.approx(
                right_above(labels, values, threshold)
            )


def test_the_threshold_is_the_original_s():
    original = np.float32([[0], [1], [0.25], [0.75]])
    found = task(np.array([0, 1, 0, 1]), original)
    assert found.threshold == 0.5  # 0 and 1 are probabilities, too
    assert accuracy.count(found, original + np.float32([[-0.1], [0.1], [0], [0]]), 0) == (4.0, 4)
    assert accuracy.count(found, np.full((1, 1), 0.5), 2) == (1.0, 1)  # not above the threshold
    assert task(np.array([0, 1]), np.float32([[0.1], [1.001]])).threshold == 0
    assert task(np.array([0, 1]), np.float32([[-0.001], [0.9]])).threshold == 0
    assert task(np.array([0, 1]), np.float32([[np.nan], [0.9]])).threshold == 0.5
    assert task(np.array([0, 1]), np.float32([[np.inf], [0.9]])).threshold == 0


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
@pytest.mark.parametrize(
    ("labels", "outputs"),
    [
        (CLASSES, FOUND),
        (CLASSES[:, None], FOUND),
        (TRUTH, FOUND == 2),
        (SEVERAL, SCORES > 0),
        (MASKS, PIXELS.argmax(-1)),
        (np.eye(5)[CLASSES], SCORES > 0),  # not the largest, because many are equal
    ],
)
def test_whole_outputs(labels, outputs, dtype):
    for kind in ["bool"] if outputs.dtype == bool else ["int64", "uint8"]:
        found = task(labels.astype(dtype), outputs.astype(kind))
        assert (found.kind, found.rule, found.threshold) == ("accuracy", "equal", None)
        for size in [1, 4, 30]:
            assert metric(found, outputs, size) == pytest.approx(same(labels, outputs))


def test_ignored_elements():
    found = task(PARTLY, FOUND)
    assert accuracy.count(found, FOUND, 0)[1] == 20
    assert metric(found, FOUND, 4) == pytest.approx(same(PARTLY, FOUND))
    assert accuracy.count(found, np.full(30, -1), 0) == (0.0, 20)
    found = task(PARTLY, SCORES)
    assert accuracy.count(found, SCORES[:1], 0) == (0.0, 0)
    assert accuracy.count(found, SCORES[1:7], 1)[1] == 4
    wrong = np.where(np.arange(5) == 4, 9, SCORES)  # the last class is not the one called -1
    assert accuracy.count(found, wrong, 0) == (float((PARTLY == 4).sum()), 20)


@pytest.mark.parametrize(
    ("labels", "outputs"),
    [
        (REAL, SCORES),
        (np.abs(REAL) / np.abs(REAL).sum(1, keepdims=True), SCORES),
        (REAL[:, 0], LOGITS),
        (REAL[:, :1], LOGITS[:, 0]),
        (REAL, SCORES.reshape(30, 1, 5, 1)),
        (CLASSES, LOGITS),
        (CLASSES[:, None], LOGITS),
        (2 * TRUTH - 1, LOGITS),  # -1 is a number here
        (5 * SEVERAL, SCORES),
        (REAL, np.round(SCORES).astype("int32")),
        (REAL.reshape(30, 5, 1), np.round(10 + SCORES).astype("uint8")),
        (REAL.astype("float16"), SCORES.astype("float16")),
    ],
)
def test_mean_errors(labels, outputs):
    found = task(labels, outputs)
    assert (found.kind, found.rule, found.threshold) == ("mean_error", "distance", None)
    for size in [1, 4, 30]:
        assert metric(found, outputs, size) == pytest.approx(distance(labels, outputs))
    assert accuracy.count(found, outputs, 0)[1] == outputs.size


def test_each_output_has_its_task_and_may_have_none():
    outputs = {"box": SCORES, "sure": LOGITS, "text": np.full(30, b"a")}
    found = accuracy.tasks({"sure": TRUTH, "box": REAL}, outputs, "net.test.npz")
    assert [(name, task.rule) for name, task in found.items()] == [
        ("sure", "threshold"),
        ("box", "distance"),
    ]


def test_nan_is_wrong():
    scores, logits = SCORES.copy(), LOGITS.copy()
    scores[3, (CLASSES[3] + 1) % 5] = scores[4, CLASSES[4]] = np.nan  # argmax takes NaN as largest
    rest = np.delete(np.arange(30), [3, 4])
    right = right_classes(CLASSES[rest], SCORES[rest]) * 28
    assert accuracy.count(task(CLASSES, SCORES), scores, 0) == (pytest.approx(right), 30)
    logits[np.argmin(TRUTH)] = np.nan  # not above the threshold, but not a correct 0
    right = right_above(np.delete(TRUTH, np.argmin(TRUTH)), LOGITS[~np.isnan(logits)], 0) * 29
    assert accuracy.count(task(TRUTH, LOGITS), logits, 0) == (pytest.approx(right), 30)
    total, number = accuracy.count(task(REAL, SCORES), scores, 0)
    assert np.isnan(total)
    assert number == 150


@pytest.mark.parametrize(
    ("labels", "outputs", "given", "number"),
    [
        (CLASSES, SCORES, SCORES[:, None], 30),
        (TRUTH, LOGITS, LOGITS[:, 0], 30),
        (PARTLY, FOUND, FOUND[:, None], 20),
    ],
)
def test_outputs_of_another_shape_are_wrong(labels, outputs, given, number):
    assert accuracy.count(task(labels, outputs), given, 0) == (0.0, number)
    total, number = accuracy.count(task(REAL[:, 0], LOGITS), LOGITS[:, 0], 0)
    assert np.isnan(total)
    assert number == 30


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (CLASSES[:29], SCORES, "expected labels of 30 samples, given 29"),
        (np.zeros(1234), SCORES, "expected labels of 30 samples, given 1,234"),
        (np.int64(3), SCORES, "expected labels of 30 samples, given a single number"),
        (
            np.full(1, np.nan),
            SCORES[:1],
            "expected labels that are numbers, given 1 of 1 that are NaN or infinite",
        ),
        (
            np.where(np.arange(30) < 2, -np.inf, REAL[:, 0]),
            LOGITS,
            "expected labels that are numbers, given 2 of 30 that are NaN or infinite",
        ),
        (
            CLASSES + 5,
            SCORES,
            "expected labels that are classes 0 to 4, or -1 for what does not count, given "
            f"{CLASSES[0] + 5}",
        ),
        (
            np.where(np.arange(30) == 9, 5.0, CLASSES),
            SCORES,
            "expected labels that are classes 0 to 4, or -1 for what does not count, given 5.0",
        ),
        (
            np.where(MASKS == 3, -2, MASKS),
            PIXELS,
            "expected labels that are classes 0 to 4, or -1 for what does not count, given -2",
        ),
        (
            np.full(30, -1),
            SCORES,
            "expected labels other than -1, which does not count, given -1 only",
        ),
        (
            np.full(30, -1),
            FOUND,
            "expected labels other than -1, which does not count, given -1 only",
        ),
        (
            np.zeros((30, 0)),
            SCORES,
            "expected labels, given an empty array of the shape (30, 0)",
        ),
        (
            np.full(30, "cat"),
            SCORES,
            "expected labels that are real numbers, given text",
        ),
        (
            REAL[:, 0] + 1j,
            LOGITS,
            "expected labels that are real numbers, given complex128",
        ),
        (
            np.array([None] * 30),
            LOGITS,
            "expected labels that are real numbers, given object",
        ),
        (TRUTH, LOGITS + 1j, "expected no labels, since it returns complex64"),
        (TRUTH, np.full(30, b"a", object), "expected no labels, since it returns object"),
    ],
)
def test_labels_that_fit_nothing_are_refused(labels, outputs, message):
    with pytest.raises(script.Failure) as failure:
        task(labels, outputs)
    assert str(failure.value) == f"net.test.npz does not fit the output y: {message}"


@pytest.mark.parametrize(
    ("labels", "outputs", "expected", "given"),
    [
        (REAL[:, 0], SCORES, ["whole", "(30,)", "(30, 5)"], "real numbers of the shape (30,)"),
        (
            SEVERAL[:, :4],
            SCORES,
            ["whole", "(30,)", "(30, 5)"],
            "whole numbers of the shape (30, 4)",
        ),
        (
            MASKS.transpose(0, 2, 1),
            PIXELS,
            ["whole", "(6, 4, 3)", "(6, 4, 3, 5)"],
            "whole numbers of the shape (6, 3, 4)",
        ),
        (SEVERAL, LOGITS, ["(30, 1)"], "whole numbers of the shape (30, 5)"),
        (SEVERAL, FOUND, ["(30,)"], "whole numbers of the shape (30, 5)"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, outputs, expected, given):
    kinds = f"numbers of the shape {expected[-1]}"
    if expected[0] == "whole":
        kinds = f"whole numbers of the shape {expected[1]} or {kinds}"
    with pytest.raises(script.Failure) as failure:
        task(labels, outputs)
    start = "net.test.npz does not fit the output y: expected labels that are"
    assert str(failure.value) == f"{start} {kinds}, given {given}"


def test_labels_of_no_output_are_refused():
    with pytest.raises(script.Failure) as failure:
        accuracy.tasks({"z": TRUTH}, {"x": SCORES, "y": LOGITS}, "net.test.npz")
    message = "net.test.npz has labels of 'z', which is not an output (x, y)"
    assert str(failure.value) == message


@pytest.mark.parametrize(
    ("kind", "metric", "text"),
    [
        ("accuracy", 525 / 540, "97.2%"),
        ("accuracy", 1.0, "100.0%"),
        ("accuracy", 0.0, "0.0%"),
        ("mean_error", 0.03123, "0.03123"),
        ("mean_error", 0.0312, "0.0312"),
        ("mean_error", 1234.5678, "1235"),
        ("mean_error", np.nan, "nan"),
    ],
)
def test_metrics_in_words(kind, metric, text):
    assert accuracy.text(kind, metric) == text


# ---- In the commands convert and run


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Return a directory with a trained classifier, samples and a test set, and its accuracy."""
    directory = tmp_path_factory.mktemp("net")
    keras.utils.set_random_seed(1)
    x = RANDOM.normal(size=(1500, 6)).astype("float32")
    labels = (x @ RANDOM.normal(size=(6, 4))).argmax(axis=-1)
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(4, "softmax")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:500], labels[:500], epochs=8, verbose=0)
    model.save(directory / "net.keras")
    np.save(directory / "net.samples.npy", x[:500])
    np.savez(directory / "net.test.npz", inputs=x[500:], labels=labels[500:])
    right = model.predict(x[500:], verbose=0).argmax(axis=-1) == labels[500:]
    return directory, right.mean()


def quantized_accuracy(path, test):
    """Return the accuracy of a full-integer file, quantized here."""
    (outputs,) = run_tflite(path, test["inputs"]).values()
    return (outputs.argmax(-1) == test["labels"]).mean()


def test_convert_and_run_print_the_same_metrics(warm, net):
    directory, accuracy_of_keras = net
    process = warm("convert", "net.keras", cwd=directory)
    assert process.returncode == 0, process.stderr
    out = process.stdout
    assert "on 1,000 of 1,000 samples of net.test.npz\ncalibrated on 500 of 500 samples" in out
    assert f"the original: accuracy {accuracy_of_keras:.1%}\n" in out
    rows, test = table(out), np.load(directory / "net.test.npz")
    record = record_of(directory / "net.check.json")
    assert record["original"] == {"accuracy": pytest.approx(accuracy_of_keras)}
    assert rows["float32"]["metric"] == f"{accuracy_of_keras:.1%}"
    exact = quantized_accuracy(directory / "net.int8.tflite", test)
    assert record["variants"]["full integer"]["accuracy"] == pytest.approx(exact)
    assert rows["full integer"]["metric"] == f"{exact:.1%}"
    kept = [
        v for v, row in record["variants"].items() if row["accuracy"] >= accuracy_of_keras - 0.01
    ]
    smallest = min(kept, key=lambda variant: record["variants"][variant]["bytes"])
    advice = "The smallest file that loses at most one point of accuracy: "
    share = record["variants"][smallest]["bytes"] / record["variants"]["float32"]["bytes"]
    assert f"{advice}{smallest}, {share:.0%} of the bytes" in out or share == 1
    for variant, row in record["variants"].items():
        process = warm("run", row["file"], "--test", "net.test.npz", cwd=directory)
        line = f"output_0: accuracy {rows[variant]['metric']} on 1,000 of 1,000 samples of net.test"
        assert line in process.stdout, process.stderr
        assert process.stdout.count("\noutput output_0: [") == 3  # only the first few
        assert re.search(r"^one run takes \S+ us, the median of \d", process.stdout, re.M)


def test_several_outputs_each_have_a_metric(warm, tmp_path):
    x = keras.Input((3,), name="x")
    outputs = {"kind": keras.layers.Dense(3)(x), "size": keras.layers.Dense(1)(x)}
    model = keras.Model(x, outputs | {"other": keras.layers.Dense(2)(x)})
    model.save(tmp_path / "net.keras")
    values, kinds = RANDOM.normal(size=(50, 3)).astype("float32"), RANDOM.integers(0, 3, 50)
    sizes = RANDOM.normal(size=50)
    np.savez(tmp_path / "t.npz", x=values, kind=kinds, size=sizes)
    process = warm("convert", "net.keras", "--test", "t.npz", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    outputs = model.predict(values, verbose=0)
    metrics = {
        "kind": (outputs["kind"].argmax(-1) == kinds).mean(),
        "size": np.abs(outputs["size"][:, 0] - sizes).mean(),
    }
    assert f"the original: accuracy of kind {metrics['kind']:.1%}\n" in process.stdout
    assert f"the original: mean error of size {metrics['size']:.4g}\n" in process.stdout
    record = record_of(tmp_path / "net.check.json")
    for metric in [record["original"], record["variants"]["float32"]]:
        assert metric["accuracy"] == {"kind": pytest.approx(metrics["kind"])}
        assert metric["mean_error"] == {"size": pytest.approx(metrics["size"], rel=1e-5)}


def test_the_originals_threshold_is_the_devices(warm, tmp_path):
    """Logits of a constant file are all between 0 and 1, but those of the original are not."""
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.set_weights([np.float32([[2]]), np.float32([-0.9])])
    model.save(tmp_path / "net.keras")
    values = np.float32([[0.5], [0.6], [0.7], [-1]])
    np.savez(tmp_path / "net.test.npz", inputs=values, labels=np.array([1, 1, 1, 0]))
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert "the original: accuracy 100.0%" in process.stdout, process.stderr
    np.savez(tmp_path / "some.npz", inputs=values[:3], labels=np.array([1, 1, 1]))
    process = warm("run", "net.tflite", "--test", "some.npz", cwd=tmp_path)
    assert "output_0: accuracy 100.0% on 3 of 3" in process.stdout, process.stderr
    (tmp_path / "net.check.json").unlink()  # without it, all outputs look like probabilities
    process = warm("run", "net.tflite", "--test", "some.npz", cwd=tmp_path)
    assert "output_0: accuracy 0.0% on 3 of 3" in process.stdout, process.stderr


@pytest.mark.parametrize(
    ("arrays", "phrase"),
    [
        ({"inputs": np.ones((5, 6)), "labels": np.full(5, 4)}, "classes 0 to 3"),
        ({"inputs": np.ones((5, 6)), "labels": np.zeros(4)}, "numbers of samples differ"),
        ({"inputs": np.ones((5, 6)), "labels": np.full(5, np.nan)}, "NaN"),
        ({"inputs": np.ones((5, 6)), "labels": np.zeros((5, 3))}, "shape"),
        ({"inputs": np.ones((5, 6))}, "lacks an array named 'output_0'"),
        (
            {"inputs": np.ones((5, 6)), "labels": np.zeros(5), "more": np.zeros(5)},
            "'more' is neither an input nor an output",
        ),
        ({"inputs": np.ones((1, 6)), "labels": np.array(3)}, "not a single number"),
        ({"labels": np.ones(5)}, "lacks an array named"),
        ({"inputs": np.ones((5, 7)), "labels": np.zeros(5)}, "(5, 7)"),
    ],
)
def test_test_sets_that_do_not_fit(warm, net, tmp_path, arrays, phrase):
    shutil.copy(net[0] / "net.keras", tmp_path)
    np.savez(tmp_path / "t.npz", **arrays)
    process = warm("convert", "net.keras", "--test", "t.npz", cwd=tmp_path)
    if phrase == "(5, 7)":
        phrase = "has the shape (1, 7)"
    assert_clear_error(process, "t.npz", phrase)
    assert not list(tmp_path.glob("*.tflite"))


def test_advice_where_much_is_lost(warm, tmp_path):
    zoo.difference().save(tmp_path / "net.keras")
    x = zoo.nearly_equal(RANDOM, 400)
    np.save(tmp_path / "net.samples.npy", x[:200])
    np.savez(tmp_path / "net.test.npz", inputs=x[200:], labels=x[200:, 0] - x[200:, 1] + 0.01)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert "16-bit int" in table(process.stdout)
    assert "not written, because float32 is smaller" in process.stdout
    assert "No variant is smaller than float32: quantization does not pay" in process.stdout


def test_operations_without_16_bits_stay_in_float(warm, tmp_path):
    """One output is a thousand times as large as the other, which eight bits cannot represent."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="hard_swish")(image)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    *weights, kernel, bias = model.get_weights()
    model.set_weights([*weights, kernel * np.float32([1, 0.001]), bias])
    model.save(tmp_path / "net.keras")
    x = RANDOM.normal(size=(40, 8, 8, 3)).astype("float32")
    np.save(tmp_path / "net.samples.npy", x)
    np.savez(tmp_path / "net.test.npz", inputs=x, labels=model.predict(x, verbose=0))
    process = warm("convert", "net.keras", cwd=tmp_path)
    rows = table(process.stdout)
    assert rows["full integer"]["of_range"] > 0.3
    assert rows["16-bit int"]["dtypes"] == "int16"
    assert " operations stay in float: not for integer-only chips" in process.stdout


def test_outputs_named_as_inputs_and_single_numbers(warm, tmp_path):
    values = RANDOM.normal(size=(40, 3)).astype("float32")
    for name, function, shape, true in [
        ("same", lambda x: {"x": 2 * x}, [None, 3], 2 * values),
        ("sum", lambda x: {"y": tf.reduce_sum(x)}, [3], values.sum(axis=1)),
    ]:
        save_function(tmp_path / name, function, tf.TensorSpec(shape, tf.float32, name="x"))
        np.savez(tmp_path / f"{name}.test.npz", inputs=values, labels=true + 0.5)
        process = warm("convert", name, cwd=tmp_path)
        assert "the original: mean error 0.5\n" in process.stdout, process.stderr
        process = warm("run", f"{name}.tflite", "--test", f"{name}.test.npz", cwd=tmp_path)
        assert "mean error 0.5 on 40 of 40 samples" in process.stdout, process.stderr


def test_large_outputs_are_compared_in_part_and_counted_whole(warm, tmp_path):
    image = keras.Input((64, 64, 1))
    model = keras.Model(image, keras.layers.Conv2D(20, 1)(image))
    model.save(tmp_path / "net.keras")
    images = RANDOM.normal(size=(500, 64, 64, 1)).astype("float32")  # 164 MB of outputs
    labels = np.concatenate([model(part).numpy().argmax(-1) for part in np.split(images, 10)])
    labels[:200] = (labels[:200] + 1) % 20
    np.savez(tmp_path / "net.test.npz", inputs=images, labels=labels)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(
        r"on 1\d\d of 500 samples of net.test.npz\nmetrics are of all 500 samples\n", process.stdout
    )
    assert "the original: accuracy 60.0%" in process.stdout
    assert table(process.stdout)["float32"]["metric"] == "60.0%"
    process = warm("run", "net.tflite", "--test", "net.test.npz", cwd=tmp_path)
    assert "accuracy 60.0% on 500 of 500 samples" in process.stdout, process.stderr
    labels[499, 0, 0] = 20
    np.savez(tmp_path / "net.test.npz", inputs=images, labels=labels)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_clear_error(process, "net.test.npz", "classes 0 to 19", "given 20")
