"""Small models of the kinds that people bring, by name."""

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers


def two_inputs():
    """Return a model with a dict of inputs and nested outputs, in another order than by name."""
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    outputs = {"z": layers.Dense(2)(both), "a": {"inner": layers.Dense(3)(right)}}
    return keras.Model({"right": right, "left": left}, outputs)


def embedding():
    return keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            layers.Embedding(50, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )


def uint8_image():
    image = keras.Input((12, 12, 3), dtype="uint8")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def normalization():
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(7).normal(5, 3, (50, 3)))
    return keras.Sequential([keras.Input((3,)), norm, layers.Dense(4, "relu"), layers.Dense(1)])


def attention():
    steps = keras.Input((None, 8))
    x = layers.LayerNormalization()(steps + layers.MultiHeadAttention(2, 4)(steps, steps))
    return keras.Model(steps, layers.Dense(1)(x))


def any_size_image():
    image = keras.Input((None, None, 3))
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(4, 3, padding="same")(image))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def lstm():
    return keras.Sequential([keras.Input((None, 3)), layers.LSTM(4), layers.Dense(1)])


def gru():
    return keras.Sequential(
        [keras.Input((6, 3)), layers.Bidirectional(layers.GRU(4, return_sequences=True))]
    )


def mobilenet():
    return keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=10)


MODELS = {
    function.__name__: function
    for function in [
        two_inputs,
        embedding,
        uint8_image,
        normalization,
        attention,
        any_size_image,
        lstm,
        gru,
        mobilenet,
    ]
}
