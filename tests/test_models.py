"""Models as people have them: stage 3 converts and compares each, or refuses it."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
import zoo
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, assert_clear_error, run
from tensorflow import keras
from tensorflow.keras import layers

RNG = np.random.default_rng(7)


def litert(path, **inputs):
    """Return the outputs of a `.tflite` file's only signature for one run, by name."""
    runner = Interpreter(str(path)).get_signature_runner()
    return runner(**inputs)


def assert_converted(process, path, variants=("float32", "float16", "dynamic range")):
    """Check that stage 3 reported the variants as sound and that LiteRT runs their files."""
    assert process.returncode == 0, process.stderr
    rows = re.findall(
        r"^(float32|float16|dynamic range|full integer) +[\d,]+ +\d+% .* (\S+) +\d+ us  (\S+)$",
        process.stdout,
        re.MULTILINE,
    )
    assert [row[0] for row in rows] == list(variants)
    assert float(rows[0][1]) < 2e-6
    assert all((path.parent / name).exists() for _, _, name in rows)
    assert not list(path.parent.glob(".new-*"))
    assert max(line.find(" us  ") for line in process.stdout.splitlines()) < 75


@pytest.mark.parametrize("name", zoo.MODELS)
def test_keras_archives(warm, models, name):
    process = warm("03_convert_model.py", models / f"{name}.keras", cwd=models)
    assert_converted(process, models / f"{name}.keras")
    assert "8 runs on random inputs" in process.stdout
    assert ("recurrent: the batch is fixed to 1" in process.stdout) == (name in ("lstm", "gru"))

    model = keras.models.load_model(models / f"{name}.keras")
    runner = Interpreter(str(models / f"{name}.tflite")).get_signature_runner()
    inputs = {
        label: RNG.random([size if size > 0 else 9 for size in tensor["shape_signature"]])
        for label, tensor in runner.get_input_details().items()
    }
    if name == "lstm":  # without samples, a size that varies is fixed to 32
        inputs = dict.fromkeys(inputs, RNG.random((1, 32, 3)))
    for label, tensor in runner.get_input_details().items():
        inputs[label] = (40 * inputs[label]).astype(tensor["dtype"])
    given = inputs if name == "two_inputs" else next(iter(inputs.values()))
    expected = model.predict(given, verbose=0)
    outputs = litert(models / f"{name}.tflite", **inputs)
    if name == "two_inputs":
        expected = {"a_inner": expected["a"]["inner"], "z": expected["z"]}
        assert outputs.keys() == expected.keys()
    else:
        expected = {next(iter(outputs)): expected}
    for label, values in expected.items():
        np.testing.assert_allclose(outputs[label], values, rtol=1e-4, atol=1e-5)


def test_samples_give_the_time_axis(warm, models, tmp_path):
    shutil.copy(models / "lstm.keras", tmp_path)
    samples = RNG.normal(size=(20, 7, 3)).astype("float32")
    np.save(tmp_path / "lstm.samples.npy", samples)
    process = warm("03_convert_model.py", "lstm.keras", cwd=tmp_path)
    assert "20 runs on lstm.samples.npy" in process.stdout
    assert "full integer   not written: the converter crashes on loops" in process.stdout
    assert_converted(process, tmp_path / "lstm.keras")
    runner = Interpreter(str(tmp_path / "lstm.tflite")).get_signature_runner()
    ((label, tensor),) = runner.get_input_details().items()
    assert tensor["shape_signature"].tolist() == [1, -1, 3]
    model = keras.models.load_model(tmp_path / "lstm.keras")
    ((_, output),) = runner(**{label: samples[:1]}).items()
    np.testing.assert_allclose(output, model.predict(samples[:1], verbose=0), atol=1e-6)


def test_unrolled_layers_become_full_integer(warm, tmp_path):
    steps = keras.Input((5, 3))
    keras.Model(steps, layers.LSTM(4, unroll=True)(steps)).save(tmp_path / "lstm.keras")
    np.save(tmp_path / "lstm.samples.npy", RNG.normal(size=(20, 5, 3)))
    process = warm("03_convert_model.py", "lstm.keras", cwd=tmp_path)
    variants = ["float32", "float16", "dynamic range", "full integer"]
    assert_converted(process, tmp_path / "lstm.keras", variants)


def test_recurrent_saved_model(warm, models, tmp_path):
    model = keras.models.load_model(models / "gru.keras")
    model.export(tmp_path / "gru", verbose=False)
    process = warm("03_convert_model.py", "gru/", cwd=tmp_path)
    assert_clear_error(process, "gru is recurrent", "model.save('gru.keras')", "gru.keras")
    assert not list(tmp_path.glob("*.tflite"))

    shutil.copy(models / "gru.keras", tmp_path)
    process = warm("03_convert_model.py", "gru", cwd=tmp_path)
    assert "converting gru.keras in its place" in process.stdout
    assert_converted(process, tmp_path / "gru")


@pytest.mark.parametrize("name", ["adam", "legacy_adam"])
def test_saved_models_of_keras_2(warm, tmp_path, name):
    shutil.copytree(REPOSITORY / "tests/keras2" / name, tmp_path / name)
    process = warm("03_convert_model.py", name, cwd=tmp_path)
    assert ("frozen copy" in process.stdout) == (name == "legacy_adam")
    assert_converted(process, tmp_path / name)
    known = np.load(REPOSITORY / "tests/keras2/expected.npz")
    interpreter = Interpreter(str(tmp_path / f"{name}.tflite"))
    label = interpreter.get_signature_list()["serving_default"]["inputs"][0]
    output = next(iter(litert(tmp_path / f"{name}.tflite", **{label: known["x"]}).values()))
    np.testing.assert_allclose(output, known[name], atol=1e-6)


def test_text_is_refused_with_ops_and_layer(warm, tmp_path):
    vectorize = layers.TextVectorization(output_sequence_length=4, name="words")
    vectorize.adapt(["a b c", "d e"])
    text = keras.Input((1,), dtype="string")
    keras.Model(text, layers.Embedding(9, 2)(vectorize(text))).save(tmp_path / "text.keras")
    process = warm("03_convert_model.py", "text.keras", cwd=tmp_path)
    assert_clear_error(process, "text.keras", "StringLower", "layer words", "out of the model")
    assert not list(tmp_path.glob("*.tflite"))


def test_signatures(warm, tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([4, 2], tf.float32, name="x")])
        def double(self, x):
            return {"y": 2 * x}

    module = Module()
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    both = {"one": module.double, "two": module.double}
    tf.saved_model.save(module, str(tmp_path / "both"), signatures=both)
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"one": module.double})

    process = warm("03_convert_model.py", "none", cwd=tmp_path)
    assert_clear_error(process, "none has no signature 'serving_default'")
    process = warm("03_convert_model.py", "both", cwd=tmp_path)
    assert_clear_error(process, "both has no signature 'serving_default'", "['one', 'two']")
    np.save(tmp_path / "one.samples.npy", RNG.random((10, 2)))
    process = warm("03_convert_model.py", "one", cwd=tmp_path)
    assert "signature one\n2 runs on one.samples.npy" in process.stdout  # 4 samples a run
    assert (tmp_path / "one.tflite").exists()


def test_nan_is_named(warm, pipeline, tmp_path):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    samples = np.load(directory / "my_model.samples.npy")
    samples[3] = np.nan
    np.save(directory / "my_model.samples.npy", samples)
    assert_clear_error(warm("03_convert_model.py", cwd=tmp_path), "keras_tensor holds NaN")
    np.save(tmp_path / "x.npy", samples[:5])
    process = warm("04_deploy_tflite.py", "--input", "x.npy", cwd=tmp_path)
    assert "output output_0: [5, 1] holds NaN or infinity" in process.stdout

    model = keras.models.load_model(directory / "my_model.keras")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "broken.keras")
    process = warm("03_convert_model.py", "broken.keras", cwd=tmp_path)
    assert_clear_error(process, "output output_0 of broken.keras is NaN or infinite")
    process = warm("02_load_model.py", "broken.keras", cwd=tmp_path)
    assert process.stdout.count("holds NaN or infinity") == 4


def test_a_damaged_saved_model_is_named(pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    graph = tmp_path / "saved_model/my_model/saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    assert_clear_error(run("03_convert_model.py", cwd=tmp_path), "my_model cannot be loaded")
    assert_clear_error(run("convert-tflite.sh", cwd=tmp_path), "my_model was not converted")
