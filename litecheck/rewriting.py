"""How is a Keras model rewritten with operations that LiteRT has, for the same outputs?

Keras 3 computes a recurrent layer in a loop of dozens of operations, which cannot be calibrated. An
LSTM layer becomes one operation, `UNIDIRECTIONAL_SEQUENCE_LSTM`: TensorFlow's converter makes it
from a function that has the attribute `api_implements` (TensorFlow, lite/python/convert_saved_model
and its pass "prepare-composite-functions"). Other recurrent layers of a few steps are unrolled:
they repeat the operations of a step. The check compares the outputs, as it does for every file.
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

STEPS = 128  # longer layers are not unrolled
# Places in LiteRT's LSTM kernel: of the output's and the cell's state among the inputs, and of the
# hidden tensor among the intermediate ones.
STATE, CELL, HIDDEN = 18, 19, 4
RECURRENT = tuple(getattr(keras.layers, name) for name in keras2.RECURRENT)


def rewritten(model: keras.Model, loops: bool = False) -> keras.Model | None:
    """Return a copy of a model with some operations replaced, or None if it has none of these.

    They are recurrent layers, `UpSampling2D` of images whose size varies, `Resizing` of integers,
    and `keras.ops.argmax`.

    Args:
        model: the model.
        loops: whether recurrent layers stay loops.

    Raises:
        Exception: Keras cannot copy the model, for instance a custom layer without `get_config`.
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
    """Yield the layers and operations of a model and of its nested models."""
    for operation in model.layers if isinstance(model, keras.Sequential) else model.operations:
        if isinstance(operation, keras.Model):
            yield from operations(operation)
        else:
            yield operation


def _is_recurrent(operation: Any) -> bool:
    """Return whether an operation is a recurrent or a `Bidirectional` layer."""
    return type(operation) in (keras.layers.Bidirectional, *RECURRENT)


def _instead(operation: Any, numbers: Iterator[int]) -> "Instead | None":
    """Return the layer that replaces a layer or an operation, or None if it stays.

    Args:
        operation: the layer or the operation.
        numbers: a counter that gives each LSTM operation its own number.
    """
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
    """Return the symbolic input of a layer.

    A layer that is called several times has no single input. For it the result is a tensor that
    any layer here accepts: four variable axes, uint8.
    """
    with contextlib.suppress(AttributeError, ValueError):
        return layer.input
    return keras.KerasTensor((None, None, None, None), "uint8")


class Instead(keras.layers.Layer):
    """A layer that replaces another one, with the same weights."""

    def __init__(self, layer: Any) -> None:
        """Take the layer or the operation to replace."""
        super().__init__(name=layer.name)
        self.layer = layer
        self.supports_masking = True

    def build(self, *shapes: Any) -> None:
        """Build nothing: the replaced layer has its weights already."""

    def compute_output_spec(self, *inputs: Any, **given: Any) -> Any:
        """Return the shapes and dtypes of the outputs."""
        return self.layer.compute_output_spec(*inputs, **given)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs, or None."""
        return self.layer.compute_mask(inputs, mask) if mask is not None else None


class Unlooped(Instead):
    """A recurrent layer that computes without a loop where it can."""

    def __init__(self, layer: Any, numbers: Iterator[int]) -> None:
        """Take the layer to replace, and a counter that numbers the LSTM operations of a model."""
        super().__init__(layer)
        self._unrolled, self._numbers = _unrolled(layer), numbers

    def call(self, inputs: Any, mask: Any = None, initial_state: Any = None) -> Any:
        """Return the layer's outputs."""
        given = {"mask": mask, "initial_state": initial_state}
        return _unlooped(self.layer, self._unrolled, self._numbers, inputs, given)


class BothWays(Instead):
    """A `Bidirectional` layer whose two layers compute without a loop where they can."""

    def __init__(self, layer: Any, numbers: Iterator[int]) -> None:
        """Take the layer to replace, and a counter that numbers the LSTM operations of a model."""
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
    """Return an unrolled copy of a recurrent layer, which shares its weights."""
    config = layer.get_config() | {"unroll": True}
    if type(layer) is keras.layers.RNN:
        del config["cell"]
        return keras.layers.RNN(layer.cell, **config)
    unrolled = type(layer).from_config(config)
    unrolled.cell = layer.cell
    return unrolled


def _unlooped(layer: Any, unrolled: Any, numbers: Iterator[int], inputs: Any, given: Any) -> Any:
    """Return a recurrent layer's outputs, computed without a loop where that is possible.

    Args:
        layer: the layer.
        unrolled: its unrolled copy.
        numbers: a counter that numbers the LSTM operations of a model.
        inputs: a tensor (samples, steps, …).
        given: the other arguments of the call by keyword, a mask and a state, or None for each.
    """
    is_plain = all(value is None for value in given.values())
    if is_plain and inputs.shape[0] == 1 and _is_one_operation(layer):
        return _lstm(layer, inputs, next(numbers))
    steps = inputs.shape[1]
    is_short = isinstance(steps, int) and steps <= STEPS
    return (unrolled if is_short else layer)(inputs, **given)


class Enlarged(Instead):
    """An `UpSampling2D` layer that computes the new size in the graph if the image size varies."""

    def call(self, inputs: Any) -> Any:
        """Return the enlarged images."""
        layer = self.layer
        is_fixed = None not in inputs.shape[1:3]
        if is_fixed or layer.data_format != "channels_last":
            return layer(inputs)
        size = tf.shape(inputs)[1:3] * tf.constant(layer.size)
        return tf.image.resize(inputs, size, layer.interpolation)


class Rounded(Instead):
    """A `Resizing` layer that rounds integers in a graph. Keras does so only in eager mode."""

    def call(self, inputs: Any) -> Any:
        """Return the resized images."""
        if not inputs.dtype.is_integer:
            return self.layer(inputs)
        dtype = inputs.dtype
        resized = tf.round(self.layer(tf.cast(inputs, tf.float32)))
        return tf.cast(tf.maximum(tf.minimum(resized, dtype.max), dtype.min), dtype)


class Largest(Instead):
    """`keras.ops.argmax` as one operation, `ArgMax`."""

    def call(self, x: Any) -> Any:
        """Return the index of the largest component, int32."""
        axis, keepdims = self.layer.axis, self.layer.keepdims
        found = tf.argmax(tf.reshape(x, [-1]) if axis is None else x, axis or 0, tf.int32)
        if keepdims:
            shape = [1] * len(x.shape)
            return tf.reshape(found, shape) if axis is None else tf.expand_dims(found, axis)
        return found


def _is_one_operation(layer: keras.layers.Layer) -> bool:
    """Return whether LiteRT's LSTM operation computes what a layer does."""
    return (
        type(layer) is keras.layers.LSTM
        and not layer.return_state
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
    )


def _lstm(layer: keras.layers.Layer, inputs: tf.Tensor, number: int) -> tf.Tensor:
    """Return an LSTM layer's outputs for one sample, by a function that the converter recognizes.

    Args:
        layer: the layer.
        inputs: float32 (1, steps, features).
        number: a number that no other LSTM operation of the model has.

    Returns:
        float32 (1, steps, units) if the layer returns sequences. Otherwise the output of the last
        step, (1, units).
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
    """Return an integer `.tflite` file with the scales of its LSTM states corrected.

    The state of a cell, int16, needs a scale of at least 2^-15. Below that, LiteRT's integer kernel
    computes a wrong tanh. The state of the output and its intermediate tensor must have the scale
    of the output, because the kernel writes the same integers to all three. The converter gives the
    output another scale where two outputs are joined, as in `Bidirectional`.

    Returns:
        The content of the file, or None if all scales were correct.
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
