# %% [markdown]
"""
# 2. Load the model

Stage 1 left the model in two forms: a Keras archive for Python, and a SavedModel for everything
else. Both must answer exactly as the trained model did. We load each, compare, look inside, and
draw the graph. `python 02_load_model.py MODEL.keras` does so for another archive.

| reads, in `saved_model/` | writes |
|---|---|
| `my_model.keras`, `my_model/` | `my_model.png`, the graph |

The first cell is not the lesson: options, errors in one line, and no start-up notes.
"""

# %%
import argparse
import contextlib
import os
import signal
import sys
import tempfile

parser = argparse.ArgumentParser(description="Load a Keras archive, look inside and draw it.")
parser.add_argument(
    "model",
    nargs="?",
    default="saved_model/my_model.keras",
    help="a .keras archive (default: %(default)s)",
)
# A notebook's kernel has arguments of its own; there, the defaults hold.
notebook = "kernel_launcher" in sys.argv[0]
args = parser.parse_args([] if notebook else None)

# TensorFlow's C++ code ignores log levels when it starts: then, file descriptor 2 leads nowhere.
# What goes wrong comes as an exception.
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)


def report(kind, error, traceback):
    """Print an error that the reader can mend in one line or two, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    os.dup2(stderr, 2)
    message = " ".join(str(error).split())[:500]
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {message}: run pip install -r requirements.txt", file=sys.stderr)
    elif reading and kind is not FileNotFoundError:
        print(f"{parser.prog}: {reading} cannot be loaded: {message}", file=sys.stderr)
    elif issubclass(kind, OSError):
        print(f"{parser.prog}: {message}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def interrupted(signal_number, frame):
    """End at once. Raised inside of TensorFlow, a KeyboardInterrupt may be lost on its way."""
    os.dup2(stderr, 2)
    print(f"{parser.prog}: interrupted", file=sys.stderr)
    if aside:
        aside.cleanup()
    sys.stdout.flush()
    os._exit(130)


sys.excepthook, reading, aside = report, None, None
if not notebook:
    signal.signal(signal.SIGINT, interrupted)
lesson = args.model == parser.get_default("model")
saved_path = args.model.removesuffix(".keras")
for path in [args.model, f"{saved_path}/saved_model.pb"] if lesson else [args.model]:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path} is missing. Make it with: python 01_create_model.py, or name another archive"
        )

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
os.dup2(nowhere, 2)
if not notebook:
    sys.modules["matplotlib"] = None  # Keras would import it, which takes a while, and not use it
import tensorflow as tf
from tensorflow import keras

tf.config.list_physical_devices()
os.dup2(stderr, 2)
print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")

# %% [markdown]
# ## Load the Keras archive
#
# In the lesson `load_model` took the SavedModel directory; Keras 3 reads only its own archive. It
# rebuilds the layers from the description in the archive and then fills in the weights. An
# archive whose layers hold Python code (`Lambda`) is refused: it could run anything.

# %%
import numpy as np

reading = args.model  # what goes wrong now is this file's fault
loaded = keras.models.load_model(args.model)
reading = None
print(f"loaded Keras model {args.model}")

# %% [markdown]
# ## Inference
#
# The same five inputs as in stage 1. The weights are the same bits, so the answers are too. (For
# another model than the lesson's, this cell and the next do nothing.)

# %%
if lesson:
    print("prediction test")
    test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
    test_output = loaded.predict(test_input, verbose=0)
    true_output = test_input * 100 + 5
    rows = zip(test_input[:, 0], test_output[:, 0], true_output[:, 0], strict=True)
    print("    x        predicted      true      error")
    for x, predicted, true in rows:
        print(f"{x:5g} {predicted:16.9g} {true:9g} {predicted - true:+10.5f}")

# %% [markdown]
# ## The SavedModel and its signature
#
# A SavedModel has no layers to look at. It has **signatures**: named functions with named, typed
# inputs and outputs. `serving_default` is the one that servers call and that stage 3 converts. It
# holds the same operations as the Keras model, and answers the same.

# %%
if lesson:
    reading = saved_path
    serving = tf.saved_model.load(saved_path).signatures["serving_default"]
    reading = None
    print(f"signature serving_default of {saved_path}")
    for name, spec in serving.structured_input_signature[1].items():
        print(f"  input  {name}: {spec.dtype.name} {spec.shape}")
    for name, spec in serving.structured_outputs.items():
        print(f"  output {name}: {spec.dtype.name} {spec.shape}")

    served_output = serving(tf.constant(test_input))["output_0"].numpy()
    difference = np.abs(served_output - test_output).max()
    print(f"  largest difference from the Keras model: {difference:.1g}")
    if not difference <= 0.001:
        print("  the two are of different runs: make both again with python 01_create_model.py")

# %% [markdown]
# ## Weights
#
# In the order of the layers, each kernel before its bias. Large ones are summarised.

# %%
np.set_printoptions(precision=4, suppress=True, linewidth=100)
weight = loaded.get_weights()
print(f"weight len : {len(weight)}")
for i, variable in enumerate(loaded.weights):
    values = weight[i].ravel()
    print(f"weight[{i}] {variable.path} {weight[i].shape}", end="\n" if values.size <= 20 else " ")
    if values.size <= 20:
        print(values)
    else:
        print(f"min {values.min():.4g} mean {values.mean():.4g} max {values.max():.4g}")
    if not np.isfinite(values).all():
        print("  holds NaN or infinity: the training diverged")

# %% [markdown]
# ## Draw the graph
#
# `plot_model` describes the graph with pydot and lets Graphviz's `dot` draw it. `dot` is a
# program, not a Python package, and pip cannot install it. Without it everything above still
# works.

# %%
import graphviz

dot_version, drawn, picture = None, False, None
with contextlib.suppress(graphviz.ExecutableNotFound, AssertionError):  # missing, or gave up
    dot_version = graphviz.version()
    directory = os.path.dirname(args.model) or "."
    aside = tempfile.TemporaryDirectory(dir=directory, prefix=".new-", ignore_cleanup_errors=True)
    with contextlib.redirect_stdout(None):  # pydot prints all that a failing `dot` says
        picture = keras.utils.plot_model(
            loaded,
            to_file=f"{aside.name}/model.png",
            show_shapes=True,
            show_layer_names=True,
            rankdir="TB",
            expand_nested=False,
            dpi=96,
        )
    os.replace(f"{aside.name}/model.png", f"{saved_path}.png")
    drawn = True
if aside:
    aside.cleanup()

if drawn:
    print(f"saved {saved_path}.png")
elif dot_version:
    print(f"{saved_path}.png was not drawn: the graph is too large for Graphviz's `dot`.")
else:
    print(f"{saved_path}.png was not drawn: Graphviz's `dot` is missing. Install it with")
    print("`apt-get install graphviz`, `brew install graphviz` or `winget install graphviz`.")
picture  # a notebook shows it
