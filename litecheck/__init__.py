"""Convert a Keras model to `.tflite` files, check that they compute the same, and run them.

Importing this package imports neither TensorFlow nor Keras, because a device needs only `run`.
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
    """Convert a model to every variant, check each one, print a table, and save the sound files.

    Args:
        model: a Keras model, the path of a Keras archive, or the directory of a SavedModel.
        name: the path without suffix that all files are named after. By default it is the model's
            path. The files are NAME.tflite, NAME.quant.tflite, NAME.dynamic.tflite,
            NAME.int8.tflite, NAME.check.json and NAME.variants.png. If a test set shows that eight
            bits lose much, NAME.mixed.tflite or NAME.int16.tflite is added.
        samples: typical inputs: an array, a dict of arrays by input name, a `.npy` or `.npz` file,
            or a folder of images. Arrays have the shape and dtype that the model takes, samples
            first. They calibrate full-integer quantization, which is left out without samples. By
            default they are in `NAME.samples.npy` beside a model that has a path.
        test: a test set: a pair of inputs and labels, a `.npz` file, or a folder with one subfolder
            of images per class. The file has the arrays `inputs` and `labels`. By default it is
            `NAME.test.npz` beside a model that has a path.
        signature: the signature of a SavedModel that is converted. By default it is the only one,
            or serving_default.
        batch: the batch size to fix, which is the number of samples in a run.
        loops: whether LSTM layers stay loops, as browsers and LiteRT's C API need them. By default
            each LSTM is one operation, and a program resets its state before each sample.
        float_ends: whether to add a full-integer file with float32 inputs and outputs.
        scale: the scale of images: "0..1", "-1..1", or by default "0..255", which leaves the pixel
            values unchanged.

    Returns:
        The `Check`. Its `rows` has a `Row` for each saved variant, by the variant's name. If
        TensorFlow ends the process, the record still describes the files written so far.

    Raises:
        Failure: the model cannot be loaded or converted, the samples do not fit it, or the float32
            file returns other outputs than the model. Then nothing is written.

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
        inputs: the samples, on the first axis: an array, a dict of arrays by input name, a `.npy`
            or `.npz` file, an image or a folder of images. A file that is quantized to integers
            takes real numbers, too.
        scale: the scale of images: "0..255", "0..1" or "-1..1". By default it is the one in the
            file's record.

    Returns:
        A dict of arrays by output name, samples first.

    Raises:
        Failure: the file is missing or damaged, or the inputs do not fit it.

    Example:
        >>> litecheck.run("digits.int8.tflite", images)["output_0"].argmax(axis=-1)
    """
    from litecheck import running

    return running.run(path, inputs, scale)


def __getattr__(name: str) -> Any:
    """Import `Check` only when it is used, because it needs TensorFlow."""
    if name == "Check":
        from litecheck.table import Check

        return Check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
