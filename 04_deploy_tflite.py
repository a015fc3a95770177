# %% [markdown]
"""
# 4. Deploy the model

A phone or a small board runs the `.tflite` file with **LiteRT**, the runtime that was called
TensorFlow Lite until 2024. It has no training, no Keras and no Python graph. It maps the file into
memory, plans a place for each tensor, and runs the operations in order.

`tf.lite.Interpreter` is deprecated and needs all of TensorFlow. The same class is now in the
package `ai-edge-litert`. So this script runs on a device that has only this package, with
`litecheck/` and `saved_model/` next to the script.
"""

# %%
from litecheck import script

files = ["saved_model/my_model.tflite", "saved_model/my_model.int8.tflite"]
script.start(reads=files, made_by="python 03_convert_model.py", install="ai-edge-litert")

# %% [markdown]
# ## Load the model
#
# `allocate_tensors` reserves one block of memory for all tensors. Inference itself then allocates
# nothing. This matters on a board with only a few kilobytes.

# %%
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path="saved_model/my_model.tflite")
interpreter.allocate_tensors()

# %% [markdown]
# ## What the model takes and returns
#
# Each tensor has a name, a shape, a dtype, and an `index`, the number by which we set and read it.
# In `shape_signature`, -1 is a size that may vary: the number of samples. `shape` is the shape that
# is allocated now.

# %%
import pprint

input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()
print("input details:")
pprint.pp(input_details, width=96)

# %% [markdown]
# ## Prepare the input
#
# The input is a random number below 1,000. The training data ended at 199, but the network has
# learned the line.

# %%
import numpy as np

input_shape = input_details[0]["shape"]
input_data = np.array(np.random.randint(0, 1000, size=input_shape), dtype=np.float32)
print("input : %s" % input_data)

# %% [markdown]
# ## Run and read the output
#
# The tensors are in the interpreter's memory, so inference takes three steps. `set_tensor` copies
# the input into this memory, `invoke` computes, and `get_tensor` copies the output out. (`tensor()`
# gives access to the memory without a copy.)

# %%
interpreter.set_tensor(input_details[0]["index"], input_data)

interpreter.invoke()

output_data = interpreter.get_tensor(output_details[0]["index"])
print("output : %s" % output_data)
print("the line, 100x + 5 : %s" % (input_data * 100 + 5))

# %% [markdown]
# ## How long does it take?
#
# We skip the first run, because caches are cold, and report the median, because it ignores short
# delays.

# %%
from litecheck import litert

seconds, count = litert.time_of(interpreter)
print(f"one run takes {seconds * 1e6:,.1f} us, the median of {count:,}")

# %% [markdown]
# ## One number through the integers
#
# For the full-integer file, we divide $x = 150$ by the scale of the input and round to 192 steps.
# So the file computes with 0.78039 · 192 = 149.835. There the line is at 14,988.5. One step of the
# output is 78.0588, so this is 192.02 steps. It is rounded to 192 steps and stored as 64, which
# stands for 14,987.

# %%
integers = Interpreter(model_path="saved_model/my_model.int8.tflite")
integers.allocate_tensors()
given, taken = integers.get_input_details()[0], integers.get_output_details()[0]
scale, zero_point = given["quantization"]
x = 150
q = min(round(x / scale) + zero_point, 127)
print(f"{x} / {scale:.5f} = {x / scale:.1f}, stored as {q}")
integers.set_tensor(given["index"], np.array([[q]], dtype=np.int8))
integers.invoke()
q = integers.get_tensor(taken["index"]).item()
scale, zero_point = taken["quantization"]
real = scale * (q - zero_point)
print(f"the output is {q}: real = {scale:.4f} * ({q} + {-zero_point}) = {real:,.1f}")
print(f"the line is at {x * 100 + 5:,}")

# %% [markdown]
# ## Does this device compute the same?
#
# Some devices silently return wrong results. Stage 3 saved a record of its check: inputs, the
# trained model's outputs, and how far a device's outputs may differ from them. Here this device
# repeats the runs, and its outputs are compared with the record.

# %%
from litecheck import record

for path in files:
    print(f"{path}\n  {record.compare(path)}")

# %% [markdown]
# ## Which file should I use?
#
# Android, iOS and Linux have the same interpreter. Browsers use **LiteRT.js**, and microcontrollers
# use **tflite-micro**. `make browser` and `make microcontroller` run the files with these two, and
# `make native` runs them from C.
#
# | runs on | choose | because |
# |---|---|---|
# | a processor with floating point | float32 | closest to the trained model |
# | the same, to save bytes | dynamic range | a quarter of the bytes, no samples; can be slower |
# | the same, to save time | full integer | half the time for MobileNetV2 |
# | a phone's GPU | float16 | half of the bytes, and most GPUs compute in float16 anyway |
# | an integer-only chip, a microcontroller | full integer | no floating point, little memory |
# | a browser | dynamic range | small, with the float inputs that LiteRT.js needs |
#
# ## Try next
#
# - `input_data = np.array([[500]], dtype=np.float32)`: the output is 50,005. With
#   `my_model.quant.tflite` in the second cell it is 50,011, which is 6 too much, because float16
#   keeps only three decimal digits.
# - `x = 500` for the integers: 500 / 0.78039 = 640.7 is clipped to 127. The output is 19,905, as
#   for x = 199.
#
# ## What comes next
#
# - [A model of your own](docs/your-model.md): `litecheck convert MODEL` converts and checks it, as
#   stage 3 does here.
# - [A phone](docs/phone.md): several threads can make large models faster. A **delegate** runs
#   parts of the graph with another library or on another chip, such as a GPU or an NPU (a chip for
#   neural networks).
# - [A camera](docs/app.md): your app turns an image into the numbers that the model takes, and the
#   output into the name of a class.
# - [Training with quantization](docs/when-accuracy-drops.md): quantization-aware training rounds
#   the outputs of layers to 8 bits. It can help if full integer is not accurate enough.
