"""The error of a file, the gate, and why a conversion was refused."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf

from backstage import samples, script, verify


@pytest.mark.parametrize(
    ("values", "true", "relative", "error"),
    [
        ([1, 2, 3.5], [1, 2, 3], 0.25, 0.5),  # 0.5 of the range 2
        ([0.5, 2, 3], [1, 2, 3], 0.25, 0.5),
        ([1001, 1000], [1000, 1000], 0.1, 1),  # no range: 1 % of the largest counts
        ([1000, 996], [1000, 995], 0.1, 1),  # a range of 5 counts as 10
        ([1000, 971], [1000, 970], 1 / 30, 1),  # a range of 30 counts as it is
        ([-1001, -1000], [-1000, -1000], 0.1, 1),
        ([0.25, 0], [0, 0], 0.25, 0.25),  # nothing to relate to: as it is
        ([1, 2], [1, 2], 0, 0),
        ([False, False], [True, False], 1, 1),
        ([], [], 0, 0),
    ],
)
def test_largest_error(values, true, relative, error):
    runs = [{"y": np.array(values)}], [{"y": np.array(true)}]
    assert verify.largest_error(*runs) == (pytest.approx(relative), pytest.approx(error))


def test_largest_error_over_runs_and_outputs():
    results = [{"a": np.array([0.0]), "b": np.array([0.0])}, {"a": np.array([8]), "b": np.array(5)}]
    expected = [{"a": np.array([0]), "b": np.array([1])}, {"a": np.array([10]), "b": np.array(5)}]
    assert verify.largest_error(results, expected) == (0.25, 1.0)  # 2 of 10; 1 of 4


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
    right = "the double"
    inputs = {"x": samples.Input((1, 1), np.dtype("float32"))}

    def __init__(self, added):
        """Take the number that is added."""
        self.added = added

    def answers(self, runs):
        """Return the outputs of each run."""
        return [{"y": 2 * run["x"] + self.added} for run in runs]


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """Return a `.tflite` file's bytes that double a float32 (1, 1)."""
    spec = tf.TensorSpec([1, 1], tf.float32, name="x")
    module, directory = tf.Module(), str(tmp_path_factory.mktemp("double"))
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec])
    tf.saved_model.save(module, directory, signatures=module.double)
    return tf.lite.TFLiteConverter.from_saved_model(directory).convert()


RUNS = [{"x": np.float32([[x]])} for x in (0, 50)]  # answers from 0 to 100


@pytest.mark.parametrize(("added", "sound"), [(0, True), (0.0098, True), (0.0102, False)])
def test_the_gate_is_a_ten_thousandth_of_the_range(
    doubling, tmp_path, monkeypatch, capsys, added, sound
):
    monkeypatch.chdir(tmp_path)
    table = verify.Table(Double(added), RUNS)
    if sound:
        with table.variant("float32", ".tflite") as file:
            file.write(doubling)
        assert table.files == {"float32": "models/double.tflite"}
        assert (tmp_path / "models/double.tflite").read_bytes() == doubling
        assert table.sizes == {"float32": len(doubling)}
    else:
        with (
            pytest.raises(script.Failure, match="double.tflite was not written: it differs from"),
            table.variant("float32", ".tflite") as file,
        ):
            file.write(doubling)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("added", "loud"), [(4.9, False), (5.1, True)])
def test_later_variants_are_reported_and_not_judged(
    doubling, tmp_path, monkeypatch, capsys, added, loud
):
    monkeypatch.chdir(tmp_path)
    model = Double(0)
    table = verify.Table(model, RUNS)
    with table.variant("float32", ".tflite") as file:
        file.write(doubling)
    table.expected = Double(added).answers(RUNS)
    with table.variant("float16", ".quant.tflite") as file:
        file.write(doubling)
    out = capsys.readouterr().out
    assert ("float16 errs by 5% of the output's range: more than 5%" in out) == loud
    row = re.search(r"^float16 +([\d,]+) +100%  float32 +(\S+) +(\S+) +\d+ us  double", out, re.M)
    assert (float(row[2]), float(row[3])) == (added, pytest.approx(added / 100))
    with table.variant("dynamic range", ".dynamic.tflite") as file:
        file.write(b"nonsense")
    assert re.search("^dynamic range  not written: ", capsys.readouterr().out, re.M)
    assert set(table.files) == {"float32", "float16"}
    assert isinstance(file, io.BytesIO)


def test_the_time_is_in_microseconds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        verify.litert,
        "run",
        lambda content, runs, key: (Double(0).answers(runs), "float32", 0.0123),
    )
    with verify.Table(Double(0), RUNS).variant("float32", ".tflite") as file:
        file.write(b"any")
    assert " 12300 us  double.tflite" in capsys.readouterr().out
