"""Every mistake a user can make: one or two lines that say what to do, and nothing damaged."""

import ctypes
import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY, assert_clear_error, run


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


@pytest.mark.parametrize(
    "option", [["--epochs", "0"], ["--epochs", "-3"], ["--epochs", "many"], ["--seed", "-1"]]
)
def test_unusable_numbers(tmp_path, option):
    assert_clear_error(run("01_create_model.py", *option, cwd=tmp_path), option[0], option[1])
    assert list(tmp_path.iterdir()) == []


def test_no_tflite_convert_on_path(tmp_path):
    process = run("convert-tflite.sh", cwd=tmp_path, PATH="/usr/bin:/bin")
    assert_clear_error(process, "tflite_convert", ".venv/bin/activate", "pip install")


@pytest.mark.parametrize("step", ["01_create_model.py", "02_load_model.py", "03_convert_model.py"])
def test_tensorflow_not_installed(pipeline, step, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no tensorflow')")
    process = run(step, cwd=pipeline[0], PYTHONPATH=str(tmp_path))
    assert_clear_error(process, "tensorflow", "pip install -r requirements.txt")


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "saved_model").write_text("mine")
    process = run("01_create_model.py", "--epochs", "1", cwd=tmp_path)
    assert_clear_error(process, "saved_model", "python 01_create_model.py")
    assert (tmp_path / "saved_model").read_text() == "mine"


def give_up_write_to_everything():
    """Drop CAP_DAC_OVERRIDE, so that permissions hold for root too, see capabilities(7)."""
    ctypes.CDLL(None).prctl(24, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_unwritable_directory(tmp_path):
    tmp_path.chmod(0o555)
    process = subprocess.run(
        [sys.executable, REPOSITORY / "01_create_model.py", "--epochs", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=give_up_write_to_everything,
    )
    assert_clear_error(process, "saved_model", "python 01_create_model.py")


def test_no_dot_draws_no_picture_and_says_so(pipeline, tmp_path):
    (tmp_path / "saved_model").symlink_to(pipeline[0] / "saved_model")
    before = (pipeline[0] / "saved_model/my_model.png").read_bytes()
    process = run("02_load_model.py", cwd=tmp_path, PATH=str(tmp_path))
    assert process.returncode == 0, process.stderr
    last = process.stdout.splitlines()[-1]
    for phrase in ["not drawn", "apt-get install graphviz", "brew install", "winget install"]:
        assert phrase in process.stdout.splitlines()[-2] + last
    assert "weight[3]" in process.stdout
    assert (pipeline[0] / "saved_model/my_model.png").read_bytes() == before


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("status", [0, 42])
def test_wrapper_passes_flags_and_status_on(pipeline, tmp_path, shell, status):
    """A stand-in `tflite_convert` records its arguments, writes half a file and says two things."""
    (tmp_path / "saved_model").mkdir()
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "saved_model/my_model")
    output = tmp_path / "saved_model/my_model.cmdline.tflite"
    output.write_text("whole")
    program = tmp_path / "bin" / "tflite_convert"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" >arguments\nfor a; do case $a in --output_file=*)'
        " echo half >${a#*=} ;; esac; done\n"
        f"echo I0000 a note >&2\necho W0000 a real error: out of cheese >&2\nexit {status}\n"
    )
    program.chmod(0o755)
    process = subprocess.run(
        [shell, REPOSITORY / "convert-tflite.sh", "--saved_model_tag_set=a b", "--flag"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == status
    assert "out of cheese" in process.stderr
    assert "a note" not in process.stderr
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[0] == "--saved_model_dir=./saved_model/my_model"
    assert arguments[2:] == ["--saved_model_tag_set=a b", "--flag"]
    assert output.read_text() == ("whole" if status else "half\n")
    assert len(list((tmp_path / "saved_model").iterdir())) == 2
