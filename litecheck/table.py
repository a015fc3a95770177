"""Is each file still the same model, and how much does it lose? `Check`: a row per variant."""

import gc
import html
import importlib.metadata
import itertools
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import (
    accuracy,
    apart,
    artifacts,
    causes,
    classes,
    images,
    inside,
    litert,
    models,
    record,
    rounding,
    scaling,
    script,
    verdict,
)
from litecheck.quantization import Cost
from litecheck.samples import (
    Given,
    Samples,
    Test,
    at_random,
    find,
    for_calibration,
    reach,
    test_set,
)

LOUD = 0.05  # of the range: a larger error gets a line of its own
SPARED = 0.01  # one point of accuracy, or this part of the mean error: a loss that is accepted
SUSPECTS = 4  # runs with the largest errors: rounding is measured in these first
OUTSIDE = 0.1  # of the calibrated range: a sample further outside than that is clipped much
HOPELESS = 100  # times its tolerance: further trials would not explain such an error
SLOW = "16-bit int"  # its kernels are slow, so even a test set is not always run to its end
SECONDS, BRIEFLY = 20, 10  # for which a file and the original run, if no test set is given
FEWEST = 16  # samples that are compared at least, however slow, if MEMORY holds their outputs
MEMORY = 2**25  # bytes of expected outputs: large outputs are compared on fewer samples
WIDE = 13  # columns for the name of a variant: a longer name gets a line of its own
FIRST = "float32"  # this variant must be the same model, and sizes are relative to it


class Row(NamedTuple):
    """The results of one variant.

    Attributes:
        variant: the name of the variant.
        path: the path of its file.
        bytes: the size of the file.
        sha256: the SHA-256 of the file.
        dtypes: the dtypes of its inputs and outputs, such as "int8/float32".
        error: the largest absolute error over all samples.
        of_range: the largest error divided by the range of that number.
        mean_error: the mean of all errors, each divided by the range of its number.
        seconds: the median time of a run on this computer.
        metrics: its accuracy or mean error on the test set, by outputs. Empty without a test set.
        verdict: "verified", "measured" or "cannot be judged".
        clear: whether the outputs of a device can be judged.
        has_state: whether an operation keeps a state, as LSTM does. It is reset before each run.
        same_class: for a classifier, on how many samples the variant predicts the same class as the
            model, and how many there are. None for other models.
        note: what was done so that the variant loses less, or "".
    """

    variant: str
    path: str
    bytes: int
    sha256: str
    dtypes: str
    error: float
    of_range: float
    mean_error: float
    seconds: float
    metrics: dict[str, float]
    verdict: str
    clear: bool
    has_state: bool
    same_class: tuple[int, int] | None
    note: str = ""


class Measured(NamedTuple):
    """The outputs of a file in LiteRT, and what was measured with them.

    Attributes:
        outputs: the outputs of the first runs, or of all runs.
        metrics: the accuracy or mean error, by outputs.
        runner: the `apart.Runner` that ran the file.
        inside: the content of the file.
        seconds: the median time of a run.
        left: how many samples were not run, because the time was over.
    """

    outputs: list[dict[str, np.ndarray]]
    metrics: dict[str, float]
    runner: apart.Runner
    inside: inside.Content
    seconds: float
    left: int


def short(number: float) -> str:
    """Return a number with two significant digits, without an exponent between 1e-6 and 1e6."""
    if not math.isfinite(number) or not number or not 1e-6 < abs(number) < 1e6:
        return f"{number:.2g}"
    digits = max(1 - math.floor(math.log10(abs(number))), 0)
    return f"{number:,.{digits}f}"


def percent(part: float) -> str:
    """Return a part of a range in percent. Very large errors are all shown as > 999%."""
    return "> 999%" if part > 9.99 else f"{short(100 * part)}%"


def print_note(note: str) -> None:
    """Print a line below a row of the table."""
    print(f"{'':<{WIDE}}  {note}")


def _fewest(given: Samples) -> int:
    """Return the least number of runs of some samples, however slow they are."""
    return math.ceil(FEWEST / len(given.ids[0]))


class Refused(script.Failure):
    """LiteRT does not run a variant, or the variant returns no numbers."""


class Tried(NamedTuple):
    """A variant that was run and compared, and can be saved with `Check.keep`.

    Attributes:
        row: its `Row`.
        measured: its outputs and what was measured.
        content: the content of its file.
    """

    row: Row
    measured: Measured
    content: bytes


class Check:
    """Runs the variants of a model, compares them with the model, and saves the sound ones.

    Attributes:
        model: the `models.Model`.
        calibrating: the `Samples` for the representative dataset.
        rows: a dict from each saved variant to its `Row`.
        left_out: a dict from each variant that was not saved to its path and the reason.
        metrics: the original's accuracy or mean error on the test set, by outputs.
        integers: the `models.Source` from which integer variants are converted.
        magnitudes: the largest values of each tensor in the float model, see `litert.magnitudes`.
            Empty until an integer variant is made.
        costs: the `Cost` of operations, the costliest first. Empty if they were not searched.
    """

    def __init__(
        self,
        model: Any,
        samples: Given | None = None,
        test: Test | None = None,
        scale: str | None = None,
    ) -> None:
        """Run the model on the samples, and print what files are compared with.

        Args:
            model: a SavedModel directory, a Keras archive, a Keras model, or a `models.Model`.
            samples: typical inputs, which calibrate integer variants: an array with samples first,
                a dict of such arrays by the names of inputs, a `.npy` or `.npz` file, an image or a
                folder of images. None stands for random inputs.
            test: a test set, on which files are then compared: a `.npz` file, a pair of inputs and
                labels, or a folder with a subfolder of images for each class.
            scale: the range of image values, "0..1" or "-1..1". The default is 0 to 255.

        Raises:
            Failure: the model cannot be loaded, or the samples or the test set do not fit it.

        Example:
            >>> check = litecheck.Check("saved_model/my_model", x)
            >>> check.add("float32", converter.convert(), "my_model.tflite")
            >>> check.save()
        """
        model, samples, test = map(artifacts.as_text, (model, samples, test))
        self._device = apart.Device()  # its process starts while the model is loaded
        self.model = model if isinstance(model, models.Model) else models.load(model)
        self.rows: dict[str, Row] = {}
        self.left_out: dict[str, tuple[str, str]] = {}
        self.integers = self.model.source.rewritten or self.model.source
        self.magnitudes: list[tuple[str, np.ndarray]] = []
        self.costs: list[Cost] = []
        self._ahead: tuple[bytes, apart.Reply | None] = b"", None
        self._tolerances: dict[str, list[dict[str, np.ndarray]]] = {}
        self.float32, self._header = b"", False
        self._cut = ""  # why not all samples are compared
        self._doubts: list[str] = []  # why float32 cannot be judged
        self._unknown = ""  # why rounding was not measured
        self._measured = 0  # on how many samples it was
        counts = [classes.count_of(output.shape) for output in self.model.source.outputs.values()]
        name = self.model.name if self.model.is_in_memory() else self.model.stem()
        self.names = classes.known(name, counts, test)
        self._given = {"samples": samples, "test": test}
        self._scale = images.scale_of(scale, samples, test)
        typical = self._typical(samples)
        compared, labels = self._compared(typical, test)
        with script.quiet():
            try:
                self._run_original(compared, labels, test)
            except script.Failure:
                if compared.source:
                    raise
                typical = self._typical(samples, positive=True)  # a logarithm needs positive inputs
                try:
                    self._run_original(typical, labels, test)
                except script.Failure as error:
                    message = f"{error}\n{models.give_samples(self.model)}"
                    raise script.Failure(message) from error
        self.calibrating = typical.calibrating()
        self._print_heading(typical, labels)

    def _typical(self, given: Given | None, positive: bool = False) -> Samples:
        """Return the typical inputs, or random inputs if none are given."""
        inputs = self.model.source.inputs
        if given is None:
            with script.quiet():
                return at_random(inputs, models.tables(self.model), positive)
        return for_calibration(given, self.model.path, inputs, self._scale or images.PIXELS)

    def _compared(
        self, typical: Samples, test: Test | None
    ) -> tuple[Samples, dict[str, np.ndarray]]:
        """Return the inputs on which files are compared, and labels by the names of outputs."""
        if test is None:
            return typical, {}
        source, scale = self.model.source, self._scale or images.PIXELS
        return test_set(test, self.model.path, source.inputs, source.outputs, self.names, scale)

    def _run_original(
        self, compared: Samples, labels: dict[str, np.ndarray], test: Test | None
    ) -> None:
        """Run the model on the samples that are compared, and keep its outputs and metrics."""
        reference = self.model.reference
        (first,) = reference.outputs(compared.part(0, 1))
        size = sum(array.nbytes for array in first.values()) // len(compared.ids[0])
        if test is not None:
            compared = compared.together(self.model.source.inputs, size)
        counts = np.cumsum([len(ids) for ids in compared.ids])
        kept = max(int((counts * size <= MEMORY).sum()), 1)
        if test is None:
            held = compared.first(kept)
            self._rest = compared.part(0, 0)
            self._compare_on(*self._asked_briefly(held))
            if held.size() < compared.size():
                self._cut = f", whose outputs fill {MEMORY >> 20} MB"
            if self._samples.size() < held.size():
                self._cut = f", as many as it ran in {BRIEFLY} seconds"
        else:
            held, self._rest = compared.part(0, kept), compared.part(kept, None)
            self._compare_on(held, list(reference.outputs(held)))
        self._wanted = self._samples.size()
        outputs = accuracy.joined(self._outputs, labels)
        thresholds = {name: accuracy.threshold(array) for name, array in outputs.items()}
        shaped = accuracy.extended(outputs, labels)
        self._tasks = accuracy.tasks(labels, shaped, str(compared.source), thresholds)
        self._score_original()
        reference.release()
        gc.collect()  # graphs and Keras models hold reference cycles, and much memory

    def _compare_on(self, given: Samples, outputs: list[dict[str, np.ndarray]]) -> None:
        """Set the samples to compare on, their expected outputs, and the runs to record."""
        self._samples, self._outputs = given, outputs
        self._recorded = record.chosen(given.runs, outputs, given.ids, self.model.source.has_state)

    def _asked_briefly(self, given: Samples) -> tuple[Samples, list[dict[str, np.ndarray]]]:
        """Run the model for `BRIEFLY` seconds. Return the samples that it ran, and its outputs."""
        reference = self.model.reference
        end, fewest = time.monotonic() + BRIEFLY, _fewest(given)
        outputs = []
        for row in reference.outputs(given):
            outputs.append(row)
            if time.monotonic() > end and len(outputs) >= fewest:
                break
        kept = given.first(len(outputs))
        return kept, [*outputs, *reference.outputs(kept.part(len(outputs), None))]

    def _measure_rounding(self, given: list[dict[str, np.ndarray]], together: int) -> verdict.Same:
        """Compare a file's outputs with the model's, and measure how far rounding may move these.

        Rounding is measured in the runs of the record and in those with the largest errors. It is
        then measured in every run that has an error beyond the tolerance found so far.

        Args:
            given: the file's outputs.
            together: how many samples of several runs may be joined into one run.
        """
        source, samples = self.model.source, self._samples
        source = source.rewritten or source
        measured: dict[int, dict[str, verdict.Moved]] = {}
        self._unknown = ""
        self._expected = self._expect(measured)
        same = verdict.compare(given, self._expected)
        if same.broken:
            return same
        far = [*verdict.beyond(given, self._expected)]
        order = [*far[:SUSPECTS], *self._recorded]
        runs = samples.without_repeated(order, self._recorded)
        try:
            with script.doing("measuring what rounding changes"), script.quiet():
                measured = rounding.changes(source, samples, runs, range(4), together)
                self._expected = self._expect(measured)
                again = verdict.beyond(given, self._expected)
                others = [run for run in again if run not in measured]
                if others:
                    measured |= rounding.changes(source, samples, others, range(4), together)
                    self._expected = self._expect(measured)
                    again = verdict.beyond(given, self._expected)
                if again and max(again.values()) < HOPELESS:
                    more = rounding.changes(source, samples, [*again], range(4, 8), together)
                    both = measured.keys() & more.keys()
                    measured |= {run: verdict.again(measured[run], more[run]) for run in both}
                    self._expected = self._expect(measured)
        except Exception as error:  # running an operation alone can raise almost anything
            self._unknown = f"rounding could not be measured: {script.brief(error)}"
        self._measured = samples.chosen(list(measured)).size()
        self._doubts = self._expected.doubts()
        same = verdict.compare(given, self._expected)
        if same.difference and self._unknown and not same.broken:
            self._doubts.append(self._unknown)
            return same._replace(difference="")
        return same

    def _expect(self, measured: Mapping[int, Mapping[str, verdict.Moved]]) -> verdict.Expected:
        """Return the expected outputs, with tolerances from what coarse rounding changed."""
        return verdict.expected(self._outputs, measured, self.model.path, self._samples.ids)

    def _score_original(self, together: int | None = None) -> None:
        """Set the model's metrics on the whole test set, and note those that are near chance."""
        rest: Iterable[dict[str, np.ndarray]] = []
        if self._rest.runs:
            rest = self.model.reference.outputs(self._rest, together=together)
        scores = accuracy.scores(self._tasks, itertools.chain(self._outputs, rest))
        self.metrics = {name: score.metric for name, score in scores.items()}
        self._by_chance = [name for name, score in scores.items() if score.is_chance()]

    def _print_heading(self, typical: Samples, labels: dict[str, np.ndarray]) -> None:
        """Print what files are compared with, and on which samples."""
        print(f"compared with {self.model.reference.words}")
        print(f"on {self._samples}{self._cut}")
        if labels and self._rest.runs:
            print(f"metrics are of all {len(next(iter(labels.values()))):,} samples")
        if typical.source:
            print(f"calibrated on {self.calibrating}")
            print(f"samples: {reach(self._samples.runs)}")
        for name, metric in self.metrics.items():
            task = self._tasks[name]
            of = f" of {name}" if len(self._tasks) > 1 else ""
            text = accuracy.text(task.kind, metric)
            print(f"the original: {accuracy.WORDS[task.kind]}{of} {text}")
            if name in self._by_chance:
                print(scaling.CHANCE)

    def add(self, variant: str, tflite_model: bytes, path: str) -> None:
        """Run a variant on the samples, compare it with the model, print its row, and save it.

        float32 comes first, and must be the same model. The errors of the others are measured. A
        variant that returns no numbers is not saved, and the reason is printed.

        Args:
            variant: the name of the variant: "float32", "float16", "dynamic range", "full integer",
                "full integer, float ends", "part integer" or "16-bit int".
            tflite_model: the content of the file, bytes.
            path: where to save it: NAME.tflite for float32, and NAME.….tflite beside it for others.

        Raises:
            Failure: float32 returns different outputs, or was not added yet. Or the path belongs to
                another variant, or is not beside float32's.
            ValueError: there is no such variant.
            TypeError: the content is not bytes.
        """
        path = artifacts.as_text(path)
        try:
            self.keep(self.tried(variant, tflite_model, path))
        except Refused as error:
            if variant == FIRST:
                raise
            self.leave_out(variant, path, str(error))

    def start(self, variant: str, tflite_model: bytes) -> apart.Runner | None:
        """Begin to run a variant on the samples in the other process; `tried` waits for it.

        Returns:
            The runner, or None for a model with a state, whose runs must not be interrupted.
        """
        if self.model.source.has_state:
            return None
        limits = self._limits(variant)
        return apart.Runner(self._device, tflite_model, self._samples.runs, *limits)

    def look_ahead(self, tflite_model: bytes) -> None:
        """Begin to measure the magnitudes in the float32 file, unless samples are random."""
        if self.calibrating.source:
            answer = apart.ahead(self._device, tflite_model, self.calibrating.runs)
            self._ahead = tflite_model, answer

    def _limits(self, variant: str) -> tuple[float, int]:
        """Return for how many seconds a variant runs, and how many runs it makes at least."""
        if variant == SLOW:
            return SECONDS, 1
        return (math.inf, 0) if self._tasks else (SECONDS, _fewest(self._samples))

    def tried(
        self, variant: str, tflite_model: bytes, path: str, runner: apart.Runner | None = None
    ) -> Tried:
        """Run a variant on the samples, and compare it with the model; see `add`.

        Args:
            variant: see `add`.
            tflite_model: see `add`.
            path: see `add`.
            runner: the runner from `start`, if it runs already.

        Returns:
            The results, for `keep`.

        Raises:
            Refused: LiteRT does not run it, or it returns no numbers.
            Failure, ValueError, TypeError: see `add`.
        """
        if variant not in artifacts.VARIANTS:
            known = ", ".join(artifacts.VARIANTS)
            raise ValueError(f"{variant!r} is not a variant: use one of {known}")
        if not isinstance(tflite_model, bytes | bytearray):
            kind = type(tflite_model).__name__
            raise TypeError(
                f"{variant} is a {kind}, not bytes: give what converter.convert() returns"
            )
        if variant == FIRST:
            self.float32 = b""  # until this one is verified
        elif not self.float32:
            raise script.Failure(
                f"{variant} is not compared, because float32 was not verified: add float32 first"
            )
        self._require_place(variant, path)
        content = bytes(tflite_model)
        try:
            measured = self._measure(variant, content, runner)
            if variant == FIRST:
                self._compare_on_fewer(measured)
        except (ValueError, RuntimeError, TypeError) as error:  # LiteRT refuses it
            raise self._refused(variant, path, error) from error
        if variant != FIRST:
            same = verdict.compare(measured.outputs, self._expected)
        else:
            same = self._measure_rounding(measured.outputs, together=32)
            # Samples of a batch may affect each other, as by a mean over the batch. Then the model
            # runs on one sample at a time.
            if same.difference and self.model.source.is_batched():
                same = self._one_by_one(measured)
            if same.difference:
                message = f"{path} was not written: {same.difference}"
                hint = causes.of_difference(self.model.path, self.model.source, self._samples)
                raise script.Failure("\n".join(filter(None, [message, hint])))
        if same.broken:
            raise Refused(same.broken)
        return Tried(self._row(variant, content, path, measured, same), measured, content)

    def keep(self, found: Tried) -> None:
        """Save a variant after `tried`, and print its row."""
        artifacts.write(found.row.path, found.content)
        self._keep(found.row, found.measured, found.content)
        self._write()
        self._print(found.row, found.measured)

    def _require_place(self, variant: str, path: str) -> None:
        """Raise `Failure` if a path belongs to another variant, or has no place in the record."""
        suffix = artifacts.VARIANTS[FIRST].suffix
        if variant == FIRST:
            if not path.endswith(suffix):
                raise script.Failure(f"{path} is not a {suffix} file's name: give {path}{suffix}")
            return
        name = self.rows[FIRST].path.removesuffix(suffix)
        example = f"save it as {name}{artifacts.VARIANTS[variant].suffix}"
        for other, row in self.rows.items():
            if other != variant and os.path.normpath(row.path) == os.path.normpath(path):
                raise script.Failure(f"{path} is the file of {other}, not of {variant}: {example}")
        beside = os.path.normpath(path).startswith(f"{os.path.normpath(name)}.")
        if not (beside and path.endswith(suffix)):
            record_path = f"{name}{record.SUFFIX}"
            raise script.Failure(f"{path} would have no record in {record_path}: {example}")

    def _measure(self, variant: str, content: bytes, runner: apart.Runner | None) -> Measured:
        """Run a file on the samples that are compared, as long as its time allows.

        Args:
            variant: the name of the variant.
            content: the content of the file.
            runner: see `tried`.

        Raises:
            ValueError, RuntimeError, TypeError: LiteRT refuses the file, or its inputs are not
                those of the model.
        """
        runner = runner or self._device.load(content)
        if runner.inputs.keys() != self.model.source.inputs.keys():
            known = ", ".join(self.model.source.inputs)
            raise ValueError(f"its inputs are {', '.join(runner.inputs)}, not {known}")
        for name, (shape, _) in self.model.source.inputs.items():
            takes = litert.takes(runner.inputs[name]).shape
            if None in takes and None not in shape:
                raise ValueError(f"its input {name} takes {takes}, not {shape}")
        runs, (most, fewest) = self._samples.runs, self._limits(variant)
        with script.doing(f"running {variant}"):
            pairs = zip(runner.runs, runs, strict=False)  # fewer runs may be compared by now
            count = sum(itertools.takewhile(bool, (begun is run for begun, run in pairs)))
            begun = runner.wait()[:count]
        results = itertools.chain(begun, runner.results(runs[len(begun) :]))
        outputs, seconds, spent = [], [], 0.0
        counted = script.counted(runs, f"running {variant}")
        for run, (answer, took) in zip(counted, results, strict=False):
            outputs.append(answer)
            spent += took
            if all(run[name].shape == runs[0][name].shape for name in run):
                seconds.append(took)
            if spent > most and len(outputs) >= fewest:
                break
        left = self._wanted - self._samples.part(0, len(outputs)).size()

        def rest(spent: float) -> Iterator[dict[str, np.ndarray]]:
            for answer, took in runner.results(self._rest.runs) if spent <= most else ():
                yield answer
                spent += took
                if spent > most:
                    return

        metrics = accuracy.metrics(self._tasks, itertools.chain(outputs, rest(spent)))
        middle = float(np.median(seconds))
        return Measured(outputs, metrics, runner, inside.parsed(content), middle, left)

    def _compare_on_fewer(self, measured: Measured) -> None:
        """Reduce the samples to those that float32 ran in its time.

        A run of several samples, which stands at the end, is kept and run as well.
        """
        count = len(measured.outputs)
        if count == len(self._samples.runs):
            return
        kept = self._samples.first(count)
        several = kept.part(count, None).runs
        measured.outputs.extend(answer for answer, _ in measured.runner.results(several))
        expected = [*self._outputs[:count], *self._outputs[len(self._outputs) - len(several) :]]
        self._compare_on(kept, expected)

    def _refused(self, variant: str, path: str, error: Exception) -> Refused:
        """Return the exception for a variant that LiteRT does not run. Float32 gets a way out."""
        reason = causes.refusal(error, variant)
        if variant != FIRST:
            return Refused(reason)
        message = causes.of_running(self.model.source, error)
        if not message and not self._samples.source:
            way = models.give_samples(self.model)
            message = f"LiteRT fails on random inputs: {reason}\n{way}"
        elif not message:
            message = f"{reason}. LiteRT cannot run this file: is it a conversion of this model?"
        return Refused(f"{path} was not written: {message}")

    def _one_by_one(self, measured: Measured) -> verdict.Same:
        """Run the model on one sample at a time, and compare with these outputs."""
        reference = self.model.reference
        with script.quiet():
            self._outputs = list(reference.outputs(self._samples, together=1))
            self._score_original(together=1)
            reference.release()
        return self._measure_rounding(measured.outputs, together=1)

    def _row(
        self, variant: str, content: bytes, path: str, measured: Measured, same: verdict.Same
    ) -> Row:
        """Return the row of a variant that is sound."""
        words = "measured"
        if variant == FIRST:
            words = "cannot be judged" if self._doubts else "verified"
        return Row(
            variant,
            path,
            len(content),
            artifacts.sha256(content),
            litert.dtypes(measured.runner.inputs, measured.runner.outputs),
            same.error,
            same.of_range,
            verdict.mean_error(measured.outputs, self._outputs, self._expected.ranges),
            measured.seconds,
            measured.metrics,
            words,
            clear=not (self._doubts or self._unknown) and bool(same.of_range <= verdict.VAGUE),
            has_state=bool(measured.inside.states()),
            same_class=accuracy.same_class(measured.outputs, self._outputs, self._samples.ids),
        )

    def _keep(self, row: Row, measured: Measured, content: bytes) -> None:
        """Keep what the record needs to know about a variant."""
        if row.variant == FIRST:
            self.float32 = content
        self.rows[row.variant] = row
        self.left_out.pop(row.variant, None)
        outputs = measured.runner.outputs
        scales = {name: tensor["quantization"][0] for name, tensor in outputs.items()}
        self._tolerances[row.variant] = verdict.device_tolerances(
            measured.outputs, self._expected, scales, self._recorded
        )

    def leave_out(self, variant: str, path: str, reason: str) -> None:
        """Note that a variant was not saved, and print why."""
        self.rows.pop(variant, None)
        self.left_out[variant] = path, reason
        self._write()
        print(f"{variant:<14} not written: {reason}")

    def require_calibration(self, tflite_model: bytes | None = None) -> None:
        """Raise `Failure` if full-integer quantization cannot be calibrated with the samples.

        An infinite value has no scale, and crashes the converter.

        Args:
            tflite_model: the float32 file of the source that is calibrated, if it is not the saved
                one.
        """
        models.require_samples(self.model, self.calibrating)
        self.model.source.require_calibration()
        with script.quiet():
            content, (begun, answer) = tflite_model or self.float32, self._ahead
            if answer and begun is content:
                self.magnitudes = answer.get()
            else:
                self.magnitudes = litert.magnitudes(content, self.calibrating.runs)
        for name, largest in self.magnitudes:
            if not np.isfinite(largest).all():
                raise script.Failure(
                    f"tensor {name} becomes infinite on these samples, which integers cannot store"
                )

    def loses(self, variant: str) -> bool:
        """Return whether a saved variant loses more than is accepted; see `loss`."""
        return variant in self.rows and not self.loss(self.rows[variant]) <= 1

    def loss(self, row: Row) -> float:
        """Return the loss of a variant as a multiple of the accepted loss: above 1 is too much.

        Accepted are `SPARED` on the test set, or without one `LOUD` of the range. A mean error over
        numbers of very different ranges hides the small ones. There the mean of the errors, each
        divided by its range, counts as well.
        """
        losses = [
            (self.metrics[name] - metric) / SPARED
            if self._tasks[name].kind == "accuracy"
            else (metric - self.metrics[name]) / max(SPARED * self.metrics[name], verdict.TINY)
            for name, metric in row.metrics.items()
        ]
        kinds = {task.kind for task in self._tasks.values()}
        if not kinds:
            losses.append(row.of_range / LOUD)
        if "mean_error" in kinds and self._expected.mixtures():
            losses.append(row.mean_error / SPARED)
        return float(np.round(np.max(losses), 9))

    def ranges(self) -> dict[str, np.ndarray]:
        """Return the ranges of the numbers of each output over the samples that are compared."""
        return self._expected.ranges

    def others(self) -> Samples:
        """Return the runs that are compared and whose samples do not calibrate.

        The samples of a test set never calibrate, whatever their numbers.
        """
        own = [] if self._tasks else self.calibrating.ids
        size, known = len(self._samples.ids[0]), {sample for run in own for sample in run}
        runs = [
            index
            for index, ids in enumerate(self._samples.ids)
            if len(ids) == size and known.isdisjoint(ids)
        ]
        return self._samples.chosen(runs)

    def has_test_set(self) -> bool:
        """Return whether a test set was given, so that accuracy or the mean error is measured."""
        return bool(self._tasks)

    def outputs(
        self, content: bytes, runs: Sequence[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]]:
        """Run a file, and return a dict of outputs for each run.

        Raises:
            ValueError, RuntimeError, TypeError: LiteRT refuses the file or an input.
        """
        return [answer for answer, _ in self._device.load(content).results(runs)]

    def float_outputs(self, given: Samples) -> list[dict[str, np.ndarray]]:
        """Return the outputs of the float model for some runs.

        They are those of the original if it ran all of these runs, and else of the float32 file.

        Args:
            given: calibration samples, in their order.
        """
        known = {tuple(ids): index for index, ids in enumerate(self._samples.ids)}
        runs = [known.get(tuple(ids)) for ids in given.ids]
        if self._tasks or self.model.source.has_state or None in runs:
            return self.outputs(self.float32, given.runs)
        return [self._outputs[run] for run in runs if run is not None]

    def _columns(self) -> list[str]:
        """Return the headings of the table."""
        kinds = {task.kind for task in self._tasks.values()}
        metric = accuracy.WORDS[kinds.pop()] if len(kinds) == 1 else "metric"
        columns = ["variant", "bytes", "size", "in/out", "error", "of range", "one run"]
        return [*columns, *([metric] if self._tasks else []), "verdict"]

    def _cells(self, row: Row) -> list[str]:
        """Return the texts of a row, one for each column."""
        metrics = self.texts(row)[:1]
        is_random = row.variant == FIRST and not self._samples.source
        words = " on random inputs" if is_random else ""
        if row.same_class and row.verdict != "verified":
            words += ", same class on {:,} of {:,} samples".format(*row.same_class)
        return [
            row.variant,
            f"{row.bytes:,}",
            f"{row.bytes / self.rows[FIRST].bytes:.0%}",
            row.dtypes,
            short(row.error),
            percent(row.of_range),
            f"{row.seconds * 1e6:.0f} us" if row.seconds < 1 else f"{row.seconds:.1f} s",
            *metrics,
            row.verdict + words,
        ]

    def texts(self, row: Row) -> list[str]:
        """Return a row's metrics in words."""
        return [
            accuracy.text(self._tasks[name].kind, metric) for name, metric in row.metrics.items()
        ]

    def _line(self, cells: list[str]) -> str:
        """Return a line of the table from the texts of its columns."""
        variant, size, part, dtypes, error, of_range, seconds, *metric, words = cells
        if len(variant) > WIDE:
            variant = f"{variant}\n{'':<{WIDE}}"
        columns = f"{variant:<{WIDE}} {size:>10}{part:>7}  {dtypes:<12} {error:>8}{of_range:>11}"
        return f"{columns}{seconds:>10}{''.join(f'{text:>12}' for text in metric)}  {words}"

    def _print(self, row: Row, measured: Measured) -> None:
        """Print the row of a variant with its notes, and the headings above the first."""
        notes = self._notes(row, measured)
        if not self._header:
            print(f"rounding measured on {self._measured:,} of these samples")
            print(self._line(self._columns()))
            self._header = True
        print(self._line(self._cells(row)))
        for note in notes:
            print_note(note)

    def _notes(self, row: Row, measured: Measured) -> list[str]:
        """Return the lines below the row of a variant."""
        notes = []
        if row.variant == FIRST:
            if self._doubts and not self._samples.source:
                notes.append(models.give_samples(self.model))
            notes += self._doubts or self._expected.reservations()
            notes += self._questions(measured)
        if measured.left:
            ran = self._samples.part(0, len(measured.outputs)).size()
            notes.append(f"compared on {ran:,} of {ran + measured.left:,} samples: it is slow here")
        if not row.of_range <= LOUD:
            notes.append(self._error_of(row, measured))
            if "int" in row.variant and not row.same_class:
                notes += self._expected.mixtures()
            if outside := self._outside(measured):
                count = f"{outside:,} of {self._samples.size():,}"
                notes.append(
                    f"{count} samples are outside the calibrated range, with the largest errors"
                )
        floats, of = measured.inside.floats()
        if "int" in row.variant and floats:
            notes.append(
                f"{floats:,} of {of:,} operations stay in float: not for integer-only chips"
            )
        elif "int" in row.variant and "float" in row.dtypes:
            notes.append("inputs and outputs are float: not for integer-only chips")
        if row.note:
            notes.append(row.note)
        if len(row.metrics) > 1:
            pairs = zip(row.metrics, self.texts(row), strict=True)
            notes.append(", ".join(f"{name} {text}" for name, text in pairs))
        return notes

    def _questions(self, measured: Measured) -> list[str]:
        """Return questions about the scale of the samples, where the model's outputs raise one."""
        given, steady = self._samples, self._expected.steady
        if not given.source or self.model.source.has_state:
            return []
        different = scaling.different_samples(given.runs, self._outputs, given.ids)
        found, unsure = scaling.saturated(different, measured.runner), scaling.unsure(different)
        questions = [
            f"{name} is the same, bit for bit, for {count:,} of {of:,} different samples:"
            f" {scaling.QUESTION}"
            for name, (count, of) in found.items()
        ]
        questions += [
            f"{name} predicts the same class for all samples, with a probability of at most"
            f" {high:.0%}: {scaling.QUESTION}"
            for name, high in unsure.items()
        ]
        return questions or ([scaling.QUESTION] if steady else [])

    def _error_of(self, row: Row, measured: Measured) -> str:
        """Return a line on the largest error, which may ask for the scale of the samples.

        It does not ask if an accuracy above chance shows that the scale is right, if numbers of
        very different ranges explain the error, or for a classifier, where `_questions` asks.
        """
        where = "" if self._samples.source else " on random inputs"
        text = f"largest error {percent(row.of_range)} of a number's range{where}, above 5%"
        kinds = {task.kind for task in self._tasks.values()}
        is_good = kinds == {"accuracy"} and not self._by_chance
        is_explained = row.same_class or self._expected.mixtures()
        if row.variant != artifacts.INTEGERS or is_good or is_explained:
            return text
        is_lost = scaling.errs(measured.outputs, self._outputs, self.ranges())
        return f"{text}: {scaling.QUESTION}" if is_lost else text

    def _outside(self, measured: Measured) -> int:
        """Return how many samples are far outside the range of integers, if they err most.

        That is the case if the largest of their mean errors is at least twice that of all others.
        Otherwise the number is 0.
        """
        ends = [
            (side, name, low - OUTSIDE * (high - low), high + OUTSIDE * (high - low))
            for side, tensors in enumerate([measured.runner.inputs, measured.runner.outputs])
            for name, tensor in tensors.items()
            if tensor["quantization"][0]
            for low, high in [litert.random_range(tensor)]
        ]
        if not ends:
            return 0
        outside, within = dict[int, float](), [0.0]
        for index, (given, true) in enumerate(zip(measured.outputs, self._outputs, strict=False)):
            ids = self._samples.ids[index]
            sides = self._samples.runs[index], true, given
            parts = verdict.apart(sides, len(ids)) if len(ids) > 1 else [sides]
            for sample, part in zip(ids, parts, strict=False):
                error = verdict.mean_error([part[2]], [part[1]], self.ranges())
                if any(
                    part[side][name].min(initial=0) < low or part[side][name].max(initial=0) > high
                    for side, name, low, high in ends
                ):
                    outside[sample] = error
                elif sample not in outside:
                    within.append(error)
        return len(outside) if max(outside.values(), default=0.0) >= 2 * max(within) else 0

    def _repr_html_(self) -> str:
        """Return the table in HTML, for notebooks."""
        lines = [self._columns(), *(self._cells(row) for row in self.rows.values())]
        kinds = ["th", *["td"] * len(self.rows)]
        rows = [
            "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells)
            for kind, cells in zip(kinds, lines, strict=True)
        ]
        left_out = [
            f"<p>{html.escape(variant)} not written: {html.escape(reason)}</p>"
            for variant, (_, reason) in self.left_out.items()
        ]
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table>{table}</table>{''.join(left_out)}"

    def columns(self) -> dict[str, dict[str, tuple[float, str]]]:
        """Return sizes, times and losses of the variants, for `pictures.compared`."""
        rows = self.rows
        columns = {
            "bytes": {v: (float(row.bytes), f"{row.bytes:,}") for v, row in rows.items()},
            "microseconds of one run": {
                v: (1e6 * row.seconds, f"{1e6 * row.seconds:,.0f}") for v, row in rows.items()
            },
        }
        if not self._tasks:
            columns["largest error, of range"] = {
                v: (row.of_range, percent(row.of_range)) for v, row in rows.items()
            }
        for name, task in list(self._tasks.items())[:1]:
            columns[accuracy.WORDS[task.kind]] = {
                v: (row.metrics[name], accuracy.text(task.kind, row.metrics[name]))
                for v, row in rows.items()
            }
        return columns

    def costliest(self) -> list[tuple[str, float, str]]:
        """Return the costliest operations with their losses, for `pictures.compared`."""
        return [
            (f"{each.kind}\n{each.layer}".strip(), each.loss, percent(each.loss))
            for each in self.costs[:4]
        ]

    def advice(self) -> str:
        """Return advice from the test set in one or two lines, or how to give a test set."""
        if not self._tasks:
            file = f"{self.model.stem()}.test.npz"
            given = "test=(x, y)" if self.model.is_in_memory() else f"--test FILE, or {file}"
            more = ""
            if self.loses(artifacts.INTEGERS):
                more = ", find which operations lose it and try 16 bits"
            return f"To measure accuracy{more}, give a test set: {given}"
        return "\n".join(filter(None, [self._dynamic_serves(), self._smallest()]))

    def _dynamic_serves(self) -> str:
        """Return a sentence in favour of dynamic range if only full integer loses much, or ""."""
        if not self.loses("full integer") or "dynamic range" not in self.rows:
            return ""
        is_smaller = self.rows["dynamic range"].bytes < self.rows[FIRST].bytes
        if self.loses("dynamic range") or not is_smaller:
            return ""
        return (
            "Dynamic range loses little: take it, unless the device computes only with integers or"
            " runs tflite-micro"
        )

    def _smallest(self) -> str:
        """Return a sentence that names the smallest file that loses little."""
        sizes = {variant: row.bytes for variant, row in self.rows.items()}
        kept = [variant for variant in sizes if not self.loses(variant)]
        smallest = min(kept, key=lambda variant: sizes[variant], default=None)
        whole = sizes[FIRST]
        if min(sizes.values()) >= whole:
            return (
                "No variant is smaller than float32: quantization does not pay off for such a small"
                " model"
            )
        loss = "one point of accuracy"
        if any(task.kind == "mean_error" for task in self._tasks.values()):
            loss = (
                "1% of the mean error" if len(self._tasks) == 1 else f"{loss} or 1% of mean error"
            )
        if smallest is None or sizes[smallest] >= whole:
            way = "" if self.costs else ": calibrate with more samples"
            return f"Every smaller file loses more than {loss}{way}"
        share = sizes[smallest] / whole
        return f"The smallest file that loses at most {loss}: {smallest}, {share:.0%} of the bytes"

    def save(self) -> None:
        """Write the record of the check beside the files, and print its path.

        Raises:
            Failure: float32 was not added yet, or the file cannot be written.
        """
        path = self._write()
        if not path:
            raise script.Failure("there is nothing to save: add float32 first")
        print(f"saved {path}")

    def _write(self) -> str:
        """Write the record beside the files, and return its path, or "" without float32.

        It is written after each variant, so that files have a record even if a later variant kills
        the process.
        """
        if FIRST not in self.rows:
            return ""
        name = self.rows[FIRST].path.removesuffix(artifacts.VARIANTS[FIRST].suffix)
        return record.write(name, self._fields(name))

    def _fields(self, name: str) -> dict[str, Any]:
        """Return the fields of the record except its format. Paths are relative to that of NAME."""
        model, given = self.model, self._samples
        file, digest = model.identity
        source = given.source if given.source and os.path.exists(given.source) else None
        thresholds = {n: t.threshold for n, t in self._tasks.items() if t.threshold is not None}
        operations = [each._asdict() for each in self.costs]
        named = {
            kind: artifacts.relative(path, name)
            for kind, path in self._given.items()
            if isinstance(path, str) and path != find(model.stem(), kind)
        }
        return {
            "model": {
                "path": artifacts.relative(model.path, name) if file else os.path.basename(name),
                "file": file and artifacts.relative(file, name),
                "sha256": digest,
                "signature": model.source.signature,
                "options": list(model.options),
            },
            "compared_with": model.reference.words,
            "samples": {
                "file": source and artifacts.relative(source, name),
                "of": given.total,
                "compared": given.size(),
                "calibrated": self.calibrating.size(),
                **({} if given.source else {"random": True}),
                **({"scale": self._scale} if self._scale else {}),
                **({"given": named} if named else {}),
            },
            **({"labels": list(self.names.names)} if self.names.names else {}),
            "original": self._named(self.metrics)
            | ({"threshold": thresholds} if thresholds else {}),
            "versions": {
                package: importlib.metadata.version(package)
                for package in ("tensorflow", "keras", "ai-edge-litert")
            },
            "variants": self._variants(),
            **({"operations": operations} if operations else {}),
            "ranges": record.pack(self._expected.ranges),
            "runs": [
                record.run(
                    given.runs[index],
                    self._outputs[index],
                    {variant: of[place] for variant, of in self._tolerances.items()},
                    self._expected.others[index],
                )
                for place, index in enumerate(self._recorded)
            ],
        }

    def _variants(self) -> dict[str, dict[str, Any]]:
        """Return the fields of each variant in the record."""
        rows: dict[str, dict[str, Any]] = {
            variant: {"file": os.path.basename(path), "not_written": reason}
            for variant, (path, reason) in self.left_out.items()
        }
        for variant, row in self.rows.items():
            rows[variant] = {
                "file": os.path.basename(row.path),
                "bytes": row.bytes,
                "sha256": row.sha256,
                "dtypes": row.dtypes,
                "error": record.number(row.error),
                "of_range": record.number(row.of_range),
                "seconds": row.seconds,
                "verdict": row.verdict,
                "clear": row.clear,
            } | self._named(row.metrics)
            if row.has_state:
                rows[variant]["state"] = True
            if row.note:
                rows[variant]["note"] = row.note
            if row.same_class:
                rows[variant]["same_class"] = list(row.same_class)
        return {variant: rows[variant] for variant in artifacts.VARIANTS if variant in rows}

    def _named(self, metrics: dict[str, float]) -> dict[str, Any]:
        """Return metrics by their kinds, as in a record. Several metrics are by outputs, too."""
        named: dict[str, Any] = {}
        for name, metric in metrics.items():
            value, kind = record.number(metric), self._tasks[name].kind
            if len(self._tasks) == 1:
                named[kind] = value
            else:
                named.setdefault(kind, {})[name] = value
        return named
