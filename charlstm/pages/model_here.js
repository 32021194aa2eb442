
// The model inside an exported page, which a worker computes: see model_worker.js.
class ModelHere {
  static async load() {
    const { packed, worker: script, ...described } = data;
    delete data.packed; // megabytes that are not needed any more
    const source = [`const data = ${JSON.stringify(described)};`, script];
    const address = URL.createObjectURL(new Blob(source, { type: "text/javascript" }));
    const home = new ModelHere(new Worker(address));
    URL.revokeObjectURL(address);
    home.about = await home.ask("load", bytesOf(packed));
    home.models = [home.about.name];
    return home;
  }

  constructor(worker) {
    Object.assign(this, { worker, calls: 0, listeners: new Map() });
    worker.onmessage = ({ data: { call, ...message } }) => this.listeners.get(call)?.(message);
    worker.onerror = ({ message }) => {
      const error = message || "this browser does not let the page start a worker";
      for (const listener of this.listeners.values()) listener({ error });
    };
  }

  choose() {} // There is one model.

  unknown(text) {
    return this.ask("unknown", text);
  }

  next(text, signal) {
    return this.ask("next", text, signal);
  }

  write(request, signal) {
    return this.answers("write", request, signal);
  }

  async ask(...call) {
    for await (const answer of this.answers(...call)) return answer;
  }

  // Yields what a method of the worker yields.
  async *answers(method, argument, signal) {
    const call = this.calls++;
    const messages = [];
    let wake = () => {};
    this.listeners.set(call, (message) => {
      messages.push(message);
      wake();
    });
    signal?.addEventListener("abort", () => this.worker.postMessage({ call, abort: true }));
    this.worker.postMessage({ call, method, argument });
    try {
      while (true) {
        if (!messages.length) await new Promise((resolve) => { wake = resolve; });
        const { value, error, done } = messages.shift();
        if (error) throw new Error(error);
        if (done) return;
        yield value;
      }
    } finally {
      this.listeners.delete(call);
    }
  }
}

const loadHome = () => ModelHere.load();
