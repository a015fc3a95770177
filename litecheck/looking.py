"""What is in a model? The command `look`, for an archive, a SavedModel or a `.tflite` file."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from litecheck import artifacts, inside, litert, script

MANY = 500  # Graphviz's dot would take minutes for more operations


def look(path: str) -> None:
    """Print a model's inputs, outputs and weights, and save a picture of its graph beside it.

    Args:
        path: a Keras archive or a SavedModel directory that `artifacts.require_model` has found,
            or a `.tflite` file.

    Raises:
        Failure: the model is damaged, or the `.tflite` file is missing.
    """
    np.set_printoptions(precision=5, suppress=True, linewidth=94)
    if path.endswith(".tflite"):
        _look_inside(path)
        return
    if artifacts.is_archive(path):
        _look_at_archive(path)
    else:
        _look_at_saved_model(path)


def _look_inside(path: str) -> None:
    """Print the operations of a `.tflite` file, with dtype, shape and bytes of their weights."""
    artifacts.require_tflite(path)
    with litert.explained(path):
        runner = litert.Runner(path)
    try:
        content = inside.read(path)
    except Exception as error:  # a damaged file can make the reader raise almost anything
        raise script.Failure(f"{path} is damaged: {script.brief(error)}") from error
    print(f"model {path}, {content.size:,} bytes")
    for kind, tensors in [("input ", runner.inputs), ("output", runner.outputs)]:
        for name, tensor in tensors.items():
            shape = tensor["shape_signature"].tolist()
            print(f"{kind} {name}: {np.dtype(tensor['dtype']).name} {shape}")
    for operation in content.operations:
        print(operation.name)
        for weights in operation.weights:
            print(f"  {weights}")
            if weights.values is not None and weights.values.size <= 20:
                print(f"    {weights.values.ravel()}")
    if caution := content.caution():
        print(f"caution: {caution}")
    name = path.removesuffix(".tflite")
    if len(content.operations) > MANY:
        print(f"{name}.graph.png was not drawn: {len(content.operations)} operations are too many")
        return
    try:
        from litecheck import pictures
    except ModuleNotFoundError as error:  # a device may lack graphviz and matplotlib
        print(f"{name}.graph.png was not drawn: {error}: pip install graphviz matplotlib")
        return
    pictures.graphs({os.path.basename(path): content}, f"{name}.graph.png")


def _look_at_archive(path: str) -> None:
    """Print the layers, inputs, outputs and weights of a Keras archive, and draw it."""
    import keras

    from litecheck import archives, pictures

    with script.doing(f"loading {path}"):
        model = archives.load(path)
    print(f"loaded Keras model {path}")
    model.summary(line_length=80)
    for kind, ends in [("input ", model.inputs), ("output", model.outputs)]:
        for end in ends:
            print(f"{kind} {end.name}: {end.dtype} {tuple(end.shape)}")
    _print_weights([(weight.path, weight.numpy()) for weight in model.weights])
    with pictures.graph(f"{artifacts.stem(path)}.png") as file:
        keras.utils.plot_model(model, to_file=file, show_shapes=True, show_layer_names=True, dpi=96)


def _look_at_saved_model(path: str) -> None:
    """Print the signatures of a SavedModel, and its weights."""
    import tensorflow as tf

    from litecheck import archives

    with archives.explained(path), script.doing(f"loading {path}"):
        loaded = tf.saved_model.load(artifacts.stem(path))
    print(f"loaded SavedModel {path}")
    variables: dict[str, Any] = {}
    for key, function in loaded.signatures.items():
        print(f"signature {key}")
        for name, spec in function.structured_input_signature[1].items():
            print(f"  input  {name}: {spec.dtype.name} {spec.shape}")
        for name, spec in function.structured_outputs.items():
            print(f"  output {name}: {spec.dtype.name} {spec.shape}")
        variables |= {variable.name: variable for variable in function.variables}
    if not loaded.signatures:
        print("the model has no signatures and cannot be converted: save it with model.export")
    _print_weights([(name, variable.numpy()) for name, variable in variables.items()])


def _print_weights(weights: Sequence[tuple[str, np.ndarray]]) -> None:
    """Print weights by name, and of large ones only a summary."""
    print(f"weights: {len(weights)}, {sum(values.size for _, values in weights):,} numbers")
    for name, values in weights:
        head = f"  {name} {values.dtype.name} {values.shape}"
        if values.size <= 20 or values.dtype.kind not in "fiu":
            shown = str(values.ravel()[:20]).replace("\n", "\n    ")
            print(f"{head}\n    {shown}")
        else:
            print(f"{head} min {values.min():.4g} mean {values.mean():.4g} max {values.max():.4g}")
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            print("    holds NaN or infinity: the training diverged")
