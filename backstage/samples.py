"""Where do inputs come from? From a `.npy` or `.npz` file, or at random."""

import contextlib
import os
from typing import NamedTuple

import numpy as np

from backstage import script

COMPARED, CALIBRATING = 1000, 100  # samples at most
SEVERAL = 8  # samples in the last run, where the batch varies
ALONE, MANY = 16, 100  # runs of one sample in a test set, and samples in its other runs at most
ANSWERS = 2**23  # bytes of answers to one run


class Input(NamedTuple):
    """What a model takes at one of its inputs: a shape, with None where it varies, and a dtype."""

    shape: tuple
    dtype: np.dtype

    def __str__(self):
        """Return it as "float32 (None, 3)"."""
        return f"{self.dtype.name} {self.shape}"


class Typical(NamedTuple):
    """Typical inputs of a model.

    Attributes:
        file: where they come from; None if they are random.
        total: how many samples the file holds.
        runs: the inputs of each run: dicts from names to arrays of the inputs' shapes and dtypes.
        numbers: the numbers of the samples of each run in the file: a list of lists.
    """

    file: str | None
    total: int
    runs: list
    numbers: list

    def part(self, start, end):
        """Return some of the runs only."""
        return self._replace(runs=self.runs[start:end], numbers=self.numbers[start:end])

    def count(self):
        """Return how many samples are in the runs."""
        return len({number for run in self.numbers for number in run})

    def calibrating(self):
        """Return the part that calibrates: the first hundred samples, or the first run."""
        alike = sum(len(run) == len(self.numbers[0]) for run in self.numbers)
        return self.part(0, max(min(CALIBRATING // len(self.numbers[0]), alike), 1))

    def with_several(self, inputs):
        """Return the same and, where the batch varies, one run more, of several samples.

        Args:
            inputs: a dict of `Input` by name.
        """
        if len(self.runs) < 2 or not _varies(inputs):
            return self
        few = self.part(0, SEVERAL)
        return self._replace(
            runs=[*self.runs, joined(few.runs)], numbers=[*self.numbers, sum(few.numbers, [])]
        )

    def together(self, inputs, size):
        """Return the same samples in fewer runs, where the batch varies.

        The first runs take one sample each, and the others many: both sizes are tried, and many at
        once take less time.

        Args:
            inputs: a dict of `Input` by name.
            size: the bytes of the answers to one sample. Those of a run fill eight megabytes, or
                are a hundred.
        """
        if not _varies(inputs):
            return self
        many = min(max(ANSWERS // max(size, 1), 1), MANY)
        starts = [*range(min(ALONE, len(self.runs))), *range(ALONE, len(self.runs), many)]
        parts = [self.part(i, i + (1 if i < ALONE else many)) for i in starts]
        return self._replace(
            runs=[joined(part.runs) for part in parts],
            numbers=[sum(part.numbers, []) for part in parts],
        )

    def __str__(self):
        """Return how many samples there are in the file, and here."""
        drawn = self.count()
        if not self.file:
            return f"{drawn} random samples"
        return f"{drawn:,} of {self.total:,} samples of {self.file}"


def joined(runs):
    """Return runs as one, their samples one after the other."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def find(name, kind):
    """Return the file of a kind beside a model NAME: `NAME.KIND.npy` or `.npz`, or None."""
    files = (f"{name}.{kind}.npy", f"{name}.{kind}.npz")
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
    content = _load(path)
    if isinstance(content, np.ndarray):
        if len(names) == 1:
            return dict.fromkeys(names, content)
        content = {}
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"it must be a .npz file with an array named {missing[0]!r}")
    return {name: content[name] for name in names}


def _load(path):
    """Return the array of a `.npy` file, or a dict of those of a `.npz` file; see `read`."""
    try:
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        message = f"it cannot be read ({script.brief(error)}): write it with numpy.save"
        raise ValueError(message) from error


def for_calibration(path, model):
    """Read the inputs of stage 3: a run takes one sample, or as many as the first axis fixes.

    Of more than a thousand samples, a thousand are drawn by a seeded permutation: taking every
    k-th would take one kind only where data alternate.

    Args:
        path: see `read`.
        model: an object with `inputs`, a dict of `Input` by name, and a `path` for the error.

    Returns:
        The `Typical` inputs.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: the file is damaged, or its names, shapes or dtypes do not fit the model.
    """
    inputs = model.inputs
    with _fitting(path, model.path, inputs):
        arrays = read(path, list(inputs))
        sizes = _sizes(arrays, inputs, varying=1)
        runs = _split(arrays, sizes)
        runs, size = _full(_split(arrays, sizes), sizes), _samples(sizes)
        order = np.random.default_rng(seed=0).permutation(len(runs))
        order = order[: max(COMPARED // size, 1)].tolist()
        drawn = [_checked(runs[index], inputs) for index in order]
    typical = Typical(
        path, max(_counts(arrays).values()), drawn, [_numbers(index, size) for index in order]
    )
    return typical.with_several(inputs)


def test_set(path, model, inputs, outputs):
    """Read a test set: inputs, and their right answers, in one file.

    All samples are taken, drawn in a seeded order.

    Args:
        path: a `.npz` file with an array for each input and for outputs, by their names; `inputs`
            and `labels` stand for the only input and the only output.
        model: the model's path, for the error.
        inputs: a dict of `Input` by name.
        outputs: the names of the outputs.

    Returns:
        The `Typical` inputs, and a dict of the labels by the names of outputs, in their order.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: the file is damaged, or what it holds does not fit the model.
    """
    with _fitting(path, model, inputs):
        arrays = _load(path)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it must be a .npz file: write np.savez(FILE, inputs=x, labels=y)")
        taken, labels = (
            {names[0]: arrays.pop(alias)}
            if alias in arrays and alias not in names and len(names) == 1
            else {name: arrays.pop(name) for name in names if name in arrays}
            for alias, names in [("inputs", list(inputs)), ("labels", list(outputs))]
        )
        missing = [name for name in inputs if name not in taken]
        if missing or not labels:
            wanted = repr(missing[0] if missing else next(iter(outputs)))
            raise ValueError(
                f"it lacks an array named {wanted}: write np.savez(FILE, inputs=x, labels=y), or"
                " arrays by the names of inputs and outputs"
            )
        if arrays:
            known = ", ".join([*inputs, *outputs])
            raise ValueError(f"{next(iter(arrays))!r} is no input and no output ({known})")
        if any(array.ndim == 0 for array in labels.values()):
            raise ValueError("labels are one for each sample, not a single number")
        sizes = _sizes(taken, inputs, varying=1)
        counts, size = _counts(taken | labels), _samples(sizes)
        if len(set(counts.values())) > 1:
            raise ValueError(f"the numbers of samples differ: {counts}")
        runs = _full(_split(taken, sizes), sizes)
        order = np.random.default_rng(seed=0).permutation(len(runs)).tolist()
        runs = [_checked(runs[index], inputs) for index in order]
        numbers = [_numbers(index, size) for index in order]
    drawn = sum(numbers, [])
    labels = {name: array[drawn] for name, array in labels.items()}
    return Typical(path, max(counts.values()), runs, numbers), labels


def for_deployment(path, inputs, model):
    """Read the inputs of stage 4: a run takes all samples, or as many as the first axis fixes.

    An input without an axis for samples takes one by one.

    Args:
        path: see `read`.
        inputs: a dict of `Input` by name.
        model: the model's path, for the error.

    Returns:
        A list with a dict for each run from names to arrays, and how many samples are left over,
        since they are too few for a run.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: the file is damaged, or its names, dtypes or numbers of samples do not fit.
    """
    with _fitting(path, model, inputs):
        arrays = read(path, list(inputs))
        sizes = _sizes(arrays, inputs, varying=None)
        varying = {len(arrays[n]) for n in inputs if sizes[n] and not inputs[n].shape[0]}
        if len(varying) > 1:
            raise ValueError("the inputs have different numbers of samples")
        runs = [_checked(run, inputs, finite=False) for run in _full(_split(arrays, sizes), sizes)]
    return runs, max(_counts(arrays).values()) - len(runs) * _samples(sizes)


def as_dtype(values, dtype, name):
    """Return an array in another dtype.

    Args:
        values: an array.
        dtype: what it shall have.
        name: of what it is, for the error.

    Raises:
        TypeError: that would change a value by more than the rounding of floating point.
    """
    text, real = (values.dtype.kind in "OSU", values.dtype.kind in "fiub")
    if dtype.kind in "OSU" and text:
        return values
    if not (real or values.dtype.kind == dtype.kind == "c") or dtype.kind in "OSU":
        raise TypeError(f"{name} is {values.dtype!r}, not {dtype.name}")
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
    rounded = dtype.kind in "fc"
    kept = np.isfinite(cast) | ~np.isfinite(values) if rounded else cast == values
    if not np.all(kept):
        lost = values[~kept].ravel()[0]
        raise TypeError(f"{name} is {values.dtype.name}, and {lost} is no {dtype.name}")
    return cast


@contextlib.contextmanager
def _fitting(path, model, inputs):
    """Say in one line that the file does not fit the model, and what it takes."""
    try:
        yield
    except (ValueError, TypeError) as error:
        takes = ", ".join(f"{name} {input}" for name, input in inputs.items())
        message = f"{path} does not fit {model} ({takes}): {script.brief(error)}"
        raise script.Failure(message) from error


def _sizes(arrays, inputs, varying):
    """Return how many samples a run takes at each input, by name.

    It is None where a sample has no axis for that. Where the first axis varies it is as many as at
    an input that fixes their number and has as many samples, else `varying`, or all if that is
    None.
    """
    fixed = {
        len(arrays[name]): input.shape[0]
        for name, input in inputs.items()
        if input.shape and input.shape[0] and arrays[name].ndim == len(input.shape)
    }
    sizes = {}
    for name, (shape, _) in inputs.items():
        sizes[name] = None
        if arrays[name].ndim == len(shape) > 0:
            length = len(arrays[name])
            sizes[name] = shape[0] or fixed.get(length) or varying or max(length, 1)
    return sizes


def _split(arrays, sizes):
    """Divide samples among runs.

    Args:
        arrays: a dict of arrays.
        sizes: see `_sizes`.

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


def _samples(sizes):
    """Return how many samples a run takes, from `_sizes`."""
    return max(filter(None, sizes.values()), default=1)


def _counts(arrays):
    """Return how many samples each of a dict of arrays holds."""
    return {name: len(array) if array.ndim else 1 for name, array in arrays.items()}


def _varies(inputs):
    """Return whether the batch of a model varies, from a dict of `Input`."""
    return all(None in input.shape[:1] for input in inputs.values())


def _full(runs, sizes):
    """Return the runs that have all the samples that they take.

    Raises:
        ValueError: there is none.
    """
    full = [
        run
        for run in runs
        if all(sizes[name] is None or sizes[name] == len(run[name]) for name in run)
    ]
    if not full:
        raise ValueError("there are too few samples for one run")
    return full


def _numbers(index, size):
    """Return the numbers of the samples of a run, from its own and how many samples it takes."""
    return list(range(index * size, (index + 1) * size))


def _checked(run, inputs, finite=True):
    """Return the arrays of a run in the inputs' dtypes; raise ValueError or TypeError if not."""
    checked = {}
    for name, (shape, dtype) in inputs.items():
        array = run[name]
        if len(shape) != array.ndim or any(
            size not in (None, given) for size, given in zip(shape, array.shape, strict=True)
        ):
            raise ValueError(f"a sample of {name} has the shape {array.shape}")
        if finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        checked[name] = as_dtype(array, dtype, name)
    return checked


def at_random(inputs, count=8):
    """Return random inputs for a number of runs, the same ones every time.

    They are reals in [0, 1), bytes, integers 0 and 1, or texts. A size that varies becomes 1 on the
    first axis and 32 on others.

    Args:
        inputs: a dict of `Input`.
        count: how many runs.

    Returns:
        The `Typical` inputs.
    """
    generator = np.random.default_rng(seed=0)
    runs = [
        {name: _random(input, generator) for name, input in inputs.items()} for _ in range(count)
    ]
    size = max((input.shape[0] or 1 for input in inputs.values() if input.shape), default=1)
    typical = Typical(None, count, runs, [_numbers(index, size) for index in range(count)])
    return typical.with_several(inputs)


def _random(input, generator):
    values = generator.random(
        [size or (32 if axis else 1) for axis, size in enumerate(input.shape)]
    )
    if input.dtype.kind == "O":
        return np.full(values.shape, b"text", object)
    if input.dtype.kind not in "fc":
        values = np.floor(values * (256 if input.dtype == np.uint8 else 2))
    return values.astype(input.dtype)
