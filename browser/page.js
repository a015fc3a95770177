// Run the lesson's files, and the reader's own, with LiteRT.js, and show what they answer.
import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const VARIANTS = [
  { name: "float32", file: "my_model.tflite", color: "#2b6cb0" },
  { name: "float16", file: "my_model.quant.tflite", color: "#c05621" },
  { name: "dynamic range", file: "my_model.dynamic.tflite", color: "#2f855a" },
  { name: "full integer", file: "my_model.int8.tflite", color: "#b83280" },
];
const TEXTS = {
  en: {
    error: "error",
    time: "one run",
    size: "file",
    bytes: (n) => `${n.toLocaleString("en")} bytes`,
    refused: "LiteRT.js refuses this file: ",
    ready: "Ready.",
    failed: "LiteRT.js did not start: ",
    input: "input",
    output: "output",
    first: "first values",
    oneRun: "One run takes",
    random: "on random numbers",
    running: "Running …",
    notModel: "is not a .tflite file: a model begins with other bytes.",
    varies: "has an input whose batch varies. Convert it with a fixed one: ",
    variesInside: "has an input whose size varies. Build the model with a fixed one, such as ",
    cannotRun: "cannot run here: ",
  },
  ko: {
    names: { "dynamic range": "동적 범위", "full integer": "전체 정수" },
    error: "오차",
    time: "추론 한 번",
    size: "파일",
    bytes: (n) => `${n.toLocaleString("ko")}바이트`,
    refused: "LiteRT.js가 이 파일을 거부했습니다: ",
    ready: "준비되었습니다.",
    failed: "LiteRT.js를 시작하지 못했습니다: ",
    input: "입력",
    output: "출력",
    first: "처음 값들",
    oneRun: "추론 한 번에 걸린 시간:",
    random: "(난수 입력)",
    running: "실행 중 …",
    notModel: "파일은 .tflite 형식이 아닙니다. 첫 부분의 바이트가 모델 파일과 다릅니다.",
    varies: "파일에는 배치가 고정되지 않은 입력이 있습니다. 배치를 고정해 다시 변환하세요: ",
    variesInside: "파일에는 크기가 고정되지 않은 입력이 있습니다. 크기를 고정해 모델을 다시 만드세요. 예: ",
    cannotRun: "파일은 여기서 실행할 수 없습니다: ",
  },
};
const language = navigator.language.startsWith("ko") ? "ko" : "en";
const texts = TEXTS[language];
const shown = (name) => texts.names?.[name] ?? name;
const $ = (id) => document.getElementById(id);

function element(tag, content = [], attributes = {}) {
  const made = document.createElement(tag);
  made.append(...[content].flat());
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The runtime's C++ code writes its notes to the console as errors; they are none.
const report = console.error.bind(console);
console.error = (...said) =>
  /^(INFO|WARNING): /.test(said[0]) ? console.debug(...said) : report(...said);

// ---- Running a model

// Run a compiled model once; return the values of each output, in the order of the details.
async function run(model, inputs) {
  const tensors = inputs.map(({ values, shape }) => new Tensor(values, shape));
  const results = await model.run(tensors);
  const outputs = await Promise.all(results.map((result) => result.data()));
  const copies = outputs.map((values) => values.slice());
  for (const tensor of [...tensors, ...results]) tensor.delete();
  return copies;
}

// Return the median time of one run in milliseconds. Browsers round the clock, so each measurement
// takes as many runs as fill five milliseconds, for a quarter of a second or eleven times. They also
// compile better what has run for a while, so some runs come first that are not measured.
async function timeOf(model, inputs) {
  const times = [];
  let runs = 1;
  const warm = performance.now() + 300;
  do await run(model, inputs);
  while (performance.now() < warm);
  const end = performance.now() + 250;
  while (times.length < 11 || (performance.now() < end && times.length < 200)) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) await run(model, inputs);
    const taken = performance.now() - start;
    if (taken < 5 && runs < 1e5) runs *= 2;
    else times.push(taken / runs);
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}

const milliseconds = (t) => (t < 1 ? `${(1000 * t).toPrecision(2)} µs` : `${t.toPrecision(3)} ms`);

// A number as short as nine digits allow, which is all that a float32 holds.
const digits = (value) => `${Number(value.toPrecision(9))}`;

// LiteRT.js ends its messages with the place in its source; the first sentence is for the reader.
const reason = (error) => String(error?.message ?? error).split("\n")[0];

// ---- The lesson's files

const real = (x) => 100 * x + 5;

async function answer(model, x) {
  const [[y]] = await run(model, [{ values: new Float32Array([x]), shape: [1, 1] }]);
  return y;
}

async function open(variant) {
  const card = element("li", element("h3", shown(variant.name)), { style: `--mark: ${variant.color}` });
  variant.answer = element("p", "…", { "data-variant": variant.name });
  card.append(variant.answer);
  $("variants").append(card);
  const bytes = new Uint8Array(await (await fetch(variant.file)).arrayBuffer());
  try {
    const model = await loadAndCompile(bytes, { accelerator: "wasm" });
    await answer(model, 150);
    variant.model = model;
  } catch (error) {
    variant.answer.textContent = texts.refused + reason(error);
    variant.answer.className = "refused";
    return;
  }
  variant.error = element("dd");
  variant.time = element("dd", "…");
  const rows = [
    [texts.error, variant.error],
    [texts.time, variant.time],
    [texts.size, element("dd", texts.bytes(bytes.length))],
  ];
  card.append(element("dl", rows.flatMap(([name, value]) => [element("dt", name), value])));
}

async function show(x) {
  $("true").textContent = digits(real(x));
  for (const variant of VARIANTS.filter(({ model }) => model)) {
    const y = await answer(variant.model, x);
    variant.answer.textContent = digits(y);
    variant.error.textContent = `${y < real(x) ? "−" : "+"}${Math.abs(y - real(x)).toPrecision(2)}`;
  }
  const now = $("plot").querySelector(".now");
  const at = Math.min(Math.max(x, 0), 600);
  now.setAttribute("transform", `translate(${across(at)} 0)`);
}

// Show the latest x; one that comes while another is computed waits, and only the last of them.
let wanted;
async function choose(x) {
  const idle = wanted === undefined;
  wanted = x;
  if (!idle) return;
  for (let shown; shown !== wanted; ) {
    shown = wanted;
    await show(shown);
  }
  wanted = undefined;
}

// ---- The plot

const across = (x) => 56 + (x / 600) * 364;
const up = (y) => 238 - (y / 60005) * 224;

function drawing(tag, attributes, content = []) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat());
  return made;
}

async function plot() {
  const line = (x1, y1, x2, y2, name) => drawing("line", { x1, y1, x2, y2, class: name });
  const text = (x, y, anchor, content) =>
    drawing("text", { x, y, "text-anchor": anchor }, content);
  const parts = [
    drawing("rect", { x: across(100), y: up(60005), width: across(199) - across(100),
      height: up(0) - up(60005), class: "data" }),
  ];
  for (const y of [0, 20000, 40000, 60000]) {
    parts.push(line(across(0), up(y), across(600), up(y), "axis"));
    parts.push(text(across(0) - 8, up(y) + 4, "end", y.toLocaleString("en")));
  }
  for (const x of [0, 100, 200, 300, 400, 500, 600]) {
    parts.push(text(across(x), up(0) + 20, "middle", `${x}`));
  }
  parts.push(line(across(0), up(real(0)), across(600), up(real(600)), "true"));
  const running = VARIANTS.filter(({ model }) => model);
  for (const [index, { name, color, model }] of running.entries()) {
    for (let x = 12 + 16 * index; x <= 600; x += 48) {
      const y = await answer(model, x);
      parts.push(drawing("circle", { cx: across(x), cy: up(y), r: 4, fill: color }));
    }
    parts.push(drawing("circle", { cx: across(410), cy: up(16000) + 20 * index, r: 4, fill: color }));
    parts.push(text(across(410) + 11, up(16000) + 4 + 20 * index, "start", shown(name)));
  }
  parts.push(line(0, up(0), 0, up(60005), "now"));
  $("plot").append(...parts);
}

// ---- The reader's own file

// Fill an input with the same random numbers each time: a linear congruential generator with the
// constants of Numerical Recipes. Integers may count words or classes, so they are 0 or 1.
function randomInput({ dtype, shape }, state) {
  const kinds = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  if (!(dtype in kinds)) throw new Error(`${dtype} inputs are not supported`);
  const values = new kinds[dtype](shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < values.length; i++) {
    state.seed = (1664525 * state.seed + 1013904223) % 2 ** 32;
    values[i] = dtype === "float32" ? state.seed / 2 ** 32 : state.seed >>> 31;
  }
  return { values, shape: [...shape] };
}

async function tryOwn(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const name = element("b", file.name);
  if (String.fromCharCode(...bytes.slice(4, 8)) !== "TFL3") {
    $("own").replaceChildren(element("p", [name, ` ${texts.notModel}`]));
    return;
  }
  $("own").replaceChildren(element("p", texts.running));
  let model;
  try {
    model = await loadAndCompile(bytes, { accelerator: "wasm" });
    const [takes, gives] = [model.getInputDetails(), model.getOutputDetails()];
    const rows = (kind, details) =>
      details.map((tensor) =>
        element("tr", [
          element("th", kind),
          element("td", tensor.name),
          element("td", `${tensor.dtype} [${[...tensor.shape].join(", ")}]`),
        ]),
      );
    const described = element("table", [...rows(texts.input, takes), ...rows(texts.output, gives)]);
    if (takes.some(({ shape }) => shape.includes(-1))) {
      const inside = takes.some(({ shape }) => shape.slice(1).includes(-1));
      const why = ` ${inside ? texts.variesInside : texts.varies}`;
      const way = inside ? "keras.Input((32, 5))" : "python 03_convert_model.py MODEL --batch 1";
      $("own").replaceChildren(described, element("p", [name, why, element("code", way)]));
      return;
    }
    $("own").replaceChildren(element("p", name), described);
    const state = { seed: 1 };
    const inputs = takes.map((tensor) => randomInput(tensor, state));
    const outputs = await run(model, inputs);
    const time = await timeOf(model, inputs);
    $("own").append(element("p", `${texts.oneRun} ${milliseconds(time)} ${texts.random}.`));
    for (const [index, { name }] of gives.entries()) {
      const first = [...outputs[index].slice(0, 8)].map((value) => digits(Number(value)));
      const values = element("code", first.join(" "), { "data-output": name });
      $("own").append(element("p", [`${name}, ${texts.first}: `, values]));
    }
  } catch (error) {
    const message = element("p", [name, ` ${texts.cannotRun}${reason(error)}`]);
    $("own").append(message);
    $("own").querySelector("p").remove();
  } finally {
    model?.delete();
  }
}

// ---- The page

document.documentElement.lang = language;
const given = Number(new URLSearchParams(location.search).get("x") ?? 150);
const x = Number.isFinite(given) ? given : 150;
for (const id of ["x", "slider"]) {
  $(id).value = x;
  $(id).addEventListener("input", ({ target }) => {
    if (target.value === "") return;
    $(id === "x" ? "slider" : "x").value = target.value;
    choose(Number(target.value));
  });
}

try {
  await loadLiteRt("litert/wasm/");
  for (const variant of VARIANTS) await open(variant);
  await plot();
  await choose(Number($("x").value));
  for (const { model, time } of VARIANTS.filter(({ model }) => model)) {
    const x = [{ values: new Float32Array([150]), shape: [1, 1] }];
    time.textContent = milliseconds(await timeOf(model, x));
  }
  $("status").textContent = texts.ready;
} catch (error) {
  $("status").textContent = texts.failed + reason(error);
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) tryOwn(target.files[0]);
});
for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(event, (dragged) => {
    dragged.preventDefault();
    $("drop").classList.toggle("over", over);
    if (event === "drop" && dragged.dataTransfer.files.length) {
      tryOwn(dragged.dataTransfer.files[0]);
    }
  });
}
