"""Which operation loses it? Each is quantized alone, and the others stay in float."""

import bisect
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from litecheck import inside, samples, script

FAR = 3.0  # times the next largest value: more than a bit and a half is lost to such samples
OFTEN = 0.2  # of the tensors: an outlier of one input may show in few
FEWEST = 5  # samples that calibrate, to call one of them an outlier
SECONDS = 60  # of trying operations
BACK = 0.9  # of the loss that operations in float are to bring back
NAMELESS = r"PartitionedCall|^tfl\."  # names that the converter gives
WEIGHTED = r"convolution|depthwise|MatMul|Tensordot|einsum|conv2d_transpose|lookup|gather"


class Cost(NamedTuple):
    """What an operation of a float32 file loses.

    Attributes:
        name: that of its first output, as the file calls it.
        kind: what it is called in the schema, such as "CONV_2D".
        layer: the layer that it belongs to, or what is known of that.
        loss: the mean error where it alone is quantized, as a part of the outputs' ranges.
    """

    name: str
    kind: str
    layer: str
    loss: float

    def __str__(self) -> str:
        """Return it as "CONV_2D of conv2d_1"."""
        return f"{self.kind} of {self.layer}" if self.layer else self.kind


class Outliers(NamedTuple):
    """Runs whose values are far above those of all others.

    Attributes:
        runs: their numbers.
        tensors: in how many tensors they have the largest values.
        of: of how many.
        times: how far they are above the next ones, the median of these tensors.
    """

    runs: list[int]
    tensors: int
    of: int
    times: float


class Ranking(NamedTuple):
    """What a search has found.

    Attributes:
        costs: those of the operations that were tried, the costliest first.
        floats: the names of as few as bring nine tenths of the loss back; None if the search was
            interrupted, or if those that were tried do not.
        of: how many operations there are.
        whole: what is lost where all of them are quantized.
    """

    costs: list[Cost]
    floats: list[str] | None
    of: int
    whole: float


class PartInteger:
    """Makes `.tflite` files of integers in which some operations stay in float.

    Attributes:
        operations: those of the float32 file, an `inside.Operation` each.
        has_float_ends: whether inputs and outputs are float32.
    """

    def __init__(self, converter: tf.lite.TFLiteConverter, runs: Iterable[samples.Arrays]) -> None:
        """Calibrate, once for all files.

        Args:
            converter: a new one with a representative dataset. It is of no use afterwards.
            runs: what the dataset yields.

        Raises:
            Exception: the converter cannot do it.
        """
        self._options = tf.lite.experimental.QuantizationDebugOptions(fully_quantize=True)
        self._debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: iter(runs), debug_options=self._options
        )
        self.operations = inside.parsed(self._debugger.calibrated_model).operations
        self.has_float_ends = False

    def file(self, floats: Collection[str]) -> bytes:
        """Return the file in which some operations stay in float.

        Args:
            floats: the names of their first outputs. The converter ignores names that it does not
                know, so these are those of `operations`.
        """
        known = {operation.outputs[0].name for operation in self.operations}
        assert known.issuperset(floats), "a name of no operation"
        self._options.fully_quantize = not self.has_float_ends
        self._options.denylisted_nodes = list(floats)
        return self._debugger.get_nondebug_quantized_model()


def outliers(magnitudes: Sequence[np.ndarray]) -> Outliers | None:
    """Return the runs that set the largest values in most tensors, far above the next; or None.

    They are at most a twentieth of all, or two of twenty.

    Args:
        magnitudes: for each tensor the largest absolute value of each run, float32 (runs,).
    """
    varying = np.array([each for each in magnitudes if np.ptp(each) > 0])
    count = varying.shape[-1]
    if not varying.size or count < FEWEST:
        return None
    most = max(count // 20, min(count // 10, 2), 1)
    order = np.argsort(-varying, axis=1, kind="stable")
    largest = np.take_along_axis(varying, order, axis=1)[:, : most + 1]
    times = largest[:, :-1] / np.maximum(largest[:, 1:], np.finfo(np.float32).tiny)
    far = [np.flatnonzero(row >= FAR) for row in times]
    above = [order[i, : each[-1] + 1] if each.size else order[i, :0] for i, each in enumerate(far)]
    tensors = np.bincount(np.concatenate(above), minlength=count)
    runs = np.flatnonzero(tensors > OFTEN * len(above))
    theirs = [i for i, own in enumerate(above) if own.size and np.isin(own, runs).all()]
    if not 0 < len(runs) <= most or len(theirs) <= len(above) / 2:
        return None
    middle = float(np.median([times[i, far[i][-1]] for i in theirs]))
    return Outliers(runs.tolist(), len(theirs), len(above), middle)


def layers_of(names: Collection[str], layers: Collection[str]) -> dict[str, str]:
    """Return which layers tensors belong to, as far as their names tell.

    Fused operations have the names of all, divided by ";": the one with weights counts. Keras opens
    the scope of a layer twice, so that TensorFlow numbers it: `conv2d_1` is the layer `conv2d`,
    unless a scope without such a number shows that it does not.

    Args:
        names: the tensors' names.
        layers: the names of the model's layers, if they are known.

    Returns:
        A dict from names to those of layers, or of the last scope; "" where there is none.
    """
    scopes = {scope for name in names for part in name.split(";") for scope in part.split("/")}
    unlike = {scope for scope in scopes if _bare(scope) == scope or _bare(scope) not in layers}
    is_numbered = unlike.isdisjoint(layers)
    return {name: _layer_of(name, layers, is_numbered) for name in names}


def _bare(scope: str) -> str:
    """Return a scope without the number that makes it unique."""
    return re.sub(r"_\d+$", "", scope)


def _layer_of(name: str, layers: Collection[str], is_numbered: bool) -> str:
    """Return which layer a tensor belongs to; see `layers_of`."""
    parts = sorted(name.split(";"), key=lambda part: not re.search(WEIGHTED, part))
    for part in parts:
        for scope in part.split("/")[-2::-1]:  # the last is the operation
            for known in [_bare(scope), scope] if is_numbered else [scope, _bare(scope)]:
                if known in layers:
                    return known
    scopes = [scope for scope in parts[0].split("/") if not re.search(NAMELESS, scope)]
    inner = scopes[1:] or scopes  # the first is the model
    return "".join(inner[-2:-1] or inner)


def ranked(
    operations: Sequence[inside.Operation],
    loss: Callable[[Collection[str]], float],
    layers: Collection[str],
) -> Ranking:
    """Return which operations lose most, and as few as bring nine tenths back in float.

    After a minute no other operation is tried; Ctrl-C ends the search.

    Args:
        operations: those of the float32 file.
        loss: returns what a file loses in which operations of these names stay in float, or
            infinity if there is no such file. It must be measured on samples that calibrate.
        layers: the names of the model's layers, if they are known.
    """
    kinds = {each.outputs[0].name: each.name for each in operations}
    own = layers_of(kinds, layers)
    found: list[Cost] = []
    end = time.monotonic() + SECONDS
    with script.interruptible() as interrupted:
        for name in script.counted(list(kinds), "quantizing each operation alone"):
            if interrupted() or time.monotonic() > end:
                break
            alone = loss(kinds.keys() - {name})
            if math.isfinite(alone):
                found.append(Cost(name, kinds[name], own[name], alone))
        found.sort(key=lambda cost: -cost.loss)
        names = [cost.name for cost in found]
        with script.doing("finding how few bring it back"):
            whole = loss([])
            limit = BACK * loss(kinds) + (1 - BACK) * whole
            count = bisect.bisect_left(
                range(len(names) + 1),
                True,
                key=lambda few: not interrupted() and loss(names[:few]) <= limit,
            )
        is_found = count <= len(names) and math.isfinite(limit) and not interrupted()
        return Ranking(found, names[:count] if is_found else None, len(kinds), whole)
