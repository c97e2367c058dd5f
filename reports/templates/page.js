"use strict";
// What the page needs a script for.  Without one, every part can still be opened and read.

// A link to a place inside folded parts opens them.
function openPlace() {
  const name = location.hash.slice(1);
  let decoded = name;
  try {
    decoded = decodeURIComponent(name);
  } catch {
    // a percent sign typed by hand: the name as it is
  }
  const place = document.getElementById(name) ?? document.getElementById(decoded);
  if (!place) return;
  for (let part = place; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  place.scrollIntoView();
}
addEventListener("hashchange", openPlace);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.hash === location.hash) openPlace(); // the same place again: no hashchange
});
openPlace();

// One button opens every part of the evidence, or closes them.
const parts = [...document.querySelectorAll("details.part")];
const openAll = document.getElementById("open-all");
function nameButton() {
  const open = parts.every((part) => part.open);
  openAll.textContent = open ? openAll.dataset.close : openAll.dataset.open;
}
openAll.addEventListener("click", () => {
  const open = !parts.every((part) => part.open);
  for (const part of parts) part.open = open;
});
for (const part of parts) part.addEventListener("toggle", nameButton);
nameButton();
openAll.hidden = false;

// A button copies the text of a place; where a browser forbids that, the text is marked.
async function copy({ currentTarget: button }) {
  const place = document.getElementById(button.dataset.copies);
  const told = button.nextElementSibling;
  try {
    await navigator.clipboard.writeText(place.innerText);
    told.textContent = button.dataset.done;
  } catch {
    getSelection().selectAllChildren(place);
    told.textContent = button.dataset.failed;
  }
  setTimeout(() => { told.textContent = ""; }, 4000); // the next copy is news again
}
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", copy);
  button.parentElement.hidden = false;
}

// On paper everything is open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});

// A table that fits needs no scrolling of its own, so that its head can stay in the window.
const fitting = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const table = target.firstElementChild;
    if (!table.offsetWidth) continue; // folded away
    const fits = table.offsetWidth <= target.parentElement.clientWidth;
    target.classList.toggle("fits", fits);
    if (fits) target.removeAttribute("tabindex");
    else target.tabIndex = 0;
  }
});
for (const box of document.querySelectorAll(".scroll")) fitting.observe(box);

// Tables are sorted by the buttons in their heads; what has no value stays last.
function valueOf(row, place, isFigure) {
  const text = row.cells[place].firstChild?.textContent.trim() ?? "";
  if (!isFigure) return text;
  if (text.startsWith("∞")) return Infinity;
  const [figure] = text.match(/-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/) ?? [""]; // "¥2,800", "93 %"
  return parseFloat(figure.replaceAll(",", ""));
}
function compare(one, other) {
  if (typeof one === "string") {
    return one.localeCompare(other, document.documentElement.lang, { numeric: true });
  }
  return one === other ? 0 : one - other;
}
function sort(table, head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const isFigure = head.classList.contains("figure");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row, head.cellIndex, isFigure), row]);
  rows.sort(([one], [other]) => {
    const missing = Number.isNaN(one) - Number.isNaN(other);
    return missing || (Number.isNaN(one) ? 0 : compare(one, other) * (down ? -1 : 1));
  });
  body.append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll(".scroll > table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}
