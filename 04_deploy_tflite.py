"""Stage 4 of 4: run a .tflite file with LiteRT.

Needs this file, a .tflite file and the package ai-edge-litert (which brings NumPy); nothing else.
"""

# %% [markdown]
# # 4. Deploy the model
#
# A phone or a small board runs the `.tflite` file with **LiteRT**, the runtime formerly called
# TensorFlow Lite. It has no training, no Python graph and no Keras: it maps the file, plans the
# memory of its tensors once, and runs the operations in order.
#
# The lesson uses `tf.lite.Interpreter`, which is deprecated and would need all of TensorFlow on the
# device. The same class now lives in the package `ai-edge-litert`.
#
# The first cell is not the lesson: options, errors in one line, and no start-up notes.

# %%
import argparse
import contextlib
import os
import re
import sys
import tempfile

parser = argparse.ArgumentParser(description="Run a .tflite file on a random input.")
parser.add_argument("model", nargs="?", default="saved_model/my_model.tflite", help="%(default)s")
args = parser.parse_args([] if "kernel_launcher" in sys.argv[0] else None)


def report(kind, error, traceback):
    """Print an error the reader can mend as a line, any other with its traceback.

    Takes the arguments of `sys.excepthook`. Notebooks never call it: they show the exception.
    """
    if issubclass(kind, ModuleNotFoundError):
        print(f"{parser.prog}: {error}: run pip install ai-edge-litert", file=sys.stderr)
    elif issubclass(kind, OSError):
        print(f"{parser.prog}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


@contextlib.contextmanager
def startup_notes_hidden():
    """Hold file descriptor 2 back, then pass on all but LiteRT's start-up notes.

    Its C++ library writes these on its own. What else is said meanwhile is not lost.
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
                if not re.match(rb"INFO: ", line):
                    os.write(2, line)


sys.excepthook = report
if not os.path.exists(args.model):
    raise FileNotFoundError(
        f"{args.model} is missing. Make it with: python 03_convert_model.py,"
        " or name another .tflite file"
    )

# %% [markdown]
# ## Load the model and allocate its tensors
#
# `allocate_tensors` plans where in one block of memory each tensor lies. After that, inference
# allocates nothing.

# %%
import numpy as np
from ai_edge_litert.interpreter import Interpreter

with startup_notes_hidden():
    interpreter = Interpreter(model_path=args.model)
    interpreter.allocate_tensors()

# %% [markdown]
# ## Prepare the input
#
# The details tell everything needed to feed the model: each tensor's index, name, dtype and shape.
# A size that may vary is allocated as 1; the `shape_signature` then has -1 in its place.

# %%
input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()
print(f"model: {args.model}")
for kind, details in [("input", input_details), ("output", output_details)]:
    for tensor in details:
        print(
            f"{kind} tensor {tensor['index']}: {tensor['name']}, {np.dtype(tensor['dtype']).name},"
            f" shape {tensor['shape'].tolist()}, signature {tensor['shape_signature'].tolist()}"
        )

input_shape = input_details[0]["shape"]
input_data = np.array(np.random.randint(0, 1000, size=input_shape), dtype=np.float32)
print(f"input : {input_data}")

# %% [markdown]
# ## Run and read the output
#
# Three steps, because the tensors live in the interpreter's memory: `set_tensor` copies the input
# in, `invoke` computes, `get_tensor` copies the output out.

# %%
interpreter.set_tensor(input_details[0]["index"], input_data)
interpreter.invoke()
output_data = interpreter.get_tensor(output_details[0]["index"])
print(f"output: {output_data}")
print(f"100x+5: {input_data * 100 + 5}")
