"""If eight bits lose much accuracy, causes are named, and files that lose less are made."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import ailing
import numpy as np
import pytest
from conftest import REPOSITORY, record_of, run, run_tflite, table
from tensorflow import keras
from test_apart import children

import litecheck
from litecheck import conversion, quantization, rescue

PAGE = REPOSITORY / "docs/when-accuracy-drops.md"
TOLD = [  # printed only if accuracy is lost
    "sets the largest value",
    "calibrated without",
    "outside the calibrated range",
    "of the range on calibration samples",
    "rounding input",
    "rounding output",
    "if quantized alone",
    "in float it",
    "quantization-aware training",
    "channels were",
    "Dynamic range loses little",
]


@pytest.fixture(scope="module")
def hurt(tmp_path_factory):
    """Return a directory with models that lose accuracy with eight bits, and healthy ones."""
    directory = tmp_path_factory.mktemp("hurt")

    def save(name, model, samples, inputs, labels):
        model.save(directory / f"{name}.keras")
        np.save(directory / f"{name}.samples.npy", samples)
        np.savez(directory / f"{name}.test.npz", inputs=inputs, labels=labels)

    (x, _), (test, labels) = ailing.images(100, seed=2), ailing.images(500, seed=3)
    model = ailing.convolutions()
    save("healthy", model, x, test, labels)
    save("outlier", model, np.concatenate([x[:11], 40 * x[11:12], x[12:]]), test, labels)
    save("dark", model, 0.02 * x[:1], test, labels)
    weights = model.get_weights()
    for name, which in [("one", [1]), ("two", [1, 2]), ("all", [0, 1, 2, 3])]:
        model.set_weights(weights)
        save(name, ailing.spread(model, which), x, test, labels)
    save("mask", ailing.attention(mask=True, sharp=30.0), x[..., 0], test[..., 0], labels)
    save("attention", ailing.attention(mask=False), x[..., 0], test[..., 0], labels)
    save("columns", ailing.columns(), ailing.people(100, seed=2)[0], *ailing.people(500, seed=3))
    both = np.concatenate([np.eye(10)[labels], 5000 * ailing.priced()[labels]], axis=1)
    save("price", ailing.price(), x, test, both)
    save("dense", ailing.dense(), x, test, labels)
    save("swish", ailing.swish(), x, test, labels)
    noisy, clean = ailing.noisy(test), test.reshape(len(test), -1)
    save("denoiser", ailing.denoiser(), ailing.noisy(x), noisy, clean)
    return directory


@pytest.fixture
def here(hurt, tmp_path):
    """Return a function that copies a model to an empty directory and returns the directory."""

    def copy(name, *without):
        for file in hurt.glob(f"{name}.*"):
            if not file.name.endswith(without or ("none",)):
                shutil.copy(file, tmp_path)
        return tmp_path

    return copy


def lost(rows, variant):
    """Return how many points of accuracy a variant loses."""
    accuracy = {name: float(row["metric"].rstrip("%")) for name, row in rows.items()}
    return accuracy["float32"] - accuracy[variant]


def without_rows(out):
    """Return the output without the rows of the table."""
    return re.sub(r"^(float|dynamic|full|part|16-bit).*\n", "", out, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["healthy", "attention", "dense", "swish", "denoiser"])
def test_a_healthy_model_hears_nothing(here, warm, name):
    directory = here(name)
    process = warm("convert", f"{name}.keras", cwd=directory)
    assert (process.returncode, process.stderr) == (0, "")
    assert not [words for words in TOLD if words in process.stdout]
    files = {path.name.removeprefix(name) for path in directory.iterdir()}
    ends = [".tflite", ".quant.tflite", ".dynamic.tflite", ".int8.tflite"]
    given = [".keras", ".samples.npy", ".test.npz"]
    assert files == {*ends, *given, ".check.json", ".variants.png"}
    record = record_of(directory / f"{name}.check.json")
    assert "operations" not in record
    assert not any("note" in row for row in record["variants"].values())


@pytest.mark.parametrize(("name", "few", "culprit"), [("one", 2, 2), ("two", 4, 2), ("mask", 4, 0)])
def test_few_operations_stay_in_float(here, warm, name, few, culprit):
    directory = here(name)
    out = warm("convert", f"{name}.keras", cwd=directory).stdout
    rows = table(out)
    assert lost(rows, "full integer") > 1 >= lost(rows, "part integer")
    assert rows["part integer"]["dtypes"] == "int8"
    assert f"{few + (name == 'mask')} of " in out  # attention adds one that is always float
    worst = record_of(directory / f"{name}.check.json")["operations"]
    assert [each["loss"] for each in worst] == sorted((e["loss"] for e in worst), reverse=True)
    if name != "mask":
        assert {worst[0]["layer"], worst[1]["layer"]} == {"mix_1", "depth_1"}
        assert worst[culprit]["loss"] < worst[0]["loss"]
    for each in worst[:4]:
        assert "  " + " of ".join(filter(None, [each["kind"], each["layer"]])) in out
    assert "16-bit int" not in rows
    size = (directory / f"{name}.mixed.tflite").stat().st_size
    assert size < (directory / f"{name}.tflite").stat().st_size
    process = warm("run", f"{name}.mixed.tflite", cwd=directory)
    assert process.returncode == 0
    assert "100 of 100 runs agree" in process.stdout


def test_a_loss_that_is_spread_is_equalized(here, warm):
    directory = here("all")
    out = warm("convert", "all.keras", cwd=directory).stdout
    before, after = re.findall(r"^full integer .* (\d[\d.]+)%  measured", out, re.MULTILINE)
    assert float(before) < 80 < float(after)
    assert "channels were equalized (cross-layer equalization)" in out
    record = record_of(directory / "all.check.json")
    assert "equalized" in record["variants"]["full integer"]["note"]
    assert not (directory / "all.mixed.tflite").exists()
    assert not (directory / "all.int16.tflite").exists()


@pytest.mark.parametrize(
    ("name", "end", "metric"),
    [("columns", "input person", 0.968), ("price", "output output_0", 122)],
)
def test_the_ends_alone(here, warm, name, end, metric):
    directory = here(name)
    out = warm("convert", f"{name}.keras", cwd=directory).stdout
    assert re.search(
        rf"rounding {end} alone: mean error \S+% of the range; full integer: \S+%\n", out
    )
    assert "one int8 scale cannot fit numbers of such different ranges: split the " in out
    row = table(out)["part integer"]
    assert row["dtypes"] == "float32"
    found = float(row["metric"].rstrip("%")) / (100 if name == "columns" else 1)
    assert found == pytest.approx(metric, rel=0.02)
    without = here(name, ".test.npz")  # the cause does not need a test set
    (without / f"{name}.test.npz").unlink()
    out = warm("convert", f"{name}.keras", "--output", "again", cwd=without).stdout
    assert f"rounding {end} alone:" in out
    assert "find which operations lose it and try 16 bits, give a test set: --test" in out
    assert "operations" not in record_of(without / "again.check.json")


@pytest.mark.parametrize("has_test_set", [True, False])
def test_a_sample_that_sets_the_ranges(here, warm, has_test_set):
    """The advice works: the same conversion is sound afterwards."""
    directory = here("outlier", *([] if has_test_set else [".test.npz"]))
    out = warm("convert", "outlier.keras", cwd=directory).stdout
    evidence = r"sample 11 sets the largest value in (\d+) of (\d+) tensors, (\d+) times the next"
    found, of, times = map(int, re.search(evidence, out).groups())
    assert found > 0.9 * of > 9
    assert 30 < times < 100
    rows = table(out)
    if has_test_set:
        assert lost(rows, "full integer") <= 1
    assert "part integer" not in rows
    assert "16-bit int" not in rows
    assert "of the range on samples" not in out
    record = record_of(directory / "outlier.check.json")
    assert record["samples"]["calibrated"] == 99
    assert record["variants"]["full integer"]["note"] == "calibrated without sample 11"
    advice = re.search(r"to leave it out for good: python (.+)", out)[1]
    subprocess.run(f"'{sys.executable}' {advice}", shell=True, cwd=directory, check=True)
    assert np.load(directory / "outlier.samples.npy").shape == (99, 8, 8, 1)
    out = warm("convert", "outlier.keras", cwd=directory).stdout
    assert not [words for words in TOLD if words in out]


def test_samples_in_a_file_of_several_inputs_are_left_out(tmp_path, warm):
    keras.utils.set_random_seed(1)
    ends = [keras.Input((3,), name=name) for name in "ab"]
    h = keras.layers.Dense(16, activation="relu")(keras.layers.Concatenate()(ends))
    keras.Model(ends, keras.layers.Dense(2)(h)).save(tmp_path / "it's.keras")
    a, b = np.random.default_rng(0).normal(size=(2, 60, 3)).astype("float32")
    a[7] *= 100
    b[40] *= 100
    np.savez(tmp_path / "it's.samples.npz", a=a, b=b)
    out = warm("convert", "it's.keras", cwd=tmp_path).stdout
    assert "samples 7 and 40 set the largest value in" in out
    advice = re.search(r"to leave them out for good: python (.+)", out)[1]
    subprocess.run(f"'{sys.executable}' {advice}", shell=True, cwd=tmp_path, check=True)
    kept = np.load(tmp_path / "it's.samples.npz")
    np.testing.assert_array_equal(kept["b"], np.delete(b, [7, 40], axis=0))
    assert "set the largest" not in warm("convert", "it's.keras", cwd=tmp_path).stdout
    check = litecheck.convert(
        keras.models.load_model(tmp_path / "it's.keras"),
        str(tmp_path / "m"),
        samples={"a": a, "b": b},
    )
    assert check.rows["full integer"].note == "calibrated without samples 7 and 40"


def test_too_few_samples(here, warm):
    directory = here("dark")
    out = warm("convert", "dark.keras", cwd=directory).stdout
    own, others = re.search(
        r"error (\S+)% of the range on calibration samples \(1\), (\S+)% on other samples", out
    ).groups()
    assert float(own) < 1 < float(others)
    assert "of all kinds that occur in use, scaled as in training: --samples FILE, or dark" in out
    assert "500 of 500 samples are outside the calibrated range, with the largest errors" in out
    assert "if quantized alone" not in out
    more = here("healthy") / "healthy.samples.npy"
    out = warm("convert", "dark.keras", "--samples", more, cwd=directory).stdout
    assert not [words for words in TOLD if words in out]


def test_samples_on_a_larger_scale(here, warm):
    """Adding correct samples does not help, and the messages do not ask for more."""
    directory = here("healthy")
    x = np.load(directory / "healthy.samples.npy")
    for samples in [255 * x, np.concatenate([255 * x[:50], x[50:]])]:
        np.save(directory / "healthy.samples.npy", samples)
        out = warm("convert", "healthy.keras", cwd=directory).stdout
        assert re.search(
            r"image reaches 2\d\d times as far in the calibration samples as in the others", out
        )
        assert "scale both as in training" in out
        assert "if quantized alone" not in out


def test_numbers_far_from_zero(tmp_path, warm):
    x, labels = ailing.images(700, seed=1)
    image = keras.Input((8, 8, 1), name="image")
    h = keras.layers.Rescaling(1.0, offset=-1000.0)(image)
    h = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(h))
    model = ailing.fitted(image, h, 1000 + x[:500], np.eye(10)[labels[:500]], 10, "softmax")
    model.save(tmp_path / "far.keras")
    np.save(tmp_path / "far.samples.npy", 1000 + x[:100])
    np.savez(tmp_path / "far.test.npz", inputs=1000 + x[500:], labels=labels[500:])
    out = warm("convert", "far.keras", cwd=tmp_path).stdout
    assert "rounding input image alone" in out
    assert "its numbers are far from 0, which the scale must include: subtract an offset" in out
    assert "quantization-aware training" not in out


def test_a_few_samples_outside_of_what_calibrated(here, warm):
    """The samples with the largest errors are counted, whatever the accuracy."""
    directory = here("denoiser")
    with np.load(directory / "denoiser.test.npz") as test:
        inputs, labels = test["inputs"][:200], test["labels"][:200]
    inputs[[5, 60, 61, 199]] *= 8
    np.savez(directory / "denoiser.test.npz", inputs=inputs, labels=labels)
    out = warm("convert", "denoiser.keras", cwd=directory).stdout
    assert re.search("[45] of 200 samples are outside the calibrated range", out)


def test_a_search_does_not_look_at_the_test_set(here, warm):
    directory, found = here("one"), []
    with np.load(directory / "one.test.npz") as test:
        inputs, labels = test["inputs"], test["labels"]
    for part in [slice(0, 500), slice(0, 200)]:
        np.savez(directory / "one.test.npz", inputs=inputs[part], labels=labels[part])
        warm("convert", "one.keras", cwd=directory)
        operations = record_of(directory / "one.check.json")["operations"]
        found.append((operations, (directory / "one.mixed.tflite").read_bytes()))
    assert found[0] == found[1]


def test_a_saved_model_and_a_model_in_memory(here, tmp_path):
    directory = here("one")
    model = keras.models.load_model(directory / "one.keras")
    with np.load(directory / "one.test.npz") as test:
        given = {
            "samples": np.load(directory / "one.samples.npy"),
            "test": (test["inputs"], test["labels"]),
        }
    model.export(tmp_path / "saved", verbose=False)
    checks = [
        litecheck.convert(model, str(tmp_path / "memory"), **given),
        litecheck.convert(str(tmp_path / "saved"), **given),
    ]
    for check in checks:
        assert check.rows["part integer"].metrics["output_0"] >= check.metrics["output_0"] - 0.01
        assert check.costs[0].layer.startswith("mix_1")
        assert "part integer" in check._repr_html_()


def test_lstm_with_mixed_columns(tmp_path, warm):
    """Operations with a state are also quantized alone."""
    keras.utils.set_random_seed(1)
    (x, labels), scale = ailing.images(700, seed=1), np.ones(8, np.float32)
    scale[[2, 6]] = 1000, 0.01
    steps = keras.Input((8, 8), name="steps")
    h = keras.layers.Rescaling((1 / scale).tolist(), name="even")(steps)
    h = keras.layers.LSTM(24, return_sequences=True)(h)
    h = keras.layers.Flatten()(keras.layers.LSTM(16, return_sequences=True)(h))
    x = x[..., 0] * scale
    model = ailing.fitted(steps, h, x[:400], np.eye(10)[labels[:400]], 10, "softmax")
    model.save(tmp_path / "lstm.keras")
    np.save(tmp_path / "lstm.samples.npy", x[400:500])
    np.savez(tmp_path / "lstm.test.npz", inputs=x[500:], labels=labels[500:])
    out = warm("convert", "lstm.keras", cwd=tmp_path).stdout
    assert "rounding input steps alone" in out
    assert re.search(r"  MUL of even\n", out)
    assert lost(table(out), "part integer") <= 1


@pytest.mark.parametrize("asks", ["--float-ends", None])
def test_float_ends(here, warm, asks):
    directory = here("dense")
    out = warm("convert", "dense.keras", *filter(None, [asks]), cwd=directory).stdout
    row, path = table(out).get("full integer, float ends"), "dense.int8.float-ends.tflite"
    assert bool(row) == (directory / path).exists() == bool(asks)
    if not asks:
        return
    assert row["dtypes"] == "float32"
    assert "inputs and outputs are float: not for integer-only chips" in out
    x = np.load(directory / "dense.samples.npy")[:1]
    (ours,) = run_tflite(directory / path, x).values()
    (integers,) = run_tflite(directory / "dense.int8.tflite", x).values()
    np.testing.assert_allclose(ours, integers, atol=1e-6)
    process = warm("run", path, cwd=directory)
    assert "100 of 100 runs agree" in process.stdout
    assert (
        record_of(directory / "dense.check.json")["variants"]["full integer, float ends"]["file"]
        == path
    )


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Return a directory with a model whose search takes seconds."""
    directory = tmp_path_factory.mktemp("slow")
    ailing.columns(width=1000, depth=7).save(directory / "slow.keras")
    np.save(directory / "slow.samples.npy", ailing.people(50, seed=2)[0])
    x, truth = ailing.people(200, seed=3)
    np.savez(directory / "slow.test.npz", inputs=x, labels=truth)
    return directory


def during_the_search(directory, act):
    """Convert on a terminal, and call `act` during the search. Return the status and the output."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "litecheck", "convert", "slow.keras", "--output", act.__name__]
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    out, is_done = "", False
    with contextlib.suppress(OSError):  # the terminal is closed
        while part := os.read(leader, 4096):
            out += part.decode(errors="replace")
            if "quantizing each operation alone" in out and not is_done:
                act(process.pid)
                is_done = True
    os.close(leader)
    assert is_done
    return process.wait(60), re.sub(r"\r\n", "\n", re.sub(r".*\r(?!\n)", "", out))


def test_ctrl_c_ends_only_the_search(slow):
    def interrupt(number):
        os.killpg(number, signal.SIGINT)

    status, out = during_the_search(slow, interrupt)
    assert status == 0, out
    tried, of = re.search(
        r"of (\d+) of (\d+) operations, these cost most if quantized alone", out
    ).groups()
    assert 0 < int(tried) < int(of)
    assert (
        "the search ended before it knew which operations to keep in float: no file is made" in out
    )
    assert "saved interrupt.check.json" in out
    assert len(record_of(slow / "interrupt.check.json")["operations"]) == int(tried)
    assert not (slow / "interrupt.mixed.tflite").exists()


def test_a_search_that_dies_is_not_repeated(slow):
    def dying(number):
        (inner,) = [int(child) for child, line in children(number) if "rescue.watch" in line]
        os.kill(inner, signal.SIGSEGV)

    status, out = during_the_search(slow, dying)
    assert status == 0, out
    assert out.count("part integer   not written: TensorFlow dies on it (SIGSEGV)") == 1
    assert "saved dying.check.json" in out
    kept = record_of(slow / "dying.check.json")["variants"]
    assert "not_written" in kept["part integer"]
    assert kept["full integer"]["bytes"]


def test_outliers():
    generator = np.random.default_rng(0)
    healthy = generator.uniform(1, 2, (20, 40)).astype("float32")
    assert quantization.outliers(healthy) is None
    assert quantization.outliers([]) is None
    for own in [[3], [3, 39]]:
        runs = healthy.copy()
        runs[:, own] *= 40
        found = quantization.outliers([*runs, np.full(40, 1e9, "float32")])  # and a constant
        assert (found.runs, found.tensors, found.of) == (own, 20, 20)
        assert 20 < found.times < 60
    runs = healthy.copy()
    runs[:, 3] *= 40
    runs[:, 39] *= 300  # one hides the other
    assert quantization.outliers(runs).runs == [3, 39]
    runs = healthy.copy()
    runs[:8, 3] *= 40  # each in tensors of its own
    runs[8:, 39] *= 40
    assert quantization.outliers(runs).runs == [3, 39]
    runs = healthy.copy()
    runs[:, :3] *= 40  # more than a twentieth are a kind of samples, not outliers
    assert quantization.outliers(runs) is None
    runs = healthy.copy()
    runs[:9, 3] *= 40  # in fewer than half of the tensors
    assert quantization.outliers(runs) is None
    runs = healthy.copy()
    runs[:, 3] = 2 * runs.max(axis=1)
    assert quantization.outliers(runs) is None
    few = healthy[:, :4].copy()
    few[:, 0] *= 40
    assert quantization.outliers(few) is None


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        ("net/conv2d_1/Relu;net/conv2d_1/BiasAdd", [], "conv2d_1"),
        ("net_1/truediv_1", [], "truediv_1"),
        ("StatefulPartitionedCall/net/dense/MatMul", [], "dense"),
        ("PartitionedCall:0", ["dense"], ""),
        ("net/re_lu_1/Relu;net/bn_1/add;net/conv_1/convolution", ["re_lu", "bn", "conv"], "conv"),
        ("net/block/inner_1/MatMul", ["inner", "block"], "inner"),
        ("net/rescaling_1/add", ["rescaling", "add"], "rescaling"),
        ("tfl.unidirectional_sequence_lstm", ["lstm"], ""),
    ],
)
def test_layers_are_named(name, layers, expected):
    assert quantization.layers_of([name], layers) == {name: expected}


def test_numbers_of_scopes_are_not_those_of_layers():
    """Keras opens each scope twice: `dense` becomes `dense_1`, and `dense_1` `dense_1_1`."""
    layers = ["dense", "dense_1"]
    twice = quantization.layers_of(["net/dense_1/MatMul", "net/dense_1_1/MatMul"], layers)
    assert list(twice.values()) == layers
    once = quantization.layers_of(["net/dense/MatMul", "net/dense_1/MatMul"], layers)
    assert list(once.values()) == layers


class Named:
    """An operation with only the attributes that the search reads."""

    def __init__(self, name):
        self.name = name.upper()
        self.outputs = [self]

    @classmethod
    def several(cls, names):
        """Return operations whose first outputs have these names."""
        found = [cls(name) for name in names]
        for each, name in zip(found, names, strict=True):
            each.outputs = [type("Output", (), {"name": name})()]
        return found


def additive(costs):
    """Return a loss that is the sum of the costs of the operations that are not in float."""
    return lambda floats: sum(cost for name, cost in costs.items() if name not in floats)


def test_a_search_finds_the_fewest():
    costs = {"a": 0.1, "b": 5.0, "c": 0.2, "d": 4.0, "e": 0.0}
    found = quantization.ranked(Named.several(costs), additive(costs), [])
    assert [(each.name, each.kind) for each in found.costs[:2]] == [("b", "B"), ("d", "D")]
    assert [round(each.loss, 9) for each in found.costs] == [5.0, 4.0, 0.2, 0.1, 0.0]
    assert (found.floats, found.of) == (["b", "d"], 5)
    assert round(found.whole, 9) == 9.3


def test_a_search_without_time_or_with_ctrl_c(monkeypatch):
    costs = dict.fromkeys("abcdefgh", 1.0)
    calls = []

    def loss(floats):
        calls.append(floats)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        return additive(costs)(floats)

    found = quantization.ranked(Named.several(costs), loss, [])
    assert (len(found.costs), found.floats) == (3, None)
    monkeypatch.setattr(quantization, "SECONDS", 0)
    found = quantization.ranked(Named.several(costs), additive(costs), [])
    assert (found.costs, found.floats) == ([], None)


def test_an_operation_that_cannot_be_tried_is_left_out():
    def loss(floats):
        return np.inf if floats == {"b", "c"} else additive({"a": 9.0, "b": 3.0, "c": 0})(floats)

    found = quantization.ranked(Named.several("abc"), loss, [])
    assert [each.name for each in found.costs] == ["b", "c"]
    assert found.floats is None  # the loss of "a" remains


@pytest.mark.parametrize("name", ["outlier", "all"])
def test_a_repaired_file_outlives_its_process(here, monkeypatch, name):
    """A second process of the same conversion keeps the file, with its note."""
    directory = here(name)
    monkeypatch.chdir(directory)
    records = []
    for _ in range(2):
        conversion.convert(f"{name}.keras", progress=rescue.Progress("progress.json"))
        rows = record_of(directory / f"{name}.check.json")["variants"]
        records.append({variant: (row["sha256"], row.get("note")) for variant, row in rows.items()})
    assert records[0] == records[1]
    assert records[1]["full integer"][1]


def test_the_record_can_be_read_by_others(here, warm):
    directory = here("one")
    warm("convert", "one.keras", cwd=directory)
    text = (directory / "one.check.json").read_text(encoding="utf-8")
    operation = json.loads(text)["operations"][0]
    assert operation.keys() == {"name", "kind", "layer", "loss"}


def test_the_program_of_the_page_prints_what_the_page_shows(tmp_path, warm):
    """The numbers may differ, because processors add in different orders."""
    text = PAGE.read_text(encoding="utf-8")
    program, *_ = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    shown = re.search(r"```text\n(.+?)```", text, re.DOTALL)[1]
    (tmp_path / "loan.py").write_text(program, encoding="utf-8")
    assert run(tmp_path / "loan.py", cwd=tmp_path).returncode == 0
    out = warm("convert", "loan.keras", cwd=tmp_path).stdout
    words = [re.sub(r"[\d,.]+", "", line).split() for line in shown.splitlines()]
    ours = [re.sub(r"[\d,.]+", "", line).split() for line in out.splitlines()]
    for line in words:
        assert line in ours, line
    ours, theirs = table(out), table(shown)
    assert ours.keys() == theirs.keys()
    for variant, row in theirs.items():
        assert ours[variant]["bytes"] == row["bytes"]
        accuracy = [float(each[variant]["metric"].rstrip("%")) for each in (ours, theirs)]
        assert abs(accuracy[0] - accuracy[1]) < (20 if variant == "full integer" else 2)


def test_training_with_quantization_is_what_the_page_shows(tmp_path):
    """The program trains the model's own weights, and does not change its layers."""
    text = PAGE.read_text(encoding="utf-8")
    _, program = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    model = ailing.convolutions(blocks=1)
    x, y = ailing.images(200, seed=1)
    kinds, before = [type(layer) for layer in model.layers], model.get_weights()
    path = tmp_path / "trained.keras"
    program = program.replace('"trained.keras"', repr(str(path))).replace("epochs=20", "epochs=2")
    exec(program, {"keras": keras, "model": model, "x_train": x, "y_train": y})
    loaded = keras.models.load_model(path)
    assert [type(layer) for layer in loaded.layers] == kinds
    assert any((a != b).any() for a, b in zip(before, loaded.get_weights(), strict=True))
    assert np.mean(np.argmax(loaded(x), axis=1) == y) > 0.8
