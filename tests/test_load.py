"""Stage 2: the graph, large models, and archives that are refused."""

import re
import shutil

import pytest
import tensorflow as tf
from conftest import assert_clear_error, run
from tensorflow import keras


def test_the_picture_shows_both_layers(pipeline):
    if not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    content = (pipeline[0] / "saved_model/my_model.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    # Each layer's box has a black title bar: a run of many dark rows of pixels.
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


def test_stage_2_summarises_large_weights(warm, models, tmp_path):
    shutil.copy(models / "mobilenet.keras", tmp_path)
    process = warm("02_load_model.py", "mobilenet.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(
        r"weight\[0\] conv1/kernel \(3, 3, 3, 8\) min \S+ mean \S+ max", process.stdout
    )
    assert all(len(line) <= 100 for line in process.stdout.splitlines())
    # Some versions of Graphviz give up on a graph of this size.
    drawn = (tmp_path / "mobilenet.png").exists()
    assert ("saved mobilenet.png" if drawn else "mobilenet.png was not drawn") in process.stdout
    assert_clear_error(warm("02_load_model.py", "no.keras", cwd=tmp_path), "no.keras is missing")
    (tmp_path / "saved").mkdir()
    process = warm("02_load_model.py", "saved/", cwd=tmp_path)
    assert_clear_error(process, "saved/ is a directory", "python 02_load_model.py saved.keras")


def test_code_in_an_archive_is_refused(warm, tmp_path):
    x = keras.Input((1,))
    keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(x)).save(tmp_path / "code.keras")
    for script in ["02_load_model.py", "03_convert_model.py"]:
        process = warm(script, "code.keras", cwd=tmp_path)
        assert_clear_error(process, "code.keras cannot be loaded", "arbitrary code execution")
