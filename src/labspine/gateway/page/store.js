// The points that this browser has: columns of numbers in the order of the point numbers, each point once. Pure.

const MOST_POINTS = 100_000;

/** A column of numbers that grows; `values` may be longer than `length`. */
export class Column {
  constructor() {
    this.values = new Float64Array(256);
    this.length = 0;
  }

  /** The numbers that are there, without a copy. */
  view() {
    return this.values.subarray(0, this.length);
  }

  insert(at, value) {
    if (this.length === this.values.length) {
      const longer = new Float64Array(this.length * 2);
      longer.set(this.values);
      this.values = longer;
    }
    if (at < this.length) this.values.copyWithin(at + 1, at, this.length);
    this.values[at] = value;
    this.length += 1;
  }

  dropFirst(count) {
    this.values.copyWithin(0, count, this.length);
    this.length -= count;
  }
}

/** Everything of one scan; `next` is the number of the row that the gateway has to send next. */
export class PointStore {
  constructor() {
    this.epoch = null;
    this.reset(null);
  }

  reset(scanId) {
    this.scanId = scanId;
    this.next = 0;
    this.version = (this.version ?? 0) + 1;
    this.ids = new Column();
    this.times = new Column();
    this.columns = new Map();
  }

  get length() {
    return this.ids.length;
  }

  /** What to tell the gateway after a reconnect. */
  position() {
    return { epoch: this.epoch, scan_id: this.scanId, have: this.next };
  }

  /** Note which gateway and scan the numbers belong to; another one empties the store. */
  belongsTo(epoch, scanId) {
    if (epoch !== this.epoch || scanId !== this.scanId) {
      this.epoch = epoch;
      this.reset(scanId);
    }
  }

  /** Take a batch: {start, point_ids, times_utc_s, columns}; rows that are there already change nothing. */
  add(batch) {
    for (const name of Object.keys(batch.columns)) this.#column(name);
    batch.point_ids.forEach((id, row) => this.#addRow(id, batch, row));
    this.next = Math.max(this.next, batch.start + batch.point_ids.length);
    if (this.length > MOST_POINTS) this.#dropFirst(this.length - MOST_POINTS);
    this.version += 1;
  }

  column(name) {
    return this.columns.get(name)?.view() ?? new Float64Array(0);
  }

  #column(name) {
    if (this.columns.has(name)) return;
    const column = new Column();
    for (let row = 0; row < this.length; row += 1) column.insert(row, NaN);
    this.columns.set(name, column);
  }

  #addRow(id, batch, row) {
    const at = this.#placeOf(id);
    if (at < 0) return;
    this.ids.insert(at, id);
    this.times.insert(at, batch.times_utc_s[row] ?? NaN);
    for (const [name, column] of this.columns) column.insert(at, batch.columns[name]?.[row] ?? NaN);
  }

  // Where a point number belongs, or -1 when it is there. Nearly always at the end.
  #placeOf(id) {
    const ids = this.ids.values;
    let low = 0;
    let high = this.length;
    if (high === 0 || ids[high - 1] < id) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle] < id) low = middle + 1;
      else high = middle;
    }
    return ids[low] === id ? -1 : low;
  }

  #dropFirst(count) {
    this.ids.dropFirst(count);
    this.times.dropFirst(count);
    for (const column of this.columns.values()) column.dropFirst(count);
  }
}
