// Numbers and times as people read them. Pure.

const SHOWN_DIGITS = 5;

/** Five significant digits; a dash where there is no number. */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return minus(String(value));
  if (size >= 1e7 || size < 1e-4) return minus(value.toExponential(3));
  return minus(String(Number(value.toPrecision(SHOWN_DIGITS))));
}

/** The numbers of one column of a table: each as short as `number`, all with the same decimals. */
export function column(values) {
  const short = values.map(number);
  if (short.some((text) => text.includes("e"))) return short;
  const decimals = Math.max(0, ...short.map((text) => (text.split(".")[1] ?? "").length));
  return values.map((value, i) => (Number.isFinite(value) ? minus(value.toFixed(decimals)) : short[i]));
}

/** Minutes and seconds, hours when needed. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** Time of day with seconds, in the time zone of the browser. */
export function clock(utcSeconds) {
  if (!Number.isFinite(utcSeconds)) return "–";
  return new Date(utcSeconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** Hours and minutes, with the date when it is not today. */
export function since(utcSeconds, now = new Date()) {
  const then = new Date(utcSeconds * 1000);
  const time = then.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit" });
  return then.toDateString() === now.toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}

function minus(text) {
  return text.replace("-", "−").replace("e+", "e").replace("e-", "e−");
}
