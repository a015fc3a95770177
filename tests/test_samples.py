"""Files of samples: by name, by number, and those that do not fit."""

import shutil
import types

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import assert_clear_error, assert_converted

from backstage import samples

RNG = np.random.default_rng(7)


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
    process = warm("03_convert_model.py", "normalization.keras", "--samples", path, cwd=tmp_path)
    assert_clear_error(process, str(path), phrase)
    assert not list(tmp_path.glob("*.tflite"))


def test_samples_of_different_numbers_or_missing(warm, models, tmp_path):
    shutil.copy(models / "two_inputs.keras", tmp_path)
    np.savez(tmp_path / "s.npz", left=np.ones((5, 4)), right=np.ones((6, 3)))
    process = warm("03_convert_model.py", "two_inputs.keras", "--samples", "s.npz", cwd=tmp_path)
    assert_clear_error(process, "s.npz", "different numbers of samples")
    process = warm("03_convert_model.py", "two_inputs.keras", "--samples", "t.npz", cwd=tmp_path)
    assert_clear_error(process, "t.npz")


def test_pickles_are_refused(warm, pipeline, tmp_path):
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model")
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    for script, option in [
        ("03_convert_model.py", "--samples"),
        ("04_deploy_tflite.py", "--input"),
    ]:
        process = warm(script, option, "x.npy", cwd=tmp_path)
        assert_clear_error(process, "x.npy", "allow_pickle=False")


def model(**inputs):
    """Return what `typical` wants to know of a model, from names, shapes and dtypes."""
    made = {name: samples.Input(shape, np.dtype(dtype)) for name, (shape, dtype) in inputs.items()}
    return types.SimpleNamespace(path="a.keras", inputs=made)


@pytest.mark.parametrize(
    ("count", "first", "taken"),
    [
        (100, None, range(100)),
        (101, None, range(0, 101, 2)),
        (250, None, range(0, 250, 3)),
        (7, 3, [0, 3]),  # three samples a run; the seventh fills none
        (600, 3, range(0, 600, 6)),
    ],
)
def test_about_a_hundred_runs_spread_over_all_samples(tmp_path, count, first, taken):
    np.save(tmp_path / "x.npy", np.arange(2 * count).reshape(count, 2))
    runs = samples.typical(tmp_path / "x.npy", model(x=((first, 2), "float32")))
    assert [run["x"][0, 0] for run in runs] == [2 * i for i in taken]
    assert {run["x"].shape for run in runs} == {(first or 1, 2)}
    assert {run["x"].dtype for run in runs} == {np.dtype("float32")}


def test_a_file_of_runs_and_inputs_without_an_axis_for_samples(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((6, 1, 2)), scale=np.arange(6))
    runs = samples.typical(
        tmp_path / "x.npz", model(x=((None, 2), "float32"), scale=((), "float32"))
    )
    assert [run["x"].shape for run in runs] == [(1, 2)] * 6
    assert [run["scale"] for run in runs] == list(range(6))


def test_given_takes_all_at_once_or_as_many_as_fit(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(10).reshape(5, 2))
    for shape, lengths in [([-1, 2], [5]), ([2, 2], [2, 2, 1]), ([1, -1], [1] * 5)]:
        runs = samples.given(tmp_path / "x.npy", {"x": shape}, "a.tflite")
        assert [len(run["x"]) for run in runs] == lengths
        np.testing.assert_array_equal(
            np.concatenate([run["x"] for run in runs]), np.arange(10).reshape(5, 2)
        )
    runs = samples.given(tmp_path / "x.npy", {"x": [2]}, "a.tflite")
    assert [run["x"].tolist() for run in runs] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_random_inputs():
    inputs = model(
        image=((None, None, 50, 3), "uint8"), word=((2, 40), "int32"), x=((None, 40), "float32")
    ).inputs | {"text": samples.Input((1,), np.dtype(object))}
    runs, again = samples.at_random(inputs), samples.at_random(inputs)
    assert len(runs) == 8
    for name, shape in [("image", (1, 32, 50, 3)), ("word", (2, 40)), ("x", (1, 40))]:
        values = np.array([run[name] for run in runs])
        assert values.shape == (8, *shape)
        assert values.dtype == inputs[name].dtype
        np.testing.assert_array_equal(values, [run[name] for run in again])
        assert len({value.tobytes() for value in values}) == 8
    assert {0, 255} <= set(np.array([run["image"] for run in runs]).ravel().tolist())
    assert set(np.array([run["word"] for run in runs]).ravel().tolist()) == {0, 1}
    assert 0 <= min(run["x"].min() for run in runs) < 0.1
    assert 0.9 < max(run["x"].max() for run in runs) < 1
    assert runs[0]["text"] == b"text"
