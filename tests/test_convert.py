"""Stage 3: the four variants of the lesson's model, the printed table, and the gate."""

import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import REPOSITORY, answers, run, table
from tensorflow.lite.python import schema_py_generated as schema

VARIANTS = {
    "float32": "my_model.tflite",
    "float16": "my_model.quant.tflite",
    "dynamic range": "my_model.dynamic.tflite",
    "full integer": "my_model.int8.tflite",
}


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
    for colour in ["0072B2", "E69F00", "009E73", "D55E00"]:  # every variant is there
        assert (pixels == list(bytes.fromhex(colour))).all(axis=-1).sum() > 500


@pytest.fixture
def copy(pipeline, tmp_path):
    """Return a directory with a fresh SavedModel and its samples only."""
    shutil.copytree(pipeline[0] / "saved_model/my_model", tmp_path / "saved_model/my_model")
    shutil.copy(pipeline[0] / "saved_model/my_model.samples.npy", tmp_path / "saved_model")
    return tmp_path


def run_altered(alteration, cwd):
    """Run stage 3 after `alteration`, lines of Python that change what TensorFlow does."""
    script = REPOSITORY / "03_convert_model.py"
    altered = cwd / "altered.py"
    altered.write_text(
        f"import runpy, sys\nimport tensorflow as tf\n{alteration}\n"
        f"sys.path[0] = {str(REPOSITORY)!r}\n"
        "sys.argv = ['03_convert_model.py']\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    return run(altered, cwd=cwd)


def test_the_gate_stops_a_wrong_conversion(copy):
    """The SavedModel's last bias moves by 2 between conversion and comparison."""
    process = run_altered(
        "load, calls = tf.saved_model.load, []\n"
        "def load_changed(path, *args, **kwargs):\n"
        "    loaded = load(path, *args, **kwargs)\n"
        "    loaded.variables[-1].assign_add([2.0])\n"
        "    return loaded\n"
        "tf.saved_model.load = load_changed",
        copy,
    )
    assert process.returncode != 0
    error = process.stderr.splitlines()[-1]
    assert "saved_model/my_model.tflite was not written" in error
    assert "output output_0, sample " in error
    assert "component 0 answers" in error
    assert not list((copy / "saved_model").glob("*.tflite"))
    assert not list((copy / "saved_model").glob(".new-*"))


def test_a_refused_variant_leaves_the_others(copy):
    process = run_altered(
        "make = tf.lite.TFLiteConverter.from_saved_model\n"
        "def make_refusing(*args, **kwargs):\n"
        "    converter = make(*args, **kwargs)\n"
        "    convert = converter.convert\n"
        "    def refuse():\n"
        "        if tf.float16 in converter.target_spec.supported_types:\n"
        "            raise ValueError('a long story\\nno float16 on a Tuesday')\n"
        "        return convert()\n"
        "    converter.convert = refuse\n"
        "    return converter\n"
        "tf.lite.TFLiteConverter.from_saved_model = make_refusing",
        copy,
    )
    assert "float16        not written: no float16 on a Tuesday\n" in process.stdout
    assert list(table(process.stdout)) == ["float32", "dynamic range", "full integer"]
    written = {path.name for path in (copy / "saved_model").glob("*.tflite")}
    assert written == set(VARIANTS.values()) - {"my_model.quant.tflite"}


def test_without_samples_random_inputs_and_no_full_integer(copy):
    (copy / "saved_model/my_model.samples.npy").unlink()
    process = run("03_convert_model.py", cwd=copy)
    assert process.returncode == 0, process.stderr
    assert "on 8 random samples" in process.stdout
    assert "full integer   not written: needs typical inputs" in process.stdout
    assert not (copy / "saved_model/my_model.int8.tflite").exists()
