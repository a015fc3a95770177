"""Is what was answered the same? Right answers, what rounding explains, and given answers.

Answers are lists with a dict for each run from the names of outputs to arrays. The numbers of an
output fall into components: those of its last axis, if that has one size in all runs and stands
beside an axis of samples; else all are one. A complex number counts as two real ones.
"""

from typing import NamedTuple

import numpy as np

SLACK = 1e-4  # of a component's range: more than float32's rounding in a short computation
UNCLEAR = 0.01  # of a component's range: where rounding explains more, nothing can be proven
FLUSHED = float(np.finfo(np.float32).tiny)  # smaller numbers are zero to some processors
VAGUE = 0.5  # of a component's range: with such an error its middle would be right everywhere
LARGEST = float(np.finfo(np.float32).max)  # the converter stores an infinite constant as this


class Right(NamedTuple):
    """The answers that count as right, and how far others may be from them.

    Attributes:
        answers: the right answers.
        limits: for each run a dict from outputs to the largest error that rounding explains:
            float32 (components,) or (), or of the output's shape where answers are exact or odd.
        ranges: a dict from outputs to the ranges of their components, float64 (components,) or ().
        shares: a dict from outputs that are not exact to their largest limits as parts of ranges.
        path: whose answers they are.
        numbers: the numbers of the samples of each run: a list of lists.
    """

    answers: list
    limits: list
    ranges: dict
    shares: dict
    path: str
    numbers: list

    def unclear(self):
        """Return how many components cannot be judged, of how many, and the worst limit of range.

        Exact outputs are always clear.
        """
        shares = np.concatenate([np.zeros(0), *map(np.atleast_1d, self.shares.values())])
        return int((~(shares <= UNCLEAR)).sum()), shares.size, shares.max(initial=0)


class Same(NamedTuple):
    """How far given answers are from the right ones.

    Attributes:
        error: the largest absolute error.
        of_range: the largest error as a part of its component's range.
        difference: what is different beyond the limits, in words, or "".
        broken: the same where there are no numbers to compare: an output of another shape or kind,
            NaN, or infinity where the right answer is a number.
    """

    error: float
    of_range: float
    difference: str
    broken: str


def passes(answers):
    """Return the seeds of the changes that are needed to find what rounding explains.

    A change and its opposite move the candidates of a tie apart in both directions; where answers
    are exact, one element may be moved by chance too little, so there it is four pairs.
    """
    pairs = 4 if any(_exact(values) for values in answers[0].values()) else 1
    return [seed for pair in range(1, pairs + 1) for seed in (pair, -pair)]


def right(answers, changed, path, numbers):
    """Return the `Right` of answers, from what the same model answers with weights hardly changed.

    The limit of a component is 1e-4 of its range, 10 times the largest change, and 1e-6 of its
    largest magnitude. Integers, truth values and texts are exact: an element's limit is its own
    largest change, which is not 0 in ties only.

    Args:
        answers: the right answers.
        changed: iterables of answers of the same runs, each with other weights changed.
        path: whose answers they are.
        numbers: the numbers of the samples of each run: a list of lists.
    """
    moved = [{name: np.float32(0) for name in run} for run in answers]
    for attempt in changed:
        for run, other, change in zip(answers, attempt, moved, strict=True):
            for name in run:
                change[name] = np.maximum(
                    change[name], np.float32(distance_of(other[name], run[name]))
                )
    limits, ranges, shares = moved, {}, {}
    for name, values in answers[0].items():
        every = [_numbers(run[name]) for run in answers]
        split = _splits([run[name] for run in answers])
        all_of_them = [np.ones(x.shape, bool) for x in every]
        changes = [change[name] for change in moved]
        largest, ranges[name] = _measure(every, changes, all_of_them, split)
        if _exact(values):
            continue
        usual = _usual(every, split)
        common, span = _measure(every, changes, usual, split)
        shares[name] = np.maximum(common / span, largest / ranges[name])
        for limit, kept in zip(limits, usual, strict=True):
            limit[name] = np.float32(common if kept.all() else np.where(kept, common, largest))
    return Right(answers, limits, ranges, shares, path, numbers)


def _usual(every, split):
    """Return for arrays of float64 which of their numbers are usual, arrays of truth values.

    Beside one sample a billion times as large as all others, errors in these would seem small. So
    a few numbers far from the others have limits of their own: at most a twentieth, and further
    from the median than a thousand times the distance of the quartiles, where that is not 0.
    """
    flat = np.concatenate([x.reshape(-1, x.shape[-1]) if split else x.ravel() for x in every])
    if not flat.size:
        return [np.ones(x.shape, bool) for x in every]
    finite = np.isfinite(flat)
    flat = np.where(finite, flat, np.where(finite.any(axis=0), np.nan, 0.0))
    low, middle, high = np.nanquantile(flat, [0.25, 0.5, 0.75], axis=0)
    reach = 1000 * (high - low)
    with np.errstate(invalid="ignore"):
        few = (np.abs(flat - middle) > reach).mean(axis=0) <= 0.05
        odd = few & (reach > 0)
        return [~(np.abs(x - middle) > reach) | ~odd for x in every]


def _measure(every, changes, usual, split):
    """Return the limits and the ranges of the components of an output, from its usual numbers.

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
    # Rounding must not look like an error where answers hardly vary.
    span = np.where(high > low, np.maximum(high - low, largest / 100), largest)
    limit = SLACK * (high - low) + 10 * change + 1e-6 * largest + FLUSHED
    return limit, np.where(span > 0, span, 1.0)


def compare(given, right):
    """Return the `Same` of given answers and the `Right` ones."""
    for name, expected in right.answers[0].items():
        for index, (run, true) in enumerate(zip(given, right.answers, strict=True)):
            reason = ""
            if run.keys() != true.keys():
                reason = f"its outputs are {', '.join(run)}, not {', '.join(true)}"
            elif _kind(run[name]) != _kind(expected):
                reason = f"output {name} is {_kind(run[name])}, not {_kind(expected)}"
            elif run[name].shape != true[name].shape:
                shapes = f"has the shape {run[name].shape}, not {true[name].shape}"
                reason = f"output {name} of sample {right.numbers[index][0]} {shapes}"
            if reason:
                return Same(np.inf, np.inf, reason, reason)
    error, of_range, differences, broken = 0.0, 0.0, [], []
    for name in right.answers[0]:
        worst = Worst(right, name)
        for index, run in enumerate(given):
            worst.see(index, run[name])
        error, of_range = max(error, worst.error), max(of_range, worst.of_range)
        differences += worst.difference()
        broken += worst.difference() if worst.lost else []
    return Same(error, of_range, *("".join(words[:1]) for words in (broken + differences, broken)))


def allowed(given, right, scales, count):
    """Return how far a device's answers may be from the right ones, see `Proven`.

    That is the limit, for integers two steps of their scale if those are more, and what the file
    itself erred where it was converted. Devices compute with the same quantized weights in
    different ways, with errors of that size at other places: so in each component it is four times
    the worst error over all samples, as a part of the range; where that is small by chance, four
    times that of the middle component; and nowhere more than the worst of all.

    Args:
        given: a file's answers where it was converted.
        right: the `Right` ones.
        scales: a dict from outputs to the scale of their integers, 0 for others.
        count: for how many of the runs.

    Returns:
        A list with a dict for each run from outputs to float32 arrays, of the shape of a limit or
        of the output.
    """
    found = [{} for _ in right.answers[:count]]
    for name, scale in scales.items():
        true = [run[name] for run in right.answers]
        split, ranges = _splits(true), right.ranges[name]
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
        for run, gone, limits in zip(found, lost, right.limits, strict=False):
            reach = shares * ranges + np.maximum(limits[name], 2 * scale)
            reach = np.where(gone, np.inf, reach) if gone.any() else reach
            run[name] = np.nextafter(np.float32(reach), np.float32(np.inf))
    return found


class Proven(NamedTuple):
    """What a proof holds of a file: its runs, and what a device may answer to them.

    Attributes:
        inputs: a list with a dict for each run from inputs to arrays.
        answers: the same of the right answers.
        allowed: the same of what a device's answers may differ by, see `allowed`.
        ranges: a dict from outputs to the ranges of their components.
        clear: whether these say enough to tell what is the same.
        sha256: of the file that was proven.
    """

    inputs: list
    answers: list
    allowed: list
    ranges: dict
    clear: bool
    sha256: str

    def require_consistent(self):
        """Raise `ValueError` if its parts do not fit each other, as in a damaged proof."""
        for side in (self.inputs, self.answers, self.allowed):
            if len({frozenset(run) for run in side}) != 1:
                raise ValueError("runs of other names, or none")
        if not self.ranges.keys() == self.answers[0].keys() == self.allowed[0].keys() != set():
            raise ValueError("outputs of other names, or none")
        for answers, allowed in zip(self.answers, self.allowed, strict=True):
            for name, true in answers.items():
                shape, reach, spans = _numbers(true).shape, allowed[name], self.ranges[name]
                if np.broadcast_shapes(shape, reach.shape, spans.shape) != shape:
                    raise ValueError("an array of another shape")
                if not ((reach >= 0).all() and (spans > 0).all()):
                    raise ValueError("a number that cannot be")

    def only(self, shapes):
        """Return the same with those runs only whose inputs have given shapes; None without one.

        Args:
            shapes: a dict from inputs to lists.
        """
        kept = [
            index
            for index, run in enumerate(self.inputs)
            if {name: list(array.shape) for name, array in run.items()} == shapes
        ]
        sides = ("inputs", "answers", "allowed")
        parts = {side: [getattr(self, side)[index] for index in kept] for side in sides}
        return self._replace(**parts) if kept else None


class Agreement(NamedTuple):
    """How a device's answers agree with a proof.

    Attributes:
        count: how many runs agree, in all components.
        of: how many runs there are.
        of_range: the largest difference from the right answers as a part of its component's range.
        worst: the worst run that does not agree, in words, or "".
        lost: whether NaN or infinity came where the right answer is a number.
    """

    count: int
    of: int
    of_range: float
    worst: str
    lost: bool


def agreement(given, proven):
    """Return the `Agreement` of a device's answers with what was `Proven`.

    Args:
        given: the device's answers, of the shapes and kinds of the right ones.
        proven: a `Proven`.
    """
    count, of_range, worst, excess = 0, 0.0, "", -1.0
    pairs = zip(given, proven.answers, proven.allowed, strict=True)
    for index, (run, answers, allowed) in enumerate(pairs):
        agrees = True
        for name, true in answers.items():
            if not true.size:
                continue
            seen = _compared(run[name], true, allowed[name], proven.ranges[name])
            of_range = max(of_range, seen.shares.max())
            agrees = agrees and not seen.beyond.any()
            if seen.excess.max() > excess:
                excess, where = seen.excess.max(), seen.worst()
                reach = np.broadcast_to(allowed[name], seen.excess.shape)[where]
                where = _element(where, true)
                component = f", component {where[-1]}" if true.size > 1 else ""
                worst = (
                    f"in run {index + 1}, {name}{component} answers {run[name][where]} where"
                    f" {true[where]} is right, and may differ by {reach:.2g}"
                )
        count += agrees
    return Agreement(count, len(proven.answers), of_range, worst, np.isinf(excess))


class Compared(NamedTuple):
    """How a run's output compares with the right one: arrays of the shape of `_numbers`.

    Attributes:
        distance: how far each number is from the right one.
        shares: the same as parts of the ranges.
        lost: which are NaN or infinite where the right answer is a number.
        beyond: which are lost, or further than their limits.
        excess: the shares of those beyond, infinite for those lost, and -1 for all others.
    """

    distance: np.ndarray
    shares: np.ndarray
    lost: np.ndarray
    beyond: np.ndarray
    excess: np.ndarray

    def worst(self):
        """Return the index of the largest excess."""
        return np.unravel_index(self.excess.argmax(), self.excess.shape)


def _compared(given, true, limits, ranges):
    """Return the `Compared` of an output that was given and the right one, of the same shape."""
    distance = distance_of(given, true)
    shares = distance / ranges
    lost = ~np.isfinite(_numbers(given)) & np.isfinite(_numbers(true))
    beyond = lost | ~(distance <= limits)
    excess = np.where(beyond, np.where(lost, np.inf, shares), -1.0)
    return Compared(distance, shares, lost, beyond, excess)


def _element(where, values):
    """Return the index among values of a number at an index of `_numbers`."""
    if not np.iscomplexobj(values):
        return where
    return (*where[:-1], where[-1] % values.shape[-1]) if values.ndim else ()


class Worst:
    """The worst element of an output over all runs, and how many are beyond their limits."""

    def __init__(self, right, name):
        """Take the `Right` answers and the name of the output."""
        self.right, self.name = right, name
        self.error, self.of_range, self.beyond, self.seen = 0.0, 0.0, 0, 0
        self.known = set()  # the numbers of samples
        self.lost = set()  # samples that are NaN or infinite where the right answer is a number
        self.excess, self.where = -1.0, None

    def sample(self, run, index):
        """Return the number of the sample at an index of the first axis of a run's output."""
        numbers = self.right.numbers[run]
        several = self.right.answers[run][self.name].shape[:1] == (len(numbers),)
        return numbers[index if several else 0]

    def see(self, run, given):
        """Take the output of a run, from its number."""
        true, limits = (side[run][self.name] for side in (self.right.answers, self.right.limits))
        if not true.size:
            return
        seen = _compared(given, true, limits, self.right.ranges[self.name])
        self.error = max(self.error, seen.distance.max())
        self.of_range = max(self.of_range, seen.shares.max())
        rows = np.nonzero(np.atleast_1d(seen.lost))[0].tolist()
        self.lost |= {self.sample(run, row) for row in rows}
        again = self.known.issuperset(self.right.numbers[run])  # samples of another run
        if not again or (seen.beyond.any() and not self.beyond):
            self.seen += seen.distance.size
            self.beyond += int(seen.beyond.sum())
        self.known.update(self.right.numbers[run])
        if seen.excess.max() > self.excess:
            self.excess, where = seen.excess.max(), seen.worst()
            limit = np.broadcast_to(limits, seen.excess.shape)[where]
            self.where = run, where, given, true, limit

    def difference(self):
        """Return what is beyond the limits, in a list of at most one sentence."""
        if not self.beyond:
            return []
        run, where, given, true, limit = self.where
        where = _element(where, true)
        first, last = (where[0], where[-1]) if where else (0, 0)
        place = f"output {self.name}, sample {self.sample(run, first)}, component {last}"
        values = f"{given[where]} where {self.right.path} answers {true[where]}"
        if self.lost:
            total = len({number for run in self.right.numbers for number in run})
            count = f"{len(self.lost):,} of {total:,} samples answer NaN or infinity"
            return [f"{count}: {place} answers {values}"]
        if _exact(true):
            count = f"{self.beyond:,} of {self.seen:,} elements of {self.name} differ"
            return [f"{count}: {place} answers {values}"]
        return [f"{place} answers {values}, and rounding explains an error of {limit:.1e}"]


def _exact(values):
    """Return whether values are integers, truth values or texts, which rounding does not touch."""
    return values.dtype.kind not in "fc"


def _kind(values):
    """Return the kind of an array's numbers in a word."""
    kinds = {"f": "real", "c": "complex", "b": "bool", "i": "integer", "u": "integer"}
    return kinds.get(values.dtype.kind, "text")


def _numbers(values):
    """Return values as float64, complex ones as two, the largest as infinity, and texts as 0."""
    if _kind(values) == "text":
        return np.zeros(values.shape)
    if np.iscomplexobj(values):
        values = np.atleast_1d(values)
        values = np.concatenate([values.real, values.imag], axis=-1)
    numbers = values.astype(np.float64)
    return np.where(np.abs(numbers) >= LARGEST, np.copysign(np.inf, numbers), numbers)


def _splits(arrays):
    """Return whether the last axis of an output's arrays tells its components apart."""
    return min(array.ndim for array in arrays) >= 2 and len({a.shape[-1] for a in arrays}) == 1


def _over(reduce, values, split):
    """Reduce float64 values to one number for each component, or to one."""
    axes = tuple(range(values.ndim - 1)) if split else None
    start = -np.inf if reduce is np.max else np.inf
    return reduce(values, axis=axes, initial=start)


def distance_of(given, true):
    """Return how far given values are from the true ones, float64 of their shape as `_numbers`.

    It is 0 for equal infinities, and infinite where one of the two is NaN or infinite.
    """
    if given.shape != true.shape:
        return np.full_like(_numbers(true), np.inf)
    if _exact(true):
        differ = given != true
        apart = np.abs(_numbers(given) - _numbers(true))
        return np.where(differ, np.maximum(apart, 1.0), 0.0)
    values, expected = _numbers(given), _numbers(true)
    with np.errstate(invalid="ignore"):
        distance = np.abs(values - expected)
    distance = np.where(values == expected, 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)
