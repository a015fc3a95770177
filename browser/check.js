// Compare this device's outputs with those in the record of a check.
//
// The record holds the tolerance of each output. The rules are those of litecheck/verdict.py.

export const FORMAT = 1; // of a record

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};
const VAGUE = 0.5; // of the range: an output that is further off never agrees
const LARGEST = 3.4028234663852886e38; // of float32: the converter stores infinity as this

// Return an object with each value replaced by make(name, value).
const mapped = (fields, make) =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, make(name, value)]));

// Return an array of the record, { dtype, shape, base64 }, as { dtype, shape, values }.
function array(name, { dtype, shape, base64 }) {
  if (!(dtype in ARRAYS)) throw new Error(`${name} holds ${dtype}, which this page cannot compare`);
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const values = new ARRAYS[dtype](bytes.buffer);
  if (values.length !== shape.reduce((product, size) => product * size, 1)) {
    throw new Error(`the number of values in ${name} does not fit its shape`);
  }
  return { dtype, shape, values };
}

// Return an object of such arrays, by name.
const arrays = (packed) => mapped(packed, array);

// Return the variant of a file in a record, found by its hash or else by its name, or undefined.
export function variantOf(record, name, sha256) {
  const rows = Object.entries(record.variants).filter(([, row]) => !row.not_written);
  const found =
    rows.find(([, row]) => row.sha256 === sha256) ?? rows.find(([, row]) => row.file === name);
  return found?.[0];
}

// Throw if a record is of another version, or if its parts do not fit each other (a damaged record).
export function requireConsistent(record) {
  if (record.format !== FORMAT) {
    throw new Error("the record of its check is of another version. Convert the model again");
  }
  const need = (fits) => {
    if (!fits) throw new Error("its parts do not fit each other");
  };
  const same = (side, names) => Object.keys(side).sort().join() === names;
  const ranges = arrays(record.ranges);
  const outputs = Object.keys(ranges).sort().join();
  need(outputs && record.runs.length);
  const inputs = Object.keys(record.runs[0].inputs).sort().join();
  for (const [name, row] of Object.entries(record.variants)) {
    if (row.not_written) continue;
    need(typeof row.clear === "boolean" && typeof row.file === "string");
    for (const run of runsOf(record, name)) {
      need(same(run.inputs, inputs) && same(run.outputs, outputs) && same(run.tolerance, outputs));
      for (const [output, { values, shape }] of Object.entries(run.outputs)) {
        const sizes = shape.map((_, axis) => shape.slice(axis).reduce((a, b) => a * b)).concat(1);
        need(sizes.includes(run.tolerance[output].values.length));
        need(sizes.includes(ranges[output].values.length));
        need(run.tolerance[output].values.every((reach) => reach >= 0));
        need(ranges[output].values.every((range) => range > 0));
      }
      for (const [output, parts] of Object.entries(run.others)) {
        const { dtype, shape } = run.outputs[output] ?? {};
        need(parts.every((part) => part.dtype === dtype && `${part.shape}` === `${shape}`));
      }
    }
  }
}

// Return the runs of a record for a variant. Each has inputs, the trained model's outputs, the tolerance
// of each number, and `others`: outputs of integers and booleans that are also correct.
export function runsOf(record, variant) {
  return record.runs.map((run) => ({
    inputs: arrays(run.inputs),
    outputs: arrays(run.outputs),
    tolerance: arrays(run.tolerance[variant]),
    others: mapped(run.others ?? {}, (name, parts) => parts.map((part) => array(name, part))),
  }));
}

// Return whether an output is another output under a second name. LiteRT.js has one name for each
// tensor, so it lists such an output only once.
const isTwin = (runs, name, names) =>
  names.some((other) =>
    runs.every(({ outputs }) => `${outputs[name].values}` === `${outputs[other]?.values}`),
  );

// Return why a model cannot be the one that was checked, or "". `takes` and `gives` are the details of
// its inputs and outputs.
export function misfit(runs, takes, gives) {
  for (const [side, details] of [["inputs", takes], ["outputs", gives]]) {
    const expected = runs[0][side];
    const names = details.map(({ name }) => name);
    const missing = Object.keys(expected).filter((name) => !names.includes(name));
    const twice = side === "outputs" && missing.every((name) => isTwin(runs, name, names));
    if (!names.every((name) => name in expected) || (missing.length && !twice)) {
      return `its ${side} are ${names.join(", ")}, not ${Object.keys(expected).join(", ")}`;
    }
    for (const { name, shape } of details) {
      if ([...shape].join() !== expected[name].shape.join()) {
        return `${name} has the shape [${[...shape].join(", ")}], not [${expected[name].shape.join(", ")}]`;
      }
    }
  }
  return "";
}

// Round to seven digits, the precision of float32.
const seven = (number) => Number(number.toPrecision(7));

const real = (value) => {
  const number = Number(value);
  return Math.abs(number) >= LARGEST ? Math.sign(number) * Infinity : number;
};

// Return { count, of, ofRange, worst, lost }: the number of runs that agree, the number of all runs, the
// largest difference divided by its range, the worst output that disagrees, and whether NaN or infinity
// replaced a number. `given` has the outputs of each run on this device: typed arrays by name.
export function agreement(record, runs, given) {
  const ranges = arrays(record.ranges);
  const found = { count: 0, of: runs.length, ofRange: 0, worst: null, lost: false };
  let excess = -1;
  for (const [index, { outputs, tolerance, others }] of runs.entries()) {
    let agrees = true;
    for (const [output, { values, shape }] of Object.entries(outputs)) {
      if (!(output in given[index])) continue; // a second name
      const [reach, range] = [tolerance[output].values, ranges[output].values];
      const widest = VAGUE * range.reduce((a, b) => Math.max(a, b), 0);
      for (let i = 0; i < values.length; i++) {
        const [right, came] = [real(values[i]), real(given[index][output][i])];
        let distance = right === came ? 0 : Math.abs(came - right);
        if (Number.isNaN(distance)) distance = Infinity;
        if (others[output]?.some((other) => real(other.values[i]) === came)) distance = 0;
        const share = distance / range[i % range.length];
        found.ofRange = Math.max(found.ofRange, share);
        const lost = Number.isFinite(right) && !Number.isFinite(came);
        const most = Number.isFinite(right) ? widest : Infinity;
        if (!lost && distance <= Math.min(reach[i % reach.length], most)) continue;
        agrees = false;
        found.lost ||= lost;
        if (share <= excess) continue;
        excess = share;
        const component = shape.length && values.length > 1 ? i % shape.at(-1) : null;
        found.worst = { run: index + 1, output, component, right: seven(right), came: seven(came) };
      }
    }
    if (agrees) found.count++;
  }
  return found;
}
