# %% [markdown]
"""
# 1. Create a model

We teach a very small network the line y = 100x + 5, look at what it learned, and save it. The
network is deliberately tiny, 31 weights: every number of the next three stages can be checked by
hand.

| writes, in `saved_model/` | |
|---|---|
| `my_model.keras` | the Keras archive, for Python |
| `my_model/` | the SavedModel, for everything else |
| `my_model.samples.npy` | the training inputs |
| `my_model.training.png` | a picture of the training |

What is not the lesson, such as options and errors in one line, lives in `backstage/`.
"""

# %%
from backstage import script

args = script.start(
    "Train the lesson's model and save it in saved_model/.",
    epochs=script.number(2000, "passes over the data", least=1),
    seed=script.number(1, "fixes first weights and shuffling", least=0, most=2**32 - 1),
)
with script.quiet_start():
    from tensorflow import keras

# %% [markdown]
# ## Data
#
# One hundred samples, $x = 100 \ldots 199$. Later we ask for $x = 1 \ldots 5$: values the network
# has never seen, so it must have found the line itself and not a table of answers.
#
# The lesson's arrays were flat integers. Keras 3 wants a leading sample axis and converts
# nothing, so these are float32 of shape (100, 1). The same seed gives the same model, to the last
# byte.

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
# model can express the line exactly, and training has to find it.
#
# Two things differ from the lesson. `input_shape=[1]` is now an `Input` of its own. And Adam
# starts at the lesson's rate of 0.01 but goes down to zero over the run: a constant rate keeps
# jumping around the solution, a decaying one settles in it, at no cost.

# %%
updates = args.epochs * test_size // 10
learning_rate = keras.optimizers.schedules.PolynomialDecay(0.01, updates, end_learning_rate=0.0)

model = keras.Sequential([keras.Input([1]), keras.layers.Dense(10), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
model.summary()

# %% [markdown]
# ## Training
#
# The lesson calls `model.fit(_input, _output, epochs=2000, batch_size=10)`: 20,000 updates of ten
# samples. An update takes microseconds; what Keras and TensorFlow do around each update and each
# epoch takes over a minute.
#
# So `fit` of `backstage/training.py` keeps the updates and leaves out what is around them.
# `train_step` is what Keras does with a batch. Mapped over a twentieth of all batches, and compiled
# by XLA, it becomes one loop without Python, and Keras's own `fit` sees twenty large steps. That
# takes one second. The loss printed after a step is the mean over its thousand updates.

# %%
from backstage.training import fit

history = fit(model, _input, _output, epochs=args.epochs, batch_size=10)

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
print(f"slope {(weight[0] @ weight[2]).item():.4f},", end=" ")
print(f"intercept {(weight[1] @ weight[2] + weight[3]).item():.4f}")

# %% [markdown]
# ## Inference
#
# A list is no longer accepted by `predict`: it wants an array with a sample axis, here (5, 1).

# %%
print("prediction test")
test_input = np.array([[1], [2], [3], [4], [5]], dtype="float32")
test_output = model.predict(test_input, verbose=0)
true_output = test_input * 100 + 5
print("    x        predicted      true      error")
for x, predicted, true in zip(test_input[:, 0], test_output[:, 0], true_output[:, 0], strict=True):
    print(f"{x:5g} {predicted:16.9g} {true:9g} {predicted - true:+10.5f}")

worst = np.abs(test_output - true_output).max()
if not worst <= 1:
    print(f"the line was not found: loss {history[updates]:.3g}, largest error {worst:.3g}.")
    print("Train longer (--epochs 2000), or check the data.")

# %% [markdown]
# ## A picture of the training
#
# Left, the loss falls by more than ten powers of ten: first fast, while the rate is high, and
# again when it comes down. Right, the data, the line that was fitted to them, and far outside of
# them the five predictions.

# %%
from backstage import pictures

figure = pictures.training(history, model, _input, _output, test_input, test_output)

# %% [markdown]
# ## Saving
#
# The lesson's `model.save('saved_model/my_model')` made a SavedModel. Keras 3 separates two
# things:
#
# - `model.save` writes a **Keras archive**, one zip file with the layers, the weights and the state
#   of the optimizer. Python reads it back to look at the model or to go on training.
# - `model.export` writes a **SavedModel**, a directory with the computation itself as a TensorFlow
#   graph (`saved_model.pb`, a Protocol Buffer), its `variables/` and its `assets/`. Neither Python
#   nor Keras is needed to run it, and the converter of stage 3 reads it.
#
# The inputs are saved too: stage 3 needs typical ones. `whole` has all four written aside and moves
# them into place when they are complete, so a run that breaks off leaves no half-written file.

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
# - Another seed, `python 01_create_model.py --seed 2`: the weights and the last loss are others,
#   and all five errors stay below 0.003.
# - Ten epochs, `--epochs 10`: after 100 updates the line is not found. The prediction for x = 5 is
#   479 too small, and a line of text says so.
# - In the model, `Dense(1)` in place of `Dense(10)`: one weight times one weight can express the
#   line as well, but training gets only near it, with errors of 21.
