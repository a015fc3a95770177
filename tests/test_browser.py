"""The page: real Chromium runs it, and its answers are LiteRT's."""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import CHROMIUM, REPOSITORY

api = pytest.importorskip("playwright.sync_api", reason="make test installs playwright")
LITERT = REPOSITORY / "build/browser/litert"
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(not LITERT.exists(), reason="no LiteRT.js: run make build/browser"),
]


@pytest.fixture(scope="module")
def site(pipeline, tmp_path_factory):
    """Return a directory where the page lies in build/browser, with the lesson's files."""
    directory = tmp_path_factory.mktemp("site")
    page = directory / "build/browser"
    shutil.copytree(LITERT, page / "litert")
    for file in ["index.html", "page.js", "style.css"]:
        shutil.copy(REPOSITORY / "browser" / file, page)
    command = [sys.executable, REPOSITORY / "03_convert_model.py", "--batch", "1"]
    output = ["--output", str(page / "my_model")]
    subprocess.run([*command, *output], cwd=pipeline[0], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def serve(site):
    """Return a function that serves the page with a host; it returns the process and its output."""
    processes = []

    def start(host="127.0.0.1", port="0"):
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "browser/serve.py"],
            cwd=site,
            env=os.environ | {"HOST": host, "PORT": port},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def address(serve):
    """Return the address of the page."""
    return re.search(r"http://127.0.0.1:\d+/", serve().stdout.readline())[0]


@pytest.fixture(scope="module")
def chromium():
    """Return a running Chromium."""
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Return a function that opens the page; no error and no foreign request may come of it."""
    said, asked = [], []

    def open_page(query="", **context):
        page = chromium.new_context(**context).new_page()
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + query)
        page.wait_for_function(
            "/^(Ready|준비)/.test(document.getElementById('status').textContent)", timeout=60_000
        )
        return page

    yield open_page
    assert not said
    assert asked
    assert not [url for url in asked if not url.startswith((address, "blob:", "data:"))]


def litert(path, *values):
    """Return what LiteRT in Python answers, in the order of the outputs' details."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    for tensor, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(tensor["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(t["index"]) for t in interpreter.get_output_details()]


@pytest.mark.parametrize(
    ("variant", "suffix"), [("float32", ""), ("float16", ".quant"), ("dynamic range", ".dynamic")]
)
def test_answers_are_those_of_litert(visit, site, variant, suffix):
    page = visit("?x=150")
    answer = page.locator(f"[data-variant='{variant}']")
    for x in [150, 5, 437.25, -3]:
        if x != 150:
            page.fill("#x", str(x))
            page.wait_for_function(f"document.getElementById('true').textContent == {100 * x + 5}")
        (((expected,),),) = litert(
            site / f"build/browser/my_model{suffix}.tflite", np.float32([[x]])
        )
        api.expect(answer).to_have_text(re.compile(r"^-?[\d.]+"))
        page.wait_for_function(
            "([name, y]) => Math.abs(parseFloat(document.querySelector(`[data-variant='${name}']`)"
            ".textContent) - y) <= 1e-6 * Math.abs(y)",
            arg=[variant, float(expected)],
            timeout=10_000,
        )


def test_each_variant_has_an_error_a_time_and_a_size(visit, site):
    cards = visit("?x=200").locator("#variants li").all_inner_texts()
    for card, suffix in zip(cards[:3], ["", ".quant", ".dynamic"], strict=True):
        size = (site / f"build/browser/my_model{suffix}.tflite").stat().st_size
        assert re.search(r"error\s+[+−][\d.e-]+\s+one run\s+[\d.]+ (µs|ms)", card), card
        assert f"{size:,} bytes" in card


def test_full_integer_is_shown_with_the_reason(visit):
    answer = visit().locator("[data-variant='full integer']")
    assert "refuses" in answer.inner_text()
    assert "INT8" in answer.inner_text().upper()


def test_the_plot_has_each_variant_that_runs_and_the_present_x(visit):
    page = visit("?x=300")
    assert page.locator("#plot text", has_text="dynamic range").count() == 1
    assert page.locator("#plot text", has_text="full integer").count() == 0
    assert page.locator("#plot circle").count() > 30
    before = page.locator("#plot .now").get_attribute("transform")
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    api.expect(page.locator("#true")).to_have_text("30105")
    api.expect(page.locator("#plot .now")).not_to_have_attribute("transform", before)
    assert page.input_value("#x") == "301"


def test_korean(visit):
    page = visit(locale="ko-KR")
    assert page.locator("h1").inner_text() == "이 기기에서 실행하는 강좌의 모델"
    assert "오차" in page.locator("#variants").inner_text()
    assert visit(locale="en-GB").locator("h1").inner_text().startswith("The lesson")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def own(page, path):
    """Give the page a file of the reader's own; return what it says when it has done."""
    page.set_input_files("#file", str(path))
    page.wait_for_function("!/Running|^$/.test(document.getElementById('own').textContent)")
    page.wait_for_timeout(100)
    return page.locator("#own")


def numbers(count):
    """Return the page's random numbers, float32: those of page.js's randomInput."""
    seed, values = 1, []
    for _ in range(count):
        seed = (1664525 * seed + 1013904223) % 2**32
        values.append(seed / 2**32)
    return np.float32(values)


def test_an_own_file_answers_as_in_python(visit, site, models, warm):
    process = warm(
        "03_convert_model.py", "swish.keras", "--batch", 1, "--output", site / "own", cwd=models
    )
    assert process.returncode == 0, process.stderr
    page = visit()
    shown = own(page, site / "own.tflite")
    api.expect(shown).to_contain_text("One run takes", timeout=20_000)
    (expected,) = litert(site / "own.tflite", numbers(16 * 16 * 3).reshape(1, 16, 16, 3))
    values = shown.locator("[data-output]")
    api.expect(values).to_have_text(re.compile(r"\d"))
    first = np.float32(values.inner_text().split())
    np.testing.assert_allclose(first, expected.ravel()[:8], rtol=1e-5, atol=1e-6)
    assert re.search(r"input\s+\S+\s+float32 \[1, 16, 16, 3\]", shown.inner_text())


def test_own_files_that_cannot_run(visit, site, pipeline, models, warm, tmp_path):
    page = visit()
    (tmp_path / "notes.tflite").write_text("not a model, but some text\n")
    assert "notes.tflite is not a .tflite file" in own(page, tmp_path / "notes.tflite").inner_text()
    shown = own(page, pipeline[0] / "saved_model/my_model.tflite")
    api.expect(shown).to_contain_text("python 03_convert_model.py MODEL --batch 1")
    process = warm("03_convert_model.py", "lstm.keras", "--output", tmp_path / "lstm", cwd=models)
    assert process.returncode == 0, process.stderr
    api.expect(own(page, tmp_path / "lstm.tflite")).to_contain_text("keras.Input((32, 5))")
    shown = own(page, site / "build/browser/my_model.int8.tflite")
    api.expect(shown).to_contain_text("cannot run here: ")
    content = (site / "build/browser/my_model.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    api.expect(own(page, tmp_path / "cut.tflite")).to_contain_text("cannot run here: ")
    shown = own(page, site / "build/browser/my_model.tflite")  # and then one that runs
    api.expect(shown).to_contain_text("One run takes", timeout=20_000)


def test_only_the_page_is_served(address):
    for path in ["../../saved_model/", "%2e%2e/%2e%2e/saved_model/", "browser/serve.py"]:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)
    with urllib.request.urlopen(f"{address}litert/wasm/litert_wasm_internal.wasm") as answer:
        assert answer.headers["Content-Type"] == "application/wasm"


def test_a_port_in_use_is_an_error_with_a_way_out(serve, address):
    process = serve(port=address.split(":")[2].strip("/"))
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"cannot serve on .*: PORT=\d+ make browser\n", errors)


def test_phones_get_a_qr_code(serve):
    pytest.importorskip("segno", reason="make browser installs it")
    process = serve(host="0.0.0.0")
    first, code = process.stdout.readline(), process.stdout.readline()
    assert re.search(r"http://\d+\.\d+\.\d+\.\d+:\d+/", first)
    assert re.search("[▀▄█]", code + process.stdout.readline())


def test_a_port_that_is_none():
    for port in ["abc", "-1", "65536", ""]:
        command = [sys.executable, REPOSITORY / "browser/serve.py"]
        process = subprocess.run(
            command, env=os.environ | {"PORT": port}, capture_output=True, text=True
        )
        assert process.returncode == 1
        assert process.stderr == (
            f"PORT={port} is no number from 0 to 65535. Try: PORT=8001 make browser\n"
        )
