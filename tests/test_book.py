"""The book: both languages are complete, every link works, and a browser reports no errors."""

import html.parser
import io
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import PIL.Image
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
        for picture in Page(book / language / f"{page}.html").pictures:
            assert bool(re.search("[가-힣]", picture["alt"])) == (language == "ko"), picture


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


@pytest.fixture(scope="module")
def browser():
    """Start Chromium."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="make test installs playwright")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def test_a_browser_has_nothing_to_say(book, browser):
    said, asked = [], []
    for locale, language, word in [("ko-KR", "ko", "추론"), ("en-GB", "en", "inference")]:
        page = browser.new_context(locale=locale, viewport={"width": 360, "height": 740}).new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((book / "index.html").as_uri())
        page.wait_for_url(f"**/{language}/index.html")
        for name in PAGES:
            page.goto((book / language / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
            assert page.evaluate("document.querySelector('.content').scrollWidth") <= 360, name
        page.goto((book / language / "search.html").as_uri() + f"?q={word}")
        found = page.locator("#search-results li a")
        found.first.wait_for(timeout=30_000)
        assert any(CHAPTERS[0] in link.get_attribute("href") for link in found.all())
        page.context.close()
    assert not said
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)


def shown(book, browser, width, pages=PAGES, languages=("en", "ko"), **settings):
    """Yield the name of each page, and the page in a window of this width."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page = context.new_page()
    for language in languages:
        for name in pages:
            page.goto((book / language / f"{name}.html").as_uri())
            yield f"{language}/{name}", page
    context.close()


@pytest.mark.parametrize(
    ("system", "chosen", "dark"),
    [
        ("light", "auto", False),
        ("dark", "auto", True),
        ("light", "dark", True),
        ("dark", "light", False),
    ],
)
def test_pictures_suit_the_page(book, browser, system, chosen, dark):
    """Pictures have the page's background in each theme, and their lines stand out from it."""
    count = 0
    for name, page in shown(book, browser, 1200, languages=["en"], color_scheme=system):
        page.evaluate("theme => document.body.dataset.theme = theme", chosen)
        for picture in page.locator("article img").all():
            with PIL.Image.open(io.BytesIO(picture.screenshot())) as image:
                grey = np.asarray(image.convert("L"), dtype=int)
            edge = np.median(np.concatenate([grey[3], grey[-4], grey[:, 3], grey[:, -4]]))
            assert edge < 40 if dark else edge > 240, name
            assert np.abs(grey - edge).max() > 150, name
            count += 1
    assert count >= 8


WIDE = """[...document.querySelectorAll("article *")].filter(
  element => element.scrollWidth > element.clientWidth + 1
    && getComputedStyle(element).overflowX !== "visible"
).map(element => [
  element.tagName, element.className, getComputedStyle(element).backgroundAttachment
])"""


def test_what_scrolls_shows_that_more_is_there(book, browser):
    """A shade at the edge stays still. At the end, a patch that scrolls along covers it."""
    kinds = set()
    for name, page in shown(book, browser, 400):
        for tag, classes, attachment in page.evaluate(WIDE):
            assert attachment == "local, local, scroll, scroll", f"{name}: {tag} {classes}"
            kinds.add(tag if tag == "PRE" else classes.split()[0])
    assert kinds == {"PRE", "picture", "table-wrapper"}


@pytest.mark.parametrize("width", [400, 1200])
def test_output_follows_its_code(book, browser, width):
    gaps = []
    for name, page in shown(book, browser, width, pages=CHAPTERS):
        found = page.evaluate("""[...document.querySelectorAll(".cell")]
          .filter(cell => cell.querySelector(".cell_output"))
          .map(cell => cell.querySelector(".cell_output > *").getBoundingClientRect().top
            - cell.querySelector(".cell_input pre").getBoundingClientRect().bottom)""")
        assert all(0 <= gap <= 12 for gap in found), f"{name}: {found}"
        gaps += found
    assert len(gaps) > 40


SIZES = """["h1", "h2", "h3"].map(level => [...document.querySelectorAll(`article ${level}`)]
  .map(heading => parseFloat(getComputedStyle(heading).fontSize)))"""


@pytest.mark.parametrize("width", [400, 1200])
def test_sections_have_smaller_headings_than_pages(book, browser, width):
    for name, page in shown(book, browser, width, languages=["en"]):
        sizes = list(filter(None, page.evaluate(SIZES)))
        assert sizes, name
        for larger, smaller in itertools.pairwise(sizes):
            assert max(smaller) <= 0.86 * min(larger), name


def test_the_contents_stay_open_beside_80_columns(book, browser):
    opened = 0
    for name, page in shown(book, browser, 1200, languages=["en"]):
        for contents in page.locator(".toc-drawer:not(.no-toc)").all():
            box = contents.bounding_box()
            assert box["x"] + box["width"] <= 1200, name
            opened += 1
        page.evaluate("""() => {
          const code = document.createElement("div");
          code.className = "highlight";
          code.innerHTML = `<pre>${"x".repeat(80)}</pre>`;
          document.querySelector("article").append(code);
        }""")
        assert page.locator("article > .highlight > pre").evaluate(
            "code => code.scrollWidth <= code.clientWidth"
        ), name
    assert opened > len(PAGES) / 2
