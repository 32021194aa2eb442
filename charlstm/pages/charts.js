
// Charts: curves of numbers as inline SVG, with a cursor for the pointer and the arrow keys.

// Map numbers from [least, most] to [from, to]; log: by their logarithms.
function scale(least, most, from, to, log = false) {
  const f = log ? Math.log : (x) => x;
  const span = f(most) - f(least) || 1;
  return (x) => from + ((f(x) - f(least)) / span) * (to - from);
}

// Round numbers from least to most, at distances of 1, 2 or 5 times a power of ten: at most
// count + 1 of them.
function ticks(least, most, count) {
  const rough = (most - least) / count;
  if (!(rough > 0)) return [least];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((each) => each >= rough * (1 - 1e-9));
  const first = Math.ceil(least / step - 1e-9);
  const found = [];
  for (let k = first; k * step <= most + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

// Ticks of a logarithmic scale: 1, 2 and 5 times powers of ten, or only the powers; where they are
// fewer than three, those of a linear scale.
function logTicks(least, most, count) {
  const found = (factors) => {
    const all = [];
    for (let k = Math.floor(Math.log10(least)); 10 ** k <= most; k++) {
      all.push(...factors.map((factor) => Number((factor * 10 ** k).toPrecision(12))));
    }
    return all.filter((value) => value >= least * (1 - 1e-9) && value <= most * (1 + 1e-9));
  };
  const [many, few] = [found([1, 2, 5]), found([1])];
  if (many.length < 3) return ticks(least, most, count);
  if (many.length <= count + 2) return many;
  const every = Math.ceil(few.length / (count + 1));
  return few.filter((_, k) => k % every === 0);
}

// The index of the number that is nearest to x in a list in ascending order.
function nearest(sorted, x) {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[high] - x) < Math.abs(x - sorted[low]) ? high : low;
}

// A number with up to `digits` significant digits, and without an exponent where that is short.
function short(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e15) return value.toExponential(1).replace("e+", "e");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: Math.max(digits, 4) });
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Fill a box with a chart. name: what it shows, for screen readers. height: in pixels.
// x, y: { name, log, read }, the axes. curves: { name, run, thin, points, hollow }: run is the number of a
// colour, points are pairs in the order of x; hollow, if given, draws a dot for each point, and
// says which are hollow. best: { point, run, name }, points with a ring. events: { at, name },
// vertical lines. levels: numbers with a horizontal line. stops: the numbers on the axis of x at
// which the cursor stops. x.read(number): the number in words.
function chart(box, { name, height, x, y, curves, best = [], events = [], levels = [], stops }) {
  const isShown = ([a, b]) => b !== null && a !== null && (!y.log || b > 0);
  curves = curves.map((curve) => ({
    ...curve, points: curve.points.filter(isShown),
    hollow: curve.hollow?.filter((_, k) => isShown(curve.points[k])),
  })).filter((curve) => curve.points.length);
  box.replaceChildren();
  if (!curves.length) {
    box.append(element("p", "No numbers yet.", "quiet"));
    return;
  }
  const all = curves.flatMap((curve) => curve.points);
  const range = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const [left, right] = range(all.map(([a]) => a));
  let [low, high] = range(all.map(([, b]) => b));
  const pad = y.log ? 1.05 : (high - low || Math.abs(high) || 1) * 0.05;
  [low, high] = y.log ? [low / pad, high * pad] : [low - pad, high + pad];

  const legend = element("div", "", "legend");
  for (const curve of curves) {
    const item = element("span");
    item.append(element("i", "", `run-${curve.run}${curve.thin ? " thin" : ""}`), curve.name);
    legend.append(item);
  }
  const plot = element("div", "", "plot");
  const readout = element("p", "", "readout quiet");
  const places = [...new Set(stops ?? curves[0].points.map(([a]) => a))].sort((a, b) => a - b);
  let at = places.length - 1;
  plot.tabIndex = 0;
  const attributes = { role: "slider", "aria-label": `${name}, by ${x.name}`, "aria-valuemin": 1, "aria-valuemax": places.length };
  for (const [key, value] of Object.entries(attributes)) plot.setAttribute(key, value);
  if (curves.length > 1) box.append(legend);
  box.append(plot, readout);

  const levelTicks = (y.log ? logTicks : ticks)(low, high, height / 50);
  const widest = Math.max(...levelTicks.map((value) => short(value).length));
  const margin = { left: Math.max(46, 7 * widest + 10), right: 14, top: 18, bottom: 36 };
  let across, cursor;
  function draw() {
    const width = Math.max(200, plot.clientWidth);
    const [bottom, end] = [height - margin.bottom, width - margin.right];
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": true });
    across = scale(left, right, margin.left, end);
    const up = scale(low, high, bottom, margin.top, y.log);
    svg.dataset.scales = JSON.stringify([left, right, margin.left, end, low, high, bottom, margin.top, Boolean(y.log)]);
    for (const value of levelTicks) {
      svg.append(drawn("line", { class: "grid", x1: margin.left, x2: end, y1: up(value), y2: up(value) }));
      svg.append(drawn("text", { class: "tick", x: margin.left - 6, y: up(value) + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(left, right, width / 80)) {
      svg.append(drawn("text", { class: "tick", x: across(value), y: bottom + 16, "text-anchor": "middle" }, short(value, 6)));
    }
    svg.append(drawn("text", { class: "tick", x: end, y: bottom + 31, "text-anchor": "end" }, x.name));
    svg.append(drawn("text", { class: "tick", x: 0, y: 10 }, y.name));
    for (const value of levels.filter((level) => level >= low && level <= high)) {
      svg.append(drawn("line", { class: "level", x1: margin.left, x2: end, y1: up(value), y2: up(value) }));
    }
    events.filter((event) => event.at >= left && event.at <= right).forEach(({ at: place, name: label }, k) => {
      const isLate = across(place) > (margin.left + end) / 2;
      svg.append(drawn("line", { class: "event", x1: across(place), x2: across(place), y1: margin.top, y2: bottom }));
      svg.append(drawn("text", {
        class: "note", x: across(place) + (isLate ? -4 : 4), y: margin.top + 12 + 15 * (k % 4),
        "text-anchor": isLate ? "end" : "start",
      }, label));
    });
    for (const curve of curves) {
      const pairs = curve.points.map(([a, b]) => `${across(a).toFixed(2)},${up(b).toFixed(2)}`);
      const line = drawn("polyline", { class: `curve run-${curve.run}${curve.thin ? " thin" : ""}`, points: pairs.join(" ") });
      line.dataset.name = curve.name;
      svg.append(line);
      if (curve.hollow?.length <= 80) {
        curve.points.forEach(([a, b], k) => svg.append(drawn("circle", {
          class: `dot run-${curve.run}${curve.hollow[k] ? " hollow" : ""}`, cx: across(a), cy: up(b), r: 3,
        })));
      }
    }
    for (const { point: [a, b], run, name: label } of best.filter(({ point }) => isShown(point))) {
      const isLate = across(a) > (margin.left + end) / 2;
      svg.append(drawn("circle", { class: `best run-${run}`, cx: across(a), cy: up(b), r: 7 }));
      svg.append(drawn("text", { class: "note", x: across(a), y: up(b) - 12, "text-anchor": isLate ? "end" : "start" }, label));
    }
    cursor = drawn("line", { class: "cursor", y1: margin.top, y2: bottom });
    svg.append(cursor);
    plot.replaceChildren(svg);
    show(false);
  }

  function show(isMoved = true) {
    const place = places[at];
    const parts = curves.map((curve) => {
      const [a, b] = curve.points[nearest(curve.points.map(([each]) => each), place)];
      return `${curve.name} ${short(b, 4)}${a === place ? "" : ` (at ${short(a, 6)})`}`;
    });
    const text = `${x.read?.(place) ?? `${short(place, 6)} ${x.name}`}: ${parts.join(" · ")}`;
    readout.textContent = text;
    plot.setAttribute("aria-valuenow", at + 1);
    plot.setAttribute("aria-valuetext", text);
    cursor.setAttribute("visibility", isMoved ? "visible" : "hidden");
    cursor.setAttribute("x1", across(place));
    cursor.setAttribute("x2", across(place));
  }

  plot.addEventListener("pointermove", (event) => {
    const bounds = plot.getBoundingClientRect();
    const place = places.map(across);
    at = nearest(place, event.clientX - bounds.left);
    show();
  });
  plot.addEventListener("pointerleave", () => cursor.setAttribute("visibility", "hidden"));
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: places.length - 1 };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    at = Math.min(places.length - 1, Math.max(0, moves[event.key]));
    show();
  });
  let drawnWidth = null;
  new ResizeObserver(() => {
    if (plot.clientWidth === drawnWidth) return;
    drawnWidth = plot.clientWidth;
    draw();
  }).observe(plot);
  drawnWidth = plot.clientWidth;
  draw();
}
