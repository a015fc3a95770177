"""How is a model converted to a variant? Sets the converter, for each source of the model."""

from collections.abc import Sequence

import tensorflow as tf

from litecheck import models, rewriting, samples, script
from litecheck.artifacts import FLOAT_ENDS, INTEGERS, PART
from litecheck.table import FIRST, Check

OPTIONS = tf.lite.OpsSet
WIDE = OPTIONS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def files(check: Check, variant: str) -> list[bytes]:
    """Return the files of a variant, the smallest first.

    Float variants are converted from the original and from the rewritten model, if there is one.
    Integer variants are converted from `check.integers` alone, because the original may have loops,
    which cannot be calibrated.

    Raises:
        Failure: an integer variant cannot be calibrated with the samples.
        Exception: the converter fails on every source.
    """
    source = check.model.source
    sources = [each for each in (source.rewritten, source) if each]
    if "int" in variant:
        models.require_samples(check.model, check.calibrating)
        if not check.magnitudes:
            other: bytes | None = None
            if source.rewritten:
                with script.doing(f"converting to {variant}"), script.quiet():
                    other = converted(source.rewritten, FIRST, [])
            check.require_calibration(other)
        sources = [check.integers]
    found, refused = list[bytes](), list[Exception]()
    for each in sources:
        try:
            with script.doing(f"converting to {variant}"), script.quiet():
                found.append(converted(each, variant, check.calibrating.runs))
        except Exception as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    return sorted(found, key=len)


def full_integer(source: models.Source, runs: Sequence[samples.Arrays]) -> bytes:
    """Return the full-integer file of a source, calibrated with some runs.

    Raises:
        Exception: the converter fails.
    """
    with script.doing(f"converting to {INTEGERS}"), script.quiet():
        content = converted(source, INTEGERS, runs)
    return rewriting.with_sound_states(content) or content


def converted(source: models.Source, variant: str, runs: Sequence[samples.Arrays]) -> bytes:
    """Return the file of a variant; see `converter`.

    Raises:
        Exception: the converter fails.
    """
    return converter(source, variant, runs).convert()


def converter(
    source: models.Source, variant: str, runs: Sequence[samples.Arrays]
) -> tf.lite.TFLiteConverter:
    """Return the converter of a source, set to a variant.

    All variants share one converter, because `from_saved_model` takes seconds for a large model. So
    every setting is set each time. Part integer gets its own converter, because the quantization
    debugger changes it.

    Args:
        source: the source.
        variant: the name of the variant.
        runs: the inputs of each calibration run. Float variants ignore them.
    """
    found = source.new_converter() if variant == PART else source.converter
    spec, ends = tf.lite.TargetSpec(), tf.float32
    if variant == "float16":
        spec.supported_types = [tf.float16]
    if variant in (INTEGERS, FLOAT_ENDS, PART):
        spec.supported_ops = [OPTIONS.TFLITE_BUILTINS_INT8]
    if variant == INTEGERS:
        ends = tf.int8
    if variant == "16-bit int":
        # The weights keep 8 bits, and operations that have no 16-bit form stay in float.
        spec.supported_ops, ends = [WIDE, OPTIONS.TFLITE_BUILTINS], tf.int16
    found.target_spec, found.inference_input_type, found.inference_output_type = spec, ends, ends
    found.optimizations = [] if variant == FIRST else [tf.lite.Optimize.DEFAULT]
    found.representative_dataset = (lambda: iter(runs)) if "int" in variant else None
    return found
