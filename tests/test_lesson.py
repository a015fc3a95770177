"""The four scripts as a lesson: short, with the tutorial's own lines, and with clear errors."""

import ast
import io
import re
import shutil
import tokenize

import pytest
import tensorflow as tf
from conftest import REPOSITORY, WrongConverter, assert_clear_error, converted

SCRIPTS = sorted(path.name for path in REPOSITORY.glob("0*.py"))
FIRST, SECOND, THIRD, FOURTH = SCRIPTS
LINES = dict(zip(SCRIPTS, [142, 110, 195, 160], strict=True))
# Shares of the code lines. Stage 3 calls the check for each file, and then looks into the files.
SHARES = dict(zip(SCRIPTS, [0.15, 0.15, 0.30, 0.15], strict=True))


def read(name):
    """Return the text of a file in the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def code_lines(text):
    """Return the numbers of the lines with code, without comments, docstrings and blank lines."""
    left_out = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    numbers = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in left_out:
            numbers |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                numbers -= {*range(node.lineno, node.end_lineno + 1)}
    return numbers


def package_lines(text):
    """Return the numbers of the lines that import from the package or use an imported name.

    The object of the check counts as one.
    """
    names, numbers = {"check"}, set()
    for node in ast.walk(ast.parse(text)):
        module = node.module if isinstance(node, ast.ImportFrom) else ""
        for alias in getattr(node, "names", []):
            if "litecheck" in (module, alias.name):
                names.add(alias.name)
                numbers.add(node.lineno)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id in names:
            numbers.add(node.lineno)
    return numbers


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short(script):
    text = read(script)
    assert len(text.splitlines()) <= LINES[script]
    first = re.split(r"^# %%.*\n", text, flags=re.MULTILINE)[2]
    assert 0 < len(code_lines(first)) <= 6


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_knows_one_model_and_takes_no_options(script):
    text = read(script)
    for word in ["args", "if lesson", "argparse", "sys.argv", "backstage"]:
        assert word not in text, word
    assert not re.findall(r"`python 0\d\S+ \S", text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_few_lines_are_not_the_lessons(script):
    text = read(script)
    share = len(package_lines(text)) / len(code_lines(text))
    assert 0 < share <= SHARES[script], f"{share:.1%}"


def test_stage_3_has_the_tutorials_lines():
    """Section 1.2 has each line in order. A line of the check replaces each line that saves."""
    tutorial = read("tests/lesson_2021/03_convert_model.py").replace("'", '"')
    assert tutorial.count("\n") == 11
    text = read(THIRD).replace("(saved_path)", '("saved_model/my_model")')
    script = iter([line.strip() for line in text.splitlines()])
    for line in filter(None, tutorial.splitlines()):
        saved = re.fullmatch(r'open\((".*"), "wb"\)\.write\((\w+)\)', line)
        if saved:
            path, content = saved.groups()
            assert any(
                re.fullmatch(rf'check\.add\("[\w ]+", {content}, {re.escape(path)}\)', found)
                for found in script
            ), line
        else:
            assert line in script, line  # it continues the line before


@pytest.fixture
def copy(pipeline, tmp_path):
    """Return a directory with a fresh `saved_model/` for later stages, without pictures."""
    ignore = shutil.ignore_patterns("*.png", "*.cmdline.tflite")
    shutil.copytree(pipeline[0] / "saved_model", tmp_path / "saved_model", ignore=ignore)
    return tmp_path


INPUTS = {"my_model", "my_model.keras", "my_model.samples.npy"}


def written(directory):
    """Return the names of the files in `saved_model/`."""
    return {path.name for path in (directory / "saved_model").iterdir()}


def without_files(directory):
    """Remove the files that stage 3 has written."""
    for name in written(directory) - INPUTS:
        (directory / "saved_model" / name).unlink()


def altered(directory, script, old, new):
    """Write a script with a typing mistake to a directory, and return its path."""
    text = read(script)
    assert text.count(old) >= 1, old
    path = directory / script
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


FLOAT32 = 'check.add("float32", tflite_model, "saved_model/my_model.tflite")'
FLOAT16 = "converter.target_spec.supported_types = [tf.float16]"


@pytest.mark.parametrize(
    ("old", "new", "told", "count"),
    [
        (
            "tf.lite.Optimize.DEFAULT",
            "tf.lite.Optimise.DEFAULT",
            "AttributeError: module 'tensorflow._api.v2.lite' has no attribute 'Optimise'",
            1,
        ),
        (FLOAT16, FLOAT16.replace("tf.", ""), "NameError: name 'float16' is not defined", 1),
        (FLOAT16, FLOAT16[:-1], "SyntaxError: '[' was never closed", 0),
        ("in samples:", "in smaples:", "NameError: name 'smaples' is not defined", 3),
        ("reshape(1, 1)", "reshape(1, 2)", "ValueError: cannot reshape array of size 1", 3),
        ('"float16"', '"float61"', "ValueError: 'float61' is not a variant", 1),
        (
            "tflite_quant_model = converter.convert()",
            "tflite_quant_model = converter",
            "TypeError: float16 is a TFLiteSavedModelConverterV2, not bytes: give what",
            1,
        ),
        (
            FLOAT32,
            FLOAT32.replace("tflite_model", "converter", 1),
            "TypeError: float32 is a TFLiteSavedModelConverterV2, not bytes: give what",
            0,
        ),
    ],
    ids=["attribute", "name", "syntax", "callback", "shape", "variant", "float16", "float32"],
)
def test_a_slip_in_a_cell_of_stage_3_keeps_pythons_own_words(warm, copy, old, new, told, count):
    without_files(copy)
    script = altered(copy, THIRD, old, new)
    process = warm(script, cwd=copy)
    assert process.returncode == 1
    assert "Traceback (most recent call last)" in process.stderr
    assert f"\n{told}" in process.stderr
    assert '03_convert_model.py", line ' in process.stderr
    assert "cannot be converted" not in process.stdout + process.stderr
    assert "not written" not in process.stdout
    files = written(copy) - INPUTS
    assert len(files - {"my_model.check.json"}) == count
    assert ("my_model.check.json" in files) == bool(count)  # the record is saved with each file
    assert all(name.endswith((".tflite", ".check.json")) for name in files)


def test_float32_must_come_first(warm, copy):
    without_files(copy)
    process = warm(altered(copy, THIRD, FLOAT32, ""), cwd=copy)
    assert_clear_error(process, "float16 is not compared, because float32 was not verified")
    assert (process.returncode, len(process.stderr.splitlines())) == (1, 1)
    assert written(copy) == INPUTS


def test_a_wrong_float32_file_is_refused(warm, copy, tmp_path):
    spec = tf.TensorSpec([None, 1], tf.float32, name="x")
    other = tmp_path / "other.tflite"
    other.write_bytes(converted(lambda x: {"output_0": 101 * x + 5}, spec))
    without_files(copy)
    process = warm(THIRD, cwd=copy, prepare=WrongConverter(other))
    assert_clear_error(
        process,
        "saved_model/my_model.tflite was not written: output output_0, sample ",
        "but saved_model/my_model returns ",
    )
    assert process.returncode == 1
    assert written(copy) == INPUTS


def spoil(path, damage):
    """Damage a file: replace it by garbage, keep its first half, empty it or remove it."""
    content = path.read_bytes()
    path.unlink()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage != "missing":
        path.write_bytes({"garbage": b"garbage\n" * 50, "empty": b""}[damage])


@pytest.mark.parametrize("damage", ["garbage", "half", "empty", "missing"])
@pytest.mark.parametrize(
    ("script", "file", "named", "maker"),
    [
        (SECOND, "my_model.keras", "my_model.keras", FIRST),
        (SECOND, "my_model/saved_model.pb", "my_model", FIRST),
        (THIRD, "my_model/saved_model.pb", "my_model", FIRST),
        (THIRD, "my_model/variables/variables.index", "my_model", FIRST),
        (THIRD, "my_model.samples.npy", "my_model.samples.npy", FIRST),
        (FOURTH, "my_model.tflite", "my_model.tflite", THIRD),
        (FOURTH, "my_model.int8.tflite", "my_model.int8.tflite", THIRD),
    ],
)
def test_a_damaged_or_missing_input_is_named_with_what_makes_it(
    warm, copy, script, file, named, maker, damage
):
    spoil(copy / "saved_model" / file, damage)
    before = sorted((copy / "saved_model").rglob("*"))
    process = warm(script, cwd=copy)
    assert process.returncode == 1
    assert_clear_error(process, f"{script}: saved_model/{named} ")
    assert re.search(rf"[Mm]ake it (again )?with: python {maker}\n$", process.stderr)
    assert sorted((copy / "saved_model").rglob("*")) == before


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("arguments", [["--epochs", "5"], ["my net.keras"]])
def test_a_script_takes_no_arguments(warm, tmp_path, script, arguments):
    process = warm(script, *arguments, cwd=tmp_path)
    given = arguments[0] if len(arguments) > 1 else "'my net.keras'"
    assert_clear_error(
        process,
        f"{script}: takes no arguments, but {given}",
        "change its values in the file. For a model of your own: python -m litecheck --help",
    )
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []


# Uses of the scripts that no longer exist: with an argument or an option, and former names. They
# may be in CHANGELOG.md and in this file.
GONE = r"0[1-4]_\w+\.py[ \t]+[-\w'\"$<{(./\[]|--epochs|--seed\b|backstage|\bproo(?:f|ven)"
PLACES = [
    "litecheck/*.py",
    "0*.py",
    "native/*",
    "browser/*",
    "microcontroller/*.py",
    "convert-tflite.sh",
    "Makefile",
    "README*.md",
    "docs/*.*",
    ".ci/run",
    ".github/workflows/*",
    "pyproject.toml",
]
ALLOWED = {
    # These are prerequisites of targets, not arguments of commands.
    ("Makefile", "01_create_model.py $(modules) | $(installed)"),
    (
        "Makefile",
        "saved_model/my_model.png: 02_load_model.py $(modules) saved_model/my_model.keras \\",
    ),
    ("Makefile", "03_convert_model.py $(modules) saved_model/my_mode%/saved_model.pb \\"),
    # The suffix tells old records from damaged ones.
    (
        "record.py",
        'SUFFIX, OLD_SUFFIX = ".check.json", ".proof.json"  # old records had no format number',
    ),
}


def test_nothing_names_a_use_of_a_script_that_is_gone():
    paths = {path for place in PLACES for path in REPOSITORY.glob(place)}
    assert len(paths) > 50
    found = set()
    for path in sorted(paths):
        if path.suffix in (".png", ".json") or path.is_dir():
            continue
        text = path.read_text(encoding="utf-8")
        text = re.sub(r'"\s*\n\s*f?"', "", text)  # join strings that continue in the next line
        found |= {
            (path.name, line.strip())
            for line in text.splitlines()
            if re.search(GONE, line, re.IGNORECASE)
        }
    assert found - ALLOWED == set()
    assert ALLOWED - found == set(), "these are allowed no more"


def test_the_tool_knows_nothing_of_the_lesson():
    for path in REPOSITORY.glob("litecheck/*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"0[1-4]_\w+\.py|\bstage [1-4]|\blesson\b", text), path.name
