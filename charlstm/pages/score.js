
// A scored text in the frame of a notebook.
const { most, colours } = surprisalColours(data, true);
const panel = expectationPanel($("chosen"), data);
const shown = showText($("text"), data, (at) => {
  shown.mark(at);
  panel.show(at);
});
shown.spans.forEach((span, at) => span.style.setProperty("--v", colours[at].toFixed(3)));
showSurprisalKey($("key"), most);
$("about").textContent =
  `${thousands(data.text.length)} ${data.unit}s, ${meanBits(data).toFixed(3)} bits each on average`;
