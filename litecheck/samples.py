"""Where do inputs and labels come from? From arrays, files, images, or random numbers."""

import contextlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import classes, images, script

Arrays = dict[str, np.ndarray]  # by the names of inputs or outputs
Given = str | np.ndarray | Mapping[str, np.ndarray]  # a path, the only input, or inputs by name
Test = str | Mapping[str, np.ndarray] | tuple[Given, Given]  # a path, arrays by name, or a pair

COMPARED, CALIBRATING = 1000, 500  # the most samples that are compared, and that calibrate
SEVERAL, ROOM = 8, 2**20  # the most samples in the run of several, and the most bytes of them
ALONE, MANY = 100, 100  # a test set's runs of one sample, and the most samples in its other runs
OUTPUTS = 2**23  # the most bytes of the outputs of one run
DECODED = 2**31  # the most bytes of a test set's decoded images: images beyond that are left out
WRITTEN = "give an image, or write numbers with numpy.save"
SAVEZ = "write np.savez(FILE, inputs=x, labels=y)"  # how to give a test set
LABELLED = f"{SAVEZ}, or give a folder with one subfolder of images per class"
ARRAYS = "the set of samples"  # stands for the path where samples were given as arrays


class Input(NamedTuple):
    """The shape and dtype of one input of a model. None in the shape is a variable size."""

    shape: tuple[int | None, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        """Return dtype and shape as text, such as "float32 (None, 3)"."""
        return f"{self.dtype.name} {self.shape}"


class Samples(NamedTuple):
    """Samples for a model, divided into runs.

    Attributes:
        source: the file or folder that the samples come from. For arrays it is `ARRAYS` or "the
            test set", and for random samples None.
        total: how many samples the source has.
        runs: for each run a dict from input names to arrays of the inputs' shapes and dtypes.
        ids: for each run a list with the indices of its samples among all samples.
    """

    source: str | None
    total: int
    runs: Sequence[Arrays]
    ids: list[list[int]]

    def part(self, start: int | None, end: int | None) -> "Samples":
        """Return only the runs from `start` to `end`."""
        return self._replace(runs=self.runs[start:end], ids=self.ids[start:end])

    def first(self, count: int) -> "Samples":
        """Return only the first `count` runs, and the last run if it has several samples."""
        runs = [*range(min(count, len(self.runs)))]
        last = len(self.runs) - 1
        if count <= last and len(self.ids[last]) > len(self.ids[0]):
            runs.append(last)
        return self.chosen(runs)

    def chosen(self, runs: Sequence[int]) -> "Samples":
        """Return only the runs of these indices, in the order of the indices."""
        return self._replace(
            runs=[self.runs[index] for index in runs], ids=[self.ids[index] for index in runs]
        )

    def without_repeated(self, runs: Iterable[int], kept: Collection[int]) -> list[int]:
        """Return the indices of runs, without runs that only repeat samples.

        A run of several samples is dropped if each of them also has a run of its own.

        Args:
            runs: the indices of runs, the most important first.
            kept: the indices of runs that are never dropped.
        """
        given = list(dict.fromkeys(runs))
        alone = {self.ids[index][0] for index in given if len(self.ids[index]) == 1}
        return [
            index
            for index in given
            if index in kept or len(self.ids[index]) == 1 or not alone.issuperset(self.ids[index])
        ]

    def size(self) -> int:
        """Return how many different samples are in the runs."""
        return len({sample for run in self.ids for sample in run})

    def calibrating(self) -> "Samples":
        """Return the runs for calibration: the first 500 samples, or at least the first run."""
        alike = sum(len(run) == len(self.ids[0]) for run in self.ids)
        return self.part(0, max(min(CALIBRATING // len(self.ids[0]), alike), 1))

    def with_several(self, inputs: Mapping[str, Input]) -> "Samples":
        """Return the same runs, and one more run of several samples if the batch size varies."""
        if len(self.runs) < 2 or not varies(inputs):
            return self
        few = self.part(0, self.several())
        if not _are_alike(few.runs):
            return self
        return self._replace(runs=[*self.runs, joined(few.runs)], ids=[*self.ids, sum(few.ids, [])])

    def several(self) -> int:
        """Return the size of a run of several samples: at most 8, at most 1 MB, but at least 2."""
        size = sum(array.nbytes for array in self.runs[0].values()) // max(len(self.ids[0]), 1)
        return min(max(ROOM // max(size, 1), 2), SEVERAL)

    def together(self, inputs: Mapping[str, Input], size: int) -> "Samples":
        """Return the same samples in fewer runs, if the batch size varies.

        The first 100 runs take one sample each, and the others take many, which is faster. So both
        batch sizes are tried.

        Args:
            inputs: the inputs of the model.
            size: the bytes of the outputs of one sample. A run has at most 100 samples, and fewer
                if its outputs would exceed 8 MB.
        """
        if not varies(inputs) or not _are_alike(self.runs):
            return self
        many = min(max(OUTPUTS // max(size, 1), 1), MANY)
        starts = [*range(min(ALONE, len(self.runs))), *range(ALONE, len(self.runs), many)]
        parts = [self.part(i, i + (1 if i < ALONE else many)) for i in starts]
        return self._replace(
            runs=[joined(part.runs) for part in parts], ids=[sum(part.ids, []) for part in parts]
        )

    def portions(self, most: int) -> list["Samples"]:
        """Return the runs in parts of at most `most` samples each, or of one larger run."""
        starts, held = [], most
        for index, run in enumerate(self.ids):
            held += len(run)
            if held > most:
                starts.append(index)
                held = len(run)
        return [self.part(*ends) for ends in itertools.pairwise([*starts, len(self.runs)])]

    def __str__(self) -> str:
        """Return how many samples the runs have, and of how many, as text."""
        drawn = self.size()
        if not self.source:
            return f"{drawn} random samples"
        of = "" if self.source == ARRAYS else f" of {self.source}"
        size = min(map(len, self.ids))
        run = f", {size:,} a run" if size > 1 else ""
        return f"{drawn:,} of {self.total:,} samples{of}{run}"


def reach(runs: Sequence[Mapping[str, np.ndarray]]) -> str:
    """Return the range of the inputs of some runs as text, such as "float32 0 to 255"."""
    parts = []
    for name, first in runs[0].items():
        text = first.dtype.name
        if first.dtype.kind in "iuf":
            arrays = [run[name] for run in runs if run[name].size]
            low = min((array.min() for array in arrays), default=0)
            high = max((array.max() for array in arrays), default=0)
            text = f"{text} {low:.4g} to {high:.4g}"
        parts.append(f"{name} {text}" if len(runs[0]) > 1 else text)
    return ", ".join(parts)


def _are_alike(runs: Sequence[Arrays]) -> bool:
    """Return whether the arrays of all runs have the same shapes, apart from the first axis."""
    return len({tuple(array.shape[1:] for array in run.values()) for run in runs}) == 1


def joined(runs: Sequence[Arrays]) -> Arrays:
    """Return several runs as one run with all their samples."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def find(name: str, kind: str) -> str | None:
    """Return the file `NAME.KIND.npy` or `NAME.KIND.npz` beside a model, or None."""
    files = (f"{name}.{kind}.npy", f"{name}.{kind}.npz")
    return next((file for file in files if os.path.exists(file)), None)


def read(given: Given, inputs: Mapping[str, Input], scale: str = images.PIXELS) -> Arrays:
    """Read one array for each input of a model.

    Args:
        given: for a model with one input a `.npy` file, an array, an image or a folder of images.
            For several inputs a `.npz` file or a dict with one array each.
        inputs: the inputs of the model.
        scale: a key of `images.SCALES`, for images.

    Returns:
        A dict of arrays by input name. Images are an `images.Images`, which decodes them later.

    Raises:
        Failure: there is no such file, or it is of another kind.
        ValueError: the file is damaged, needs a pickle, or lacks an array.
    """
    if images.is_given(given):
        return _images(images.files(str(given)), inputs, scale)
    names = list(inputs)
    content = _load(given)
    if isinstance(content, np.ndarray):
        if len(names) == 1:
            return {names[0]: content}
        content = {}
    missing = [name for name in names if name not in content]
    if missing:
        kind = "a .npz file" if isinstance(given, str) else "a dict"
        raise ValueError(f"it must be {kind} with an array named {missing[0]!r}")
    return {name: content[name] for name in names}


def _load(given: Given, is_test_set: bool = False) -> np.ndarray | Arrays:
    """Return the array or the dict of arrays that was given, or that a file holds; see `read`.

    A test set is given in other kinds of files, which the errors name.
    """
    if isinstance(given, Mapping):
        return {name: np.asarray(array) for name, array in given.items()}
    if not isinstance(given, str):
        return np.asarray(given)
    try:
        with open(given, "rb") as file:
            is_numpy = file.read(6).startswith((b"\x93NUMPY", b"PK"))
        content = np.load(given, allow_pickle=False) if is_numpy else {}
        arrays = content if isinstance(content, np.ndarray) else dict(content)
    except FileNotFoundError as error:
        kinds = "a .npz file" if is_test_set else "a .npy or .npz file, an image"
        message = f"{given} is missing: name {kinds} or a folder that exists"
        raise script.Failure(message) from error
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        way = "write it with numpy.save"
        if "Object arrays" in str(error):
            way = 'convert it to an array of numbers first, such as with astype("float32")'
        raise ValueError(f"it cannot be read ({script.brief(error)}): {way}") from error
    if not is_numpy:
        if given.lower().endswith(images.OTHERS) and not is_test_set:
            raise script.Failure(f"{given} is an image that Keras does not read: save it as PNG")
        way = LABELLED if is_test_set else WRITTEN
        raise script.Failure(f"{given} is not a .npy or .npz file: {way}")
    for name, array in arrays.items() if isinstance(arrays, dict) else ():
        if not isinstance(array, np.ndarray):  # the zip file has a file of another kind
            raise ValueError(f"{name!r} in it is not an array: write it with numpy.savez")
    return arrays


def _images(files: Sequence[str], inputs: Mapping[str, Input], scale: str) -> Arrays:
    """Return `images.Images` by the name of the model's only input.

    Raises:
        ValueError: the model has several inputs, or its input takes no images.
    """
    if len(inputs) != 1:
        raise ValueError("images are for a model with one input: give a .npz file")
    ((name, (shape, dtype)),) = inputs.items()
    found: Any = images.Images(files, images.wanted(shape, dtype, scale), [])
    return {name: found}


def for_calibration(
    given: Given, model: str, inputs: Mapping[str, Input], scale: str = images.PIXELS
) -> Samples:
    """Read the samples of a conversion, and divide them into runs.

    A run takes one sample, or as many as the model's first axis fixes. If there are more than 1,000
    samples, 1,000 are drawn by a seeded permutation. Taking every k-th sample is no alternative: if
    two kinds of samples alternate, it could take only one of them.

    Args:
        given: see `read`.
        model: the model's path, for the error.
        inputs: the inputs of the model.
        scale: a key of `images.SCALES`, for images.

    Raises:
        Failure: the file is missing or damaged, or its names, shapes or dtypes do not fit.
    """
    source = given if isinstance(given, str) else ARRAYS
    with _fitting(source, model, inputs):
        arrays = read(given, inputs, scale)
        sizes = _sizes(arrays, inputs, varying=1)
        runs, size = _full(_split(arrays, sizes), sizes), _samples(sizes)
        order = np.random.default_rng(seed=0).permutation(len(runs))
        order = order[: max(COMPARED // size, 1)].tolist()
        drawn = list(_drawn(runs, order, inputs))
    _print_notes(arrays)
    total = _total(arrays, sizes)
    found = Samples(source, total, drawn, [_ids(index, size) for index in order])
    return found.with_several(inputs)


def test_set(
    given: Test,
    model: str,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Input],
    names: classes.Names,
    scale: str = images.PIXELS,
    on_device: bool = False,
) -> tuple[Samples, Arrays]:
    """Read a test set: inputs, and their labels.

    All samples are used, in a seeded random order. Images that are decoded in advance are limited
    to 2 GB.

    Args:
        given: a `.npz` file with an array for each input and for outputs, by their names. The names
            `inputs` and `labels` also stand for the only input and the only output. Instead of a
            file it may be a dict of such arrays, or a pair of inputs and labels, each an array or
            a dict. It may also be a folder with one subfolder of images per class.
        model: the model's path, for the error.
        inputs: the inputs of the model.
        outputs: the outputs of the model.
        names: the names of the classes.
        scale: a key of `images.SCALES`, for images.
        on_device: whether each run is used only once, so that its images are decoded at that time.

    Returns:
        The samples, and a dict of labels by output name, in the order of the samples.

    Raises:
        Failure: the file is missing or damaged, or what it holds does not fit the model.
    """
    source = given if isinstance(given, str) else "the test set"
    with _fitting(source, model, inputs):
        taken, labels = _labelled(given, inputs, outputs, names, scale)
        sizes = _sizes(taken, inputs, varying=1)
        counts, size = _counts(taken | labels), _samples(sizes)
        if len(set(counts.values())) > 1:
            raise ValueError(f"the numbers of samples differ: {counts}")
        every = _full(_split(taken, sizes), sizes)
        order = np.random.default_rng(seed=0).permutation(len(every)).tolist()
        if images.is_given(given) and on_device:
            chosen = [every[index] for index in order]
            runs: Sequence[Arrays] = Decoding(chosen, source, model, inputs)
        else:
            runs = _held(every, order, inputs, DECODED if images.is_given(given) else None)
        ids = [_ids(index, size) for index in order[: len(runs)]]
    _print_notes(taken)
    drawn: list[int] = sum(ids, [])
    labels = {name: array[drawn] for name, array in labels.items()}
    return Samples(source, _total(taken, sizes), runs, ids), labels


def _labelled(
    given: Test,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Input],
    names: classes.Names,
    scale: str,
) -> tuple[Arrays, Arrays]:
    """Return a test set's inputs and labels, each a dict by name; see `test_set`."""
    if isinstance(given, str) and images.is_given(given):
        if len(outputs) != 1:
            raise ValueError("folders are for a model with one output: give a .npz file")
        ((name, (shape, _)),) = outputs.items()
        files, numbers = classes.of_folders(given, names, classes.count_of(shape))
        return _images(files, inputs, scale), {name: numbers}
    arrays = _load(given, True) if isinstance(given, str | Mapping) else _pair(given)
    if isinstance(arrays, np.ndarray):
        raise ValueError(f"it must be a .npz file: {SAVEZ}")
    taken, labels = (
        {known[0]: arrays.pop(alias)}
        if alias in arrays and alias not in known and len(known) == 1
        else {name: arrays.pop(name) for name in known if name in arrays}
        for alias, known in [("inputs", list(inputs)), ("labels", list(outputs))]
    )
    missing = [name for name in inputs if name not in taken]
    if missing or not labels:
        wanted = repr(missing[0] if missing else next(iter(outputs)))
        raise ValueError(
            f"it lacks an array named {wanted}: {SAVEZ}, or name the arrays after the model's"
            " inputs and outputs"
        )
    if arrays:
        expected = ", ".join([*inputs, *outputs])
        raise ValueError(f"{next(iter(arrays))!r} is neither an input nor an output ({expected})")
    if any(array.ndim == 0 for array in labels.values()):
        raise ValueError("give an array with one label for each sample, not a single number")
    return taken, labels


def _pair(given: Sequence[Given]) -> Arrays:
    """Return a pair of inputs and labels as the dict of arrays that a `.npz` file would hold.

    Raises:
        ValueError: it is not a pair.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError("give a pair of inputs and labels: test=(x, y)")
    named: Arrays = {}
    for name, part in zip(("inputs", "labels"), given, strict=True):
        content = _load(part)
        named |= {name: content} if isinstance(content, np.ndarray) else content
    return named


def for_deployment(
    given: Given, inputs: Mapping[str, Input], model: str, scale: str = images.PIXELS
) -> tuple[Sequence[Arrays], int]:
    """Read the inputs of `litecheck run`, and divide them into runs.

    A run takes all samples, or as many as the model's first axis fixes. It takes one sample if they
    are images, or if an input has no axis for samples.

    Args:
        given: see `read`.
        inputs: the inputs of the model.
        model: the model's path, for the error.
        scale: a key of `images.SCALES`, for images.

    Returns:
        For each run a dict from input names to arrays, and the number of samples left over at the
        end, too few for a run.

    Raises:
        Failure: the file is missing or damaged, or its names, dtypes or numbers do not fit.
    """
    source = given if isinstance(given, str) else ARRAYS
    with _fitting(source, model, inputs):
        arrays = read(given, inputs, scale)
        sizes = _sizes(arrays, inputs, varying=1 if images.is_given(given) else None)
        varying = {len(arrays[n]) for n in inputs if sizes[n] and not inputs[n].shape[0]}
        if len(varying) > 1:
            counts = ", ".join(f"{n} {len(arrays[n]):,}" for n in inputs if sizes[n])
            raise ValueError(f"the inputs have different numbers of samples: {counts}")
        runs = _full(_split(arrays, sizes), sizes)
        left = _total(arrays, sizes) - len(runs) * _samples(sizes)
        if images.is_given(given):
            return Decoding(runs, source, model, inputs), left
        return [_checked(run, inputs, finite=False) for run in runs], left


class Decoding(Sequence[Arrays]):
    """Runs of images, decoded one run at a time to save memory.

    Attributes:
        runs: for each run a dict from the input's name to its `images.Images`.
    """

    def __init__(
        self, runs: Sequence[Arrays], source: str, model: str, inputs: Mapping[str, Input]
    ) -> None:
        """Take the runs and the model's inputs, and for errors the paths of images and model."""
        self.runs, self._fits = runs, (source, model, inputs)

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.runs)

    def __getitem__(self, place: Any) -> Any:
        """Return a run with its images decoded, or a `Decoding` of the runs in a slice.

        Raises:
            Failure: an image cannot be read.
        """
        if isinstance(place, slice):
            return Decoding(self.runs[place], *self._fits)
        with _fitting(*self._fits):
            return _checked(self.runs[place], self._fits[-1], finite=False)

    def print_note(self) -> None:
        """Print which of the decoded images have an EXIF rotation."""
        _print_notes(self.runs[0])


def as_dtype(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Return an array cast to another dtype.

    Args:
        values: the array.
        dtype: the dtype to cast to.
        name: the input's name, for the error.

    Raises:
        TypeError: the cast would change a value by more than floating-point rounding.
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
        raise TypeError(f"{name} is {values.dtype.name}, and {dtype.name} cannot hold {lost}")
    return cast


@contextlib.contextmanager
def _fitting(source: str, model: str, inputs: Mapping[str, Input]) -> Iterator[None]:
    """Turn an error of this block into a `Failure` that says what the model takes."""
    try:
        yield
    except (ValueError, TypeError) as error:
        takes = ", ".join(f"{name} {input}" for name, input in inputs.items())
        message = f"{source} does not fit {model} ({takes}): {script.brief(error)}"
        raise script.Failure(message) from error


def _sizes(
    arrays: Arrays, inputs: Mapping[str, Input], varying: int | None
) -> dict[str, int | None]:
    """Return how many samples of each input a run takes, by name.

    It is None if the arrays of an input have no axis for samples. If the first axis of an input
    varies, another input may fix the number: one that has as many samples and a fixed first axis.
    Otherwise it is `varying`, or all samples if that is None.
    """
    fixed = {
        len(arrays[name]): input.shape[0]
        for name, input in inputs.items()
        if input.shape and input.shape[0] and arrays[name].ndim == len(input.shape)
    }
    sizes: dict[str, int | None] = {}
    for name, (shape, _) in inputs.items():
        sizes[name] = None
        if arrays[name].ndim == len(shape) > 0:
            length = len(arrays[name])
            sizes[name] = shape[0] or fixed.get(length) or varying or max(length, 1)
    return sizes


def _split(arrays: Arrays, sizes: Mapping[str, int | None]) -> list[Arrays]:
    """Divide samples into runs.

    Args:
        arrays: all samples, by input name.
        sizes: how many samples of each input a run takes, see `_sizes`.

    Returns:
        For each run a dict of arrays by input name. The last run may have fewer samples.

    Raises:
        ValueError: the inputs have different numbers of samples.
    """
    columns = []
    for name, array in arrays.items():
        size = sizes[name]
        if size is None:
            columns.append(list(array) if array.ndim else [array])
        else:
            columns.append([array[i : i + size] for i in range(0, len(array), size)])
    if len({len(column) for column in columns}) > 1:
        runs = ", ".join(
            f"{name} {array.shape} {len(column)}"
            for (name, array), column in zip(arrays.items(), columns, strict=True)
        )
        raise ValueError(f"the inputs have different numbers of samples, or of runs: {runs}")
    return [dict(zip(arrays, row, strict=True)) for row in zip(*columns, strict=True)]


def _samples(sizes: Mapping[str, int | None]) -> int:
    """Return how many samples a run takes, from `_sizes`.

    Inputs may fix their first axes to different sizes, such as the nodes and edges of a graph. Then
    these axes do not count samples, and a run is one sample.
    """
    known = {*filter(None, sizes.values())}
    return known.pop() if len(known) == 1 else 1


def _total(arrays: Arrays, sizes: Mapping[str, int | None]) -> int:
    """Return how many samples all arrays hold, from `_sizes`."""
    counts = _counts(arrays)
    if _samples(sizes) == 1:
        return max(counts[name] // (size or 1) for name, size in sizes.items())
    return max(counts.values())


def _counts(arrays: Arrays) -> dict[str, int]:
    """Return how many samples each array holds, by name."""
    return {name: len(array) if array.ndim else 1 for name, array in arrays.items()}


def varies(inputs: Mapping[str, Input]) -> bool:
    """Return whether the batch size varies in all inputs of a model."""
    return all(None in input.shape[:1] for input in inputs.values())


def _full(runs: Sequence[Arrays], sizes: Mapping[str, int | None]) -> list[Arrays]:
    """Return the runs that have as many samples as a run takes.

    Raises:
        ValueError: there is no such run.
    """
    full = [
        run
        for run in runs
        if all(sizes[name] is None or sizes[name] == len(run[name]) for name in run)
    ]
    if not full:
        raise ValueError("there are too few samples for one run: give more samples")
    return full


def _ids(index: int, size: int) -> list[int]:
    """Return the indices of the samples in run `index`, if each run takes `size` samples."""
    return list(range(index * size, (index + 1) * size))


def _held(
    runs: Sequence[Arrays], order: Sequence[int], inputs: Mapping[str, Input], most: int | None
) -> list[Arrays]:
    """Return the runs of these indices, in order, until they exceed `most` bytes (None: all)."""
    found, held = [], 0
    for run in _drawn(runs, order, inputs):
        found.append(run)
        held += sum(array.nbytes for array in run.values())
        if most is not None and held > most:
            break
    return found


def _drawn(
    runs: Sequence[Arrays], order: Sequence[int], inputs: Mapping[str, Input]
) -> Iterator[Arrays]:
    """Yield the runs of these indices in the inputs' dtypes, with images decoded."""
    for index in script.counted(order, "reading samples"):
        yield _checked(runs[index], inputs)


def _print_notes(arrays: Arrays) -> None:
    """Print which of the images that were read have an EXIF rotation."""
    for array in arrays.values():
        if isinstance(array, images.Images) and array.note():
            print(array.note())


def _checked(run: Arrays, inputs: Mapping[str, Input], finite: bool = True) -> Arrays:
    """Return the arrays of a run in the inputs' dtypes.

    Raises:
        ValueError: a shape does not fit, or `finite` is true and an array holds NaN or infinity.
        TypeError: a dtype does not fit, see `as_dtype`.
    """
    checked: Arrays = {}
    for name, (shape, dtype) in inputs.items():
        array = np.asarray(run[name])
        if len(shape) != array.ndim or any(
            size not in (None, given) for size, given in zip(shape, array.shape, strict=True)
        ):
            raise ValueError(f"a sample of {name} has the shape {array.shape}")
        if finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        checked[name] = as_dtype(array, dtype, name)
    return checked


def at_random(
    inputs: Mapping[str, Input],
    tables: Mapping[str, int],
    positive: bool = False,
    count: int = 8,
) -> Samples:
    """Return random samples for `count` runs, the same every time.

    Real numbers are in [-1, 1), and four times as large in every fourth run. Bytes are in [0, 256).
    Other integers are below the size of a table, or else 0 or 1. Text is always the same. A
    variable size becomes 1 on the first axis and 32 on others.

    Args:
        inputs: the inputs of the model.
        tables: for inputs that are indices into a table, such as an embedding, the table's size, by
            input name.
        positive: whether real numbers are in [0, 1), for a model that takes no others.
        count: how many runs.
    """
    generator = np.random.default_rng(seed=0)
    runs = [
        {
            name: _random(input, generator, tables.get(name), positive, 4 if run % 4 == 3 else 1)
            for name, input in inputs.items()
        }
        for run in range(count)
    ]
    size = _samples({name: input.shape[0] for name, input in inputs.items() if input.shape})
    found = Samples(None, count, runs, [_ids(index, size) for index in range(count)])
    return found.with_several(inputs)


def _random(
    input: Input, generator: "np.random.Generator", table: int | None, positive: bool, scale: int
) -> np.ndarray:
    """Return a random array for an input; see `at_random`."""
    values = generator.random(
        [size or (32 if axis else 1) for axis, size in enumerate(input.shape)]
    )
    if input.dtype.kind == "O":
        return np.full(values.shape, b"text", object)
    if input.dtype.kind not in "fc":
        values = np.floor(values * (table or (256 if input.dtype == np.uint8 else 2)))
    elif not positive:
        values = scale * (2 * values - 1)
    return values.astype(input.dtype)
