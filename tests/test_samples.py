"""Samples in files and arrays: by name, by number, and samples that do not fit."""

import shutil

import numpy as np
import pytest
from conftest import assert_clear_error, assert_converted, tensors

from litecheck import samples, script

RNG = np.random.default_rng(7)


def test_named_samples_and_integer_inputs(warm, models, tmp_path):
    for name in ["two_inputs", "embedding"]:
        shutil.copy(models / f"{name}.keras", tmp_path)
    arrays = {"right": RNG.normal(size=(30, 3)), "left": RNG.normal(size=(30, 4))}
    np.savez(tmp_path / "two_inputs.samples.npz", **arrays)
    np.save(tmp_path / "words.npy", RNG.integers(0, 50, (30, 8)))
    variants = ["float32", "float16", "dynamic range", "full integer"]
    process = warm("convert", "two_inputs.keras", cwd=tmp_path)
    assert_converted(process, tmp_path / "two_inputs.keras", variants)
    process = warm("convert", "embedding.keras", "--samples", "words.npy", cwd=tmp_path)
    assert_converted(process, tmp_path / "embedding.keras", variants)
    (words,) = tensors(tmp_path / "embedding.int8.tflite")[0].values()
    assert words["dtype"] == np.int32


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (np.ones((5, 4), "float32"), "(None, 3)"),
        (np.ones((5, 3), "complex64"), "complex64"),
        (np.array([["a", "b", "c"]]), "dtype('<U1')"),
        (np.ones((0, 3), "float32"), "too few samples"),
        (np.float32(1), "float32 (None, 3)"),
        (np.array([{}], dtype=object), "allow_pickle=False"),
        ({"other": np.ones((5, 3))}, "an array named '"),
    ],
)
def test_samples_that_do_not_fit(warm, models, tmp_path, content, phrase):
    path = tmp_path / ("samples.npz" if isinstance(content, dict) else "samples.npy")
    np.savez(path, **content) if isinstance(content, dict) else np.save(path, content)
    shutil.copy(models / "normalization.keras", tmp_path)
    process = warm("convert", "normalization.keras", "--samples", path, cwd=tmp_path)
    assert_clear_error(process, str(path), phrase)
    assert not list(tmp_path.glob("*.tflite"))


def test_samples_of_different_numbers_or_missing(warm, models, tmp_path):
    shutil.copy(models / "two_inputs.keras", tmp_path)
    np.savez(tmp_path / "s.npz", left=np.ones((5, 4)), right=np.ones((6, 3)))
    process = warm("convert", "two_inputs.keras", "--samples", "s.npz", cwd=tmp_path)
    assert_clear_error(process, "s.npz", "different numbers of samples")
    process = warm("convert", "two_inputs.keras", "--samples", "t.npz", cwd=tmp_path)
    assert_clear_error(process, "t.npz is missing")


def test_pickles_are_refused(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    for command, model, option in [
        ("convert", "saved_model/my_model", "--samples"),
        ("run", "saved_model/my_model.tflite", "--input"),
    ]:
        process = warm(command, model, option, "x.npy", cwd=tmp_path)
        way = 'convert it to an array of numbers first, such as with astype("float32")'
        assert_clear_error(process, "x.npy", f"allow_pickle=False): {way}")


def takes(**inputs):
    """Return a model's inputs, from names, shapes and dtypes."""
    return {name: samples.Input(shape, np.dtype(dtype)) for name, (shape, dtype) in inputs.items()}


@pytest.mark.parametrize(
    ("count", "first", "compared", "calibrating"),
    [
        (100, None, 100, 100),
        (101, None, 101, 101),
        (2500, None, 1000, 500),
        (7, 3, 6, 6),  # three samples in each run, so the seventh is unused
        (600, 3, 600, 498),
        (5000, 3, 999, 498),
        (5000, 2000, 2000, 2000),  # at least one run
    ],
)
def test_samples_are_drawn_without_an_order(tmp_path, count, first, compared, calibrating):
    path = str(tmp_path / "x.npy")
    np.save(path, np.arange(2 * count).reshape(count, 2))
    typical = samples.for_calibration(path, "a.keras", takes(x=((first, 2), "float32")))
    *single, several = typical.ids if not first else [*typical.ids, []]
    ids = [sample for run in single for sample in run]
    assert len(ids) == len(set(ids)) == typical.size() == compared
    assert several == ([] if first else ids[:8])  # with a variable batch size, also several at once
    calibrates = typical.calibrating()
    assert sum(len(run["x"]) for run in calibrates.runs) == calibrates.size() == calibrating
    run = f", {first:,} a run" if first else ""
    assert str(typical) == f"{compared:,} of {count:,} samples of {path}{run}"
    for run, own in zip(typical.runs, typical.ids, strict=True):
        assert run["x"].dtype == np.float32
        np.testing.assert_array_equal(run["x"][:, 0], 2 * np.array(own))
        assert len(own) == (first or 1) or own is several
    if compared > 50 * (first or 1):
        odd = sum(sample % 2 for sample in ids)  # data often alternate
        assert 0.4 * compared < odd < 0.6 * compared
        drawn = ids[:50]
        assert drawn != sorted(drawn)
    again = samples.for_calibration(path, "a.keras", takes(x=((first, 2), "float32")))
    assert again.ids == typical.ids


def test_arrays_are_divided_as_files_are(tmp_path):
    """One input takes an array, and several inputs a dict by name."""
    x = np.arange(40).reshape(20, 2)
    np.save(tmp_path / "x.npy", x)
    inputs = takes(x=((None, 2), "float32"))
    given = samples.for_calibration(x, "a.keras", inputs)
    read = samples.for_calibration(str(tmp_path / "x.npy"), "a.keras", inputs)
    assert (given.ids, str(given)) == (read.ids, "20 of 20 samples")
    for ours, theirs in zip(given.runs, read.runs, strict=True):
        np.testing.assert_array_equal(ours["x"], theirs["x"])

    inputs = takes(a=((None, 2), "float32"), b=((None, 1), "int32"))
    given = samples.for_calibration({"b": x[:, :1], "a": x, "more": x}, "a.keras", inputs)
    for run, ids in zip(given.runs, given.ids, strict=True):
        np.testing.assert_array_equal(run["a"], x[ids])
        np.testing.assert_array_equal(run["b"], x[ids, :1])
    for wrong, message in [
        ({"a": x}, r"samples does not fit a\.keras .*: it must be a dict with an array named 'b'"),
        (x, "it must be a dict with an array named 'a'"),
        ({"a": x, "b": x}, r"a sample of b has the shape \(1, 2\)"),
        ({"a": x, "b": x[:, :1] + 0.5}, r"b is float64, and int32 cannot hold \d+\.5"),
    ]:
        with pytest.raises(script.Failure, match=message):
            samples.for_calibration(wrong, "a.keras", inputs)


def test_inputs_of_which_one_fixes_the_number_of_samples(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, a=np.arange(9).reshape(9, 1), b=np.arange(9).reshape(9, 1))
    for size in (1, 3):
        inputs = takes(a=((None, 1), "float32"), b=((size, 1), "float32"))
        typical = samples.for_calibration(path, "a.keras", inputs)
        assert [len(run["a"]) for run in typical.runs] == [size] * (9 // size)
        runs, left = samples.for_deployment(path, inputs, "a.tflite")
        assert ([len(run["a"]) for run in runs], left) == ([size] * (9 // size), 0)
        for run in [*runs, *typical.runs]:
            np.testing.assert_array_equal(run["a"], run["b"])


def test_a_file_of_runs_and_inputs_without_an_axis_for_samples(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, x=np.ones((6, 1, 2)), scale=np.arange(6))
    inputs = takes(x=((None, 2), "float32"), scale=((), "float32"))
    typical = samples.for_calibration(path, "a.keras", inputs)
    assert [run["x"].shape for run in typical.runs] == [(1, 2)] * 6
    assert sorted(run["scale"].item() for run in typical.runs) == list(range(6))


def test_given_takes_all_at_once_or_as_many_as_fit(tmp_path):
    path = str(tmp_path / "x.npy")
    np.save(path, np.arange(10).reshape(5, 2))
    for shape, lengths, left in [((None, 2), [5], 0), ((2, 2), [2, 2], 1), ((1, None), [1] * 5, 0)]:
        inputs = takes(x=(shape, "float32"))
        runs, over = samples.for_deployment(path, inputs, "a.tflite")
        assert ([len(run["x"]) for run in runs], over) == (lengths, left)
        np.testing.assert_array_equal(
            np.concatenate([run["x"] for run in runs]), np.arange(10).reshape(5, 2)[: sum(lengths)]
        )
    runs, _ = samples.for_deployment(path, takes(x=((2,), "float32")), "a.tflite")
    assert [run["x"].tolist() for run in runs] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    with pytest.raises(script.Failure, match="too few samples for one run"):
        samples.for_deployment(path, takes(x=((6, 2), "float32")), "a.tflite")


@pytest.mark.parametrize(
    ("values", "dtype", "refused"),
    [
        (np.array([0, 255], "int64"), "uint8", False),
        (np.array([0, 256], "int64"), "uint8", True),
        (np.array([200], "uint8"), "int8", True),
        (np.array([-1]), "uint8", True),
        (np.array([3.0, -2.0]), "int32", False),
        (np.array([0.5]), "int32", True),
        (np.array([2**31]), "int32", True),
        (np.array([0.1]), "float32", False),  # rounding to float32 is no loss
        (np.array([16_777_217]), "float32", False),
        (np.array([1e300]), "float32", True),
        (np.array([70_000]), "float16", True),
        (np.array([True, False]), "float32", False),
        (np.array([1, 0]), "bool", False),
        (np.array([2]), "bool", True),
        (np.array([1j]), "float32", True),
        (np.array([1.5]), "complex64", False),
        (np.array(["a"]), "float32", True),
        (np.array([1.0]), "object", True),
        (np.array(["a"]), "object", False),
    ],
)
def test_casts_that_change_a_value_are_refused(values, dtype, refused):
    if refused:
        with pytest.raises(TypeError, match="^x is "):
            samples.as_dtype(values, np.dtype(dtype), "x")
        return
    cast = samples.as_dtype(values, np.dtype(dtype), "x")
    assert dtype == "object" or cast.dtype == dtype
    np.testing.assert_array_equal(cast, values.astype(dtype))


def test_random_inputs():
    inputs = takes(
        image=((None, None, 50, 3), "uint8"),
        word=((2, 40), "int32"),
        x=((None, 40), "float32"),
        token=((2, 40), "int64"),
        text=((1,), object),
    )
    tables = {"token": 300}
    runs, again = (samples.at_random(inputs, tables).runs for _ in range(2))
    assert len(runs) == 8
    ends = [("image", (1, 32, 50, 3)), ("word", (2, 40)), ("token", (2, 40)), ("x", (1, 40))]
    for name, shape in ends:
        values = np.array([run[name] for run in runs])
        assert values.shape == (8, *shape)
        assert values.dtype == inputs[name].dtype
        np.testing.assert_array_equal(values, [run[name] for run in again])
        assert len({value.tobytes() for value in values}) == 8
    assert {0, 255} <= set(np.array([run["image"] for run in runs]).ravel().tolist())
    assert set(np.array([run["word"] for run in runs]).ravel().tolist()) == {0, 1}
    tokens = np.array([run["token"] for run in runs])
    assert 0 <= tokens.min() < 10 < 290 < tokens.max() < 300
    for index, run in enumerate(runs):
        scale = 4 if index in (3, 7) else 1
        assert -scale <= run["x"].min() < -0.8 * scale < 0.8 * scale < run["x"].max() < scale
    positive = [run["x"] for run in samples.at_random(inputs, {}, positive=True).runs]
    assert 0 <= np.min(positive) < 0.1 < 0.9 < np.max(positive) < 1
    assert runs[0]["text"] == b"text"
