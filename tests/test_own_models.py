"""Stages 2 to 4 on other models than the lesson's: each is converted and compared, or refused."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, assert_clear_error
from tensorflow import keras
from tensorflow.keras import layers

RNG = np.random.default_rng(7)


def two_inputs():
    """Return a model with a dict of inputs and nested outputs, in another order than by name."""
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    outputs = {"z": layers.Dense(2)(both), "a": {"inner": layers.Dense(3)(right)}}
    return keras.Model({"right": right, "left": left}, outputs)


def embedding():
    return keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            layers.Embedding(50, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )


def uint8_image():
    image = keras.Input((12, 12, 3), dtype="uint8")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def normalization():
    norm = layers.Normalization()
    norm.adapt(RNG.normal(5, 3, (50, 3)))
    return keras.Sequential([keras.Input((3,)), norm, layers.Dense(4, "relu"), layers.Dense(1)])


def attention():
    steps = keras.Input((None, 8))
    x = layers.LayerNormalization()(steps + layers.MultiHeadAttention(2, 4)(steps, steps))
    return keras.Model(steps, layers.Dense(1)(x))


def any_size_image():
    image = keras.Input((None, None, 3))
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(4, 3, padding="same")(image))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def lstm():
    return keras.Sequential([keras.Input((None, 3)), layers.LSTM(4), layers.Dense(1)])


def gru():
    return keras.Sequential(
        [keras.Input((6, 3)), layers.Bidirectional(layers.GRU(4, return_sequences=True))]
    )


def mobilenet():
    return keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=10)


MODELS = {
    function.__name__: function
    for function in [
        two_inputs,
        embedding,
        uint8_image,
        normalization,
        attention,
        any_size_image,
        lstm,
        gru,
        mobilenet,
    ]
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a directory with a Keras archive of each model."""
    directory = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(3)
    for name, build in MODELS.items():
        build().save(directory / f"{name}.keras")
    return directory


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


@pytest.mark.parametrize("name", MODELS)
def test_keras_archives(warm, models, name):
    process = warm("03_convert_model.py", models / f"{name}.keras", cwd=models)
    assert_converted(process, models / f"{name}.keras")
    assert "8 runs on random inputs" in process.stdout
    assert ("recurrent: exported again" in process.stdout) == (name in ("lstm", "gru"))

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
    assert tensor["shape"].tolist() == [1, 7, 3]
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


def test_named_samples_and_integer_inputs(warm, models, tmp_path):
    for name in ["two_inputs", "embedding"]:
        shutil.copy(models / f"{name}.keras", tmp_path)
    arrays = {"right": RNG.normal(size=(30, 3)), "left": RNG.normal(size=(30, 4))}
    np.savez(tmp_path / "two_inputs.samples.npz", **arrays)
    np.save(tmp_path / "words.npy", RNG.integers(0, 50, (30, 8)))
    variants = ["float32", "float16", "dynamic range", "full integer"]
    process = warm("03_convert_model.py", "two_inputs.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "two_inputs.keras", variants)
    process = warm("03_convert_model.py", "embedding.keras", "--samples", "words.npy", cwd=tmp_path)
    assert_converted(process, tmp_path / "embedding.keras", variants)
    words = Interpreter(str(tmp_path / "embedding.int8.tflite")).get_input_details()[0]
    assert words["dtype"] == np.int32


def test_recurrent_saved_model(warm, models, tmp_path):
    model = keras.models.load_model(models / "gru.keras")
    model.export(tmp_path / "gru", verbose=False)
    process = warm("03_convert_model.py", "gru/", cwd=tmp_path)
    assert_clear_error(process, "gru is recurrent", "model.save('gru.keras')", "gru.keras")
    assert not list(tmp_path.glob("*.tflite"))

    shutil.copy(models / "gru.keras", tmp_path)
    process = warm("03_convert_model.py", "gru", cwd=tmp_path)
    assert "exported again from gru.keras" in process.stdout
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


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (np.ones((5, 4), "float32"), "(None, 3)"),
        (np.ones((5, 3), "complex64"), "complex64"),
        (np.array([["a", "b", "c"]]), "dtype('<U1')"),
        (np.ones((0, 3), "float32"), "too few samples"),
        (np.float32(1), "float32 (None, 3)"),
        (np.array([{}], dtype=object), "allow_pickle=False"),
        ({"other": np.ones((5, 3))}, "is not a file"),
    ],
)
def test_samples_that_do_not_fit(warm, models, tmp_path, content, phrase):
    path = tmp_path / ("samples.npz" if isinstance(content, dict) else "samples.npy")
    np.savez(path, **content) if isinstance(content, dict) else np.save(path, content)
    shutil.copy(models / "normalization.keras", tmp_path)
    process = warm("03_convert_model.py", "normalization.keras", "--samples", path, cwd=tmp_path)
    assert_clear_error(process, str(path), phrase)
    assert not list(tmp_path.glob("*.tflite"))


def test_samples_of_different_numbers_or_missing(warm, models, tmp_path):
    shutil.copy(models / "two_inputs.keras", tmp_path)
    np.savez(tmp_path / "s.npz", left=np.ones((5, 4)), right=np.ones((6, 3)))
    process = warm("03_convert_model.py", "two_inputs.keras", "--samples", "s.npz", cwd=tmp_path)
    assert_clear_error(process, "s.npz", "same number of samples")
    process = warm("03_convert_model.py", "two_inputs.keras", "--samples", "t.npz", cwd=tmp_path)
    assert_clear_error(process, "t.npz")


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


# Stage 4, on files of all kinds


def converted(function, *specs, **settings):
    """Return a `.tflite` file's content for a function of tensors, or a `tf.Module` with one."""
    module = function if isinstance(function, tf.Module) else tf.Module()
    if not isinstance(function, tf.Module):
        module.f = tf.function(function)
    concrete = module.f.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    for name, value in settings.items():
        if name == "supported_ops":
            converter.target_spec.supported_ops = value
        else:
            setattr(converter, name, value)
    return converter.convert()


class Counter(tf.Module):
    """Adds up its inputs in a variable, as a streaming model keeps its state."""

    def __init__(self):
        """Start at zero."""
        self.sum = tf.Variable([0.0])

    @tf.function
    def f(self, x):
        """Add `x`, float32 (1,), and return the sum so far."""
        self.sum.assign_add(x)
        return self.sum.read_value()


def deploy(warm, directory, content, *arguments):
    """Run stage 4 on the content of a file; return the process."""
    (directory / "model.tflite").write_bytes(content)
    return warm("04_deploy_tflite.py", "model.tflite", *arguments, cwd=directory)


def test_deploy_bool_and_integers(warm, tmp_path):
    spec = tf.TensorSpec([2], tf.bool)
    process = deploy(warm, tmp_path, converted(lambda a, b: a & b, spec, spec))
    assert "output output_0: bool [2]" in process.stdout, process.stderr
    gather = converted(
        lambda i: tf.gather(tf.constant([10, 11, 12], tf.int64), i), tf.TensorSpec([3], tf.int64)
    )
    np.save(tmp_path / "i.npy", np.array([2, 0, 1]))
    process = deploy(warm, tmp_path, gather, "--input", "i.npy")
    assert "output output_0: [12 10 11]" in process.stdout, process.stderr
    np.save(tmp_path / "i.npy", np.array([0.5, 0, 1]))
    process = deploy(warm, tmp_path, gather, "--input", "i.npy")
    assert_clear_error(process, "model.tflite with i.npy", "float64", "int64")
    np.save(tmp_path / "i.npy", np.array([99, 0, 1]))
    assert_clear_error(deploy(warm, tmp_path, gather, "--input", "i.npy"), "out of bounds")


@pytest.mark.parametrize(
    ("dtype", "ops"),
    [
        ("int8", "TFLITE_BUILTINS_INT8"),
        ("uint8", "TFLITE_BUILTINS_INT8"),
        ("int16", "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"),
    ],
)
def test_deploy_quantized(warm, tmp_path, dtype, ops):
    content = converted(
        lambda x: tf.nn.relu(x) * 3.0,
        tf.TensorSpec([1, 4], tf.float32),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([x] for x in np.float32([[[0, 1, 2, 4]]])),
        supported_ops=[getattr(tf.lite.OpsSet, ops)],
        inference_input_type=tf.as_dtype(dtype),
        inference_output_type=tf.as_dtype(dtype),
    )
    np.save(tmp_path / "x.npy", np.array([[0, 1, 2, 3.0]]))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    values = re.search(r"output output_0: \[\[(.*)\]\]", process.stdout)[1].split()
    np.testing.assert_allclose(np.array(values, float), [0, 3, 6, 9], atol=0.1)
    assert f"stored as {dtype} [[" in process.stdout


def test_deploy_streams_and_large_outputs(warm, tmp_path):
    content = converted(
        Counter(), tf.TensorSpec([1], tf.float32), experimental_enable_resource_variables=True
    )
    np.save(tmp_path / "x.npy", np.float32([[1], [2], [3]]))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert re.findall(r"output \S+: \[(.*)\.\]", process.stdout) == ["1", "3", "6"]
    content = converted(lambda a: a * tf.ones([1000, 1000]), tf.TensorSpec([], tf.float32))
    np.save(tmp_path / "x.npy", np.float32(2.5))
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    assert "[1000, 1000] min 2.5 mean 2.5 max 2.5 first 2.5 2.5 2.5" in process.stdout


def test_deploy_sizes_that_vary(warm, tmp_path):
    content = converted(
        lambda image: tf.nn.conv2d(image, tf.ones([3, 3, 1, 1]), 1, "VALID"),
        tf.TensorSpec([1, None, None, 1], tf.float32),
    )
    assert_clear_error(deploy(warm, tmp_path, content), "too small", "give --input FILE")
    np.save(tmp_path / "image.npy", np.ones((2, 5, 4, 1), "float32"))
    process = deploy(warm, tmp_path, content, "--input", "image.npy")
    assert process.stdout.count("output output_0: [[[[9.] [9.]] [[9.] [9.]] [[9.] [9.]]]]") == 2


def test_deploy_by_names(warm, tmp_path):
    spec = tf.TensorSpec([1], tf.float32)
    content = converted(lambda minuend, subtrahend: minuend - subtrahend, spec, spec)
    np.savez(tmp_path / "x.npz", subtrahend=np.float32([1, 2]), minuend=np.float32([10, 20]))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert re.findall(r"output \S+: \[(.*)\.\]", process.stdout) == ["9", "18"], process.stderr
    np.savez(tmp_path / "x.npz", a=np.float32([1, 2]), minuend=np.float32([10, 20]))
    process = deploy(warm, tmp_path, content, "--input", "x.npz")
    assert_clear_error(process, "x.npz", "an array named 'subtrahend'")
    np.savez(tmp_path / "x.npz", subtrahend=np.float32([1, 2, 3]), minuend=np.float32([10, 20]))
    assert_clear_error(deploy(warm, tmp_path, content, "--input", "x.npz"), "numbers of samples")
    np.save(tmp_path / "x.npy", np.float32([1, 2]))
    assert_clear_error(deploy(warm, tmp_path, content, "--input", "x.npy"), "must be a .npz file")


def test_deploy_without_signature(warm, tmp_path):
    saved_model = str(REPOSITORY / "tests/keras2/adam")
    content = tf.compat.v1.lite.TFLiteConverter.from_saved_model(saved_model).convert()
    known = np.load(REPOSITORY / "tests/keras2/expected.npz")
    np.save(tmp_path / "x.npy", known["x"][:1])
    process = deploy(warm, tmp_path, content, "--input", "x.npy")
    value = float(re.search(r"output \S+: \[\[(.*)\]\]", process.stdout)[1])
    assert value == pytest.approx(known["adam"].ravel()[0], abs=1e-6)


def test_deploy_strings_and_flex_ops(warm, tmp_path):
    spec = tf.TensorSpec([2], tf.string)
    content = converted(lambda words: words == "yes", spec)
    assert_clear_error(deploy(warm, tmp_path, content), "words takes bytes: give --input FILE")
    np.save(tmp_path / "words.npy", np.array(["yes", "no"]))
    process = deploy(warm, tmp_path, content, "--input", "words.npy")
    assert "output output_0: [ True False]" in process.stdout, process.stderr
    flex = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    content = converted(lambda words: tf.strings.lower(words), spec, supported_ops=flex)
    process = deploy(warm, tmp_path, content, "--input", "words.npy")
    assert_clear_error(process, "Select TensorFlow op", "FlexStringLower")
