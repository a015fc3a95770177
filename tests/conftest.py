"""Shared by all tests: run the real scripts and commands, in new interpreters or in warm ones."""

import atexit
import base64
import ctypes
import functools
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

from litecheck import __main__

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REPOSITORY = Path(__file__).parent.parent
CHROMIUMS = ["chromium", "chromium-browser", "google-chrome"]  # names of the program
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)
SUFFIXES = {
    "float32": ".tflite",
    "float16": ".quant.tflite",
    "dynamic range": ".dynamic.tflite",
    "full integer": ".int8.tflite",
    "16-bit int": ".int16.tflite",
    "part integer": ".mixed.tflite",
    "full integer, float ends": ".int8.float-ends.tflite",
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
        **values: new values of the script's variables, such as `epochs`.
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
    """Run a script as `python SCRIPT` does, or a command. Its output goes to two files."""
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
        if script in COMMANDS:  # convert in this process, like the inner process of a command
            __main__.main(f"{output}/progress.json")
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()  # multiprocessing does not run them


def give_up_write_to_everything():
    """Drop CAP_DAC_OVERRIDE, so that permissions apply to root too. See capabilities(7)."""
    ctypes.CDLL(None).prctl(24, 1)


class Warm:
    """Runs the real scripts in forks of a process that has imported TensorFlow.

    A start takes milliseconds instead of seconds.
    """

    def __init__(self):
        """Start the process to fork."""
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["tensorflow", "keras", "matplotlib.pyplot", "ai_edge_litert.interpreter"]
        )

    def start(self, script, *arguments, cwd, output, prepare=None):
        """Start a script as `run` does, and return its `multiprocessing.Process`.

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
        """Run a script to its end as `run` does. Return a `subprocess.CompletedProcess`."""
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
    """A `prepare` of `Warm`: sends a process a signal at its nth step on saved_model/'s files.

    Steps are what Python's audit hooks see: opened files, new directories, and moves.
    """

    def __init__(self, number, at, log):
        """Take the signal, the number of the step (from 1), and a file for the steps' names."""
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
    """Return the numbers of up to `most` steps on files, spread over a script's whole run."""
    log = tmp_path / "steps"
    assert warm(script, *arguments, cwd=tmp_path, prepare=SignalAtStep(0, 0, log)).returncode == 0
    count = len(log.read_text().splitlines())
    return [*range(1, count + 1, -(-count // most))]


def wait_for(path, text="", timeout=120):
    """Wait until a file exists and contains a text."""
    for _ in range(timeout * 100):
        if path.exists() and text in path.read_text(errors="replace"):
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path} did not hold {text!r} within {timeout} s")


class Converter:
    """A `prepare` of `Warm`: changes what TensorFlow's converter does in a process."""

    def convert(self, converter, convert):
        """Return the bytes of a file. `convert` is the converter's own method."""
        raise NotImplementedError

    def __call__(self):
        """Replace the functions that create converters in this process."""
        import tensorflow as tf

        make = tf.lite.TFLiteConverter.from_saved_model

        def make_changed(*args, **kwargs):
            converter = make(*args, **kwargs)
            converter.convert = functools.partial(self.convert, converter, converter.convert)
            return converter

        tf.lite.TFLiteConverter.from_saved_model = make_changed


class WrongConverter(Converter):
    """Makes the converter return a prepared file for one variant."""

    def __init__(self, path, variant="float32"):
        """Take the path of the file and the variant, `float32` or `float16`."""
        self.path, self.variant = Path(path).resolve(), variant

    def convert(self, converter, convert):
        chosen = {
            "float32": not converter.optimizations,
            "float16": bool(converter.target_spec.supported_types),
        }
        return self.path.read_bytes() if chosen[self.variant] else convert()


class OnlyFloat32(Converter):
    """Makes the converter refuse all other variants, to save time."""

    def convert(self, converter, convert):
        if converter.optimizations:
            raise ValueError("not wanted here")
        return convert()


def save_function(path, function, *specs):
    """Save a function of tensors as the only signature of a SavedModel. Return the path.

    Args:
        path: where to save it.
        function: returns a dict of tensors, or one tensor.
        *specs: the specs of its arguments.
    """
    import tensorflow as tf

    module = tf.Module()
    module.f = tf.function(function)
    concrete = module.f.get_concrete_function(*specs)
    tf.saved_model.save(module, str(path), signatures=concrete)
    return path


def converted(function, *specs, **settings):
    """Return the `.tflite` content of a function of tensors, or of a `tf.Module`'s function `f`.

    Args:
        function: returns a dict of tensors, or one tensor.
        *specs: the specs of its arguments.
        **settings: attributes of the converter. `supported_ops` is one of its `target_spec`.
    """
    import tensorflow as tf

    module = function if isinstance(function, tf.Module) else tf.Module()
    if not isinstance(function, tf.Module):
        module.f = tf.function(function)
    concrete = module.f.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    for name, value in settings.items():
        if name == "supported_ops":
            converter.target_spec.supported_ops = value
        else:
            setattr(converter, name, value)
    return converter.convert()


def edited(content, change):
    """Return a `.tflite` file's content after a change to the schema's `ModelT`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(content)
    change(parsed)
    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


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
    """Run the five steps with their defaults. Return the directory and the process of each."""
    directory = tmp_path_factory.mktemp("pipeline")
    processes = {}
    for step in STEPS:
        if step.endswith(".sh") and not shutil.which("sh"):
            continue  # as on Windows without Git Bash
        processes[step] = run(step, cwd=directory)
        assert processes[step].returncode == 0, processes[step].stderr
    return directory, processes


def assert_clear_error(process, *phrases):
    """Check that a process failed with one or two lines on stderr, which contain every phrase."""
    assert process.returncode not in (0, None), process.stdout
    assert 1 <= len(process.stderr.splitlines()) <= 2, process.stderr
    assert "Traceback" not in process.stderr
    for phrase in phrases:
        assert phrase in process.stderr


def predictions(stdout):
    """Return the predicted column of a printed prediction table, float32 of shape (5, 1)."""
    rows = re.findall(r"^ +[1-5] +(\S+) +\d05 +\S+$", stdout, re.MULTILINE)
    return np.array(rows, dtype="float32").reshape(5, 1)


def tensors(path):
    """Return the details of a `.tflite` file's inputs, and of its outputs, in the file's order.

    Returns:
        Two dicts from names to details. The names are those of the first signature, in which a
        tensor may have several names. Without a signature they are the tensors' own.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    sides = [interpreter.get_input_details(), interpreter.get_output_details()]
    named = [[(tensor["name"], tensor["index"]) for tensor in side] for side in sides]
    for key in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(key)
        signature = [runner.get_input_details(), runner.get_output_details()]
        named = [[(name, side[name]["index"]) for name in side] for side in signature]
    return [
        {name: tensor for tensor in side for name, index in names if index == tensor["index"]}
        for side, names in zip(sides, named, strict=True)
    ]


def run_tflite(path, *values, **named):
    """Run a `.tflite` file once on real numbers. The quantization is not litecheck's.

    Args:
        path: the file.
        *values: arrays for its inputs, in the file's order. They set the variable sizes.
        **named: the same, by the inputs' names.

    Returns:
        A dict from the names of the outputs to arrays, float64 for quantized outputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    inputs, outputs = tensors(path)
    given = dict(zip(inputs, values, strict=not named)) | named
    assert given.keys() == inputs.keys()
    stored = {}
    for name, tensor in inputs.items():
        scale, zero_point = tensor["quantization"]
        array = np.asarray(given[name])
        if scale:
            limits = np.iinfo(tensor["dtype"])
            array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
        if array.dtype.kind not in "OSU":  # texts
            array = array.astype(tensor["dtype"], casting="unsafe" if scale else "same_kind")
        stored[tensor["index"]] = array
        interpreter.resize_tensor_input(tensor["index"], array.shape, strict=True)
    interpreter.allocate_tensors()
    for index, array in stored.items():
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    found = {}
    for name, tensor in outputs.items():
        scale, zero_point = tensor["quantization"]
        array = interpreter.get_tensor(tensor["index"])
        found[name] = scale * (array.astype("float64") - zero_point) if scale else array
    return found


def answers(path, inputs):
    """Return the only output of a file with one input, for several samples in one run."""
    (output,) = run_tflite(path, inputs).values()
    return output


def in_node(directory, code):
    """Run JavaScript that can import the page's `check.mjs`. Return the JSON that it prints."""
    shutil.copy(REPOSITORY / "browser/check.js", directory / "check.mjs")
    (directory / "all.mjs").write_text(code, encoding="utf-8")
    process = subprocess.run(["node", "all.mjs"], cwd=directory, capture_output=True, check=True)
    return json.loads(process.stdout)


def unpacked(packed):
    """Return the arrays in an object of a record, by name."""
    return {
        name: np.frombuffer(base64.b64decode(o["base64"]), o["dtype"]).reshape(o["shape"])
        for name, o in packed.items()
    }


def record_of(path):
    """Return the record of a check, `NAME.check.json`."""
    return json.loads(path.read_text(encoding="utf-8"))


def table(stdout):
    """Return the rows of a conversion's table: a dict from each variant to its columns.

    Errors are numbers: the absolute error, and the share of the range, with "> 999%" as 9.99.
    A verdict is without its remark about random inputs.
    """
    pattern = (
        rf"^(?P<variant>{'|'.join(SUFFIXES)})\s+(?P<bytes>[\d,]+) +(?P<size>\d+)%"
        r"  (?P<dtypes>\S+) +(?P<error>\S+) +(> )?(?P<of_range>\S+)% +(?P<time>\d+) us"
        r"( +(?P<metric>[\d.]\S*))?  (?P<verdict>.+?)( on random inputs)?"
        r"(, same class on (?P<same_class>.+) samples)?$"
    )
    rows = [match.groupdict() for match in re.finditer(pattern, stdout, re.MULTILINE)]
    for row in rows:
        row["error"] = float(row["error"].replace(",", ""))
        row["of_range"] = float(row["of_range"].replace(",", "")) / 100
    return {row["variant"]: row for row in rows}


def save_line(path, slope):
    """Save a model of y = slope · x + 5 with the lesson's names, and samples for it.

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
    """Check that a conversion reported the variants as sound, and that their files exist."""
    assert process.returncode == 0, process.stderr
    rows = table(process.stdout)
    assert list(rows) == list(variants)
    assert rows["float32"]["verdict"] == "verified"
    name = path.stem if path.suffix in (".keras", ".h5", ".hdf5") else path.name
    assert all((path.parent / f"{name}{SUFFIXES[variant]}").exists() for variant in rows)
    assert not list(path.parent.glob(".new-*"))
    assert max(line.find(" us  ") for line in process.stdout.splitlines()) < 75


def load_everything(directory):
    """Load each artifact that exists, and fail if one is incomplete. Return their names."""
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
            assert len(json.loads(path.read_text(encoding="utf-8"))["runs"]) == 100
        else:
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
            assert signature(tf.constant([[1.0]]))["output_0"].shape == (1, 1)
    return names
