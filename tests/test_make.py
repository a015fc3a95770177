"""The Makefile: only outdated files are made again, and an unsupported Python is reported."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def clone(pipeline, tmp_path):
    """Return a copy of the repository with fresh artifacts and set-up stamps, but no packages."""
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy2(path, tmp_path)
    for directory in ["litecheck", "tests"]:
        shutil.copytree(REPOSITORY / directory, tmp_path / directory)
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    (tmp_path / "saved_model/.gitkeep").touch()
    (tmp_path / ".venv").mkdir()
    for stamp in ["installed", "tools"]:
        (tmp_path / f".venv/{stamp}-{sys.version_info[0]}.{sys.version_info[1]}").touch()
    now = time.time()
    for path in (tmp_path / "saved_model").rglob("*"):
        os.utime(path, (now, now))
    return tmp_path


def make(clone, *arguments, python=sys.executable):
    """Run make in the clone, and return its process."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],  # `make test` may be the parent
        cwd=clone,
        env=os.environ | {"PYTHON": python, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )


def steps(clone, *arguments):
    """Return the scripts that make would run, each once. A dry run prints some of them twice."""
    process = make(clone, "--dry-run", *arguments)
    assert process.returncode == 0, process.stderr
    lines = [line.split()[-1] for line in process.stdout.splitlines() if ".venv/bin" in line]
    return list(dict.fromkeys(word for word in lines if word.endswith((".py", ".sh"))))


def later(path):
    """Give a file a time in the future, as if it were edited after all others."""
    os.utime(path, (4e9, 4e9))


def test_only_what_is_out_of_date_is_made_again(clone):
    assert steps(clone) == ["04_deploy_tflite.py"]
    later(clone / "03_convert_model.py")
    assert steps(clone) == ["03_convert_model.py", "04_deploy_tflite.py"]
    later(clone / "convert-tflite.sh")
    assert steps(clone)[0] == "convert-tflite.sh"
    for source in ["01_create_model.py", "litecheck/table.py"]:
        before = (clone / source).stat().st_mtime
        later(clone / source)
        assert steps(clone) == [
            "01_create_model.py",
            "02_load_model.py",
            "convert-tflite.sh",
            "03_convert_model.py",
            "04_deploy_tflite.py",
        ]
        os.utime(clone / source, (before, before))


@pytest.mark.parametrize(
    ("artifact", "maker"),
    [
        ("my_model.keras", "01_create_model.py"),
        ("my_model.samples.npy", "01_create_model.py"),
        ("my_model.png", "02_load_model.py"),
        ("my_model.cmdline.tflite", "convert-tflite.sh"),
        ("my_model.int8.tflite", "03_convert_model.py"),
    ],
)
def test_a_missing_artifact_is_made_again(clone, artifact, maker):
    (clone / "saved_model" / artifact).unlink(missing_ok=True)
    assert maker in steps(clone)


def test_clean_removes_the_artifacts_only(clone):
    (clone / "saved_model/mine.tflite").touch()
    assert make(clone, "clean").returncode == 0
    left = {path.name for path in (clone / "saved_model").iterdir()}
    assert left == {".gitkeep", "mine.tflite"}


def test_it_ends_with_what_to_do_next(clone):
    lines = make(clone, "--dry-run").stdout.splitlines()[-2:]
    assert ["make book" in line for line in lines] == [True, False]
    assert ["litecheck convert MODEL" in line for line in lines] == [False, True]


def test_help_lists_the_targets(clone):
    text = make(clone, "help").stdout
    for target in ["make test", "make notebooks", "make bench", "make fuzz", "make clean"]:
        assert target in text


@pytest.mark.parametrize("version", ["3.9", "3.14"])
def test_an_unsupported_python_is_named_before_anything_is_installed(clone, tmp_path, version):
    shutil.rmtree(clone / ".venv")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    process = make(clone, python=str(python))
    assert process.returncode != 0
    assert f"{python} is {version}" in process.stderr.splitlines()[0]
    assert "PYTHON=python3.12 make" in process.stderr.splitlines()[0]
    assert not (clone / ".venv").exists()
    assert "nowhere is missing" in make(clone, python="nowhere").stderr


def test_the_page_of_an_own_model_lies_beside_that_of_the_lesson(clone):
    shutil.copytree(REPOSITORY / "browser", clone / "browser")
    lesson = make(clone, "--dry-run", "browser").stdout
    convert = ".venv/bin/litecheck convert"
    assert (
        f"{convert} 'saved_model/my_model' --batch 1 --loops --float-ends"
        " --output build/browser.new/model" in lesson
    )
    own = make(clone, "--dry-run", "browser", "MODEL=my models/net.keras").stdout
    assert f"{convert} 'my models/net.keras' --batch 1" in own
    assert "browser/serve.py build/browser-own" in own
    assert "build/browser.new" not in own
