// One socket: what it is, which rooms it is in, and what can be done to it.

import { get, post } from "./api.js";
import { attempt, confirm } from "./ask.js";
import { bytes, count, fact, h, namespaces, setText } from "./dom.js";
import { Table } from "./table.js";

const FACTS = [
  ["Address", (it) => it.address],
  ["State", (it) => it.state],
  ["Queued", (it) => bytes(it["queued-bytes"])],
  ["Dropped", (it) => `${count(it["dropped-messages"])} messages`],
];

export function socket(path, id) {
  const order = (action) => post("/api/sockets", { namespace: path, id, ...action });
  const facts = FACTS.map(([term]) => fact(term, "–"));
  const values = h("pre", { className: "values", tabIndex: 0, role: "region", "aria-label": "Values" });
  const gone = h("p", { className: "notice", hidden: true }, "This socket is closed.");
  const leave = async (room) => {
    await attempt(`The socket has left ${room}.`, () => order({ action: "leave", room }));
    view.poll();
  };
  const rooms = new Table("Rooms", [
    { title: "Room", head: true, make: ({ name }) => [name, () => h("a", { href: namespaces(path, name) }, name)] },
    {
      title: "Do", number: true,
      make: ({ name }) => [name, () => h("button", {
        type: "button", className: "small", "aria-label": `Leave ${name}`, onclick: () => leave(name),
      }, "Leave")],
    },
  ], ({ name }) => name, "It is in no room.");
  const more = h("p", { className: "soft", hidden: true });

  const text = h("textarea", { name: "text", rows: 2, spellcheck: false, required: true });
  const room = h("input", { name: "room", required: true, spellcheck: false, maxLength: 256 });
  const code = h("input", { name: "code", value: "1008", inputMode: "numeric", pattern: "[0-9]{4}", required: true });
  const reason = h("input", { name: "reason", placeholder: "none", maxLength: 123 });
  const submit = (work) => (event) => (event.preventDefault(), work());
  const send = h("form", {
    className: "line",
    onsubmit: submit(async () => {
      if (await attempt("The message is sent.", () => order({ action: "send", text: text.value }))) text.value = "";
    }),
  }, h("label", { className: "wide" }, "Text message", text), h("span"), h("button", {}, "Send"));
  const join = h("form", {
    className: "line",
    onsubmit: submit(async () => {
      const name = room.value;
      if (await attempt(`The socket is in ${name}.`, () => order({ action: "join", room: name }))) room.value = "";
      view.poll();
    }),
  }, h("label", {}, "Room", room), h("button", {}, "Join"));
  const kick = h("form", {
    className: "line kick",
    onsubmit: submit(async () => {
      const question = `Its connection is closed with ${code.value}${reason.value && ` (${reason.value})`}.`;
      if (!await confirm("Kick this socket?", question, "Kick")) return;
      await attempt("The socket is being closed.", () => order({ action: "kick", code: Number(code.value), reason: reason.value }));
      view.poll();
    }),
  }, h("label", {}, "Code", code), h("label", {}, "Reason", reason), h("button", { className: "danger" }, "Kick"));

  const view = {
    title: `Socket ${id.slice(0, 8)}…`,
    root: [
      h("p", { className: "back" }, h("a", { href: "#/" }, "Overview"), " › ", h("a", { href: namespaces(path) }, path)),
      h("div", { className: "head" }, h("h1", { tabIndex: -1 }, "Socket "), h("code", {}, id)),
      gone,
      h("dl", { className: "facts card" }, facts.map(({ root }) => root)),
      h("div", { className: "columns" },
        h("section", { className: "card", "aria-label": "Do something" },
          h("h2", {}, "Send"), send, h("h2", {}, "Put into a room"), join, h("h2", {}, "Kick"), kick),
        h("div", { className: "stack" },
          h("div", { className: "card" }, rooms.root, more),
          h("div", { className: "card" }, h("h2", {}, "Values"), values))),
    ],
    show() {},
    async poll() {
      let found;
      try {
        found = await get("/api/socket", { namespace: path, id });
      } catch (error) {
        if (error.status !== 404) throw error;
      }
      gone.hidden = Boolean(found);
      for (const button of [send, join, kick].flatMap((form) => [...form.elements])) button.disabled = !found;
      if (!found) {
        setText(facts[1].shown, "closed");
        return rooms.show([]);
      }
      FACTS.forEach(([, write], index) => setText(facts[index].shown, write(found)));
      setText(values, found.values === null ? "none" : pretty(found.values));
      rooms.show(found.rooms.items.map((name) => ({ name })));
      more.hidden = found.rooms.next === null;
      setText(more, `The first ${count(found.rooms.items.length)} of ${count(found.rooms.total)}.`);
    },
  };
  return view;
}

/** JSON with its lines broken. Numbers that JavaScript cannot hold would change, and then it stays as it is. */
function pretty(json) {
  try {
    const parsed = JSON.parse(json);
    return JSON.stringify(parsed) === json ? JSON.stringify(parsed, null, 2) : json;
  } catch {
    return json;
  }
}
