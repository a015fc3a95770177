"""What is this model? Any archive or SavedModel as one thing to convert and to compare with."""

import os
import re
import shutil
import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf

from backstage import archives, artifacts, samples, script

LARGE = 50_000_000  # bytes of weights: more of them would need much memory as constants


def open(path, signature=None, batch=None, output=None):
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
    output = output and output.rstrip("/").removesuffix(".tflite")
    if artifacts.is_archive(path):
        if signature:
            raise script.Failure(f"{path} is an archive, which has no signatures: omit --signature")
        return Archive(path, batch, output)
    model, archive = SavedModel(path, signature, batch, output), f"{artifacts.stem(path)}.keras"
    if model.recurrent and os.path.isfile(archive):
        print(f"recurrent, and its batch size varies: converting {archive} in its place")
        return Archive(archive, batch, output)
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
        recurrent: whether it has recurrent layers, and its batch size varies.
        right: whose answers count as right, in words.
    """

    signature = "serving_default"

    def __init__(self, path, output):
        """Take the path of the model, and where to write if not beside it."""
        self.path, self.name = path, output or artifacts.stem(path)
        self.identity = artifacts.identity(path)

    def representative_dataset(self, runs, file):
        """Return runs as the converter wants them to calibrate: a function that iterates over them.

        Args:
            runs: a list with a dict for each run from names to arrays.
            file: where they come from; None if they are random.

        Raises:
            Failure: random inputs would calibrate nonsense; loops crash the converter.
        """
        if not file:
            beside = f"{artifacts.stem(self.path)}.samples.npy"
            raise script.Failure(f"needs typical inputs: give --samples FILE or {beside}")
        if self._ops & {"While", "StatelessWhile"}:
            message = "the converter crashes on loops (TensorFlow issue 75140): unroll them"
            raise script.Failure(message)
        return lambda: iter(runs)

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        return (
            f"{self.path} cannot be converted: {reason}. Move what LiteRT cannot do, such as the"
            " preprocessing of text, out of the model and convert the rest"
        )

    def _finite(self, outputs):
        """Return the outputs of a run as arrays by name; raise `Failure` if one is not finite."""
        arrays = {name: np.asarray(values) for name, values in outputs.items()}
        for name, values in arrays.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                message = f"output {name} of {self.path} is NaN or infinite: train it again"
                raise script.Failure(message)
        return arrays

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
        self.inputs = {
            spec.name: samples.Input(tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype))
            for spec in specs
        }
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
        self._ops = {node.op for node in nodes}
        # Keras collects a recurrent layer's steps in a list of tensors. LiteRT must know their
        # shape, and does with a batch of one.
        varying = any(spec.shape[:1] == [None] for spec in specs)
        self.recurrent = "TensorListReserve" in self._ops and varying
        half = tf.float16.as_datatype_enum
        self._half = any(node.attr["T"].type == half for node in nodes if "T" in node.attr)


class Archive(Model):
    """A Keras archive. The Keras model in inference mode is right.

    `model.export` would leave layers of random augmentation switched on (Keras issues 19100 and
    19108), so the model is traced here.
    """

    right = "the Keras model in inference mode"

    def __init__(self, path, batch=None, output=None):
        """Open the archive; say so where something other than itself has to be converted."""
        super().__init__(path, output)
        with script.doing(f"loading {path}"):
            self._keras = archives.load(path)
        # Variables would be read and made constants in each conversion again, which takes most of
        # the time where they are many.
        constants = archives.weights(self._keras)
        if sum(array.nbytes for side in constants for array in side) > LARGE:
            constants = None
        with script.doing("tracing it in inference mode"):
            function = self._trace(batch, constants)
        if self.recurrent:
            print("recurrent: the batch is fixed to 1; other sizes vary as before")
            function = self._trace(1, constants)
        with script.doing("saving it for the converter"):
            self._save(function, self._keras)

    def _trace(self, batch, constants):
        """Return the model as a `tf.function`, with a batch and with constant weights if given."""
        specs, tensors = [], keras.tree.flatten(archives.inputs(self._keras))
        for tensor in tensors:
            shape = (batch or tensor.shape[0], *tensor.shape[1:]) if tensor.shape else ()
            name = re.sub(r"\W", "_", tensor.name)
            specs.append(tf.TensorSpec(shape, tensor.dtype, name=name))
        function = tf.function(
            lambda *values: archives.call(self._keras, list(values), constants),
            input_signature=specs,
            autograph=False,
        )
        try:
            self._describe(function.get_concrete_function(), specs)
        except ValueError as error:
            message = f"{self.path} does not take {batch} samples a run: {script.brief(error)}"
            raise script.Failure(message) from error
        return function

    def answers(self, runs):
        """Return what the Keras model answers: its outputs of each run by name, as arrays.

        It lets go of the Keras model, as converting needs the memory. Another call loads it again.

        Args:
            runs: a list with a dict for each run from names to arrays.

        Raises:
            Failure: an output is NaN or infinite.
        """
        model, self._keras = self._keras or archives.load(self.path), None
        ends = [*keras.tree.flatten(archives.inputs(model)), *model.outputs]
        if not all(end.shape[:1] == (None,) for end in ends):
            return [self._answer(model, run) for run in runs]
        results = []
        for start in range(0, len(runs), 32):  # many at once: this takes a while for each call
            portion = runs[start : start + 32]
            together = {
                name: np.concatenate([run[name] for run in portion]) for name in self.inputs
            }
            parts = {
                name: np.split(values, len(portion))
                for name, values in self._answer(model, together).items()
            }
            results += [{name: parts[name][i] for name in parts} for i in range(len(portion))]
        return results

    def _answer(self, model, run):
        """Return a Keras model's outputs of a run by name; raise `Failure` if not finite."""
        return self._finite(archives.call(model, [run[name] for name in self.inputs]))

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        if "Random" in reason:
            way = "It is random in inference too (training=True): build it without that"
            return f"{self.path} cannot be converted: {reason}. {way}"
        return super().dead_end(reason)


class SavedModel(Model):
    """A SavedModel. What its signature answers is right."""

    def __init__(self, path, signature=None, batch=None, output=None):
        """Open the SavedModel; say so where something other than itself has to be converted."""
        super().__init__(path, output)
        self._open(artifacts.stem(path), signature)
        self.right = f"the SavedModel's signature {self.signature}"
        taken = self._function.structured_input_signature[1]
        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in taken.items()]
        if batch:
            for spec in specs:
                if spec.shape.rank and spec.shape[0] not in (None, batch):
                    message = f"{path} takes {spec.shape[0]} samples a run, not {batch}"
                    raise script.Failure(f"{message}: omit --batch")
            specs = [
                tf.TensorSpec(
                    [batch, *spec.shape[1:]] if spec.shape.rank else [], spec.dtype, spec.name
                )
                for spec in specs
            ]
            names = [spec.name for spec in specs]
            function = tf.function(
                lambda *tensors: self._function(**dict(zip(names, tensors, strict=True))),
                input_signature=specs,
                autograph=False,
            )
            self._save(function, self._loaded)
        self._describe(self._function, specs)

    def answers(self, runs):
        """Return what the signature answers: its outputs of each run by name, as arrays.

        Args:
            runs: a list with a dict for each run from names to arrays.

        Raises:
            Failure: an output is NaN or infinite.
        """
        return [
            self._finite(self._function(**{name: tf.constant(run[name]) for name in run}))
            for run in runs
        ]

    def dead_end(self, reason):
        """Return the message for a conversion that was refused, with a way out."""
        archive = f"{artifacts.stem(self.path)}.keras"
        give = f"give the archive: python 03_convert_model.py {archive}"
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
            raise script.Failure(message) from error
        signatures = self._loaded.signatures
        key = signature or (next(iter(signatures)) if len(signatures) == 1 else self.signature)
        if key not in signatures:
            message = f"{self.path} has no signature {key!r} but {list(signatures) or 'none'}"
            choose = f"choose one: python 03_convert_model.py {self.path} --signature"
            if signatures:
                message += f"\n{choose} {next(iter(signatures))}"
            raise script.Failure(message)
        self.directory, self.signature, self._function = directory, key, signatures[key]

    def _freeze(self, directory):
        """Copy a SavedModel with its variables as constants.

        The slots of Keras 2's older optimizers can only be read by TensorFlow's v1 loader.
        """
        v1, copy = tf.compat.v1, f"{self._aside()}/frozen"
        with tf.Graph().as_default(), v1.Session() as session:
            served = v1.saved_model.load(session, ["serve"], directory)
            ends = served.signature_def["serving_default"]
            nodes = [tensor.name.split(":")[0] for tensor in ends.outputs.values()]
            constant = v1.graph_util.convert_variables_to_constants(
                session, session.graph_def, nodes
            )
        with tf.Graph().as_default() as graph, v1.Session() as session:
            tf.import_graph_def(constant, name="")
            inputs, outputs = (
                {name: graph.get_tensor_by_name(tensor.name) for name, tensor in side.items()}
                for side in (ends.inputs, ends.outputs)
            )
            v1.saved_model.simple_save(session, copy, inputs, outputs)
        return copy
