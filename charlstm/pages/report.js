
// The report on one run, or on several side by side. The user's choices are kept in the state of the
// history, which outlives the reloading of the page while a run goes on.
const SECONDS_BETWEEN_RELOADS = 10;
const { runs } = data;
const colourOf = (k) => (k % 8) + 1;
const AXES = {
  steps: { name: "steps", of: (step) => step },
  characters: { name: `${runs[0].unit}s`, of: (step, _, run) => step * run.characters_per_step },
  time: { name: "seconds", of: (_, seconds) => seconds },
};
const UNITS = { bits: 1 / Math.LN2, nats: 1 };

const choices = { x: "steps", unit: "bits", scale: "linear", run: 0, sample: null, sort: null, isPaused: false };
for (const [name, value] of Object.entries(history.state ?? {})) {
  if (name in choices) choices[name] = value;
}
if (!runs[choices.run]) choices.run = 0;

function keep(change, more = {}) {
  Object.assign(choices, change);
  try {
    history.replaceState({ ...choices, ...more }, "");
  } catch { /* A page in the frame of a notebook may have no history. */ }
}

// A text in which names between backquotes stand in the type of code.
function withCode(text) {
  return text.split("`").map((part, k) => (k % 2 ? element("code", part) : part));
}

// -- the curves

// The axis of x for all runs: large numbers in thousands or millions, times in minutes or hours.
function axis() {
  const { of, name } = AXES[choices.x];
  const most = Math.max(1, ...runs.map((run) => of(run.steps, run.seconds, run) ?? 0));
  const units = choices.x === "time" ? [[7200, 3600, "hours"], [120, 60, "minutes"]] : [[2e6, 1e6, `million ${name}`]];
  const [, divisor, label] = units.find(([from]) => most >= from) ?? [0, 1, name];
  const at = (step, seconds, run) => {
    const value = of(step, seconds, run);
    return Number.isFinite(value) ? value / divisor : null;
  };
  return { label, at };
}

function pointsOf(run, table, column, at, factor = 1) {
  return table.step.map((step, k) => [
    at(step, table.seconds[k], run), table[column][k] === null ? null : table[column][k] * factor,
  ]);
}

// The place on the axis of x at which a step was done, by the nearest row of the tables.
function placeOf(run, step, at) {
  const rows = [run.train, run.evaluations].flatMap(({ step: steps, seconds }) => steps.map((each, k) => [each, seconds[k]]));
  if (!rows.length) return null;
  const [, seconds] = rows.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
  return at(step, seconds, run);
}

function showCurves() {
  const { label, at } = axis();
  const factor = UNITS[choices.unit];
  const isOne = runs.length === 1;
  const name = (run, curve) => (isOne ? curve : `${run.name}: ${curve}`);
  const curves = [], best = [], events = [];
  runs.forEach((run, k) => {
    const colour = colourOf(k);
    const { evaluations } = run;
    curves.push({
      name: name(run, "validation"), run: colour, hollow: evaluations.averaged.map((averaged) => !averaged),
      points: pointsOf(run, evaluations, "val_loss", at, factor),
    });
    if (evaluations.mix_val_loss.some((loss) => loss !== null)) {
      curves.push({ name: name(run, "validation, mixed-in text"), run: colourOf(k + 3), points: pointsOf(run, evaluations, "mix_val_loss", at, factor) });
    }
    curves.push({ name: name(run, "training"), run: isOne ? 2 : colour, thin: true, points: pointsOf(run, run.train, "train_loss", at, factor) });
    const row = evaluations.step.indexOf(run.best);
    if (row >= 0) {
      best.push({
        run: colour, name: isOne ? `best ${short(run.best_val_loss * factor, 4)}` : "",
        point: [at(run.best, evaluations.seconds[row], run), evaluations.val_loss[row] * factor],
      });
    }
    for (const [step] of run.recoveries) events.push({ at: placeOf(run, step, at), name: name(run, "recovered") });
    for (const step of run.resumptions) events.push({ at: placeOf(run, step, at), name: name(run, "resumed") });
    const averaged = evaluations.averaged.indexOf(true);
    if (averaged > 0) events.push({ at: placeOf(run, evaluations.step[averaged], at), name: name(run, "averaged weights") });
  });
  const evaluated = curves.filter((curve) => curve.hollow).flatMap((curve) => curve.points);
  const stops = evaluated.filter(([place, loss]) => place !== null && loss !== null).map(([place]) => place);
  const x = { name: label };
  chart($("loss"), {
    name: "Loss", height: 360, x, y: { name: `${choices.unit} per ${runs[0].unit}`, log: choices.scale === "logarithmic" },
    curves, best, events: events.filter((event) => event.at !== null), stops: stops.length ? stops : undefined,
  });
  if (runs.some(({ evaluations: { averaged } }) => averaged.includes(true) && averaged.includes(false))) {
    $("loss").append(element("p", "Full dots are losses of averaged weights, hollow dots those of the last weights.", "quiet"));
  }
  const of = (column, noun) => runs.map((run, k) => ({
    name: isOne ? noun : run.name, run: colourOf(k), points: pointsOf(run, run.train, column, at),
  }));
  chart($("rate"), { name: "Learning rate", height: 190, x, y: { name: "" }, curves: of("learning_rate", "learning rate") });
  const clips = [...new Set(runs.map((run) => run.clip))].filter((clip) => clip > 0);
  chart($("norm"), {
    name: "Gradient norm", height: 190, x, curves: of("gradient_norm", "gradient norm"), levels: clips,
    y: { name: clips.length ? `clipped above ${clips.map((clip) => short(clip)).join(", ")}` : "", log: true },
  });
  const speed = `${runs[0].unit}s a second`;
  chart($("speed"), { name: "Speed", height: 190, x, y: { name: speed }, curves: of("characters_per_second", speed) });
}

// -- the table of several runs

function showComparison() {
  $("comparison").hidden = runs.length < 2;
  if (runs.length < 2) return;
  const factor = UNITS[choices.unit];
  const number = (text) => Number(text.replaceAll(",", ""));
  const columns = [
    ["run", (k) => runs[k].name],
    [`best loss (${choices.unit})`, (k) => (runs[k].best_val_loss === null ? "" : (runs[k].best_val_loss * factor).toFixed(4))],
    ["steps", (k) => thousands(runs[k].steps)],
    ["seconds", (k) => (runs[k].seconds === null ? "" : short(runs[k].seconds, 4))],
    ["state", (k) => runs[k].state],
    ...data.differing.map(([name, ...values]) => [name, (k) => values[k]]),
  ];
  const [sorted, isDescending] = choices.sort ?? [0, false];
  const order = runs.map((_, k) => k);
  const value = columns[sorted]?.[1];
  if (choices.sort && value) {
    order.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      const difference = number(one) - number(other);
      return (Number.isNaN(difference) ? one.localeCompare(other) : difference) * (isDescending ? -1 : 1);
    });
  }
  $("runs").tHead.rows[0].replaceChildren(...columns.map(([name], k) => {
    const head = element("th");
    const button = element("button", name);
    head.scope = "col";
    button.id = `sort-${k}`;
    if (choices.sort && sorted === k) head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
    button.addEventListener("click", () => {
      keep({ sort: [k, Boolean(choices.sort) && sorted === k && !isDescending] });
      showComparison();
      $(`sort-${k}`).focus();
    });
    head.append(button);
    return head;
  }));
  $("runs").tBodies[0].replaceChildren(...order.map((k) => {
    const made = element("tr");
    made.append(...columns.map(([, text], column) => {
      const cell = element("td", text(k));
      if (column === 0) cell.prepend(element("i", "", `run-${colourOf(k)}`));
      return cell;
    }));
    return made;
  }));
  $("spread").replaceChildren(...data.repeats.map((group) => {
    const losses = group.map((k) => runs[k].best_val_loss).filter((loss) => loss !== null).map((loss) => loss * factor);
    const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    const spread = Math.sqrt(losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / Math.max(1, losses.length - 1));
    const names = group.map((k) => runs[k].name).join(", ");
    return element("p", losses.length < 2 ? "" :
      `${names} have the same text and settings but for the seed: best losses ${Math.min(...losses).toFixed(4)} to ` +
      `${Math.max(...losses).toFixed(4)} ${choices.unit}, mean ${mean.toFixed(4)}, standard deviation ${spread.toFixed(4)}.`);
  }));
}

// -- the details of one run

const hide = (id, isHidden) => { $(id).hidden = Boolean(isHidden); };

function showSample() {
  const { samples } = runs[choices.run];
  hide("samples", !samples.length);
  if (!samples.length) return;
  const at = choices.sample === null ? samples.length - 1 : nearest(samples.map(([step]) => step), choices.sample);
  const [step, text] = samples[at];
  $("sample").max = samples.length - 1;
  $("sample").value = at;
  $("sample").setAttribute("aria-valuetext", `step ${thousands(step)}`);
  $("sample-step").textContent = `step ${thousands(step)}, sample ${at + 1} of ${samples.length}`;
  $("sample-text").textContent = text;
  $("earlier").disabled = at === 0;
  $("later").disabled = at === samples.length - 1;
}

// Show a sample by its number; at the newest one, an open page stays at the newest.
function chooseSample(at) {
  const { samples } = runs[choices.run];
  keep({ sample: at >= samples.length - 1 ? null : samples[Math.max(0, at)][0] });
  showSample();
}

function showHeldOut() {
  const { text, best, measured_step: step } = runs[choices.run];
  hide("validation", !text);
  if (!text) return;
  $("text").replaceChildren();
  $("chosen").replaceChildren();
  const { most, colours } = surprisalColours(text, false);
  const panel = expectationPanel($("chosen"), text);
  const shown = showText($("text"), text, (at, isPointer) => {
    shown.mark(at);
    panel.show(at);
    if (!isPointer) panelIsOpen(true);
  });
  shown.spans.forEach((span, at) => span.style.setProperty("--v", colours[at].toFixed(3)));
  showSurprisalKey($("key"), most);
  $("validation-about").textContent =
    `${plural(text.text.length, text.unit)} that the model has not learned from, under ` +
    `${step === undefined || step === best ? "its best weights" : `the weights of step ${thousands(step)}`}: ` +
    `${meanBits(text).toFixed(3)} bits each on average. Surprisal is −log₂ of the probability that the model gave.`;
}

function showBars() {
  const { by_symbol: cost, by_column: column, frequencies, unit } = runs[choices.run];
  hide("by-symbol", !cost);
  hide("frequencies", !frequencies);
  hide("by-column", !column);
  const fill = (id, about, caption, rows) => {
    $(id).querySelector("p").textContent = about;
    const head = element("tr");
    head.append(...caption.map((text) => {
      const cell = element("th", text);
      cell.scope = "col";
      return cell;
    }), element("td"));
    $(id).querySelector("table").replaceChildren(head, ...rows);
  };
  if (cost) {
    const most = cost.symbols[0][3];
    fill("by-symbol", `The loss of ${plural(cost.predicted, unit)} of held-out text, by ${unit}.`,
      [unit, "count", "bits each", "share"],
      cost.symbols.map(([symbol, count, bits, share]) =>
        row(symbol, thousands(count), bits.toFixed(2), percent(share), shareBar(share / most))));
  }
  if (frequencies) {
    const most = frequencies.symbols[0][1];
    fill("frequencies", `${thousands(frequencies.distinct)} distinct ${unit}s; the most frequent among ` +
      `${plural(frequencies.counted, unit)} of training text.`, [unit, "count", "share"],
      frequencies.symbols.map(([symbol, count]) =>
        row(symbol, thousands(count), percent(count / frequencies.counted), shareBar(count / most))));
  }
  if (column) {
    chart($("column"), {
      name: "Loss of held-out text", height: 220, x: { name: "position in the line", read: (place) => `position ${place}` },
      y: { name: `bits per ${unit}` }, curves: [{ name: "held-out text", run: 1, points: column }],
    });
  }
}

function showFacts() {
  const run = runs[choices.run];
  hide("notes", !run.notes.length);
  $("notes").querySelector("ul").replaceChildren(...run.notes.map((text) => {
    const item = element("li");
    item.append(...withCode(text));
    return item;
  }));
  $("facts").replaceChildren(...run.facts.map(([label, text]) => row(label, text)));
  hide("command-line", !run.command);
  $("command").textContent = run.command;
  const why = (reason) => {
    const cell = element("span");
    cell.append(...(reason === "given" ? ["given by you"] : reason === "default" ? ["the default"] :
      reason ? ["chosen: ", ...withCode(reason)] : []));
    return cell;
  };
  $("settings").querySelector("table").replaceChildren(
    ...run.settings.map(([name, value, reason]) => row(name.replaceAll("_", " "), value, why(reason))));
  const { evaluations } = run;
  const columns = [["step", 0], ["seconds", 0], ["train_loss", 5], ["val_loss", 5]];
  const table = $("numbers").querySelector("table");
  table.tHead.rows[0].replaceChildren(...["step", "seconds", "training loss (nats)", "validation loss (nats)"].map((name) => {
    const head = element("th", name);
    head.scope = "col";
    return head;
  }));
  table.tBodies[0].replaceChildren(...evaluations.step.map((_, k) => {
    const made = element("tr");
    made.append(...columns.map(([name, digits]) => {
      const value = evaluations[name][k];
      return element("td", value === null ? "" : digits ? value.toFixed(digits) : short(value, 9));
    }));
    return made;
  }));
}

function showRun() {
  showSample();
  showHeldOut();
  showBars();
  showFacts();
}

// -- the controls

function choiceButtons(id, name, values, show, labels = {}) {
  const buttons = values.map((value) => {
    const button = element("button", labels[value] ?? value);
    button.type = "button";
    button.id = `${name}-${value}`;
    button.addEventListener("click", () => {
      keep({ [name]: value });
      mark();
      show();
    });
    return button;
  });
  const mark = () => buttons.forEach((button, k) => button.setAttribute("aria-pressed", values[k] === choices[name]));
  $(id).append(...buttons);
  mark();
}

choiceButtons("choice-x", "x", Object.keys(AXES), showCurves, { characters: AXES.characters.name });
choiceButtons("choice-unit", "unit", Object.keys(UNITS), () => { showCurves(); showComparison(); });
choiceButtons("choice-scale", "scale", ["linear", "logarithmic"], showCurves);
hide("run-choice", runs.length < 2);
runs.forEach((run, k) => $("run").append(new Option(run.name, k)));
$("run").value = choices.run;
$("run").addEventListener("change", () => {
  keep({ run: Number($("run").value), sample: null });
  showRun();
});
$("sample").addEventListener("input", () => chooseSample(Number($("sample").value)));
$("earlier").addEventListener("click", () => chooseSample(Number($("sample").value) - 1));
$("later").addEventListener("click", () => chooseSample(Number($("sample").value) + 1));

// -- the head of the page, and its renewal while a run goes on

const [first] = runs;
$("title").textContent = runs.map((run) => run.name).join(", ");
document.title = `${$("title").textContent} · charlstm`;
if (runs.length === 1) {
  const parts = [`${first.state}, ${first.total_steps ? `step ${thousands(first.steps)} of ${thousands(first.total_steps)}` : plural(first.steps, "step")}`];
  if (first.best_val_loss !== null) {
    parts.push(`best validation loss ${first.best_val_loss.toFixed(4)} nats (${(first.best_val_loss / Math.LN2).toFixed(4)} bits) per ${first.unit}`);
  }
  $("about").textContent = parts.join(" · ");
} else $("about").textContent = `${plural(runs.length, "run")} side by side`;

function ageInWords() {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - data.written));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return `on ${new Date(data.written * 1000).toLocaleString()}`;
}

function showAge() {
  const renewed = data.live ? (choices.isPaused ? "; renewal is paused" : "; renews itself while the run goes on") : "";
  $("age").textContent = `Written ${ageInWords()}${renewed}.`;
  $("pause").textContent = choices.isPaused ? "Renew again" : "Pause";
}

const place = () => ({
  scroll: scrollY, focus: document.activeElement?.id, open: [...document.querySelectorAll("details[open]")].map(({ id }) => id),
});
const opened = Date.now();
let isHeld = false; // whether a mouse button or a finger is down
addEventListener("pointerdown", () => { isHeld = true; });
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { isHeld = false; });
hide("pause", !data.live);
$("pause").addEventListener("click", () => {
  keep({ isPaused: !choices.isPaused });
  showAge();
});
setInterval(() => {
  showAge();
  const isBusy = isHeld || document.hidden || !getSelection().isCollapsed || document.activeElement?.id === "run";
  if (!data.live || choices.isPaused || isBusy || Date.now() - opened < 1000 * SECONDS_BETWEEN_RELOADS) return;
  keep({}, place());
  location.reload();
}, 1000);

showAge();
showCurves();
showComparison();
showRun();
const { scroll, focus, open } = history.state ?? {};
for (const id of open ?? []) if ($(id)) $(id).open = true;
if (focus && $(focus)) $(focus).focus({ preventScroll: true });
if (scroll) {
  history.scrollRestoration = "manual";
  scrollTo(0, scroll);
}
