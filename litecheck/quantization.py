"""Which operation loses accuracy? Each is quantized alone, while all others stay in float."""

import bisect
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from litecheck import inside, samples, script

# Times the next largest value: such samples cost all others more than a bit and a half.
FAR = 3.0
OFTEN = 0.2  # of the tensors: an outlier in one input may affect only few of them
FEWEST = 5  # calibration samples, below which none is called an outlier
SECONDS = 60  # after this time, no further operation is tried
BACK = 0.9  # the part of the loss that keeping operations in float must avoid
NAMELESS = r"PartitionedCall|^tfl\."  # names that the converter invents
WEIGHTED = r"convolution|depthwise|MatMul|Tensordot|einsum|conv2d_transpose|lookup|gather"


class Cost(NamedTuple):
    """What is lost if one operation of a float32 file is quantized.

    Attributes:
        name: the name of its first output in the file.
        kind: its name in the schema, such as "CONV_2D".
        layer: the layer that it belongs to, or a scope of its name, or "".
        loss: the mean error if it alone is quantized, as a part of the outputs' ranges.
    """

    name: str
    kind: str
    layer: str
    loss: float

    def __str__(self) -> str:
        """Return the operation in words, such as "CONV_2D of conv2d_1"."""
        return f"{self.kind} of {self.layer}" if self.layer else self.kind


class Outliers(NamedTuple):
    """Runs whose values are far above those of all other runs.

    Attributes:
        runs: the numbers of these runs.
        tensors: in how many tensors they have the largest values.
        of: how many tensors there are.
        times: their value divided by the next largest one, the median over these tensors.
    """

    runs: list[int]
    tensors: int
    of: int
    times: float


class Ranking(NamedTuple):
    """What the search for costly operations found.

    Attributes:
        costs: the `Cost` of each operation that was tried, the costliest first.
        floats: the names of the operations to keep in float: the fewest that avoid nine tenths of
            the loss. None if the search was interrupted, or if all that were tried do not.
        of: how many operations there are.
        whole: the loss if all of them are quantized.
    """

    costs: list[Cost]
    floats: list[str] | None
    of: int
    whole: float


class PartInteger:
    """Makes integer `.tflite` files in which some operations stay in float.

    Attributes:
        operations: the operations of the float32 file, each an `inside.Operation`.
        has_float_ends: whether inputs and outputs are float32.
    """

    def __init__(self, converter: tf.lite.TFLiteConverter, runs: Iterable[samples.Arrays]) -> None:
        """Calibrate, once for all files.

        Args:
            converter: a new converter with a representative dataset. It cannot be used again.
            runs: the runs that the dataset yields.

        Raises:
            Exception: the converter cannot calibrate this model.
        """
        self._options = tf.lite.experimental.QuantizationDebugOptions(fully_quantize=True)
        self._debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: iter(runs), debug_options=self._options
        )
        self.operations = inside.parsed(self._debugger.calibrated_model).operations
        self.has_float_ends = False

    def file(self, floats: Collection[str]) -> bytes:
        """Return the content of the file in which some operations stay in float.

        Args:
            floats: the names of their first outputs, as in `operations`. The converter would ignore
                an unknown name, so it is checked here.
        """
        known = {operation.outputs[0].name for operation in self.operations}
        assert known.issuperset(floats), "a name of no operation"
        self._options.fully_quantize = not self.has_float_ends
        self._options.denylisted_nodes = list(floats)
        return self._debugger.get_nondebug_quantized_model()


def outliers(magnitudes: Sequence[np.ndarray]) -> Outliers | None:
    """Return the runs whose values are by far the largest in most tensors, or None.

    Up to 19 runs have one outlier at most, up to 59 runs two, and more runs a twentieth.

    Args:
        magnitudes: for each tensor, the largest absolute value in each run, float32 (runs,).
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

    The name of a fused operation joins several names by ";". The one of an operation with weights
    counts. Keras opens the scope of a layer twice, so TensorFlow appends a number to the second:
    `conv2d_1` is the layer `conv2d`. If any layer's scope appears without such a number, no numbers
    were appended.

    Args:
        names: the names of tensors.
        layers: the names of the model's layers, if they are known.

    Returns:
        A dict from each name to its layer, or else to its last scope, or "" if it has none.
    """
    scopes = {scope for name in names for part in name.split(";") for scope in part.split("/")}
    unlike = {scope for scope in scopes if _bare(scope) == scope or _bare(scope) not in layers}
    is_numbered = unlike.isdisjoint(layers)
    return {name: _layer_of(name, layers, is_numbered) for name in names}


def _bare(scope: str) -> str:
    """Return a scope without the number that TensorFlow appended."""
    return re.sub(r"_\d+$", "", scope)


def _layer_of(name: str, layers: Collection[str], is_numbered: bool) -> str:
    """Return which layer a tensor belongs to; see `layers_of`."""
    parts = sorted(name.split(";"), key=lambda part: not re.search(WEIGHTED, part))
    for part in parts:
        for scope in part.split("/")[-2::-1]:  # the last part names the operation
            for known in [_bare(scope), scope] if is_numbered else [scope, _bare(scope)]:
                if known in layers:
                    return known
    scopes = [scope for scope in parts[0].split("/") if not re.search(NAMELESS, scope)]
    inner = scopes[1:] or scopes  # the first scope is the model
    return "".join(inner[-2:-1] or inner)


def ranked(
    operations: Sequence[inside.Operation],
    loss: Callable[[Collection[str]], float],
    layers: Collection[str],
) -> Ranking:
    """Return which operations lose most, and the fewest that must stay in float.

    After a minute no further operation is tried. Ctrl-C ends the search.

    Args:
        operations: the operations of the float32 file.
        loss: returns the loss of a file in which the operations of the given names stay in float,
            or infinity if there is no such file. It must be measured on calibration samples.
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
        with script.doing("finding how few operations to keep in float"):
            whole = loss([])
            limit = BACK * loss(kinds) + (1 - BACK) * whole
            count = bisect.bisect_left(
                range(len(names) + 1),
                True,
                key=lambda few: not interrupted() and loss(names[:few]) <= limit,
            )
        is_found = count <= len(names) and math.isfinite(limit) and not interrupted()
        return Ranking(found, names[:count] if is_found else None, len(kinds), whole)
