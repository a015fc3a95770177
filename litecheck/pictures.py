"""What do the figures look like? Draws the training, the variants and the graph in one style."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import graphviz
import numpy as np
from matplotlib.figure import Figure

from litecheck import artifacts, inside, script

COLORS = {name: variant.color for name, variant in artifacts.VARIANTS.items()}
BLUE, ORANGE, RED = COLORS["float32"], COLORS["float16"], COLORS["full integer"]
MARKERS = dict(zip(COLORS, "os^XvDP", strict=True))


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, which a notebook shows.

    Elsewhere it is for files only, and needs no window. It is kept out of `pyplot`, because a
    program that calls this package may show figures of its own.
    """
    settings: dict[str, Any] = {"figsize": (width, height), "layout": "constrained"}
    if script.in_notebook():
        import matplotlib.pyplot as plt

        return plt.figure(**settings)
    return Figure(**settings)


def _axes(**settings: Any) -> tuple[Any, Any, Any]:
    """Return a figure and its two axes side by side, without lines at the top and right."""
    figure = _figure(10, 4.4)
    axes = figure.subplots(1, 2, **settings)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, *axes


def training(
    losses: Sequence[float],
    updates: int,
    model: Callable[[np.ndarray], Any],
    x: np.ndarray,
    y: np.ndarray,
    unseen: np.ndarray,
    predicted: np.ndarray,
) -> Figure:
    """Draw how the loss fell, and the learned line with its data and predictions outside of them.

    Args:
        losses: the mean loss of each epoch.
        updates: the number of updates in an epoch.
        model: a function from float32 (n, 1) to outputs (n, 1), such as the Keras model.
        x: the inputs of the training data, (n, 1).
        y: the outputs of the training data, (n, 1).
        unseen: inputs outside of the training data, (m, 1).
        predicted: the model's outputs for the unseen inputs, (m, 1).
    """
    figure, left, right = _axes()
    left.semilogy(updates * np.arange(1, len(losses) + 1), losses, "o-", color=BLUE)
    left.set(xlabel="updates", ylabel="mean squared error of an epoch", xlim=(0, None))

    line = np.array([[0], [210]], dtype="float32")
    right.plot(line, model(line), color=ORANGE, label="the model")
    right.plot(x, y, ".", color=BLUE, label="training data")
    right.plot(unseen, predicted, "X", color=RED, label="predictions for 1 to 5")
    right.set(xlabel="x", ylabel="y", xlim=(0, 210), ylim=(0, 21000))
    right.legend(frameon=False)
    return figure


def variants(
    x: np.ndarray, outputs: Mapping[str, np.ndarray], contents: Mapping[str, inside.Content]
) -> Figure:
    """Draw what each variant predicts over x, and the size of its file.

    Args:
        x: increasing numbers, (n,). Each variant is drawn at every fourth of them, so that no
            variant hides another.
        outputs: a dict from variants to their predictions for x, (n,).
        contents: a dict from variants to the content of their files.
    """
    figure, left, right = _axes(width_ratios=[2.4, 1])
    sizes = {variant: contents[variant].size for variant in outputs}
    held = contents["full integer"].inputs[0].limits()
    left.axvspan(*held, facecolor="0.9", edgecolor="0.6", label="range of full integer")
    left.axline((0, 5), slope=100, color="0.4", linewidth=1, label="y = 100x + 5")
    for shift, (variant, y) in enumerate(outputs.items()):
        color, marker = COLORS[variant], MARKERS[variant]
        left.plot(x[shift::4], y[shift::4], marker, color=color, markersize=7, label=variant)
        right.barh(variant, sizes[variant], color=color)
        _beside(right, (sizes[variant], variant), f"{sizes[variant]:,}")
    left.set(xlabel="x", ylabel="prediction", xlim=(0, 600), ylim=(0, 62000))
    left.legend(frameon=False, loc="upper left", handlelength=1.2)
    right.set(xlabel="bytes", xlim=(0, 1.25 * max(sizes.values())))
    right.invert_yaxis()
    return figure


def steps(tensor: inside.Tensor, x: float) -> Figure:
    """Draw the integers of a quantized tensor above the real numbers that they stand for.

    Args:
        tensor: an `inside.Tensor`, int8 with one scale.
        x: a real number in its range, which is marked.
    """
    assert tensor.scales is not None and tensor.zero_points is not None
    figure = _figure(10, 3.6)
    axes = figure.subplots(2, 1)
    q = np.arange(-128, 128)
    real = tensor.real(q)
    nearest = int(np.abs(real - x).argmin())
    near = range(max(nearest - 3, 0), min(nearest + 4, len(q)))
    scale = tensor.scales[0]
    margin = 0.12 * (real[-1] - real[0])
    limits = [(real[0] - margin, real[-1] + margin), (x - 3.5 * scale, x + 3.5 * scale)]
    for each, shown, (low, high) in zip(axes, [range(len(q)), near], limits, strict=True):
        each.axvspan(low, max(real[0], low), color="0.9", linewidth=0)
        each.axvspan(min(real[-1], high), high, color="0.9", linewidth=0)
        each.vlines(real[shown], 0, 1, color=BLUE, linewidth=0.6 if len(shown) > 9 else 2)
        each.plot(x, -0.2, "^", color=RED, markersize=10, clip_on=False)
        each.set(xlim=(low, high), ylim=(-0.4, 1), yticks=[])
        each.spines[["top", "right", "left"]].set_visible(False)
        above = each.secondary_xaxis("top")
        labelled = shown if len(shown) <= 9 else [0, 64, 128, 192, 255]
        above.set_xticks(real[labelled], q[labelled])
        above.spines["top"].set_visible(False)
    whole, close = axes
    for place, integer in [(real[0] - margin / 2, -128), (real[-1] + margin / 2, 127)]:
        whole.text(place, 0.55, "clipped:", ha="center", va="bottom")
        whole.text(place, 0.45, f"{integer}", ha="center", va="top")
    means = f"real = {inside.affine(round(float(scale), 5), int(tensor.zero_points[0]))}"
    whole.set_title(f"256 integers q (above) and their real numbers (below): {means}", pad=8)
    close.set_title(f"{x} is stored as {q[nearest]}, which stands for {real[nearest]:.3f}", pad=8)
    figure.get_layout_engine().set(h_pad=0.1)
    return figure


def compared(
    columns: Mapping[str, Mapping[str, tuple[float, str]]],
    operations: Sequence[tuple[str, float, str]] = (),
) -> Figure:
    """Draw the sizes, times and losses of variants: a panel for each, with a bar for each variant.

    Args:
        columns: a dict from the titles of panels to dicts from variants to a number and its text.
        operations: the name of each operation, its loss and the text of that. If there are any,
            they get a panel.
    """
    widths = [1.0] * len(columns) + ([1.4] if operations else [])
    figure = _figure(3.4 * sum(widths), 2.9)
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    for each, (title, values) in zip(axes, columns.items(), strict=False):
        bars = [(variant, *value) for variant, value in values.items()]
        _bars(each, title, bars, [COLORS[variant] for variant in values])
        if each is not axes[0]:
            each.set_yticklabels([])
    if operations:
        title = "mean error, of range, if quantized alone"
        _bars(axes[-1], title, operations, [COLORS["full integer"]] * len(operations))
    return figure


def _bars(
    axes: Any, title: str, bars: Sequence[tuple[str, float, str]], colors: Sequence[str]
) -> None:
    """Draw horizontal bars, the first on top, each with its name and its text."""
    numbers = [number for _, number, _ in bars]
    axes.barh(range(len(bars)), numbers, color=colors)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    for place, (_, number, text) in enumerate(bars):
        _beside(axes, (number if np.isfinite(number) else 0, place), text)
    most = max(filter(np.isfinite, numbers), default=0) or 1
    axes.set(title=title, xlim=(0, 1.5 * most), xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.invert_yaxis()


def _beside(axes: Any, end: tuple[float, Any], text: str) -> None:
    """Write the text of a bar three points right of its end."""
    axes.annotate(text, end, (3, 0), textcoords="offset points", va="center")


def graphs(contents: Mapping[str, inside.Content], path: str) -> graphviz.Digraph:
    """Draw the operations of several files side by side, with the weights that each uses.

    Args:
        contents: a dict from variants, or other titles, to the content of their files.
        path: the path of the picture, which ends in `.png`; see `graph`.

    Returns:
        The drawing, which a notebook shows.
    """
    drawing = graphviz.Digraph(
        graph_attr={"fontname": "Helvetica", "nodesep": "0.12", "ranksep": "0.35"},
        node_attr={
            "fontname": "Helvetica",
            "fontsize": "11",
            "shape": "box",
            "margin": "0.06,0.04",
        },
        edge_attr={"fontname": "Helvetica", "fontsize": "10"},
    )
    for variant, content in contents.items():
        with drawing.subgraph(name=f"cluster {variant}") as side:
            side.attr(label=f"{variant}\n{content.size:,} bytes", color="white")
            for tensor in content.inputs:
                side.node(f"{variant} {tensor.number}", f"input\n{tensor}", shape="plain")
            makers = {t.number: f"{variant} {t.number}" for t in content.inputs}
            for index, operation in enumerate(content.operations):
                node = f"{variant} operation {index}"
                lines = [operation.name, *map(str, operation.weights)]
                side.node(node, "\n".join(lines), color=COLORS.get(variant, BLUE), penwidth="2")
                for tensor in operation.inputs:
                    if tensor.number in makers:  # a state is made by no operation
                        side.edge(makers[tensor.number], node)
                makers |= {tensor.number: node for tensor in operation.outputs}
            for tensor in content.outputs:
                end = f"{variant} end {tensor.number}"
                side.node(end, f"output\n{tensor}", shape="plain")
                if tensor.number in makers:
                    side.edge(makers[tensor.number], end)
    with graph(path) as file:
        drawing.render(outfile=file, cleanup=True)
    return drawing


def save(figure: Figure, path: str) -> None:
    """Save a figure of matplotlib as a picture, and print its path."""
    with artifacts.atomic_file(path) as file:
        figure.savefig(file, dpi=120)
    print(f"saved {path}")


@contextlib.contextmanager
def graph(path: str) -> Iterator[str]:
    """Yield a temporary path to draw a graph to. A complete drawing is moved to `path`.

    Graphviz's program `dot` draws. If it is missing or gives up on a large graph, a message is
    printed in place of an error.
    """
    try:
        with (
            artifacts.atomic_file(path) as file,
            contextlib.redirect_stdout(None),  # pydot prints the whole output of a failing `dot`
        ):
            yield file
            if not os.path.exists(file):  # in a notebook, Keras only prints that `dot` is missing
                raise ImportError
    except (ImportError, AssertionError, graphviz.ExecutableNotFound):
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
