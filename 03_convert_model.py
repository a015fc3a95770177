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

| reads, in `saved_model/` | writes |
|---|---|
| `my_model/` | `my_model.tflite` (float32), `my_model.quant.tflite` (float16) |
| `my_model.samples.npy` | `my_model.dynamic.tflite` (dynamic range), `my_model.int8.tflite` |
| | `my_model.variants.png`, a picture of all four; `my_model.proof.json` |

`python 03_convert_model.py MODEL` converts another SavedModel or Keras archive, and writes beside
it.
"""

# %%
from backstage import artifacts, script

args = script.start(
    "Convert a model to TensorFlow Lite and verify it.",
    model=script.argument("saved_model/my_model", "a SavedModel or Keras archive", artifacts.model),
    samples=script.option("FILE", "typical inputs, .npy or .npz (default: MODEL.samples.npy)"),
    test=script.option("FILE", "inputs and right answers, .npz (default: MODEL.test.npz)"),
    signature=script.option("NAME", "which of a SavedModel's signatures"),
    batch=script.number(None, "fix the number of samples in a run to N", least=1),
    output=script.option("NAME", "where to write: a path without suffix (default: MODEL)"),
)
with script.quiet_start():
    import tensorflow as tf

# %% [markdown]
# ## The SavedModel and its signature
#
# The converter reads SavedModels; a Keras archive is made into one first. The **signature** is
# the function to convert. Its inputs and outputs have names, and the converted model keeps them.

# %%
from backstage import models

model = models.open(args.model, args.signature, args.batch, args.output)
saved_path, key = model.directory, model.signature
print(f"model {model.path}, signature {key}")

# %% [markdown]
# ## Typical inputs
#
# They serve twice: to compare the converted models with the SavedModel, and to **calibrate** full
# integer quantization, which has to know the range of every value inside the model. Stage 1 saved
# its training inputs for this. Of many samples, at most 1,000 are drawn at random. Random numbers
# will do for comparing, but would calibrate nonsense. For a model of your own, a test set (inputs
# and their right answers) takes their place in the comparison and tells what your task loses.

# %%
from backstage import samples

file = args.samples or samples.find(artifacts.stem(args.model), "samples")
typical = samples.typical(file, model) if file else samples.at_random(model.inputs)
test = args.test or samples.find(artifacts.stem(args.model), "test")

# %% [markdown]
# ## Convert as it is
#
# Weights and arithmetic stay float32, so nothing is lost.
#
# `table.variant` yields a file to write to. At the end of the block it runs what was written with
# LiteRT, compares the answers with the model's, says so, and puts the file in its place.
#
# No two runtimes add up in the same order, so the last digits may differ. How far is measured: the
# model answers again with its weights changed by a millionth. A float32 file further off than ten
# times that change (and 1e-4 of the range) computes something else, and is not kept.
# Quantization costs accuracy, and only you know how much your task can spare: those errors are
# measured, not judged.

# %%
from backstage import verify

table = verify.Table(model, typical, test)
with table.variant("float32", ".tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    tflite.write(converter.convert())

# %% [markdown]
# ## Optimize: float16 quantization
#
# **Quantization** stores numbers with fewer bits: smaller files, often faster, less exact. With
# float16 each weight takes two bytes in place of four and keeps about three decimal digits. Most
# processors widen it to float32 again to compute.

# %%
with table.variant("float16", ".quant.tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    tflite.write(converter.convert())

# %% [markdown]
# ## Dynamic-range quantization
#
# The weights become int8, with a scale for each array. What flows between the operations is
# quantized on the fly, by the range it has in that run. No samples are needed.

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
with table.variant("full integer", ".int8.tflite") as tflite:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = table.representative_dataset()
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    tflite.write(converter.convert())

# %% [markdown]
# ## When eight bits are too few
#
# In a deep network the errors of all layers add up. If more than 5 % of the range is lost, or a
# point of accuracy, integers of 16 bits between the operations may help; the weights keep 8, and
# the file its size. Fewer processors have fast code for that. Operations that have no 16-bit form
# stay in float (`TFLITE_BUILTINS`).

# %%
if table.loses("full integer"):
    with table.variant("16-bit int", ".int16.tflite") as tflite:
        converter = tf.lite.TFLiteConverter.from_saved_model(saved_path, signature_keys=[key])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = table.representative_dataset()
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
        converter.inference_input_type = tf.int16
        converter.inference_output_type = tf.int16
        tflite.write(converter.convert())

# %% [markdown]
# ## What was proven
#
# The error is the largest over all samples; `of range` relates it to the range of the answers, for
# each component of an output (a class, say) by itself. It all goes to `my_model.proof.json`, with
# hashes: when you train again and forget to convert, the old files still run, and stage 4 says so.

# %%
table.show()
artifacts.note(model.name, table.proof())

# %% [markdown]
# ## What the figures say
#
# The lesson promises that quantization makes a model smaller and faster. For 31 weights it does
# not, and the next cell says why, from the table. When does it start to pay? For networks of
# three dense layers, $1 \to n \to n \to 1$, we measured these sizes:
#
# | n | weights | float16 | dynamic range | full integer |
# |--:|--:|--:|--:|--:|
# | 8 | 97 | 121 % | 100 % | 109 % |
# | 16 | 321 | 99 % | 100 % | 91 % |
# | 32 | 1,153 | 72 % | 56 % | 61 % |
# | 256 | 66,561 | 50 % | 27 % | 28 % |

# %%
sizes = table.sizes
if sizes.get("float16", 0) > sizes["float32"]:
    extra = sizes["float16"] - sizes["float32"]
    print(
        f"float16 takes {extra:,} bytes more than float32: it adds a DEQUANTIZE operation for each"
        " array\n  of weights, and they outweigh the two bytes saved on each of so few weights"
    )
if sizes.get("dynamic range") == sizes["float32"]:
    print(
        "dynamic range changed nothing: no array of weights has the 1,024 elements that it asks for"
    )

# %% [markdown]
# ## A picture of the variants
#
# What each variant costs, in one look: bytes, time, and error or accuracy. For the lesson's model
# the picture shows more: the full-integer model knows no value above the largest that it saw in
# calibration, and there its answers stay the same.

# %%
from backstage import pictures

shapes = {end.shape[1:] for end in [*model.inputs.values(), *model.outputs.values()]}
lesson = artifacts.stem(args.model) == "saved_model/my_model" and shapes == {(1,)}
if lesson:
    import numpy as np

    from backstage import litert

    x = np.arange(5, 600, 12, dtype="float32")
    answers = {variant: litert.curve(path, x) for variant, path in table.files.items()}
    figure = pictures.variants(x, answers, sizes, calibrated=(100, 199))
else:
    figure = pictures.compared(table.columns())
with artifacts.whole_file(f"{model.name}.variants.png") as picture:
    figure.savefig(picture, dpi=120)
print(f"saved {model.name}.variants.png")

if lesson and "full integer" in table.files:
    (at_500,) = litert.curve(table.files["full integer"], np.float32([500]))
    print(f"full integer answers {at_500:,.0f} for x = 500, where the line is at 50,005")

# %% [markdown]
# ## Try next
#
# - Calibrate from 0 to 600: `np.save("far.npy", np.arange(0, 600, 6, dtype="float32")[:, None])`,
#   then `--samples far.npy`. Full integer answers 50,087 for x = 500, not 19,905 any more, but
#   the largest error grows from 110 to 340: 256 steps have to reach three times as far.
# - A wider layer, `Dense(1024)` in stage 1: float16 shrinks the file to 63 %, and dynamic range
#   makes it *larger*, 165 %. It keeps a scale for each unit, and 1,024 of them outweigh what
#   1,024 weights of one byte save.
# - Two wide layers in a row, `1 → 32 → 32 → 1` as a model of your own: 32 × 32 weights share 32
#   scales, and dynamic range takes 55 %.
