// From texts and numbers to texts: nothing here touches the page.

export const MASK = "[MASK]";

// What people write for a blank.  Each match is one blank, and one blank is one token.
const BLANKS = new RegExp(
  [
    // [mask], 【MASK】, ［Mask］, <mask>, \[MASK\]: any case, letters of either width
    String.raw`\\?[[［【〔〖<＜]\s*[mMｍＭ][aAａＡ][sSｓＳ][kKｋＫ]\s*\\?[\]］】〕〗>＞]`,
    // （ ）, 【 】, （____）: full-width brackets around nothing but spaces and underscores
    String.raw`[（［【〔〖][^\S\n]*[_＿]*[^\S\n]*[）］】〕〗]`,
    // ( ), [ ], (__): the same in ASCII, but not a call or an index as in main() and a[]
    String.raw`(?<![\w)\]])[([][^\S\n]*_*[^\S\n]*[)\]]`,
    // ____, ＿＿: but not the underscores of a name as in __init__
    String.raw`_{3,}|(?<![A-Za-z0-9_])_{2}(?![A-Za-z0-9_])|＿+`,
    // □□: boxes, one for each character
    "[□▢☐◻⬜]",
  ].join("|"),
  "gu",
);

/** Return a text with [MASK] for each blank, however it is written. */
export function withMasks(text) {
  return text.replace(BLANKS, MASK);
}

/** Return a share as a percentage with two decimals, which rounding makes neither 0 nor 100. */
export function percent(share) {
  const rounded = (share * 100).toFixed(2);
  if (rounded === "0.00" && share > 0) return "<0.01 %";
  if (rounded === "100.00" && share < 1) return ">99.99 %";
  return `${rounded} %`;
}

/** Return a difference of shares in percentage points, with its sign. */
export function points(difference) {
  const rounded = (Math.abs(difference) * 100).toFixed(2);
  if (rounded === "0.00") return rounded;
  return `${difference < 0 ? "−" : "+"}${rounded}`;
}

export function milliseconds(ms) {
  return ms.toFixed(ms < 100 ? 1 : 0);
}

/** Return the durations in a Server-Timing header by name, in milliseconds. */
export function timings(header) {
  return Object.fromEntries(
    [...(header ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]),
  );
}

/** Return a word as one word of a POSIX shell, whatever is in it. */
export function shellQuoted(word) {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Return the line that sends a JSON body; where a key is needed, with a placeholder for it. */
export function curlLine(url, body, needsKey) {
  const words = ["curl", "-s"];
  if (url.includes("[")) words.push("-g"); // an IPv6 address: curl would read it as a range
  words.push(shellQuoted(url), "-H", "'Content-Type: application/json'");
  if (needsKey) words.push("-H", "'Authorization: Bearer YOUR_API_KEY'");
  words.push("-d", shellQuoted(JSON.stringify(body)));
  return words.join(" ");
}

/** Return indented JSON, with a list or object of plain values on one line. */
export function indented(value, margin = "") {
  const isPlain = (part) => part === null || typeof part !== "object";
  const parts = isPlain(value) ? [] : Object.values(value);
  if (parts.every(isPlain)) return JSON.stringify(value, null, 1).replaceAll(/\n */g, " ");
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const inner = `${margin}  `;
  const lines = Object.entries(value).map(([key, part]) =>
    `${inner}${open === "{" ? `${JSON.stringify(key)}: ` : ""}${indented(part, inner)}`);
  return `${open}\n${lines.join(",\n")}\n${margin}${close}`;
}

// The sentence stands behind the #, which browsers send to nobody.
const LINKED = /^#(?:.*&)?text=([^&]*)/;
const CLOSING = /['()*!.]/g; // what a chat program may take for the end of an address

export function hashOf(text) {
  const code = (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return `#text=${encodeURIComponent(text.toWellFormed?.() ?? text).replace(CLOSING, code)}`;
}

/** Return the sentence in an address's hash, or null. */
export function textOf(hash) {
  const [, text] = hash.match(LINKED) ?? [];
  if (text === undefined) return null;
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, with a % of its own
  }
}

/**
 * Return how two rankings of one blank differ.
 *
 * places: for each ranking, where the other one has its tokens (-1: not at all).
 * gains: for each token of the second, its share less the first's (null: the first lacks it).
 * largest: the token in both whose shares differ most, with that difference (null: none is in both).
 */
export function compared(first, second) {
  const place = (ranking, token) => ranking.findIndex((entry) => entry.token === token);
  const gains = second.map(({ token, score }) => {
    const there = place(first, token);
    return there < 0 ? null : score - first[there].score;
  });
  let largest = null;
  gains.forEach((gain, index) => {
    if (gain !== null && (!largest || Math.abs(gain) > Math.abs(largest.gain))) {
      largest = { token: second[index].token, gain };
    }
  });
  return {
    places: [
      first.map(({ token }) => place(second, token)),
      second.map(({ token }) => place(first, token)),
    ],
    gains,
    largest,
  };
}
