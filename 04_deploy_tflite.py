# %% [markdown]
"""
# 4. Deploy the model

A phone or a small board runs the `.tflite` file with **LiteRT**, the runtime that was called
TensorFlow Lite until 2024. There is no training in it, no Keras and no graph in Python: it maps
the file into memory, plans where each tensor lies, and runs the operations in order.

The lesson uses `tf.lite.Interpreter`, which is deprecated and brings all of TensorFlow along. The
same class is now in the package `ai-edge-litert`, so this file runs when it is copied alone to a
device. It takes any other `.tflite` file as well.

The first cell is not the lesson: options, errors in one line, and no start-up notes.
"""

# %%
import argparse
import hashlib
import os
import re
import sys

parser = argparse.ArgumentParser(description="Run a .tflite file with LiteRT.")
parser.add_argument("model", nargs="?", default="saved_model/my_model.tflite", help="%(default)s")
parser.add_argument(
    "--input",
    metavar="FILE",
    help="a .npy file, or a .npz file with one array for each input by name, with a leading"
    " sample axis; without it the input is random",
)
# A notebook's kernel has arguments of its own; there, the defaults hold.
args = parser.parse_args([] if "kernel_launcher" in sys.argv[0] else None)

# LiteRT's C++ code notes on file descriptor 2 what it loads: then, that leads nowhere. What goes
# wrong comes as an exception.
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)


def report(kind, error, traceback):
    """Print an error that the reader can mend in one line or two, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    os.dup2(stderr, 2)
    message = " ".join(str(error).split())[:500]
    if issubclass(kind, KeyboardInterrupt):
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {message}: run pip install ai-edge-litert", file=sys.stderr)
    elif issubclass(kind, OSError):
        print(f"{parser.prog}: {message}", file=sys.stderr)
    elif issubclass(kind, ValueError | RuntimeError | TypeError):  # LiteRT's
        files = f"{args.model} with {args.input}" if args.input else args.model
        print(f"{parser.prog}: {files}: {message}", file=sys.stderr)
        if varying and not args.input:
            print(f"Size 1 may be too small for {varying[0]}: give --input FILE", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


varying = []
sys.excepthook = report
if not os.path.isfile(args.model):
    raise FileNotFoundError(
        f"{args.model} is missing. Make it with: python 03_convert_model.py,"
        " or name another .tflite file"
    )

# %% [markdown]
# ## Load the model
#
# The interpreter maps the file and checks that it is a FlatBuffer of the right schema.

# %%
import numpy as np
from ai_edge_litert.interpreter import Interpreter

os.dup2(nowhere, 2)
interpreter = Interpreter(model_path=args.model)
os.dup2(stderr, 2)
print(f"model  {args.model}")

# %% [markdown]
# ## Is it the latest?
#
# Stage 3 noted the hash of the model that it converted. If that model lies beside the file and
# has another hash by now, it was trained again. On a device neither is there, and this does
# nothing.

# %%
record = re.sub(r"(\.(quant|dynamic|int8))?\.tflite$", ".source", args.model)
if record != args.model and os.path.isfile(record):
    with open(record) as file:
        digest, _, source = file.read().strip().partition("  ")
    source = os.path.join(os.path.dirname(record), source)
    if os.path.isfile(source):
        with open(source, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != digest:
                trained = source.removesuffix("/fingerprint.pb")
                print(f"{trained} has changed: run python 03_convert_model.py {trained}")

# %% [markdown]
# ## What the model takes and gives
#
# The details tell each tensor's name, dtype and shape. A size that may vary is allocated as 1,
# with -1 in the signature. The integers $q$ of a quantized tensor stand for real numbers,
# $\text{real} = \text{scale} \cdot (q - \text{zero point})$.

# %%
input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()

# A signature has the names that the author chose. Files of other converters may have none.
names = {tensor["name"]: tensor["name"] for tensor in input_details + output_details}
for key in list(interpreter.get_signature_list())[:1]:
    inputs = interpreter.get_signature_runner(key).get_input_details()
    outputs = interpreter.get_signature_runner(key).get_output_details()
    for name, tensor in [*inputs.items(), *outputs.items()]:
        names[tensor["name"]] = name

for kind, details in [("input ", input_details), ("output", output_details)]:
    for tensor in details:
        shape, signature = tensor["shape"].tolist(), tensor["shape_signature"].tolist()
        print(f"{kind} {names[tensor['name']]}: {np.dtype(tensor['dtype']).name} {shape}", end="")
        print(f", signature {signature}", end="" if tensor["quantization"][0] else "\n")
        if tensor["quantization"][0]:
            print(", real = {:.6g} * (q - {})".format(*tensor["quantization"]))

# %% [markdown]
# ## Prepare the input
#
# By default a random one, as in the lesson: 0 to 999 for floating point. A quantized tensor can
# hold only the range that it was calibrated for, so there the numbers come from that range. Other
# integers may count words or classes, of which there are at least two: 0 and 1.


# %%
def random_input(tensor):
    """Return random numbers for an input tensor: an array of its shape, float32 if quantized."""
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if dtype.kind not in "fiubc":
        raise ValueError(f"{names[tensor['name']]} takes {dtype.name}: give --input FILE")
    if scale:
        limits = np.iinfo(dtype)
        low, high = (scale * (limit - zero_point) for limit in (limits.min, limits.max))
        return np.random.uniform(low, high, size=tensor["shape"]).astype(np.float32)
    high = {"f": 1000, "c": 1000, "u": 256}.get(dtype.kind, 2)
    return np.random.randint(0, high, size=tensor["shape"]).astype(dtype)


def read_input(path):
    """Return the runs of an input file, each a list with an array for each input.

    A first axis that may vary takes all samples in one run; one of fixed size b takes them b by b;
    an input without a sample axis, one by one.

    Args:
        path: `.npy` for a single input, or `.npz` with an array for each input by its name.

    Raises:
        ValueError: the file is damaged, or the names or numbers of samples do not fit.
    """
    try:
        content = np.load(path, allow_pickle=False)
        named = isinstance(content, np.lib.npyio.NpzFile)
        arrays = dict(content) if named else {names[input_details[0]["name"]]: content}
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can make NumPy raise almost anything
        raise ValueError(f"the input cannot be read ({error}): write it with numpy.save") from error

    portions = []
    for tensor in input_details:
        name, sizes = names[tensor["name"]], tensor["shape_signature"]
        array = arrays.get(name, arrays.get(tensor["name"]))
        if array is None:
            raise ValueError(f"the input must be a .npz file with an array named {name!r}")
        if array.ndim != len(sizes) or array.ndim == 0:
            portions.append(list(array) if array.ndim else [array])
        else:
            size = sizes[0] if sizes[0] > 0 else max(len(array), 1)
            portions.append([array[i : i + size] for i in range(0, len(array), size)])
    if len({len(portion) for portion in portions}) > 1:
        raise ValueError("the input has different numbers of samples for the inputs")
    return list(zip(*portions, strict=True))


varying = [names[tensor["name"]] for tensor in input_details if -1 in tensor["shape_signature"]]
if args.input:
    runs = read_input(args.input)
else:
    runs = [[random_input(tensor) for tensor in input_details]]

# %% [markdown]
# ## Allocate, run and read the output
#
# `allocate_tensors` plans one block of memory for all tensors, so that inference itself allocates
# nothing: that matters on a board with a few hundred kilobytes. The lesson calls it first; here
# it comes when the sizes of the input are known.
#
# Inference takes three steps, because the tensors lie in the interpreter's memory: `set_tensor`
# copies the input into it, `invoke` computes, and `get_tensor` copies the output out of it, as
# often as you like and one output after the other.
#
# A quantized model computes with integers. Its input is quantized on the way in and its output
# made real on the way out. What lies outside the calibrated range is cut off.


# %%
def quantize(values, tensor):
    """Return real numbers as a tensor stores them: round(values / scale) + zero point, clipped.

    Source: the TensorFlow Lite 8-bit quantization specification. Values that have the tensor's
    dtype already are kept; those of a tensor without a scale are cast, if little can be lost.
    """
    dtype, (scale, zero_point) = np.dtype(tensor["dtype"]), tensor["quantization"]
    if dtype.kind == "S":
        return values
    if not scale or values.dtype == dtype:
        return values.astype(dtype, casting="same_kind")
    limits = np.iinfo(dtype)
    steps = np.round(values.astype(np.float64) / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(stored, tensor):
    """Return the real numbers, float32, that a quantized tensor's integers stand for."""
    scale, zero_point = tensor["quantization"]
    return (scale * (stored.astype(np.float64) - zero_point)).astype(np.float32)


def text(values):
    """Return values in one line of at most 80 columns: all, or shape, mean and first three."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f"{list(values.shape)} holds NaN or infinity, first {values.ravel()[:3]}"
    line = " ".join(np.array2string(values, threshold=20, max_line_width=10**6).split())
    if values.size <= 20 and len(line) <= 72:
        return line
    if values.dtype.kind not in "fiub":
        return f"{list(values.shape)} first {values.ravel()[:3]}"
    first = " ".join(f"{value:.5g}" for value in values.ravel()[:3])
    low, mean, high = values.min(), values.mean(dtype=np.float64), values.max()
    return f"{list(values.shape)} min {low:.5g} mean {mean:.5g} max {high:.5g} first {first}"


for run in runs:
    for tensor, input_data in zip(input_details, run, strict=True):
        interpreter.resize_tensor_input(tensor["index"], np.shape(input_data), strict=True)
    os.dup2(nowhere, 2)
    interpreter.allocate_tensors()  # does nothing when the sizes are as before
    os.dup2(stderr, 2)

    for tensor, input_data in zip(input_details, run, strict=True):
        stored = quantize(input_data, tensor)
        interpreter.set_tensor(tensor["index"], stored)
        print(f"input  {names[tensor['name']]}: {text(input_data)}")
        if tensor["quantization"][0]:
            print(f"       stored as {stored.dtype} {text(stored)}")

    interpreter.invoke()

    for tensor in output_details:
        output_data = interpreter.get_tensor(tensor["index"])
        if tensor["quantization"][0]:
            print(f"       stored as {output_data.dtype} {text(output_data)}")
            output_data = dequantize(output_data, tensor)
        print(f"output {names[tensor['name']]}: {text(output_data)}")

    if os.path.basename(args.model).startswith("my_model."):
        print(f"the lesson's function, 100x+5: {text(run[0] * 100 + 5)}")
