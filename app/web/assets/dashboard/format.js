// Numbers for operators: few digits, and a unit that is never separated from them by a line break.

/** A count: 1,234, or from ten thousand on 12.3k, 4.5M. */
export function count(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${digits(value / 1e6)}M`;
  if (size >= 1e4) return `${digits(value / 1e3)}k`;
  return Number.isInteger(value) ? value.toLocaleString("en") : digits(value);
}

/** Seconds, in the unit that fits: 0.42 ms, 42 ms, 1.23 s, 2 min 5 s. */
export function seconds(value) {
  if (value === 0) return "0\u00a0s";
  if (value < 0.9995) return `${digits(value * 1e3)}\u00a0ms`;
  if (value < 99.5) return `${digits(value)}\u00a0s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
}

/** A fraction as a percentage: 4.2 %, 97 %. */
export function percent(share) {
  return `${digits(share * 100)}\u00a0%`;
}

/** Bytes, in powers of 1024. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${digits(value / 1024 ** power)}\u00a0${units[power]}`;
}

/** The time of day of seconds since the epoch. */
export function clock(epoch) {
  return new Date(epoch * 1e3).toLocaleTimeString("en-GB");
}

/** Formats a value with `format`, and null as a dash. */
export function orDash(format) {
  return (value) => (value === null || value === undefined ? "–" : format(value));
}

/** Three significant digits, without trailing zeros. */
function digits(value) {
  const size = Math.abs(value);
  const places = size >= 99.95 || size === 0 ? 0 : size >= 9.995 ? 1 : 2;
  return String(Number(value.toFixed(places)));
}
