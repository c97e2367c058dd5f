// The cost model and the answer: reports/facts/{question,capacity,costs,answer}.py, in the reader's
// browser.  tests/reports/test_explorer.py holds the two to each other.
//
// `facts` is what reports/facts/exploration.py makes (see `revived`); ranges are {value, low, high}.
// A question is {rank, limit, load (null: what one instance of the best carries), headroom,
// utilisation, instances, price (null: none fits), gpuPrice (null: a comparable one), stated: Set,
// without: Set of variants}.
{
  const SECONDS_PER_MONTH = 730 * 3600;
  const ROUNDING = 1e-9;
  const FARTHEST = 10000;
  const YARDSTICK = "article";

  const range = (value, low, high) => ({ value, low, high });
  const times = (figure, factor) =>
    range(figure.value * factor, figure.low * factor, figure.high * factor);
  const overlaps = (one, other) => one.low <= other.high && other.low <= one.high;
  const number = (value) => (value === "infinite" ? Infinity : value);
  const estimate = (parts) => (parts === null ? null : range(...parts.map(number)));

  function revivedPoint(point, ranks) {
    const found = { ...point, qps: estimate(point.qps) };
    for (const rank of ranks) found[`p${rank}`] = estimate(point[`p${rank}`]);
    return found;
  }

  // Facts as the page holds them, with infinities and with ranges instead of lists.
  function revived(data) {
    const series = data.series.map((each) => ({
      ...each,
      points: each.points.map((point) => ({
        ...revivedPoint(point, data.ranks), variant: each.variant, stack: each.stack,
      })),
      searches: each.searches.map((search) => ({ ...search, qps: estimate(search.qps) })),
    }));
    const gpu = data.gpu.map((point) => revivedPoint(point, data.ranks));
    return { ...data, series, gpu };
  }

  // --- costs.py

  function threadsRatio(price, facts) {
    if (price.threads_per_core === null) return 1;
    return (facts.threads_per_core || 1) / price.threads_per_core;
  }

  function instanceCapacity(measured, price, facts) {
    if (price === null) return measured;
    const scale = price.vcpu / facts.cores;
    const ratio = threadsRatio(price, facts);
    return range(
      measured.value * scale,
      measured.low * scale * Math.min(1, ratio),
      measured.high * scale * Math.max(1, ratio),
    );
  }

  function instances(load, each, least) {
    return load <= 0 ? least : Math.max(least, Math.ceil((load / each) * (1 - ROUNDING)));
  }

  const perMillion = (monthly, qps) => (monthly / (qps * SECONDS_PER_MONTH)) * 1e6;

  const month = (offer, load, least) => instances(load, offer.each, least) * offer.monthly;

  // The load above which `other` first costs less than `one`; null if it never does.
  function breakEven(one, other, least) {
    if (month(other, 0, least) < month(one, 0, least)) return 0;
    for (let count = least; count < FARTHEST; count += 1) {
      const load = count * one.each;
      const above = load * (1 + 2 * ROUNDING);
      if (month(other, above, least) < month(one, above, least)) return load;
    }
    return null;
  }

  function boundWithoutSpeed(one, monthly, least) {
    const affordable = Math.floor(((monthly * least) / one.monthly) * (1 + ROUNDING));
    return affordable >= least ? affordable * one.each : 0;
  }

  function accelerated(price, facts) {
    const same = facts.accelerated.filter(
      (other) => other.cloud === price.cloud && other.currency === price.currency,
    );
    const ofKind = same.filter((other) => other.kind === price.kind);
    if (ofKind.length) return ofKind[0];
    return (price.kind === "given" && same[0]) || null;
  }

  // --- capacity.py

  const keeps = (point, asked) => {
    const found = point[`p${asked.rank}`];
    return point.usable && found !== null && found.value <= asked.limit;
  };
  const bound = (point, asked) => point[`p${asked.rank}`]?.high ?? null;
  const surelyKeeps = (point, asked) =>
    keeps(point, asked) && bound(point, asked) !== null && bound(point, asked) <= asked.limit;

  function highest(points, asked) {
    const key = (point) => [point.qps.value, -(point[`p${asked.rank}`]?.value ?? Infinity)];
    return first(points, (one, other) => order(key(other), key(one)));
  }

  function capacityAt(point, asked) {
    const { value, low, high } = point.qps;
    const hasEnds = low !== null && high !== null;
    const qps = hasEnds ? point.qps : range(value, value, value);
    return { qps, bounded: hasEnds && bound(point, asked) !== null, point, search: null };
  }

  function capacity(series, asked) {
    for (const search of series.searches) {
      if (search.rank === asked.rank && search.limit === asked.limit) {
        return { qps: search.qps, bounded: true, point: null, search };
      }
    }
    const sure = series.points.filter((point) => surelyKeeps(point, asked));
    if (sure.length) return capacityAt(highest(sure, asked), asked);
    const once = series.points.filter(
      (point) => keeps(point, asked) && bound(point, asked) === null,
    );
    return once.length ? capacityAt(highest(once, asked), asked) : null;
  }

  // --- answer.py

  // Python's order of tuples.
  function order(one, other) {
    for (let place = 0; place < one.length; place += 1) {
      if (one[place] < other[place]) return -1;
      if (one[place] > other[place]) return 1;
    }
    return 0;
  }

  // The first of the least, as Python's min has it.
  function first(items, compare) {
    return items.reduce((best, each) => (compare(each, best) < 0 ? each : best));
  }

  function narrowed(facts, without) {
    if (!without || !without.size) return facts;
    return {
      ...facts,
      series: facts.series.filter((each) => !without.has(each.variant)),
      variants: facts.variants.filter((each) => !without.has(each.name)),
    };
  }

  function gaps(series, rank) {
    if (series.stack === YARDSTICK) return [];
    const { variant, stack, levels } = series;
    const there = new Map(series.points.map((point) => [point.users, point]));
    const usable = levels.map((users) => there.get(users)).filter((point) => point?.usable);
    const few = usable.filter((point) => point[`p${rank}`] === null);
    const found = [
      { code: "missing", users: levels.filter((users) => !there.has(users)) },
      { code: "invalid", users: levels.filter((users) => there.get(users)?.usable === false) },
      {
        code: "too-few",
        users: few.map((point) => point.users),
        qps: Math.max(...few.map((point) => point.qps.high || point.qps.value)),
      },
    ];
    return found.filter(({ users }) => users.length).map((gap) => ({ variant, stack, ...gap }));
  }

  function candidate(series, asked, facts) {
    const row = facts.variants.find((each) => each.name === series.variant);
    const refusal = row ? row.refusal : "no-gate";
    const made = {
      series, variant: series.variant, stack: series.stack, refusal,
      capacity: null, percentile: null, gaps: [],
      each: null, instances: null, monthly: null, perMillion: null,
    };
    if (refusal) return made;
    made.capacity = capacity(series, asked);
    if (made.capacity?.point) made.percentile = made.capacity.point[`p${asked.rank}`].value;
    if (!made.capacity?.search) made.gaps = gaps(series, asked.rank);
    return made;
  }

  // A number rounded down to three significant digits.
  function floor(value) {
    const step = Number(`1e${Math.floor(Math.log10(value)) - 2}`);
    return Number((Math.floor((value / step) * (1 + 1e-12)) * step).toPrecision(6));
  }

  function withLoad(asked, able, facts) {
    if (asked.load !== null || !able.length) return asked;
    const best = able.reduce((one, other) => (
      other.capacity.qps.value > one.capacity.qps.value ? other : one
    ));
    const level = able.filter((each) => each === best || isTied(best.capacity, each.capacity));
    const least = Math.min(...level.map((each) => each.capacity.qps.value));
    const onPrice = instanceCapacity(range(least, least, least), asked.price, facts).value;
    return { ...asked, load: floor(onPrice * (1 - asked.headroom)) };
  }

  function priced(each, asked, facts) {
    if (each.capacity === null || asked.load === null) return each;
    const plan = times(instanceCapacity(each.capacity.qps, asked.price, facts), 1 - asked.headroom);
    const count = (carried) => instances(asked.load, carried, asked.instances);
    const counts = range(count(plan.value), count(plan.high), count(plan.low));
    const found = { ...each, each: plan, instances: counts };
    if (asked.price === null) return found;
    found.monthly = times(counts, asked.price.monthly);
    const served = asked.load * asked.utilisation;
    if (served > 0) {
      const million = (monthly) => perMillion(monthly, served);
      const { value, low, high } = found.monthly;
      found.perMillion = range(million(value), million(low), million(high));
    }
    return found;
  }

  // The instances that the interval of the measurement alone gives.
  function byInterval({ capacity: { qps } }, asked, facts) {
    const price = asked.price && { ...asked.price, threads_per_core: null };
    const plan = times(instanceCapacity(qps, price, facts), 1 - asked.headroom);
    const count = (carried) => instances(asked.load, carried, asked.instances);
    return range(count(plan.value), count(plan.high), count(plan.low));
  }

  function place(each) {
    if (each.capacity === null || each.instances === null) {
      return [each.refusal ? 2 : 1, 0, 0, each.variant, each.stack];
    }
    return [0, each.instances.value, -each.capacity.qps.value, each.variant, each.stack];
  }

  function percentileKey(each) {
    return [each.percentile ?? Infinity, each.capacity ? -each.capacity.qps.value : 0];
  }

  function isTied(one, other) {
    return one.bounded && other.bounded && overlaps(one.qps, other.qps);
  }

  const unsure = (point, asked) => ({
    code: "unsure", variant: point.variant, stack: point.stack, users: [point.users],
    value: point[`p${asked.rank}`].value, high: point[`p${asked.rank}`].high,
  });

  const cut = ({ planned, measured }) =>
    measured < planned ? [{ code: "cut", measured, planned }] : [];

  // Why the leading candidate's capacity has no interval.
  function unbounded({ variant, stack, capacity: { point } }) {
    if (point === null || point.repeats === 1) return { code: "once", variant };
    return { code: "no-interval", variant, stack, users: [point.users] };
  }

  function reasons(leading, candidates, facts) {
    const { bounded, qps } = leading.capacity;
    const open = bounded ? [] : [unbounded(leading)];
    // A level with fewer requests a second decides nothing.
    const decides = (gap) => gap.code !== "too-few" || gap.qps >= qps.low;
    return [...cut(facts.cells), ...open, ...candidates.flatMap((each) => each.gaps.filter(decides))];
  }

  // Levels with more requests a second whose percentile alone keeps the objective.
  function hopes(leading, candidates, asked) {
    return candidates
      .filter((each) => !each.refusal)
      .flatMap((each) => each.series.points)
      .filter(
        (point) =>
          point.qps.value > leading.capacity.qps.value &&
          keeps(point, asked) &&
          bound(point, asked) !== null &&
          bound(point, asked) > asked.limit,
      )
      .map((point) => unsure(point, asked));
  }

  function accelerator(leading, asked, facts) {
    if (asked.price === null || leading.each === null) return null;
    const price = asked.gpuPrice ?? accelerated(asked.price, facts);
    if (price === null) return null;
    const one = { monthly: asked.price.monthly, each: leading.each.value };
    const surely = { monthly: asked.price.monthly, each: leading.each.low };
    const upTo = boundWithoutSpeed(surely, price.monthly, asked.instances);
    const found = capacity({ points: facts.gpu, searches: [] }, asked);
    if (found === null) return { price, upTo, measured: null, paysAbove: null };
    const two = { monthly: price.monthly, each: found.qps.value * (1 - asked.headroom) };
    return { price, upTo, measured: found.qps, paysAbove: breakEven(one, two, asked.instances) };
  }

  const finite = (point, rank) => {
    const found = point[`p${rank}`];
    return found !== null && Number.isFinite(found.value) ? found.value : 0;
  };

  // The usable point of the lowest percentile; null if there is none.
  function closest(points, rank) {
    const known = points.filter((point) => point.usable && finite(point, rank));
    const key = (point) => [finite(point, rank), -point.qps.value];
    return known.length ? first(known, (one, other) => order(key(one), key(other))) : null;
  }

  function unanswered(asked, unsorted, candidates, facts) {
    const open = unsorted.filter((each) => !each.refusal);
    const points = open
      .flatMap((each) => each.series.points)
      .filter((point) => point.usable && finite(point, asked.rank));
    const nearly = points.filter((point) => keeps(point, asked));
    const found = [
      ...cut(facts.cells),
      ...nearly.map((point) => unsure(point, asked)),
      ...candidates.flatMap((each) => each.gaps),
    ];
    if (!open.length) {
      for (const row of facts.variants) {
        const told = row.refusal === "gate-failed" ? row.reasons : [];
        found.push({ code: row.refusal, variant: row.name, reasons: told });
      }
    } else if (!points.length && !candidates.some((each) => each.gaps.length)) {
      found.push({ code: "no-point" });
    }
    const near = closest(points, asked.rank);
    const missing = open.some((each) => each.gaps.length) || cut(facts.cells).length > 0;
    let status = "nothing";
    if (near !== null) status = missing || nearly.length ? "undecided" : "nothing-holds";
    else if (open.length) status = "undecided";
    return {
      asked, status, reasons: found, leading: null, tied: [], runnerUp: null, closest: near,
      candidates, accelerator: null, notes: [],
    };
  }

  function answer(question, whole) {
    const facts = narrowed(whole, question.without);
    const unsorted = facts.series.map((series) => candidate(series, question, facts));
    const asked = withLoad(question, unsorted.filter((each) => each.capacity), facts);
    const candidates = unsorted
      .map((each) => priced(each, asked, facts))
      .sort((one, other) => order(place(one), place(other)));
    const able = candidates.filter((each) => each.capacity !== null);
    if (!able.length) return unanswered(asked, unsorted, candidates, facts);
    const equal = able
      .slice(1)
      .filter((each) => isTied(able[0].capacity, each.capacity));
    const level = [able[0], ...equal];
    const leading = first(level, (one, other) => order(percentileKey(one), percentileKey(other)));
    const tied = level.filter((each) => each !== leading);
    const found = reasons(leading, candidates, facts);
    const others = able.filter((each) => !level.includes(each));
    return {
      asked,
      status: found.length ? "undecided" : tied.length ? "tie" : "decided",
      reasons: found,
      leading,
      tied,
      runnerUp: others.find((each) => each.variant !== leading.variant) ?? null,
      closest: null,
      candidates,
      accelerator: accelerator(leading, asked, facts),
      // In the order of the evidence, not of the candidates.
      notes: hopes(leading, unsorted, asked),
    };
  }

  Object.assign(explorer, {
    answer, breakEven, byInterval, closest, instanceCapacity, instances, order, perMillion, revived, threadsRatio, times,
  });
}
