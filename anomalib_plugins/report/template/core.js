"use strict";
const byId = (id) => document.getElementById(id);
const block = (id) => JSON.parse(byId(id).textContent);
const data = block("data");

// Text only ever becomes text: nothing here writes HTML.
function make(namespace, tag, attributes, children) {
  const node = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const html = (tag, attributes, ...children) => make(null, tag, attributes, children);
const svg = (tag, attributes, ...children) => make("http://www.w3.org/2000/svg", tag, attributes, children);

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
}

// Numbers of any size in a few characters.
function short(value, digits = 4) {
  if (value === Infinity) return "∞";
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(digits - 2)
    : String(Number(value.toPrecision(digits)));
}

const placeName = (job) => [job.dataset, job.category].filter(Boolean).join(" / ");
const places = [...new Set(data.jobs.map(placeName))];

for (const controls of document.querySelectorAll(".controls")) controls.hidden = false;

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("theme"));
}
const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
byId("theme").hidden = false;
byId("theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
