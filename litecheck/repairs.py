"""What helps if full integer loses much? Looks for each cause in turn, and tries its fix."""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Sequence

import numpy as np

from litecheck import (
    accuracy,
    artifacts,
    causes,
    converters,
    equalizing,
    inside,
    litert,
    models,
    quantization,
    rewriting,
    samples,
    script,
    verdict,
)
from litecheck.artifacts import INTEGERS, PART
from litecheck.table import FIRST, SPARED, Check, Refused, Tried, percent, print_note

SOME, MORE = 16, 100  # runs on which a loss is measured, and on which ranges are
OTHERS = 4.0  # times the error on calibration samples: if others err more, samples are the cause
CLEARLY = 0.9  # of the former error: at most this is an improvement
MOST = 0.9  # of the samples: the few largest ones do not count
WIDER = 8.0  # times the range of the others: such calibration samples waste three bits
UNLIKE = 4.0  # times: ranges that differ by more do not fit one scale
NAMED = 8  # samples that a message names at most
SPREAD = 1 / 3  # of the operations: if more must stay in float, the whole model is the cause
LARGER, BESIDE = 1.1, 4096  # times the bytes of dynamic range, or bytes more than it has


class Measure:
    """Measures the mean error of a file on some runs, each error divided by its number's range."""

    def __init__(
        self,
        check: Check,
        given: samples.Samples,
        ranges: samples.Arrays | None = None,
        most: int = SOME,
    ) -> None:
        """Compute the float model's outputs of the first runs.

        Args:
            check: the `Check` of the model.
            given: the samples.
            ranges: ranges of the outputs over other samples. They count where they are larger.
            most: on how many runs the error is measured.
        """
        few, more = given.part(0, most), given.part(0, MORE)
        self._check, self.runs, self.ids = check, few.runs, few.ids
        outputs = check.float_outputs(more)
        self.true, own = outputs[:most], verdict.ranges_of(outputs, more.ids)
        self._ranges = {name: np.maximum(own[name], (ranges or own)[name]) for name in own}

    def __call__(self, content: bytes) -> float:
        """Return the mean error of a file."""
        return self.of(self._check.outputs(content, self.runs))

    def of(self, outputs: Sequence[dict[str, np.ndarray]]) -> float:
        """Return the mean error of the outputs of these runs."""
        return verdict.mean_error(outputs, self.true, self._ranges)


def repair(check: Check, replaced: Callable[[], None]) -> bool:
    """Print why full integer loses much, and save a file that loses less.

    Args:
        check: a `Check` with a saved full-integer file.
        replaced: a function that is called when another full-integer file may have replaced it.

    Returns:
        Whether the loss is repaired, or there is none, so that 16 bits need not be tried.
    """
    with script.quiet():
        has_test_set = check.has_test_set()
        if (check.loses(INTEGERS) or not has_test_set) and _without_outliers(check):
            replaced()
            if not has_test_set:
                return True
        if not check.loses(INTEGERS):
            return True
        if _is_calibrated_otherwise(check):
            return False
        # Without a test set the cause is only named, so a few large samples are enough.
        most = SOME if has_test_set else 2 * check.calibrating.several()
        measure = Measure(check, check.calibrating, most=most)
        has_float_ends = _ends_lose(check, measure)
        if has_test_set:
            _keep_in_float(check, measure, has_float_ends)
            replaced()
    return PART in check.rows or not check.loses(INTEGERS)


def _content(check: Check) -> bytes:
    """Return the full-integer file that was saved."""
    with open(check.rows[INTEGERS].path, "rb") as file:
        return file.read()


def _tried(check: Check, variant: str, content: bytes) -> Tried | None:
    """Run and compare a file of a variant. Return the results, or None if LiteRT refuses it."""
    path = f"{check.model.name}{artifacts.VARIANTS[variant].suffix}"
    with contextlib.suppress(Refused):
        return check.tried(variant, content, path)
    return None


def _is_better(check: Check, found: Tried) -> bool:
    """Return whether a full-integer file loses less on the test set than the saved one."""
    return check.loss(found.row) < check.loss(check.rows[INTEGERS])


def _without_outliers(check: Check) -> bool:
    """Calibrate again without outliers, which alone set the ranges, and keep that if it is better.

    Without a test set the outliers are compared, too, and set the ranges of outputs. So the error
    of the other samples decides.

    Returns:
        Whether another file is saved.
    """
    found = quantization.outliers([largest for _, largest in check.magnitudes])
    if not found:
        return False
    every = check.calibrating
    kept = [run for run in range(len(every.runs)) if run not in found.runs]
    rest = every.chosen(kept)
    measure = Measure(check, rest)
    before = measure(_content(check))
    if before <= SPARED and not check.loses(INTEGERS):
        return False
    try:
        content = converters.full_integer(check.integers, rest.runs)
        helps = measure(content) <= before * (CLEARLY if check.has_test_set() else CLEARLY / 2)
    except Exception:  # the converter raises many kinds; the first file stays
        return False
    tried = _tried(check, INTEGERS, content) if helps else None
    if not tried or (check.has_test_set() and not _is_better(check, tried)):
        return False
    ids = sorted(sum((every.ids[run] for run in found.runs), []))
    one, few = len(ids) == 1, len(found.runs) == 1
    who = f"one of {_named(ids)}" if few and not one else _named(ids)
    print_note(
        f"{who} {'sets' if few else 'set'} the largest value in {found.tensors:,} of"
        f" {found.of:,} tensors, {found.times:.2g} times the next largest value"
    )
    check.calibrating = rest
    check.magnitudes = [(name, largest[kept]) for name, largest in check.magnitudes]
    row = tried.row._replace(note=f"calibrated without {_named(ids)}")
    check.keep(tried._replace(row=row))
    print_note(f"to leave {'it' if one else 'them'} out for good: {_leaving_out(every, ids)}")
    return True


def _named(ids: Sequence[int]) -> str:
    """Return the numbers of samples in words, as "samples 1 and 2"."""
    if len(ids) == 1:
        return f"sample {ids[0]}"
    if len(ids) > NAMED:
        return f"samples {', '.join(map(str, ids[:NAMED]))} and {len(ids) - NAMED:,} more"
    return f"samples {', '.join(map(str, ids[:-1]))} and {ids[-1]}"


def _leaving_out(given: samples.Samples, ids: Sequence[int]) -> str:
    """Return a shell command, or Python code, that removes samples from the given file or array."""
    file, numbers = given.source or "", list(ids)
    # `script.joined` quotes by the rules of each system's shell.
    name = repr(file) if os.name == "nt" else json.dumps(file)
    if not file.endswith((".npy", ".npz")):
        return f"samples=np.delete(x, {numbers}, axis=0)"
    code = f"import numpy as np; x = np.load({name});"
    if file.endswith(".npy"):
        code += f" np.save({name}, np.delete(x, {numbers}, axis=0))"
    else:
        code += f" np.savez({name}, **{{k: np.delete(x[k], {numbers}, axis=0) for k in x}})"
    return script.joined(["python", "-c", code])


def _is_calibrated_otherwise(check: Check) -> bool:
    """Return whether the calibration samples are unlike the others, and print how."""
    others = check.others()
    if not others.runs:
        return False
    for name in check.model.source.inputs:
        reach = [
            float(np.quantile([np.abs(run[name]).max(initial=0) for run in each.runs], MOST))
            for each in (check.calibrating, others)
            if check.model.source.inputs[name].dtype.kind == "f"
        ]
        if reach and reach[0] > WIDER * reach[1] > 0:
            times = f"{reach[0] / reach[1]:,.0f} times"
            print_note(f"{name} reaches {times} as far in the calibration samples as in the others")
            print_note("scale both as in training")
            return True
    content = _content(check)
    ranges = check.ranges() if check.has_test_set() else None
    own, other = (Measure(check, each, ranges)(content) for each in (check.calibrating, others))
    if own * OTHERS >= other:
        return False
    count = check.calibrating.size()
    print_note(
        f"mean error {percent(own)} of the range on calibration samples ({count:,}),"
        f" {percent(other)} on other samples"
    )
    way = models.samples_of(check.model)
    print_note(f"give more samples, of all kinds that occur in use, scaled as in training: {way}")
    return True


def _ends_lose(check: Check, measure: Measure) -> bool:
    """Return whether rounding inputs and outputs alone causes at least half of the loss.

    If so, the inputs and outputs that cause it are printed, with what helps.
    """
    content = _content(check)
    whole, runner = measure(content), litert.Runner(content)
    tensors = {"input": runner.inputs, "output": runner.outputs}
    known: dict[frozenset[str], Sequence[samples.Arrays]] = {frozenset(): measure.true}

    def loss(ends: Collection[tuple[str, str]]) -> float:
        """Return the loss of the float model if these inputs and outputs are rounded to int8."""

        def rounded(kind: str, arrays: samples.Arrays) -> samples.Arrays:
            return {
                name: litert.dequantize(litert.quantize(array, tensor), tensor)
                if (kind, name) in ends
                else array
                for name, array in arrays.items()
                for tensor in [tensors[kind][name]]
            }

        inputs = frozenset(name for kind, name in ends if kind == "input")
        if inputs not in known:
            runs = [rounded("input", run) for run in measure.runs]
            known[inputs] = check.outputs(check.float32, runs)
        return measure.of([rounded("output", each) for each in known[inputs]])

    ends = [
        (kind, name)
        for kind, side in tensors.items()
        for name, tensor in side.items()
        if tensor["quantization"][0]
    ]
    if loss(ends) < whole / 2:
        return False
    costs = {end: loss([end]) for end in ends}
    for (kind, name), alone in costs.items():
        if alone < min(whole / 4, max(costs.values())):
            continue
        arrays = measure.runs if kind == "input" else measure.true
        print_note(
            f"rounding {kind} {name} alone: mean error {percent(alone)} of the range;"
            f" full integer: {percent(whole)}"
        )
        ranges = verdict.ranges_of([{name: run[name]} for run in arrays], measure.ids)[name]
        are_probable = all(accuracy.probable(run[name], len(run[name])) for run in arrays)
        if not are_probable and ranges.max(initial=0) > UNLIKE * ranges.min(initial=np.inf):
            print_note(
                f"one int8 scale cannot fit numbers of such different ranges: split the {kind}, or"
                " normalize outside the model"
            )
        elif _is_far_from_zero([run[name] for run in arrays]):
            print_note(
                "its numbers are far from 0, which the scale must include: subtract an offset"
                " outside the model"
            )
        else:
            print_note("256 steps from its lowest to its highest number are too coarse")
    return True


def _is_far_from_zero(arrays: Sequence[np.ndarray]) -> bool:
    """Return whether numbers vary little relative to their size."""
    low, high = min(map(np.min, arrays)), max(map(np.max, arrays))
    return bool(high - low < max(abs(low), abs(high)) / UNLIKE)


def _keep_in_float(check: Check, measure: Measure, has_float_ends: bool) -> None:
    """Look for the operations that lose accuracy, and save a file in which these stay in float.

    If that does not help, channels are equalized.

    Args:
        check: the `Check`.
        measure: returns the loss of a file.
        has_float_ends: whether inputs and outputs are the cause, and so stay float32.
    """
    runs = check.calibrating.runs
    try:
        with script.doing("calibrating"):
            converter = converters.converter(check.integers, PART, runs)
            quantizer = quantization.PartInteger(converter, runs)
    except Exception as error:
        print_note(f"cannot find the operations that lose accuracy: {causes.refusal(error)}")
        return
    quantizer.has_float_ends = has_float_ends

    def file(floats: Collection[str]) -> bytes:
        content = quantizer.file(floats)
        return rewriting.with_sound_states(content) or content

    def loss(floats: Collection[str]) -> float:
        with contextlib.suppress(Exception):
            return measure(file(floats))
        return np.inf

    found = quantization.ranked(quantizer.operations, loss, check.model.source.layers)
    check.costs = found.costs
    _print_ranking(found)
    if found.floats is None:
        print_note(
            "the search ended before it knew which operations to keep in float: no file is made"
        )
        return
    content = file(found.floats)
    floats, of = inside.parsed(content).floats()
    is_spread = floats > SPREAD * of
    if is_spread and _equalized(check):
        return
    tried = _tried(check, PART, content)
    count = f"with {floats:,} of {of:,} operations in float"
    if tried and check.loss(tried.row) <= 1:
        _keep_if_small(check, tried, count)
        return
    if tried:
        metrics = ", ".join(check.texts(tried.row))
        print_note(f"{count} it still loses too much: {metrics}")
    if (is_spread or not _equalized(check)) and not has_float_ends:
        print_note("what is left is quantization-aware training: docs/when-accuracy-drops.md")


def _print_ranking(found: quantization.Ranking) -> None:
    """Print the four costliest operations, and how many were tried."""
    words = f"{len(found.costs):,} operations"
    if len(found.costs) < found.of:
        words = f"{len(found.costs):,} of {found.of:,} operations"
    whole = percent(found.whole)
    print_note(f"of {words}, these cost most if quantized alone (mean error; all: {whole}):")
    for cost in found.costs[:4]:
        print_note(f"  {percent(cost.loss):>7}  {cost}")


def _keep_if_small(check: Check, tried: Tried, count: str) -> None:
    """Save a part-integer file, unless it is too large.

    It must be smaller than float32. If dynamic range loses little, it may be larger than dynamic
    range only by the limits `LARGER` and `BESIDE`.

    Args:
        check: the `Check`.
        tried: the results of the file.
        count: how many operations stay in float, in words.
    """
    most = {FIRST: float(check.rows[FIRST].bytes)}
    dynamic = check.rows.get("dynamic range")
    if dynamic and not check.loses(dynamic.variant):
        most[dynamic.variant] = max(LARGER * dynamic.bytes, dynamic.bytes + BESIDE)
    smaller = min(most, key=lambda variant: most[variant])
    if tried.row.bytes < most[smaller]:
        check.keep(tried)
        return
    print_note(f"{count} it loses little, in {tried.row.bytes:,} bytes:")
    print_note(f"not written, because {smaller} is smaller")


def _equalized(check: Check) -> bool:
    """Equalize the channels of a Keras model, and save the full-integer file if it is better.

    Returns:
        Whether full integer loses little now.
    """
    reference = check.model.reference
    if not isinstance(reference, models.KerasReference):
        return False
    runs = check.calibrating.runs
    tried = None
    with contextlib.suppress(Exception):  # some models cannot be copied or joined
        joined = samples.joined(runs)
        model = equalizing.equalized(reference.keras(), [joined[name] for name in runs[0]])
        if model is not None:
            path, name = check.model.path, check.model.name
            shapes = {each: input.shape for each, input in check.model.source.inputs.items()}
            source = models.keras_source(model, path, name, shapes, loops=False)
            tried = _tried(check, INTEGERS, converters.full_integer(source, runs))
    if not tried or not _is_better(check, tried):
        return False
    check.integers = source
    note = "channels were equalized (cross-layer equalization), with the same outputs"
    check.keep(tried._replace(row=tried.row._replace(note=note)))
    return not check.loses(INTEGERS)
