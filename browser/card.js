// A card of the page shows one file, with a column for the CPU and one for the GPU.
import { agreement, misfit } from "./check.js";
import { ACCELERATORS, compile, inTurn, timeOf } from "./runs.js";
import { COLORS } from "./variants.js"; // the Makefile generates this file
import { shown, words } from "./words.js";

const UNITS = { wasm: "CPU", webgpu: "GPU" };
const VALUES = 6; // shown of each output

export function element(tag, content = [], attributes = {}) {
  const made = document.createElement(tag);
  made.append(...[content].flat());
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Format a number with at most nine digits, which is enough for any float32.
export const digits = (value) => `${Number(Number(value).toPrecision(9))}`;

// Format a number with few digits. A small number gets an exponent.
export function short(value, count = 4) {
  const number = Number(Number(value).toPrecision(count));
  return number && Math.abs(number) < 1e-4 ? number.toExponential() : `${number}`;
}

// Return an error's first line, without the place in LiteRT's source code.
export function reason(error) {
  const [line] = String(error?.message ?? error).split("\n");
  return line.replace(/^ERROR: \[\S+\]\s*/, "") || words.noReason;
}

const milliseconds = (t) => (t < 1 ? `${short(1000 * t, 2)} µs` : `${short(t, 3)} ms`);

// Add a card to a list, and return it with its cells by row and accelerator. `trained` has the trained
// model's output for each row, shown in a column of its own. `corner` is the header above the row names.
export function card(list, variant, bytes, rows, trained, corner = "") {
  const columns = [...(trained ? [words.trained] : []), ...ACCELERATORS.map((name) => UNITS[name])];
  const head = element("tr", [element("th", corner), ...columns.map((name) => element("th", name))]);
  const cells = {};
  const body = rows.map((row, index) => {
    cells[row] = Object.fromEntries(ACCELERATORS.map((name) => [name, element("td", "…")]));
    const right = trained ? [element("td", trained[index] ?? "")] : [];
    return element("tr", [element("th", row), ...right, ...Object.values(cells[row])]);
  });
  const first = cells[rows[0]];
  for (const name of ACCELERATORS) Object.assign(first[name].dataset, { variant, accelerator: name });
  const title = element("h3", [shown(variant), element("small", words.bytes(bytes.length))]);
  const notes = element("div");
  const style = `--mark: ${COLORS[variant] ?? "#718096"}`;
  list.append(element("li", [title, element("table", [head, ...body]), notes], { style }));
  return { variant, cells, first, notes };
}

// Add a line below a card's table.
export function note(card, text, name = "note") {
  card.notes.append(element("p", text, { class: name }));
}

// Compile a file for the CPU and the GPU, and run it on both. Return a pair of results by accelerator:
// each is the model and its outputs, or the reason why it failed. Only a record lets them be judged.
export async function tried(bytes, record, runs, gpu) {
  const pairs = {};
  for (const accelerator of ACCELERATORS) {
    const pair = (pairs[accelerator] = {});
    if (accelerator === "webgpu" && !gpu.device) continue;
    try {
      pair.model = await inTurn(() => compile(bytes, accelerator, gpu));
      pair.misfit = record ? misfit(runs, pair.model.takes, pair.model.gives) : "";
      if (pair.misfit) continue;
      pair.outputs = [];
      for (const { inputs } of runs) pair.outputs.push(await inTurn(() => pair.model.run(inputs)));
      if (record) pair.agreement = agreement(record, runs, pair.outputs);
    } catch (error) {
      pair.reason = reason(error);
      pair.model?.delete();
      pair.model = null;
    }
  }
  return pairs;
}

// Return whether a result's model can be timed.
export const usable = (pair) => pair.model && !pair.misfit;

// Show on a card whether CPU and GPU agree with the trained model. Without a record, show only why a file
// cannot run.
export function judge(card, pairs, record) {
  for (const [accelerator, pair] of Object.entries(pairs)) {
    const first = card.first[accelerator];
    const agrees = card.cells[words.agrees]?.[accelerator];
    if (pair.agreement) {
      const { count, of, worst, lost } = pair.agreement;
      pair.open = !lost && !record.variants[card.variant].clear;
      const wrong = worst && !pair.open;
      agrees.textContent = pair.open ? words.unclear : (wrong ? words.no : words.yes)(count, of);
      if (!pair.open) first.dataset.agrees = `${!wrong}`;
      if (!pair.open) agrees.className = wrong ? "wrong" : "right";
      if (wrong) note(card, words.worst(UNITS[accelerator], worst), "wrong");
    } else if (pair.misfit) {
      first.dataset.agrees = "false";
      agrees.textContent = "✗";
      agrees.className = "wrong";
    }
    if (pair.reason) {
      first.textContent = words.refused;
      first.className = "refused";
    }
    for (const cells of usable(pair) ? [] : Object.values(card.cells)) {
      if (cells[accelerator].textContent === "…") cells[accelerator].textContent = "–";
    }
  }
  const different = Object.values(pairs).find((pair) => pair.misfit);
  if (different) note(card, words.misfit(different.misfit), "wrong");
  if (!Object.values(pairs).some((pair) => pair.model)) {
    const [, ...others] = Object.values(card.cells);
    for (const { wasm } of others) wasm.parentElement.remove();
  }
  const refused = Object.entries(pairs).filter(([, pair]) => pair.reason);
  for (const why of new Set(refused.map(([, pair]) => pair.reason))) {
    const who = refused.filter(([, pair]) => pair.reason === why).map(([name]) => UNITS[name]);
    note(card, words.why(who.join(words.and), why));
  }
}

// Time the CPU and then the GPU. Return a row of the table to copy for each one that was tried. `name` is
// the name of the file or of its variant.
export async function time(card, pairs, inputs, name) {
  const rows = [];
  for (const [accelerator, pair] of Object.entries(pairs)) {
    const cell = card.cells[words.time][accelerator];
    try {
      if (usable(pair)) cell.textContent = milliseconds(await inTurn(() => timeOf(pair.model, inputs)));
    } catch (error) {
      pair.reason = reason(error);
      cell.textContent = "–";
    }
    const { count, of } = pair.agreement ?? {};
    const judged = pair.open ? "cannot be judged" : `${count} of ${of}`;
    const agrees = pair.agreement ? judged : pair.misfit || pair.reason || "no check";
    const taken = usable(pair) && !pair.reason ? cell.textContent : "-";
    if (pair.model || pair.reason) rows.push([name, accelerator, agrees, taken]);
  }
  return rows;
}

// Return a table of the first values of each output in the first run: the names of its rows, the trained
// model's values, and a function that fills in the others. `outputs` are { values } by name.
export function tableOf(outputs) {
  const values = Object.entries(outputs).flatMap(([name, { values }]) =>
    [...values.slice(0, VALUES)].map((value, index) => ({ name, index, value, of: values.length })),
  );
  const alone = Object.keys(outputs).length === 1;
  const rows = values.map(({ name, index, of }) =>
    alone ? `[${index}]` : of > 1 ? `${name} [${index}]` : name,
  );
  return {
    rows,
    corner: alone ? (values[0]?.name ?? "") : "",
    trained: values.map(({ value }) => short(value, 6)),
    fill(card, pairs) {
      for (const [accelerator, { outputs }] of Object.entries(pairs)) {
        for (const [row, { name, index }] of outputs ? values.entries() : []) {
          if (!(name in outputs[0])) continue; // a second name of an output
          card.cells[rows[row]][accelerator].textContent = short(outputs[0][name][index], 6);
        }
      }
    },
  };
}
