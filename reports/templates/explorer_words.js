// Sentences: reports/text/phrases.py and reports/sections/answer.py
// in the reader's browser, with the same words.
{
  const { NONE, amount, fixed, percent, significant, span, threadsRatio, unrounded } = explorer;
  const EDGE = 0.95; // of what the instances are planned for
  const MOST_REASONS = 3;

  // The words of a language: `words` has its groups as the page holds them.
  function voice(words) {
    const fill = (text, values) =>
      text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
    const find = (key) => {
      const dot = key.indexOf(".");
      const group = words[key.slice(0, dot)];
      const name = key.slice(dot + 1);
      return group && Object.hasOwn(group, name) ? group[name] : null;
    };
    const say = (key, values = {}) => fill(find(key), values);
    const sayOr = (key, otherwise, values = {}) => {
      const text = find(key);
      return text === null ? otherwise : fill(text, values);
    };

    // --- phrases.py

    const count = (users) => say(users === 1 ? "count.one" : "count.many", { count: users });
    const join = (sentences) => sentences.join(words.join);

    function grouped(value) {
      const [whole, cents] = amount(value).split(".");
      return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (cents === "00" ? "" : `.${cents}`);
    }

    function ofCurrency(code, text) {
      const other = say("currency.other", { code, amount: text });
      return sayOr(`currency.${code}`, other, { amount: text });
    }

    const money = (currency, value) => ofCurrency(currency, grouped(value));
    const monthEnds = (currency, { low, high }) =>
      ofCurrency(currency, `${grouped(low)}–${grouped(high)}`);
    const monthRange = (currency, figure) =>
      figure.low === figure.high ? "" : say("answer.range", { ends: monthEnds(currency, figure) });

    const qpsRange = (figure) =>
      figure.low === figure.high ? "" : say("answer.range", { ends: span(figure) });
    const instances = (number) =>
      say(number === 1 ? "answer.instance" : "answer.instances", { count: number });

    function name({ variant, stack }) {
      if (stack === "reference") return variant;
      return say("answer.name_stack", { variant, stack: sayOr(`stack.${stack}`, stack) });
    }

    const origin = (price) =>
      sayOr(`origin.${price.kind}`, say(`kind.${price.kind}`), { source: price.source });

    const percentileName = (rank) => `P${rank}`;
    const objective = (rank, limit) =>
      say("answer.objective", { rank: percentileName(rank), limit: unrounded(limit) });
    const usersList = (users) =>
      users.length === 1 ? count(users[0]) : say("count.many", { count: users.join(", ") });

    // --- sections/answer.py

    function headline(found) {
      const { asked, leading } = found;
      const goal = objective(asked.rank, asked.limit);
      if (leading === null) return headlineWithout(found, goal);
      const told = {
        load: askedLoad(asked), objective: goal, offer: offer(found, leading),
      };
      if (found.status === "tie") return join([say("answer.tie", told), tie(found)]);
      if (found.status === "decided") return say("answer.decided", told);
      const first = say("answer.undecided", { reasons: reasons(found) });
      return join([first, say("answer.so_far", told)]);
    }

    const askedLoad = ({ load, stated }) =>
      stated.has("load") ? unrounded(load || 0) : significant(load || 0);

    function headlineWithout(found, goal) {
      const near = found.closest;
      const rank = found.asked.rank;
      const told = near && {
        name: name(near),
        rank: percentileName(rank),
        value: significant(near[`p${rank}`].value),
        users: count(near.users),
      };
      if (found.status === "nothing-holds") {
        return say("answer.nothing_holds", { objective: goal, ...told });
      }
      const key = found.status === "nothing" ? "answer.nothing" : "answer.undecided";
      const first = say(key, { reasons: reasons(found) });
      return told ? join([first, say("answer.closest", told)]) : first;
    }

    function offer(found, leading) {
      const every = [leading, ...found.tied];
      if (new Set(every.map((one) => one.instances.value)).size === 1) {
        return offered(found, leading, every);
      }
      return every.map((one) => offered(found, one, [one])).join(say("answer.or_offer"));
    }

    function offered(found, each, named) {
      const price = found.asked.price;
      const told = {
        instances: instances(each.instances.value),
        name: named.map(name).join(say("answer.or")),
      };
      if (price === null || each.monthly === null) return say("answer.offer_unpriced", told);
      return say("answer.offer", {
        ...told,
        machine: say("answer.machine", { machine: price.machine, vcpu: price.vcpu || NONE }),
        month: money(price.currency, each.monthly.value),
        range: monthRange(price.currency, each.monthly),
      });
    }

    function tie(found) {
      const mine = found.leading.percentile;
      const others = found.tied.map((each) => each.percentile).filter((each) => each !== null);
      if (mine === null || !others.length || mine >= Math.min(...others)) {
        return say("answer.close");
      }
      return say("answer.close_lower", {
        variant: name(found.leading),
        rank: percentileName(found.asked.rank),
        value: significant(mine),
        other: significant(Math.min(...others)),
      });
    }

    function reasons(found) {
      const told = found.reasons.map((each) => reason(each, found.asked.rank));
      const every = [...new Set(told)];
      const shown = every.length <= MOST_REASONS + 1 ? every : every.slice(0, MOST_REASONS);
      const more = every.length - shown.length;
      if (more) shown.push(say("answer.more", { count: more }));
      return shown.join(say("answer.because"));
    }

    function reason(each, rank) {
      const about = { rank: percentileName(rank), ...each };
      if ("stack" in each) about.name = name(each);
      if ("users" in each) about.users = usersList(each.users);
      if ("reasons" in each) about.reasons = each.reasons.join(words.list);
      for (const key of ["value", "high"]) if (key in each) about[key] = significant(each[key]);
      return say(`reason.${each.code}`, about);
    }

    // The lines of the card, each {key, label, text}; no question changes `cells`.
    function lines(found, facts, cells) {
      const { leading } = found;
      const told = [];
      const tell = (key, text) => told.push({ key, label: say(`line.${key}`), text });
      if (found.asked.without.size) tell("left", [...found.asked.without].join(words.list));
      if (leading !== null) {
        tell("sure", join(sure(found)));
        if (found.runnerUp) tell("runner_up", runnerUp(found));
        if (found.accelerator) tell("gpu", gpu(found.accelerator, facts));
        for (const text of cautions(found, facts)) tell("mind", text);
        tell("assumed", join(assumed(found, facts)));
        const settings = leading.capacity.point?.settings;
        if (settings) tell("settings", settings);
        const refused = new Map();
        for (const each of found.candidates) if (each.refusal) refused.set(each.variant, each);
        for (const { variant, refusal } of refused.values()) {
          tell("refused", say(`refused.${refusal}`, { variant }));
        }
      }
      tell("cells", cells);
      return told;
    }

    function sure(found) {
      const { leading, asked } = found;
      const { search, point, qps } = leading.capacity;
      const rank = percentileName(asked.rank);
      const sentences = [];
      const about = {
        name: name(leading), qps: significant(qps.value), qps_range: qpsRange(qps),
      };
      if (search !== null) {
        const mode = say(search.open ? "sure.open" : "sure.closed");
        sentences.push(say("sure.search", { repeats: search.repeats, mode, ...about }));
      } else {
        const latency = point[`p${asked.rank}`];
        const hasEnds = latency.low !== null && latency.high !== null;
        const ends = hasEnds ? latency : { low: latency.value, high: latency.value };
        sentences.push(
          say("sure.level", {
            users: count(point.users),
            rank,
            value: significant(latency.value),
            latency_range: qpsRange(ends),
            ...about,
          }),
        );
        if (latency.high !== null) {
          const margin = percent((1 - latency.high / asked.limit) * 100);
          sentences.push(say("sure.margin", { rank, margin }));
        }
      }
      sentences.push(...against(found));
      return sentences;
    }

    // --- sections/cautions.py

    // What may make the answer better or worse than it looks.
    function cautions(found, facts) {
      const { asked, notes } = found;
      const sentences = notes.map((note) =>
        say("sure.hope", {
          name: name(note), users: usersList(note.users), rank: percentileName(asked.rank),
          value: significant(note.value), high: significant(note.high),
        }),
      );
      const { price } = asked;
      const other = price !== null && price.kind !== "given"
        && facts.prices.find((each) => each.key && each !== price && each.name === price.name);
      if (other) {
        sentences.push(say("sure.another", { kind: origin(price), ...choice("--price", other) }));
      }
      const told = spread(found, facts);
      if (told.length) sentences.push(join(told));
      return sentences;
    }

    const choice = (option, other) => ({
      month: money(other.currency, other.monthly),
      other: origin(other),
      option: shell([option, other.key]),
    });

    // Why it may take another number of instances: each cause with what it alone does.
    function spread({ asked, leading }, facts) {
      if (asked.price === null) return [];
      const sentences = [];
      const { low, high } = explorer.byInterval(leading, asked, facts);
      if (low < high) {
        const count = say("answer.instances", { count: `${low}–${high}` });
        sentences.push(say("sure.spread", { instances: count }));
      }
      if (high < leading.instances.high) {
        sentences.push(say("sure.threads", { instances: instances(leading.instances.high) }));
      }
      return sentences;
    }

    function gpu(accelerator, facts) {
      const told = gpuPays(accelerator);
      const { price } = accelerator;
      if (price.kind === "given") return told;
      const other = facts.accelerated.find((each) => (
        each.key && each.currency === price.currency && each.cloud === price.cloud
        && each.accelerator === price.accelerator && each.kind !== price.kind
      ));
      return other ? join([told, say("gpu.another", choice("--gpu-price", other))]) : told;
    }

    function gpuPays({ price, upTo, measured, paysAbove }) {
      const told = {
        accelerator: price.accelerator,
        month: money(price.currency, price.monthly),
        kind: origin(price),
      };
      if (measured === null) return say("gpu.bound", { load: significant(upTo), ...told });
      Object.assign(told, { qps: significant(measured.value), range: qpsRange(measured) });
      if (paysAbove === null) return say("gpu.never", told);
      return say("gpu.pays", { load: significant(paysAbove), ...told });
    }

    // --- sections/answer.py

    function against(found) {
      const { tied, runnerUp: other, leading } = found;
      if (tied.length) {
        return [say("sure.overlap", { others: tied.map(name).join(say("answer.or")) })];
      }
      if (other === null) {
        const alone = found.asked.without.size ? "sure.alone_left" : "sure.alone";
        return found.reasons.length ? [] : [say(alone)];
      }
      const figure = other.capacity.qps;
      const isApart =
        leading.capacity.bounded && other.capacity.bounded && figure.high < leading.capacity.qps.low;
      if (!isApart) return [];
      const [low, high] = [significant(figure.low), significant(figure.high)];
      return [say("sure.apart", { other: name(other), low, high })];
    }

    function runnerUp(found) {
      const { leading, runnerUp: other, asked } = found;
      const told = { name: name(other), instances: instances(other.instances.value) };
      if (asked.price === null || other.monthly === null) return say("runner_up.unpriced", told);
      if (other.instances.value === leading.instances.value) {
        const qps = significant(leading.each.value - other.each.value);
        return say("runner_up.same", { qps, ...told });
      }
      return say("runner_up.dearer", {
        month: money(asked.price.currency, other.monthly.value),
        range: monthRange(asked.price.currency, other.monthly),
        ...told,
      });
    }

    // "about" where several instances are no multiple of its cents.
    function oneMonth({ currency, monthly }) {
      const month = money(currency, monthly);
      const isWhole = Number(amount(monthly)) === Number(fixed(monthly, 6));
      return isWhole ? month : say("assumed.about", { month });
    }

    function assumed(found, facts) {
      const { asked, leading } = found;
      const sentences = [];
      if (!asked.stated.has("slo")) {
        sentences.push(say("assumed.objective_default", { rank: percentileName(asked.rank) }));
      }
      const load = found.tied.length ? "load_tied" : "load_default";
      sentences.push(say(`assumed.${asked.stated.has("load") ? "load_given" : load}`));
      const share = asked.load / (leading.instances.value * leading.each.value);
      if (share >= EDGE) {
        const full = percent(Math.min(share, 1) * 100);
        const count = instances(leading.instances.value);
        sentences.push(say("assumed.edge", { share: full, instances: count }));
      }
      if (asked.price === null) return sentences;
      sentences.push(
        say("assumed.terms", {
          headroom: percent(asked.headroom * 100),
          instances: instances(asked.instances),
          month: oneMonth(asked.price),
          kind: say(`kind.${asked.price.kind}`),
          source: asked.price.source,
        }),
      );
      if (leading.perMillion !== null) {
        const { currency } = asked.price;
        sentences.push(
          say("assumed.million", {
            million: money(currency, leading.perMillion.value),
            range: monthRange(currency, leading.perMillion),
            utilisation: percent(asked.utilisation * 100),
          }),
        );
      }
      if (leading.capacity.bounded) {
        const widened = threadsRatio(asked.price, facts) !== 1;
        const key = widened ? "sure.intervals_widened" : "sure.intervals";
        sentences.push(say(key, { level: percent(facts.confidence) }));
      }
      return sentences;
    }

    return {
      count, headline, join, lines, money, monthEnds, monthRange, name, percentileName, qpsRange,
      reason, say, words,
    };
  }

  // Words for a POSIX shell, as Python's shlex.join quotes them.
  function shell(parts) {
    const quoted = (part) => {
      if (part && !/[^\w@%+=:,./-]/.test(part)) return part;
      return `'${part.replaceAll("'", `'"'"'`)}'`;
    };
    return parts.map(quoted).join(" ");
  }

  // The commands that run the answer.
  function commands(found, facts) {
    if (found.leading === null || found.leading.stack === "target") return [];
    const { variant, stack } = found.leading;
    const serve = ["tiankong", "serve", "--model", facts.model, "--variant", variant];
    if (stack !== "reference") return [shell([...serve, "--stack", stack])];
    return [
      shell(serve),
      shell(["tiankong", "bundle", variant, "deploy", "--model", facts.model]),
    ];
  }

  Object.assign(explorer, { commands, shell, voice });
}
