// Does this device compute what was trained? A proof's runs, and how given answers agree with them.
//
// The proof says how far a device may be from each right answer; backstage/verdict.py decides on that.

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
const LARGEST = 3.4028234663852886e38; // of float32: the converter stores infinity as this

// Return the arrays of an object from names to { dtype, shape, base64 }, as { dtype, shape, values }.
function arrays(packed) {
  const made = {};
  for (const [name, { dtype, shape, base64 }] of Object.entries(packed)) {
    if (!(dtype in ARRAYS)) throw new Error(`${name} holds ${dtype}, which is not compared here`);
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    made[name] = { dtype, shape, values: new ARRAYS[dtype](bytes.buffer) };
  }
  return made;
}

// Return the variant of a file in a proof, by the file's name; undefined if the proof has none.
export function variantOf(proof, file) {
  return Object.keys(proof.variants).find((name) => proof.variants[name].file === file);
}

// Return the runs of a proof: inputs, right answers, and how far those of a variant may be off.
export function runsOf(proof, variant) {
  return proof.runs.map((run) => ({
    inputs: arrays(run.inputs),
    answers: arrays(run.answers),
    allowed: arrays(run.allowed[variant]),
  }));
}

// Return why a model cannot be the one of a proof, or "". Takes the details of its tensors.
export function misfit(runs, takes, gives) {
  for (const [side, details] of [["inputs", takes], ["outputs", gives]]) {
    const expected = runs[0][side === "inputs" ? "inputs" : "answers"];
    const names = details.map(({ name }) => name);
    if (names.length !== Object.keys(expected).length || !names.every((name) => name in expected)) {
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

// Seven digits, as many as float32 tells apart.
const seven = (number) => Number(number.toPrecision(7));

const real = (value) => {
  const number = Number(value);
  return Math.abs(number) >= LARGEST ? Math.sign(number) * Infinity : number;
};

// Return how many runs agree, the largest difference as a part of its component's range, and the
// worst run that does not agree. `given` has the answers of each run: typed arrays by name.
export function agreement(proof, runs, given) {
  const ranges = arrays(proof.ranges);
  const found = { count: 0, of: runs.length, ofRange: 0, worst: null };
  let excess = -1;
  for (const [index, { answers, allowed }] of runs.entries()) {
    let agrees = true;
    for (const [output, { values, shape }] of Object.entries(answers)) {
      const [reach, range] = [allowed[output].values, ranges[output].values];
      for (let i = 0; i < values.length; i++) {
        const [right, came] = [real(values[i]), real(given[index][output][i])];
        let distance = right === came ? 0 : Math.abs(came - right);
        if (Number.isNaN(distance)) distance = Infinity;
        const share = distance / range[i % range.length];
        found.ofRange = Math.max(found.ofRange, share);
        const lost = Number.isFinite(right) && !Number.isFinite(came);
        if (!lost && distance <= reach[i % reach.length]) continue;
        agrees = false;
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
