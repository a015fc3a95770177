"""Stage 3 of 4: convert a model to four TensorFlow Lite files and verify each of them.

Reads a SavedModel or a Keras archive, by default saved_model/my_model/, and writes beside it
.tflite (float32), .quant.tflite (float16), .dynamic.tflite (dynamic range) and .int8.tflite (full
integer). For the lesson's model it also draws saved_model/my_model.variants.png.
"""

# %% [markdown]
# # 3. Convert the model
#
# A SavedModel is made for servers. Its graph is a **Protocol Buffer**, parsed into objects before
# use, and its runtime takes hundreds of megabytes. A `.tflite` file is a **FlatBuffer**: the
# runtime maps it into memory and uses it as it lies. The converter translates one into the other,
# fuses operations, and drops what only training needs. Since 2024 TensorFlow Lite is called
# **LiteRT**; the file format kept its name.
#
# A converted model may compute something else than its source, and no converter checks. So this
# stage converts four ways, runs each file that it wrote, and compares it with the SavedModel.
#
# The first cell is not the lesson: options, errors in one line, and no start-up notes.

# %%
import argparse
import os
import re
import sys
import tempfile
import time
import warnings

parser = argparse.ArgumentParser(description="Convert a model to TensorFlow Lite and verify it.")
parser.add_argument(
    "model",
    nargs="?",
    default="saved_model/my_model",
    help="a SavedModel directory or a .keras archive (default: %(default)s)",
)
parser.add_argument(
    "--samples",
    metavar="FILE",
    help="typical inputs with a leading sample axis: .npy for one input, .npz with an array for"
    " each by name (default: MODEL.samples.npy or MODEL.samples.npz, if there is one)",
)
# A notebook's kernel has arguments of its own; there, the defaults hold.
args = parser.parse_args([] if "kernel_launcher" in sys.argv[0] else None)

# TensorFlow's C++ code ignores log levels when it starts and prints whole graphs when it refuses a
# model; at those moments file descriptor 2 leads nowhere. What goes wrong comes as an exception.
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)


def report(kind, error, traceback):
    """Print an error that the reader can mend in one line, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    os.dup2(stderr, 2)
    message = " ".join(str(error).split())[:500]
    if issubclass(kind, KeyboardInterrupt):
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {message}: run pip install -r requirements.txt", file=sys.stderr)
    elif issubclass(kind, OSError | ValueError | RuntimeError) or "tensorflow" in kind.__module__:
        print(f"{parser.prog}: {message}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = report
name = args.model.rstrip("/").removesuffix(".keras")
archive = f"{name}.keras"
source = archive if args.model.endswith(".keras") else f"{name}/saved_model.pb"
if not os.path.isfile(source):
    raise FileNotFoundError(
        f"{source} is missing. Make it with: python 01_create_model.py, or name another model"
    )

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
os.dup2(nowhere, 2)
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow import keras

tf.config.list_physical_devices()
os.dup2(stderr, 2)
tf.get_logger().setLevel("ERROR")
warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")  # by the converter

# %% [markdown]
# ## For your own models
#
# The lesson's model needs little of this cell; skip it as well. It reads Keras archives,
# SavedModels of Keras 2 and files of samples, so that this script converts other models: `python
# 03_convert_model.py --help` tells how.

# %%
aside = tempfile.TemporaryDirectory(dir=os.path.dirname(name) or ".", prefix=".new-")


def export(lengths=None):
    """Export the Keras archive as a SavedModel in the directory `aside` and return its path.

    With `lengths`, a mapping of input names to the sizes behind the batch axis, the batch is fixed
    to 1 and each size that may vary to the one given.
    """

    def fixed(tensor):
        label = tensor.name if len(lengths) > 1 else next(iter(lengths))
        if label not in lengths:
            raise ValueError(f"{name} has no input {label}: run python {parser.prog} {archive}")
        sizes = zip(tensor.shape[1:], lengths[label], strict=True)
        shape = (1, *(size or length for size, length in sizes))
        return keras.InputSpec(shape=shape, dtype=tensor.dtype, name=label)

    model = keras.models.load_model(archive, compile=False)
    sequential = isinstance(model, keras.Sequential)
    inputs = model.inputs[0] if sequential else model.input
    outputs = keras.tree.flatten_with_path(model.outputs[0] if sequential else model.output)
    if any(len(path) > 1 for path, _ in outputs):  # a signature's outputs are not nested
        model = keras.Model(inputs, {"_".join(map(str, path)): value for path, value in outputs})
    directory = f"{aside.name}/{'fixed' if lengths else 'exported'}"
    shapes = [keras.tree.map_structure(fixed, inputs)] if lengths else None
    model.export(directory, verbose=False, input_signature=shapes)
    return directory


def freeze(directory):
    """Copy a SavedModel with its variables as constants into `aside` and return the copy's path.

    The slots of Keras 2's older optimizers can only be read by TensorFlow's v1 loader.
    """
    v1, copy = tf.compat.v1, f"{aside.name}/frozen"
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], directory).signature_def
        ends = signature["serving_default"]
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]


loops = {"While", "StatelessWhile"} & {node.op for node in nodes}
if not samples:
    refusals["full integer"] = f"needs typical inputs: give --samples FILE or {name}.samples.npy"
elif loops:
    refusals["full integer"] = (
        "the converter crashes on loops (TensorFlow issue 75140): unroll them"
    )
else:
    convert("full integer", converter)


def largest_error(results, expected):
    """Return the largest error of any output: relative to that output's range, and absolute."""
    errors = [(0.0, 0.0)]
    for label in expected[0]:
        values, true = (
            np.concatenate([run[label].ravel().astype(float) for run in side])
            for side in (results, expected)
        )
        if true.size:
            error = np.abs(values - true).max()
            errors.append((error / (np.ptp(true) or np.abs(true).max() or 1), error))
    return max(errors)


# %% [markdown]
# ## Verify and save
#
# The error is the largest difference from the SavedModel over all samples, also in relation to
# the range of the outputs. A sound float32 conversion stays below a millionth of that range.
# Beyond 1e-4 something is wrong, and nothing is kept. Quantization costs accuracy, and only you
# know how much your task can spare: those errors are reported, not judged.

# %%
expected = [
    serving(**{label: tf.constant(values) for label, values in run.items()}) for run in runs
]
expected = [{label: values.numpy() for label, values in outputs.items()} for outputs in expected]
sizes = {variant: os.path.getsize(path) for variant, path in files.items()}

print("variant            bytes   size  in/out          error  of range   one run  file")
for variant, suffix in suffixes.items():
    if variant in refusals:
        print(f"{variant:<14} not written: {refusals[variant]}")
        continue
    results, dtypes, seconds = run_litert(files[variant], runs)
    relative, error = largest_error(results, expected)
    print(
        f"{variant:<13}{sizes[variant]:>11,}{sizes[variant] / sizes['float32']:>7.0%}"
        f"  {dtypes:<13}{error:>8.2g}{relative:>10.1e}{seconds * 1e6:>7.0f} us  {os.path.basename(name)}{suffix}"
    )
    if variant == "float32" and not relative <= 1e-4:
        raise ValueError(
            f"{name}{suffix} was not written: it differs from {args.model} by {relative:.1e} of the"
            " output's range, more than the 1e-4 that rounding can explain"
        )
    if relative > 0.05:
        print(f"{'':<13}  {variant} errs by {relative:.0%} of the output's range: more than 5%")
    os.replace(files[variant], f"{name}{suffix}")

# %% [markdown]
# ## What the figures say
#
# The lesson promises that quantization makes a model smaller and faster. For 31 weights it does
# not, and the next cell says why, from the table. When does it start to pay? For networks of
# three dense layers, $1 \to n \to n \to 1$, we measured these sizes:
#
# | n | weights | float16 | dynamic range | full integer |
# |--:|--:|--:|--:|--:|
# | 8 | 97 | 121 % | 100 % | 109 % |
# | 16 | 321 | 99 % | 100 % | 91 % |
# | 32 | 1,153 | 72 % | 56 % | 61 % |
# | 256 | 66,561 | 50 % | 27 % | 28 % |

# %%
if sizes.get("float16", 0) > sizes["float32"]:
    extra = sizes["float16"] - sizes["float32"]
    print(
        f"float16 takes {extra:,} bytes more than float32: it adds a DEQUANTIZE operation for each"
        " array\n  of weights, and they outweigh the two bytes saved on each of so few weights"
    )
if sizes.get("dynamic range") == sizes["float32"]:
    print(
        "dynamic range changed nothing: no array of weights has the 1,024 elements that it asks for"
    )

# %% [markdown]
# ## Inside and outside of the calibrated range
#
# For the lesson's model, a picture shows all four variants at once. The full-integer model knows
# no value above the largest that it saw in calibration: there, its answers stay the same.

# %%
if name == "saved_model/my_model":
    import matplotlib.pyplot as plt

    label = next(iter(inputs))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 4.4), width_ratios=[2.4, 1], layout="constrained"
    )
    left.axvspan(100, 199, color="0.9", label="calibrated range")
    left.axline((0, 5), slope=100, color="0.4", linewidth=1, label="y = 100x + 5")
    # Colours from Okabe and Ito, "Color Universal Design", 2008: told apart by the colour-blind.
    styles = {"float32": ("#0072B2", "o"), "float16": ("#E69F00", "s")}
    styles |= {"dynamic range": ("#009E73", "^"), "full integer": ("#D55E00", "X")}
    for shift, variant in enumerate(files):
        color, marker = styles[variant]
        x = np.arange(5 + 12 * shift, 600, 48, dtype="float32")
        answers, _, _ = run_litert(
            f"{name}{suffixes[variant]}", [{label: value.reshape(1, 1)} for value in x]
        )
        y = [next(iter(answer.values())).item() for answer in answers]
        left.plot(x, y, marker, color=color, markersize=7, label=variant)
        right.barh(variant, sizes[variant], color=color)
        right.text(sizes[variant], variant, f" {sizes[variant]:,}", va="center")
    left.set(xlabel="x", ylabel="prediction", xlim=(0, 600), ylim=(0, 62000))
    left.legend(frameon=False)
    right.set(xlabel="bytes", xlim=(0, 1.25 * max(sizes.values())))
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(f"{aside.name}/variants.png", dpi=120)
    os.replace(f"{aside.name}/variants.png", f"{name}.variants.png")

    print(f"saved {name}.variants.png")
    if "full integer" in files:
        answers, _, _ = run_litert(f"{name}.int8.tflite", [{label: np.float32([[500]])}])
        at_500 = next(iter(answers[0].values())).item()
        print(f"full integer answers {at_500:,.0f} for x = 500, where the line is at 50,005")
