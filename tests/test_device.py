"""The proof on a device: stage 4 says how it agrees with the trained model, or fails."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import SUFFIXES, assert_clear_error, save_line

from backstage import device

VARIANTS = ["float32", "float16", "dynamic range", "full integer"]
AGREES = (
    r"^proof: 16 of 16 runs agree with the trained model, largest difference (\S+) of the range$"
)


@pytest.fixture
def copy(pipeline, tmp_path):
    """Return a directory with the lesson's files and their proof, and nothing else, as a device."""
    for path in (pipeline[0] / "saved_model").glob("my_model*"):
        if path.name.endswith((".tflite", ".proof.json")):
            shutil.copy(path, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def other(warm, tmp_path_factory):
    """Return a function that converts a line y = slope · x + 5 under a name of its own."""
    directory = tmp_path_factory.mktemp("other")

    def make(slope):
        name = f"line{slope}"
        if not (directory / f"{name}.tflite").exists():
            save_line(directory / f"{name}.keras", slope)
            process = warm("03_convert_model.py", f"{name}.keras", cwd=directory)
            assert process.returncode == 0, process.stderr
        return directory / name

    return make


def converted(function):
    """Return a `.tflite` file of a function of float32 (n, 1), with the lesson's names."""
    spec = tf.TensorSpec([None, 1], tf.float32, name="keras_tensor")
    module = tf.Module()
    module.f = tf.function(lambda keras_tensor: {"output_0": function(keras_tensor)}, [spec])
    saved = module.f.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([saved], module).convert()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_line_says_how_this_device_did(warm, copy, variant):
    process = warm("04_deploy_tflite.py", f"my_model{SUFFIXES[variant]}", cwd=copy)
    assert process.returncode == 0, process.stderr
    (largest,) = re.findall(AGREES, process.stdout.splitlines()[-1])
    proof = json.loads((copy / "my_model.proof.json").read_text(encoding="utf-8"))
    assert 0 < float(largest) <= 1.01 * proof["variants"][variant]["of_range"]


def test_without_a_proof_nothing_is_said(warm, copy):
    (copy / "my_model.proof.json").unlink()
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert (process.returncode, process.stderr) == (0, "")
    assert "proof" not in process.stdout


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("slope", [50, 101])
def test_a_file_of_another_model_under_the_same_name(warm, copy, other, variant, slope):
    """A line of another slope, by half and by one percent: that is within full integer's error."""
    shutil.copy(f"{other(slope)}{SUFFIXES[variant]}", copy / f"my_model{SUFFIXES[variant]}")
    process = warm("04_deploy_tflite.py", f"my_model{SUFFIXES[variant]}", cwd=copy)
    if (variant, slope) == ("full integer", 101):
        assert process.returncode == 0
        return
    assert_clear_error(process, "this file computes something else", "is right", "has changed")
    assert re.search(r"in run \d+, output_0 answers \d", process.stderr)
    assert "agree" not in process.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: 100 * x + 5 + 0 * tf.math.log(-x),  # NaN
        lambda x: 0 * x,
        lambda x: (100 * x + 5) / tf.where(x > 110, 0.0, 1.0),  # infinite in some runs
        lambda x: tf.cast(tf.cast(100 * x + 5, tf.float16), tf.float32),
        lambda x: tf.round((100 * x + 5) / 8) * 8,
    ],
    ids=["NaN", "zeros", "infinite", "float16", "steps"],
)
def test_what_devices_answer_in_error(warm, copy, wrong):
    (copy / "my_model.tflite").write_bytes(converted(wrong))
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert_clear_error(process, "computes something else than the trained model")


def test_the_numbers_decide_and_not_the_hash(warm, copy):
    (copy / "my_model.tflite").write_bytes(converted(lambda x: 100 * x + 5))
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert process.returncode == 0, process.stderr
    assert re.match(AGREES, process.stdout.splitlines()[-1])
    assert "my_model.tflite has changed: it is not of the last conversion" in process.stdout


def test_a_device_is_blamed_where_the_file_is_the_proven_one(warm, copy):
    """As if LiteRT computed something else here: the right answers of the proof are others."""
    path = copy / "my_model.proof.json"
    proof = json.loads(path.read_text(encoding="utf-8"))
    proof["runs"][3]["answers"] = proof["runs"][9]["answers"]
    path.write_text(json.dumps(proof), encoding="utf-8")
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert_clear_error(
        process, "this device computes something else", "run 4, ", "report it, with ai-edge-litert"
    )


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: tf.concat([x, x], 1), "output_0 has the shape [-1, 2], not [1, 1]"),
        (lambda x: tf.reduce_sum(x), "output_0 has the shape [], not [1, 1]"),
    ],
)
def test_a_file_that_does_not_fit(warm, copy, function, reason):
    (copy / "my_model.tflite").write_bytes(converted(function))
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert_clear_error(process, "this file computes something else", reason)


def test_what_cannot_be_judged(warm, copy):
    path = copy / "my_model.proof.json"
    proof = json.loads(path.read_text(encoding="utf-8"))
    for variant in VARIANTS:
        proof["variants"][variant]["clear"] = False
    path.write_text(json.dumps(proof), encoding="utf-8")
    for variant in ["float32", "full integer"]:
        process = warm("04_deploy_tflite.py", f"my_model{SUFFIXES[variant]}", cwd=copy)
        assert process.returncode == 0
        assert process.stdout.splitlines()[-1].startswith("proof: cannot be judged")
    (copy / "my_model.tflite").write_bytes(converted(lambda x: 0 * x))
    assert warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy).returncode == 0
    (copy / "my_model.tflite").write_bytes(converted(lambda x: tf.math.log(-x)))
    assert warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy).returncode == 1


DAMAGES = {
    "no runs": lambda proof: proof.update(runs=[]),
    "runs missing": lambda proof: proof.pop("runs"),
    "ranges missing": lambda proof: proof.pop("ranges"),
    "ranges of others": lambda proof: proof.update(ranges={"z": proof["ranges"]["output_0"]}),
    "clear in words": lambda proof: proof["variants"]["float32"].update(clear="no"),
    "clear missing": lambda proof: proof["variants"]["float32"].pop("clear"),
    "base64": lambda proof: proof["runs"][2]["answers"]["output_0"].update(base64="?"),
    "shape": lambda proof: proof["runs"][2]["answers"]["output_0"].update(shape=[3]),
    "no output": lambda proof: proof["runs"][2]["answers"].clear(),
    "no input": lambda proof: proof["runs"][2]["inputs"].clear(),
    "allowed missing": lambda proof: proof["runs"][2]["allowed"].pop("float32"),
    "allowed NaN": lambda proof: proof["runs"][2]["allowed"]["float32"]["output_0"].update(
        base64="AADAfw=="
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_proof(warm, copy, damage):
    path = copy / "my_model.proof.json"
    proof = json.loads(path.read_text(encoding="utf-8"))
    DAMAGES[damage](proof)
    path.write_text(json.dumps(proof), encoding="utf-8")
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert_clear_error(
        process, "the proof beside my_model.tflite is damaged", "03_convert_model.py"
    )


def test_a_proof_without_an_end(warm, copy):
    (copy / "my_model.proof.json").write_text("[" * 100_000, encoding="utf-8")
    process = warm("04_deploy_tflite.py", "my_model.tflite", cwd=copy)
    assert_clear_error(process, "my_model.proof.json is damaged")


def saved_model(directory, function, *specs):
    """Save a function of tensors as a SavedModel, and samples of its first input beside it."""
    module = tf.Module()
    module.f = tf.function(function, specs)
    tf.saved_model.save(module, str(directory), signatures=module.f.get_concrete_function())
    samples = np.random.default_rng(1).uniform(-1, 1, (40, *specs[0].shape[1:]))
    np.save(f"{directory}.samples.npy", samples.astype("float32"))


def test_two_names_of_one_output(warm, tmp_path):
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    saved_model(tmp_path / "m", lambda x: dict.fromkeys("ab", 2 * x), spec)
    assert warm("03_convert_model.py", "m", cwd=tmp_path).returncode == 0
    process = warm("04_deploy_tflite.py", "m.tflite", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(r"^proof: (\d+) of \1 runs agree", process.stdout, re.MULTILINE)
    assert "output a: " in process.stdout
    assert "output b: " in process.stdout


def test_outputs_of_other_scales_in_one_tensor(warm, tmp_path):
    """A small component's error, large beside its range, is no excuse for a large one."""

    def stretched(slope):
        return lambda x: {"y": x * tf.constant([slope, 20.0])}

    for name, slope in [("m", 1000.0), ("wrong", 1250.0)]:
        spec = tf.TensorSpec([None, 2], tf.float32, name="x")
        saved_model(tmp_path / name, stretched(slope), spec)
        assert warm("03_convert_model.py", name, cwd=tmp_path).returncode == 0
    process = warm("04_deploy_tflite.py", "m.int8.tflite", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    shutil.copy(tmp_path / "wrong.int8.tflite", tmp_path / "m.int8.tflite")
    process = warm("04_deploy_tflite.py", "m.int8.tflite", cwd=tmp_path)
    assert_clear_error(process, "component 0")


@pytest.mark.parametrize("name", ["swish", "lstm", "two_inputs", "uint8_image", "embedding"])
def test_other_models(warm, models, tmp_path, name):
    """Sound files agree: convolutions, recurrent layers, several ends, integers."""
    process = warm("03_convert_model.py", f"{name}.keras", "--output", tmp_path / "m", cwd=models)
    assert process.returncode == 0, process.stderr
    for path in sorted(tmp_path.glob("m*.tflite")):
        process = warm("04_deploy_tflite.py", path.name, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert re.match(r"proof: (\d+) of \1 runs agree", process.stdout.splitlines()[-1])


def test_a_proof_holds_a_megabyte_at_most(copy):
    proven = device.proven(str(copy / "my_model.int8.tflite"))
    assert len(proven.inputs) == len(proven.answers) == len(proven.allowed) == 16
    assert proven.clear
    assert device.proven(str(copy / "my_model.cmdline.tflite")) is None
