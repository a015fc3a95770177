"""Are these outputs the same as those, within a tolerance for each number?

A number may differ by twice what coarse rounding changed in it or in its neighbours, and by four
units in its last place. Whole numbers, truth values and texts must be what the original returned,
once or with coarse rounding.

Outputs are lists with a dict for each run from their names to arrays. A complex number counts as
two real ones.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]  # by the names of outputs
LAST_PLACES = 4  # units in the last place, by which runtimes may always differ
TINY = 2.0**-120  # smaller differences are none: some processors take such numbers for 0
LENT = 4  # times its own change, which chance has made small: what neighbours lend any number
UNCLEAR = 0.01  # of a number's own spread: where rounding changes more, it cannot be judged
TOO_MANY = 0.05  # of an output's numbers: where more are unclear, none is judged
HARDLY = 1e-4  # of its size: a number that varies less hardly varies
MIXED = 100  # times the other: two such ranges leave few of 256 steps to the narrow one
VAGUE = 0.5  # of its range: with such an error the middle would be right everywhere
LARGEST = float(np.finfo(np.float32).max)  # the converter stores an infinite constant as this


class Moved(NamedTuple):
    """What coarse rounding changed in an output of a run.

    Attributes:
        clean: the output without it.
        change: the largest change of each number: float64 of the shape of `_as_float64`.
        doubtful: which numbers came out as NaN or not at all, of the same shape.
        answers: what it returned in each trial where outputs are exact: arrays of its shape.
    """

    clean: np.ndarray
    change: np.ndarray
    doubtful: np.ndarray
    answers: list[np.ndarray]


class Expected(NamedTuple):
    """The outputs of the original, and how far others may be from them.

    Attributes:
        outputs: the original's outputs.
        tolerances: for each run a dict from outputs to how far each number may be off: float32 of
            the shape of `_as_float64`, 0 where outputs are exact.
        others: for each run a dict from outputs that are exact to what they may be as well.
        ranges: a dict from outputs to the ranges of their numbers: float64, of the shape that all
            runs have in common at its end.
        unclear: a dict from outputs to how many numbers cannot be judged, and of how many.
        steady: the outputs that hardly vary over the samples.
        path: whose outputs they are.
        ids: the numbers of the samples of each run: a list of lists.
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
        """Return why files cannot be judged, in sentences; none if they can."""
        reasons = [
            f"{name} cannot be judged: it hardly varies over these samples; give others, for which"
            " it does"
            for name in self.steady
        ]
        for name, (count, total) in self.unclear.items():
            if count > TOO_MANY * total and name not in self.steady:
                reasons.append(f"{name} cannot be judged: {self._unclear(name)}")
        return reasons

    def reservations(self) -> list[str]:
        """Return what is unclear where files can be judged, in sentences."""
        return [
            f"{name}: {self._unclear(name)}" for name, (count, _) in self.unclear.items() if count
        ]

    def mixtures(self) -> list[str]:
        """Return which outputs hold numbers of very different ranges, in sentences."""
        return [
            f"output {name} mixes ranges of {high:.3g} and {low:.3g}: make them two"
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
        of_range: the largest error as a part of its number's range.
        difference: what is different beyond the tolerances, in words, or "".
        broken: the same where there are no numbers to compare: an output of another shape or kind,
            NaN, or infinity where a number is expected.
    """

    error: float
    of_range: float
    difference: str
    broken: str


def moved(clean: np.ndarray, trials: Sequence[np.ndarray]) -> Moved:
    """Return what coarse rounding changed in an output.

    Args:
        clean: the output without coarse rounding.
        trials: what it was with it.
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
    """Return what was moved in a run, from some trials and from others."""
    return {
        name: Moved(
            first.clean,
            np.maximum(first.change, two[name].change),
            first.doubtful | two[name].doubtful,
            [*first.answers, *two[name].answers],
        )
        for name, first in one.items()
    }


def beyond(given: Sequence[Arrays], reference: Expected) -> dict[int, float]:
    """Return by how much runs are beyond the tolerances, by their numbers, the worst first.

    It is the largest distance as a multiple of its tolerance, or infinity.
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
    """Return four units in the last place of values, float64 of the shape of `_as_float64`."""
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

        2 · max(c_i, least over the axes of the median of c_j) + 4 units in its last place + 2^-120

    where c is the largest change of a number, and j runs over the line through i along an axis,
    samples stacked in front; small numbers beside large ones get less, see `_with_neighbours`. In a
    run that was not measured it is the largest at the same place. A number is unclear if its
    tolerance is above 1% of its own spread over the samples, or of its size where it has none; an
    exact one, if it came out otherwise.

    Args:
        outputs: the original's outputs.
        changes: by the numbers of the runs that were measured, what was `moved` by name.
        path: whose outputs they are.
        ids: the numbers of the samples of each run.
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
                others[index][name] = [x for x in run.answers if (x != true).any()]
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
            if np.iscomplexobj(first):  # both parts round relative to the magnitude
                halves = np.split(scale, 2, axis=-1)
                scale = np.concatenate([np.maximum(*halves)] * 2, axis=-1)
            for index in group:
                last = _last_places(values[index])
                reach = last + reaches[index].reshape(last.shape)
                if index in seen and not _within(seen[index].clean, values[index], reach):
                    reach = last  # what was measured is another function
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
    """Return whether an output is the true one within tolerances."""
    return given.shape == true.shape and bool((distance_of(given, true) <= reach).all())


def _stacked(array: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Return an array of the output of a run with an axis of samples in front."""
    return array if array.shape[:1] == (len(ids),) else array[None]


def _alike(stacked: Sequence[np.ndarray]) -> list[list[int]]:
    """Return the numbers of the arrays that have one shape but for the first axis, in groups."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, array in enumerate(stacked):
        groups.setdefault(array.shape[1:], []).append(index)
    return list(groups.values())


def _reaches(stacked: Sequence[np.ndarray], changes: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Return what coarse rounding explains of each number of an output, twice what it changed.

    Args:
        stacked: the outputs of all runs.
        changes: by the numbers of runs, how far each number was moved.
    """
    largest = 2 * max((change.max(initial=0.0) for change in changes.values()), default=0.0)
    reaches = [np.full(array.shape, largest) for array in stacked]
    for group in _alike(stacked):
        measured = [index for index in group if index in changes]
        if not measured:
            continue
        numbers = np.concatenate([stacked[index] for index in measured])
        found = np.concatenate([changes[index] for index in measured])
        found = 2 * _with_neighbours(found, numbers)
        ends = np.cumsum([len(changes[index]) for index in measured])
        for index in group:
            reaches[index][...] = found.max(axis=0, initial=0.0)
        for index, reach in zip(measured, np.split(found, ends[:-1]), strict=True):
            reaches[index] = reach
    return reaches


def _with_neighbours(changes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return changes that are at least what neighbours lend: the median of one of the lines.

    Neighbours lend in proportion to their size, or up to `LENT` times the own change: a small
    number does not round as large ones beside it do.

    Args:
        changes: how far each number was moved, at least one axis.
        numbers: these, of the same shape.
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
    """Return the least and the largest of each number over the samples of arrays of one shape.

    Numbers that are not finite do not count; without another one it is infinity, and -infinity.
    """
    low, high = (
        reduce.reduce(
            [reduce.reduce(np.where(np.isfinite(x), x, none), initial=none) for x in stacked]
        )
        for reduce, none in [(np.minimum, np.inf), (np.maximum, -np.inf)]
    )
    return low, high


def _spread(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far numbers range, and their largest magnitude, from what `_ends` returns."""
    full = high >= low
    low, high = np.where(full, low, 0.0), np.where(full, high, 0.0)
    return high - low, np.maximum(np.abs(low), np.abs(high))


def _hardly_vary(sizes: Iterable[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Return whether the numbers of an output that vary at all do so by little of their size.

    Args:
        sizes: their spread and size, see `_spread`.
    """
    shares = np.concatenate([spread[spread > 0] / size[spread > 0] for spread, size in sizes])
    return bool(shares.size and shares.max() < HARDLY)


def _ranges(stacked: Sequence[np.ndarray]) -> np.ndarray:
    """Return the ranges of the numbers of an output: that of the narrowest slice of each.

    A slice is what has one index on an axis, over all samples. One without a range has its size.

    Returns:
        Float64, of the shape that all runs have in common at its end.
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
    """Return the ranges of the numbers of each output of some runs, see `_ranges`.

    Args:
        outputs: those of each run.
        ids: the numbers of the samples of each run.
    """
    return {
        name: _ranges(
            [_stacked(_as_float64(run[name]), own) for run, own in zip(outputs, ids, strict=True)]
        )
        for name in outputs[0]
    }


def apart(sides: Sequence[Arrays], count: int) -> list[tuple[dict[str, np.ndarray], ...]]:
    """Return a run of several samples as one of each, or as one of all if arrays have others.

    Args:
        sides: dicts of arrays, such as inputs and outputs.
        count: how many samples there are.
    """
    if any(array.shape[:1] != (count,) for side in sides for array in side.values()):
        return [tuple(map(dict, sides))]
    return [
        tuple({name: array[i : i + 1] for name, array in side.items()} for side in sides)
        for i in range(count)
    ]


def mean_error(given: Sequence[Arrays], true: Sequence[Arrays], ranges: Arrays) -> float:
    """Return by how much outputs differ, the mean of all numbers, as a part of their ranges.

    Args:
        given: outputs of the first runs, or of all.
        true: the expected ones.
        ranges: a dict from outputs to the ranges of their numbers.
    """
    errors = [
        np.mean(distance_of(run[name], right[name]) / ranges[name])
        for run, right in zip(given, true, strict=False)
        for name in ranges
    ]
    return float(np.mean(errors))


def _float32_above(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers that are not below given ones."""
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def compare(given: Sequence[Arrays], reference: Expected) -> Same:
    """Return the `Same` of given outputs, of the first runs or of all, and the `Expected` ones."""
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

    That is the tolerance, for integers two steps of their scale if those are more, and what the
    file itself erred where it was converted. Devices compute with the same quantized weights in
    different ways, with errors of that size at other places: so in each component it is four times
    the worst error over all samples, as a part of the range; where that is small by chance, four
    times that of the middle component; and nowhere more than the worst of all.

    Args:
        given: a file's outputs where it was converted, of the first runs or of all.
        reference: the expected ones.
        scales: a dict from outputs to the scale of their integers, 0 for others.
        runs: the numbers of the runs for which they are wanted.

    Returns:
        A list with a dict for each run from outputs to float32 arrays of the shape of a tolerance.
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
    """How a device's outputs agree with a record.

    Attributes:
        agreeing: how many runs agree, in all components.
        of: how many runs there are.
        of_range: the largest difference from the expected outputs as a part of its component's
            range.
        worst: the worst run that does not agree, in words, or "".
        lost: whether NaN or infinity came where a number is expected, or an output of another shape
            or kind.
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
    """Return how a device's outputs agree with the expected ones of a record.

    Args:
        given: the device's outputs.
        outputs: the expected ones.
        tolerances: how far a device's may be from them, see `device_tolerances`.
        others: for each run a dict from outputs that are exact to what they may be as well.
        ranges: a dict from outputs to the ranges of their numbers.
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
    """Return the tolerances of a record for an output, as far as a device may use them.

    They are at most half of the output's largest range: beyond that nothing would be compared.

    Returns:
        An array of the shape of `_as_float64`.
    """
    values = _as_float64(true)
    most = np.where(np.isfinite(values), VAGUE * ranges.max(initial=0.0), np.inf)
    return np.minimum(np.broadcast_to(tolerance, values.shape), most)


class Compared(NamedTuple):
    """How a run's output compares with the expected one: arrays of the shape of `_as_float64`.

    Attributes:
        distance: how far each number is from the expected one.
        shares: the same as parts of the ranges.
        lost: which are NaN or infinite where a number is expected.
        beyond: which are lost, or further than their tolerances.
        excess: the shares of those beyond, infinite for those lost, and -1 for all others.
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
    """Return the `Compared` of an output that was given and the expected one, of the same shape.

    Exact numbers that equal one of the others at their place have no distance.
    """
    distance = _distance(given, true, others)
    shares = distance / ranges
    lost = ~np.isfinite(_as_float64(given)) & np.isfinite(_as_float64(true))
    beyond = lost | ~(distance <= tolerance)
    excess = np.where(beyond, np.where(lost, np.inf, shares), -1.0)
    return Compared(distance, shares, lost, beyond, excess)


def _distance(given: np.ndarray, true: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return the `distance_of` given values, 0 where they equal one of others."""
    distance = distance_of(given, true)
    for other in others:
        distance = np.where(given == other, 0.0, distance)
    return distance


def _element(where: tuple[int, ...], values: np.ndarray) -> tuple[int, ...]:
    """Return the index among values of a number at an index of `_as_float64`."""
    if not np.iscomplexobj(values):
        return where
    return (*where[:-1], where[-1] % values.shape[-1]) if values.ndim else ()


class Worst:
    """The worst element of an output over all runs, and how many are beyond their tolerances."""

    def __init__(self, reference: Expected, name: str) -> None:
        """Take the `Expected` outputs and the name of one."""
        self.reference, self.name = reference, name
        self.error, self.of_range, self.beyond, self.seen = 0.0, 0.0, 0, 0
        self.known: set[int] = set()  # samples
        self.lost: set[int] = set()  # samples that are NaN or infinite where a number is expected
        self.excess = -1.0
        self.place: tuple[int, tuple[int, ...], float] | None = None  # run, index, tolerance
        self.value = np.zeros(())

    def sample(self, run: int, index: int) -> int:
        """Return the number of the sample at an index of the first axis of a run's output."""
        ids = self.reference.ids[run]
        several = self.reference.outputs[run][self.name].shape[:1] == (len(ids),)
        return ids[index if several else 0]

    def see(self, run: int, given: np.ndarray) -> None:
        """Take the output of a run, from its number."""
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
        again = self.known.issuperset(self.reference.ids[run])  # samples of another run
        if not again or (seen.beyond.any() and not self.beyond):
            self.seen += seen.distance.size
            self.beyond += int(seen.beyond.sum())
        self.known.update(self.reference.ids[run])
        if seen.excess.max() > self.excess:
            self.excess, where = float(seen.excess.max()), seen.worst()
            reach = float(np.broadcast_to(tolerance, seen.excess.shape)[where])
            self.place, self.value = (run, where, reach), given

    def difference(self) -> str:
        """Return what is beyond the tolerances in a sentence, or ""."""
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
    """Return whether values are integers, truth values or texts, which rounding does not touch."""
    return values.dtype.kind not in "fc"


def _kind(values: np.ndarray) -> str:
    """Return the kind of an array's numbers in a word: whole ones by their dtype."""
    kinds = {"f": "real", "c": "complex", "b": "bool", "i": "", "u": ""}
    return kinds.get(values.dtype.kind, "text") or values.dtype.name


def _unlike(given: np.ndarray, true: np.ndarray) -> str:
    """Return why an output cannot be compared with the expected one, or ""."""
    if _kind(given) != _kind(true):
        return f"is {_kind(given)}, not {_kind(true)}"
    if given.shape != true.shape:
        return f"has the shape {given.shape}, not {true.shape}"
    return ""


def _as_float64(values: np.ndarray) -> np.ndarray:
    """Return values as float64, complex ones as two, the largest as infinity, and texts as 0."""
    if _kind(values) == "text":
        return np.zeros(values.shape)
    if np.iscomplexobj(values):
        values = np.atleast_1d(values)
        values = np.concatenate([values.real, values.imag], axis=-1)
    real = values.astype(np.float64)
    return np.where(np.abs(real) >= LARGEST, np.copysign(np.inf, real), real)


def shape_of(values: np.ndarray) -> tuple[int, ...]:
    """Return the shape in which an output's numbers are compared: complex ones count twice."""
    return _as_float64(values).shape


def _splits(arrays: Sequence[np.ndarray]) -> bool:
    """Return whether the last axis of an output's arrays tells its components apart."""
    return min(array.ndim for array in arrays) >= 2 and len({a.shape[-1] for a in arrays}) == 1


def _largest(values: np.ndarray, split: bool) -> np.ndarray:
    """Return the largest of an array's numbers for each component, or of all."""
    return values.max(axis=tuple(range(values.ndim - 1)) if split else None, initial=0.0)


def distance_of(given: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return how far given values are from the true ones, float64 of their shape as `_as_float64`.

    It is 0 for equal infinities, and infinite where one of the two is NaN or infinite.
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
