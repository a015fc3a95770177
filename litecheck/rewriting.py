"""How is a Keras model another graph with the same outputs, which LiteRT has operations for?

Keras 3 computes a recurrent layer in a loop of dozens of operations, which cannot be calibrated.
TensorFlow's converter makes one operation, `UNIDIRECTIONAL_SEQUENCE_LSTM`, of a function that has
the attribute `api_implements` (TensorFlow, lite/python/convert_saved_model and its pass
"prepare-composite-functions"). Other layers repeat the operations of a step. Whether the outputs
are the same, the check says.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from litecheck import inside, keras2

STEPS = 128  # of a layer that is unrolled at most
STATE, CELL, HIDDEN = 18, 19, 4  # LSTM's inputs and its intermediate tensor, in LiteRT's kernel
RECURRENT = tuple(getattr(keras.layers, name) for name in keras2.RECURRENT)


def rewritten(model: keras.Model, loops: bool = False) -> keras.Model | None:
    """Return a copy of a model with other operations for some; None if it has none of those.

    They are recurrent layers, `UpSampling2D` of sizes that vary, `Resizing` of whole numbers, and
    `keras.ops.argmax`.

    Args:
        model: the model.
        loops: whether recurrent layers stay loops.

    Raises:
        Exception: Keras cannot copy the model, as with code of one's own that does not describe
            itself.
    """
    numbers = itertools.count(1)

    def instead(operation: Any) -> Instead | None:
        return None if loops and _is_recurrent(operation) else _instead(operation, numbers)

    def copy(operation: Any) -> Any:
        return instead(operation) or operation.__class__.from_config(operation.get_config())

    if not any(map(instead, operations(model))):
        return None

    copied = keras.models.clone_model(model, clone_function=copy, recursive=True)
    copied.set_weights(model.get_weights())
    return copied


def operations(model: keras.Model) -> Iterator[Any]:
    """Yield the layers and operations of a model and of the models in it."""
    for operation in model.layers if isinstance(model, keras.Sequential) else model.operations:
        if isinstance(operation, keras.Model):
            yield from operations(operation)
        else:
            yield operation


def _is_recurrent(operation: Any) -> bool:
    """Return whether a layer is recurrent, or `Bidirectional`."""
    return type(operation) in (keras.layers.Bidirectional, *RECURRENT)


def _instead(operation: Any, numbers: Iterator[int]) -> "Instead | None":
    """Return the layer that takes the place of a layer or an operation, or None."""
    kind = type(operation)
    if kind is keras.layers.Bidirectional:
        if all(
            type(layer) in RECURRENT and not layer.stateful and not layer.return_state
            for layer in (operation.forward_layer, operation.backward_layer)
        ):
            return BothWays(operation, numbers)
    elif kind in RECURRENT:
        return None if operation.stateful else Unlooped(operation, numbers)
    elif kind is keras.layers.UpSampling2D and None in _taken(operation).shape[1:3]:
        return Enlarged(operation)
    elif kind is keras.layers.Resizing and "int" in _taken(operation).dtype:
        return Rounded(operation)
    elif kind.__name__ == "Argmax" and kind.__module__.startswith("keras."):
        return Largest(operation)
    return None


def _taken(layer: Any) -> keras.KerasTensor:
    """Return the symbolic input of a layer, one of any kind if it is called several times."""
    with contextlib.suppress(AttributeError, ValueError):
        return layer.input
    return keras.KerasTensor((None, None, None, None), "uint8")


class Instead(keras.layers.Layer):
    """A layer that takes the place of another, with its weights."""

    def __init__(self, layer: Any) -> None:
        """Take the layer, or the operation."""
        super().__init__(name=layer.name)
        self.layer = layer
        self.supports_masking = True

    def build(self, *shapes: Any) -> None:
        """Build nothing: the layer has its weights."""

    def compute_output_spec(self, *inputs: Any, **given: Any) -> Any:
        """Return what the outputs are."""
        return self.layer.compute_output_spec(*inputs, **given)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs."""
        return self.layer.compute_mask(inputs, mask) if mask is not None else None


class Unlooped(Instead):
    """A recurrent layer that computes without a loop where it can."""

    def __init__(self, layer: Any, numbers: Iterator[int]) -> None:
        """Take the layer, and numbers for operations that no other layer has."""
        super().__init__(layer)
        self._unrolled, self._numbers = _unrolled(layer), numbers

    def call(self, inputs: Any, mask: Any = None, initial_state: Any = None) -> Any:
        """Return the layer's outputs."""
        given = {"mask": mask, "initial_state": initial_state}
        return _unlooped(self.layer, self._unrolled, self._numbers, inputs, given)


class BothWays(Instead):
    """A `Bidirectional` layer of recurrent ones that compute without a loop where they can."""

    def __init__(self, layer: Any, numbers: Iterator[int]) -> None:
        """Take the layer, and numbers for operations that no other layer has."""
        super().__init__(layer)
        self._unrolled = [_unrolled(layer.forward_layer), _unrolled(layer.backward_layer)]
        self._numbers = numbers

    def call(self, inputs: Any, mask: Any = None, initial_state: Any = None) -> Any:
        """Return the layer's outputs."""
        layer = self.layer
        if initial_state is not None:
            return layer(inputs, mask=mask, initial_state=initial_state)
        there, back = (
            _unlooped(each, unrolled, self._numbers, inputs, {"mask": mask})
            for each, unrolled in zip(
                (layer.forward_layer, layer.backward_layer), self._unrolled, strict=True
            )
        )
        if layer.return_sequences:
            back = tf.reverse(back, [1])
        if layer.merge_mode == "concat":
            return tf.concat([there, back], axis=-1)
        if layer.merge_mode == "mul":
            return there * back
        if layer.merge_mode is None:
            return [there, back]
        return there + back if layer.merge_mode == "sum" else (there + back) / 2


def _unrolled(layer: Any) -> Any:
    """Return a recurrent layer that repeats the operations of a step, with the same weights."""
    config = layer.get_config() | {"unroll": True}
    if type(layer) is keras.layers.RNN:
        del config["cell"]
        return keras.layers.RNN(layer.cell, **config)
    unrolled = type(layer).from_config(config)
    unrolled.cell = layer.cell
    return unrolled


def _unlooped(layer: Any, unrolled: Any, numbers: Iterator[int], inputs: Any, given: Any) -> Any:
    """Return a recurrent layer's outputs, without a loop where that can be had.

    Args:
        layer: the layer.
        unrolled: the same, unrolled.
        numbers: for operations, none used twice.
        inputs: a tensor, samples first and then steps.
        given: what else it is called with: a mask, a state, or None.
    """
    is_plain = all(value is None for value in given.values())
    if is_plain and inputs.shape[0] == 1 and _is_one_operation(layer):
        return _lstm(layer, inputs, next(numbers))
    steps = inputs.shape[1]
    is_short = isinstance(steps, int) and steps <= STEPS
    return (unrolled if is_short else layer)(inputs, **given)


class Enlarged(Instead):
    """An `UpSampling2D` layer that computes the new size where sizes vary."""

    def call(self, inputs: Any) -> Any:
        """Return the enlarged images."""
        layer = self.layer
        is_fixed = None not in inputs.shape[1:3]
        if is_fixed or layer.data_format != "channels_last":
            return layer(inputs)
        size = tf.shape(inputs)[1:3] * tf.constant(layer.size)
        return tf.image.resize(inputs, size, layer.interpolation)


class Rounded(Instead):
    """A `Resizing` layer that rounds whole numbers in a graph, as it does outside of one."""

    def call(self, inputs: Any) -> Any:
        """Return the resized images."""
        if not inputs.dtype.is_integer:
            return self.layer(inputs)
        dtype = inputs.dtype
        resized = tf.round(self.layer(tf.cast(inputs, tf.float32)))
        return tf.cast(tf.maximum(tf.minimum(resized, dtype.max), dtype.min), dtype)


class Largest(Instead):
    """`keras.ops.argmax` in one operation."""

    def call(self, x: Any) -> Any:
        """Return where the largest component is: int32."""
        axis, keepdims = self.layer.axis, self.layer.keepdims
        found = tf.argmax(tf.reshape(x, [-1]) if axis is None else x, axis or 0, tf.int32)
        if keepdims:
            shape = [1] * len(x.shape)
            return tf.reshape(found, shape) if axis is None else tf.expand_dims(found, axis)
        return found


def _is_one_operation(layer: keras.layers.Layer) -> bool:
    """Return whether the operation computes what an LSTM layer does."""
    return (
        type(layer) is keras.layers.LSTM
        and not layer.return_state
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
    )


def _lstm(layer: keras.layers.Layer, inputs: tf.Tensor, number: int) -> tf.Tensor:
    """Return an LSTM's outputs for one sample, by a function that the converter knows.

    Args:
        layer: the layer.
        inputs: float32 (1, steps, features).
        number: one that no other call in the model has.

    Returns:
        float32 (1, steps, units), or the last step's (1, units).
    """
    attributes = {
        "api_implements": f"lstm_{number}",
        "api_preferred_device": "CPU",
        "time_major": False,
        "go_backwards": bool(layer.go_backwards),
    }

    @tf.function(experimental_attributes=attributes, autograph=False)
    def standard_lstm(
        inputs: Any, h: Any, c: Any, kernel: Any, recurrent: Any, bias: Any
    ) -> tuple[tf.Tensor, ...]:
        def step(state: tuple[tf.Tensor, tf.Tensor], x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            h, c = state
            i, f, g, o = tf.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        steps = tf.transpose(inputs, (1, 0, 2))
        if layer.go_backwards:
            steps = tf.reverse(steps, [0])
        states, cells = tf.scan(step, steps, (h, c))
        return states[-1], tf.transpose(states, (1, 0, 2)), states[-1], cells[-1], tf.constant(1.0)

    cell, zeros = layer.cell, tf.zeros((1, layer.units))
    bias = cell.bias if layer.use_bias else tf.zeros((4 * layer.units,))
    weights = [tf.convert_to_tensor(each) for each in (cell.kernel, cell.recurrent_kernel, bias)]
    last, outputs, *_ = standard_lstm(inputs, zeros, zeros, *weights)
    return outputs if layer.return_sequences else last


def with_sound_states(content: bytes) -> bytes | None:
    """Return a `.tflite` file of integers whose LSTM states have sound scales; None if all had.

    A cell's state, int16, needs a scale of 2^-15 at least: below, LiteRT's kernel of integers
    computes another tanh. The state of the output, and its intermediate tensor, must have the
    output's scale, for the kernel gives the same integers to all three: the converter gives the
    output another one where two outputs are joined, as of `Bidirectional`.
    """
    parsed, changed = schema.ModelT.InitFromPackedBuf(content), False
    kind = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    for graph in parsed.subgraphs:
        for operator in graph.operators:
            if parsed.operatorCodes[operator.opcodeIndex].builtinCode != kind:
                continue
            tensors, output = graph.tensors, graph.tensors[operator.outputs[0]]
            state, cell = (tensors[operator.inputs[place]] for place in (STATE, CELL))
            if state.type != schema.TensorType.INT8 or cell.type != schema.TensorType.INT16:
                continue
            if cell.quantization.scale[0] < inside.SOUND:
                cell.quantization.scale, changed = np.array([inside.SOUND], np.float32), True
            true = output.quantization
            for same in (state, tensors[operator.intermediates[HIDDEN]]):
                found = same.quantization
                if (found.scale[0], found.zeroPoint[0]) != (true.scale[0], true.zeroPoint[0]):
                    found.scale, found.zeroPoint = true.scale.copy(), true.zeroPoint.copy()
                    changed = True
    if not changed:
        return None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())
