
// A text by surprisal: the component that all pages share. text: the result of text_data in
// text_data.py. Positions are counted from 1 in all that is shown, and from 0 in arrays.
const MOST_BITS = 8; // the end of the whole range of surprisal

// The surprisal of each symbol in bits, and its colour as a number from 0 to 1.
function surprisalColours(text, whole) {
  const values = text.bits.map((bits) => (bits ?? 0) / 1000);
  const most = whole ? MOST_BITS : quantile(values, 0.98) || 1;
  return { values, most, colours: values.map((bits) => Math.min(1, bits / most)) };
}

function meanBits(text) {
  const known = text.bits.filter((bits) => bits !== null);
  return known.reduce((sum, bits) => sum + bits, 0) / Math.max(1, known.length) / 1000;
}

// Fill a box with the key of the colours.
function showSurprisalKey(box, most) {
  const colour = element("span");
  colour.append(element("span", "0 bits"), element("i", "", "surprisal"), element("span", `${Number(most.toPrecision(2))} bits and more`));
  box.replaceChildren(colour);
}

// Let the arrow keys move the focus in a text. spans: the element of each symbol, with its position
// `at`; more may be added later. choose(at, isPointer) is called when a symbol is pointed at, clicked
// or reached.
function moveInText(box, spans, choose) {
  // The position of the nearest character in the row of text above (-1) or below (+1).
  function neighbour(at, direction) {
    const here = spans[at].getBoundingClientRect();
    let best = at, row = null;
    for (let k = at + direction; k >= 0 && k < spans.length; k += direction) {
      const place = spans[k].getClientRects()[0];
      if (!place || Math.abs(place.top - here.top) < 4) continue;
      row ??= place.top;
      if (Math.abs(place.top - row) >= 4) break;
      const distance = Math.abs(place.left - here.left);
      if (best === at || distance < Math.abs(spans[best].getClientRects()[0].left - here.left)) best = k;
    }
    return best;
  }

  const moves = {
    ArrowLeft: (at) => at - 1,
    ArrowRight: (at) => at + 1,
    ArrowUp: (at) => neighbour(at, -1),
    ArrowDown: (at) => neighbour(at, 1),
    Home: () => 0,
    End: () => spans.length - 1,
  };
  box.addEventListener("keydown", (event) => {
    if (event.target.at === undefined || !moves[event.key]) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    spans[moves[event.key](event.target.at)]?.focus();
  });
  // A finger on the text may begin to scroll, and chooses nothing before it taps.
  for (const happening of ["pointerover", "focusin", "click"]) {
    box.addEventListener(happening, (event) => {
      const isPointer = happening === "pointerover";
      if (event.target.at === undefined || (isPointer && event.pointerType === "touch")) return;
      choose(event.target.at, isPointer);
    });
  }
}

// Fill a box with a text. choose(at, isPointer) is called when a symbol is pointed at, clicked or
// reached with the arrow keys. Returns the element of each symbol, and a function that marks one.
function showText(box, text, choose) {
  box.classList.add("text");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "The text: move with the arrow keys");
  const spans = text.text.map((symbol, at) => {
    const span = element("span", (text.spaced[at] ? " " : "") + text.symbols[symbol][0], "c");
    span.tabIndex = at ? -1 : 0;
    span.at = at;
    return span;
  });
  // Blocks of whole lines: a browser lays out and paints only those that are in sight.
  let block = element("div", "", "block");
  spans.forEach((span, at) => {
    block.append(span);
    if (at + 1 === spans.length || (block.childElementCount >= 500 && span.textContent.endsWith("\n"))) {
      box.append(block);
      block = element("div", "", "block");
    }
  });

  moveInText(box, spans, choose);
  let marked = 0;
  const mark = (at) => {
    spans[marked].classList.remove("chosen");
    spans[marked].tabIndex = -1;
    spans[at].classList.add("chosen");
    spans[at].tabIndex = 0;
    marked = at;
  };
  return { spans, mark };
}

// Scroll to a character, and again once the blocks around it have their real heights.
function reveal(span) {
  span.scrollIntoView({ block: "nearest" });
  requestAnimationFrame(() => span.scrollIntoView({ block: "nearest" }));
}

// Fill a box with a panel that describes one symbol of a text: its surprisal, and what the model
// expected in its place.
function expectationPanel(box, text) {
  const symbol = element("div", "", "symbol");
  const surprise = element("div", "Point at the text, or move through it with the arrow keys.", "quiet");
  const live = element("div");
  const table = element("table", "", "expected");
  symbol.id = "character";
  surprise.id = "surprise";
  table.id = "expected";
  live.setAttribute("aria-live", "polite");
  live.append(symbol, surprise);
  const rows = element("tbody");
  table.append(element("caption", "Expected here"), rows);
  table.hidden = true;
  box.append(live, table);
  const show = (at) => {
    const bits = text.bits[at];
    symbol.textContent = text.symbols[text.text[at]][1];
    surprise.textContent =
      `${text.unit} ${thousands(at + 1)} of ${thousands(text.text.length)}: ` +
      (bits === null ? "nothing came before it" : `${(bits / 1000).toFixed(2)} bits`);
    table.hidden = bits === null || !text.expected.length;
    rows.replaceChildren(...(text.expected[at] ?? []).map((expected, rank) => {
      const probability = text.probabilities[at][rank] / 10000;
      const made = row(text.symbols[expected][1], percent(probability), shareBar(probability));
      made.classList.toggle("actual", expected === text.text[at]);
      return made;
    }));
  };
  return { show };
}
