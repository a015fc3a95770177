"""The programs of `docs/app.md` return what `litecheck run` returns, for each variant."""

import io
import os
import re
import shutil
import subprocess

import apps
import numpy as np
import photos
import pytest
from conftest import REPOSITORY
from PIL import Image
from tensorflow import keras
from test_native import PACKAGE

import litecheck

PAGE = REPOSITORY / "docs/app.md"
NAMES = ["eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero"]


@pytest.fixture(scope="module")
def files(pipeline, tmp_path_factory):
    """Return a directory with the variants of a classifier, of two inputs, and of the lesson."""
    directory = tmp_path_factory.mktemp("apps")
    shutil.copytree(pipeline[0] / "saved_model", directory / "saved_model")
    generator = np.random.default_rng(0)
    for name in NAMES:
        (directory / "digits" / name).mkdir(parents=True)
        for index in range(4):
            pixels = generator.integers(0, 256, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(directory / "digits" / name / f"{index}.png")
    shutil.copy(directory / "digits/three/0.png", directory / "three.png")
    keras.utils.set_random_seed(1)
    digits = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(40, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    folder = str(directory / "digits")
    litecheck.convert(digits, folder, samples=folder, test=folder)
    body, blood = keras.Input((3,), name="body"), keras.Input((3,), name="blood")
    both = keras.layers.Concatenate()([body / 100, blood / 200])
    diabetes = keras.Model([body, blood], 100 * keras.layers.Dense(1)(both))
    people = {name: generator.uniform(20, 160, (50, 3)).astype("float32") for name in apps.PATIENT}
    litecheck.convert(diabetes, str(directory / "diabetes"), samples=people)
    return directory


@pytest.mark.parametrize("ending", apps.ENDINGS)
def test_the_programs_return_what_run_does(files, ending):
    for name in ("three", "eight", "zero"):
        app, run = apps.image(PAGE, files, f"digits.{ending}", f"digits/{name}/0.png")
        assert app == run
    app, run = apps.numbers(PAGE, files, "app-two", f"diabetes.{ending}", apps.PATIENT)
    assert app == pytest.approx(run, abs=0.11)  # float64 may round int8 outputs differently
    for x in (0.0, 150.0, 1e6):
        lesson, inputs = f"saved_model/my_model.{ending}", np.float32([[x]])
        app, run = apps.numbers(PAGE, files, "app-line", lesson, inputs, str(x))
        assert app == pytest.approx(run, abs=0.11, rel=1e-6)


def test_photos_of_other_sizes_are_resized_as_in_training(files):
    code = apps.program(PAGE, "app-image")
    start, end = code.index("image = "), code.index("scale, zero_point")
    for size, channels in [((37, 53), 3), ((5, 7), 1), ((8, 30), 3)]:
        pixels = photos.smooth(*size, channels)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(files / "photo.png")
        for count in (1, 3):
            known = {
                "channels": count,
                "height": 8,
                "width": 8,
                "takes": {"shape": [1, 8, 8, count]},
            }
            known["sys"] = type("sys", (), {"argv": ["image.py", "", files / "photo.png"]})
            given = "from PIL import Image, ImageOps\nimport numpy as np\n" + code[start:end]
            exec(given, known)
            decoded, _ = litecheck.images.decoded(str(files / "photo.png"), count)
            expected = litecheck.images.resized(decoded, 8, 8)
            # Converting to grey and rounding to integers each change a pixel by at most 1.
            assert abs(known["numbers"][0] - expected).max() <= 2.01


def test_the_training_program_is_sound():
    compile(apps.program(PAGE, "app-two-train"), "two_train.py", "exec")
    korean = (REPOSITORY / "docs/ko/app.md").read_text(encoding="utf-8")
    english = PAGE.read_text(encoding="utf-8")
    for text in (english, korean):
        assert len(re.findall(r"^<!-- ci: ", text, re.MULTILINE)) == 6
    blocks = [re.findall(r"^```.*?^```$", text, re.M | re.S) for text in (english, korean)]
    assert blocks[0] == blocks[1]


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is installed: cc")
@pytest.mark.parametrize("ending", apps.ENDINGS)
def test_the_program_in_c(files, ending):
    build = files / "build/native"
    if not build.exists():
        build.mkdir(parents=True)
        for library in PACKAGE.glob("libLiteRt.*"):
            shutil.copy(library, build)
        os.symlink(REPOSITORY / "native", files / "native")
        (files / "digit.c").write_text(apps.program(PAGE, "app-c"), encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        (command,) = re.findall(r"^cc .*?\\\n.*$", page, re.MULTILINE)
        subprocess.run(f"{command} -Werror", shell=True, cwd=files, check=True)
    for name in ("three", "nine"):
        photo = io.BytesIO()
        Image.open(files / f"digits/{name}/1.png").save(photo, "PPM")
        program = [build / "digit", f"digits.{ending}"]
        process = subprocess.run(program, cwd=files, input=photo.getvalue(), capture_output=True)
        app, _ = apps.image(PAGE, files, f"digits.{ending}", f"digits/{name}/1.png")
        word, share = app.split()
        assert process.stdout.decode() == f"class {NAMES.index(word)} {share}\n"
    process = subprocess.run([build / "digit"], capture_output=True)
    assert process.stderr.decode() == "usage: digit MODEL.tflite\n"
