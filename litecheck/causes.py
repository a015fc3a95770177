"""Why is a model not converted? Turns errors of the converter or LiteRT into advice."""

import re
from typing import TYPE_CHECKING

from litecheck import artifacts, script

if TYPE_CHECKING:
    from litecheck.models import Source
    from litecheck.samples import Samples

# Names of Keras's random layers, which do nothing in inference.
OF_KERAS = r"random_|dropout|gaussian|augment|sequential"
# What to do about an error, by a pattern in its message. The first match counts. Each way out was
# tried on a model with this error.
WAYS = {
    r"dies on it": "Report it to TensorFlow, with your model",
    r"IsPowerOfTwo": (
        "LiteRT's FFT takes lengths that are powers of two: use the next one as fft_length, such as"
        " 512 in place of 400 (frames are padded with zeros)"
    ),
    r"complex": (
        "LiteRT has few operations on complex numbers: use tf.abs, tf.math.real or tf.math.imag"
        " right after tf.signal.rfft"
    ),
    r"CombinedNonMaxSuppression": "Use tf.image.non_max_suppression_padded for each class",
    r"(Max|Avg)Pool3D": "Use keras.layers.Conv3D(…, strides=2) in its place, and train it again",
    r"xi8>": "Its weights are quantized already: convert the model as it was before model.quantize",
    r"float64": "It computes in float64: build it in float32",
    r"Lookup|Regex|String(Lower|Split|Join|ToHash)|Tokeniz|Unicode": (
        "Move the preprocessing of text out of the model, and convert the rest"
    ),
}
OTHER = "Compute that outside of the model, and convert the rest"
# Layers without a 16-bit form, by a pattern in the message of LiteRT or the converter.
LACKING = {
    r"SQUARED_DIFFERENCE|SquaredDifference": "LayerNormalization",
    r"Empty min/max": "integer inputs, such as those of Embedding",
    r"BUCKETIZE|Bucketize": "Discretization",
    r"SEQUENCE_LSTM|INT16 for input tensor 0 of type FLOAT32|Expected bias type": "LSTM",
}


def refusal(error: Exception, variant: str = "") -> str:
    """Return in one line why a conversion failed.

    The converter may report several errors. The first one counts, with its operation, dtype and
    layer.

    Args:
        error: the exception that the converter or LiteRT raised.
        variant: the variant, if its own limits may be the reason.
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
    """Return the names of the layers that a message of the converter mentions, sorted."""
    layers = set(re.findall(r'"[^"/@]+/([^"/@]+)/[^"@]*@__inference', story))
    return sorted(layers - {"StatefulPartitionedCall"})


def _dtype(story: str) -> str:
    """Return the rare dtype for which an operation is refused, as " of complex64", or ""."""
    details = story.partition("Details:")[2].partition("\n\n")[0]
    rare = {"complex<f32>": "complex64", "complex<f64>": "complex128", "xf64": "float64"}
    return next((f" of {name}" for words, name in rare.items() if words in details), "")


def of_converting(source: "Source", error: Exception) -> str:
    """Return the message for a model that cannot be converted to float32, with a way out."""
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
            f"Your own layer {', '.join(own)} is random in inference: leave it out, with"
            " keras.Model(model.input, OUTPUT_BEFORE_IT)"
        ): "Random" in reason and bool(own),
        (
            "Its random layers (augmentation) are switched on, as model.export leaves them: " + give
        ): source.is_saved and "Random" in reason,
        "It is random in inference too: build it without training=True": "Random" in reason,
        f"It computes in float16 (mixed_float16): {give}": source.is_saved and source.half,
        f"keras.ops.argmax needs it: {give}": source.is_saved and "BitwiseAnd" in reason,
    }
    own_way = next((way for way, applies in ways.items() if applies), "")
    return f"{source.path} cannot be converted: {reason}. {own_way or _way(reason) or OTHER}"


def _way(reason: str) -> str:
    """Return the way out for a reason, or "" if none is known."""
    return next((way for words, way in WAYS.items() if re.search(words, reason)), "")


def of_running(source: "Source", error: Exception) -> str:
    """Return why LiteRT does not run the float32 file and a way out, or "" if none is known."""
    reason = refusal(error)
    empty = [name for name, output in source.outputs.items() if 0 in output.shape]
    if empty:
        return f"{reason}. Output {', '.join(empty)} has no numbers: leave it out of the model"
    way = _way(reason)
    return f"{reason}. {way}" if way else ""


def of_difference(path: str, source: "Source", samples: "Samples") -> str:
    """Return what may help if the float32 file returns different outputs, or "".

    Args:
        path: the model that was given.
        source: what was converted.
        samples: what the file was run on.
    """
    if source.path != path:
        return f"{source.path} may be from another training: save both from the same model"
    if not samples.source and any(None in input.shape[1:] for input in source.inputs.values()):
        return "LiteRT gets some variable sizes wrong: give samples, and their sizes are used"
    return ""


def of_loops(is_recurrent: bool) -> str:
    """Return why a model with loops has no full-integer variant, and a way out if there is one."""
    reason = "the converter crashes on loops (TensorFlow issue 75140)"
    if not is_recurrent:
        return f"{reason}, and this model has one"
    return f"{reason}: fix the length, and build the recurrent layer with unroll=True"


def failing(error: Exception) -> str:
    """Return in one line why a model itself fails on its inputs, from TensorFlow's exception."""
    story = re.sub(r"\x1b\[\d*m|\{\{.*?\}\}|\[Op:.*?\]", "", str(error))
    told = r"Graph execution error|Detected at|<stack|File |\[\[|Arguments received|Exception enc"
    lines = [line.strip() for line in story.splitlines()]
    kept = [line for line in lines if line and not re.match(told, line) and line[:1] != "•"]
    if kept:
        return script.brief(" ".join(kept[:2])).rstrip(".")
    node = re.search(r"node (\S+)", story)
    operation = f" in the operation {node[1]}" if node else ""
    return f"TensorFlow raises {type(error).__name__}{operation}, without a reason"
