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
    names = set(re.findall(r"\b(?:block|try) ([a-z][a-z-]*)", run))
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
    "is recurrent and its batch size varies",
    "which is code of your own",
    "random layers (augmentation) are switched on",
    "choose one: ",
    "cannot be loaded by Keras 3",
    "LiteRT mistakes some sizes that vary",
    "has an input with a variable batch size",
    "LiteRT has no ",
    "was not written: ",
    "samples give NaN or infinity",
    "cannot be judged",
    "of a number's range",
    "becomes infinite on these samples",
    "itself fails on ",
    "Variable sizes were set to 32",
    "needs the package ",
    "It was random",
    "lacks an array named",
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


@pytest.mark.parametrize("name", READMES)
def test_error_messages_are_those_of_the_programs(name):
    patterns = ["0*.py", "litecheck/*.py", "convert-tflite.sh", "Makefile", "browser/*.js"]
    sources = "".join(
        path.read_text(encoding="utf-8")
        for pattern in patterns
        for path in REPOSITORY.glob(pattern)
    )
    sources = re.sub(r'"\s*\\?\s*f?"', "", sources).replace("`", "")  # strings go on
    for message in MESSAGES:
        assert message in sources, message
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    rows = text[text.index("| `saved_model/my_model.keras is missing`") :].split("\n\n")[0]
    shown = [span for row in rows.splitlines() for span in re.findall("`(.+?)`", row.split("|")[1])]
    assert len(shown) > 25
    for span in shown:
        assert any(part.strip() in span for part in [*MESSAGES, *OTHERS]), span
    for message in MESSAGES:
        assert message.strip() in " ".join(shown), message


def test_korean_keeps_to_the_glossary():
    korean = REPOSITORY / "docs/locale/ko"
    rows = re.findall(
        r"^\|.*\|(.*)\|$", (korean / "GLOSSARY.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    avoided = re.findall(r"`([^`]+)`", " ".join(rows))
    assert len(avoided) > 30
    pages = ["README.ko.md", "browser/index.html", "browser/words.js"]
    paths = [REPOSITORY / page for page in pages] + [*korean.glob("LC_MESSAGES/*.po")]
    assert len(paths) > 8
    for path in paths:
        text = path.read_text(encoding="utf-8").replace(
            '"\n"', ""
        )  # messages are split across lines
        found = [word for word in avoided if word in " ".join(text.split())]
        assert not found, f"{path.name}: docs/locale/ko/GLOSSARY.md replaces {found}"
