"""How does a model become files? The command `convert`, and `litecheck.convert`."""

import gc
from typing import Any

import tensorflow as tf

from litecheck import artifacts, models, samples, script
from litecheck.table import FIRST, Check, Test, refusal

OPTIONS = tf.lite.OpsSet
WIDE = OPTIONS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def convert(
    model: Any,
    name: str | None = None,
    given: samples.Given | None = None,
    test: Test | None = None,
    signature: str | None = None,
    batch: int | None = None,
) -> Check:
    """Convert a model to every variant, check each, and save it; see `litecheck.convert`.

    Samples and a test set beside the model are found.
    """
    model = artifacts.as_text(model)
    opened = models.load(model, artifacts.as_text(name), signature, batch)
    print(f"model {opened.path.removeprefix('the model ')}, signature {opened.source.signature}")
    if isinstance(model, str):
        given = samples.find(opened.stem(), "samples") if given is None else given
        test = samples.find(opened.stem(), "test") if test is None else test
    try:
        check = Check(opened, given, test)
        for variant in artifacts.VARIANTS:
            if variant != "16-bit int" or check.loses("full integer"):
                _add(check, variant, f"{opened.name}{artifacts.VARIANTS[variant].suffix}")
    finally:
        opened.source.discard()  # not only when the `Check` is gone, which a notebook keeps
    print(check.advice())
    check.save()
    from litecheck import pictures

    pictures.save(pictures.compared(check.columns()), f"{opened.name}.variants.png")
    return check


def _add(check: Check, variant: str, path: str) -> None:
    """Convert a model to a variant, and add it to the table; say why where that cannot be done.

    Raises:
        Failure: float32 cannot be converted, or returns other outputs.
    """
    try:
        if "int" in variant:
            check.require_calibration()
        with script.doing(variant), script.quiet():
            gc.collect()  # graphs and Keras models are circles, which keep much memory
            content = _converter(check, variant).convert()
    except Exception as error:  # the converter and its calibrator raise many kinds
        reason = refusal(error)
        if variant == FIRST:
            raise script.Failure(models.way_out(check.model.source, reason)) from error
        check.leave_out(variant, path, reason)
        return
    check.add(variant, content, path)


def _converter(check: Check, variant: str) -> tf.lite.TFLiteConverter:
    """Return what converts a model to a variant."""
    source = check.model.source
    converter = tf.lite.TFLiteConverter.from_saved_model(
        source.directory, signature_keys=[source.signature]
    )
    if variant != FIRST:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "full integer":
        converter.target_spec.supported_ops = [OPTIONS.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if variant == "16-bit int":
        # The weights keep 8 bits, and operations that have no 16-bit form stay in float.
        converter.target_spec.supported_ops = [WIDE, OPTIONS.TFLITE_BUILTINS]
        converter.inference_input_type = converter.inference_output_type = tf.int16
    if "int" in variant:
        converter.representative_dataset = lambda: iter(check.calibrating.runs)
    return converter
