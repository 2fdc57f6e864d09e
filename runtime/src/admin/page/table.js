// Tables whose rows stay where they are while their numbers change, so that nobody loses the focus or a chosen text.

import { get } from "./api.js";
import { count, h, setText } from "./dom.js";

/**
 * A table. Each column has a `title`, and `text` or `make` for the cell of an item: a text, or a key and what makes its
 * content; `number` sets it to the right, `long` breaks its lines, `head` makes it the head of its row.
 */
export class Table {
  #rows = new Map();

  constructor(caption, columns, key, empty) {
    [this.columns, this.key] = [columns, key];
    const heads = columns.map(({ title, number }) => h("th", { scope: "col", className: number ? "number" : "" }, title));
    this.body = h("tbody");
    this.empty = h("p", { className: "soft", hidden: true }, empty);
    this.caption = h("caption", {}, caption);
    this.head = h("thead", {}, h("tr", {}, heads));
    this.table = h("table", {}, this.caption, this.head, this.body);
    const frame = { className: "frame", tabIndex: 0, role: "region", "aria-label": caption };
    this.root = h("div", {}, h("div", frame, this.table), this.empty);
  }

  /** Shows these, in this order. Those of one group, when there are any, stand under its name. */
  show(items, group) {
    const [known, order] = [this.#rows, []];
    let last = "";
    this.#rows = new Map();
    const keep = (key, make) => {
      const row = known.get(key) ?? make();
      this.#rows.set(key, row);
      order.push(row);
      return row;
    };
    for (const item of items) {
      const name = group?.(item) ?? "";
      if (name !== last) keep(`group ${name}`, () => this.#groupHead(name));
      last = name;
      const row = keep(`item ${this.key(item)}`, () => this.#row());
      this.columns.forEach((column, index) => this.#fill(row.cells[index], column, item));
    }
    for (const [key, row] of known) if (!this.#rows.has(key)) row.remove();
    order.forEach((row, index) => {
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index] ?? null);
    });
    this.empty.hidden = items.length > 0;
    this.head.hidden = items.length === 0;
  }

  #groupHead(name) {
    return h("tr", { className: "group" }, h("th", { scope: "rowgroup", colSpan: this.columns.length }, `Tenant ${name}`));
  }

  #row() {
    const cells = this.columns.map(({ number, long, head }) => head
      ? h("th", { scope: "row" })
      : h("td", { className: number ? "number" : long ? "long" : "" }));
    return h("tr", {}, cells);
  }

  #fill(cell, { text, make }, item) {
    if (text) return setText(cell, text(item));
    const [key, content] = make(item);
    if (cell.dataset.key === String(key)) return;
    cell.dataset.key = key;
    cell.replaceChildren(...[content()].flat());
  }
}

/** A table of more than can be shown at once: some at a time, those that have in them what is looked for. */
export class Listing {
  #starts = [""];
  #next = null;

  constructor(title, path, query, columns, key, empty) {
    [this.path, this.query] = [path, query];
    this.table = new Table(title, columns, key, empty);
    this.found = h("span", { className: "soft" });
    this.search = h("input", { type: "search", spellcheck: false, oninput: () => this.#go([""]) });
    const small = { type: "button", className: "small" };
    this.first = h("button", { ...small, onclick: () => this.#go([""]) }, "First");
    this.more = h("button", { ...small, onclick: () => this.#go([...this.#starts, this.#next]) }, "Next");
    const label = h("label", { className: "search" }, h("span", { className: "unseen" }, `Search ${title.toLowerCase()}`), this.search);
    this.search.placeholder = "Search";
    const controls = h("div", { className: "row controls" }, label, this.found, h("span", { className: "push" }), this.first, this.more);
    this.root = h("div", { className: "listing" }, controls, this.table.root);
    this.first.hidden = this.more.hidden = true;
  }

  #go(starts) {
    this.#starts = starts;
    return this.poll();
  }

  /** Asks for what is shown. */
  async poll() {
    const [start, search] = [this.#starts.at(-1), this.search.value];
    const page = await get(this.path, { ...this.query, search, after: start });
    // Somebody has gone on meanwhile.
    if (start !== this.#starts.at(-1) || search !== this.search.value) return page;
    this.show(page);
    return page;
  }

  show(page) {
    this.#next = page.next;
    this.table.show(page.items);
    const range = page.items.length < page.matching ? `${count(page.items.length)} of ` : "";
    setText(this.found, `${range}${count(page.matching)}${page.matching === page.total ? "" : ` found among ${count(page.total)}`}`);
    const [isFirst, isLast] = [this.#starts.length === 1, page.next === null];
    const focused = document.activeElement;
    this.first.hidden = isFirst;
    this.more.hidden = isLast;
    // A button that goes does not take the focus with it.
    if ((focused === this.first && isFirst) || (focused === this.more && isLast)) this.search.focus();
  }
}
