"""What is this model? Any archive or SavedModel as one thing to convert and to compare with."""

import contextlib
import itertools
import os
import re
import shutil
import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants  # TensorFlow has no public name for it

from backstage import archives, artifacts, samples, script

MANY = 300  # variables of a SavedModel: fewer are read in little time
BRANCHES = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
LARGE = 50_000_000  # bytes of weights: more of them would need much memory as constants


def load(path, signature=None, batch=None, output=None):
    """Open a model to convert.

    Args:
        path: a SavedModel directory, or a Keras archive (.keras, .h5 or .hdf5).
        signature: which of a SavedModel's signatures; by default the only one or serving_default.
        batch: how many samples a run shall take; by default it stays as it is.
        output: a path without suffix, after which what is made of the model is named; by default
            that of the model.

    Returns:
        A `Model`.

    Raises:
        Failure: it cannot be loaded, has no such signature, or does not take that batch.
    """
    if output and os.path.basename(output) in ("", ".", ".."):  # a directory
        output = os.path.join(output, os.path.basename(artifacts.stem(path)))
    output = output and output.removesuffix(".tflite")
    if artifacts.is_archive(path):
        if signature:
            raise script.Failure(f"{path} is an archive, which has no signatures: omit --signature")
        return Archive(path, batch, output)
    model, archive = SavedModel(path, signature, batch, output), f"{artifacts.stem(path)}.keras"
    if model.recurrent and not signature and os.path.isfile(archive):
        print(f"recurrent, and its batch size varies: converting {archive} in its place")
        return Archive(archive, batch, output, given=model)
    return model


class Model:
    """A model to convert: a SavedModel, its signature, and the answers that count as right.

    Attributes:
        path: what was given.
        name: what is made of the model is named after this path.
        identity: the `artifacts.identity` it had when it was opened.
        directory: the SavedModel to convert: the given one, or one that goes with this object.
        signature: the key of its signature.
        inputs: a dict of `samples.Input` by name.
        outputs: the same of its outputs.
        recurrent: whether it has recurrent layers, and its batch size varies.
        right: whose answers count as right, in words.
    """

    signature = "serving_default"

    def __init__(self, path, output):
        """Take the path of the model, and where to write if not beside it."""
        self.path, self.name = path, output or artifacts.stem(path)
        self.identity = artifacts.identity(path)

    def answers(self, typical, seed=0, together=32):
        """Yield what the model answers: its outputs of each run by name, as arrays.

        Args:
            typical: the `samples.Typical` inputs.
            seed: 0 for the right answers. Other seeds change the last bits of all weights: each
                number by a millionth of itself, normally distributed; the negative of a seed makes
                the opposite changes. Where there are no weights, the inputs change.
            together: how many samples of several runs may be joined into one call, where the batch
                varies. A model that looks across its batch answers right with 1 only.

        Raises:
            Failure: an output is NaN, or the model fails on these inputs.
        """
        noise = np.random.default_rng(abs(seed))
        most = together if self._joinable else 1
        with self._changed(lambda array: _nudged(array, seed, noise)) as ask:
            portions = _portions(typical, most)
            for portion in script.counted(portions, f"asking {self.right}"):
                runs = portion.runs
                if seed and not self._has_weights:
                    runs = [
                        {name: _nudged(array, seed, noise) for name, array in run.items()}
                        for run in runs
                    ]
                try:
                    rows = _ask(ask, runs)
                except (tf.errors.OpError, ValueError) as error:
                    if len(runs) == 1:
                        raise script.Failure(self._rejects(portion, error)) from error
                    rows = self.answers(portion, seed, together=1)  # names the sample
                for number, row in zip(portion.numbers, rows, strict=True):
                    for name, array in row.items():
                        if not seed and array.dtype.kind in "fc" and np.isnan(array).any():
                            raise script.Failure(
                                f"output {name} of {self.path} is NaN for sample {number[0]} of"
                                f" {typical.file or 'random inputs'}: train it again, or leave that"
                                " sample out"
                            )
                    yield row

    def _rejects(self, typical, error):
        """Return the message for a run that the model itself cannot take."""
        told = r"\x1b\[\d*m|\{\{.*?\}\}|Exception encountered when calling \S+"
        told += r"|(\[Op:|\[\[|Detected at|Arguments received).*"
        reason = " ".join(re.sub(told, "", script.brief(error)).split()).rstrip(".")
        if typical.file:
            number = typical.numbers[0][0]
            return f"{self.path} itself fails on sample {number} of {typical.file}: {reason}"
        return f"{self.path} itself fails on random inputs: {reason}\n{self.give_samples()}"

    def give_samples(self):
        """Return how to give samples in place of random inputs."""
        beside = f"{artifacts.stem(self.path)}.samples.npy"
        varying = any(None in input.shape[1:] for input in self.inputs.values())
        sizes = "Sizes that vary were 32. " if varying else ""
        return f"{sizes}Give samples: --samples FILE, or {beside}"

    def require_calibration(self, typical):
        """Raise `Failure` if full-integer quantization cannot be calibrated with these inputs.

        Random ones would calibrate nonsense, and loops crash the converter.

        Args:
            typical: the `samples.Typical` inputs.
        """
        if not typical.file:
            beside = f"{artifacts.stem(self.path)}.samples.npy"
            raise script.Failure(f"needs typical inputs: give --samples FILE or {beside}")
        if self._ops & {"While", "StatelessWhile"}:
            raise script.Failure(
                "the converter crashes on loops (TensorFlow issue 75140): fix the length, and build"
                " the layer without a loop, keras.layers.LSTM(…, unroll=True)"
            )

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        way = (
            "Move what LiteRT cannot do, such as the preprocessing of text, out of the model and"
            " convert the rest"
        )
        if any(end.dtype == np.float64 for end in [*self.inputs.values(), *self.outputs.values()]):
            way = "It computes in float64: build it in float32"
        elif "BitwiseAnd" in reason:
            way = "keras.ops.argmax needs it: leave that out of the model, and do it with NumPy"
        return f"{self.path} cannot be converted: {reason}. {way}"

    def hint(self):
        """Return what may help where the float32 file computes something else, or ""."""
        if any(None in input.shape[1:] for input in self.inputs.values()):
            return (
                "LiteRT mistakes some sizes that vary (TimeDistributed): build the model with fixed"
                " ones, such as keras.Input((32, 5)) in place of keras.Input((None, 5))"
            )
        return ""

    def _aside(self):
        """Make a directory beside the results that is removed with this object or at Ctrl-C."""
        beside = os.path.dirname(self.name) or "."
        os.makedirs(beside, exist_ok=True)
        directory = tempfile.mkdtemp(dir=beside, prefix=".new-")
        script.at_interrupt(weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True))
        return directory

    def _save(self, function, held):
        """Save a function as the SavedModel to convert.

        Args:
            function: a `tf.function` of tensors that returns a dict of tensors.
            held: what holds the function's tables of words and the like, if it has any.
        """
        traced, module = function.get_concrete_function(), tf.Module()
        module.held = [*traced.variables]
        resources = [end for end in traced.captured_inputs if end.dtype == tf.resource]
        if len(resources) > len(traced.variables):
            module.held.append(held)
        self.directory = f"{self._aside()}/model"
        tf.saved_model.save(
            module,
            self.directory,
            signatures={self.signature: traced},
            # Where weights are constants, custom gradients (swish's, for instance) cannot be saved.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )

    def _describe(self, function, specs):
        """Note what the function of this model takes, and which operations its graph holds."""
        for spec in specs:
            if spec.shape.rank is None:
                message = f"input {spec.name} of {self.path} has no fixed number of axes"
                raise script.Failure(f"{message}: save the model with a shape, such as [None, 3]")
        self.inputs = {spec.name: _input(spec) for spec in specs}
        self.outputs = {name: _input(spec) for name, spec in function.structured_outputs.items()}
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
        self._ops = {node.op for node in nodes}
        # Keras collects a recurrent layer's steps in a list of tensors. LiteRT must know their
        # shape, and does with a batch of one.
        varying = any(spec.shape[:1] == [None] for spec in specs)
        self.recurrent = "TensorListReserve" in self._ops and varying
        half = tf.float16.as_datatype_enum
        self._half = any(node.attr["T"].type == half for node in nodes if "T" in node.attr)


def _spec(name, shape, dtype, batch=None):
    """Return a `tf.TensorSpec`; if `batch` is given, that is the size of its first axis."""
    shape = tf.TensorShape(shape)
    if batch and shape.rank:
        shape = [batch, *shape[1:]]
    return tf.TensorSpec(shape, dtype, name)


def _frozen(signature, specs):
    """Return a signature as a `tf.function` of tensors, with its variables as constants.

    Args:
        signature: a function of a SavedModel's `signatures`.
        specs: its inputs, a list of `tf.TensorSpec`.
    """
    constant = convert_to_constants.convert_variables_to_constants_v2(
        signature, lower_control_flow=False
    )
    inputs, outputs = ([end.name for end in side] for side in (constant.inputs, constant.outputs))
    specs = sorted(specs, key=lambda spec: spec.name)  # the order of `tf.nest.flatten`
    names = sorted(signature.structured_outputs)
    # Reading a variable leaves an Identity, and an order in which to read: each conversion would
    # look at thousands of them again.
    graph, ends = constant.graph.as_graph_def(), [name.split(":")[0] for name in outputs]
    for node in graph.node:
        node.input[:] = [end for end in node.input if not end.startswith("^")]
    graph = tf.compat.v1.graph_util.remove_training_nodes(graph, ends)
    graph = tf.compat.v1.graph_util.extract_sub_graph(graph, ends)
    return _imported(graph, inputs, dict(zip(names, outputs, strict=True)), specs)


def _imported(graph, inputs, outputs, specs):
    """Return a `tf.function` of tensors, which returns a dict, that computes what a graph does.

    Args:
        graph: a `GraphDef` without variables.
        inputs: the names of its input tensors.
        outputs: a dict from the names of outputs to those of tensors.
        specs: the inputs, a list of `tf.TensorSpec`.
    """

    def call(*tensors):
        given = dict(zip(inputs, tensors, strict=True))
        answers = tf.import_graph_def(graph, given, list(outputs.values()), name="")
        return dict(zip(outputs, answers, strict=True))

    return tf.function(call, input_signature=specs, autograph=False)


def _input(spec):
    """Return a `samples.Input` of a `tf.TensorSpec`."""
    shape = None if spec.shape.rank is None else tuple(spec.shape)
    return samples.Input(shape, np.dtype(spec.dtype.as_numpy_dtype))


def _portions(typical, most):
    """Return inputs divided into parts of at most so many samples, or of one run.

    Args:
        typical: the `samples.Typical` inputs.
        most: how many samples.
    """
    starts, held = [], most
    for index, numbers in enumerate(typical.numbers):
        held += len(numbers)
        if held > most:
            starts.append(index)
            held = len(numbers)
    return [typical.part(*ends) for ends in itertools.pairwise([*starts, len(typical.runs)])]


def _ask(ask, runs):
    """Return a function's answers to runs that are joined into one call, a dict for each."""
    if len(runs) == 1:
        return [{name: np.asarray(tensor) for name, tensor in ask(runs[0]).items()}]
    joined = samples.joined(runs)
    ends = np.cumsum([len(next(iter(run.values()))) for run in runs])
    outputs = {name: np.asarray(tensor) for name, tensor in ask(joined).items()}
    if any(len(array) != ends[-1] for array in outputs.values()):
        raise ValueError("it has not an answer for each sample")
    parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: parts[name][index] for name in parts} for index in range(len(runs))]


def _nudged(array, seed, noise):
    """Return an array, each number of floating point changed by about a millionth of itself."""
    if not seed or array.dtype.kind not in "fc":
        return array
    change = np.sign(seed) * 1e-6 * noise.standard_normal(array.shape)
    return (array * (1 + change)).astype(array.dtype)


class Archive(Model):
    """A Keras archive. What the Keras model answers in inference mode is right.

    `model.export` would leave layers of random augmentation switched on (Keras issues 19100 and
    19108), so the model is traced here.
    """

    right = "the Keras model in inference mode"

    def __init__(self, path, batch=None, output=None, given=None):
        """Open the archive; say so where something other than itself has to be converted.

        Args:
            path: the archive.
            batch: how many samples a run shall take.
            output: where to write.
            given: the `SavedModel` that it is converted in place of. That one's names are kept, and
                its answers are right.
        """
        super().__init__(given.path if given else path, output)
        self._archive, self._given = path, given
        self._load()
        ends = [*keras.tree.flatten(archives.inputs(self._keras)), *self._keras.outputs]
        self._joinable = all(end.shape[:1] == (None,) for end in ends)
        if given:
            self.right, self._has_weights = given.right, given._has_weights
            self._joinable = False
            if len(self._specs()) != len(given.inputs):
                message = f"{path} has other inputs than {given.path}: make both of one model"
                raise script.Failure(message)
        with script.doing("tracing it in inference mode"):
            function = self._fixed(batch)
            if self.recurrent:
                print("recurrent: the batch is fixed to 1; other sizes vary as before")
                function = self._fixed(1)
        with script.doing("saving it for the converter"):
            self._save(function, self._keras)

    def _load(self):
        """Load the Keras model and its weights."""
        with script.doing(f"loading {self._archive}"):
            self._keras = model = archives.load(self._archive)
        self._weights = archives.weights(model)
        self._has_weights = any(array.dtype.kind == "f" for side in self._weights for array in side)

    def _specs(self, batch=None):
        """Return what the Keras model takes as a list of `tf.TensorSpec`, with a batch if given."""
        tensors = keras.tree.flatten(archives.inputs(self._keras))
        return [
            _spec(name, tensor.shape, tensor.dtype, batch)
            for tensor, name in zip(tensors, self._names(tensors), strict=True)
        ]

    def _fixed(self, batch):
        """Return the model as a `tf.function` of its inputs only, with a batch if one is given.

        Variables would be read and made constants in each conversion again, which takes most of
        the time where they are many. As constants they take memory, so large ones stay variables.
        """
        large = sum(array.nbytes for side in self._weights for array in side) > LARGE
        model = self._keras
        sides = model.trainable_variables, model.non_trainable_variables

        def call(*values):
            weights = self._weights
            if large:
                weights = [[tf.convert_to_tensor(v.value) for v in side] for side in sides]
            outputs = archives.call(model, list(values), weights)
            if self._given and outputs.keys() != self._given.outputs.keys():
                return dict(zip(self._given.outputs, outputs.values(), strict=True))
            return outputs

        specs = self._specs(batch)
        function = tf.function(call, input_signature=specs, autograph=False)
        try:
            self._describe(function.get_concrete_function(), specs)
        except ValueError as error:
            reason = script.brief(error)
            if "scope name" in reason:
                way = "Names of models and layers may hold letters, digits and _"
                raise script.Failure(f"{self._archive}: {reason}\n{way}") from error
            message = f"{self._archive} does not take {batch} samples a run: {reason}"
            raise script.Failure(message) from error
        return function

    def _names(self, tensors):
        """Return names for input tensors: letters, digits and underscores only, none twice."""
        names = [re.sub(r"\W", "_", tensor.name, flags=re.ASCII) for tensor in tensors]
        if self._given and set(names) != set(self._given.inputs):
            names = list(self._given.inputs)
        if len({*names}) < len(names) or not all(re.match("[A-Za-z]", name) for name in names):
            names = [f"input_{index}" for index in range(len(names))]
        return names

    @contextlib.contextmanager
    def _changed(self, change):
        """Yield a function of a run's inputs that answers with changed weights."""
        if self._given:
            with self._given._changed(change) as ask:
                yield ask
            return
        if not self._keras:
            self._load()
        weights = [[tf.constant(change(array)) for array in side] for side in self._weights]
        yield lambda run: archives.call(
            self._keras, [tf.constant(run[name]) for name in self.inputs], weights
        )

    def release(self):
        """Let go of the Keras model, as converting needs the memory."""
        self._keras = self._weights = None

    def hint(self):
        """Return what may help where the float32 file computes something else, or ""."""
        if self._archive != self.path:
            return f"{self._archive} may be of another training: make both of one model"
        return super().hint()

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        if "Random" in reason:
            way = "It is random in inference too (training=True): build it without that"
            return f"{self.path} cannot be converted: {reason}. {way}"
        return super().dead_end(reason)


class SavedModel(Model):
    """A SavedModel. What its signature answers is right."""

    _joinable = False  # a call takes little time

    def __init__(self, path, signature=None, batch=None, output=None):
        """Open the SavedModel; say so where something other than itself has to be converted."""
        super().__init__(path, output)
        self._open(artifacts.stem(path), signature)
        self.right = f"the SavedModel's signature {self.signature}"
        taken = self._function.structured_input_signature[1]
        for spec in taken.values():
            if batch and spec.shape.rank and spec.shape[0] not in (None, batch):
                message = f"{path} takes {spec.shape[0]} samples a run, not {batch}"
                raise script.Failure(f"{message}: omit --batch")
        specs = [_spec(name, spec.shape, spec.dtype, batch) for name, spec in taken.items()]
        self._describe(self._function, specs)
        self._has_weights = any(v.dtype.is_floating for v in self._function.variables)
        saved = None
        if batch:
            saved = tf.function(
                lambda *tensors: self._function(**dict(zip(taken, tensors, strict=True))),
                input_signature=specs,
                autograph=False,
            )
        if self._worth_freezing():
            with contextlib.suppress(Exception):  # it changes a variable, or asks for its shape
                saved = _frozen(self._function, specs)
        if saved:
            with script.doing("saving it for the converter"), script.quiet():
                self._save(saved, self._loaded)

    def _worth_freezing(self):
        """Return whether the variables shall be made constants, once for all conversions.

        Each conversion reads variables anew, which takes most of the time where they are many.
        Large ones would need much memory as constants, and tables of words are no variables. Loops
        and branches take them as tensors.
        """
        variables = self._function.variables
        resources = sum(end.dtype == tf.resource for end in self._function.captured_inputs)
        if len(variables) < MANY or resources > len(variables) or self._ops & BRANCHES:
            return False
        return sum(v.dtype.size * (v.shape.num_elements() or LARGE) for v in variables) <= LARGE

    @contextlib.contextmanager
    def _changed(self, change):
        """Yield a function of a run's inputs that answers with changed weights."""
        before = [variable.numpy() for variable in self._function.variables]
        try:
            for variable, array in zip(self._function.variables, before, strict=True):
                variable.assign(change(array))
            yield lambda run: self._function(
                **{name: tf.constant(array) for name, array in run.items()}
            )
        finally:
            for variable, array in zip(self._function.variables, before, strict=True):
                variable.assign(array)

    def release(self):
        """Keep everything: the converter reads the SavedModel's files."""

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        archive = f"{artifacts.stem(self.path)}.keras"
        give = f"give the archive: {script.command(3, archive)}"
        if "TensorList" in reason:
            return (
                f"{artifacts.stem(self.path)} is recurrent and its batch size varies, which LiteRT"
                f" cannot run: save the model with model.save('{archive}') and {give}"
            )
        if "Random" in reason:
            return (
                f"{self.path} cannot be converted: {reason}. Its random layers (augmentation) are"
                f" switched on, as model.export leaves them: {give}"
            )
        if self._half:
            return (
                f"{self.path} cannot be converted: {reason}, in float16, which it computes in"
                f" (mixed_float16): {give}"
            )
        return super().dead_end(reason)

    def _open(self, directory, signature):
        """Load a SavedModel and choose its signature."""
        try:
            self._loaded = tf.saved_model.load(directory)
        except AttributeError:  # '_UserObject' object has no attribute 'add_slot'
            print(f"{directory} was saved by Keras 2: converting a frozen copy")
            directory = self._freeze(directory)
            self._loaded = tf.saved_model.load(directory)
        except Exception as error:  # a damaged file can make TensorFlow raise almost anything
            message = f"{self.path} cannot be loaded: {script.brief(error)}"
            if re.search(r"[][*?]", directory):
                message = f"{self.path} cannot be loaded: rename it without [ ] * ?"
            raise script.Failure(message) from error
        signatures = self._loaded.signatures
        key = signature or (next(iter(signatures)) if len(signatures) == 1 else self.signature)
        if key not in signatures:
            message = f"{self.path} has no signature {key!r} but {list(signatures) or 'none'}"
            if signatures:
                example = script.command(3, self.path, "--signature", next(iter(signatures)))
                message += f"\nchoose one: {example}"
            raise script.Failure(message)
        self.directory, self.signature, self._function = directory, key, signatures[key]

    def _freeze(self, directory):
        """Copy a SavedModel with its variables as constants, and return the copy's directory.

        The slots of Keras 2's older optimizers can only be read by TensorFlow's v1 loader.
        """
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            served = v1.saved_model.load(session, ["serve"], directory)
            ends = served.signature_def["serving_default"]
            inputs, outputs = (
                {name: tensor.name for name, tensor in side.items()}
                for side in (ends.inputs, ends.outputs)
            )
            nodes = [name.split(":")[0] for name in outputs.values()]
            constant = v1.graph_util.convert_variables_to_constants(
                session, session.graph_def, nodes
            )
        specs = [
            tf.TensorSpec(tf.TensorShape(tensor.tensor_shape), tf.as_dtype(tensor.dtype), name)
            for name, tensor in ends.inputs.items()
        ]
        self._save(_imported(constant, list(inputs.values()), outputs, specs), None)
        return self.directory
