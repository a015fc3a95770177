# %% [markdown]
"""
# 3. Convert the model

A SavedModel is made for servers. Its graph is a **Protocol Buffer**, parsed into objects before
use, and its runtime takes hundreds of megabytes. A `.tflite` file is a **FlatBuffer**: the runtime
maps it into memory and uses it as it lies. The converter translates one into the other, fuses
operations, and drops what only training needs. Since 2024 TensorFlow Lite is called **LiteRT**;
the file format kept its name.

A converted model may compute something else than its source, and no converter checks. So this
stage converts four ways, runs each file that it wrote, and compares it with the SavedModel.

| reads, in `saved_model/` | writes |
|---|---|
| `my_model/` | `my_model.tflite` (float32), `my_model.quant.tflite` (float16) |
| `my_model.samples.npy` | `my_model.dynamic.tflite` (dynamic range), `my_model.int8.tflite` |
| | `my_model.variants.png`, a picture of all four |

`python 03_convert_model.py MODEL` converts another SavedModel or Keras archive, and writes beside
it.

The first cell is not the lesson: options, errors in one line, and no start-up notes.
"""

# %%
import argparse
import hashlib
import os
import re
import signal
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
notebook = "kernel_launcher" in sys.argv[0]
args = parser.parse_args([] if notebook else None)

# TensorFlow's C++ code ignores log levels when it starts and prints whole graphs when it refuses a
# model; at those moments file descriptor 2 leads nowhere. What goes wrong comes as an exception.
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)


def report(kind, error, traceback):
    """Print an error that the reader can mend in one line, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    os.dup2(stderr, 2)
    message = " ".join(str(error).split())[:500]
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {message}: run pip install -r requirements.txt", file=sys.stderr)
    elif reading and kind is not FileNotFoundError:
        print(f"{parser.prog}: {reading} cannot be loaded: {message}", file=sys.stderr)
    elif issubclass(kind, OSError | ValueError | RuntimeError) or "tensorflow" in kind.__module__:
        print(f"{parser.prog}: {message}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def interrupted(signal_number, frame):
    """End at once. TensorFlow's converter loses every fourth KeyboardInterrupt and would go on."""
    os.dup2(stderr, 2)
    print(f"{parser.prog}: interrupted", file=sys.stderr)
    if aside:
        aside.cleanup()
    sys.stdout.flush()
    os._exit(130)


sys.excepthook, reading, aside = report, None, None
if not notebook:
    signal.signal(signal.SIGINT, interrupted)
name = args.model.rstrip("/").removesuffix(".keras")
archive = f"{name}.keras"
source = archive if args.model.endswith(".keras") else f"{name}/saved_model.pb"
identity = archive if source == archive else f"{name}/fingerprint.pb"  # new with every export
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
print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")

# %% [markdown]
# ## For your own models
#
# The lesson's model needs little of this cell; skip it as well. It reads Keras archives,
# SavedModels of Keras 2 and files of samples, so that this script converts other models: `python
# 03_convert_model.py --help` tells how.

# %%
aside = tempfile.TemporaryDirectory(
    dir=os.path.dirname(name) or ".", prefix=".new-", ignore_cleanup_errors=True
)


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
        ends = v1.saved_model.load(session, ["serve"], directory).signature_def["serving_default"]
        nodes = [tensor.name.split(":")[0] for tensor in ends.outputs.values()]
        constant = v1.graph_util.convert_variables_to_constants(session, session.graph_def, nodes)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        tf.import_graph_def(constant, name="")
        inputs, outputs = (
            {label: graph.get_tensor_by_name(tensor.name) for label, tensor in side.items()}
            for side in (ends.inputs, ends.outputs)
        )
        v1.saved_model.simple_save(session, copy, inputs, outputs)
    return copy


def load(directory):
    """Return a SavedModel's path, the key of its signature, and the signature: a function."""
    try:
        signatures = tf.saved_model.load(directory).signatures
    except AttributeError:  # '_UserObject' object has no attribute 'add_slot'
        print(f"{directory} was saved by Keras 2: converting a frozen copy")
        directory = freeze(directory)
        signatures = tf.saved_model.load(directory).signatures
    key = next(iter(signatures)) if len(signatures) == 1 else "serving_default"
    if key not in signatures:
        raise ValueError(f"{directory} has no signature {key!r} but {list(signatures) or 'none'}")
    return directory, key, signatures[key]


def read_samples(path):
    """Return the inputs of each run: a list of dicts from input names to arrays.

    A run takes one sample, or as many as the model's first axis fixes. A `.npz` file holds an array
    for each input by its name in the signature, a `.npy` file the only one.

    Raises:
        ValueError: the file is damaged, or its names, shapes or dtypes do not fit the model.
    """
    try:
        content, columns = np.load(path, allow_pickle=False), []
        for label, spec in inputs.items():
            array = content[label] if path.endswith(".npz") else content
            if array.ndim == spec.shape.rank:
                size = spec.shape[0] or 1
                array = array[: len(array) // size * size].reshape(-1, size, *array.shape[1:])
            spec.shape.assert_is_compatible_with(array.shape[1:])
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{label} holds NaN or infinity")
            columns.append(array.astype(spec.dtype.as_numpy_dtype, casting="same_kind"))
        if len({len(column) for column in columns}) > 1:
            raise ValueError("it does not hold the same number of samples for each input")
        rows = [dict(zip(inputs, row, strict=True)) for row in zip(*columns, strict=True)]
        if not rows:
            raise ValueError("there are too few samples for one run")
        return rows[:: -(-len(rows) // 100)]  # about a hundred are enough
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        takes = [f"{label} {spec.dtype.name} {spec.shape}" for label, spec in inputs.items()]
        raise ValueError(
            f"{path} does not fit {args.model} ({', '.join(takes)}): {error}"
        ) from error


def random_input(spec):
    """Return random values for a `TensorSpec`: reals in [0, 1), bytes, or integers 0 and 1."""
    values = random.random([size or (32 if axis else 1) for axis, size in enumerate(spec.shape)])
    if not spec.dtype.is_floating:
        values = np.floor(values * (256 if spec.dtype == tf.uint8 else 2))
    return values.astype(spec.dtype.as_numpy_dtype)


# %% [markdown]
# ## The SavedModel and its signature
#
# The converter reads SavedModels; a Keras archive is exported to one first. The **signature** is
# the function to convert. Its inputs and outputs have names, and the converted model keeps them.

# %%
reading = args.model  # what goes wrong now is this file's fault
digest = ""
if os.path.isfile(identity):  # TensorFlow writes it since 2.12
    with open(identity, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
saved_path, key, serving = load(export() if source == archive else name)
reading = None
inputs = serving.structured_input_signature[1]
print(f"model {args.model}, signature {key}")

# %% [markdown]
# ## Typical inputs
#
# They serve twice: to compare the converted models with the SavedModel, and to **calibrate** full
# integer quantization, which has to know the range of every value inside the model. Stage 1 saved
# its training inputs for this. Random numbers will do for comparing, but would calibrate
# nonsense.

# %%
beside = [path for path in (f"{name}.samples.npy", f"{name}.samples.npz") if os.path.exists(path)]
samples = args.samples or next(iter(beside), None)
if samples:
    runs = read_samples(samples)
else:
    random = np.random.default_rng(seed=0)
    runs = [{label: random_input(spec) for label, spec in inputs.items()} for _ in range(8)]
print(f"{len(runs)} runs on {samples or 'random inputs'}")

# %% [markdown]
# ## Run a file with LiteRT
#
# The integers $q$ of a quantized input or output stand for real numbers, by a **scale** and a
# **zero point**: $\text{real} = \text{scale} \cdot (q - \text{zero point})$.


# %%
def run_litert(path, runs):
    """Run a `.tflite` file on real numbers.

    Args:
        path: the file.
        runs: the inputs of each run by name.

    Returns:
        The outputs of each run by name; the dtypes of inputs and outputs, as "int32/float32"; the
        median time of one run in seconds.
    """
    os.dup2(nowhere, 2)
    interpreter = Interpreter(model_path=path)
    runner = interpreter.get_signature_runner(key)
    takes, gives = runner.get_input_details(), runner.get_output_details()
    results, seconds = [], []
    for run in runs:
        stored = {}
        for label, tensor in takes.items():
            stored[label], (scale, zero_point) = run[label], tensor["quantization"]
            if scale:
                limits, steps = np.iinfo(tensor["dtype"]), np.round(run[label] / scale) + zero_point
                stored[label] = steps.clip(limits.min, limits.max).astype(tensor["dtype"])
        start = time.perf_counter()
        outputs = runner(**stored)
        seconds.append(time.perf_counter() - start)
        for label, tensor in gives.items():
            scale, zero_point = tensor["quantization"]
            if scale:
                outputs[label] = scale * (outputs[label].astype(float) - zero_point)
        results.append(outputs)
    os.dup2(stderr, 2)
    dtypes = [np.dtype(tensor["dtype"]).name for tensor in [*takes.values(), *gives.values()]]
    return results, "/".join(dict.fromkeys(dtypes)), np.median(seconds)


# %% [markdown]
# ## Convert as it is
#
# Weights and arithmetic stay float32, so nothing is lost.


# %%
def convert(variant, converter):
    """Convert into the directory `aside` and run once; where that fails, note why in `refusals`."""
    os.dup2(nowhere, 2)
    try:
        with open(f"{aside.name}/{suffixes[variant]}", "wb") as file:
            file.write(converter.convert())
        run_litert(file.name, runs[:1])
        files[variant] = file.name
    except Exception as error:  # the converter and its calibrator raise many kinds
        ops = sorted(set(re.findall(r"'tf\.(\w+)' op (?:is neither|requires)", str(error))))
        layers = sorted(set(re.findall(r'"[^"/@]+/([^"/@]+)/[^"@]*@__inference', str(error))))
        reason = f"LiteRT has no {', '.join(ops)}" if ops else str(error).strip().splitlines()[-1]
        refusals[variant] = f"{reason} (layer {', '.join(layers)})" if ops and layers else reason
    os.dup2(stderr, 2)


suffixes = {
    "float32": ".tflite",
    "float16": ".quant.tflite",
    "dynamic range": ".dynamic.tflite",
    "full integer": ".int8.tflite",
}
files, refusals = {}, {}
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
convert("float32", converter)

# %% [markdown]
# ## Recurrent models
#
# A Keras 3 LSTM or GRU collects its steps in a list of tensors, and LiteRT must know their shape.
# With a batch of one it does. A SavedModel's shapes are final, but the Keras archive can be
# exported again. (For the lesson's model this cell does nothing.)

# %%
if "TensorList" in refusals.get("float32", ""):
    if not os.path.isfile(archive):
        raise ValueError(
            f"{name} is recurrent and its batch size varies, which LiteRT cannot run. Save the"
            f" model with model.save('{archive}') and run: python {parser.prog} {archive}"
        )
    print(f"recurrent: exported again from {archive} with the batch fixed to 1")
    lengths = {label: values.shape[1:] for label, values in runs[0].items()}
    saved_path, key, serving = load(export(lengths))
    del refusals["float32"]
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    convert("float32", converter)

if refusals:
    raise ValueError(
        f"{args.model} cannot be converted: {refusals['float32']}. Move what LiteRT cannot do, such"
        " as the preprocessing of text, out of the model and convert the rest"
    )

# %% [markdown]
# ## Optimize: float16 quantization
#
# **Quantization** stores numbers with fewer bits: smaller files, often faster, less exact. With
# float16 each weight takes two bytes in place of four and keeps about three decimal digits. Most
# processors widen it to float32 again to compute.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_types = [tf.float16]
convert("float16", converter)

# %% [markdown]
# ## Dynamic-range quantization
#
# The weights become int8, with a scale for each array. What flows between the operations is
# quantized on the fly, by the range it has in that run. No samples are needed.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
convert("dynamic range", converter)

# %% [markdown]
# ## Full-integer quantization
#
# All is int8, input and output too, so a processor without floating point can run it. The ranges
# are fixed now: the converter runs the model on a **representative dataset** and notes the
# smallest and the largest of each value. What lies outside will be cut off.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: iter(runs)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = tf.int8
converter.inference_output_type = tf.int8
graph = serving.graph.as_graph_def()
nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
if not samples:
    refusals["full integer"] = f"needs typical inputs: give --samples FILE or {name}.samples.npy"
elif {"While", "StatelessWhile"} & {node.op for node in nodes}:
    refusals["full integer"] = (
        "the converter crashes on loops (TensorFlow issue 75140): unroll them"
    )
else:
    convert("full integer", converter)

# %% [markdown]
# ## Verify and save
#
# The error is the largest difference from the SavedModel over all samples, also in relation to
# the range of the outputs. A sound float32 conversion stays below a millionth of that range.
# Beyond 1e-4 something is wrong, and nothing is kept. Quantization costs accuracy, and only you
# know how much your task can spare: those errors are reported, not judged.


# %%
def largest_error(results, expected):
    """Return the largest error of any output: relative to that output's range, and absolute.

    The range counts as at least 1 % of the largest value: where outputs hardly vary, the rounding
    of float32 would look like an error.
    """
    errors = [(0.0, 0.0)]
    for label in expected[0]:
        values, true = (
            np.concatenate([run[label].ravel().astype(float) for run in side])
            for side in (results, expected)
        )
        if true.size:
            error, largest = np.abs(values - true).max(), np.abs(true).max()
            errors.append((error / (max(np.ptp(true), largest / 100) or 1), error))
    return max(errors)


expected = [
    serving(**{label: tf.constant(values) for label, values in run.items()}) for run in runs
]
expected = [{label: values.numpy() for label, values in outputs.items()} for outputs in expected]
for label in expected[0]:
    if not all(np.isfinite(outputs[label].astype(float)).all() for outputs in expected):
        raise ValueError(f"output {label} of {args.model} is NaN or infinite: train it again")
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
        f"  {dtypes:<13}{error:>8.2g}{relative:>10.1e}"
        f"{seconds * 1e6:>7.0f} us  {os.path.basename(name)}{suffix}"
    )
    if variant == "float32" and not relative <= 1e-4:
        raise ValueError(
            f"{name}{suffix} was not written: it differs from {args.model} by {relative:.1e} of the"
            " output's range, more than the 1e-4 that rounding can explain"
        )
    if not relative <= 0.05:
        print(f"{'':<13}  {variant} errs by {relative:.0%} of the output's range: more than 5%")
    os.replace(files[variant], f"{name}{suffix}")

# %% [markdown]
# ## Note what was converted
#
# When you train again and forget to convert, the old file still runs. So stage 4 compares this
# hash with the model beside it. Times of files would not do: copies and checkouts change them.

# %%
with open(f"{aside.name}/source", "w") as file:
    file.write(f"{digest}  {os.path.relpath(identity, os.path.dirname(name) or '.')}\n")
os.replace(file.name, f"{name}.source")

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

aside.cleanup()
