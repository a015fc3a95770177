"""What did Keras 2 compute? Translates its archives, so that Keras 3 computes the same outputs.

Keras 3 reads archives of Keras 2, but it interprets some keywords differently and does not know
others. This module writes a copy of the archive in the format of Keras 3. Where a layer of Keras 3
computes a different output, a class below takes its place, or the archive is refused. The
differences were found in the sources of Keras 3.15 and tf_keras 2.21, by running every layer and
activation in both.
"""

import inspect
import json
import shutil
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import keras

from litecheck import script

Config = dict[str, Any]
PACKAGE = "litecheck"  # the name under which Keras registers the classes below
MODELS = ("Functional", "Model", "Sequential")
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
# Keywords that Keras 3 does not know, each with the values that change no output. None stands for
# any value.
UNKNOWN: dict[str, list[Any] | None] = {
    "adjustment": [None],
    "batch_input_shape": None,
    "build_input_shape": None,
    "causal": [False],
    "fused": None,
    "groups": [1],
    "implementation": None,
    "input_dim": None,
    "input_length": None,
    "kernel_constraint": None,  # this and the next two: separable convolutions
    "kernel_initializer": None,
    "kernel_regularizer": None,
    "key_shape": None,
    "noise_shape": [None],
    "query_shape": None,
    "renorm": None,  # it matters in training only
    "renorm_clipping": None,
    "renorm_momentum": None,
    "rng_type": None,
    "robust_masking": [False],
    "softmax_robust_masking": [False],
    "time_major": [False],
    "trainable": None,
    "value_shape": None,
    "virtual_batch_size": [None],
}
RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Model": "Functional",
    "SyncBatchNormalization": "BatchNormalization",
}
GONE = {"ClassMethod", "CuDNNGRU", "CuDNNLSTM", "InstanceMethod", "InstanceProperty"}
GONE |= {"LocallyConnected1D", "LocallyConnected2D", "RandomHeight", "RandomWidth"}
GONE |= {"SlicingOpLambda", "TFOpLambda", "ThresholdedReLU"}
MERGING = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
MASKING = ("Embedding", "Masking")


@keras.saving.register_keras_serializable(PACKAGE)
def hard_sigmoid(x: Any) -> Any:
    """Return 0.2 x + 0.5, clipped to the range 0 to 1. Keras 3 computes x / 6 + 0.5."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _merged(kind: Any) -> Any:
    """Register and return a subclass of a merging layer, with the mask of Keras 2.

    The mask of its output is true where all input masks are. In Keras 3 one of them is enough.
    """

    class Merged(kind):
        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            masks = [each for each in mask or [] if each is not None]
            return keras.ops.all(keras.ops.stack(masks), axis=0) if masks else None

    return keras.saving.register_keras_serializable(PACKAGE, kind.__name__)(Merged)


def _unmasked(kind: Any) -> Any:
    """Register and return a subclass of a layer that passes no mask on, as in Keras 2."""

    class Unmasked(kind):
        def compute_mask(self, inputs: Any, mask: Any = None) -> None:
            return None

    return keras.saving.register_keras_serializable(PACKAGE, kind.__name__)(Unmasked)


@keras.saving.register_keras_serializable(PACKAGE)
class Concatenate(keras.layers.Concatenate):
    """`Concatenate` with the mask of Keras 2: true where all input masks are.

    In Keras 3 one of them is enough.
    """

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output, bool, or None if no input has a mask."""
        if mask is None or all(each is None for each in mask):
            return None
        ops, masks = keras.ops, []
        for given, one in zip(inputs, mask, strict=True):
            whole = ops.ones_like(given, dtype="bool")
            if one is not None:
                wide = ops.expand_dims(one, -1) if len(one.shape) < len(given.shape) else one
                whole = ops.logical_and(wide, whole)
            masks.append(ops.all(whole, axis=-1))
        if self.axis in (-1, len(inputs[0].shape) - 1):
            return ops.all(ops.stack(masks), axis=0)
        return ops.concatenate(masks, axis=self.axis)


@keras.saving.register_keras_serializable(PACKAGE)
class Resizing(keras.layers.Resizing):
    """`Resizing` that returns float32 for integer images, as in Keras 2.

    Keras 3 rounds the result to the dtype of the input.
    """

    def call(self, data: Any) -> Any:
        """Return the resized images, float32."""
        return super().call(keras.ops.cast(data, "float32"))

    def compute_output_spec(self, data: Any) -> Any:
        """Return the shape and the dtype of the output."""
        return keras.KerasTensor(self.compute_output_shape(data.shape), dtype="float32")


for _name in MERGING:
    _merged(getattr(keras.layers, _name))


@keras.saving.register_keras_serializable(PACKAGE)
class Identity(keras.layers.Identity):
    """`Identity` whose output has no mask, as in Keras 2.

    Keras 3 returns the input tensor itself, which keeps its mask.
    """

    def call(self, inputs: Any) -> Any:
        """Return a copy of the input."""
        return keras.ops.copy(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return no mask."""


for _name in ("Normalization", "Rescaling"):
    _unmasked(getattr(keras.layers, _name))
OURS = {*MERGING, "Concatenate", "Identity", "Normalization", "Rescaling", "Resizing"}


def version(path: str) -> str:
    """Return the version of Keras that saved an archive, or "" if the archive names none.

    Args:
        path: an archive: an HDF5 file or a zip file.
    """
    if zipfile.is_zipfile(path):
        return str(json.loads(_member(path, "metadata.json")).get("keras_version", ""))
    return _attribute(path, "keras_version")


def configuration(path: str) -> Config:
    """Return the configuration of the model in an archive."""
    if zipfile.is_zipfile(path):
        return dict(json.loads(_member(path, "config.json")))
    return dict(json.loads(_attribute(path, "model_config")))


def has_model(path: str) -> bool:
    """Return whether an archive holds a model, and not only weights."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            return "config.json" in file.namelist()
    return bool(_attribute(path, "model_config"))


def _member(path: str, name: str) -> bytes:
    """Return the content of a file in a zip file."""
    with zipfile.ZipFile(path) as file:
        return file.read(name)


def _attribute(path: str, name: str) -> str:
    """Return an attribute of an HDF5 file, or "" if it is missing."""
    with h5py.File(path) as file:
        value = file.attrs.get(name, "")
        return value.decode() if isinstance(value, bytes) else str(value)


def is_old(version: str) -> bool:
    """Return whether a version is older than Keras 3. Files without a version are older still."""
    return not version or int(version.split(".")[0]) < 3


def translate(path: str, copy: str) -> None:
    """Write a copy of an archive of Keras 2, in the format of Keras 3.

    Raises:
        Failure: Keras 3 would compute different outputs.
    """
    config = json.dumps(translated(configuration(path)))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
            for member in old.namelist():
                new.writestr(member, config if member == "config.json" else old.read(member))
        return
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config


def is_recurrent(config: Config) -> bool:
    """Return whether a model has recurrent layers, by its configuration."""
    return any(part["class_name"] in RECURRENT for part in _parts(config))


def translated(config: Config) -> Config:
    """Return the configuration of a model of Keras 2, in the format of Keras 3.

    Raises:
        Failure: Keras 3 would compute different outputs.
    """
    has_masks = any(
        part["class_name"] == "Masking" or part["config"].get("mask_zero")
        for part in _parts(config)
        if part["class_name"] in MASKING
    )
    for part in _parts(config):
        reason = _reason(part, has_masks)
        if reason:
            raise script.Failure(reason)
    return _model(config)


def _reason(part: Config, has_masks: bool) -> str:
    """Return why Keras 3 would compute different outputs in a part of a model, or "".

    Args:
        part: the configuration of a layer, a cell or a model.
        has_masks: whether any layer of the whole model creates a mask.
    """
    kind, config = part["class_name"], part["config"]
    if isinstance(config, list):
        return ""
    name, method = part.get("name") or config.get("name"), config.get("interpolation")
    others = {
        f"Keras 3 has no layer {kind}": kind in GONE,
        f"Keras 3 has no interpolation {method}": method in ("gaussian", "mitchellcubic"),
        f"Keras 3 would not call its layer {name} with training=True": '"training": true'
        in json.dumps(part.get("inbound_nodes")),
        "Keras 3 crops in training only (RandomCrop)": kind == "RandomCrop",
        f"Keras 3 computes other outputs where a mask of its layer {name} is empty": _masked(part)
        or (has_masks and kind == "MultiHeadAttention"),
    }
    return next((reason for reason, applies in others.items() if applies), "")


def _masked(part: Config) -> bool:
    """Return whether a layer is called with a mask that may exclude every element."""
    words = {"MultiHeadAttention": "attention_mask", "Softmax": "mask"}
    word = words.get(part["class_name"])
    return bool(word) and f'"{word}": [' in json.dumps(part.get("inbound_nodes"))


def _is_tensor(value: Any) -> bool:
    """Return whether a value refers to a tensor: a layer's name, a node index, a tensor index."""
    return (
        isinstance(value, list)
        and len(value) >= 3
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


def _is_reference(value: Any) -> bool:
    """Return whether a value refers to a tensor, or is a list that holds such a reference."""
    return _is_tensor(value) or (isinstance(value, list) and any(map(_is_reference, value)))


def _parts(config: Any) -> Iterator[Config]:
    """Yield every object in a configuration that has a class name, at any depth."""
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("config"), dict | list):
            yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _parts(value)


def _model(part: Config) -> Config:
    """Return the configuration of a model, or of a nested model, in the format of Keras 3."""
    kind: str = RENAMED.get(part["class_name"]) or part["class_name"]
    config = part["config"]
    if isinstance(config, list):  # before Keras 2.2
        config = {"name": "sequential", "layers": config}
    layers = config["layers"]
    if kind == "Sequential":
        first = layers[0]["config"]
        shape = first.get("batch_input_shape")
        if shape and layers[0]["class_name"] != "InputLayer":
            layers = [_input(first["name"], layers[0]["class_name"], shape, first), *layers]
    models: dict[str, str] = {
        each.get("name") or each["config"]["name"]: each["class_name"]
        for each in layers
        if each["class_name"] in MODELS and isinstance(each["config"], dict)
    }
    for each in layers:
        nodes = _nodes(each.get("inbound_nodes", []), {*models})
        each["inbound_nodes"] = [_call(each["class_name"], node) for node in nodes]
    if "output_layers" in config:
        alone = {name for name, kind in models.items() if kind == "Sequential"}
        config["output_layers"] = _nodes(config["output_layers"], alone)
    config = {key: value for key, value in config.items() if key != "build_input_shape"}
    place = {"module": "keras" if kind == "Sequential" else "keras.src.models.functional"}
    return {
        **part,
        **place,
        "class_name": kind,
        "registered_name": None if kind == "Sequential" else "Functional",
        "config": config | {"layers": [_layer(each) for each in layers]},
    }


def _input(name: str, kind: str, shape: list[Any], config: Config) -> Config:
    """Return the configuration of the `InputLayer` that Keras 2 left to the first layer.

    Args:
        name: the name of the first layer.
        kind: its class.
        shape: its `batch_input_shape`.
        config: its configuration.
    """
    dtype = config.get("dtype") if isinstance(config.get("dtype"), str) else "float32"
    described = {
        "batch_shape": shape,
        "dtype": "int32" if kind == "Embedding" else dtype,
        "name": f"{name}_input",
    }
    return {"class_name": "InputLayer", "config": described}


def _nodes(nodes: Any, models: set[str]) -> Any:
    """Return references to tensors with the node indices of Keras 3.

    In Keras 2 a nested model has one node of its own before the calls, so its indices shift by one.

    Args:
        nodes: references, in lists and dicts at any depth.
        models: the names of the nested models.
    """
    if isinstance(nodes, dict):
        return {key: _nodes(value, models) for key, value in nodes.items()}
    if not isinstance(nodes, list):
        return nodes
    if _is_tensor(nodes):
        shift = 1 if nodes[0] in models and nodes[1] > 0 else 0
        return [nodes[0], nodes[1] - shift, *(_nodes(each, models) for each in nodes[2:])]
    return [_nodes(each, models) for each in nodes]


def _call(kind: str, node: Any) -> Any:
    """Return a call of a layer, in the format of Keras 3 if that is necessary.

    It is necessary if a tensor is given by keyword, or if a recurrent layer gets a state. Any other
    call stays as it is.

    Args:
        kind: the class of the layer.
        node: a list of references, each a layer's name, two indices and keywords.
    """
    calls = [node] if _is_tensor(node) else node
    if not (isinstance(calls, list) and all(map(_is_tensor, calls))):
        return node
    given = {key: value for call in calls for key, value in dict(*call[3:4]).items()}
    has_state = kind in RECURRENT and len(calls) > 1
    if not has_state and not any(map(_is_reference, given.values())):
        return node
    args = [_tensor(call) for call in calls]
    if has_state:
        args, given = args[:1], given | {"initial_state": args[1:]}
    given = {key: _tensors(value) for key, value in given.items()}
    return {"args": args if len(args) == 1 else [args], "kwargs": given}


def _tensor(reference: list[Any]) -> Config:
    """Return a reference to a tensor in the format of Keras 3."""
    described = {"shape": [None], "dtype": "float32", "keras_history": reference[:3]}
    return {"class_name": "__keras_tensor__", "config": described}


def _tensors(value: Any) -> Any:
    """Return the value of a keyword with its references in the format of Keras 3."""
    if _is_tensor(value):
        return _tensor(value)
    return [_tensors(each) for each in value] if isinstance(value, list) else value


def _layer(part: Config) -> Config:
    """Return the configuration of a layer or a cell in the format of Keras 3."""
    if part["class_name"] in MODELS:
        return _model(part)
    kind: str = RENAMED.get(part["class_name"]) or part["class_name"]
    known = getattr(keras.layers, kind, None)
    if known is None:
        return part
    config = dict(part["config"])
    taken = inspect.signature(known.__init__).parameters
    base = {"activity_regularizer", "dtype", "name"} | ({"trainable"} - _strict(kind))
    for key, harmless in UNKNOWN.items():
        if key in config and key not in {*taken, *base}:
            if kind == "InputLayer" or (harmless is not None and config[key] not in harmless):
                continue
            del config[key]
    defaults: Config = {"reset_after": False} if kind in ("GRU", "GRUCell") else {}
    if kind in ("LSTM", "LSTMCell", "GRU", "GRUCell") or kind.startswith("ConvLSTM"):
        defaults["recurrent_activation"] = "hard_sigmoid"
    config = defaults | config
    if config.get("implementation") == 0:
        config["implementation"] = 1
    axis = config.get("axis")
    if kind in ("BatchNormalization", "Softmax") and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    config = {key: _value(key, value) for key, value in config.items()}
    ours = kind in OURS
    dropped = "build_config" if kind in ("MultiHeadAttention", *RECURRENT) else ""
    return {key: value for key, value in part.items() if key != dropped} | {
        "class_name": kind,
        "config": config,
        "module": f"{PACKAGE}.keras2" if ours else "keras.layers",
        "registered_name": f"{PACKAGE}>{kind}" if ours else None,
    }


def _strict(kind: str) -> set[str]:
    """Return the keywords that most layers of Keras 3 take, but not this one."""
    return {"trainable"} if kind.startswith("SpatialDropout") or kind == "Discretization" else set()


def _value(key: str, value: Any) -> Any:
    """Return the value of a layer's keyword in the format of Keras 3."""
    if value == "hard_sigmoid":
        return {
            "module": f"{PACKAGE}.keras2",
            "class_name": "function",
            "config": f"{PACKAGE}>hard_sigmoid",
            "registered_name": f"{PACKAGE}>hard_sigmoid",
        }
    if isinstance(value, list):
        return [_value(key, each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "ndarray":
        return value["value"]
    config = value.get("config")
    if not isinstance(config, dict | list):
        return value
    if key == "dtype" and isinstance(config, dict):
        return config["name"]
    if "nitializer" in key and isinstance(config, dict):
        return value | {"config": {k: v for k, v in config.items() if k != "dtype"}}
    inner = value.get("class_name")
    return _layer(value) if inner in MODELS or hasattr(keras.layers, str(inner)) else value
