"""Run each variant of a model with tflite-micro, and write the smallest that runs as a C array.

tflite-micro is the interpreter for boards without an operating system. It allocates no memory: all
tensors are in one block, the arena, whose size the program chooses. Here the same C++ code runs on
this computer.
"""

import argparse

from litecheck import artifacts, script

script.start(program="microcontroller/run.py", install="-r microcontroller/requirements.txt")
parser = argparse.ArgumentParser(
    description="Run each variant of a model with tflite-micro, and write one as a C array."
)
parser.add_argument(
    "model",
    nargs="?",
    default="saved_model/my_model",
    help="NAME of NAME.tflite and its variants (default: saved_model/my_model)",
)
name = parser.parse_args().model
artifacts.require_file(f"{name}.tflite")

import multiprocessing
import os
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from litecheck import inside, litert, record, samples, verdict

ARENA = 64 * 2**20  # bytes, more than any board has; the table reports how much is used


def outputs_of(content, runs, inputs, outputs):
    """Return the outputs of a `.tflite` file on tflite-micro, and print its memory use to stderr.

    Args:
        content: the file's bytes.
        runs: the inputs of each run, as dicts from names to arrays of real numbers.
        inputs: the details of the input tensors by name, in the file's order.
        outputs: the details of the output tensors, likewise.

    Returns:
        The outputs of each run, as dicts from names to arrays of real numbers.

    Raises:
        RuntimeError: tflite-micro refuses the file.
    """
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA)
    has_state = bool(inside.parsed(content).states())
    results = []
    for run in runs:
        for index, (name, tensor) in enumerate(inputs.items()):
            interpreter.set_input(litert.quantize(run[name], tensor), index)
        if has_state:
            interpreter.reset()
        interpreter.invoke()
        results.append(
            {
                name: litert.dequantize(np.copy(interpreter.get_output(index)), tensor)
                for index, (name, tensor) in enumerate(outputs.items())
            }
        )
    interpreter.print_allocations()
    return results


def on_micro(*arguments):
    """Return the result of `outputs_of(*arguments)`, and the bytes of the arena that were used.

    tflite-micro runs in a process of its own, because it aborts on some files.

    Raises:
        Failure: tflite-micro refuses the file. The message is tflite-micro's.
    """
    with tempfile.TemporaryFile() as file:
        redirect = os.dup2, (file.fileno(), 2)
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), *redirect) as pool:
            error = (future := pool.submit(outputs_of, *arguments)).exception()
        file.seek(0)
        said = file.read().decode(errors="replace").strip()
    if error:
        reason = said.splitlines()[0] if said else "tflite-micro aborts without a message"
        reason = reason.removeprefix("tensorflow/lite/micro/").partition(" ||")
        raise script.Failure(reason[0] + (" …" if reason[1] else "")) from error
    return future.result(), int(re.search(r"allocation total (\d+) bytes", said)[1])


def described(kind, name, tensor):
    """Return a C comment that describes an input or output tensor."""
    shape, dtype = tensor["shape"].tolist(), np.dtype(tensor["dtype"]).name
    scale, zero_point = tensor["quantization"]
    meaning = f"scale {scale:.9g}, zero point {zero_point}" if scale else "not quantized"
    return f"// {kind} {name}: {dtype} {shape}, {meaning}"


def in_c(name, values):
    """Return the definition of a C array. Its values are exactly those of a NumPy array."""
    dtype = {"float32": "float", "bool": "bool"}.get(values.dtype.name, f"{values.dtype.name}_t")
    if dtype == "float":
        numbers = [f"{value!s}f".replace("inff", "INFINITY") for value in values.ravel()]
    else:
        numbers = [f"{value:d}" for value in values.ravel()]
    rows = [f"  {', '.join(numbers[start : start + 8])}," for start in range(0, len(numbers), 8)]
    return "\n".join([f"static const {dtype} {name}[{values.size}] = {{", *rows, "};"])


def between(expected, tolerance, tensor):
    """Return the lowest and the highest outputs that agree, in the dtype of the output tensor.

    Args:
        expected: the expected outputs, in real numbers.
        tolerance: how far the outputs of a device may be from the expected ones.
        tensor: the details of the output tensor.
    """
    lowest, highest = (expected.astype(np.float64) + side * tolerance for side in (-1, 1))
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if dtype.kind == "f":
        return lowest.astype(dtype), highest.astype(dtype)
    ends = np.ceil(lowest / (scale or 1)), np.floor(highest / (scale or 1))
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return [np.clip(end + zero_point, *limits).astype(dtype) for end in ends]


def self_test(name, recorded, inputs, outputs):
    """Return a record's first run as C arrays, so that a board can test itself.

    Args:
        name: the beginning of the arrays' names.
        recorded: a `record.Recorded`.
        inputs: the details of the input tensors by name, in the file's order.
        outputs: the details of the output tensors, likewise.
    """
    parts = []
    for kind, tensors in [("input", inputs), ("output", outputs)]:
        for index, (key, tensor) in enumerate(tensors.items()):
            stem = f"{name}_{kind}{index if len(tensors) > 1 else ''}"
            if kind == "input":
                parts.append(in_c(stem, litert.quantize(recorded.inputs[0][key], tensor)))
                continue
            expected = recorded.outputs[0][key]
            tolerance = verdict.allowed(expected, recorded.tolerances[0][key], recorded.ranges[key])
            parts.append(in_c(f"{stem}_expected", expected))
            ends = zip(("lowest", "highest"), between(expected, tolerance, tensor), strict=True)
            parts += [in_c(f"{stem}_{end}", values) for end, values in ends]
    return f"""
// For a test at start-up. Run the model on ..._input. Each number of its output must be between the
// numbers in ..._lowest and ..._highest. Otherwise this board returns other outputs than the
// trained model. The trained model's output is ..._expected, in real numbers.
{chr(10).join(parts)}
"""


def header(name, file, content, arena, tensors, test):
    """Return a C header that contains a file as an array, for a board's project.

    Args:
        name: the name of the array.
        file: the name of the file, for the comment.
        content: the bytes of the file.
        arena: how many bytes of the arena were used.
        tensors: comments about the inputs and outputs.
        test: the result of `self_test`, or "".
    """
    rows = [content[start : start + 12] for start in range(0, len(content), 12)]
    array = "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    comments = "\n".join(tensors)
    return f"""// {file} as a C array, generated by `make microcontroller`.
//
{comments}
//
// {name}_arena is how much memory tflite-micro used on a computer with 64-bit pointers. A board
// with 32-bit pointers needs less.
#ifndef {name.upper()}_H
#define {name.upper()}_H

#include <math.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

enum {{ {name}_length = {len(content)}, {name}_arena = {arena} }};  // bytes

alignas(16) static const unsigned char {name}[{name}_length] = {{
{array}
}};
{test}
#endif
"""


def runs_of(path, inputs, samples_file):
    """Return the inputs of the runs for a file: up to 100 samples, or one random input.

    Args:
        path: the path of the `.tflite` file.
        inputs: the details of its input tensors by name.
        samples_file: the path of a file of samples, or None for a random input.
    """
    if not samples_file:
        return [{name: litert.random_input(inputs[name], name) for name in inputs}]
    takes = {  # a variable batch size is 1: one sample in each run
        name: litert.takes(tensor)._replace(shape=tuple(tensor["shape"].tolist()))
        for name, tensor in inputs.items()
    }
    return samples.for_deployment(samples_file, takes, path)[0][:100]


samples_file = samples.find(name, "samples")
has_check = os.path.isfile(f"{name}{record.SUFFIX}")
source = samples_file or ("the inputs of the check" if has_check else "random inputs")
print(f"{name} on tflite-micro, compared with LiteRT on {source}")
print("variant        runs   worst difference     agrees   RAM, bytes   flash, bytes")
smallest, wrong = None, []
for variant, (suffix, _) in artifacts.VARIANTS.items():
    path = f"{name}{suffix}"
    label = (
        variant if len(variant) <= 14 else f"{variant}\n{'':<14}"
    )  # a long name has its own line
    if not os.path.isfile(path):
        continue
    content = Path(path).read_bytes()
    with litert.explained(path):
        runner = litert.Runner(content)
    inputs, outputs = runner.inputs, runner.outputs
    recorded = record.read(path)
    differs = recorded and recorded.misfit(inputs, outputs)
    # tflite-micro cannot resize its inputs, so only runs of their present sizes can be compared.
    alone = {end: tensor["shape"].tolist() for end, tensor in inputs.items()}
    recorded = recorded.only(alone) if recorded and not differs else None
    first = recorded.inputs if recorded else []  # before `runs`, in the model's initial state
    runs = runs_of(path, inputs, samples_file) if samples_file or not first else first
    try:
        results, arena = on_micro(content, [*first, *runs], inputs, outputs)
    except script.Failure as error:
        print(f"{label:<14} no     {error}")
        continue
    with litert.explained(path):
        expected = [runner(run) for run in runs]
    worst = max(
        verdict.distance_of(result[end], true[end]).max(initial=0)
        for result, true in zip(results[len(first) :], expected, strict=True)
        for end in outputs
    )
    agrees = "0" if differs else "no check"
    if recorded:
        agreement = recorded.agreement(results[: len(first)])
        agrees = f"{agreement.agreeing} of {agreement.of}" if recorded.clear else "unclear"
        differs = agreement.worst if recorded.clear or agreement.lost else ""
    flash = len(content)
    print(f"{label:<14} yes {worst:>19.2g} {agrees:>10} {arena:>12,} {flash:>14,}")
    if differs:
        print(f"{'':<14} {differs}")
        wrong.append(variant)
    elif smallest is None or flash < len(smallest[1]):
        tensors = [described("input ", *pair) for pair in inputs.items()]
        tensors += [described("output", *pair) for pair in outputs.items()]
        if inside.parsed(content).states():
            tensors.append("// It keeps a state: call the interpreter's Reset() before each run.")
        smallest = path, content, arena, tensors, recorded, inputs, outputs

if smallest:
    path, content, arena, tensors, recorded, inputs, outputs = smallest
    stem = os.path.basename(name)
    file = f"build/microcontroller/{stem}.h"
    array = re.sub(r"\W|^(?=\d)", "_", stem)
    # If a run has `others`, more outputs are right than those between two bounds.
    has_test = recorded and recorded.clear and not recorded.others[0]
    test = self_test(array, recorded, inputs, outputs) if has_test else ""
    text = header(array, os.path.basename(path), content, arena, tensors, test)
    artifacts.write(file, text.encode())
    print(f"wrote {file}: {os.path.basename(path)}, the smallest that runs")
if wrong:
    them = ", ".join(wrong)
    raise script.Failure(f"{name} returns other outputs here than the trained model: {them}")
if not smallest:
    raise script.Failure(f"no variant of {name} runs on tflite-micro")
