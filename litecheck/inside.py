"""What is in a `.tflite` file? Its operations, its tensors, and the weights in them."""

from typing import Any, NamedTuple

import numpy as np

CONVERTING = {"QUANTIZE", "DEQUANTIZE"}  # between floating point and integers
SOUND = 2.0**-15  # LiteRT computes wrong integers for an LSTM whose state has a smaller scale


class Tensor(NamedTuple):
    """A tensor of a `.tflite` file.

    Attributes:
        number: the tensor's index in the file.
        dtype: the name of its dtype, such as "int8".
        shape: a list of sizes, where -1 marks a variable size.
        values: the array stored in the file, or None if the tensor is an input or is computed.
        scales: an array of one scale, or of one scale per slice. None if it is not quantized.
        zero_points: an array of as many integers.
        axis: the axis along which slices have their own scales.
        is_state: whether an operation keeps the values from run to run, as an LSTM does.
        name: the tensor's name in the file.
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
        """Return dtype, shape and size as text, such as "float32 [10, 1], 40 bytes"."""
        size = "" if self.values is None else f", {self.values.nbytes:,} bytes"
        return f"{self.dtype} {self.shape}{size}"

    def real(self, stored: np.ndarray | None = None) -> np.ndarray:
        """Return the real numbers that an array of integers stands for, as float64.

        Args:
            stored: the integers. By default they are those in the file.

        Raises:
            ValueError: the tensor is not quantized, or the file holds no integers for it.
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
        """Return the lowest and the highest real number that a quantized tensor can hold."""
        limits = np.iinfo(self.dtype)
        return self.real(np.array([limits.min, limits.max]))


class Operation(NamedTuple):
    """An operation of a `.tflite` file.

    Attributes:
        name: its name in the schema, such as "FULLY_CONNECTED".
        inputs: the `Tensor`s it takes that are inputs of the file or computed before it.
        weights: the `Tensor`s it takes whose values are in the file.
        outputs: the `Tensor`s that it computes.
    """

    name: str
    inputs: list[Tensor]
    weights: list[Tensor]
    outputs: list[Tensor]

    def has_floats(self) -> bool:
        """Return whether the operation takes or computes float32."""
        ends = [*self.inputs, *self.weights, *self.outputs]
        return any(tensor.dtype == "float32" for tensor in ends)


class Content(NamedTuple):
    """The content of a `.tflite` file.

    Attributes:
        size: its bytes.
        operations: its `Operation`s, in order.
        inputs: the `Tensor`s that it takes.
        outputs: the `Tensor`s that it returns.
    """

    size: int
    operations: list[Operation]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def states(self) -> list[Tensor]:
        """Return the `Tensor`s that operations keep from run to run, until they are reset."""
        taken = [tensor for operation in self.operations for tensor in operation.inputs]
        return [tensor for tensor in taken if tensor.is_state]

    def numbers(self) -> set[int]:
        """Return the indices of the inputs, the outputs, and all tensors of the operations."""
        sides = [[*each.inputs, *each.weights, *each.outputs] for each in self.operations]
        return {tensor.number for side in [self.inputs, self.outputs, *sides] for tensor in side}

    def floats(self) -> tuple[int, int]:
        """Return how many operations compute in floating point, and how many there are.

        Operations that only convert between integers and floating point are not counted.
        """
        computing = [each for each in self.operations if each.name not in CONVERTING]
        return sum(each.has_floats() for each in computing), len(computing)

    def caution(self) -> str:
        """Return a warning if LiteRT would compute an LSTM's state wrongly, or ""."""
        for tensor in self.states():
            if tensor.dtype == "int16" and tensor.scales is not None and tensor.scales[0] < SOUND:
                return (
                    f"an LSTM's state has the scale {tensor.scales[0]:.3g}, below 2^-15: LiteRT"
                    " computes such integers wrongly. Convert the model again with litecheck"
                )
        return ""


def read(path: str) -> Content:
    """Return the `Content` of a file; see `parsed`."""
    with open(path, "rb") as file:
        return parsed(file.read())


def parsed(content: bytes) -> Content:
    """Return the `Content` of the first subgraph in the bytes of a `.tflite` file.

    The layout is that of TensorFlow Lite's schema, version 3. Files with older operation codes have
    them in `deprecatedBuiltinCode`.
    """
    from ai_edge_litert import schema_py_generated as schema  # 4 MB, so only where it is needed

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
        taken = [tensors[number] for number in operator.inputs if number >= 0]  # -1: not given
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
    """Return the formula for the real number of an integer q, such as "0.5 * (q + 128)"."""
    if not zero_point:
        return f"{scale:.6g} * q"
    return f"{scale:.6g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"


def _tensor(number: int, tensor: Any, dtype: str, stored: bytes | None) -> Tensor:
    """Return the `Tensor` for an object of the schema, with its dtype's name and stored bytes."""
    values, sizes = None, () if tensor.shape is None else tensor.shape
    if stored is not None:
        try:
            values = np.frombuffer(bytes(stored), dtype).reshape(sizes)
        except (TypeError, ValueError):  # text or 4-bit numbers: keep the bytes
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
    """Return a dict from the values of a class's constants to their names."""
    return {value: name for name, value in vars(constants).items() if isinstance(value, int)}
