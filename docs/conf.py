"""Configure Sphinx for the book: the notebooks are its chapters, and other pages follow."""

import html
import re
from pathlib import Path

import imagesize
from babel.messages.pofile import read_po
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.search import SearchLanguage, languages
from sphinx.transforms.post_transforms import SphinxPostTransform

project = "TensorFlow Lite"
html_title = "TensorFlow Lite"
copyright = "the authors"
language = "en"

extensions = ["myst_nb", "sphinx_copybutton"]
myst_heading_anchors = 3  # the same anchors as on GitHub
myst_enable_extensions = ["dollarmath", "html_image"]
nb_execution_mode = "off"  # `make notebooks` ran them
nb_merge_streams = True

locale_dirs = [str(Path(__file__).parent / "locale")]
gettext_compact = False
gettext_uuid = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
templates_path = ["_templates"]
html_show_copyright = False
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # it needs fetch(), which browsers forbid in local files
html_math_renderer = "mathml"
copybutton_selector = "div.cell_input pre, div.highlight-sh pre, div.highlight-python pre"


TEXT = r"(<text\b[^>]*>)([^<]+)"  # in an SVG
PHONE = 24  # characters of inline code that fit in a line of any phone
NUMBER = r"(?<![\w.])-?\d+(?:[.,]\d+)*"


class Korean(SearchLanguage):
    """Index each Korean word and its beginnings, because particles are attached to its end."""

    lang = "ko"
    language_name = "Korean"

    def split(self, input):
        """Return the words of a text, and the beginnings of its Korean words."""
        words = re.findall(r"\w+", input)
        return [
            part
            for word in words
            for part in (
                [word[:length] for length in range(2, len(word))] if word[0] >= "가" else []
            )
            + [word]
        ]

    def word_filter(self, stemmed_word):
        """Return whether to index a word."""
        return len(stemmed_word) > 1


class Alternative(SphinxPostTransform):
    """Give each picture that a cell draws an alternative text: the title of its section."""

    default_priority = 900

    def run(self, **settings):
        """Set the alternative text of each picture that has none."""
        for picture in self.document.findall(nodes.image):
            if "alt" not in picture and (section := _section(picture)):
                picture["alt"] = section.next_node(nodes.title).astext()


class Narrow(SphinxPostTransform):
    """Mark what needs room for book.css: pictures, and long inline code."""

    default_priority = 901  # after Alternative, which looks at the pictures that are replaced here
    formats = ("html",)  # the texts for a translation keep their paragraphs

    def run(self, **settings):
        """Put each picture in a frame, and add the classes `wide`, `long` and `long-word`.

        A picture is wide if its width is at least twice its height. Inline code is long if it has
        more than `PHONE` characters. It has a long word if one of its words has more.
        """
        for picture in list(self.document.findall(nodes.image)):
            width, height = imagesize.get(Path(self.app.srcdir, picture["uri"]))
            classes = ["picture", "wide"] if width >= 2 * height else ["picture"]
            parent = picture.parent
            alone = isinstance(parent, nodes.paragraph) and len(parent) == 1
            frame = nodes.container("", picture.deepcopy(), classes=classes)
            (parent if alone else picture).replace_self(frame)
        for code in self.document.findall(nodes.literal):
            words = code.astext().split()
            if len(code.astext()) > PHONE:
                code["classes"].append("long")
            if any(len(word) > PHONE for word in words):
                code["classes"].append("long-word")


def _section(node):
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def visit_math(translator, node):
    """Write a formula as MathML, which browsers display without a script."""
    block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def translate_pictures(app, error):
    """Translate the text in the pictures of a built book.

    The catalogue is `pictures.po`. In it, # stands for each number of a text. The numbers are
    put back in the same order.
    """
    catalogue = Path(app.confdir, f"locale/{app.config.language}/LC_MESSAGES/pictures.po")
    if error or not catalogue.exists():
        return
    with catalogue.open("rb") as file:
        words = {message.id: message.string for message in read_po(file)}

    def translated(match):
        text = html.unescape(match[2])
        numbers = iter(re.findall(NUMBER, text))
        words_of = words.get(re.sub(NUMBER, "#", text), text)
        return match[1] + html.escape(re.sub("#", lambda _: next(numbers), words_of), quote=False)

    for picture in Path(app.outdir, "_images").glob("*.svg"):
        content = picture.read_text(encoding="utf-8")
        picture.write_text(re.sub(TEXT, translated, content), encoding="utf-8")


def setup(app):
    """Register the functions and classes above with Sphinx."""
    app.connect("build-finished", translate_pictures)
    languages["ko"] = Korean
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.add_post_transform(Alternative)
    app.add_post_transform(Narrow)
