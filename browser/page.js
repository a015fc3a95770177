// The page runs each variant of a model on the CPU and the GPU, and checks it against the record that
// litecheck convert wrote.
import { card, digits, element, judge, reason, short, tableOf, time, tried, usable } from "./card.js";
import { requireConsistent, runsOf } from "./check.js";
import { tryOwn } from "./own.js";
import { mark, plot } from "./plot.js";
import { inTurn, start } from "./runs.js";
import { COLORS } from "./variants.js";
import { language, shown, words } from "./words.js";

const $ = (id) => document.getElementById(id);

// ---- The lesson's outputs at x

const real = (x) => 100 * x + 5;
const running = []; // { card, accelerator, model } of the lesson

async function outputAt({ takes, gives, run }, x) {
  const inputs = { [takes[0].name]: { values: new Float32Array([x]), shape: [1, 1] } };
  return (await inTurn(() => run(inputs)))[gives[0].name][0];
}

async function show(x) {
  $("true").textContent = digits(real(x));
  mark($("plot"), x);
  for (const { card, accelerator, model } of running) {
    try {
      const y = await outputAt(model, x);
      const error = short(Math.abs(y - real(x)), 2);
      card.first[accelerator].textContent = digits(y);
      card.cells[words.error][accelerator].textContent = `${y < real(x) ? "−" : "+"}${error}`;
    } catch {
      card.first[accelerator].textContent = "–"; // the GPU was lost, and the page shows it
    }
  }
}

// Show the outputs for x. While they are computed, only the latest new x is kept.
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

async function drawPlot(tries) {
  const series = [];
  for (const [index, { variant, pairs }] of tries.entries()) {
    const pair = Object.values(pairs).find(usable);
    if (!pair) continue;
    const points = [];
    for (let x = 12 + 16 * index; x <= 600; x += 48) points.push([x, await outputAt(pair.model, x)]);
    series.push({ name: shown(variant), color: COLORS[variant], points });
  }
  plot($("plot"), real, series);
}

// ---- The page's model: the lesson's with x and a plot, or another model with its first outputs

// Show each variant of the page's model on the CPU and the GPU, and add rows to the table to copy.
async function openModel(gpu, rows) {
  const record = await (await fetch("model.check.json")).json();
  requireConsistent(record);
  const name = record.model.path.split("/").at(-1);
  const [{ inputs, outputs }] = record.runs;
  const shapes = JSON.stringify([inputs, outputs].map((side) => Object.values(side).map((end) => end.shape)));
  const lesson = /^my_model(\.|$)/.test(name) && shapes === "[[[1,1]],[[1,1]]]";
  document.body.dataset.model = lesson ? "lesson" : "own";
  if (!lesson) $("title").replaceChildren(words.title(name));
  if (!lesson) $("intro").replaceChildren(words.intro(name));
  const tries = [];
  for (const [variant, row] of Object.entries(record.variants)) {
    if (row.not_written) {
      const parts = [element("h3", shown(variant)), element("p", words.notWritten + row.not_written)];
      $("variants").append(element("li", parts));
      continue;
    }
    const bytes = new Uint8Array(await (await fetch(row.file)).arrayBuffer());
    const known = runsOf(record, variant);
    const table = tableOf(known[0].outputs);
    const names = [...(lesson ? [words.output, words.error] : table.rows), words.agrees, words.time];
    const made = card($("variants"), variant, bytes, names, ...(lesson ? [] : [table.trained, table.corner]));
    const pairs = await tried(bytes, record, known, gpu);
    if (!lesson) table.fill(made, pairs);
    judge(made, pairs, record);
    tries.push({ made, variant, pairs, inputs: known[0].inputs });
    for (const [accelerator, pair] of Object.entries(pairs)) {
      if (lesson && usable(pair)) running.push({ card: made, accelerator, model: pair.model });
    }
  }
  if (lesson) {
    await drawPlot(tries);
    await choose(Number($("x").value));
  }
  for (const { made, variant, pairs, inputs } of tries) {
    rows.push(...(await time(made, pairs, inputs, variant)));
    if (!lesson) for (const { model } of Object.values(pairs)) model?.delete();
  }
}

// ---- The table to copy

// Return the GPU's name. Some browsers reveal little of it.
function nameOf({ device }) {
  const { vendor, architecture, device: model, description } = device.adapterInfo ?? {};
  return [vendor, architecture, model, description].filter(Boolean).join(" ") || "WebGPU";
}

function showReport(rows, gpu) {
  const head = ["variant", "accelerator", "runs that agree", "one run"];
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  $("report").value = [`GPU: ${gpu.device ? nameOf(gpu) : "none"}`, `browser: ${navigator.userAgent}`, "", ...lines].join("\n");
  $("report").rows = lines.length + 4;
}

$("copy").addEventListener("click", async () => {
  $("report").select();
  try {
    await navigator.clipboard.writeText($("report").value);
    $("copied").textContent = words.copied;
  } catch {
    $("copied").textContent = words.selected; // browsers have no clipboard on http
  }
});

// ---- The page

document.documentElement.lang = language;
const asked = Number(new URLSearchParams(location.search).get("x") ?? 150);
const x = Number.isFinite(asked) ? asked : 150;
for (const id of ["x", "slider"]) {
  $(id).value = x;
  $(id).addEventListener("input", ({ target }) => {
    if (target.value === "") return;
    $(id === "x" ? "slider" : "x").value = target.value;
    choose(Number(target.value));
  });
}

// Chosen or dropped files wait for LiteRT.js to start, and then run one after another.
const rows = [];
const started = start("litert/wasm/");
let trying = started.catch(() => {});
function own(files) {
  if (!files.length) return;
  const chosen = [...files];
  trying = trying.then(async () => {
    const gpu = await started;
    rows.push(...(await tryOwn($("own"), chosen, gpu)));
    showReport(rows, gpu);
    $("own").dataset.done = chosen[0].name;
  });
  trying = trying.catch((error) => $("own").replaceChildren(element("p", reason(error))));
}
$("file").addEventListener("change", ({ target }) => own(target.files));
$("drop").addEventListener("drop", ({ dataTransfer }) => own(dataTransfer.files));
for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(event, () => $("drop").classList.toggle("over", over));
  document.addEventListener(event, (dragged) => dragged.preventDefault()); // keep the page open
}

let gpu;
try {
  gpu = await started;
  $("gpu").textContent = gpu.device
    ? words.gpu(nameOf(gpu))
    : isSecureContext ? words.noGpu : words.insecure;
  gpu.gone?.catch((error) => ($("gpu").textContent = words.lost(reason(error))));
} catch (error) {
  $("status").textContent = words.failed + reason(error);
}
if (gpu) {
  try {
    await openModel(gpu, rows);
    $("status").textContent = words.ready;
  } catch (error) {
    $("status").textContent = words.notShown + reason(error);
  }
  showReport(rows, gpu);
}
