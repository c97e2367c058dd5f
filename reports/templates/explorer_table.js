// The table of candidates: reports/sections/explorer.py in the reader's browser.
{
  const { NONE, breakEven, closest, significant, span } = explorer;

  // The rows of the table, each a list of {text, note, tone}.
  function rows(voice, found, facts) {
    const { count, money, monthEnds, name, percentileName, reason, say, words } = voice;

    function row(each, found, facts) {
      const entry = (text, note = "", tone = "") => ({ text, note, tone });
      const { asked } = found;
      const none = entry(NONE, "", "muted");
      const start = [entry(name(each)), standing(each, found, facts)];
      if (each.instances === null) return [...start, none, none, none, none, near(each, asked), none];
      const { low, high } = each.instances;
      const price = asked.price;
      const paid = (figure) => {
        if (figure === null || price === null) return none;
        const ends = figure.low === figure.high ? "" : monthEnds(price.currency, figure);
        return entry(money(price.currency, figure.value), ends);
      };
      return [
        ...start,
        entry(String(each.instances.value), low === high ? "" : `${low}–${high}`),
        paid(each.monthly),
        paid(each.perMillion),
        carried(each.capacity),
        each.capacity.point ? latency(each.capacity.point, asked.rank, "") : none,
        dearer(each, found),
      ];
    }

    function standing(each, found, facts) {
      const notes = each.gaps.map((gap) => reason(gap, found.asked.rank));
      const entry = (key, tone) => ({
        text: say(`standing.${key}`, { rank: percentileName(found.asked.rank) }),
        note: notes.join(say("answer.because")),
        tone,
      });
      if (each.refusal) {
        const row = facts.variants.find((one) => one.name === each.variant);
        notes.push(...(each.refusal === "gate-failed" ? row.reasons : []));
        return entry(each.refusal, "bad");
      }
      if (each.capacity === null) {
        const isKnown = closest(each.series.points, found.asked.rank) !== null;
        return entry(isKnown ? "breaks" : "unknown", "muted");
      }
      if (each === found.leading) {
        if (found.tied.length) return entry("tied_first", "good");
        return entry(found.status === "decided" ? "recommended" : "leading", "good");
      }
      if (found.tied.includes(each)) return entry("tied", "good");
      return entry(each === found.runnerUp ? "runner_up" : "less", "");
    }

    function carried({ qps, bounded, search, point }) {
      const where = search
        ? say("explorer.by_search", { repeats: search.repeats })
        : say("explorer.at_level", { users: count(point.users) });
      const note = bounded ? [span(qps), where].join(words.list) : where;
      return { text: significant(qps.value), note, tone: "" };
    }

    function latency(point, rank, tone) {
      const found = point[`p${rank}`];
      const hasEnds = found.low !== null && found.high !== null;
      return { text: significant(found.value), note: hasEnds ? span(found) : "", tone };
    }

    // Of a series that does not keep the objective: its lowest percentile.
    function near(each, { rank }) {
      const point = each.refusal ? null : closest(each.series.points, rank);
      if (point === null) return { text: NONE, note: "", tone: "muted" };
      const { text, note } = latency(point, rank, "");
      const where = say("explorer.at_level", { users: count(point.users) });
      return { text, note: note ? [note, where].join(words.list) : where, tone: "muted" };
    }

    function dearer(each, { leading, asked }) {
      const offer = (one) => ({ monthly: asked.price.monthly, each: one.each.value });
      const isOther = each !== leading && leading !== null && asked.price !== null;
      const load = isOther ? breakEven(offer(each), offer(leading), asked.instances) : null;
      if (load === null) return { text: NONE, note: "", tone: "muted" };
      return { text: significant(load), note: "", tone: "" };
    }

    return found.candidates.map((each) => row(each, found, facts));
  }

  Object.assign(explorer, { rows });
}
