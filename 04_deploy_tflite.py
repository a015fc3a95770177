# %% [markdown]
"""
# 4. Deploy the model

A phone or a small board runs the `.tflite` file with **LiteRT**, the runtime that was called
TensorFlow Lite until 2024. There is no training in it, no Keras and no graph in Python: it maps
the file into memory, plans where each tensor lies, and runs the operations in order.

`tf.lite.Interpreter` is deprecated and brings all of TensorFlow along. The same class is now in the
package `ai-edge-litert`, so this file runs on a device that has only that, with `backstage/` beside
it. It takes any other `.tflite` file as well.
"""

# %%
import os

from backstage import artifacts, script

args = script.start(
    "Run a .tflite file with LiteRT.",
    install="ai-edge-litert",
    model=script.argument("saved_model/my_model.tflite", "the file", artifacts.require_tflite),
    input=script.option("FILE", "its inputs, samples first: .npy or .npz (default: random)"),
    test=script.option("FILE", "inputs and right answers, .npz: how many are right here?"),
)

# %% [markdown]
# ## Load the model
#
# The interpreter maps the file and checks that it is a FlatBuffer of the right schema. If the file
# or its model is another than the one that stage 3 has proven, a line says so.

# %%
from ai_edge_litert.interpreter import Interpreter

from backstage import litert

with litert.explained(args.model):
    interpreter = Interpreter(model_path=args.model)
print(f"model  {args.model}")
outdated = artifacts.changed(args.model)
if outdated:
    print(outdated)

# %% [markdown]
# ## What the model takes and gives
#
# First the details of a tensor as LiteRT gives them, then in short: name in the signature, dtype
# and shape. A size that may vary is allocated as 1, with -1 in the signature. The integers $q$ of
# a quantized tensor stand for real numbers,
# $\text{real} = \text{scale} \cdot (q - \text{zero point})$.

# %%
import pprint

import numpy as np

input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()
print("input details:")
pprint.pp(input_details[:1], width=96)
sizes = [[t["shape"].tolist()[1:] for t in side] for side in (input_details, output_details)]
lesson = os.path.basename(args.model).startswith("my_model.") and sizes == [[[1]], [[1]]]

inputs, outputs = litert.names(interpreter)  # the same, by the names of the signature
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
# By default a random one: 0 to 999 for floating point. A quantized tensor can
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
    runs, left = samples.for_deployment(args.input, takes, args.model)
    if left:
        print(f"left out the last {left} of {args.input}: too few for one more run")
else:
    runs = [{name: litert.random_input(tensor, name) for name, tensor in inputs.items()}]

# %% [markdown]
# ## Allocate, run and read the output
#
# `allocate_tensors` plans one block of memory for all tensors, so that inference itself allocates
# nothing, which matters on a board with few kilobytes. The sizes of the input are known by then.
#
# Inference takes three steps, because the tensors lie in the interpreter's memory: `set_tensor`
# copies the input into it, `invoke` computes, and `get_tensor` copies an output out of it
# (`tensor()` points to it instead). A quantized model computes with integers: its input is
# quantized on the way in, its output made real on the way out. What lies outside is cut off.

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
# ## One number, followed
#
# If the lesson's files lie side by side, $x = 150$ goes through two of them. Full integer divides
# by its input's scale and rounds, so it computes with 0.78039 · 192 = 149.835, where the line is at
# 14,988.5. Its output knows steps of 19,905 / 255 = 78.0588 only, and 14,988.5 are 192.02 of them:
# 192 comes out, stored as 64, and stands for 14,987.

# %%
pair = lesson and litert.lesson_pair(args.model, 150)
if pair:
    print(f"150 through {pair[0]}: {litert.curve(pair[0], np.float32([150])).item():,.1f}")
    print(f"150 through {pair[1]}:")
    integers = Interpreter(model_path=pair[1])
    integers.allocate_tensors()
    (given,), (taken,) = integers.get_input_details(), integers.get_output_details()
    scale, zero_point = given["quantization"]
    steps = round(150 / scale)
    q = steps + zero_point
    print(f"  150 / {scale:.5f} = {150 / scale:.1f}, stored as {steps} - {-zero_point} = {q}")
    integers.set_tensor(given["index"], np.int8([[q]]))
    integers.invoke()
    q, (scale, zero_point) = integers.get_tensor(taken["index"]).item(), taken["quantization"]
    answer = scale * (q - zero_point)
    print(f"  it answers {q}, which is {scale:.4f} * ({q} + {-zero_point}) = {answer:,.1f}")
    print(f"  the line is at {150 * 100 + 5:,}")

# %% [markdown]
# ## Does this device compute the same?
#
# The proof that stage 3 wrote travels with the file: inputs, the trained model's answers, and how
# far a device may be from them. One that computes something else is found out here.

# %%
from backstage import device

for line in device.check(args.model):
    print(line)

# %% [markdown]
# ## Which file when
#
# Android, iOS and Linux have this same interpreter, a browser has **LiteRT.js**, a microcontroller
# **tflite-micro**. `make browser` and `make microcontroller` try the files there. A program in C
# runs them with this same library, in milliseconds and without Python: `make native`.
#
# | runs on | choose | because |
# |---|---|---|
# | a processor with floating point | float32 | exact |
# | the same, to save bytes | dynamic range | a quarter of them, and no samples are needed |
# | the same, to save time | full integer | half of it, for MobileNetV2 |
# | a phone's GPU | float16 | half of the bytes, and it computes so anyway |
# | an integer-only chip, a microcontroller | full integer | no floating point, little room |
# | a browser | dynamic range | refused: inputs of int8, sizes that vary (`--batch 1` fixes one) |
#
# ## Try next
#
# - Many at once, `--input saved_model/my_model.samples.npy`: the batch varies, so all hundred
#   samples go through in one run, of the shape (100, 1).
# - A number beyond the range: 500 is stored as 127, the largest int8, and the output is 19,905, as
#   for x = 199. With `my_model.quant.tflite` it is 50,011, 6 too much: three decimal digits.
#
#   ```sh
#   python -c 'import numpy as np; np.save("x.npy", np.float32([[500]]))'
#   python 04_deploy_tflite.py saved_model/my_model.int8.tflite --input x.npy
#   ```
