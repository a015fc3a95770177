"""Stages and commands as programs: mistakes, Ctrl-C, and a quiet start."""

import argparse
import atexit
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import (
    REPOSITORY,
    SignalAtStep,
    assert_clear_error,
    lesson,
    load_everything,
    run,
    steps_on_files,
    wait_for,
)

from litecheck import script as program
from litecheck.__main__ import whole_number

STAGES = ["02_load_model.py", "03_convert_model.py", "04_deploy_tflite.py"]


@pytest.mark.parametrize(
    ("step", "missing", "remedy"),
    [
        ("02_load_model.py", "saved_model/my_model.keras", "python 01_create_model.py"),
        ("convert-tflite.sh", "saved_model/my_model/", "python 01_create_model.py"),
        ("03_convert_model.py", "saved_model/my_model is", "python 01_create_model.py"),
        ("04_deploy_tflite.py", "saved_model/my_model.tflite", "python 03_convert_model.py"),
    ],
)
def test_missing_input(tmp_path, step, missing, remedy):
    assert_clear_error(run(step, cwd=tmp_path), missing, remedy)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([], "required: COMMAND\nTo see its options: python -m litecheck --help"),
        (["fly"], "invalid choice: 'fly'"),
        (["look"], "required: MODEL\nTo see its options: python -m litecheck look --help"),
        (["convert"], "required: MODEL\nTo see its options: python -m litecheck convert --help"),
        (["convert", "m", "--fast"], "--fast\nTo see its options: python -m litecheck"),
        (["convert", "m", "--batch", "0"], "--batch: 0 is not a whole number of 1 or more"),
        (["run", "m.tflite", "--input"], "--input: expected one argument"),
    ],
)
def test_mistakes_in_a_command(warm, tmp_path, command, told):
    """Each mistake is reported in two lines, before TensorFlow is loaded."""
    process = warm(REPOSITORY / "litecheck/__main__.py", *command, cwd=tmp_path)
    assert_clear_error(process, f"litecheck{' '.join(['', *command[:1]])}: ", told)
    assert process.returncode == 1
    assert process.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["", "look", "convert", "run"])
def test_help_names_what_a_command_takes(warm, tmp_path, command):
    words = [command, "--help"] if command else ["--help"]
    process = warm(REPOSITORY / "litecheck/__main__.py", *words, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    known = {
        "": ["look", "convert", "run"],
        "look": ["MODEL"],
        "convert": ["MODEL", "--samples", "--test", "--signature", "--batch", "--output"],
        "run": ["FILE.tflite", "--input", "--test"],
    }
    assert all(word in process.stdout for word in known[command])


@pytest.mark.parametrize("step", ["01_create_model.py", "02_load_model.py", "03_convert_model.py"])
def test_tensorflow_not_installed(pipeline, step, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no tensorflow')")
    process = run(step, cwd=pipeline[0], PYTHONPATH=str(tmp_path))
    assert_clear_error(process, "tensorflow", "pip install '.[convert]'")


@pytest.mark.parametrize("command", ["look", "convert"])
def test_a_command_says_what_conversions_need(pipeline, command, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no tensorflow')")
    process = run(command, "saved_model/my_model", cwd=pipeline[0], PYTHONPATH=str(tmp_path))
    assert_clear_error(process, f"litecheck {command}: no tensorflow: run pip install ")
    for package in ["tensorflow", "keras", "matplotlib"]:
        assert package in process.stderr.partition("pip install ")[2]


@pytest.mark.parametrize(
    ("script", "arguments", "most"),
    [
        ("01_create_model.py", [], 8),
        *((stage, [], 8) for stage in STAGES),
        ("convert", ["saved_model/my_model"], 4),
    ],
)
def test_ctrl_c_at_any_step(warm, pipeline, tmp_path, script, arguments, most):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = load_everything(directory)
    name = f"litecheck {script}" if arguments else script
    if script.startswith("01"):
        script = lesson(tmp_path, script, epochs=2)
    for step in steps_on_files(warm, tmp_path, script, *arguments, most=most):
        interrupt = SignalAtStep(signal.SIGINT, step, tmp_path / "steps")
        process = warm(script, *arguments, cwd=tmp_path, prepare=interrupt)
        assert process.returncode == 130
        assert process.stderr == f"{name}: interrupted\n"
        assert load_everything(directory) == before
        assert not list(directory.glob(".new-*"))


def test_ctrl_c_inside_of_tensorflow(warm, tmp_path):
    """TensorFlow loses every fourth KeyboardInterrupt, but a long training must end at once."""
    script = lesson(tmp_path, "01_create_model.py", epochs=40_000)
    for trial in range(4):
        output = tmp_path / f"output-{trial}"
        output.mkdir()
        process = warm.start(script, cwd=tmp_path, output=str(output))
        wait_for(output / "stdout", "Epoch 2/20")
        time.sleep(0.05 * trial)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 130
        assert (output / "stderr").read_text() == "01_create_model.py: interrupted\n"
    assert not (tmp_path / "saved_model").exists()


STAND_IN = """
import os
os.write(2, b"I0000 00:00:1 port.cc:153] a note\\n")
os.write(2, b"F0000 00:00:1 cpu.cc:9] This binary needs AVX, which is missing here\\n")
os.abort()
"""


@pytest.mark.parametrize(
    ("script", "package"),
    [
        ("01_create_model.py", "tensorflow"),
        ("02_load_model.py", "tensorflow"),
        ("03_convert_model.py", "tensorflow"),
        ("04_deploy_tflite.py", "ai_edge_litert"),
    ],
)
def test_last_words_of_native_code_reach_the_reader(pipeline, tmp_path, script, package):
    (tmp_path / f"{package}.py").write_text(STAND_IN)
    process = run(script, cwd=pipeline[0], PYTHONPATH=str(tmp_path))
    assert process.returncode == -signal.SIGABRT
    assert "This binary needs AVX, which is missing here\n" in process.stderr
    if package == "tensorflow":
        assert "a note" not in process.stderr


@pytest.mark.parametrize(
    "stage", [["03_convert_model.py"], ["convert", "saved_model/my_model"]], ids=["stage", "tool"]
)
def test_last_words_in_a_conversion(pipeline, tmp_path, stage):
    """A stand-in for the runtime aborts when the first file is run."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(f"def Interpreter(**_):\n    exec({STAND_IN!r})\n")
    schema = "class ModelT: pass"
    (package / "schema_py_generated.py").write_text(schema)
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "saved_model/my_model")
    shutil.copy(pipeline[0] / "saved_model/my_model.samples.npy", tmp_path / "saved_model")
    process = run(*stage, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    words = "This binary needs AVX, which is missing here"
    if stage[0] == "convert":
        assert_clear_error(process, f"LiteRT dies on it (SIGABRT): {words}")
    else:  # the reader's own interpreter
        assert process.returncode == -signal.SIGABRT
        assert process.stderr.endswith(f"{words}\n")
    assert "a note" not in process.stderr


QUIET = """
import os
from litecheck import script

script.start(program="quiet")
os.write(2, b"I0000 00:00:1 port.cc:153] a note\\nfirst\\nhalf a line")
with script.quiet():
    os.write(2, b"hidden\\n")
    with script.quiet():
        os.write(2, b"hidden inside\\nand half")
    os.write(2, b"hidden again\\n")
os.write(2, b" and its end\\n")
print("last", file=__import__("sys").stderr)
with script.quiet():
    os.write(2, b"I0000 00:00:1 port.cc:153] a note\\nlast words\\n")
    DIE
"""


def test_quiet_hides_what_is_said_in_it_and_nothing_else(tmp_path):
    path = tmp_path / "quiet.py"
    path.write_text(QUIET.replace("DIE", ""))
    process = run(path, cwd=tmp_path)
    assert process.returncode == 0
    assert process.stderr == "first\nhalf a line and its end\nlast\n"
    path.write_text(QUIET.replace("DIE", "os.abort()"))
    process = run(path, cwd=tmp_path)
    assert process.returncode == -signal.SIGABRT
    assert process.stderr == "first\nhalf a line and its end\nlast\nlast words\n"


class Starts:
    """A `prepare` of `Warm`: records which programs a process starts."""

    def __init__(self, log):
        """Take a file for the command lines."""
        self.log = log

    def __call__(self):
        """Watch this process."""
        lines = []

        def hook(event, arguments):
            if event == "subprocess.Popen":
                lines.append(" ".join(map(str, arguments[1])))

        sys.addaudithook(hook)
        atexit.register(lambda: Path(self.log).write_text("\n---\n".join(lines), encoding="utf-8"))


def test_stage_3_needs_two_processes_more(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    log = tmp_path / "log"
    assert warm("03_convert_model.py", cwd=tmp_path, prepare=Starts(log)).returncode == 0
    started = log.read_text(encoding="utf-8").split("\n---\n")
    assert sum("-ISc" in line for line in started) == 1
    assert sum("apart.serve()" in line for line in started) == 1  # this process runs new files
    others = [line for line in started if not re.search(r"-ISc|apart\.serve", line)]
    assert all(line.startswith("dot ") or "/dot " in line for line in others), others


def test_another_keras_backend_does_not_matter(pipeline, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    scripts = [["01_create_model.py"], ["02_load_model.py"], ["03_convert_model.py"]]
    for settings in [{"KERAS_BACKEND": "torch"}, {"KERAS_HOME": str(tmp_path)}]:
        for script in scripts:
            process = run(*script, cwd=tmp_path, **settings)
            assert process.returncode == 0, process.stderr
            assert process.stderr == ""
        scripts.append(["convert", "saved_model/my_model.keras"])


def test_the_limits_of_numbers_are_allowed():
    assert [whole_number(text) for text in ("1", "5", str(10**30))] == [1, 5, 10**30]
    for text in ("0", "-3", "3.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="of 1 or more: give one such as 1"):
            whole_number(text)


# Runs the cells of a script one by one, like a console: a program whose standard output is not a
# file.
CONSOLE = """
import io, re, sys, types
script, module, argv = sys.argv[1], sys.argv[2], sys.argv[3:]
if module == "ps1":
    sys.ps1 = ">>> "
else:
    sys.modules[module] = types.ModuleType(module)
sys.argv, sys.path[0] = argv, REPOSITORY

class Console(io.TextIOBase):
    def write(self, text):
        return sys.__stdout__.write(text)

sys.stdout = Console()
with open(script, encoding="utf-8") as file:
    cells = re.split(r"^# %%.*$", file.read(), flags=re.MULTILINE)
for cell in cells:
    exec(compile(cell, "<cell>", "exec"), globals())
"""


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        ("ipykernel", [""]),  # Spyder
        ("ipykernel", ["/x/ipykernel_launcher.py", "--f=/x/kernel-1.json"]),  # VS Code, Jupyter
        ("pydevconsole", ["/x/pydevconsole.py", "--mode=client", "--port=1"]),  # PyCharm
        ("ps1", [""]),
    ],
)
def test_cells_run_in_any_console(pipeline, tmp_path, module, argv):
    console = tmp_path / "console.py"
    console.write_text(CONSOLE.replace("REPOSITORY", repr(str(REPOSITORY))))
    for script, word in [("02_load_model.py", "predicted"), ("04_deploy_tflite.py", "100x + 5")]:
        path = str(REPOSITORY / script)
        process = run(console, path, module, *argv, cwd=pipeline[0])
        assert process.returncode == 0, process.stderr
        assert word in process.stdout
        process = run(console, path, module, *argv, cwd=tmp_path)
        assert "litecheck.script.Failure: saved_model/my_model" in process.stderr  # an exception


def test_commands_can_be_pasted(monkeypatch):
    pasted = "python -m litecheck convert 'my net.keras'"
    assert program.command("convert", "my net.keras") == pasted
    monkeypatch.setattr(program, "in_notebook", lambda: True)
    assert program.again() == "run this cell again"
    monkeypatch.setattr(program, "in_notebook", lambda: False)
    for argv, command in [
        (["/x/litecheck/__main__.py", "convert", "my net.keras"], pasted),
        (["/x/bin/litecheck", "convert", "my net.keras"], pasted),
        (["/x/01_create_model.py"], "python 01_create_model.py"),
    ]:
        monkeypatch.setattr(sys, "argv", argv)
        assert program.again() == f"run again: {command}"
