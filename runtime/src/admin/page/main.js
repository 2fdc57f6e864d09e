// Which view is shown, and what is asked for it once a second while somebody looks.

import { get, Refused, Unreachable } from "./api.js";
import { say } from "./ask.js";
import { h } from "./dom.js";
import { History } from "./history.js";
import { namespace } from "./namespace.js";
import { overview } from "./overview.js";
import { plugin } from "./plugin.js";
import { socket } from "./socket.js";
import { tryIt } from "./try.js";

const SECOND = 1000;
const main = document.getElementById("view");
const pulse = document.getElementById("pulse");
const history = new History();
let [view, last, node] = [null, null, null];

/** The view of an address. */
function viewOf(hash) {
  const [path, search = ""] = hash.replace(/^#/, "").split("?");
  const query = new URLSearchParams(search);
  const [, first = "", ...rest] = path.split("/");
  switch (first) {
    case "": return ["overview", overview()];
    case "try": return ["try", tryIt()];
    case "plugins": return ["plugin", plugin(rest.map(decodeURIComponent).join("/"))];
    case "namespace": return ["namespace", namespace(query.get("path") ?? "", query.get("room") ?? undefined)];
    case "socket": return ["socket", socket(query.get("namespace") ?? "", query.get("id") ?? "")];
    default: return ["none", {
      title: "Not there",
      root: [h("h1", { tabIndex: -1 }, "There is no such view"), h("p", {}, h("a", { href: "#/" }, "Overview"))],
      show() {},
    }];
  }
}

function open() {
  // The link that leads past the links is no view.
  if (location.hash === "#view") return main.focus();
  const isFirst = view === null;
  let name;
  try {
    [name, view] = viewOf(location.hash);
  } catch {
    // What is no address any more once its signs are decoded.
    [name, view] = viewOf("#/nowhere");
  }
  main.replaceChildren(...view.root);
  document.title = `${view.title} · Tulpar`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (last) view.show(last, history);
  if (isFirst) return;
  say("");
  scrollTo(0, 0);
  main.querySelector("h1").focus();
  again = true;
  ask();
}

/** Takes in the numbers of each plugin, which are those of its namespace too, and of all together. */
function remember({ server, plugins }) {
  // Another process has numbers of its own.
  if (node !== server.node) history.clear();
  node = server.node;
  const time = server["uptime-ms"] / 1000;
  // What there is without any plugin.
  const nothing = { sockets: 0, uses: { rooms: 0, "memory-bytes": 0 }, messages: { received: 0, sent: 0 }, calls: {}, "cpu-seconds": 0 };
  const levels = ({ sockets, uses }) => ({ sockets, rooms: uses.rooms, "memory-bytes": uses["memory-bytes"] });
  const growing = ({ messages, calls, ...plugin }) => ({
    "messages-in": messages.received,
    "messages-out": messages.sent,
    calls: Object.values(calls).reduce((all, { count }) => all + count, 0),
    "cpu-ms": plugin["cpu-seconds"] * 1000,
  });
  const total = (numbers) => [nothing, ...plugins].map(numbers).reduce((sums, next) => {
    for (const [name, number] of Object.entries(next)) sums[name] = (sums[name] ?? 0) + number;
    return sums;
  }, {});
  for (const plugin of plugins) history.take(`plugin ${plugin.name}`, time, levels(plugin), growing(plugin));
  history.take("server", time, total(levels), total(growing));
  history.keep(new Set(["server", ...plugins.map(({ name }) => `plugin ${name}`)]));
}

function beat(state, text) {
  if (pulse.dataset.state === state) return;
  pulse.dataset.state = state;
  pulse.textContent = text;
}

let [asking, again] = [false, false];

/** Asks for what is shown. Not twice at the same time, and not for nobody. */
async function ask() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    do {
      again = false;
      last = await get("/api/overview");
      remember(last);
      view.show(last, history);
      beat("live", "live");
      await view.poll?.();
      // Another view was opened meanwhile.
    } while (again);
  } catch (error) {
    if (error instanceof Unreachable) beat("lost", error.message);
    // That something is not there, the view shows by itself.
    else if (!(error instanceof Refused)) reportError(error);
  }
  asking = false;
}

addEventListener("hashchange", open);
document.addEventListener("visibilitychange", ask);
open();
ask();
setInterval(ask, SECOND);
