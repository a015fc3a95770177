"""Processes that die: one that runs a new file, and one that converts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    assert_clear_error,
    converted,
    edited,
    record_of,
    run,
    save_function,
    save_line,
    table,
    wait_for,
)

import litecheck
from litecheck import apart, rescue
from litecheck import table as tables

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
SPEC = tf.TensorSpec((1, 8), name="x")


def lethal():
    """Return a file that crashes the process that runs it: it splits a tensor into zero parts."""

    def split_into_nothing(parsed):
        for operator in parsed.subgraphs[0].operators:
            operator.builtinOptions.numSplits = 0

    return edited(halves(), split_into_nothing)


def halves():
    """Return a file that returns the first half of its input."""
    return converted(lambda x: {"y": tf.split(x, 2, axis=1)[0]}, SPEC)


def test_a_device_outlives_a_file():
    device, x = apart.Device(), np.arange(8, dtype="float32")[None]
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"LiteRT dies on it \(SIG\w+\)"):
            device.load(lethal())({"x": x})
        runner = device.load(halves())
        np.testing.assert_array_equal(runner({"x": x})["y"], x[:, :4])
        assert runner.seconds > 0
    with pytest.raises(ValueError, match="Flatbuffer"):
        device.load(b"no file at all, but long enough to be one")
    with pytest.raises(TypeError):
        runner({"x": x.astype("complex64")})


def test_it_computes_without_tensorflow():
    """The other process imports only LiteRT and NumPy."""
    code = "import sys; from litecheck import apart; print('tensorflow' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout == "False\n", process.stderr


def test_its_process_ends_with_it():
    device = apart.Device()
    device.load(halves())
    number = device._process.pid
    del device
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.fixture
def half(tmp_path, monkeypatch):
    """Return a SavedModel that returns half of its input, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": tf.split(x, 2, axis=1)[0]}, input_signature=[SPEC])
    tf.saved_model.save(module, "half", signatures=module.f)
    return "half"


def test_a_file_that_kills_is_one_that_is_not_written(half, capsys):
    check = litecheck.Check(half, np.random.default_rng(1).normal(size=(9, 8)).astype("f"))
    with pytest.raises(litecheck.Failure, match=r"half.tflite was not written: LiteRT dies on it"):
        check.add("float32", lethal(), "half.tflite")
    assert not os.path.exists("half.tflite")
    check.add("float32", halves(), "half.tflite")
    check.add("float16", lethal(), "half.quant.tflite")
    check.add("dynamic range", halves(), "half.dynamic.tflite")
    out = capsys.readouterr().out
    assert "float16        not written: LiteRT dies on it (SIG" in out
    assert list(check.rows) == ["float32", "dynamic range"]
    with open("half.check.json", encoding="utf-8") as file:  # before `check.save()`
        kept = json.load(file)["variants"]
    assert list(kept) == ["float32", "float16", "dynamic range"]
    assert "LiteRT dies on it" in kept["float16"]["not_written"]
    assert not os.path.exists("half.quant.tflite")


def test_the_slow_variant_has_its_time(half, capsys, monkeypatch):
    """Only some samples are compared, but every run in the record gets a tolerance."""
    x = np.random.default_rng(1).normal(size=(400, 8)).astype("float32")
    check = litecheck.Check(half, x)
    check.add("float32", halves(), "half.tflite")
    monkeypatch.setattr(tables, "SECONDS", 0)
    check.add("16-bit int", halves(), "half.int16.tflite")
    assert "compared on 1 of 400 samples: it is slow here" in capsys.readouterr().out
    (here,) = {len(part["tolerance"]) for part in record_of_runs("half.check.json")}
    assert here == 2


@pytest.mark.parametrize("is_begun", [False, True])
def test_every_variant_has_its_time(half, capsys, monkeypatch, is_begun):
    """At least sixteen samples are compared, and a whole test set."""
    x = np.random.default_rng(1).normal(size=(100, 8)).astype("float32")
    monkeypatch.setattr(tables, "SECONDS", 0)
    for test, words in [(None, "compared on 16 of 100 samples"), ((x, x[:, :4]), "")]:
        check = litecheck.Check(half, x, test)
        runner = check.start("float32", halves()) if is_begun else None
        check.keep(check.tried("float32", halves(), "half.tflite", runner))
        out = capsys.readouterr().out
        assert words in out
        assert bool(words) == ("it is slow here" in out)
        assert check.rows["float32"].verdict == "verified"


def test_a_slow_model_is_asked_briefly(half, capsys, monkeypatch):
    x = np.random.default_rng(1).normal(size=(100, 8)).astype("float32")
    monkeypatch.setattr(tables, "BRIEFLY", 0)
    check = litecheck.Check(half, x)
    assert "on 16 of 100 samples, as many as it ran in 0 seconds" in capsys.readouterr().out
    assert check.calibrating.size() == 100
    litecheck.Check(half, x, (x, x[:, :4]))
    assert "on 100 of 100 samples of the test set" in capsys.readouterr().out


@pytest.mark.parametrize("slow", ["BRIEFLY", "SECONDS"])
def test_several_samples_at_once_are_run_in_any_case(tmp_path, capsys, monkeypatch, slow):
    """A file that is wrong only for these is refused, however slow the model or the file is."""
    monkeypatch.chdir(tmp_path)
    spec = tf.TensorSpec((None, 8), name="x")
    save_function("double", lambda x: {"y": 2 * x}, spec)
    wrong = converted(lambda x: {"y": 2 * x[:1] + 0 * x}, spec)
    right = converted(lambda x: {"y": 2 * x}, spec)
    monkeypatch.setattr(tables, slow, 0)
    check = litecheck.Check("double", np.random.default_rng(1).normal(size=(99, 8)).astype("f"))
    with pytest.raises(litecheck.Failure, match="double.tflite was not written: output y, sample"):
        check.add("float32", wrong, "double.tflite")
    runner = check.start("float16", right)  # before the number of samples is reduced
    check.add("float32", right, "double.tflite")
    check.keep(check.tried("float16", right, "double.quant.tflite", runner))
    assert [row.error for row in check.rows.values()] == [0, 0]
    out = capsys.readouterr().out
    assert out.count("compared on 16 of 99 samples: it is slow here") == 2 * (slow == "SECONDS")
    assert ("as many as it ran in 0 seconds" in out) == (slow == "BRIEFLY")


def test_large_outputs_are_compared_on_fewer(half, capsys, monkeypatch):
    monkeypatch.setattr(tables, "MEMORY", 16 * 5)
    litecheck.Check(half, np.zeros((99, 8), "float32"))
    assert "on 5 of 99 samples, whose outputs fill 0 MB\n" in capsys.readouterr().out


def test_a_process_that_is_killed_from_outside_starts_again():
    device, x = apart.Device(), np.arange(8, dtype="float32")[None]
    device._process.kill()
    runner = device.load(halves())
    np.testing.assert_array_equal(runner({"x": x})["y"], x[:, :4])
    device._process.kill()
    with pytest.raises(RuntimeError, match=r"LiteRT dies on it \(SIGKILL\)"):
        runner({"x": x})
    np.testing.assert_array_equal(runner({"x": x})["y"], x[:, :4])  # it is loaded again


def test_files_that_wait_for_each_other(half):
    """Several files with large outputs run in turn. A file that crashes affects no other file."""
    x = np.random.default_rng(1).normal(size=(9000, 8)).astype("float32")
    runs = [{"x": row[None]} for row in x]
    device = apart.Device()
    first, lethal_one, last = (
        apart.Runner(device, content, runs) for content in (halves(), lethal(), halves())
    )
    assert len(last.wait()) == 9000
    with pytest.raises(RuntimeError, match=r"LiteRT dies on it \(SIG\w+\)"):
        lethal_one.wait()
    for runner in first, last:
        outputs = np.concatenate([outputs["y"] for outputs, _ in runner.wait()])
        np.testing.assert_array_equal(outputs, x[:, :4])
    np.testing.assert_array_equal(first(runs[0])["y"], x[:1, :4])  # it is loaded again
    assert [len(y["y"]) for y, _ in first.results(runs[:3])] == [1, 1, 1]


def test_a_file_of_other_inputs_is_not_run():
    device, other = apart.Device(), [{"z": np.zeros((1, 8), "float32")}]
    runner = apart.Runner(device, halves(), other)
    assert list(runner.inputs) == ["x"]
    assert runner.wait() == []
    wrong = apart.Runner(device, halves(), [{"x": np.zeros((1, 7), "float32")}])
    assert list(wrong.outputs) == ["y"]
    with pytest.raises(RuntimeError, match="dimension"):
        wrong.wait()


def record_of_runs(path):
    """Return the runs of a record."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)["runs"]


def children(number):
    """Return the numbers of a process's children."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(number)], capture_output=True
    )
    return [line.split(maxsplit=1) for line in listed.stdout.decode().splitlines()]


def started(directory, *arguments):
    """Start `litecheck convert` as users do. Return it and its inner process that converts."""
    out = open(directory / "out", "w", encoding="utf-8")  # noqa: SIM115
    command = [sys.executable, "-m", "litecheck", "convert", *arguments]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        command, cwd=directory, stdout=out, stderr=subprocess.STDOUT, env=environment
    )
    wait_for(directory / "out", "calibrated on")
    (inner,) = [int(number) for number, line in children(process.pid) if "rescue.watch" in line]
    return process, inner


@pytest.mark.parametrize("after", ["calibrated on", "float32  ", "dynamic range  "])
def test_a_conversion_that_dies_loses_one_variant(tmp_path, after):
    save_line(tmp_path / "line.keras", 3)
    process, inner = started(tmp_path, "line.keras")
    wait_for(tmp_path / "out", after)
    with contextlib.suppress(ProcessLookupError):
        os.kill(inner, signal.SIGABRT)
    status = process.wait(120)
    out = (tmp_path / "out").read_text(encoding="utf-8")
    assert "Traceback" not in out
    if "TensorFlow dies on it (SIGABRT)" not in out:
        # between two variants, or after the last
        assert "the process died (SIGABRT)" in out or status == 0, out
        return
    assert not list(tmp_path.glob(".new-*"))
    # Just after its row is printed, float32 may not yet be registered as saved.
    if after == "calibrated on" or (after == "float32  " and status == 1):
        assert status == 1
        assert "line.keras cannot be converted: TensorFlow dies on it (SIGABRT)" in out
        return
    assert status == 0, out
    kept = record_of(tmp_path / "line.check.json")["variants"]
    lost = [name for name, row in kept.items() if "not_written" in row]
    assert len(lost) == 1
    assert list(kept) == ["float32", "float16", "dynamic range", "full integer"]
    assert sorted([*table(out), *lost]) == sorted(kept)  # each row appears once
    assert out.count("calibrated on") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ends_the_command_ends_the_process_inside(tmp_path, number):
    save_line(tmp_path / "line.keras", 3)
    process, inner = started(tmp_path, "line.keras")
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        os.kill(inner, 0)
    assert "Traceback" not in (tmp_path / "out").read_text(encoding="utf-8")


def test_a_command_that_is_killed_leaves_no_process(tmp_path):
    save_line(tmp_path / "line.keras", 3)
    process, inner = started(tmp_path, "line.keras")
    process.kill()
    process.wait()
    for _ in range(600):
        try:
            os.kill(inner, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the process inside goes on")


def test_progress_outlives_its_process(tmp_path):
    file = str(tmp_path / "progress.json")
    progress = rescue.Progress(file)
    assert not progress.is_resumed()
    assert not progress.died("SIGABRT")  # no variant was begun
    progress.begin("float32")
    progress.end("float32", "ab12", "")
    progress.begin("float16")
    later = rescue.Progress(file)
    assert later.is_resumed()
    assert later.died("SIGABRT")
    last = rescue.Progress(file)
    assert last.saved == {"float32": "ab12"}
    assert last.left_out == {"float16": "TensorFlow dies on it (SIGABRT)"}
    assert [last.is_new(v) for v in ("float32", "float16", "dynamic range")] == [False, True, True]


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
def test_closed_descriptors(tmp_path, closed):
    save_line(tmp_path / "line.keras", 3)
    command = f'"{sys.executable}" -m litecheck convert line.keras {closed}'
    process = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr + process.stdout
    assert (tmp_path / "line.int8.tflite").exists()
    command = f'"{sys.executable}" -m litecheck run line.tflite {closed}'
    assert subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True).returncode == 0


def test_a_directory_without_room(tmp_path, warm):
    """If nothing can be saved, the model to convert cannot be saved either."""
    save_line(tmp_path / "line.keras", 3)
    (tmp_path / "there").write_text("a file")
    process = run("convert", "line.keras", "--output", "there/line", cwd=tmp_path)
    assert_clear_error(process, "there")
