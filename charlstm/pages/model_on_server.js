
// A model on the server of this page, which answers as OpenAI's API does.
const EXPECTED = 10;

// The events of an answer that is sent as server-sent events, up to [DONE].
async function* eventsOf(answer) {
  const parts = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (let part = await parts.read(); !part.done; part = await parts.read()) {
    const events = (held + part.value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      const value = event.replace(/^data: /, "");
      if (value === "[DONE]") return;
      const { error, choices } = JSON.parse(value);
      if (error) throw new Error(error.message);
      yield choices;
    }
  }
}

class ModelOnServer {
  static async load() {
    const answer = await fetch("v1/models");
    const { data: models, error } = await answer.json();
    if (error) throw new Error(error.message);
    return new ModelOnServer(models);
  }

  constructor(models) {
    this.models = models.map(({ id }) => id);
    this.all = models;
    this.choose(this.models[0]);
  }

  choose(name) {
    const { id, level, lines, cell, layers, hidden, vocabulary, parameters } =
      this.all.find((model) => model.id === name) ?? this.all[0];
    const unit = level === "char" ? "character" : level;
    const facts = `${plural(layers, "layer")} of ${hidden} ${cell.toUpperCase()} units, ` +
      `${plural(vocabulary, `distinct ${unit}`)}, ${thousands(parameters)} weights. The server computes: it gets what you write.`;
    this.about = { name: id, level, unit, lines, facts };
  }

  async unknown() {
    return []; // the server knows the symbols of the model, and takes the most similar ones
  }

  async ask(request, signal) {
    const answer = await fetch("v1/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: this.about.name, unknown: "replace", logprobs: EXPECTED, ...request }),
      signal,
    });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    return answer;
  }

  // The symbol of a token: "bytes:\xc3" is a byte, and a word may have a space before it.
  symbol(token) {
    const byte = /^bytes:\\x([0-9a-f]{2})$/.exec(token);
    if (this.about.level !== "word" && byte) return byteSymbol(parseInt(byte[1], 16));
    return this.about.level === "word" ? token.replace(/^ /, "") : token;
  }

  // JSON objects whose keys are digits do not keep their order: the likeliest come first again.
  expected(logProbs) {
    return Object.entries(logProbs ?? {}).sort(([, a], [, b]) => b - a)
      .map(([token, each]) => [this.symbol(token), Math.exp(each)]);
  }

  async next(text, signal) {
    const answer = await this.ask({ prompt: text, max_tokens: 1, temperature: 0 }, signal);
    const { choices } = await answer.json();
    return this.expected(choices[0].logprobs?.top_logprobs?.[0]);
  }

  async *write({ beginning, length, count, seed, stops, ...sampling }, signal) {
    const answer = await this.ask({
      prompt: beginning, max_tokens: length, n: count, seed: Number(seed), stop: stops, stream: true, echo: true, ...sampling,
    }, signal);
    const readers = Array.from({ length: count }, () => reader(this.about.level));
    const begun = new Set(); // the samples whose first part, the beginning, has arrived
    for await (const choices of eventsOf(answer)) {
      const written = Array.from({ length: count }, () => []);
      for (const { index, logprobs } of choices) {
        const { tokens, token_logprobs: logProbs, top_logprobs: tops } = logprobs;
        const made = tokens.map((token, k) => {
          const symbol = this.symbol(token);
          const bits = logProbs[k] === null ? null : -logProbs[k] / Math.LN2;
          return { symbol, text: readers[index](symbol), bits, expected: this.expected(tops[k]) };
        });
        if (begun.has(index)) written[index] = made;
        else if (begun.add(index).size === 1) yield { given: made };
      }
      if (begun.size) yield { written };
    }
  }
}

const loadHome = () => ModelOnServer.load();
