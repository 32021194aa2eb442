
// The network: what charlstm/network computes for one text, in plain JavaScript. H is the number of
// units of a layer, V the number of symbols. Weights have 32 bits; sums and states have 64, and so
// differ from those of charlstm only by rounding.

// The matrices of products lie in four lanes: column n of a matrix (K, N) lies in lane n % 4, so that
// four sums grow side by side. Two things make this several times as fast as a loop over one array.
// The lanes are constants of the script, whose addresses and lengths a browser then knows. And they
// have 64 bits, as numbers of 32 bits would be converted in each product.
const BY_ROW = /^(layers\.0\.Wx|layers\.\d+\.Wi|ngrams\.W)$/; // matrices of which rows are added only
const isInLanes = ([name, shape]) => shape.length === 2 && !BY_ROW.test(name);
const shapesInLanes = data.arrays.filter(isInLanes).map(([, shape]) => shape);
const evenly = (count) => count + (count % 2); // a column is read two numbers at a time
const roomOf = ([rows, columns]) => evenly(rows) * Math.ceil(columns / 4);
const room = shapesInLanes.reduce((sum, shape) => sum + roomOf(shape), 0);
const lane0 = new Float64Array(room), lane1 = new Float64Array(room);
const lane2 = new Float64Array(room), lane3 = new Float64Array(room);
const lanes = [lane0, lane1, lane2, lane3];
const largest = 4 + Math.max(...shapesInLanes.flat());
const factors = new Float64Array(largest), sums = new Float64Array(largest);

// y (N) += x (K) W (K, N). place: where W begins in the lanes.
function addProduct(x, place, y) {
  const K = x.length, N = y.length;
  factors.set(x);
  factors[K] = 0;
  for (let n = 0, at = place; n < N; n += 4) {
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (let k = 0; k < K; k += 2, at = (at + 2) | 0) {
      const factor = factors[k], second = factors[k + 1], below = (at + 1) | 0;
      sum0 += factor * lane0[at] + second * lane0[below];
      sum1 += factor * lane1[at] + second * lane1[below];
      sum2 += factor * lane2[at] + second * lane2[below];
      sum3 += factor * lane3[at] + second * lane3[below];
    }
    sums[n] = sum0;
    sums[n + 1] = sum1;
    sums[n + 2] = sum2;
    sums[n + 3] = sum3;
  }
  for (let n = 0; n < N; n++) y[n] += sums[n];
}

function addRow(W, row, y) {
  for (let n = 0, at = row * y.length; n < y.length; n++, at++) y[n] += W[at];
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// One step of each kind of layer. a: x Wx + b, which is overwritten; h and c: the state, which is
// replaced by the state after the step.
const STEPS = {
  lstm({ Wh }, a, { h, c }, capped) { // the gates lie in the order i f o g
    const H = h.length;
    addProduct(h, Wh, a);
    for (let k = 0; k < H; k++) {
      const f = sigmoid(a[H + k]), o = sigmoid(a[2 * H + k]), g = Math.tanh(a[3 * H + k]);
      let i = sigmoid(a[k]);
      if (capped) i = Math.min(i, 1 - f);
      c[k] = f * c[k] + i * g;
      h[k] = o * Math.tanh(c[k]);
    }
  },
  gru({ Wh, bn }, a, { h }) { // the gates lie in the order r z n
    const H = h.length, recurrent = new Float64Array(3 * H);
    addProduct(h, Wh, recurrent);
    for (let k = 0; k < H; k++) {
      const r = sigmoid(a[k] + recurrent[k]), z = sigmoid(a[H + k] + recurrent[H + k]);
      const n = Math.tanh(a[2 * H + k] + r * (recurrent[2 * H + k] + bn[k]));
      h[k] = (1 - z) * n + z * h[k];
    }
  },
  rnn({ Wh }, a, { h }) {
    addProduct(h, Wh, a);
    for (let k = 0; k < h.length; k++) h[k] = Math.tanh(a[k]);
  },
};

class Network {
  // config: that of the model. arrays: its weights by name. codes: of "no symbol" and of each symbol,
  // which the table of n-grams hashes. lineEnd: the id of the line end; null if there is none.
  constructor(config, arrays, codes, lineEnd) {
    Object.assign(this, { config, arrays, lineEnd, codes: codes.map(BigInt) });
    this.layers = Array.from({ length: config.layers }, (_, k) =>
      Object.fromEntries(["Wx", "Wh", "b", "bn", "Wi"].map((name) => [name, arrays[`layers.${k}.${name}`]])));
    for (const layer of this.layers) layer.a = new Float64Array(layer.b.length); // of the step being computed
    this.seen = config.skip ? config.layers : 1; // the layers that the head reads
  }

  // The state before a text. recent: the codes of the last symbols, newest first.
  start() {
    const { hidden, layers, ngrams } = this.config;
    return {
      layers: Array.from({ length: layers }, () =>
        ({ h: new Float64Array(hidden), c: new Float64Array(hidden) })),
      recent: Array(ngrams).fill(this.codes[0]),
    };
  }

  copy({ layers, recent }) {
    return { layers: layers.map(({ h, c }) => ({ h: h.slice(), c: c.slice() })), recent: [...recent] };
  }

  // Read a symbol: change the state. In a model of lines, a line end starts a new text.
  read(state, id) {
    const { cell, lines, ngrams, capped } = this.config;
    if (lines && id === this.lineEnd) Object.assign(state, this.start());
    this.layers.forEach((layer, k) => {
      const a = layer.a;
      a.set(layer.b);
      if (k) addProduct(state.layers[k - 1].h, layer.Wx, a);
      const bySymbol = k ? layer.Wi : layer.Wx;
      if (bySymbol) addRow(bySymbol, id, a);
      STEPS[cell](layer, a, state.layers[k], capped);
    });
    if (ngrams) state.recent = [this.codes[1 + id], ...state.recent.slice(0, -1)];
  }

  // The logarithms of the probabilities of all symbols to come next.
  predict(state) {
    const H = this.config.hidden;
    const x = new Float64Array(this.seen * H);
    state.layers.slice(-this.seen).forEach(({ h }, k) => x.set(h, k * H));
    const y = this.arrays["head.b"].slice();
    addProduct(x, this.arrays["head.W"], y);
    for (const row of this.contextRows(state)) addRow(this.arrays["ngrams.W"], row, y);
    let most = -Infinity, sum = 0;
    for (let n = 0; n < y.length; n++) if (y[n] > most) most = y[n];
    for (let n = 0; n < y.length; n++) sum += Math.exp(y[n] - most);
    const shift = most + Math.log(sum);
    for (let n = 0; n < y.length; n++) y[n] -= shift;
    return y;
  }

  // The rows of the table of n-grams for the last 2 symbols, the last 3, and so on, by a hash as in
  // charlstm/network/layers/ngrams.py.
  contextRows({ recent }) {
    const MULTIPLIER = 0x9e3779b97f4a7c15n;
    const rows = [];
    let hash = 0n;
    recent.forEach((code, back) => {
      hash = low64((hash + code) * MULTIPLIER);
      const mixed = low64((hash ^ (hash >> 32n)) * MULTIPLIER);
      if (back) rows.push(Number(((mixed >> 32n) * BigInt(this.config.ngram_slots)) >> 32n));
    });
    return rows;
  }
}

// Return the id that a uniform number in [0, 1) selects, as charlstm/network/sampling.py draws it.
function draw(logProbs, { temperature, top_k, top_p, min_p }, uniform) {
  let likeliest = 0;
  for (let n = 1; n < logProbs.length; n++) if (logProbs[n] > logProbs[likeliest]) likeliest = n;
  if (temperature === 0) return likeliest;
  const p = logProbs.map((each) => Math.exp((each - logProbs[likeliest]) / temperature));
  const sum = p.reduce((total, each) => total + each, 0);
  for (let n = 0; n < p.length; n++) p[n] /= sum;
  const least = min_p * p[likeliest];
  if ((top_k > 0 && top_k < p.length) || top_p < 1) {
    const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b);
    let likelier = 0; // the probability of all symbols that are likelier
    order.forEach((id, rank) => {
      const own = p[id];
      if (likelier >= top_p || (top_k > 0 && rank >= top_k)) p[id] = 0;
      likelier += own;
    });
  }
  for (let n = 0; n < p.length; n++) if (p[n] < least) p[n] = 0;
  const threshold = uniform * p.reduce((total, each) => total + each, 0);
  let below = 0;
  for (let n = 0; n < p.length; n++) {
    below += p[n];
    if (below > threshold) return n;
  }
  return p.length - 1;
}

// -- the weights in the page

// Read the arrays from their bytes, whose order charlstm/export/compact.py describes. A matrix that
// lies in the lanes is returned as its place there.
// entries: [name, shape] of each array. kind: "int8", "float16" or "float32".
function readArrays(bytes, entries, kind) {
  let at = 0, free = 0; // the first free place of the lanes
  const take = (type, count) => {
    const size = count * type.BYTES_PER_ELEMENT;
    const taken = new type(bytes.slice(at, at + size).buffer);
    at += size;
    return taken;
  };
  const halves = new Float32Array(2 ** 16).map((_, bits) => halfToNumber(bits));
  const takeHalves = (count) => Float32Array.from(take(Uint16Array, count), (bits) => halves[bits]);
  const takeFloats = (count) => (kind === "float16" ? takeHalves(count) : take(Float32Array, count));
  const takeMatrix = (rows, columns, column) => {
    const isStored = take(Uint8Array, Math.ceil(rows / 8));
    const stored = [];
    for (let row = 0; row < rows; row++) if ((isStored[row >> 3] >> (row & 7)) & 1) stored.push(row);
    const scales = kind === "int8" ? takeHalves(stored.length) : new Float32Array(stored.length).fill(1);
    const count = stored.length * columns;
    const numbers = kind === "int8" ? take(Int8Array, count) : takeFloats(count);
    for (let n = 0, k = 0; n < columns; n++) {
      const [array, first, step] = column(n);
      for (let r = 0; r < stored.length; r++, k++) array[first + step * stored[r]] = scales[r] * numbers[k];
    }
  };
  return Object.fromEntries(entries.map(([name, shape]) => {
    const [rows, columns] = shape;
    if (shape.length === 1) return [name, Float64Array.from(takeFloats(rows))];
    if (isInLanes([name, shape])) {
      const place = free;
      takeMatrix(rows, columns, (n) => [lanes[n % 4], place + (n >> 2) * evenly(rows), 1]);
      free += roomOf(shape);
      return [name, place];
    }
    const matrix = new Float32Array(rows * columns);
    takeMatrix(rows, columns, (n) => [matrix, n, columns]);
    return [name, matrix];
  }));
}

// The number that 16 bits stand for: a sign, 5 bits of exponent and 10 of fraction (IEEE 754).
function halfToNumber(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction / 1024 * 2 ** -14;
  return bits & 0x8000 ? -size : size;
}

async function decompressed(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
