"""Stage 2, and the command `look`: weights, signatures, graphs, and archives that are refused."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_clear_error, run
from tensorflow import keras


def test_the_picture_shows_both_layers(pipeline):
    if not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    content = (pipeline[0] / "saved_model/my_model.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    # Each layer's box has a black title bar, which is many dark rows of pixels.
    dark = tf.io.decode_png(content, channels=1).numpy()[:, :, 0].mean(axis=1) < 100
    runs = "".join("x" if row else " " for row in dark).split()
    assert len([run for run in runs if len(run) > 20]) == 2


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


def test_look_shows_an_archive_and_summarises_large_weights(warm, models, tmp_path):
    shutil.copy(models / "mobilenet.keras", tmp_path)
    process = warm("look", "mobilenet.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(
        r"^  conv1/kernel float32 \(3, 3, 3, 8\) min \S+ mean \S+ max", process.stdout, re.MULTILINE
    )
    assert re.search(r"^input  \S+: float32 \(None, 32, 32, 3\)$", process.stdout, re.MULTILINE)
    assert all(len(line) <= 100 for line in process.stdout.splitlines())
    # Some versions of Graphviz fail on a graph of this size.
    drawn = (tmp_path / "mobilenet.png").exists()
    assert ("saved mobilenet.png" if drawn else "mobilenet.png was not drawn") in process.stdout
    assert_clear_error(warm("look", "no.keras", cwd=tmp_path), "no.keras is missing")
    (tmp_path / "saved").mkdir()
    assert_clear_error(warm("look", "saved/", cwd=tmp_path), "saved/ is not a model")


def test_look_prints_the_weights_of_both_formats(warm, pipeline, tmp_path):
    model = keras.models.load_model(pipeline[0] / "saved_model/my_model.keras")
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    for path in ["saved_model/my_model.keras", "saved_model/my_model"]:
        process = warm("look", path, cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
        assert "weights: 4, 31 numbers" in process.stdout
        printed = re.findall(r"^  \S+ float32 \(.*\)\n +\[([^]]*)\]$", process.stdout, re.MULTILINE)
        for numbers, weight in zip(printed, model.get_weights(), strict=True):
            np.testing.assert_allclose(np.array(numbers.split(), float), weight.ravel(), atol=6e-6)
        assert all(len(line) <= 100 for line in process.stdout.splitlines())
    for line in ["signature serving_default", "  input  x: float32 (None, 1)"]:
        assert f"{line}\n" in process.stdout


@pytest.mark.parametrize("command", ["look", "convert"])
def test_code_in_an_archive_is_refused(warm, tmp_path, command):
    x = keras.Input((1,))
    keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(x)).save(tmp_path / "code.keras")
    process = warm(command, "code.keras", cwd=tmp_path)
    assert_clear_error(process, "code.keras cannot be loaded", "arbitrary code execution")
