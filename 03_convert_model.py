# %% [markdown]
"""
# 3. Convert the model

A SavedModel is made for servers. Its Protocol Buffer must be parsed before use, and its runtime
takes hundreds of megabytes. A `.tflite` file is a **FlatBuffer**, a binary format that needs no
parsing. The converter translates one into the other, fuses operations, and drops what only training
needs. Since 2024 TensorFlow Lite is called **LiteRT**. Only format and converter kept their names.

A converter can make mistakes, and it does not check its result. So this stage converts the model in
four ways, runs each file, and compares its outputs with the SavedModel's. On the command line,
`sh convert-tflite.sh` does the first conversion. Its file has the same bytes, but is not checked.
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
# They also **calibrate** full-integer quantization: they show the range of every value.

# %%
import numpy as np

import litecheck

saved_path = "saved_model/my_model"
samples = np.load(f"{saved_path}.samples.npy")
check = litecheck.Check(saved_path, samples)

# %% [markdown]
# ## Convert without quantization
#
# Weights and arithmetic stay float32, so no precision is lost.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
tflite_model = converter.convert()

# %% [markdown]
# Is it still the same model? We run both on all samples. The largest difference is 0.004, where
# outputs are near 20,000. The reason is that the two runtimes add in different orders.

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
# From now on `check.add` makes this comparison, and saves a file only if it passes. How far each
# output may differ is measured: the SavedModel runs again with rounding five times as coarse. If an
# output of the float32 file differs by more than twice what this changed, the file is refused. In
# the table, `of range` is the largest error divided by the range of the outputs, and `one run`
# includes copying data in and out.

# %%
check.add("float32", tflite_model, "saved_model/my_model.tflite")

# %% [markdown]
# ## Optimize: float16 quantization
#
# **Quantization** stores numbers with fewer bits. Files become smaller and often faster, but less
# exact. Only you know how much error is acceptable, so errors are measured, not judged. In float16
# each weight takes two bytes instead of four, and keeps about three decimal digits. Use it when a
# phone's GPU runs the model, or when half of the bytes is small enough.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_types = [tf.float16]
tflite_quant_model = converter.convert()
check.add("float16", tflite_quant_model, "saved_model/my_model.quant.tflite")

# %% [markdown]
# ## Dynamic-range quantization
#
# The weights become 8-bit integers $q$ (int8), which stand for real numbers:
# $\text{real} = \text{scale} \cdot (q - \text{zero point})$. The **scale** is the size of one step
# of $q$, and each unit of a layer has its own. The **zero point** is the integer that stands for 0,
# and for weights it is always 0.
#
# Values between the operations stay float32. A layer with int8 weights quantizes its input while it
# runs, by the range of this input. Arrays of fewer than 1,024 weights stay float32, so here nothing
# is quantized. Use it when a file must be small and you have no typical inputs.

# %%
converter = tf.lite.TFLiteConverter.from_saved_model(saved_path)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
check.add("dynamic range", converter.convert(), "saved_model/my_model.dynamic.tflite")

# %% [markdown]
# ## Full-integer quantization
#
# Weights and values are int8, and biases are int32. So a processor without floating point can run
# the file. The range of each value is fixed now: the converter runs the model on a **representative
# dataset**, and records its smallest and its largest number. Numbers outside will be clipped. Use
# it when the processor has no floating point, or when inference must be faster.


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
# A file holds a list of operations and the numbers that they need. Stage 1 trained 31 numbers, but
# the float32 file has only 21. There is no activation between the layers, so the converter could
# combine all 11 biases into one number, the intercept of stage 1.
#
# For the full-integer file, the scales are printed after `*`. In each unit the largest weight is
# 127 or -127. A unit of the first layer has only one weight, so here every weight is 127 or -127.

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
# Eight bits can store 256 integers $q$, from -128 to 127. The input range is 0 to 199, because the
# largest sample is 199 and the range must include 0. So the scale is 199 / 255, and the zero point
# is -128. A value between two steps is rounded to the nearer one.

# %%
given = contents["full integer"].inputs[0]
pictures.save(pictures.steps(given, 150), "saved_model/my_model.steps.png")

# %% [markdown]
# ## Does quantization pay here?
#
# The float32 file has 1,428 bytes. For this small model, no other file is smaller:
#
# | file | bytes | why |
# |---|--:|---|
# | float16 | 1,936 | three `DEQUANTIZE` operations take more space than float16 saves |
# | dynamic range | 1,428 | no array has 1,024 weights, so the file is the same as float32 |
# | full integer | 1,696 | scales and zero points take more space than int8 saves |
#
# `DEQUANTIZE` converts an array back to float32. From a few hundred weights on, a float16 file is
# smaller. The figure shows the predictions. Full integer cannot represent x above 199, so its
# predictions stay the same from there on.

# %%
x = np.arange(5, 600, 12, dtype="float32")
outputs = {variant: litert.curve(row.path, x) for variant, row in check.rows.items()}
figure = pictures.variants(x, outputs, contents)
pictures.save(figure, "saved_model/my_model.variants.png")

# %% [markdown]
# ## Try next
#
# - `samples = np.arange(0, 600, 6, dtype="float32")[:, None]`: x = 500 is no longer clipped, but
#   the 256 steps span three times the range. One step of the output is 233 instead of 78, and the
#   largest error is 339.
# - `Dense(1024)` in stage 1, and then this stage again: float16 takes 63% of the bytes, but dynamic
#   range takes *more*, 166%. Each of the 1,024 units has its own scale and zero point. Undo both
#   changes, and run the stages again.
