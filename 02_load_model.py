"""Stage 2 of 4: load what stage 1 saved, compare the two forms, and draw the model.

Reads saved_model/my_model.keras and saved_model/my_model/; writes saved_model/my_model.png.
"""

# %% [markdown]
# # 2. Load the model
#
# Stage 1 left the model in two forms: a Keras archive for Python, and a SavedModel for everything
# else. Both must answer exactly as the trained model did. We load each, compare, and look inside.
#
# The first cell is not the lesson: options, errors in one line, and no start-up notes.

# %%
import argparse
import contextlib
import os
import re
import sys
import tempfile

parser = argparse.ArgumentParser(description="Load the saved model, try it and draw it.")
args = parser.parse_args([] if "kernel_launcher" in sys.argv[0] else None)


def report(kind, error, traceback):
    """Print an error the reader can mend as a line or two, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {error}: run pip install -r requirements.txt", file=sys.stderr)
    elif issubclass(kind, OSError):
        print(f"{parser.prog}: {error}", file=sys.stderr)
        if error.errno:
            print(
                f"Mend that, or change to another directory: python {parser.prog}", file=sys.stderr
            )
    else:
        sys.__excepthook__(kind, error, traceback)


@contextlib.contextmanager
def startup_notes_hidden():
    """Hold file descriptor 2 back, then pass on all but TensorFlow's start-up notes.

    Its C++ libraries write these before any log level applies; without a GPU one looks like an
    error. What else is said meanwhile is not lost.
    """
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not re.match(rb"WARNING: All log messages before|I0000 |E0000 .* cuInit", line):
                    os.write(2, line)


sys.excepthook = report
saved_path = "saved_model/my_model"
for path in [f"{saved_path}.keras", f"{saved_path}/saved_model.pb"]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is missing. Make it with: python 01_create_model.py")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
with startup_notes_hidden():
    import tensorflow as tf
    from tensorflow import keras

    tf.config.list_physical_devices()

# %% [markdown]
# ## Load the Keras archive
#
# `load_model` took the SavedModel directory in the lesson; Keras 3 reads only its own archive. It
# rebuilds the layers from the description in the archive and then fills in the weights.

# %%
import numpy as np

loaded = keras.models.load_model(f"{saved_path}.keras")
print(f"loaded Keras model {saved_path}.keras")

# %% [markdown]
# ## Inference
#
# The same five inputs as in stage 1. The weights are the same bits, so the answers are too.

# %%
print("prediction test")
test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
test_output = loaded.predict(test_input, verbose=0)
true_output = test_input * 100 + 5
print("    x        predicted      true      error")
for x, predicted, true in zip(test_input[:, 0], test_output[:, 0], true_output[:, 0], strict=True):
    print(f"{x:5g} {predicted:16.9g} {true:9g} {predicted - true:+10.5f}")

# %% [markdown]
# ## The SavedModel and its signature
#
# A SavedModel has no layers to look at. It has **signatures**: named functions with named, typed
# inputs and outputs. `serving_default` is the one that servers call and that stage 3 converts.

# %%
serving = tf.saved_model.load(saved_path).signatures["serving_default"]
for name, spec in serving.structured_input_signature[1].items():
    print(f"{saved_path} input  {name}: {spec.dtype.name} {spec.shape}")
for name, spec in serving.structured_outputs.items():
    print(f"{saved_path} output {name}: {spec.dtype.name} {spec.shape}")

served_output = serving(tf.constant(test_input))["output_0"].numpy()
difference = np.abs(served_output - test_output).max()
print(f"largest difference from the Keras model: {difference:g}")

# %% [markdown]
# ## Weights
#
# In the order of the layers, each kernel before its bias.

# %%
np.set_printoptions(precision=4, suppress=True, linewidth=100)
weight = loaded.get_weights()
print(f"weight len : {len(weight)}")
for i, variable in enumerate(loaded.weights):
    print(f"weight[{i}] {variable.path} {weight[i].shape}")
    print(weight[i].ravel())

# %% [markdown]
# ## Draw the graph
#
# `plot_model` describes the graph with pydot and lets Graphviz's `dot` draw it. `dot` is a program,
# not a Python package, and pip cannot install it. Without it everything above still works.

# %%
import graphviz

dot_version = None
with contextlib.suppress(graphviz.ExecutableNotFound):
    dot_version = graphviz.version()

if dot_version:
    with tempfile.TemporaryDirectory(dir="saved_model", prefix=".new-") as aside:
        keras.utils.plot_model(
            loaded,
            to_file=f"{aside}/my_model.png",
            show_shapes=True,
            show_layer_names=True,
            rankdir="TB",
            expand_nested=False,
            dpi=96,
        )
        os.replace(f"{aside}/my_model.png", f"{saved_path}.png")
    print(f"saved {saved_path}.png")
else:
    print(
        f"{saved_path}.png was not drawn: Graphviz's `dot` is missing. Install it with"
        " `apt-get install graphviz`, `brew install graphviz` or `winget install graphviz`."
    )
