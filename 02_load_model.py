# %% [markdown]
"""
# 2. Load the model

Stage 1 left the model in two forms: a Keras archive for Python, and a SavedModel for everything
else. Both must answer exactly as the trained model did. We load each, compare, look inside, and
draw the graph. `python 02_load_model.py MODEL.keras` does so for another archive (.keras or .h5).

| reads, in `saved_model/` | writes |
|---|---|
| `my_model.keras`, `my_model/` | `my_model.png`, the graph |
"""

# %%
from backstage import artifacts, script

args = script.start(
    "Load a Keras archive, look inside and draw it.",
    model=script.argument(
        "saved_model/my_model.keras", "a Keras archive: .keras, .h5", artifacts.require_archive
    ),
)
with script.quiet_start():
    import tensorflow as tf
    from tensorflow import keras

# %% [markdown]
# ## Load the Keras archive
#
# `load_model` rebuilds the layers from the description in the archive and then fills in the
# weights; `compile=False` leaves the optimizer out, as no training goes on here. An archive whose
# layers hold Python code (`Lambda`) is refused: it could run anything.

# %%
import numpy as np

from backstage import archives

with archives.explained(args.model):
    loaded = keras.models.load_model(args.model, compile=False)
print(f"loaded Keras model {args.model}")

# %% [markdown]
# ## Inference
#
# The same five inputs as in stage 1. The weights are the same bits, so the answers are too. (For
# another model than the lesson's, this cell and the next do nothing.)

# %%
saved_path = artifacts.stem(args.model)
shapes = [loaded.input_shape, loaded.output_shape]
lesson = artifacts.is_lesson(args.model) and shapes == [(None, 1), (None, 1)]
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
    artifacts.require_model(saved_path)
    with archives.explained(saved_path):
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
from backstage import pictures

picture = None
with pictures.graph(f"{saved_path}.png") as file:
    picture = keras.utils.plot_model(
        loaded,
        to_file=file,
        show_shapes=True,
        show_layer_names=True,
        rankdir="TB",
        expand_nested=False,
        dpi=96,
    )
picture  # a notebook shows it

# %% [markdown]
# ## Try next
#
# - `python 01_create_model.py --seed 2`, then this again: every weight is another, and the
#   predictions are those that stage 1 printed this time. Without `--seed` the lesson's come back.
# - `rankdir="LR"` in the last cell: the graph runs from left to right.
# - Call the signature with `test_input.astype("float64")`: it refuses, for it "was expected to be a
#   float tensor but is a double tensor". A signature converts nothing.
