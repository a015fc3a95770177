// The reader's own file: proved by its proof, else the GPU beside the CPU on random numbers.
import { card, element, judge, note, outputs, reason, short, time, tried } from "./card.js";
import { requireConsistent, runsOf, variantOf } from "./proof.js";
import { compile, inTurn, randomInputs } from "./runs.js";
import { words } from "./words.js";

// What a file takes and gives, a row for each tensor.
function described({ takes, gives }) {
  const rows = (kind, details) =>
    details.map(({ name, dtype, shape }) => {
      const cells = [element("td", name), element("td", `${dtype} [${[...shape].join(", ")}]`)];
      return element("tr", [element("th", kind), ...cells]);
    });
  const all = [...rows(words.input, takes), ...rows(words.output, gives)];
  return element("table", all, { class: "tensors" });
}

// Return the proof in a file, or null if it is none.
async function proofFrom(file) {
  try {
    const proof = JSON.parse(await file.text());
    requireConsistent(proof);
    return proof;
  } catch {
    return null;
  }
}

// Return the SHA-256 of bytes in hexadecimal; null where the browser has no hashes, as on http.
async function sha256(bytes) {
  if (!crypto.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Compile on the CPU, or on the GPU if that cannot, to see what a file takes and gives.
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

// Return the largest difference of two answers as a part of the largest answer.
function apart(answers, others) {
  let [largest, difference] = [0, 0];
  for (const [name, values] of Object.entries(answers)) {
    for (const [index, value] of values.entries()) {
      const distance = Math.abs(Number(others[name][index]) - Number(value));
      if (Object.is(Number(others[name][index]), Number(value))) continue;
      if (Number.isFinite(Number(value))) largest = Math.max(largest, Math.abs(Number(value)));
      difference = Math.max(difference, Number.isNaN(distance) ? Infinity : distance);
    }
  }
  return difference && difference / (largest || 1);
}

// Try files that were chosen: a model, and its proof if it is there. Show in `place` what comes of
// it; return rows to be copied.
export async function tryOwn(place, files, gpu) {
  const say = (name, text, ...more) => {
    place.replaceChildren(element("p", [element("b", name), ` ${text}`, ...more]));
    return [];
  };
  const isProof = ({ name }) => name.toLowerCase().endsWith(".json");
  const file = files.find((file) => !isProof(file));
  const jsons = files.filter(isProof);
  if (!file) return say(jsons[0].name, words.proofAlone);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (String.fromCharCode(...bytes.slice(4, 8)) !== "TFL3") return say(file.name, words.notModel);
  const hash = await sha256(bytes);
  let proof, variant;
  for (const json of jsons) {
    proof = await proofFrom(json);
    variant = proof && variantOf(proof, file.name, hash);
    if (variant) break;
    if (json !== jsons.at(-1)) continue;
    return say(json.name, proof ? words.noVariant(file.name) : words.notProof);
  }
  place.replaceChildren(element("p", words.running));
  try {
    const model = await details(bytes, gpu);
    const table = described(model);
    if (model.takes.some(({ shape }) => shape.includes(-1))) {
      const inside = model.takes.some(({ shape }) => shape.slice(1).includes(-1));
      const way = inside ? "keras.Input((32, 5))" : "python 03_convert_model.py MODEL --batch 1";
      say(file.name, inside ? words.variesInside : words.varies, element("code", way));
      place.prepend(table);
      return [];
    }
    const runs = proof ? runsOf(proof, variant) : [{ inputs: randomInputs(model.takes) }];
    const pairs = await tried(bytes, proof, runs, gpu);
    const { wasm, webgpu } = pairs;
    const list = element("ul", [], { class: "cards" });
    const known = Object.entries((wasm.answers ?? webgpu.answers)?.[0] ?? {});
    const unproven = Object.fromEntries(known.map(([name, values]) => [name, { values }]));
    const answers = proof ? runs[0].answers : unproven;
    const shown = outputs(answers);
    const rows = [...shown.rows, ...(proof ? [words.agrees] : []), words.time];
    const made = card(list, variant ?? file.name, bytes, rows, proof && shown.trained, shown.corner);
    const fits = !Object.values(pairs).some((pair) => pair.misfit);
    const other = proof && hash && hash !== proof.variants[variant].sha256;
    if (other && fits) note(made, words.changed);
    shown.fill(made, pairs);
    judge(made, pairs, proof);
    if (!proof) {
      note(made, words.random);
      if (wasm.answers && webgpu.answers) {
        const share = 100 * apart(wasm.answers[0], webgpu.answers[0]);
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
