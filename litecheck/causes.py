"""Why is a model not converted, and what leads out? From what the converter or LiteRT says."""

import re
from typing import TYPE_CHECKING

from litecheck import artifacts, script

if TYPE_CHECKING:
    from litecheck.models import Source
    from litecheck.samples import Samples

OF_KERAS = r"random_|dropout|gaussian|augment|sequential"  # random layers that inference leaves out
# The ways out were tried, each for what it stands beside: the first that applies counts.
WAYS = {
    r"dies on it": "Report it to TensorFlow, with your model",
    r"IsPowerOfTwo": (
        "LiteRT's FFT takes lengths that are powers of two: give fft_length=512 where it is 400"
    ),
    r"complex": (
        "LiteRT knows few operations of complex numbers: take tf.abs, tf.math.real or tf.math.imag"
        " right behind tf.signal.rfft"
    ),
    r"CombinedNonMaxSuppression": "Use tf.image.non_max_suppression_padded for each class",
    r"(Max|Avg)Pool3D": "Use keras.layers.Conv3D(…, strides=2) in its place, and train it again",
    r"xi8>": "Its weights are quantized already (model.quantize): convert the model without that",
    r"float64": "It computes in float64: build it in float32",
    r"Lookup|Regex|String(Lower|Split|Join|ToHash)|Tokeniz|Unicode": (
        "Move the preprocessing of text out of the model, and convert the rest"
    ),
}
OTHER = "Compute that outside of the model, and convert the rest"
# What has no 16-bit form, by what LiteRT or the converter says.
LACKING = {
    r"SQUARED_DIFFERENCE|SquaredDifference": "LayerNormalization",
    r"Empty min/max": "an input of whole numbers, such as an Embedding's",
    r"BUCKETIZE|Bucketize": "Discretization",
    r"SEQUENCE_LSTM|INT16 for input tensor 0 of type FLOAT32|Expected bias type": "LSTM",
}


def refusal(error: Exception, variant: str = "") -> str:
    """Return why a conversion failed, from what the converter or LiteRT raised, in one line.

    Of the converter's messages it is the first error, with its operation, dtype and layer.
    """
    story = str(error).strip()
    if variant == "16-bit int":
        for words, layer in LACKING.items():
            if re.search(words, story):
                return f"LiteRT has no 16-bit form of {layer}"
    ops = sorted(set(re.findall(r"'tf\.(\w+)' op (?:is neither|requires)", story)))
    names = _layers(story)
    layer = f" (layer {', '.join(names)})" if names else ""
    if ops:
        return f"LiteRT has no {', '.join(ops)}{_dtype(story)}{layer}"
    errors = re.findall(r"error: (?:loc\(.*?\]\)*\): )?(.+)", story)
    if errors:
        return f"{script.brief(errors[0]).rstrip('.')}{layer}"
    return script.brief(story.splitlines()[-1]).rstrip(".") if story else type(error).__name__


def _layers(story: str) -> list[str]:
    """Return the names of the layers that the converter speaks of."""
    layers = set(re.findall(r'"[^"/@]+/([^"/@]+)/[^"@]*@__inference', story))
    return sorted(layers - {"StatefulPartitionedCall"})


def _dtype(story: str) -> str:
    """Return of which dtype an operation is refused, " of complex64" for one, if that is rare."""
    details = story.partition("Details:")[2].partition("\n\n")[0]
    rare = {"complex<f32>": "complex64", "complex<f64>": "complex128", "xf64": "float64"}
    return next((f" of {name}" for words, name in rare.items() if words in details), "")


def of_converting(source: "Source", error: Exception) -> str:
    """Return the message where float32 cannot be converted: why, and what leads out."""
    reason, story = refusal(error), str(error)
    stem = artifacts.stem(source.path)
    archive = f"{stem}.keras"
    give = f"save the model with model.save('{archive}') and give the archive:"
    give += f" {script.command('convert', archive)}"
    own = [name for name in _layers(story) if not re.search(OF_KERAS, name)]
    ways = {
        (
            f"{stem} is recurrent and was saved with a batch size that varies, which LiteRT cannot"
            f" run: {give}"
        ): source.is_saved and "TensorList" in reason,
        (
            f"Layer {', '.join(own)} is random in inference, and of your own: leave it out, with"
            " keras.Model(model.input, OUTPUT_BEFORE_IT)"
        ): "Random" in reason and bool(own),
        (
            "Its random layers (augmentation) are switched on, as model.export leaves them: " + give
        ): source.is_saved and "Random" in reason,
        ("It is random in inference too (training=True): build it without that"): "Random"
        in reason,
        f"It computes in float16 (mixed_float16): {give}": source.is_saved and source.half,
        f"keras.ops.argmax needs it: {give}": source.is_saved and "BitwiseAnd" in reason,
    }
    own_way = next((way for way, applies in ways.items() if applies), "")
    return f"{source.path} cannot be converted: {reason}. {own_way or _way(reason) or OTHER}"


def _way(reason: str) -> str:
    """Return what leads out of what LiteRT lacks, or ""."""
    return next((way for words, way in WAYS.items() if re.search(words, reason)), "")


def of_running(source: "Source", error: Exception) -> str:
    """Return why LiteRT does not run the float32 file, with a way out, or "" if none is known."""
    reason = refusal(error)
    empty = [name for name, output in source.outputs.items() if 0 in output.shape]
    if empty:
        return f"{reason}. Output {', '.join(empty)} has no numbers: leave it out of the model"
    way = _way(reason)
    return f"{reason}. {way}" if way else ""


def of_difference(path: str, source: "Source", samples: "Samples") -> str:
    """Return what may help where the float32 file returns other outputs, or ""."""
    if source.path != path:
        return f"{source.path} may be of another training: make both of one model"
    if not samples.source and any(None in input.shape[1:] for input in source.inputs.values()):
        return "LiteRT mistakes some sizes that vary: give samples, whose sizes are taken then"
    return ""


def of_loops(is_recurrent: bool) -> str:
    """Return why a model with loops has no full-integer variant, and what leads out."""
    reason = "the converter crashes on loops (TensorFlow issue 75140)"
    if not is_recurrent:
        return f"{reason}, and this model has one"
    return f"{reason}: fix the length, and build the recurrent layer with unroll=True"


def failing(error: Exception) -> str:
    """Return why a model itself fails on its inputs, from what TensorFlow says, in one line."""
    story = re.sub(r"\x1b\[\d*m|\{\{.*?\}\}|\[Op:.*?\]", "", str(error))
    told = r"Graph execution error|Detected at|<stack|File |\[\[|Arguments received|Exception enc"
    lines = [line.strip() for line in story.splitlines()]
    kept = [line for line in lines if line and not re.match(told, line) and line[:1] != "•"]
    if kept:
        return script.brief(" ".join(kept[:2])).rstrip(".")
    node = re.search(r"node (\S+)", story)
    operation = f" in the operation {node[1]}" if node else ""
    return f"TensorFlow raises {type(error).__name__}{operation}, and says no more"
