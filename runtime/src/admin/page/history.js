// What the numbers were in the last two minutes, since the page was opened.

/** Seconds that are remembered. */
export const SECONDS = 120;

/** A number over time: as it is, or by how much it grows in each second. */
class Series {
  values = [];
  #before;

  constructor(grows) {
    this.grows = grows;
  }

  take(time, value) {
    const before = this.#before;
    this.#before = { time, value };
    if (!this.grows) this.values.push(value);
    // A number that has become smaller has begun anew.
    else if (before && time > before.time) this.values.push(Math.max(0, (value - before.value) / (time - before.time)));
    if (this.values.length > SECONDS) this.values.shift();
  }

  get now() {
    return this.values.at(-1) ?? 0;
  }
}

/** All of them, by whose they are and by name. */
export class History {
  #all = new Map();

  /** Takes in what `owner` has at a time, in seconds: numbers as they are, and numbers that only grow. */
  take(owner, time, levels, growing) {
    const series = this.#all.get(owner) ?? new Map();
    this.#all.set(owner, series);
    for (const [numbers, grows] of [[levels, false], [growing, true]]) {
      for (const [name, value] of Object.entries(numbers)) {
        if (value === undefined) continue;
        if (!series.has(name)) series.set(name, new Series(grows));
        series.get(name).take(time, value);
      }
    }
  }

  /** Forgets whoever is not among these. */
  keep(owners) {
    for (const owner of this.#all.keys()) if (!owners.has(owner)) this.#all.delete(owner);
  }

  clear() {
    this.#all.clear();
  }

  /** What has been taken in; nothing when there is none. */
  of(owner, name) {
    return this.#all.get(owner)?.get(name)?.values ?? [];
  }

  /** The last of it. */
  now(owner, name) {
    return this.#all.get(owner)?.get(name)?.now ?? 0;
  }
}
