"""What is inside a `.tflite` file? Its operations, and the weights that lie in it."""

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema


class Tensor(NamedTuple):
    """A tensor of a file.

    Attributes:
        number: its number in the file.
        dtype: its name, such as "int8".
        shape: its sizes, a list; -1 where one varies.
        values: the array that lies in the file; None where it is computed or given.
        scales: an array of one scale, or of one for each slice; None if it is not quantized.
        zero_points: an array of as many integers.
        axis: along which the slices lie.
    """

    number: int
    dtype: str
    shape: list
    values: np.ndarray | None
    scales: np.ndarray | None
    zero_points: np.ndarray | None
    axis: int

    def __str__(self):
        """Return it as "float32 [10, 1], 40 bytes"."""
        size = "" if self.values is None else f", {self.values.nbytes:,} bytes"
        return f"{self.dtype} {self.shape}{size}"

    def real(self, stored=None):
        """Return the real numbers, float64, that an array of integers stands for.

        Args:
            stored: the array; by default the one in the file.
        """
        stored = self.values if stored is None else stored
        sizes = [1] * np.ndim(stored)
        if len(self.scales) > 1:
            sizes[self.axis] = -1
        scales, zero_points = self.scales.reshape(sizes), self.zero_points.reshape(sizes)
        return scales.astype(np.float64) * (stored - zero_points)

    def limits(self):
        """Return the lowest and the highest real number, an array, that a quantized one holds."""
        limits = np.iinfo(self.dtype)
        return self.real(np.array([limits.min, limits.max]))


class Operation(NamedTuple):
    """An operation of a file.

    Attributes:
        name: what it is called in the schema, such as "FULLY_CONNECTED".
        inputs: the `Tensor`s that are computed before it, or given.
        weights: the `Tensor`s that lie in the file.
        outputs: the `Tensor`s that it computes.
    """

    name: str
    inputs: list
    weights: list
    outputs: list


class Content(NamedTuple):
    """What a file holds: its `Operation`s in order, and the `Tensor`s that it takes and gives."""

    operations: list
    inputs: list
    outputs: list


def read(path):
    """Read the first subgraph of a file.

    Source of the layout: TensorFlow Lite's schema, version 3. Older codes of operations are in
    `deprecatedBuiltinCode`.

    Args:
        path: a `.tflite` file that a converter has written.

    Returns:
        Its `Content`.
    """
    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read())
    graph, names = model.subgraphs[0], _names(schema.BuiltinOperator)
    dtypes = _names(schema.TensorType)
    tensors = [
        _tensor(number, tensor, dtypes[tensor.type].lower(), model.buffers[tensor.buffer].data)
        for number, tensor in enumerate(graph.tensors)
    ]
    operations = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        taken = [tensors[number] for number in operator.inputs if number >= 0]  # -1: left out
        operations.append(
            Operation(
                names[max(code.builtinCode, code.deprecatedBuiltinCode)],
                [tensor for tensor in taken if tensor.values is None],
                [tensor for tensor in taken if tensor.values is not None],
                [tensors[number] for number in operator.outputs],
            )
        )
    sides = ([tensors[number] for number in side] for side in (graph.inputs, graph.outputs))
    return Content(operations, *sides)


def _tensor(number, tensor, dtype, stored):
    """Return a `Tensor` of the schema's object, its dtype's name, and its bytes if it has any."""
    values = None
    if stored is not None:
        values = np.frombuffer(bytes(stored), dtype).reshape(tensor.shape)
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    quantized = tensor.quantization
    return Tensor(
        number,
        dtype,
        [int(size) for size in shape],
        values,
        quantized and quantized.scale,
        quantized and quantized.zeroPoint,
        quantized and quantized.quantizedDimension,
    )


def _names(constants):
    """Return the names of a class of constants by their values."""
    return {value: name for name, value in vars(constants).items() if isinstance(value, int)}
