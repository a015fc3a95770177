"""The microcontroller: the files that tflite-micro runs, and the C array for a board."""

import re
import shutil
import subprocess

import ailing
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, assert_clear_error, run, run_tflite, save_line, tensors
from tensorflow import keras

from litecheck import inside

pytest.importorskip("tflite_micro", reason="tflite-micro is missing: run make microcontroller")

SCRIPT = REPOSITORY / "microcontroller/run.py"


@pytest.fixture(scope="module")
def lesson(pipeline, tmp_path_factory):
    """Run the script on the lesson's files. Return the directory and the finished process."""
    directory = tmp_path_factory.mktemp("lesson")
    shutil.copytree(pipeline[0] / "saved_model", directory / "saved_model")
    return directory, run(SCRIPT, cwd=directory)


def test_the_table(lesson):
    directory, process = lesson
    assert process.returncode == 0, process.stderr
    assert not process.stderr
    pattern = r"^(\w[\w ]+?) +yes +(\S+) +(\d+ of \d+) +(\S+) +(\S+)$"
    rows = re.findall(pattern, process.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["float32", "dynamic range", "full integer"]
    for (_, worst, agrees, arena, flash), suffix in zip(
        rows, ["", ".dynamic", ".int8"], strict=True
    ):
        assert float(worst) < 0.02  # of 20,000
        assert agrees == "99 of 99"
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
    assert re.search(r"// input  \S+: float32 \[1, 1\], not quantized", header)


def arrays(header):
    """Return the arrays of numbers in a header: a dict from names to lists."""
    found = re.findall(r"const (?:float|int8_t) (\w+)\[\d+\] = \{\s*([^}]*?),?\s*\};", header)
    return {name: [float(n.rstrip("f")) for n in numbers.split(",")] for name, numbers in found}


@pytest.mark.parametrize("variant", ["float32", "full integer"])
def test_a_board_tests_itself_with_the_header(pipeline, tmp_path, variant):
    """The right file's outputs are between the bounds, and outputs a bit further off are not."""
    suffix = {"float32": "", "full integer": ".int8"}[variant]
    for name in [f"my_model{suffix}.tflite", "my_model.check.json"]:
        shutil.copy(pipeline[0] / "saved_model" / name, tmp_path)
    if suffix:  # the script requires NAME.tflite
        (tmp_path / "my_model.tflite").write_bytes(
            (pipeline[0] / "saved_model/my_model.quant.tflite").read_bytes()
        )
    process = run(SCRIPT, "my_model", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    header = (tmp_path / "build/microcontroller/my_model.h").read_text()
    found = arrays(header)
    (x,) = found["my_model_input"]
    path = tmp_path / f"my_model{suffix}.tflite"
    (given,), (taken,) = (side.values() for side in tensors(path))
    scale, zero_point = given["quantization"]
    (output,) = run_tflite(path, [[scale * (x - zero_point) if suffix else x]]).values()
    scale, zero_point = taken["quantization"]
    stored = round(output.item() / scale) + zero_point if suffix else output.item()
    assert found["my_model_output_expected"] == [pytest.approx(18205, abs=1)]
    (low,), (high,) = found["my_model_output_lowest"], found["my_model_output_highest"]
    assert low <= stored <= high
    reach = high - low
    assert reach <= (8 if suffix else 3)  # in steps, or near 18,205
    assert not low <= stored + reach <= high


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
    assert "compared with LiteRT on random inputs" in process.stdout
    assert "no check" in process.stdout
    header = (tmp_path / "build/microcontroller/2nd-model.h").read_text()
    assert "unsigned char _2nd_model[" in header
    sides = tensors(tmp_path / "2nd-model.tflite")
    for kind, (tensor,) in zip(["input ", "output"], map(dict.values, sides), strict=True):
        printed = re.search(rf"// {kind} \S+: int8 \[1, 1\], scale (\S+), zero point (\S+)", header)
        scale, zero_point = tensor["quantization"]
        assert np.float32(printed[1]) == np.float32(scale)
        assert int(printed[2]) == zero_point


def test_a_model_of_images(models, warm, tmp_path):
    process = warm("convert", "swish.keras", "--output", tmp_path / "swish", cwd=models)
    assert process.returncode == 0, process.stderr
    process = run(SCRIPT, "swish", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    worst = re.search(r"^float32 +yes +(\S+) +(\d+) of (\d+) ", process.stdout, re.MULTILINE)
    assert float(worst[1]) < 1e-4
    assert worst[2] == worst[3]


def test_an_lstm_in_one_operation(warm, tmp_path):
    """Its state is reset before each run. Its integers differ from LiteRT's by at most a step."""
    keras.utils.set_random_seed(5)
    steps = keras.Input((12, 4))
    model = keras.Model(steps, keras.layers.Dense(3)(keras.layers.LSTM(8)(steps)))
    model.save(tmp_path / "net.keras")
    samples = np.random.default_rng(5).normal(size=(10, 12, 4)).astype("float32")
    np.save(tmp_path / "net.samples.npy", samples)
    assert warm("convert", "net.keras", cwd=tmp_path).returncode == 0
    process = run(SCRIPT, "net", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    worst, agrees = re.search(
        r"^full integer +yes +(\S+) +(\d+ of \d+) ", process.stdout, re.MULTILINE
    ).groups()
    assert agrees == "10 of 10"
    (taken,) = tensors(tmp_path / "net.int8.tflite")[1].values()
    assert float(worst) <= 1.1 * taken["quantization"][0]
    header = (tmp_path / "build/microcontroller/net.h").read_text()
    assert "// It keeps a state: call the interpreter's Reset() before each run." in header


def test_files_of_another_model_are_found_out(pipeline, tmp_path, warm):
    """Each variant is reported. No header is written for one that returns other outputs."""
    save_line(tmp_path / "my_model.keras", 50)
    assert warm("convert", "my_model.keras", cwd=tmp_path).returncode == 0
    shutil.copy(pipeline[0] / "saved_model/my_model.check.json", tmp_path)
    process = run(SCRIPT, "my_model", cwd=tmp_path)
    assert_clear_error(
        process, "other outputs here than the trained model: float32, dynamic range, full integer"
    )
    assert len(re.findall(r"^\w[\w ]+? +yes +\S+ +0 of 99 ", process.stdout, re.MULTILINE)) == 3
    assert process.stdout.count(", and may differ by") == 3
    assert not (tmp_path / "build").exists()
    shutil.copy(pipeline[0] / "saved_model/my_model.int8.tflite", tmp_path)  # a correct file
    process = run(SCRIPT, "my_model", cwd=tmp_path)
    assert_clear_error(process, "the trained model: float32, dynamic range")
    assert "my_model.int8.tflite, the smallest that runs" in process.stdout


def test_what_cannot_be_read(tmp_path):
    process = run(SCRIPT, "nothing", cwd=tmp_path)
    assert_clear_error(process, "nothing.tflite is missing")
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


def test_a_file_of_part_integers(warm, tmp_path):
    """Convolutions in float are between others in int8."""
    (x, _), (test, labels) = ailing.images(100, seed=2), ailing.images(300, seed=3)
    ailing.spread(ailing.convolutions(), [1]).save(tmp_path / "net.keras")
    np.save(tmp_path / "net.samples.npy", x)
    np.savez(tmp_path / "net.test.npz", inputs=test, labels=labels)
    assert warm("convert", "net.keras", "--float-ends", cwd=tmp_path).returncode == 0
    assert "CONV_2D" in inside_of(tmp_path / "net.mixed.tflite", "float32")
    assert "CONV_2D" in inside_of(tmp_path / "net.mixed.tflite", "int8")
    process = run(SCRIPT, "net", cwd=tmp_path)
    assert re.search(r"^part integer   yes .* (\d+) of \1 ", process.stdout, re.MULTILINE)
    assert re.search(r"^full integer, float ends\n +yes ", process.stdout, re.MULTILINE)


def inside_of(path, dtype):
    """Return the names of a file's operations that compute in a dtype."""
    return {
        each.name for each in inside.read(str(path)).operations if each.outputs[0].dtype == dtype
    }
