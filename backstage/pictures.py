"""What do the figures look like? Training, variants, and the graph, in one look.

Colours are Okabe and Ito's, "Color Universal Design", 2008: told apart by the colour-blind.
"""

import contextlib
import os

import graphviz
import matplotlib.pyplot as plt
import numpy as np

from backstage import artifacts

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
STYLES = {
    "float32": (BLUE, "o"),
    "float16": (ORANGE, "s"),
    "dynamic range": (GREEN, "^"),
    "full integer": (RED, "X"),
    "16-bit int": (PURPLE, "P"),
}


def _axes(**settings):
    """Return a figure and its two axes, side by side without a frame."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", **settings)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, *axes


def training(history, model, x, y, asked, answered):
    """Draw how the loss fell, and what was learned: the line, its data, and answers far outside.

    Args:
        history: a dict from the number of updates to the loss.
        model: a function of float32 (n, 1), such as the Keras model.
        x: the inputs of the training data, (n, 1).
        y: its outputs, (n, 1).
        asked: what the model was asked then, (m, 1).
        answered: its answers, (m, 1).

    Returns:
        The `matplotlib.figure.Figure`.
    """
    figure, left, right = _axes()
    left.semilogy(history.keys(), history.values(), "o-", color=BLUE)
    left.set(xlabel="updates", ylabel="mean squared error of the last updates", xlim=(0, None))

    line = np.array([[0], [210]], dtype="float32")
    right.plot(line, model(line), color=ORANGE, label="the model")
    right.plot(x, y, ".", color=BLUE, label="training data")
    right.plot(asked, answered, "X", color=RED, label="predictions for 1 to 5")
    right.set(xlabel="x", ylabel="y", xlim=(0, 210), ylim=(0, 21000))
    right.legend(frameon=False)
    return figure


def variants(x, answers, sizes, calibrated):
    """Draw what each variant answers over x, and the bytes of its file.

    Args:
        x: increasing numbers, (n,). Each variant is drawn at every fourth, so that none hides
            another.
        answers: a dict from variants to what they answer for x, (n,).
        sizes: a dict from variants to the bytes of their files.
        calibrated: the smallest and the largest x that full integer was calibrated with.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    figure, left, right = _axes(width_ratios=[2.4, 1])
    left.axvspan(*calibrated, color="0.9", label="calibrated range")
    left.axline((0, 5), slope=100, color="0.4", linewidth=1, label="y = 100x + 5")
    for shift, (variant, y) in enumerate(answers.items()):
        color, marker = STYLES[variant]
        left.plot(x[shift::4], y[shift::4], marker, color=color, markersize=7, label=variant)
        right.barh(variant, sizes[variant], color=color)
        right.text(sizes[variant], variant, f" {sizes[variant]:,}", va="center")
    left.set(xlabel="x", ylabel="prediction", xlim=(0, 600), ylim=(0, 62000))
    left.legend(frameon=False)
    right.set(xlabel="bytes", xlim=(0, 1.25 * max(sizes.values())))
    right.invert_yaxis()
    return figure


def compared(columns):
    """Draw what each variant costs: a panel of bars for each figure, one bar for a variant.

    Args:
        columns: a dict from the panels' titles to dicts from variants to a number and its text.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    figure, axes = plt.subplots(
        1, len(columns), figsize=(3.4 * len(columns), 2.9), layout="constrained", sharey=True
    )
    for each, (title, values) in zip(np.atleast_1d(axes), columns.items(), strict=True):
        numbers = [number for number, _ in values.values()]
        colors = [STYLES[variant][0] for variant in values]
        each.barh(list(values), numbers, color=colors)
        most = max(filter(np.isfinite, numbers), default=0) or 1
        for variant, (number, text) in values.items():
            each.text(number if np.isfinite(number) else 0, variant, f" {text}", va="center")
        each.set(title=title, xlim=(0, 1.5 * most), xticks=[])
        each.spines[["top", "right", "bottom"]].set_visible(False)
    each.invert_yaxis()  # all share it
    return figure


@contextlib.contextmanager
def graph(path):
    """Yield a path to draw a graph to; the drawing is moved to `path` when it is complete.

    `dot`, the program of Graphviz that draws, may be missing or give up on a large graph. Then a
    line says so.
    """
    try:
        with (
            artifacts.whole_file(path) as file,
            contextlib.redirect_stdout(None),  # pydot prints all that a failing `dot` says
        ):
            yield file
            if not os.path.exists(file):  # in a notebook, Keras only prints that `dot` is missing
                raise ImportError
    except (ImportError, AssertionError):
        try:
            graphviz.version()
            print(f"{path} was not drawn: the graph is too large for Graphviz's `dot`.")
        except graphviz.ExecutableNotFound:
            print(f"{path} was not drawn: Graphviz's `dot` is missing. Install it with")
            print(
                "`apt-get install graphviz`, `brew install graphviz` or `winget install graphviz`."
            )
        return
    print(f"saved {path}")
