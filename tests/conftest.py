"""What tests share: the real scripts and commands, started in new interpreters or in warm ones."""

import atexit
import ctypes
import json
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REPOSITORY = Path(__file__).parent.parent
CHROMIUMS = ["chromium", "chromium-browser", "google-chrome"]  # the names it has
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)
SUFFIXES = {
    "float32": ".tflite",
    "float16": ".quant.tflite",
    "dynamic range": ".dynamic.tflite",
    "full integer": ".int8.tflite",
    "16-bit int": ".int16.tflite",
}
COMMANDS = ["look", "convert", "run"]  # of litecheck
STEPS = [
    "01_create_model.py",
    "02_load_model.py",
    "convert-tflite.sh",
    "03_convert_model.py",
    "04_deploy_tflite.py",
]


def lesson(directory, script, **values):
    """Copy a script of the lesson to a directory, with other values, and return the copy's path.

    Args:
        directory: a `Path`.
        script: its file name in the repository.
        **values: by the names that the script gives them, such as `epochs`.
    """
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    copy = directory / script
    copy.write_text(text, encoding="utf-8")
    return copy


def run(script, *arguments, cwd, prepare=None, **environment):
    """Run a script or a command in `cwd` and return the finished process with its output.

    Args:
        script: a file name in the repository, the path of another script, or one of `COMMANDS`.
        *arguments: its command-line arguments.
        cwd: the directory to run in.
        prepare: a function to call first, in the new process.
        **environment: variables that differ from this process's.

    Returns:
        A `subprocess.CompletedProcess` with text in `stdout` and `stderr`.
    """
    if script in COMMANDS:
        command = [sys.executable, "-m", "litecheck", script]
    else:
        shell = "sh" if str(script).endswith(".sh") else sys.executable
        command = [shell, REPOSITORY / script]
    scripts = sysconfig.get_path("scripts")  # where tflite_convert is
    environment = {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONIOENCODING": "utf-8",
    } | environment
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        preexec_fn=prepare,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def _in_child(script, arguments, cwd, output, prepare):
    """Run a script as `python SCRIPT` does, or a command; its output goes to two files."""
    os.chdir(cwd)
    for descriptor, name in [(1, "stdout"), (2, "stderr")]:
        os.dup2(os.open(f"{output}/{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    warnings.filterwarnings("error", category=DeprecationWarning, module=r"litecheck|__main__")
    sys.argv, sys.path[0] = [str(REPOSITORY / script), *arguments], str(REPOSITORY)
    if script in COMMANDS:
        sys.argv = [str(REPOSITORY / "litecheck/__main__.py"), script, *arguments]
    if prepare:
        prepare()
    try:
        if script in COMMANDS:
            runpy.run_module("litecheck", run_name="__main__")
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def give_up_write_to_everything():
    """Drop CAP_DAC_OVERRIDE, so that permissions hold for root too, see capabilities(7)."""
    ctypes.CDLL(None).prctl(24, 1)


class Warm:
    """Starts the scripts in forks of a process that has imported TensorFlow and waits for more.

    A start takes milliseconds in place of seconds. The scripts are the real ones.
    """

    def __init__(self):
        """Start the process to fork."""
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["tensorflow", "keras", "matplotlib.pyplot", "ai_edge_litert.interpreter"]
        )

    def start(self, script, *arguments, cwd, output, prepare=None):
        """Start a script and return its `multiprocessing.Process`; see `run`.

        Args:
            script: a file name in the repository, the path of another, or one of `COMMANDS`.
            *arguments: its command-line arguments.
            cwd: the directory to run in.
            output: a directory for the files `stdout` and `stderr`.
            prepare: a function to call first, in the new process.
        """
        arguments = [str(argument) for argument in arguments]
        process = self.context.Process(
            target=_in_child, args=(str(script), arguments, cwd, output, prepare)
        )
        process.start()
        return process

    def __call__(self, script, *arguments, cwd, prepare=None, timeout=120):
        """Run a script to its end and return a `subprocess.CompletedProcess`; see `start`."""
        with tempfile.TemporaryDirectory() as output:
            process = self.start(script, *arguments, cwd=cwd, output=output, prepare=prepare)
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
                raise TimeoutError(f"{script} {arguments} did not end within {timeout} s")
            stdout, stderr = (
                Path(output, name).read_text(encoding="utf-8", errors="replace")
                for name in ("stdout", "stderr")
            )
        return subprocess.CompletedProcess([script, *arguments], process.exitcode, stdout, stderr)


class SignalAtStep:
    """Sends a process a signal at its nth step on files of saved_model/; a `prepare` of `Warm`.

    The steps are those that Python's audit hooks see: files opened, directories made, moves.
    """

    def __init__(self, number, at, log):
        """Take the signal, the number of the step from 1, and a file for the steps' names."""
        self.number, self.at, self.log = number, at, log

    def __call__(self):
        """Watch the steps of this process."""
        log, places = [], ("saved_model/my_model", "saved_model/.new-")
        steps = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "tempfile.mkdtemp")

        def hook(event, arguments):
            if event in steps and any(place in str(arguments[0]) for place in places):
                log.append(event)
                if len(log) == self.at:
                    os.kill(os.getpid(), self.number)

        sys.addaudithook(hook)
        atexit.register(lambda: Path(self.log).write_text("\n".join(log), encoding="utf-8"))


def steps_on_files(warm, tmp_path, script, *arguments, most):
    """Return the numbers of at most `most` steps on files of a script, spread over a whole run."""
    log = tmp_path / "steps"
    assert warm(script, *arguments, cwd=tmp_path, prepare=SignalAtStep(0, 0, log)).returncode == 0
    count = len(log.read_text().splitlines())
    return [*range(1, count + 1, -(-count // most))]


def wait_for(path, text="", timeout=120):
    """Wait until a file is there and holds a text."""
    for _ in range(timeout * 100):
        if path.exists() and text in path.read_text(errors="replace"):
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path} did not hold {text!r} within {timeout} s")


@pytest.fixture(scope="session")
def warm():
    """Return the session's `Warm`."""
    return Warm()


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return a directory with a Keras archive of each model of `zoo`."""
    import zoo
    from tensorflow import keras

    directory = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(3)
    for name, build in zoo.MODELS.items():
        build().save(directory / f"{name}.keras")
    return directory


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """Run the five steps with their defaults; return the directory and the process of each."""
    directory = tmp_path_factory.mktemp("pipeline")
    processes = {}
    for step in STEPS:
        if step.endswith(".sh") and not shutil.which("sh"):
            continue  # as on Windows without Git Bash
        processes[step] = run(step, cwd=directory)
        assert processes[step].returncode == 0, processes[step].stderr
    return directory, processes


def assert_clear_error(process, *phrases):
    """Check the failed process for one or two lines on stderr that hold every phrase."""
    assert process.returncode not in (0, None), process.stdout
    assert 1 <= len(process.stderr.splitlines()) <= 2, process.stderr
    assert "Traceback" not in process.stderr
    for phrase in phrases:
        assert phrase in process.stderr


def predictions(stdout):
    """Return the predicted column of a printed prediction table, float32 of shape (5, 1)."""
    rows = re.findall(r"^ +[1-5] +(\S+) +\d05 +\S+$", stdout, re.MULTILINE)
    return np.array(rows, dtype="float32").reshape(5, 1)


def answers(path, inputs):
    """Run a file on real numbers, float32 (n, 1), with quantization done here; return (n, 1)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    given, taken = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for x in inputs.ravel().tolist():
        scale, zero_point = given["quantization"]
        q = min(max(round(x / scale) + zero_point, -128), 127) if scale else x
        interpreter.set_tensor(given["index"], np.array([[q]], dtype=given["dtype"]))
        interpreter.invoke()
        y = interpreter.get_tensor(taken["index"]).item()
        scale, zero_point = taken["quantization"]
        outputs.append([(y - zero_point) * scale if scale else y])
    return np.array(outputs)


def table(stdout):
    """Return the rows of the table of a conversion: a dict from variant to its columns.

    The errors are numbers: the absolute one, and the part of the range.
    """
    pattern = (
        rf"^(?P<variant>{'|'.join(SUFFIXES)}) +(?P<bytes>[\d,]+) +(?P<size>\d+)%"
        r"  (?P<dtypes>\S+) +(?P<error>\S+) +(?P<of_range>\S+)% +(?P<time>\d+) us"
        r"( +(?P<figure>[\d.]\S*))?  (?P<verdict>.+)$"
    )
    rows = [match.groupdict() for match in re.finditer(pattern, stdout, re.MULTILINE)]
    for row in rows:
        row["error"] = float(row["error"].replace(",", ""))
        row["of_range"] = float(row["of_range"].replace(",", "")) / 100
    return {row["variant"]: row for row in rows}


def save_line(path, slope):
    """Save a model of the line y = slope · x + 5 with the lesson's names, and samples beside it.

    Args:
        path: a `Path` that ends with .keras.
        slope: a number.
    """
    from tensorflow import keras

    layers = [keras.Input([1], name="x"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.set_weights([np.float32([[slope]]), np.float32([5])])
    model.save(path)
    x = np.arange(100, 200, dtype="float32").reshape(-1, 1)
    np.save(path.with_suffix(".samples.npy"), x)


def assert_converted(process, path, variants=("float32", "float16", "dynamic range")):
    """Check that a conversion reported the variants as sound, and that the files are there."""
    assert process.returncode == 0, process.stderr
    rows = table(process.stdout)
    assert list(rows) == list(variants)
    assert rows["float32"]["verdict"] == "verified"
    name = path.stem if path.suffix in (".keras", ".h5", ".hdf5") else path.name
    assert all((path.parent / f"{name}{SUFFIXES[variant]}").exists() for variant in rows)
    assert not list(path.parent.glob(".new-*"))
    assert max(line.find(" us  ") for line in process.stdout.splitlines()) < 75


def load_everything(directory):
    """Load each artifact that is there; fail if one is there but not whole. Return their names."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    names = {path.name for path in directory.iterdir() if not path.name.startswith(".new-")}
    for name in names:
        path = directory / name
        if name.endswith(".keras"):
            assert tf.keras.models.load_model(path).count_params() == 31
        elif name.endswith(".npy"):
            assert np.load(path).shape == (100, 1)
        elif name.endswith(".png"):
            tf.io.decode_png(path.read_bytes())
        elif name.endswith(".tflite"):
            interpreter = Interpreter(str(path))
            interpreter.allocate_tensors()
            interpreter.invoke()
        elif name.endswith(".check.json"):
            assert len(json.loads(path.read_text(encoding="utf-8"))["runs"]) == 16
        else:
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
            assert signature(tf.constant([[1.0]]))["output_0"].shape == (1, 1)
    return names
