"""How is a model converted to a variant? The converter's settings, for each source that it has."""

from collections.abc import Sequence

import tensorflow as tf

from litecheck import models, rewriting, samples, script
from litecheck.artifacts import FLOAT_ENDS, INTEGERS, PART
from litecheck.table import FIRST, Check

OPTIONS = tf.lite.OpsSet
WIDE = OPTIONS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def files(check: Check, variant: str) -> list[bytes]:
    """Return a variant of a model, of the rewritten one too, the smaller file first.

    The model as it is may have loops, which cannot be calibrated.

    Raises:
        Exception: the converter's, if there is no file.
    """
    source = check.model.source
    sources = [each for each in (source.rewritten, source) if each]
    if "int" in variant:
        models.require_samples(check.model, check.calibrating)
        if not check.magnitudes:
            other: bytes | None = None
            if source.rewritten:
                with script.doing(variant), script.quiet():
                    other = converted(source.rewritten, FIRST, [])
            check.require_calibration(other)
        sources = [check.integers]
    found, refused = list[bytes](), list[Exception]()
    for each in sources:
        try:
            with script.doing(variant), script.quiet():
                found.append(converted(each, variant, check.calibrating.runs))
        except Exception as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    return sorted(found, key=len)


def full_integer(source: models.Source, runs: Sequence[samples.Arrays]) -> bytes:
    """Return the full-integer file of a source, calibrated with some runs.

    Raises:
        Exception: the converter's.
    """
    with script.doing(INTEGERS), script.quiet():
        content = converted(source, INTEGERS, runs)
    return rewriting.with_sound_states(content) or content


def converted(source: models.Source, variant: str, runs: Sequence[samples.Arrays]) -> bytes:
    """Return the file of a variant, see `converter`.

    Raises:
        Exception: the converter's.
    """
    return converter(source, variant, runs).convert()


def converter(
    source: models.Source, variant: str, runs: Sequence[samples.Arrays]
) -> tf.lite.TFLiteConverter:
    """Return the converter of a source, set to a variant.

    It is the same one for all variants, since `from_saved_model` takes seconds for a large model.
    So every setting is set each time. Part integer has one of its own, which the debugger changes.

    Args:
        source: the source.
        variant: its name.
        runs: the inputs of each run that calibrates, if it is one of integers.
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
