# %% [markdown]
"""
# 3. Convert the model

A SavedModel is made for servers. Its graph is a **Protocol Buffer**, parsed into objects before
use, and its runtime takes hundreds of megabytes. A `.tflite` file is a **FlatBuffer**: the runtime
maps it into memory and uses it as it lies. The converter translates one into the other, fuses
operations, and drops what only training needs. Since 2024 TensorFlow Lite is called **LiteRT**;
the file format kept its name.

A converted model may compute something else than its source, and no converter checks. So this
stage converts four ways, runs each file that it wrote, and compares it with the SavedModel.

From `saved_model/my_model` and `my_model.samples.npy` it makes `my_model.tflite`, and beside it
`.quant.tflite`, `.dynamic.tflite` and `.int8.tflite`, three pictures, and `.proof.json`.
`python 03_convert_model.py MODEL` does so for another SavedModel or Keras archive.
"""

# %%
from backstage import artifacts, script

args = script.start(
    "Convert a model to TensorFlow Lite and verify it.",
    model=script.argument("saved_model/my_model", "SavedModel or archive", artifacts.require_model),
    samples=script.option("FILE", "typical inputs, .npy or .npz (default: MODEL.samples.npy)"),
    test=script.option("FILE", "inputs and right answers, .npz (default: MODEL.test.npz)"),
    signature=script.option("NAME", "which of a SavedModel's signatures"),
    batch=script.number(None, "fix the number of samples in a run to N", least=1),
    output=script.option("NAME", "where to write: a path without suffix (default: MODEL)"),
)
with script.quiet_start():
    import tensorflow as tf

# %% [markdown]
# ## The SavedModel, and typical inputs
#
# The converter reads SavedModels; a Keras archive is made into one first. The **signature** is
# the function to convert. Its inputs and outputs have names, and the converted model keeps them.
#
# Typical inputs serve twice: to compare the converted models with the SavedModel, and to
# **calibrate** full integer quantization, which has to know the range of every value inside the
# model. If you have a test set, inputs and their right answers, those are compared instead.

# %%
from backstage import models, samples

model = models.load(args.model, args.signature, args.batch, args.output)
saved_path, key = model.directory, model.signature
print(f"model {model.path}, signature {key}")
file = args.samples or samples.find(artifacts.stem(args.model), "samples")
typical = samples.for_calibration(file, model) if file else samples.at_random(model.inputs)
test = args.test or samples.find(artifacts.stem(args.model), "test")

# %% [markdown]
# ## Convert as it is
#
# Weights and arithmetic stay float32, so nothing is lost. On the command line the same is
#
# ```sh
# tflite_convert --saved_model_dir=saved_model/my_model \
#   --output_file=saved_model/my_model.cmdline.tflite
# ```
#
# `sh convert-tflite.sh` runs that, and its file has the same bytes as the one made here. What it
# does not do is look at the result. `table.variant` yields a file to write to; at the end of the
# block it runs what was written with LiteRT, compares the answers, and puts the file in its place.
#
# No two runtimes add up in the same order, so last digits differ. How far is measured: the model
# answers again with its weights changed by a millionth. A file further off than ten times that
# change (and 1e-4 of the range) computes something else, and is not kept.

# %%
from backstage import verify

table = verify.Table(model, typical, test)
with table.variant("float32", ".tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    tflite.write(converter.convert())

# %% [markdown]
# ## Optimize: float16 quantization
#
# **Quantization** stores numbers with fewer bits: smaller files, often faster, less exact. How much
# your task can spare only you know, so these errors are measured, not judged. With float16 each
# weight takes two bytes in place of four and keeps about three decimal digits. Most processors
# widen it to float32 again to compute.

# %%
with table.variant("float16", ".quant.tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    tflite.write(converter.convert())

# %% [markdown]
# ## Dynamic-range quantization
#
# The weights become int8, with a scale for each unit of a layer. What flows between the operations
# is quantized on the fly, by the range it has in that run. No samples are needed. Arrays of less
# than 1,024 numbers stay as they are.

# %%
with table.variant("dynamic range", ".dynamic.tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    tflite.write(converter.convert())

# %% [markdown]
# ## Full-integer quantization
#
# All is int8, input and output too, so a processor without floating point can run it. The ranges
# are fixed now: the converter runs the model on a **representative dataset** and notes the
# smallest and the largest of each value. What lies outside will be cut off.

# %%
calibrating = typical.calibrating()


def representative_dataset():
    """Yield the inputs of each run: a dict from their names to arrays."""
    for run in calibrating.runs:
        yield run  # here {"keras_tensor": an array of shape (1, 1)}


with table.variant("full integer", ".int8.tflite") as tflite:
    table.require_calibration(calibrating)
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    tflite.write(converter.convert())

# %% [markdown]
# ## When eight bits are too few
#
# Where they lose more than 5 % of the range, or a point of accuracy, as in deep networks,
# integers of 16 bits between the operations may help. The weights keep 8, and operations that have
# no 16-bit form stay in float.

# %%
if table.loses("full integer"):
    with table.variant("16-bit int", ".int16.tflite") as tflite:
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.inference_input_type = converter.inference_output_type = tf.int16
        tflite.write(converter.convert())

# %% [markdown]
# ## What was proven
#
# The error is the largest over all samples; `of range` relates it to the range of the answers, for
# each component of an output (a class, say) by itself. `my_model.proof.json` keeps it.

# %%
table.show()
artifacts.note(model.name, table.proof())

# %% [markdown]
# ## Look inside the files
#
# A file is a list of operations and the numbers that they need. The float32 file has a
# `FULLY_CONNECTED` for each dense layer, and holds 21 numbers where stage 1 trained 31: ten
# weights, ten weights, and one. Nothing stands between the layers, so the converter carried the
# ten biases of the first through the weights of the second. With the second one's bias they make a
# single number: the intercept that stage 1 computed.
#
# Full integer holds integers $q$ with a scale: $\text{real} = \text{scale} \cdot q$. A unit of the
# first layer has one weight and a scale of its own, so that weight is 127 or -127. The scale of a
# bias is that of its input times that of its weights.

# %%
import numpy as np

from backstage import inside, litert, pictures

np.set_printoptions(precision=5, suppress=True, linewidth=94)
ends = [*model.inputs.values(), *model.outputs.values()]
shapes = [end.shape and end.shape[1:] for end in ends]
lesson = artifacts.is_lesson(args.model) and shapes == [(1,), (1,)]
contents = {variant: inside.read(path) for variant, path in table.files.items() if lesson}
for variant in [name for name in ("float32", "full integer") if name in contents]:
    print(f"inside {table.files[variant]}")
    for operation in contents[variant].operations:
        print(f"  {operation.name}")
        for weights in operation.weights:
            print(f"    {weights}\n      {weights.values.ravel()}")
            if weights.scales is not None:
                print(f"      * {weights.scales}\n      = {weights.real().ravel()}")
if not lesson:
    print(f"to look inside: pip install netron, then netron {table.files['float32']}")

# %% [markdown]
# ## Side by side
#
# float16 has a `DEQUANTIZE` for each array, which makes float32 of it again. That is
# where its 508 bytes more come from. Dynamic range has changed nothing.

# %%
picture = None
if lesson:
    with pictures.graph(f"{model.name}.graphs.png") as file:
        picture = pictures.graphs(contents, table.sizes, file)
picture

# %% [markdown]
# ## 256 steps
#
# Eight bits are 256 integers $q$, and each stands for one real number:
# $\text{real} = \text{scale} \cdot (q - \text{zero point})$. Those of the input reach from 0 to
# 199, for the samples end there, and the range must hold 0: so its scale is 199 / 255, and its zero
# point -128. What lies between two steps goes to the nearer one, what lies outside to the last one.

# %%
given = contents["full integer"].inputs[0] if "full integer" in contents else None
held = given and given.limits()
if given and held[0] <= 150 <= held[1]:
    pictures.save(pictures.steps(given, 150), f"{model.name}.steps.png")

# %% [markdown]
# ## Does it pay?
#
# Quantization makes models smaller and faster, but not this one: what describes the operations
# outweighs what 31 weights can save. It pays from a few hundred on: of dense layers
# $1 \to 16 \to 16 \to 1$ (321 weights) float16 takes 98 % and full integer 91 % of float32's bytes,
# of $1 \to 256 \to 256 \to 1$ (66,561) 50 % and 28 %, and dynamic range 27 %.
# Full integer knows no value above 199, so its answers stay the same from there on. Below 100,
# where there were no samples either, they follow the line in steps of 78: for x = 1 it answers 0.

# %%
if lesson:
    x = np.arange(5, 600, 12, dtype="float32")
    answers = {variant: litert.curve(path, x) for variant, path in table.files.items()}
    figure = pictures.variants(x, answers, table.sizes, held)
else:
    figure = pictures.compared(table.columns())
pictures.save(figure, f"{model.name}.variants.png")

# %% [markdown]
# ## Try next
#
# - Calibrate from 0 to 600, beside the lesson's files: x = 500 is no longer cut off, but 256 steps
#   reach three times as far. One is 233, not 78, and the largest error 339.
#
#   ```sh
#   python -c 'import numpy as np; np.save("far.npy", np.arange(0, 600, 6, "f")[:, None])'
#   python 03_convert_model.py --samples far.npy --output far
#   ```
# - `Dense(1024)` in stage 1: float16 takes 63 %, and dynamic range *more*, 165 %: each of 1,024
#   units has a scale and a zero point. Undo it and run both stages again to get back.
