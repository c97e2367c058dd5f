import {
  MASK, compared, curlLine, hashOf, indented, milliseconds, percent, points, textOf, timings,
  withMasks,
} from "./page-text.js";
import { WORDS } from "./page-words.js";

const HISTORY_ROOM = 10;
const TOLD_MS = 2000; // how long a button says that it has copied
const COMPOSING = 229; // keyCode of the Enter that ends a composition: in Safari isComposing is false by then
const PRINTABLE = /^[\x21-\x7e]+$/; // the characters of a key: a header cannot carry others
const EXAMPLES = ["床前明月光,疑是地[MASK]霜。", "他做事总是半[MASK]而废。", "今天天气真[MASK]啊,适合出去玩。"];

const at = (id) => document.getElementById(id);

/** Browsers may refuse to store anything: then the page works without storage. */
const stored = {
  get(key, fallback) {
    try {
      return JSON.parse(localStorage.getItem(`tiankong.${key}`)) ?? fallback;
    } catch {
      return fallback;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`tiankong.${key}`, JSON.stringify(value));
    } catch { /* see above */ }
  },
};

let language = stored.get("language", navigator.language.startsWith("zh") ? "zh" : "en");
let past = stored.get("history", []);
if (!Array.isArray(past)) past = [];
let needsKey = null; // whether the server wants an API key; null: not known yet
let models = null; // of the server, the one that /predict asks first; null: not known yet
let shown = null; // what was asked, with an answer for each model so far: {text, answers, chosen}
let failed = null; // returns why there is no answer, in the language of the page
let asked = 0;

function words() {
  return WORDS[language] ?? WORDS.en;
}

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function button(text, onClick, className) {
  const element = make("button", text, className);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

/** Return a Chinese text: a reader of the page in English says it right too. */
function chinese(tag, text, className) {
  const element = make(tag, text, className);
  element.lang = "zh-CN";
  return element;
}

// ---- asking ----

async function request(path, body) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (PRINTABLE.test(at("key").value)) headers.Authorization = `Bearer ${at("key").value}`;
  const began = performance.now();
  let response = null; // nobody answered
  let answer = null; // not in JSON, so not by this server
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
    answer = await response.json();
  } catch { /* see above */ }
  return { response, answer, ms: performance.now() - began };
}

/** Return whether a key is wanted and missing, so that nothing can be asked yet. */
function isLocked() {
  return needsKey && !at("key").value;
}

/** Learn whether the server wants a key, and which models it has (none behind a proxy, perhaps). */
async function learn() {
  needsKey ??= (await request("page.json")).answer?.api_key ?? null;
  at("key-row").hidden = !needsKey;
  if (isLocked()) return;
  const { response, answer } = await request("v2");
  if (!response || response.status === 401) return;
  const names = Array.isArray(answer?.models) ? answer.models : [];
  const replies = await Promise.all(names.map((name) => request(`v2/models/${encodeURIComponent(name)}`)));
  models = replies.map((reply) => reply.answer).filter((model) => model?.name);
  showModels();
}

/** Return what is asked of a model: the first by the server's own route, others by the protocol's. */
function questionTo(place, text) {
  if (place === 0) return { path: "predict", body: { text } };
  const tensor = { name: "text", datatype: "BYTES", shape: [1], data: [text] };
  return { path: `v2/models/${encodeURIComponent(models[place].name)}/infer`, body: { inputs: [tensor] } };
}

/** Return a ranking for each blank from an answer of either route. */
function rankingsOf(answer) {
  if (answer.masks) return answer.masks;
  const { token, score } = Object.fromEntries(answer.outputs.map((output) => [output.name, output]));
  const [count, width] = token.shape;
  return Array.from({ length: count }, (_, row) =>
    Array.from({ length: width }, (_, column) => ({
      token: token.data[row * width + column],
      score: score.data[row * width + column],
    })));
}

async function askModel(place, text) {
  const { path, body } = questionTo(place, text);
  const { response, answer, ms } = await request(path, body);
  const variant = answer?.variant ?? answer?.model_name ?? models?.[place]?.name ?? "";
  if (!response?.ok || !answer) return { variant, problem: problemOf(response, answer) };
  const times = timings(response.headers.get("Server-Timing"));
  return { variant, path, body, answer, ms, times, masks: rankingsOf(answer) };
}

/** Return a function that says why there is no answer. */
function problemOf(response, answer) {
  if (!response) return () => words().unreachable;
  const { status } = response;
  if (!answer?.detail) return () => words().notOurs(status);
  if (status === 401 && at("key").value) return () => words().wrongKey;
  const values = {
    ...answer.values,
    retry: response.headers.get("Retry-After") ?? 1,
    deadline: models?.[0]?.parameters?.deadline,
    id: answer.request_id,
  };
  return () => words().problems[answer.code]?.(values) ?? words().refused(status, answer.detail);
}

/** Ask what the field has; ``quietly`` for what the page asks by itself. */
async function ask({ quietly = false, linked = false } = {}) {
  const number = ++asked;
  const text = withMasks(at("text").value);
  if (text !== at("text").value && !quietly) at("text").value = text;
  if (!text.includes(MASK)) {
    fail(() => words().problems.no_mask());
    return;
  }
  if (!quietly && !linked && textOf(location.hash) !== text) history.pushState(null, "", hashOf(text));
  at("answer").setAttribute("aria-busy", "true");
  if (!models) await learn();
  if (number !== asked) return; // a newer question is under way
  if (isLocked()) {
    // On opening the reader did nothing wrong yet: no error.
    fail(quietly || linked ? null : () => words().problems.no_api_key());
    return;
  }
  const first = await askModel(0, text);
  if (number !== asked) return;
  if (first.problem) {
    fail(first.problem);
    return;
  }
  failed = null;
  shown = { text, answers: [first], chosen: first.masks.map(([best]) => best.token) };
  at("answer").setAttribute("aria-busy", "false");
  if (!quietly) remember();
  showAnswer();
  at("status").textContent = words().best(shown.chosen);
  for (let place = 1; place < (models?.length ?? 0); place++) {
    const other = await askModel(place, text); // not at once: each would take cores from the other
    if (number !== asked) return;
    shown.answers.push(other);
    const chosen = document.activeElement?.dataset.token;
    showAnswer();
    if (chosen) at("masks").querySelector(`[data-token="${CSS.escape(chosen)}"]`)?.focus();
  }
}

function fail(problem) {
  shown = null;
  failed = problem;
  at("answer").setAttribute("aria-busy", "false");
  showAnswer();
  if (needsKey && (isLocked() || problem() === words().wrongKey)) at("key").focus();
}

function take(text) {
  at("text").value = text;
  ask();
}

function insertMask() {
  const field = at("text");
  field.setRangeText(MASK, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

// ---- showing ----

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = words().title;
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = words()[element.dataset.word];
  }
  at("language").textContent = words().other;
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  at("examples").replaceChildren(...EXAMPLES.map((text, index) => {
    const example = button(undefined, () => take(text));
    example.append(make("small", words().kinds[index]), chinese("span", text));
    return example;
  }));
  showModels();
  showAnswer();
  showHistory();
}

function showModels() {
  if (!models?.length) return;
  const [first, ...others] = models;
  const { name, parameters } = first.model ?? {};
  const parts = name ? [words().model(name, parameters)] : [];
  parts.push(words().variant(first), ...others.map(words().beside));
  at("models").replaceChildren(...parts.map((part) => make("span", part)));
}

function showAnswer() {
  at("error").textContent = failed?.() ?? "";
  at("error").hidden = !failed;
  at("sentence").hidden = at("share").hidden = !shown;
  at("by-hand").hidden = true;
  for (const id of ["masks", "facts", "calls"]) at(id).replaceChildren();
  if (!shown) {
    at("status").textContent = "";
    return;
  }
  showSentence();
  at("masks").replaceChildren(...shown.chosen.map((_, mask) => blank(mask)));
  at("facts").replaceChildren(...facts());
  at("calls").replaceChildren(...shown.answers.filter((answer) => answer.masks).flatMap(calls));
}

/** Show the sentence with the chosen tokens in its blanks. */
function showSentence() {
  const parts = shown.text.split(MASK).flatMap((part, mask) => {
    const choice = shown.chosen[mask];
    return choice === undefined ? [part] : [part, make("mark", choice)];
  });
  at("sentence").replaceChildren(...parts);
}

function blank(mask) {
  const box = make("div", undefined, "mask");
  if (shown.chosen.length > 1) box.append(make("h2", words().number(mask + 1)));
  const rankings = shown.answers.map((answer) => answer.masks?.[mask]);
  const differences = rankings[0] && rankings[1] ? compared(rankings[0], rankings[1]) : null;
  const columns = make("div", undefined, "columns");
  const count = Math.max(models?.length ?? 0, 1);
  for (let place = 0; place < count; place++) {
    const column = make("div", undefined, "column");
    if (count > 1) column.append(make("p", shown.answers[place]?.variant ?? models[place].name, "variant"));
    if (rankings[place]) column.append(listOf(rankings[place], place, mask, differences));
    else column.append(make("p", shown.answers[place]?.problem() ?? words().waiting, "hint"));
    columns.append(column);
  }
  box.append(columns);
  if (differences) box.append(make("p", verdict(rankings, differences), "verdict"));
  return box;
}

function listOf(ranking, place, mask, differences) {
  const list = make("ol");
  ranking.forEach((entry, rank) => {
    const item = make("li");
    item.append(candidate(entry, mask, differences && noteOf(differences, place, rank)));
    list.append(item);
  });
  return list;
}

/** Return what to say of a token that is elsewhere in the other list, and its gain. */
function noteOf(differences, place, rank) {
  const there = differences.places[place][rank];
  const gain = place === 1 ? differences.gains[rank] : null;
  return {
    moved: there === rank ? "" : there < 0 ? words().absent : words().elsewhere(there + 1),
    gain: gain === null ? "" : points(gain),
  };
}

function candidate({ token, score }, mask, note) {
  const pressable = button(undefined, () => {
    shown.chosen[mask] = token;
    showSentence();
    for (const other of pressable.closest(".mask").querySelectorAll(".candidate")) {
      other.setAttribute("aria-pressed", other.dataset.token === token);
    }
  }, "candidate");
  pressable.dataset.token = token;
  pressable.title = words().fill(token);
  pressable.setAttribute("aria-pressed", shown.chosen[mask] === token);
  const bar = make("span", undefined, "bar");
  bar.append(make("i"));
  bar.firstChild.style.width = `${score * 100}%`;
  pressable.append(chinese("span", token, "token"), bar, make("span", percent(score), "share"));
  if (note) {
    const line = make("span", undefined, "note");
    line.append(make("small", note.moved, "moved"), make("small", note.gain, "gain"));
    pressable.append(line);
  }
  return pressable;
}

function verdict([first, second], { places: [there], largest }) {
  const [a, b] = shown.answers;
  if (first[0].token !== second[0].token) {
    return words().flipped(
      { variant: a.variant, token: first[0].token }, { variant: b.variant, token: second[0].token },
    );
  }
  const which = there.every((place, rank) => place === rank) ? "same" : there.includes(-1) ? "differ" : "reordered";
  const gain = points(largest.gain); // the first choice is in both
  const [higher, lower] = largest.gain < 0 ? [a, b] : [b, a];
  const difference = gain === points(0) ? words().alike : words().largest(largest.token, higher.variant, lower.variant, gain.slice(1));
  return words()[which] + difference;
}

function facts() {
  const answered = shown.answers.filter((answer) => answer.masks);
  const lines = answered.map(({ variant, ms, times }) => {
    const [server, engine] = [times.total, times.engine].map((value) => value && milliseconds(value));
    return make("p", words().facts(variant, milliseconds(ms), server, engine));
  });
  return answered.length > 1 ? [...lines, make("p", words().noise)] : lines;
}

function calls({ variant, path, body, answer }) {
  const line = curlLine(new URL(path, location.href.split("#")[0]).href, body, needsKey);
  const name = shown.answers.length > 1 ? variant : "";
  return [[line, "curl"], [indented(answer), "JSON"]].map(([text, kind]) => {
    const box = make("div", undefined, "call");
    const what = words().sources(name, kind);
    const copier = button(words().copy, () => copy(text, copier));
    copier.dataset.word = "copy";
    copier.setAttribute("aria-label", words().copyWhat(what));
    box.append(make("p", what), copier, make("pre", text));
    return box;
  });
}

function showHistory() {
  at("history-box").hidden = past.length === 0;
  at("history").replaceChildren(...past.map((entry) => {
    const item = make("li");
    const again = button(undefined, () => take(entry.text));
    again.append(chinese("span", `${entry.text} → `), chinese("b", entry.best.join(" ")));
    item.append(again);
    return item;
  }));
}

function remember() {
  past = [{ text: shown.text, best: [...shown.chosen] }, ...past.filter((entry) => entry.text !== shown.text)];
  past = past.slice(0, HISTORY_ROOM);
  stored.set("history", past);
  showHistory();
}

// ---- copying ----

async function copy(text, copier) {
  const { word } = copier.dataset;
  let told = "copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch { // over plain http browsers have no clipboard
    if (!copyBySelection(text)) told = "copyByHand";
    else copier.focus();
  }
  copier.textContent = at("status").textContent = words()[told];
  setTimeout(() => { copier.textContent = words()[word]; }, TOLD_MS);
}

/** Copy the old way; if that fails too, leave the text selected for its reader to copy. */
function copyBySelection(text) {
  const field = at("by-hand");
  field.value = text;
  field.hidden = false;
  field.select();
  field.hidden = document.execCommand("copy");
  return field.hidden;
}

// ---- events ----

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("mask").addEventListener("click", insertMask);
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== COMPOSING) {
    event.preventDefault();
    ask();
  } else if (event.altKey && event.code === "KeyM") {
    event.preventDefault();
    insertMask();
  }
});
at("link").addEventListener("click", () => {
  copy(location.href.split("#")[0] + hashOf(shown.text), at("link"));
});
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  stored.set("language", language);
  translate();
});
at("forget").addEventListener("click", () => {
  past = [];
  stored.set("history", past);
  history.replaceState(null, "", location.pathname); // or loading it again would ask, and remember
  showHistory();
  at("text").focus();
});

/** Ask the sentence of the address, or else an example. */
function begin() {
  const linked = textOf(location.hash);
  at("text").value = linked ?? EXAMPLES[0];
  at("text").focus();
  if (linked === null) at("text").select(); // what is typed replaces the example
  ask(linked === null ? { quietly: true } : { linked: true });
}

window.addEventListener("popstate", begin);
translate();
begin();
