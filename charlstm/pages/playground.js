
// The playground: write a beginning, read on, look at what else could have stood somewhere, and go on
// from there. `home` computes: a model in the page (model_here.js), or on a server (model_on_server.js):
//   models       the names of all models; choose(name) chooses one
//   about        { name, level, unit, lines, facts } of the chosen model
//   unknown(text)          a promise of the symbols of a text that the model does not know: [symbol,
//                          the known one that is read in its place, or undefined]
//   next(text, signal)     a promise of the likeliest next symbols: [[symbol, probability], ...]
//   write(request, signal) yields { read } (a share) while it reads the beginning, then { given }
//                          (tokens), then { written } (for each sample, its new tokens)
// A request has beginning, length, count, seed, stops, temperature, top_k, top_p and min_p.
// A token is { symbol, text, bits, expected }: text is what it adds to the text that is shown, and
// expected has the likeliest symbols at its place, with their probabilities, before it was read.
const SETTINGS = ["temperature", "length", "count", "seed", "top_k", "top_p", "min_p", "stops"];
let home = null;
let samples = []; // { tokens, spans, box, text }: what each sample shows
let chosen = null; // the sample and the position that the panel describes
let running = null; // the AbortController of what is computed now
const earlier = []; // [beginning, tokens of the samples]: what "Back" shows again

// -- settings: the controls, the address of the page, and a request

// In the field of stop strings, as in `charlstm sample --stop`, \n is a line end, \t a tab, \\ a
// backslash. Several strings are separated by | there.
const unescaped = (text) => text.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t" })[letter] ?? "\\");

const invalidField = () => SETTINGS.map($).find((field) => !field.checkValidity());

function settings() {
  const number = (id) => Number($(id).value || $(id).defaultValue);
  const numbers = ["temperature", "length", "count", "top_k", "top_p", "min_p"];
  return {
    ...Object.fromEntries(numbers.map((id) => [id, number(id)])),
    stops: $("stops").value.split("|").filter(Boolean).map(unescaped),
  };
}

// The settings that differ from the usual ones, and the beginning, as the fragment of the address.
function address(seed) {
  const options = new URLSearchParams();
  for (const id of SETTINGS) if ($(id).value !== $(id).defaultValue) options.set(id, $(id).value);
  if (seed !== undefined) options.set("seed", seed);
  if (home.models.length > 1) options.set("model", home.about.name);
  if ($("beginning").value) options.set("beginning", $("beginning").value);
  return `#${options}`;
}

function takeAddress() {
  const options = new URLSearchParams(location.hash.slice(1));
  for (const id of [...SETTINGS, "beginning"]) $(id).value = options.get(id) ?? $(id).defaultValue;
  chooseModel(options.get("model") ?? home.about.name);
  $("more").open ||= ["top_k", "top_p", "min_p", "stops"].some((id) => options.has(id));
  showNext();
}

// -- the text of a sample

function showSample(number) {
  const box = element("section", "", "sample"), head = element("header"), text = element("div", "", "text");
  const onwards = element("button", "Go on");
  onwards.type = "button";
  onwards.addEventListener("click", () => goOn(sample, sample.tokens.length));
  head.append(element("h2", `Sample ${number + 1}`), onwards);
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", `Sample ${number + 1}: move with the arrow keys`);
  box.append(head, text);
  const sample = { tokens: [], spans: [], text, box };
  moveInText(text, sample.spans, (at, isPointer) => { if (!isPointer) describe(sample, at); });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && chosen) $("instead").querySelector("button")?.focus();
  });
  $("samples").append(box);
  return sample;
}

function addTokens(sample, tokens, isGiven) {
  const { text, spans } = sample;
  for (const token of tokens) {
    const span = element("span", token.text, isGiven ? "c given" : "c");
    span.classList.toggle("end", token.symbol === "\n");
    span.tabIndex = spans.length ? -1 : 0;
    span.at = spans.length;
    span.style.setProperty("--v", Math.min(1, (token.bits ?? 0) / MOST_BITS).toFixed(3));
    // Blocks of whole lines: a browser lays out anew only the last one, which grows.
    const block = text.lastChild;
    if (!block || (block.childElementCount >= 100 && block.lastChild.textContent.endsWith("\n"))) {
      text.append(element("div", "", "block"));
    }
    text.lastChild.append(span);
    spans.push(span);
    sample.tokens.push(token);
  }
}

function clearSamples(count) {
  $("samples").replaceChildren();
  chosen = null;
  samples = Array.from({ length: count }, (_, k) => showSample(k));
}

const shownText = (tokens) => tokens.map(({ text }) => text).join("");

// -- the panel of the chosen place

// A button for a symbol: its name, its probability, and a bar. In a short form, the name of white
// space is a sign.
function symbolButton(symbol, probability, choose, isShort = false) {
  const button = element("button"), item = element("li"), name = symbolName(symbol);
  button.type = "button";
  button.title = name;
  button.append(element("span", isShort ? name.split(" ")[0] : name, "name"), element("span", percent(probability), "percent"), shareBar(probability));
  button.addEventListener("click", choose);
  item.append(button);
  return item;
}

function describe(sample, at) {
  if (chosen) chosen.sample.spans[chosen.at]?.classList.remove("chosen");
  chosen = { sample, at };
  sample.spans.forEach((span, k) => { span.tabIndex = k === at ? 0 : -1; });
  sample.spans[at].classList.add("chosen");
  const token = sample.tokens[at];
  $("character").textContent = symbolName(token.symbol);
  $("surprise").textContent = `${home.about.unit} ${thousands(at + 1)} of ${thousands(sample.tokens.length)}: ` +
    (token.bits === null ? "nothing came before it" : `${token.bits.toFixed(2)} bits`);
  $("instead").replaceChildren(...token.expected.map(([symbol, probability]) => {
    const item = symbolButton(symbol, probability, () => goOn(sample, at, symbol));
    item.firstChild.classList.toggle("actual", symbol === token.symbol);
    return item;
  }));
  $("instead-hint").hidden = !token.expected.length;
  panelIsOpen(true);
  reveal(sample.spans[at]);
}

// Close the panel, and go back to the place in the text that it described.
function closePanel() {
  if (chosen && $("here").contains(document.activeElement)) chosen.sample.spans[chosen.at].focus();
  panelIsOpen(false);
}

// Go on from the first `at` tokens of a sample and one more symbol.
function goOn(sample, at, symbol) {
  const symbols = sample.tokens.slice(0, at).map((token) => token.symbol);
  if (symbol !== undefined) symbols.push(symbol);
  panelIsOpen(false);
  write(joinSymbols(symbols, home.about.level));
}

// -- what comes next

async function showUnknown(beginning) {
  const unknown = (await home.unknown(beginning)).map(([symbol, known]) =>
    `${symbolName(symbol)} (${known === undefined ? "left out" : `read as ${symbolName(known)}`})`);
  $("unknown").textContent = unknown.length ? `The model does not know ${unknown.slice(0, 10).join(", ")}` : "";
}

async function showNext() {
  const beginning = $("beginning").value;
  showUnknown(beginning);
  if (running?.isWriting) return;
  running?.abort();
  const mine = running = new AbortController();
  const found = await home.next(beginning, mine.signal).catch((error) => {
    if (!mine.signal.aborted) $("status").textContent = error.message;
    return [];
  });
  if (mine.signal.aborted) return;
  running = null;
  $("next").replaceChildren(...found.map(([symbol, probability]) => symbolButton(symbol, probability, () => {
    const symbols = splitText(beginning, home.about.level);
    $("beginning").value = joinSymbols([...symbols, symbol], home.about.level);
    $("beginning").dispatchEvent(new Event("input"));
  }, true)));
}

// -- writing

const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

async function write(beginning = $("beginning").value) {
  const wrong = invalidField();
  if (wrong) {
    $("more").open ||= $("more").contains(wrong);
    wrong.reportValidity();
    return;
  }
  running?.abort();
  if (samples.length) earlier.push([$("beginning").value, samples.map(({ tokens }) => tokens)].slice(-50));
  $("beginning").value = beginning;
  const seed = $("seed").value || String(newSeed());
  const request = { beginning, seed, ...settings() };
  const mine = running = new AbortController();
  mine.isWriting = true;
  history.replaceState(null, "", address());
  clearSamples(request.count);
  showRunning(true);
  document.body.dataset.seed = seed;
  const began = performance.now();
  let written = 0;
  try {
    for await (const step of home.write(request, mine.signal)) {
      if (mine.signal.aborted) return;
      if (step.read !== undefined) $("status").textContent = `Reading the beginning: ${Math.floor(100 * step.read)} %`;
      if (step.given) {
        $("status").textContent = "Writing …";
        for (const sample of samples) addTokens(sample, step.given, true);
      }
      if (step.written) {
        step.written.forEach((tokens, k) => addTokens(samples[k], tokens, false));
        written += step.written.reduce((sum, tokens) => sum + tokens.length, 0);
      }
    }
    if (mine.signal.aborted) return;
    const seconds = Math.max(0.001, (performance.now() - began) / 1000);
    document.body.dataset.speed = Math.round(written / seconds);
    $("status").textContent = `${plural(written, home.about.unit)} in ${seconds.toFixed(1)} s, seed ${seed}`;
  } catch (error) {
    if (mine.signal.aborted) return;
    $("status").textContent = `This did not work: ${error.message}`;
  }
  running = null;
  showRunning(false);
  showNext();
}

function showRunning(isRunning) {
  $("stop").disabled = !isRunning;
  $("back").disabled = !earlier.length;
  $("tools").hidden = false;
  document.body.dataset.state = isRunning ? "writing" : "ready";
}

function stop() {
  running?.abort();
  running = null;
  $("status").textContent = "Stopped";
  showRunning(false);
  showNext();
}

function back() {
  const [beginning, shown] = earlier.pop();
  running?.abort();
  running = null;
  $("beginning").value = beginning;
  clearSamples(shown.length);
  shown.forEach((tokens, k) => addTokens(samples[k], tokens, false));
  showRunning(false);
  showNext();
}

function save() {
  const texts = samples.map(({ tokens }) => shownText(tokens));
  const made = element("a");
  made.href = URL.createObjectURL(new Blob([texts.join("\n\n---\n\n"), "\n"], { type: "text/plain" }));
  made.download = "sample.txt";
  made.click();
  URL.revokeObjectURL(made.href);
}

async function copyLink() {
  history.replaceState(null, "", address(document.body.dataset.seed));
  try {
    await navigator.clipboard.writeText(location.href);
    $("status").textContent = "The link is copied: it holds the beginning, the settings and the seed";
  } catch {
    $("status").textContent = "The address of the page is the link: it holds the beginning, the settings and the seed";
  }
}

// -- the controls

function chooseModel(name) {
  home.choose(name);
  $("model").value = home.about.name;
  $("title").textContent = home.about.name;
  document.title = `${home.about.name} · charlstm`;
  $("about").textContent = home.about.facts;
}

function begin() {
  $("model").append(...home.models.map((name) => new Option(name, name)));
  $("model-choice").hidden = home.models.length < 2;
  $("model").addEventListener("change", () => {
    chooseModel($("model").value);
    clearSamples(0);
    showNext();
  });
  showSurprisalKey($("key"), MOST_BITS);
  $("write").addEventListener("click", () => write());
  $("stop").addEventListener("click", stop);
  $("back").addEventListener("click", back);
  $("save").addEventListener("click", save);
  $("link").addEventListener("click", copyLink);
  $("beginning").addEventListener("input", showNext);
  $("colours").addEventListener("change", () => { document.body.dataset.colours = $("colours").value; });
  $("close").addEventListener("click", closePanel);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
    if (event.key === "Escape") {
      if (running?.isWriting) stop();
      else closePanel();
    }
  });
  addEventListener("hashchange", takeAddress);
  takeAddress();
  document.body.dataset.state = "ready";
  fitToWindow(document.querySelector("aside"));
  markMore($("here"));
}

$("status").textContent = "Loading the model …";
loadHome().then((loaded) => {
  home = loaded;
  $("status").textContent = "";
  begin();
}).catch((error) => { $("status").textContent = `The model cannot be loaded: ${error.message}`; });
