"""The shell wrapper around `tflite_convert`: flags, exit status, mistakes and kills."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY, assert_clear_error, load_everything, run, wait_for


def test_no_tflite_convert_on_path(tmp_path):
    process = run("convert-tflite.sh", cwd=tmp_path, PATH="/usr/bin:/bin")
    assert_clear_error(process, "tflite_convert", ".venv/bin/activate", "pip install")


def test_a_directory_that_is_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    for directory in ["nope", "empty/"]:
        process = run("convert-tflite.sh", directory, "out.tflite", cwd=tmp_path)
        file = f"{directory.rstrip('/')}/saved_model.pb"
        assert_clear_error(process, f"{file} is missing: name a SavedModel directory")
    for arguments in [[], ["saved_model/my_model", "out.tflite"]]:
        process = run("convert-tflite.sh", *arguments, cwd=tmp_path)
        assert_clear_error(process, "my_model/ is missing. Make it with: python 01_create_model.py")


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("status", [0, 42])
def test_wrapper_passes_flags_and_status_on(pipeline, tmp_path, shell, status):
    """A stand-in `tflite_convert` records its arguments, writes half a file and two messages."""
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


def test_wrapper_killed_at_any_moment(pipeline, tmp_path):
    """A stand-in `tflite_convert` writes a good file in ten pieces and waits after one of them."""
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    program = tmp_path / "bin" / "tflite_convert"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport os, pathlib, sys, time\n"
        "out = [a.split('=')[1] for a in sys.argv if a.startswith('--output_file=')][0]\n"
        f"data = open({str(directory / 'my_model.tflite')!r}, 'rb').read()\n"
        "with open(out, 'wb', buffering=0) as file:\n"
        "    for i in range(10):\n"
        "        file.write(data[i * len(data) // 10:(i + 1) * len(data) // 10])\n"
        "        if i == int(os.environ['WAIT_AFTER']):\n"
        "            pathlib.Path('waits').touch()\n"
        "            time.sleep(300)\n"
    )
    program.chmod(0o755)
    for piece in range(10):
        process = subprocess.Popen(
            ["sh", REPOSITORY / "convert-tflite.sh"],
            cwd=tmp_path,
            env=os.environ
            | {"PATH": f"{program.parent}:{os.environ['PATH']}", "WAIT_AFTER": str(piece)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(tmp_path / "waits")
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        load_everything(directory)
        (tmp_path / "waits").unlink()
        for left in directory.glob(".new-*"):
            shutil.rmtree(left)
