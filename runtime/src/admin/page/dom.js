// Elements, and numbers in words. Whatever a plugin or a client says becomes a text here, and never HTML.

/** An element with these properties and children. `data` sets its data-attributes, `aria-…` and `role` are attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text where it is another one: so nothing that somebody reads or has chosen is touched without need. */
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** The same for what an element consists of, told by a key. */
export function setContent(element, key, make) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...[make()].flat());
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count, in full. */
export const count = (number) => whole.format(number);
/** A number of which the digits behind the first three do not matter. */
export const about = (number) => (number >= 10_000 ? short : number >= 10 ? whole : fine).format(number);

export function bytes(number) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) [number, unit] = [number / 1024, unit + 1];
  return `${(number >= 10 || unit === 0 ? whole : fine).format(number)} ${units[unit]}`;
}

/** How long it is, in its two largest units. */
export function duration(ms) {
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];
  const first = Math.max(units.findIndex(([, length]) => ms >= length), 0);
  if (ms < 1000) return "0 s";
  const parts = units.slice(first, first + 2).map(([name, length]) => {
    const many = Math.floor(ms / length);
    ms -= many * length;
    return many ? `${many} ${name}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

/** `1 socket`, `2 sockets`. */
export const several = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A term and what it is, for a list of facts. */
export function fact(term, value) {
  const shown = h("dd", {}, value);
  return { root: h("div", {}, h("dt", {}, term), shown), shown };
}

/** The address of a view. */
export const plugins = (name) => `#/plugins/${name.split("/").map(encodeURIComponent).join("/")}`;
export const namespaces = (path, room) =>
  `#/namespace?${new URLSearchParams(room === undefined ? { path } : { path, room })}`;
export const sockets = (namespace, id) => `#/socket?${new URLSearchParams({ namespace, id })}`;

/** What a plugin's status is called. */
export function status(plugin) {
  return plugin.status.replace("-", " ");
}
