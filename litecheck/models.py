"""What is this model? Loads it as a source to convert, and a reference to compare files with."""

import contextlib
import functools
import math
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants  # TensorFlow has no public name for it

from litecheck import archives, artifacts, causes, rewriting, samples, script

MANY = 300  # variables of a SavedModel: reading fewer takes little time
LOOPS = {"While", "StatelessWhile"}
BRANCHES = {*LOOPS, "If", "StatelessIf", "Case", "StatelessCase"}
# Bytes of weights. More would need much memory as constants, so they are saved as variables.
LARGE = 50_000_000
BEYOND = 1_000_000  # an index that is larger than most tables
KEY = "serving_default"
Arrays = dict[str, np.ndarray]
Call = Callable[[Arrays], dict[str, tf.Tensor]]
# How many samples each run takes, or a dict from inputs to fixed shapes. None changes no shape.
Sizes = int | Mapping[str, Sequence[int | None]] | None


class Model(NamedTuple):
    """A model to convert.

    Attributes:
        path: the given path, or the name of a model in memory, for messages.
        name: a path without suffix. The files that are made of the model begin with it.
        identity: the file that changes with every training, and its SHA-256. Both are None for a
            model in memory.
        source: the `Source` that is converted.
        reference: the `Reference` whose outputs the files are compared with.
        options: the options of the command that were given, as a list of words.
    """

    path: str
    name: str
    identity: tuple[str | None, str | None]
    source: "Source"
    reference: "Reference"
    options: Sequence[str] = ()

    def is_in_memory(self) -> bool:
        """Return whether the model is a Keras object in memory, and not a file."""
        return self.identity[0] is None

    def stem(self) -> str:
        """Return the path without suffix beside which samples and a test set are searched for."""
        return artifacts.stem(self.path)


def load(
    model: str | keras.Model,
    name: str | None = None,
    signature: str | None = None,
    sizes: Sizes = None,
    loops: bool = False,
) -> Model:
    """Open a model to convert.

    Args:
        model: a SavedModel directory, a Keras archive (.keras, .h5 or .hdf5), or a Keras model.
        name: a path without suffix, with which the names of all files begin. The default is the
            path or the name of the model.
        signature: the signature of a SavedModel. The default is the only one, or serving_default.
        sizes: how many samples each run takes, or a dict from inputs to fixed shapes. By default
            all shapes stay.
        loops: whether recurrent layers stay loops.

    Raises:
        Failure: the model cannot be loaded, has no such signature, or does not take this batch
            size.
    """
    if keras.config.backend() != "tensorflow":
        raise script.Failure(
            f"Keras uses the backend {keras.config.backend()} here: save the model, and convert the"
            f" archive: {script.command('convert', 'MODEL.keras')}"
        )
    is_batch = not isinstance(sizes, Mapping)
    if is_batch and sizes is not None and (type(sizes) is not int or sizes < 1):
        raise script.Failure(f"batch is {sizes!r}: give a whole number of 1 or more")
    if not isinstance(model, str):
        return _of_keras(model, name, signature, sizes, loops)
    options = ["--signature", signature] if signature else []
    options += ["--batch", str(sizes)] if is_batch and sizes else []
    options += ["--loops"] if loops else []
    artifacts.require_model(model)
    name = _name(name, artifacts.stem(model))
    identity = artifacts.identity(model)
    if artifacts.is_archive(model):
        if signature:
            message = f"{model} is an archive, which has no signatures: omit --signature"
            raise script.Failure(message)
        reference = KerasReference(model)
        source = keras_source(reference.keras(), model, name, sizes, loops)
        return Model(model, name, identity, source, reference, options)
    directory, loaded, function, key = _open(model, signature, name)
    archive = f"{artifacts.stem(model)}.keras"
    source = signature_source(model, directory, loaded, function, key, name, sizes)
    served = SignatureReference(model, loaded, function, key, source.has_state)
    if source.recurrent and not signature and os.path.isfile(archive):
        print(f"recurrent, and its batch size varies: converting {archive} in its place")
        source = keras_source(_loaded(archive), archive, name, sizes, loops, like=function)
    return Model(model, name, identity, source, served, options)


def _of_keras(
    model: keras.Model, name: str | None, signature: str | None, sizes: Sizes, loops: bool
) -> Model:
    """Open a Keras model in memory; see `load`."""
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise script.Failure(f"the model is a {kind}: give a keras.Model, or a path")
    path = f"the model {model.name}"
    if signature:
        raise script.Failure(f"{path} has no signatures: omit signature")
    if not getattr(model, "inputs", None):
        way = f'call it on an input, then model.export("{model.name}"), and convert that'
        if isinstance(model, keras.Sequential):
            way = "begin it with keras.Input, or call it on an input"
        raise script.Failure(f"{path} has no defined inputs: {way}")
    reference = KerasReference(path, model)
    name = _name(name, model.name)
    source = keras_source(reference.keras(), path, name, sizes, loops)
    return Model(path, name, (None, None), source, reference)


def _name(given: str | None, default: str) -> str:
    """Return the path without suffix with which the names of all files begin.

    Args:
        given: such a path, or a directory that ends with a separator, or None.
        default: the path without `given`. Only its last part is used in a given directory.
    """
    if given and os.path.basename(given) in ("", ".", ".."):
        return os.path.join(given, os.path.basename(default))
    return (given or default).removesuffix(".tflite")


class Source:
    """The signature of a SavedModel that is converted.

    Attributes:
        path: the model that was given.
        directory: the SavedModel: the given one, or a temporary one that this object made.
        signature: the key of the signature.
        inputs: a dict from names to `samples.Input`.
        outputs: a dict from names to `samples.Input`.
        ops: the types of the operations in the graph.
        half: whether the graph computes in float16.
        recurrent: whether the model has recurrent layers and a variable batch size.
        is_saved: whether a SavedModel was given.
        has_state: whether the model keeps a state from run to run, in variables.
        rewritten: a `Source` of the same model with some operations replaced, or None.
        layers: the names of the layers of a Keras model. Empty for a SavedModel.
    """

    rewritten: "Source | None" = None
    layers: frozenset[str] = frozenset()

    def __init__(
        self, path: str, function: Any, specs: Sequence[tf.TensorSpec], is_saved: bool
    ) -> None:
        """Describe a concrete function that takes inputs of these specs and returns a dict."""
        for spec in specs:
            if spec.shape.rank is None:
                message = f"input {spec.name} of {path} has no fixed number of axes"
                raise script.Failure(f"{message}: save the model with a shape, such as [None, 3]")
        self.path, self.is_saved = path, is_saved
        self.directory, self.signature = "", KEY
        self._aside: weakref.finalize | None = None
        self.inputs = {spec.name: _input(spec) for spec in specs}
        self.outputs = {name: _input(spec) for name, spec in function.structured_outputs.items()}
        nodes = _nodes(function)
        self.ops = {node.op for node in nodes}
        self.has_state = any(re.fullmatch(r"Assign\w*VariableOp", op) for op in self.ops)
        # Keras collects the steps of a recurrent layer in a list of tensors. LiteRT must know their
        # shape, which a batch size of 1 makes known.
        varying = any(spec.shape[:1] == [None] for spec in specs)
        self.recurrent = varying and "TensorListReserve" in self.ops
        half = tf.float16.as_datatype_enum
        self.half = any(node.attr["T"].type == half for node in nodes if "T" in node.attr)

    def save(self, function: Any, held: Any, name: str) -> None:
        """Save a function as the SavedModel to convert.

        Args:
            function: a `tf.function` of tensors that returns a dict of tensors.
            held: the object that owns the function's lookup tables, if it has any.
            name: the SavedModel is saved in a temporary directory beside this path. `discard`, the
                end of this object, and Ctrl-C remove it.
        """
        beside = os.path.dirname(name) or "."
        os.makedirs(beside, exist_ok=True)
        aside = tempfile.mkdtemp(dir=beside, prefix=artifacts.ASIDE.format(os.getpid()))
        self._aside = weakref.finalize(self, shutil.rmtree, aside, ignore_errors=True)
        script.at_interrupt(self._aside)
        self.directory = f"{aside}/model"
        traced, module = function.get_concrete_function(), tf.Module()
        module.held = [*traced.variables]
        resources = [end for end in traced.captured_inputs if end.dtype == tf.resource]
        if len(resources) > len(traced.variables):
            module.held.append(held)
        with artifacts.saving():
            tf.saved_model.save(
                module,
                self.directory,
                signatures={self.signature: traced},
                # Custom gradients, as of swish, cannot be saved if weights are constants.
                options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
            )

    @functools.cached_property
    def converter(self) -> tf.lite.TFLiteConverter:
        """The converter with the SavedModel loaded, which is kept until `discard`."""
        return self.new_converter()

    def new_converter(self) -> tf.lite.TFLiteConverter:
        """Return a new converter of this source, with the SavedModel loaded."""
        return tf.lite.TFLiteConverter.from_saved_model(
            self.directory, signature_keys=[self.signature]
        )

    def is_batched(self) -> bool:
        """Return whether a run may take any number of samples."""
        return samples.varies(self.inputs)

    def discard(self) -> None:
        """Release the converter, and remove the temporary SavedModel, after the last conversion."""
        for source in filter(None, [self, self.rewritten]):
            vars(source).pop("converter", None)
            if source._aside:
                source._aside()

    def require_calibration(self) -> None:
        """Raise `Failure` if the graph has a loop, which crashes the converter in calibration."""
        ops = (self.rewritten or self).ops
        if ops & LOOPS:
            raise script.Failure(causes.of_loops("TensorListReserve" in ops))


def _nodes(function: Any) -> list[Any]:
    """Return the nodes of a concrete function's graph, and of the functions that it calls.

    Functions with `api_implements` are left out, because the converter replaces each by one
    operation.
    """
    graph = function.graph.as_graph_def()
    parts = [part for part in graph.library.function if "api_implements" not in part.attr]
    return [*graph.node, *(node for part in parts for node in part.node_def)]


def tables(model: Model) -> dict[str, int]:
    """Return the sizes of the tables that integer inputs index, by the names of these inputs.

    The model is run with an index that is too large. TensorFlow's error message has the size.
    """
    inputs = model.source.inputs
    found: dict[str, int] = {}
    plain = samples.at_random(inputs, {}, count=1)
    for name, input in inputs.items():
        index = min(BEYOND, np.iinfo(input.dtype).max) if input.dtype.kind in "iu" else None
        while index is not None:
            run = plain.runs[0] | {name: np.full_like(plain.runs[0][name], index)}
            index = None
            try:
                list(model.reference.outputs(plain._replace(runs=[run])))
            except script.Failure as error:
                size = re.search(r"is not in \[0, (\d+)\)", str(error))
                if size and int(size[1]) < found.get(name, BEYOND):
                    found[name] = int(size[1])
                    index = found[name] - 1  # another table may be smaller
    return found


def give_samples(model: Model) -> str:
    """Return a sentence that says how to give samples in place of random inputs."""
    varying = any(None in input.shape[1:] for input in model.source.inputs.values())
    sizes = "Variable sizes were set to 32. " if varying else ""
    return f"{sizes}Give samples: {samples_of(model)}"


def samples_of(model: Model) -> str:
    """Return the words that tell how to give samples to a model."""
    if model.is_in_memory():
        return "samples=x"
    return f"--samples FILE, or {model.stem()}.samples.npy"


def require_samples(model: Model, given: samples.Samples) -> None:
    """Raise `Failure` if samples are random: integers calibrated on these would be useless."""
    if not given.source:
        raise script.Failure(f"needs typical inputs: give {samples_of(model)}")


class Reference:
    """The original model, whose outputs files are compared with.

    Attributes:
        path: the model that was given, for messages.
        words: what this model is, for messages, such as "the Keras model in inference mode".
        joinable: whether several runs can be joined into one call.
    """

    words = ""
    joinable = False

    def __init__(self, path: str, states: Iterable[tf.Variable] = ()) -> None:
        """Take the path, and the variables in which the model keeps its state."""
        self.path = path
        self._states = [(variable, variable.numpy()) for variable in states]

    def outputs(self, given: samples.Samples, together: int | None = None) -> Iterator[Arrays]:
        """Run the model, and yield a dict of its outputs for each run.

        A model that keeps a state starts with the state of its file.

        Args:
            given: the inputs.
            together: how many samples of several runs may be joined into one call if the batch size
                is variable. The default is small, because more take much memory and hardly less
                time. A model whose samples affect each other needs 1.

        Raises:
            Failure: an output is NaN, or the model fails on these inputs.
        """
        most = (together or given.several()) if self.joinable and given.runs else 1
        call = self.function()
        for variable, value in self._states:
            variable.assign(value)
        for portion in script.counted(given.portions(most), f"running {self.words}"):
            rows: Iterator[Arrays]
            try:
                rows = iter(outputs_of(call, portion.runs))
            except (tf.errors.OpError, ValueError) as error:
                if len(portion.runs) == 1:
                    raise script.Failure(self._rejects(portion, error)) from error
                rows = self.outputs(portion, together=1)  # so that the message names the sample
            for ids, row in zip(portion.ids, rows, strict=True):
                self._require_numbers(row, ids[0], given.source)
                yield row

    def _require_numbers(self, row: Arrays, sample: int, source: str | None) -> None:
        """Raise `Failure` if an output is NaN."""
        for name, array in row.items():
            if array.dtype.kind in "fc" and np.isnan(array).any():
                way = ": train it again, or leave that sample out" if source else ""
                raise script.Failure(
                    f"output {name} of {self.path} is NaN for sample {sample} of"
                    f" {source or 'random inputs'}{way}"
                )

    def _rejects(self, given: samples.Samples, error: Exception) -> str:
        """Return the message for a run on which the model itself fails."""
        place = f"sample {given.ids[0][0]} of {given.source}" if given.source else "random inputs"
        return f"{self.path} itself fails on {place}: {causes.failing(error)}"

    def function(self) -> Call:
        """Return the model as a function from a dict of inputs to a dict of outputs."""
        raise NotImplementedError

    def release(self) -> None:
        """Release what can be loaded again, because conversion needs the memory."""


class KerasReference(Reference):
    """A Keras model in inference mode."""

    words = "the Keras model in inference mode"

    def __init__(self, path: str, model: keras.Model | None = None) -> None:
        """Take the path of an archive, or a model and its name for messages."""
        self._given = model and archives.in_float32(model)
        self._model = self._given or _loaded(path)
        super().__init__(path, archives.states(self._model))
        ends = [*keras.tree.flatten(archives.inputs(self.keras())), *self.keras().outputs]
        self.joinable = all(end.shape[:1] == (None,) for end in ends)

    def keras(self) -> keras.Model:
        """Return the model, and load it again if it was released."""
        if self._model is None:
            self._model = _loaded(self.path)
        return self._model

    def function(self) -> Call:
        """Return the model as a function from a dict of inputs to a dict of outputs."""
        model, names = self.keras(), input_names(self.keras())
        weights = None if self._states else archives.tensors(model)
        return lambda run: archives.call(model, [tf.constant(run[name]) for name in names], weights)

    def release(self) -> None:
        """Release a model that was loaded, unless it keeps a state."""
        if not self._states:
            self._model = self._given


class SignatureReference(Reference):
    """A signature of a SavedModel."""

    def __init__(self, path: str, loaded: Any, function: Any, key: str, has_state: bool) -> None:
        """Take a loaded SavedModel, which owns the variables, a signature of it, and its key."""
        super().__init__(path, function.variables if has_state else ())
        self._loaded = loaded
        self.words = f"the SavedModel's signature {key}"
        self._function = function

    def function(self) -> Call:
        """Return the signature as a function from a dict of inputs to a dict of outputs."""
        return lambda run: self._function(
            **{name: tf.constant(array) for name, array in run.items()}
        )


def keras_source(
    model: keras.Model, path: str, name: str, sizes: Sizes, loops: bool, like: Any = None
) -> Source:
    """Return a Keras model, traced in inference mode, as a source.

    `model.export` would leave layers of random augmentation switched on (Keras issues 19100 and
    19108), so the model is traced here.

    Args:
        model: the model.
        path: the name of the model in messages.
        name: the temporary SavedModel is saved beside this path.
        sizes: see `load`.
        loops: see `load`.
        like: a signature of the same model, whose names of inputs and outputs are taken.

    Raises:
        Failure: the model does not take this batch size, or has other inputs than the signature.
    """
    if like and len(model.inputs) != len(like.structured_input_signature[1]):
        raise script.Failure(
            f"{path} has other inputs than the SavedModel beside it: save both from the same model"
        )
    with script.doing("tracing the model in inference mode"):
        other = _rewritten(model, loops)
        try:
            function, specs = _traced(model, path, sizes, like)
        except tf.errors.OperatorNotAllowedInGraphError:  # Python code depends on a variable size
            if other is None:
                raise
            model, other = other, None
            function, specs = _traced(model, path, sizes, like)
        source = Source(path, function.get_concrete_function(), specs, is_saved=False)
        if source.recurrent:
            print("recurrent: the batch size is fixed to 1, and other sizes stay as they are")
            sizes = 1
            function, specs = _traced(model, path, sizes, like)
            source = Source(path, function.get_concrete_function(), specs, is_saved=False)
    with script.doing("saving the model for the converter"):
        source.save(function, model, name)
    if other is not None:
        source.rewritten = _alike(source, other, path, name, sizes, like)
    every = rewriting.operations(model)
    source.layers = frozenset(each.name for each in every if isinstance(each, keras.layers.Layer))
    return source


def _rewritten(model: keras.Model, loops: bool) -> keras.Model | None:
    """Return a copy of a Keras model with some operations replaced, or None."""
    with contextlib.suppress(Exception):  # some models cannot be copied
        return rewriting.rewritten(model, loops)
    return None


def _alike(
    source: Source, model: keras.Model, path: str, name: str, sizes: Sizes, like: Any
) -> Source | None:
    """Return the source of a rewritten model, or None if its inputs or outputs differ."""
    with contextlib.suppress(Exception):  # some layers cannot be unrolled
        with script.doing("rewriting the model"), script.quiet():
            function, specs = _traced(model, path, sizes, like, list(source.inputs))
            found = Source(path, function.get_concrete_function(), specs, is_saved=False)
            if (found.inputs, found.outputs) != (source.inputs, source.outputs):
                return None
            found.save(function, model, name)
        return found
    return None


def _traced(
    model: keras.Model, path: str, sizes: Sizes, like: Any, names: Sequence[str] = ()
) -> tuple[Any, list[tf.TensorSpec]]:
    """Return a Keras model as a `tf.function` of its inputs alone, and the specs of these inputs.

    Each conversion would read the variables and make them constants again, which takes most of the
    time if there are many. So weights are constants here, unless they would need much memory.
    """
    constants = archives.weights(model)
    large = sum(array.nbytes for side in constants for array in side) > LARGE
    has_state = bool(archives.states(model))
    tensors = keras.tree.flatten(archives.inputs(model))
    names = names or input_names(model)
    if like and set(names) != set(like.structured_input_signature[1]):
        names = list(like.structured_input_signature[1])
    specs = [
        _spec(name, tensor.shape, tensor.dtype, sizes)
        for tensor, name in zip(tensors, names, strict=True)
    ]

    def call(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        weights: Sequence[Sequence[Any]] | None = constants
        if has_state:
            weights = None
        elif large:
            weights = archives.tensors(model)
        outputs = archives.call(model, list(values), weights)
        if like and outputs.keys() != like.structured_outputs.keys():
            return dict(zip(like.structured_outputs, outputs.values(), strict=True))
        return outputs

    function = tf.function(call, input_signature=specs, autograph=False)
    try:
        function.get_concrete_function()
    except ValueError as error:
        reason = script.brief(error)
        if "scope name" in reason:
            way = "Names of models and layers may hold letters, digits and _ only"
            raise script.Failure(f"{path}: {reason}\n{way}") from error
        message = f"{path} does not take {sizes} samples a run: {reason}"
        raise script.Failure(message) from error
    return function, specs


def input_names(model: keras.Model) -> list[str]:
    """Return unique names for a model's inputs, of letters, digits and underscores."""
    tensors = keras.tree.flatten(archives.inputs(model))
    names = [re.sub(r"\W", "_", tensor.name, flags=re.ASCII) for tensor in tensors]
    if len({*names}) < len(names) or not all(re.match("[A-Za-z]", name) for name in names):
        names = [f"input_{index}" for index in range(len(names))]
    return names


def _loaded(archive: str) -> keras.Model:
    """Return the Keras model of an archive, and show on a terminal that it is being loaded."""
    with script.doing(f"loading {archive}"):
        return archives.load(archive)


def signature_source(
    path: str,
    directory: str,
    loaded: Any,
    function: Any,
    key: str,
    name: str,
    sizes: Sizes,
) -> Source:
    """Return a signature of a SavedModel as a source: as it is, with fixed sizes, or frozen.

    Args:
        path: the path that was given.
        directory: the directory of the SavedModel.
        loaded: the loaded SavedModel.
        function: its signature.
        key: the key of the signature.
        name: if another SavedModel must be made, it is saved beside this path.
        sizes: see `load`.

    Raises:
        Failure: the signature does not take this batch size.
    """
    taken = function.structured_input_signature[1]
    for spec in taken.values():
        if isinstance(sizes, int) and spec.shape.rank and spec.shape[0] not in (None, sizes):
            message = f"{path} takes {spec.shape[0]} samples a run, not {sizes}"
            raise script.Failure(f"{message}: omit --batch")
    specs = [_spec(each, spec.shape, spec.dtype, sizes) for each, spec in taken.items()]
    source = Source(path, function, specs, is_saved=True)
    source.directory, source.signature = directory, key
    saved = None
    # A copy has the initial state, and only this signature. Each conversion loads the SavedModel
    # again. With large variables that takes longer than copying it once.
    is_large = _bytes(function) > LARGE and not _has_tables(function)
    if sizes or source.has_state or is_large:
        saved = tf.function(
            lambda *tensors: function(**dict(zip(taken, tensors, strict=True))),
            input_signature=specs,
            autograph=False,
        )
    if _worth_freezing(function, source.ops) and not source.has_state:
        with contextlib.suppress(Exception):  # freezing fails if a variable has no known shape
            saved = _frozen(function, specs)
    if saved:
        with script.doing("saving the model for the converter"), script.quiet():
            source.save(saved, loaded, name)
    return source


def _open(path: str, signature: str | None, name: str) -> tuple[str, Any, Any, str]:
    """Load a SavedModel and choose its signature.

    Returns:
        The directory, which is the given one or that of a frozen copy. The loaded object, which
        keeps such a copy alive. The signature, and its key.
    """
    directory = artifacts.stem(path)
    try:
        loaded = tf.saved_model.load(directory)
    except AttributeError:  # '_UserObject' object has no attribute 'add_slot'
        print(f"{directory} was saved by Keras 2: converting a frozen copy")
        copy = _frozen_copy(path, directory, name)
        directory = copy.directory
        loaded = tf.saved_model.load(directory)
        loaded.copy = copy
    except Exception as error:  # a damaged file can make TensorFlow raise almost anything
        if re.search(r"[][*?]", directory):
            message = f"{path} cannot be loaded: rename it without [ ] * ?"
            raise script.Failure(message) from error
        reason = f"{path} cannot be loaded: {script.brief(error).rstrip('.')}"
        raise script.Unreadable(reason, ". Save it again") from error
    signatures = loaded.signatures
    key = signature or (next(iter(signatures)) if len(signatures) == 1 else KEY)
    if key not in signatures:
        if not signatures:
            raise script.Failure(f"{path} has no signatures: save it with model.export")
        example = script.command("convert", path, "--signature", next(iter(signatures)))
        raise script.Failure(
            f"{path} has no signature {key!r}, only {', '.join(signatures)}\nchoose one: {example}"
        )
    return directory, loaded, signatures[key], key


def _frozen_copy(path: str, directory: str, name: str) -> Source:
    """Return a copy of a SavedModel with its variables as constants.

    Only TensorFlow's v1 loader can read the slots of the older optimizers of Keras 2.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        served = v1.saved_model.load(session, ["serve"], directory)
        ends = served.signature_def[KEY]
        inputs, outputs = (
            {name: tensor.name for name, tensor in side.items()}
            for side in (ends.inputs, ends.outputs)
        )
        nodes = [end.split(":")[0] for end in outputs.values()]
        constant = v1.graph_util.convert_variables_to_constants(session, session.graph_def, nodes)
    specs = [
        tf.TensorSpec(tf.TensorShape(tensor.tensor_shape), tf.as_dtype(tensor.dtype), end)
        for end, tensor in ends.inputs.items()
    ]
    function = _imported(constant, list(inputs.values()), outputs, specs)
    copy = Source(path, function.get_concrete_function(), specs, is_saved=True)
    copy.save(function, None, name)
    return copy


def _worth_freezing(function: Any, ops: set[str]) -> bool:
    """Return whether to make variables constants, once for all conversions.

    Each conversion reads the variables again, which takes most of the time if there are many. Large
    ones would need much memory as constants. Lookup tables cannot be constants. Loops and branches
    take variables as tensors.
    """
    if len(function.variables) < MANY or _has_tables(function) or ops & BRANCHES:
        return False
    return _bytes(function) <= LARGE


def _has_tables(function: Any) -> bool:
    """Return whether a signature reads lookup tables or other resources beside variables."""
    resources = sum(end.dtype == tf.resource for end in function.captured_inputs)
    return resources > len(function.variables)


def _bytes(function: Any) -> float:
    """Return the bytes of a signature's variables, or NaN if the shape of one is unknown."""
    sizes = [(v.dtype.size, v.shape.num_elements()) for v in function.variables]
    return sum(math.nan if count is None else size * count for size, count in sizes)


def _spec(name: str, shape: Any, dtype: Any, sizes: Sizes = None) -> tf.TensorSpec:
    """Return a `tf.TensorSpec` with its sizes fixed as `sizes` asks; see `load`."""
    shape = tf.TensorShape(shape)
    if isinstance(sizes, Mapping):
        shape = sizes[name]
    elif sizes and shape.rank:
        shape = [sizes, *shape[1:]]
    return tf.TensorSpec(shape, dtype, name)


def _frozen(signature: Any, specs: Sequence[tf.TensorSpec]) -> Any:
    """Return a signature as a `tf.function` of tensors, with its variables as constants.

    Args:
        signature: a function of a SavedModel's `signatures`.
        specs: the specs of its inputs.
    """
    constant = convert_to_constants.convert_variables_to_constants_v2(
        signature, lower_control_flow=False
    )
    inputs, outputs = ([end.name for end in side] for side in (constant.inputs, constant.outputs))
    specs = sorted(specs, key=lambda spec: spec.name)  # the order of `tf.nest.flatten`
    names = sorted(signature.structured_outputs)
    # Each variable that was read leaves an Identity and control dependencies. Each conversion would
    # process thousands of them again.
    graph, ends = constant.graph.as_graph_def(), [name.split(":")[0] for name in outputs]
    for node in graph.node:
        node.input[:] = [end for end in node.input if not end.startswith("^")]
    graph = tf.compat.v1.graph_util.remove_training_nodes(graph, ends)
    graph = tf.compat.v1.graph_util.extract_sub_graph(graph, ends)
    return _imported(graph, inputs, dict(zip(names, outputs, strict=True)), specs)


def _imported(
    graph: Any, inputs: Sequence[str], outputs: Mapping[str, str], specs: Sequence[tf.TensorSpec]
) -> Any:
    """Return a graph as a `tf.function` that takes tensors and returns a dict of tensors.

    Args:
        graph: a `GraphDef` without variables.
        inputs: the names of its input tensors.
        outputs: a dict from the names of outputs to the names of tensors.
        specs: the specs of the inputs.
    """

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        given = dict(zip(inputs, tensors, strict=True))
        found = tf.import_graph_def(graph, given, list(outputs.values()), name="")
        return dict(zip(outputs, found, strict=True))

    return tf.function(call, input_signature=specs, autograph=False)


def _input(spec: tf.TensorSpec) -> samples.Input:
    """Return a `tf.TensorSpec` as a `samples.Input`."""
    shape = () if spec.shape.rank is None else tuple(spec.shape)
    return samples.Input(shape, np.dtype(spec.dtype.as_numpy_dtype))


def outputs_of(function: Call, runs: Sequence[Arrays]) -> list[Arrays]:
    """Join runs into one call of a function, and return a dict of outputs for each run.

    Raises:
        ValueError: the function does not return an output for each sample.
        tf.errors.OpError: the function fails on these inputs.
    """
    if len(runs) == 1:
        return [{name: np.asarray(tensor) for name, tensor in function(runs[0]).items()}]
    joined = samples.joined(runs)
    ends = np.cumsum([len(next(iter(run.values()))) for run in runs])
    outputs = {name: np.asarray(tensor) for name, tensor in function(joined).items()}
    if any(len(array) != ends[-1] for array in outputs.values()):
        raise ValueError("it does not return an output for each sample")
    parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: parts[name][index] for name in parts} for index in range(len(runs))]
