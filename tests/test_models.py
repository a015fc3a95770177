"""Models of all common kinds: `convert` converts and compares each, or refuses it."""

import re
import shutil
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import zoo
from conftest import (
    REPOSITORY,
    WrongConverter,
    assert_clear_error,
    assert_converted,
    converted,
    give_up_write_to_everything,
    record_of,
    run,
    run_tflite,
    save_function,
    table,
    tensors,
    unpacked,
)
from tensorflow import keras
from tensorflow.keras import layers

from litecheck import samples
from litecheck.models import load as load_model

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_keras_archives(warm, models, name):
    process = warm("convert", models / f"{name}.keras", cwd=models)
    assert_converted(process, models / f"{name}.keras")
    assert "compared with the Keras model in inference mode\non 8 random samples" in process.stdout
    recurrent = (
        "recurrent: the batch size is fixed to 1, and other sizes stay as they are"
        in process.stdout
    )
    assert recurrent == (name in zoo.RECURRENT)
    assert ("trained with mixed_float16: computed in float32" in process.stdout) == (
        name == "mixed_float16"
    )

    model = keras.models.load_model(models / f"{name}.keras")
    if name == "mixed_float16":  # in float32, rebuilt from the archive's configuration
        reference = keras.models.clone_model(model, clone_function=in_float32)
        reference.set_weights(model.get_weights())
        model = reference
    path = models / f"{name}.tflite"
    for size in [3, 7, 20] if name in zoo.RECURRENT else [9]:  # the variable sizes
        arrays = {}
        for label, tensor in tensors(path)[0].items():
            shape = [known if known > 0 else size for known in tensor["shape_signature"]]
            arrays[label] = (40 * RNG.random(shape)).astype(tensor["dtype"])
        given = list(arrays.values())[0]
        if name == "two_inputs":
            given = arrays
        if name == "odd_names":
            given = [arrays["b_in"], arrays["a_in"]]
        expected = model.predict(given, verbose=0)
        outputs = run_tflite(path, **arrays)
        if name == "two_inputs":
            expected = {"a_inner": expected["a"]["inner"], "z": expected["z"]}
        elif name == "odd_names":
            expected = dict(zip(["output_0", "output_1"], expected, strict=True))
        else:
            expected = {"output_0": expected}
        assert outputs.keys() == expected.keys()
        for label, values in expected.items():
            np.testing.assert_allclose(outputs[label], values, rtol=1e-4, atol=1e-5)


def in_float32(layer):
    """Return a copy of a layer that computes in float32."""
    config = layer.get_config()
    return layer.__class__.from_config(config | {"dtype": "float32"})


def test_samples_give_the_time_axis(warm, models, tmp_path):
    shutil.copy(models / "lstm.keras", tmp_path)
    samples = RNG.normal(size=(20, 7, 3)).astype("float32")
    np.save(tmp_path / "lstm.samples.npy", samples)
    process = warm("convert", "lstm.keras", "--loops", cwd=tmp_path)
    assert "on 20 of 20 samples of lstm.samples.npy\ncalibrated on 20 of" in process.stdout
    assert "full integer   not written: the converter crashes on loops" in process.stdout
    assert_converted(process, tmp_path / "lstm.keras")
    (tensor,) = tensors(tmp_path / "lstm.tflite")[0].values()
    assert tensor["shape_signature"].tolist() == [1, -1, 3]
    model = keras.models.load_model(tmp_path / "lstm.keras")
    (output,) = run_tflite(tmp_path / "lstm.tflite", samples[:1]).values()
    np.testing.assert_allclose(output, model.predict(samples[:1], verbose=0), atol=1e-6)


def test_unrolled_layers_become_full_integer(warm, tmp_path):
    steps = keras.Input((5, 3))
    keras.Model(steps, layers.LSTM(4, unroll=True)(steps)).save(tmp_path / "lstm.keras")
    np.save(tmp_path / "lstm.samples.npy", RNG.normal(size=(20, 5, 3)))
    process = warm("convert", "lstm.keras", cwd=tmp_path)
    variants = ["float32", "float16", "dynamic range", "full integer"]
    assert_converted(process, tmp_path / "lstm.keras", variants)


def test_recurrent_saved_model(warm, models, tmp_path):
    model = keras.models.load_model(models / "gru.keras")
    model.export(tmp_path / "gru", verbose=False)
    process = warm("convert", "gru/", cwd=tmp_path)
    assert_clear_error(process, "gru is recurrent", "model.save('gru.keras')", "gru.keras")
    assert not list(tmp_path.glob("*.tflite"))

    shutil.copy(models / "gru.keras", tmp_path)
    process = warm("convert", "gru", cwd=tmp_path)
    assert "converting gru.keras in its place" in process.stdout
    assert_converted(process, tmp_path / "gru")


def without_keras_2():
    """A `prepare` of `Warm`: hides `tf_keras`, which TensorFlow uses if it is installed."""
    sys.modules["tf_keras"] = None


@pytest.mark.parametrize(
    ("name", "prepare"),
    [("adam", without_keras_2), ("legacy_adam", without_keras_2), ("legacy_adam", None)],
)
def test_saved_models_of_keras_2(warm, tmp_path, name, prepare):
    shutil.copytree(REPOSITORY / "tests/keras2" / name, tmp_path / name)
    process = warm("convert", name, cwd=tmp_path, prepare=prepare)
    assert ("frozen copy" in process.stdout) == (name == "legacy_adam" and prepare is not None)
    assert_converted(process, tmp_path / name)
    known = np.load(REPOSITORY / "tests/keras2/expected.npz")
    (output,) = run_tflite(tmp_path / f"{name}.tflite", known["x"]).values()
    np.testing.assert_allclose(output, known[name], atol=1e-6)


def test_text_is_refused_with_ops_and_layer(warm, tmp_path):
    vectorize = layers.TextVectorization(output_sequence_length=4, name="words")
    vectorize.adapt(["a b c", "d e"])
    text = keras.Input((1,), dtype="string")
    keras.Model(text, layers.Embedding(9, 2)(vectorize(text))).save(tmp_path / "text.keras")
    process = warm("convert", "text.keras", cwd=tmp_path)
    assert_clear_error(process, "text.keras", "StringLower", "layer words", "out of the model")
    assert not list(tmp_path.glob("*.tflite"))


def test_large_archives_are_converted_from_variables(warm, tmp_path):
    keras.utils.set_random_seed(1)
    wide = [layers.Dense(3600, activation="swish"), layers.Dense(3600), layers.Dense(2)]
    keras.Sequential([keras.Input((4,)), *wide]).save(tmp_path / "wide.keras")
    process = warm("convert", "wide.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "wide.keras")


def test_a_model_runs_again_after_it_was_released(models, tmp_path):
    path, x = str(models / "normalization.keras"), RNG.normal(size=(2, 3)).astype("float32")
    expected = keras.models.load_model(path).predict(x, verbose=0)
    model = load_model(path, str(tmp_path / "again"))
    (name,) = model.source.inputs
    given = samples.Samples(None, 2, [{name: row[None]} for row in x], [[0], [1]])
    for _ in range(2):
        values = [outputs["output_0"][0] for outputs in model.reference.outputs(given)]
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        model.reference.release()


def multiply(batch):
    """Return a `tf.Module` whose functions double and triple a float32 (batch, 2)."""
    spec = tf.TensorSpec([batch, 2], tf.float32, name="x")
    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec])
    module.triple = tf.function(lambda x: {"y": 3 * x}, input_signature=[spec])
    return module


def test_signatures(warm, tmp_path):
    module = multiply(4)
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    both = {"one": module.double, "two": module.triple}
    tf.saved_model.save(module, str(tmp_path / "both"), signatures=both)
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"one": module.double})

    process = warm("convert", "none", cwd=tmp_path)
    assert_clear_error(process, "none has no signatures: save it with model.export")
    process = warm("convert", "both", cwd=tmp_path)
    assert_clear_error(process, "both has no signature 'serving_default', only one, two")
    np.save(tmp_path / "one.samples.npy", RNG.random((10, 2)))
    process = warm("convert", "one", cwd=tmp_path)
    assert "on 8 of 10 samples of one.samples.npy" in process.stdout  # 4 samples in each run
    assert (tmp_path / "one.tflite").exists()


def test_nan_is_named(warm, pipeline, tmp_path):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    samples = np.load(directory / "my_model.samples.npy")
    samples[3] = np.nan
    np.save(directory / "my_model.samples.npy", samples)
    process = warm("convert", "saved_model/my_model", cwd=tmp_path)
    assert_clear_error(process, "my_model.samples.npy does not fit", "x holds NaN or infinity")
    np.save(tmp_path / "x.npy", samples[:5])
    process = warm("run", directory / "my_model.tflite", "--input", "x.npy", cwd=tmp_path)
    assert "output output_0: [5, 1] holds NaN or infinity" in process.stdout

    model = keras.models.load_model(directory / "my_model.keras")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "broken.keras")
    process = warm("convert", "broken.keras", cwd=tmp_path)
    assert_clear_error(
        process,
        "output output_0 of broken.keras is NaN for sample 0 of random inputs\nGive samples",
    )
    process = warm("look", "broken.keras", cwd=tmp_path)
    assert process.stdout.count("holds NaN or infinity") == 4


@pytest.mark.parametrize("most", [-1.5, 0.9])  # random inputs give NaN in the first or another run
def test_random_inputs_that_a_model_does_not_take(warm, tmp_path, most):
    x = keras.Input([3])
    keras.Model(x, keras.ops.log(most - x)).save(tmp_path / "log.keras")
    process = warm("convert", "log.keras", cwd=tmp_path)
    way = r"NaN for sample \d of random inputs\nGive samples: --samples FILE, or log.samples.npy\n$"
    assert re.search(way, process.stderr)
    np.save(tmp_path / "x.npy", np.linspace(-4, -2, 30).reshape(10, 3))
    process = warm("convert", "log.keras", "--samples", "x.npy", cwd=tmp_path)
    assert process.returncode == 0, process.stderr


def test_a_damaged_saved_model_is_named(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    graph = tmp_path / "saved_model/my_model/saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    for command in [["convert", "saved_model/my_model"], ["03_convert_model.py"]]:
        assert_clear_error(warm(*command, cwd=tmp_path), "my_model cannot be loaded")
    assert_clear_error(run("convert-tflite.sh", cwd=tmp_path), "my_model was not converted")


def shapes(path):
    """Return the shape signatures of a file's inputs and outputs."""
    return [end["shape_signature"].tolist() for side in tensors(path) for end in side.values()]


@pytest.mark.parametrize(("name", "batch"), [("mobilenet", 1), ("two_inputs", 3), ("gru", 2)])
def test_a_fixed_batch_of_archives(warm, models, tmp_path, name, batch):
    shutil.copy(models / f"{name}.keras", tmp_path)
    process = warm("convert", f"{name}.keras", "--batch", batch, cwd=tmp_path)
    assert_converted(process, tmp_path / f"{name}.keras")
    for suffix in ["", ".quant", ".dynamic"]:
        found = shapes(tmp_path / f"{name}{suffix}.tflite")
        assert all(shape[0] == batch and -1 not in shape for shape in found)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_of_saved_models(warm, pipeline, tmp_path, batch):
    directory = tmp_path / "saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    process = warm("convert", "saved_model/my_model", "--batch", batch, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "on 100 of 100 samples of saved_model/my_model.samples.npy" in process.stdout
    model = keras.models.load_model(directory / "my_model.keras")
    x = np.arange(1, batch + 1, dtype="float32").reshape(batch, 1)
    for suffix in ["", ".quant", ".dynamic", ".int8"]:
        assert shapes(directory / f"my_model{suffix}.tflite") == [[batch, 1], [batch, 1]]
    (output,) = run_tflite(directory / "my_model.tflite", x=x).values()
    np.testing.assert_allclose(output, model.predict(x, verbose=0), rtol=1e-6)


def test_a_batch_that_does_not_fit(warm, tmp_path):
    module = multiply(4)
    tf.saved_model.save(module, str(tmp_path / "four"), signatures=module.double)
    process = warm("convert", "four", "--batch", 2, cwd=tmp_path)
    assert_clear_error(process, "four takes 4 samples a run, not 2", "omit --batch")
    line = keras.Sequential([keras.Input([3]), layers.Dense(1)])
    line.save(tmp_path / "line.keras")
    np.save(tmp_path / "line.samples.npy", RNG.random((5, 3)))
    process = warm("convert", "line.keras", "--batch", 6, cwd=tmp_path)
    assert_clear_error(
        process, "too few samples for one run: give more samples, or a smaller batch"
    )
    assert warm("convert", "line.keras", "--batch", 5, cwd=tmp_path).returncode == 0
    process = warm("convert", "four", "--batch", 0, cwd=tmp_path)
    assert_clear_error(process, "0 is not a whole number of 1 or more: give one such as 1")


def test_augmentation_that_was_exported_switched_on(warm, models, tmp_path):
    model = keras.models.load_model(models / "augmentation.keras")
    model.export(tmp_path / "augmentation", verbose=False)
    process = warm("convert", "augmentation", cwd=tmp_path)
    assert_clear_error(
        process,
        "random layers (augmentation) are switched on",
        "give the archive: python -m litecheck convert augmentation.keras",
    )
    assert not list(tmp_path.glob("*.tflite"))


def test_a_saved_model_in_float16(warm, models, tmp_path):
    model = keras.models.load_model(models / "mixed_float16.keras")
    model.export(tmp_path / "mixed", verbose=False)
    process = warm("convert", "mixed/", cwd=tmp_path)
    assert_clear_error(process, "(mixed_float16)", "python -m litecheck convert mixed.keras")


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_hdf5_of_keras_3(warm, models, tmp_path, suffix):
    model = keras.models.load_model(models / "normalization.keras")
    path = tmp_path / f"net.{suffix}"
    model.save(path)
    assert_converted(warm("convert", path.name, cwd=tmp_path), path)
    x = RNG.normal(size=(1, 3)).astype("float32")
    (output,) = run_tflite(tmp_path / "net.tflite", x).values()
    np.testing.assert_allclose(output, model.predict(x, verbose=0), rtol=1e-5)
    process = warm("look", path.name, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "net.png" in process.stdout


def test_hdf5_of_keras_2(warm, tmp_path):
    for name in ["convolution.h5", "time_major.h5"]:
        shutil.copy(REPOSITORY / "tests/keras2" / name, tmp_path)
    known = np.load(REPOSITORY / "tests/keras2/expected_h5.npz")
    np.save(tmp_path / "convolution.samples.npy", known["x"])
    process = warm("convert", "convolution.h5", cwd=tmp_path)
    variants = ["float32", "float16", "dynamic range", "full integer"]
    assert_converted(process, tmp_path / "convolution.h5", variants)
    assert process.stderr == ""
    output = run_tflite(tmp_path / "convolution.tflite", known["x"])["output_0"]
    np.testing.assert_allclose(output, known["convolution"], rtol=1e-4, atol=1e-6)
    process = warm("look", "convolution.h5", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    process = warm("convert", "time_major.h5", cwd=tmp_path)
    assert table(process.stdout)["float32"]["verdict"] == "verified", process.stderr


def test_a_choice_of_signatures(warm, tmp_path):
    module = multiply(None)
    both = {"one": module.double, "two": module.triple}
    tf.saved_model.save(module, str(tmp_path / "both"), signatures=both)
    x = np.float32([[1, 2]])
    for arguments in [[], ["--batch", "1"]]:
        process = warm("convert", "both", "--signature", "two", *arguments, cwd=tmp_path)
        assert "compared with the SavedModel's signature two" in process.stdout, process.stderr
        np.testing.assert_allclose(run_tflite(tmp_path / "both.tflite", x=x)["y"], 3 * x)
    process = warm("convert", "both", "--signature", "three", cwd=tmp_path)
    assert_clear_error(process, "no signature 'three', only one, two", "--signature one")
    process = warm("convert", "both", cwd=tmp_path)
    assert_clear_error(process, "only one, two", "python -m litecheck convert both --signature one")


def test_an_archive_has_no_signatures(warm, models):
    archive = models / "lstm.keras"
    process = warm("convert", archive, "--signature", "a", cwd=models)
    assert_clear_error(process, "an archive, which has no signatures: omit --signature")


def test_another_place_for_the_results(pipeline, tmp_path):
    """The model is in a directory that cannot be written."""
    directory = tmp_path / "models/saved_model"
    shutil.copytree(pipeline[0] / "saved_model", directory)
    for path in directory.glob("my_model.*t*"):
        path.unlink()
    before = sorted(directory.rglob("*"))
    (tmp_path / "here").mkdir()
    for path in [directory, directory / "my_model", directory.parent]:
        path.chmod(0o555)
    process = run(
        "convert",
        "../models/saved_model/my_model",
        "--output",
        "out/net",
        cwd=tmp_path / "here",
        prepare=give_up_write_to_everything,
    )
    for path in [directory, directory / "my_model", directory.parent]:
        path.chmod(0o755)
    assert process.returncode == 0, process.stderr
    assert sorted(directory.rglob("*")) == before
    made = {path.name for path in (tmp_path / "here/out").iterdir()}
    suffixes = ["tflite", "quant.tflite", "dynamic.tflite", "int8.tflite", "check.json"]
    suffixes.append("variants.png")
    assert made == {f"net.{suffix}" for suffix in suffixes}
    process = run("run", "out/net.tflite", cwd=tmp_path / "here")
    assert "has changed" not in process.stdout
    fingerprint = directory / "my_model/fingerprint.pb"
    fingerprint.write_bytes(fingerprint.read_bytes() + b" ")
    process = run("run", "out/net.tflite", cwd=tmp_path / "here")
    model = "../models/saved_model/my_model"
    again = f"convert the model again: python -m litecheck convert {model}"
    assert f"{model} has changed: {again}" in process.stdout


@pytest.mark.parametrize(
    ("where", "path"), [("net", "."), ("net/assets", ".."), ("net", "./"), (".", "net/")]
)
def test_directories_that_are_named_by_dots(warm, pipeline, tmp_path, where, path):
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "net")
    before = sorted(path for path in (tmp_path / "net").rglob("*"))
    process = warm("convert", path, cwd=tmp_path / where)
    assert process.returncode == 0, process.stderr
    assert sorted(path for path in (tmp_path / "net").rglob("*")) == before
    made = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert made == {
        "net.tflite",
        "net.quant.tflite",
        "net.dynamic.tflite",
        "net.check.json",
        "net.variants.png",
    }


def test_variable_sizes_that_litert_gets_wrong(warm, tmp_path):
    steps = keras.Input((None, 5))
    layer = layers.TimeDistributed(layers.Dense(4))
    keras.Model(steps, layer(steps)).save(tmp_path / "net.keras")
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_clear_error(process, "net.tflite was not written", "gets some variable sizes wrong")


def test_sixteen_bits_where_eight_lose_much(warm, tmp_path):
    model = zoo.difference()
    model.save(tmp_path / "net.keras")
    x = zoo.nearly_equal(RNG, 100)
    np.save(tmp_path / "net.samples.npy", x)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert "find which operations lose it and try 16 bits, give a test set" in process.stdout
    assert "16-bit int" not in process.stdout
    np.savez(tmp_path / "net.test.npz", inputs=x, labels=x[:, 0] - x[:, 1] + 0.01)
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(r"largest error [\d.,]+% of a number's range, above 5%", process.stdout)
    assert table(process.stdout)["16-bit int"]["dtypes"] == "int16"
    assert table(process.stdout)["16-bit int"]["of_range"] < 0.005
    np.save(tmp_path / "x.npy", x[:1])
    process = warm("run", "net.int16.tflite", "--input", "x.npy", cwd=tmp_path)
    assert "stored as int16" in process.stdout, process.stderr
    output = float(re.search(r"output output_0: \[\[(.*)\]\]", process.stdout)[1])
    assert output == pytest.approx(model.predict(x[:1], verbose=0).item(), abs=0.1)

    small = x / np.float32([1000, -1000])  # a sum, which 8 bits represent well
    np.save(tmp_path / "net.samples.npy", small)
    labels = small[:, 0] - small[:, 1] + 1
    np.savez(tmp_path / "net.test.npz", inputs=small, labels=labels)
    (tmp_path / "net.int16.tflite").unlink()
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert "full integer " in process.stdout
    assert "16-bit int" not in process.stdout
    assert not (tmp_path / "net.int16.tflite").exists()


def test_samples_that_the_model_rejects(warm, models, tmp_path):
    shutil.copy(models / "embedding.keras", tmp_path / "my net.keras")
    words = RNG.integers(0, 50, (60, 8))
    words[41, 3] = 50
    np.save(tmp_path / "my net.samples.npy", words)
    process = warm("convert", "my net.keras", cwd=tmp_path)
    reason = "indices[0,3] = 50 is not in [0, 50)"
    assert_clear_error(process, "fails on sample 41 of my net.samples.npy:", reason)
    assert "\x1b" not in process.stderr


def test_sizes_too_small_for_the_layers(warm, tmp_path):
    image = x = keras.Input((None, None, 3))
    for _ in range(4):
        x = layers.MaxPooling2D(2)(layers.Conv2D(2, 3)(x))
    keras.Model(image, layers.GlobalAveragePooling2D()(x)).save(tmp_path / "net.keras")
    process = warm("convert", "net.keras", cwd=tmp_path)
    way = "Variable sizes were set to 32. Give samples: --samples FILE, or net.samples.npy"
    assert_clear_error(process, "net.tflite was not written", way)
    np.save(tmp_path / "net.samples.npy", RNG.random((9, 80, 80, 3)))
    assert warm("convert", "net.keras", cwd=tmp_path).returncode == 0


def test_an_input_of_any_rank(warm, tmp_path):
    save_function(tmp_path / "any", lambda x: 2 * x, tf.TensorSpec(None, name="x"))
    process = warm("convert", "any", cwd=tmp_path)
    assert_clear_error(process, "input x of any has no fixed number of axes", "such as [None, 3]")


def test_an_output_of_text(warm, tmp_path):
    names, spec = ["a", "bb", "ccc"], tf.TensorSpec([None], tf.int32, name="x")
    save_function(tmp_path / "text", lambda x: {"y": tf.gather(tf.constant(names), x)}, spec)
    assert_converted(warm("convert", "text", cwd=tmp_path), tmp_path / "text")
    (output,) = unpacked(record_of(tmp_path / "text.check.json")["runs"][0]["outputs"])["y"]
    assert output.decode() in names


def test_names_in_other_letters(warm, tmp_path):
    left, right = keras.Input((3,), name="입력"), keras.Input((3,), name="둘째")
    model = keras.Model([left, right], layers.Dense(2)(left + 2 * right))
    model.save(tmp_path / "모델.keras")
    process = warm("convert", "모델.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "모델.keras")
    x, y = RNG.random((2, 1, 3), "float32")
    outputs = run_tflite(tmp_path / "모델.tflite", input_0=x, input_1=y)
    np.testing.assert_allclose(outputs["output_0"], model.predict([x, y], verbose=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["my model", "모델"])
def test_models_with_names_that_tensorflow_does_not_take(warm, tmp_path, name):
    x = keras.Input((3,))
    keras.Model(x, layers.Dense(2)(x), name=name).save(tmp_path / "net.keras")
    assert_converted(warm("convert", "net.keras", cwd=tmp_path), tmp_path / "net.keras")
    keras.Model(x, layers.Dense(2, name="층")(x)).save(tmp_path / "net.keras")
    process = warm("convert", "net.keras", cwd=tmp_path)
    assert_clear_error(process, "Names of models and layers may hold letters, digits and _ only")


def test_a_file_that_is_wrong_for_several_samples_at_once(warm, tmp_path):
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    save_function(tmp_path / "net", lambda x: {"y": 2 * x}, spec)
    wrong = converted(lambda x: {"y": 2 * x * tf.cast(tf.shape(x)[:1], tf.float32)}, spec)
    (tmp_path / "wrong.tflite").write_bytes(wrong)
    prepare = WrongConverter(tmp_path / "wrong.tflite")
    for count in (None, 20):
        if count:
            np.save(tmp_path / "net.samples.npy", RNG.random((count, 3)))
        process = warm("convert", "net", cwd=tmp_path, prepare=prepare)
        assert_clear_error(process, "net.tflite was not written: output y, sample")


def test_an_identity_can_be_quantized(warm, tmp_path):
    save_function(tmp_path / "same", lambda x: {"y": x}, tf.TensorSpec([None, 3], name="x"))
    np.save(tmp_path / "same.samples.npy", RNG.random((20, 3)))
    process = warm("convert", "same", cwd=tmp_path)
    assert "full integer" in table(process.stdout), process.stdout


def test_an_own_model_where_the_lessons_was(warm, tmp_path):
    (tmp_path / "saved_model").mkdir()
    left, right = keras.Input((3,)), keras.Input((2,))
    model = keras.Model([left, right], layers.Dense(2)(layers.Concatenate()([left, right])))
    model.save(tmp_path / "saved_model/my_model.keras")
    model.export(tmp_path / "saved_model/my_model", verbose=False)
    for command, suffix in [("look", ".keras"), ("look", ""), ("convert", ""), ("run", ".tflite")]:
        process = warm(command, f"saved_model/my_model{suffix}", cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
        assert "100x" not in process.stdout
    picture = tf.io.decode_png((tmp_path / "saved_model/my_model.variants.png").read_bytes())
    assert picture.shape[1] > 2.5 * picture.shape[0]  # panels of bars, not the lesson's plot


def test_a_recurrent_saved_model_keeps_its_names_and_its_outputs(warm, models, tmp_path):
    model = keras.models.load_model(models / "lstm.keras")
    clone = keras.models.clone_model(model)  # its input has another name
    clone.set_weights(model.get_weights())
    clone.export(tmp_path / "lstm", verbose=False)
    serving = tf.saved_model.load(str(tmp_path / "lstm")).signatures["serving_default"]
    (name,) = serving.structured_input_signature[1]
    key = ["--signature", "serving_default"]
    shutil.copy(models / "lstm.keras", tmp_path)
    process = warm("convert", "lstm", *key, cwd=tmp_path)
    assert_clear_error(process, "lstm is recurrent and was saved with a batch size that varies")
    process = warm("convert", "lstm", cwd=tmp_path)
    assert_converted(process, tmp_path / "lstm")
    assert "compared with the SavedModel's signature serving_default" in process.stdout
    x = RNG.random((1, 9, 3), "float32")
    output = run_tflite(tmp_path / "lstm.tflite", **{name: x})["output_0"]
    np.testing.assert_allclose(output, clone.predict(x, verbose=0), rtol=1e-4)

    model.set_weights([2 * weight for weight in model.get_weights()])
    model.save(tmp_path / "lstm.keras")  # from another training than the SavedModel
    process = warm("convert", "lstm", cwd=tmp_path)
    assert_clear_error(process, "was not written", "lstm.keras may be from another training")


def test_a_package_that_is_not_there(warm, tmp_path):
    x = keras.Input((3,))
    keras.Model(x, layers.Dense(2)(x)).save(tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = parts["config.json"].decode()
    dense = '"module": "keras.layers", "class_name": "Dense"'
    assert dense in config
    hub = '"module": "keras_hub.src.layers.reversible", "class_name": "Reversible"'
    parts["config.json"] = config.replace(dense, hub).encode()
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    for script in ["look", "convert"]:
        process = warm(script, "net.keras", cwd=tmp_path)
        assert_clear_error(process, "net.keras needs the package keras_hub: pip install keras_hub")
        assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize("output", [".", "./", "out/", "out/net"])
def test_directories_as_output(warm, models, tmp_path, output):
    shutil.copy(models / "normalization.keras", tmp_path / "net.keras")
    process = warm("convert", "net.keras", "--output", output, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / ("out" if "out" in output else ".") / "net.tflite").exists()
    assert not list(tmp_path.glob("**/..*"))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda x: Plain()(x), "Plain"),
        (lambda x: Registered()(x), "Registered"),
        (lambda x: layers.Dense(2, activation=square)(x), "square"),
        (lambda x: Nested(name="outer")(x), "Nested"),
    ],
)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_code_of_ones_own(warm, tmp_path, build, name, suffix):
    x = keras.Input((3,))
    keras.Model(x, build(x)).save(tmp_path / f"own.{suffix}")
    for stage in ["look", "convert"]:
        process = warm(stage, f"own.{suffix}", cwd=tmp_path)
        assert_clear_error(process, f"holds {name}, which is code of your own")
        assert (
            'call model.export("own"), and then: python -m litecheck convert own' in process.stderr
        )


def test_a_subclassed_model(warm, tmp_path):
    model = Subclassed()
    model(np.zeros((1, 3), "float32"))
    model.save(tmp_path / "own.keras")
    process = warm("convert", "own.keras", cwd=tmp_path)
    assert_clear_error(process, "holds Subclassed, which", 'model.export("own")')
    model.export(tmp_path / "own", verbose=False)  # the advice in the message
    assert_converted(warm("convert", "own", cwd=tmp_path), tmp_path / "own")


def square(x):
    return x * x


class Plain(layers.Layer):
    def call(self, x):
        return 2 * x


class Nested(Plain):
    pass


@keras.utils.register_keras_serializable("mine")
class Registered(Plain):
    pass


class Subclassed(keras.Model):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(("depth", "batch"), [(150, None), (150, 2), (20, None)])
def test_many_variables_are_made_constants_once(tmp_path, depth, batch):
    """Names, outputs and shapes stay. A SavedModel of few variables is converted unchanged."""
    first, second = keras.Input([3], name="zeta"), keras.Input([3], name="alpha")
    x = keras.layers.Subtract()([first, second])
    for _ in range(depth):
        x = keras.layers.Dense(3)(x)
    outputs = {"wide": keras.layers.Dense(2)(x), "narrow": keras.layers.Dense(1)(x)}
    path = str(tmp_path / "net")
    keras.Model({"zeta": first, "alpha": second}, outputs).export(path, verbose=False)

    source = load_model(path, str(tmp_path / "out"), sizes=batch).source
    assert (source.directory == path) == (depth == 20)
    loaded = [tf.saved_model.load(source.directory), tf.saved_model.load(path)]
    saved, original = (each.signatures["serving_default"] for each in loaded)
    assert len(saved.variables) == (0 if depth == 150 else len(original.variables))
    values = {name: tf.constant(RNG.normal(size=(2, 3)), tf.float32) for name in source.inputs}
    assert set(values) == {"zeta", "alpha"}
    outputs, expected = saved(**values), original(**values)
    assert set(outputs) == set(expected) == set(source.outputs) == {"wide", "narrow"}
    for name, output in outputs.items():
        np.testing.assert_allclose(output, expected[name], rtol=1e-5, atol=1e-12)
    assert all(spec.shape[0] == batch for spec in saved.structured_input_signature[1].values())


def test_variables_that_are_changed_or_asked_for_more_stay(tmp_path):
    """Such variables cannot be made constants."""
    module = tf.Module()
    module.many = [tf.Variable([1.0 + i / 999]) for i in range(300)]
    module.counter = tf.Variable(0.0)
    module.odd = tf.Variable(np.ones((2, 3), np.float32), shape=[None, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def counted(x):
        module.counter.assign_add(1.0)
        return {"y": x + tf.add_n(module.many)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def sized(x):
        return {"y": x + tf.add_n(module.many) + tf.reduce_sum(module.odd)}

    for name, function in [("counted", counted), ("sized", sized)]:
        path = str(tmp_path / name)
        tf.saved_model.save(module, path, signatures=function)
        source = load_model(path, str(tmp_path / "out")).source
        assert source.has_state == (name == "counted")
        if source.has_state:  # a copy that also has the initial state
            loaded = tf.saved_model.load(source.directory)
            assert len(loaded.signatures["serving_default"].variables) == 301
        else:
            assert source.directory == path
