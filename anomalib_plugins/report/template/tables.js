// Sorting: a button in every header; numbers from data-value, best first; what is missing stays last.
function sortBy(table, column, header) {
  const numeric = header.classList.contains("number");
  const before = header.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  const sign = descending ? -1 : 1;
  const key = (row) => {
    const cell = row.cells[column];
    return numeric ? (cell.dataset.value === "" ? null : Number(cell.dataset.value)) : cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return sign * (numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true }));
  };
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row) }));
  table.tBodies[0].append(...rows.sort(compare).map((each) => each.row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = html("button", { type: "button" }, header.textContent);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.replaceChildren(button);
  });
}

function showCategories() {
  const table = byId("categories-table");
  const metric = byId("categories-metric").value;
  const words = byId("categories-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const published = byId("categories-paper").checked;
  for (const cell of table.querySelectorAll("[data-metric]")) cell.hidden = cell.dataset.metric !== metric;
  for (const row of table.tBodies[0].rows) {
    const text = [...row.cells].filter((cell) => !cell.dataset.metric).map((cell) => cell.textContent).join(" ").toLowerCase();
    const paper = row.querySelectorAll(`[data-metric="${CSS.escape(metric)}"]`)[1];
    row.hidden = !words.every((word) => text.includes(word)) || (published && paper.dataset.value === "");
  }
}
for (const id of ["categories-metric", "categories-filter", "categories-paper"]) {
  byId(id).addEventListener("input", showCategories);
}
showCategories();
