"use strict";
// Sort, filter and review the cards of a quality page. What is chosen is kept by the browser until it is read.
const review = JSON.parse(document.getElementById("review").textContent);
const byId = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll("article")];
cards.forEach((card, order) => { card.dataset.order = order; });
const store = "braing3n-review-" + location.pathname;
const first = new Map(cards.map((card) => [card.id, read(card)]));

function read(card) {
  const why = card.querySelector(".why").value.replace(/\s+/g, " ").trim();
  return [card.id, card.querySelector(".decision").value, why];
}

function isNew(card) {
  return read(card).join("\t") !== first.get(card.id).join("\t");
}

function decide(card, decision, why) {
  card.querySelector(".decision").value = decision;
  card.querySelector(".why").value = why;
  card.dataset.decision = decision;
}

function remember() {
  try {
    localStorage.setItem(store, JSON.stringify(cards.filter(isNew).map(read)));
  } catch (error) { /* a browser may forbid it for files: then nothing outlives the page */ }
}

function recall() {
  try {
    for (const [id, decision, why] of JSON.parse(localStorage.getItem(store) || "[]")) {
      if (first.has(id)) decide(byId(id), decision, why);
    }
  } catch (error) { /* as above */ }
}

function sort() {
  const key = byId("sort").value;
  const name = key.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const number = (card) => (card.dataset[name] === "" ? -Infinity : Number(card.dataset[name]));
  const rules = {
    id: (one, other) => (one.id < other.id ? -1 : 1),
    order: (one, other) => number(one) - number(other),
  };
  cards.sort(rules[key] || ((one, other) => number(other) - number(one)));
  byId("cards").append(...cards);
}

function filter() {
  const [modality, which, text] = ["modality", "which", "find"].map((id) => byId(id).value);
  let n = 0;
  for (const card of cards) {
    const decided = card.dataset.decision !== "";
    const fits = {
      "": true, outlying: card.classList.contains("outlying"), decided: decided, undecided: !decided,
    }[which];
    const words = text === "" || (card.id + card.querySelector(".steps").textContent).includes(text);
    card.hidden = !(fits && words && (modality === "" || card.dataset.modality === modality));
    n += card.hidden ? 0 : 1;
  }
  byId("count").textContent = n + " of " + cards.length;
}

function newRows() {
  return cards.filter(isNew).map(read).filter((row) => row[1] !== "");
}

function toText(rows) {
  return rows.map((row) => row.join("\t") + "\n").join("");
}

function copy() {
  const rows = newRows();
  const box = document.createElement("textarea"); // navigator.clipboard is not there in pages of files
  box.value = toText(rows);
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
  byId("described").textContent = rows.length + " rows copied";
}

function download() {
  const changed = new Set(cards.filter(isNew).map((card) => card.id));
  const rows = review.rows.filter((row) => !changed.has(row[0])).concat(newRows());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toText([review.columns, ...rows])], { type: "text/tab-separated-values" }));
  link.download = "review.tsv";
  link.click();
  byId("described").textContent = rows.length + " rows in review.tsv";
}

byId("cards").addEventListener("input", (event) => {
  const card = event.target.closest("article");
  card.dataset.decision = card.querySelector(".decision").value;
  remember();
});
byId("sort").addEventListener("change", sort);
for (const id of ["modality", "which", "find"]) byId(id).addEventListener("input", filter);
byId("copy").addEventListener("click", copy);
byId("download").addEventListener("click", download);
recall();
filter();
