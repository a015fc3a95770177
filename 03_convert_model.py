# %% [markdown]
"""
# 3. Convert the model

A SavedModel is made for servers. Its graph is a **Protocol Buffer**, parsed into objects before
use, and its runtime takes hundreds of megabytes. A `.tflite` file is a **FlatBuffer**, which the
runtime uses as it is. The converter translates one into the other, fuses operations, and drops what
only training needs. Since 2024 TensorFlow Lite is called **LiteRT**. The format kept its name.

A converter can be wrong, and does not check its result. So this stage converts the model four
ways, runs each file, and compares it with the SavedModel. On the command line, `sh
convert-tflite.sh` does the first conversion. Its file has the same bytes, but nothing checks it.
"""

# %%
from litecheck import script

files = ["saved_model/my_model", "saved_model/my_model.samples.npy"]
script.start(reads=files, made_by="python 01_create_model.py")
with script.quiet_start():
    import tensorflow as tf

# %% [markdown]
# ## The SavedModel, and typical inputs
#
# Typical inputs have two uses. We run the files and the SavedModel on them to compare the outputs.
# They also **calibrate** full-integer quantization, which must know the range of every value.

# %%
import numpy as np

import litecheck

saved_path = "saved_model/my_model"
samples = np.load(f"{saved_path}.samples.npy")
check = litecheck.Check(saved_path, samples)

# %% [markdown]
# ## Convert without quantization
#
# Weights and arithmetic stay float32, so nothing is lost.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
tflite_model = converter.convert()

# %% [markdown]
# Is it still the same model? We run both on all samples. The largest difference is 0.004, where
# outputs are near 20,000: two runtimes add in a different order.

# %%
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_content=tflite_model)
interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], samples.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples)
interpreter.invoke()
output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
serving = tf.saved_model.load(saved_path).signatures["serving_default"]
expected = serving(tf.constant(samples))["output_0"].numpy()
print(f"largest difference {np.abs(output - expected).max():.2g} of {expected.max():,.0f}")

# %% [markdown]
# From now on `check.add` does that, and saves the file only if it passes. How far outputs may
# differ is measured: the SavedModel runs again with rounding that is five times as coarse. A
# float32 file that is off by more than twice what that changed in a number is refused.

# %%
check.add("float32", tflite_model, "saved_model/my_model.tflite")

# %% [markdown]
# ## Optimize: float16 quantization
#
# **Quantization** stores numbers with fewer bits: smaller files, often faster, less exact. Only you
# know how much error is acceptable, so errors are measured, not judged. With float16 each weight
# takes two bytes, and keeps about three decimal digits.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_types = [tf.float16]
tflite_quant_model = converter.convert()
check.add("float16", tflite_quant_model, "saved_model/my_model.quant.tflite")

# %% [markdown]
# ## Dynamic-range quantization
#
# The weights become int8, with a scale for each unit of a layer. Values between the operations are
# quantized in each run, by their range in that run. Arrays of fewer than 1,024 weights stay as they
# are, so here this file is the float32 file again.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
check.add("dynamic range", converter.convert(), "saved_model/my_model.dynamic.tflite")

# %% [markdown]
# ## Full-integer quantization
#
# Weights and values are int8, and biases int32, so a processor without floating point can run it.
# The ranges are fixed now: the converter runs the model on a **representative dataset**, and notes
# the smallest and the largest number that each value takes. What is outside will be clipped.


# %%
def representative_dataset():
    """Yield the inputs of each run, a list with an array of shape (1, 1)."""
    for sample in samples:
        yield [sample.reshape(1, 1)]


converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = representative_dataset
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
check.add("full integer", converter.convert(), "saved_model/my_model.int8.tflite")
check.save()

# %% [markdown]
# ## Look inside the files
#
# A file is a list of operations and the numbers that they need. The float32 file has 21 numbers,
# where stage 1 trained 31. Nothing stands between the layers, so the converter carried the first
# layer's ten biases through the second. They became one number, the intercept of stage 1.
#
# In the full-integer file, weights are integers $q$ with a scale: $\text{real} = \text{scale} \cdot
# q$. A unit of the first layer has one weight and its own scale, so that weight is 127 or -127.

# %%
from litecheck import inside, litert, pictures

np.set_printoptions(precision=5, suppress=True, linewidth=94)
contents = {variant: inside.read(row.path) for variant, row in check.rows.items()}
for variant in ["float32", "full integer"]:
    for operation in contents[variant].operations:
        print(f"{variant}: {operation.name}")
        for weights in operation.weights:
            print(f"  {weights}\n    {weights.values.ravel()}")
            if weights.scales is not None:
                print(f"    * {weights.scales}")
pictures.graphs(contents, "saved_model/my_model.graphs.png")  # a notebook shows it

# %% [markdown]
# ## 256 steps
#
# Eight bits can store 256 integers $q$: $\text{real} = \text{scale} \cdot (q - \text{zero point})$.
# The input range is 0 to 199: the largest sample is 199, and the range must include 0. So the scale
# is 199 / 255, and the zero point -128. A value between two steps is rounded to the nearer one.

# %%
given = contents["full integer"].inputs[0]
pictures.save(pictures.steps(given, 150), "saved_model/my_model.steps.png")

# %% [markdown]
# ## Does it pay?
#
# Not for this model: float16 converts each array back to float32 with `DEQUANTIZE`, and these
# operations take more space than 31 weights save. It pays from a few hundred weights on. Full
# integer cannot represent x above 199, so its predictions stay the same from there on.

# %%
x = np.arange(5, 600, 12, dtype="float32")
outputs = {variant: litert.curve(row.path, x) for variant, row in check.rows.items()}
figure = pictures.variants(x, outputs, contents)
pictures.save(figure, "saved_model/my_model.variants.png")

# %% [markdown]
# ## Try next
#
# - `samples = np.arange(0, 600, 6, dtype="float32")[:, None]`: x = 500 is no longer clipped, but
#   256 steps reach three times as far. One is 233 instead of 78, and the largest error 339.
# - `Dense(1024)` in stage 1: float16 takes 63%, and dynamic range *more*, 166%, because each of the
#   1,024 units has its own scale and zero point. Undo both, and run the stages again.
