"""Are these outputs the same as those, within a tolerance for each number?

Outputs are lists with a dict for each run from their names to arrays. The numbers of an output fall
into components: those of its last axis, if that has one size in all runs and stands beside an axis
of samples; else all are one. A complex number counts as two real ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]  # by the names of outputs
TOLERANCE = 1e-4  # of a component's range: more than float32's rounding in a short computation
UNCLEAR = 0.01  # of a component's range: where rounding alone changes more, nothing can be judged
FLUSHED = float(np.finfo(np.float32).tiny)  # smaller numbers are zero to some processors
VAGUE = 0.5  # of a component's range: with such an error its middle would be right everywhere
LARGEST = float(np.finfo(np.float32).max)  # the converter stores an infinite constant as this


class Expected(NamedTuple):
    """The outputs of the original, and how far others may be from them.

    Attributes:
        outputs: the original's outputs.
        tolerances: for each run a dict from outputs to the largest error that rounding explains:
            float32 (components,) or (), or of the output's shape where outputs are exact or odd.
        ranges: a dict from outputs to the ranges of their components, float64 (components,) or ().
        of_range: a dict from outputs that are not exact to their largest tolerances as parts of the
            ranges.
        path: whose outputs they are.
        ids: the numbers of the samples of each run: a list of lists.
    """

    outputs: list[Arrays]
    tolerances: list[dict[str, np.ndarray]]
    ranges: dict[str, np.ndarray]
    of_range: dict[str, np.ndarray]
    path: str
    ids: list[list[int]]

    def unclear(self) -> tuple[int, int, float]:
        """Return how many components cannot be judged, of how many, and the worst of range.

        Exact outputs are always clear.
        """
        parts = np.concatenate([np.zeros(0), *map(np.atleast_1d, self.of_range.values())])
        return int((~(parts <= UNCLEAR)).sum()), parts.size, float(parts.max(initial=0))


class Same(NamedTuple):
    """How far given outputs are from the expected ones.

    Attributes:
        error: the largest absolute error.
        of_range: the largest error as a part of its component's range.
        difference: what is different beyond the tolerances, in words, or "".
        broken: the same where there are no numbers to compare: an output of another shape or kind,
            NaN, or infinity where a number is expected.
    """

    error: float
    of_range: float
    difference: str
    broken: str


def passes(outputs: Sequence[Arrays]) -> list[int]:
    """Return the seeds of the changes that are needed to find what rounding explains.

    A change and its opposite move the candidates of a tie apart in both directions; where outputs
    are exact, one element may be moved by chance too little, so there it is four pairs.
    """
    pairs = 4 if any(_exact(values) for values in outputs[0].values()) else 1
    return [seed for pair in range(1, pairs + 1) for seed in (pair, -pair)]


def expected(
    outputs: Sequence[Arrays],
    changed: Iterable[Iterable[Arrays]],
    path: str,
    ids: list[list[int]],
) -> Expected:
    """Return the `Expected` outputs, from what the same model returns with weights hardly changed.

    The tolerance of a component is 1e-4 of its range, plus 10 times the largest change, plus 1e-6
    of its largest magnitude. Integers, truth values and texts are exact: an element's tolerance is
    its own largest change, which is not 0 in ties only.

    Args:
        outputs: the original's outputs.
        changed: those of the same runs, each time with other weights changed.
        path: whose outputs they are.
        ids: the numbers of the samples of each run.
    """
    moved = [{name: np.asarray(np.float32(0)) for name in run} for run in outputs]
    for attempt in changed:
        for run, other, change in zip(outputs, attempt, moved, strict=True):
            for name in run:
                change[name] = np.maximum(
                    change[name], np.float32(distance_of(other[name], run[name]))
                )
    tolerances, ranges, of_range = moved, {}, {}
    for name, values in outputs[0].items():
        every = [_as_float64(run[name]) for run in outputs]
        split = _splits([run[name] for run in outputs])
        all_of_them = [np.ones(x.shape, bool) for x in every]
        changes = [change[name] for change in moved]
        largest, ranges[name] = _measure(every, changes, all_of_them, split)
        if _exact(values):
            continue
        usual = _usual(every, split)
        common, span = _measure(every, changes, usual, split)
        of_range[name] = np.maximum(common / span, largest / ranges[name])
        for tolerance, kept in zip(tolerances, usual, strict=True):
            chosen = common if kept.all() else np.where(kept, common, largest)
            tolerance[name] = np.asarray(np.float32(chosen))
    return Expected(list(outputs), tolerances, ranges, of_range, path, ids)


def _usual(every: Sequence[np.ndarray], split: bool) -> list[np.ndarray]:
    """Return for arrays of float64 which of their numbers are usual, arrays of truth values.

    Beside one sample a billion times as large as all others, errors in these would seem small. So
    a few numbers far from the others have tolerances of their own: at most a twentieth, and further
    from the median than a thousand times the distance of the quartiles, where that is not 0.
    """
    flat = np.concatenate([x.reshape(-1, x.shape[-1]) if split else x.ravel() for x in every])
    if not flat.size:
        return [np.ones(x.shape, bool) for x in every]
    finite, quantile = np.isfinite(flat), np.quantile
    if not finite.all():
        flat = np.where(finite, flat, np.where(finite.any(axis=0), np.nan, 0.0))
        quantile = np.nanquantile  # slower by far
    low, middle, high = quantile(flat, [0.25, 0.5, 0.75], axis=0)
    reach = 1000 * (high - low)
    with np.errstate(invalid="ignore"):
        few = (np.abs(flat - middle) > reach).mean(axis=0) <= 0.05
        odd = few & (reach > 0)
        return [~(np.abs(x - middle) > reach) | ~odd for x in every]


def _measure(
    every: Sequence[np.ndarray],
    changes: Sequence[np.ndarray],
    usual: Sequence[np.ndarray],
    split: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tolerances and ranges of the components of an output, from its usual numbers.

    Args:
        every: float64 arrays, one for each run.
        changes: how far each number moves when weights change, arrays of the same shapes.
        usual: which numbers count, arrays of truth values.
        split: whether the last axis tells components apart.
    """
    finite = [np.isfinite(x) & kept for x, kept in zip(every, usual, strict=True)]
    pairs = list(zip(every, finite, strict=True))
    high = np.maximum.reduce([_over(np.max, np.where(k, x, -np.inf), split) for x, k in pairs])
    low = np.minimum.reduce([_over(np.min, np.where(k, x, np.inf), split) for x, k in pairs])
    change = np.maximum.reduce(
        [_over(np.max, np.where(k, c, 0.0), split) for c, k in zip(changes, usual, strict=True)]
    )
    change = np.maximum(change, 0)
    full = high >= low  # not a component without one finite number
    high, low = np.where(full, high, 0), np.where(full, low, 0)
    largest = np.maximum(np.abs(high), np.abs(low))
    # Rounding must not look like an error where outputs hardly vary.
    span = np.where(high > low, np.maximum(high - low, largest / 100), largest)
    tolerance = TOLERANCE * (high - low) + 10 * change + 1e-6 * largest + FLUSHED
    return tolerance, np.where(span > 0, span, 1.0)


def compare(given: Sequence[Arrays], reference: Expected) -> Same:
    """Return the `Same` of given outputs and the `Expected` ones."""
    for name in reference.outputs[0]:
        for index, (run, true) in enumerate(zip(given, reference.outputs, strict=True)):
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
    given: Sequence[Arrays], reference: Expected, scales: Mapping[str, float], count: int
) -> list[dict[str, np.ndarray]]:
    """Return how far a device's outputs may be from the expected ones.

    That is the tolerance, for integers two steps of their scale if those are more, and what the
    file itself erred where it was converted. Devices compute with the same quantized weights in
    different ways, with errors of that size at other places: so in each component it is four times
    the worst error over all samples, as a part of the range; where that is small by chance, four
    times that of the middle component; and nowhere more than the worst of all.

    Args:
        given: a file's outputs where it was converted.
        reference: the expected ones.
        scales: a dict from outputs to the scale of their integers, 0 for others.
        count: for how many of the runs.

    Returns:
        A list with a dict for each run from outputs to float32 arrays, of the shape of a tolerance
        or of the output.
    """
    found: list[dict[str, np.ndarray]] = [{} for _ in reference.outputs[:count]]
    for name, scale in scales.items():
        true = [run[name] for run in reference.outputs]
        split, ranges = _splits(true), reference.ranges[name]
        distances = [distance_of(run[name], x) for run, x in zip(given, true, strict=True)]
        lost = [~np.isfinite(distance) for distance in distances]
        worst = np.maximum.reduce(
            [
                _over(np.max, np.where(gone, 0.0, distance), split)
                for distance, gone in zip(distances, lost, strict=True)
            ]
        )
        shares = np.maximum(worst, 0) / ranges
        middle = np.quantile(shares, 0.5, method="lower")
        shares = np.minimum(4 * np.maximum(shares, middle), shares.max())
        for run, gone, tolerances in zip(found, lost, reference.tolerances, strict=False):
            reach = shares * ranges + np.maximum(tolerances[name], 2 * scale)
            reach = np.where(gone, np.inf, reach) if gone.any() else reach
            run[name] = np.nextafter(np.float32(reach), np.float32(np.inf))
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
    ranges: Arrays,
) -> Agreement:
    """Return how a device's outputs agree with the expected ones of a record.

    Args:
        given: the device's outputs.
        outputs: the expected ones.
        tolerances: how far a device's may be from them, see `device_tolerances`.
        ranges: those of the outputs' components.
    """
    count, of_range, worst, excess = 0, 0.0, "", -1.0
    runs = zip(given, outputs, tolerances, strict=True)
    for index, (run, true_run, tolerance) in enumerate(runs):
        agrees = True
        for name, true in true_run.items():
            if _unlike(run[name], true):
                of_range, agrees = np.inf, False
                if excess < np.inf:
                    excess, worst = np.inf, f"in run {index + 1}, {name} {_unlike(run[name], true)}"
                continue
            if not true.size:
                continue
            seen = _compared(run[name], true, tolerance[name], ranges[name])
            of_range = max(of_range, seen.shares.max())
            agrees = agrees and not seen.beyond.any()
            if seen.excess.max() > excess:
                excess, place = seen.excess.max(), seen.worst()
                reach = np.broadcast_to(tolerance[name], seen.excess.shape)[place]
                where = _element(place, true)
                component = f"component {where[-1]} of " if true.size > 1 else ""
                worst = (
                    f"in run {index + 1}, {component}{name} is {run[name][where]} instead of"
                    f" {true[where]}, and may differ by {reach:.2g}"
                )
        count += agrees
    return Agreement(count, len(outputs), float(of_range), worst, bool(np.isinf(excess)))


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
    given: np.ndarray, true: np.ndarray, tolerance: np.ndarray, ranges: np.ndarray
) -> Compared:
    """Return the `Compared` of an output that was given and the expected one, of the same shape."""
    distance = distance_of(given, true)
    shares = distance / ranges
    lost = ~np.isfinite(_as_float64(given)) & np.isfinite(_as_float64(true))
    beyond = lost | ~(distance <= tolerance)
    excess = np.where(beyond, np.where(lost, np.inf, shares), -1.0)
    return Compared(distance, shares, lost, beyond, excess)


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
        seen = _compared(given, true, tolerance, self.reference.ranges[self.name])
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
        if _exact(true):
            count = f"{self.beyond:,} of {self.seen:,} elements of {self.name} differ"
            return f"{count}: {place} {values}"
        return f"{place} {values}, and rounding explains an error of {reach:.1e}"


def _exact(values: np.ndarray) -> bool:
    """Return whether values are integers, truth values or texts, which rounding does not touch."""
    return values.dtype.kind not in "fc"


def _kind(values: np.ndarray) -> str:
    """Return the kind of an array's numbers in a word."""
    kinds = {"f": "real", "c": "complex", "b": "bool", "i": "integer", "u": "integer"}
    return kinds.get(values.dtype.kind, "text")


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


def _over(reduce: Callable[..., np.ndarray], values: np.ndarray, split: bool) -> np.ndarray:
    """Reduce float64 values to one number for each component, or to one."""
    axes = tuple(range(values.ndim - 1)) if split else None
    start = -np.inf if reduce is np.max else np.inf
    return reduce(values, axis=axes, initial=start)


def distance_of(given: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return how far given values are from the true ones, float64 of their shape as `_as_float64`.

    It is 0 for equal infinities, and infinite where one of the two is NaN or infinite.
    """
    if given.shape != true.shape:
        return np.full_like(_as_float64(true), np.inf)
    if _exact(true):
        differ = given != true
        apart = np.abs(_as_float64(given) - _as_float64(true))
        return np.where(differ, np.maximum(apart, 1.0), 0.0)
    values, expected = _as_float64(given), _as_float64(true)
    with np.errstate(invalid="ignore"):
        distance = np.abs(values - expected)
    distance = np.where(values == expected, 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)
