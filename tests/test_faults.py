"""Interruptions, full disks, stale files, two at once: nothing is lost, nothing half-written."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, assert_clear_error, run
from tensorflow import keras

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def load_everything(directory):
    """Load each artifact that is there; fail if one is there but not whole. Return their names."""
    names = {path.name for path in directory.iterdir() if not path.name.startswith(".new-")}
    for name in names:
        path = directory / name
        if name.endswith(".keras"):
            assert keras.models.load_model(path).count_params() == 31
        elif name.endswith(".npy"):
            assert np.load(path).shape == (100, 1)
        elif name.endswith(".png"):
            tf.io.decode_png(path.read_bytes())
        elif name.endswith(".tflite"):
            interpreter = Interpreter(str(path))
            interpreter.allocate_tensors()
            interpreter.invoke()
        elif name.endswith(".source"):
            assert len(path.read_text().split()) == 2
        else:
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
            assert signature(tf.constant([[1.0]]))["output_0"].shape == (1, 1)
    return names


def kill_at_spread_moments(start, directory, seconds, moments=20):
    """Start a process `moments` times, kill each later, and load what is there after every kill.

    Args:
        start: a function that starts it and returns an object with `pid` and a way to wait.
        directory: the directory of the artifacts.
        seconds: how long a whole run takes, roughly.
        moments: how many kills, spread evenly over that time and a little more.

    Returns:
        How often the process was really killed.
    """
    killed = 0
    for moment in range(moments):
        process = start()
        time.sleep(1.1 * seconds * moment / (moments - 1))
        if isinstance(process, subprocess.Popen):
            os.killpg(process.pid, signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        else:
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
        load_everything(directory)
        for left in directory.glob(".new-*"):
            shutil.rmtree(left)
    return killed


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("01_create_model.py", ["--epochs", "2", "--seed", "5"]),
        ("02_load_model.py", []),
        ("03_convert_model.py", []),
        ("04_deploy_tflite.py", []),
    ],
)
def test_killed_at_any_moment(warm, pipeline, tmp_path, script, arguments):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    assert warm(script, *arguments, cwd=tmp_path).returncode == 0
    begin = time.monotonic()
    assert warm(script, *arguments, cwd=tmp_path).returncode == 0
    seconds = time.monotonic() - begin
    before = load_everything(directory)

    output = tmp_path / "output"
    output.mkdir()
    killed = kill_at_spread_moments(
        lambda: warm.start(script, *arguments, cwd=tmp_path, output=str(output)),
        directory,
        seconds,
    )
    assert killed >= 10
    assert load_everything(directory) >= before - {"my_model"}  # a SavedModel may be absent


def test_wrapper_killed_at_any_moment(pipeline, tmp_path):
    """A stand-in `tflite_convert` writes a good file slowly, in ten pieces."""
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    program = tmp_path / "bin" / "tflite_convert"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys, time\n"
        "out = [a.split('=')[1] for a in sys.argv if a.startswith('--output_file=')][0]\n"
        f"data = open({str(directory / 'my_model.tflite')!r}, 'rb').read()\n"
        "with open(out, 'wb', buffering=0) as file:\n"
        "    for i in range(0, len(data), len(data) // 10):\n"
        "        file.write(data[i:i + len(data) // 10])\n        time.sleep(0.01)\n"
    )
    program.chmod(0o755)
    command = ["sh", REPOSITORY / "convert-tflite.sh"]
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    def start():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    begin = time.monotonic()
    assert start().wait() == 0
    assert kill_at_spread_moments(start, directory, time.monotonic() - begin) >= 10


@pytest.mark.parametrize(
    "script", ["01_create_model.py", "02_load_model.py", "03_convert_model.py"]
)
def test_ctrl_c(warm, pipeline, tmp_path, script):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    assert warm(script, cwd=tmp_path).returncode == 0
    begin = time.monotonic()
    assert warm(script, cwd=tmp_path).returncode == 0
    seconds = time.monotonic() - begin
    for part in [0.45, 0.55, 0.65, 0.75]:  # a KeyboardInterrupt was lost at some of them
        output = tmp_path / f"output-{part}"
        output.mkdir()
        process = warm.start(script, cwd=tmp_path, output=str(output))
        time.sleep(part * seconds)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 130
        assert (output / "stderr").read_text() == f"{script}: interrupted\n"
        load_everything(tmp_path / "saved_model")
        assert not list((tmp_path / "saved_model").glob(".new-*"))


class Limit:
    """A limit on the size of files, as a full disk sets one; it can be sent to a process."""

    def __init__(self, size):
        """Keep the size in bytes."""
        self.size = size

    def __call__(self):
        """Set the limit; writing beyond it raises OSError, as Python ignores the signal."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@pytest.mark.parametrize("size", [300, 2_000, 18_000, 30_000])
def test_disk_full_in_stage_1(warm, pipeline, tmp_path, size):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    process = warm("01_create_model.py", "--epochs", 2, cwd=tmp_path, prepare=Limit(size))
    assert_clear_error(process, "cannot save", "python 01_create_model.py")
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("script", ["02_load_model.py", "03_convert_model.py"])
def test_disk_full_in_stages_2_and_3(warm, pipeline, tmp_path, script):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    process = warm(script, cwd=tmp_path, prepare=Limit(1_000))
    if script.startswith("02") and not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    assert_clear_error(process)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_things_in_the_way(warm, pipeline, tmp_path):
    directory = tmp_path / "saved_model"
    directory.mkdir()
    (directory / "my_model").write_text("a file where a directory should be")
    process = warm("01_create_model.py", "--epochs", 2, cwd=tmp_path)
    assert_clear_error(process, "saved_model/my_model", "Not a directory")
    assert (directory / "my_model").read_text() == "a file where a directory should be"
    assert [path.name for path in directory.iterdir()] == ["my_model"]

    (directory / "my_model").unlink()
    shutil.copytree(pipeline[0] / "saved_model/my_model", directory / "my_model")
    (directory / "my_model.tflite").mkdir()
    (directory / "my_model.keras").mkdir()
    assert_clear_error(warm("03_convert_model.py", cwd=tmp_path), "saved_model/my_model.tflite")
    assert_clear_error(warm("02_load_model.py", cwd=tmp_path), "my_model.keras is missing")
    assert_clear_error(warm("04_deploy_tflite.py", cwd=tmp_path), "my_model.tflite is missing")


@pytest.mark.parametrize("script", ["02_load_model.py", "03_convert_model.py"])
def test_two_at_once(warm, pipeline, tmp_path, script):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    outputs = [tmp_path / "a", tmp_path / "b"]
    for output in outputs:
        output.mkdir()
    processes = [warm.start(script, cwd=tmp_path, output=str(output)) for output in outputs]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    load_everything(directory)


def test_two_trainings_at_once(warm, tmp_path):
    outputs = [tmp_path / "1", tmp_path / "2"]
    for output in outputs:
        output.mkdir()
    processes = [
        warm.start(
            "01_create_model.py",
            "--epochs",
            5,
            "--seed",
            n,
            cwd=tmp_path,
            output=str(outputs[n - 1]),
        )
        for n in (1, 2)
    ]
    for process in processes:
        process.join(120)
    assert 0 in [process.exitcode for process in processes]
    assert len(load_everything(tmp_path / "saved_model")) == 4


def test_stale_files_are_named(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    notice = "saved_model/my_model has changed: run python 03_convert_model.py saved_model/my_model"
    for path in (tmp_path / "saved_model").rglob("*"):  # as a checkout may leave them
        os.utime(path, (1e9, 1e9) if path.suffix == ".tflite" else None)
    assert notice not in warm("04_deploy_tflite.py", cwd=tmp_path).stdout
    assert warm("01_create_model.py", "--epochs", 2, "--seed", 9, cwd=tmp_path).returncode == 0
    for variant in ["", ".quant", ".dynamic", ".int8"]:
        file = f"saved_model/my_model{variant}.tflite"
        assert notice in warm("04_deploy_tflite.py", file, cwd=tmp_path).stdout
    assert warm("03_convert_model.py", cwd=tmp_path).returncode == 0
    assert notice not in warm("04_deploy_tflite.py", cwd=tmp_path).stdout

    shutil.copy(pipeline[0] / "saved_model/my_model.keras", tmp_path / "saved_model")
    process = warm("02_load_model.py", cwd=tmp_path)
    assert "the two are of different runs" in process.stdout


def test_nan_is_named(warm, pipeline, tmp_path):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    samples = np.load(directory / "my_model.samples.npy")
    samples[3] = np.nan
    np.save(directory / "my_model.samples.npy", samples)
    assert_clear_error(warm("03_convert_model.py", cwd=tmp_path), "keras_tensor holds NaN")
    np.save(tmp_path / "x.npy", samples[:5])
    process = warm("04_deploy_tflite.py", "--input", "x.npy", cwd=tmp_path)
    assert "output output_0: [5, 1] holds NaN or infinity" in process.stdout

    model = keras.models.load_model(directory / "my_model.keras")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "broken.keras")
    process = warm("03_convert_model.py", "broken.keras", cwd=tmp_path)
    assert_clear_error(process, "output output_0 of broken.keras is NaN or infinite")
    process = warm("02_load_model.py", "broken.keras", cwd=tmp_path)
    assert process.stdout.count("holds NaN or infinity") == 4


def test_a_training_that_fails_is_reported(warm, tmp_path):
    process = warm("01_create_model.py", "--epochs", 2, cwd=tmp_path)
    assert "the line was not found: loss 2" in process.stdout


def test_code_in_an_archive_is_refused(warm, tmp_path):
    x = keras.Input((1,))
    keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(x)).save(tmp_path / "code.keras")
    for script in ["02_load_model.py", "03_convert_model.py"]:
        process = warm(script, "code.keras", cwd=tmp_path)
        assert_clear_error(process, "code.keras cannot be loaded", "arbitrary code execution")


def test_pickles_are_refused(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    for script, option in [
        ("03_convert_model.py", "--samples"),
        ("04_deploy_tflite.py", "--input"),
    ]:
        process = warm(script, option, "x.npy", cwd=tmp_path)
        assert_clear_error(process, "x.npy", "allow_pickle=False")


def test_a_damaged_saved_model_is_named(pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    graph = tmp_path / "saved_model/my_model/saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    assert_clear_error(run("03_convert_model.py", cwd=tmp_path), "my_model cannot be loaded")
    assert_clear_error(run("convert-tflite.sh", cwd=tmp_path), "my_model was not converted")
