"""Does the file still compute the same? The error, the gate, a row of the table."""

import contextlib
import gc
import io
import os
import re

import numpy as np

from backstage import artifacts, litert, script

GATE = 1e-4  # of the range: more than float32's rounding can explain; a sound file stays below 1e-6
LOUD = 0.05  # of the range: an error that is worth a line of its own


def largest_error(results, expected):
    """Return the largest error of any output: relative to that output's range, and absolute.

    The range counts as at least 1 % of the largest value: where outputs hardly vary, the rounding
    of float32 would look like an error.

    Args:
        results: the outputs of each run: dicts from names to arrays.
        expected: those that count as right, with the same names. Where a size is another one, the
            error is infinite.
    """
    errors = [(0.0, 0.0)]
    for name in expected[0]:
        values, true = (
            np.concatenate([run[name].ravel().astype(float) for run in side])
            for side in (results, expected)
        )
        if values.size != true.size:
            errors.append((np.inf, np.inf))
        elif true.size:
            error, largest = np.abs(values - true).max(), np.abs(true).max()
            errors.append((error / (max(np.ptp(true), largest / 100) or 1), error))
    return max(errors)


def refusal(error):
    """Return why a conversion failed, from what the converter or LiteRT raised, in one line."""
    story = str(error).strip()
    ops = sorted(set(re.findall(r"'tf\.(\w+)' op (?:is neither|requires)", story)))
    layers = sorted(set(re.findall(r'"[^"/@]+/([^"/@]+)/[^"@]*@__inference', story)))
    if not ops:
        return story.splitlines()[-1].rstrip(".") if story else type(error).__name__
    return f"LiteRT has no {', '.join(ops)}" + (f" (layer {', '.join(layers)})" if layers else "")


class Table:
    """The variants of one model: each is run, compared, printed, and saved if it is sound.

    Attributes:
        files: a dict from the variants that were saved to their paths.
        errors: a dict from these variants to their errors, as parts of the range.
        sizes: a dict from these variants to the bytes of their files.
    """

    def __init__(self, model, runs):
        """Let the model answer the runs, and print the head of the table.

        Args:
            model: a `models.Model`.
            runs: a list with a dict for each run from names to arrays.
        """
        self.model, self.runs = model, runs
        with script.doing(f"asking {model.right}"), script.quiet():
            self.expected = model.answers(runs)
        self.files, self.errors, self.sizes = {}, {}, {}
        print(f"compared with {model.right}:")
        head = "variant            bytes   size  in/out          error  of range   one run  file"
        print(head)

    @contextlib.contextmanager
    def variant(self, variant, suffix):
        """Yield a file to write a conversion to; then verify it, print its row and save it.

        The first variant is the measure of the sizes, and must be the same model: the gate is for
        it. Another one that cannot be converted gets a row that says why.

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
                results, dtypes, seconds = litert.run(content, self.runs, self.model.signature)
        except Exception as error:  # the converter, its calibrator and LiteRT raise many kinds
            reason = refusal(error)
            if self.files:
                print(f"{variant:<14} not written: {reason}")
                return
            raise script.Failure(self.model.dead_end(reason)) from error

        relative, error = largest_error(results, self.expected)
        share = len(content) / next(iter(self.sizes.values()), len(content))
        print(
            f"{variant:<13}{len(content):>11,}{share:>7.0%}"
            f"  {dtypes:<13}{error:>8.2g}{relative:>10.1e}"
            f"{seconds * 1e6:>7.0f} us  {os.path.basename(path)}"
        )
        if not self.files and not relative <= GATE:
            message = (
                f"{path} was not written: it differs from {self.model.path} by {relative:.1e} of"
                " the output's range, more than the 1e-4 that rounding can explain"
            )
            if any(None in input.shape[1:] for input in self.model.inputs.values()):
                message += (
                    "\nLiteRT mistakes some sizes that vary (TimeDistributed): build the model with"
                    " fixed ones, such as keras.Input((32, 5)) in place of keras.Input((None, 5))"
                )
            raise script.Failure(message)
        if not relative <= LOUD:
            print(f"{'':<13}  {variant} errs by {relative:.0%} of the output's range: more than 5%")
        artifacts.write(path, content)
        self.files[variant], self.errors[variant] = path, relative
        self.sizes[variant] = len(content)
