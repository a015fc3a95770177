"""The figures show exactly the given numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from litecheck import artifacts, inside, pictures


@pytest.fixture(autouse=True)
def closed():
    """Close all figures after each test."""
    yield
    plt.close("all")


def drawn(axes):
    """Return the lines and points of a figure: a dict from labels to (n, 2)."""
    return {line.get_label(): np.array(line.get_xydata()) for line in axes.lines}


def test_training():
    x = np.arange(100, 200, dtype="float32").reshape(-1, 1)
    asked = np.float32([[1], [2]])
    figure = pictures.training(
        [1e6, 1e-3], 1000, lambda x: 100 * x, x, 100 * x + 5, asked, 9 * asked
    )
    left, right = figure.axes
    (losses,) = drawn(left).values()
    np.testing.assert_array_equal(losses, [[1000, 1e6], [2000, 1e-3]])
    assert left.get_yscale() == "log"
    lines = drawn(right)
    np.testing.assert_array_equal(lines["the model"], [[0, 0], [210, 21000]])
    np.testing.assert_array_equal(lines["training data"], np.hstack([x, 100 * x + 5]))
    np.testing.assert_array_equal(lines["predictions for 1 to 5"], [[1, 9], [2, 18]])


def test_each_variant_has_its_colour_and_its_mark():
    assert list(pictures.COLORS) == list(pictures.MARKERS) == list(artifacts.VARIANTS)
    for variant, (_, color) in artifacts.VARIANTS.items():
        assert pictures.COLORS[variant] == color
    assert len({*pictures.COLORS.values()}) == len({*pictures.MARKERS.values()}) == 7


def test_variants_take_turns(pipeline):
    x = np.arange(5, 600, 12, dtype="float32")
    outputs = {variant: 100 * x + i for i, variant in enumerate(list(artifacts.VARIANTS)[:4])}
    integers = inside.read(str(pipeline[0] / "saved_model/my_model.int8.tflite"))
    contents = {
        variant: integers._replace(size=1000 * (i + 1)) for i, variant in enumerate(outputs)
    }
    figure = pictures.variants(x, outputs, contents)
    left, right = figure.axes
    lines = drawn(left)
    for i, variant in enumerate(outputs):
        np.testing.assert_array_equal(lines[variant][:, 0], x[i::4])
        np.testing.assert_array_equal(lines[variant][:, 1], 100 * x[i::4] + i)
    assert [bar.get_width() for bar in right.patches] == [1000, 2000, 3000, 4000]
    assert [text.get_text() for text in right.texts] == ["1,000", "2,000", "3,000", "4,000"]
    band = next(patch for patch in left.patches if patch.get_label() == "range of full integer")
    held = (band.get_x(), band.get_x() + band.get_width())
    assert held == pytest.approx((0, 199))
    assert right.get_xlim()[1] > 4000


def test_the_steps(pipeline):
    tensor = inside.read(str(pipeline[0] / "saved_model/my_model.int8.tflite")).inputs[0]
    figure = pictures.steps(tensor, 150)
    whole, close = figure.axes
    assert "real = 0.78039 * (q + 128)" in whole.get_title()
    assert close.get_title() == "150 is stored as 64, which stands for 149.835"
    np.testing.assert_allclose(
        [line[0, 0] for line in whole.collections[-1].get_segments()],
        tensor.real(np.arange(-128, 128)),
    )


def test_what_variants_cost():
    columns = {
        "bytes": {"float32": (4000, "4,000"), "full integer": (1000, "1,000")},
        "error": {"float32": (0.0, "0"), "full integer": (np.inf, "inf")},
    }
    figure = pictures.compared(columns)
    for axes, (title, values) in zip(figure.axes, columns.items(), strict=True):
        assert axes.get_title() == title
        assert [bar.get_width() for bar in axes.patches] == [
            number for number, _ in values.values()
        ]
        assert [text.get_text() for text in axes.texts] == [text for _, text in values.values()]
    assert figure.axes[0].get_xlim()[1] > 4000
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["float32", "full integer"]
