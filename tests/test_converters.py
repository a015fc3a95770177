"""The converter's settings. One converter makes all files of a source."""

import numpy as np
import pytest
from tensorflow import keras

from litecheck import artifacts, converters, models
from litecheck.artifacts import PART


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return the source of a small model."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    return models.load(model, "net").source


@pytest.mark.parametrize("is_reversed", [False, True])
def test_one_converter_makes_all_files(source, is_reversed):
    """Each file equals that of a new converter, whichever files were made before."""
    runs = [{"image": x[None]} for x in np.random.default_rng(1).random((20, 8, 8, 1), "float32")]
    variants = sorted({*artifacts.VARIANTS} - {PART}, reverse=is_reversed)
    files = {variant: converters.converted(source, variant, runs) for variant in variants}
    assert len({*files.values()}) == len(files) == 6
    for variant, content in files.items():
        del source.converter
        assert converters.converted(source, variant, runs) == content, variant


def test_part_integer_has_a_converter_of_its_own(source):
    """The quantization debugger changes its converter, which afterwards only calibrates."""
    converter = converters.converter(source, "float32", [])
    assert converters.converter(source, "full integer", []) is converter
    assert converters.converter(source, PART, []) is not converter
