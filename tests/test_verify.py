"""The table: what is written, the words for what is not, and the proof."""

import base64
import json
import re

import conftest
import numpy as np
import pytest
import tensorflow as tf

from backstage import accuracy, samples, script, verify


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("a long story\nthe last line", "the last line"),
        (
            "error: 'tf.B' op is neither a custom op\n error: 'tf.A' op requires",
            "LiteRT has no A, B",
        ),
        ("'tf.A' op is neither; \"model/words/A@__inference_f\"", "LiteRT has no A (layer words)"),
        ("", "ValueError"),
    ],
)
def test_refusal(message, reason):
    assert verify.refusal(ValueError(message)) == reason


class Double:
    """A model that says it doubles its input, but for what is added."""

    path, name, signature = "models/double.keras", "models/double", "serving_default"
    right, identity = "the double", ("models/double.keras", "12ab")
    inputs = {"x": samples.Input((1, 1), np.dtype("float32"))}

    def __init__(self, added):
        """Take the number that is added."""
        self.added, self.released = added, 0

    def answers(self, typical, seed=0, together=32):
        """Return the outputs of each run; they do not change with the weights."""
        return [{"y": 2 * run["x"] + self.added} for run in typical.runs]

    def release(self):
        """Count."""
        self.released += 1

    def hint(self):
        """Return what may help."""
        return "Do something else"


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """Return a `.tflite` file's bytes that double a float32 (1, 1)."""
    spec = tf.TensorSpec([1, 1], tf.float32, name="x")
    module, directory = tf.Module(), str(tmp_path_factory.mktemp("double"))
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec])
    tf.saved_model.save(module, directory, signatures=module.double)
    return tf.lite.TFLiteConverter.from_saved_model(directory).convert()


RUNS = [{"x": np.float32([[x]])} for x in (0, 50)]  # answers from 0 to 100
TYPICAL = samples.Typical("x.npy", 7, RUNS, [[3], [5]])


@pytest.mark.parametrize(("added", "sound"), [(0, True), (0.0100, True), (0.0102, False)])
def test_the_first_variant_is_judged(doubling, tmp_path, monkeypatch, capsys, added, sound):
    monkeypatch.chdir(tmp_path)
    table = verify.Table(Double(added), TYPICAL)
    if sound:
        with table.variant("float32", ".tflite") as file:
            file.write(doubling)
        assert table.files == {"float32": "models/double.tflite"}
        assert (tmp_path / "models/double.tflite").read_bytes() == doubling
        assert table.sizes == {"float32": len(doubling)}
        assert table.rows["float32"]["verdict"] == "verified"
    else:
        message = "double.tflite was not written: output y, sample [35], .*\nDo something else"
        with (
            pytest.raises(script.Failure, match=message),
            table.variant("float32", ".tflite") as file,
        ):
            file.write(doubling)
        assert not list(tmp_path.iterdir())
        assert table.model.released == 2  # asked again, one by one


@pytest.mark.parametrize(("added", "loud"), [(4.9, False), (5.1, True), (np.nan, False)])
def test_later_variants_are_measured(doubling, tmp_path, monkeypatch, capsys, added, loud):
    monkeypatch.chdir(tmp_path)
    table = verify.Table(Double(0), TYPICAL)
    with table.variant("float32", ".tflite") as file:
        file.write(doubling)
    monkeypatch.setattr(
        verify.litert,
        "run",
        lambda content, runs, key: (
            Double(added).answers(TYPICAL),
            "int8",
            {"y": 0.0},
            0.0123,
        ),
    )
    monkeypatch.setattr(verify.litert, "has_floats", lambda content: False)
    with table.variant("full integer", ".int8.tflite") as file:
        file.write(b"any")
    out = capsys.readouterr().out
    if np.isnan(added):
        assert re.search("^full integer   not written: 2 of 2 samples answer NaN", out, re.M)
        assert not (tmp_path / "models/double.int8.tflite").exists()
        assert "2 of 2 samples" in table.rows["full integer"]["not_written"]
        return
    assert ("errs by 5% of a component's range: more than 5%" in out) == loud
    assert table.errors["full integer"] == pytest.approx(added / 100)
    table.show()
    rows = conftest.table(capsys.readouterr().out)
    assert (rows["full integer"]["time"], rows["full integer"]["verdict"]) == ("12300", "measured")
    with table.variant("dynamic range", ".dynamic.tflite"):
        raise ValueError("nonsense")
    assert re.search("^dynamic range  not written: nonsense", capsys.readouterr().out, re.M)
    assert set(table.files) == {"float32", "full integer"}


def test_the_proof(doubling, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = verify.Table(Double(0), TYPICAL)
    with table.variant("float32", ".tflite") as file:
        file.write(doubling)
    with table.variant("float16", ".quant.tflite"):
        raise ValueError("nonsense")
    proof = json.loads(json.dumps(table.proof(), allow_nan=False))
    assert proof["model"] == {"path": "double.keras", "file": "double.keras", "sha256": "12ab"}
    assert proof["samples"] == {"file": "../x.npy", "of": 7, "compared": 2, "calibrated": 2}
    assert proof["variants"]["float16"] == {
        "file": "double.quant.tflite",
        "not_written": "nonsense",
    }
    assert proof["variants"]["float32"]["bytes"] == len(doubling)
    for run, inputs in zip(proof["runs"], RUNS, strict=True):
        sides = [run["inputs"]["x"], run["answers"]["y"], run["variants"]["float32"]["y"]]
        for side, true in zip(sides, [inputs["x"], 2 * inputs["x"], 2 * inputs["x"]], strict=True):
            values = np.frombuffer(base64.b64decode(side["base64"]), side["dtype"])
            np.testing.assert_array_equal(values.reshape(side["shape"]), true)


@pytest.mark.parametrize(("size", "runs"), [(10, 16), (20_000, 3), (10**6, 1)])
def test_the_proof_is_a_megabyte_or_one_run(doubling, size, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wide = [{"x": np.zeros((1, size), "float32")} for _ in range(20)]
    table = verify.Table(Double(0), samples.Typical("x.npy", 20, wide, [[i] for i in range(20)]))
    assert len(table.proof()["runs"]) == runs


@pytest.mark.parametrize(
    ("kind", "original", "figures", "advice"),
    [
        ("accuracy", 0.9, {"a": 0.895, "b": 0.891}, "one point of accuracy: b, 30% of the bytes"),
        ("accuracy", 0.9, {"a": 0.891, "b": 0.889}, "one point of accuracy: a, 50% of the bytes"),
        ("accuracy", 0.9, {"a": 0.8, "b": 0.8}, "No smaller file loses at most one point"),
        ("mean_error", 2.0, {"a": 2.01, "b": 2.03}, "1% of the mean error: a, 50% of the bytes"),
        (
            "mean_error",
            2.0,
            {"a": 2.1, "b": np.nan},
            "No smaller file loses at most 1% of the mean",
        ),
    ],
)
def test_advice(doubling, tmp_path, monkeypatch, capsys, kind, original, figures, advice):
    monkeypatch.chdir(tmp_path)
    table = verify.Table(Double(0), TYPICAL)
    with table.variant("float32", ".tflite") as file:
        file.write(doubling)
    labels = np.zeros((2, 1))
    table.tasks = {"y": accuracy.Task(labels, kind, "distance", None)}
    table.sizes = {"float32": 1000, "a": 500, "b": 300}
    table.files = dict.fromkeys(table.sizes, "path")
    table.rows = dict.fromkeys(table.sizes, table.rows["float32"])
    figures = {"original": original, "float32": original} | figures
    table.figures = {variant: {"y": figure} for variant, figure in figures.items()}
    table.show()
    assert advice in capsys.readouterr().out.splitlines()[-1]
