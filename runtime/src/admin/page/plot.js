// A number that moves: its last value in large, its course as a line, and its least and most in words.

import { h, setText } from "./dom.js";
import { SECONDS } from "./history.js";

const [WIDTH, HEIGHT] = [240, 56];
const NS = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** A plot with that title; `format` writes a value, `unit` stands behind it. */
export class Plot {
  constructor(title, format, unit = "") {
    this.format = format;
    this.value = h("span", {}, "–");
    this.now = h("span", { className: "now" }, this.value, unit && h("span", { className: "unit" }, ` ${unit}`));
    this.range = h("span", { className: "range" });
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    // What it shows is said in words beside it.
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(this.area, this.line);
    const caption = h("figcaption", {}, h("span", { className: "title" }, title), this.now, this.range);
    this.root = h("figure", { className: "plot" }, caption, svg);
  }

  show(values) {
    if (values.length === 0) return;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const write = (value) => this.format(value);
    setText(this.value, write(values.at(-1)));
    const [from, to] = [write(least), write(most)];
    const time = values.length < SECONDS ? `${values.length} s` : "2 min";
    setText(this.range, from === to ? `the same over the last ${time}` : `${from} to ${to} in the last ${time}`);
    // The newest at the right edge; a flat line at zero lies on the ground.
    const x = (index) => WIDTH - (values.length - 1 - index) * (WIDTH / (SECONDS - 1));
    const y = (value) => HEIGHT - 2 - (most > 0 ? value / most : 0) * (HEIGHT - 6);
    const points = values.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    this.line.setAttribute("d", `M${points}`);
    this.area.setAttribute("d", `M${x(0).toFixed(1)} ${HEIGHT}L${points}L${WIDTH} ${HEIGHT}Z`);
  }
}
