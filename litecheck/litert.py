"""What does a `.tflite` file compute, in real numbers? The class `Runner` runs it.

An integer q of a quantized tensor stands for the real number scale * (q - zero point). Source: the
TensorFlow Lite 8-bit quantization specification. A `tensor` in this module is a dict of details, as
`get_input_details` and `get_output_details` return it.
"""

import contextlib
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from litecheck import inside, samples, script

Tensor = dict[str, Any]


@contextlib.contextmanager
def explained(path: str, input: str | None = None, hint: str = "") -> Iterator[None]:
    """Hide LiteRT's notes in this block, and turn its errors into a `Failure`.

    Args:
        path: the `.tflite` file.
        input: the file of its inputs, or None if they are random.
        hint: a second line for the error, if there is no file of inputs.

    Raises:
        Failure: LiteRT refused the file or its inputs.
    """
    try:
        with script.quiet():
            yield
    except (ValueError, RuntimeError, TypeError) as error:
        own = re.search(r"unresolved custom op: (\w+)", str(error))
        if own:
            raise script.Failure(
                f"{path} has the custom operation {own[1]}: only a program that provides this"
                " operation can run the file"
            ) from error
        if re.search("not a valid Flatbuffer|mmap of size 0", str(error)):
            reason = f"{path} is not a .tflite file, or is damaged"
            way = ": name another, or convert the model again"
            raise script.Unreadable(reason, way) from error
        message = f"{path} with {input}" if input else path
        message += f": {script.brief(error)}"
        raise script.Failure(f"{message}\n{hint}" if hint and not input else message) from error


def names(interpreter: Interpreter) -> list[dict[str, Tensor]]:
    """Return the details of the input tensors and of the output tensors, by the names to show.

    These are the names in the file's first signature, which may have several names for a tensor.
    Files from other converters may have no signature, and keep the tensors' own names.

    Returns:
        Two dicts from names to details, in the file's order.
    """
    sides = [interpreter.get_input_details(), interpreter.get_output_details()]
    chosen: list[dict[str, list[str]]] = [{}, {}]
    for key in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(key)
        signature = runner.get_input_details(), runner.get_output_details()
        chosen = [
            {
                tensor["name"]: [name for name in side if side[name]["name"] == tensor["name"]]
                for tensor in side.values()
            }
            for side in signature
        ]
    return [
        {name: tensor for tensor in side for name in names.get(tensor["name"], [tensor["name"]])}
        for side, names in zip(sides, chosen, strict=True)
    ]


def quantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return real numbers as a tensor stores them: round(values / scale) + zero point, clipped.

    For a tensor without a scale they are cast to its dtype.

    Args:
        values: an array of any shape.
        tensor: the details of the tensor.

    Raises:
        TypeError: the cast would lose much, such as from float64 to int64.
    """
    dtype: np.dtype[Any] = np.dtype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    if dtype.kind == "S":  # text of any length
        return values
    if not scale:
        return values.astype(dtype, casting="same_kind")
    limits = np.iinfo(dtype)
    steps = np.round(values.astype(np.float64) / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(stored: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return the real numbers that a tensor stores: float32, or unchanged without a scale."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return stored
    return (scale * (stored.astype(np.float64) - zero_point)).astype(np.float32)


def takes(tensor: Tensor) -> samples.Input:
    """Return a tensor's shape and dtype as a `samples.Input`, with float32 if it is quantized."""
    shape = tuple(size if size >= 0 else None for size in tensor["shape_signature"].tolist())
    dtype = np.float32 if tensor["quantization"][0] else tensor["dtype"]
    return samples.Input(shape, np.dtype(dtype))


def output_bytes(outputs: Mapping[str, Tensor]) -> int:
    """Return how many bytes the outputs of one sample take as float32.

    Args:
        outputs: a dict from names to the details of output tensors for one sample.
    """
    return sum(4 * int(np.prod(tensor["shape"])) for tensor in outputs.values())


def random_range(tensor: Tensor) -> tuple[float, float]:
    """Return the lowest and the highest random number for an input tensor.

    As in `samples.at_random`, real numbers are from -1 to 1, bytes from 0 to 255, and other
    integers 0 or 1. Both are valid for any list of two or more words or classes. A quantized tensor
    gets the range that it was calibrated for.
    """
    dtype: np.dtype[Any] = np.dtype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    if scale:
        limits = np.iinfo(dtype)
        return tuple(scale * (limit - zero_point) for limit in (limits.min, limits.max))
    if dtype.kind in "fc":
        return -1.0, 1.0
    return 0, 255 if dtype == np.uint8 else 1


def random_input(tensor: Tensor, name: str) -> np.ndarray:
    """Return an array of random numbers for an input tensor, float32 if it is quantized.

    Args:
        tensor: the details of the tensor, see `random_range`.
        name: the tensor's name, for the error.

    Raises:
        Failure: the tensor takes text.
    """
    dtype: np.dtype[Any] = np.dtype(tensor["dtype"])
    low, high = random_range(tensor)
    if dtype.kind not in "fiubc":
        raise script.Failure(f"{name} takes {dtype.name}: give --input FILE")
    if tensor["quantization"][0]:
        dtype = np.dtype(np.float32)
    if dtype.kind in "fc":
        return np.asarray(np.random.uniform(low, high, tensor["shape"]), dtype)
    return np.asarray(np.random.randint(int(low), int(high) + 1, tensor["shape"]), dtype)


def random_hint(inputs: Mapping[str, Tensor]) -> str:
    """Return what to do if LiteRT refuses random input.

    Args:
        inputs: a dict from names to the details of input tensors.
    """
    tried = [
        "{} {}, {:.6g} to {:.6g}".format(name, tensor["shape"].tolist(), *random_range(tensor))
        for name, tensor in inputs.items()
    ]
    return f"The input was random ({'; '.join(tried)}): give typical input with --input FILE"


def text(values: np.ndarray) -> str:
    """Return an array as one short line.

    A small array is shown whole. Of a large one the line has shape, range, mean and first values.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f"{list(values.shape)} holds NaN or infinity, first {values.ravel()[:3]}"
    line = " ".join(np.array2string(values, threshold=20, max_line_width=10**6).split())
    if values.size <= 20 and len(line) <= 72:
        return line
    if values.dtype.kind not in "fiub":
        return f"{list(values.shape)} first {values.ravel()[:3]}"
    first = " ".join(f"{value:.5g}" for value in values.ravel()[:3])
    low, mean, high = values.min(), values.mean(dtype=np.float64), values.max()
    return f"{list(values.shape)} min {low:.5g} mean {mean:.5g} max {high:.5g} first {first}"


class Runner:
    """Runs a `.tflite` file of any converter on real numbers, and returns real numbers.

    The state of an operation, such as an LSTM, is reset before each run. Variables that the model
    assigns keep their values from run to run.

    Attributes:
        interpreter: the `Interpreter`.
        inputs: a dict from names to the details of input tensors, in the file's order.
        outputs: a dict from names to the details of output tensors, in the file's order.
        seconds: how long the latest run took, including copying data in and out.
    """

    def __init__(self, model: str | bytes, keep_tensors: bool = False) -> None:
        """Load a file.

        Args:
            model: the file's path or bytes.
            keep_tensors: whether to keep the values of all tensors, so that they can be read after
                a run.

        Raises:
            ValueError: LiteRT refuses the file.
        """
        place = {"model_path" if isinstance(model, str) else "model_content": model}
        self.interpreter = Interpreter(**place, experimental_preserve_all_tensors=keep_tensors)
        self.inputs, self.outputs = names(self.interpreter)
        self.seconds = 0.0
        self._shapes: dict[str, tuple[int, ...]] | None = None  # that memory is allocated for

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the file once, and return its outputs.

        Args:
            inputs: a dict from names to arrays of real numbers.

        Returns:
            A dict from names to arrays of real numbers.

        Raises:
            ValueError, RuntimeError, TypeError: LiteRT refuses the inputs, or an operation fails.
        """
        stored = {name: quantize(inputs[name], tensor) for name, tensor in self.inputs.items()}
        self._allocate({name: np.shape(values) for name, values in stored.items()})
        start = time.perf_counter()
        for name, tensor in self.inputs.items():
            self.interpreter.set_tensor(tensor["index"], stored[name])
        self.interpreter.reset_all_variables()
        self.interpreter.invoke()
        outputs = {
            name: self.interpreter.get_tensor(tensor["index"])
            for name, tensor in self.outputs.items()
        }
        self.seconds = time.perf_counter() - start
        return {name: dequantize(values, self.outputs[name]) for name, values in outputs.items()}

    def _allocate(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Allocate memory for inputs of these shapes, unless the last run had the same shapes."""
        if shapes == self._shapes:
            return
        for name, tensor in self.inputs.items():
            # After the first allocation LiteRT forgets which sizes of a text tensor may vary.
            strict = np.dtype(tensor["dtype"]).kind != "S"
            self.interpreter.resize_tensor_input(tensor["index"], shapes[name], strict=strict)
        self.interpreter.allocate_tensors()
        self._shapes = shapes


def dtypes(*sides: Mapping[str, Tensor]) -> str:
    """Return the dtypes in the details of inputs and outputs as text, such as "int32/float32"."""
    tensors = [tensor for side in sides for tensor in side.values()]
    return "/".join(dict.fromkeys(np.dtype(tensor["dtype"]).name for tensor in tensors))


def time_of(interpreter: Interpreter) -> tuple[float, int]:
    """Return the median time of a run in seconds, and how many runs were timed.

    The interpreter's inputs must be set. After a first run that is not timed, runs are repeated for
    0.05 seconds, and at least three times.
    """
    seconds: list[float] = []
    end = time.perf_counter() + 0.05
    interpreter.invoke()
    while len(seconds) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), len(seconds)  # NumPy's median is slow to import


def magnitudes(
    content: bytes, runs: Sequence[Mapping[str, np.ndarray]]
) -> list[tuple[str, np.ndarray]]:
    """Return the largest absolute values in each float32 tensor of a `.tflite` file.

    Args:
        content: the file's bytes.
        runs: the inputs of each run: dicts from names to arrays of real numbers.

    Returns:
        For each tensor its name and the largest absolute value in each run, float32 (runs,). It is
        NaN if any value is NaN, and 0 if the run does not compute the tensor, as in a branch.
    """
    runner = Runner(content, keep_tensors=True)
    own = inside.parsed(content).numbers()  # the others are scratch memory, with arbitrary values
    found: dict[int, tuple[str, np.ndarray]] = {}
    for number, run in enumerate(script.counted(runs, "reading the tensors inside")):
        runner(run)
        for tensor in runner.interpreter.get_tensor_details():
            if tensor["index"] not in own:
                continue
            try:
                values = runner.interpreter.get_tensor(tensor["index"])
            except ValueError:  # LiteRT did not keep this tensor
                continue
            if values.dtype == np.float32 and values.size:
                none = str(tensor["name"]).split(";")[0], np.zeros(len(runs), np.float32)
                _, largest = found.setdefault(tensor["index"], none)
                largest[number] = np.maximum(values.max(), -values.min())
    return list(found.values())


def curve(path: str, x: np.ndarray) -> np.ndarray:
    """Return the predictions of a `.tflite` file that takes one number and returns one.

    Args:
        path: the file.
        x: the inputs, float32 (n,).

    Returns:
        The prediction for each input, float32 (n,).
    """
    with script.quiet():
        runner = Runner(path)
        (name,) = runner.inputs
        outputs = [next(iter(runner({name: value.reshape(1, 1)}).values())) for value in x]
    return np.concatenate(outputs, axis=None).astype(np.float32)
