// Compile a file for the CPU or the GPU, run it, and time it.
import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

export const ACCELERATORS = ["wasm", "webgpu"];

// LiteRT's C++ code writes everything to the console as an error. Its notes are not errors, so they
// become debug messages. While it compiles a file, its messages tell why the GPU cannot run the file.
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
// Run tasks one after another, because nothing else may run while a file is timed.
export function inTurn(task) {
  const done = last.then(task);
  last = done.catch(() => {});
  return done;
}

// Start LiteRT.js. Return { device, lost, gone }: the GPU if the browser has one, why it was lost (or
// null), and a promise that is rejected when it is lost.
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

// Return the compiled model of a file. It throws if the GPU lacks an operation, because LiteRT.js would
// silently use the CPU.
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
    throw new Error(why ?? "the GPU lacks an operation of this file");
  }
  return {
    takes: model.getInputDetails(),
    gives: model.getOutputDetails(),
    delete: () => model.delete(),
    // Run the model on { values, shape } by name, and return typed arrays by name.
    run: (inputs) => orLost(run(model, inputs), accelerator, gpu),
  };
}

// Wait for a task of the GPU, or until the GPU is lost.
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
// repeats the run until it takes five milliseconds. There are at least 11 measurements, and up to 200
// within a quarter of a second. Browsers optimize code that has run for a while, so the first 0.3
// seconds are not measured.
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

// Return random inputs, the same ones each time. They come from a linear congruential generator with
// the constants of Numerical Recipes. Integer inputs are 0 or 1, which are valid in any list of words or
// classes.
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
