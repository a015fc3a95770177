"""Differences on Windows and macOS, as far as another system can test them."""

import ntpath
import os
import re
import shutil
import subprocess
import sys
import types

import pytest
from conftest import REPOSITORY, lesson

from litecheck import artifacts, script

SCRIPTS = sorted(REPOSITORY.glob("0*.py"))


@pytest.fixture
def windows(monkeypatch):
    """Replace `os` in the modules by one with the paths and the name of Windows."""
    system = types.SimpleNamespace(path=ntpath, sep="\\", name="nt")
    monkeypatch.setattr(artifacts, "os", system)
    monkeypatch.setattr(script, "os", system)


def test_paths_of_windows(windows):
    for path in ["models\\net\\", "models\\net/", "models\\net", "models\\net.keras"]:
        assert artifacts.stem(path) == "models\\net"
    assert artifacts.relative("models\\net", "models\\net") == "net"
    assert artifacts.relative("models\\net", "other\\far") == "../models/net"
    assert artifacts.relative("D:\\models\\net", "C:\\other\\far") == "D:/models/net"


def test_commands_for_shells_of_windows(windows):
    convert = "python -m litecheck convert"
    assert script.command("convert", "models\\net.keras") == f"{convert} models\\net.keras"
    for name in ["my models\\net.keras", "a&b.keras", "(1).keras"]:
        assert script.command("convert", name) == f'{convert} "{name}"'


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *REPOSITORY.glob("litecheck/*.py")], ids=lambda p: p.name
)
def test_nothing_is_called_that_windows_lacks(path):
    """Source: "Availability" in Python's documentation of `os`, `signal` and `subprocess`."""
    missing = r"os\.(fork|getuid|kill|mkfifo|chown|uname|wait4)\b|SIG(KILL|HUP|ALRM)|preexec_fn"
    missing += r"|import (fcntl|pwd|resource|termios)|/dev/|/tmp"
    assert not re.findall(missing, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["cp949", "cp1252", "ascii"])
def test_output_in_encodings_of_terminals(pipeline, tmp_path, encoding):
    """A character that the encoding lacks becomes a question mark, and causes no error."""
    name = "모델 é ☃.tflite"
    shutil.copy(pipeline[0] / "saved_model/my_model.tflite", tmp_path / name)
    first = lesson(tmp_path, "01_create_model.py", epochs=1)
    for command in [[first], ["-m", "litecheck", "run", name]]:
        process = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == b""
        text = process.stdout.decode(encoding)
        if command == [first] and encoding == "cp949":
            assert "?" not in text
    shown = {"cp949": "모델 ? ?", "cp1252": "?? é ?", "ascii": "?? ? ?"}[encoding]
    assert f"model  {shown}.tflite" in text
