// Where a scan turns round: so that there-and-back scans, snakes and rasters are drawn right. Pure.

const SAMPLE = 1000;
const JUMP = 2.5;
const TREMBLE = 0.05;

/**
 * Split positions into runs that go one way.
 *
 * A turn belongs to both runs. A jump back to the start of the next row (more than 2.5 usual steps, against the
 * direction) belongs to none, so that no line is drawn along it.
 *
 * @param {ArrayLike<number>} xs positions in the order of measuring
 * @returns {{first: number, last: number}[]} runs with the numbers of their first and last point
 */
export function splitSweeps(xs) {
  if (xs.length === 0) return [];
  const step = usualStep(xs);
  const sweeps = [];
  let first = 0;
  let direction = 0;
  let before = NaN;
  for (let i = 0; i < xs.length; i += 1) {
    if (!Number.isFinite(xs[i])) continue;
    const dx = xs[i] - before;
    // A trembling read-back is no turn; the first point has nothing before it.
    if (!(Math.abs(dx) > TREMBLE * step)) {
      if (Number.isNaN(before)) before = xs[i];
      continue;
    }
    before = xs[i];
    const sign = Math.sign(dx);
    if (direction !== 0 && sign !== direction) {
      const isJump = Math.abs(dx) > JUMP * step;
      sweeps.push({ first, last: i - 1 });
      first = isJump ? i : i - 1;
      direction = isJump ? 0 : sign;
    } else {
      direction = sign;
    }
  }
  sweeps.push({ first, last: xs.length - 1 });
  return sweeps;
}

/**
 * Find the axis that moves most often: the one to plot against.
 *
 * @param {Map<string, ArrayLike<number>>} candidates name to positions
 * @returns {string | null} the first of the fastest; null when nothing moves
 */
export function fastestAxis(candidates) {
  let best = null;
  let most = 0;
  for (const [name, xs] of candidates) {
    const moves = countMoves(xs);
    // A noisy read-back moves a little at each point; the slow axis of a grid still makes few real steps.
    if (moves > most) {
      best = name;
      most = moves;
    }
  }
  return best;
}

function countMoves(xs) {
  const count = Math.min(xs.length, SAMPLE);
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < count; i += 1) {
    low = Math.min(low, xs[i]);
    high = Math.max(high, xs[i]);
  }
  const least = (high - low) / (4 * count);
  let moves = 0;
  for (let i = 1; i < count; i += 1) if (Math.abs(xs[i] - xs[i - 1]) > least) moves += 1;
  return moves;
}

function usualStep(xs) {
  const steps = [];
  for (let i = 1; i < xs.length && steps.length < SAMPLE; i += 1) {
    const step = Math.abs(xs[i] - xs[i - 1]);
    if (step > 0) steps.push(step);
  }
  steps.sort((a, b) => a - b);
  return steps.length ? steps[steps.length >> 1] : Infinity;
}
