"use strict";
const $ = (id) => document.getElementById(id);
const shown = []; // {name, image, score, levels, milliseconds} or {name, error}
let current = -1;

const threshold = () => Number($("threshold").value);

async function score(file) {
  const answer = await fetch("score", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
  const said = await answer.json();
  if (said.error) throw new Error(said.error);
  const image = await createImageBitmap(file, { imageOrientation: "none" });
  return { name: file.name, image, score: said.score, milliseconds: said.milliseconds, levels: said.map && (await levelsOf(said.map)) };
}

// The map's pixels, 0 to 255, at the model's resolution.
async function levelsOf(png) {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, picture.width, picture.height);
}

async function take(files) {
  for (const file of files) {
    try {
      shown.push(await score(file));
    } catch (error) {
      shown.push({ name: file.name, error: error.message });
    }
    current = shown.length - 1;
    draw();
  }
}

function draw() {
  $("threshold-value").textContent = threshold().toFixed(2);
  $("mark").style.left = `${100 * threshold()}%`;
  const one = shown[current];
  if (!one) return;
  drawVerdict(one);
  drawTable();
  $("view").hidden = !one.image;
  $("name").textContent = one.name;
  if (one.image) drawPicture(one);
}

function drawVerdict(one) {
  const bad = one.error || one.score > threshold();
  $("verdict").className = bad ? "bad" : "good";
  $("verdict").textContent = one.error ? `${one.name}: ${one.error}` : `${bad ? "DEFECT" : "ok"}  ${one.score.toFixed(3)}`;
  $("fill").style.width = `${one.error ? 0 : 100 * Math.min(1, one.score)}%`;
}

function drawPicture({ image, levels }) {
  const [photo, heat] = [$("photo"), $("heat")];
  [photo.width, photo.height] = [image.width, image.height];
  photo.getContext("2d").drawImage(image, 0, 0);
  if (!levels) return heat.getContext("2d").clearRect(0, 0, heat.width, heat.height);
  [heat.width, heat.height] = [levels.width, levels.height];
  const pen = heat.getContext("2d"), colours = pen.createImageData(levels.width, levels.height);
  const strength = Number($("strength").value), lowest = $("cut").checked ? 255 * threshold() : -1;
  for (let i = 0; i < colours.data.length; i += 4) {
    const level = levels.data[i];
    colours.data[i] = 255; // red, and more yellow the higher
    colours.data[i + 1] = level;
    colours.data[i + 3] = level > lowest ? (level * level * strength) / 255 : 0;
  }
  pen.putImageData(colours, 0, 0);
}

function drawTable() {
  $("table").hidden = false;
  const scored = shown.filter((one) => !one.error), bad = scored.filter((one) => one.score > threshold());
  $("counts").textContent = `${bad.length} of ${scored.length} photos above the threshold`;
  $("table").tBodies[0].replaceChildren(...shown.map((one, number) => {
    const row = document.createElement("tr"), name = document.createElement("button");
    name.textContent = one.name;
    name.onclick = () => { current = number; draw(); };
    row.insertCell().append(name);
    row.insertCell().textContent = one.error ? "" : one.score.toFixed(3);
    const verdict = row.insertCell(), defect = one.score > threshold();
    verdict.textContent = one.error ? "not read" : defect ? "DEFECT" : "ok";
    verdict.className = one.error || defect ? "bad" : "good";
    row.insertCell().textContent = one.milliseconds ?? "";
    row.ariaCurrent = String(number === current);
    return row;
  }));
}

for (const id of ["threshold", "strength", "cut"]) $(id).addEventListener("input", draw);
$("files").addEventListener("change", (event) => take([...event.target.files]));
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") take([...event.dataTransfer.files]);
  });
}
fetch("model").then((answer) => answer.json()).then(({ name }) => {
  $("model").textContent = name;
  document.title = name;
});
draw();
