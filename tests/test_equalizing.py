"""Equalized channels: the outputs are bit-identical, and layers that do not allow it stay."""

import numpy as np
import pytest
from tensorflow import keras
from tensorflow.keras import layers

from litecheck import equalizing


def uneven(model, seed=0):
    """Scale the channels of each layer with weights at random."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        for weights in layer.weights:
            if weights.path.endswith(("kernel", "gamma", "bias", "beta", "variance")):
                values = np.asarray(weights)
                sizes = 2.0 ** generator.uniform(-4, 4, values.shape[-1])
                weights.assign(values * sizes + (0.1 if values.ndim == 1 else 0))
    return model


def spreads(model, x):
    """Return the ratio of the largest to the smallest channel, for the input of each layer."""
    found = []
    for layer in model.layers:
        if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Dense):
            taken = np.abs(keras.Model(model.inputs, layer.input)(x))
            largest = taken.reshape(-1, taken.shape[-1]).max(axis=0)
            found.append(largest.max() / largest[largest > 0].min())
    return found


def image(*more):
    return keras.Sequential([keras.Input((8, 8, 2)), *more])


def branches(merges):
    """Return a model in which two layers use the output of one layer."""
    taken = keras.Input((8, 8, 2))
    h = layers.Conv2D(6, 3, activation="relu")(taken)
    ends = [layers.Conv2D(3, 3, activation="relu")(h), layers.Conv2D(3, 3)(h)]
    return keras.Model(taken, layers.Add()(ends) if merges else [ends[0], ends[1], h])


def shared():
    """Return a model that calls one layer twice."""
    taken, same = keras.Input((8, 8, 2)), layers.Conv2D(2, 3, padding="same", activation="relu")
    return keras.Model(taken, layers.Conv2D(3, 3)(same(same(taken))))


CHAINS = {
    "activation in the layer": (
        1,
        lambda: image(layers.Conv2D(6, 3, activation="relu"), layers.Conv2D(3, 3)),
    ),
    "no activation": (1, lambda: image(layers.Conv2D(6, 3), layers.Conv2D(3, 3))),
    "normalized": (
        2,
        lambda: image(
            layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3),
            layers.Activation("relu"),
            layers.Conv2D(3, 1),
        ),
    ),
    "not centred": (
        1,
        lambda: image(
            layers.Conv2D(6, 3), layers.BatchNormalization(center=False), layers.Conv2D(3, 3)
        ),
    ),
    "several of each": (
        2,
        lambda: image(
            layers.DepthwiseConv2D(3, depth_multiplier=3, activation="relu"),
            layers.Conv2D(4, 1, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2),
        ),
    ),
    "flattened": (
        3,
        lambda: image(
            layers.Conv2D(5, 3),
            layers.LeakyReLU(),
            layers.Conv2D(4, 3),
            layers.ReLU(negative_slope=0.1),
            layers.ZeroPadding2D(1),
            layers.AveragePooling2D(2),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dense(2, activation="softmax"),
        ),
    ),
    "sequences": (
        2,
        lambda: keras.Sequential(
            [
                keras.Input((20, 3)),
                layers.Conv1D(5, 3, activation="relu"),
                layers.MaxPooling1D(2),
                layers.Conv1D(4, 3, activation="relu"),
                layers.GlobalAveragePooling1D(),
                layers.Dense(2),
            ]
        ),
    ),
    "two takers": (0, lambda: branches(merges=True)),
    "an output inside": (0, lambda: branches(merges=False)),
    "called twice": (0, shared),
    "clipped": (
        0,
        lambda: image(layers.Conv2D(6, 3), layers.ReLU(max_value=6), layers.Conv2D(3, 3)),
    ),
    "from a threshold": (
        0,
        lambda: image(layers.Conv2D(6, 3), layers.ReLU(threshold=1), layers.Conv2D(3, 3)),
    ),
    "curved": (0, lambda: image(layers.Conv2D(6, 3, activation="gelu"), layers.Conv2D(3, 3))),
    "without scales": (
        0,
        lambda: image(
            layers.Conv2D(6, 3), layers.BatchNormalization(scale=False), layers.Conv2D(3, 3)
        ),
    ),
    "in groups": (0, lambda: image(layers.Conv2D(6, 3), layers.Conv2D(4, 3, groups=2))),
    "normalized by height": (
        0,
        lambda: image(layers.Conv2D(6, 3), layers.BatchNormalization(axis=1), layers.Conv2D(3, 3)),
    ),
    "nested": (
        0,
        lambda: image(
            layers.Conv2D(6, 3, activation="relu"),
            keras.Sequential([keras.Input((6, 6, 6)), layers.Conv2D(3, 3)]),
        ),
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_function_is_the_same(name):
    pairs, build = CHAINS[name]
    keras.utils.set_random_seed(1)
    model = uneven(build())
    x = np.random.default_rng(2).normal(size=(20, *model.input_shape[1:])).astype("float32")
    before, weights = model(x, training=False), model.get_weights()
    copied = equalizing.equalized(model, [x])
    for mine, kept in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, kept)
    assert bool(copied) == bool(pairs)
    if not copied:
        return
    assert len([*equalizing._pairs(copied)]) == pairs
    np.testing.assert_array_equal(before, copied(x, training=False))
    rough, even = spreads(model, x), spreads(copied, x)
    assert max(even) < max(rough)


def test_other_pairs_stay_where_one_cannot_be_equalized():
    keras.utils.set_random_seed(1)
    model = uneven(
        image(
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(8, 3, groups=4, activation="relu"),
            layers.Conv2D(4, 1, activation="relu"),
        )
    )
    x = np.random.default_rng(2).normal(size=(70, 8, 8, 2)).astype("float32")  # in three parts
    copied = equalizing.equalized(model, [x])
    np.testing.assert_array_equal(model(x), copied(x))
    before, after = spreads(model, x), spreads(copied, x)
    assert after[:2] == before[:2]
    assert after[2] < before[2]


def test_a_model_of_several_inputs_and_outputs():
    keras.utils.set_random_seed(1)
    ends = {name: keras.Input((4,), name=name) for name in "ba"}
    h = layers.Dense(8, activation="relu")(layers.Concatenate()([ends["a"], ends["b"]]))
    h = layers.Dense(8, activation="relu")(h)
    model = uneven(keras.Model(ends, {"y": layers.Dense(2)(h), "z": layers.Dense(1)(h)}))
    a, b = np.random.default_rng(0).normal(size=(2, 30, 4)).astype("float32")
    copied = equalizing.equalized(model, [a, b])
    given, kept = (each({"a": a, "b": b}) for each in (copied, model))
    for name in "yz":
        np.testing.assert_allclose(given[name], kept[name], rtol=1e-5, atol=1e-5)
