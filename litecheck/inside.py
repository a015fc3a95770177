"""What is in a `.tflite` file? Its operations, and the numbers that it holds."""

from typing import Any, NamedTuple

import numpy as np

CONVERTING = {"QUANTIZE", "DEQUANTIZE"}  # from floating point to integers, and back
SOUND = 2.0**-15  # the least scale of an LSTM's state with which LiteRT's integers are right


class Tensor(NamedTuple):
    """A tensor of a file.

    Attributes:
        number: its number in the file.
        dtype: its name, such as "int8".
        shape: its sizes, a list; -1 where one varies.
        values: the array that the file holds; None where it is computed or given.
        scales: an array of one scale, or of one for each slice; None if it is not quantized.
        zero_points: an array of as many integers.
        axis: the axis of the slices.
        is_state: whether an operation keeps it from run to run, as an LSTM does.
        name: what the file calls it.
    """

    number: int
    dtype: str
    shape: list[int]
    values: np.ndarray | None
    scales: np.ndarray | None
    zero_points: np.ndarray | None
    axis: int
    is_state: bool
    name: str

    def __str__(self) -> str:
        """Return it as "float32 [10, 1], 40 bytes"."""
        size = "" if self.values is None else f", {self.values.nbytes:,} bytes"
        return f"{self.dtype} {self.shape}{size}"

    def real(self, stored: np.ndarray | None = None) -> np.ndarray:
        """Return the real numbers, float64, that an array of integers stands for.

        Args:
            stored: the array; by default the one in the file.

        Raises:
            ValueError: the tensor is not quantized, or there is no array.
        """
        stored = self.values if stored is None else stored
        if stored is None or self.scales is None or self.zero_points is None:
            raise ValueError("there are no integers that stand for real numbers")
        sizes = [1] * np.ndim(stored)
        if len(self.scales) > 1:
            sizes[self.axis] = -1
        scales, zero_points = self.scales.reshape(sizes), self.zero_points.reshape(sizes)
        return scales.astype(np.float64) * (stored - zero_points)

    def limits(self) -> np.ndarray:
        """Return the lowest and the highest real number, an array, that a quantized one holds."""
        limits = np.iinfo(self.dtype)
        return self.real(np.array([limits.min, limits.max]))


class Operation(NamedTuple):
    """An operation of a file.

    Attributes:
        name: what it is called in the schema, such as "FULLY_CONNECTED".
        inputs: the `Tensor`s that are computed before it, or given.
        weights: the `Tensor`s that the file holds.
        outputs: the `Tensor`s that it computes.
    """

    name: str
    inputs: list[Tensor]
    weights: list[Tensor]
    outputs: list[Tensor]

    def has_floats(self) -> bool:
        """Return whether it takes or computes float32."""
        ends = [*self.inputs, *self.weights, *self.outputs]
        return any(tensor.dtype == "float32" for tensor in ends)


class Content(NamedTuple):
    """What a file holds: its `Operation`s in order, the `Tensor`s that it takes and returns."""

    size: int  # bytes
    operations: list[Operation]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def states(self) -> list[Tensor]:
        """Return the `Tensor`s that operations keep from run to run, until they are reset."""
        taken = [tensor for operation in self.operations for tensor in operation.inputs]
        return [tensor for tensor in taken if tensor.is_state]

    def numbers(self) -> set[int]:
        """Return the numbers of all `Tensor`s that the file names."""
        sides = [[*each.inputs, *each.weights, *each.outputs] for each in self.operations]
        return {tensor.number for side in [self.inputs, self.outputs, *sides] for tensor in side}

    def floats(self) -> tuple[int, int]:
        """Return how many operations compute in floating point, and of how many.

        Those that only convert between integers and floating point do not count.
        """
        computing = [each for each in self.operations if each.name not in CONVERTING]
        return sum(each.has_floats() for each in computing), len(computing)

    def caution(self) -> str:
        """Return what to know of its states, or ""."""
        for tensor in self.states():
            if tensor.dtype == "int16" and tensor.scales is not None and tensor.scales[0] < SOUND:
                return (
                    f"an LSTM's state has the scale {tensor.scales[0]:.3g}, below 2^-15: LiteRT"
                    " computes such integers wrongly. Convert the model again with litecheck"
                )
        return ""


def read(path: str) -> Content:
    """Read a file; see `parsed`."""
    with open(path, "rb") as file:
        return parsed(file.read())


def parsed(content: bytes) -> Content:
    """Read the first subgraph of a file's content.

    Source of the layout: TensorFlow Lite's schema, version 3. Older codes of operations are in
    `deprecatedBuiltinCode`.

    Args:
        content: that of a `.tflite` file that a converter has written.

    Returns:
        Its `Content`.
    """
    from ai_edge_litert import schema_py_generated as schema  # four megabytes, which few runs need

    model = schema.ModelT.InitFromPackedBuf(content)
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
                [tensors[number] for number in operator.outputs if number >= 0],
            )
        )
    sides = ([tensors[number] for number in side] for side in (graph.inputs, graph.outputs))
    return Content(len(content), operations, *sides)


def affine(scale: float, zero_point: int) -> str:
    """Return which real numbers integers q stand for, as "0.5 * (q + 128)"."""
    if not zero_point:
        return f"{scale:.6g} * q"
    return f"{scale:.6g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"


def _tensor(number: int, tensor: Any, dtype: str, stored: bytes | None) -> Tensor:
    """Return a `Tensor` of the schema's object, its dtype's name, and its bytes if it has any."""
    values, sizes = None, () if tensor.shape is None else tensor.shape
    if stored is not None:
        try:
            values = np.frombuffer(bytes(stored), dtype).reshape(sizes)
        except (TypeError, ValueError):  # texts, or numbers of 4 bits: only their bytes are known
            values = np.frombuffer(bytes(stored), np.uint8)
    shape = sizes if tensor.shapeSignature is None else tensor.shapeSignature
    quantized = tensor.quantization
    return Tensor(
        number,
        dtype,
        [int(size) for size in shape],
        values,
        quantized and quantized.scale,
        quantized and quantized.zeroPoint,
        quantized and quantized.quantizedDimension,
        tensor.isVariable,
        tensor.name.decode(errors="replace"),
    )


def _names(constants: type) -> dict[int, str]:
    """Return the names of a class of constants by their values."""
    return {value: name for name, value in vars(constants).items() if isinstance(value, int)}
