
// The page of gates. Layers, units and positions are counted from 1 in all that is shown and in
// addresses, and from 0 in arrays.
const layers = data.units.length;
const gateNames = Object.entries(data.gate_names);
const length = data.text.text.length;
const { unit: symbolUnit } = data.text;
const nameOf = (layer, unit) => `layer ${layer + 1}, unit ${unit + 1}`;

// -- the numbers: values of a unit from -1 to 1, gates and the means of gates from 0 to 1

function unitNumbers(layer, unit) {
  const bytes = bytesOf(data.units[layer][unit]);
  const value = Array.from(new Int8Array(bytes.buffer, 0, length), (number) => number / 127);
  const gates = gateNames.map((_, k) =>
    Array.from(bytes.subarray((k + 1) * length, (k + 2) * length), (number) => number / 255));
  return { value, gates };
}

const meanGates = (layer) =>
  gateNames.map(([gate]) => data.gates[layer][gate].map((number) => number / 10000));

// -- views: the colour of each character and the bars below it, as numbers from 0 to 1

// Scale values linearly: the range of this text leaves out the 2 percent at either end.
function scaled(values, whole, least = 0, most = 1) {
  if (!whole) [least, most] = [quantile(values, 0.02), quantile(values, 0.98)];
  const span = most - least;
  return {
    least, most, colours: values.map((value) => (span > 0 ? Math.min(1, Math.max(0, (value - least) / span)) : 0)),
  };
}

const bars = (gates, whole) => gates.map((values) => scaled(values, whole));

function surprisalView(whole) {
  const { values, most, colours } = surprisalColours(data.text, whole);
  return {
    kind: "surprisal", address: "surprisal", values, lanes: [], colours,
    title: `Surprisal of each ${symbolUnit}`, least: "0 bits", most: `${most.toFixed(1)} bits and more`,
  };
}

function unitView(layer, unit, whole) {
  const { value, gates } = unitNumbers(layer, unit);
  const most = whole ? 1 : quantile(value.map(Math.abs), 0.98) || 1;
  return {
    kind: "unit", address: `unit=${layer + 1}.${unit + 1}`, layer, unit, values: value,
    title: `L${nameOf(layer, unit).slice(1)}: its value${gates.length ? " and its gates" : ""}`,
    colours: value.map((number) => Math.min(1, Math.abs(number) / most)),
    lanes: bars(gates, whole), least: `value ${signed(-most)}`, most: signed(most),
  };
}

function gatesView(layer, gate, whole) {
  const gates = meanGates(layer);
  const at = gateNames.findIndex(([letter]) => letter === gate);
  const { least, most, colours } = scaled(gates[at], whole);
  return {
    kind: "gates", address: `gates=${layer + 1}.${gate}`, layer, gate, values: gates[at], colours,
    title: `Gates of layer ${layer + 1}, the mean of its ${data.hidden} units`,
    lanes: bars(gates, whole),
    least: `${gateNames[at][1]} ${least.toFixed(2)}`, most: most.toFixed(2),
  };
}

// The fragment of the address selects a view, #surprisal, #unit=1.3 (layer 1, unit 3) or #gates=1.f;
// with &scale=whole or text the scale, and with &at=17 the 17th symbol.
function chosenView(options) {
  const whole = $("scale").value === "whole";
  const number = (text, most) => (/^\d{1,9}$/.test(text) && text >= 1 && text <= most ? text - 1 : null);
  const parts = (name) => (options.get(name) ?? "").split(".");
  const [layer, unit] = [number(parts("unit")[0], layers), number(parts("unit")[1], data.hidden)];
  if (layer !== null && unit !== null) return unitView(layer, unit, whole);
  const [gateLayer, gate] = [number(parts("gates")[0], layers), parts("gates")[1]];
  if (gateLayer !== null && Object.hasOwn(data.gate_names, gate)) return gatesView(gateLayer, gate, whole);
  return options.has("surprisal") ? surprisalView(whole) : unitView(...chosenUnit, whole);
}

// -- the text

const panel = expectationPanel($("chosen"), data.text);
// In a narrow window the panel covers text: it opens only for a click, a tap or a key.
const text = showText($("text"), data.text, (at, isPointer) => {
  describe(at);
  if (isPointer) return;
  panelIsOpen(true);
  reveal(text.spans[at]);
});
const { spans } = text;
let current = null; // the position of the character that the panel describes
let view = null;
const strongest = data.reactions.flatMap(({ units }) => units)
  .reduce((best, found) => (!best || Math.abs(found[2]) > Math.abs(best[2]) ? found : best), null);
let chosenUnit = strongest ? [strongest[0] - 1, strongest[1] - 1] : [0, 0];

function paint() {
  spans.forEach((span, at) => {
    span.style.setProperty("--v", view.colours[at].toFixed(3));
    view.lanes.forEach((lane, k) => span.style.setProperty(`--g${k}`, lane.colours[at].toFixed(3)));
    span.classList.toggle("negative", view.kind === "unit" && view.values[at] < 0);
  });
}

function describe(at) {
  current = at;
  document.body.dataset.chosen = at + 1;
  text.mark(at);
  panel.show(at);
  showValues();
}

function showValues() {
  if (current === null) return;
  const [layer, unit] = chosenUnit;
  const { value, gates } = unitNumbers(layer, unit);
  const means = meanGates(view.kind === "gates" ? view.layer : layer);
  const shown = [row(nameOf(layer, unit), signed(value[current]))];
  gateNames.forEach(([, name], k) => shown.push(row(`its ${name} gate`, gates[k][current].toFixed(2))));
  gateNames.forEach(([, name], k) => shown.push(row(
    `${name} gates of layer ${(view.kind === "gates" ? view.layer : layer) + 1}, mean`,
    means[k][current].toFixed(2),
  )));
  $("values").hidden = false;
  $("values").tBodies[0].replaceChildren(...shown);
}

$("close").addEventListener("click", () => panelIsOpen(false));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") panelIsOpen(false); });

// -- the controls

function markCurrent() {
  document.querySelectorAll("a[href]").forEach((link) => {
    const here = link.id ? link.id === `to-${view.kind}` : link.hash === `#${view.address}`;
    if (here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}

function showKey() {
  const colour = element("span");
  colour.append(element("span", view.least), element("i", "", view.kind), element("span", view.most));
  $("key").replaceChildren(colour, ...view.lanes.map(({ least, most }, k) => {
    const item = element("span");
    item.append(element("i", "", `lane lane-${k + 1}`),
      `${gateNames[k][1]} ${least.toFixed(2)} to ${most.toFixed(2)}`);
    return item;
  }));
}

function show() {
  const options = new URLSearchParams(location.hash.slice(1));
  if (options.has("scale")) $("scale").value = options.get("scale") === "whole" ? "whole" : "text";
  view = chosenView(options);
  if (view.kind === "unit") chosenUnit = [view.layer, view.unit];
  Object.assign(document.body.dataset, { view: view.kind, address: view.address, lanes: view.lanes.length });
  $("title").textContent = view.title;
  document.title = `${view.title} · ${data.run}`;
  $("to-unit").hash = `unit=${chosenUnit[0] + 1}.${chosenUnit[1] + 1}`;
  $("layer").value = chosenUnit[0] + 1;
  $("unit").value = chosenUnit[1] + 1;
  $("unit-choice").hidden = view.kind !== "unit";
  $("gate-choice").hidden = view.kind !== "gates";
  showKey();
  markCurrent();
  paint();
  const at = options.get("at");
  if (at !== null && /^\d{1,9}$/.test(at) && spans[at - 1]) {
    describe(at - 1);
    panelIsOpen(true);
    reveal(spans[at - 1]);
  } else showValues();
}

function choose() {
  const unit = Math.min(data.hidden, Math.max(1, Math.trunc($("unit").value || 1)));
  location.hash = `unit=${$("layer").value}.${unit}`;
}

for (let k = 1; k <= layers; k++) $("layer").append(new Option(k, k));
$("unit").max = data.hidden;
$("layer").addEventListener("change", choose);
$("unit").addEventListener("change", choose);
$("scale").addEventListener("change", () => {
  location.hash = `${view.address}&scale=${$("scale").value}`;
});

$("to-gates").hidden = !gateNames.length;
if (gateNames.length) $("to-gates").hash = `gates=1.${(gateNames[1] ?? gateNames[0])[0]}`;
for (let k = 1; k <= layers; k++) {
  if (layers > 1) $("gate-choice").append(element("small", `layer ${k}`));
  for (const [gate, name] of gateNames) $("gate-choice").append(link(`gates=${k}.${gate}`, name));
}

for (const { feature, count, floor, units } of data.reactions) {
  const places = count === null ? "" : `at ${thousands(count)} of ${thousands(length)}, `;
  const title = element("h2", `${feature} `);
  title.append(element("small", `${places}noise ${floor.toFixed(2)}${units.length ? "" : ": no unit is above it"}`));
  const list = element("ol");
  for (const [layer, unit, correlation] of units) {
    const item = element("li");
    item.append(link(
      `unit=${layer}.${unit}`, element("span", nameOf(layer - 1, unit - 1)),
      element("span", signed(correlation)),
      shareBar(Math.abs(correlation), correlation < 0 ? "negative" : ""),
    ));
    list.append(item);
  }
  $("found").append(title, list);
}
const named = new Set(data.reactions.flatMap(({ units }) => units.map(([layer, unit]) => `${layer}.${unit}`)));
$("found-title").textContent = named.size
  ? `Units that follow a feature of the text (${named.size})` : "No unit follows a feature of the text";
$("found").hidden = !data.reactions.length;
$("found").open = matchMedia("(min-width: 56rem)").matches;
addEventListener("beforeprint", () => { $("found").open = true; });

const mean = meanBits(data.text);
$("about").textContent =
  `${data.run} · ${data.cell.toUpperCase()}, ${layers} × ${data.hidden} units · ` +
  `${thousands(length)} ${symbolUnit}${length === 1 ? "" : "s"}, ${mean.toFixed(3)} bits each on average`;
const EXPLAINED = {
  lstm: "the input gate lets new content in, the forget gate keeps the old value, the output gate shows the value",
  gru: "the reset gate lets the old state into the new content, the update gate keeps the old state",
};
$("caption").textContent =
  `Surprisal is how unexpected the ${symbolUnit} was to the model: −log₂ of the probability that the model gave it, in bits. ` +
  (data.cell in EXPLAINED
    ? `A gate is a number by which a unit multiplies what passes: ${EXPLAINED[data.cell]}. This number is its openness: 0 is closed, 1 is open. `
    : "") +
  (data.capped ? "The input gates of this model are capped: each is shown as min(i, 1 − f), no further open than its forget gate is closed. " : "") +
  `The value of a unit is ${data.cell === "lstm" ? "tanh(c), its cell after squashing" : "its state h"}: −1 to +1.`;
window.addEventListener("hashchange", show);
show();
fitToWindow(document.querySelector("aside"));
markMore(document.querySelector("aside"));
markMore($("here"));
