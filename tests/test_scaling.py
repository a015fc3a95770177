"""Samples that are not scaled as in training cause a question, and other samples do not."""

from collections import Counter

import numpy as np
import pytest
from ailing import columns, dense, fitted, images, people
from tensorflow import keras
from tensorflow.keras import layers, ops

import litecheck
from litecheck import accuracy, scaling

X, LABELS = images(200, seed=2)
OTHERS, CLASSES = images(300, seed=3)


def said(capsys, model, tmp_path, samples, test=None):
    """Return the lines of a conversion that ask whether samples are scaled as in training."""
    litecheck.convert(model, str(tmp_path / "net"), samples=samples, test=test)
    output = capsys.readouterr().out
    return [line.strip() for line in output.splitlines() if scaling.QUESTION in line]


@pytest.mark.parametrize("has_test_set", [False, True])
def test_pixels_in_place_of_parts_are_noticed(tmp_path, capsys, has_test_set):
    test = (255 * OTHERS, CLASSES) if has_test_set else None
    lines = said(capsys, dense(), tmp_path, 255 * X, test)
    assert any("output_0 is the same, bit for bit, for " in line for line in lines)


def test_parts_in_place_of_pixels_are_noticed(tmp_path, capsys):
    few = X / 255
    x, labels = images(600, seed=1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, labels, epochs=10, verbose=0)
    (line,) = said(capsys, model, tmp_path, few)
    assert line.startswith(
        "output_0 predicts the same class for all samples, with a probability of at most "
    )
    near, *_ = said(capsys, dense(), tmp_path, few, (OTHERS / 255, CLASSES))
    assert near == f"that is near chance: {scaling.QUESTION} Are labels in the model's order?"


def test_outputs_that_hardly_vary_are_asked_about(tmp_path, capsys):
    taken = keras.Input((8, 8, 1))
    mean = layers.GlobalAveragePooling2D()(taken)
    model = keras.Model(taken, 1e6 + mean)
    assert scaling.QUESTION in said(capsys, model, tmp_path, X)


def test_the_right_scale_hears_nothing(tmp_path, capsys):
    assert not said(capsys, dense(), tmp_path, X, (OTHERS, CLASSES))


def test_sound_models_hear_nothing(tmp_path, capsys):
    """A rare class, integers, outputs that are mostly zero, constants, steps and limits."""
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
    taken = keras.Input((8,))
    hidden = layers.Dense(16, activation="relu")(taken)
    three = layers.Dense(3, use_bias=False)(hidden)
    rare = layers.Softmax()(three * 2 + np.float32([6, 0, 0]))
    one = layers.Dense(1)(taken)
    outputs = {
        "rare": rare,
        "class": ops.argmax(three, axis=-1),
        "class as a float": ops.cast(ops.argmax(three, axis=-1), "float32"),
        "one hot": ops.one_hot(ops.argmax(three, axis=-1), 3),
        "rounded": ops.round(one),
        "sign": ops.sign(one),
        "rain": ops.relu(one - 0.5),
        "limited": ops.clip(one / 4, -1, 1),
        "constant": 0 * three + np.arange(3, dtype="float32"),
    }
    model = keras.Model(taken, {name.replace(" ", "_"): each for name, each in outputs.items()})
    zeros = (model(x)["rain"].numpy() == 0).mean()
    assert 0.5 < zeros < 0.9
    assert not said(capsys, model, tmp_path, x)
    assert not said(capsys, fitted(taken, hidden, x, x[:, :3]), tmp_path, np.repeat(x[:20], 9, 0))


def test_most_is_most():
    """Exactly half of the samples are not most of them. Equal samples count once."""
    compute = lambda arrays: {"y": arrays["x"]}  # noqa: E731 # these outputs vary
    x = np.arange(1.0, 9.0, dtype="float32")[:, None]
    for shared, expected in [(4, {}), (5, {"y": (5, 8)})]:
        y = np.where(np.arange(8)[:, None] < shared, np.float32(0.25), x)
        runs, outputs = [{"x": row[None]} for row in x], [{"y": row[None]} for row in y]
        ids = [[index] for index in range(8)]
        assert scaling.saturated(scaling.different_samples(runs, outputs, ids), compute) == expected
        joined = [{"x": x}, {"x": x[:2]}], [{"y": y}, {"y": y[:2]}], [[*range(8)], [0, 1]]
        assert scaling.saturated(scaling.different_samples(*joined), compute) == expected
        constant = {"y": np.ones((1, 1), "float32")}
        assert not scaling.saturated(
            scaling.different_samples(runs, outputs, ids), lambda arrays, y=constant: y
        )
    for largest, expected in [(3.0, {}), (1.0, {"y": (5, 8)})]:  # zeros of a ReLU, and of a sigmoid
        y = [0, 0, 0, 0, 0, largest, largest / 2, largest / 4]
        outputs = [{"y": np.float32([[value]])} for value in y]
        assert scaling.saturated(scaling.different_samples(runs, outputs, ids), compute) == expected
    whole = [{"x": np.uint8([[index]])} for index in range(8)]
    assert not scaling.saturated(scaling.different_samples(whole, outputs, ids), compute)


def test_errors_in_most_numbers_count():
    true = [{"y": np.float32([[0.5, 0.2, 0.3]])}, {"y": np.float32([[0.1, 0.6, 0.3]])}]
    ranges = {"y": np.float64([0.4, 0.4, 0.1])}
    for errors, expected in [
        ([0.0, 0.0, 0.5], False),
        ([0.0, 0.2, 0.5], True),
        ([0.0, 0.09, 0.5], False),
        ([0.11, 0.11, 0.0], True),
    ]:
        given = [true[0], {"y": true[1]["y"] + np.float32(errors)}]
        assert scaling.errs(given, true, ranges) == expected


def test_an_accuracy_above_chance_says_that_the_scale_is_right(tmp_path, capsys):
    x, _ = people(200, seed=2)
    assert said(capsys, columns(), tmp_path, x) != []
    assert said(capsys, columns(), tmp_path, x, people(300, seed=3)) == []


def test_a_class_for_all_that_is_no_decision():
    sound = np.float32([[0.3, 0.4, 0.3], [0.3, 0.3, 0.4]])
    for rows, expected in [
        ([[0.3, 0.4, 0.3], [0.31, 0.4, 0.29]], {"y": pytest.approx(0.4)}),
        (sound, {}),
        ([[0.01, 0.98, 0.01], [0.005, 0.99, 0.005]], {}),  # a rare class, with high probability
        ([[0.3, 0.4, 0.3], [0.1, 0.5, 0.4]], {}),  # varies
        ([[0.3, 0.4, 0.1], [0.31, 0.4, 0.09]], {}),  # not probabilities
    ]:
        outputs = [{"y": np.float32([row])} for row in [*rows, rows[0]] * 4]
        ids = [[index] for index in range(len(outputs))]
        runs = [{"x": np.float32([[index]])} for index in range(len(outputs))]
        assert scaling.unsure(scaling.different_samples(runs, outputs, ids)) == expected
        equal = [{"x": np.float32([[index % 7]])} for index in range(len(outputs))]
        assert not scaling.unsure(scaling.different_samples(equal, outputs, ids))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({(k, k): 170 for k in range(10)} | {(k, (k + 1) % 10): 830 for k in range(10)}, True),
        ({(k, k): 200 for k in range(10)} | {(k, (k + 1) % 10): 800 for k in range(10)}, False),
        ({(true, 0): 10 for true in range(10)}, True),  # one class for all
        ({(true, given): 1 for true in range(10) for given in range(10)}, True),
        ({(true, true): 4 for true in range(10)} | {(true, 0): 6 for true in range(1, 10)}, False),
        ({(0, 0): 95, (1, 0): 5}, False),  # a rare class that is never found
        ({(0, 0): 50, (1, 0): 50}, True),
        ({(0, 0): 300, (1, 1): 300, (0, 1): 200, (1, 0): 200}, False),  # 60% for two classes
        ({(0, 0): 26, (1, 1): 26, (0, 1): 24, (1, 0): 24}, True),
        ({(0, 0): 2, (1, 1): 2}, False),  # few samples, but all correct
        ({(0, 0): 9}, False),
        ({}, False),
    ],
)
def test_what_is_near_chance(pairs, expected):
    total = max(sum(pairs.values()), 1)
    right = sum(count for (true, given), count in pairs.items() if true == given)
    assert accuracy.Score(right / total, Counter(pairs)).is_chance() == expected
