"""What is in a Keras archive? The model in float32, and what it computes in inference mode."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from litecheck import artifacts, script

NARROW = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")  # dtype policies


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Load an archive in this block, and say in one line why that failed and what leads out.

    Raises:
        Failure: what the block raised, as this file's fault.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")  # Keras, to itself
            yield
    except script.Failure:
        raise
    except Exception as error:  # a damaged file can make Keras raise almost anything
        message, story, name = script.brief(error), str(error), artifacts.stem(path)
        convert = script.command("convert", name)
        own = re.search(r"(?:locate (?:class|function)|Unknown [\w ]+:) '([^']+)'", story)
        package = re.search(r"parent module (\w+)\S* cannot be imported", story)
        if package:
            message = f"{path} needs the package {package[1]}: pip install {package[1]}"
            raise script.Failure(message) from error
        if "arbitrary code execution" in story:
            why = "holds a Lambda layer: loading it would risk arbitrary code execution"
        elif own:
            why = f"holds {own[1].split('>')[-1]}, which is code of your own"
        elif path.endswith((".h5", ".hdf5")):
            reason = message[:200]
            raise script.Failure(
                f"{path} cannot be loaded by Keras 3: {reason}\nIf Keras 2 can, run there"
                f' tf.saved_model.save(model, "{name}"), and here {convert}'
            ) from error
        else:
            raise script.Failure(f"{path} cannot be loaded: {message}") from error
        raise script.Failure(
            f'{path} cannot be loaded: it {why}.\nWhere that code is, call model.export("{name}"),'
            f" and then: {convert}"
        ) from error


def load(path: str) -> keras.Model:
    """Return the Keras model of an archive, in float32 whatever it was trained in.

    Raises:
        Failure: it cannot be loaded, or has no inputs of its own.
    """
    with explained(path):
        model = in_float32(keras.models.load_model(path, compile=False))
    if not getattr(model, "inputs", None):
        name = artifacts.stem(path)
        convert = script.command("convert", name)
        raise script.Failure(
            f'{path} holds a subclassed model: call model.export("{name}") in your own code, and'
            f" then: {convert}"
        )
    return model


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32: itself, or a copy of one with narrower dtypes.

    Raises:
        Failure: such a copy cannot be made, as of code of one's own.
    """
    if not getattr(model, "inputs", None):
        return model
    undescribed = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python lambdas, which nobody saves here
            config = keras.saving.serialize_keras_object(model)
    except Exception as error:  # code of one's own that does not describe itself
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
    """Return the names of the dtype policies of a model's layers."""
    names = []
    for layer in model.layers:
        nested = _policies(layer) if isinstance(layer, keras.Model) else []
        names += [layer.dtype_policy.name, *nested]
    return names


def _widened(part: Any) -> Any:
    """Return a part of a model's configuration with float32 in place of narrower dtypes."""
    if isinstance(part, dict):
        return {key: _widened(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_widened(value) for value in part)
    return "float32" if part in NARROW else part


def inputs(model: keras.Model) -> Any:
    """Return a model's symbolic inputs as it takes them: one tensor, or a list or dict of them."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def tensors(model: keras.Model) -> list[list[tf.Tensor]]:
    """Return the values of a model's trainable and of its other variables: two lists."""
    sides = model.trainable_variables, model.non_trainable_variables
    return [[tf.convert_to_tensor(variable.value) for variable in side] for side in sides]


def weights(model: keras.Model) -> list[list[np.ndarray]]:
    """Return the same as arrays."""
    return [[tensor.numpy() for tensor in side] for side in tensors(model)]


def call(
    model: keras.Model, values: Sequence[Any], variables: Sequence[Sequence[Any]]
) -> dict[str, tf.Tensor]:
    """Call a model in inference mode.

    Args:
        model: a Keras model.
        values: a list of tensors or arrays, in the order of its flattened inputs.
        variables: what stands for its trainable and for its other variables, in their order: two
            lists of tensors or arrays.

    Returns:
        A dict of tensors: a dict's by its keys, others as `output_0`, `output_1` and so on, nested
        ones as `outer_inner`.
    """
    packed = keras.tree.pack_sequence_as(inputs(model), values)
    scope = re.sub(r"\W", "_", model.name, flags=re.ASCII)  # TensorFlow takes no other letters
    with keras.name_scope(re.sub("^_", "model_", scope)):
        outputs, _ = model.stateless_call(*variables, packed, training=False)
    named = {}
    for path, tensor in keras.tree.flatten_with_path(outputs):
        name = "_".join(map(str, path or (0,)))
        named[name if isinstance((path or (0,))[0], str) else f"output_{name}"] = tensor
    return named
