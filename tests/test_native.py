"""The C program returns what LiteRT returns in Python, and each failure prints one line."""

import ctypes
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from conftest import REPOSITORY, SUFFIXES, converted, run_tflite, tensors

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is installed: cc")

PACKAGE = Path(importlib.util.find_spec("ai_edge_litert").origin).parent
SANITIZERS = [
    "-g",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
]


def build(directory, *flags):
    """Compile the program next to the library in a directory. Return the compiler's process."""
    for library in PACKAGE.glob("libLiteRt.*"):
        shutil.copy(library, directory)
    strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", *flags]
    source = REPOSITORY / "native/deploy.c"
    link = [f"-L{directory}", "-lLiteRt", "-lm", "-Wl,-rpath,$ORIGIN"]
    return subprocess.run(
        ["cc", *strict, "-o", directory / "deploy", source, *link], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the program."""
    directory = tmp_path_factory.mktemp("native")
    process = build(directory)
    assert process.returncode == 0, process.stderr
    return directory / "deploy"


@pytest.fixture(scope="module")
def sanitized(plain, tmp_path_factory):
    """Return the program built with AddressSanitizer, its leak check, and UBSan."""
    directory = tmp_path_factory.mktemp("sanitized")
    process = build(directory, *SANITIZERS)
    if process.returncode:
        pytest.skip(f"the compiler has no sanitizers: {process.stderr.splitlines()[-1]}")
    return directory / "deploy"


@pytest.fixture(params=["plain", "sanitized"])
def program(request):
    """Return the plain and the sanitized program in turn."""
    return request.getfixturevalue(request.param)


def deploy(program, *arguments, **settings):
    """Run the program. Return its process, with bytes in `stdout` and `stderr`."""
    command = [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, **settings)


def outputs(process):
    """Return the outputs that were printed: a list of names and first numbers."""
    assert process.returncode == 0, process.stderr
    assert process.stderr == b""
    lines = re.findall(r"^output (.+?):((?: [^ \[\]\n]+)+)$", process.stdout.decode(), re.MULTILINE)
    return [(name, [float(x) for x in text.removesuffix(" ...").split()]) for name, text in lines]


def in_python(path, values):
    """Return outputs by name, in real numbers, for values that fill the inputs in order."""
    values = itertools.chain(values, itertools.repeat(values[-1]))
    given = []
    for tensor in tensors(path)[0].values():
        dtype = np.float32 if tensor["quantization"][0] else tensor["dtype"]
        count = int(np.prod(tensor["shape"]))
        numbers = np.array(list(itertools.islice(values, count)), dtype)
        given.append(numbers.reshape(tensor["shape"]))
    return run_tflite(path, *given)


def assert_as_in_python(program, path, values):
    """Compare all outputs of the program with those of LiteRT in Python.

    In C a tensor has one name. If it has a second name in Python, that is the same output.
    """
    printed, expected = outputs(deploy(program, path, *values)), in_python(path, values)
    names = {name for name, _ in printed}
    assert names <= set(expected)
    for name in set(expected) - names:
        assert any(np.array_equal(expected[name], expected[other]) for other in names)
    for name, numbers in printed:
        assert len(numbers) == min(expected[name].size, 8)
        assert numbers == pytest.approx(expected[name].ravel()[:8].astype(float), rel=1e-6)


@pytest.mark.parametrize("suffix", list(SUFFIXES.values())[:4])
def test_the_four_files_run_as_in_python(program, pipeline, suffix):
    path = pipeline[0] / f"saved_model/my_model{suffix}"
    for x in [150, 0, 3.7, 5000, -2]:  # an int8 file clips the last two
        assert_as_in_python(program, path, [x])


def test_it_prints_what_the_command_run_prints(plain, pipeline, warm):
    path = pipeline[0] / "saved_model/my_model.int8.tflite"
    ((scale, zero_point),) = (tensor["quantization"] for tensor in tensors(path)[0].values())
    lines = deploy(plain, path, 150).stdout.decode().splitlines()
    assert lines[0] == f"model  {path}"
    assert re.fullmatch(
        r"input  \S+: int8 \[1, 1\], signature \[-1, 1\], "
        + re.escape(f"real = {scale:.6g} * (q + {-zero_point})"),
        lines[1],
    )
    assert lines[:3] == warm("run", path, cwd=path.parent).stdout.splitlines()[:3]
    held = scale * round(150 / scale)  # 150 as int8 represents it
    assert float(lines[3].split()[-1]) == pytest.approx(held, rel=1e-6)
    assert re.fullmatch(r"one run takes [\d.]+ us, the median of \d+", lines[-1])
    path = pipeline[0] / "saved_model/my_model.tflite"
    assert outputs(deploy(plain, path)) == outputs(deploy(plain, path, 1))


def spec(shape, dtype=tf.float32, name=None):
    return tf.TensorSpec(shape, dtype, name)


def quantized(dtype, operations):
    """Return the content of a file whose input and output have a quantized dtype."""
    matrix = tf.constant([[1.0, -2.0], [0.5, 3.0]])
    return converted(
        lambda x: tf.matmul(x, matrix),
        spec([1, 2]),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([np.float32([[x, -x]])] for x in range(-9, 10)),
        supported_ops=[operations],
        inference_input_type=dtype,
        inference_output_type=dtype,
    )


INT8 = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
INT16 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def without_signature(content):
    """Return a file's content without its signatures, as other converters write it."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.signatureDefs = []
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


NETWORKS = {
    "two inputs and outputs": (
        lambda: converted(
            lambda a, b: (a + tf.cast(b, tf.float32), a * tf.reduce_sum(a)),
            spec([2], name="a"),
            spec([3, 2], tf.int32, "b"),
        ),
        [1, 2, 3, 4, 5, 6, 7],
    ),
    "no signature": (
        lambda: without_signature(
            converted(lambda a, b: (a - b, a * b), spec([2], name="a"), spec([2], name="b"))
        ),
        [1, 2, 3, 4],
    ),
    "a size that varies": (lambda: converted(lambda x: tf.sin(x), spec([None, 3])), [0.1, 0.2, 7]),
    "two sizes that vary": (lambda: converted(lambda x: 2 * x, spec([None, None, 3])), [4]),
    "no sizes": (lambda: converted(lambda x: 2 * x, spec([])), [4]),
    "no input": (lambda: converted(lambda: tf.constant([1.0, 2.0])), []),
    "an input that is an output": (
        lambda: converted(lambda x: {"a": x, "b": 2 * x}, spec([2])),
        [5, 7],
    ),
    "outputs that are one tensor": (
        lambda: converted(lambda x: {"a": 2 * x, "b": 2 * x}, spec([2])),
        [5, 7],
    ),
    "more numbers than are printed": (
        lambda: converted(lambda x: tf.cumsum(x), spec([9999])),
        [3, 1, 4],
    ),
    "real uint8": (lambda: quantized(tf.uint8, INT8), [3.3, -2]),
    "real int16": (lambda: quantized(tf.int16, INT16), [3.3, -2]),
    "int32": (lambda: converted(lambda x: x // 2, spec([2], tf.int32)), [2**31 - 1, -(2**31)]),
    "int64": (lambda: converted(lambda x: x + x, spec([2], tf.int64)), [5, -7]),
    "int16": (lambda: converted(lambda x: tf.reshape(x, [2, 1]), spec([2], tf.int16)), [5, -7]),
    "int8": (lambda: converted(lambda x: tf.reshape(x, [2, 1]), spec([2], tf.int8)), [127, -128]),
    "uint8": (lambda: converted(lambda x: tf.cast(x, tf.float32), spec([2], tf.uint8)), [255, 0]),
    "bool": (lambda: converted(lambda x: tf.logical_not(x), spec([2], tf.bool)), [1, 0]),
    "float16 in": (
        lambda: converted(lambda x: tf.cast(x, tf.float32), spec([7], tf.float16)),
        [0.1, -65504, 6e-8, 0, -3.14159, 6.1e-5, 2049],
    ),
    "float16 out": (
        lambda: converted(lambda x: tf.cast(x, tf.float16), spec([6])),
        [0.1, -65504, 6e-8, 0, 2049, 1e6],
    ),
    "float64": (lambda: converted(lambda x: tf.cast(x, tf.float32), spec([2], tf.float64)), [0.1]),
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Return a function that returns the file of one of `NETWORKS`."""
    directory = tmp_path_factory.mktemp("networks")

    def path(name):
        file = directory / f"{name}.tflite"
        if not file.exists():
            file.write_bytes(NETWORKS[name][0]())
        return file

    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks_run_as_in_python(program, networks, name):
    values = NETWORKS[name][1]
    if values:
        assert_as_in_python(program, networks(name), values)
    else:
        assert outputs(deploy(program, networks(name))) == [("output_0", [1, 2])]


def test_int64_is_exact(program, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(lambda x: tf.reshape(x, [3, 1]), spec([3], tf.int64)))
    numbers = f"{2**63 - 1} {-(2**63)} {2**53 + 1}"
    assert (
        f"output output_0: {numbers}\n" in deploy(program, path, *numbers.split()).stdout.decode()
    )


def test_floats_at_their_limits(program, tmp_path):
    """Numbers that round to infinity are refused, and the sign of zero is kept."""
    for dtype, limit, beyond in [
        (tf.float16, "-65504", "-65520"),
        (tf.float32, "-3.4028235e38", "-3.4028236e38"),
        (tf.float64, "-1.79e308", "-1.8e308"),
    ]:
        path = tmp_path / f"{dtype.name}.tflite"
        path.write_bytes(converted(lambda x: tf.cast(x, tf.float32), spec([2], dtype)))
        process = deploy(program, path, limit, "-0")
        assert process.returncode == 0, process.stderr
        assert re.search(rb"^input  \w+: -[\d.e+]+ -0$", process.stdout, re.MULTILINE)
        assert_one_line(deploy(program, path, beyond), f"is {dtype.name} and cannot hold")


def test_closed_streams_get_nothing_else(plain, pipeline):
    path = pipeline[0] / "saved_model/my_model.tflite"
    process = deploy(plain, path, "150", preexec_fn=lambda: os.close(1))
    assert (process.returncode, process.stdout) == (1, b"")
    assert process.stderr == b"deploy cannot print: Bad file descriptor\n"
    process = deploy(plain, path, "150", preexec_fn=lambda: os.close(2))
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"output output_0: 15005.0" in process.stdout


def test_odd_names_stay_in_one_line(program, tmp_path):
    assert_one_line(deploy(program, tmp_path / "bad\nb\x1b.tflite"), "bad b .tflite: No such file")


def assert_one_line(process, *phrases):
    """Check that a process failed with exactly one line, on stderr, with every phrase in it."""
    assert process.returncode == 1, process.stderr
    assert process.stdout == b""
    lines = process.stderr.decode().splitlines()
    assert len(lines) == 1, process.stderr
    for phrase in phrases:
        assert phrase in lines[0]


NO_FILE = "LiteRT's C API cannot load this file. It may be damaged, no .tflite file, or an LSTM"
NO_FILE += " that was converted without --loops. Try python -m litecheck run"


def test_files_that_are_none(program, pipeline, tmp_path):
    assert_one_line(deploy(program), "usage: deploy MODEL.tflite [VALUE ...]")
    path = tmp_path / "model.tflite"
    assert_one_line(deploy(program, path), str(path), "No such file", "Name a .tflite file")
    assert_one_line(deploy(program, tmp_path), str(tmp_path), NO_FILE)
    content = (pipeline[0] / "saved_model/my_model.tflite").read_bytes()
    truncated = [content[:length] for length in range(0, len(content), 11)]
    for part in [b"foreign" * 99, bytes(8), *truncated]:
        path.write_bytes(part)
        assert_one_line(deploy(program, path), str(path), NO_FILE)


def give_up_reading_everything():
    """Drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, so that permissions apply to root too."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_file_that_cannot_be_read(program, tmp_path):
    path = tmp_path / "model.tflite"
    path.touch(mode=0)
    process = deploy(program, path, preexec_fn=give_up_reading_everything)
    assert_one_line(process, str(path), "Permission denied. Name a .tflite file")


@pytest.mark.parametrize(
    ("values", "phrase"),
    [
        (["abc"], "'abc' is not a number. Give numbers, such as 150"),
        (["nan"], "'nan' is not a number"),
        (["inf"], "'inf' is not a number"),
        (["1e9999"], "'1e9999' is not a number"),
        (["12x"], "'12x' is not a number"),
        ([""], "'' is not a number"),
        (["\n\x1b[31m"], "'  [31m' is not a number"),
        (["x" * 100_000], "is not a number. Give numbers"),
        (["1e39"], "x is float32 and cannot hold 1e+39. Give another value"),
        (["1", "2", "3"], "too many values: 3 given, but the inputs take 1"),
    ],
)
def test_values_that_are_none(program, pipeline, values, phrase):
    path = pipeline[0] / "saved_model/my_model.tflite"
    assert_one_line(deploy(program, path, *values), str(path), phrase)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int8", 128),
        ("int16", 32768),
        ("int32", 2**31),
        ("int32", 2.5),
        ("int64", 2**63),
        ("bool", 2),
        ("float16 in", 65520),
        ("no input", 1),
    ],
)
def test_values_that_do_not_fit(program, networks, name, value):
    too_many = "too many values: 1 given, but the inputs take 0"
    phrase = too_many if name == "no input" else "Give another value"
    assert_one_line(deploy(program, networks(name), value), str(networks(name)), phrase)


FLEX = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
REFUSED = {
    "text": (
        lambda: converted(lambda x: x, spec([None], tf.string, "words")),
        [],
        "words holds text or a rare dtype. Use python -m litecheck run FILE --input INPUT",
    ),
    "an operation of TensorFlow": (
        lambda: converted(
            lambda x: tf.linalg.inv(tf.reshape(x, [2, 2])), spec([4]), supported_ops=FLEX
        ),
        [1, 2, 3, 4],
        "Select TensorFlow op",
    ),
    "an index out of bounds": (
        lambda: converted(lambda x: tf.gather(tf.constant([1.0, 2.0]), x), spec([3], tf.int32)),
        [2],
        "gather index out of bounds. Check the file and the values",
    ),
    "a division by zero": (
        lambda: converted(lambda a, b: a // b, spec([1], tf.int32), spec([1], tf.int32)),
        [0],
        "Division by 0",
    ),
    "an output of an unknown size": (
        lambda: converted(lambda x: tf.where(x > 0), spec([4])),
        [],
        "output tensor output_0",
    ),
    "an output of a size that changes": (
        lambda: converted(lambda n: tf.fill([n, 2], 3.0) + 1, spec([], tf.int32)),
        [0],
        "the size of an output depends on the input. Use python -m litecheck run",
    ),
    "an output that grows": (
        lambda: converted(lambda n: tf.fill([n, 2], 3.0) + 1, spec([], tf.int32)),
        [3000],
        "allocation is too small",
    ),
    "a size of zero": (lambda: converted(lambda x: 2 * x, spec([0, 3])), [], "packed bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_do_not_run(program, tmp_path, name):
    content, values, phrase = REFUSED[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(content())
    assert_one_line(deploy(program, path, *values), str(path), phrase, "python -m litecheck run")


def test_a_full_disk_is_reported(program, pipeline):
    path = pipeline[0] / "saved_model/my_model.tflite"
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = subprocess.run([program, path], stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1
    assert process.stderr.decode() == "deploy cannot print: No space left on device\n"


@pytest.mark.parametrize(
    ("name", "values"),
    [("int32", []), ("an input that is an output", []), ("int32", ["abc"]), ("text", [])],
)
def test_every_handle_is_released(sanitized, networks, tmp_path, name, values):
    path = networks(name) if name in NETWORKS else tmp_path / "model.tflite"
    if name in REFUSED:
        path.write_bytes(REFUSED[name][0]())
    # Memory counts as leaked even if a pointer to it still exists at the end.
    roots = "use_globals=0:use_stacks=0:use_registers=0"
    options = f"log_path={tmp_path}/report:fast_unwind_on_malloc=0"
    environment = os.environ | {"ASAN_OPTIONS": options, "LSAN_OPTIONS": roots}
    deploy(sanitized, path, *values, env=environment)
    (report,) = tmp_path.glob("report.*")
    leaks = re.findall(r"leak of (\d+) .*\n((?: +#.*\n)+)", report.read_text())
    assert leaks
    for size, frames in leaks:
        # Some memory stays until the process ends: LiteRT's information on the CPU, the buffer of
        # stdout, and two pointers to registries. The blocks of a handle are larger.
        if "pthread_once" not in frames and " in finish " not in frames:
            assert int(size) <= 8 or not re.search(" in (LiteRt|begin|end)", frames), frames


def is_ours(report):
    """Return whether our code crashed: the innermost frame is the program's, not LiteRT's."""
    frames = re.findall(r"^ *#\d+ .*$", report, re.MULTILINE)
    places = [frame for frame in frames if "libLiteRt" in frame or "/native/" in frame]
    return "runtime error" in report or not places or "libLiteRt" not in places[0]


def test_damaged_files_never_crash_our_code(sanitized, pipeline, networks, tmp_path):
    rng = np.random.default_rng(7)
    paths = [
        pipeline[0] / f"saved_model/my_model{suffix}" for suffix in [".tflite", ".int8.tflite"]
    ]
    paths += [networks("two inputs and outputs"), networks("an input that is an output")]
    options = f"log_path={tmp_path}/report"
    address = f"{options}:handle_abort=1:allocator_may_return_null=1:max_allocation_size_mb=100"
    environment = os.environ | {"ASAN_OPTIONS": address, "UBSAN_OPTIONS": options}
    ran = refused = 0
    for number in range(100):
        content = bytearray(paths[number % len(paths)].read_bytes())
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(len(content))] = rng.choice([0, 1, 127, 128, 255])
        damaged = tmp_path / f"{number}.tflite"
        damaged.write_bytes(content)
        process = deploy(sanitized, damaged, 3, env=environment)
        reports = [path.read_text(errors="replace") for path in tmp_path.glob("report.*")]
        if reports or process.returncode not in (0, 1):
            assert reports, f"{damaged} ended with {process.returncode}"
            assert not is_ours(reports[0]), reports[0]
            for path in tmp_path.glob("report.*"):
                path.unlink()
        elif process.returncode == 0:
            assert process.stdout, damaged
            ran += 1
        else:
            assert_one_line(process, str(damaged))
            refused += 1
    assert ran > 5
    assert refused > 50


def test_the_directory_runs_elsewhere_in_an_empty_environment(plain, pipeline, tmp_path):
    device = tmp_path / "device"
    device.mkdir()
    for path in [*plain.parent.glob("libLiteRt.*"), pipeline[0] / "saved_model/my_model.tflite"]:
        shutil.copy(path, device)
    process = build(device)
    assert process.returncode == 0, process.stderr
    device = device.rename(tmp_path / "elsewhere")
    process = deploy(device / "deploy", "elsewhere/my_model.tflite", 150, cwd=tmp_path, env={})
    assert outputs(process) == outputs(deploy(plain, device / "my_model.tflite", 150))


@pytest.fixture
def clone(pipeline, tmp_path):
    """Return a copy of the repository with fresh artifacts, and LiteRT in its .venv."""
    for name in ["Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"]:
        shutil.copy(REPOSITORY / name, tmp_path)
    for path in [*REPOSITORY.glob("0*.py"), REPOSITORY / "convert-tflite.sh"]:
        shutil.copy(path, tmp_path)
    for name in ["litecheck", "native"]:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = tmp_path / f".venv/lib/python{version}/site-packages"
    packages.mkdir(parents=True)
    (packages / "ai_edge_litert").symlink_to(PACKAGE)
    (tmp_path / f".venv/installed-{version}").touch()
    now = (tmp_path / f".venv/installed-{version}").stat().st_mtime
    for path in (tmp_path / "saved_model").rglob("*"):
        os.utime(path, (now, now))
    return tmp_path


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_native_builds_and_runs_the_four_files(clone):
    environment = os.environ | {"PYTHON": sys.executable, "MAKEFLAGS": ""}
    settings = {"cwd": clone, "env": environment, "capture_output": True, "text": True}
    process = subprocess.run(["make", "native", "CC=nowhere"], **settings)
    assert process.returncode != 0
    assert "nowhere is missing. Install a C compiler with" in process.stderr.splitlines()[0]
    process = subprocess.run(["make", "native"], **settings)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert len(re.findall(r"^output output_0: 1[45]\d{3}", process.stdout, re.MULTILINE)) == 4
    assert "build/native" not in subprocess.run(["make", "native"], **settings).stdout
