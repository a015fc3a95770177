"""The record of a check: its contents, how a device agrees with it, and damaged records."""

import copy
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    SUFFIXES,
    assert_clear_error,
    converted,
    in_node,
    record_of,
    save_function,
    save_line,
)
from tensorflow import keras

from litecheck import record, script

VARIANTS = ["float32", "float16", "dynamic range", "full integer"]
AGREES = (
    r"^check: 100 of 100 runs agree with the trained model, largest difference (\S+) of the range$"
)


@pytest.fixture
def device(pipeline, tmp_path):
    """Return a directory with only the lesson's files and their record."""
    for path in (pipeline[0] / "saved_model").glob("my_model*"):
        if path.name.endswith((".tflite", ".check.json")):
            shutil.copy(path, tmp_path)
    return tmp_path


def change(path, alter):
    """Alter the fields of a record."""
    fields = record_of(path)
    alter(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


@pytest.fixture(scope="module")
def other(warm, tmp_path_factory):
    """Return a function that converts a line y = slope · x + 5, under a name of its own."""
    directory = tmp_path_factory.mktemp("other")

    def make(slope):
        name = f"line{slope}"
        if not (directory / f"{name}.tflite").exists():
            save_line(directory / f"{name}.keras", slope)
            process = warm("convert", f"{name}.keras", cwd=directory)
            assert process.returncode == 0, process.stderr
        return directory / name

    return make


def lesson_file(function):
    """Return a `.tflite` file of a function of float32 (n, 1), with the lesson's names."""
    spec = tf.TensorSpec([None, 1], tf.float32, name="x")
    return converted(lambda x: {"output_0": function(x)}, spec)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_line_says_how_this_device_did(warm, device, variant):
    process = warm("run", f"my_model{SUFFIXES[variant]}", cwd=device)
    assert process.returncode == 0, process.stderr
    (largest,) = re.findall(AGREES, process.stdout.splitlines()[-1])
    row = record_of(device / "my_model.check.json")["variants"][variant]
    assert 0 < float(largest) <= 1.05 * row["of_range"]


def test_without_a_record_a_line_says_so(warm, device):
    (device / "my_model.check.json").unlink()
    process = warm("run", "my_model.tflite", cwd=device)
    assert (process.returncode, process.stderr) == (0, "")
    last = "check: there is no record of this file, so nothing to compare with"
    assert process.stdout.splitlines()[-1] == last
    assert "has changed" not in process.stdout


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("slope", [50, 101])
def test_a_file_of_another_model_under_the_same_name(warm, device, other, variant, slope):
    """The slope is off by half or by 1%. Only 1% is within full integer's error."""
    shutil.copy(f"{other(slope)}{SUFFIXES[variant]}", device / f"my_model{SUFFIXES[variant]}")
    process = warm("run", f"my_model{SUFFIXES[variant]}", cwd=device)
    if (variant, slope) == ("full integer", 101):
        assert process.returncode == 0
        return
    assert_clear_error(process, "this file returns other outputs", "may differ by", "has changed")
    assert re.search(r"in run \d+, output_0 is [\d.]+ instead of [\d.]+", process.stderr)
    assert "agree" not in process.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: 100 * x + 5 + 0 * tf.math.log(-x),  # NaN
        lambda x: 0 * x,
        lambda x: (100 * x + 5) / tf.where(x > 110, 0.0, 1.0),  # infinite in some runs
        lambda x: tf.cast(tf.cast(100 * x + 5, tf.float16), tf.float32),
        lambda x: tf.round((100 * x + 5) / 8) * 8,
    ],
    ids=["NaN", "zeros", "infinite", "float16", "steps"],
)
def test_what_devices_return_in_error(warm, device, wrong):
    (device / "my_model.tflite").write_bytes(lesson_file(wrong))
    process = warm("run", "my_model.tflite", cwd=device)
    assert_clear_error(process, "returns other outputs than the trained model")


def test_the_numbers_decide_and_not_the_hash(warm, device):
    (device / "my_model.tflite").write_bytes(lesson_file(lambda x: 100 * x + 5))
    process = warm("run", "my_model.tflite", cwd=device)
    assert process.returncode == 0, process.stderr
    assert re.match(AGREES, process.stdout.splitlines()[-1])
    assert "my_model.tflite has changed: it is not from the last conversion" in process.stdout


def test_a_device_is_blamed_where_the_file_is_the_checked_one(warm, device):
    """Change the expected outputs in the record, as if LiteRT returned other outputs here."""
    change(
        device / "my_model.check.json",
        lambda fields: fields["runs"][3].update(outputs=fields["runs"][9]["outputs"]),
    )
    process = warm("run", "my_model.tflite", cwd=device)
    assert_clear_error(
        process, "this device returns other outputs", "run 4, ", "report it, with ai-edge-litert"
    )


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: tf.concat([x, x], 1), "output_0 has the shape [-1, 2], not [1, 1]"),
        (lambda x: tf.reduce_sum(x), "output_0 has the shape [], not [1, 1]"),
        (
            lambda x: tf.repeat(100 * x + 5, tf.where(x[0, 0] > 150, 2, 1), axis=0),
            "output_0 has the shape (2, 1), not (1, 1)",  # in some runs
        ),
        (lambda x: tf.cast(100 * x + 5, tf.int32), "output_0 is int32, not real"),
    ],
)
def test_a_file_that_does_not_fit(warm, device, function, reason):
    (device / "my_model.tflite").write_bytes(lesson_file(function))
    process = warm("run", "my_model.tflite", cwd=device)
    assert_clear_error(process, "this file returns other outputs", reason)


def test_what_cannot_be_judged(warm, device):
    change(
        device / "my_model.check.json",
        lambda fields: [row.update(clear=False) for row in fields["variants"].values()],
    )
    for variant in ["float32", "full integer"]:
        process = warm("run", f"my_model{SUFFIXES[variant]}", cwd=device)
        assert process.returncode == 0
        assert process.stdout.splitlines()[-1].startswith("check: cannot be judged")
    (device / "my_model.tflite").write_bytes(lesson_file(lambda x: 0 * x))
    assert warm("run", "my_model.tflite", cwd=device).returncode == 0
    (device / "my_model.tflite").write_bytes(lesson_file(lambda x: tf.math.log(-x)))
    assert warm("run", "my_model.tflite", cwd=device).returncode == 1


DAMAGES = {
    "no runs": lambda fields: fields.update(runs=[]),
    "runs missing": lambda fields: fields.pop("runs"),
    "ranges missing": lambda fields: fields.pop("ranges"),
    "ranges of others": lambda fields: fields.update(ranges={"z": fields["ranges"]["output_0"]}),
    "clear in words": lambda fields: fields["variants"]["float32"].update(clear="no"),
    "clear missing": lambda fields: fields["variants"]["float32"].pop("clear"),
    "base64": lambda fields: fields["runs"][2]["outputs"]["output_0"].update(base64="?"),
    "shape": lambda fields: fields["runs"][2]["outputs"]["output_0"].update(shape=[3]),
    "no output": lambda fields: fields["runs"][2]["outputs"].clear(),
    "no input": lambda fields: fields["runs"][2]["inputs"].clear(),
    "no tolerance": lambda fields: fields["runs"][2]["tolerance"].pop("float32"),
    "tolerance NaN": lambda fields: fields["runs"][2]["tolerance"]["float32"]["output_0"].update(
        base64="AADAfw=="
    ),
    "threshold in words": lambda fields: fields["original"].update(threshold="0"),
    "thresholds in words": lambda fields: fields["original"].update(threshold={"output_0": "0"}),
    "model missing": lambda fields: fields.pop("model"),
    "model in parts": lambda fields: fields["model"].pop("sha256"),
    "variants in words": lambda fields: fields.update(variants="all"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record(warm, device, damage):
    change(device / "my_model.check.json", DAMAGES[damage])
    process = warm("run", "my_model.tflite", cwd=device)
    assert_clear_error(
        process, "my_model.check.json is damaged: convert the model again", "litecheck convert"
    )
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"format": 1}', '{"format": 1, "variants": {}}', "\x00", "[" * 100_000],
)
def test_a_record_that_is_none(device, content):
    (device / "my_model.check.json").write_text(content, encoding="utf-8")
    with pytest.raises(script.Failure, match=r"my_model.check.json is damaged: convert the model"):
        record.compare(str(device / "my_model.int8.tflite"))


def places(part, path=()):
    """Yield the paths of all values in a JSON object, but only of the first two in a list."""
    yield path
    items = {"dict": dict.items, "list": lambda part: enumerate(part[:2])}
    for key, value in items.get(type(part).__name__, lambda _: [])(part):
        yield from places(value, (*path, key))


def test_whatever_stands_in_a_record_is_taken_or_damaged(device):
    """With a value of another kind in any place, no other exception is raised."""
    path, file = device / "my_model.check.json", str(device / "my_model.int8.tflite")
    whole = record_of(path)
    whole["runs"] = whole["runs"][:2]
    ends = {"damaged": 0, "taken": 0}
    for place in places(whole):
        for value in [None, 7, -1, True, "é", [], {}, [{}], {"a": {}}, 1e999]:
            fields = copy.deepcopy(whole)
            part = fields
            for key in place[:-1]:
                part = part[key]
            if place:
                part[place[-1]] = value
            path.write_text(json.dumps(fields if place else value), encoding="utf-8")
            try:
                record.threshold(file)
                record.compare(file)
                ends["taken"] += 1
            except script.Failure as failure:
                ends["damaged"] += 1
                assert 1 <= len(str(failure).splitlines()) <= 2
    assert min(ends.values()) > 300  # most values concern other variants, or are for people to read


def with_more(part):
    """Return a JSON object with one more field in each object that has named fields."""
    part = {"later": {"new": [1]}} | part
    runs = [
        {"later": 7}
        | {side: arrays_with_more(run[side]) for side in ("inputs", "outputs")}
        | {"tolerance": {v: arrays_with_more(side) for v, side in run["tolerance"].items()}}
        for run in part["runs"]
    ]
    return part | {
        "model": {"later": "x"} | part["model"],
        "original": {"later": None} | part["original"],
        "variants": {v: {"later": True} | row for v, row in part["variants"].items()},
        "ranges": arrays_with_more(part["ranges"]),
        "runs": runs,
    }


def arrays_with_more(arrays):
    """Return packed arrays with one more field each."""
    return {name: {"later": 7} | array for name, array in arrays.items()}


def test_fields_that_are_not_known_are_ignored(warm, device):
    change(device / "my_model.check.json", lambda fields: fields.update(with_more(fields)))
    for variant in VARIANTS:
        process = warm("run", f"my_model{SUFFIXES[variant]}", cwd=device)
        assert (process.returncode, process.stderr) == (0, "")
        assert re.match(AGREES, process.stdout.splitlines()[-1])
        assert "has changed" not in process.stdout


OTHERS = {
    "none": lambda fields: fields.pop("format"),
    "two": lambda fields: fields.update(format=2),
    "in words": lambda fields: fields.update(format="1"),
    "old": lambda fields: fields.pop("format"),  # the file has the old name, too
}


@pytest.mark.parametrize("version", OTHERS)
def test_a_record_of_another_version(warm, device, version):
    path = device / "my_model.check.json"
    change(path, OTHERS[version])
    if version == "old":
        path.rename(device / "my_model.proof.json")
    for command in [["run", "my_model.int8.tflite"], ["run", "my_model.tflite", "--test", "t.npz"]]:
        np.savez(device / "t.npz", inputs=np.ones((3, 1)), labels=np.ones((3, 1)))
        process = warm(*command, cwd=device)
        kind = (
            "proof.json is a record of an older version"
            if version == "old"
            else ("check.json is a record of another version")
        )
        way = (
            "convert the model again on the computer that has it: python -m litecheck convert MODEL"
        )
        assert_clear_error(process, f"my_model.{kind}: {way}")
        assert len(process.stderr.splitlines()) == 1


def test_an_old_record_of_another_file_is_not_asked(warm, device):
    """`my_model.v2.tflite` is not a variant of `my_model`, and has no record."""
    (device / "my_model.check.json").rename(device / "my_model.proof.json")
    (device / "my_model.tflite").rename(device / "my_model.v2.tflite")
    process = warm("run", "my_model.v2.tflite", cwd=device)
    assert (process.returncode, process.stderr) == (0, "")
    assert "there is no record of this file" in process.stdout


def line_of(slope):
    """Return a Keras model of a line."""
    model = keras.Sequential([keras.Input([1], name="x"), keras.layers.Dense(1)])
    model.set_weights([np.float32([[slope]]), np.float32([5])])
    return model


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("archive", "format"),
        ("archive", "damaged"),
        ("SavedModel", "old"),
        ("SavedModel", "changed"),
        ("both", "format"),
        ("both", "damaged"),
        ("elsewhere", "old"),
        ("elsewhere", "damaged"),
        ("elsewhere", "changed"),
    ],
)
def test_the_command_to_convert_again_works(warm, tmp_path, kind, damage):
    """Run it as printed. Then the file agrees, and the message is gone."""
    model, given, name = line_of(3), "net", "net"
    if kind in ("SavedModel", "both"):
        model.export(tmp_path / "net", verbose=False)
    if kind in ("archive", "elsewhere"):
        given = "net.keras"
        model.save(tmp_path / given)
    if kind == "both":  # only the SavedModel can be converted
        (tmp_path / "net.keras").write_bytes(b"of a model with code of its own")
    if kind == "elsewhere":
        name = "out/my net"
        (tmp_path / "net.keras").rename(tmp_path / "m y.keras")
        given = "m y.keras"
    process = warm("convert", given, "--output", name, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    path = tmp_path / f"{name}.check.json"
    if damage in ("format", "old"):
        change(path, OTHERS["none"])
    if damage == "old":
        path = path.rename(tmp_path / f"{name}.proof.json")
    if damage == "damaged":
        change(path, DAMAGES["no runs"])
    if damage == "changed":
        (tmp_path / f"{name}.tflite").write_bytes(lesson_file(lambda x: 3 * x + 5))
    process = warm("run", f"{name}.tflite", cwd=tmp_path)
    said = process.stdout if damage == "changed" else process.stderr
    (words,) = re.findall("convert the model again: python -m litecheck (.*)", said)
    for command in [shlex.split(words), ["run", f"{name}.tflite"]]:
        process = warm(*command, cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
    assert "has changed" not in process.stdout
    assert re.search(r"^check: (\d+) of \1 runs agree", process.stdout, re.MULTILINE)


@pytest.mark.parametrize("ends", [[], ["--float-ends"]])
def test_the_command_makes_a_file_that_the_last_conversion_did_not(warm, tmp_path, ends):
    """Convert with samples, then without. The message for the old file is gone in the end."""
    line_of(3).save(tmp_path / "net.keras")
    np.save(tmp_path / "x.npy", np.float32([[0], [1], [2]]))
    file = "net.int8.float-ends.tflite" if ends else "net.int8.tflite"
    for options in [["--samples", "x.npy", *ends], []]:
        process = warm("convert", "net.keras", *options, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
    said = warm("run", file, cwd=tmp_path).stdout
    note = f"{file} has changed: it is not from the last conversion, which did not make it"
    assert note in said
    (words,) = re.findall("delete it, or convert the model again: python -m litecheck (.*)", said)
    command = shlex.split(words)
    assert command == ["convert", "net.keras", "--samples", "FILE", *ends]
    assert warm(*command[:3], "x.npy", *command[4:], cwd=tmp_path).returncode == 0
    assert "has changed" not in warm("run", file, cwd=tmp_path).stdout
    with open(tmp_path / file, "ab") as content:
        content.write(b" ")
    (tmp_path / "net.keras").unlink()
    again = "convert the model again on the computer that has it: python -m litecheck convert"
    words = " ".join(["net.keras --samples x.npy", *ends])
    assert f"{again} {words}\n" in warm("run", file, cwd=tmp_path).stdout


def test_a_file_that_was_tried_earlier_and_one_of_its_own(warm, device):
    old = device / "my_model.int16.tflite"  # of a variant that was not tried again
    shutil.copy(device / "my_model.int8.tflite", old)
    process = warm("run", old.name, cwd=device)
    note = "has changed: it is not from the last conversion, which did not make it: delete it\n"
    assert f"my_model.int16.tflite {note}" in process.stdout
    own = device / "other.int8.tflite"  # of a model that has its own name
    shutil.copy(device / "my_model.tflite", own)
    assert "has changed" not in warm("run", own.name, cwd=device).stdout
    shutil.copy(device / "my_model.tflite", device / "my_model.cmdline.tflite")
    process = warm("run", "my_model.cmdline.tflite", cwd=device)
    assert "there is no record of this file" in process.stdout


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_takes_and_refuses_the_same_records(device):
    """browser/check.js gets each damage, each other version, and unknown fields."""
    whole = record_of(device / "my_model.check.json")
    # Fields that only Python reads, or no runtime, are not damage there.
    alone = ["threshold", "model"]
    damages = [name for name in DAMAGES if not any(word in name for word in alone)]
    cases = {"whole": whole, "more": with_more(whole)}
    for name in damages:
        DAMAGES[name](cases.setdefault(name, copy.deepcopy(whole)))
    for name in OTHERS:
        OTHERS[name](cases.setdefault(f"version {name}", copy.deepcopy(whole)))
    (device / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    code = """
        import { readFileSync } from "node:fs";
        import { FORMAT, requireConsistent, runsOf, variantOf } from "./check.mjs";
        const found = { FORMAT };
        for (const [name, record] of Object.entries(JSON.parse(readFileSync("cases.json")))) {
          try {
            requireConsistent(record);
            const variant = variantOf(record, "my_model.int8.tflite", null);
            const [run] = runsOf(record, variant);
            found[name] = `${variant}: ${Object.keys(run)}`;
          } catch (error) {
            found[name] = error.message;
          }
        }
        console.log(JSON.stringify(found));
        """
    found = in_node(device, code)
    assert found.pop("FORMAT") == record.FORMAT
    for name in ["whole", "more"]:
        assert found.pop(name) == "full integer: inputs,outputs,tolerance,others"
    for name, message in found.items():
        other = "of another version. Convert the model again" in message
        assert other == name.startswith("version "), message
        assert "full integer" not in message


def described(outputs, tolerance=1.0):
    """Return a `Recorded` of outputs y, with one input x for each run."""
    inputs = [{"x": np.float32([[index]])} for index in range(len(outputs))]
    tolerances = [{"y": np.full(2, tolerance, "float32")} for _ in outputs]
    ranges = {"y": np.ones(2)}
    others = [{} for _ in outputs]
    return record.Recorded(
        inputs, [{"y": y} for y in outputs], tolerances, others, ranges, True, ""
    )


def test_parts_of_a_record_that_do_not_fit():
    known = described(np.float32([[[0, 1]], [[1, 0]]]))
    known.require_consistent()
    first = known.outputs[0]
    for wrong in [
        {"inputs": [], "outputs": [], "tolerances": []},
        {"ranges": {}},
        {"ranges": {"z": known.ranges["y"]}},
        {"ranges": {"y": np.zeros(2)}},
        {"ranges": {"y": np.ones(3)}},
        {"outputs": [first, {}]},
        {"outputs": [first, {"y": np.float32([[1]])}]},
        {"outputs": [first]},
        {"tolerances": [known.tolerances[0], {"y": np.float32([1, np.nan])}]},
        {"tolerances": [known.tolerances[0], {"y": np.float32([1, -1])}]},
        {"tolerances": [known.tolerances[0], {"y": np.ones((2, 2))}]},
        {"others": [{}, {"y": [np.float32([1, 0])]}]},
        {"others": [{}, {"y": [np.float64([[1, 0]])]}]},
        {"inputs": [{"x": np.ones(1)}, {"z": np.ones(1)}]},
    ]:
        with pytest.raises(ValueError, match=r"\w"):
            known._replace(**wrong).require_consistent()
    with pytest.raises(TypeError):
        known._replace(clear=1).require_consistent()


def test_only_runs_of_the_shapes_that_a_runtime_takes():
    known = described(np.float32([[[0, 1]], [[1, 0]]]))
    known = known._replace(inputs=[{"x": np.zeros((1, 2))}, {"x": np.zeros((8, 2))}])
    kept = known.only({"x": [8, 2]})
    assert [run["y"].tolist() for run in kept.outputs] == [[[1, 0]]]
    assert len(kept.inputs) == len(kept.tolerances) == 1
    assert known.only({"x": [3, 2]}) is None


def test_a_run_of_several_samples_that_does_not_fit_leaves_room_for_others():
    """An image of 96 x 96 in RGB takes 147 KB, and eight of them more than a record holds."""
    image = np.zeros((1, 96, 96, 3), "float32")
    inputs = [*[{"x": image}] * 20, {"x": np.repeat(image, 8, axis=0)}]
    outputs = [{"y": np.zeros((each["x"].shape[0], 10), "float32")} for each in inputs]
    ids = [*[[index] for index in range(20)], [*range(8)]]
    assert record.chosen(inputs, outputs, ids) == [*range(7)]


@pytest.mark.parametrize(("size", "runs"), [(10, 100), (2_000, 14), (20_000, 1), (10**6, 1)])
def test_a_record_holds_a_hundred_runs_or_a_megabyte_or_one_run(size, runs):
    """A number of 4 bytes takes 16 / 3 bytes of text. An input has one, an output has six."""
    inputs = [{"x": np.zeros((1, size), "float32")} for _ in range(120)]
    outputs = [{"y": run["x"]} for run in inputs]
    found = record.chosen(inputs, outputs, [[index] for index in range(120)])
    assert found == list(range(runs))
    tolerances = {variant: {"y": inputs[0]["x"]} for variant in "abcde"}
    text = json.dumps([record.run(inputs[i], outputs[i], tolerances, {}) for i in found])
    assert len(text) <= record.MEGABYTE + 1e5 or runs == 1


def test_a_record_shows_each_predicted_class_and_several_samples():
    """About ten runs fit. Among 1,000 runs, the classes 0, 3 and 8 are predicted once each."""
    classes = np.full(1000, 5)
    classes[[500, 700, 900]] = 0, 3, 8
    inputs = [{"x": np.zeros((1, 12_000), "float32")} for _ in classes]
    outputs = [{"y": np.eye(9, dtype="float32")[[each]]} for each in classes]
    ids = [[index] for index in range(1000)]
    inputs.append({"x": np.zeros((3, 12_000), "float32")})
    outputs.append({"y": np.eye(9, dtype="float32")[classes[:3]]})
    ids.append([0, 1, 2])
    found = record.chosen(inputs, outputs, ids)
    assert {0, 500, 700, 900, 1000} <= {*found}
    assert 8 < len(found) < 20
    assert found == sorted(found)
    whole = [{"y": np.int32([each])} for each in classes]
    assert {0, 500, 700, 900} <= {*record.chosen(inputs[:1000], whole, ids[:1000])}


def test_what_is_read_of_a_record(device):
    recorded = record.read(str(device / "my_model.int8.tflite"))
    assert len(recorded.inputs) == len(recorded.outputs) == len(recorded.tolerances) == 100
    assert recorded.clear
    assert record.read(str(device / "my_model.cmdline.tflite")) is None
    assert record.threshold(str(device / "my_model.int8.tflite")) == {}


@pytest.mark.parametrize(
    "array",
    [
        np.float32([[1.5, -np.inf]]),
        np.float64([np.nan]),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array(3 + 4j, "complex64"),
        np.array([True, False]),
        np.array([b"a", b"words"]),
        np.array([b"a", b"words"], object),
        np.zeros((0, 3), "int8"),
    ],
)
def test_arrays_are_packed_in_little_endian_order(array):
    (back,) = record._unpack(json.loads(json.dumps(record.pack({"y": array})))).values()
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array.astype(back.dtype))
    if array.dtype.kind not in "SO":
        assert back.dtype == array.dtype.newbyteorder("<")


def saved_model(directory, function, *specs):
    """Save a function as a SavedModel, and samples of its first input."""
    save_function(directory, function, *specs)
    samples = np.random.default_rng(1).uniform(-1, 1, (40, *specs[0].shape[1:]))
    np.save(f"{directory}.samples.npy", samples.astype("float32"))


def test_two_names_of_one_output(warm, tmp_path):
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    saved_model(tmp_path / "m", lambda x: dict.fromkeys("ab", 2 * x), spec)
    assert warm("convert", "m", cwd=tmp_path).returncode == 0
    process = warm("run", "m.tflite", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(r"^check: (\d+) of \1 runs agree", process.stdout, re.MULTILINE)
    assert "output a: " in process.stdout
    assert "output b: " in process.stdout


def test_outputs_of_other_scales_in_one_tensor(warm, tmp_path):
    """A small component's relative error does not excuse an error of a large component."""

    def stretched(slope):
        return lambda x: {"y": x * tf.constant([slope, 20.0])}

    for name, slope in [("m", 1000.0), ("wrong", 1250.0)]:
        spec = tf.TensorSpec([None, 2], tf.float32, name="x")
        saved_model(tmp_path / name, stretched(slope), spec)
        assert warm("convert", name, cwd=tmp_path).returncode == 0
    process = warm("run", "m.int8.tflite", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    shutil.copy(tmp_path / "wrong.int8.tflite", tmp_path / "m.int8.tflite")
    process = warm("run", "m.int8.tflite", cwd=tmp_path)
    assert_clear_error(process, "component 0")


@pytest.mark.parametrize("name", ["swish", "lstm", "two_inputs", "uint8_image", "embedding"])
def test_other_models(warm, models, tmp_path, name):
    """Sound files agree: convolutions, recurrent layers, several inputs and outputs, integers."""
    process = warm("convert", f"{name}.keras", "--output", tmp_path / "m", cwd=models)
    assert process.returncode == 0, process.stderr
    for path in sorted(tmp_path.glob("m*.tflite")):
        process = warm("run", path.name, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert re.match(r"check: (\d+) of \1 runs agree", process.stdout.splitlines()[-1])
