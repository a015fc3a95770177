"""Which variants of a model run on a microcontroller? Each on tflite-micro, one as a C array.

tflite-micro is the interpreter for boards without an operating system. It allocates nothing: all
tensors lie in one block of memory, the arena, whose size the program gives. Here it runs on this
computer, from the same C++ code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # for backstage

from backstage import artifacts, script

args = script.start(
    "Run the variants of a model with tflite-micro, and write the smallest as a C array.",
    install="-r microcontroller/requirements.txt",
    model=script.argument(
        "saved_model/my_model",
        "NAME of NAME.tflite and its variants",
        lambda name: artifacts.require_tflite(f"{name}.tflite"),
    ),
)

import multiprocessing
import os
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tflite_micro.python.tflite_micro import runtime

from backstage import device, litert, samples, verdict

VARIANTS = {
    "float32": "",
    "float16": ".quant",
    "dynamic range": ".dynamic",
    "full integer": ".int8",
    "16-bit int": ".int16",
}
ARENA = 64 * 2**20  # bytes: more than any board has; what was used of it is reported


def answers(content, runs, inputs, outputs):
    """Run a `.tflite` file with tflite-micro, which then writes to stderr what memory it used.

    Args:
        content: the file's bytes.
        runs: the inputs of each run: dicts from names to arrays of real numbers.
        inputs: the details of the input tensors by name, in the file's order.
        outputs: those of the output tensors.

    Returns:
        The outputs of each run by name, in real numbers.

    Raises:
        RuntimeError: tflite-micro refuses the file.
    """
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA)
    results = []
    for run in runs:
        for index, (name, tensor) in enumerate(inputs.items()):
            interpreter.set_input(litert.quantize(run[name], tensor), index)
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
    """Return the `answers` of tflite-micro and the bytes of the arena that it used.

    It runs in a process of its own, since it aborts on some files.

    Raises:
        Failure: tflite-micro refuses the file, in its own words.
    """
    with tempfile.TemporaryFile() as file:
        redirect = os.dup2, (file.fileno(), 2)
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), *redirect) as pool:
            error = (future := pool.submit(answers, *arguments)).exception()
        file.seek(0)
        said = file.read().decode(errors="replace").strip()
    if error:
        reason = said.splitlines()[0] if said else "tflite-micro aborts, and says nothing"
        reason = reason.removeprefix("tensorflow/lite/micro/").partition(" ||")
        raise script.Failure(reason[0] + (" …" if reason[1] else "")) from error
    return future.result(), int(re.search(r"allocation total (\d+) bytes", said)[1])


def described(kind, name, tensor):
    """Return a comment in C about an input or output tensor."""
    shape, dtype = tensor["shape"].tolist(), np.dtype(tensor["dtype"]).name
    scale, zero_point = tensor["quantization"]
    numbers = f"scale {scale:.9g}, zero point {zero_point}" if scale else "real numbers as they are"
    return f"// {kind} {name}: {dtype} {shape}, {numbers}"


def in_c(name, values):
    """Return an array in C: float32 to the last bit, integers, or truth values."""
    dtype = {"float32": "float", "bool": "bool"}.get(values.dtype.name, f"{values.dtype.name}_t")
    if dtype == "float":
        numbers = [f"{value!s}f".replace("inff", "INFINITY") for value in values.ravel()]
    else:
        numbers = [f"{value:d}" for value in values.ravel()]
    rows = [f"  {', '.join(numbers[start : start + 8])}," for start in range(0, len(numbers), 8)]
    return "\n".join([f"static const {dtype} {name}[{values.size}] = {{", *rows, "};"])


def between(answers, allowed, tensor):
    """Return the lowest and the highest right answers, as an output tensor stores them.

    Args:
        answers: the right answers, in real numbers.
        allowed: how far a device may be from them.
        tensor: the details of the output tensor.
    """
    lowest, highest = answers.astype(np.float64) - allowed, answers.astype(np.float64) + allowed
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if dtype.kind == "f":
        return lowest.astype(dtype), highest.astype(dtype)
    ends = np.ceil(lowest / (scale or 1)), np.floor(highest / (scale or 1))
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return [np.clip(end + zero_point, *limits).astype(dtype) for end in ends]


def self_test(name, runs, inputs, outputs):
    """Return a proof's first run in C, with which a board tests itself.

    Args:
        name: what the arrays are named after.
        runs: a `verdict.Proven`.
        inputs: the details of the input tensors by name, in the file's order.
        outputs: those of the output tensors.
    """
    parts = []
    for kind, tensors in [("input", inputs), ("output", outputs)]:
        for index, (key, tensor) in enumerate(tensors.items()):
            stem = f"{name}_{kind}{index if len(tensors) > 1 else ''}"
            if kind == "input":
                parts.append(in_c(stem, litert.quantize(runs.inputs[0][key], tensor)))
                continue
            answers, allowed = runs.answers[0][key], runs.allowed[0][key]
            parts.append(in_c(f"{stem}_right", answers))
            ends = zip(("lowest", "highest"), between(answers, allowed, tensor), strict=True)
            parts += [in_c(f"{stem}_{end}", values) for end, values in ends]
    return f"""
// For a test at start-up: give ..._input to the model. Each number of its output must lie from
// that of ..._lowest to that of ..._highest, or this board computes something else than the
// trained model, whose answer is ..._right, in real numbers.
{chr(10).join(parts)}
"""


def header(name, file, content, arena, tensors, test):
    """Return a C header with a file as an array, for a board's project.

    Args:
        name: what the array is named after.
        file: the file's name, for the comment.
        content: its bytes.
        arena: the bytes of memory that it used.
        tensors: comments about its inputs and outputs.
        test: what `self_test` returned, or "".
    """
    rows = [content[start : start + 12] for start in range(0, len(content), 12)]
    array = "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    comments = "\n".join(tensors)
    return f"""// {file} as a C array: made by `make microcontroller`.
//
{comments}
//
// {name}_arena is what tflite-micro used on a computer with 64-bit pointers; with 32-bit ones it
// is less.
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
    """Return runs for a file, of a hundred samples at most, or a random one.

    Args:
        path: the `.tflite` file.
        inputs: the details of its input tensors by name.
        samples_file: a file of samples, or None.
    """
    if not samples_file:
        return [{name: litert.random_input(inputs[name], name) for name in inputs}]
    takes = {  # one sample, where the batch varies
        name: litert.takes(tensor)._replace(shape=tuple(tensor["shape"].tolist()))
        for name, tensor in inputs.items()
    }
    return samples.for_deployment(samples_file, takes, path)[0][:100]


samples_file = samples.find(args.model, "samples")
print(f"{args.model} on tflite-micro, beside LiteRT, on {samples_file or 'random inputs'}")
print("variant        runs   worst difference     agrees   RAM, bytes   flash, bytes")
smallest, wrong = None, []
for variant, suffix in VARIANTS.items():
    path = f"{args.model}{suffix}.tflite"
    if not os.path.isfile(path):
        continue
    content = Path(path).read_bytes()
    with litert.explained(path):
        interpreter = Interpreter(model_content=content)
    inputs, outputs = litert.names(interpreter)
    runs = runs_of(path, inputs, samples_file)
    proven = device.proven(path)
    differs = proven and device.misfit(proven, inputs, outputs)
    alone = {name: tensor["shape"].tolist() for name, tensor in inputs.items()}  # it cannot resize
    proven = proven and not differs and proven.only(alone)
    first = proven.inputs if proven else []  # from the state that a model begins with
    try:
        results, arena = on_micro(content, [*first, *runs], inputs, outputs)
    except script.Failure as error:
        print(f"{variant:<14} no     {error}")
        continue
    with litert.explained(path):
        expected = [litert.invoke(interpreter, run) for run in runs]
    worst = max(
        verdict.distance_of(result[name], true[name]).max(initial=0)
        for result, true in zip(results[len(first) :], expected, strict=True)
        for name in outputs
    )
    agrees = "0" if differs else "no proof"
    if proven:
        agreement = verdict.agreement(results[: len(first)], proven)
        agrees = f"{agreement.count} of {agreement.of}" if proven.clear else "unclear"
        differs = agreement.worst if proven.clear or agreement.lost else ""
    flash = len(content)
    print(f"{variant:<14} yes {worst:>19.2g} {agrees:>10} {arena:>12,} {flash:>14,}")
    if differs:
        print(f"{'':<14} {differs}")
        wrong.append(variant)
    elif smallest is None or flash < len(smallest[1]):
        tensors = [described("input ", *pair) for pair in inputs.items()]
        tensors += [described("output", *pair) for pair in outputs.items()]
        smallest = path, content, arena, tensors, proven, inputs, outputs

if smallest:
    path, content, arena, tensors, proven, inputs, outputs = smallest
    stem = os.path.basename(args.model)
    file = f"build/microcontroller/{stem}.h"
    name = re.sub(r"\W|^(?=\d)", "_", stem)
    test = self_test(name, proven, inputs, outputs) if proven and proven.clear else ""
    text = header(name, os.path.basename(path), content, arena, tensors, test)
    artifacts.write(file, text.encode())
    print(f"wrote {file}: {os.path.basename(path)}, the smallest that runs")
if wrong:
    them = ", ".join(wrong)
    raise script.Failure(
        f"{args.model} computes something else here than the trained model: {them}"
    )
if not smallest:
    raise script.Failure(f"no variant of {args.model} runs on tflite-micro")
