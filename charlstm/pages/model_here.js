
// The model inside the page. Its interface is the one that the playground needs; model_on_server.js
// has the same for a model on a server.
//   models       the names of all models; choose(name) chooses one
//   about        { name, level, unit, lines, facts } of the chosen model
//   unknown(text)          the symbols of a text that the model does not know: [symbol, the known
//                          one that is read in its place, or undefined]
//   next(text, signal)     a promise of the likeliest next symbols: [[symbol, probability], ...]
//   write(request, signal) yields { read } (a share) while it reads the beginning, then { given }
//                          (tokens), then { written } (for each sample, its new tokens)
// A request has beginning, length, count, seed, stops, temperature, top_k, top_p and min_p.
// A token is { symbol, text, bits, expected }: text is what it adds to the text that is shown, and
// expected has the likeliest symbols at its place, with their probabilities, before it was read.
const EXPECTED = 10;
const KEPT_EVERY = 32; // symbols between two states that are kept while a beginning is typed
const SAMPLE_KEY = 3; // of the purpose "sample" in charlstm/seeds.py
const SLICE = 60; // milliseconds of computing, after which the page may draw and hear clicks

const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()();
const pause = () => new Promise((resolve) => {
  waiting.push(resolve);
  channel.port2.postMessage(0);
});

// The `count` largest of some log-probabilities: [[id, probability], ...].
function likeliest(logProbs, count) {
  const found = [];
  logProbs.forEach((each, id) => {
    if (found.length === count && each <= found[count - 1][1]) return;
    let place = found.length;
    while (place && found[place - 1][1] < each) place--;
    found.splice(place, 0, [id, each]);
    found.length = Math.min(found.length, count);
  });
  return found.map(([id, each]) => [id, Math.exp(each)]);
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

class ModelHere {
  static async load(data) {
    const bytes = await decompressed(bytesOf(data.packed));
    delete data.packed; // megabytes that are not needed any more
    return new ModelHere(data, readArrays(bytes, data.arrays, data.weights));
  }

  constructor({ name, facts, config, level, symbols, codes, lookalikes }, arrays) {
    this.symbols = level === "byte" ? Array.from({ length: 256 }, (_, byte) => byteSymbol(byte)) : symbols;
    this.ids = new Map(this.symbols.map((symbol, id) => [symbol, id]));
    this.lineEnd = this.ids.get("\n") ?? null;
    this.lookalikes = lookalikes;
    const unit = level === "char" ? "character" : level;
    this.about = { name, level, unit, lines: config.lines, facts };
    this.models = [name];
    this.network = new Network(config, arrays, codes, this.lineEnd);
    this.given = []; // what was read of the last beginning: { id, token, state }
  }

  choose() {} // There is one model.

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

const loadHome = () => ModelHere.load(data);
