"""Convert a Keras model to `.tflite` files, check that they compute the same, and run them.

Importing this package imports neither TensorFlow nor Keras: a device needs `run` only.
"""

from typing import TYPE_CHECKING, Any

from litecheck.script import Failure

if TYPE_CHECKING:
    import numpy as np

    from litecheck.samples import Given
    from litecheck.table import Check, Test

__all__ = ["Check", "Failure", "convert", "run"]


def convert(
    model: Any,
    name: str | None = None,
    *,
    samples: "Given | None" = None,
    test: "Test | None" = None,
    signature: str | None = None,
    batch: int | None = None,
    loops: bool = False,
    float_ends: bool = False,
    scale: str | None = None,
) -> "Check":
    """Convert a model to every variant, check each, print a table, and save what is sound.

    Args:
        model: a Keras model, the path of a Keras archive, or the directory of a SavedModel.
        name: the path, without suffix, after which the files are named: NAME.tflite,
            NAME.quant.tflite, NAME.dynamic.tflite, NAME.int8.tflite, if a test set shows
            that eight bits lose much NAME.mixed.tflite or NAME.int16.tflite, NAME.check.json and
            NAME.variants.png. By default that of the model.
        samples: typical inputs, samples first, of the shape and dtype that the model takes: an
            array, a dict of arrays by the names of several inputs, a `.npy` or `.npz` file, or a
            folder of images. They calibrate full-integer quantization. By default
            `NAME.samples.npy` beside a model that has a path; without samples there is no
            full-integer variant.
        test: a test set: a pair of inputs and labels, a `.npz` file with the arrays `inputs` and
            `labels`, or a folder with a folder of images for each class. By default `NAME.test.npz`
            beside a model that has a path.
        signature: which of a SavedModel's signatures; by default the only one or serving_default.
        batch: fixes how many samples a run takes.
        loops: keeps LSTM layers loops, as browsers and LiteRT's C API need them. By default each is
            one operation, which a program resets before each sample.
        float_ends: also makes full integer with inputs and outputs of float32.
        scale: of images: "0..1", "-1..1", or by default "0..255", pixel values as they are.

    Returns:
        The `Check`: `rows` has a `Row` for each variant that was saved, by its name. If TensorFlow
        ends the process, the files that are written have their record.

    Raises:
        Failure: the model cannot be loaded or converted, samples do not fit it, or the float32 file
            returns other outputs. Nothing is written then.

    Example:
        >>> check = litecheck.convert(model, "digits", samples=x_train, test=(x_test, y_test))
        >>> check.rows["full integer"].metrics
    """
    from litecheck import conversion

    options = (signature, batch, loops, float_ends, scale)
    return conversion.convert(model, name, samples, test, *options)


def run(path: str, inputs: "Given", scale: str | None = None) -> "dict[str, np.ndarray]":
    """Run a `.tflite` file, and return its outputs as real numbers.

    Args:
        path: the file.
        inputs: samples first, real numbers in place of a quantized file's integers: an array, a
            dict of arrays by the names of several inputs, a `.npy` or `.npz` file, an image or a
            folder of images.
        scale: of images: "0..255", "0..1" or "-1..1"; by default what the file's record says.

    Returns:
        Arrays by the names of outputs, samples first.

    Raises:
        Failure: the file is missing or damaged, or the inputs do not fit it.

    Example:
        >>> litecheck.run("digits.int8.tflite", images)["output_0"].argmax(axis=-1)
    """
    from litecheck import running

    return running.run(path, inputs, scale)


def __getattr__(name: str) -> Any:
    """Import `Check` when it is asked for, since it needs TensorFlow."""
    if name == "Check":
        from litecheck.table import Check

        return Check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
