// One namespace: who is connected, which rooms there are, who is in one of them.

import { about, bytes, count, fact, h, namespaces, plugins, setContent, setText, sockets } from "./dom.js";
import { Plot } from "./plot.js";
import { Listing } from "./table.js";

/** The columns of a list of sockets. */
export const socketColumns = (path) => [
  { title: "Socket", head: true, make: ({ id }) => [id, () => h("a", { className: "mono", href: sockets(path, id) }, id)] },
  { title: "Address", text: ({ address }) => address },
  { title: "State", text: ({ state }) => state },
  { title: "Queued", number: true, text: (it) => bytes(it["queued-bytes"]) },
  { title: "Dropped", number: true, text: (it) => count(it["dropped-messages"]) },
];

export function namespace(path, room) {
  const plots = [
    ["sockets", new Plot("Sockets", count)],
    ["rooms", new Plot("Rooms", count)],
    ["messages-in", new Plot("Messages received", about, "a second")],
    ["messages-out", new Plot("Messages sent", about, "a second")],
  ];
  const gone = h("p", { className: "notice", hidden: true }, "Nothing serves this path now.");
  const facts = [fact("Plugin", ""), fact("Behind", ""), fact("Tenant", "")];
  const link = (name) => h("a", { href: namespaces(path, name) }, name);
  const rooms = new Listing("Rooms", "/api/rooms", { namespace: path }, [
    { title: "Room", head: true, make: ({ name }) => [name, () => link(name)] },
    { title: "Members", number: true, text: ({ members }) => count(members) },
  ], ({ name }) => name, "No rooms.");
  const title = room === undefined ? "Sockets" : `Members of ${room}`;
  const members = new Listing(title, "/api/sockets", { namespace: path, room }, socketColumns(path), ({ id }) => id, "Nobody.");
  const inRoom = room === undefined ? [] : [" › ", h("a", { href: namespaces(path) }, path)];
  const overall = room === undefined
    ? [h("section", { className: "plots", "aria-label": "Numbers" }, plots.map(([, plot]) => plot.root))]
    : [];
  return {
    title: room === undefined ? path : `${room} in ${path}`,
    root: [
      h("p", { className: "back" }, h("a", { href: "#/" }, "Overview"), inRoom),
      h("div", { className: "head" }, h("h1", { tabIndex: -1 }, room === undefined ? `Namespace ${path}` : `Room ${room}`)),
      gone,
      ...(room === undefined ? [h("dl", { className: "facts" }, facts.map(({ root }) => root))] : []),
      ...overall,
      h("div", { className: room === undefined ? "columns uneven" : "" },
        h("div", { className: "card" }, h("h2", {}, title), members.root),
        room === undefined ? h("div", { className: "card" }, h("h2", {}, "Rooms"), rooms.root) : null),
    ],
    show({ namespaces }, history) {
      const found = namespaces.find((namespace) => namespace.path === path);
      gone.hidden = Boolean(found);
      if (!found) return;
      setContent(facts[0].shown, found.plugin, () => h("a", { href: plugins(found.plugin) }, found.plugin));
      setText(facts[1].shown, found.middlewares.join(" → ") || "no middleware");
      setText(facts[2].shown, found.tenant ?? "–");
      for (const [key, plot] of plots) plot.show(history.of(`plugin ${found.plugin}`, key));
    },
    poll: () => Promise.all([members.poll(), ...(room === undefined ? [rooms.poll()] : [])]),
  };
}
