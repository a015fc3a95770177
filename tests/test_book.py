"""The book: both languages are complete, every link works, and a browser reports no errors."""

import html.parser
import os
import re
import subprocess
import sys

import pytest
from conftest import CHROMIUM, REPOSITORY

pytest.importorskip("sphinx", reason="Sphinx is missing: run make book")
from babel.messages.pofile import read_po

CHAPTERS = ["01_create_model", "02_load_model", "03_convert_model", "04_deploy_tflite"]
PAGES = [*CHAPTERS, *sorted(path.stem for path in REPOSITORY.glob("docs/*.md"))]
CATALOGUES = REPOSITORY / "docs/locale/ko/LC_MESSAGES"


def make(target):
    """Run make in the repository. It treats warnings of Sphinx as errors."""
    environment = os.environ | {"MAKEFLAGS": "", "PYTHON": sys.executable}
    process = subprocess.run(
        ["make", target], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]


@pytest.fixture(scope="module")
def book():
    """Build the book, and return its directory."""
    make("book")
    return REPOSITORY / "build/book"


class Page(html.parser.HTMLParser):
    """Collects the ids and links of a page, and the text of its article."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.addresses, self.links, self.pictures = set(), [], set(), []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.addresses += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag == "a":
            self.links.add(attributes.get("href"))
        if tag == "img":
            self.pictures.append(attributes)


def test_links_and_anchors(book):
    pages = {path: Page(path) for path in book.glob("??/*.html")}
    assert len(pages) >= 2 * len(PAGES)
    checked = 0
    for path, page in pages.items():
        for address in page.addresses:
            if address.startswith("data:") or (
                address.startswith("https:") and address in page.links
            ):
                continue  # others' pages, which are read with a network
            file, _, anchor = address.split("?")[0].partition("#")
            assert not re.match(r"\w+:|//", file), f"{path}: {address}"
            target = (path.parent / file).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path}: {address}"
            assert not anchor or target.suffix != ".html" or anchor in pages[target].ids, address
            checked += 1
    assert checked > 500


@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_there_in_both_languages_and_leads_to_the_other(book, page):
    for language, other in [("ko", "en"), ("en", "ko")]:
        text = (book / language / f"{page}.html").read_text()
        assert re.search(rf'class="language"[^>]* href="(\./)?\.\./{other}/{page}\.html"', text)
        title = re.search(r"<h[12]>(.*?)<a", text, re.DOTALL)[1]
        assert bool(re.search("[가-힣]", title)) == (language == "ko"), title


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_shows_what_its_script_prints(book, chapter):
    for language in ["ko", "en"]:
        page = Page(book / language / f"{chapter}.html")
        assert "TensorFlow 2." in page.text or chapter.startswith("04")
        assert "cell_output" in page.text
        assert "Traceback" not in page.text
        assert all(picture.get("alt") for picture in page.pictures)
        weight = len(page.text.encode())
        weight += sum(
            (book / language / address.split("?")[0]).stat().st_size
            for address in page.addresses
            if re.search(r"\.(js|css)(\?|$)", address)
        )
        assert weight < 1_000_000


def test_pictures_have_korean_text(book):
    """The names of operations and dtypes are not translated."""
    pictures = [path.read_text() for path in (book / "ko/_images").glob("*.svg")]
    texts = {text for svg in pictures for text in re.findall(r"<text\b[^>]*>([^<]+)", svg)}
    assert len(pictures) == 4
    for word in ["예측값", "학습 데이터", "동적 범위", "150은 64로 저장됩니다"]:
        assert any(word in text for text in texts), word
    assert not [
        text for text in texts if re.search("[a-z]{3}", re.sub(r"(float|int)\d+", "", text))
    ]


def test_every_message_is_translated(book, tmp_path):
    source = REPOSITORY / "build/book/source/en"
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-c", str(REPOSITORY / "docs")]
    subprocess.run([*sphinx, "-b", "gettext", source, tmp_path], check=True)
    for name in ["index", *CHAPTERS]:
        with open(CATALOGUES / f"{name}.po", "rb") as file:
            translated = {message.id: message for message in read_po(file)}
        with open(tmp_path / f"{name}.pot", "rb") as file:
            messages = [message for message in read_po(file) if message.id]
        assert messages
        for message in messages:
            assert message.id in translated, f"{name}: make book-texts, then translate {message.id}"
            assert translated[message.id].string, f"{name}: not translated: {message.id}"
            assert not translated[message.id].fuzzy, f"{name}: fuzzy: {message.id}"


def prose(text):
    """Return the code and formulas of a message, which a translation must keep."""
    return sorted(re.findall(r"`[^`]+`|\$[^$]+\$", text))


@pytest.mark.parametrize("name", CHAPTERS)
def test_translations_keep_code_and_formulas(name):
    with open(CATALOGUES / f"{name}.po", "rb") as file:
        for message in read_po(file):
            if message.id:
                assert prose(message.string) == prose(message.id)


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt-get install chromium")
def test_a_browser_has_nothing_to_say(book):
    api = pytest.importorskip("playwright.sync_api", reason="make test installs playwright")
    said, asked = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for locale, language, word in [("ko-KR", "ko", "추론"), ("en-GB", "en", "inference")]:
            page = browser.new_context(
                locale=locale, viewport={"width": 360, "height": 740}
            ).new_page()
            page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto((book / "index.html").as_uri())
            page.wait_for_url(f"**/{language}/index.html")
            for name in PAGES:
                page.goto((book / language / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
            page.goto((book / language / "search.html").as_uri() + f"?q={word}")
            found = page.locator("#search-results li a")
            found.first.wait_for(timeout=30_000)
            assert any(CHAPTERS[0] in link.get_attribute("href") for link in found.all())
        browser.close()
    assert not said
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
