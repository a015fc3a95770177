"""From photos to class names: folders as samples and test sets, names of classes, `run`."""

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter

import numpy as np
import photos
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import assert_clear_error, converted, record_of, table
from PIL import Image
from tensorflow import keras

import litecheck
from litecheck import classes, images, samples, script

NAMES = [*photos.COLOURS]


def names(*words):
    return classes.Names(list(words), "net.labels.txt")


def test_the_largest_the_counts_and_the_mistakes_in_words():
    three = names("ant", "bee", "cat")
    assert (
        classes.largest(np.float32([0.021, 0.957, 0.009]), three) == "bee 95.7%, ant 2.1%, cat 0.9%"
    )
    assert classes.largest(np.float32([0.0004, 0.9996]), three) == "1 100.0%"
    assert classes.largest(np.float32([0.1, 0.2, 0.3, 0.4]), three) == "3 40.0%, 2 30.0%, 1 20.0%"
    many = np.eye(12, dtype="float32")[[0, 1, 1, *range(2, 12)]]
    text = classes.counts(many, names())
    assert text == "1 2, 0 1, 2 1, 3 1, 4 1, 5 1, 6 1, 7 1, 8 1, 9 1, and 2 more classes"
    pairs = Counter({(0, 0): 50, (0, 1): 4, (1, 1): 9, (1, 2): 1, (2, 0): 1, (2, 1): 2})
    assert classes.mistakes(pairs, three, 3) == [
        "4 of 54 ant called bee",
        "2 of 3 cat called bee",
        "1 of 10 bee called cat",
    ]
    assert classes.mistakes(pairs, three, 4)[0] == "4 of 54 0 called 1"
    assert classes.mistakes(Counter({(0, 0): 5}), three, 3) == []


def test_names_of_a_file_or_of_folders(tmp_path, capsys):
    folder, name = photos.folder(tmp_path / "photos", count=1), str(tmp_path / "net")
    (folder / ".hidden").mkdir()
    assert classes.known(name, [3], str(folder)).names == NAMES
    assert not classes.known(name, [4], str(folder)).names
    assert not classes.known(name, [3], np.ones(3)).names
    for text, expected in [
        ("ant \n bee\u2028\n", ["ant", "bee"]),
        ("ant\nbee\ncat\n", ["ant", "bee", "cat"]),
        ("\ufeffétourneau\r\n사자\r\n\r\n", ["étourneau", "사자"]),
        ("0 background\n\n2 bee\n\n\n", ["0 background", "", "2 bee"]),
    ]:
        (tmp_path / "net.labels.txt").write_bytes(text.encode())
        assert classes.known(name, [2, 3], str(folder)).names == expected
    assert not capsys.readouterr().out
    assert classes.known(name, [5], None).names == []
    words = "net.labels.txt is left out: it has 3 names, but no output has as many numbers"
    assert words in capsys.readouterr().out
    (tmp_path / "net.labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(script.Failure, match=r"net\.labels\.txt is not text: save it as UTF-8"):
        classes.known(name, [2], None)


def test_folders_of_classes(tmp_path, capsys):
    folder = photos.folder(tmp_path / "test", count=2)
    shutil.copy(folder / "red/0.png", folder / "0.png")
    paths, labels = classes.of_folders(str(folder), names(), 3)
    assert [path.split("/")[-2] for path in paths] == [NAMES[label] for label in labels]
    assert "left out images in no class's folder: 1 of" in capsys.readouterr().out
    reverse = names(*reversed(NAMES))
    assert classes.of_folders(str(folder), reverse, 3)[1].tolist() == (2 - labels).tolist()
    with pytest.raises(
        ValueError, match=r"3 subfolders, but the model has 4 classes: .* all 4 .*net\.labels\.txt"
    ):
        classes.of_folders(str(folder), names(), 4)
    with pytest.raises(ValueError, match="'blue' is not one of the classes"):
        classes.of_folders(str(folder), names("green", "red"), 2)
    doubled = names("red", "blue", "green", "red")
    with pytest.raises(ValueError, match="'red' is the name of two classes"):
        classes.of_folders(str(folder), doubled, 4)
    with pytest.raises(ValueError, match="'red' is the name of two classes"):  # one was blue
        classes.of_folders(str(folder), names("red", "red", "green"), 3)
    (folder / "red").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "red")  # Keras follows links
    assert classes.of_folders(str(folder), names(), 3)[1].tolist() == labels.tolist()
    (folder / "red").unlink()
    apart = unicodedata.normalize("NFD", "로봇")
    (tmp_path / "elsewhere").rename(folder / apart)
    assert set(classes.of_folders(str(folder), names("로봇", "green", "blue"), 3)[1]) == {0, 1, 2}
    (folder / apart).rename(folder / "red")
    shutil.rmtree(folder / "blue")
    assert set(classes.of_folders(str(folder), names(*NAMES), 3)[1]) == {1, 2}
    with pytest.raises(ValueError, match="it has no subfolders"):
        classes.of_folders(str(folder / "red"), names(), 3)
    with pytest.raises(script.Failure, match="is not a test set: give a folder with one subfolder"):
        classes.of_folders(str(folder / "red/0.png"), names(), 3)


@pytest.fixture(scope="module")
def colours(warm, tmp_path_factory):
    """Return a directory with a converted classifier of photos, and the process."""
    directory = tmp_path_factory.mktemp("colours")
    photos.folder(directory / "train", seed=1)
    photos.folder(directory / "test", seed=2)
    shutil.copy(directory / "test/red/0.png", directory / "one.png")
    photos.classifier(scale=2.0, low=-1.0).save(directory / "colours.keras")
    options = ("--samples", "train", "--test", "test", "--scale", "-1..1")
    process = warm("convert", "colours.keras", *options, cwd=directory)
    assert process.returncode == 0, process.stderr
    return directory, process


def test_a_folder_is_converted_like_its_arrays(colours, tmp_path, capsys):
    directory, process = colours
    lines = process.stdout.splitlines()
    assert "on 36 of 36 samples of test" in lines
    assert "calibrated on 36 of 36 samples of train" in lines
    (reach,) = [line for line in lines if line.startswith("samples: ")]
    low, high = map(float, reach.removeprefix("samples: float32 ").split(" to "))
    assert -1 <= low < -0.8 < 0.8 < high <= 1
    rows = table(process.stdout)
    assert {row["metric"] for row in rows.values()} == {"100.0%"}
    fields = record_of(directory / "colours.check.json")
    assert fields["labels"] == NAMES
    assert fields["samples"]["scale"] == "-1..1"
    model = photos.classifier(scale=2.0, low=-1.0)
    arrays = {
        kind: [
            images.resized(np.asarray(Image.open(path)), 6, 5) / 127.5 - 1
            for name in NAMES
            for path in sorted((directory / kind / name).iterdir())
        ]
        for kind in ("train", "test")
    }
    labels = np.repeat(range(3), 12)
    check = litecheck.convert(
        model,
        str(tmp_path / "colours"),
        samples=np.float32(arrays["train"]),
        test=(np.float32(arrays["test"]), labels),
    )
    again = litecheck.convert(
        model,
        str(tmp_path / "again"),
        samples=str(directory / "train"),
        test=str(directory / "test"),
        scale="-1..1",
    )
    capsys.readouterr()
    for row, other in zip(check.rows.values(), again.rows.values(), strict=True):
        assert row.sha256 == other.sha256
        assert row.metrics == other.metrics


@pytest.mark.parametrize("ending", ["tflite", "quant.tflite", "dynamic.tflite", "int8.tflite"])
def test_run_names_what_it_sees(colours, warm, ending):
    directory, _ = colours
    file = f"colours.{ending}"
    process = warm("run", file, "--input", "one.png", cwd=directory)
    assert process.returncode == 0, process.stderr
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("red ")]
    output = litecheck.run(str(directory / file), str(directory / "one.png"))["output_0"][0]
    assert line.startswith(f"red {output[2]:.1%}, ")
    process = warm("run", file, "--test", "test", "--scale", "0..1", cwd=directory)
    assert "the check used the scale -1..1, not 0..1" in process.stdout
    process = warm("run", file, "--input", "test/red", cwd=directory)
    assert "12 samples: red 12\n" in process.stdout
    process = warm("run", file, "--test", "test", cwd=directory)
    assert "output_0: accuracy 100.0% on 36 of 36 samples of test" in process.stdout
    assert "mistakes" not in process.stdout


def test_mistakes_are_named(colours, warm, tmp_path):
    directory, _ = colours
    shutil.copytree(directory / "test", tmp_path / "wrong")
    (tmp_path / "wrong/red/0.png").rename(tmp_path / "wrong/blue/red.png")
    process = warm("run", directory / "colours.tflite", "--test", "wrong", cwd=tmp_path)
    assert "most frequent mistakes: 1 of 13 blue called red\n" in process.stdout


def test_without_names_numbers_are_shown_and_a_file_names_them(colours, warm, tmp_path):
    directory, _ = colours
    shutil.copy(directory / "colours.tflite", tmp_path)
    options = ("--input", directory / "one.png", "--scale", "-1..1")
    process = warm("run", "colours.tflite", *options, cwd=tmp_path)
    assert "\n2 8" in process.stdout
    (tmp_path / "colours.labels.txt").write_text("azul\nverde\nrojo\n")
    assert "\nrojo 8" in warm("run", "colours.tflite", *options, cwd=tmp_path).stdout


def test_names_of_other_numbers_than_the_output(colours, warm, tmp_path):
    """Follow the messages: 4 names and 4 folders become the model's 3."""
    directory, _ = colours
    shutil.copy(directory / "colours.tflite", tmp_path)
    shutil.copytree(directory / "test", tmp_path / "test")
    shutil.copytree(directory / "test/red", tmp_path / "test/white")
    for lines, words in [
        (
            NAMES + ["white"],
            "write the names of all 3 classes in colours.labels.txt, and no others",
        ),
        (
            NAMES,
            "its subfolder 'white' is not one of the classes (blue, green, red): rename it, or",
        ),
    ]:
        (tmp_path / "colours.labels.txt").write_text("\n".join(lines))
        process = warm("run", "colours.tflite", "--test", "test", cwd=tmp_path)
        assert_clear_error(process, words)
    (tmp_path / "test/white").rename(tmp_path / "white")
    process = warm("run", "colours.tflite", "--test", "test", "--scale", "-1..1", cwd=tmp_path)
    assert "accuracy 100.0% on 36 of 36 samples of test" in process.stdout, process.stderr


def test_what_to_convert_again_names_the_folders_and_the_scale(colours, warm, tmp_path):
    directory, _ = colours
    for name in ("train", "test", "one.png", "colours.tflite", "colours.check.json"):
        place = directory / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / name)
    photos.classifier(scale=2.2, low=-1.0).save(tmp_path / "colours.keras")
    process = warm("run", "colours.tflite", "--input", "one.png", cwd=tmp_path)
    (line,) = [line for line in process.stdout.splitlines() if "convert the model again" in line]
    command = line.partition("convert the model again: ")[2]
    assert command.endswith("convert colours.keras --samples train --test test --scale -1..1")
    assert warm(*command[command.index("convert") :].split(), cwd=tmp_path).returncode == 0
    assert "again" not in warm("run", "colours.tflite", "--input", "one.png", cwd=tmp_path).stdout


def test_images_where_they_do_not_belong(colours, warm, tmp_path):
    directory, _ = colours
    (tmp_path / "one.txt").write_text("x")
    (tmp_path / "one.heic").write_text("x")
    np.save(tmp_path / "x.npy", np.zeros((4, 6, 5, 3), "float32"))
    file, one = directory / "colours.tflite", directory / "one.png"
    for arguments, words in [
        (("--input", "one.txt"), "one.txt is not a .npy or .npz file: give an image, or write"),
        (("--input", "one.heic"), "one.heic is an image that Keras does not read: save it as PNG"),
        (
            ("--input", "photos"),
            "photos is missing: name a .npy or .npz file, an image or a folder",
        ),
        (("--input", "none.png"), "none.png is missing: name an image or a folder that exists"),
        (("--input", "x.npy", "--scale", "0..1"), "a scale is for images"),
        (
            ("--input", one, "--scale", "0-1"),
            "0-1 is not a scale of images: give one of 0..255, 0..1",
        ),
        (("--test", one), "one.png is not a test set"),
        (("--test", "photos"), "photos is missing: name a .npz file or a folder that exists"),
        (("--test", "one.txt"), "one.txt is not a .npy or .npz file: write np.savez(FILE, inputs"),
        (("--test", "one.heic"), "or give a folder with one subfolder of images per class"),
    ]:
        assert_clear_error(warm("run", file, *arguments, cwd=tmp_path), words)
    model = directory / "colours.keras"
    process = warm("convert", model, "--scale", "0..1", "--output", "x", cwd=tmp_path)
    assert_clear_error(process, "a scale is for images")
    process = warm("convert", model, "--samples", "one.txt", "--output", "x", cwd=tmp_path)
    assert_clear_error(process, "one.txt is not a .npy or .npz file")
    assert not list(tmp_path.glob("x.*tflite"))


def test_another_scale_than_that_of_the_check_is_hinted_at(colours, warm, tmp_path):
    directory, _ = colours
    shutil.copy(directory / "colours.tflite", tmp_path)
    fields = json.loads((directory / "colours.check.json").read_text())
    del fields["samples"]["scale"]
    (tmp_path / "colours.check.json").write_text(json.dumps(fields))
    process = warm("run", "colours.tflite", "--input", directory / "one.png", cwd=tmp_path)
    assert (
        "and images give 0 to 255: if the model was trained on 0 to 1 or -1 to 1" in process.stdout
    )


def test_what_adds_up_to_1_by_chance_is_no_class(warm, tmp_path):
    taken = keras.Input((3,), name="x")
    keras.Model(taken, keras.layers.Dense(3, kernel_initializer="identity")(taken)).save(
        tmp_path / "net.keras"
    )
    np.save(tmp_path / "net.samples.npy", np.random.default_rng(0).normal(size=(20, 3)))
    np.save(tmp_path / "x.npy", np.float32([[0.2, 0.3, 0.5]]))
    assert warm("convert", "net.keras", cwd=tmp_path).returncode == 0
    assert "50.0%" not in warm("run", "net.tflite", "--input", "x.npy", cwd=tmp_path).stdout
    (tmp_path / "net.check.json").unlink()
    assert "50.0%" in warm("run", "net.tflite", "--input", "x.npy", cwd=tmp_path).stdout


def test_of_a_large_test_set_as_many_images_are_read_as_fit(tmp_path, monkeypatch):
    folder = photos.folder(tmp_path / "test", count=10)
    inputs = {"photo": samples.Input((None, 6, 5, 3), np.dtype("float32"))}
    outputs = {"colour": samples.Input((None, 3), np.dtype("float32"))}
    monkeypatch.setattr(samples, "DECODED", 7 * 6 * 5 * 3 * 4)
    found, labels = samples.test_set(str(folder), "net", inputs, outputs, names())
    assert (found.total, found.size(), len(found.runs)) == (30, 8, 8)
    for run, label in zip(found.runs, labels["colour"], strict=True):
        mean = run["photo"].mean(axis=(0, 1, 2))
        assert NAMES[label] == ["red", "green", "blue"][mean.argmax()]


def test_a_box_is_no_class(warm, tmp_path):
    content = converted(
        lambda photo: tf.reduce_mean(photo, axis=[1, 2]) / 100 - 0.5,
        tf.TensorSpec([None, 4, 4, 3], tf.float32),
    )
    (tmp_path / "box.tflite").write_bytes(content)
    (tmp_path / "box.labels.txt").write_text("a\nb\nc\n")
    Image.fromarray(photos.smooth(4, 4, 3)).save(tmp_path / "a.png")
    process = warm("run", "box.tflite", "--input", "a.png", cwd=tmp_path)
    assert process.returncode == 0
    assert "%" not in process.stdout
    assert "output output_0: [[" in process.stdout


def test_pillow_is_loaded_where_an_image_is_given_only(colours):
    directory, _ = colours
    np.save(directory / "x.npy", np.zeros((1, 6, 5, 3), "float32"))
    code = (
        "import litecheck, sys; litecheck.run('colours.tflite', 'x.npy');"
        "assert 'PIL' not in sys.modules; litecheck.run('colours.tflite', 'one.png');"
        "assert 'PIL' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=directory, check=True)


def test_keras_s_own_export_of_recurrent_layers_does_not_run(warm, tmp_path):
    """The file of Keras's own export does not run. Our file of the same model is verified."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((10, 3)), keras.layers.LSTM(8), keras.layers.Dense(1)], name="model"
    )
    model.export(str(tmp_path / "exported.tflite"), format="litert", verbose=False)
    with pytest.raises(RuntimeError, match=r"Select TensorFlow op\(s\).*not supported by this"):
        Interpreter(str(tmp_path / "exported.tflite")).allocate_tensors()
    model.save(tmp_path / "model.keras")
    process = warm("convert", "model.keras", cwd=tmp_path)
    assert table(process.stdout)["float32"]["verdict"] == "verified"


def test_images_of_several_sizes_where_a_model_takes_any(warm, tmp_path):
    folder = photos.folder(tmp_path / "photos", count=40)
    for path in sorted((folder / "red").iterdir()):
        with Image.open(path) as image:
            image.resize((11, 8 + int(path.stem) % 3)).save(path)
    photos.classifier(scale=255.0, shape=(None, None, 3)).save(tmp_path / "any.keras")
    options = ("--samples", "photos", "--test", "photos")
    process = warm("convert", "any.keras", *options, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert table(process.stdout)["float32"]["verdict"] == "verified"
    assert "the original: accuracy 100.0%" in process.stdout
    process = warm("run", "any.tflite", "--test", "photos", cwd=tmp_path)
    assert "accuracy 100.0% on 120 of 120 samples" in process.stdout
    process = warm("run", "any.tflite", "--input", "photos", cwd=tmp_path)
    assert "120 samples: blue 40, green 40, red 40\n" in process.stdout
    assert process.stdout.count("output output_0") == 4  # its details, and three runs


def test_random_inputs_of_a_check_say_nothing_about_the_scale(warm, tmp_path):
    photos.classifier(scale=255.0).save(tmp_path / "net.keras")
    Image.fromarray(photos.smooth(6, 5, 3)).save(tmp_path / "a.png")
    assert warm("convert", "net.keras", cwd=tmp_path).returncode == 0
    process = warm("run", "net.tflite", "--input", "a.png", cwd=tmp_path)
    assert process.returncode == 0
    assert "--scale" not in process.stdout


def test_a_device_decodes_an_image_when_it_is_run(colours, warm, tmp_path):
    """Unreadable images are reported when they are read, and EXIF rotations at the end."""
    directory, _ = colours
    shutil.copytree(directory / "test", tmp_path / "test")
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(tmp_path / "test/red/0.png") as image:
        image.save(tmp_path / "test/red/0.png", exif=turned)
    for option, folder in [("--input", "test/red"), ("--test", "test")]:
        process = warm("run", directory / "colours.tflite", option, folder, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert process.stdout.count("test/red/0.png has an EXIF rotation. Keras ignores it") == 1
    (tmp_path / "test/red/4.png").write_bytes(b"x")
    for option, folder in [("--input", "test/red"), ("--test", "test")]:
        process = warm("run", directory / "colours.tflite", option, folder, cwd=tmp_path)
        assert_clear_error(process, "4.png is not an image that Keras reads")
    inputs = {"photo": samples.Input((None, 6, 5, 3), np.dtype("float32"))}
    (tmp_path / "test/red/4.png").unlink()
    runs, left = samples.for_deployment(str(tmp_path / "test"), inputs, "net")
    assert (len(runs), left) == (35, 0)
    assert not isinstance(runs.runs[0]["photo"], np.ndarray)
    assert runs[3]["photo"].shape == (1, 6, 5, 3)
    assert len(runs[5:9]) == 4


def test_a_record_of_another_model_is_named_as_that(colours, warm, tmp_path):
    directory, _ = colours
    for name in ("one.png", "colours.tflite"):
        shutil.copy(directory / name, tmp_path)
    text = (directory / "colours.check.json").read_text()
    (tmp_path / "colours.check.json").write_text(text.replace("output_0", "other"))
    process = warm("run", "colours.tflite", "--input", "one.png", cwd=tmp_path)
    assert_clear_error(process, "its outputs are output_0, not other")
