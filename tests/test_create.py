"""Stage 1: the training, its numbers, and obstacles to writing its files."""

import re

import numpy as np
import tensorflow as tf
from conftest import assert_clear_error, lesson, load_everything, predictions, run

X = np.array([[1], [2], [3], [4], [5]], dtype="float32")


def test_samples_are_the_training_inputs(pipeline):
    directory, _ = pipeline
    samples = np.load(directory / "saved_model/my_model.samples.npy")
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.arange(100, 200).reshape(100, 1))


def test_training_shows_twenty_epochs_and_reaches_the_line(pipeline):
    _, processes = pipeline
    stdout = processes["01_create_model.py"].stdout
    epochs = re.findall(r"^Epoch (\d+)/20\n1000/1000 - .* loss: [\d.e-]+$", stdout, re.MULTILINE)
    assert epochs == [str(n) for n in range(1, 21)]
    assert np.abs(predictions(stdout) - (100 * X + 5)).max() <= 0.02


def test_the_model_was_updated_20000_times(pipeline):
    directory, _ = pipeline
    model = tf.keras.models.load_model(directory / "saved_model/my_model.keras")
    assert int(model.optimizer.iterations) == 20_000
    assert float(model.optimizer.learning_rate) == 0.0


def test_another_seed_gives_another_model_in_place_of_the_first(warm, tmp_path):
    weights = []
    for seed in [1, 2]:
        script = lesson(tmp_path, "01_create_model.py", epochs=3, seed=seed)
        process = warm(script, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert len(re.findall(r"^10/10 - .* loss: ", process.stdout, re.MULTILINE)) == 3
        model = tf.keras.models.load_model(tmp_path / "saved_model/my_model.keras")
        weights.append(model.get_weights()[0])
        assert int(model.optimizer.iterations) == 30
    assert not np.array_equal(*weights)
    assert len(list((tmp_path / "saved_model").iterdir())) == 4


def test_a_training_that_is_too_short_shows_in_the_errors(warm, tmp_path):
    """The exercise in "Try next" gives the result that it promises."""
    process = warm(lesson(tmp_path, "01_create_model.py", epochs=10), cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    (error,) = re.findall(r"^ +5 +\S+ +505 +(\S+)$", process.stdout, re.MULTILINE)
    assert -480 < float(error) < -478
    assert np.abs(predictions(process.stdout) - (100 * X + 5)).max() > 400


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "saved_model").write_text("mine")
    process = run(lesson(tmp_path, "01_create_model.py", epochs=1), cwd=tmp_path)
    assert_clear_error(process, "saved_model", "run again: python 01_create_model.py")
    assert (tmp_path / "saved_model").read_text() == "mine"


def test_two_trainings_at_once(warm, tmp_path):
    outputs = [tmp_path / "1", tmp_path / "2"]
    processes = []
    for seed, output in enumerate(outputs, start=1):
        output.mkdir()
        script = lesson(output, "01_create_model.py", epochs=5, seed=seed)
        processes.append(warm.start(script, cwd=tmp_path, output=str(output)))
    for process in processes:
        process.join(120)
    assert 0 in [process.exitcode for process in processes]
    assert len(load_everything(tmp_path / "saved_model")) == 4
