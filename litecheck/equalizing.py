"""How are the channels of a Keras model equalized, with the same outputs?

Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019) uses that ReLU(s · x) is s · ReLU(x). A layer can scale its channels if the next
layer undoes that. After that, one quantization scale fits all channels.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

PART = 32  # samples in a batch
TINY = 1e-9  # a smaller channel or weight counts as 0
NEXT = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)
FIRST = (*NEXT, keras.layers.BatchNormalization)
# Layers that return s · y for s · x, in each channel by itself.
BETWEEN = (
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.Flatten,
)


def equalized(model: keras.Model, inputs: Sequence[np.ndarray]) -> keras.Model | None:
    """Return a copy of a model with equalized channels, or None if no layers allow it.

    Each channel is scaled so that its values and the weights that multiply them lose equally. The
    largest value of the channel and its largest weight become equal, each as a part of the largest
    of all channels. A depthwise convolution has a scale for each channel, so its weights lose
    nothing, and only the values count.

    Args:
        model: the model.
        inputs: an array of typical samples for each input of the model.

    Returns:
        The copy, whose outputs equal the model's. None if no pair of layers can be equalized, or if
        outputs would change.

    Raises:
        Exception: Keras cannot copy or run the model.
    """
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    pairs = [*_pairs(copied)]
    if not pairs:
        return None
    seen = keras.Model(copied.inputs, [copied.outputs, [after.input for _, after in pairs]])
    parts = [[array[i : i + PART] for array in inputs] for i in range(0, len(inputs[0]), PART)]
    before = seen(parts[0], training=False)[0]
    sizes = [
        [_sizes(values, layer) for (layer, _), values in zip(pairs, taken, strict=True)]
        for part in parts
        for taken in [seen(part, training=False)[1]]
    ]
    for (layer, after), *largest in zip(pairs, *sizes, strict=True):
        _rescale(layer, after, np.max(largest, axis=0))
    for true, given in zip(before, seen(parts[0], training=False)[0], strict=True):
        if not np.array_equal(given, true):
            return None
    return copied


def _sizes(values: Any, layer: Any) -> np.ndarray:
    """Return the largest absolute value of each channel, (channels,).

    Args:
        values: the inputs of the next layer, samples first. After `Flatten` the channels repeat
            along the last axis.
        layer: the layer that has these channels on its last axis.
    """
    return np.abs(np.asarray(values)).reshape(-1, layer.output.shape[-1]).max(axis=0)


def _pairs(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Yield each layer that can scale its channels, with the next layer that can undo it."""
    takers: dict[int, list[Any]] = {}
    every = model.layers if isinstance(model, keras.Sequential) else model.operations
    for layer in every:
        for tensor in keras.tree.flatten(_ends(layer)[0]):
            takers.setdefault(id(tensor), []).append(layer)
    ends = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    for layer in model.layers:
        if not _is_scalable(layer):
            continue
        after = layer
        while after is layer or _passes_on(after):
            output = _ends(after)[1]
            following = takers.get(id(output), [])
            if id(output) in ends or len(following) != 1:
                break
            (after,) = following
        else:
            is_whole = getattr(after, "groups", 1) == 1
            if type(after) in NEXT and _is_last_axis(after) and is_whole:
                yield layer, after


def _ends(layer: Any) -> tuple[Any, Any]:
    """Return the symbolic inputs and outputs of a layer. Empty lists if it is called twice."""
    with contextlib.suppress(AttributeError, ValueError):
        return layer.input, layer.output
    return [], []


def _is_scalable(layer: Any) -> bool:
    """Return whether the channels of a layer's output can be scaled."""
    if type(layer) is keras.layers.BatchNormalization:
        return layer.scale and layer.axis in (-1, len(layer.output.shape) - 1)
    return type(layer) in FIRST and _is_last_axis(layer) and _is_homogeneous(layer.activation)


def _is_last_axis(layer: Any) -> bool:
    """Return whether a layer has its channels on the last axis."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_homogeneous(activation: Any) -> bool:
    """Return whether an activation returns s · y for s · x."""
    own = keras.activations
    return activation in (own.linear, own.relu, own.leaky_relu)


def _passes_on(layer: Any) -> bool:
    """Return whether a layer returns s · y for s · x, in each channel by itself."""
    if type(layer) is keras.layers.ReLU:
        return layer.max_value is None and not layer.threshold
    if type(layer) is keras.layers.Activation:
        return _is_homogeneous(layer.activation)
    return type(layer) in BETWEEN and _is_last_axis(layer)


def _rescale(layer: Any, after: Any, size: np.ndarray) -> None:
    """Equalize the channels between two layers, by changing the weights of both.

    Args:
        layer: the layer that returns the channels.
        after: the layer that takes them.
        size: the largest absolute value of each channel.
    """
    channels, kernel = layer.output.shape[-1], np.asarray(after.kernel)
    by_channel = kernel.reshape(-1, channels, kernel.shape[-1])
    if type(after) is not keras.layers.DepthwiseConv2D:
        size = size / (size.max() or 1)
        weights = np.abs(by_channel) / np.maximum(np.abs(by_channel).max(axis=(0, 1)), TINY)
        size = np.sqrt(size / np.maximum(weights.max(axis=(0, 2)), TINY))
    # Multiplying by powers of two changes no bit of the outputs.
    scale = np.where(size > TINY, 2.0 ** np.round(np.log2(np.maximum(size, TINY))), 1.0)
    after.kernel.assign((by_channel * scale[:, None]).reshape(kernel.shape))
    if type(layer) is keras.layers.BatchNormalization:
        scaled = [layer.gamma, layer.beta]
    else:
        scaled = [layer.kernel, layer.bias]
    for variable in filter(lambda each: each is not None, scaled):
        own = np.asarray(variable)
        variable.assign((own.reshape(-1, channels) / scale).reshape(own.shape))
