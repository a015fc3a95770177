// How does a file run here? Compiled for the CPU or the GPU, run, and timed.
import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

export const ACCELERATORS = ["wasm", "webgpu"];

// The runtime's C++ code writes to the console as errors: notes, which are none, and while it compiles
// a file, why the GPU cannot run it.
let refusals = null;
let keepsState = false;
const report = console.error.bind(console);
console.error = (...said) => {
  if (/^(INFO|WARNING): /.test(said[0])) console.debug(...said);
  else if (/Variable tensors not yet supported/.test(said[0])) keepsState = true;
  else if (refusals) refusals.push(String(said[0]));
  else report(...said);
};

let last = Promise.resolve();
// Do one thing after another: nothing else may run while something is timed.
export function inTurn(task) {
  const done = last.then(task);
  last = done.catch(() => {});
  return done;
}

// Start LiteRT.js; return the GPU, if the browser has one, and what becomes of it.
export async function start(directory) {
  await loadLiteRt(directory);
  const device = getWebGpuDevice();
  const gpu = { device, lost: null };
  gpu.gone = device?.lost.then(({ message }) => {
    gpu.lost = message || "lost";
    throw new Error(gpu.lost);
  });
  gpu.gone?.catch(() => {});
  return gpu;
}

// Compile a file. Where the GPU lacks an operation, LiteRT.js would use the CPU without a word.
export async function compile(bytes, accelerator, gpu) {
  if (accelerator === "webgpu" && gpu.lost) throw new Error(gpu.lost);
  const options = { accelerator, gpuOptions: { precision: "fp32" } };
  refusals = accelerator === "webgpu" ? [] : null;
  let model, why;
  keepsState = false;
  try {
    model = await orLost(loadAndCompile(bytes, options), accelerator, gpu);
  } catch (error) {
    const way = "python -m litecheck convert MODEL --batch 1 --loops";
    throw keepsState ? new Error(`it keeps a state, as LSTM in one operation does: ${way}`) : error;
  } finally {
    why = refusals?.find((line) => /^\w+: .*not supported/.test(line) && !/^ERROR/.test(line));
    refusals = null;
  }
  const used = model.options.accelerator === accelerator && model.isFullyAccelerated;
  if (accelerator === "webgpu" && !used) {
    model.delete();
    throw new Error(why ?? "the GPU lacks one of its operations");
  }
  return {
    takes: model.getInputDetails(),
    gives: model.getOutputDetails(),
    delete: () => model.delete(),
    // Run it on { values, shape } by name; return typed arrays by name.
    run: (inputs) => orLost(run(model, inputs), accelerator, gpu),
  };
}

// Wait for what a GPU does, but no longer than there is one.
const orLost = (promise, accelerator, gpu) =>
  accelerator === "webgpu" ? Promise.race([promise, gpu.gone]) : promise;

async function run(model, inputs) {
  const details = model.getInputDetails();
  const tensors = details.map(({ name }) => new Tensor(inputs[name].values, inputs[name].shape));
  const results = await model.run(tensors);
  const outputs = {};
  for (const [index, { name }] of model.getOutputDetails().entries()) {
    outputs[name] = (await results[index].data()).slice();
  }
  for (const tensor of [...tensors, ...results]) tensor.delete();
  return outputs;
}

// Return the median time of one run in milliseconds. Browsers round the clock, so each measurement
// takes as many runs as fill five milliseconds, for a quarter of a second or eleven times. They also
// compile better what has run for a while, so some runs come first that are not measured.
export async function timeOf(model, inputs) {
  const times = [];
  let runs = 1;
  const warm = performance.now() + 300;
  do await model.run(inputs);
  while (performance.now() < warm);
  const end = performance.now() + 250;
  while (times.length < 11 || (performance.now() < end && times.length < 200)) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) await model.run(inputs);
    const taken = performance.now() - start;
    if (taken < 5 && runs < 1e5) runs *= 2;
    else times.push(taken / runs);
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}

// Return inputs that are the same random numbers each time: a linear congruential generator with the
// constants of Numerical Recipes. Integers may count words or classes, so they are 0 or 1.
export function randomInputs(takes) {
  const kinds = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const inputs = {};
  let seed = 1;
  for (const { name, dtype, shape } of takes) {
    if (!(dtype in kinds)) throw new Error(`${dtype} inputs are not supported`);
    const values = new kinds[dtype](shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < values.length; i++) {
      seed = (1664525 * seed + 1013904223) % 2 ** 32;
      values[i] = dtype === "float32" ? seed / 2 ** 32 : seed >>> 31;
    }
    inputs[name] = { values, shape: [...shape] };
  }
  return inputs;
}
