"""Does each file still compute the same, and as well? A row of the table, and the proof."""

import contextlib
import gc
import importlib.metadata
import io
import itertools
import math
import os
import re

import numpy as np

from backstage import accuracy, artifacts, litert, samples, script, verdict

LOUD = 0.05  # of the range: an error that is worth a line of its own
SPARED = 0.01  # one point of accuracy, or this part of the mean error: a loss that counts as none
MEMORY = 2**27  # bytes of right answers: models of large outputs are compared on fewer samples
ERRORS = ("error", "of_range")
PROVEN, MEGABYTE = 16, 2**20  # runs in a proof at most, and their bytes


def short(number):
    """Return a number in two digits, without an exponent where it can be read so."""
    if not math.isfinite(number) or not number or not 1e-6 < abs(number) < 1e6:
        return f"{number:.2g}"
    digits = max(1 - math.floor(math.log10(abs(number))), 0)
    return f"{number:,.{digits}f}"


def refusal(error):
    """Return why a conversion failed, from what the converter or LiteRT raised, in one line."""
    story = str(error).strip()
    ops = sorted(set(re.findall(r"'tf\.(\w+)' op (?:is neither|requires)", story)))
    layers = set(re.findall(r'"[^"/@]+/([^"/@]+)/[^"@]*@__inference', story))
    layers = sorted(layers - {"StatefulPartitionedCall"})
    if not ops:
        return story.splitlines()[-1].rstrip(".") if story else type(error).__name__
    return f"LiteRT has no {', '.join(ops)}" + (f" (layer {', '.join(layers)})" if layers else "")


class Table:
    """The variants of one model: each is run, compared, and saved if it is sound.

    Attributes:
        rows: a dict from variants to what a proof says of them.
        figures: a dict from variants, and "original", to dicts from outputs to their accuracy or
            mean error on the test set; empty dicts where there is none.
        files: a dict from the variants that were saved to their paths.
        errors: a dict from these variants to their errors, as parts of the range.
        sizes: a dict from these variants to the bytes of their files.
    """

    def __init__(self, model, typical, test=None):
        """Let the model answer, and print with what files are compared.

        Args:
            model: a `models.Model`.
            typical: the `samples.Typical` inputs. They calibrate.
            test: a file of inputs and right answers, which are compared in their place, or None.

        Raises:
            Failure: what is in the file does not fit the model.
        """
        self.model, self._calibrating = model, typical.calibrating()
        compared, labels = typical, {}
        if test:
            compared, labels = samples.test_set(test, model.path, model.inputs, model.outputs)
        with script.quiet():
            (first,) = model.answers(compared.part(0, 1))
            size = sum(array.nbytes for array in first.values()) // len(compared.numbers[0])
            if test:
                compared = compared.together(model.inputs, size)
            counts = np.cumsum([len(numbers) for numbers in compared.numbers])
            kept = max(int((counts * size <= MEMORY).sum()), 1)
            self.typical, self._rest = compared.part(0, kept), compared.part(kept, None)
            self.right = self._ask(together=32)
            answers = accuracy.joined(self.right.answers, labels)
            thresholds = {name: accuracy.threshold(array) for name, array in answers.items()}
            shaped = accuracy.extended(answers, labels)
            self.tasks = accuracy.tasks(labels, shaped, test, thresholds)
            self.figures = {"original": self._figures_of_original(together=32)}
            model.release()
        self.rows, self.files, self.errors, self.sizes, self._answers = {}, {}, {}, {}, {}
        print(f"compared with {model.right}")
        print(f"on {self.typical}")
        if labels and self._rest.runs:
            print(f"figures of all {compared.count():,}")
        if typical.file:
            print(f"calibrated on {self._calibrating}")
        for name, figure in self.figures["original"].items():
            task = self.tasks[name]
            of = f" of {name}" if len(self.tasks) > 1 else ""
            print(
                f"the original: {accuracy.WORDS[task.kind]}{of} {accuracy.text(task.kind, figure)}"
            )

    def loses(self, variant):
        """Return whether a variant loses more than can be spared, of accuracy or of the range."""
        if variant not in self.files:
            return False
        if not self.tasks:
            return not self.errors[variant] <= LOUD
        original = self.figures["original"]
        return not all(
            figure >= original[name] - SPARED
            if self.tasks[name].kind == "accuracy"
            else figure <= original[name] * (1 + SPARED)
            for name, figure in self.figures[variant].items()
        )

    def _ask(self, together):
        """Return the `verdict.Right` of the model, asked as many samples at once."""
        answers = list(self.model.answers(self.typical, together=together))
        seeds = verdict.passes(answers)
        changed = (self.model.answers(self.typical, seed, together) for seed in seeds)
        return verdict.right(answers, changed, self.model.path, self.typical.numbers)

    def _figures_of_original(self, together):
        """Return the figures of the model on the whole test set, asked as many samples at once."""
        rest = self.model.answers(self._rest, together=together) if self._rest.runs else []
        return accuracy.figures(self.tasks, itertools.chain(self.right.answers, rest))

    @contextlib.contextmanager
    def variant(self, variant, suffix):
        """Yield a file to write a conversion to; then verify it, print a line and save it.

        The first variant is the measure of the sizes, and must be the same model. The errors of
        others are measured. One that cannot be converted, or answers no numbers, is not saved, and
        its line says why.

        Args:
            variant: its name.
            suffix: what follows the model's name in the file's name.

        Raises:
            Failure: the first variant cannot be converted, or computes something else.
        """
        file, path = io.BytesIO(), f"{self.model.name}{suffix}"
        try:
            with script.doing(variant), script.quiet():
                gc.collect()  # graphs and Keras models are circles, which keep much memory
                yield file
                content = file.getvalue()
                key = self.model.signature
                results, dtypes, scales, seconds = litert.run(content, self.typical.runs, key)
                rest = (litert.run(content, [run], key)[0][0] for run in self._rest.runs)
                figures = accuracy.figures(self.tasks, itertools.chain(results, rest))
        except Exception as error:  # the converter, its calibrator and LiteRT raise many kinds
            reason = refusal(error)
            if not self.files and file.getvalue() and not self.typical.file:
                message = f"{path} was not written: LiteRT fails on random inputs: {reason}"
                raise script.Failure(f"{message}\n{self.model.give_samples()}") from error
            if not self.files:
                raise script.Failure(self.model.dead_end(reason)) from error
            self._leave_out(variant, path, reason)
            return

        same = verdict.compare(results, self.right)
        if not self.files and same.difference:  # the model may look across its batch
            with script.quiet():
                self.right = self._ask(together=1)
                self.figures["original"] = self._figures_of_original(together=1)
                self.model.release()
            same = verdict.compare(results, self.right)
        if not self.files and same.difference:
            hint = self.model.hint()
            message = f"{path} was not written: {same.difference}"
            raise script.Failure(f"{message}\n{hint}" if hint else message)
        if same.broken:
            self._leave_out(variant, path, same.broken)
            return
        self.figures[variant] = figures
        judged = "measured"
        if not self.files:
            unclear, count, share = self.right.unclear()
            judged = "cannot be judged" if unclear else "verified"
        print(f"{variant:<13}{len(content):>11,} bytes  {judged}")
        if judged == "cannot be judged":
            line = (
                f"rounding explains errors of {share:.0%} of the range, in {unclear:,} of {count:,}"
            )
            print(f"{'':<13}  {line} components:\n{'':<13}  beyond 1%, nothing can be proven")
        if not same.of_range <= LOUD:
            print(f"{'':<13}  errs by {same.of_range:.0%} of a component's range: more than 5%")
        if "int" in variant and litert.has_floats(content):
            print(f"{'':<13}  some operations stay in float: not for integer-only chips")
        artifacts.write(path, content)
        self.files[variant], self.errors[variant] = path, same.of_range
        self.sizes[variant] = len(content)
        allowed = verdict.allowed(results, self.right, scales, PROVEN)
        self._answers[variant] = results[:PROVEN], allowed
        self.rows[variant] = {
            "file": os.path.basename(path),
            "bytes": len(content),
            "sha256": artifacts.sha256(content),
            "dtypes": dtypes,
            "error": _number(same.error),
            "of_range": _number(same.of_range),
            "seconds": float(seconds),
            "verdict": judged,
            "clear": not self.right.unclear()[0] and bool(same.of_range <= verdict.VAGUE),
        } | self._named(self.figures[variant])

    def require_calibration(self, calibrating):
        """Raise `Failure` if full-integer quantization cannot be calibrated with these inputs.

        A value that is infinite has no scale, and crashes the converter.

        Args:
            calibrating: the `samples.Typical` inputs.
        """
        self.model.require_calibration(calibrating)
        with open(next(iter(self.files.values())), "rb") as file:
            infinite = litert.infinite(file.read(), calibrating.runs)
        if infinite:
            message = f"{infinite} inside is infinite on these samples: integers are not"
            raise script.Failure(message)

    def _leave_out(self, variant, path, reason):
        """Say why a variant is not written."""
        print(f"{variant:<14} not written: {reason}")
        self.rows[variant] = {"file": os.path.basename(path), "not_written": reason}

    def show(self):
        """Print the table: a row for each variant that was written."""
        print()
        kinds = {task.kind for task in self.tasks.values()}
        title = accuracy.WORDS[kinds.pop()] if len(kinds) == 1 else "figure"
        column = f"{title:>12}" if self.tasks else ""
        print(
            "variant            bytes   size  in/out          error   of range   one run"
            f"{column}  verdict"
        )
        smallest = next(iter(self.sizes.values()))
        for variant in self.files:
            row = self.rows[variant]
            error, of_range = (math.inf if row[key] is None else row[key] for key in ERRORS)
            figures = [
                accuracy.text(self.tasks[name].kind, figure)
                for name, figure in self.figures[variant].items()
            ]
            print(
                f"{variant:<13}{row['bytes']:>11,}{row['bytes'] / smallest:>7.0%}"
                f"  {row['dtypes']:<12} {short(error):>8}{short(100 * of_range):>10}%"
                f"{row['seconds'] * 1e6:>7.0f} us{''.join(f'{text:>12}' for text in figures[:1])}"
                f"  {row['verdict']}"
            )
            if len(figures) > 1:
                pairs = zip(self.tasks, figures, strict=True)
                print(f"{'':<13}  {', '.join(f'{name} {text}' for name, text in pairs)}")
        print(self._advice())

    def columns(self):
        """Return the figures of the variants for a picture, see `pictures.compared`."""
        rows = {variant: self.rows[variant] for variant in self.files}
        columns = {
            "bytes": {v: (row["bytes"], f"{row['bytes']:,}") for v, row in rows.items()},
            "microseconds of one run": {
                v: (1e6 * row["seconds"], f"{1e6 * row['seconds']:,.0f}") for v, row in rows.items()
            },
        }
        if not self.tasks:
            columns["largest error, of range"] = {
                v: (share, f"{short(100 * share)}%") for v, share in self.errors.items()
            }
        for name, task in list(self.tasks.items())[:1]:
            columns[accuracy.WORDS[task.kind]] = {
                v: (self.figures[v][name], accuracy.text(task.kind, self.figures[v][name]))
                for v in rows
            }
        return columns

    def _advice(self):
        """Return what the test set says in a sentence, or how to give one."""
        if not self.tasks:
            file = f"{artifacts.stem(self.model.path)}.test.npz"
            return f"What does your task lose? Give a test set: --test FILE, or {file}"
        kept = [variant for variant in self.files if not self.loses(variant)]
        smallest = min(kept, key=self.sizes.get, default=None)
        whole = self.sizes[next(iter(self.files))]
        if min(self.sizes.values()) >= whole:
            return (
                "No variant is smaller than float32: quantization does not pay for so small a model"
            )
        loss = "one point of accuracy"
        if any(task.kind == "mean_error" for task in self.tasks.values()):
            loss = "1% of the mean error" if len(self.tasks) == 1 else f"{loss} or 1% of mean error"
        if smallest is None or self.sizes[smallest] >= whole:
            return f"No smaller file loses at most {loss}: try more samples to calibrate with"
        share = self.sizes[smallest] / whole
        return f"The smallest file that loses at most {loss}: {smallest}, {share:.0%} of the bytes"

    def _named(self, figures):
        """Return figures as a proof has them: by their kinds, and by outputs where several are."""
        proof = {}
        for name, figure in figures.items():
            value = _number(figure)
            kind = self.tasks[name].kind
            if len(self.tasks) == 1:
                proof[kind] = value
            else:
                proof.setdefault(kind, {})[name] = value
        return proof

    def _thresholds(self):
        """Return the thresholds by outputs, which a device cannot know, for a proof."""
        found = {n: task.threshold for n, task in self.tasks.items() if task.threshold is not None}
        return {"threshold": found} if found else {}

    def proof(self):
        """Return the record of what was proven, a dict for `artifacts.note`."""
        model, typical = self.model, self.typical
        file, digest = model.identity
        return {
            "model": {
                "path": artifacts.relative(model.path, model.name),
                "file": artifacts.relative(file, model.name),
                "sha256": digest,
            },
            "compared_with": model.right,
            "samples": {
                "file": typical.file and artifacts.relative(typical.file, model.name),
                "of": typical.total,
                "compared": typical.count(),
                "calibrated": self._calibrating.count(),
            },
            "original": self._named(self.figures["original"]) | self._thresholds(),
            "versions": {
                package: importlib.metadata.version(package)
                for package in ("tensorflow", "keras", "ai-edge-litert")
            },
            "variants": self.rows,
            "ranges": _packed(self.right.ranges),
            "runs": self._runs(),
        }

    def _runs(self):
        """Return the first runs that fit into a megabyte, at least one, as objects of JSON."""
        runs, size = [], 0
        for index, inputs in enumerate(self.typical.runs[:PROVEN]):
            sides = {
                "inputs": inputs,
                "answers": self.right.answers[index],
                "limits": self.right.limits[index],
            }
            run = {side: _packed(arrays) for side, arrays in sides.items()}
            for side, part in [("variants", 0), ("allowed", 1)]:
                given = {variant: pair[part][index] for variant, pair in self._answers.items()}
                run[side] = {variant: _packed(arrays) for variant, arrays in given.items()}
            size += len(str(run))
            if runs and size > MEGABYTE:
                break
            runs.append(run)
        return runs


def _packed(arrays):
    """Return a dict of arrays as objects of JSON."""
    return {name: artifacts.packed(array) for name, array in arrays.items()}


def _number(value):
    """Return a number for JSON, which has no infinity."""
    return float(value) if math.isfinite(value) else None
