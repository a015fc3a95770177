"""The page in a real Chromium: its outputs are those of LiteRT."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from conftest import CHROMIUM, REPOSITORY, record_of, run_tflite, save_line, unpacked
from tensorflow import keras

api = pytest.importorskip("playwright.sync_api", reason="make test installs playwright")
LITERT = REPOSITORY / "build/browser/litert"
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(not LITERT.exists(), reason="no LiteRT.js: run make build/browser"),
]


PAGE = ["index.html", "style.css", *(path.name for path in REPOSITORY.glob("browser/*.js"))]
GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]  # a software GPU
RUN = ["float32", "float16", "dynamic range", "full integer, float ends"]  # what LiteRT.js takes
PAIRS = [(variant, accelerator) for variant in RUN for accelerator in ["wasm", "webgpu"]]


def lay_out(page):
    """Copy the page, without a model, to a directory, as `make build/browser` does."""
    shutil.copytree(LITERT, page / "litert")
    for file in PAGE:
        shutil.copy(REPOSITORY / "browser" / file, page)
    command = [sys.executable, REPOSITORY / "browser/colors.py"]
    with open(page / "variants.js", "w", encoding="utf-8") as file:
        subprocess.run(command, stdout=file, check=True)


@pytest.fixture(scope="module")
def site(pipeline, warm, tmp_path_factory):
    """Return a directory with the page in build/browser, and with the lesson's files."""
    directory = tmp_path_factory.mktemp("site")
    page = directory / "build/browser"
    lay_out(page)
    command = ["convert", "saved_model/my_model", "--batch", "1", "--float-ends"]
    command += ["--output", page / "model"]
    process = warm(*command, cwd=pipeline[0])
    assert process.returncode == 0, process.stderr
    return directory


@pytest.fixture(scope="module")
def serve(site):
    """Return a function that serves the page on a host and returns the process."""
    processes = []

    def start(host="127.0.0.1", port="0", page="build/browser"):
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "browser/serve.py", page],
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
        arguments = ["--no-sandbox", *GPU]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextlib.contextmanager
def visits(chromium, address):
    """Yield a function that opens the page. It must cause no errors and no foreign requests."""
    said, asked = [], []

    def open_page(query="", address=address, before="", routes=(), status="Ready|준비", **context):
        page = chromium.new_context(**context).new_page()
        page.add_init_script(before)
        for url, path in routes:
            page.route(url, lambda route, request, path=path: route.fulfill(path=path))
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + query)
        page.wait_for_function(
            f"/^({status})/.test(document.getElementById('status').textContent)", timeout=60_000
        )
        return page

    yield open_page
    assert not said
    assert asked
    own = r"https?://[\d.]+:|blob:|data:"
    assert not [url for url in asked if not re.match(own, url)]


@pytest.fixture
def visit(chromium, address):
    """Return a function that opens the page. See `visits`."""
    with visits(chromium, address) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def lesson(chromium, address):
    """Return the page of the lesson's model. Tests that share it change only x."""
    with visits(chromium, address) as open_page:
        yield open_page("?x=200")


def cell(page, variant, accelerator):
    """Return the element of a variant on an accelerator."""
    return page.locator(f"#variants [data-variant='{variant}'][data-accelerator='{accelerator}']")


def marks(page, accelerators=("wasm", "webgpu")):
    """Return whether each variant agrees on each accelerator: a dict to "true" or "false"."""
    found = {}
    for variant, accelerator in PAIRS:
        if accelerator in accelerators:
            agrees = cell(page, variant, accelerator).get_attribute("data-agrees")
            found[variant, accelerator] = agrees
    return found


@pytest.mark.parametrize("accelerator", ["wasm", "webgpu"])
@pytest.mark.parametrize(
    ("variant", "suffix"), zip(RUN, ["", ".quant", ".dynamic", ".int8.float-ends"], strict=True)
)
def test_outputs_are_those_of_litert(lesson, site, variant, suffix, accelerator):
    output = cell(lesson, variant, accelerator)
    for x in [150, 5, 437.25, -3]:
        lesson.fill("#x", str(x))
        lesson.wait_for_function(f"document.getElementById('true').textContent == {100 * x + 5}")
        path = site / f"build/browser/model{suffix}.tflite"
        (((expected,),),) = run_tflite(path, np.float32([[x]])).values()
        api.expect(output).to_have_text(re.compile(r"^-?[\d.]+"))
        lesson.wait_for_function(
            "([name, unit, y]) => Math.abs(parseFloat(document.querySelector("
            "`[data-variant='${name}'][data-accelerator='${unit}']`).textContent) - y)"
            " <= 1e-6 * Math.abs(y)",
            arg=[variant, accelerator, float(expected)],
            timeout=10_000,
        )


def test_each_pair_agrees_and_has_an_error_a_time_and_a_size(lesson, site):
    assert marks(lesson) == dict.fromkeys(PAIRS, "true")
    cards = lesson.locator("#variants li").all_inner_texts()
    cards = [card for card in cards if "refuses" not in card]
    for card, suffix in zip(cards, ["", ".quant", ".dynamic", ".int8.float-ends"], strict=True):
        size = (site / f"build/browser/model{suffix}.tflite").stat().st_size
        number, taken = r"[+−][\d.e-]+", r"[\d.]+ (µs|ms)"
        assert re.search(rf"error\s+{number}\s+{number}\s", card), card
        assert re.search(r"agrees\s+✓ 100 of 100\s+✓ 100 of 100", card), card
        assert re.search(rf"one run\s+{taken}\s+{taken}", card), card
        assert f"{size:,} bytes" in card


def test_full_integer_is_shown_with_the_reason(lesson):
    card = lesson.locator("#variants li", has_text="full integer").first.inner_text()
    assert "refuses" in card
    assert "INT8" in card.upper()
    assert cell(lesson, "full integer", "wasm").get_attribute("data-agrees") is None


def test_the_table_to_copy(lesson):
    lines = lesson.input_value("#report").splitlines()
    assert re.match(r"GPU: .*swiftshader", lines[0], re.IGNORECASE)
    assert lines[1].startswith("browser: Mozilla/5.0 ")
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in lines[3:]]
    assert rows[0] == ["variant", "accelerator", "runs that agree", "one run"]
    rows = [row for row in rows[2:] if "not supported" not in row[2]]
    assert [tuple(row[:2]) for row in rows] == PAIRS
    for row in rows:
        assert row[2] == "100 of 100"
        assert re.fullmatch(r"[\d.]+ (µs|ms)", row[3])
    lesson.click("#copy")
    api.expect(lesson.locator("#copied")).not_to_be_empty()


@pytest.mark.parametrize("slope", [50, 101])
def test_files_of_another_model_are_found_out(visit, site, tmp_path, warm, slope):
    """The files are of another model, but the record is the lesson's."""
    save_line(tmp_path / "line.keras", slope)
    process = warm("convert", "line.keras", "--batch", 1, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    routes = [
        (f"**/model{suffix}.tflite", tmp_path / f"line{suffix}.tflite")
        for suffix in ["", ".quant", ".dynamic"]
    ]
    page = visit(routes=routes)
    assert marks(page) == {pair: str(pair[0] == RUN[-1]).lower() for pair in PAIRS}
    cards = page.locator("#variants").inner_text()
    for who in ["CPU", "GPU"]:
        wrong = (
            rf"The {who} returns wrong results: in run \d+, output_0 is [\d.]+ instead of [\d.]+\."
        )
        assert len(re.findall(wrong, cards)) == 3


def test_a_gpu_that_rounds_to_16_bits_is_found_out(visit, site):
    """float32 may be off by 1, but float16 has steps of 8 there. The CPU's results stay right."""
    rounded = """
        const read = GPUBuffer.prototype.getMappedRange;
        GPUBuffer.prototype.getMappedRange = function (...given) {
          const bytes = read.apply(this, given);
          if (bytes.byteLength < 4 || !(this.usage & GPUBufferUsage.MAP_READ)) return bytes;
          const values = new Float32Array(bytes);
          for (let i = 0; i < values.length; i++) values[i] = ROUND(values[i]);
          return bytes;
        };
    """
    for wrong in ["Math.round(values[i] / 8) * 8", "NaN", "0"]:
        page = visit(before=rounded.replace("ROUND(values[i])", wrong))
        assert marks(page, ["wasm"]) == {pair: "true" for pair in PAIRS if pair[1] == "wasm"}
        assert cell(page, "float32", "webgpu").get_attribute("data-agrees") == "false"
        assert "The GPU returns wrong results" in page.locator("#variants").inner_text()


def test_a_browser_without_webgpu(visit):
    page = visit(before="delete Navigator.prototype.gpu;")
    assert "has no WebGPU" in page.locator("#gpu").inner_text()
    assert marks(page, ["wasm"]) == {pair: "true" for pair in PAIRS if pair[1] == "wasm"}
    for variant in RUN:
        lone = cell(page, variant, "webgpu")
        assert lone.get_attribute("data-agrees") is None
        assert not re.search(r"\d", lone.inner_text())


def test_a_gpu_that_is_lost(visit):
    keep = """
        const request = GPUAdapter.prototype.requestDevice;
        GPUAdapter.prototype.requestDevice = async function (...given) {
          return (window.device = await request.apply(this, given));
        };
    """
    page = visit(before=keep)
    page.evaluate("window.device.destroy()")
    api.expect(page.locator("#gpu")).to_contain_text("The GPU was lost")
    page.fill("#x", "200")
    api.expect(cell(page, "float32", "wasm")).to_have_text(re.compile("^2000[45]"))
    assert cell(page, "float32", "wasm").get_attribute("data-agrees") == "true"
    early = keep.replace(
        "return (window.device =",
        "setTimeout(() => window.device.destroy(), 300);\n return (window.device =",
    )
    page = visit(before=early)
    api.expect(page.locator("#gpu")).to_contain_text("The GPU was lost")
    assert marks(page, ["wasm"]) == {pair: "true" for pair in PAIRS if pair[1] == "wasm"}


def test_the_plot_has_each_variant_that_runs_and_the_present_x(lesson):
    lesson.fill("#x", "300")
    api.expect(lesson.locator("#true")).to_have_text("30005")
    names = lesson.locator("#plot text").all_text_contents()
    assert [name for name in names if re.match("[a-z]", name)] == RUN
    assert lesson.locator("#plot circle").count() > 30
    before = lesson.locator("#plot .now").get_attribute("transform")
    lesson.focus("#slider")
    lesson.keyboard.press("ArrowRight")
    api.expect(lesson.locator("#true")).to_have_text("30105")
    api.expect(lesson.locator("#plot .now")).not_to_have_attribute("transform", before)
    assert lesson.input_value("#x") == "301"


def test_korean(visit, lesson):
    page = visit(locale="ko-KR")
    assert page.locator("h1").inner_text() == "이 기기에서 실행하는 강좌의 모델"
    assert "오차" in page.locator("#variants").inner_text()
    assert lesson.locator("h1").inner_text().startswith("The lesson")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(lesson, width):
    lesson.set_viewport_size({"width": width, "height": 800})
    assert lesson.evaluate("document.documentElement.scrollWidth") <= width


def own(page, *paths):
    """Give the page one's own files, and return the element that shows the result."""
    page.set_input_files("#file", [str(path) for path in paths])
    page.wait_for_function("!/Running|^$/.test(document.getElementById('own').textContent)")
    page.wait_for_timeout(100)
    return page.locator("#own")


def numbers(count):
    """Return the random numbers of the page (`randomInputs` in runs.js), float32."""
    seed, values = 1, []
    for _ in range(count):
        seed = (1664525 * seed + 1013904223) % 2**32
        values.append(seed / 2**32)
    return np.float32(values)


@pytest.fixture(scope="module")
def convolution(models, warm, tmp_path_factory):
    """Return a directory with a convolutional network, converted with a batch size of 1."""
    directory = tmp_path_factory.mktemp("convolution")
    shutil.copy(models / "swish.keras", directory / "net.keras")
    images = np.random.default_rng(0).random((20, 16, 16, 3), np.float32)
    np.save(directory / "net.samples.npy", images)
    process = warm("convert", "net.keras", "--batch", 1, cwd=directory)
    assert process.returncode == 0, process.stderr
    return directory


@pytest.mark.parametrize("suffix", ["", ".quant", ".dynamic"])
def test_an_own_file_with_its_record(visit, convolution, suffix):
    page = visit()
    file, record = convolution / f"net{suffix}.tflite", convolution / "net.check.json"
    shown = own(page, file, record)
    page.wait_for_function("document.getElementById('own').dataset.done", timeout=60_000)
    for accelerator in ["wasm", "webgpu"]:
        pair = shown.locator(f"[data-accelerator='{accelerator}']")
        assert pair.get_attribute("data-agrees") == "true", shown.inner_text()
        (expected,) = unpacked(record_of(record)["runs"][0]["outputs"]).values()
        assert float(pair.inner_text()) == pytest.approx(expected.ravel()[0], rel=0.05)
    assert "has changed" not in shown.inner_text()


def test_an_own_file_that_is_another_ones(visit, convolution, models, warm, tmp_path):
    """The same network with other weights, under the checked file's name."""
    net = keras.models.load_model(convolution / "net.keras", compile=False)
    net.set_weights([0.99 * array for array in net.get_weights()])
    net.save(tmp_path / "net.keras")
    shutil.copy(convolution / "net.samples.npy", tmp_path)
    process = warm("convert", "net.keras", "--batch", 1, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    page = visit()
    shown = own(page, tmp_path / "net.tflite", convolution / "net.check.json")
    page.wait_for_function("document.getElementById('own').dataset.done", timeout=60_000)
    for accelerator in ["wasm", "webgpu"]:
        pair = shown.locator(f"[data-accelerator='{accelerator}']")
        assert pair.get_attribute("data-agrees") == "false"
    changed = "This file has changed since the check. Its outputs decide."
    assert changed in shown.inner_text()
    assert "The CPU returns wrong results: in run " in shown.inner_text()


def test_an_own_file_without_a_record(visit, convolution):
    page = visit()
    shown = own(page, convolution / "net.tflite")
    page.wait_for_function("document.getElementById('own').dataset.done", timeout=60_000)
    random = numbers(16 * 16 * 3).reshape(1, 16, 16, 3)
    (expected,) = run_tflite(convolution / "net.tflite", random).values()
    for accelerator in ["wasm", "webgpu"]:
        pair = shown.locator(f"[data-accelerator='{accelerator}']")
        assert pair.get_attribute("data-agrees") is None
        assert float(pair.inner_text()) == pytest.approx(expected.ravel()[0], rel=1e-4)
    assert re.search(r"differ by at most [\d.e-]+% of the largest output", shown.inner_text())
    assert re.search(r"input\s+\S+\s+float32 \[1, 16, 16, 3\]", shown.inner_text())
    assert "the file came without the record of its check" in shown.inner_text()
    assert "| net.tflite | wasm | no check | " in page.input_value("#report")


def test_own_files_that_cannot_run(visit, site, pipeline, models, warm, tmp_path):
    page = visit()
    (tmp_path / "notes.tflite").write_text("not a model, but some text\n")
    assert "notes.tflite is not a .tflite file" in own(page, tmp_path / "notes.tflite").inner_text()
    shown = own(page, pipeline[0] / "saved_model/my_model.tflite")
    api.expect(shown).to_contain_text("python -m litecheck convert MODEL --batch 1")
    for name, loops, words in [
        ("lstm", [], "--batch 1 --loops"),
        ("loop", ["--loops"], "keras.Input((32, 5))"),
    ]:
        process = warm("convert", "lstm.keras", "--output", tmp_path / name, *loops, cwd=models)
        assert process.returncode == 0, process.stderr
        api.expect(own(page, tmp_path / f"{name}.tflite")).to_contain_text(words)
    shown = own(page, site / "build/browser/model.int8.tflite")
    api.expect(shown).to_contain_text("cannot run here: ")
    content = (site / "build/browser/model.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    api.expect(own(page, tmp_path / "cut.tflite")).to_contain_text("cannot run here: ")
    file, record = (site / f"build/browser/model.{end}" for end in ["tflite", "check.json"])
    (tmp_path / "other.tflite").write_bytes(content[:-4] + bytes(4))
    shown = own(page, tmp_path / "other.tflite", record)
    api.expect(shown).to_contain_text("model.check.json has no entry for other.tflite.")
    alone = "is the record of a check. Choose the .tflite file together with it."
    api.expect(own(page, record)).to_contain_text(f"model.check.json {alone}")
    (tmp_path / "bad.json").write_text("{}")
    shutil.copy(file, tmp_path / "model (1).tflite")  # browsers name a second download like this
    shown = own(page, tmp_path / "bad.json", tmp_path / "model (1).tflite", record)
    api.expect(shown).to_contain_text("✓ 100 of 100", timeout=20_000)
    shown = own(page, file, record)  # after failures, a good file runs
    api.expect(shown).to_contain_text("✓ 100 of 100", timeout=20_000)


def test_records_that_cannot_be_used(visit, site, tmp_path):
    """Files of other kinds, damaged records and other versions. Each message tells what to do."""
    page, file = visit(), site / "build/browser/model.tflite"
    whole = record_of(site / "build/browser/model.check.json")
    old = {key: part for key, part in whole.items() if key != "format"}
    none = "is not the record of a check. Choose NAME.check.json."
    version = "is a record of another version. Convert the model again: python -m litecheck convert"
    for name, content, phrase in [
        ("empty.json", {}, none),
        ("null.json", None, none),
        ("list.json", [1], none),
        ("model.check.json", whole | {"format": 2}, f"{version} MODEL"),
        ("later.json", {"format": 2}, f"{version} MODEL"),
        ("model.proof.json", old, f"{version} MODEL"),
        ("cut.json", whole | {"runs": []}, "cannot be used: its parts do not fit each other"),
        ("less.json", {"format": 1}, "cannot be used: "),
    ]:
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        api.expect(own(page, file, tmp_path / name)).to_contain_text(f"{name} {phrase}")
    (tmp_path / "text.json").write_text("not JSON")
    api.expect(own(page, file, tmp_path / "text.json")).to_contain_text(f"text.json {none}")


def test_the_page_of_a_record_of_another_version(visit, site, tmp_path):
    whole = record_of(site / "build/browser/model.check.json")
    (tmp_path / "later.json").write_text(json.dumps(whole | {"format": 2}), encoding="utf-8")
    routes = [("**/model.check.json", tmp_path / "later.json")]
    page = visit(routes=routes, status="The model cannot be shown: ")
    version = "the record of its check is of another version. Convert the model again"
    api.expect(page.locator("#status")).to_contain_text(version)
    assert page.locator("#variants li").count() == 0


def test_files_that_are_chosen_while_the_page_starts(chromium, address, convolution):
    """They wait and run one after another. The page shows the last one."""
    page = chromium.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_function("document.getElementById('copy')?.onclick !== undefined")
    page.wait_for_timeout(200)
    for suffix in ["", ".quant"]:
        files = [str(convolution / f"net{suffix}.tflite"), str(convolution / "net.check.json")]
        page.set_input_files("#file", files)
    page.wait_for_function("document.getElementById('own').dataset.done === 'net.quant.tflite'")
    assert "net.quant.tflite" in page.locator("#own").inner_text()
    report = page.input_value("#report")
    assert re.search(r"\| net\.tflite \| webgpu \| (\d+) of \1 \|", report), report


def test_a_page_of_an_own_model(visit, serve, site, convolution):
    page = site / "build/browser-own"
    lay_out(page)
    for file in convolution.glob("net*"):
        name = file.name.replace("net.", "model.", 1)
        if file.name.endswith(".tflite"):
            shutil.copy(file, page / name)
    text = (convolution / "net.check.json").read_text(encoding="utf-8")
    text = text.replace('"file": "net.', '"file": "model.')
    (page / "model.check.json").write_text(text, encoding="utf-8")
    address = re.search(r"http://\S+/", serve(page="build/browser-own").stdout.readline())[0]
    shown = visit(address=address)
    assert shown.locator("h1").inner_text() == "net.keras, on this device"
    assert not shown.locator("#x").is_visible()
    assert not shown.locator("#plot").is_visible()
    agree = shown.locator("#variants [data-agrees=true]")
    assert agree.count() == 2 * len(RUN[:3])
    assert "trained" in shown.locator("#variants li").first.inner_text()
    shown.set_viewport_size({"width": 360, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    for table in shown.locator(".cards table").all():
        assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")


def test_only_the_page_is_served(address):
    for path in ["../../saved_model/", "%2e%2e/%2e%2e/saved_model/", "browser/serve.py"]:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)
    with urllib.request.urlopen(f"{address}litert/wasm/litert_wasm_internal.wasm") as reply:
        assert reply.headers["Content-Type"] == "application/wasm"


def test_a_port_in_use_is_an_error_with_a_way_out(serve, address):
    process = serve(port=address.split(":")[2].strip("/"))
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"cannot serve on .*\. Try another port: PORT=\d+ make browser\n", errors)


def test_phones_get_a_qr_code(serve):
    pytest.importorskip("segno", reason="make browser installs it")
    process = serve(host="0.0.0.0")
    first, code = process.stdout.readline(), process.stdout.readline()
    assert re.search(r"https?://\d+\.\d+\.\d+\.\d+:\d+/", first)
    assert re.search("[▀▄█]", code + process.stdout.readline())


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_phones_get_their_gpu(serve, visit):
    """The page is on https, and the phone accepts the certificate. http has no GPU."""
    address = re.search(r"https://\S+", serve(host="0.0.0.0").stdout.readline())[0]
    page = visit(address=address, ignore_https_errors=True)
    assert "swiftshader" in page.locator("#gpu").inner_text().lower()
    assert marks(page) == dict.fromkeys(PAIRS, "true")


def test_a_port_that_is_none():
    for port in ["abc", "-1", "65536", ""]:
        command = [sys.executable, REPOSITORY / "browser/serve.py"]
        process = subprocess.run(
            command, env=os.environ | {"PORT": port}, capture_output=True, text=True
        )
        assert process.returncode == 1
        assert process.stderr == (
            f"PORT={port} is not a number from 0 to 65535. Try: PORT=8001 make browser\n"
        )
