
// A scored text in the frame of a notebook.
const { text } = data;
const { most, colours } = surprisalColours(text, true);
const panel = expectationPanel($("chosen"), text);
const shown = showText($("text"), text, (at) => {
  shown.mark(at);
  panel.show(at);
});
shown.spans.forEach((span, at) => span.style.setProperty("--v", colours[at].toFixed(3)));
showSurprisalKey($("key"), most);
const mean = data.bits_per_symbol === null ? "" : `, ${data.bits_per_symbol.toFixed(3)} bits each on average`;
const part = data.symbols > text.text.length ? `; shown are the first ${thousands(text.text.length)}` : "";
$("about").textContent = `${plural(data.symbols, text.unit)}${mean}${part}`;
