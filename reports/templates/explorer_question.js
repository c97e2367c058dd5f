// The reader's question: texts of the form and of the address, checked as
// reports/facts/question.py checks the options of `tiankong report`.
{
  const { percent, unrounded } = explorer;
  const FIELDS = ["slo", "load", "headroom", "utilisation", "instances", "price", "without"];
  const NUMBER = /^(\d+(\.\d*)?|\.\d+)$/;

  // The texts that stand for the page's own question.
  function usual(facts) {
    const asked = facts.question;
    const price = asked.price === null ? "" : facts.prices[asked.price].key;
    return {
      slo: `p${asked.rank}:${unrounded(asked.limit)}`,
      load: asked.load === null ? "" : unrounded(asked.load),
      headroom: unrounded(asked.headroom * 100),
      utilisation: unrounded(asked.utilisation * 100),
      instances: String(asked.instances),
      price: asked.own === null ? price : `${price}=${unrounded(asked.own)}`,
      without: asked.without.join(","),
    };
  }

  const number = (text) => (NUMBER.test(text.trim()) ? Number(text.trim()) : NaN);

  function parseSlo(text, facts) {
    const match = /^p(\d+)[:=](\d+(?:\.\d+)?)(ms|s)?$/i.exec(text.replaceAll(" ", ""));
    if (!match || !facts.ranks.includes(Number(match[1]))) return null;
    const limit = Number(match[2]) * (match[3]?.toLowerCase() === "s" ? 1000 : 1);
    return limit > 0 && Number.isFinite(limit) ? { rank: Number(match[1]), limit } : null;
  }

  // "ecs.c6.large=500" is that machine at a price of the reader's own.
  function parsePrice(text, facts) {
    const cut = text.lastIndexOf("=");
    const [key, own] = cut < 0 ? [text, null] : [text.slice(0, cut), text.slice(cut + 1)];
    const wanted = key.trim().toLowerCase();
    const price = facts.prices.find((each) => each.key.toLowerCase() === wanted)
      ?? facts.prices.find((each) => each.name.toLowerCase() === wanted);
    return { price: price ?? null, own };
  }

  function givenPrice({ price, own }, facts) {
    if (price === null || own === null) return price;
    return { ...price, kind: "given", monthly: number(own), source: facts.reader };
  }

  function usualPrice(facts) {
    const asked = facts.question;
    if (asked.price === null) return null;
    const price = facts.prices[asked.price];
    if (asked.own === null) return price;
    return { ...price, kind: "given", monthly: asked.own, source: facts.reader };
  }

  // The question that texts ask: {asked, wrong}.  `wrong` says by field what cannot be asked, each
  // [word, values]; where it has any, `asked` is not to be used.
  function question(texts, facts) {
    const base = facts.question;
    const own = usual(facts);
    const stated = new Set(base.stated);
    const wrong = {};
    const asked = {
      rank: base.rank, limit: base.limit, load: base.load, headroom: base.headroom,
      utilisation: base.utilisation, instances: base.instances, price: usualPrice(facts),
      without: new Set(), stated,
    };
    const isChanged = (field) => {
      if (texts[field] === own[field]) return false;
      stated.add(field);
      return true;
    };
    if (isChanged("slo")) {
      const goal = parseSlo(texts.slo, facts);
      if (goal) Object.assign(asked, goal);
      else wrong.slo = ["wrong_limit", { least: 0, like: unrounded(base.limit) }];
    }
    if (isChanged("load")) {
      if (texts.load.trim() === "") {
        asked.load = null;
        stated.delete("load");
      } else {
        asked.load = number(texts.load);
        if (!(asked.load <= facts.most)) wrong.load = ["wrong_load", { least: 0, most: facts.most }];
      }
    }
    const shares = [["headroom", 0, facts.most_headroom], ["utilisation", facts.least_utilisation, 1]];
    for (const [field, least, most] of shares) {
      if (!isChanged(field)) continue;
      asked[field] = number(texts[field].replace(/\s*%\s*$/, "")) / 100;
      if (asked[field] >= least && asked[field] <= most) continue;
      wrong[field] = ["wrong_share", { least: percent(least * 100), most: percent(most * 100) }];
    }
    if (isChanged("instances")) {
      const text = texts.instances.trim();
      asked.instances = /^\d+$/.test(text) ? Number(text) : NaN;
      if (!(asked.instances >= 1 && asked.instances <= facts.most_instances)) {
        wrong.instances = ["wrong_instances", { least: 1, most: facts.most_instances }];
      }
    }
    if (isChanged("price")) {
      const found = parsePrice(texts.price, facts);
      asked.price = givenPrice(found, facts);
      if (asked.price === null) wrong.price = ["wrong_price", { text: texts.price }];
      else if (!(asked.price.monthly > 0 && asked.price.monthly <= facts.most)) {
        wrong.own = ["wrong_own", { least: 0 }];
      }
    }
    if (isChanged("without") && !texts.without) stated.delete("without");
    if (texts.without) {
      asked.without = new Set(texts.without.split(","));
      const isLeft = facts.series.some((each) => !asked.without.has(each.variant));
      if (!isLeft) wrong.without = ["wrong_variants", {}];
    }
    const gpu = base.gpu_price;
    asked.gpuPrice = gpu !== null && gpu.currency === asked.price?.currency ? gpu : null;
    return { asked, wrong };
  }

  // --- The address: `#slo=p95:100&load=300` has what differs from the page's own question.

  function toHash(texts, facts) {
    const own = usual(facts);
    const parts = FIELDS.filter((field) => texts[field] !== own[field]).map((field) => {
      const text = encodeURIComponent(texts[field]).replace(/%(3A|3D|2F|2C|40)/g, decodeURIComponent);
      return `${field}=${text}`;
    });
    return parts.length ? `#${parts.join("&")}` : "";
  }

  // The texts of an address; null if its hash is a place on the page and no question.
  function fromHash(hash, facts) {
    const texts = usual(facts);
    let isQuestion = hash === "" || hash === "#";
    for (const part of hash.replace(/^#/, "").split("&")) {
      const cut = part.indexOf("=");
      const field = part.slice(0, cut);
      if (cut < 0 || !FIELDS.includes(field)) continue;
      isQuestion = true;
      texts[field] = decoded(part.slice(cut + 1));
    }
    const goal = parseSlo(texts.slo, facts); // "P95=0.1s" as the form has it: "p95:100"
    if (goal && !/^p\d+:[\d.]+$/.test(texts.slo)) texts.slo = `p${goal.rank}:${goal.limit}`;
    for (const field of ["headroom", "utilisation"]) texts[field] = texts[field].replace(/\s*%$/, "");
    return isQuestion ? texts : null;
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a percent sign typed by hand
    }
  }

  function priceText(text, facts) {
    const { price, own } = parsePrice(text, facts);
    return price.key + (own === null ? "" : `=${own.trim()}`);
  }

  // The command that makes the same page; `texts` are valid.
  function command(texts, facts) {
    const { asked } = question(texts, facts);
    const { files } = facts;
    const options = {
      slo: ["--slo", `p${asked.rank}=${asked.limit}ms`],
      load: ["--load", texts.load.trim()],
      headroom: ["--headroom", `${texts.headroom.replace(/\s*%\s*$/, "").trim()}%`],
      utilisation: ["--utilisation", `${texts.utilisation.replace(/\s*%\s*$/, "").trim()}%`],
      instances: ["--instances", texts.instances.trim()],
      price: ["--price", priceText(texts.price, facts)],
      gpu_price: ["--gpu-price", asked.gpuPrice?.key],
      without: ["--without", texts.without],
    };
    if (asked.gpuPrice === null) delete options.gpu_price;
    const chosen = Object.keys(options).filter((field) => asked.stated.has(field));
    return explorer.shell([
      "tiankong", "report", ...files.runs,
      ...(files.gpu ? ["--gpu", files.gpu] : []),
      ...(files.prices ? ["--prices", files.prices] : []),
      ...chosen.flatMap((field) => options[field]),
    ]);
  }

  Object.assign(explorer, { command, fromHash, parsePrice, parseSlo, question, toHash, usual });
}
