"""What was checked? Written where a model is converted, read and validated by every device.

The record of a check, `NAME.check.json`, is an object with a format number. A reader ignores fields
that it does not know; removing a field, or changing its meaning, raises the number. Arrays are
objects of a dtype, a shape, and base64 of their little-endian bytes.
"""

import base64
import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ai_edge_litert
import numpy as np

from litecheck import accuracy, artifacts, images, litert, script, verdict

FORMAT = 1
SUFFIX, OLD_SUFFIX = ".check.json", ".proof.json"  # the old one had no format
RUNS, MEGABYTE = 100, 2**20  # runs in a record at most, and their bytes
TOLERANCES = 5  # of a run: as many variants are in most records
Arrays = Mapping[str, np.ndarray]


def number(value: float) -> float | None:
    """Return a number for JSON, which has no infinity."""
    return float(value) if math.isfinite(value) else None


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as an object of JSON; complex numbers are two each, texts end with zeros.

    NumPy reads it with `np.frombuffer(base64.b64decode(o["base64"]), o["dtype"])`.
    """
    if array.dtype.kind in "OU":
        array = array.astype("S")
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": array.dtype.str[1:] if array.dtype.kind == "S" else array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(content).decode("ascii"),
    }


def pack(arrays: Arrays) -> dict[str, Any]:
    """Return arrays by name as objects of JSON."""
    return {name: packed(array) for name, array in arrays.items()}


def _unpacked(part: Mapping[str, Any]) -> np.ndarray:
    """Return the array of what `packed` returned."""
    dtype = np.dtype(part["dtype"]).newbyteorder("<")
    content = base64.b64decode(part["base64"], validate=True)
    return np.frombuffer(content, dtype).reshape(part["shape"])


def _unpack(objects: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of what `pack` returned."""
    return {name: _unpacked(part) for name, part in objects.items()}


def chosen(
    inputs: Sequence[Arrays],
    outputs: Sequence[Arrays],
    ids: Sequence[Sequence[int]],
    in_order: bool = False,
) -> list[int]:
    """Return the numbers of the runs for a record: at most a hundred, at least one.

    Those come first that show a class that no other has shown, then one of several samples, then
    the others, as far as they fit into a megabyte.

    Args:
        inputs: those of each run by name.
        outputs: the expected ones.
        ids: the numbers of the samples of each run.
        in_order: whether a run depends on those before: then it is the first ones.
    """
    fewest = min(map(len, ids))
    alone = [index for index, samples in enumerate(ids) if len(samples) == fewest]
    several = min(
        (index for index in range(len(ids)) if index not in {*alone}),
        key=lambda index: len(ids[index]),
        default=None,
    )
    known: set[tuple[str, int]] = set()
    shown = []
    for index in alone:
        classes = _classes(outputs[index])
        if not known.issuperset(classes):
            shown.append(index)
            known |= classes
    first = [*shown[:1], *([] if several is None else [several]), *shown[1:]]
    found: list[int] = []
    size = 0
    for index in range(len(ids)) if in_order else dict.fromkeys([*first, *alone]):
        tolerance = {name: verdict.shape_of(array) for name, array in outputs[index].items()}
        numbers = sum(map(math.prod, tolerance.values())) * TOLERANCES
        size += sum(len(str(pack(side[index]))) for side in (inputs, outputs)) + 16 * numbers // 3
        if len(found) == RUNS or (found and size > MEGABYTE):
            break
        found.append(index)
    return sorted(found)


def _classes(outputs: Arrays) -> set[tuple[str, int]]:
    """Return which classes a run's outputs predict: the largest of a row, or a whole number."""
    found: set[tuple[str, int]] = set()
    for name, array in outputs.items():
        if array.dtype.kind in "biu":
            found |= {(name, int(value)) for value in np.unique(array)[:RUNS]}
        elif array.dtype.kind == "f" and array.ndim == 2 and array.size:
            found |= {(name, int(value)) for value in array.argmax(axis=-1)}
    return found


def run(
    inputs: Arrays,
    outputs: Arrays,
    tolerances: Mapping[str, Arrays],
    others: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, Any]:
    """Return a run as an object of JSON.

    Args:
        inputs: arrays by name.
        outputs: the expected ones.
        tolerances: by variants, how far a device's outputs may be from the expected ones.
        others: what outputs that are exact may be as well.
    """
    found: dict[str, Any] = {
        "inputs": pack(inputs),
        "outputs": pack(outputs),
        "tolerance": {variant: pack(arrays) for variant, arrays in tolerances.items()},
    }
    ties = {name: [packed(array) for array in arrays] for name, arrays in others.items() if arrays}
    return found | ({"others": ties} if ties else {})


def write(name: str, fields: Mapping[str, Any]) -> str:
    """Write the record of a check beside its files, and return its path.

    Args:
        name: the files' path without suffix.
        fields: what it holds, for `json.dumps`.
    """
    path = f"{name}{SUFFIX}"
    content = json.dumps({"format": FORMAT} | dict(fields), indent=1, allow_nan=False)
    artifacts.write(path, f"{content}\n".encode())
    return path


class Entry(NamedTuple):
    """What a record says of a `.tflite` file.

    Attributes:
        path: that of the record.
        fields: the whole record.
        variant: the file's variant, None if it was not tried in the latest conversion.
    """

    path: str
    fields: dict[str, Any]
    variant: str | None

    def row(self) -> dict[str, Any]:
        """Return what the record says of the variant."""
        return self.fields["variants"][self.variant] if self.variant else {}

    def source(self) -> str:
        """Return the path of the model, as seen from here."""
        return _seen(self.fields["model"]["path"], self.path)

    def labels(self) -> list[str]:
        """Return the names of classes in their order; [] without any."""
        return self.fields.get("labels", [])

    def scale(self) -> str | None:
        """Return the scale of images, see `images`; None if none were given."""
        return self.fields.get("samples", {}).get("scale")

    def is_random(self) -> bool:
        """Return whether the check was made on random inputs."""
        return bool(self.fields.get("samples", {}).get("random"))

    def recorded(self) -> "Recorded | None":
        """Return what the record holds of the file; None if it was not tried or not written.

        Raises:
            Failure: the record is damaged.
        """
        return _recorded(self)

    def again(self) -> str:
        """Return how to convert the model again."""
        if self.fields["model"]["file"] is None:
            return "convert the model again, with litecheck.convert in your program"
        return _convert(
            self.source(), self.path.removesuffix(SUFFIX), _options(self.fields, self.path)
        )


def find(path: str) -> Entry | None:
    """Return what the record beside a `.tflite` file says of it, or None.

    Raises:
        Failure: the record is damaged, or of another format.
    """
    name, stems = os.path.basename(path), [path]
    while len(stems) < 4:  # NAME.tflite, NAME.int8.tflite, NAME.int8.float-ends.tflite
        stems.append(os.path.splitext(stems[-1])[0])
    suffixes = {variant.suffix for variant in artifacts.VARIANTS.values()}
    for model in stems[1:]:
        file, old = f"{model}{SUFFIX}", f"{model}{OLD_SUFFIX}"
        ours = name.removeprefix(os.path.basename(model)) in suffixes
        if os.path.isfile(file):
            fields = _read(file)
            for variant, row in fields["variants"].items():
                if row["file"] == name:
                    return Entry(file, fields, variant)
            if ours:  # tried earlier only
                return Entry(file, fields, None)
        elif ours and os.path.isfile(old):
            raise script.Unreadable(f"{old} is a record of an older version", f": {_again(old)}")
    return None


def _read(file: str) -> dict[str, Any]:
    """Return the fields of a record, of which those of the model and the variants are as they must.

    Raises:
        Failure: they are not, or it is of another format.
    """
    try:
        with open(file, encoding="utf-8") as content:
            fields = json.load(content)
        if fields.get("format") != FORMAT:
            raise script.Unreadable(f"{file} is a record of another version", f": {_again(file)}")
        source = fields["model"]
        kinds = {type(source[key]) for key in ("file", "sha256")}
        if not all(type(word) is str for word in source.get("options", [])):
            raise TypeError
        if type(source["path"]) is not str or kinds not in ({str}, {type(None)}):
            raise TypeError
        thresholds = fields["original"].get("threshold", {}).values()
        if not all(type(value) in (int, float) for value in thresholds):
            raise TypeError
        if not all(type(row["file"]) is str for row in fields["variants"].values()):
            raise TypeError
        given, names = fields.get("samples", {}), fields.get("labels", [])
        words = [
            *names,
            *given.get("given", {}).values(),
            given.get("scale", ""),
        ]
        if type(names) is not list or not all(type(word) is str for word in words):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise script.Unreadable(f"{file} is damaged", f": {_again(file)}") from error
    return fields


def _again(file: str) -> str:
    """Return how to make a record again that is damaged, or of another version.

    The model is the one that it names, if that can be read and is there, or one beside it.
    """
    name = file.removesuffix(SUFFIX).removesuffix(OLD_SUFFIX)
    found = [*(f"{name}{end}" for end in artifacts.ARCHIVES), name]
    options: list[str] = []
    with (
        contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
        ),
        open(file, encoding="utf-8") as content,
    ):
        fields = json.load(content)
        found.insert(0, _seen(fields["model"]["path"], file))
        options = list(map(str, _options(fields, file)))
    for source in filter(artifacts.is_model, found):
        return _convert(source, name, options)
    return f"convert the model again where it is: {script.command('convert', 'MODEL')}"


def _seen(path: str, file: str) -> str:
    """Return a path of a record as seen from here."""
    return os.path.normpath(os.path.join(os.path.dirname(file), path))


def _options(fields: Mapping[str, Any], file: str) -> list[str]:
    """Return the options of a conversion from its record: words for a command.

    Samples and a test set that were found beside the model are not named.
    """
    given = fields.get("samples", {})
    options = list(fields["model"].get("options", []))
    for kind, path in given.get("given", {}).items():
        options += [f"--{kind}", _seen(path, file)]
    scale = given.get("scale")
    return [*options, "--scale", scale] if scale not in (None, images.PIXELS) else options


def _convert(source: str, name: str, options: Sequence[str]) -> str:
    """Return how to convert a model to the files of NAME again, with options that were given."""
    same = os.path.normpath(artifacts.stem(source)) == os.path.normpath(name)
    output = [] if same else ["--output", name]
    return f"convert the model again: {script.command('convert', source, *options, *output)}"


def threshold(path: str) -> dict[str, float]:
    """Return the thresholds in a `.tflite` file's record, by outputs.

    Above it an output means yes. The original's outputs decide on it, which a device does not have.
    """
    entry = find(path)
    return entry.fields["original"].get("threshold", {}) if entry else {}


def _changed(path: str, entry: Entry) -> str | None:
    """Return why a `.tflite` file is not the latest of its model, and what to do; None if it is."""
    model, row = entry.fields["model"], entry.row()
    file = model["file"] and os.path.join(os.path.dirname(entry.path), model["file"])
    if file and os.path.isfile(file):
        with open(file, "rb") as content:
            if artifacts.sha256(content.read()) != model["sha256"]:
                return f"{entry.source()} has changed: {entry.again()}"
    with open(path, "rb") as content:
        if artifacts.sha256(content.read()) == row.get("sha256"):
            return None
    why = f" ({row['not_written']})" if "not_written" in row else ""
    return f"{path} has changed: it is not of the last conversion{why}: {entry.again()}"


class Recorded(NamedTuple):
    """What a record holds of a file: its runs, and what a device may return in them.

    Attributes:
        inputs: a list with a dict for each run from inputs to arrays.
        outputs: the same of the expected outputs.
        tolerances: the same of what a device's outputs may differ by.
        others: for each run a dict from outputs that are exact to what they may be as well.
        ranges: a dict from outputs to the ranges of their numbers.
        clear: whether these say enough to tell what is the same.
        sha256: of the file that was checked.
    """

    inputs: list[dict[str, np.ndarray]]
    outputs: list[dict[str, np.ndarray]]
    tolerances: list[dict[str, np.ndarray]]
    others: list[dict[str, list[np.ndarray]]]
    ranges: dict[str, np.ndarray]
    clear: bool
    sha256: str

    def require_consistent(self) -> None:
        """Raise `ValueError` if its parts do not fit each other, as in a damaged record."""
        for side in (self.inputs, self.outputs, self.tolerances):
            if len({frozenset(run) for run in side}) != 1:
                raise ValueError("runs of other names, or none")
        if not self.ranges.keys() == self.outputs[0].keys() == self.tolerances[0].keys() != set():
            raise ValueError("outputs of other names, or none")
        for outputs, tolerances in zip(self.outputs, self.tolerances, strict=True):
            for name, true in outputs.items():
                shape, reach, spans = verdict.shape_of(true), tolerances[name], self.ranges[name]
                if np.broadcast_shapes(shape, reach.shape, spans.shape) != shape:
                    raise ValueError("an array of another shape")
                if not ((reach >= 0).all() and (spans > 0).all()):
                    raise ValueError("a number that cannot be")
        for outputs, ties in zip(self.outputs, self.others, strict=True):
            for name, arrays in ties.items():
                true = outputs[name]
                if any((x.shape, x.dtype) != (true.shape, true.dtype) for x in arrays):
                    raise ValueError("an array of another shape or kind")
        if type(self.clear) is not bool:
            raise TypeError

    def only(self, shapes: Mapping[str, list[int]]) -> "Recorded | None":
        """Return the same with those runs only whose inputs have given shapes; None without one."""
        kept = [
            index
            for index, run in enumerate(self.inputs)
            if {name: list(array.shape) for name, array in run.items()} == shapes
        ]
        if not kept:
            return None
        return self._replace(
            inputs=[self.inputs[index] for index in kept],
            outputs=[self.outputs[index] for index in kept],
            tolerances=[self.tolerances[index] for index in kept],
            others=[self.others[index] for index in kept],
        )

    def is_classifier(self, output: str) -> bool:
        """Return whether the original's outputs are probabilities, which integers only round."""
        runs = [run[output] for run in self.outputs if output in run]  # it may be another model's
        return all(accuracy.probable(array, len(array)) for array in runs)

    def agreement(self, given: list[dict[str, np.ndarray]]) -> verdict.Agreement:
        """Return how a device's outputs agree."""
        return verdict.agreement(given, self.outputs, self.tolerances, self.others, self.ranges)

    def misfit(
        self, inputs: Mapping[str, litert.Tensor], outputs: Mapping[str, litert.Tensor]
    ) -> str:
        """Return why a file cannot be of the model of this record, or "" if it can.

        Args:
            inputs: a dict from names to the details of a file's input tensors.
            outputs: the same of its output tensors.
        """
        for kind, runs, tensors in [
            ("inputs", self.inputs, inputs),
            ("outputs", self.outputs, outputs),
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


def read(path: str) -> Recorded | None:
    """Return what the record beside a `.tflite` file holds of it; None without one.

    Raises:
        Failure: the record is damaged, or of another format.
    """
    entry = find(path)
    return entry and _recorded(entry)


def _recorded(entry: Entry) -> Recorded | None:
    """Return what a record holds of a file; None if the file was not tried or not written."""
    if not entry.variant or "not_written" in entry.row():
        return None
    try:
        runs = entry.fields["runs"]
        recorded = Recorded(
            inputs=[_unpack(run["inputs"]) for run in runs],
            outputs=[_unpack(run["outputs"]) for run in runs],
            tolerances=[_unpack(run["tolerance"][entry.variant]) for run in runs],
            others=[
                {
                    name: [_unpacked(part) for part in parts]
                    for name, parts in run.get("others", {}).items()
                }
                for run in runs
            ],
            ranges=_unpack(entry.fields["ranges"]),
            clear=entry.row()["clear"],
            sha256=entry.row()["sha256"],
        )
        recorded.require_consistent()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise script.Unreadable(f"{entry.path} is damaged", f": {entry.again()}") from error
    return recorded


def compare(path: str) -> str:
    """Return how this device agrees with the trained model on a file, in a line.

    The outputs decide, not the hash: where the file has changed, a line before says so.

    Args:
        path: a `.tflite` file.

    Raises:
        Failure: this device, or this file, returns other outputs.
    """
    entry = find(path)
    change = _changed(path, entry) if entry else None
    recorded = _recorded(entry) if entry else None
    note = f"{change}\n" if change else ""
    if not recorded:
        return f"{note}check: there is no record of this file, so nothing to compare with"
    with litert.explained(path):
        runner = litert.Runner(path)  # a new one, as a model may have a state
        reason = recorded.misfit(runner.inputs, runner.outputs)
        if reason:
            raise script.Failure(_different(path, recorded, change, reason))
        given = [runner(run) for run in script.counted(recorded.inputs, "running the check")]
    found = recorded.agreement(given)
    if found.worst and (recorded.clear or found.lost):
        raise script.Failure(_different(path, recorded, change, found.worst))
    line = f"{found.agreeing} of {found.of} runs agree with the trained model"
    if not recorded.clear:
        why = "rounding, or quantization, changes its outputs by too much of their range"
        return f"{note}check: cannot be judged, because {why}; {line}"
    return f"{note}check: {line}, largest difference {found.of_range:.2g} of the range"


def _different(path: str, recorded: Recorded, change: str | None, reason: str) -> str:
    """Return the message for a file or a device that returns other outputs."""
    with open(path, "rb") as file:
        same = artifacts.sha256(file.read()) == recorded.sha256
    what = f"{path}: this {'device' if same else 'file'} returns other outputs than the trained"
    version = ai_edge_litert.__version__
    way_out = f"The file is the one that was checked: report it, with ai-edge-litert {version}"
    return f"{what} model: {reason}\n{way_out if same else change}"
