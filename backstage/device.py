"""Does this device compute what was trained? The runs of a proof, asked here."""

import base64
import importlib.metadata

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from backstage import artifacts, litert, script, verdict


def proven(path):
    """Return what the proof beside a `.tflite` file holds of it, a `verdict.Proven`, or None.

    Raises:
        Failure: the proof is damaged.
    """
    found, part = artifacts.proof(path)
    variant = found and next((n for n, row in found["variants"].items() if row is part), None)
    if not variant or "not_written" in part:
        return None
    try:
        runs = found["runs"]
        known = verdict.Proven(
            inputs=[_arrays(run["inputs"]) for run in runs],
            answers=[_arrays(run["answers"]) for run in runs],
            allowed=[_arrays(run["allowed"][variant]) for run in runs],
            ranges=_arrays(found["ranges"]),
            clear=part["clear"],
            sha256=part["sha256"],
        )
        known.require_consistent()
        if type(known.clear) is not bool:
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise artifacts.damaged(f"the proof beside {path}") from error
    return known


def _arrays(packed):
    """Return the arrays of a dict of what `artifacts.packed` returned."""
    arrays = {}
    for name, part in packed.items():
        dtype = np.dtype(part["dtype"]).newbyteorder("<")
        content = base64.b64decode(part["base64"], validate=True)
        arrays[name] = np.frombuffer(content, dtype).reshape(part["shape"])
    return arrays


def misfit(proven, takes, gives):
    """Return why a file cannot be of the model of a proof, or "" if it can.

    Args:
        proven: a `verdict.Proven`.
        takes: a dict from names to the details of a file's input tensors.
        gives: the same of its output tensors.
    """
    for kind, runs, tensors in [
        ("inputs", proven.inputs, takes),
        ("outputs", proven.answers, gives),
    ]:
        if runs[0].keys() != tensors.keys():
            return f"its {kind} are {', '.join(tensors)}, not {', '.join(runs[0])}"
        for name, tensor in tensors.items():
            shape, expected = tensor["shape_signature"].tolist(), runs[0][name].shape
            fits = len(shape) == len(expected) and all(
                size in (-1, other) for size, other in zip(shape, expected, strict=True)
            )
            if not fits:
                return f"{name} has the shape {shape}, not {list(expected)}"
    return ""


def check(path):
    """Return a line that says how this device agrees with the trained model, in a list.

    Without a proof of the file nothing can be said, and the list is empty.

    Args:
        path: a `.tflite` file.

    Raises:
        Failure: this device, or this file, computes something else.
    """
    runs = proven(path)
    if not runs:
        return []
    with litert.explained(path):
        interpreter = Interpreter(model_path=path)  # a new one, as a model may have a state
        reason = misfit(runs, *litert.names(interpreter))
        if reason:
            raise script.Failure(_different(path, runs, reason))
        asked = script.counted(runs.inputs, "asking this device")
        given = [litert.invoke(interpreter, run) for run in asked]
    agreement = verdict.agreement(given, runs)
    if agreement.worst and (runs.clear or agreement.lost):
        raise script.Failure(_different(path, runs, agreement.worst))
    line = f"{agreement.count} of {agreement.of} runs agree with the trained model"
    if not runs.clear:
        why = "rounding, or what quantization costs, explains too much of the range"
        return [f"proof: cannot be judged, for {why}; {line}"]
    return [f"proof: {line}, largest difference {agreement.of_range:.2g} of the range"]


def _different(path, runs, reason):
    """Return the message for a file or a device that computes something else."""
    with open(path, "rb") as file:
        same = artifacts.sha256(file.read()) == runs.sha256
    what = f"{path}: this {'device' if same else 'file'} computes something else than the trained"
    version = importlib.metadata.version("ai-edge-litert")
    way_out = f"The file is the one that was proven: report it, with ai-edge-litert {version}"
    return f"{what} model: {reason}\n{way_out if same else artifacts.changed(path)}"
