
// The model of an exported page, in a worker: so the page draws and hears clicks while the model
// computes. model_here.js is the side of the page. `data` describes the model: see export/html_page.py.
const EXPECTED = 10;
const KEPT_EVERY = 32; // symbols between two states that are kept while a beginning is typed
const SAMPLE_KEY = 3; // of the purpose "sample" in charlstm/seeds.py
const SLICE = 50; // milliseconds of computing, after which the page gets what is written

const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()();
const pause = () => new Promise((resolve) => {
  waiting.push(resolve);
  channel.port2.postMessage(0);
});

// The `count` largest of some log-probabilities: [[id, probability], ...].
function likeliest(logProbs, count) {
  const ids = [];
  for (let id = 0; id < logProbs.length; id++) {
    let place = ids.length;
    while (place && logProbs[ids[place - 1]] < logProbs[id]) place--;
    if (place === count) continue;
    ids.splice(place, 0, id);
    ids.length = Math.min(ids.length, count);
  }
  return ids.map((id) => [id, Math.exp(logProbs[id])]);
}

// The tokens of a sample, of which those that may be the beginning of a stop string are held back.
class Stops {
  constructor(stops) {
    Object.assign(this, { stops, held: [], ended: false });
  }

  add(token) {
    this.held.push(token);
    const text = this.held.map((each) => each.text).join("");
    const places = this.stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    this.ended = places.length > 0;
    if (this.ended) return this.release(Math.min(...places));
    const begun = this.stops.map((stop) => {
      let length = Math.min(text.length, stop.length - 1);
      while (!text.endsWith(stop.slice(0, length))) length--;
      return length;
    });
    return this.release(text.length - Math.max(0, ...begun));
  }

  // Return the held tokens up to a place in their text. A sample that has ended cuts the last one.
  release(place) {
    const released = [];
    while (this.held.length && (this.held[0].text.length <= place || (this.ended && place > 0))) {
      const token = this.held.shift();
      released.push({ ...token, text: token.text.slice(0, place) });
      place -= token.text.length;
    }
    return released;
  }
}

class Model {
  constructor({ name, facts, config, level, symbols, codes, lookalikes }, arrays) {
    this.symbols = level === "byte" ? Array.from({ length: 256 }, (_, byte) => byteSymbol(byte)) : symbols;
    this.ids = new Map(this.symbols.map((symbol, id) => [symbol, id]));
    this.lineEnd = this.ids.get("\n") ?? null;
    this.lookalikes = lookalikes;
    const unit = level === "char" ? "character" : level;
    this.about = { name, level, unit, lines: config.lines, facts };
    this.network = new Network(config, arrays, codes, this.lineEnd);
    this.given = []; // what was read of the last beginning: { id, token, state }
  }

  // The known symbol to read in place of a symbol; undefined if there is none.
  known(symbol) {
    if (this.ids.has(symbol)) return symbol;
    if (this.about.level === "word") return "\ufffd"; // stands for all words that are not known
    const row = this.lookalikes.find((each) => each.includes(symbol)) ?? "";
    return [...row].find((each) => this.ids.has(each));
  }

  split(text) {
    return splitText(text, this.about.level, (symbol) => this.ids.has(symbol));
  }

  encode(text) {
    const known = this.split(text).map((symbol) => this.known(symbol));
    return known.filter((symbol) => symbol !== undefined).map((symbol) => this.ids.get(symbol));
  }

  unknown(text) {
    const symbols = [...new Set(this.split(text))];
    return symbols.map((symbol) => [symbol, this.known(symbol)]).filter(([symbol, known]) => known !== symbol);
  }

  token(id, read, logProbs) {
    const symbol = this.symbols[id];
    const bits = logProbs ? -logProbs[id] / Math.LN2 : null;
    const expected = logProbs ? likeliest(logProbs, EXPECTED).map(([other, p]) => [this.symbols[other], p]) : [];
    return { symbol, text: read(symbol), bits, expected };
  }

  // Read a text; yields the share that is read. Symbols that were read last time are not read again.
  async *readGiven(ids, signal) {
    let same = 0;
    while (same < Math.min(ids.length, this.given.length) && this.given[same].id === ids[same]) same++;
    while (same && !this.given[same - 1].state) same--;
    this.given.length = same;
    const state = same ? this.network.copy(this.given[same - 1].state) : this.network.start();
    let logProbs = same ? this.network.predict(state) : null;
    const read = reader(this.about.level);
    this.given.forEach(({ id }) => read(this.symbols[id]));
    let began = performance.now();
    for (let at = same; at < ids.length; at++) {
      const token = this.token(ids[at], read, logProbs);
      this.network.read(state, ids[at]);
      logProbs = this.network.predict(state);
      const isKept = at + 1 === ids.length || at % KEPT_EVERY === 0;
      this.given.push({ id: ids[at], token, state: isKept ? this.network.copy(state) : null });
      if (performance.now() - began > SLICE) {
        yield (at + 1) / ids.length;
        await pause();
        if (signal.aborted) return;
        began = performance.now();
      }
    }
  }

  // The state after a text, and the log-probabilities there. An empty text is read as a line end.
  begin(ids) {
    const V = this.symbols.length;
    if (ids.length) {
      const { state } = this.given.at(-1);
      return [state, this.network.predict(state)];
    }
    const state = this.network.start();
    if (this.lineEnd === null) return [state, new Float64Array(V).fill(-Math.log(V))];
    this.network.read(state, this.lineEnd);
    return [state, this.network.predict(state)];
  }

  async next(text, signal) {
    const ids = this.encode(text);
    for await (const _ of this.readGiven(ids, signal));
    if (signal.aborted) return [];
    return likeliest(this.begin(ids)[1], EXPECTED).map(([id, p]) => [this.symbols[id], p]);
  }

  async *write(request, signal) {
    const ids = this.encode(request.beginning);
    for await (const share of this.readGiven(ids, signal)) yield { read: share };
    if (signal.aborted) return;
    const given = this.given.map(({ token }) => token);
    yield { given };
    const [state, logProbs] = this.begin(ids);
    const stops = this.about.lines ? [...request.stops, "\n"] : request.stops;
    const samples = Array.from({ length: request.count }, () => {
      const read = reader(this.about.level);
      given.forEach(({ symbol }) => read(symbol));
      return { state: this.network.copy(state), logProbs, read, stops: new Stops(stops), written: [] };
    });
    const uniform = uniformNumbers(request.seed, SAMPLE_KEY);
    let began = performance.now();
    for (let step = 1; step <= request.length && samples.some((sample) => !sample.stops.ended); step++) {
      for (const sample of samples) {
        const number = uniform(); // a sample that has ended takes its numbers too
        if (sample.stops.ended) continue;
        const id = draw(sample.logProbs, request, number);
        sample.written.push(...sample.stops.add(this.token(id, sample.read, sample.logProbs)));
        if (step === request.length) {
          sample.written.push(...sample.stops.release(Infinity));
        } else if (!sample.stops.ended) {
          this.network.read(sample.state, id);
          sample.logProbs = this.network.predict(sample.state);
        }
        if (performance.now() - began > SLICE) {
          yield { written: samples.map((each) => each.written.splice(0)) };
          await pause();
          if (signal.aborted) return;
          began = performance.now();
        }
      }
    }
    yield { written: samples.map((each) => each.written.splice(0)) };
  }
}

// -- the calls of the page: each gets the values that a method yields, one message for each

const METHODS = {
  async *load(packed) {
    model = new Model(data, readArrays(await decompressed(packed), data.arrays, data.weights));
    yield model.about;
  },
  async *unknown(text) { yield model.unknown(text); },
  async *next(text, signal) { yield await model.next(text, signal); },
  write: (request, signal) => model.write(request, signal),
};
const controllers = new Map(); // of the calls that go on, by their numbers
let model = null;

onmessage = async ({ data: { call, method, argument, abort } }) => {
  if (abort) {
    controllers.get(call)?.abort();
    return;
  }
  const controller = new AbortController();
  controllers.set(call, controller);
  try {
    for await (const value of METHODS[method](argument, controller.signal)) postMessage({ call, value });
    postMessage({ call, done: true });
  } catch (error) {
    postMessage({ call, error: error.message });
  }
  controllers.delete(call);
};
