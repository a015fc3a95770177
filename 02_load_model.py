# %% [markdown]
"""
# 2. Load the model

Stage 1 saved the model in two formats: a Keras archive for Python, and a SavedModel for programs
without Python. Both must predict exactly what the trained model predicts. We load both, compare
their predictions, look inside, and draw the graph.

| reads, in `saved_model/` | writes |
|---|---|
| `my_model.keras`, `my_model/` | `my_model.png`, the graph |
"""

# %%
from litecheck import script

files = ["saved_model/my_model.keras", "saved_model/my_model"]
script.start(reads=files, made_by="python 01_create_model.py")
with script.quiet_start():
    import tensorflow as tf

# %% [markdown]
# ## Load the Keras archive
#
# `load_model` rebuilds the layers from their description in the archive, and then fills in the
# weights. `compile=False` leaves out the optimizer, because we do not train any further.

# %%
import numpy as np

saved_path = "saved_model/my_model"
loaded = tf.keras.models.load_model(f"{saved_path}.keras", compile=False)
print(f"loaded Keras model {saved_path}.keras")

# %% [markdown]
# ## Inference
#
# We predict the same five inputs as in stage 1. The weights are bit-identical, so the predictions
# are, too.

# %%
print("prediction test")
test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
test_output = loaded.predict(test_input, verbose=0)
print("    x        predicted      true      error")
for x, predicted in zip(test_input[:, 0], test_output[:, 0], strict=True):
    print(f"{x:5g} {predicted:16.9g} {x * 100 + 5:9g} {predicted - (x * 100 + 5):+10.5f}")

# %% [markdown]
# ## The SavedModel and its signature
#
# A SavedModel has no layers to look at. It has **signatures**: functions whose inputs and outputs
# have fixed names and types. Each input and output is a **tensor**, an array with a shape and a
# dtype. Servers call the signature `serving_default`, and stage 3 converts it. It runs the same
# operations as the Keras model, so it must return the same numbers.

# %%
serving = tf.saved_model.load(saved_path).signatures["serving_default"]
print(f"signature serving_default of {saved_path}")
for name, spec in serving.structured_input_signature[1].items():
    print(f"  input  {name}: {spec.dtype.name} {spec.shape}")
for name, spec in serving.structured_outputs.items():
    print(f"  output {name}: {spec.dtype.name} {spec.shape}")

served_output = serving(tf.constant(test_input))["output_0"].numpy()
difference = np.abs(served_output - test_output).max()
print(f"  largest difference from the Keras model: {difference:.1g}")
if not difference <= 0.001:
    print("  the two are from different runs: make both again with python 01_create_model.py")

# %% [markdown]
# ## Weights
#
# The weights come in the order of the layers, each kernel before its bias.

# %%
np.set_printoptions(precision=4, suppress=True, linewidth=100)
weight = loaded.get_weights()
print("weight len : %d" % len(weight))
for i in range(len(weight)):
    print(f"weight[{i}] {loaded.weights[i].path} {weight[i].shape}")
    print(weight[i].ravel())

# %% [markdown]
# ## Draw the graph
#
# `plot_model` describes the graph with the package pydot, and Graphviz's program `dot` draws it.
# pip cannot install `dot`, because it is not a Python package. Everything above works without it.

# %%
from litecheck import pictures

picture = None
with pictures.graph(f"{saved_path}.png") as file:
    picture = tf.keras.utils.plot_model(
        loaded, to_file=file, show_shapes=True, show_layer_names=True,
        rankdir="TB", expand_nested=False, dpi=96,
    )  # fmt: skip
picture  # a notebook shows it

# %% [markdown]
# ## Try next
#
# - Set `seed = 2` in stage 1, and run both stages again. Every weight differs, and the predictions
#   are those that stage 1 printed this time. Set it back to 1 and run both before you go on.
# - `rankdir="LR"` in the last cell: the graph runs from left to right.
# - Call the signature with `tf.constant(test_input.astype("float64"))`. It raises an error, because
#   the input "was expected to be a float tensor but is a double tensor". A signature does not
#   convert types.
