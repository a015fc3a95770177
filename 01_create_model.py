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

The first cell is not the lesson. It makes this file a well-behaved script: options, errors in one
line, and no start-up notes. Skip it on a first reading.
"""

# %%
import argparse
import os
import signal
import sys
import tempfile

parser = argparse.ArgumentParser(
    description="Train the lesson's model and save it in saved_model/."
)
parser.add_argument("--epochs", type=int, default=2000, help="passes over the data (2000)")
parser.add_argument("--seed", type=int, default=1, help="fixes first weights and shuffling (1)")
# A notebook's kernel has arguments of its own; there, the defaults hold.
notebook = "kernel_launcher" in sys.argv[0]
args = parser.parse_args([] if notebook else None)
if args.epochs < 1:
    parser.error(f"--epochs {args.epochs} trains nothing: give 1 or more, such as --epochs 2000")
if not 0 <= args.seed < 2**32:
    parser.error(f"--seed {args.seed} is not between 0 and {2**32 - 1}: give one such as --seed 1")

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
    elif issubclass(kind, OSError) or "tensorflow" in kind.__module__:
        print(f"{parser.prog}: cannot save: {message}", file=sys.stderr)
        print(f"Mend that or change the directory: python {parser.prog}", file=sys.stderr)
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


sys.excepthook, aside = report, None
if not notebook:
    signal.signal(signal.SIGINT, interrupted)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
os.dup2(nowhere, 2)
import tensorflow as tf
from tensorflow import keras

tf.config.list_physical_devices()
os.dup2(stderr, 2)
tf.get_logger().setLevel("WARNING")
print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")

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
os.makedirs("saved_model", exist_ok=True)

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
# So we keep the updates and leave out what is around them. `train_step` is what Keras does with a
# batch. Mapped over a twentieth of all batches, and compiled by `jit_compile`, it becomes one
# loop without Python. `fit` then sees twenty large steps. The loss of a step is the mean over its
# own updates, as the callback resets it after each.


# %%
class Progress(keras.callbacks.Callback):
    """Print and keep the mean squared error after each portion of the updates."""

    history = {}

    def on_train_batch_end(self, batch, logs):
        """Take the index of the portion, and in `logs["loss"]` the running mean of its updates."""
        done, loss = min((batch + 1) * portion, updates), logs["loss"][-1]
        self.history[done] = float(loss)
        print(f"update {done:6,} of {updates:,}: loss {loss:.3g}")
        self.model.reset_metrics()


portion = -(-updates // 20)
samples = tf.data.Dataset.from_tensor_slices((_input, _output))
batches = samples.shuffle(test_size).batch(10, drop_remainder=True).repeat(args.epochs)

model.optimizer.build(model.trainable_variables)  # a compiled loop cannot create variables
update, losses = model.train_step, {"loss": tf.float32}
model.train_step = tf.function(
    lambda portion: tf.map_fn(update, portion, fn_output_signature=losses),
    autograph=False,
    jit_compile=True,
)
model.fit(batches.batch(portion), shuffle=False, verbose=0, callbacks=[Progress()])
loss = Progress.history[updates]

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
    print(f"the line was not found: loss {loss:.3g}, largest error {worst:.3g}.")
    print("Train longer (--epochs 2000), or check the data.")

# %% [markdown]
# ## A picture of the training
#
# Left, the loss falls by more than ten powers of ten: first fast, while the rate is high, and
# again when it comes down. Right, the data, the line that was fitted to them, and far outside of
# them the five predictions.

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.semilogy(Progress.history.keys(), Progress.history.values(), "o-", color="#0072B2")
left.set(xlabel="updates", ylabel="mean squared error of the last updates", xlim=(0, None))

line = np.array([[0], [210]], dtype="float32")
right.plot(line, model(line), color="#E69F00", label="the model")
right.plot(_input, _output, ".", color="#0072B2", label="training data")
right.plot(test_input, test_output, "X", color="#D55E00", label="predictions for 1 to 5")
right.set(xlabel="x", ylabel="y", xlim=(0, 210), ylim=(0, 21000))
right.legend(frameon=False)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

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
# The inputs are saved too: stage 3 needs typical ones. Everything is written aside and moved into
# place when it is complete, so a run that breaks off leaves no half-written file.

# %%
aside = tempfile.TemporaryDirectory(dir="saved_model", prefix=".new-", ignore_cleanup_errors=True)
model.save(f"{aside.name}/my_model.keras")
model.export(f"{aside.name}/my_model", verbose=False)
np.save(f"{aside.name}/my_model.samples.npy", _input)
figure.savefig(f"{aside.name}/my_model.training.png", dpi=120)

names = sorted(os.listdir(aside.name))
if os.path.isdir("saved_model/my_model"):
    os.rename("saved_model/my_model", f"{aside.name}/replaced")  # a directory is not overwritten
for name in names:
    os.replace(f"{aside.name}/{name}", f"saved_model/{name}")
    print(f"saved saved_model/{name}")
aside.cleanup()
