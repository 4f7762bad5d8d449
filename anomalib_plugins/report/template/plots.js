// Plots: one function draws axes, lines and marks; colours come from the style sheet, so that themes apply at once.
const WIDTH = 360;
const HEIGHT = 280;
const colour = (index) => `var(--c${index % 12})`;

function ticksOf(axis) {
  const [low, high] = axis.domain;
  if (axis.log) {
    const factors = high / low > 8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const powers = Array.from({ length: Math.ceil(Math.log10(high / low)) + 1 }, (_, i) => 10 ** (Math.floor(Math.log10(low)) + i));
    return powers.flatMap((power) => factors.map((factor) => factor * power)).filter((tick) => tick >= low && tick <= high);
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const count = Math.floor((high - low) / step + 1e-6);
  const first = Math.ceil(low / step - 1e-6) * step;
  return Array.from({ length: count + 1 }, (_, i) => Number((first + i * step).toFixed(10))).filter((tick) => tick <= high + 1e-9);
}

function scaleOf(axis, start, end) {
  const of = axis.log ? Math.log10 : (value) => value;
  const [low, high] = axis.domain.map(of);
  return (value) => start + ((of(value) - low) / (high - low)) * (end - start);
}

// series: [{name, index, ours, points: [[x, y], ...], mark, colour}]; a mark is one point with its name beside it.
function plot(title, x, y, series, width = WIDTH) {
  const [left, right, top, bottom] = [52, width - 12, 10, HEIGHT - 38];
  const [toX, toY] = [scaleOf(x, left, right), scaleOf(y, bottom, top)];
  const image = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${y.name} against ${x.name}` });
  for (const tick of ticksOf(x)) {
    image.append(svg("line", { class: "rule", x1: toX(tick), x2: toX(tick), y1: top, y2: bottom }));
    image.append(svg("text", { x: toX(tick), y: bottom + 15, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of ticksOf(y)) {
    image.append(svg("line", { class: "rule", x1: left, x2: right, y1: toY(tick), y2: toY(tick) }));
    image.append(svg("text", { x: left - 6, y: toY(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  image.append(svg("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }));
  image.append(svg("text", { x: (left + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, x.name));
  image.append(svg("text", { transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.name));
  const output = html("output", {}, " ");
  const say = (each, point) => { output.textContent = `${each.name}: ${x.name} ${short(point[0], 3)}, ${y.name} ${short(point[1], 3)}`; };
  const taken = [];
  for (const each of series) {
    const kind = each.ours ? "" : " theirs";
    if (each.mark) {
      const [px, py] = [toX(each.points[0][0]), toY(each.points[0][1])];
      const mark = svg("circle", { class: `mark${kind}`, cx: px, cy: py, r: 6, stroke: colour(each.index), tabindex: 0, "aria-label": each.name });
      if (each.ours) mark.setAttribute("fill", colour(each.index));
      for (const event of ["focus", "pointerenter"]) mark.addEventListener(event, () => say(each, each.points[0]));
      image.append(mark, nameBeside(each.name, px, py, right, top, bottom, taken));
    } else {
      const d = each.points.map(([a, b], i) => `${i ? "L" : "M"}${toX(a).toFixed(1)} ${toY(b).toFixed(1)}`).join("");
      image.append(svg("path", { class: `line${kind}`, d, stroke: each.colour ?? colour(each.index) }));
    }
  }
  followPointer(image, series.filter((each) => !each.mark), toX, toY, width, say);
  return html("figure", {}, html("figcaption", {}, title), image, output);
}

// A label to the right of its mark, or to the left where there is no room; below others that are in its way.
function nameBeside(name, px, py, right, top, bottom, taken) {
  const length = name.length * 6.6;
  const leftwards = px + 10 + length > right;
  const [from, to] = leftwards ? [px - 10 - length, px - 10] : [px + 10, px + 10 + length];
  const free = (y) => y > top && y < bottom && taken.every((box) => box.to < from || box.from > to || Math.abs(box.y - y) >= 13);
  const y = [0, 13, -13, 26, -26, 39, -39, 52, -52].map((shift) => py + 4 + shift).find(free) ?? py + 4;
  taken.push({ from, to, y });
  return svg("text", { class: "name", x: leftwards ? to : from, y, "text-anchor": leftwards ? "end" : "start" }, name);
}

function followPointer(image, lines, toX, toY, width, say) {
  const hit = svg("circle", { class: "hit", r: 4, visibility: "hidden" });
  image.append(hit);
  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    const [px, py] = [(event.clientX - box.left) * (width / box.width), (event.clientY - box.top) * (HEIGHT / box.height)];
    let best = null;
    for (const each of lines) {
      for (const point of each.points) {
        const distance = Math.hypot(toX(point[0]) - px, toY(point[1]) - py);
        if (!best || distance < best.distance) best = { distance, each, point };
      }
    }
    if (!best || best.distance > 40) return;
    for (const [name, value] of [["cx", toX(best.point[0])], ["cy", toY(best.point[1])], ["visibility", "visible"]]) hit.setAttribute(name, value);
    say(best.each, best.point);
  });
  image.addEventListener("pointerleave", () => hit.setAttribute("visibility", "hidden"));
}

// Models for which no other one is better at the same or a lower cost, cheapest first.
function frontOf(series) {
  const byCost = [...series].sort((a, b) => a.points[0][0] - b.points[0][0] || b.points[0][1] - a.points[0][1]);
  let best = -Infinity;
  return byCost.filter((each) => each.points[0][1] > best && ((best = each.points[0][1]), true));
}

function showSpeed() {
  const [dataset, metric, cost] = ["dataset", "metric", "cost"].map((name) => byId(`speed-${name}`).value);
  const series = data.means
    .filter((row) => row.dataset === dataset && row.metrics[metric] !== null && row.costs[cost] > 0)
    .map((row) => ({ ...data.groups[row.group], index: row.group, mark: true, points: [[row.costs[cost], row.metrics[metric]]] }));
  byId("speed-front").textContent = "";
  if (!series.length) {
    byId("speed-plot").replaceChildren(html("p", { class: "note" }, "No model has both numbers."));
    return;
  }
  const [xs, ys] = [0, 1].map((axis) => series.map((each) => each.points[0][axis]));
  const x = { name: data.costs[cost], log: true, domain: [Math.min(...xs) / 1.4, Math.max(...xs) * 1.4] };
  const margin = Math.max(0.02, (Math.max(...ys) - Math.min(...ys)) * 0.1);
  const y = { name: data.metrics[metric], domain: [Math.max(0, Math.min(...ys) - margin), Math.min(1.01, Math.max(...ys) + margin)] };
  const front = frontOf(series);
  const steps = front.flatMap(({ points: [[a, b]] }, i) => (i ? [[a, front[i - 1].points[0][1]], [a, b]] : [[a, b]]));
  const line = { name: "Front", ours: false, colour: "var(--soft)", points: steps };
  byId("speed-plot").replaceChildren(plot(`Mean over ${dataset || "all"} categories`, x, y, [line, ...series], 720));
  byId("speed-front").textContent = `On the front: ${front.map((each) => each.name).join(", ")}.`;
}

if (byId("speed-plot")) {
  fill(byId("speed-dataset"), [...new Set(data.means.map((row) => row.dataset))].map((name) => [name, name || "–"]));
  fill(byId("speed-metric"), Object.entries(data.metrics));
  fill(byId("speed-cost"), Object.entries(data.costs));
  for (const id of ["speed-dataset", "speed-metric", "speed-cost"]) byId(id).addEventListener("input", showSpeed);
  showSpeed();
}

const switchedOff = new Set();

function showCurves() {
  const jobs = data.jobs.filter((job) => placeName(job) === byId("curves-place").value);
  const level = byId("curves-level").value;
  const unit = { domain: [0, 1] };
  const seriesOf = (name) => jobs
    .filter((job) => job.curves[name] && !switchedOff.has(job.group))
    .map((job) => ({ ...data.groups[job.group], index: job.group, points: job.curves[name][0].map((x, i) => [x, job.curves[name][1][i]]) }));
  byId("curves-plots").replaceChildren(
    plot(`ROC, ${level}s`, { ...unit, name: "false positive rate" }, { ...unit, name: "true positive rate" }, seriesOf(`${level}_roc`)),
    plot(`Precision-recall, ${level}s`, { ...unit, name: "recall" }, { ...unit, name: "precision" }, seriesOf(`${level}_pr`)),
    plot("PRO", { domain: [0, 0.3], name: "false positive rate, pixels" }, { ...unit, name: "mean overlap" }, seriesOf("pro")),
  );
  byId("curves-legend").replaceChildren(...jobs.map((job) => {
    const group = data.groups[job.group];
    const line = svg("line", { class: `line${group.ours ? "" : " theirs"}`, x1: 0, x2: 26, y1: 4, y2: 4, stroke: colour(job.group) });
    const button = html("button", { type: "button", "aria-pressed": !switchedOff.has(job.group) }, svg("svg", { viewBox: "0 0 26 8", "aria-hidden": true }, line), group.name);
    button.addEventListener("click", () => {
      if (!switchedOff.delete(job.group)) switchedOff.add(job.group);
      const at = [...byId("curves-legend").children].indexOf(button);
      showCurves();
      byId("curves-legend").children[at].focus();
    });
    return button;
  }));
}

if (byId("curves-plots")) {
  fill(byId("curves-place"), places.map((place) => [place, place]));
  for (const id of ["curves-place", "curves-level"]) byId(id).addEventListener("input", showCurves);
  showCurves();
}
