"""What does a file compute on this device? The command `run`, and `litecheck.run`."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from litecheck import (
    accuracy,
    artifacts,
    classes,
    images,
    inside,
    litert,
    record,
    samples,
    scaling,
    script,
)

SHOWN = 3  # how many runs of a test set or of a folder of images are printed


def run(path: str, given: samples.Given, scale: str | None = None) -> dict[str, np.ndarray]:
    """Run a `.tflite` file, and return its outputs by name; see `litecheck.run`."""
    path, given = artifacts.as_text(path), artifacts.as_text(given)
    artifacts.require_tflite(path)
    with litert.explained(path):
        runner = litert.Runner(path)
    scale = _scale(path, scale, given)
    runs, left = samples.for_deployment(given, _takes(runner), path, scale)
    if left:
        raise script.Failure(
            f"the last {left} samples are too few for one more run of {path}: leave them out"
        )
    with litert.explained(path, "these inputs"):
        outputs = [runner(one) for one in runs]
    if isinstance(runs, samples.Decoding):
        runs.print_note()
    return accuracy.joined(outputs, runner.outputs) if len(outputs) > 1 else outputs[0]


def show(
    path: str, input: str | None = None, test: str | None = None, scale: str | None = None
) -> None:
    """Run a `.tflite` file, and print its inputs, outputs, speed, accuracy and check.

    Args:
        path: the file.
        input: a `.npy` or `.npz` file of inputs, samples first, an image or a folder of images. The
            inputs are random if it is None.
        test: a test set: a `.npz` file, or a folder with one subfolder of images per class.
        scale: the scale of images. By default it is the one in the file's record.

    Raises:
        Failure: LiteRT refuses the file or its inputs, or the file returns other outputs than the
            trained model.
    """
    artifacts.require_tflite(path)
    with litert.explained(path):
        runner = litert.Runner(path)
    print(f"model  {path}")
    _print_ends(runner)
    if caution := _caution(path, runner):
        print(f"caution: {caution}")
    takes, test_set = _takes(runner), None
    runs: Sequence[dict[str, np.ndarray]]
    returns = {name: litert.takes(tensor) for name, tensor in runner.outputs.items()}
    scale = _scale(path, scale, test or input)
    if test:
        counts = [classes.count_of(output.shape) for output in returns.values()]
        names = _names(path, record.find(path), counts, test)
        test_set, labels = samples.test_set(
            test, path, takes, returns, names, scale, on_device=True
        )
        if not images.is_given(test):
            test_set = test_set.together(takes, litert.output_bytes(runner.outputs))
        runs = test_set.runs[:SHOWN]
    elif input:
        runs, left = samples.for_deployment(input, takes, path, scale)
        if left:
            print(f"left out the last {left} of {input}: too few for one more run")
    else:
        runs = [_random(runner, path)]
    outputs: list[dict[str, np.ndarray]] = []
    with litert.explained(path, input or test, litert.random_hint(runner.inputs)):
        shown = SHOWN if images.is_given(input) else len(runs)
        for one in runs[:shown]:
            outputs.append(runner(one))
            _print_run(runner, one, outputs[-1])
        outputs += [runner(one) for one in script.counted(runs[shown:], "running it")]
        seconds, count = litert.time_of(runner.interpreter)
    if not test:
        _print_classes(path, runner, outputs)
    print(f"one run takes {seconds * 1e6:,.0f} us, the median of {count:,}")
    if test_set:
        _print_metrics(path, runner, test_set, labels, names)
        runs = test_set.runs
    if isinstance(runs, samples.Decoding):
        runs.print_note()
    print(record.compare(path))


def _scale(path: str, scale: str | None, given: Any) -> str:
    """Return the scale of images: the given one, or the record's, or unchanged pixel values.

    A note is printed if the check was made on another scale.
    """
    entry = record.find(path) if images.is_given(given) else None
    known = entry.scale() if entry else None
    if known and scale and scale != known:
        print(f"the check used the scale {known}, not {scale}")
    scale = scale or known
    recorded = entry.recorded() if entry and not scale and not entry.is_random() else None
    if recorded and all(np.max(array, initial=0) <= 1 for array in recorded.inputs[0].values()):
        print(
            f"the check used {samples.reach(recorded.inputs)}, and images give 0 to 255: if the"
            " model was trained on 0 to 1 or -1 to 1, give --scale 0..1 or -1..1"
        )
    return images.scale_of(scale, given) or images.PIXELS


def _names(
    path: str,
    entry: record.Entry | None,
    counts: Collection[int | None],
    test: str | None = None,
) -> classes.Names:
    """Return the names of classes in the file's record, in a file, or in a test set's folders."""
    name = artifacts.name_of(path)
    if entry and entry.labels():
        return classes.Names(entry.labels(), f"{name}{classes.SUFFIX}")
    return classes.known(name, counts, test)


def _random(runner: litert.Runner, path: str) -> dict[str, np.ndarray]:
    """Return random inputs, without negative numbers if those lead to NaN, as in a logarithm."""
    inputs = {name: litert.random_input(end, name) for name, end in runner.inputs.items()}
    with litert.explained(path, hint=litert.random_hint(runner.inputs)):
        outputs = runner(inputs)
    lost = any(array.dtype.kind in "fc" and np.isnan(array).any() for array in outputs.values())
    return {name: np.abs(array) for name, array in inputs.items()} if lost else inputs


def _caution(path: str, runner: litert.Runner) -> str:
    """Return a warning about a file's states, or "" if there is none or the file is unreadable."""
    if all(tensor["dtype"] != np.int16 for tensor in runner.interpreter.get_tensor_details()):
        return ""  # a cell's state would be int16
    with contextlib.suppress(Exception):  # LiteRT has loaded it, but its schema may be newer
        return inside.read(path).caution()
    return ""


def _takes(runner: litert.Runner) -> dict[str, samples.Input]:
    """Return the inputs that a file takes, a dict by name."""
    return {name: litert.takes(tensor) for name, tensor in runner.inputs.items()}


def _print_ends(runner: litert.Runner) -> None:
    """Print the names, dtypes, shapes and scales of a file's inputs and outputs."""
    for kind, tensors in [("input ", runner.inputs), ("output", runner.outputs)]:
        for name, tensor in tensors.items():
            shape, signature = tensor["shape"].tolist(), tensor["shape_signature"].tolist()
            scale, zero_point = tensor["quantization"]
            real = f", real = {inside.affine(scale, zero_point)}" if scale else ""
            dtype = np.dtype(tensor["dtype"]).name
            print(f"{kind} {name}: {dtype} {shape}, signature {signature}{real}")


def _print_run(
    runner: litert.Runner, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> None:
    """Print the inputs and outputs of a run, as real numbers and as stored integers."""
    for name, tensor in runner.inputs.items():
        print(f"input  {name}: {litert.text(inputs[name])}")
        _print_stored(inputs[name], tensor)
    for name, tensor in runner.outputs.items():
        _print_stored(outputs[name], tensor)
        print(f"output {name}: {litert.text(outputs[name])}")


def _print_stored(values: np.ndarray, tensor: Mapping[str, Any]) -> None:
    """Print the integers that a quantized tensor stores for real numbers."""
    if tensor["quantization"][0]:
        stored = litert.quantize(values, dict(tensor))
        print(f"       stored as {stored.dtype} {litert.text(stored)}")


def _print_classes(
    path: str, runner: litert.Runner, outputs: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Print a classifier's predictions: the top classes of one sample, or counts of several."""
    probable = {
        name: values
        for name, values in accuracy.joined(outputs, runner.outputs).items()
        if accuracy.probable(values, len(values), runner.outputs[name]["quantization"][0])
    }
    entry = record.find(path) if probable else None
    recorded = entry.recorded() if entry else None
    for name, values in probable.items():
        if recorded and not recorded.is_classifier(name):
            continue
        names = _names(path, entry, [classes.count_of(values.shape)])
        of = f"{name}: " if len(runner.outputs) > 1 else ""
        if len(values) == 1:
            print(f"{of}{classes.largest(values[0], names)}")
        else:
            print(f"{of}{len(values):,} samples: {classes.counts(values, names)}")


def _print_metrics(
    path: str,
    runner: litert.Runner,
    given: samples.Samples,
    labels: dict[str, np.ndarray],
    names: classes.Names,
) -> None:
    """Print a file's accuracy or mean error on a test set, and its most frequent mistakes."""
    with litert.explained(path, given.source):
        outputs = [runner(one) for one in script.counted(given.runs, "testing")]
    joined, thresholds = accuracy.joined(outputs, labels), record.threshold(path)
    tasks = accuracy.tasks(labels, joined, str(given.source), thresholds)
    for name, score in accuracy.scores(tasks, outputs).items():
        kind, count = tasks[name].kind, classes.count_of(outputs[0][name].shape)
        print(f"{name}: {accuracy.WORDS[kind]} {accuracy.text(kind, score.metric)} on {given}")
        if score.is_chance():
            print(scaling.CHANCE)
        if found := classes.mistakes(score.pairs, names, count):
            print(f"most frequent mistakes: {'; '.join(found)}")
