// Figures of a peak. Pure.

const LEAST_POINTS = 3;

/**
 * Describe the highest peak of a curve.
 *
 * The half maximum lies midway between the lowest and the highest value. From the maximum outwards, the first
 * crossing of that level on each side is found by straight lines between the points; centre is the midpoint of
 * the two crossings, FWHM their distance. Both are null when a side is missing.
 *
 * @param {ArrayLike<number>} xs positions, in the order of measuring
 * @param {ArrayLike<number>} ys values; what is not finite is left out
 * @returns {{max: number, at: number, centre: number | null, fwhm: number | null, left: number | null,
 *            right: number | null} | null} null with fewer than one finite point
 */
export function peakOf(xs, ys) {
  const points = [];
  for (let i = 0; i < ys.length; i += 1) {
    if (Number.isFinite(xs[i]) && Number.isFinite(ys[i])) points.push([xs[i], ys[i]]);
  }
  if (points.length === 0) return null;
  points.sort((a, b) => a[0] - b[0]);
  let top = 0;
  let lowest = Infinity;
  points.forEach(([, y], i) => {
    if (y > points[top][1]) top = i;
    lowest = Math.min(lowest, y);
  });
  const [at, max] = points[top];
  const half = (max + lowest) / 2;
  const enough = points.length >= LEAST_POINTS && max > lowest;
  const left = enough ? crossing(points, top, -1, half) : null;
  const right = enough ? crossing(points, top, 1, half) : null;
  const both = left !== null && right !== null;
  return { max, at, left, right, centre: both ? (left + right) / 2 : null, fwhm: both ? right - left : null };
}

function crossing(points, top, way, half) {
  for (let i = top + way; i >= 0 && i < points.length; i += way) {
    if (points[i][1] <= half) {
      const [x1, y1] = points[i - way];
      const [x2, y2] = points[i];
      return x1 + ((half - y1) / (y2 - y1)) * (x2 - x1);
    }
  }
  return null;
}
