"""Are two lists of outputs the same, within a tolerance for each number?

The tolerances come from coarse rounding, which the module `rounding` applies to each operation of
the original model. A number may differ by twice what that changed in it or in its neighbors, plus
four units in its last place. Whole numbers, truth values and text are exact: they must equal what
the original returned, either normally or with coarse rounding.

In this module, outputs are a list with one dict per run, from output names to arrays. The index of
a run is its place in that list. A complex number counts as two real ones.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]  # by the names of outputs
LAST_PLACES = 4  # runtimes may always differ by this many units in the last place
TINY = 2.0**-120  # smaller differences do not count: some processors round such numbers to 0
LENT = 4  # a neighbor's change counts at least up to this multiple of the number's own change
UNCLEAR = 0.01  # a number is unclear if rounding changes it by more than this part of its spread
TOO_MANY = 0.05  # an output is not judged if more than this part of its numbers is unclear
HARDLY = 1e-4  # a number hardly varies if its spread is a smaller part of its size
MIXED = 100  # if one range is this many times another, the narrow one gets few of 256 steps
VAGUE = 0.5  # with an error of this part of the range, the middle of the range would always pass
LARGEST = float(np.finfo(np.float32).max)  # the converter stores an infinite constant as this


class Moved(NamedTuple):
    """What coarse rounding changed in one output of a run.

    Attributes:
        clean: the output without coarse rounding.
        change: the largest change of each number over all trials, float64 in the shape of
            `_as_float64`.
        doubtful: bool in the same shape: which numbers were NaN in a trial, or missing because the
            shape differed.
        trials: the output in each trial if it is exact, otherwise [].
    """

    clean: np.ndarray
    change: np.ndarray
    doubtful: np.ndarray
    trials: list[np.ndarray]


class Expected(NamedTuple):
    """The original model's outputs, and how far other outputs may be from them.

    Attributes:
        outputs: the original model's outputs.
        tolerances: for each run a dict from output names to the tolerance of each number, float32
            in the shape of `_as_float64`. It is 0 for exact outputs.
        others: for each run a dict from the names of exact outputs to arrays that are right, too.
        ranges: a dict from output names to the ranges of their numbers, float64. The shape is the
            part at the end that the shapes of all runs have in common.
        unclear: a dict from output names to how many numbers are unclear, and how many there are.
        steady: the names of the outputs that hardly vary over the samples.
        path: the path of the original model.
        ids: for each run a list with the indices of its samples.
    """

    outputs: list[Arrays]
    tolerances: list[dict[str, np.ndarray]]
    others: list[dict[str, list[np.ndarray]]]
    ranges: dict[str, np.ndarray]
    unclear: dict[str, tuple[int, int]]
    steady: list[str]
    path: str
    ids: list[list[int]]

    def doubts(self) -> list[str]:
        """Return sentences that say why files cannot be judged, or [] if they can."""
        reasons = [
            f"{name} cannot be judged: it hardly varies over these samples. Give samples over which"
            " it varies more"
            for name in self.steady
        ]
        for name, (count, total) in self.unclear.items():
            if count > TOO_MANY * total and name not in self.steady:
                reasons.append(f"{name} cannot be judged: {self._unclear(name)}")
        return reasons

    def reservations(self) -> list[str]:
        """Return sentences that say which outputs have unclear numbers."""
        return [
            f"{name}: {self._unclear(name)}" for name, (count, _) in self.unclear.items() if count
        ]

    def mixtures(self) -> list[str]:
        """Return sentences that say which outputs have numbers of very different ranges."""
        return [
            f"output {name} mixes ranges of {high:.3g} and {low:.3g}: split it into two outputs"
            for name, ranges in self.ranges.items()
            for low, high in [(ranges.min(initial=np.inf), ranges.max(initial=0.0))]
            if high > MIXED * low
        ]

    def _unclear(self, name: str) -> str:
        count, total = self.unclear[name]
        return f"rounding may change {count:,} of {total:,} numbers by more than 1% of their spread"


class Same(NamedTuple):
    """How far given outputs are from the expected ones.

    Attributes:
        error: the largest absolute error.
        of_range: the largest error divided by its number's range.
        difference: a sentence about the worst difference beyond the tolerances, or "".
        broken: a sentence if numbers cannot be compared at all, or "". Then an output has another
            shape or kind, or is NaN or infinite where a number is expected.
    """

    error: float
    of_range: float
    difference: str
    broken: str


def moved(clean: np.ndarray, trials: Sequence[np.ndarray]) -> Moved:
    """Return what coarse rounding changed in an output.

    Args:
        clean: the output without coarse rounding.
        trials: the output with coarse rounding, in each trial.
    """
    alike = [trial for trial in trials if trial.shape == clean.shape]
    shape = _as_float64(clean).shape
    change, doubtful = np.zeros(shape), np.full(shape, len(alike) < len(trials))
    for trial in alike:
        distance = distance_of(trial, clean)
        doubtful |= ~np.isfinite(distance)
        change = np.maximum(change, np.where(np.isfinite(distance), distance, 0.0))
    return Moved(clean, change, doubtful, alike if is_exact(clean) else [])


def again(one: Mapping[str, Moved], two: Mapping[str, Moved]) -> dict[str, Moved]:
    """Return what coarse rounding changed in a run, from two groups of trials together."""
    return {
        name: Moved(
            first.clean,
            np.maximum(first.change, two[name].change),
            first.doubtful | two[name].doubtful,
            [*first.trials, *two[name].trials],
        )
        for name, first in one.items()
    }


def beyond(given: Sequence[Arrays], reference: Expected) -> dict[int, float]:
    """Return how far each run is beyond the tolerances, by the run's index, the worst first.

    The value is the largest distance divided by its tolerance. It is infinity if an output is
    missing or cannot be compared. Runs within the tolerances are left out.
    """
    found: dict[int, float] = {}
    for index, run in enumerate(given):
        for name, true in reference.outputs[index].items():
            if name not in run or _unlike(run[name], true):
                found[index] = np.inf
                continue
            distance = _distance(run[name], true, reference.others[index].get(name, []))
            tolerance = reference.tolerances[index][name]
            if not (distance <= tolerance).all():
                excess = float((distance / np.maximum(tolerance, TINY)).max())
                found[index] = max(excess, found.get(index, 0.0))
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _last_places(values: np.ndarray) -> np.ndarray:
    """Return four units in the last place of each value, float64 in the shape of `_as_float64`."""
    true = _as_float64(values)
    if is_exact(values):
        return np.zeros(true.shape)
    sizes = np.where(np.isfinite(true), np.abs(true), 0.0).astype(values.real.dtype)
    return LAST_PLACES * np.spacing(sizes).astype(np.float64) + TINY


def expected(
    outputs: Sequence[Arrays],
    changes: Mapping[int, Mapping[str, Moved]],
    path: str,
    ids: list[list[int]],
) -> Expected:
    """Return the `Expected` outputs, from what coarse rounding changed.

    The tolerance of number i is

        2 · max(c_i, min over the axes of the median of c_j) + 4 units in its last place + 2^-120

    Here c is the largest change of a number, and j runs over the line through i along an axis, with
    the samples stacked along the first axis. Small numbers beside large ones get less, see
    `_with_neighbors`. A run that was not measured gets the largest tolerance at the same place. A
    number is unclear if its tolerance is above 1% of its spread over the samples, or of its size if
    it does not vary. An exact number is unclear if coarse rounding changed it.

    Args:
        outputs: the original model's outputs.
        changes: for each measured run, by its index, a dict from output names to what was `Moved`.
        path: the path of the original model.
        ids: the indices of each run's samples.
    """
    every: list[int] = list(range(len(outputs)))
    tolerances: list[dict[str, np.ndarray]] = [{} for _ in every]
    others: list[dict[str, list[np.ndarray]]] = [{} for _ in every]
    ranges, unclear, steady = {}, {}, []
    for name, first in outputs[0].items():
        values = [run[name] for run in outputs]
        seen = {
            index: run[name]
            for index, run in changes.items()
            if run[name].clean.shape == values[index].shape
        }
        stacked = [_stacked(_as_float64(x), ids[i]) for i, x in enumerate(values)]
        ranges[name] = _ranges(stacked)
        if is_exact(first):
            count, total = 0, 0
            for index in every:
                tolerances[index][name] = np.zeros(values[index].shape, np.float32)
            for index, run in seen.items():
                true, doubtful = values[index], run.doubtful
                others[index][name] = [x for x in run.trials if (x != true).any()]
                for other in others[index][name]:
                    doubtful = doubtful | (other != true)
                count, total = count + int(doubtful.sum()), total + doubtful.size
            unclear[name] = count, total
            continue
        reaches = _reaches(stacked, {i: _stacked(run.change, ids[i]) for i, run in seen.items()})
        count, total, sizes = 0, 0, []
        for group in _alike(stacked):
            spread, size = _spread(*_ends([stacked[index] for index in group]))
            sizes.append((spread, size))
            scale = np.where(spread > 0, spread, size)
            if np.iscomplexobj(first):  # the rounding of both parts depends on the magnitude
                halves = np.split(scale, 2, axis=-1)
                scale = np.concatenate([np.maximum(*halves)] * 2, axis=-1)
            for index in group:
                last = _last_places(values[index])
                reach = last + reaches[index].reshape(last.shape)
                if index in seen and not _within(seen[index].clean, values[index], reach):
                    reach = last  # another function was measured, so its changes do not count
                tolerances[index][name] = _float32_above(reach)
                own = reach if index in seen else last
                wide = _stacked(own, ids[index]) > np.maximum(UNCLEAR * scale, 2 * TINY)
                doubtful = seen[index].doubtful if index in seen else np.zeros(last.shape, bool)
                count += int((wide | _stacked(doubtful, ids[index])).sum())
                total += wide.size
        unclear[name] = count, total
        if _hardly_vary(sizes):
            steady.append(name)
    return Expected(list(outputs), tolerances, others, ranges, unclear, steady, path, ids)


def _within(given: np.ndarray, true: np.ndarray, reach: np.ndarray) -> bool:
    """Return whether an output equals the expected one within the tolerances."""
    return given.shape == true.shape and bool((distance_of(given, true) <= reach).all())


def _stacked(array: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Return an output of a run with the samples on the first axis, which is added if missing."""
    return array if array.shape[:1] == (len(ids),) else array[None]


def _alike(stacked: Sequence[np.ndarray]) -> list[list[int]]:
    """Return groups of indices of the arrays whose shapes are equal apart from the first axis."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, array in enumerate(stacked):
        groups.setdefault(array.shape[1:], []).append(index)
    return list(groups.values())


def _reaches(stacked: Sequence[np.ndarray], changes: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Return how far rounding may move each number of an output: twice what coarse rounding did.

    Args:
        stacked: the output in all runs, samples on the first axis.
        changes: for each measured run, by its index, how far each number was moved.
    """
    largest = 2 * max((change.max(initial=0.0) for change in changes.values()), default=0.0)
    reaches = [np.full(array.shape, largest) for array in stacked]
    for group in _alike(stacked):
        measured = [index for index in group if index in changes]
        if not measured:
            continue
        numbers = np.concatenate([stacked[index] for index in measured])
        found = np.concatenate([changes[index] for index in measured])
        found = 2 * _with_neighbors(found, numbers)
        ends = np.cumsum([len(changes[index]) for index in measured])
        for index in group:
            reaches[index][...] = found.max(axis=0, initial=0.0)
        for index, reach in zip(measured, np.split(found, ends[:-1]), strict=True):
            reaches[index] = reach
    return reaches


def _with_neighbors(changes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return changes, raised where the neighbors on a line through a number changed more.

    The change of a number may be small by chance, so it is raised to the median of its line, along
    the axis where that adds least. A small number does not round as much as large ones beside it.
    So it is raised only in proportion to its size, or up to `LENT` times its own change if that is
    more.

    Args:
        changes: how far each number was moved, with at least one axis.
        numbers: the numbers, in the same shape.
    """
    axes = [axis for axis, size in enumerate(changes.shape) if size > 1]
    if not axes or not changes.size:
        return changes
    sizes = np.where(np.isfinite(numbers), np.abs(numbers), 0.0)
    shares = np.divide(changes, sizes, out=np.zeros_like(changes), where=sizes > 0)
    least = np.full(changes.shape, np.inf)
    for axis in axes:
        median = np.median(changes, axis=axis, keepdims=True)
        share = np.median(shares, axis=axis, keepdims=True)
        least = np.minimum(least, np.minimum(median, np.maximum(sizes * share, LENT * changes)))
    return np.maximum(changes, least)


def _ends(stacked: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum and the maximum of each number over all samples of some arrays.

    Numbers that are not finite do not count. If none is finite, the results are infinity and
    -infinity.
    """
    low, high = (
        reduce.reduce(
            [reduce.reduce(np.where(np.isfinite(x), x, none), initial=none) for x in stacked]
        )
        for reduce, none in [(np.minimum, np.inf), (np.maximum, -np.inf)]
    )
    return low, high


def _spread(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spread of numbers and their largest magnitude, from the results of `_ends`."""
    full = high >= low
    low, high = np.where(full, low, 0.0), np.where(full, high, 0.0)
    return high - low, np.maximum(np.abs(low), np.abs(high))


def _hardly_vary(sizes: Iterable[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Return whether an output varies, but each of its numbers only by a tiny part of its size.

    Args:
        sizes: the spread and the size of the numbers, see `_spread`.
    """
    shares = np.concatenate([spread[spread > 0] / size[spread > 0] for spread, size in sizes])
    return bool(shares.size and shares.max() < HARDLY)


def _ranges(stacked: Sequence[np.ndarray]) -> np.ndarray:
    """Return the range of each number of an output.

    A slice is all numbers with the same index on one axis, over all samples. The range of a number
    is that of the narrowest slice that it belongs to. The range of a slice that does not vary is
    its largest magnitude. A number with only zeros in its slices has the range 1.

    Returns:
        float64. The shape is the part at the end that the shapes of all runs have in common.
    """
    shape = os.path.commonprefix([array.shape[:0:-1] for array in stacked])[::-1]
    rows = [x.reshape(math.prod(x.shape[: x.ndim - len(shape)]), *shape) for x in stacked]
    low, high = _ends(rows)
    found = np.full(shape, np.inf)
    for kept in range(len(shape)) or [None]:
        others = tuple(axis for axis in range(len(shape)) if axis != kept)
        spread, size = _spread(
            low.min(axis=others, keepdims=True, initial=np.inf),
            high.max(axis=others, keepdims=True, initial=-np.inf),
        )
        span = np.where(spread > 0, spread, np.where(size > 0, size, np.inf))
        found = np.minimum(found, span)
    return np.where(np.isfinite(found), found, 1.0)


def ranges_of(outputs: Sequence[Arrays], ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Return the ranges of the numbers of each output, a dict by name; see `_ranges`.

    Args:
        outputs: the outputs of each run.
        ids: the indices of each run's samples.
    """
    return {
        name: _ranges(
            [_stacked(_as_float64(run[name]), own) for run, own in zip(outputs, ids, strict=True)]
        )
        for name in outputs[0]
    }


def apart(sides: Sequence[Arrays], count: int) -> list[tuple[dict[str, np.ndarray], ...]]:
    """Split a run of several samples into runs of one sample each.

    The run stays whole if the first axis of an array does not have one index per sample.

    Args:
        sides: dicts of arrays, such as the inputs and the outputs of the run.
        count: how many samples the run has.

    Returns:
        For each new run a tuple with a dict of arrays for each side.
    """
    if any(array.shape[:1] != (count,) for side in sides for array in side.values()):
        return [tuple(map(dict, sides))]
    return [
        tuple({name: array[i : i + 1] for name, array in side.items()} for side in sides)
        for i in range(count)
    ]


def mean_error(given: Sequence[Arrays], true: Sequence[Arrays], ranges: Arrays) -> float:
    """Return the mean error of all numbers, each divided by its range.

    Args:
        given: the outputs of all runs, or of only the first runs.
        true: the expected outputs.
        ranges: a dict from output names to the ranges of their numbers.
    """
    errors = [
        np.mean(distance_of(run[name], right[name]) / ranges[name])
        for run, right in zip(given, true, strict=False)
        for name in ranges
        if right[name].size  # an output may have no numbers
    ]
    return float(np.mean(errors)) if errors else 0.0


def _float32_above(values: np.ndarray) -> np.ndarray:
    """Return the values as float32, rounded up."""
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def compare(given: Sequence[Arrays], reference: Expected) -> Same:
    """Compare the outputs of all runs, or of only the first runs, with the expected outputs."""
    for name in reference.outputs[0]:
        for index, (run, true) in enumerate(zip(given, reference.outputs, strict=False)):
            reason = ""
            if run.keys() != true.keys():
                reason = f"its outputs are {', '.join(run)}, not {', '.join(true)}"
            elif _unlike(run[name], true[name]):
                sample = reference.ids[index][0]
                reason = f"output {name} of sample {sample} {_unlike(run[name], true[name])}"
            if reason:
                return Same(np.inf, np.inf, reason, reason)
    error, of_range, difference, broken = 0.0, 0.0, "", ""
    for name in reference.outputs[0]:
        worst = Worst(reference, name)
        for index, run in enumerate(given):
            worst.see(index, run[name])
        error, of_range = max(error, worst.error), max(of_range, worst.of_range)
        difference = difference or worst.difference()
        broken = broken or (worst.difference() if worst.lost else "")
    return Same(error, of_range, broken or difference, broken)


def device_tolerances(
    given: Sequence[Arrays],
    reference: Expected,
    scales: Mapping[str, float],
    runs: Sequence[int],
) -> list[dict[str, np.ndarray]]:
    """Return how far a device's outputs may be from the expected ones.

    This is a sum of two parts. The first is the tolerance, or for integers two steps of their scale
    if that is more. The second comes from the error that the file itself had where it was
    converted. Devices compute with the same quantized weights in different ways, so they have
    errors of that size at other places. For each component it is four times the worst error over
    all samples, divided by the range. If that is small by chance, it is four times the error of the
    median component. It is never more than the worst error of all components.

    Args:
        given: the file's outputs where it was converted, in all runs or in only the first runs.
        reference: the expected outputs.
        scales: a dict from output names to the scale of their integers, or 0 for other outputs.
        runs: the indices of the runs to return tolerances for.

    Returns:
        For each of these runs a dict from output names to tolerances, float32.
    """
    found: list[dict[str, np.ndarray]] = [{} for _ in runs]
    for name, scale in scales.items():
        true = [run[name] for run in reference.outputs]
        split, ranges = _splits(true), reference.ranges[name]
        ties = [run.get(name, []) for run in reference.others]
        distances = [
            _distance(run[name], values, other)
            for run, values, other in zip(given, true, ties, strict=False)
        ]
        lost = [~np.isfinite(distance) for distance in distances]
        worst = np.maximum.reduce(
            [
                _largest(np.where(gone, 0.0, distance) / ranges, split)
                for distance, gone in zip(distances, lost, strict=True)
            ]
        )
        middle = np.quantile(worst, 0.5, method="lower") if worst.size else 0.0
        shares = np.minimum(4 * np.maximum(worst, middle), worst.max(initial=0.0))
        for kept, index in zip(found, runs, strict=True):
            tolerance = reference.tolerances[index][name]
            reach = shares * ranges + np.maximum(tolerance, 2 * scale)
            gone = lost[index] if index < len(lost) else False
            kept[name] = _float32_above(np.where(gone, np.inf, reach))
    return found


class Agreement(NamedTuple):
    """How well a device's outputs agree with a record.

    Attributes:
        agreeing: how many runs agree in all components.
        of: how many runs there are.
        of_range: the largest difference from the expected outputs, divided by the number's range.
        worst: a text about the worst number that does not agree, or "".
        lost: whether an output has another shape or kind, or is NaN or infinite where a number is
            expected.
    """

    agreeing: int
    of: int
    of_range: float
    worst: str
    lost: bool


def agreement(
    given: Sequence[Arrays],
    outputs: Sequence[Arrays],
    tolerances: Sequence[Arrays],
    others: Sequence[Mapping[str, Sequence[np.ndarray]]],
    ranges: Arrays,
) -> Agreement:
    """Compare a device's outputs with the expected outputs of a record.

    Args:
        given: the device's outputs.
        outputs: the expected outputs.
        tolerances: how far the device's outputs may be from them, see `device_tolerances`.
        others: for each run a dict from the names of exact outputs to arrays that are right, too.
        ranges: a dict from output names to the ranges of their numbers.
    """
    count, of_range, worst, excess = 0, 0.0, "", -1.0
    runs = zip(given, outputs, tolerances, others, strict=True)
    for index, (run, true_run, tolerance, ties) in enumerate(runs):
        agrees = True
        for name, true in true_run.items():
            if _unlike(run[name], true):
                of_range, agrees = np.inf, False
                if excess < np.inf:
                    excess, worst = np.inf, f"in run {index + 1}, {name} {_unlike(run[name], true)}"
                continue
            if not true.size:
                continue
            reach = allowed(true, tolerance[name], ranges[name])
            seen = _compared(run[name], true, reach, ranges[name], ties.get(name, []))
            of_range = max(of_range, seen.shares.max())
            agrees = agrees and not seen.beyond.any()
            if seen.excess.max() > excess:
                excess, place = seen.excess.max(), seen.worst()
                where = _element(place, true)
                component = f"component {where[-1]} of " if true.size > 1 else ""
                worst = (
                    f"in run {index + 1}, {component}{name} is {run[name][where]} instead of"
                    f" {true[where]}, and may differ by {reach[place]:.2g}"
                )
        count += agrees
    return Agreement(count, len(outputs), float(of_range), worst, bool(np.isinf(excess)))


def allowed(true: np.ndarray, tolerance: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return the tolerances of a record for an output, limited to half of its largest range.

    With larger tolerances the comparison would say nothing.

    Returns:
        float64 in the shape of `_as_float64`.
    """
    values = _as_float64(true)
    most = np.where(np.isfinite(values), VAGUE * ranges.max(initial=0.0), np.inf)
    return np.minimum(np.broadcast_to(tolerance, values.shape), most)


class Compared(NamedTuple):
    """How one output of a run compares with the expected output.

    All arrays have the shape of `_as_float64`.

    Attributes:
        distance: how far each number is from the expected one.
        shares: the distances divided by the ranges.
        lost: which numbers are NaN or infinite where a finite number is expected.
        beyond: which numbers are lost, or further away than their tolerances.
        excess: infinity for lost numbers, the share for others beyond, and -1 for the rest.
    """

    distance: np.ndarray
    shares: np.ndarray
    lost: np.ndarray
    beyond: np.ndarray
    excess: np.ndarray

    def worst(self) -> tuple[int, ...]:
        """Return the index of the largest excess."""
        return tuple(map(int, np.unravel_index(self.excess.argmax(), self.excess.shape)))


def _compared(
    given: np.ndarray,
    true: np.ndarray,
    tolerance: np.ndarray,
    ranges: np.ndarray,
    others: Sequence[np.ndarray],
) -> Compared:
    """Compare an output with the expected output of the same shape.

    Exact numbers have distance 0 also if they equal a number at the same place in `others`.
    """
    distance = _distance(given, true, others)
    shares = distance / ranges
    lost = ~np.isfinite(_as_float64(given)) & np.isfinite(_as_float64(true))
    beyond = lost | ~(distance <= tolerance)
    excess = np.where(beyond, np.where(lost, np.inf, shares), -1.0)
    return Compared(distance, shares, lost, beyond, excess)


def _distance(given: np.ndarray, true: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return `distance_of`, with 0 where a value also equals the one in an array of `others`."""
    distance = distance_of(given, true)
    for other in others:
        distance = np.where(given == other, 0.0, distance)
    return distance


def _element(where: tuple[int, ...], values: np.ndarray) -> tuple[int, ...]:
    """Return the index in `values` of the number that has the index `where` in `_as_float64`."""
    if not np.iscomplexobj(values):
        return where
    return (*where[:-1], where[-1] % values.shape[-1]) if values.ndim else ()


class Worst:
    """The worst number of one output over all runs, and how many are beyond their tolerances."""

    def __init__(self, reference: Expected, name: str) -> None:
        """Take the `Expected` outputs, and the name of the output to compare."""
        self.reference, self.name = reference, name
        self.error, self.of_range, self.beyond, self.seen = 0.0, 0.0, 0, 0
        self.known: set[int] = set()  # samples that were compared
        self.lost: set[int] = set()  # samples with NaN or infinity where a number is expected
        self.excess = -1.0
        self.place: tuple[int, tuple[int, ...], float] | None = None  # run, index, tolerance
        self.value = np.zeros(())

    def sample(self, run: int, index: int) -> int:
        """Return the index of the sample at an index on the first axis of a run's output."""
        ids = self.reference.ids[run]
        several = self.reference.outputs[run][self.name].shape[:1] == (len(ids),)
        return ids[index if several else 0]

    def see(self, run: int, given: np.ndarray) -> None:
        """Compare the output of a run, and keep it if it is the worst so far.

        Args:
            run: the index of the run.
            given: the output.
        """
        true = self.reference.outputs[run][self.name]
        tolerance = self.reference.tolerances[run][self.name]
        if not true.size:
            return
        others = self.reference.others[run].get(self.name, [])
        seen = _compared(given, true, tolerance, self.reference.ranges[self.name], others)
        self.error = max(self.error, float(seen.distance.max()))
        self.of_range = max(self.of_range, float(seen.shares.max()))
        rows = np.nonzero(np.atleast_1d(seen.lost))[0].tolist()
        self.lost |= {self.sample(run, row) for row in rows}
        again = self.known.issuperset(self.reference.ids[run])  # other runs had these samples
        if not again or (seen.beyond.any() and not self.beyond):
            self.seen += seen.distance.size
            self.beyond += int(seen.beyond.sum())
        self.known.update(self.reference.ids[run])
        if seen.excess.max() > self.excess:
            self.excess, where = float(seen.excess.max()), seen.worst()
            reach = float(np.broadcast_to(tolerance, seen.excess.shape)[where])
            self.place, self.value = (run, where, reach), given

    def difference(self) -> str:
        """Return a sentence about the worst number beyond its tolerance, or ""."""
        if not self.beyond or not self.place:
            return ""
        run, index, reach = self.place
        true = self.reference.outputs[run][self.name]
        where = _element(index, true)
        first, last = (where[0], where[-1]) if where else (0, 0)
        place = f"output {self.name}, sample {self.sample(run, first)}, component {last}"
        values = f"is {self.value[where]}, but {self.reference.path} returns {true[where]}"
        if self.lost:
            total = len({sample for ids in self.reference.ids for sample in ids})
            count = f"{len(self.lost):,} of {total:,} samples give NaN or infinity"
            return f"{count}: {place} {values}"
        if is_exact(true):
            count = f"{self.beyond:,} of {self.seen:,} elements of {self.name} differ"
            return f"{count}: {place} {values}"
        return f"{place} {values}, and rounding explains an error of {reach:.1e}"


def is_exact(values: np.ndarray) -> bool:
    """Return whether values are integers, truth values or text, which are compared exactly."""
    return values.dtype.kind not in "fc"


def _kind(values: np.ndarray) -> str:
    """Return the kind of an array in a word: "real", "complex", "bool", "text" or an int dtype."""
    kinds = {"f": "real", "c": "complex", "b": "bool", "i": "", "u": ""}
    return kinds.get(values.dtype.kind, "text") or values.dtype.name


def _unlike(given: np.ndarray, true: np.ndarray) -> str:
    """Return why an output cannot be compared with the expected output, or ""."""
    if _kind(given) != _kind(true):
        return f"is {_kind(given)}, not {_kind(true)}"
    if given.shape != true.shape:
        return f"has the shape {given.shape}, not {true.shape}"
    return ""


def _as_float64(values: np.ndarray) -> np.ndarray:
    """Return values as float64.

    A complex array doubles its last axis: real parts, then imaginary parts. A number as large as
    the largest float32 becomes infinity. Text becomes 0.
    """
    if _kind(values) == "text":
        return np.zeros(values.shape)
    if np.iscomplexobj(values):
        values = np.atleast_1d(values)
        values = np.concatenate([values.real, values.imag], axis=-1)
    real = values.astype(np.float64)
    return np.where(np.abs(real) >= LARGEST, np.copysign(np.inf, real), real)


def shape_of(values: np.ndarray) -> tuple[int, ...]:
    """Return the shape in which an output's numbers are compared, see `_as_float64`."""
    return _as_float64(values).shape


def _splits(arrays: Sequence[np.ndarray]) -> bool:
    """Return whether an output's arrays have components, on a last axis of one size."""
    return min(array.ndim for array in arrays) >= 2 and len({a.shape[-1] for a in arrays}) == 1


def _largest(values: np.ndarray, split: bool) -> np.ndarray:
    """Return the maximum of an array, or if `split` is true of each component."""
    return values.max(axis=tuple(range(values.ndim - 1)) if split else None, initial=0.0)


def distance_of(given: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return how far given values are from the expected ones, float64 as in `_as_float64`.

    The distance is 0 between equal infinities, and otherwise infinite if one of the two is NaN or
    infinite. Between exact values that differ it is at least 1.
    """
    if given.shape != true.shape:
        return np.full_like(_as_float64(true), np.inf)
    if is_exact(true):
        differ = given != true
        apart = np.abs(_as_float64(given) - _as_float64(true))
        return np.where(differ, np.maximum(apart, 1.0), 0.0)
    values, expected = _as_float64(given), _as_float64(true)
    with np.errstate(invalid="ignore"):
        distance = np.abs(values - expected)
    distance = np.where(values == expected, 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)
