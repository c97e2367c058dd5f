// Numbers for readers: reports/text/figures.py in the reader's browser.
{
  const NONE = "–";

  // Python rounds halves to even, JavaScript away from zero.

  // A number in exponent form with `decimals` digits behind the point.
  function exponential(value, decimals) {
    const [mantissa, exponent] = value.toExponential(100).split("e");
    const cut = mantissa.length - 100 + decimals;
    const kept = mantissa.slice(0, decimals ? cut : cut - 1);
    const isHalf = /^50*$/.test(mantissa.slice(cut));
    const isEven = "02468".includes(kept.at(-1));
    return isHalf && isEven ? `${kept}e${exponent}` : value.toExponential(decimals);
  }

  // A number with `decimals` digits behind the point.
  function fixed(value, decimals) {
    const [whole, part] = value.toFixed(100).split(".");
    const kept = decimals ? `${whole}.${part.slice(0, decimals)}` : whole;
    const isHalf = /^50*$/.test(part.slice(decimals));
    const isEven = "02468".includes(kept.at(-1));
    return isHalf && isEven ? kept : value.toFixed(decimals);
  }

  function significant(value, digits = 3) {
    if (Number.isNaN(value)) return NONE;
    if (!Number.isFinite(value)) return "∞";
    const text = exponential(value, digits - 1);
    const rounded = Number(text);
    if (!rounded) return "0";
    const decimals = Math.max(0, digits - 1 - Number(text.split("e")[1]));
    return decimals ? fixed(rounded, decimals) : fixed(value, 0);
  }

  const span = ({ low, high }) => `${significant(low)}–${significant(high)}`;
  const percent = (value) => `${fixed(value, 0)} %`;

  function unrounded(value) {
    if (!value) return "0";
    const [mantissa, exponent] = exponential(value, 9).split("e");
    const power = Number(exponent);
    if (power < -4 || power >= 10) {
      const digits = mantissa.replace(/\.?0+$/, "");
      return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
    }
    const text = fixed(Number(`${mantissa}e${exponent}`), Math.max(0, 9 - power));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }

  // An amount of money with two decimals, halves away from zero.
  function amount(value) {
    const [whole, part = ""] = String(Number(fixed(value, 6))).split(".");
    const cents = BigInt(whole + part.padEnd(2, "0").slice(0, 2)) + (part[2] >= "5" ? 1n : 0n);
    const text = String(cents).padStart(3, "0");
    return `${text.slice(0, -2)}.${text.slice(-2)}`;
  }

  Object.assign(explorer, { NONE, amount, fixed, percent, significant, span, unrounded });
}
