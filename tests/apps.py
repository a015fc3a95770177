"""Compare the programs of `docs/app.md` with `litecheck run`, using only what a device has.

    python apps.py PAGE DIRECTORY

The directory has the variants of `digits`, `diabetes` and `saved_model/my_model`, and `three.png`.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import litecheck

ENDINGS = ["tflite", "quant.tflite", "dynamic.tflite", "int8.tflite"]
PATIENT = {"body": np.float32([[59, 32.1, 101]]), "blood": np.float32([[157, 38, 87]])}


def program(page, name):
    """Return a program of the page: the code block below the comment with its name."""
    text = Path(page).read_text(encoding="utf-8")
    return re.search(rf"^<!-- ci: {name} -->\n```\w+\n(.*?)^```$", text, re.M | re.S)[1]


def printed(directory, code, *arguments):
    """Run a program in a directory, and return what it prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def image(page, directory, file, photo):
    """Return what the page's program and `litecheck run` print for an image."""
    command = [sys.executable, "-m", "litecheck", "run", file, "--input", photo]
    process = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    lines = re.findall(r"^(\w+ [\d.]+%)", process.stdout, re.MULTILINE)
    return printed(directory, program(page, "app-image"), file, photo), *lines


def numbers(page, directory, name, file, inputs, *arguments):
    """Return what the page's program and `litecheck.run` return for inputs."""
    (output,) = litecheck.run(str(Path(directory, file)), inputs).values()
    words = printed(directory, program(page, name), file, *arguments).split()
    return float(words[-1]), round(output.item(), 1)


def main():
    """Compare all programs on all variants, and print what they print."""
    page, directory = sys.argv[1:]
    for ending in ENDINGS:
        photo = image(page, directory, f"digits.{ending}", "three.png")
        lesson = f"saved_model/my_model.{ending}"
        pairs = [
            numbers(page, directory, "app-two", f"diabetes.{ending}", PATIENT),
            numbers(page, directory, "app-line", lesson, np.float32([[150]]), "150"),
        ]
        print(ending, photo, *pairs)
        if photo[0] != photo[1] or any(abs(app - run) > 0.11 for app, run in pairs):
            sys.exit(f"a program of {page} and litecheck run differ")


if __name__ == "__main__":
    main()
