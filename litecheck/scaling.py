"""Are samples scaled as in training? If not, outputs are equal for most samples or hardly vary."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from litecheck import accuracy, verdict

Arrays = Mapping[str, np.ndarray]  # by the names of inputs or outputs
QUESTION = "are the inputs scaled as in training?"
CHANCE = f"that is near chance: {QUESTION} Are labels in the model's order?"
PIXEL = 255  # the divisor that users forget most often
TRIED = 16  # how many samples are run once more, divided by it
MOST = 0.5  # outputs are suspicious if more than this part of the samples share them
FEW = 8  # with fewer different samples, the same class for all of them may be chance
UNSURE, HARDLY = 0.6, 0.1  # a lower probability is no decision, and a smaller spread hardly varies
ERROR = 0.25  # an error of this part of the range to either side leaves half of it in doubt


def different_samples(
    runs: Sequence[Arrays], outputs: Sequence[Arrays], ids: Sequence[Sequence[int]]
) -> list[tuple[Arrays, Arrays]]:
    """Return the inputs and outputs of each different sample.

    A run of several samples is split into single samples if possible, see `verdict.apart`.

    Args:
        runs: the inputs of each run.
        outputs: the model's outputs in each run.
        ids: the indices of each run's samples.
    """
    found: dict[tuple[int, ...], tuple[Arrays, Arrays]] = {}
    for inputs, returned, own in zip(runs, outputs, ids, strict=True):
        for one, given in verdict.apart((inputs, returned), len(own)):
            found.setdefault(_key(one), (one, given))
    return list(found.values())


def saturated(
    different: Sequence[tuple[Arrays, Arrays]], compute: Callable[[Arrays], Arrays]
) -> dict[str, tuple[int, int]]:
    """Return which outputs are bit-identical for most of the different samples.

    If a model was trained on smaller inputs, its sigmoid or softmax is exactly 0 or 1. Such an
    output varies again when the inputs are divided by 255. Outputs of whole numbers and constant
    outputs do not, and are not returned. A sound ReLU also returns only zeros for many samples. So
    zeros count only if the largest output of all samples is 1, or if all outputs are equal.

    Args:
        different: the inputs and outputs of samples, see `different_samples`.
        compute: a function that runs the model, or a file that computes the same.

    Returns:
        A dict from output names to how many samples share their output with another sample, and how
        many samples there are.
    """
    inputs, outputs = different[0]
    if not any(array.dtype.kind == "f" for array in inputs.values()):
        return {}
    found = {}
    for name, first in outputs.items():
        shared = _shared([given[name] for _, given in different])
        if first.dtype.kind == "f" and shared > MOST * len(different):
            found[name] = shared, len(different)
    if not found:
        return {}
    smaller = [
        compute({name: _divided(array) for name, array in one.items()})
        for one, _ in different[:TRIED]
    ]
    kinds = {name: len({given[name].tobytes() for given in smaller}) for name in found}
    return {name: counts for name, counts in found.items() if kinds[name] > MOST * len(smaller)}


def unsure(different: Sequence[tuple[Arrays, Arrays]]) -> dict[str, float]:
    """Return which outputs of classifiers hardly vary, and always have the same unsure class.

    If a model was trained on larger inputs, its outputs show little more than the biases of the
    last layer. With fewer than eight different samples the return value is empty.

    Args:
        different: the inputs and outputs of samples, see `different_samples`.

    Returns:
        A dict from output names to the largest of all probabilities.
    """
    found: dict[str, float] = {}
    for name in different[0][1] if len(different) >= FEW else []:
        given = [returned[name] for _, returned in different]
        if not all(accuracy.probable(array, 1) for array in given):
            continue
        rows = np.concatenate(given)
        is_same = len({*rows.argmax(axis=1).tolist()}) == 1
        if is_same and rows.max() < UNSURE and np.ptp(rows, axis=0).max() < HARDLY:
            found[name] = float(rows.max())
    return found


def errs(given: Sequence[Arrays], true: Sequence[Arrays], ranges: Arrays) -> bool:
    """Return whether most numbers of an output err by over a quarter of their range.

    Some numbers may err by that much even with the right scale, such as classes that hardly vary
    because the samples lack them. Outputs of whole numbers are not counted, because each mistake in
    them is as large.

    Args:
        given: the outputs of an integer file in all runs, or in only the first runs.
        true: the expected outputs.
        ranges: a dict from output names to the ranges of their numbers.
    """
    for name, spans in ranges.items():
        pairs = [(run[name], right[name]) for run, right in zip(given, true, strict=False)]
        if all((right == np.round(right)).all() for _, right in pairs):
            continue
        parts = [np.atleast_1d(verdict.distance_of(*pair) / spans) for pair in pairs]
        worst = [part.reshape(-1, part.shape[-1]).max(axis=0, initial=0) for part in parts]
        if np.median(np.max(worst, axis=0)) > ERROR:
            return True
    return False


def _key(arrays: Arrays) -> tuple[int, ...]:
    """Return hashes that are equal for equal samples."""
    return tuple(hash(array.tobytes()) for array in arrays.values())


def _shared(given: Sequence[np.ndarray]) -> int:
    """Return how many samples have the same output as another sample; see `saturated`."""
    numbers = Counter(array.tobytes() for array in given)
    zeros = np.zeros_like(given[0]).tobytes()
    is_bounded = len(numbers) == 1 or max(array.max(initial=0) for array in given) == 1
    return sum(
        count for kind, count in numbers.items() if count > 1 and (is_bounded or kind != zeros)
    )


def _divided(array: np.ndarray) -> np.ndarray:
    """Return an array divided by 255 if it has real numbers, otherwise unchanged."""
    return (array / PIXEL).astype(array.dtype) if array.dtype.kind == "f" else array
