# %% [markdown]
"""
# 4. Deploy the model

A phone or a small board runs the `.tflite` file with **LiteRT**, the runtime that was called
TensorFlow Lite until 2024. There is no training in it, no Keras and no graph in Python: it maps
the file into memory, plans where each tensor lies, and runs the operations in order.

The lesson uses `tf.lite.Interpreter`, which is deprecated and brings all of TensorFlow along. The
same class is now in the package `ai-edge-litert`, so this file runs on a device that has only that,
with `backstage/` beside it. It takes any other `.tflite` file as well.
"""

# %%
import os

from backstage import artifacts, script

args = script.start(
    "Run a .tflite file with LiteRT.",
    install="ai-edge-litert",
    model=script.argument("saved_model/my_model.tflite", "a .tflite file", artifacts.tflite),
    input=script.option("FILE", "its inputs, samples first: .npy or .npz (default: random)"),
    test=script.option("FILE", "inputs and right answers, .npz: how many are right here?"),
)

# %% [markdown]
# ## Load the model
#
# The interpreter maps the file and checks that it is a FlatBuffer of the right schema.

# %%
from ai_edge_litert.interpreter import Interpreter

from backstage import litert

with litert.explained(args.model):
    interpreter = Interpreter(model_path=args.model)
print(f"model  {args.model}")

# %% [markdown]
# ## Is it the latest?
#
# Stage 3 left a proof beside the files, with the hashes of the model and of each file. If one is
# another by now, the model was trained again, or the file is an older one. On a device neither
# proof nor model is there, and this does nothing.

# %%
outdated = artifacts.changed(args.model)
if outdated:
    print(outdated)

# %% [markdown]
# ## What the model takes and gives
#
# The details tell each tensor's name, dtype and shape. A size that may vary is allocated as 1,
# with -1 in the signature. The integers $q$ of a quantized tensor stand for real numbers,
# $\text{real} = \text{scale} \cdot (q - \text{zero point})$.

# %%
import numpy as np

input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()
inputs, outputs = litert.names(interpreter)  # the same details, by the names of the signature
lesson = os.path.basename(args.model).startswith("my_model.") and all(
    tensor["shape"].tolist()[1:] == [1] for tensor in input_details + output_details
)

for kind, details in [("input ", inputs), ("output", outputs)]:
    for name, tensor in details.items():
        shape, signature = tensor["shape"].tolist(), tensor["shape_signature"].tolist()
        print(f"{kind} {name}: {np.dtype(tensor['dtype']).name} {shape}", end="")
        print(f", signature {signature}", end="" if tensor["quantization"][0] else "\n")
        if tensor["quantization"][0]:
            print(", real = {:.6g} * (q - {})".format(*tensor["quantization"]))

# %% [markdown]
# ## Prepare the input
#
# By default a random one, as in the lesson: 0 to 999 for floating point. A quantized tensor can
# hold only the range that it was calibrated for, so there the numbers come from that range. Other
# integers may count words or classes, of which there are at least two: 0 and 1.

# %%
from backstage import samples

takes = {name: litert.takes(tensor) for name, tensor in inputs.items()}
if args.test:
    test, labels = samples.test_set(args.test, args.model, takes, outputs)
    test = test.together(takes, litert.answer_bytes(outputs))
    runs = test.runs[:3]
elif args.input:
    runs, left = samples.given(args.input, takes, args.model)
    if left:
        print(f"left out the last {left} of {args.input}: too few for one more run")
else:
    runs = [{name: litert.random_input(tensor, name) for name, tensor in inputs.items()}]

# %% [markdown]
# ## Allocate, run and read the output
#
# `allocate_tensors` plans one block of memory for all tensors, so that inference itself allocates
# nothing: that matters on a board with a few hundred kilobytes. The lesson calls it first; here
# it comes when the sizes of the input are known.
#
# Inference takes three steps, because the tensors lie in the interpreter's memory: `set_tensor`
# copies the input into it, `invoke` computes, and `get_tensor` copies the output out of it, as
# often as you like and one output after the other.
#
# A quantized model computes with integers. Its input is quantized on the way in and its output
# made real on the way out. What lies outside the calibrated range is cut off.

# %%
with litert.explained(args.model, args.input or args.test, litert.random_hint(inputs)):
    for run in runs:
        for name, tensor in inputs.items():
            interpreter.resize_tensor_input(tensor["index"], np.shape(run[name]), strict=True)
        interpreter.allocate_tensors()  # does nothing when the sizes are as before

        for name, tensor in inputs.items():
            stored = litert.quantize(run[name], tensor)
            interpreter.set_tensor(tensor["index"], stored)
            print(f"input  {name}: {litert.text(run[name])}")
            if tensor["quantization"][0]:
                print(f"       stored as {stored.dtype} {litert.text(stored)}")

        interpreter.invoke()

        for name, tensor in outputs.items():
            output_data = interpreter.get_tensor(tensor["index"])
            if tensor["quantization"][0]:
                print(f"       stored as {output_data.dtype} {litert.text(output_data)}")
            print(f"output {name}: {litert.text(litert.dequantize(output_data, tensor))}")

        if lesson:
            (x,) = run.values()
            print(f"the lesson's function, 100x+5: {litert.text(x * 100 + 5)}")

# %% [markdown]
# ## How long does it take, and how many are right?
#
# The first run is left out: it finds cold caches. Of the others the median counts, which a device
# that is busy for a moment does not change. What quantization costs is seen best in what the model
# is for: `--test FILE` runs a test set and prints the accuracy or the mean error, as stage 3 did.

# %%
seconds, count = litert.time_of(interpreter)
print(f"one run takes {seconds * 1e6:,.0f} us, the median of {count:,}")

if args.test:
    from backstage import accuracy

    with litert.explained(args.model, args.test):
        answers = [litert.invoke(interpreter, run) for run in script.counted(test.runs, "testing")]
    thresholds = artifacts.threshold(args.model)
    tasks = accuracy.tasks(labels, accuracy.joined(answers, labels), args.test, thresholds)
    for name, figure in accuracy.figures(tasks, answers).items():
        kind = tasks[name].kind
        print(f"{name}: {accuracy.WORDS[kind]} {accuracy.text(kind, figure)} on {test}")

# %% [markdown]
# ## Where each file runs
#
# Android and iOS have this same interpreter. A browser has **LiteRT.js**, a microcontroller
# **tflite-micro**, and neither takes every file. `make browser` and `make microcontroller` try
# them:
#
# | file | LiteRT | browser | microcontroller |
# |---|---|---|---|
# | float32 | runs | runs, with a fixed batch | runs, in 1,200 bytes of RAM |
# | float16 | runs | runs, with a fixed batch | refused |
# | dynamic range | runs | runs, with a fixed batch | runs, for nothing was quantized |
# | full integer | runs | refused | runs, in 1,328 bytes of RAM |
#
# LiteRT.js plans its memory when it loads a file, so no size may vary: `--batch 1` in stage 3 fixes
# the batch. Its inputs cannot be int8. A microcontroller often computes with integers only, and
# **full integer** was made for it: in a larger network it takes a quarter of the room in flash
# and less than half of the RAM. float16 would have to be widened to float32 there, in RAM that such
# a board does not have, and of dynamic range it lacks the mixed operations.
#
# ## Try next
#
# - Many at once, `--input saved_model/my_model.samples.npy`: the batch varies, so all hundred
#   samples go through in one run, of the shape (100, 1).
# - `np.save("far.npy", np.float32([[500]]))`, then
#   `python 04_deploy_tflite.py saved_model/my_model.int8.tflite --input far.npy`: 500 is stored as
#   127, the largest int8, and the output is 19,905, as for x = 199.
# - The same with `my_model.quant.tflite`: 50,011, which is 6 too much. float16 keeps three decimal
#   digits of each weight.
