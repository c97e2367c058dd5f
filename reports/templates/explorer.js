// The explorer on the page: its form, the address, and what follows from a question.
{
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const facts = explorer.revived(data.facts);
  const voice = explorer.voice(data.words);
  const say = voice.say;
  const at = (name) => document.getElementById(`explorer-${name}`);
  const form = at("form");
  const TEXTS = ["load", "headroom", "utilisation", "instances"];
  let shown = null; // the last good answer

  // --- The form

  function option(value, text) {
    return new Option(text, value);
  }

  function priceText(price) {
    const told = {
      machine: price.machine, region: price.region, kind: say(`kind.${price.kind}`),
      month: voice.money(price.currency, price.monthly),
    };
    return say(price.region ? "explorer.option_region" : "explorer.option", told);
  }

  function furnish() {
    at("rank").append(...facts.ranks.map((rank) => option(rank, voice.percentileName(rank))));
    at("price").append(...facts.prices.map((price) => option(price.key, priceText(price))));
    if (!facts.prices.length) {
      at("price").append(option("", say("explorer.no_price")));
      at("price").disabled = at("own").disabled = true;
    }
    for (const name of new Set(facts.series.map((each) => each.variant))) {
      const box = Object.assign(document.createElement("input"), {
        type: "checkbox", name: "variant", value: name, checked: true,
      });
      const label = document.createElement("label");
      label.append(box, ` ${name}`);
      at("variants").append(label, " ");
    }
  }

  const boxes = () => [...form.querySelectorAll("[name=variant]")];

  // The texts in the form, as the address has them.
  function read() {
    const own = at("own").value.trim();
    const texts = {
      slo: `p${at("rank").value}:${at("limit").value.trim()}`,
      price: at("price").value + (own ? `=${own}` : ""),
      without: boxes().filter((box) => !box.checked).map((box) => box.value).join(","),
    };
    for (const name of TEXTS) texts[name] = at(name).value.trim();
    return texts;
  }

  function fill(texts) {
    const goal = /^p(\d+)[:=](.*)$/i.exec(texts.slo);
    if (goal) {
      at("rank").value = goal[1];
      at("limit").value = goal[2];
    } else {
      at("limit").value = texts.slo;
    }
    if (!at("rank").value) at("rank").value = facts.question.rank;
    for (const name of TEXTS) at(name).value = texts[name];
    const { price, own } = explorer.parsePrice(texts.price, facts);
    if (price) at("price").value = price.key;
    at("own").value = own ?? "";
    const without = texts.without.split(",");
    for (const box of boxes()) box.checked = !without.includes(box.value);
  }

  function complain(wrong) {
    const fields = ["load", "limit", "headroom", "utilisation", "instances", "own", "price", "without"];
    for (const field of fields) {
      const found = wrong[field === "limit" ? "slo" : field];
      const place = at(`${field}-wrong`);
      const text = found ? say(`explorer.${found[0]}`, found[1]) : "";
      if (place.textContent !== text) place.textContent = text;
      for (const control of form.querySelectorAll(`[aria-describedby~="${place.id}"]`)) {
        if (control.tagName === "FIELDSET") continue;
        if (text) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
      }
    }
  }

  // --- What follows from a question

  function put(place, text) {
    if (place.textContent !== text) place.textContent = text;
  }

  // A line for each command; a word of it is not broken at its dashes.
  function putCommands(place, commands) {
    const codes = commands.map((command) => {
      const code = document.createElement("code");
      command.split(" ").forEach((word, nth) => {
        const whole = Object.assign(document.createElement("span"), { textContent: word });
        code.append(nth ? " " : "", whole);
      });
      return code;
    });
    place.replaceChildren(...codes);
  }

  // A sentence's words; an option among them is not broken at its dashes.
  function whole(text) {
    return text.split(" ").flatMap((word, nth) => {
      const option = word.startsWith("--");
      const part = option ? Object.assign(document.createElement("span"), { className: "option", textContent: word }) : word;
      return nth ? [" ", part] : [part];
    });
  }

  function showCard(found) {
    const card = document.getElementById("answer");
    card.className = found.status;
    put(document.getElementById("answer-headline"), voice.headline(found));
    const items = voice.lines(found, facts, data.cells).map(({ key, label, text }) => {
      const item = document.createElement("div");
      item.dataset.line = key;
      item.append(document.createElement("dt"), document.createElement("dd"));
      item.firstChild.textContent = label;
      item.lastChild.append(...whole(text));
      return item;
    });
    document.getElementById("answer-lines").replaceChildren(...items);
    const commands = explorer.commands(found, facts);
    const place = document.getElementById("answer-command");
    place.parentElement.hidden = !commands.length;
    putCommands(place, commands);
  }

  function showTable(found) {
    const table = at("table").querySelector("table");
    const rank = voice.percentileName(found.asked.rank);
    const heads = [...table.tHead.rows[0].cells];
    for (const head of heads) head.removeAttribute("aria-sort");
    const head = heads[6];
    put(head.querySelector("button") ?? head, say("explored.percentile", { rank }));
    const rows = explorer.rows(voice, found, facts).map((entries) => {
      const row = document.createElement("tr");
      row.setAttribute("role", "row");
      entries.forEach(({ text, note, tone }, place) => {
        const cell = document.createElement(place ? "td" : "th");
        if (!place) cell.scope = "row";
        cell.setAttribute("role", place ? "cell" : "rowheader");
        cell.dataset.label = heads[place].textContent;
        const kinds = [place > 1 ? "figure" : "", tone].filter(Boolean).join(" ");
        if (kinds) cell.className = kinds;
        cell.append(text);
        if (note) {
          const small = document.createElement("small");
          small.textContent = note;
          cell.append(small);
        }
        row.append(cell);
      });
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
  }

  const canvas = document.createElement("canvas").getContext("2d");
  function widthOf(text) {
    canvas.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    return canvas.measureText(text).width + 2;
  }

  function showPlot(found) {
    const width = Math.max(300, Math.floor(at("plot").clientWidth));
    const show = at("show").value;
    const told = (sentence) => put(at("point"), sentence);
    const made = explorer.plot({ found, facts, show, voice, width, widthOf, told });
    at("plot").replaceChildren(made);
    const { price, rank } = found.asked;
    const title = price && say(`pareto.${show}`, { currency: price.currency });
    put(at("title"), title ?? say("pareto.title", { rank: voice.percentileName(rank) }));
    put(at("point"), "");
  }

  function showCommand(texts) {
    putCommands(at("command"), [explorer.command(texts, facts)]);
    const { price, load } = shown.asked;
    at("load").placeholder = load === null ? "" : say("explorer.load_usual", { load: explorer.significant(load) });
    const label = form.querySelector("label[for=explorer-own]");
    put(label, say("explorer.own", { currency: price ? price.currency : "" }));
  }

  // --- The address

  function carry(hash) {
    for (const link of document.querySelectorAll("header .language a")) {
      link.href = link.getAttribute("href").replace(/#.*$/, "") + hash;
    }
  }

  // What is computed from the question says so while it is of an earlier one.
  const COMPUTED = [
    "#answer-headline", "#answer .command", "#answer-lines", "#explorer-form .command",
    "#explorer-figure", "#explorer-table",
  ];
  function mark(isStale) {
    for (const part of document.querySelectorAll(COMPUTED)) part.classList.toggle("stale", isStale);
    const text = isStale ? say("explorer.stale") : "";
    put(document.getElementById("answer-stale"), text);
    put(at("stale"), text);
  }

  // Answers the texts; a question that cannot be asked leaves the last good answer, marked as such.
  function ask(texts) {
    const { asked, wrong } = explorer.question(texts, facts);
    const isWrong = Object.keys(wrong).length > 0;
    complain(wrong);
    mark(isWrong);
    if (isWrong) return false;
    shown = explorer.answer(asked, facts);
    showCard(shown);
    showTable(shown);
    showPlot(shown);
    showCommand(texts);
    carry(explorer.toHash(texts, facts));
    return true;
  }

  function remember(texts, isStep) {
    const hash = explorer.toHash(texts, facts);
    if (hash === location.hash) return;
    const address = hash || location.pathname + location.search;
    if (isStep) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  function open() {
    const texts = explorer.fromHash(location.hash, facts);
    if (texts === null) return shown !== null; // a place on the page
    fill(texts);
    return ask(texts);
  }

  async function copyLink() {
    let word = "copied";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      word = "not_copied";
    }
    put(at("copied"), say(`explorer.${word}`));
  }

  // --- Begin

  furnish();
  fill(explorer.usual(facts));
  form.hidden = at("figure").hidden = false;
  if (!open()) {
    shown = explorer.answer(explorer.question(explorer.usual(facts), facts).asked, facts);
    showPlot(shown);
    showCommand(explorer.usual(facts));
  }
  // Only from now on: what was there when the page opened is no news.
  document.getElementById("answer-headline").setAttribute("aria-live", "polite");

  let isTyping = false; // the first letter of a change makes a step of the history, the rest do not
  form.addEventListener("input", (event) => {
    if (event.target.readOnly) return;
    const texts = read();
    if (ask(texts)) {
      remember(texts, !isTyping);
      isTyping = true;
    }
  });
  form.addEventListener("change", () => { isTyping = false; });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    const texts = explorer.usual(facts);
    fill(texts);
    ask(texts);
    remember(texts, true);
  });
  at("copy").addEventListener("click", copyLink);
  at("show").addEventListener("change", () => showPlot(shown));
  addEventListener("hashchange", open);
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width) return;
    width = now;
    showPlot(shown);
  }).observe(at("plot"));
}
