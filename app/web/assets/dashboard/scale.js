// Maps values to positions, and chooses round values for ticks.

const WIDE = 30;

/** A linear scale from 0 to a round value of at least `most`; `place` returns a fraction of the axis. */
export function linear(most, wanted = 4) {
  if (!most) return { place: () => 0, ticks: [0] };
  const step = roundStep(most / wanted);
  const end = step * Math.max(1, Math.ceil(most / step - 1e-9));
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => Number((index * step).toPrecision(6)));
  return { place: (value) => value / end, ticks };
}

/** A scale for positive values, logarithmic if they are far apart. */
export function adaptive(values, wanted = 4) {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && most / least > WIDE ? logarithmic(least, most) : linear(most, wanted);
}

function logarithmic(least, most) {
  const [first, last] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
  const every = Math.ceil((last - first) / 5);
  const ticks = [];
  for (let power = first; power <= last; power += every) ticks.push(10 ** power);
  return { place: (value) => (Math.log10(value) - first) / (last - first), ticks };
}

/** The smallest of 1, 2 or 5 times a power of ten that is at least `step`. */
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].find((factor) => factor * power >= step * 0.999) * power;
}
