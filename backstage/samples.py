"""Where do typical inputs come from? From a `.npy` or `.npz` file, or at random."""

import contextlib
import os
from typing import NamedTuple

import numpy as np

from backstage import script


class Input(NamedTuple):
    """What a model takes at one of its inputs: a shape, with None where it varies, and a dtype."""

    shape: tuple
    dtype: np.dtype

    def __str__(self):
        """Return it as "float32 (None, 3)"."""
        return f"{self.dtype.name} {self.shape}"


def find(name):
    """Return the file of samples beside a model NAME: `NAME.samples.npy` or `.npz`, or None."""
    files = (f"{name}.samples.npy", f"{name}.samples.npz")
    return next((file for file in files if os.path.exists(file)), None)


def read(path, names):
    """Read one array for each input of a model.

    Args:
        path: a `.npy` file for a model's only input, or a `.npz` file with an array for each.
        names: the inputs' names.

    Returns:
        A dict of arrays by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, needs a pickle, or lacks an array.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            if len(names) == 1:
                return dict.fromkeys(names, content)
            content = {}
        arrays = {name: content[name] for name in names if name in content}
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        message = f"it cannot be read ({script.brief(error)}): write it with numpy.save"
        raise ValueError(message) from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"it must be a .npz file with an array named {missing[0]!r}")
    return arrays


def typical(path, model, most=100):
    """Read the inputs of stage 3: a run takes one sample, or as many as the first axis fixes.

    Args:
        path: see `read`.
        model: an object with `inputs`, a dict of `Input` by name, and a `path` for the error.
        most: how many runs are enough; of more, some are taken that are spread evenly.

    Returns:
        A list with a dict for each run from names to arrays of the inputs' shapes and dtypes.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: the file is damaged, or its names, shapes or dtypes do not fit the model.
    """
    inputs = model.inputs
    with _fitting(path, model.path, [f"{name} {input}" for name, input in inputs.items()]):
        arrays = read(path, list(inputs))
        sizes = {
            name: input.shape[0] or 1 if arrays[name].ndim == len(input.shape) > 0 else None
            for name, input in inputs.items()
        }
        runs = [_checked(run, inputs) for run in _split(arrays, sizes) if _full(run, sizes)]
        if not runs:
            raise ValueError("there are too few samples for one run")
        return runs[:: -(-len(runs) // most)]


def given(path, shapes, model):
    """Read the inputs of stage 4: a run takes all samples, or as many as the first axis fixes.

    An input without an axis for samples takes one by one.

    Args:
        path: see `read`.
        shapes: a dict from names to shape signatures, where -1 stands for a size that varies.
        model: the model's path, for the error.

    Returns:
        A list with a dict for each run from names to arrays; the last may hold fewer samples.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: the file is damaged, or its names or numbers of samples do not fit.
    """
    with _fitting(path, model, [f"{name} {list(shape)}" for name, shape in shapes.items()]):
        arrays = read(path, list(shapes))
        sizes = {
            name: (shape[0] if shape[0] > 0 else max(len(arrays[name]), 1))
            if arrays[name].ndim == len(shape) > 0
            else None
            for name, shape in shapes.items()
        }
        return _split(arrays, sizes)


@contextlib.contextmanager
def _fitting(path, model, takes):
    """Say in one line that the file does not fit the model, and what it takes."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = f"{path} does not fit {model} ({', '.join(takes)}): {script.brief(error)}"
        raise script.Failure(message) from error


def _split(arrays, sizes):
    """Divide samples among runs.

    Args:
        arrays: a dict of arrays.
        sizes: how many samples a run takes at each input, by name; None where a sample has no axis
            for that.

    Returns:
        A list with a dict of arrays for each run; the last may hold fewer samples.

    Raises:
        ValueError: the inputs have different numbers of samples.
    """
    columns = []
    for name, array in arrays.items():
        if sizes[name] is None:
            columns.append(list(array) if array.ndim else [array])
        else:
            starts = range(0, len(array), sizes[name])
            columns.append([array[i : i + sizes[name]] for i in starts])
    if len({len(column) for column in columns}) > 1:
        raise ValueError("the inputs have different numbers of samples")
    return [dict(zip(arrays, row, strict=True)) for row in zip(*columns, strict=True)]


def _full(run, sizes):
    """Return whether a run has all the samples that it takes."""
    return all(sizes[name] is None or sizes[name] == len(run[name]) for name in run)


def _checked(run, inputs):
    """Return the arrays of a run in the inputs' dtypes; raise ValueError or TypeError if not."""
    for name, (shape, dtype) in inputs.items():
        array = run[name]
        if len(shape) != array.ndim or any(
            size not in (None, given) for size, given in zip(shape, array.shape, strict=True)
        ):
            raise ValueError(f"a sample of {name} has the shape {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        run[name] = array.astype(dtype, casting="same_kind")
    return run


def at_random(inputs, count=8):
    """Return random inputs for a number of runs, the same ones every time.

    They are reals in [0, 1), bytes, integers 0 and 1, or texts. A size that varies becomes 1 on the
    first axis and 32 on others.

    Args:
        inputs: a dict of `Input`.
        count: how many runs.

    Returns:
        A list with a dict for each run from names to arrays of the inputs' shapes and dtypes.
    """
    generator = np.random.default_rng(seed=0)
    return [
        {name: _random(input, generator) for name, input in inputs.items()} for _ in range(count)
    ]


def _random(input, generator):
    values = generator.random(
        [size or (32 if axis else 1) for axis, size in enumerate(input.shape)]
    )
    if input.dtype.kind == "O":
        return np.full(values.shape, b"text", object)
    if input.dtype.kind not in "fc":
        values = np.floor(values * (256 if input.dtype == np.uint8 else 2))
    return values.astype(input.dtype)
