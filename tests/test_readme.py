"""The two READMEs: links and anchors lead somewhere, and both show the same commands."""

import re

import pytest
from conftest import REPOSITORY

READMES = ["README.md", "README.ko.md"]


def blocks(name, language):
    """Return the code blocks of a language in a README, in order."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", READMES)
def test_links_and_anchors(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert len(links) > 8
    for link in links:
        if link.startswith("https://"):
            continue  # another's page
        path, _, anchor = link.partition("#")
        assert not path or (REPOSITORY / path).exists(), link
        there = (REPOSITORY / path).read_text(encoding="utf-8") if path and anchor else text
        assert not anchor or anchor in anchors(there), link


def test_they_link_to_each_other_at_the_top():
    for name, other in [READMES, READMES[::-1]]:
        head = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()[:4]
        assert any(f"({other})" in line for line in head)


@pytest.mark.parametrize(("language", "least"), [("sh", 5), ("text", 5), ("python", 1)])
def test_both_show_the_same_blocks(language, least):
    english, korean = (blocks(name, language) for name in READMES)
    assert len(english) >= least
    assert english == korean


def test_every_block_that_ci_runs_is_there():
    """It finds them by a comment above each."""
    run = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    run = re.sub(r"^\s*#.*$", "", run, flags=re.MULTILINE)
    found = set(re.findall(r"\b(?:block|try) ([a-z][a-z-]*)(?: (docs/\S+))?", run))
    for name, page in found:
        assert f"<!-- ci: {name} -->" in (REPOSITORY / (page or "README.md")).read_text("utf-8")
    names = {name for name, page in found if not page}
    assert {"make", "test", "smoke", "stages", "own-model", "own", "device"} <= names
    english = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^<!-- ci: (\S+) -->\n```(?:sh|python)$", english, re.MULTILINE)
    assert sorted(named) == sorted(names)


# What the programs say, in the words of the table of messages; and what others say.
MESSAGES = [
    "is missing",
    "takes no arguments, but ",
    "is not on PATH",
    "was not drawn: Graphviz's dot is missing",
    "but TensorFlow 2.21 was tried on Python 3.11 to 3.13",
    "float32 was not verified: add float32 first",
    "as many as it ran in ",
    " MB of outputs hold",
    "cannot save: ",
    "is damaged, or no Keras archive",
    "holds weights without a model",
    "needs the package ",
    "which is code of your own",
    "holds a Lambda layer",
    "holds a TFSMLayer",
    "choose one: ",
    "is of the signature ",
    ": computed as Keras 2 does",
    "Keras 2 can: pip install tf_keras && ",
    "is recurrent and was saved with a batch size that varies",
    "random layers (augmentation) are switched on",
    "is random in inference, and of your own",
    "is not a .npy or .npz file",
    "needs Pillow (the extra images)",
    "is no image of a kind that Keras reads",
    "is a damaged image",
    "holds no images that Keras reads",
    "Keras reads no such image",
    "images are for a model with one input",
    "it has no subfolders",
    "is no scale of images",
    "has too many pixels for Pillow",
    "has a palette, which Keras ignores",
    "left out what Keras does not read",
    "has an EXIF rotation",
    "it takes any size, and images have several",
    " cannot hold numbers from ",
    "a scale is for images",
    " subfolders, but the model ",
    "is none of the classes",
    "is the name of two classes",
    "has a first frame that is smaller",
    "predicts the same class for all samples",
    " is left out: it has ",
    "are the inputs scaled as in training?",
    "that is near chance",
    "and images give 0 to 255",
    "LiteRT has no ",
    "LiteRT's FFT takes lengths that are powers of two",
    "Its weights are quantized already",
    "It computes in float64",
    "has no numbers: leave it out of the model",
    "LiteRT mistakes some sizes that vary",
    "was not written: ",
    "TensorFlow dies on it",
    "LiteRT dies on it",
    "itself fails on ",
    "have different numbers of samples, or of runs",
    "Variable sizes were set to 32",
    "cannot be judged",
    "samples give NaN or infinity",
    "of a number's range",
    "becomes infinite on these samples",
    "the converter crashes on loops",
    "which operation loses it is not known",
    "LiteRT has no 16-bit form of ",
    "it is slow here",
    "has an operation of its own",
    "it keeps a state, as LSTM in one operation does",
    "too odd for LiteRT's C API",
    "It was random",
    "has an input with a variable batch size",
    "lacks an array named",
    "in it is no array",
    "expected labels that are",
    "has changed",
    "is a record of an older version",
    "is a record of another version",
    "is damaged",
    "returns other outputs than the trained",
]
OTHERS = [
    "No module named",
    "command not found",
    "Select TensorFlow op",
    "does not match expected ranked tensor type",
]


@pytest.mark.parametrize("language", ["", ".ko"])
def test_what_is_said_where_accuracy_drops(language):
    """The page's table has the lines of the programs, with other numbers."""
    sources = (REPOSITORY / "litecheck/repairs.py").read_text(encoding="utf-8")
    sources += (REPOSITORY / "litecheck/table.py").read_text(encoding="utf-8")
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    text = (REPOSITORY / f"docs/when-accuracy-drops{language}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [1-5] \| `(.+?)`", text, re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        values = "sample 11 sets|input person alone|of 6 operations|full integer:"
        values += "|4 of 200 samples|person|255 times"
        parts = re.split(rf"{values}|[\d.]+%?(?: samples)?", row)
        for part in filter(lambda each: len(each) > 4, map(str.strip, parts)):
            assert part in sources, part


@pytest.mark.parametrize("name", ["docs/troubleshooting.md", "docs/troubleshooting.ko.md"])
def test_error_messages_are_those_of_the_programs(name):
    patterns = ["0*.py", "litecheck/*.py", "convert-tflite.sh", "Makefile"]
    patterns += ["browser/*.js", "native/*.c"]
    sources = "".join(
        path.read_text(encoding="utf-8")
        for pattern in patterns
        for path in REPOSITORY.glob(pattern)
    )
    sources = re.sub(r'"\s*\\?\s*f?"', "", sources).replace("`", "")  # strings go on
    for message in MESSAGES:
        assert message in sources, message
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    tables = re.findall(r"^\| (?:message|메시지) \|.*?(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    rows = "".join(tables).splitlines()
    shown = [span for row in rows if row for span in re.findall("`(.+?)`", row.split("|")[1])]
    assert len(tables) == 6
    for span in shown:
        assert any(part.strip() in span for part in [*MESSAGES, *OTHERS]), span
    for message in MESSAGES:
        assert message.strip() in " ".join(shown), message
