"""Are samples scaled as in training? If not, outputs are the same for most, or hardly vary."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from litecheck import accuracy, verdict

Arrays = Mapping[str, np.ndarray]  # by the names of inputs or outputs
QUESTION = "are the inputs scaled as in training?"
CHANCE = f"that is near chance: {QUESTION} Are labels in the model's order?"
PIXEL = 255  # what is forgotten most often: to divide by it
TRIED = 16  # samples that are run once more, divided by it
MOST = 0.5  # of the samples: as many share their outputs with others if most do
FEW = 8  # different samples, at least, of which one class for all says something
UNSURE, HARDLY = 0.6, 0.1  # a probability that is no decision, and by which such ones hardly vary
ERROR = 0.25  # of a number's range: to either side, so that half of the range is in doubt


def different_samples(
    runs: Sequence[Arrays], outputs: Sequence[Arrays], ids: Sequence[Sequence[int]]
) -> list[tuple[Arrays, Arrays]]:
    """Return the inputs and outputs of the different samples, each alone where that can be.

    Args:
        runs: the inputs of each run.
        outputs: the model's outputs.
        ids: the numbers of the samples of each run.
    """
    found: dict[tuple[int, ...], tuple[Arrays, Arrays]] = {}
    for inputs, returned, own in zip(runs, outputs, ids, strict=True):
        for one, given in verdict.apart((inputs, returned), len(own)):
            found.setdefault(_key(one), (one, given))
    return list(found.values())


def saturated(
    different: Sequence[tuple[Arrays, Arrays]], compute: Callable[[Arrays], Arrays]
) -> dict[str, tuple[int, int]]:
    """Return the outputs that are the same, bit for bit, for most of the different samples.

    A sigmoid or a softmax of numbers that are too large is 0 or 1. It varies again where the inputs
    are divided by 255, which whole numbers and constants do not. Nothing but zeros is what many
    samples give to a ReLU, too: it counts where others give 1.

    Args:
        different: the inputs and outputs of samples, see `different_samples`.
        compute: runs the model, or a file that is the same.

    Returns:
        By outputs, how many samples share theirs with another sample, and of how many.
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
    """Return the classifiers' outputs that hardly vary, and are no decision: the same class always.

    That is what inputs that are too small give: the biases of the last layer alone. Of fewer than
    eight different samples it is not said.

    Args:
        different: the inputs and outputs of samples, see `different_samples`.

    Returns:
        By outputs, the largest of all probabilities.
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
    """Return whether a file of integers errs by half of the range in most numbers of an output.

    In some it may do so on the right scale, too: classes that these samples lack hardly vary. And
    whole numbers err by as much with each mistake.

    Args:
        given: its outputs of the first runs, or of all.
        true: the expected ones.
        ranges: a dict from outputs to the ranges of their numbers.
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
    """Return what tells a sample from others."""
    return tuple(hash(array.tobytes()) for array in arrays.values())


def _shared(given: Sequence[np.ndarray]) -> int:
    """Return how many outputs of different samples are those of another one."""
    numbers = Counter(array.tobytes() for array in given)
    zeros = np.zeros_like(given[0]).tobytes()
    is_bounded = len(numbers) == 1 or max(array.max(initial=0) for array in given) == 1
    return sum(
        count for kind, count in numbers.items() if count > 1 and (is_bounded or kind != zeros)
    )


def _divided(array: np.ndarray) -> np.ndarray:
    """Return real numbers divided by 255, and others as they are."""
    return (array / PIXEL).astype(array.dtype) if array.dtype.kind == "f" else array
