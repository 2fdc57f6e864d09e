// The lines of a log as they come.

import { h } from "./dom.js";

/** Lines that are shown. */
const MOST = 500;

export class Log {
  constructor() {
    // Read aloud it would never end: it is there to be gone through.
    this.lines = h("div", { className: "log", role: "log", "aria-live": "off", "aria-label": "Lines of the log", tabIndex: 0 });
    this.search = h("input", { type: "search", placeholder: "Filter", spellcheck: false, oninput: () => this.#filter() });
    this.follow = h("input", { type: "checkbox", checked: true });
    const label = h("label", { className: "search" }, h("span", { className: "unseen" }, "Filter the lines"), this.search);
    const controls = h("div", { className: "row controls" }, label, h("label", { className: "check push" }, this.follow, " Follow"));
    this.root = h("div", {}, controls, this.lines);
  }

  add(lines) {
    const made = lines.map(({ time, level, text }) => {
      const date = new Date(time);
      const clock = `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
      return h("p", { data: { level } }, h("time", { dateTime: date.toISOString() }, clock), h("b", {}, level), h("span", {}, text));
    });
    this.lines.append(...made);
    while (this.lines.childElementCount > MOST) this.lines.firstElementChild.remove();
    this.#filter();
    if (this.follow.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }

  clear() {
    this.lines.replaceChildren();
  }

  #filter() {
    const wanted = this.search.value.toLowerCase();
    for (const line of this.lines.children) line.hidden = !line.textContent.toLowerCase().includes(wanted);
  }
}
