"""Models that lose accuracy with eight bits, each for a known cause, healthy ones, and their data.

The last layer of each is fitted by least squares, which is fast. The other layers are random.
"""

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

CLASSES, SIZE = 10, 8


def images(count, seed, noise=0.15):
    """Return blurred patterns of ten classes with noise: float32 (n, 8, 8, 1), and labels."""
    patterns = np.random.default_rng(7).random((CLASSES, SIZE, SIZE, 1))
    patterns = (patterns + np.roll(patterns, 1, 1) + np.roll(patterns, 1, 2)) / 3
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    noisy = patterns[labels] + generator.normal(0, noise, (count, SIZE, SIZE, 1))
    return noisy.clip(0, 1).astype("float32"), labels


def fitted(inputs, features, x, targets, size=1.0, activation=None):
    """Return a model whose last layer maps `features` to targets, fitted by least squares."""
    body = keras.Model(inputs, features)
    known = np.asarray(body(x))
    known = np.concatenate([known, np.ones((len(known), 1))], axis=1)
    weights = np.linalg.solve(
        known.T @ known + 1e-3 * np.trace(known.T @ known) / len(known.T) * np.eye(len(known.T)),
        known.T @ targets,
    )
    last = layers.Dense(targets.shape[1], activation=activation, name="last")
    model = keras.Model(inputs, last(features))
    last.set_weights([size * weights[:-1], size * weights[-1]])
    return model


def settled(inputs, outputs, x):
    """Return a model whose batch normalization has the statistics of x."""
    model = keras.Model(inputs, outputs)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    for _ in model.layers:  # each call settles one more layer
        model(x, training=True)
    return model


def convolutions(blocks=4):
    """Return a classifier of depthwise convolutions, each with batch normalization and ReLU."""
    keras.utils.set_random_seed(1)
    x, labels = images(600, seed=1)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    h = layers.Conv2D(24, 3, padding="same", use_bias=False)(image)
    h = layers.ReLU()(layers.BatchNormalization()(h))
    for block in range(blocks):
        h = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depth_{block}")(h)
        h = layers.ReLU()(layers.BatchNormalization()(h))
        h = layers.Conv2D(24, 1, use_bias=False, name=f"mix_{block}")(h)
        h = layers.ReLU()(layers.BatchNormalization()(h))
    h = layers.Flatten()(layers.AveragePooling2D(2)(h))
    settled(image, h, x)
    return fitted(image, h, x, np.eye(CLASSES)[labels], 10, "softmax")


def spread(model, which):
    """Scale the channels of some depthwise convolutions by 2^-4 to 2^4, with the same outputs."""
    generator = np.random.default_rng(0)
    places = [i for i, each in enumerate(model.layers) if isinstance(each, layers.DepthwiseConv2D)]
    for place in [places[index] for index in which]:
        norm, _, after = model.layers[place + 1 : place + 4]
        scale = 2.0 ** generator.uniform(-4, 4, norm.gamma.shape[0])
        norm.gamma.assign(norm.gamma * scale)
        norm.beta.assign(norm.beta * scale)
        after.kernel.assign(after.kernel / scale[:, None])
    return model


def attention(mask, sharp=1.0, blocks=1):
    """Return a classifier with attention over an image's rows, and perhaps a large causal mask."""
    keras.utils.set_random_seed(1)
    x, labels = images(600, seed=1)
    rows = keras.Input((SIZE, SIZE), name="rows")
    h = layers.Dense(32)(rows)
    for _ in range(blocks):
        query, key, value = (layers.Dense(32)(h) for _ in range(3))
        scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 2, 1)))
        if mask:
            scores = scores + np.triu(np.full((SIZE, SIZE), -1e9, "float32"), 1)[None]
        h = layers.LayerNormalization()(keras.ops.matmul(layers.Softmax()(sharp * scores), value))
    h = layers.Flatten()(layers.Dense(32, activation="relu")(h))
    return fitted(rows, h, x[..., 0], np.eye(CLASSES)[labels], 10, "softmax")


def people(count, seed):
    """Return ages, incomes and rates, float32 (n, 3), and booleans computed from them."""
    generator = np.random.default_rng(seed)
    age, rate = generator.uniform(18, 90, count), generator.uniform(0, 0.2, count)
    income = generator.lognormal(10.3, 0.6, count)
    truth = (age - 50) / 20 + (np.log(income) - 10.3) - (rate - 0.1) * 25 > 0
    return np.stack([age, income, rate], axis=1).astype("float32"), truth.astype("float32")[:, None]


def columns(width=64, depth=2):
    """Return a model of an age, an income and a rate, which it standardizes itself."""
    keras.utils.set_random_seed(1)
    x, truth = people(2000, seed=1)
    norm = layers.Normalization(name="norm")
    norm.adapt(x)
    taken = keras.Input((3,), name="person")
    h = norm(taken)
    for _ in range(depth):
        h = layers.Dense(width, "relu", kernel_initializer="he_normal", bias_initializer="normal")(
            h
        )
    return fitted(taken, h, x, 2 * truth - 1, 6, "sigmoid")


def price():
    """Return a model with ten probabilities and a price in one output."""
    keras.utils.set_random_seed(1)
    x, labels = images(600, seed=1)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    h = layers.Dense(64, activation="relu")(layers.Flatten()(image))
    model = fitted(image, h, x, np.concatenate([np.eye(CLASSES), priced()], axis=1)[labels])
    scores = model.output
    both = [layers.Softmax()(10 * scores[:, :CLASSES]), 5000 * scores[:, CLASSES:]]
    return keras.Model(image, layers.Concatenate(name="both")(both))


def priced():
    """Return a price for each class, in 5,000s: float64 (10, 1)."""
    return 0.1 + 0.2 * np.arange(CLASSES)[:, None]


def dense():
    keras.utils.set_random_seed(1)
    x, labels = images(600, seed=1)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    h = layers.Dense(64, activation="relu")(layers.Flatten()(image))
    return fitted(image, h, x, np.eye(CLASSES)[labels], 10, "softmax")


def swish():
    keras.utils.set_random_seed(1)
    x, labels = images(600, seed=1)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    h = layers.Conv2D(16, 3, activation="hard_swish")(image)
    h = layers.Flatten()(layers.Conv2D(8, 3, activation="hard_swish")(h))
    return fitted(image, h, x, np.eye(CLASSES)[labels], 10, "softmax")


def denoiser():
    """Return a model that removes noise from images, from the pixels around each pixel."""
    keras.utils.set_random_seed(1)
    x, _ = images(300, seed=1)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    h = layers.Flatten()(h)
    return fitted(image, h, noisy(x), x.reshape(len(x), -1))


def noisy(x):
    """Return images with noise."""
    return (x + np.random.default_rng(3).normal(0, 0.1, x.shape)).astype("float32")
