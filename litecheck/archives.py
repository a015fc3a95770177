"""What is in a Keras archive? Loads the model in float32, and calls it in inference mode."""

import contextlib
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from litecheck import artifacts, keras2, script

NARROW = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")  # dtype policies


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn any error of the block, which loads an archive, into a message that names a way out.

    Raises:
        Failure: the block raised an exception. The message names the file.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns of a call that it makes itself.
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
            yield
    except script.Failure:
        raise
    except Exception as error:  # a damaged file can make Keras raise almost anything
        message, way = _explanation(path, str(error))
        raise script.Failure(f"{path} {message}\n{way}" if way else f"{path} {message}") from error


def _explanation(path: str, story: str) -> tuple[str, str]:
    """Return why an archive cannot be loaded, and a way out or "".

    Args:
        path: the archive.
        story: the message of the exception that Keras raised.
    """
    name = artifacts.stem(path)
    convert = script.command("convert", name)
    call = f'call model.export("{name}"), and then: {convert}'
    way = f"In the program that has this code, {call}"
    package = re.search(r"parent module ([^. ]+)\S* cannot be imported", story)
    own = re.search(r"(?:locate (?:class|function)|Unknown [\w ]+:) '([^']+)'", story)
    kind = own[1].split(">")[-1] if own else ""
    if "TFSMLayer" in story:
        return (
            "cannot be loaded: it holds a TFSMLayer, which only points to a SavedModel",
            f"Convert that SavedModel: {script.command('convert', 'DIRECTORY')}",
        )
    if "arbitrary code execution" in story or "arguments passed to Lambda" in story:
        why = "it holds a Lambda layer: loading it would risk arbitrary code execution"
        return f"cannot be loaded: {why}.", way
    old = _old_configuration(path)
    if kind:
        if re.search("(?i)sampl|reparam", kind):  # as in a variational autoencoder
            mean = f'keras.Model(model.input, MEAN).save("{name}.mean.keras")'
            way = f"If it is random, end the model before it: {mean}. If not, {call}"
        return f"cannot be loaded: it holds {kind}, which is code of your own.", way
    if package and package[1] not in ("keras", "tf_keras"):
        return f"needs the package {package[1]}: pip install {package[1]}", ""
    reason = script.brief(story)[:200]
    if old is not None:
        return f"cannot be loaded by Keras 3: {reason}", _by_keras_2(path, old)
    return f"cannot be loaded: {reason}", ""


def _old_configuration(path: str) -> dict[str, Any] | None:
    """Return the configuration of an archive of Keras 2. None if it is not one, or is damaged."""
    with contextlib.suppress(Exception):  # a damaged file can raise almost anything
        if keras2.is_old(keras2.version(path)):
            return keras2.configuration(path)
    return None


def _by_keras_2(path: str, config: dict[str, Any]) -> str:
    """Return a shell command that saves an archive as a SavedModel with Keras 2, and converts it.

    The batch size is fixed to 1 if a layer is recurrent, since LiteRT needs a fixed one there.
    """
    batch, name = (1 if keras2.is_recurrent(config) else None), artifacts.stem(path)
    code = (
        "import tensorflow as tf, tf_keras;"
        f" m = tf_keras.models.load_model({path!r}, compile=False);"
        " f = tf.function(lambda *x: m(x if len(x) > 1 else x[0], training=False));"
        f" s = [tf.TensorSpec(({batch}, *t.shape[1:]), t.dtype, t.name) for t in m.inputs];"
        f" tf.saved_model.save(m, {name!r}, signatures=f.get_concrete_function(*s))"
    )
    python = script.joined(["python", "-c", code])
    return f"Keras 2 can: pip install tf_keras && {python} && {script.command('convert', name)}"


@contextlib.contextmanager
def _readable(path: str) -> Iterator[str]:
    """Yield the path of an archive that Keras 3 can read: the given one, or a copy.

    The content of the file decides what it is. Keras looks at the suffix instead, so the copy gets
    the right one.

    Raises:
        Failure: the file is not an archive or has weights only, or Keras 3 would compute different
            outputs.
    """
    if zipfile.is_zipfile(path):
        suffix = ".keras"
    elif h5py.is_hdf5(path):
        suffix = ".h5"
    else:
        raise script.Failure(f"{path} is damaged, or no Keras archive: save it again")
    if not keras2.has_model(path):
        name, rename = path, ""
        if not path.endswith(".h5"):  # Keras only reads weights from a file with this suffix
            name = f"{artifacts.stem(path)}.weights.h5"
            rename = f"rename it to {name}, "
        raise script.Failure(
            f"{path} holds weights without a model: {rename}build the model in your own code, call"
            f' model.load_weights("{name}"), then model.save("MODEL.keras"), and convert that'
        )
    made_by = keras2.version(path)
    is_old = keras2.is_old(made_by)
    if path.endswith(suffix) and not is_old:
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, f"model{suffix}")
        if is_old:
            _translate(path, copy)
            print(f"saved by Keras {made_by or '1 or 2'}: computed as Keras 2 does")
        else:
            shutil.copy(path, copy)
        yield copy


def _translate(path: str, copy: str) -> None:
    """Write a copy of an archive of Keras 2 for Keras 3.

    Raises:
        Failure: Keras 3 would compute different outputs.
    """
    try:
        keras2.translate(path, copy)
    except script.Failure as error:
        way = _by_keras_2(path, keras2.configuration(path))
        raise script.Failure(f"{path} cannot be loaded: {error}\n{way}") from error


def load(path: str) -> keras.Model:
    """Return the Keras model of an archive. It computes in float32, whatever it was trained in.

    Raises:
        Failure: the archive cannot be loaded, or holds a subclassed model.
    """
    with explained(path), _readable(path) as file:
        model = in_float32(keras.models.load_model(file, compile=False))
    if not getattr(model, "inputs", None):
        name = artifacts.stem(path)
        convert = script.command("convert", name)
        raise script.Failure(
            f'{path} holds a subclassed model: call model.export("{name}") in your own code, and'
            f" then: {convert}"
        )
    return model


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32: the model, or a copy of one with a narrower dtype.

    Narrower are float16, bfloat16 and mixed precision. A model without symbolic inputs is returned
    as it is.

    Raises:
        Failure: Keras cannot copy the model, because it has custom code.
    """
    if not getattr(model, "inputs", None):
        return model
    undescribed = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Python lambdas: nothing is saved here
            config = keras.saving.serialize_keras_object(model)
    except Exception as error:  # a custom layer without `get_config`
        config, undescribed = _policies(model), error
    narrow = next((policy for policy in NARROW if repr(policy) in repr(config)), None)
    if not narrow:
        return model
    try:
        if undescribed:
            raise undescribed
        wide = keras.saving.deserialize_keras_object(_widened(config))
    except Exception as error:  # Keras raises many kinds
        raise script.Failure(
            f"the model {model.name} was trained with {narrow}, and holds code of your own, which"
            " Keras cannot copy in float32.\nBuild it after"
            ' keras.config.set_dtype_policy("float32"), give it the weights with'
            " new.set_weights(model.get_weights()), and convert that"
        ) from error
    print(f"trained with {narrow}: computed in float32")
    wide.set_weights(model.get_weights())
    return wide


def _policies(model: keras.Model) -> list[str]:
    """Return the names of the dtype policies of a model's layers, with those of nested models."""
    names = []
    for layer in model.layers:
        nested = _policies(layer) if isinstance(layer, keras.Model) else []
        names += [layer.dtype_policy.name, *nested]
    return names


def _widened(part: Any) -> Any:
    """Return a part of a model's configuration with float32 in place of the dtypes in `NARROW`."""
    if isinstance(part, dict):
        return {key: _widened(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_widened(value) for value in part)
    return "float32" if part in NARROW else part


def inputs(model: keras.Model) -> Any:
    """Return a model's symbolic inputs as it takes them: a tensor, or a list or dict of them."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def tensors(model: keras.Model) -> list[list[tf.Tensor]]:
    """Return two lists of tensors: the trainable variables of a model, and its other variables."""
    sides = model.trainable_variables, model.non_trainable_variables
    return [[tf.convert_to_tensor(variable.value) for variable in side] for side in sides]


def weights(model: keras.Model) -> list[list[np.ndarray]]:
    """Return two lists of arrays: the trainable variables of a model, and its other variables."""
    return [[tensor.numpy() for tensor in side] for side in tensors(model)]


def layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model, and those inside nested models and wrappers."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers(layer)
        for name in ("layer", "forward_layer", "backward_layer"):
            if isinstance(getattr(layer, name, None), keras.layers.Layer):
                yield getattr(layer, name)


def states(model: keras.Model) -> list[tf.Variable]:
    """Return the variables in which recurrent layers with `stateful=True` keep their state."""
    found = [layer for layer in layers(model) if getattr(layer, "stateful", False) is True]
    return [
        variable.value
        for layer in found
        for variable in keras.tree.flatten(getattr(layer, "states", None))
        if isinstance(variable, keras.Variable)
    ]


def call(
    model: keras.Model, values: Sequence[Any], variables: Sequence[Sequence[Any]] | None
) -> dict[str, tf.Tensor]:
    """Call a model in inference mode.

    Args:
        model: a Keras model.
        values: a list of tensors or arrays, in the order of the flattened inputs.
        variables: two lists of tensors or arrays, which take the place of the trainable and of the
            other variables, in their order. With None the model uses its own variables, and keeps
            its state.

    Returns:
        A dict from names to tensors. If the model returns a dict, its keys are the names. Other
        outputs are called `output_0`, `output_1` and so on, and nested ones `outer_inner`.
    """
    packed = keras.tree.pack_sequence_as(inputs(model), values)
    scope = re.sub(r"\W", "_", model.name, flags=re.ASCII)  # TensorFlow allows no other characters
    with keras.name_scope(re.sub("^_", "model_", scope)):
        if variables is None:
            outputs = model(packed, training=False)
        else:
            outputs, _ = model.stateless_call(*variables, packed, training=False)
    named = {}
    for path, tensor in keras.tree.flatten_with_path(outputs):
        name = "_".join(map(str, path or (0,)))
        named[name if isinstance((path or (0,))[0], str) else f"output_{name}"] = tensor
    return named
