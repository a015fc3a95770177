"""How many outputs are right? Labels and outputs give one metric for each output.

The metric is an accuracy if the labels are classes or truth values, and a mean absolute error
otherwise. The labels and the original model's outputs decide which. Samples are counted in parts,
and the metric is the sum over all parts divided by the number of elements in all parts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from litecheck import script

Arrays = Mapping[str, np.ndarray]  # by the names of outputs
WORDS = {"accuracy": "accuracy", "mean_error": "mean error"}  # kinds of metrics, as printed
ROUNDED = 0.5  # a sum of rounded probabilities may differ from 1 by at most this
FAIR = 0.6  # if chance gives a higher accuracy, one label is too frequent to tell chance from skill
IGNORED = -1  # the label of an element that does not count


class Task(NamedTuple):
    """The labels of an output, and the rule that makes a value right.

    Attributes:
        labels: the labels, samples first, in the output's shape. For the rule "largest" they are
            integers, in the output's shape without its last axis.
        kind: "accuracy" or "mean_error".
        rule: how a value is compared with its label. With "largest", the label is the index of the
            largest component. With "equal", the value equals the label. With "threshold", the label
            is 1 for values above the threshold, and otherwise 0. With "distance", the distance from
            the label is measured.
        threshold: the threshold, or None for other rules.
    """

    labels: np.ndarray
    kind: str
    rule: str
    threshold: float | None


def tasks(
    labels: Arrays, outputs: Arrays, path: str, thresholds: Mapping[str, float] | None = None
) -> dict[str, Task]:
    """Return the `Task` of each output that has labels.

    Args:
        labels: arrays of labels by output name, samples first.
        outputs: the original model's outputs of all samples, joined along the first axis.
        path: the file of labels, for errors.
        thresholds: thresholds that are already known, by output name, or None.

    Returns:
        A dict from output names to tasks.

    Raises:
        Failure: there is no output of that name, or the labels do not fit the output.
    """
    found = {}
    for name, values in labels.items():
        if name not in outputs:
            message = f"{path} has labels of {name!r}, which is not an output"
            raise script.Failure(f"{message} ({', '.join(outputs)})")
        try:
            known = (thresholds or {}).get(name)
            found[name] = _task(np.asarray(values), outputs[name], known)
        except ValueError as error:
            message = f"{path} does not fit the output {name}: {error}"
            raise script.Failure(message) from error
    return found


def joined(outputs: Sequence[Arrays], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the outputs of all runs joined along the first axis, a dict of arrays by name."""
    return {name: np.concatenate([np.atleast_1d(run[name]) for run in outputs]) for name in names}


def extended(outputs: Arrays, labels: Arrays) -> dict[str, np.ndarray]:
    """Return outputs of some samples, repeated until there is one for each label.

    For most labels only the shape and dtype of the outputs decide on the task, so the values do not
    matter. The arrays are views and use no memory.
    """
    return {
        name: np.broadcast_to(array[:1], (len(labels[name]), *array.shape[1:]))
        for name, array in outputs.items()
    }


class Score(NamedTuple):
    """The metric of an output, and its confusion matrix.

    Attributes:
        metric: the accuracy or the mean error.
        pairs: how often each pair of a label and a predicted class occurs. It is empty if the
            labels are not classes.
    """

    metric: float
    pairs: Counter[tuple[int, int]]

    def is_chance(self) -> bool:
        """Return whether the accuracy is near what chance gives.

        Let class k have the share l_k of the labels and p_k of the predictions. Then the accuracy
        of chance is c = sum_k l_k · p_k. Near means at most c + (1 - c) / 10, or c + 2e if that is
        more, with the standard error e = √(c (1 - c) / n). The tenth is a value of Cohen's kappa
        ("A coefficient of agreement for nominal scales", 1960). If c is above 60%, the return value
        is false: one label is so frequent that a sound model may always predict it.
        """
        number = self.pairs.total()
        labels, given = Counter[int](), Counter[int]()
        for (true, called), count in self.pairs.items():
            labels[true] += count
            given[called] += count
        chance = sum(labels[each] * given[each] for each in labels) / max(number, 1) ** 2
        error = np.sqrt(chance * (1 - chance) / max(number, 1))
        near = chance + max(2 * error, (1 - chance) / 10)
        return bool(self.pairs and chance <= FAIR and self.metric <= near < 1)


def metrics(of: Mapping[str, Task], outputs: Iterable[Arrays]) -> dict[str, float]:
    """Return the metric of each output that has labels, a dict by output name.

    Args:
        of: the task of each output, see `tasks`.
        outputs: for each run, in order, a dict of arrays by output name. None of them is kept, so
            this may be an iterator.
    """
    totals, numbers = dict.fromkeys(of, 0.0), dict.fromkeys(of, 0)
    starts = dict.fromkeys(of, 0)
    for run in outputs if of else []:
        for name, task in of.items():
            values = np.atleast_1d(run[name])
            part, counted = count(task, values, starts[name])
            totals[name] += part
            numbers[name] += counted
            starts[name] += len(values)
    return {name: totals[name] / numbers[name] for name in of}


def scores(of: Mapping[str, Task], outputs: Iterable[Arrays]) -> dict[str, Score]:
    """Return the `Score` of each output that has labels, a dict by output name; see `metrics`."""
    pairs = {name: Counter[tuple[int, int]]() for name in of}

    def noted() -> Iterator[Arrays]:
        starts = dict.fromkeys(of, 0)
        for run in outputs:
            for name, task in of.items():
                values = np.atleast_1d(run[name])
                pairs[name].update(called(task, values, starts[name]))
                starts[name] += len(values)
            yield run

    found = metrics(of, noted())
    return {name: Score(found[name], pairs[name]) for name in of}


def same_class(
    given: Sequence[Arrays], expected: Sequence[Arrays], ids: Sequence[Sequence[int]]
) -> tuple[int, int] | None:
    """Return on how many samples two models predict the same classes, and how many there are.

    The output of a classifier is recognized by its values. For each sample it has two or more
    probabilities, which add up to 1.

    Args:
        given: the outputs of each run, or of only the first runs.
        expected: the original model's outputs of each run.
        ids: the indices of each run's samples. A repeated sample counts only the first time.

    Returns:
        Two integers, or None if no output is a classifier's.
    """
    classifiers = [
        name
        for name in expected[0]
        if all(probable(run[name], len(own)) for run, own in zip(expected, ids, strict=True))
    ]
    if not classifiers:
        return None
    found: dict[int, bool] = {}
    for run, true, own in zip(given, expected, ids, strict=False):
        agree = [run[name].argmax(axis=-1) == true[name].argmax(axis=-1) for name in classifiers]
        for sample, same in zip(own, np.logical_and.reduce(agree), strict=True):
            found.setdefault(sample, bool(same))
    return sum(found.values()), len(found)


def probable(outputs: np.ndarray, samples: int, step: float = 0.0) -> bool:
    """Return whether an output has two or more probabilities for each sample.

    Args:
        outputs: the output of a run.
        samples: how many samples the run has.
        step: the scale of the output if it is stored as integers, because each probability was
            rounded to a multiple of it.
    """
    if outputs.dtype.kind != "f" or outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    sums, slack = outputs.sum(axis=1), 1e-3 + min(step * outputs.shape[1] / 2, ROUNDED)
    return len(sums) == samples and bool((outputs >= 0).all() and (np.abs(sums - 1) < slack).all())


def threshold(outputs: np.ndarray) -> float:
    """Return the decision threshold: 0.5 if all outputs are from 0 to 1, otherwise 0."""
    probable = ((outputs >= 0) & (outputs <= 1)) | np.isnan(outputs)
    return 0.5 if probable.all() else 0.0


def count(task: Task, outputs: np.ndarray, start: int) -> tuple[float, int]:
    """Count the right values, or add up the absolute errors.

    A NaN counts as wrong, and makes a sum of errors NaN. Outputs of another shape than the original
    model's count as NaN.

    Args:
        task: a `Task`.
        outputs: the outputs of some samples, samples first.
        start: the index of the first of these samples among the labels.

    Returns:
        The sum as a float, and the number of elements in it, without ignored ones.
    """
    labels = task.labels[start : start + len(outputs)]
    ignorable = task.rule in ("largest", "equal")
    counted = labels != IGNORED if ignorable else np.ones(labels.shape, bool)
    number = int(counted.sum())
    shape = outputs.shape[:-1] if task.rule == "largest" else outputs.shape
    if shape != labels.shape:
        return 0.0 if task.kind == "accuracy" else np.nan, number
    if task.rule == "distance":
        return float(np.abs(outputs.astype(np.float64) - labels).sum()), number
    lost = np.isnan(outputs)
    if task.rule == "largest":
        right = (outputs.argmax(axis=-1) == labels) & ~lost.any(axis=-1)
    elif task.rule == "threshold":
        right = ((outputs > task.threshold) == labels) & ~lost
    else:
        right = outputs == labels
    return float((right & counted).sum()), number


def called(task: Task, outputs: np.ndarray, start: int) -> Counter[tuple[int, int]]:
    """Count how often each pair of a label and a predicted class occurs; see `count`.

    The counter is empty if the labels are not classes, or if a sample has several truth values.
    """
    labels = task.labels[start : start + len(outputs)]
    if task.rule == "largest":
        given = outputs.argmax(axis=-1)
    elif task.rule == "distance" or labels.size > len(labels):
        return Counter()
    else:
        given = outputs > task.threshold if task.rule == "threshold" else outputs
    if given.shape != labels.shape:
        return Counter()
    kept = labels != IGNORED
    pairs = np.stack([labels[kept], given[kept]]).astype(np.int64)
    numbers = np.unique(pairs[0] * 2**32 + pairs[1], return_counts=True)
    return Counter(
        {divmod(int(pair), 2**32): int(count) for pair, count in zip(*numbers, strict=True)}
    )


def text(kind: str, metric: float) -> str:
    """Return a metric as text, such as "97.2%" for an accuracy and "0.0312" for a mean error."""
    return f"{metric:.1%}" if kind == "accuracy" else f"{metric:.4g}"


def _check(labels: np.ndarray, outputs: np.ndarray) -> None:
    """Raise ValueError unless labels and outputs are real numbers for the same samples."""
    if outputs.dtype.kind not in "biuf":
        raise ValueError(f"expected no labels, since it returns {outputs.dtype.name}")
    if labels.dtype.kind not in "biuf":
        given = "text" if labels.dtype.kind in "SU" else labels.dtype.name
        raise ValueError(f"expected labels that are real numbers, given {given}")
    if labels.ndim == 0 or len(labels) != len(outputs):
        given = f"{len(labels):,}" if labels.ndim else "a single number"
        raise ValueError(f"expected labels of {len(outputs):,} samples, given {given}")
    if not labels.size:
        raise ValueError(f"expected labels, given an empty array of the shape {labels.shape}")
    lost = int((~np.isfinite(labels)).sum())
    if lost:
        message = f"expected labels that are numbers, given {lost:,} of {labels.size:,}"
        raise ValueError(f"{message} that are NaN or infinite")


def _task(labels: np.ndarray, outputs: np.ndarray, known: float | None) -> Task:
    """Return the `Task` that fits the labels and the original model's outputs.

    Args:
        labels: the labels of one output, samples first.
        outputs: the output.
        known: the threshold if it is already known, or None.

    Raises:
        ValueError: no task fits.
    """
    _check(labels, outputs)
    shape = outputs.shape
    classes = shape[-1] if len(shape) > 1 else 1
    whole = bool((labels == np.floor(labels)).all())
    if whole and classes > 1 and _bare(labels.shape) == _bare(shape[:-1]):
        return _largest(labels.reshape(shape[:-1]), classes)
    if _bare(labels.shape) != _bare(shape):
        expected = f"numbers of the shape {shape}"
        if classes > 1:
            expected = f"whole numbers of the shape {shape[:-1]} or {expected}"
        given = f"{'whole' if whole else 'real'} numbers of the shape {labels.shape}"
        raise ValueError(f"expected labels that are {expected}, given {given}")
    labels = labels.reshape(shape)
    if whole and outputs.dtype.kind != "f":
        _some(labels)
        return Task(labels, "accuracy", "equal", None)
    if not ((labels == 0) | (labels == 1)).all():
        return Task(labels, "mean_error", "distance", None)
    if classes > 1 and (np.count_nonzero(labels, axis=-1) == 1).all():
        return _largest(labels.argmax(axis=-1), classes)
    return Task(labels, "accuracy", "threshold", threshold(outputs) if known is None else known)


def _largest(labels: np.ndarray, classes: int) -> Task:
    """Return the `Task` for labels that are classes.

    Raises:
        ValueError: a label is not a class, or all labels are ignored.
    """
    wrong = labels[(labels < IGNORED) | (labels >= classes)]
    if wrong.size:
        expected = f"classes 0 to {classes - 1}, or {IGNORED} for what does not count"
        raise ValueError(f"expected labels that are {expected}, given {wrong[0]}")
    _some(labels)
    return Task(labels.astype(np.int64), "accuracy", "largest", None)


def _some(labels: np.ndarray) -> None:
    """Raise ValueError if all labels are ignored."""
    if (labels == IGNORED).all():
        message = f"expected labels other than {IGNORED}, which does not count"
        raise ValueError(f"{message}, given {IGNORED} only")


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its axes of size 1."""
    return tuple(size for size in shape if size != 1)
