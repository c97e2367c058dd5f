// The picture: the price of every measured level against its percentile, as inline SVG.
{
  const { perMillion, significant, times, unrounded } = explorer;
  const SPACE = { left: 62, right: 14, top: 26, bottom: 44 };
  const HEIGHT = 360;
  const SIZE = 12; // of text, in pixels
  const MARK = 5;
  const MOST_LABELS = 12;
  const MOST_STOPS = 60;

  // --- What is drawn: the price of a level with its range.  What a vCPU is widens all ranges by the
  // same factor, so it is left out here: the bars are what was measured.

  function priceOf(point, found, facts, show) {
    const { asked } = found;
    const { value, low, high } = point.qps;
    const qps = low === null || high === null ? { value, low: value, high: value } : point.qps;
    const each = times(qps, (asked.price.vcpu / facts.cores) * (1 - asked.headroom));
    const price = (carried) => {
      if (show === "million") return perMillion(asked.price.monthly, carried * asked.utilisation);
      return explorer.instances(asked.load, carried, asked.instances) * asked.price.monthly;
    };
    return { value: price(each.value), low: price(each.high), high: price(each.low) };
  }

  // The dots of a picture: one for each usable level whose percentile is known.
  function dots(found, facts, show) {
    const rank = `p${found.asked.rank}`;
    return found.candidates.flatMap((each) =>
      each.series.points
        .filter((point) => point.usable && point[rank] && Number.isFinite(point[rank].value))
        .map((point) => ({
          each, point, x: point[rank], y: priceOf(point, found, facts, show),
          isChosen: each === found.leading && each.capacity.point === point,
        })),
    );
  }

  // The dots that none of the recommendable ones beats in both, from left to right.
  function front(all) {
    const open = all.filter((dot) => !dot.each.refusal);
    open.sort((one, other) => one.x.value - other.x.value || one.y.value - other.y.value);
    let least = Infinity;
    return open.filter((dot) => {
      const isBetter = dot.y.value < least;
      if (isBetter) least = dot.y.value;
      return isBetter;
    });
  }

  // --- Scales

  function scale(values, from, to) {
    const low = Math.log10(Math.min(...values)) - 0.04;
    const high = Math.log10(Math.max(...values)) + 0.04;
    const span = Math.max(high - low, 0.2);
    const start = (low + high - span) / 2;
    const at = (value) => from + ((Math.log10(value) - start) / span) * (to - from);
    const ticks = [];
    for (let power = Math.floor(start); power <= start + span; power += 1) {
      for (const step of [1, 1.5, 2, 3, 5, 7]) {
        const value = Number(`${step}e${power}`);
        const place = Math.log10(value);
        if (place >= start && place <= start + span) ticks.push({ value, step, at: at(value) });
      }
    }
    return { at, ticks };
  }

  // The ticks that fit `least` pixels apart, the rounder ones first.
  function thinned(ticks, least) {
    const kept = [];
    for (const steps of [[1], [1, 2, 5], [1.5, 3, 7]]) {
      for (const tick of ticks) {
        if (!steps.includes(tick.step) || kept.includes(tick)) continue;
        if (kept.every((other) => Math.abs(other.at - tick.at) >= least)) kept.push(tick);
      }
    }
    return kept;
  }

  // --- Labels that touch nothing else

  const touches = (one, other) =>
    one.left < other.right && other.left < one.right && one.top < other.bottom &&
    other.top < one.bottom;

  function crosses({ left, right, top, bottom }, [x1, y1, x2, y2]) {
    // Liang and Barsky: the part of the segment inside the box.
    const [dx, dy] = [x2 - x1, y2 - y1];
    let [enter, leave] = [0, 1];
    const sides = [[-dx, x1 - left], [dx, right - x1], [-dy, y1 - top], [dy, bottom - y1]];
    for (const [slope, gap] of sides) {
      if (slope === 0) {
        if (gap < 0) return false;
      } else if (slope < 0) {
        enter = Math.max(enter, gap / slope);
      } else {
        leave = Math.min(leave, gap / slope);
      }
    }
    return enter <= leave;
  }

  // Where a label of this width may stand beside one of its dots; null if there is no room.
  function room(width, spots, frame, boxes, segments) {
    const height = SIZE + 2;
    for (const gap of [9, 16, 26]) {
      for (const { x, y } of spots) {
        const places = [
          [x + gap, y - height / 2], [x - gap - width, y - height / 2],
          [x - width / 2, y - gap - height], [x - width / 2, y + gap],
          [x + gap, y - gap - height], [x + gap, y + gap],
          [x - gap - width, y - gap - height], [x - gap - width, y + gap],
        ];
        for (const [left, top] of places) {
          const box = { left, top, right: left + width, bottom: top + height };
          const isInside = left >= frame.left && box.right <= frame.right &&
            top >= frame.top && box.bottom <= frame.bottom;
          if (!isInside || boxes.some((other) => touches(box, other))) continue;
          if (!segments.some((segment) => crosses(box, segment))) return box;
        }
      }
    }
    return null;
  }

  // --- SVG

  function element(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const steps = (spots) =>
    spots.map(({ x, y }, place) => (place ? `H${x}V${y}` : `M${x} ${y}`)).join("");

  function axis(ticks, frame, isX) {
    return ticks.flatMap(({ value, at }) => {
      const line = isX
        ? { x1: at, x2: at, y1: frame.top, y2: frame.bottom }
        : { x1: frame.left, x2: frame.right, y1: at, y2: at };
      const text = isX
        ? { x: at, y: frame.bottom + SIZE + 5, "text-anchor": "middle" }
        : { x: frame.left - 7, y: at + SIZE / 3, "text-anchor": "end" };
      return [
        element("line", { ...line, class: "grid" }),
        element("text", { ...text, class: "tick" }, unrounded(value)),
      ];
    });
  }

  function bars(dot, spot) {
    const found = [];
    if (spot.low.x !== spot.high.x) found.push([spot.low.x, spot.y, spot.high.x, spot.y]);
    if (spot.low.y !== spot.high.y) found.push([spot.x, spot.low.y, spot.x, spot.high.y]);
    return found;
  }

  // The picture of an answer as an SVG element, or a sentence why there is none.
  // `voice` has the words, `widthOf` measures a text in pixels, `told` is called with the sentence
  // of a dot that is pointed at.
  function plot({ found, facts, show, voice, width, widthOf, told }) {
    const { asked } = found;
    const rank = voice.percentileName(asked.rank);
    if (asked.price === null) return voice.say("pareto.unpriced");
    const isMonth = show === "month" && asked.load !== null;
    const all = dots(found, facts, isMonth ? "month" : "million");
    if (!all.length) return voice.say("pareto.none", { rank });
    const frame = {
      left: SPACE.left, right: width - SPACE.right, top: SPACE.top, bottom: HEIGHT - SPACE.bottom,
    };
    const ends = ({ value, low, high }) =>
      low === null || high === null ? [value, value] : [low, high];
    const xs = scale([...all.flatMap((dot) => ends(dot.x)), asked.limit], frame.left, frame.right);
    const ys = scale(all.flatMap((dot) => ends(dot.y)), frame.bottom, frame.top);
    for (const dot of all) {
      const [x, y] = [ends(dot.x).map(xs.at), ends(dot.y).map(ys.at)];
      dot.spot = {
        x: xs.at(dot.x.value), y: ys.at(dot.y.value),
        low: { x: x[0], y: y[0] }, high: { x: x[1], y: y[1] },
      };
    }
    const limit = xs.at(asked.limit);
    const best = front(all).map((dot) => dot.spot);
    const title = voice.say("pareto.title", { rank });
    const svg = element("svg", {
      viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "group",
      "aria-label": `${title}. ${voice.say("pareto.alt", { rank })}`,
    });
    svg.append(
      ...axis(thinned(xs.ticks, 44), frame, true),
      ...axis(thinned(ys.ticks, 24), frame, false),
      element("text", { x: (frame.left + frame.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" },
        voice.say("pareto.x", { rank })),
      element("line", { x1: limit, x2: limit, y1: frame.top, y2: frame.bottom, class: "limit" }),
      element("path", { d: steps(best), class: "front" }),
    );
    svg.append(...limitLabel(limit, frame, voice.say("pareto.objective", {
      limit: unrounded(asked.limit) }), widthOf));
    const groups = grouped(all);
    for (const { each, spots } of groups) {
      const line = spots.map(({ x, y }) => `${x},${y}`).join(" ");
      const dashes = each.series.dashes.map((part) => part * 1.5).join(" ");
      const dashed = dashes ? { "stroke-dasharray": dashes } : {};
      svg.append(element("polyline", { points: line, class: `series ${look(each)}`, ...dashed }));
    }
    const isSoft = (dot) => dot.each.series.look === "soft";
    const ordered = [...all.filter(isSoft), ...all.filter((dot) => !isSoft(dot))];
    for (const dot of ordered) {
      // Of very many the keyboard stops only at those that stand out.
      const stops = all.length <= MOST_STOPS || !isSoft(dot) || dot.isChosen;
      svg.append(drawn(dot, stops, { found, voice, told, rank, asked }));
    }
    svg.append(...labels(groups, { all, best, limit, frame, voice, widthOf }));
    return svg;
  }

  const look = (each) => `look-${each.series.look}${each.refusal ? " refused" : ""}`;

  function grouped(all) {
    const found = new Map();
    for (const { each, spot } of all) {
      if (!found.has(each)) found.set(each, { each, spots: [] });
      found.get(each).spots.push(spot);
    }
    // Those that stand out get their names first, and are drawn last.
    return [...found.values()].sort((one, other) => (other.each.series.look === "soft") - (one.each.series.look === "soft"));
  }

  function limitLabel(x, frame, text, widthOf) {
    const half = widthOf(text) / 2;
    const middle = Math.min(Math.max(x, frame.left + half), frame.right - half);
    const place = { x: middle, y: frame.top - 8, "text-anchor": "middle", class: "goal" };
    return [element("text", place, text)];
  }

  function drawn(dot, stops, { found, voice, told, rank, asked }) {
    const { each, point, spot } = dot;
    const range = (figure) =>
      figure.low === null || figure.high === null ? "" : voice.qpsRange(figure);
    const sentence = voice.say("pareto.point", {
      name: voice.name(each), users: voice.count(point.users), rank,
      value: significant(dot.x.value), latency_range: range(dot.x),
      price: voice.money(asked.price.currency, dot.y.value),
      price_range: voice.monthRange(asked.price.currency, dot.y),
    }) + (each.refusal ? voice.say("answer.because") + voice.say("pareto.refused") : "")
      + (dot.isChosen ? voice.say("answer.because") + voice.say("pareto.chosen") : "");
    const group = element(
      "g", { class: `dot ${look(each)}`, tabindex: stops ? 0 : -1, role: "img", "aria-label": sentence },
      element("title", {}, sentence),
      ...bars(dot, spot).map(([x1, y1, x2, y2]) => element("line", { x1, y1, x2, y2 })),
      element("circle", { cx: spot.x, cy: spot.y, r: 12, class: "reach" }),
      ...(dot.isChosen ? [element("circle", { cx: spot.x, cy: spot.y, r: 10, class: "chosen" })] : []),
      element("circle", { cx: spot.x, cy: spot.y, r: MARK }),
    );
    for (const event of ["focus", "pointerenter"]) group.addEventListener(event, () => told(sentence));
    return group;
  }

  function labels(groups, { all, best, limit, frame, voice, widthOf }) {
    const boxes = all.map(({ spot, isChosen }) => {
      const half = (isChosen ? 10 : MARK) + 2;
      return { left: spot.x - half, right: spot.x + half, top: spot.y - half, bottom: spot.y + half };
    });
    const segments = [[limit, frame.top, limit, frame.bottom]];
    for (const { spots } of groups) segments.push(...joined(spots));
    for (let place = 1; place < best.length; place += 1) {
      const [one, other] = [best[place - 1], best[place]];
      segments.push([one.x, one.y, other.x, one.y], [other.x, one.y, other.x, other.y]);
    }
    for (const dot of all) segments.push(...bars(dot, dot.spot));
    const made = [];
    for (const { each, spots } of [...groups].reverse()) {
      if (made.length === MOST_LABELS) break;
      const text = voice.name(each);
      const width = widthOf(text);
      const box = room(width, [...spots].reverse(), frame, boxes, segments);
      if (box === null) continue; // the dots tell their names themselves
      boxes.push(box);
      const place = { x: box.left, y: box.bottom - 4, class: `name ${look(each)}` };
      made.push(element("text", place, text));
    }
    return made;
  }

  function joined(spots) {
    return spots.slice(1).map((spot, place) => [spots[place].x, spots[place].y, spot.x, spot.y]);
  }

  Object.assign(explorer, { dots, front, plot });
}
