"""Small models of common kinds, by name."""

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers


def two_inputs():
    """Return a model with a dict of inputs and nested outputs, not ordered by name."""
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


def augmentation():
    """Return a functional model with nested random layers, and another random layer."""
    image = keras.Input((16, 16, 3))
    augment = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.3)], name="augment")
    x = layers.RandomZoom(0.5)(augment(image))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(image, layers.Dense(3)(layers.Dropout(0.5)(x)))


def augmentation_alone():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomTranslation(0.3, 0.3),
            layers.RandomContrast(0.5),
            layers.GaussianNoise(1.0),
            layers.Flatten(),
        ]
    )


def mixed_float16():
    """Return a model as with `keras.mixed_precision.set_global_policy("mixed_float16")`."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    image = keras.Input((12, 12, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    x = layers.Reshape((-1, 4))(x)
    x = layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(x, x))
    model = keras.Model(image, layers.Dense(2, "softmax", dtype="float32")(x))
    keras.mixed_precision.set_global_policy("float32")
    return model


def swish():
    image = keras.Input((16, 16, 3))
    x = layers.Activation("swish")(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def words():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(50, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, layers.Dense(2)(layers.Bidirectional(layers.LSTM(6))(x)))


def odd_names():
    left, right = keras.Input((6,), name="b-in"), keras.Input((3,), name="a.in")
    both = layers.Concatenate()([left, right])
    return keras.Model([left, right], [layers.Dense(2)(both), layers.Dense(3)(right)])


def difference():
    """Return a model that 8 bits cannot represent: the difference of `nearly_equal` numbers."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.float32([[1], [-1]])])
    return model


def nearly_equal(rng, count):
    """Return pairs of large and nearly equal numbers, float32 (count, 2)."""
    large = rng.uniform(0, 1000, count)
    return np.stack([large, large + rng.normal(0, 10, count)], axis=1).astype("float32")


RECURRENT = ["lstm", "gru", "words"]
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
        augmentation,
        augmentation_alone,
        mixed_float16,
        swish,
        words,
        odd_names,
    ]
}
