"""Stage 3 of 4: convert the SavedModel to TensorFlow Lite, as float32 and as float16.

Reads saved_model/my_model/; writes saved_model/my_model.tflite and my_model.quant.tflite.
"""

# %% [markdown]
# # 3. Convert the model
#
# A SavedModel is made for servers: Protocol Buffers, which are parsed into objects before use, and
# a runtime of hundreds of megabytes. A `.tflite` file is a **FlatBuffer**: the runtime maps it into
# memory and uses it as it lies, without parsing. The converter also fuses operations and drops all
# that only training needs. (TensorFlow Lite is called **LiteRT** since 2024; the file format kept
# its name.)
#
# `convert-tflite.sh` does the first conversion from the command line.

# %%
import argparse
import contextlib
import os
import re
import sys
import tempfile

parser = argparse.ArgumentParser(description="Convert the SavedModel to TensorFlow Lite files.")
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
if not os.path.exists(f"{saved_path}/saved_model.pb"):
    raise FileNotFoundError(f"{saved_path}/ is missing. Make it with: python 01_create_model.py")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
with startup_notes_hidden():
    import tensorflow as tf

    tf.config.list_physical_devices()

# %% [markdown]
# ## Convert as it is
#
# Weights and arithmetic stay float32, so nothing is lost.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
tflite_model = converter.convert()

# %% [markdown]
# ## Optimize: float16 quantization
#
# Quantization stores the weights with fewer bits. With float16 each takes two bytes in place of
# four, and about three decimal digits remain. At run time they are widened to float32 again.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_types = [tf.float16]
tflite_quant_model = converter.convert()

# %% [markdown]
# ## Save and compare the sizes
#
# The lesson promises a smaller file. For 31 weights that is wrong: two bytes saved on each do not
# pay for the `DEQUANTIZE` operation and the extra tensor that every weight array now needs. The
# saving starts with a few hundred weights and approaches half of the file for large models.

# %%
with tempfile.TemporaryDirectory(dir="saved_model", prefix=".new-") as aside:
    for name, content in [
        ("my_model.tflite", tflite_model),
        ("my_model.quant.tflite", tflite_quant_model),
    ]:
        with open(f"{aside}/{name}", "wb") as file:
            file.write(content)
        os.replace(f"{aside}/{name}", f"saved_model/{name}")
        print(f"saved saved_model/{name:<21} {len(content):5,} bytes")
growth = len(tflite_quant_model) / len(tflite_model) - 1
print(f"float16 changed the size by {growth:+.0%}: this model is too small to gain from it")
