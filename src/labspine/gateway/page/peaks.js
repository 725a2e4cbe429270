// Figures of a peak, by the same definition as labspine.lab.peaks; a test compares the two. Pure.

/**
 * Describe the highest peak of a curve.
 *
 * Half height is halfway between the smallest and the largest value. From the maximum outwards, the first crossing
 * of that level on each side is found by straight lines between the points. Centre is the midpoint of the two
 * crossings, FWHM their distance; when a side is missing, centre is the centre of mass and FWHM null. Points at the
 * same position are averaged; a flat curve or a single point has neither.
 *
 * @param {ArrayLike<number>} xs positions, in the order of measuring
 * @param {ArrayLike<number>} ys values; what is not finite is left out
 * @returns {{max: number, at: number, centre: number | null, fwhm: number | null, left: number | null,
 *            right: number | null} | null} null without any finite point
 */
export function peakOf(xs, ys) {
  const points = sortedAndAveraged(xs, ys);
  if (points.length === 0) return null;
  let top = 0;
  let bottom = 0;
  points.forEach(([, y], i) => {
    if (y > points[top][1]) top = i;
    if (y < points[bottom][1]) bottom = i;
  });
  const [at, max] = points[top];
  const lowest = points[bottom][1];
  const found = { max, at, centre: null, fwhm: null, left: null, right: null };
  const height = max - lowest;
  // Nothing can be said about a flat curve; rounding noise of large values is flat as well.
  if (points.length < 2 || height <= 1e-12 * Math.max(Math.abs(max), Math.abs(lowest))) return found;
  const half = lowest + height / 2;
  found.left = crossing(points, top, -1, half);
  found.right = crossing(points, top, 1, half);
  if (found.left === null || found.right === null) {
    found.centre = centreOfMass(points, lowest);
  } else {
    found.fwhm = found.right - found.left;
    found.centre = found.left + found.fwhm / 2;
  }
  return found;
}

function sortedAndAveraged(xs, ys) {
  const points = [];
  for (let i = 0; i < ys.length; i += 1) {
    if (Number.isFinite(xs[i]) && Number.isFinite(ys[i])) points.push([xs[i], ys[i], 1]);
  }
  points.sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const [x, y] of points) {
    const last = merged.at(-1);
    if (last && last[0] === x) {
      last[1] += y;
      last[2] += 1;
    } else {
      merged.push([x, y, 1]);
    }
  }
  return merged.map(([x, sum, count]) => [x, sum / count]);
}

function crossing(points, top, way, half) {
  for (let i = top + way; i >= 0 && i < points.length; i += way) {
    if (points[i][1] <= half) {
      const [x1, y1] = points[i - way];
      const [x2, y2] = points[i];
      return x1 + ((y1 - half) / (y1 - y2)) * (x2 - x1);
    }
  }
  return null;
}

// Trapezoids, so that densely measured parts do not weigh more than their width.
function centreOfMass(points, lowest) {
  let moment = 0;
  let mass = 0;
  const last = points.length - 1;
  points.forEach(([x, y], i) => {
    const before = i > 0 ? x - points[i - 1][0] : points[1][0] - x;
    const after = i < last ? points[i + 1][0] - x : x - points[last - 1][0];
    const width = i === 0 || i === last ? before : before + after;
    moment += (y - lowest) * width * x;
    mass += (y - lowest) * width;
  });
  return moment / mass;
}
