"""Where do inputs and labels come from? From arrays, files, images, or at random."""

import contextlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import classes, images, script

Arrays = dict[str, np.ndarray]  # by the names of inputs or outputs
Given = str | np.ndarray | Mapping[str, np.ndarray]  # a path, an only input, or inputs by name
Test = str | Mapping[str, np.ndarray] | tuple[Given, Given]  # a path, arrays by name, or a pair

COMPARED, CALIBRATING = 1000, 500  # samples at most
SEVERAL, ROOM = 8, 2**20  # samples at once, and their bytes
ALONE, MANY = 100, 100  # runs of one sample in a test set, and samples in its other runs at most
OUTPUTS = 2**23  # bytes of the outputs of one run
DECODED = 2**31  # bytes of a test set's images: of more, some are left out
WRITTEN = "give an image, or write numbers with numpy.save"
ARRAYS = "the set of samples"  # the source of samples that were given as arrays


class Input(NamedTuple):
    """What a model takes at one of its inputs: a shape, with None where it varies, and a dtype."""

    shape: tuple[int | None, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        """Return it as "float32 (None, 3)"."""
        return f"{self.dtype.name} {self.shape}"


class Samples(NamedTuple):
    """Inputs of a model, divided into runs.

    Attributes:
        source: the file or folder that they come from, `ARRAYS` or "the test set"
            for arrays; None if they are random.
        total: how many samples there are.
        runs: the inputs of each run: dicts from names to arrays of the inputs' shapes and dtypes.
        ids: the numbers of the samples of each run among all: a list of lists.
    """

    source: str | None
    total: int
    runs: Sequence[Arrays]
    ids: list[list[int]]

    def part(self, start: int | None, end: int | None) -> "Samples":
        """Return some of the runs only."""
        return self._replace(runs=self.runs[start:end], ids=self.ids[start:end])

    def first(self, count: int) -> "Samples":
        """Return the first runs only, and the last one if it is of several samples."""
        runs = [*range(min(count, len(self.runs)))]
        last = len(self.runs) - 1
        if count <= last and len(self.ids[last]) > len(self.ids[0]):
            runs.append(last)
        return self.chosen(runs)

    def chosen(self, runs: Sequence[int]) -> "Samples":
        """Return the runs of these numbers only, in their order."""
        return self._replace(
            runs=[self.runs[index] for index in runs], ids=[self.ids[index] for index in runs]
        )

    def without_repeated(self, runs: Iterable[int], kept: Collection[int]) -> list[int]:
        """Return the numbers of runs without those whose samples all are in smaller ones.

        Args:
            runs: the numbers, in the order of their importance.
            kept: those that stay, nevertheless.
        """
        given = list(dict.fromkeys(runs))
        alone = {self.ids[index][0] for index in given if len(self.ids[index]) == 1}
        return [
            index
            for index in given
            if index in kept or len(self.ids[index]) == 1 or not alone.issuperset(self.ids[index])
        ]

    def size(self) -> int:
        """Return how many samples are in the runs."""
        return len({sample for run in self.ids for sample in run})

    def calibrating(self) -> "Samples":
        """Return the part that calibrates: the first five hundred samples, or the first run."""
        alike = sum(len(run) == len(self.ids[0]) for run in self.ids)
        return self.part(0, max(min(CALIBRATING // len(self.ids[0]), alike), 1))

    def with_several(self, inputs: Mapping[str, Input]) -> "Samples":
        """Return the same and, where the batch varies, one run more, of several samples."""
        if len(self.runs) < 2 or not varies(inputs):
            return self
        few = self.part(0, self.several())
        if not _are_alike(few.runs):
            return self
        return self._replace(runs=[*self.runs, joined(few.runs)], ids=[*self.ids, sum(few.ids, [])])

    def several(self) -> int:
        """Return how many samples are run at once: eight, or two at least that fill a megabyte."""
        size = sum(array.nbytes for array in self.runs[0].values()) // max(len(self.ids[0]), 1)
        return min(max(ROOM // max(size, 1), 2), SEVERAL)

    def together(self, inputs: Mapping[str, Input], size: int) -> "Samples":
        """Return the same samples in fewer runs, where the batch varies.

        The first runs take one sample each, and the others many: both sizes are tried, and many at
        once take less time.

        Args:
            inputs: what the model takes.
            size: the bytes of the outputs of one sample. Those of a run fill eight megabytes, or
                are a hundred.
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
        """Return the runs divided into parts of at most so many samples, or of one run."""
        starts, held = [], most
        for index, run in enumerate(self.ids):
            held += len(run)
            if held > most:
                starts.append(index)
                held = len(run)
        return [self.part(*ends) for ends in itertools.pairwise([*starts, len(self.runs)])]

    def __str__(self) -> str:
        """Return how many samples there are, and how many are here."""
        drawn = self.size()
        if not self.source:
            return f"{drawn} random samples"
        of = "" if self.source == ARRAYS else f" of {self.source}"
        size = min(map(len, self.ids))
        run = f", {size:,} a run" if size > 1 else ""
        return f"{drawn:,} of {self.total:,} samples{of}{run}"


def reach(runs: Sequence[Mapping[str, np.ndarray]]) -> str:
    """Return between which numbers the inputs of some runs are, as "float32 0 to 255"."""
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
    """Return whether arrays of all runs have the same shapes but for the samples' axis."""
    return len({tuple(array.shape[1:] for array in run.values()) for run in runs}) == 1


def joined(runs: Sequence[Arrays]) -> Arrays:
    """Return runs as one, their samples one after the other."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def find(name: str, kind: str) -> str | None:
    """Return the file of a kind beside a model NAME: `NAME.KIND.npy` or `.npz`, or None."""
    files = (f"{name}.{kind}.npy", f"{name}.{kind}.npz")
    return next((file for file in files if os.path.exists(file)), None)


def read(given: Given, inputs: Mapping[str, Input], scale: str = images.PIXELS) -> Arrays:
    """Read one array for each input of a model.

    Args:
        given: a `.npy` file, an array, an image or a folder of images for a model's only input; a
            `.npz` file or a dict with an array for each.
        inputs: what the model takes.
        scale: of images, see `images.SCALES`.

    Returns:
        Arrays by name. Images stand for themselves until they are asked for their numbers.

    Raises:
        Failure: there is no such file, or it is none of these.
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


def _load(given: Given) -> np.ndarray | Arrays:
    """Return an array, or a dict of arrays; see `read`."""
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
        message = f"{given} is missing: name a .npy or .npz file, an image or a folder that exists"
        raise script.Failure(message) from error
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        message = f"it cannot be read ({script.brief(error)}): write it with numpy.save"
        raise ValueError(message) from error
    if not is_numpy:
        is_image = given.lower().endswith(images.OTHERS)
        way = "Keras reads no such image: save it as PNG" if is_image else WRITTEN
        raise script.Failure(f"{given} is not a .npy or .npz file: {way}")
    for name, array in arrays.items() if isinstance(arrays, dict) else ():
        if not isinstance(array, np.ndarray):  # another file in the zip file
            raise ValueError(f"{name!r} in it is no array: write it with numpy.savez")
    return arrays


def _images(files: Sequence[str], inputs: Mapping[str, Input], scale: str) -> Arrays:
    """Return images for a model's only input, by its name; raise ValueError if it takes none."""
    if len(inputs) != 1:
        raise ValueError("images are for a model with one input: give a .npz file")
    ((name, (shape, dtype)),) = inputs.items()
    found: Any = images.Images(files, images.wanted(shape, dtype, scale), [])
    return {name: found}


def for_calibration(
    given: Given, model: str, inputs: Mapping[str, Input], scale: str = images.PIXELS
) -> Samples:
    """Divide the inputs of a conversion: a run takes one sample, or as many as an axis fixes.

    Of more than a thousand samples, a thousand are drawn by a seeded permutation: taking every
    k-th would take one kind only where data alternate.

    Args:
        given: see `read`.
        model: the model's path, for the error.
        inputs: what the model takes.
        scale: of images, see `images.SCALES`.

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

    All samples are taken, drawn in a seeded order; of images as many as two gigabytes hold, if they
    are not decoded one by one.

    Args:
        given: a `.npz` file with an array for each input and for outputs, by their names; `inputs`
            and `labels` stand for the only input and the only output. Or a dict of such arrays, or
            a pair of inputs and labels: arrays, or dicts of them. Or a folder, with a folder of
            images for each class.
        model: the model's path, for the error.
        inputs: what the model takes.
        outputs: what it returns.
        names: those of the classes.
        scale: of images, see `images.SCALES`.
        on_device: whether each run is asked for once only, so that images are decoded then.

    Returns:
        The samples, and the labels by the names of outputs, in their order.

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
    """Return the inputs and the labels of a test set, by their names; see `test_set`."""
    if isinstance(given, str) and images.is_given(given):
        if len(outputs) != 1:
            raise ValueError("folders are for a model with one output: give a .npz file")
        ((name, (shape, _)),) = outputs.items()
        files, numbers = classes.of_folders(given, names, classes.count_of(shape))
        return _images(files, inputs, scale), {name: numbers}
    arrays = _load(given) if isinstance(given, str | Mapping) else _pair(given)
    if isinstance(arrays, np.ndarray):
        raise ValueError("it must be a .npz file: write np.savez(FILE, inputs=x, labels=y)")
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
            f"it lacks an array named {wanted}: write np.savez(FILE, inputs=x, labels=y), or"
            " arrays by the names of inputs and outputs"
        )
    if arrays:
        expected = ", ".join([*inputs, *outputs])
        raise ValueError(f"{next(iter(arrays))!r} is no input and no output ({expected})")
    if any(array.ndim == 0 for array in labels.values()):
        raise ValueError("labels are one for each sample, not a single number")
    return taken, labels


def _pair(given: Sequence[Given]) -> Arrays:
    """Return a test set of arrays as a file of one holds it; raise ValueError if it is no pair."""
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
    """Divide the inputs of a run: it takes all samples, or as many as the first axis fixes.

    An input without an axis for samples takes one by one, and images come one by one.

    Args:
        given: see `read`.
        inputs: what the model takes.
        model: the model's path, for the error.
        scale: of images, see `images.SCALES`.

    Returns:
        For each run a dict from names to arrays, and how many samples are left over, since they are
        too few for a run.

    Raises:
        Failure: the file is missing or damaged, or its names, dtypes or numbers do not fit.
    """
    source = given if isinstance(given, str) else ARRAYS
    with _fitting(source, model, inputs):
        arrays = read(given, inputs, scale)
        sizes = _sizes(arrays, inputs, varying=1 if images.is_given(given) else None)
        varying = {len(arrays[n]) for n in inputs if sizes[n] and not inputs[n].shape[0]}
        if len(varying) > 1:
            raise ValueError("the inputs have different numbers of samples")
        runs = _full(_split(arrays, sizes), sizes)
        left = _total(arrays, sizes) - len(runs) * _samples(sizes)
        if images.is_given(given):
            return Decoding(runs, source, model, inputs), left
        return [_checked(run, inputs, finite=False) for run in runs], left


class Decoding(Sequence[Arrays]):
    """Runs of images, each decoded when it is asked for: a folder needs no more memory than one.

    Attributes:
        runs: the inputs of each run, `images.Images` by name.
    """

    def __init__(
        self, runs: Sequence[Arrays], source: str, model: str, inputs: Mapping[str, Input]
    ) -> None:
        """Take the runs, the paths of images and model for errors, and what the model takes."""
        self.runs, self._fits = runs, (source, model, inputs)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self.runs)

    def __getitem__(self, place: Any) -> Any:
        """Return a run, or some of them.

        Raises:
            Failure: an image cannot be read.
        """
        if isinstance(place, slice):
            return Decoding(self.runs[place], *self._fits)
        with _fitting(*self._fits):
            return _checked(self.runs[place], self._fits[-1], finite=False)

    def print_note(self) -> None:
        """Print what is to know of the images that were decoded."""
        _print_notes(self.runs[0])


def as_dtype(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
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
def _fitting(source: str, model: str, inputs: Mapping[str, Input]) -> Iterator[None]:
    """Say in one line that the samples do not fit the model, and what it takes."""
    try:
        yield
    except (ValueError, TypeError) as error:
        takes = ", ".join(f"{name} {input}" for name, input in inputs.items())
        message = f"{source} does not fit {model} ({takes}): {script.brief(error)}"
        raise script.Failure(message) from error


def _sizes(
    arrays: Arrays, inputs: Mapping[str, Input], varying: int | None
) -> dict[str, int | None]:
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
    sizes: dict[str, int | None] = {}
    for name, (shape, _) in inputs.items():
        sizes[name] = None
        if arrays[name].ndim == len(shape) > 0:
            length = len(arrays[name])
            sizes[name] = shape[0] or fixed.get(length) or varying or max(length, 1)
    return sizes


def _split(arrays: Arrays, sizes: Mapping[str, int | None]) -> list[Arrays]:
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

    Where inputs fix their first axes to different sizes, as nodes and edges of a graph, these are
    no samples, and a run is one.
    """
    known = {*filter(None, sizes.values())}
    return known.pop() if len(known) == 1 else 1


def _total(arrays: Arrays, sizes: Mapping[str, int | None]) -> int:
    """Return how many samples there are, from `_sizes`."""
    counts = _counts(arrays)
    if _samples(sizes) == 1:
        return max(counts[name] // (size or 1) for name, size in sizes.items())
    return max(counts.values())


def _counts(arrays: Arrays) -> dict[str, int]:
    """Return how many samples each of a dict of arrays holds."""
    return {name: len(array) if array.ndim else 1 for name, array in arrays.items()}


def varies(inputs: Mapping[str, Input]) -> bool:
    """Return whether the batch of a model varies, from a dict of `Input`."""
    return all(None in input.shape[:1] for input in inputs.values())


def _full(runs: Sequence[Arrays], sizes: Mapping[str, int | None]) -> list[Arrays]:
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


def _ids(index: int, size: int) -> list[int]:
    """Return the numbers of the samples of a run, from its own and how many samples it takes."""
    return list(range(index * size, (index + 1) * size))


def _held(
    runs: Sequence[Arrays], order: Sequence[int], inputs: Mapping[str, Input], most: int | None
) -> list[Arrays]:
    """Return the runs of these numbers, as many as fit into a number of bytes, if there is one."""
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
    """Yield the runs of these numbers as the model takes them; images are decoded here."""
    for index in script.counted(order, "reading samples"):
        yield _checked(runs[index], inputs)


def _print_notes(arrays: Arrays) -> None:
    """Print what is to know of images that were read."""
    for array in arrays.values():
        if isinstance(array, images.Images) and array.note():
            print(array.note())


def _checked(run: Arrays, inputs: Mapping[str, Input], finite: bool = True) -> Arrays:
    """Return the arrays of a run in the inputs' dtypes; raise ValueError or TypeError if not."""
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
    """Return random inputs for a number of runs, the same ones every time.

    They are reals in [-1, 1), in every fourth run four times as large; bytes; whole numbers below
    the size of a table, or 0 and 1; or texts. A size that varies becomes 1 on the first axis and 32
    on others.

    Args:
        inputs: what the model takes.
        tables: the sizes of the tables that inputs are indices of, by their names.
        positive: whether reals are in [0, 1), for a model that takes no others.
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
    """Return an array for an input; see `at_random`."""
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
