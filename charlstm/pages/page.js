
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

function element(tag, text = "", classes = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes;
  return made;
}

function link(address, ...content) {
  const made = element("a");
  made.href = `#${address}`;
  made.append(...content);
  return made;
}

function row(name, ...cells) {
  const made = element("tr");
  const head = element("th", name);
  head.scope = "row";
  made.append(head, ...cells.map((cell) => {
    const td = element("td");
    td.append(cell);
    return td;
  }));
  return made;
}

// A bar whose length is a share of the room, from 0 to 1.
function shareBar(share, classes = "") {
  const bar = element("span", "", `share ${classes}`);
  bar.style.setProperty("--v", share);
  return bar;
}

const thousands = (count) => count.toLocaleString("en");
const plural = (count, noun) => `${thousands(count)} ${noun}${count === 1 ? "" : "s"}`;
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const percent = (share) => (share >= 0.001 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %");

// The value that a share of the values are not above.
function quantile(values, share) {
  const ordered = Float64Array.from(values).sort();
  return ordered[Math.round(share * (ordered.length - 1))];
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return bytes;
}

// Mark a box that scrolls while there is more of it below.
function markMore(box) {
  const mark = () =>
    box.toggleAttribute("data-more", box.scrollHeight - box.clientHeight - box.scrollTop > 24);
  box.addEventListener("scroll", mark);
  new ResizeObserver(mark).observe(box);
  for (const child of box.children) new ResizeObserver(mark).observe(child);
  mark();
}

// Keep the height of a box that sticks to the window such that its end is in sight.
function fitToWindow(box) {
  const fit = () => box.style.setProperty("--room", `${innerHeight - box.getBoundingClientRect().top - 12}px`);
  addEventListener("scroll", fit, { passive: true });
  addEventListener("resize", fit);
  fit();
}

const panelIsOpen = (open) => { document.body.dataset.panel = open ? "open" : "closed"; };
