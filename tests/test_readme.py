"""README, pages and chapters: links, blocks of code, and how their sentences read."""

import collections
import re
import unicodedata

import pytest
from conftest import REPOSITORY

jupytext = pytest.importorskip("jupytext", reason="jupytext is missing: run make test")

READMES = ["README.md", "README.ko.md"]
PAGES = sorted(path.name for path in REPOSITORY.glob("docs/*.md"))
TRANSLATED = [name for name in PAGES if name != "index.md"]  # index.md has a catalogue
ENGLISH = ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in PAGES)]
KOREAN = ["README.ko.md", *(f"docs/ko/{name}" for name in TRANSLATED)]
CHAPTERS = sorted(path.name for path in REPOSITORY.glob("0*.py"))
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
SPAN = r"``.+?``|`[^`]+`|\$[^$]+\$"  # code and formulas


def read(name):
    """Return the text of a page, or the text cells of a chapter."""
    if not name.endswith(".py"):
        return (REPOSITORY / name).read_text(encoding="utf-8")
    cells = jupytext.read(REPOSITORY / name).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def anchors(text):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paragraphs(name):
    """Return the paragraphs, list items and sentences in tables of a page, without code."""
    text = re.sub(r"<!--.*?-->|<img[^>]*>|!\[.*?\]\(.*?\)", "", read(name), flags=re.DOTALL)
    text = FENCED.sub("\n", text)
    text = re.sub(r"^ *(#.*|\|[-:| ]*\|)$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^ *([-*]|\d+\.) +", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(SPAN, "code", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    rows = re.sub(r"^ *\|.*", lambda row: row[0].replace("|", "\n\n"), text, flags=re.MULTILINE)
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", rows) if part.strip()]


def sentences(name):
    """Return the sentences of a page, each as a list of its words."""
    found = []
    for paragraph in paragraphs(name):
        for sentence in re.split(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*A-Z0-9가-힣]|code)", paragraph):
            found.append(re.findall(r"\w[\w'’.,%/°-]*", sentence))
    return [words for words in found if len(words) > 3]


def width(line):
    """Return the columns of a line: Hangul takes two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line)


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_of_one_screen_and_a_half(name):
    text = read(name)
    assert 500 < len(text.split()) <= 1000
    assert len(text.splitlines()) <= 160
    first = text[: text.index("\n## ")]
    assert "\nmake\n" in first
    assert "\nmake test\n" in first
    assert "(LICENSE)" in first


@pytest.mark.parametrize("name", [*ENGLISH, *CHAPTERS])
def test_sentences_are_short(name):
    lengths = [len(words) for words in sentences(name)]
    assert len(lengths) > 5
    assert max(lengths) <= 30
    assert sum(lengths) / len(lengths) <= 14


@pytest.mark.parametrize("name", [*ENGLISH, *KOREAN, "CHANGELOG.md"])
def test_lines_of_prose_fit_into_100_columns(name):
    lines = FENCED.sub("", read(name)).splitlines()
    lines = [line for line in lines if not re.match(r" *(\||<(!--|img)|!\[|#+ )", line)]
    lines = [line for line in lines if " " in line.strip("- ")]  # a long link alone
    assert [line for line in lines if width(line) > 100] == []


def test_nothing_is_said_twice():
    """No sentence of eight words or more stands in two places, in English or in Korean."""
    for names in [[*ENGLISH, *CHAPTERS], KOREAN]:
        found = collections.Counter(
            re.sub(r"[^\w ]", "", " ".join(words).lower())
            for name in names
            for words in sentences(name)
            if len(words) >= 8
        )
        assert [sentence for sentence, count in found.items() if count > 1] == []


@pytest.mark.parametrize("name", [*ENGLISH, *KOREAN, *CHAPTERS, "CHANGELOG.md"])
def test_links_and_anchors(name):
    text = FENCED.sub("", read(name))
    directory = (REPOSITORY / name).parent
    named = dict(re.findall(r"^\[([^\]]+)\]: (\S+)", text, re.MULTILINE))
    assert set(re.findall(r"\]\[([^\]]+)\]", re.sub(SPAN, "", text))) == set(named)
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in [*links, *named.values()]:
        if re.match(r"https?://|mailto:", link):
            continue  # another's page
        path, _, anchor = link.partition("#")
        assert not path or (directory / path).exists(), link
        there = (directory / path).read_text(encoding="utf-8") if path and anchor else text
        assert not anchor or anchor in anchors(there), link


def test_readme_and_pages_are_apart():
    """The README includes no page, no page the README, and each page has a link of the README."""
    for readme, pages in zip(READMES, [ENGLISH[2:], KOREAN[1:]], strict=True):
        assert not [name for name in pages if re.search(r"(\.\./)+README|\(README", read(name))]
        assert not [name for name in [readme, *pages] if "include}" in read(name)]
        links = set(re.findall(r"\]\((docs/[^)#]+\.md)", read(readme)))
        assert {name for name in pages if not name.endswith("index.md")} <= links


def test_each_korean_page_is_a_page():
    assert sorted(path.name for path in REPOSITORY.glob("docs/ko/*.md")) == TRANSLATED


def test_readmes_link_to_each_other_at_the_top():
    for name, other in [READMES, READMES[::-1]]:
        assert any(f"({other})" in line for line in read(name).splitlines()[:6])


@pytest.mark.parametrize(
    ("english", "korean"),
    [READMES, *((f"docs/{name}", f"docs/ko/{name}") for name in TRANSLATED)],
)
def test_both_languages_have_the_same_blocks(english, korean):
    blocks = [FENCED.findall(read(name)) for name in (english, korean)]
    assert blocks[0] == blocks[1]
    spans = [re.findall(r"`[^`\n]*litecheck [^`\n]*`", read(name)) for name in (english, korean)]
    assert collections.Counter(spans[0]) == collections.Counter(spans[1])
    rows = [len(re.findall(r"^ *\|", read(name), re.MULTILINE)) for name in (english, korean)]
    assert rows[0] == rows[1]
    assert re.findall("<!-- ci: .* -->", read(english)) == re.findall(
        "<!-- ci: .* -->", read(korean)
    )


def test_ci_runs_the_blocks_with_a_name():
    """A comment above a block has its name. `.ci/run` also runs `tests/apps.py`."""
    run = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    run = re.sub(r"^\s*#.*$", "", run, flags=re.MULTILINE)
    found = re.findall(r"\b(?:block|try \S+) (\S+\.md) ([a-z -]+)", run)
    ran = {(page, name) for page, names in found for name in names.split()}
    named = {
        (page, name)
        for page in ENGLISH
        for name in re.findall(r"^<!-- ci: (\S+) -->\n```(?:sh|python)$", read(page), re.MULTILINE)
    }
    programs = (REPOSITORY / "tests/apps.py").read_text(encoding="utf-8")
    apps = re.findall(r'"(app-[a-z-]+)"', programs)
    assert named == ran | {("docs/app.md", name) for name in apps}
    assert {("README.md", name) for name in ["make", "test", "stages", "own", "run"]} <= ran


def test_korean_keeps_to_the_glossary():
    """The words in backticks in the last column of the glossary occur in no Korean text."""
    glossary = read("docs/locale/ko/GLOSSARY.md")
    avoided = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\|.*\|(.*)\|$", glossary, re.M)))
    assert len(avoided) > 30
    pages = [REPOSITORY / name for name in [*KOREAN, "browser/index.html", "browser/words.js"]]
    for path in [*pages, *REPOSITORY.glob("docs/locale/ko/LC_MESSAGES/*.po")]:
        text = path.read_text(encoding="utf-8").replace('"\n"', "")  # a message of several lines
        found = [word for word in avoided if word in " ".join(text.split())]
        assert not found, f"{path.name}: {found}"


# What the programs say, in the words of the table of messages; and what others say.
MESSAGES = [
    "is missing",
    "takes no arguments, but ",
    "is not on PATH",
    "was not drawn: Graphviz's dot is missing",
    "but TensorFlow 2.21 was tried on Python 3.11 to 3.13",
    "float32 was not verified: add float32 first",
    "as many as it ran in ",
    "whose outputs fill ",
    "cannot save: ",
    "is damaged, or no Keras archive",
    "holds weights without a model",
    "needs the package ",
    "which is code of your own",
    "holds a Lambda layer",
    "holds a TFSMLayer",
    "choose one: ",
    "belongs to the signature ",
    ": computed as Keras 2 does",
    "Keras 2 can: pip install tf_keras && ",
    "is recurrent and was saved with a batch size that varies",
    "random layers (augmentation) are switched on",
    "is random in inference: leave it out",
    "is not a .npy or .npz file",
    "needs Pillow (the extra images)",
    "is not an image that Keras reads",
    "is a damaged image",
    "holds no images that Keras reads",
    "is an image that Keras does not read",
    "images are for a model with one input",
    "it has no subfolders",
    "is not a scale of images",
    "has too many pixels for Pillow",
    "has a palette, which Keras ignores",
    "left out files that Keras does not read",
    "has an EXIF rotation",
    "images of several sizes",
    " cannot hold numbers from ",
    "a scale is for images",
    " subfolders, but the model has ",
    "is not one of the classes",
    "is the name of two classes",
    "has a first frame smaller than the image",
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
    "LiteRT gets some variable sizes wrong",
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
    "cannot find the operations that lose accuracy",
    "LiteRT has no 16-bit form of ",
    "it is slow here",
    "has the custom operation ",
    "it keeps a state, as LSTM in one operation does",
    "LiteRT's C API cannot load this file",
    "The input was random",
    "has an input with a variable batch size",
    "lacks an array named",
    "in it is not an array",
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


@pytest.mark.parametrize("directory", ["docs", "docs/ko"])
def test_what_is_said_where_accuracy_drops(directory):
    """The page's table has the lines of the programs, with other numbers."""
    sources = (REPOSITORY / "litecheck/repairs.py").read_text(encoding="utf-8")
    sources += (REPOSITORY / "litecheck/table.py").read_text(encoding="utf-8")
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    text = read(f"{directory}/when-accuracy-drops.md")
    rows = re.findall(r"^\| [1-5] \| `(.+?)`", text, re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        values = "sample 11 sets|input person alone|of 6 operations|full integer:"
        values += "|4 of 200 samples|person|255 times"
        parts = re.split(rf"{values}|[\d.]+%?(?: samples)?", row)
        for part in filter(lambda each: len(each) > 4, map(str.strip, parts)):
            assert part in sources, part


@pytest.mark.parametrize("name", ["docs/troubleshooting.md", "docs/ko/troubleshooting.md"])
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
    text = read(name)
    tables = re.findall(r"^\| (?:message|메시지) \|.*?(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    rows = "".join(tables).splitlines()
    shown = [span for row in rows if row for span in re.findall("`(.+?)`", row.split("|")[1])]
    assert len(tables) == 6
    for span in shown:
        assert any(part.strip() in span for part in [*MESSAGES, *OTHERS]), span
    for message in MESSAGES:
        assert message.strip() in " ".join(shown), message
