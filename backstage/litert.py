"""What does a `.tflite` file answer, in real numbers? Details by name, quantize, run, dequantize.

The integers q of a quantized tensor stand for real numbers, by a scale and a zero point:
real = scale * (q - zero point). Source: the TensorFlow Lite 8-bit quantization specification.
A `tensor` here is one of the dicts that `get_input_details` and `get_output_details` return.
"""

import contextlib
import os
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from backstage import samples, script


@contextlib.contextmanager
def explained(path, input=None, hint=""):
    """Run LiteRT in this block without its notes, and say in one line what it refuses.

    Args:
        path: the `.tflite` file.
        input: the file of its inputs, if there is one.
        hint: a second line, where there is no such file.

    Raises:
        Failure: LiteRT refused the file or its inputs.
    """
    try:
        with script.quiet():
            yield
    except (ValueError, RuntimeError, TypeError) as error:
        message = f"{path} with {input}" if input else path
        message += f": {script.brief(error)}"
        raise script.Failure(f"{message}\n{hint}" if hint and not input else message) from error


def names(interpreter):
    """Return the details of the input tensors, and of the output tensors, by the author's names.

    These are the names of the first signature, of which a tensor may have several. Files of other
    converters may have none; then the tensors' own names stay.

    Returns:
        Two dicts from names to details, in the file's order.
    """
    sides = [interpreter.get_input_details(), interpreter.get_output_details()]
    chosen = [{}, {}]
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


def quantize(values, tensor):
    """Return real numbers as a tensor stores them: round(values / scale) + zero point, clipped.

    Those of a tensor without a scale are cast, if little can be lost.

    Args:
        values: an array of any shape.
        tensor: the details of the tensor.

    Raises:
        TypeError: the cast would lose much, as from float64 to int64.
    """
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if dtype.kind == "S":  # LiteRT's texts, of any length
        return values
    if not scale:
        return values.astype(dtype, casting="same_kind")
    limits = np.iinfo(dtype)
    steps = np.round(values.astype(np.float64) / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(stored, tensor):
    """Return the real numbers that a tensor stores: float32, or as they are without a scale."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return stored
    return (scale * (stored.astype(np.float64) - zero_point)).astype(np.float32)


def takes(tensor):
    """Return the `samples.Input` of an input tensor: a quantized one takes real numbers."""
    shape = tuple(size if size >= 0 else None for size in tensor["shape_signature"].tolist())
    dtype = np.float32 if tensor["quantization"][0] else tensor["dtype"]
    return samples.Input(shape, np.dtype(dtype))


def answer_bytes(outputs):
    """Return the bytes of the answers to one sample, in real numbers.

    Args:
        outputs: a dict from names to the details of output tensors for one sample.
    """
    return sum(4 * int(np.prod(tensor["shape"])) for tensor in outputs.values())


def random_range(tensor):
    """Return the lowest and the highest random number for an input tensor.

    Floating point gets 0 to 999, a quantized tensor the range that it was calibrated for. Other
    integers may count words or classes, of which there are at least two: they are 0 or 1.
    """
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if scale:
        limits = np.iinfo(dtype)
        return tuple(scale * (limit - zero_point) for limit in (limits.min, limits.max))
    return 0, {"f": 999, "c": 999, "u": 255}.get(dtype.kind, 1)


def random_input(tensor, name):
    """Return random numbers for an input tensor: an array of its shape, float32 if quantized.

    Args:
        tensor: the details of the tensor.
        name: its name, for the error.

    Raises:
        Failure: the tensor holds texts.
    """
    dtype, (low, high) = np.dtype(tensor["dtype"]), random_range(tensor)
    if dtype.kind not in "fiubc":
        raise script.Failure(f"{name} takes {dtype.name}: give --input FILE")
    if tensor["quantization"][0]:
        return np.random.uniform(low, high, size=tensor["shape"]).astype(np.float32)
    return np.random.randint(low, high + 1, size=tensor["shape"]).astype(dtype)


def random_hint(inputs):
    """Return what to do where random input is refused.

    Args:
        inputs: a dict from names to the details of input tensors.
    """
    tried = [
        "{} {}, {:.6g} to {:.6g}".format(name, tensor["shape"].tolist(), *random_range(tensor))
        for name, tensor in inputs.items()
    ]
    return f"It was random ({'; '.join(tried)}): give typical input with --input FILE"


def text(values):
    """Return an array in one line of at most 80 columns: all, or shape, mean and first three."""
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


def run(content, runs, signature):
    """Run a `.tflite` file on real numbers.

    Args:
        content: the file's bytes.
        runs: the inputs of each run: dicts from names to arrays.
        signature: the key of the signature to run.

    Returns:
        The outputs of each run by name; the dtypes of inputs and outputs, as "int32/float32"; the
        scales of outputs by name, 0 without; the median time in seconds of the runs that are as
        large as the first.
    """
    runner = Interpreter(model_content=content).get_signature_runner(signature)
    takes, gives = runner.get_input_details(), runner.get_output_details()
    results, seconds = [], []
    for values in script.counted(runs, "running it"):
        stored = {name: quantize(values[name], tensor) for name, tensor in takes.items()}
        start = time.perf_counter()
        answers = runner(**stored)
        if all(np.shape(values[name]) == np.shape(runs[0][name]) for name in values):
            seconds.append(time.perf_counter() - start)
        results.append({name: dequantize(answers[name], gives[name]) for name in answers})
    dtypes = [np.dtype(tensor["dtype"]).name for tensor in [*takes.values(), *gives.values()]]
    scales = {name: tensor["quantization"][0] for name, tensor in gives.items()}
    return results, "/".join(dict.fromkeys(dtypes)), scales, np.median(seconds)


def invoke(interpreter, run):
    """Run an interpreter's main graph, of a file with or without a signature.

    Args:
        interpreter: an `Interpreter`.
        run: the inputs by name, arrays of real numbers.

    Returns:
        The outputs by name, in real numbers.
    """
    takes, gives = names(interpreter)
    for name, tensor in takes.items():
        interpreter.resize_tensor_input(tensor["index"], np.shape(run[name]), strict=True)
    interpreter.allocate_tensors()
    for name, tensor in takes.items():
        interpreter.set_tensor(tensor["index"], quantize(run[name], tensor))
    interpreter.invoke()
    return {
        name: dequantize(interpreter.get_tensor(tensor["index"]), tensor)
        for name, tensor in gives.items()
    }


def time_of(interpreter):
    """Return the median time in seconds of an interpreter's run, and of how many runs.

    Its inputs are set. Runs are repeated for a twentieth of a second, three times at least; one
    before them is left out.
    """
    seconds, end = [], time.perf_counter() + 0.05
    interpreter.invoke()
    while len(seconds) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return np.median(seconds), len(seconds)


def has_floats(content):
    """Return whether operations of a `.tflite` file compute in floating point."""
    details = Interpreter(model_content=content).get_tensor_details()
    return any(tensor["dtype"] == np.float32 for tensor in details)


def infinite(content, runs):
    """Return the name of a tensor of a `.tflite` file that is NaN or infinite in a run, or None.

    Args:
        content: the file's bytes.
        runs: the inputs of each run: dicts from names to arrays of real numbers.
    """
    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    for run in script.counted(runs, "looking for infinities"):
        invoke(interpreter, run)
        for tensor in interpreter.get_tensor_details():
            try:
                values = interpreter.get_tensor(tensor["index"])
            except ValueError:  # one that is not kept, as in a branch that was not run
                continue
            if values.dtype == np.float32 and not np.isfinite(values).all():
                return tensor["name"].split(";")[0]
    return None


def lesson_pair(path, x):
    """Return the lesson's float32 and full-integer files beside another, if both can take x.

    Args:
        path: the other file, or one of them.
        x: a real number.

    Returns:
        A list of the two paths; None if one is missing, damaged, of another kind, or x does not lie
        in its range.
    """
    name = os.path.join(os.path.dirname(path), "my_model")
    pair = [f"{name}.tflite", f"{name}.int8.tflite"]
    if not all(map(os.path.isfile, pair)):  # as on a device
        return None
    try:
        with script.quiet():
            interpreters = [Interpreter(model_path=file) for file in pair]
    except (ValueError, RuntimeError):
        return None
    for interpreter, dtype in zip(interpreters, (np.float32, np.int8), strict=True):
        sides = [interpreter.get_input_details(), interpreter.get_output_details()]
        for side in sides:
            if [(t["dtype"], t["shape"].tolist()[1:]) for t in side] != [(dtype, [1])]:
                return None
    ((tensor,), (answer,)) = sides
    low, high = random_range(tensor)
    return pair if answer["quantization"][0] and low <= x <= high and low < high else None


def curve(path, x):
    """Return what a `.tflite` file with one number in and one out answers for each of many.

    Args:
        path: the file.
        x: float32 (n,).

    Returns:
        float32 (n,).
    """
    with open(path, "rb") as file:
        content = file.read()
    with script.quiet():
        signatures = Interpreter(model_content=content).get_signature_list()
        ((key, signature),) = signatures.items()
        runs = [{signature["inputs"][0]: value.reshape(1, 1)} for value in x]
        results, *_ = run(content, runs, key)
    return np.array([next(iter(result.values())).item() for result in results], np.float32)
