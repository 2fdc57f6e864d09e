// The whole server: its numbers, its plugins and their namespaces.

import { about, bytes, count, duration, fact, h, namespaces, plugins, setContent, setText, status } from "./dom.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";
import { uploadForm } from "./upload.js";

/** What a plugin is doing, with a mark before it. */
export function statusMark(plugin) {
  return h("span", { className: "status", data: { status: plugin.status } }, status(plugin));
}

/** Whose a plugin is; nothing for the root folder's. */
const tenantOf = (name) => (name.includes("/") ? name.split("/")[0] : "");

/** The root folder's first, and then those of each tenant. */
const byTenant = (a, b) => tenantOf(a.name).localeCompare(tenantOf(b.name)) || a.name.localeCompare(b.name);

/** A cell with what a namespace or a plugin gets in each second. */
export const perSecond = (title, owner, name) => ({
  title, number: true, text: (item) => about(item.history.now(owner(item), name)),
});

/** The other nodes, in words. */
function joined({ others, "cut-off": cutOff }) {
  if (others === null) return "nobody: it stands alone";
  if (cutOff) return "nobody: it is cut off";
  return others === 1 ? "1 other node" : `${count(others)} other nodes`;
}

export function overview() {
  const facts = ["Version", "Node", "Joined with", "Running for", "Serves on"].map((term) => fact(term, ""));
  const plots = [
    ["sockets", new Plot("Sockets", count)],
    ["messages-in", new Plot("Messages received", about, "a second")],
    ["messages-out", new Plot("Messages sent", about, "a second")],
    ["cpu-ms", new Plot("Plugins compute", about, "ms a second")],
  ];
  const key = (plugin) => `plugin ${plugin.name}`;
  const pluginTable = new Table("Plugins", [
    { title: "Plugin", head: true, make: ({ name }) => [name, () => h("a", { href: plugins(name) }, name)] },
    { title: "Status", make: (plugin) => [plugin.status, () => statusMark(plugin)] },
    { title: "Generation", number: true, text: ({ generation }) => generation ?? "–" },
    { title: "Sockets", number: true, text: ({ sockets }) => count(sockets) },
    perSecond("Calls/s", key, "calls"),
    perSecond("CPU ms/s", key, "cpu-ms"),
    { title: "Memory", number: true, text: ({ uses }) => bytes(uses["memory-bytes"]) },
    { title: "Failures", number: true, text: ({ failures }) => count(failures) },
    { title: "Traps", number: true, text: ({ traps }) => count(traps) },
    { title: "Quarantines", number: true, text: ({ quarantines }) => count(quarantines) },
  ], ({ name }) => name, "No plugins yet: put .wasm files into the plugins folder.");
  const served = ({ plugin }) => `plugin ${plugin}`;
  const namespaceTable = new Table("Namespaces", [
    { title: "Path", head: true, make: ({ path }) => [path, () => h("a", { href: namespaces(path) }, path)] },
    { title: "Plugin", make: ({ plugin }) => [plugin, () => h("a", { href: plugins(plugin) }, plugin)] },
    { title: "Behind", long: true, text: ({ middlewares }) => middlewares.join(" → ") || "–" },
    { title: "Sockets", number: true, text: ({ by }) => count(by.sockets) },
    { title: "Rooms", number: true, text: ({ by }) => count(by.uses.rooms) },
    perSecond("Received/s", served, "messages-in"),
    perSecond("Sent/s", served, "messages-out"),
    { title: "Dropped", number: true, text: ({ by }) => count(by.messages.dropped) },
  ], ({ path }) => path, "No namespaces.");
  const uploads = h("div", { className: "card", hidden: true });
  return {
    title: "Overview",
    root: [
      h("div", { className: "head" }, h("h1", { tabIndex: -1 }, "Overview")),
      h("dl", { className: "facts" }, facts.map(({ root }) => root)),
      h("section", { className: "plots", "aria-label": "Numbers" }, plots.map(([, plot]) => plot.root)),
      h("div", { className: "card" }, namespaceTable.root),
      h("div", { className: "card" }, pluginTable.root),
      uploads,
    ],
    show({ server, plugins, namespaces }, history) {
      const values = [server.version, server.node, joined(server), duration(server["uptime-ms"]), server.address];
      facts.forEach(({ shown }, index) => setText(shown, values[index]));
      for (const [name, plot] of plots) plot.show(history.of("server", name));
      pluginTable.show(plugins.map((plugin) => ({ ...plugin, history })).sort(byTenant), ({ name }) => tenantOf(name));
      const by = new Map(plugins.map((plugin) => [plugin.name, plugin]));
      const served = namespaces.filter(({ plugin }) => by.has(plugin));
      namespaceTable.show(served.map((it) => ({ ...it, by: by.get(it.plugin), history })), ({ tenant }) => tenant ?? "");
      uploads.hidden = !server.uploads;
      if (server.uploads) setContent(uploads, "form", () => uploadForm());
    },
  };
}
