# %% [markdown]
"""
# 1. Create a model

We teach a very small network the line y = 100x + 5, look at what it learned, and save it. The
network is deliberately tiny: stage 3 can print all that is in its files, and stage 4 follows a
number through one of them.

| writes, in `saved_model/` | |
|---|---|
| `my_model.keras`, `my_model/` | the model, for Python and for everything else |
| `my_model.samples.npy`, `my_model.training.png` | the training inputs; a picture |

What is not the lesson, such as options and errors in one line, lives in `backstage/`.
"""

# %%
from backstage import script

args = script.start(
    "Train the lesson's model and save it in saved_model/.",
    epochs=script.number(2000, "passes over the data; above 20 in multiples of 20", least=1),
    seed=script.number(1, "fixes first weights and shuffling", least=0, most=2**32 - 1),
)
with script.quiet_start():
    import tensorflow as tf
    from tensorflow import keras

# %% [markdown]
# ## Data
#
# One hundred samples, $x = 100 \ldots 199$. Later we ask for $x = 1 \ldots 5$: values the network
# has never seen, so it must have found the line itself and not a table of answers. The arrays have
# a leading sample axis. The same seed gives the same weights, to the last bit.

# %%
import numpy as np

keras.utils.set_random_seed(args.seed)
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
model = keras.Sequential([keras.Input([1]), keras.layers.Dense(10), keras.layers.Dense(1)])
model.summary(line_length=48)

# %% [markdown]
# ## Training
#
# 2,000 passes over the data, ten samples an update, are 20,000 updates. Adam starts at a rate of
# 0.01 and goes down to 0, for a constant rate keeps jumping around the solution.
#
# An update takes microseconds; what Keras does around each of them takes over a minute in all. With
# `steps_per_execution` it looks at the model once in a thousand updates only, and `jit_compile` has
# XLA make machine code of it: the same training takes three seconds. So each `Epoch 1/20` stands
# for a hundred passes. `verbose=2` prints a line for each; 1 draws a moving bar, 0 prints nothing.

# %%
epochs = min(args.epochs, 20)
steps = args.epochs * test_size // 10 // epochs
adam = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(0.01, epochs * steps, 0.0))
model.compile(optimizer=adam, loss="mse", steps_per_execution=steps, jit_compile=True)
data = tf.data.Dataset.from_tensor_slices((_input, _output)).shuffle(test_size).batch(10).repeat()
history = model.fit(data, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=2)

# %% [markdown]
# ## Weights
#
# Each dense layer holds a kernel (inputs × units) and a bias (units). Multiplied through, they
# must give the slope 100 and the intercept 5, though no single weight shows either.

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
# XLA adds up in an order of its own. Without it, stage 2 will answer the same to the last bit.

# %%
model.jit_compile = False
print("prediction test")
test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
test_output = model.predict(test_input, verbose=0)
true_output = test_input * 100 + 5
print("    x        predicted      true      error")
for x, predicted, true in zip(test_input[:, 0], test_output[:, 0], true_output[:, 0], strict=True):
    print(f"{x:5g} {predicted:16.9g} {true:9g} {predicted - true:+10.5f}")

loss, worst = history.history["loss"], np.abs(test_output - true_output).max()
if not worst <= 1:
    print(f"the line was not found: loss {loss[-1]:.3g}, largest error {worst:.3g}")
    print("train longer: python 01_create_model.py --epochs 2000")

# %% [markdown]
# ## A picture of the training
#
# Left, the loss falls; right, the data, the fitted line, and the five predictions.

# %%
from backstage import pictures

figure = pictures.training(loss, steps, model, _input, _output, test_input, test_output)

# %% [markdown]
# ## Saving
#
# `model.save` writes a **Keras archive**, a zip file of layers, weights and the optimizer's state,
# from which Python goes on. `model.export` writes a **SavedModel**, which needs neither Python nor
# Keras to run; stage 3 converts it. `whole` moves all into place when it is complete, so no
# half-written file is left behind. The SavedModel is a directory of
#
# - `saved_model.pb`, the computation as a TensorFlow graph, in a Protocol Buffer,
# - `variables/`, the 31 numbers and an index, and `fingerprint.pb`, a hash to tell it by,
# - `assets/`, files that a graph may read, such as vocabularies: none here.

# %%
from backstage import artifacts

with artifacts.whole("saved_model") as directory:
    model.save(f"{directory}/my_model.keras")
    model.export(f"{directory}/my_model", verbose=False)
    np.save(f"{directory}/my_model.samples.npy", _input)
    figure.savefig(f"{directory}/my_model.training.png", dpi=120)
for name in ["my_model", "my_model.keras", "my_model.samples.npy", "my_model.training.png"]:
    print(f"saved saved_model/{name}")

# %% [markdown]
# ## Try next
#
# `python 01_create_model.py` brings the lesson's weights back for the next stages.
#
# - `--seed 2`: the weights and the last loss are others, and all five errors stay below 0.003.
# - `--epochs 10`: after 100 updates the prediction for x = 5 is 479 too small, as a line says.
# - `Dense(1)` in place of `Dense(10)`: one weight times one weight can express the line as well,
#   but training gets only near it, with errors of 21. Undo it before you go on.
