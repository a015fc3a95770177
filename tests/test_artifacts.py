"""Kills, full disks, stale files, two runs at once: no file is lost or half-written."""

import os
import shutil
import signal
import sys

import pytest
from conftest import (
    SUFFIXES,
    SignalAtStep,
    assert_clear_error,
    give_up_write_to_everything,
    lesson,
    load_everything,
    run,
    steps_on_files,
)

resource = pytest.importorskip("resource", reason="limits are those of Unix")


STAGES = ["02_load_model.py", "03_convert_model.py", "04_deploy_tflite.py"]


@pytest.mark.parametrize("stage", ["01_create_model.py", *STAGES])
def test_killed_at_any_step(warm, pipeline, tmp_path, stage):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    script = stage if stage in STAGES else lesson(tmp_path, stage, epochs=2, seed=5)
    steps = steps_on_files(warm, tmp_path, script, most=20)
    before = load_everything(directory)
    for step in steps:
        kill = SignalAtStep(signal.SIGKILL, step, tmp_path / "steps")
        assert warm(script, cwd=tmp_path, prepare=kill).returncode == -signal.SIGKILL
        load_everything(directory)
        for left in directory.glob(".new-*"):
            shutil.rmtree(left)
    assert load_everything(directory) >= before - {"my_model"}  # a SavedModel may be absent


class Limit:
    """Limits the size of files, like a full disk. It can be sent to a process."""

    def __init__(self, size):
        """Take the size in bytes."""
        self.size = size

    def __call__(self):
        """Set the limit. Writing beyond it raises OSError, because Python ignores the signal."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_unwritable_directory(tmp_path):
    script = lesson(tmp_path, "01_create_model.py", epochs=1)
    tmp_path.chmod(0o555)
    process = run(script, cwd=tmp_path, prepare=give_up_write_to_everything)
    assert_clear_error(process, "saved_model", "run again: python 01_create_model.py")


@pytest.mark.parametrize("size", [300, 2_000, 18_000, 30_000])
def test_disk_full_in_stage_1(pipeline, tmp_path, size):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    script = lesson(tmp_path, "01_create_model.py", epochs=2)
    process = run(script, cwd=tmp_path, prepare=Limit(size))
    assert_clear_error(process, "cannot save", "run again: python 01_create_model.py")
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("script", ["02_load_model.py", "03_convert_model.py"])
def test_disk_full_in_stages_2_and_3(pipeline, tmp_path, script):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    process = run(script, cwd=tmp_path, prepare=Limit(1_000))
    if script.startswith("02") and not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    assert_clear_error(process)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_things_in_the_way(warm, pipeline, tmp_path):
    directory = tmp_path / "saved_model"
    directory.mkdir()
    (directory / "my_model").write_text("a file where a directory should be")
    process = warm(lesson(tmp_path, "01_create_model.py", epochs=2), cwd=tmp_path)
    assert_clear_error(process, "saved_model/my_model", "Not a directory")
    assert (directory / "my_model").read_text() == "a file where a directory should be"
    assert [path.name for path in directory.iterdir()] == ["my_model"]

    (directory / "my_model").unlink()
    shutil.copytree(pipeline[0] / "saved_model/my_model", directory / "my_model")
    for name in ["my_model.samples.npy", "my_model.int8.tflite"]:
        shutil.copy(pipeline[0] / "saved_model" / name, directory)
    (directory / "my_model.tflite").mkdir()
    (directory / "my_model.keras").mkdir()
    assert_clear_error(warm("03_convert_model.py", cwd=tmp_path), "saved_model/my_model.tflite")
    assert_clear_error(warm("02_load_model.py", cwd=tmp_path), "my_model.keras cannot be read")
    assert_clear_error(warm("04_deploy_tflite.py", cwd=tmp_path), "my_model.tflite cannot be read")
    for command, name in [("look", "my_model.keras"), ("run", "my_model.tflite")]:
        process = warm(command, f"saved_model/{name}", cwd=tmp_path)
        assert_clear_error(process, f"saved_model/{name}")


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


def test_stale_files_are_named(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    notice = (
        "saved_model/my_model has changed: convert the model again:"
        " python -m litecheck convert saved_model/my_model\n"
    )
    for path in (tmp_path / "saved_model").rglob("*"):  # as after a checkout
        os.utime(path, (1e9, 1e9) if path.suffix == ".tflite" else None)
    assert notice not in warm("04_deploy_tflite.py", cwd=tmp_path).stdout
    script = lesson(tmp_path, "01_create_model.py", epochs=2, seed=9)
    assert warm(script, cwd=tmp_path).returncode == 0
    for suffix in list(SUFFIXES.values())[:4]:
        assert notice in warm("run", f"saved_model/my_model{suffix}", cwd=tmp_path).stdout
    assert warm("04_deploy_tflite.py", cwd=tmp_path).stdout.count(notice) == 2
    assert warm("03_convert_model.py", cwd=tmp_path).returncode == 0
    assert notice not in warm("04_deploy_tflite.py", cwd=tmp_path).stdout

    shutil.copy(pipeline[0] / "saved_model/my_model.keras", tmp_path / "saved_model")
    process = warm("02_load_model.py", cwd=tmp_path)
    assert "the two are from different runs" in process.stdout
