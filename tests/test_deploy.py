"""Stage 4: its output, its check of both files, and how it runs on a device."""

import json
import re
import shlex
import shutil

import pytest
from conftest import REPOSITORY, answers, assert_clear_error, record_of, run, tensors


def test_stage_4_prints_input_output_and_truth(pipeline):
    stdout = pipeline[1]["04_deploy_tflite.py"].stdout
    x, y, true = (
        float(re.search(rf"^{label} : \[\[(.*?)\.?\]\]$", stdout, re.MULTILINE)[1])
        for label in ["input", "output", r"the line, 100x \+ 5"]
    )
    assert 0 <= x < 1000
    assert true == 100 * x + 5
    assert y == pytest.approx(true, rel=1e-5)
    assert "input details:\n[{'name': 'serving_default_x:0',\n" in stdout
    assert re.search(r"^one run takes [\d.]+ us, the median of [\d,]+$", stdout, re.MULTILINE)


def test_one_number_followed(pipeline):
    """Repeat each step of the arithmetic that stage 4 prints."""
    stdout = pipeline[1]["04_deploy_tflite.py"].stdout
    path = pipeline[0] / "saved_model/my_model.int8.tflite"
    (given,), (taken,) = (side.values() for side in tensors(path))
    scale, zero_point = given["quantization"]
    q = round(150 / scale) + zero_point
    assert f"150 / {scale:.5f} = {150 / scale:.1f}, stored as {q}\n" in stdout
    output = answers(path, [[150]]).item()
    scale, zero_point = taken["quantization"]
    stored = round(output / scale) + zero_point
    real = f"real = {scale:.4f} * ({stored} + {-zero_point}) = {output:,.1f}"
    assert f"the output is {stored}: {real}\nthe line is at 15,005\n" in stdout


def test_both_files_agree_with_the_trained_model(pipeline):
    stdout = pipeline[1]["04_deploy_tflite.py"].stdout
    for name in ["my_model.tflite", "my_model.int8.tflite"]:
        line = (
            r"  check: 100 of 100 runs agree with the trained model, largest difference \S+ of the"
        )
        assert re.search(rf"^saved_model/{name}\n{line} range$", stdout, re.MULTILINE)


def block(directory, *packages):
    """Create packages that fail when imported. Return their directory, for PYTHONPATH."""
    directory.mkdir()
    for name in packages:
        (directory / f"{name}.py").write_text(f"raise ImportError('{name} is not on this device')")
    return str(directory)


def test_on_a_device_ai_edge_litert_is_enough(pipeline, tmp_path):
    """Run stage 4 with the package in the same directory, and the command `run`."""
    packages = ["tensorflow", "keras", "tf_keras", "matplotlib", "graphviz", "pydot", "PIL"]
    blocked = block(tmp_path / "blocked", *packages)
    (tmp_path / "saved_model").mkdir()
    shutil.copy(REPOSITORY / "04_deploy_tflite.py", tmp_path)
    shutil.copytree(REPOSITORY / "litecheck", tmp_path / "litecheck")
    for name in ["my_model.tflite", "my_model.int8.tflite", "my_model.check.json"]:
        shutil.copy(pipeline[0] / "saved_model" / name, tmp_path / "saved_model")

    process = run(tmp_path / "04_deploy_tflite.py", cwd=tmp_path, PYTHONPATH=blocked)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("100 of 100 runs agree") == 2
    process = run("run", "saved_model/my_model.int8.tflite", cwd=tmp_path, PYTHONPATH=blocked)
    assert (process.returncode, process.stderr) == (0, "")
    assert "100 of 100 runs agree" in process.stdout
    assert run("03_convert_model.py", cwd=pipeline[0], PYTHONPATH=blocked).returncode != 0


def test_without_litert_the_device_is_told_what_to_install(pipeline, tmp_path):
    (tmp_path / "ai_edge_litert.py").write_text("raise ModuleNotFoundError('no ai_edge_litert')")
    for command in [["04_deploy_tflite.py"], ["run", "saved_model/my_model.tflite"]]:
        process = run(*command, cwd=pipeline[0], PYTHONPATH=str(tmp_path))
        assert_clear_error(process, "no ai_edge_litert: run pip install ai-edge-litert\n")


def test_a_damaged_record_is_made_again_by_the_command_that_is_named(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    path = tmp_path / "saved_model/my_model.check.json"
    for content in [
        "",
        "[]",
        '{"format": 1, "variants": {}}',
        '{"format": 1, "variants": 3}',
        '{"format": 1, "variants": {"a": 1}}',
        "\x00",
    ]:
        path.write_text(content, encoding="utf-8")
        process = warm("04_deploy_tflite.py", cwd=tmp_path)
        assert_clear_error(process, "my_model.check.json is damaged\n")
    words = shlex.split(process.stderr.partition("Make it again with: ")[2])
    assert words == ["python", "03_convert_model.py"]
    assert warm(words[1], cwd=tmp_path).returncode == 0
    process = warm("04_deploy_tflite.py", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("100 of 100 runs agree") == 2


def test_records_of_other_versions_are_told_apart(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    path = tmp_path / "saved_model/my_model.check.json"
    path.write_text(json.dumps(record_of(path) | {"format": 2}), encoding="utf-8")
    process = warm("04_deploy_tflite.py", cwd=tmp_path)
    assert_clear_error(
        process, "my_model.check.json is a record of another version\n", "03_convert_model.py"
    )
    path.rename(tmp_path / "saved_model/my_model.proof.json")
    process = warm("04_deploy_tflite.py", cwd=tmp_path)
    assert_clear_error(
        process, "my_model.proof.json is a record of an older version\n", "03_convert_model.py"
    )


def test_a_file_that_computes_something_else_ends_the_stage(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    path = tmp_path / "saved_model/my_model.check.json"
    record = record_of(path)
    record["runs"][3]["outputs"] = record["runs"][9]["outputs"]
    path.write_text(json.dumps(record), encoding="utf-8")
    process = warm("04_deploy_tflite.py", cwd=tmp_path)
    assert_clear_error(process, "saved_model/my_model.tflite: this device returns other outputs")
    assert process.returncode == 1
