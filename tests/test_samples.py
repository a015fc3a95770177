"""Files of samples: by name, by number, and those that do not fit."""

import shutil

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import assert_clear_error, assert_converted

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
