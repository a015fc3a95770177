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

from backstage import litert, samples

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


def header(name, file, content, arena, tensors):
    """Return a C header with a file as an array, for a board's project.

    Args:
        name: what the array is named after.
        file: the file's name, for the comment.
        content: its bytes.
        arena: the bytes of memory that it used.
        tensors: comments about its inputs and outputs.
    """
    rows = [content[start : start + 12] for start in range(0, len(content), 12)]
    array = "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    comments = "\n".join(tensors)
    return f"""// {file} as a C array: made by `make microcontroller`.
//
{comments}
//
// {name}_arena is what tflite-micro used on a computer with 64-bit pointers; with 32-bit ones it
// is less. A model of floating point wants a board that computes with it.
#ifndef {name.upper()}_H
#define {name.upper()}_H

#include <stdalign.h>

enum {{ {name}_length = {len(content)}, {name}_arena = {arena} }};  // bytes

alignas(16) static const unsigned char {name}[{name}_length] = {{
{array}
}};

#endif
"""


samples_file = samples.find(args.model, "samples")
print(f"{args.model} on tflite-micro, beside LiteRT, on {samples_file or 'random inputs'}")
print("variant        runs   worst difference   RAM, bytes   flash, bytes")
smallest = None
for variant, suffix in VARIANTS.items():
    path = f"{args.model}{suffix}.tflite"
    if not os.path.isfile(path):
        continue
    content = Path(path).read_bytes()
    with litert.explained(path):
        interpreter = Interpreter(model_content=content)
    inputs, outputs = litert.names(interpreter)
    if samples_file:
        takes = {  # one sample, where the batch varies
            name: litert.takes(tensor)._replace(shape=tuple(tensor["shape"].tolist()))
            for name, tensor in inputs.items()
        }
        runs = samples.for_deployment(samples_file, takes, path)[0][:100]
    else:
        runs = [{name: litert.random_input(inputs[name], name) for name in inputs}]
    try:
        results, arena = on_micro(content, runs, inputs, outputs)
    except script.Failure as error:
        print(f"{variant:<14} no     {error}")
        continue
    with litert.explained(path):
        expected = [litert.invoke(interpreter, run) for run in runs]
    worst = max(
        np.abs(result[name].astype(float) - true[name]).max()
        for result, true in zip(results, expected, strict=True)
        for name in outputs
    )
    print(f"{variant:<14} yes {worst:>19.2g} {arena:>12,} {len(content):>14,}")
    if smallest is None or len(content) < len(smallest[1]):
        tensors = [described("input ", *pair) for pair in inputs.items()]
        tensors += [described("output", *pair) for pair in outputs.items()]
        smallest = path, content, arena, tensors

if not smallest:
    raise script.Failure(f"no variant of {args.model} runs on tflite-micro")
path, content, arena, tensors = smallest
stem = os.path.basename(args.model)
file = f"build/microcontroller/{stem}.h"
name = re.sub(r"\W|^(?=\d)", "_", stem)
artifacts.write(file, header(name, os.path.basename(path), content, arena, tensors).encode())
print(f"wrote {file}: {os.path.basename(path)}, the smallest that runs")
