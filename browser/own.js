// Run the reader's own file. It is checked against its record. Without a record, the GPU is compared with
// the CPU on random inputs.
import { card, element, judge, note, reason, short, tableOf, time, tried } from "./card.js";
import { FORMAT, requireConsistent, runsOf, variantOf } from "./check.js";
import { compile, inTurn, randomInputs } from "./runs.js";
import { words } from "./words.js";

// Return a table of a file's inputs and outputs, with a row for each tensor.
function described({ takes, gives }) {
  const rows = (kind, details) =>
    details.map(({ name, dtype, shape }) => {
      const cells = [element("td", name), element("td", `${dtype} [${[...shape].join(", ")}]`)];
      return element("tr", [element("th", kind), ...cells]);
    });
  const all = [...rows(words.input, takes), ...rows(words.output, gives)];
  return element("table", all, { class: "tensors" });
}

// Return { record } from a file, or { why } with the parts of a message if it cannot be used.
async function recordFrom(file) {
  let record;
  try {
    record = JSON.parse(await file.text());
    requireConsistent(record);
    return { record };
  } catch (error) {
    if (!record?.variants && !record?.format) return { why: [words.notRecord] };
    if (record.format === FORMAT) return { why: [words.unusable + reason(error)] };
    return { why: [words.otherVersion, element("code", "python -m litecheck convert MODEL")] };
  }
}

// Return the SHA-256 of bytes in hexadecimal, or null if the browser has no hashes, as on http.
async function sha256(bytes) {
  if (!crypto.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Return the details of a file's inputs and outputs. Compile it for the CPU, or else for the GPU.
async function details(bytes, gpu) {
  let refused;
  for (const accelerator of gpu.device && !gpu.lost ? ["wasm", "webgpu"] : ["wasm"]) {
    try {
      const model = await inTurn(() => compile(bytes, accelerator, gpu));
      model.delete();
      return { takes: model.takes, gives: model.gives };
    } catch (error) {
      refused ??= error;
    }
  }
  throw refused;
}

// Return the largest difference between the outputs of two runs, divided by the largest output.
function apart(outputs, others) {
  let [largest, difference] = [0, 0];
  for (const [name, values] of Object.entries(outputs)) {
    for (const [index, value] of values.entries()) {
      const distance = Math.abs(Number(others[name][index]) - Number(value));
      if (Object.is(Number(others[name][index]), Number(value))) continue;
      if (Number.isFinite(Number(value))) largest = Math.max(largest, Math.abs(Number(value)));
      difference = Math.max(difference, Number.isNaN(distance) ? Infinity : distance);
    }
  }
  return difference && difference / (largest || 1);
}

// Run the files that were chosen: a model, and its record if there is one. Show the result in `place`,
// and return rows for the table to copy.
export async function tryOwn(place, files, gpu) {
  const say = (name, text, ...more) => {
    place.replaceChildren(element("p", [element("b", name), ` ${text}`, ...more]));
    return [];
  };
  const isJson = ({ name }) => name.toLowerCase().endsWith(".json");
  const file = files.find((file) => !isJson(file));
  const jsons = files.filter(isJson);
  if (!file) return say(jsons[0].name, words.recordAlone);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (String.fromCharCode(...bytes.slice(4, 8)) !== "TFL3") return say(file.name, words.notModel);
  const hash = await sha256(bytes);
  let record, variant;
  for (const json of jsons) {
    const found = await recordFrom(json);
    record = found.record;
    variant = record && variantOf(record, file.name, hash);
    if (variant) break;
    if (json !== jsons.at(-1)) continue;
    return say(json.name, ...(found.why ?? [words.noVariant(file.name)]));
  }
  place.replaceChildren(element("p", words.running));
  try {
    const model = await details(bytes, gpu);
    const table = described(model);
    if (model.takes.some(({ shape }) => shape.includes(-1))) {
      const inside = model.takes.some(({ shape }) => shape.slice(1).includes(-1));
      const way = inside ? "keras.Input((32, 5))" : "python -m litecheck convert MODEL --batch 1";
      say(file.name, inside ? words.variesInside : words.varies, element("code", way));
      place.prepend(table);
      return [];
    }
    const runs = record ? runsOf(record, variant) : [{ inputs: randomInputs(model.takes) }];
    const pairs = await tried(bytes, record, runs, gpu);
    const { wasm, webgpu } = pairs;
    const list = element("ul", [], { class: "cards" });
    const known = Object.entries((wasm.outputs ?? webgpu.outputs)?.[0] ?? {});
    const unchecked = Object.fromEntries(known.map(([name, values]) => [name, { values }]));
    const shown = tableOf(record ? runs[0].outputs : unchecked);
    const rows = [...shown.rows, ...(record ? [words.agrees] : []), words.time];
    const made = card(list, variant ?? file.name, bytes, rows, record && shown.trained, shown.corner);
    const fits = !Object.values(pairs).some((pair) => pair.misfit);
    const other = record && hash && hash !== record.variants[variant].sha256;
    if (other && fits) note(made, words.changed);
    shown.fill(made, pairs);
    judge(made, pairs, record);
    if (!record) {
      note(made, words.random);
      if (wasm.outputs && webgpu.outputs) {
        const share = 100 * apart(wasm.outputs[0], webgpu.outputs[0]);
        note(made, words.between(`${short(share, 2)}%`));
      }
      note(made, words.alone);
    }
    place.replaceChildren(element("p", element("b", file.name)), table, list);
    const timed = await time(made, pairs, runs[0].inputs, file.name);
    for (const { model } of Object.values(pairs)) model?.delete();
    return timed;
  } catch (error) {
    return say(file.name, `${words.cannotRun}${reason(error)}`);
  }
}
