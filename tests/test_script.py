"""What all stages have in common as programs: options, mistakes, Ctrl-C, a quiet start."""

import argparse
import os
import shutil
import signal
import time

import pytest
from conftest import (
    REPOSITORY,
    SignalAtStep,
    assert_clear_error,
    load_everything,
    run,
    steps_on_files,
    wait_for,
)

from backstage import script as program
from backstage.script import number


@pytest.mark.parametrize(
    ("step", "missing", "remedy"),
    [
        ("02_load_model.py", "saved_model/my_model.keras", "python 01_create_model.py"),
        ("convert-tflite.sh", "saved_model/my_model/", "python 01_create_model.py"),
        ("03_convert_model.py", "saved_model/my_model/", "python 01_create_model.py"),
        ("04_deploy_tflite.py", "saved_model/my_model.tflite", "python 03_convert_model.py"),
    ],
)
def test_missing_input(tmp_path, step, missing, remedy):
    assert_clear_error(run(step, cwd=tmp_path), missing, remedy)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "step",
    ["01_create_model.py", "02_load_model.py", "03_convert_model.py", "04_deploy_tflite.py"],
)
def test_unknown_option(tmp_path, step):
    assert_clear_error(run(step, "--fast", cwd=tmp_path), step, "--fast")


@pytest.mark.parametrize("step", ["01_create_model.py", "02_load_model.py", "03_convert_model.py"])
def test_tensorflow_not_installed(pipeline, step, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no tensorflow')")
    process = run(step, cwd=pipeline[0], PYTHONPATH=str(tmp_path))
    assert_clear_error(process, "tensorflow", "pip install -r requirements.txt")


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("01_create_model.py", ["--epochs", "2"]),
        ("02_load_model.py", []),
        ("03_convert_model.py", []),
        ("04_deploy_tflite.py", []),
    ],
)
def test_ctrl_c_at_any_step(warm, pipeline, tmp_path, script, arguments):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = load_everything(directory)
    for step in steps_on_files(warm, tmp_path, script, *arguments, most=8):
        interrupt = SignalAtStep(signal.SIGINT, step, tmp_path / "steps")
        process = warm(script, *arguments, cwd=tmp_path, prepare=interrupt)
        assert process.returncode == 130
        assert process.stderr == f"{script}: interrupted\n"
        assert load_everything(directory) == before
        assert not list(directory.glob(".new-*"))


def test_ctrl_c_inside_of_tensorflow(warm, tmp_path):
    """TensorFlow loses every fourth KeyboardInterrupt; a training of minutes must end at once."""
    for trial in range(4):
        output = tmp_path / f"output-{trial}"
        output.mkdir()
        process = warm.start(
            "01_create_model.py", "--epochs", 40_000, cwd=tmp_path, output=str(output)
        )
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


def test_last_words_in_a_conversion(pipeline, tmp_path):
    """A stand-in for the runtime aborts when stage 3 runs the first file."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(f"def Interpreter(**_):\n    exec({STAND_IN!r})\n")
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "saved_model/my_model")
    process = run("03_convert_model.py", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert process.returncode == -signal.SIGABRT
    assert process.stderr.endswith("This binary needs AVX, which is missing here\n")
    assert "a note" not in process.stderr


def test_another_keras_backend_does_not_matter(pipeline, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    for settings in [{"KERAS_BACKEND": "torch"}, {"KERAS_HOME": str(tmp_path)}]:
        for script in ["01_create_model.py", "02_load_model.py", "03_convert_model.py"]:
            process = run(script, cwd=tmp_path, **settings)
            assert process.returncode == 0, process.stderr
            assert process.stderr == ""


def test_the_limits_of_numbers_are_allowed():
    parse = number(5, "a number", least=3, most=7)["type"]
    assert [parse(text) for text in ("3", "5", "7")] == [3, 5, 7]
    for text in ("2", "8", "-3", "3.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 3 to 7: give one such as 5"):
            parse(text)
    assert number(5, "a number", least=3)["type"](str(10**30)) == 10**30


# Runs the cells of a script as a console does: one by one, in a program of its own, whose standard
# output is no file.
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
    for script, word in [("02_load_model.py", "predicted"), ("04_deploy_tflite.py", "output_0")]:
        path = str(REPOSITORY / script)
        process = run(console, path, module, *argv, cwd=pipeline[0])
        assert process.returncode == 0, process.stderr
        assert word in process.stdout
        process = run(console, path, module, *argv, cwd=tmp_path)
        assert "backstage.script.Failure: saved_model/my_model" in process.stderr  # an exception


def test_commands_can_be_pasted():
    assert program.command(3, "my net.keras") == "python 03_convert_model.py 'my net.keras'"
    assert program.command(2) == "python 02_load_model.py"
