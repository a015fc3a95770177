"""Compare the scripts with the 2021 tutorial's code, and print and save the figures.

Run it with `make bench`, on a machine that runs nothing else. Programs that are compared run in
turns. Each figure is the median of the rounds, followed by the smallest and the largest value. The
figures are also saved to build/benchmark.json. All takes forty minutes on two cores.
"""

import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import conftest
from conftest import REPOSITORY, STEPS

LESSON = REPOSITORY / "tests/lesson_2021"
UNITS = [8, 2896]  # for dense networks of 2 kB and 100 MB
MODELS = {"NASNetMobile": (96, 96, 3), "EfficientNetV2B0": (96, 96, 3), "ResNet50V2": (64, 64, 3)}
# Small files that run slowly: large images and outputs, and long sequences.
SLOW = ["edges", "sequences"]
ROUNDS = 3
DEPLOY_ROUNDS = 10
MEMORY_UNIT = 1024 if sys.platform == "linux" else 1024**2  # units of the system's count in a MiB
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}

# Runs a script and prints how long its `fit` took.
TIME_FIT = """
import runpy, sys, time
from tensorflow import keras
fit = keras.Sequential.fit
def timed(*args, **kwargs):
    start = time.perf_counter()
    history = fit(*args, **kwargs)
    print("fit took", time.perf_counter() - start)
    return history
keras.Sequential.fit = timed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs a file with the interpreter that TensorFlow still has. It converts nothing.
TF_LITE = """
import numpy as np, tensorflow as tf
interpreter = tf.lite.Interpreter(model_path="saved_model/my_model.tflite")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([[5]]))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""

# Runs a command, and prints its own peak memory. The system counts a child from the memory of its
# parent, so the parent is a shell, which is small.
PEAK = """
"$@" >/dev/null || exit
exec "$0" -c "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
"""

# Converts as TensorFlow's guide does: export an archive, and convert the SavedModel four times.
BY_THE_BOOK = """
import os, sys
import numpy as np, tensorflow as tf
from tensorflow import keras
name = source = sys.argv[1]
samples = np.load(name + ".samples.npy")
if not os.path.isdir(name):
    source = "book_" + name
    keras.models.load_model(name + ".keras").export(source, verbose=False)
def convert(suffix, **settings):
    converter = tf.lite.TFLiteConverter.from_saved_model(source)
    for key, value in settings.items():
        setattr(converter.target_spec if key.startswith("supported") else converter, key, value)
    with open("book_" + name + suffix + ".tflite", "wb") as file:
        file.write(converter.convert())
default = [tf.lite.Optimize.DEFAULT]
convert("")
convert(".quant", optimizations=default, supported_types=[tf.float16])
convert(".dynamic", optimizations=default)
convert(".int8", optimizations=default, representative_dataset=lambda: ([x[None]] for x in samples),
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8], inference_input_type=tf.int8,
        inference_output_type=tf.int8)
"""

# Times one inference of each form of a model on float32 (1, ...). Arguments: name, shape.
INFERENCE = """
import json, sys, time
import numpy as np, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow import keras
name, x = sys.argv[1], np.random.default_rng(0).random(json.loads(sys.argv[2]), np.float32)
model, t = keras.models.load_model(name + ".keras", compile=False), tf.constant(x)
serving = tf.saved_model.load(name).signatures["serving_default"]
calls = {
    "Keras predict": lambda: model.predict(x, verbose=0),
    "Keras call": lambda: model(t, training=False).numpy(),
    "SavedModel signature": lambda: next(iter(serving(t).values())).numpy(),
}
for variant, suffix in [("float32", ""), ("float16", ".quant"), ("dynamic range", ".dynamic"),
                        ("full integer", ".int8")]:
    interpreter = Interpreter(name + suffix + ".tflite")
    interpreter.allocate_tensors()
    tensor = interpreter.get_input_details()[0]
    interpreter.set_tensor(tensor["index"], np.zeros(tensor["shape"], tensor["dtype"]))
    calls["LiteRT " + variant] = interpreter.invoke
seconds = {form: [] for form in calls}
for form, call in calls.items():
    for _ in range(3):
        call()
for _ in range(7):
    for form, call in calls.items():
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.05 or count < 3:
            call()
            count += 1
        seconds[form].append((time.perf_counter() - start) / count)
print("seconds", json.dumps(seconds))
"""


def started(command):
    """Return a command, preceded by the interpreter if it is a Python script."""
    python = str(command[0]).endswith((".py", "-c", "-m"))
    return [sys.executable, *command] if python else command


def convert(model):
    """Return the command that converts a model with litecheck."""
    return ["-m", "litecheck", "convert", model]


def run(command, directory):
    """Run a command. Return its output, its wall time in seconds and its peak memory in MiB."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(part) for part in started(command)],
            cwd=directory,
            env=os.environ | QUIET | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        errors.seek(0)
        assert status == 0, f"{command} failed: {errors.read().decode()[-2000:]}"
    return output, seconds, usage.ru_maxrss / MEMORY_UNIT


def peak_memory(command, directory):
    """Run a command, and return its peak memory in MiB, even if this process has used more."""
    output, _, _ = run(["sh", "-c", PEAK, sys.executable, *started(command)], directory)
    return int(output) / MEMORY_UNIT


def pipeline(root, directory):
    """Run the five steps of `root`. Return the seconds of all, of `fit`, and the worst error."""
    total = 0
    for step in STEPS:
        command = [str(root / step)] if step.endswith(".py") else ["sh", root / step]
        if step.startswith("01"):
            command = ["-c", TIME_FIT, *command]
        output, seconds, _ = run(command, directory)
        total += seconds
        if step.startswith("01"):
            fit = float(re.search(r"fit took (\S+)", output)[1])
            error = worst_error(output)
    return total, fit, error


def made(directory):
    """Run `make` in a set-up copy. Return the seconds of all, of `fit`, and the worst error."""
    copy = Path(directory, "made")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy2(path, copy)
    shutil.copytree(REPOSITORY / "litecheck", copy / "litecheck")
    (copy / ".venv").symlink_to(REPOSITORY / ".venv")
    output, seconds, _ = run(["make", f"PYTHON={sys.executable}"], copy)
    trained, _, _ = run(["-c", TIME_FIT, REPOSITORY / "01_create_model.py"], directory)
    return seconds, float(re.search(r"fit took (\S+)", trained)[1]), worst_error(output)


def worst_error(output):
    """Return the largest error for x = 1 to 5 in the output of stage 1, the 2021 one or ours."""
    printed = re.search(r"output:  (\[.*\])", output)
    if printed:
        pairs = zip(json.loads(printed[1]), range(105, 506, 100), strict=True)
        return max(abs(y[0] - true) for y, true in pairs)
    return max(abs(float(e)) for e in re.findall(r"^ +[1-5] +\S+ +\d05 +(\S+)$", output, re.M))


def edges():
    """Return an edge detector like HED (Xie and Tu 2015): VGG, with outputs after each stage."""
    from tensorflow import keras

    layers = keras.layers
    x = image = keras.Input((192, 192, 3), name="image")
    sides = []
    for stage, (convolutions, width) in enumerate([(2, 32), (2, 64), (3, 128), (3, 256), (3, 256)]):
        x = layers.MaxPooling2D()(x) if stage else x
        for _ in range(convolutions):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        side = layers.Conv2D(1, 1)(x)
        sides.append(layers.UpSampling2D(2**stage, interpolation="bilinear")(side))
    sides.append(layers.Conv2D(1, 1)(layers.Concatenate()(sides)))
    return keras.Model(image, [layers.Activation("sigmoid")(side) for side in sides])


def sequences():
    """Return a residual network of dilated convolutions over sequences of any length."""
    from tensorflow import keras

    layers = keras.layers
    bases = keras.Input((None, 4), name="bases")
    x = layers.Conv1D(32, 1)(bases)
    for block in range(8):
        y = x
        for _ in range(2):
            y = layers.ReLU()(layers.BatchNormalization()(y))
            y = layers.Conv1D(32, 11, dilation_rate=1 + 3 * (block // 4), padding="same")(y)
        x = layers.Add()([x, y])
    return keras.Model(bases, layers.Conv1D(3, 1, activation="softmax")(x))


def save_models(directory):
    """Write archives, SavedModels and samples: MobileNetV2, dense networks, `MODELS`, `SLOW`."""
    import numpy as np
    from tensorflow import keras

    def save(model, name, shape, count=20):
        model.save(f"{directory}/{name}.keras")
        samples = np.random.default_rng(0).random((count, *shape), np.float32)
        np.save(f"{directory}/{name}.samples.npy", samples)

    model = keras.applications.MobileNetV2(weights=None)
    save(model, "mobilenet_v2", (224, 224, 3))
    model.export(f"{directory}/mobilenet_v2", verbose=False)
    for units in UNITS:
        layers = [keras.layers.Dense(units) for _ in range(3)]
        save(keras.Sequential([keras.Input((units,)), *layers]), f"dense_{units}", (units,))
    given = {
        name: (getattr(keras.applications, name)(weights=None, input_shape=shape), shape, 10)
        for name, shape in MODELS.items()
    }
    given["edges"] = edges(), (192, 192, 3), 20
    given["sequences"] = sequences(), (5000, 4), 100
    for name, (model, shape, count) in given.items():
        save(model, name, shape, count)
        model.export(f"{directory}/{name}_saved", verbose=False)
        shutil.copy(f"{directory}/{name}.samples.npy", f"{directory}/{name}_saved.samples.npy")


def installed_size(distribution, seen):
    """Return the size in MiB of an installed distribution and of all its requirements."""
    if distribution in seen:
        return 0
    seen.add(distribution)
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return 0
    size = sum(path.size or 0 for path in found.files or []) / 2**20
    for requirement in found.requires or []:
        if "extra ==" not in requirement:
            name = re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
            size += installed_size(name, seen)
    return size


def number(value):
    """Return a number in at most four digits, or with thousands separated."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def row(label, values, unit, remark=""):
    """Print one figure: median, smallest, largest, and a remark. Return it."""
    median = statistics.median(values)
    spread = f"({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    print(f"  {label:<36}{number(median):>9} {unit:<4} {spread:<22} {remark}", flush=True)
    return {"label": label, "median": median, "values": values, "unit": unit, "remark": remark}


def deploy(directory):
    """Run the lesson's model in C, in stage 4 and as in 2021. Return the figures."""
    native = REPOSITORY / "build/native"
    program = [native / "deploy", "saved_model/my_model.tflite", 150]
    ways = {
        "in C": (program, sum(path.stat().st_size for path in native.iterdir()) / 2**20),
        "stage 4": ([REPOSITORY / "04_deploy_tflite.py"], installed_size("ai-edge-litert", set())),
        "tf.lite.Interpreter": (["-c", TF_LITE], installed_size("tensorflow", set())),
    }
    measured = {name: [] for name in ways}
    for _ in range(DEPLOY_ROUNDS):
        for name, (command, _) in ways.items():
            _, seconds, _ = run(command, directory)
            measured[name].append((1000 * seconds, peak_memory(command, directory)))
    figures = []
    table = ["| | start to first result | peak memory | to install |\n|---|---|---|---|"]
    for name, (_, size) in ways.items():
        milliseconds, memory = zip(*measured[name], strict=True)
        rows = [
            row(name, milliseconds, "ms"),
            row(f"{name}, peak memory", memory, "MiB"),
            row(f"{name}, installed", [size], "MiB"),
        ]
        figures += rows
        cells = " | ".join(f"{number(cell['median'])} {cell['unit']}" for cell in rows)
        table.append(f"| {name} | {cells} |")
    print("", *table, sep="\n", flush=True)
    return figures


def main():
    """Measure, print and write everything."""
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ["tensorflow", "keras", "ai-edge-litert", "numpy"]
        }
        | {"python": platform.python_version()},
    }
    print(figures["machine"], figures["versions"])
    start = time.perf_counter()

    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        rounds = []
        for _ in range(ROUNDS):
            _, floor, _ = run(["-c", "import tensorflow"], ours)
            rounds.append((*pipeline(LESSON, theirs), *made(ours), 4 * floor))
        lesson, lesson_fit, lesson_error, total, fit, error, floor = map(
            list, zip(*rounds, strict=True)
        )
        for seed in range(2, 6):
            copy = conftest.lesson(Path(theirs), "01_create_model.py", seed=seed)
            output, _, _ = run([copy], theirs)
            error.append(worst_error(output))

        print("\n1. fit: 20,000 updates")
        ratio = statistics.median(lesson_fit) / statistics.median(fit)
        figures["fit"] = [
            row("the lesson's call", lesson_fit, "s"),
            row("stage 1", fit, "s", f"{ratio:.0f} times faster"),
            row("largest error, the lesson", lesson_error, ""),
            row("largest error, stage 1", error, ""),
        ]
        print("\n2. the whole pipeline")
        ratio = statistics.median(lesson) / statistics.median(total)
        figures["pipeline"] = [
            row("the lesson, ported", lesson, "s"),
            row("this repository, make", total, "s", f"{ratio:.1f} times faster"),
            row("a plain import of TensorFlow, 4 times", floor, "s"),
        ]
        print("\n3. from start to the first result of the lesson's model")
        pipeline(REPOSITORY, ours)
        figures["deploy"] = deploy(ours)

        # In a process of its own, because the system counts a child from the memory of its parent.
        process = multiprocessing.get_context("spawn").Process(target=save_models, args=(theirs,))
        process.start()
        process.join()
        print(
            "\n4. litecheck against the book: export, then from_saved_model(...).convert(), 4 times"
        )
        figures["conversion"] = []
        for name, source in [
            pair
            for m in [*MODELS, *SLOW]
            for pair in [(m, f"{m}.keras"), (f"{m}_saved", f"{m}_saved")]
        ]:
            commands = ["-c", BY_THE_BOOK, name], convert(source)
            rounds = [[run(command, theirs) for command in commands] for _ in range(ROUNDS)]
            book, ours_too = zip(*[[r[1:] for r in pair] for pair in rounds], strict=True)
            ratios = [b[0] / o[0] for b, o in zip(book, ours_too, strict=True)]
            remark = f"{statistics.median(ratios):.2f} times faster"
            figures["conversion"] += [
                row(f"{name}, by the book", [b[0] for b in book], "s"),
                row(f"{name}, litecheck, verified", [o[0] for o in ours_too], "s", remark),
                row(f"{name}, by the book, memory", [b[1] for b in book], "MiB"),
                row(f"{name}, litecheck, memory", [o[1] for o in ours_too], "MiB"),
            ]
        measured = []
        for units in UNITS:
            measured.append(run(convert(f"dense_{units}.keras"), theirs)[1:])
        seconds, memory = (large - small for small, large in zip(*measured, strict=True))
        figures["conversion"] += [
            row("dense network, for each 100 MB", [seconds], "s"),
            row("dense network, for each 100 MB", [memory], "MiB"),
        ]

        run(convert("mobilenet_v2"), theirs)
        for name, shape, directory in [
            ("saved_model/my_model", "[1, 1]", ours),
            ("mobilenet_v2", "[1, 224, 224, 3]", theirs),
        ]:
            print(f"\n5. one inference of {name}")
            output, _, _ = run(["-c", INFERENCE, name, shape], directory)
            seconds = json.loads(re.search(r"seconds (.*)", output)[1])
            base = statistics.median(seconds["LiteRT float32"])
            figures[f"inference of {name}"] = [
                row(
                    form,
                    [1e6 * s for s in values],
                    "us",
                    f"{statistics.median(values) / base:.3g}x",
                )
                for form, values in seconds.items()
            ]

    figures["seconds"] = time.perf_counter() - start
    print(f"\nmeasured in {figures['seconds']:.0f} s")
    Path("build").mkdir(exist_ok=True)
    Path("build/benchmark.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
