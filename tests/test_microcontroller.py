"""The microcontroller: which files tflite-micro runs, and the C array for a board's project."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, assert_clear_error, run

pytest.importorskip("tflite_micro", reason="tflite-micro is missing: run make microcontroller")

SCRIPT = REPOSITORY / "microcontroller/run.py"


@pytest.fixture(scope="module")
def lesson(pipeline):
    """Run the script on the lesson's files; return the directory and the finished process."""
    return pipeline[0], run(SCRIPT, cwd=pipeline[0])


def test_the_table(lesson):
    directory, process = lesson
    assert process.returncode == 0, process.stderr
    assert not process.stderr
    rows = re.findall(r"^(\w[\w ]+?) +yes +(\S+) +(\S+) +(\S+)$", process.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["float32", "dynamic range", "full integer"]
    for (_, worst, arena, flash), suffix in zip(rows, ["", ".dynamic", ".int8"], strict=True):
        assert float(worst) < 0.02  # of 20,000
        assert 500 < int(arena.replace(",", "")) < 3000
        size = (directory / f"saved_model/my_model{suffix}.tflite").stat().st_size
        assert flash == f"{size:,}"
    assert re.search(r"^float16 +no +\S*dequantize\S* .*kTfLiteInt8", process.stdout, re.MULTILINE)
    assert "wrote build/microcontroller/my_model.h: my_model.tflite" in process.stdout


def test_the_header_holds_the_file(lesson):
    directory, _ = lesson
    header = (directory / "build/microcontroller/my_model.h").read_text()
    content = (directory / "saved_model/my_model.tflite").read_bytes()
    array = header.split("= {\n")[1]
    assert bytes(int(byte, 16) for byte in re.findall("0x(..),", array)) == content
    assert f"my_model_length = {len(content)}," in header
    assert "alignas(16) static const unsigned char my_model[" in header
    assert re.search(r"// input  \S+: float32 \[1, 1\], real numbers as they are", header)


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is installed: cc")
def test_the_header_compiles(lesson, tmp_path):
    directory, _ = lesson
    header = directory / "build/microcontroller/my_model.h"
    for language in ["c", "c++"]:
        check = ["cc", "-x", language, "-fsyntax-only", "-Wall", "-Werror", "-Wno-unused", header]
        if language == "c" or shutil.which("c++"):
            subprocess.run(check, check=True)
    program = f'#include <stdio.h>\n#include "{header}"\n'
    program += 'int main(void) { printf("%zu %d %d", sizeof my_model, (int)my_model_length,'
    program += " (int)((unsigned long)my_model % 16)); }\n"
    (tmp_path / "size.c").write_text(program)
    subprocess.run(["cc", "-o", tmp_path / "size", tmp_path / "size.c"], check=True)
    printed = subprocess.run([tmp_path / "size"], capture_output=True, text=True).stdout
    size = (directory / "saved_model/my_model.tflite").stat().st_size
    assert printed == f"{size} {size} 0"


def test_the_scales_of_an_own_model(pipeline, tmp_path):
    shutil.copy(pipeline[0] / "saved_model/my_model.int8.tflite", tmp_path / "2nd-model.tflite")
    process = run(SCRIPT, "2nd-model", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "beside LiteRT, on random inputs" in process.stdout
    header = (tmp_path / "build/microcontroller/2nd-model.h").read_text()
    assert "unsigned char _2nd_model[" in header
    interpreter = Interpreter(str(tmp_path / "2nd-model.tflite"))
    for kind, tensor in [
        ("input ", interpreter.get_input_details()[0]),
        ("output", interpreter.get_output_details()[0]),
    ]:
        printed = re.search(rf"// {kind} \S+: int8 \[1, 1\], scale (\S+), zero point (\S+)", header)
        scale, zero_point = tensor["quantization"]
        assert np.float32(printed[1]) == np.float32(scale)
        assert int(printed[2]) == zero_point


def test_a_model_of_images(models, warm, tmp_path):
    process = warm("03_convert_model.py", "swish.keras", "--output", tmp_path / "swish", cwd=models)
    assert process.returncode == 0, process.stderr
    process = run(SCRIPT, "swish", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    worst = re.search(r"^float32 +yes +(\S+)", process.stdout, re.MULTILINE)
    assert float(worst[1]) < 1e-4


def test_what_cannot_be_read(tmp_path):
    process = run(SCRIPT, "nothing", cwd=tmp_path)
    assert_clear_error(process, "nothing.tflite is missing", "03_convert_model.py")
    (tmp_path / "text.tflite").write_text("not a model")
    assert_clear_error(run(SCRIPT, "text", cwd=tmp_path), "text.tflite")
    assert not (tmp_path / "build").exists()


def test_a_file_without_signatures(tmp_path):
    saved_model = str(REPOSITORY / "tests/keras2/adam")
    content = tf.compat.v1.lite.TFLiteConverter.from_saved_model(saved_model).convert()
    (tmp_path / "old.tflite").write_bytes(content)
    process = run(SCRIPT, "old", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(r"^float32 +yes", process.stdout, re.MULTILINE)
