// Gallery: what a threshold does to every test image of one model on one category.
const STATES = { found: "found", passed: "passed", alarm: "false alarm", miss: "missed" };
const state = {};

// Scores in ascending order, how many good and defective images lie below each, and the threshold with the best F1.
function prepare(number) {
  const { scores, labels, heatmaps } = block(`scores-${number}`);
  const values = scores.map((score) => score ?? Infinity);
  const cuts = [...new Set(values)].sort((a, b) => a - b);
  const at = new Map(cuts.map((value, index) => [value, index]));
  const below = [0, 1].map(() => new Array(cuts.length + 1).fill(0));
  values.forEach((value, i) => below[labels[i]][at.get(value) + 1]++);
  for (const counts of below) counts.forEach((_, i) => { if (i) counts[i] += counts[i - 1]; });
  const [good, defective] = below.map((counts) => counts[cuts.length]);
  const f1 = (k) => {
    const found = defective - below[1][k];
    return found ? (2 * found) / (found + good - below[0][k] + defective) : 0;
  };
  let best = cuts.length;
  for (let k = cuts.length; k >= 0; k--) if (f1(k) > f1(best)) best = k;
  return { values, labels, heatmaps, cuts, below, good, defective, best };
}

function verdict(index) {
  const flagged = state.values[index] >= (state.cuts[state.cut] ?? NaN);
  return state.labels[index] ? (flagged ? "found" : "miss") : (flagged ? "alarm" : "passed");
}

const picture = (encoded, attributes) => html("img", { alt: "", decoding: "async", src: `data:image/webp;base64,${encoded}`, ...attributes });

function panesOf(item, position) {
  const heat = state.heatmaps[position];
  const pane = (...content) => {
    const node = html("span", { class: "pane" }, ...content);
    node.style.aspectRatio = item.ratio;
    return node;
  };
  return [
    pane(...(item.image ? [picture(item.image)] : ["image not found"])),
    pane(...(item.mask ? [picture(item.mask, { class: "mask" })] : [state.labels[item.index] ? "no mask" : "no defect"])),
    pane(...(heat && item.image ? [picture(item.image)] : []), ...(heat ? [picture(heat, { class: item.image ? "heat" : "heat alone" })] : ["no heatmap"])),
  ];
}

function spaceFor(item) {
  const space = html("span", { class: "pane" });
  space.style.aspectRatio = item.ratio;
  return space;
}

// Pictures exist while they are near the window: a thousand cards cost no more than those in sight.
const near = new IntersectionObserver(
  (entries) => {
    for (const { target: card, isIntersecting } of entries) {
      card.firstElementChild.replaceChildren(...(isIntersecting ? panesOf(card.item, card.position) : [spaceFor(card.item)]));
    }
  },
  { rootMargin: "400px" },
);

function cardOf(item, position) {
  const panes = html("span", { class: "panes" }, spaceFor(item));
  const caption = html("span", { class: "caption" }, html("span", {}, item.name), html("span", { class: "state" }));
  const card = html("button", { type: "button", class: "card", tabindex: -1, "data-label": state.labels[item.index] }, panes, caption);
  return Object.assign(card, { item, position });
}

function showThreshold(cut) {
  state.cut = Math.min(Math.max(cut, 0), state.cuts.length);
  const { cuts, below, good, defective } = state;
  const [alarms, misses] = [good - below[0][state.cut], below[1][state.cut]];
  const share = (part, all) => (all ? ` (${((100 * part) / all).toFixed(1)} %)` : "");
  const slider = byId("threshold");
  slider.value = state.cut;
  slider.setAttribute("aria-valuetext", `${alarms} false alarms, ${misses} misses`);
  const value = cuts[state.cut];
  byId("threshold-score").value = Number.isFinite(value) ? value : "";
  const count = (kind, number, text) => html("span", { class: kind }, html("b", {}, String(number)), ` ${text}`);
  byId("counts").replaceChildren(
    count("alarm", alarms, `false alarms of ${good} good${share(alarms, good)}`),
    count("miss", misses, `misses of ${defective} defective${share(misses, defective)}`),
    html("span", {}, value === undefined ? "nothing is flagged" : `flagged: score ≥ ${short(value, 6)}`),
  );
  for (const card of byId("cards").children) {
    card.dataset.state = verdict(card.item.index);
    card.lastElementChild.lastElementChild.textContent = `${STATES[card.dataset.state]} · ${short(state.values[card.item.index])}`;
  }
  drawStrip();
}

// All scores in order, good ones low and defective ones high marks; the slider below has the same scale.
function drawStrip() {
  const canvas = byId("strip");
  const style = getComputedStyle(document.documentElement);
  const [width, height] = [Math.max(1, canvas.clientWidth), 26];
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const paint = canvas.getContext("2d");
  paint.scale(devicePixelRatio, devicePixelRatio);
  const step = (width - 16) / Math.max(1, state.cuts.length);
  state.cuts.forEach((_, k) => {
    const [good, defective] = state.below.map((counts) => counts[k + 1] - counts[k]);
    paint.globalAlpha = k >= state.cut ? 1 : 0.45;
    for (const [count, top, name] of [[good, 14, "--good"], [defective, 2, "--bad"]]) {
      paint.fillStyle = style.getPropertyValue(name);
      if (count) paint.fillRect(8 + k * step, top, Math.max(1, step - 0.5), 10);
    }
  });
  paint.globalAlpha = 1;
  paint.fillStyle = style.getPropertyValue("--text");
  paint.fillRect(8 + state.cut * step - 1, 0, 2, height);
}

function showOrder() {
  const order = byId("gallery-order").value;
  const by = (a, b) => order === "name"
    ? a.item.name.localeCompare(b.item.name, "en", { numeric: true })
    : (order === "descending" ? -1 : 1) * (state.values[a.item.index] > state.values[b.item.index] ? 1 : state.values[a.item.index] < state.values[b.item.index] ? -1 : 0);
  byId("cards").append(...[...byId("cards").children].sort(by));
  focusable(byId("cards").firstElementChild);
}

function focusable(card) {
  for (const other of byId("cards").querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  if (card) card.tabIndex = 0;
}

function showJob() {
  const number = Number(byId("gallery-model").value);
  const job = data.jobs[number];
  const images = block(`images-${job.images}`);
  Object.assign(state, prepare(number));
  near.disconnect();
  const cards = images.items.map(cardOf);
  byId("cards").replaceChildren(...cards);
  byId("threshold").max = state.cuts.length;
  const total = state.values.length;
  byId("gallery-note").textContent = `${cards.length === total ? "All" : `${cards.length} of`} ${total} test images, seed ${job.seed}: image, ground truth, heatmap. Marks above the slider are images by score: defective ones in the upper row, good ones in the lower. Arrow keys move between images, Enter enlarges.`;
  showThreshold(state.best);
  showOrder();
  cards.forEach((card) => near.observe(card));
}

function showPlace() {
  const before = byId("gallery-model").selectedOptions[0]?.textContent;
  const jobs = data.jobs.map((job, number) => [number, job]).filter(([, job]) => placeName(job) === byId("gallery-place").value);
  fill(byId("gallery-model"), jobs.map(([number, job]) => [number, data.groups[job.group].name]));
  const same = [...byId("gallery-model").options].find((option) => option.textContent === before);
  if (same) same.selected = true;
  showJob();
}

const visibleCards = () => [...byId("cards").children].filter((card) => card.offsetParent !== null);

function step(from, key) {
  const cards = visibleCards();
  const at = cards.indexOf(from);
  const columns = Math.max(1, cards.findIndex((card) => card.offsetTop > cards[0].offsetTop));
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: cards.length - 1 - at };
  return key in moves ? cards[Math.min(Math.max(at + moves[key], 0), cards.length - 1)] : null;
}

function enlarge(card) {
  state.large = card;
  byId("large-title").textContent = card.item.name;
  byId("large-text").textContent = `${STATES[card.dataset.state]}; score ${short(state.values[card.item.index], 6)}, ${card.dataset.label === "1" ? "defective" : "good"}; ${byId("gallery-model").selectedOptions[0].textContent}`;
  byId("large-panes").replaceChildren(...panesOf(card.item, card.position));
  if (!byId("large").open) byId("large").showModal();
}

if (byId("gallery")) {
  const cards = byId("cards");
  fill(byId("gallery-place"), places.map((place) => [place, place]));
  byId("gallery-place").addEventListener("input", showPlace);
  byId("gallery-model").addEventListener("input", showJob);
  byId("gallery-order").addEventListener("input", showOrder);
  byId("gallery-filter").addEventListener("input", (event) => {
    cards.dataset.filter = event.target.value;
    focusable(visibleCards()[0]);
  });
  byId("gallery-overlay").addEventListener("input", (event) => byId("gallery").classList.toggle("plain", !event.target.checked));
  byId("threshold").addEventListener("input", (event) => showThreshold(Number(event.target.value)));
  byId("threshold-best").addEventListener("click", () => showThreshold(state.best));
  byId("threshold-misses").addEventListener("click", () => showThreshold(state.below[1].lastIndexOf(0)));
  byId("threshold-alarms").addEventListener("click", () => showThreshold(state.below[0].indexOf(state.good)));
  byId("threshold-score").addEventListener("change", (event) => {
    const wanted = event.target.valueAsNumber;
    const cut = state.cuts.findIndex((value) => value >= wanted);
    if (!Number.isNaN(wanted)) showThreshold(cut < 0 ? state.cuts.length : cut);
  });
  cards.addEventListener("click", (event) => { const card = event.target.closest(".card"); if (card) enlarge(card); });
  cards.addEventListener("keydown", (event) => {
    const next = step(event.target.closest(".card"), event.key);
    if (!next) return;
    event.preventDefault();
    focusable(next);
    next.focus();
  });
  cards.addEventListener("focusin", (event) => focusable(event.target.closest(".card")));
  const turn = (key) => enlarge(step(state.large, key) ?? state.large);
  byId("large-previous").addEventListener("click", () => turn("ArrowLeft"));
  byId("large-next").addEventListener("click", () => turn("ArrowRight"));
  byId("large-close").addEventListener("click", () => byId("large").close());
  byId("large").addEventListener("keydown", (event) => { if (event.key === "ArrowLeft" || event.key === "ArrowRight") turn(event.key); });
  byId("large").addEventListener("close", () => { focusable(state.large); state.large.focus(); });
  document.addEventListener("theme", drawStrip);
  addEventListener("resize", drawStrip);
  showPlace();
}
