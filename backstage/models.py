"""What is this model? Any archive or SavedModel as one thing to convert and to compare with."""

import contextlib
import os
import shutil
import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf

from backstage import artifacts, samples, script


@contextlib.contextmanager
def explained(path):
    """Load a model in this block, and say in one line why that failed.

    Raises:
        Failure: what the block raised, as this file's fault.
    """
    try:
        yield
    except Exception as error:  # a damaged file can make Keras and TensorFlow raise almost anything
        raise script.Failure(f"{path} cannot be loaded: {script.brief(error)}") from error


class Model:
    """A model to convert: a SavedModel, its signature, and the answers that count as right.

    Attributes:
        path: what was given: a SavedModel directory or a Keras archive.
        name: the path without suffix; what is made of the model is named after it.
        identity: the `artifacts.identity` it had when it was opened.
        directory: the SavedModel to convert: the given one, or a copy that goes with this object.
        signature: the key of the signature.
        inputs: a dict of `samples.Input` by name.
    """

    def __init__(self, path):
        """Open the model; say so where something other than itself has to be converted.

        Raises:
            Failure: it cannot be loaded, or has no signature to choose.
        """
        self.path, self.name = path, artifacts.stem(path)
        self.identity = artifacts.identity(path)
        archive = f"{self.name}.keras"
        with explained(path):
            self._open(self._export(archive) if path == archive else self.name)
            ops = self._ops()
            varying = any(input.shape[:1] == (None,) for input in self.inputs.values())
            # Keras 3 collects a recurrent layer's steps in a list of tensors. LiteRT must know
            # their shape, and does with a batch of one.
            if "TensorListReserve" in ops and varying and os.path.isfile(archive):
                print(f"recurrent: exported again from {archive} with the batch fixed to 1")
                self._open(self._export(archive, batch=1))
                ops = self._ops()
        self.loops = bool({"While", "StatelessWhile"} & ops)

    def answers(self, runs):
        """Return what the model answers: its outputs of each run by name, as arrays.

        Args:
            runs: a list with a dict for each run from names to arrays.

        Raises:
            Failure: an output is NaN or infinite.
        """
        results = []
        for run in runs:
            outputs = self._function(**{name: tf.constant(run[name]) for name in run})
            results.append({name: values.numpy() for name, values in outputs.items()})
            for name, values in results[-1].items():
                if values.dtype.kind == "f" and not np.isfinite(values).all():
                    message = f"output {name} of {self.path} is NaN or infinite: train it again"
                    raise script.Failure(message)
        return results

    def representative_dataset(self, runs, file):
        """Return runs as the converter wants them to calibrate: a function that iterates over them.

        Args:
            runs: a list with a dict for each run from names to arrays.
            file: where they come from; None if they are random.

        Raises:
            Failure: random inputs would calibrate nonsense; loops crash the converter.
        """
        if not file:
            message = f"needs typical inputs: give --samples FILE or {self.name}.samples.npy"
            raise script.Failure(message)
        if self.loops:
            message = "the converter crashes on loops (TensorFlow issue 75140): unroll them"
            raise script.Failure(message)
        return lambda: iter(runs)

    def _open(self, directory):
        """Load a SavedModel and choose its signature."""
        try:
            signatures = tf.saved_model.load(directory).signatures
        except AttributeError:  # '_UserObject' object has no attribute 'add_slot'
            print(f"{directory} was saved by Keras 2: converting a frozen copy")
            directory = self._freeze(directory)
            signatures = tf.saved_model.load(directory).signatures
        key = next(iter(signatures)) if len(signatures) == 1 else "serving_default"
        if key not in signatures:
            has = list(signatures) or "none"
            raise script.Failure(f"{directory} has no signature {key!r} but {has}")
        self.directory, self.signature, self._function = directory, key, signatures[key]
        self.inputs = {
            name: samples.Input(tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype))
            for name, spec in self._function.structured_input_signature[1].items()
        }

    def _ops(self):
        """Return the names of the graph's operations, those of its functions too."""
        graph = self._function.graph.as_graph_def()
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
        return {node.op for node in nodes}

    def _aside(self):
        """Make a directory beside the model that is removed with this object or at Ctrl-C."""
        directory = tempfile.mkdtemp(dir=os.path.dirname(self.name) or ".", prefix=".new-")
        script.at_interrupt(weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True))
        return directory

    def _export(self, archive, batch=None):
        """Export a Keras archive as a SavedModel, with the batch fixed if one is given."""
        model = keras.models.load_model(archive, compile=False)
        sequential = isinstance(model, keras.Sequential)
        inputs = model.inputs[0] if sequential else model.input
        outputs = keras.tree.flatten_with_path(model.outputs[0] if sequential else model.output)
        if any(len(path) > 1 for path, _ in outputs):  # a signature's outputs are not nested
            model = keras.Model(
                inputs, {"_".join(map(str, path)): value for path, value in outputs}
            )

        def fixed(tensor):
            return keras.InputSpec(
                shape=(batch, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name
            )

        directory = f"{self._aside()}/exported"
        shapes = [keras.tree.map_structure(fixed, inputs)] if batch else None
        model.export(directory, verbose=False, input_signature=shapes)
        return directory

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
