# %% [markdown]
"""
# 1. Create a model

We teach a very small network the line y = 100x + 5, look at what it learned, and save it. The
network is small on purpose: stage 3 can print every number in its files, and stage 4 follows one
number through them. We save the model in `saved_model/` in two formats: `my_model.keras` for
Python, and `my_model/` for programs without Python. The training inputs are saved there, too. The
module `script` keeps the start quiet, and shortens errors to a line. Your own code does not need
it.
"""

# %%
from litecheck import script

script.start()
with script.quiet_start():
    import tensorflow as tf
    from tensorflow import keras

# %% [markdown]
# ## Data
#
# The 100 samples are $x = 100 \ldots 199$. Later we predict $x = 1 \ldots 5$, which the network has
# not seen. It can be right there only if it has learned the line, not a table of outputs. The first
# axis of the arrays counts the samples. The same seed gives bit-identical weights.

# %%
import numpy as np

seed = 1
keras.utils.set_random_seed(seed)
test_size = 100
_input = np.arange(100, 100 + test_size, dtype="float32").reshape(-1, 1)
_output = _input * 100 + 5

# %% [markdown]
# ## Model
#
# The model has two dense layers without an activation. Each is a linear map, and so is their
# composition. The model can therefore express the line exactly, and training has to find it. The
# first layer has 10 weights and 10 biases, the second 10 weights and 1 bias: 31 numbers in all.

# %%
model = keras.Sequential(
    [keras.Input([1], name="x"), keras.layers.Dense(10), keras.layers.Dense(1)]
)
model.summary(line_length=48)

# %% [markdown]
# ## Training
#
# An epoch has 10 updates of 10 samples each, so 2,000 epochs have 20,000 updates. Adam's learning
# rate falls from 0.01 to 0, because with a constant rate the weights jump around the solution.
#
# An update takes microseconds, but Keras's own work around 20,000 updates takes over a minute. With
# `steps_per_execution` Keras does this work once in 1,000 updates. `jit_compile` compiles them to
# machine code with **XLA**, TensorFlow's compiler. Training then takes three seconds. `autotune`
# tunes how data are read. It is off, because `fit` would wait for its timer after training. Each
# `Epoch 1/20` below is 100 epochs. `verbose=2` prints a line for each, and 1 draws a bar.

# %%
epochs = 2000
rounds = min(epochs, 20)
steps = epochs * test_size // 10 // rounds
adam = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(0.01, rounds * steps, 0.0))
model.compile(optimizer=adam, loss="mse", steps_per_execution=steps, jit_compile=True)
data = tf.data.Dataset.from_tensor_slices((_input, _output)).shuffle(test_size).batch(10).repeat()
options = tf.data.Options()
options.autotune.enabled = False
data = data.with_options(options)
history = model.fit(data, epochs=rounds, steps_per_epoch=steps, shuffle=False, verbose=2)

# %% [markdown]
# ## Weights
#
# Each dense layer has a kernel (inputs × units) and a bias (units). Multiplied together, the layers
# must give the slope 100 and the intercept 5, although no single weight shows them.

# %%
np.set_printoptions(precision=4, suppress=True, linewidth=100)
weight = model.get_weights()
for variable, values in zip(model.weights, weight, strict=True):
    print(f"weight {variable.path} {values.shape}")
    print(values.ravel())
slope, intercept = (weight[0] @ weight[2]).item(), (weight[1] @ weight[2] + weight[3]).item()
print(f"slope {slope:.4f}, intercept {intercept:.4f}")

# %% [markdown]
# ## Inference
#
# XLA adds numbers in a different order. With it switched off, stage 2 gives bit-identical
# predictions.

# %%
model.jit_compile = False
print("prediction test")
test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
test_output = model.predict(test_input, verbose=0)
print("    x        predicted      true      error")
for x, predicted in zip(test_input[:, 0], test_output[:, 0], strict=True):
    print(f"{x:5g} {predicted:16.9g} {x * 100 + 5:9g} {predicted - (x * 100 + 5):+10.5f}")

# %% [markdown]
# ## A picture of the training
#
# On the left, the loss falls during training. On the right are the data, the fitted line and the
# five predictions.

# %%
from litecheck import artifacts, pictures

loss = history.history["loss"]
figure = pictures.training(loss, steps, model, _input, _output, test_input, test_output)

# %% [markdown]
# ## Saving
#
# `model.save` writes a **Keras archive**, a zip file of layers, weights and the optimizer's state.
# Python can resume training from it. `model.export` writes a **SavedModel**, a directory that needs
# neither Python nor Keras. Its `saved_model.pb` is the graph of the computation as a **Protocol
# Buffer**, a binary format for structured data. `variables/` has the 31 numbers. Stage 3 converts
# the SavedModel. The files appear only when all of them are complete.

# %%
with artifacts.atomic_directory("saved_model") as directory:
    model.save(f"{directory}/my_model.keras")
    model.export(f"{directory}/my_model", verbose=False)
    np.save(f"{directory}/my_model.samples.npy", _input)
    figure.savefig(f"{directory}/my_model.training.png", dpi=120)
for name in ["my_model", "my_model.keras", "my_model.samples.npy", "my_model.training.png"]:
    print(f"saved saved_model/{name}")

# %% [markdown]
# ## Try next
#
# Change a value, run this stage again, and undo the change before you go on.
#
# - `seed = 2`: the weights and the last loss differ, but all five errors stay below 0.003.
# - `epochs = 10`: after 100 updates the prediction for x = 5 is 479 too small.
# - `Dense(1)` in place of `Dense(10)`: two weights can express the line, too, but training only
#   comes close, with errors of about 21.
