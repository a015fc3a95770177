"""Truncated, bit-flipped and random files give an output or a one-line error, and never crash.

A tenth of the mutations runs with the other tests, and `make fuzz` runs all. There are 500 of a
`.tflite` file, and 100 each of `.keras`, `.npy` and `.npz` files and of a SavedModel.
"""

import collections
import os
import random
import shutil
import signal

import numpy as np
import pytest

SHARE = float(os.environ.get("FUZZ_SHARE", "0.1"))


def mutations(content, count):
    """Yield `count` mutations of a file's content, the same ones every time."""
    generator = random.Random(2021)
    for number in range(count):
        if number % 3 == 0:
            yield content[: generator.randrange(len(content))]
        elif number % 3 == 1:
            flipped = bytearray(content)
            for _ in range(generator.choice([1, 2, 8, 64])):
                flipped[generator.randrange(len(flipped))] ^= 1 << generator.randrange(8)
            yield bytes(flipped)
        else:
            yield generator.randbytes(generator.randrange(2 * len(content)))


def outcome(process):
    """Return how a process ended: well, with a clear error, or how it failed otherwise."""
    if process.returncode == 0:
        return "fine"
    if process.returncode < 0:
        return signal.Signals(-process.returncode).name
    if "Traceback" in process.stderr or not 1 <= len(process.stderr.splitlines()) <= 2:
        return process.stderr
    return "clear error"


@pytest.mark.parametrize(
    ("name", "command", "option", "count"),
    [
        ("my_model.tflite", "run", None, 500),
        ("my_model.int8.tflite", "run", None, 100),
        ("my_model.tflite", "look", None, 100),
        ("my_model.keras", "look", None, 100),
        ("x.npy", "run", "--input", 100),
        ("x.npz", "run", "--input", 100),
        ("x.npy", "convert", "--samples", 50),
        ("x.npz", "convert", "--samples", 50),
    ],
)
def test_mutated_files(warm, pipeline, tmp_path, name, command, option, count):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    np.save(directory / "x.npy", np.ones((40, 1), "float32"))
    np.savez(directory / "x.npz", x=np.ones((40, 1), "float32"))
    path = directory / name
    content = path.read_bytes()
    ends = collections.Counter()
    for mutation in mutations(content, max(3, int(count * SHARE))):
        path.write_bytes(mutation)
        model = directory / {"run": "my_model.tflite", "convert": "my_model"}.get(command, "")
        arguments = [model, option, path] if option else [path]
        ends[outcome(warm(command, *arguments, cwd=tmp_path, timeout=60))] += 1
    print(dict(ends))
    assert set(ends) <= {"fine", "clear error"}
    assert ends["clear error"] >= ends.total() / 2


@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index"])
def test_mutated_saved_models(warm, pipeline, tmp_path, part):
    """TensorFlow itself may abort on these. Aborts are counted, and must stay rare."""
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    path = directory / "my_model" / part
    content = path.read_bytes()
    ends = collections.Counter()
    for mutation in mutations(content, max(3, int(50 * SHARE))):
        path.write_bytes(mutation)
        ends[outcome(warm("convert", directory / "my_model", cwd=tmp_path, timeout=60))] += 1
    print(dict(ends))
    aborted = ends["SIGABRT"] + ends["SIGSEGV"]
    assert ends["clear error"] + ends["fine"] + aborted == ends.total()
    assert aborted <= ends.total() / 3
