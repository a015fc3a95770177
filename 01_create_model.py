# %% [markdown]
"""
# 1. Create a model

We teach a very small network the line y = 100x + 5, look at what it learned, and save it. The
network is deliberately tiny: stage 3 can print every number in its files, and stage 4 follows one
number through them. The model goes to `saved_model/`, in two formats: `my_model.keras` for Python,
and `my_model/` for everything else. The training inputs go beside them.
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
# One hundred samples, $x = 100 \ldots 199$. Later we predict $x = 1 \ldots 5$. The network has not
# seen these values, so it must have found the line and not a table of outputs. The arrays have a
# leading sample axis. The same seed gives bit-identical weights.

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
# Two dense layers without an activation. Each is a linear map, and so is their composition: the
# model can express the line exactly, and training has to find it. The first layer has 10 weights
# and 10 biases, the second 10 and 1: 20 + 11 = 31 numbers.

# %%
model = keras.Sequential(
    [keras.Input([1], name="x"), keras.layers.Dense(10), keras.layers.Dense(1)]
)
model.summary(line_length=48)

# %% [markdown]
# ## Training
#
# 2,000 epochs of ten samples an update are 20,000 updates. Adam's rate falls from 0.01 to 0,
# because a constant rate keeps jumping around the solution.
#
# An update takes microseconds, but Keras's work around all of them takes over a minute. With
# `steps_per_execution` Keras looks at the model once in a thousand updates, and `jit_compile` has
# XLA compile them to machine code. The same training then takes three seconds. `autotune` is off:
# it tunes how the data are read, and `fit` would wait for its timer after training. Each
# `Epoch 1/20` below is a hundred epochs. `verbose=2` prints a line for each, and 1 draws a moving
# bar.

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
# Each dense layer has a kernel (inputs × units) and a bias (units). Multiplied through, they must
# give the slope 100 and the intercept 5, though no single weight shows either.

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
# Left, the loss falls. Right, the data, the fitted line, and the five predictions.

# %%
from litecheck import artifacts, pictures

loss = history.history["loss"]
figure = pictures.training(loss, steps, model, _input, _output, test_input, test_output)

# %% [markdown]
# ## Saving
#
# `model.save` writes a **Keras archive**, a zip file of layers, weights and the optimizer's state,
# from which Python can resume training. `model.export` writes a **SavedModel**, which needs neither
# Python nor Keras. It is a directory: `saved_model.pb` is the computation as a TensorFlow graph, in
# a Protocol Buffer, and `variables/` has the 31 numbers. Stage 3 converts it. The files appear when
# all of them are complete.

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
# - `seed = 2`: the weights and the last loss differ, and all five errors stay below 0.003.
# - `epochs = 10`: after 100 updates the prediction for x = 5 is 479 too small.
# - `Dense(1)` in place of `Dense(10)`: one weight times one weight can express the line as well,
#   but training gets only near it, with errors of 21.
