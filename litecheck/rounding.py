"""How far may rounding move each output? Runs the original with coarser rounding, and measures it.

This is Monte Carlo arithmetic (Parker 1997; Verificarlo, Denis et al. 2016). A signature is run
operation by operation. Where an operation rounds, its outputs are multiplied by
1 + c · eps · noise, with a c that depends on the operation. Rounding may change an output by as
much as this noise does. eps is five times that of the dtype, 5 · 2^-24 for float32, so that a few
trials also find jumps and near-ties.
"""

import functools
import inspect
import math
import re
import time
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from litecheck import models, verdict
from litecheck.samples import Samples

Arrays = dict[str, np.ndarray]  # by the names of inputs or outputs

# Operations that move, select or truncate numbers are exact: equal inputs give equal outputs.
EXACT = re.compile(
    r"""Abs|Arg(Max|Min)|Assign\w*|BatchToSpace\w*|Bitcast|BroadcastTo|Cast|Ceil|CheckNumerics|
    ClipByValue|Complex|Concat\w*|Conj|Const|DepthToSpace|Diag\w*|Dynamic\w+|Empty\w*|EnsureShape|
    ExpandDims|ExtractImagePatches|Fill|Floor|Gather\w*|Identity\w*|Imag|InvertPermutation|
    Lookup\w*|MatrixBandPart|MatrixDiag\w*|MatrixSetDiag\w*|Max|MaxPool\w*|Maximum|Min|Minimum|
    MirrorPad|Neg|NonMaxSuppression\w*|OneHot|OnesLike|Pack|Pad\w*|Placeholder\w*|PreventGradient|
    Print\w*|Random\w*|Range|ReadVariableOp|Real|Relu6?|Reshape|ResizeNearestNeighbor|
    ResourceGather\w*|Reverse\w*|Rint|Roll|Round|ScatterNd|Select\w*|Shape\w*|Sign|Slice|Snapshot|
    Sort|SpaceTo\w+|Split\w*|Squeeze|Stateless\w*Random\w*|StopGradient|StridedSlice|TensorArray\w*|
    TensorList\w*|TensorScatter(Update|Max|Min)|Tile|TopK\w*|Transpose|Unique\w*|Unpack|
    VarHandleOp|Where|ZerosLike""",
    re.VERBOSE,
)
BASIC = {"Add", "AddN", "AddV2", "BiasAdd", "Mul", "Square", "SquaredDifference", "Sub"}
SUMS = re.compile(
    r"""AvgPool\w*|BatchMatMul\w*|Conv\w*|Cum\w*|DepthwiseConv\w*|Einsum|EuclideanNorm|
    FusedBatchNorm\w*|I?R?FFT\w*|L2Loss|MatMul|Mean|Prod|ResizeBi\w*|SegmentMean|SegmentSum|Sum|
    UnsortedSegmentSum""",
    re.VERBOSE,
)
# Functions that other runtimes compute as a difference of numbers of this size, as 1 - erf(x).
CANCELS = {"Acosh": 1, "Asinh": 1, "Atanh": 1, "Cos": 1, "Elu": 1, "Erf": 0.5, "Erfc": 2}
CANCELS |= {"Expm1": 1, "Log1p": 1, "Selu": 2, "Sin": 1, "Sinh": 1, "Softplus": 1, "Tanh": 0.5}
EPS = {"bfloat16": 2**-8, "float16": 2**-11, "float32": 2**-24, "float64": 2**-53}
EPS |= {"complex64": EPS["float32"], "complex128": EPS["float64"]}
COARSE = 5  # the noise, as a multiple of the rounding of a dtype
# Multiples of 1/256 up to 65,536 are called short. Their sums and products are exact in float32.
SHORT, LARGEST = 256, 2**16
REMAINDERS = {"FloorDiv", "FloorMod", "LinSpace", "Mod", "TruncateDiv", "TruncateMod"}
BLURRED = re.compile(r"EuclideanNorm|FusedBatchNorm\w*|I?R?FFT\w*|ResizeBi\w*")  # of SUMS
SECONDS = 20.0  # after this time of measuring, no further run starts
FEW = 10  # samples that are measured first: their time decides how many are joined then
STATEFUL = 100  # runs that are measured at most of a model with a state
# Random numbers that are drawn once, and read from a random place. Drawing new ones is slower.
POOL = 99_991
CALLS = {"PartitionedCall": ["f"], "StatefulPartitionedCall": ["f"]}
LOOPS = {"While": ["cond", "body"], "StatelessWhile": ["cond", "body"]}
BRANCHES = dict.fromkeys(["If", "StatelessIf"], ["then_branch", "else_branch"])


class Step(NamedTuple):
    """An operation of a graph.

    Attributes:
        op: the `tf.Operation`.
        kind: "exact", "basic", "sum" or "function" by how it rounds, or else "call", "loop" or
            "branch".
        repeat: a function that runs it again, from a list of tensors to a list of tensors.
        plans: the plans of the functions that it calls.
        done: the `ref()` of each tensor that no later step needs.
    """

    op: tf.Operation
    kind: str
    repeat: Any
    plans: list["Plan"]
    done: Set[Any] = frozenset()


class Plan:
    """The steps of a function's graph, in an order in which they can run."""

    def __init__(self, graph: Any) -> None:
        """Make the plan of a `FuncGraph`."""
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        given = {end.ref() for end in self.inputs}
        steps = [
            _step(graph, op)
            for op in graph.get_operations()
            if (op.outputs or op.type.startswith("Assign"))
            and not (op.outputs and given.issuperset(end.ref() for end in op.outputs))
        ]
        needed, self.steps = {end.ref() for end in self.outputs}, list[Step]()
        for step in reversed(steps):
            ends = {end.ref() for end in [*step.op.inputs, *step.op.outputs]}
            self.steps.append(step._replace(done=ends - needed))
            needed |= ends
        self.steps.reverse()

    def types(self) -> set[str]:
        """Return the types of all operations, with those of called functions."""
        inner = [plan.types() for step in self.steps for plan in step.plans]
        return {step.op.type for step in self.steps}.union(*inner)


def _step(graph: Any, op: tf.Operation) -> Step:
    """Return the `Step` for an operation of a graph."""
    for kind, calls in [("call", CALLS), ("loop", LOOPS), ("branch", BRANCHES)]:
        if op.type in calls:
            # TensorFlow has no public name for the functions that a graph calls.
            names = [op.get_attr(key).name for key in calls[op.type]]
            return Step(op, kind, None, [Plan(graph._get_function(name).graph) for name in names])
    if EXACT.fullmatch(op.type) or not any(end.dtype.name in EPS for end in op.outputs):
        kind = "exact"
    elif SUMS.fullmatch(op.type):
        kind = "sum"
    else:
        kind = "basic" if op.type in BASIC else "function"
    return Step(op, kind, _repeat(op), [])


class Repeated:
    """A SavedModel's signature that runs with coarse rounding.

    Attributes:
        is_stateful: whether it assigns to variables, so that a run depends on the runs before it.
        is_joinable: whether the samples of several runs can be joined into one run.
    """

    def __init__(self, source: models.Source) -> None:
        """Load the signature of a source."""
        self._loaded = tf.saved_model.load(source.directory)  # holds the variables
        function = self._loaded.signatures[source.signature]
        self._plan, self._captured = Plan(function.graph), list(function.captured_inputs)
        self._inputs = sorted(function.structured_input_signature[1])
        self._outputs = sorted(function.structured_outputs)
        ends = [*self._plan.inputs[: len(self._inputs)], *self._plan.outputs]
        self.is_joinable = all(end.shape[:1] == [None] for end in ends)
        self.is_stateful = any(kind.startswith("Assign") for kind in self._plan.types())

    def function(self, seed: Sequence[int] | None) -> models.Call:
        """Return a function from a dict of inputs to a dict of outputs, with repeatable noise.

        Args:
            seed: the seed of the noise. None switches the noise off.
        """

        def call(run: Arrays) -> dict[str, tf.Tensor]:
            values = [tf.constant(run[name]) for name in self._inputs]
            found = Trial(seed).outputs(self._plan, [*values, *self._captured])
            return dict(zip(self._outputs, found, strict=True))

        return call


def changes(
    source: models.Source, given: Samples, runs: Sequence[int], trials: Sequence[int], together: int
) -> dict[int, dict[str, verdict.Moved]]:
    """Return what coarse rounding changes in a model's outputs.

    No further run starts after `SECONDS`. If an integer, a truth value or a text came out
    differently, the number of trials is doubled: four trials miss a coin flip once in 16 times.

    Args:
        source: the model.
        given: the inputs.
        runs: the numbers of the runs to measure, the most important first.
        trials: the numbers of the trials, which are seeds.
        together: how many samples of several runs may be joined into one run.

    Returns:
        A dict from the numbers of runs to dicts from the names of outputs to `verdict.Moved`.

    Raises:
        Exception: of any kind, if an operation of the model cannot be run alone.
    """
    repeated = Repeated(source)
    if repeated.is_stateful:  # a run depends on all runs before it
        runs = range(min(max(runs, default=-1) + 1, STATEFUL))
    rest, most = given.chosen(runs), FEW
    found: list[dict[str, verdict.Moved]] = []
    start = time.monotonic()
    while rest.runs and (not found or time.monotonic() < start + SECONDS):
        begun, first = time.monotonic(), len(found)
        group = _portions(rest, most, repeated)
        clean = _outputs(source, repeated, group, None)
        attempts = [_outputs(source, repeated, group, (trial, first)) for trial in trials]
        if any(_flips(attempt, clean) for attempt in attempts):
            more = range(max(trials) + 1, max(trials) + 1 + len(trials))
            attempts += [_outputs(source, repeated, group, (trial, first)) for trial in more]
        for run, *others in zip(clean, *attempts, strict=True):
            found.append({n: verdict.moved(run[n], [each[n] for each in others]) for n in run})
        rest = rest.part(len(clean), None)
        if time.monotonic() < begun + SECONDS / 2:
            most = min(2 * most, together)
    return dict(zip(runs, found, strict=False))


def _portions(given: Samples, most: int, repeated: "Repeated") -> list[Samples]:
    """Return the portions of runs that are measured next.

    A stateful model starts again from its first run in each trial. So all its runs are returned, in
    portions of one.
    """
    if repeated.is_stateful:
        return given.portions(1)
    return given.portions(most if repeated.is_joinable else 1)[:1]


def _outputs(
    source: models.Source,
    repeated: "Repeated",
    group: Sequence[Samples],
    seed: Sequence[int] | None,
) -> list[Arrays]:
    """Return the outputs of all runs of some portions, with noise of a seed, or without."""
    if repeated.is_stateful:
        repeated = Repeated(source)
    call, rows = repeated.function(seed), list[Arrays]()
    for portion in group:
        try:
            rows += models.outputs_of(call, portion.runs)
        except (ValueError, tf.errors.OpError):  # these runs cannot be joined
            rows += [row for run in portion.runs for row in models.outputs_of(call, [run])]
    return rows


def _flips(given: Sequence[Arrays], true: Sequence[Arrays]) -> bool:
    """Return whether any integer, truth value or text differs between two lists of outputs."""
    return any(
        verdict.is_exact(values) and not np.array_equal(run[name], values)
        for run, other in zip(given, true, strict=True)
        for name, values in other.items()
    )


class Trial:
    """Runs a plan once, with noise from a seed."""

    def __init__(self, seed: Sequence[int] | None) -> None:
        """Take the seed of the noise, or None for a run without noise."""
        self._is_clean = seed is None
        self._random = np.random.default_rng(seed or 0)
        reach = COARSE * math.sqrt(3)  # uniform noise with a standard deviation of COARSE
        self._noises = self._random.uniform(-reach, reach, 2 * POOL).astype(np.float32)

    def outputs(self, plan: Plan, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the outputs of a plan, given a tensor for each of its inputs."""
        known = {end.ref(): value for end, value in zip(plan.inputs, inputs, strict=True)}
        for step in plan.steps:
            given = [known[end.ref()] for end in step.op.inputs]
            values = self._values(step, given)
            known |= {end.ref(): value for end, value in zip(step.op.outputs, values, strict=True)}
            for end in step.done:
                del known[end]
        return [known[end.ref()] for end in plan.outputs]

    def _values(self, step: Step, given: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return the outputs of a step, given its inputs."""
        if step.kind == "call":
            return self.outputs(step.plans[0], given)
        if step.kind == "branch":
            return self.outputs(step.plans[0 if given[0] else 1], given[1:])
        if step.kind == "loop":
            condition, body = step.plans
            while self.outputs(condition, given)[0]:
                given = self.outputs(body, given)
            return given
        repeat = step.repeat
        if step.kind == "exact" or self._is_clean:
            return repeat(given)
        if step.kind == "sum":
            exact_sums = _exact_sums(step, given)
            if exact_sums:
                return exact_sums
            scale = 0.5 * math.sqrt(_terms(step.op, given))
            place = 1 if "Conv" in step.op.type else 0  # the kernel: it is smaller than the image
            given[place] = self._noisy(given[place], scale)
            return [self._noisy(value, 1 + scale) for value in repeat(given)]
        found = repeat(given)
        exact = [_exact_numbers(step, given, value) for value in found]
        if step.kind == "basic":
            noisy = [self._noisy(value, 1) for value in found]
        else:
            nearby = repeat([self._noisy(given[0], 1), *given[1:]]) if given else found
            around = CANCELS.get(step.op.type, 0)
            noisy = [
                self._noisy(_where_finite(*pair), 4, around)
                for pair in zip(nearby, found, strict=True)
            ]
        return [
            value if kept is None else tf.where(kept, true, value)
            for value, true, kept in zip(noisy, found, exact, strict=True)
        ]

    def _noisy(self, value: tf.Tensor, scale: float, around: float = 0) -> tf.Tensor:
        """Return a tensor with noise added.

        Args:
            value: a tensor. A dtype that is not in `EPS` gets no noise.
            scale: noise in proportion to each number, in units of the rounding of its dtype. For
                complex numbers it is relative to the magnitude.
            around: noise that is the same for all numbers, in units of the rounding of 1.
        """
        if value.dtype.name not in EPS or not value.shape.num_elements():
            return value
        numbers, eps = np.asarray(value), EPS[value.dtype.name] * scale
        changed = self._draw(numbers.shape, numbers.dtype, eps)
        if value.dtype.is_complex:
            changed += 1j * self._draw(numbers.shape, numbers.dtype, eps)
        with np.errstate(all="ignore"):
            changed *= numbers
            changed += numbers
            if around:
                changed += self._draw(numbers.shape, numbers.dtype, EPS["float32"] * around)
        is_finite = np.isfinite(changed)
        return tf.constant(changed if is_finite.all() else np.where(is_finite, changed, numbers))

    def _draw(self, shape: tuple[int, ...], dtype: np.dtype, scale: float) -> np.ndarray:
        """Return uniform noise of a shape and dtype. Its standard deviation is COARSE · scale."""
        start = int(self._random.integers(POOL))
        noises = self._noises[start : start + min(math.prod(shape), POOL)]
        return np.resize((noises * np.float32(scale)).astype(dtype), shape)


def _short(numbers: np.ndarray) -> np.ndarray:
    """Return which numbers of a real array are short, see `SHORT`: bool of its shape."""
    steps = numbers * np.float32(SHORT)
    return (np.rint(steps) == steps) & (np.abs(steps) <= SHORT * LARGEST)


def _are_short(numbers: np.ndarray) -> bool:
    """Return whether all numbers of a real array are short, see `SHORT`."""
    return bool(_short(numbers).all())


def _exact_numbers(step: Step, given: Sequence[tf.Tensor], found: tf.Tensor) -> Any:
    """Return which numbers of an operation's output are exact, or None if none is.

    A result of arithmetic is exact if it is short and its operands are short, see `SHORT`. Some
    runtimes divide by multiplying with the reciprocal, so that product must equal the quotient.
    """
    kind, real = step.op.type, [value for value in given if value.dtype.is_floating]
    is_division = kind in ("RealDiv", "Div")
    if not found.dtype.is_floating or not (
        step.kind == "basic" or is_division or kind in REMAINDERS
    ):
        return None
    exact = _short(np.asarray(found))
    if step.kind == "basic":
        exact &= np.asarray(found) != 0  # noise multiplies, and leaves 0 as it is
    for value in real:
        if not exact.any():
            return None
        exact = exact & _short(np.asarray(value))
    if is_division:
        exact = exact & _is_product(np.asarray(given[0]), np.asarray(given[1]), np.asarray(found))
    return exact


def _is_product(numbers: np.ndarray, divisors: Any, quotients: np.ndarray) -> np.ndarray:
    """Return where quotients equal the products of numbers and the reciprocals of divisors."""
    with np.errstate(all="ignore"):
        return numbers * np.reciprocal(np.float32(divisors)) == quotients


def _exact_sums(step: Step, given: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the outputs of a sum if they are exact, else an empty list.

    They are exact if they and all terms are short, see `SHORT`. Some runtimes compute a mean by
    multiplying with a reciprocal, so that product must equal the mean.
    """
    real = [np.asarray(value) for value in given if value.dtype.is_floating]
    if BLURRED.fullmatch(step.op.type) or not real:
        return []
    firsts = [numbers.ravel()[:SHORT] for numbers in real]  # these tell most tensors quickly
    if not all(map(_are_short, [*firsts, *real])):
        return []
    found = step.repeat(given)
    if not all(_are_short(np.asarray(value)) for value in found):
        return []
    if step.op.type.startswith(("AvgPool", "Mean")):
        terms, means = _terms(step.op, given), np.asarray(found[0])
        if not _is_product(means * np.float32(terms), terms, means).all():
            return []
    return found


def _where_finite(value: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Return a tensor, in which numbers that are not finite are replaced by those of another."""
    if not value.dtype.is_floating:
        return value
    return tf.where(tf.math.is_finite(value), value, other)


def _repeat(op: tf.Operation) -> Any:
    """Return a function that runs an operation, from a list of tensors to a list of tensors."""
    if op.type == "Const":
        constant = tf.constant(tf.make_ndarray(op.node_def.attr["value"].tensor))
        return lambda given: [constant]
    function, names = _raw(op.type)
    known = {arg.name for arg in [*op.op_def.input_arg, *op.op_def.attr]}
    # `tf.raw_ops` renames some: Sum's reduction_indices is its parameter axis.
    renamed = [name for name in names if name not in known]
    places: list[tuple[str, int | None]] = []
    for arg in op.op_def.input_arg:
        name = arg.name if arg.name in names else renamed.pop(0)
        count = op.get_attr(arg.number_attr) if arg.number_attr else None
        if arg.type_list_attr:
            count = len(op.get_attr(arg.type_list_attr))
        places.append((name, count))
    attributes = {}
    for arg in op.op_def.attr:
        if arg.name in names:
            attributes[arg.name] = op.get_attr(arg.name)
        elif renamed and arg.type != "type":  # Squeeze's squeeze_dims is axis
            attributes[renamed.pop(0)] = op.get_attr(arg.name)

    def repeat(given: list[tf.Tensor]) -> list[tf.Tensor]:
        rest = iter(given)
        arguments = {
            name: next(rest) if count is None else [next(rest) for _ in range(count)]
            for name, count in places
        }
        found = function(**arguments, **attributes)
        return tf.nest.flatten(found) if len(op.outputs) else []

    return repeat


@functools.cache
def _raw(kind: str) -> tuple[Any, list[str]]:
    """Return the function of `tf.raw_ops` for a type of operation, and its parameters' names."""
    function = getattr(tf.raw_ops, kind)
    return function, [name for name in inspect.signature(function).parameters if name != "name"]


def _terms(op: tf.Operation, inputs: Sequence[tf.Tensor]) -> float:
    """Return how many terms an operation adds up for each number of its output."""
    kind, shape = op.type, list(inputs[0].shape)
    if kind == "MatMul":
        return shape[0 if op.get_attr("transpose_a") else 1]
    if kind.startswith("BatchMatMul"):
        return shape[-2 if op.get_attr("adj_x") else -1]
    if kind.startswith("Conv"):
        kernel = list(inputs[1].shape)
        return math.prod(kernel) / max(kernel[-2 if "Backprop" in kind else -1], 1)
    if kind.startswith("Depthwise"):
        return math.prod(inputs[1].shape[:2])
    if kind.startswith("AvgPool"):
        return math.prod(op.get_attr("ksize"))
    if kind == "Einsum":
        return _summed(op.get_attr("equation").decode(), inputs)
    if kind.startswith("Cum"):
        return shape[int(inputs[1])]
    if "FFT" in kind:
        return math.prod(shape[-2 if kind.endswith("2D") else -1 :])
    if "Segment" in kind:
        return shape[0]
    if kind.startswith("ResizeBi"):  # it also computes positions, up to the image's size
        return 16 * math.prod(shape[1:3])
    if kind.startswith("Fused"):
        return 16
    if kind in ("EuclideanNorm", "Mean", "Prod", "Sum"):
        return math.prod(shape[axis] for axis in np.atleast_1d(inputs[1]))
    return math.prod(shape)


def _summed(equation: str, inputs: Sequence[tf.Tensor]) -> float:
    """Return how many terms an equation of `tf.einsum` adds up for each number."""
    taken, given = equation.split("->")
    sizes: dict[str, int] = {}
    for letters, value in zip(taken.split(","), inputs, strict=True):
        before, _, after = letters.partition("...")
        sizes |= zip(before, value.shape, strict=False)
        sizes |= zip(after[::-1], value.shape[::-1], strict=False)
    return math.prod(size for letter, size in sizes.items() if letter not in given)
