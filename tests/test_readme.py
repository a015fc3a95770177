"""The two READMEs: links and anchors lead somewhere, and both show the same commands."""

import re

import pytest
from conftest import REPOSITORY

READMES = ["README.md", "README.ko.md"]


def blocks(name, language):
    """Return the code blocks of a language in a README, in order."""
    text = (REPOSITORY / name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", READMES)
def test_links_and_anchors(name):
    text = (REPOSITORY / name).read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert len(links) > 8
    for link in links:
        if link.startswith("https://"):
            continue  # another's page
        path, _, anchor = link.partition("#")
        assert not path or (REPOSITORY / path).exists(), link
        assert not anchor or anchor in anchors(text), link


def test_they_link_to_each_other_at_the_top():
    for name, other in [READMES, READMES[::-1]]:
        head = (REPOSITORY / name).read_text().splitlines()[:4]
        assert any(f"({other})" in line for line in head)


@pytest.mark.parametrize(("language", "least"), [("sh", 5), ("text", 5), ("python", 1)])
def test_both_show_the_same_blocks(language, least):
    english, korean = (blocks(name, language) for name in READMES)
    assert len(english) >= least
    assert english == korean


def test_error_messages_are_those_of_the_scripts():
    sources = "".join(
        path.read_text()
        for path in [
            *REPOSITORY.glob("0*.py"),
            *REPOSITORY.glob("backstage/*.py"),
            REPOSITORY / "convert-tflite.sh",
        ]
    )
    sources = re.sub(r'"\s*f?"', "", sources)  # strings are joined across lines
    for message in ["is missing", "is not on PATH", "was not drawn: Graphviz's `dot` is missing"]:
        assert message in sources
    for message in [
        "is recurrent and its batch size varies",
        "LiteRT has no ",
        "Sizes that vary were 32",
    ]:
        assert message in sources
    for message in [
        "of a component's range: more than 5%",
        "It was random",
        "has changed",
        "needs the package ",
    ]:
        assert message in sources


def test_korean_keeps_to_the_glossary():
    korean = REPOSITORY / "docs/locale/ko"
    rows = re.findall(r"^\|.*\|(.*)\|$", (korean / "GLOSSARY.md").read_text(), re.MULTILINE)
    avoided = re.findall(r"`([^`]+)`", " ".join(rows))
    assert len(avoided) > 30
    pages = ["README.ko.md", "browser/index.html", "browser/words.js"]
    paths = [REPOSITORY / page for page in pages] + [*korean.glob("LC_MESSAGES/*.po")]
    assert len(paths) > 8
    for path in paths:
        text = path.read_text().replace('"\n"', "")  # messages are split across lines
        found = [word for word in avoided if word in " ".join(text.split())]
        assert not found, f"{path.name}: docs/locale/ko/GLOSSARY.md replaces {found}"
