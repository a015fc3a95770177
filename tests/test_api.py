"""`import litecheck` and `python -m litecheck`: Python and the command line do the same."""

import importlib.util
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    COMMANDS,
    REPOSITORY,
    SUFFIXES,
    WrongConverter,
    assert_clear_error,
    converted,
    record_of,
    run,
    run_tflite,
    table,
)
from tensorflow import keras
from tensorflow.keras import layers

import litecheck

RNG = np.random.default_rng(9)
X = RNG.normal(size=(300, 6)).astype("float32")
LABELS = (X @ RNG.normal(size=(6, 4))).argmax(axis=-1)
HEAVY = ["tensorflow", "keras", "ai_edge_litert", "numpy", "matplotlib", "graphviz", "PIL"]
VARIANTS = list(SUFFIXES)[:4]


def loaded_by(code, *packages):
    """Return the packages that a new interpreter has loaded after running some code."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [name for name in packages if name in process.stdout.split()]


def test_the_import_is_light():
    assert loaded_by("import litecheck; litecheck.run, litecheck.convert", *HEAVY) == []
    assert loaded_by("import litecheck; litecheck.Check", *HEAVY[:2]) == HEAVY[:2]


def test_a_device_loads_no_tensorflow(pipeline):
    path = str(pipeline[0] / "saved_model/my_model.tflite")
    code = f"import litecheck\nassert litecheck.run({path!r}, [[1.0]])['output_0'].shape == (1, 1)"
    assert loaded_by(code, *HEAVY) == ["ai_edge_litert", "numpy"]


def test_public_names_are_no_modules():
    """A module `convert` would replace the function once it is imported."""
    assert sorted(litecheck.__all__) == ["Check", "Failure", "convert", "run"]
    for name in litecheck.__all__:
        assert not importlib.util.find_spec(f"litecheck.{name}")
        assert not importlib.util.find_spec(f"litecheck.{name.lower()}")
        assert callable(getattr(litecheck, name))
    with pytest.raises(AttributeError, match="'litecheck' has no attribute 'proof'"):
        litecheck.proof  # noqa: B018


def classifier():
    """Return a small model, the same at each call."""
    keras.utils.set_random_seed(4)
    dense = [layers.Dense(64, "relu"), layers.Dense(4, "softmax")]
    model = keras.Sequential([keras.Input((6,), name="x"), *dense], name="digits")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    """Return `classifier`, trained once."""
    return classifier()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(directory, name="digits"):
    """Return the bytes of the four variants."""
    return {v: (directory / f"{name}{SUFFIXES[v]}").read_bytes() for v in VARIANTS}


def timeless(path):
    """Return the record of a check without the times."""
    fields = record_of(path)
    for row in fields["variants"].values():
        assert row.pop("seconds") > 0
    return fields


def test_a_model_in_memory_gives_the_bytes_of_its_archive(here, model, warm):
    """With arrays and files, from Python and the command line, twice each."""
    first = litecheck.convert(model, samples=X, test=(X, LABELS))
    memory = contents(here)
    assert first.rows.keys() == set(VARIANTS)
    model.save("archive.keras")
    np.save("archive.samples.npy", X)
    np.savez("archive.test.npz", inputs=X, labels=LABELS)
    found = litecheck.convert("archive.keras")
    assert contents(here, "archive") == memory
    given = litecheck.convert(
        Path("archive.keras"), "given", samples=Path("archive.samples.npy"), test="archive.test.npz"
    )
    assert contents(here, "given") == memory
    process = warm("convert", "archive.keras", "--output", "sub/command", cwd=here)
    assert process.returncode == 0, process.stderr
    assert contents(here, "sub/command") == memory

    for check in [found, given]:
        for variant, row in check.rows.items():
            assert row._replace(path="", seconds=0) == first.rows[variant]._replace(
                path="", seconds=0
            )
    records = [timeless(here / f"{name}.check.json") for name in ["digits", "archive", "given"]]
    (here / "archive.check.json").unlink()
    assert warm("convert", "archive.keras", cwd=here).returncode == 0
    assert timeless(here / "archive.check.json") == records[1]
    for fields in records:  # the names and the origin of the samples may differ
        for key in ("model", "samples"):
            fields.pop(key)
        for row in fields["variants"].values():
            row["file"] = re.sub("^(digits|archive|given)", "", row["file"])
    assert records[0] == records[1] == records[2]


def test_twice_in_one_process(here, model):
    """At the second call, `convert` is still a function, and the model is unchanged."""
    weights = model.get_weights()
    for name in ["once", "twice"]:
        check = litecheck.convert(model, name, samples=X)
        assert not list(here.glob(".new-*"))  # although `check` still exists
        assert check.rows["float32"].verdict == "verified"
    assert contents(here, "once") == contents(here, "twice")
    assert timeless(here / "once.check.json")["runs"] == timeless(here / "twice.check.json")["runs"]
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_in_a_thread(here, model):
    """Only the main thread can delay signals while files are moved."""
    checks = []
    thread = threading.Thread(target=lambda: checks.append(litecheck.convert(model)))
    thread.start()
    thread.join()
    assert [list(check.rows) for check in checks] == [VARIANTS[:3]]


def test_rows_are_what_is_printed_and_recorded(here, model, capsys):
    check = litecheck.convert(model, "out/net", samples=X, test=(X, LABELS))
    out = capsys.readouterr().out
    printed, record = table(out), record_of(here / "out/net.check.json")
    exact = (model.predict(X, verbose=0).argmax(axis=-1) == LABELS).mean()
    assert check.metrics == {"output_0": pytest.approx(exact)}
    assert record["original"] == {"accuracy": pytest.approx(exact)}
    assert list(check.rows) == list(printed) == list(record["variants"]) == VARIANTS
    for variant, row in check.rows.items():
        assert isinstance(row, tuple)
        kept, path = record["variants"][variant], here / row.path
        assert row.variant == variant
        assert row.path == f"out/net{SUFFIXES[variant]}" == f"out/{kept['file']}"
        assert row.bytes == kept["bytes"] == path.stat().st_size
        assert printed[variant]["bytes"] == f"{row.bytes:,}"
        assert (row.sha256, row.error, row.of_range) == (
            kept["sha256"],
            kept["error"],
            kept["of_range"],
        )
        assert printed[variant]["error"] == pytest.approx(row.error, rel=0.06, abs=1e-7)
        assert printed[variant]["of_range"] == pytest.approx(row.of_range, rel=0.06, abs=1e-8)
        assert row.dtypes == printed[variant]["dtypes"] == kept["dtypes"]
        assert row.seconds == kept["seconds"]
        assert printed[variant]["time"] == f"{row.seconds * 1e6:.0f}"
        assert row.verdict == printed[variant]["verdict"] == kept["verdict"]
        (metric,) = row.metrics.values()
        outputs = run_tflite(path, X)["output_0"]
        assert metric == kept["accuracy"] == (outputs.argmax(axis=-1) == LABELS).mean()
        assert f" {metric:.1%}  {row.verdict}" in out
        if variant != "float32":
            same = (outputs.argmax(axis=-1) == model.predict(X, verbose=0).argmax(axis=-1)).sum()
            assert row.same_class == (same, len(X)) == tuple(kept["same_class"])
            assert printed[variant]["same_class"] == f"{same} of {len(X)}"
        largest = np.abs(outputs - model.predict(X, verbose=0)).max()
        assert row.error == pytest.approx(largest, rel=0.05, abs=1e-6)


def test_a_notebook_shows_a_table(here, model):
    check = litecheck.convert(model, samples=X, test=(X, LABELS))
    shown = check._repr_html_()
    rows = re.findall("<tr>(.*?)</tr>", shown)
    assert [re.findall("<th>(.*?)</th>", row) for row in rows[:1]] == [
        [
            "variant",
            "bytes",
            "size",
            "in/out",
            "error",
            "of range",
            "one run",
            "accuracy",
            "verdict",
        ]
    ]
    cells = [re.findall("<td>(.*?)</td>", row) for row in rows[1:]]
    assert [row[0] for row in cells] == VARIANTS
    assert [row[1] for row in cells] == [f"{row.bytes:,}" for row in check.rows.values()]
    check.leave_out("float16", "digits.quant.tflite", "a < b & c")
    assert "<p>float16 not written: a &lt; b &amp; c</p>" in check._repr_html_()
    assert check._repr_html_().count("<tr>") == 4


def test_the_same_from_the_command_line(here, model, warm, capsys):
    """The printed lines are the same as well, except for times."""
    model.save("digits.keras")
    np.save("x.npy", X)
    np.savez("t.npz", inputs=X[:100], labels=LABELS[:100])
    options = ["--samples", "x.npy", "--test", "t.npz", "--batch", "2"]
    process = warm("convert", "digits.keras", *options, cwd=here)
    assert process.returncode == 0, process.stderr
    files, record = contents(here), timeless(here / "digits.check.json")
    litecheck.convert("digits.keras", samples="x.npy", test="t.npz", batch=2)
    assert contents(here) == files
    assert timeless(here / "digits.check.json") == record
    printed, again = (
        [re.sub(r" +\d+ us", "", line) for line in text.splitlines()]
        for text in (process.stdout, capsys.readouterr().out)
    )
    assert printed[0].startswith("TensorFlow 2")
    assert printed[1:] == again


def test_a_wrong_file_raises_and_nothing_is_written(here, model, monkeypatch):
    other = keras.models.clone_model(model)
    other.set_weights([0.9 * weight for weight in model.get_weights()])
    path = here / "other/net.tflite"
    litecheck.convert(other, path.with_suffix(""))
    make = tf.lite.TFLiteConverter.from_saved_model
    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", make)  # undone at the end
    WrongConverter(path)()
    with pytest.raises(litecheck.Failure, match=r"^digits.tflite was not written: output output_0"):
        litecheck.convert(model, samples=X)
    assert [file.name for file in here.iterdir()] == ["other"]
    check = litecheck.Check(model, X)
    with pytest.raises(litecheck.Failure, match=r"^mine.tflite was not written: output output_0"):
        check.add("float32", path.read_bytes(), "mine.tflite")
    with pytest.raises(litecheck.Failure, match="float32 was not verified: add float32 first"):
        check.add("float16", path.read_bytes(), "mine.quant.tflite")
    del check
    assert [file.name for file in here.iterdir()] == ["other"]


def converters(model):
    """Return functions by variant that convert a model as a reader's own script would."""

    def make(**settings):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for name, value in settings.items():
            setattr(converter, name, value)
        return converter.convert()

    default = [tf.lite.Optimize.DEFAULT]
    return {"float32": make, "dynamic range": lambda: make(optimizations=default)}


def test_the_gate_has_a_name(here, model):
    """Another variant is refused until float32 is added, and the message names the reason."""
    check, made = litecheck.Check(model, X), converters(model)
    for variant in VARIANTS[1:]:
        with pytest.raises(litecheck.Failure) as failure:
            check.add(variant, made["float32"](), "net.tflite")
        assert str(failure.value).startswith(f"{variant} is not compared, because float32 was not")
    with pytest.raises(ValueError, match=r"'int8' is not a variant: use one of float32, float16, "):
        check.add("int8", made["float32"](), "net.tflite")
    with pytest.raises(TypeError, match="float32 is a str, not bytes"):
        check.add("float32", "net.tflite", "net.tflite")
    with pytest.raises(litecheck.Failure, match="nothing to save: add float32 first"):
        check.save()
    assert check.rows == check.left_out == {}
    assert not list(here.glob("net*"))
    check.add("float32", made["float32"](), "net.tflite")
    check.add("dynamic range", made["dynamic range"](), Path("net.dynamic.tflite"))
    check.save()
    rows = record_of(here / "net.check.json")["variants"]
    assert [row["verdict"] for row in rows.values()] == ["verified", "measured"]
    assert all(
        row.path == f"net{SUFFIXES[v]}" and (here / row.path).stat().st_size == row.bytes
        for v, row in check.rows.items()
    )


def test_a_check_of_several_inputs(here, warm):
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    y = layers.Dense(2, name="y")(layers.Concatenate()([left, right]))
    net = keras.Model({"left": left, "right": right}, y)
    x = {"right": RNG.random((20, 2)), "left": RNG.random((20, 3))}
    check = litecheck.Check(net, x)
    check.add("float32", tf.lite.TFLiteConverter.from_keras_model(net).convert(), "net.tflite")
    check.save()
    process = warm("run", "net.tflite", cwd=here)
    assert re.search(r"^check: 21 of 21 runs agree", process.stdout, re.MULTILINE), process.stderr
    labels = net.predict(x, verbose=0) + np.float32([0.25, -0.25])
    check = litecheck.convert(net, "both", samples=x, test=(x, labels))
    assert check.metrics == {"output_0": pytest.approx(0.25, rel=1e-5)}
    assert list(check.rows) == VARIANTS
    for wrong, phrase in [
        ({"left": x["left"]}, "must be a dict with an array named 'right'"),
        (x["left"], "must be a dict with an array named"),
        (x | {"left": x["left"][:9]}, "the inputs have different numbers of samples"),
        (x | {"left": x["left"] * np.nan}, "left holds NaN or infinity"),
    ]:
        with pytest.raises(litecheck.Failure, match=re.escape(phrase)):
            litecheck.Check(net, wrong)
    for test, phrase in [
        ((x, labels[:9]), "the numbers of samples differ"),
        ((x["left"], labels), "lacks an array named"),
        (x["left"], "test"),
        ("none.npz", "none.npz is missing"),
    ]:
        with pytest.raises(litecheck.Failure, match=phrase):
            litecheck.Check(net, x, test)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a directory with files of several kinds."""
    directory = tmp_path_factory.mktemp("files")
    spec = tf.TensorSpec
    both = [spec([2], tf.float32, "a"), spec([2], tf.int32, "b")]
    numbers = np.linspace(-9, 9, 50, dtype="float32").reshape(-1, 1, 2)
    for name, content in {
        "varies": converted(lambda x: {"y": 2 * x, "sum": x[:, 0] + x[:, 1]}, spec([None, 2])),
        "three": converted(lambda x: {"y": 2 * x}, spec([3, 2])),
        "both": converted(lambda a, b: {"y": a - tf.cast(b, tf.float32)}, *both),
        "int8": converted(
            lambda x: {"y": tf.matmul(x, tf.constant([[1.0, 0.5], [-2.0, 3.0]]))},
            spec([1, 2]),
            optimizations=[tf.lite.Optimize.DEFAULT],
            representative_dataset=lambda: ([row] for row in numbers),
            supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        ),
        "words": converted(lambda x: {"y": tf.gather([1.0, 2.0], x)}, spec([2], tf.int32)),
    }.items():
        (directory / f"{name}.tflite").write_bytes(content)
    (directory / "damaged.tflite").write_bytes(b"TFL3 or not")
    return directory


def test_run_returns_real_numbers_by_name(files):
    x = RNG.normal(size=(6, 2)).astype("float32")
    outputs = litecheck.run(str(files / "varies.tflite"), x)
    assert outputs.keys() == {"y", "sum"}
    np.testing.assert_array_equal(outputs["y"], 2 * x)
    np.testing.assert_allclose(outputs["sum"], x.sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(litecheck.run(files / "varies.tflite", {"x": x})["y"], 2 * x)
    np.save(files / "x.npy", x)
    for given in [files / "x.npy", str(files / "x.npy"), x.tolist(), x.astype("float64")]:
        np.testing.assert_array_equal(litecheck.run(files / "varies.tflite", given)["y"], 2 * x)


def test_run_joins_the_runs_of_a_fixed_batch(files):
    x = RNG.normal(size=(9, 2)).astype("float32")
    (outputs,) = litecheck.run(files / "three.tflite", x).values()
    np.testing.assert_array_equal(outputs, 2 * x)
    # An input without an axis for samples takes one after another.
    given = {"b": np.arange(8).reshape(4, 2), "a": np.float32([[10, 20]] * 4)}
    outputs = litecheck.run(files / "both.tflite", given)["y"]
    np.testing.assert_array_equal(outputs.reshape(4, 2), given["a"] - given["b"])


def test_run_takes_real_numbers_for_integers(files):
    x = np.float32([[1, 2], [-3, 0.5], [99, 0]])  # the last is clipped
    outputs = litecheck.run(files / "int8.tflite", x)["y"]
    assert outputs.dtype == np.float32
    expected = np.concatenate([run_tflite(files / "int8.tflite", row[None])["y"] for row in x])
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(outputs[:2], x[:2] @ [[1, 0.5], [-2, 3]], atol=0.5)
    assert outputs[2, 0] < 10


@pytest.mark.parametrize(
    ("name", "given", "phrase"),
    [
        ("none", [[1.0, 2.0]], "none.tflite is missing: name a file that exists"),
        ("damaged", [[1.0, 2.0]], "damaged.tflite is not a .tflite file, or is damaged: name"),
        ("varies", [[1.0, 2.0, 3.0]], "the set of samples does not fit "),
        ("varies", {"z": [[1.0, 2.0]]}, "an array named 'x'"),
        ("varies", [["a", "b"]], "not float32"),
        ("varies", "none.npy", "none.npy is missing"),
        ("three", [[1.0, 2.0]] * 2, "too few samples for one run: give more samples"),
        ("three", [[1.0, 2.0]] * 7, "the last 1 samples are too few for one more run of "),
        ("both", {"a": [1.0, 2.0], "b": [0.5, 1]}, "int32 cannot hold 0.5"),
        ("words", [0, 7], "out of bounds"),
    ],
)
def test_run_raises_what_can_be_fixed(files, name, given, phrase):
    with pytest.raises(litecheck.Failure, match=re.escape(phrase)) as failure:
        litecheck.run(files / f"{name}.tflite", given)
    assert 1 <= len(str(failure.value).splitlines()) <= 2


class Square(layers.Layer):
    """A layer whose archive cannot be loaded."""

    def call(self, x):
        return x * x


class Scaled(layers.Layer):
    """A layer without a configuration, so that no archive can save it."""

    def __init__(self, lock, **settings):
        """Take an argument that cannot be copied."""
        super().__init__(**settings)
        self.lock = lock
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x):
        with self.lock:
            return x * self.scale


LOCK = threading.Lock()
OWN = {
    "a layer": lambda: Square(),
    "a layer that cannot be saved": lambda: Scaled(LOCK),
    "a lambda": lambda: layers.Lambda(lambda x: 3 * x - 1),
    "a lambda that cannot be saved": lambda: layers.Lambda(lambda x, lock=LOCK: 3 * x - 1),
    "an activation": lambda: layers.Dense(3, activation=lambda x: x * x),
    "a nested model": lambda: keras.Sequential([keras.Input((3,)), Square(), layers.Dense(3)]),
}


def own(kind):
    """Return a model with a custom layer."""
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Dense(2)(OWN[kind]()(x)), name="own")


@pytest.mark.parametrize("kind", OWN)
def test_code_of_ones_own_in_memory(here, kind):
    net, x = own(kind), RNG.normal(size=(50, 3)).astype("float32")
    check = litecheck.convert(net, samples=x)
    assert list(check.rows) == VARIANTS
    assert check.rows["float32"].verdict == "verified"
    outputs = litecheck.run("own.tflite", x)["output_0"]
    np.testing.assert_allclose(outputs, net.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["a layer", "a layer that cannot be saved", "a nested model"])
def test_code_of_ones_own_in_float16(here, kind):
    """Keras cannot copy it in float32. The advice in the message works."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trained = own(kind)
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(litecheck.Failure, match="trained with mixed_float16, and holds code") as e:
        litecheck.convert(trained)
    assert len(str(e.value).splitlines()) == 2
    assert 'keras.config.set_dtype_policy("float32")' in str(e.value)
    assert not list(here.iterdir())
    new = own(kind)
    new.set_weights(trained.get_weights())
    assert litecheck.convert(new).rows["float32"].verdict == "verified"


def test_a_model_trained_in_float16_is_computed_in_float32(here, capsys):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trained = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(2)])
    finally:
        keras.config.set_dtype_policy("float32")
    assert litecheck.convert(trained, "net").rows["float32"].verdict == "verified"
    assert "trained with mixed_float16: computed in float32" in capsys.readouterr().out
    assert trained.layers[0].compute_dtype == "float16"  # the caller's model is unchanged


class Subclassed(keras.Model):
    def call(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("given", "options", "phrase"),
    [
        (
            lambda: Subclassed(name="sub"),
            {},
            'call it on an input, then model.export("sub"), and convert that',
        ),
        (lambda: own("a layer"), {"signature": "x"}, "the model own has no signatures"),
        (lambda: layers.Dense(2), {}, "give a keras.Model, or a path"),
        (
            lambda: own("a layer"),
            {"samples": X},
            "does not fit the model own (x float32 (None, 3))",
        ),
        (lambda: own("a layer"), {"samples": "none.npy"}, "none.npy is missing"),
        (lambda: "none.keras", {}, "none.keras is missing"),
    ],
)
def test_convert_raises_what_can_be_fixed(here, given, options, phrase):
    with pytest.raises(litecheck.Failure, match=re.escape(phrase)) as failure:
        litecheck.convert(given(), **options)
    assert 1 <= len(str(failure.value).splitlines()) <= 2
    assert not list(here.iterdir())


def test_a_model_in_memory_says_so(here, model, capsys):
    check = litecheck.convert(model)
    out = capsys.readouterr().out
    assert out.startswith("model digits, signature serving_default\n")
    assert "full integer   not written: needs typical inputs: give samples=x\n" in out
    assert "To measure accuracy, give a test set: test=(x, y)\n" in out
    assert list(check.left_out) == ["full integer"]
    record = record_of(here / "digits.check.json")
    source = {"path": "digits", "file": None, "sha256": None}
    source |= {"signature": "serving_default", "options": []}
    assert record["model"] == source
    Path("digits.tflite").write_bytes(Path("digits.quant.tflite").read_bytes())
    process = run("run", "digits.tflite", cwd=here)
    assert process.returncode == 1  # the record is that of float16
    assert "convert the model again, with litecheck.convert in your program" in process.stderr


def litecheck_command(*words, cwd):
    """Run `python -m litecheck` with these words."""
    command = [sys.executable, "-m", "litecheck", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["--fast"], "the following arguments are required: COMMAND"),
        (["dance"], "'dance' (choose from"),
        (["convert", "net.keras", "--fast", "1"], "unrecognized arguments: --fast 1"),
        (["convert", "net.keras", "--batch", "many"], "many is not a whole number of 1 or more"),
        (["convert", "net.keras", "--batch", "-1"], "--batch"),
        (["convert", "none.keras"], "none.keras is missing: name a file that exists"),
        (["convert", "none"], "none is missing: name a Keras archive (.keras, .h5)"),
        (["convert", "none.tflite"], "none.tflite is missing: name a Keras archive"),
        (["convert", "net.tflite"], "net.tflite is converted already"),
        (["run", "net.keras"], "net.keras is not converted yet"),
        (["run", "none.tflite"], "none.tflite is missing"),
        (["look", "none.tflite"], "none.tflite is missing"),
        (
            ["look", "none"],
            "none is missing: name a .tflite file, a Keras archive (.keras, .h5) or",
        ),
        (["run", "empty.png"], "empty.png is not a .tflite file, or is damaged: name another"),
        (["run", "net.tflite", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_mistakes_on_the_command_line(lines, words, phrase):
    """Each error is one or two lines, and each command in it works when it is pasted."""
    process = litecheck_command(*words, cwd=lines)
    assert_clear_error(process, "litecheck", phrase)
    assert process.stdout == ""
    for named in re.findall("python -m litecheck (.*)", process.stderr):
        again = litecheck_command(*shlex.split(named), cwd=lines)
        assert (again.returncode, again.stderr) == (0, ""), named
        if words[:1] != ["dance"] and words[:1] and words[0] in COMMANDS and "--help" in named:
            assert f"usage: litecheck {words[0]} " in again.stdout


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Return a directory with a model and its file."""
    directory = tmp_path_factory.mktemp("lines")
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.save(directory / "net.keras")
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (directory / "net.tflite").write_bytes(content)
    (directory / "empty.png").touch()
    return directory


PROGRAM = """
import os, sys, warnings
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import matplotlib.pyplot as plt
import numpy as np
from tensorflow import keras
import litecheck
own = [keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(3, activation=lambda x: x * x)]
net = keras.Sequential([keras.Input([3]), *own])
net(np.eye(3))
before = plt.get_backend(), list(warnings.filters), sys.excepthook
print("begin", file=sys.stderr, flush=True)
check = litecheck.convert(net, "net", samples=np.eye(3))
litecheck.run("net.int8.tflite", np.eye(3))
print("end", file=sys.stderr, flush=True)
assert "full integer" in check.rows
assert before == (plt.get_backend(), warnings.filters, sys.excepthook)
assert plt.get_fignums() == []
"""


def test_a_program_that_calls_it_stays_as_it_is(here):
    """Its stderr stays empty, and its settings do not change."""
    (here / "program.py").write_text(PROGRAM, encoding="utf-8")
    process = run(here / "program.py", cwd=here)
    assert process.returncode == 0, process.stderr
    assert "begin\nend\n" in process.stderr
    assert not list(here.glob(".new-*"))


class Texts(tf.Module):
    """Two signatures, one of which takes texts with a variable batch size."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="t")])
    def texts(self, t):
        return {"same": t}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def twice(self, x):
        return {"y": 2 * x}


def test_texts_run_one_by_one_and_together(here):
    module = Texts()
    tf.saved_model.save(module, "texts", signatures={"texts": module.texts})
    np.save("texts.samples.npy", np.array([b"a", b"bcd", b""] * 4))
    assert litecheck.convert("texts").rows["float32"].verdict == "verified"


def test_what_is_to_be_converted_again_has_its_options(here):
    module = Texts()
    signatures = {"texts": module.texts, "twice": module.twice}
    tf.saved_model.save(module, "both", signatures=signatures)
    litecheck.convert("both", "out/two", signature="twice", batch=4)
    Path("out/two.tflite").write_bytes(Path("out/two.quant.tflite").read_bytes())
    out = run("run", "out/two.tflite", cwd=here).stdout
    words = "convert both --signature twice --batch 4 --output out/two"
    assert f"convert the model again: python -m litecheck {words}\n" in out
    assert run(*words.split(), cwd=here).returncode == 0
    assert "again" not in run("run", "out/two.tflite", cwd=here).stdout


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("k.tflite", "is the file of float32, not of float16: save it as k.quant.tflite"),
        ("./k.tflite", "is the file of float32"),
        ("other.tflite", "would have no record in k.check.json: save it as k.quant.tflite"),
        ("sub/k.quant.tflite", "would have no record"),
    ],
)
def test_a_file_in_the_place_of_another(here, model, path, reason):
    check = litecheck.Check(model)
    directory = check.model.source.directory
    content = tf.lite.TFLiteConverter.from_saved_model(directory).convert()
    check.add("float32", content, "k.tflite")
    with pytest.raises(litecheck.Failure, match=reason):
        check.add("float16", content, path)
    assert list(check.rows) == ["float32"]
    assert Path("k.tflite").read_bytes() == content


def test_after_a_wrong_float32_the_gate_is_closed(here, model):
    check = litecheck.Check(model)
    directory = check.model.source.directory
    content = tf.lite.TFLiteConverter.from_saved_model(directory).convert()
    check.add("float32", content, "k.tflite")
    with pytest.raises(litecheck.Failure, match="k.tflite was not written"):
        check.add("float32", b"no model", "k.tflite")
    with pytest.raises(litecheck.Failure, match="add float32 first"):
        check.add("float16", content, "k.quant.tflite")


@pytest.mark.parametrize("test", [np.ones((5, 3)), (1, 2, 3), (np.ones((5, 3)),)])
def test_a_test_set_that_is_no_pair(here, model, test):
    with pytest.raises(litecheck.Failure, match=r"give a pair of inputs and labels: test=\(x, y\)"):
        litecheck.convert(model, test=test)


@pytest.mark.parametrize("batch", [0, -1, True, 2.0, "2"])
def test_a_batch_that_is_no_number_of_samples(here, model, batch):
    with pytest.raises(litecheck.Failure, match="give a whole number of 1 or more"):
        litecheck.convert(model, batch=batch)
