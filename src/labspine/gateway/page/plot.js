// The live plot: uPlot draws frame and axes, the curve is drawn here in the order of measuring, sweep by sweep.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";

const MARKERS_FROM_PX = 7;
const EMPTY = { xs: new Float64Array(0), ys: new Float64Array(0), sweeps: [], peak: null, isRunning: false };

/** A plot in `frame`; `onHover(index | null)` tells which point is under the pointer. */
export class LivePlot {
  constructor(frame, onHover) {
    this.frame = frame;
    this.onHover = onHover;
    this.data = EMPTY;
    this.colours = readColours();
    this.dot = document.createElement("div");
    this.dot.className = "hover-dot";
    this.dot.hidden = true;
    this.#build();
    new ResizeObserver(() => this.plot.setSize(this.#size())).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = readColours();
      this.plot.destroy();
      this.#build();
      this.show(this.data);
    });
  }

  /** Draw {xs, ys, sweeps, peak, isRunning, xLabel, yLabel}. */
  show(data) {
    this.data = data;
    this.plot.axes[0].label = data.xLabel ?? "";
    this.plot.axes[1].label = data.yLabel ?? "";
    this.plot.setData([null, [data.xs, data.ys]]);
  }

  #build() {
    const { ink, soft, grid } = this.colours;
    const axis = { stroke: soft, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
    const lines = { stroke: grid, width: 1 };
    const options = {
      mode: 2,
      ...this.#size(),
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: () => withMargin(this.data.xs, 0.02) },
        y: { range: () => withMargin(this.data.ys, 0.08) },
      },
      axes: [
        { ...axis, grid: lines, ticks: lines, label: "", labelSize: 22, size: 34, gap: 6 },
        { ...axis, grid: lines, ticks: lines, label: "", labelSize: 22, size: (u, values) => axisWidth(values), gap: 8 },
      ],
      series: [
        {},
        { stroke: ink, facets: [{ scale: "x", auto: true }, { scale: "y", auto: true }], paths: (u, i) => this.#curve(u, i) },
      ],
      hooks: { drawAxes: [(u) => this.#band(u)] },
    };
    this.plot = new uPlot(options, [null, [this.data.xs, this.data.ys]], this.frame);
    const over = this.plot.over;
    over.append(this.dot);
    over.addEventListener("pointermove", (event) => this.#hover(event.offsetX, event.offsetY));
    over.addEventListener("pointerleave", () => this.#hover(null));
  }

  #size() {
    return { width: Math.max(200, this.frame.clientWidth), height: Math.max(160, this.frame.clientHeight) };
  }

  // The peak, once both sides are there: a band as wide as the FWHM and a dashed line at the centre.
  #band(u) {
    const peak = this.data.peak;
    if (!peak || peak.fwhm === null) return;
    const { ctx, bbox } = u;
    const place = (x) => u.valToPos(x, "x", true);
    ctx.save();
    clipTo(ctx, bbox);
    ctx.fillStyle = this.colours.band;
    ctx.fillRect(place(peak.left), bbox.top, place(peak.right) - place(peak.left), bbox.height);
    ctx.strokeStyle = this.colours.mark;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(place(peak.centre), bbox.top);
    ctx.lineTo(place(peak.centre), bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  #curve(u, seriesIndex) {
    uPlot.orient(u, seriesIndex, (series, xs, ys, sx, sy, toX, toY, left, top, width, height) => {
      const place = (i) => [toX(xs[i], sx, width, left), toY(ys[i], sy, height, top)];
      const { ctx } = u;
      const { sweeps } = this.data;
      ctx.save();
      clipTo(ctx, u.bbox);
      ctx.lineJoin = "round";
      ctx.lineWidth = 1.75 * devicePixelRatio;
      sweeps.forEach((sweep, k) => {
        const isLast = k === sweeps.length - 1;
        ctx.strokeStyle = isLast ? this.colours.curve : this.colours.before;
        ctx.globalAlpha = isLast ? 1 : Math.max(0.25, 0.85 - 0.08 * (sweeps.length - 2 - k));
        ctx.stroke(linePath(place, ys, sweep));
      });
      ctx.globalAlpha = 1;
      this.#markers(ctx, place, ys, width);
      ctx.restore();
    });
    return null;
  }

  // Points as rings while they stand far enough apart; alone, a point must be seen as well as many.
  #markers(ctx, place, ys, width) {
    const { sweeps, isRunning } = this.data;
    const last = sweeps.at(-1);
    if (!last) return;
    const apart = width / devicePixelRatio / Math.max(1, last.last - last.first);
    const size = 2.75 * devicePixelRatio;
    ctx.strokeStyle = this.colours.curve;
    ctx.fillStyle = this.colours.paper;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    if (apart >= MARKERS_FROM_PX || isAlone(ys, last)) {
      for (let i = last.first; i <= last.last; i += 1) ring(ctx, place(i), size);
    }
    if (isRunning) {
      ctx.fillStyle = this.colours.curve;
      ring(ctx, place(last.last), 1.5 * size);
    }
  }

  #hover(left, top) {
    const { xs, ys } = this.data;
    let nearest = null;
    let best = 30 ** 2;
    if (left !== null) {
      for (let i = 0; i < xs.length; i += 1) {
        const away = (this.plot.valToPos(xs[i], "x") - left) ** 2 + (this.plot.valToPos(ys[i], "y") - top) ** 2;
        if (away < best) [nearest, best] = [i, away];
      }
    }
    this.dot.hidden = nearest === null;
    if (nearest !== null) {
      const [x, y] = [this.plot.valToPos(xs[nearest], "x"), this.plot.valToPos(ys[nearest], "y")];
      this.dot.style.transform = `translate(${x}px, ${y}px)`;
    }
    this.onHover(nearest);
  }
}

// One sweep as a line. Points that share a column of pixels become one stroke from the lowest to the highest, so
// that a hundred thousand points are as quick as a thousand. A gap is left where there is no number.
function linePath(place, ys, sweep) {
  const path = new Path2D();
  let isPen = false;
  let column = NaN;
  let low = 0;
  let high = 0;
  for (let i = sweep.first; i <= sweep.last; i += 1) {
    const [x, y] = place(i);
    if (!Number.isFinite(ys[i]) || !Number.isFinite(x)) {
      isPen = false;
      column = NaN;
      continue;
    }
    const pixel = Math.round(x);
    if (isPen && pixel === column && i < sweep.last) {
      if (y < low || y > high) path.lineTo(x, y);
    } else if (isPen) {
      path.lineTo(x, y);
    } else {
      path.moveTo(x, y);
    }
    if (pixel === column && isPen) [low, high] = [Math.min(low, y), Math.max(high, y)];
    else [low, high] = [y, y];
    column = pixel;
    isPen = true;
  }
  return path;
}

function isAlone(ys, sweep) {
  let finite = 0;
  for (let i = sweep.first; i <= sweep.last && finite < 2; i += 1) if (Number.isFinite(ys[i])) finite += 1;
  return finite < 2;
}

function ring(ctx, [x, y], size) {
  if (!Number.isFinite(x) || !Number.isFinite(y)) return;
  ctx.beginPath();
  ctx.arc(x, y, size, 0, 2 * Math.PI);
  ctx.fill();
  ctx.stroke();
}

function clipTo(ctx, box) {
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.width, box.height);
  ctx.clip();
}

// The range of the finite values with a margin; a single value still gets room around it.
function withMargin(values, share) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  if (low > high) return [0, 1];
  const room = high > low ? (high - low) * share : Math.max(Math.abs(high) * 0.1, 0.5);
  return [low - room, high + room];
}

function axisWidth(values) {
  const longest = Math.max(1, ...(values ?? []).map((text) => text?.length ?? 0));
  return Math.max(42, 26 + 7 * longest);
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: read("ink"), soft: read("soft"), grid: read("grid"), paper: read("card"), curve: read("curve"),
    before: read("before"), band: read("band"), mark: read("mark"),
  };
}
