"use strict";

const MASK = "[MASK]";
const HISTORY_ROOM = 10;
const COMPOSING = 229; // keyCode of the Enter that ends a composition: in Safari isComposing is false by then
const WORDS = {
  zh: {
    lead: "写一句话，把要猜的字换成 [MASK]，看模型最可能填什么。",
    label: "句子",
    mask: "插入 [MASK]",
    ask: "填空",
    keys: "回车：填空；Alt+M：插入 [MASK]（选中的字会被换掉）；Shift+回车：换行。",
    key: "API 密钥",
    examples: "例句",
    history: "历史",
    forget: "清除历史",
    api: "接口说明（OpenAPI）",
    number: (n) => `第 ${n} 空`,
    facts: (variant, ms) => `${variant}，往返 ${ms} 毫秒`,
    unreachable: "服务器没有回应。",
    needsKey: "这台服务器需要 API 密钥，请在上面填写。",
    noMask: "句子里没有 [MASK]：请把要猜的字换成 [MASK]。",
    refused: { 413: "句子太长了。", 422: "句子太长，或者 [MASK] 太多了。", 503: "服务器正忙，请稍后再试。", 504: "服务器没有及时回答，请再试一次。" },
    kinds: ["诗词", "成语", "日常"],
    fill: (token) => `填入“${token}”`,
    other: "English",
  },
  en: {
    lead: "Write a Chinese sentence, put [MASK] for what is to be guessed, and see what the model would fill in.",
    label: "Sentence",
    mask: "Insert [MASK]",
    ask: "Fill in",
    keys: "Enter: fill in; Alt+M: insert [MASK] (in place of what is selected); Shift+Enter: new line.",
    key: "API key",
    examples: "Examples",
    history: "History",
    forget: "Clear history",
    api: "The API (OpenAPI)",
    number: (n) => `Blank ${n}`,
    facts: (variant, ms) => `${variant}, ${ms} ms there and back`,
    unreachable: "The server does not answer.",
    needsKey: "This server needs an API key: enter it above.",
    noMask: "The sentence has no [MASK]: put [MASK] for what is to be guessed.",
    refused: {},
    kinds: ["Poem", "Idiom", "Everyday"],
    fill: (token) => `Fill in “${token}”`,
    other: "中文",
  },
};
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
let shown = null; // the last answer: {text, masks, variant, ms, chosen}
let asked = 0;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function words() {
  return WORDS[language];
}

function percent(share) {
  return `${(share * 100).toFixed(share < 0.001 ? 3 : 1)} %`;
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = words()[element.dataset.word];
  }
  at("language").textContent = words().other;
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  at("examples").replaceChildren(...EXAMPLES.map((text, index) => {
    const button = make("button");
    button.type = "button";
    button.append(make("small", words().kinds[index]), text);
    button.addEventListener("click", () => take(text));
    return button;
  }));
  showAnswer();
  showHistory();
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

function showError(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

/** Show the sentence with the chosen tokens in its blanks. */
function showSentence() {
  const parts = shown.text.split(MASK);
  const filled = parts.flatMap((part, index) => {
    const choice = shown.masks[index]?.[shown.chosen[index]];
    return choice ? [part, make("mark", choice.token)] : [part];
  });
  at("sentence").replaceChildren(...filled);
  at("sentence").hidden = false;
}

function candidate(mask, index) {
  const entry = shown.masks[mask][index];
  const button = make("button", undefined, "candidate");
  button.type = "button";
  button.title = words().fill(entry.token);
  button.setAttribute("aria-pressed", shown.chosen[mask] === index);
  const bar = make("span", undefined, "bar");
  bar.append(make("i"));
  bar.firstChild.style.width = percent(entry.score).replace(" ", "");
  button.append(make("span", entry.token, "token"), bar, make("span", percent(entry.score), "share"));
  button.addEventListener("click", () => {
    shown.chosen[mask] = index;
    showSentence();
    const buttons = button.closest("ol").querySelectorAll("button");
    buttons.forEach((other, place) => other.setAttribute("aria-pressed", place === index));
  });
  return button;
}

function showAnswer() {
  at("masks").replaceChildren();
  at("sentence").hidden = at("facts").hidden = !shown;
  if (!shown) return;
  showSentence();
  at("masks").replaceChildren(...shown.masks.map((ranking, mask) => {
    const box = make("div", undefined, "mask");
    if (shown.masks.length > 1) box.append(make("h2", words().number(mask + 1)));
    const list = make("ol");
    ranking.forEach((_, index) => {
      const item = make("li");
      item.append(candidate(mask, index));
      list.append(item);
    });
    box.append(list);
    return box;
  }));
  at("facts").textContent = words().facts(shown.variant, shown.ms.toFixed(0));
}

function showHistory() {
  at("history-box").hidden = past.length === 0;
  at("history").replaceChildren(...past.map((entry) => {
    const item = make("li");
    const button = make("button", `${entry.text} → `);
    button.type = "button";
    button.append(make("b", entry.best.join(" ")));
    button.addEventListener("click", () => take(entry.text));
    item.append(button);
    return item;
  }));
}

function remember() {
  const best = shown.masks.map((ranking) => ranking[0].token);
  past = [{ text: shown.text, best }, ...past.filter((entry) => entry.text !== shown.text)];
  past = past.slice(0, HISTORY_ROOM);
  stored.set("history", past);
  showHistory();
}

async function ask() {
  const number = ++asked;
  const text = at("text").value;
  if (!text.includes(MASK)) {
    shown = null;
    at("answer").setAttribute("aria-busy", "false");
    showError(words().noMask);
    showAnswer();
    return;
  }
  const headers = { "Content-Type": "application/json" };
  if (PRINTABLE.test(at("key").value)) headers.Authorization = `Bearer ${at("key").value}`;
  at("answer").setAttribute("aria-busy", "true");
  const began = performance.now();
  let response, body;
  try {
    response = await fetch("predict", { method: "POST", headers, body: JSON.stringify({ text }) });
    body = await response.json();
  } catch {
    response = null;
  }
  const ms = performance.now() - began;
  if (number !== asked) return; // a newer question is under way
  at("answer").setAttribute("aria-busy", "false");
  if (response?.ok) {
    shown = { text, ms, masks: body.masks, variant: body.variant, chosen: body.masks.map(() => 0) };
    showError("");
    remember();
  } else {
    shown = null;
    const locked = response?.status === 401;
    const why = words().refused[response?.status] ?? body?.detail ?? words().unreachable;
    showError(locked ? words().needsKey : why);
    if (locked) at("key-row").hidden = false;
  }
  showAnswer();
  if (!at("key-row").hidden && response?.status === 401) at("key").focus();
}

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
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  stored.set("language", language);
  translate();
});
at("forget").addEventListener("click", () => {
  past = [];
  stored.set("history", past);
  showHistory();
  at("text").focus();
});
translate();
