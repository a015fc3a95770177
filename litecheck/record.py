"""What was checked? The conversion writes a record, and every device reads and validates it.

The record of a check, `NAME.check.json`, is a JSON object with a format number. Readers ignore
fields that they do not know. The number is raised only when a field is removed or changes its
meaning. An array is an object with a dtype, a shape, and its little-endian bytes in base64.
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
SUFFIX, OLD_SUFFIX = ".check.json", ".proof.json"  # old records had no format number
RUNS, MEGABYTE = 100, 2**20  # the most runs in a record, and the most bytes of them
TOLERANCES = 5  # how many variants most records have: each run has tolerances for each of them
Arrays = Mapping[str, np.ndarray]


def number(value: float) -> float | None:
    """Return a number for JSON: None if it is not finite, because JSON has no infinity."""
    return float(value) if math.isfinite(value) else None


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as a JSON object.

    NumPy reads the object o with `np.frombuffer(base64.b64decode(o["base64"]), o["dtype"])`. A
    complex number is stored as two real ones. Text is padded with zeros to one length.
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
    """Return a dict of arrays as a dict of JSON objects; see `packed`."""
    return {name: packed(array) for name, array in arrays.items()}


def _unpacked(part: Mapping[str, Any]) -> np.ndarray:
    """Return the array of a JSON object from `packed`."""
    dtype = np.dtype(part["dtype"]).newbyteorder("<")
    content = base64.b64decode(part["base64"], validate=True)
    return np.frombuffer(content, dtype).reshape(part["shape"])


def _unpack(objects: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of the JSON objects from `pack`."""
    return {name: _unpacked(part) for name, part in objects.items()}


def chosen(
    inputs: Sequence[Arrays],
    outputs: Sequence[Arrays],
    ids: Sequence[Sequence[int]],
    in_order: bool = False,
) -> list[int]:
    """Return the indices of the runs for a record: at least one, at most 100 and 1 MB.

    Runs that show a new class have priority. Right after the first of them comes one run of several
    samples, if it fits. Then come the other runs.

    Args:
        inputs: the inputs of each run, by name.
        outputs: the expected outputs of each run, by name.
        ids: the indices of each run's samples.
        in_order: whether a run depends on the runs before it. Then the first runs are taken.
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
        more = sum(len(str(pack(side[index]))) for side in (inputs, outputs)) + 16 * numbers // 3
        if index == several and not in_order and size + more > MEGABYTE:
            continue  # there may still be room for runs of one sample
        if len(found) == RUNS or (found and size + more > MEGABYTE):
            break
        size += more
        found.append(index)
    return sorted(found)


def _classes(outputs: Arrays) -> set[tuple[str, int]]:
    """Return the classes in a run's outputs, as pairs of the output's name and the class.

    A class is the index of the largest number in a row, or a whole number.
    """
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
    """Return a run as a JSON object.

    Args:
        inputs: the inputs by name.
        outputs: the expected outputs by name.
        tolerances: for each variant, how far a device's outputs may be from the expected ones.
        others: for exact outputs by name, arrays that are right, too.
    """
    found: dict[str, Any] = {
        "inputs": pack(inputs),
        "outputs": pack(outputs),
        "tolerance": {variant: pack(arrays) for variant, arrays in tolerances.items()},
    }
    ties = {name: [packed(array) for array in arrays] for name, arrays in others.items() if arrays}
    return found | ({"others": ties} if ties else {})


def write(name: str, fields: Mapping[str, Any]) -> str:
    """Write the record of a check beside its files, and return the record's path.

    Args:
        name: the path of the files without suffix.
        fields: the record's fields, without the format number.
    """
    path = f"{name}{SUFFIX}"
    content = json.dumps({"format": FORMAT} | dict(fields), indent=1, allow_nan=False)
    artifacts.write(path, f"{content}\n".encode())
    return path


class Entry(NamedTuple):
    """The record beside a `.tflite` file, and the file's place in it.

    Attributes:
        path: the path of the record.
        fields: the fields of the whole record.
        variant: the file's variant, or None if the latest conversion did not try it.
    """

    path: str
    fields: dict[str, Any]
    variant: str | None

    def row(self) -> dict[str, Any]:
        """Return the fields of the file's variant, or {} if it was not tried."""
        return self.fields["variants"][self.variant] if self.variant else {}

    def source(self) -> str:
        """Return the path of the model, relative to the current directory."""
        return _seen(self.fields["model"]["path"], self.path)

    def labels(self) -> list[str]:
        """Return the names of the classes in the order of the outputs, or [] if unknown."""
        return self.fields.get("labels", [])

    def scale(self) -> str | None:
        """Return the scale of the images in the check, or None if it used no images."""
        return self.fields.get("samples", {}).get("scale")

    def is_random(self) -> bool:
        """Return whether the check used random inputs."""
        return bool(self.fields.get("samples", {}).get("random"))

    def recorded(self) -> "Recorded | None":
        """Return the recorded check of the file, or None if it was not tried or not written.

        Raises:
            Failure: the record is damaged.
        """
        return _recorded(self)

    def again(self, more: Sequence[str] = ()) -> str:
        """Return what to do to convert the model again, with the command if there is one.

        Args:
            more: options that the last conversion did not have, as words of a command.
        """
        if self.fields["model"]["file"] is None:
            words = [word[2:].replace("-", "_") for word in more if word.startswith("--")]
            given = f", and give it {' and '.join(words)}" if words else ""
            return f"convert the model again, with litecheck.convert in your program{given}"
        options = [*_options(self.fields, self.path), *more]
        return _convert(self.source(), self.path.removesuffix(SUFFIX), options)


def find(path: str) -> Entry | None:
    """Return the entry for a `.tflite` file in the record beside it, or None if there is none.

    Raises:
        Failure: the record is damaged, or has another format.
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
            if ours:  # an earlier conversion made the file
                return Entry(file, fields, None)
        elif ours and os.path.isfile(old):
            raise script.Unreadable(f"{old} is a record of an older version", f": {_again(old)}")
    return None


def _read(file: str) -> dict[str, Any]:
    """Return the fields of a record, after checking all but its runs.

    Raises:
        Failure: a field is missing or has another type, or the record has another format.
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
    """Return how to replace a record that is damaged or has another format.

    The command names the model in the record if that can be read and the model exists, or else a
    model beside the record.
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
    command = script.command("convert", "MODEL")
    return f"convert the model again on the computer that has it: {command}"


def _seen(path: str, file: str) -> str:
    """Return a path in the record `file`, relative to the current directory."""
    return os.path.normpath(os.path.join(os.path.dirname(file), path))


def _options(fields: Mapping[str, Any], file: str) -> list[str]:
    """Return the options of a conversion as words of a command, from its record.

    Samples and a test set beside the model need no option, because `convert` finds them.
    """
    given = fields.get("samples", {})
    options = list(fields["model"].get("options", []))
    for kind, path in given.get("given", {}).items():
        options += [f"--{kind}", _seen(path, file)]
    if artifacts.FLOAT_ENDS in fields.get("variants", {}):
        options.append("--float-ends")
    scale = given.get("scale")
    return [*options, "--scale", scale] if scale not in (None, images.PIXELS) else options


def _convert(source: str, name: str, options: Sequence[str]) -> str:
    """Return the command that converts a model to the files of NAME again, with its options."""
    same = os.path.normpath(artifacts.stem(source)) == os.path.normpath(name)
    output = [] if same else ["--output", name]
    where = "" if artifacts.is_model(source) else " on the computer that has it"
    return f"convert the model again{where}: {script.command('convert', source, *options, *output)}"


def threshold(path: str) -> dict[str, float]:
    """Return the decision thresholds in a `.tflite` file's record, by output name.

    An output above its threshold means yes. The conversion decides on the threshold from the
    original model's outputs, which a device does not have.
    """
    entry = find(path)
    return entry.fields["original"].get("threshold", {}) if entry else {}


def _changed(path: str, entry: Entry) -> str | None:
    """Return a note if the model or the file has changed since the check, or None.

    The note says what to do.
    """
    model, row = entry.fields["model"], entry.row()
    file = model["file"] and os.path.join(os.path.dirname(entry.path), model["file"])
    if file and os.path.isfile(file):
        with open(file, "rb") as content:
            if artifacts.sha256(content.read()) != model["sha256"]:
                return f"{entry.source()} has changed: {entry.again()}"
    with open(path, "rb") as content:
        if artifacts.sha256(content.read()) == row.get("sha256"):
            return None
    note = f"{path} has changed: it is not from the last conversion"
    if row and "not_written" not in row:
        return f"{note}: {entry.again()}"
    why = f" ({row['not_written']})" if row else ""
    more = _missing(path, entry)
    way = f"delete it, or {entry.again(more)}" if more else "delete it"
    return f"{note}, which did not make it{why}: {way}"


def _missing(path: str, entry: Entry) -> list[str]:
    """Return the options with which the last conversion would have made a file, or []."""
    variants = entry.fields["variants"]
    integers, ends = (
        artifacts.VARIANTS[each].suffix for each in (artifacts.INTEGERS, artifacts.FLOAT_ENDS)
    )
    failed = not entry.is_random() and "not_written" in variants.get(artifacts.INTEGERS, {})
    if failed or not path.endswith((integers, ends)):
        return []
    more = ["--samples", "FILE"] if entry.is_random() else []
    wanted = path.endswith(ends) and artifacts.FLOAT_ENDS not in variants
    return [*more, "--float-ends"] if wanted else more


class Recorded(NamedTuple):
    """The recorded check of a file: its runs, and what a device may return in them.

    Attributes:
        inputs: for each run a dict from input names to arrays.
        outputs: for each run a dict from output names to the expected arrays.
        tolerances: for each run a dict from output names to how far a device's outputs may be off.
        others: for each run a dict from the names of exact outputs to arrays that are right, too.
        ranges: a dict from output names to the ranges of their numbers.
        clear: whether a device's outputs can be judged.
        sha256: the SHA-256 of the file that was checked.
    """

    inputs: list[dict[str, np.ndarray]]
    outputs: list[dict[str, np.ndarray]]
    tolerances: list[dict[str, np.ndarray]]
    others: list[dict[str, list[np.ndarray]]]
    ranges: dict[str, np.ndarray]
    clear: bool
    sha256: str

    def require_consistent(self) -> None:
        """Raise `ValueError` or `TypeError` if parts do not fit together: the record is damaged."""
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
        """Return only the runs whose inputs have these shapes, or None if there are none."""
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
        """Return whether the original model's outputs are probabilities.

        The file's own outputs may be rounded to integers, so they cannot tell.
        """
        runs = [run[output] for run in self.outputs if output in run]  # the file may be another's
        return all(accuracy.probable(array, len(array)) for array in runs)

    def agreement(self, given: list[dict[str, np.ndarray]]) -> verdict.Agreement:
        """Return how well the outputs that a device returned agree with the expected ones."""
        return verdict.agreement(given, self.outputs, self.tolerances, self.others, self.ranges)

    def misfit(
        self, inputs: Mapping[str, litert.Tensor], outputs: Mapping[str, litert.Tensor]
    ) -> str:
        """Return why a file cannot belong to this record's model, or "" if it can.

        Args:
            inputs: a dict from names to the details of the file's input tensors.
            outputs: a dict from names to the details of the file's output tensors.
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
    """Return the recorded check of a `.tflite` file, or None if there is no record beside it.

    Raises:
        Failure: the record is damaged, or has another format.
    """
    entry = find(path)
    return entry and _recorded(entry)


def _recorded(entry: Entry) -> Recorded | None:
    """Return the recorded check of a file, or None if the file was not tried or not written."""
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
    """Return a line that says how well a file agrees with the trained model on this device.

    The outputs decide, not the hash. If the file or the model has changed, another line comes
    before and says what to do.

    Args:
        path: a `.tflite` file.

    Raises:
        Failure: the file returns other outputs than the trained model.
    """
    entry = find(path)
    change = _changed(path, entry) if entry else None
    recorded = _recorded(entry) if entry else None
    note = f"{change}\n" if change else ""
    if not recorded:
        return f"{note}check: there is no record of this file, so nothing to compare with"
    with litert.explained(path):
        runner = litert.Runner(path)  # a new one, because earlier runs may have changed a state
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
    """Return the error message for a file or a device that returns other outputs."""
    with open(path, "rb") as file:
        same = artifacts.sha256(file.read()) == recorded.sha256
    what = f"{path}: this {'device' if same else 'file'} returns other outputs than the trained"
    version = ai_edge_litert.__version__
    way_out = f"The file is the one that was checked: report it, with ai-edge-litert {version}"
    return f"{what} model: {reason}\n{way_out if same else change}"
