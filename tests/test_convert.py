"""The four variants of the lesson's model, by stage 3 and `convert`: table, and float32 first."""

import json
import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import SUFFIXES, Converter, answers, assert_clear_error, edited, table
from tensorflow.lite.python import schema_py_generated as schema

VARIANTS = {variant: f"my_model{suffix}" for variant, suffix in list(SUFFIXES.items())[:4]}


def flatbuffer(path):
    """Return the op names of a `.tflite` file and the dtypes of the tensors that hold weights."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if key.isupper()}
    types = {value: key for key, value in vars(schema.TensorType).items() if key.isupper()}
    graph = model.subgraphs[0]
    ops = [names[model.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators]
    weights = {types[t.type] for t in graph.tensors if model.buffers[t.buffer].data is not None}
    return ops, weights


@pytest.mark.parametrize(
    ("variant", "dtype", "weights", "extra_ops"),
    [
        ("float32", np.float32, {"FLOAT32"}, set()),
        ("float16", np.float32, {"FLOAT16"}, {"DEQUANTIZE"}),
        ("dynamic range", np.float32, {"FLOAT32"}, set()),
        ("full integer", np.int8, {"INT8", "INT32"}, set()),
    ],
)
def test_dtypes_and_ops(pipeline, variant, dtype, weights, extra_ops):
    path = pipeline[0] / "saved_model" / VARIANTS[variant]
    interpreter = Interpreter(str(path))
    assert interpreter.get_input_details()[0]["dtype"] == dtype
    assert interpreter.get_output_details()[0]["dtype"] == dtype
    ops, found = flatbuffer(path)
    assert set(ops) == {"FULLY_CONNECTED"} | extra_ops
    assert weights <= found
    assert ("FLOAT32" in found) == ("FLOAT32" in weights)


def test_the_tables_numbers(pipeline):
    directory, processes = pipeline
    rows = table(processes["03_convert_model.py"].stdout)
    assert list(rows) == list(VARIANTS)
    samples = np.load(directory / "saved_model/my_model.samples.npy")
    serving = tf.saved_model.load(str(directory / "saved_model/my_model")).signatures
    expected = serving["serving_default"](tf.constant(samples))["output_0"].numpy()
    float32_size = (directory / "saved_model" / VARIANTS["float32"]).stat().st_size
    for variant, row in rows.items():
        path = directory / "saved_model" / VARIANTS[variant]
        assert row["verdict"] == ("verified" if variant == "float32" else "measured")
        assert row["bytes"] == f"{path.stat().st_size:,}"
        assert int(row["size"]) == round(100 * path.stat().st_size / float32_size)
        assert row["dtypes"] == ("int8" if variant == "full integer" else "float32")
        error = np.abs(answers(path, samples) - expected).max()
        # float32 runs of another batch size may round differently, by one step near 20,000
        step = np.spacing(np.float32(20_000)) if variant != "full integer" else 0
        assert math.isclose(row["error"], error, rel_tol=0.06, abs_tol=step)
        assert math.isclose(
            row["of_range"], error / np.ptp(expected), rel_tol=0.06, abs_tol=step / 9900
        )
    assert rows["float32"]["of_range"] < 2e-6


def test_the_lesson_is_drawn_from_the_figures(pipeline):
    directory, _ = pipeline
    at_500 = answers(directory / "saved_model/my_model.int8.tflite", np.array([[500.0]])).item()
    assert 19_500 < at_500 < 20_500
    picture = (directory / "saved_model/my_model.variants.png").read_bytes()
    pixels = tf.io.decode_png(picture, channels=3).numpy()
    assert pixels.shape[1] >= 800
    for colour in ["0072B2", "E69F00", "009E73", "D55E00"]:  # the colours of all variants
        assert (pixels == list(bytes.fromhex(colour))).all(axis=-1).sum() > 500


@pytest.fixture
def copy(pipeline, tmp_path):
    """Return a directory with a fresh SavedModel and its samples only."""
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "saved_model/my_model")
    shutil.copy(pipeline[0] / "saved_model/my_model.samples.npy", tmp_path / "saved_model")
    return tmp_path


STAGES = [("03_convert_model.py",), ("convert", "saved_model/my_model")]  # stage 3 and the tool


class MovedBias(Converter):
    """A `prepare` of `Warm`: makes the converter add 2 to the last bias."""

    def convert(self, converter, convert):
        return edited(convert(), self.move)

    def move(self, parsed):
        """Add 2 to the only one-element array in a file."""
        (graph,) = parsed.subgraphs
        held = {tensor.buffer for tensor in graph.tensors if list(tensor.shape) == [1]}
        (buffer,) = [number for number in held if parsed.buffers[number].data is not None]
        moved = np.frombuffer(bytes(parsed.buffers[buffer].data), "float32") + np.float32(2)
        parsed.buffers[buffer].data = np.frombuffer(moved.tobytes(), "uint8")


@pytest.mark.parametrize("stage", STAGES)
def test_the_gate_stops_a_wrong_conversion(warm, copy, stage):
    process = warm(*stage, cwd=copy, prepare=MovedBias())
    assert_clear_error(
        process,
        "saved_model/my_model.tflite was not written: output output_0, sample ",
        ", component 0 is ",
        ", but saved_model/my_model returns ",
    )
    names = {path.name for path in (copy / "saved_model").iterdir()}
    assert names == {"my_model", "my_model.samples.npy"}


class RefusedFloat16(Converter):
    """A `prepare` of `Warm`: makes the converter refuse float16, or return a bad file."""

    def __init__(self, content=None):
        """Take the content that the converter returns, or None if it raises an error."""
        self.content = content

    def convert(self, converter, convert):
        if tf.float16 not in converter.target_spec.supported_types:
            return convert()
        if self.content is None:
            raise ValueError("a long story\nno float16 on a Tuesday")
        return self.content


def assert_float16_is_left_out(process, directory, reason):
    assert (process.returncode, process.stderr) == (0, "")
    assert f"float16        not written: {reason}" in process.stdout
    assert list(table(process.stdout)) == ["float32", "dynamic range", "full integer"]
    written = {path.name for path in (directory / "saved_model").glob("*.tflite")}
    assert written == set(VARIANTS.values()) - {"my_model.quant.tflite"}


def test_a_variant_that_the_converter_refuses_leaves_the_others(warm, copy):
    process = warm(*STAGES[1], cwd=copy, prepare=RefusedFloat16())
    assert_float16_is_left_out(process, copy, "no float16 on a Tuesday\n")


@pytest.mark.parametrize("stage", STAGES)
def test_a_variant_that_litert_refuses_leaves_the_others(warm, copy, stage):
    process = warm(*stage, cwd=copy, prepare=RefusedFloat16(b"no flatbuffer"))
    assert_float16_is_left_out(process, copy, "The model is not a valid Flatbuffer buffer")


def test_without_samples_random_inputs_and_no_full_integer(warm, copy):
    (copy / "saved_model/my_model.samples.npy").unlink()
    process = warm("convert", "saved_model/my_model", cwd=copy)
    assert process.returncode == 0, process.stderr
    assert "on 8 random samples" in process.stdout
    assert "full integer   not written: needs typical inputs" in process.stdout
    assert not (copy / "saved_model/my_model.int8.tflite").exists()


def test_the_tool_makes_the_same_files_as_the_lesson(warm, pipeline, copy):
    """All four files have the same bytes and the same entries in the record."""
    process = warm("convert", "saved_model/my_model", cwd=copy)
    assert (process.returncode, process.stderr) == (0, "")
    for name in VARIANTS.values():
        lesson = pipeline[0] / "saved_model" / name
        assert (copy / "saved_model" / name).read_bytes() == lesson.read_bytes(), name
    ours, theirs = (
        json.loads((directory / "saved_model/my_model.check.json").read_text(encoding="utf-8"))
        for directory in (copy, pipeline[0])
    )
    for record in (ours, theirs):
        for row in record["variants"].values():
            row.pop("seconds")
    assert ours.pop("samples") == theirs.pop("samples") | {"file": "my_model.samples.npy"}
    assert ours == theirs
