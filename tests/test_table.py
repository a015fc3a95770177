"""The table: the files that are written, the messages for others, and the record's entries."""

import functools
import math
import re
import tempfile
import types

import conftest
import numpy as np
import pytest
import tensorflow as tf

from litecheck import accuracy, models, samples, script, table


class Double(models.Reference):
    """A model that doubles its input and adds a number."""

    words = "the double"

    def __init__(self, added):
        """Take the number that is added."""
        super().__init__("models/double.keras")
        self.added, self.released = added, 0

    def outputs(self, given, together=32):
        """Return the outputs of each run."""
        return [{"y": 2 * run["x"] + self.added} for run in given.runs]

    def release(self):
        """Count the releases."""
        self.released += 1


@functools.cache
def saved():
    """Return the directory of a SavedModel that doubles. It lasts as long as this process."""
    directory, module = tempfile.TemporaryDirectory(), tf.Module()
    spec = tf.TensorSpec([1, 1], tf.float32, name="x")
    module.f = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec])
    tf.saved_model.save(module, directory.name, signatures=module.f)
    return directory


def double(added):
    """Return the `Model` of a `Double`."""
    ends = samples.Input((1, 1), np.dtype("float32"))
    path = "models/double.keras"
    # The model's path differs from the source's path, so an error has a hint.
    source = types.SimpleNamespace(
        path="double.keras",
        directory=saved().name,
        signature="serving_default",
        is_batched=lambda: True,
        has_state=False,
        rewritten=None,
        inputs={"x": ends},
        outputs={"y": ends},
    )
    return models.Model(path, "models/double", (path, "12ab"), source, Double(added))


@pytest.fixture(scope="module")
def doubling():
    """Return a `.tflite` file's bytes that double a float32 (1, 1)."""
    spec = tf.TensorSpec([1, 1], tf.float32, name="x")
    return conftest.converted(lambda x: {"y": 2 * x}, spec)


RUNS = [{"x": np.float32([[x]])} for x in (0, 50)]  # outputs from 0 to 100
X = np.float32([[0], [50]])
FLOAT32 = "models/double.tflite"


def checked(added, doubling=None, given=X):
    """Return a `Check` of a `Double`, with float32 if its content is given."""
    check = table.Check(double(added), given)
    if doubling:
        check.add("float32", doubling, FLOAT32)
    return check


@pytest.mark.parametrize(("added", "sound"), [(0, True), (2.0**-121, True), (1e-6, False)])
def test_float32_is_judged(doubling, tmp_path, monkeypatch, capsys, added, sound):
    monkeypatch.chdir(tmp_path)
    check = checked(added)
    if sound:
        check.add("float32", doubling, FLOAT32)
        assert (tmp_path / FLOAT32).read_bytes() == doubling
        row = check.rows["float32"]
        assert (row.path, row.bytes, row.verdict) == (FLOAT32, len(doubling), "verified")
        assert check.left_out == {}
    else:
        message = (
            "double.tflite was not written: output y, sample [01], .*\ndouble.keras may be from"
        )
        with pytest.raises(script.Failure, match=message):
            check.add("float32", doubling, FLOAT32)
        assert not list(tmp_path.iterdir())
        assert check.model.reference.released == 2  # it ran again, sample by sample
        assert check.rows == {}


class Instead:
    """Replaces the runner of a file. It computes like `Double`, slowly."""

    seconds, runs = 0.0123, ()

    def __init__(self, added):
        """Take the number that is added."""
        self.added = added
        sizes = np.array([1, 1])
        end = {"dtype": np.int8, "quantization": (0.0, 0), "shape_signature": sizes}
        self.inputs, self.outputs = {"x": end}, {"y": end}

    def wait(self):
        """Return the results of runs that were started before, which are none."""
        return []

    def results(self, runs):
        """Yield the outputs of runs, and their seconds."""
        for run in runs:
            yield {"y": self.answer(run["x"])}, self.seconds

    def answer(self, x):
        """Return the output for an input."""
        return 2 * x + np.float32(self.added)


def add_instead(monkeypatch, check, variant, added, content):
    """Add a variant whose runner returns 2 x + added instead of running the file."""
    monkeypatch.setattr(table.apart.Device, "load", lambda self, content: Instead(added))
    check.add(variant, content, f"models/double{conftest.SUFFIXES[variant]}")


@pytest.mark.parametrize(("added", "loud"), [(4.9, False), (5.1, True), (np.nan, False)])
def test_later_variants_are_measured(doubling, tmp_path, monkeypatch, capsys, added, loud):
    monkeypatch.chdir(tmp_path)
    check = checked(0, doubling)
    add_instead(monkeypatch, check, "full integer", added, doubling)
    out = capsys.readouterr().out
    if np.isnan(added):
        assert re.search("^full integer   not written: 2 of 2 samples give NaN", out, re.M)
        assert not (tmp_path / "models/double.int8.tflite").exists()
        path, reason = check.left_out["full integer"]
        assert path == "models/double.int8.tflite"
        assert "2 of 2 samples" in reason
        assert list(check.rows) == ["float32"]
        return
    assert ("largest error 5.1% of a number's range, above 5%" in out) == loud
    assert check.rows["full integer"].of_range == pytest.approx(added / 100)
    row = conftest.table(out)["full integer"]
    assert (row["time"], row["verdict"], row["dtypes"]) == ("12300", "measured", "int8")
    check.leave_out("dynamic range", "models/double.dynamic.tflite", "nonsense")
    assert re.search("^dynamic range  not written: nonsense", capsys.readouterr().out, re.M)
    assert list(check.rows) == ["float32", "full integer"]


def test_rows_are_printed_as_they_come_under_one_heading(doubling, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check = checked(0)
    heading = capsys.readouterr().out.splitlines()
    assert heading == [
        "compared with the double",
        "on 2 of 2 samples",
        "calibrated on 2 of 2 samples",
        "samples: float32 0 to 50",
    ]
    check.add("float32", doubling, FLOAT32)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines.pop(0) == "rounding measured on 2 of these samples"
    columns = ["variant", "bytes", "size", "in/out", "error", "of range", "one run", "verdict"]
    assert re.split("  +", lines[0]) == columns
    assert lines[1].startswith("float32 ")
    add_instead(monkeypatch, check, "full integer", 7, doubling)
    row, note, floats = capsys.readouterr().out.splitlines()
    assert row.startswith("full integer ")
    assert note == "               largest error 7.0% of a number's range, above 5%"
    assert "1 of 1 operations stay in float" in floats  # the stand-in's content is a float32 file


def test_a_variant_that_is_tried_again(doubling, tmp_path, monkeypatch):
    """As if a cell ran twice: the latest result counts, whether it is saved or not."""
    monkeypatch.chdir(tmp_path)
    check = checked(0, doubling)
    for added in (1, np.nan, 2):
        add_instead(monkeypatch, check, "float16", added, doubling)
        assert ("float16" in check.rows) != ("float16" in check.left_out)
        assert ("float16" in check.rows) == bool(added == added)
    assert check.rows["float16"].error == 2


def test_what_is_infinite(doubling, tmp_path, monkeypatch, capsys):
    """The file returns a number for infinity. Its error is finite: JSON has no infinity."""
    monkeypatch.chdir(tmp_path)
    with np.errstate(over="ignore"):
        check = table.Check(double(0), np.float32([[0], [50], [3e38]]))  # 6e38 is infinite
    check.add("float32", doubling, FLOAT32)
    monkeypatch.setattr(Instead, "answer", lambda self, x: np.minimum(x, 5e9) * 2)
    add_instead(monkeypatch, check, "full integer", 0, doubling)
    row = check.rows["full integer"]
    assert row.error == row.of_range == math.inf
    assert not row.clear
    assert "largest error > 999% of a number's range" in (out := capsys.readouterr().out)
    assert conftest.table(out)["full integer"]["of_range"] == 9.99
    check.save()
    fields = conftest.record_of(tmp_path / "models/double.check.json")["variants"]["full integer"]
    assert (fields["error"], fields["of_range"], fields["clear"]) == (None, None, False)


def test_the_record(doubling, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.repeat(X, 4, axis=1)[:, :1])
    check = checked(0, doubling, "x.npy")
    check.leave_out("float16", "models/double.quant.tflite", "nonsense")
    capsys.readouterr()
    check.save()
    assert capsys.readouterr().out == "saved models/double.check.json\n"
    record = conftest.record_of(tmp_path / "models/double.check.json")
    assert record["format"] == 1
    source = {"path": "double.keras", "file": "double.keras", "sha256": "12ab"}
    source |= {"signature": "serving_default", "options": []}
    assert record["model"] == source
    assert record["compared_with"] == "the double"
    counts = {"of": 2, "compared": 2, "calibrated": 2}
    given = {"samples": "../x.npy"}
    assert record["samples"] == {"file": "../x.npy", **counts, "given": given}
    assert record["variants"]["float16"] == {
        "file": "double.quant.tflite",
        "not_written": "nonsense",
    }
    assert record["variants"]["float32"]["bytes"] == len(doubling)
    assert len(record["runs"]) == 2
    xs = []
    for run in record["runs"]:
        assert run.keys() == {"inputs", "outputs", "tolerance"}
        (x,), (y,) = conftest.unpacked(run["inputs"])["x"], conftest.unpacked(run["outputs"])["y"]
        xs.append(x.item())
        assert y == 2 * x
        assert list(run["tolerance"]) == ["float32"]
        tolerance = conftest.unpacked(run["tolerance"]["float32"])["y"]
        assert 4 * np.spacing(y) <= tolerance < 1e-4
    assert sorted(xs) == [0, 50]


def test_samples_in_memory_have_no_file(doubling, tmp_path, monkeypatch):
    """Not even if there is a directory `samples`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").mkdir()
    checked(0, doubling).save()
    record = conftest.record_of(tmp_path / "models/double.check.json")
    assert record["samples"] == {"file": None, "of": 2, "compared": 2, "calibrated": 2}


def test_nothing_is_saved_without_float32(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(script.Failure, match="nothing to save: add float32 first"):
        checked(0).save()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "original", "metrics", "advice"),
    [
        (
            "accuracy",
            0.9,
            [0.895, 0.891],
            "one point of accuracy: full integer, 30% of the bytes",
        ),
        ("accuracy", 0.9, [0.891, 0.889], "one point of accuracy: float16, 50% of the bytes"),
        ("accuracy", 0.9, [0.8, 0.8], "Every smaller file loses more than one point"),
        ("mean_error", 2.0, [2.01, 2.03], "1% of the mean error: float16, 50% of the bytes"),
        ("mean_error", 2.0, [2.1, np.nan], "Every smaller file loses more than 1% of the mean"),
    ],
)
def test_advice(doubling, tmp_path, monkeypatch, kind, original, metrics, advice):
    monkeypatch.chdir(tmp_path)
    check = checked(0, doubling)
    assert check.advice() == (
        "To measure accuracy, give a test set: --test FILE, or models/double.test.npz"
    )
    check._tasks = {"y": accuracy.Task(np.zeros((2, 1)), kind, "distance", None)}
    check.metrics = {"y": original}
    row = check.rows["float32"]
    for variant, size, metric in zip(
        ["float32", "float16", "full integer"], [1000, 500, 300], [original, *metrics], strict=True
    ):
        check.rows[variant] = row._replace(bytes=size, metrics={"y": metric})
    assert advice in check.advice()
    check.rows = {"float32": check.rows["float32"]}
    assert check.advice().startswith("No variant is smaller than float32")
