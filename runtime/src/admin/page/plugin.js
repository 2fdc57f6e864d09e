// One plugin: what it does and costs, what can be done about it, and what the log says about it.

import { get, post } from "./api.js";
import { attempt, confirm } from "./ask.js";
import { about, bytes, count, fact, h, namespaces, setContent, setText, status } from "./dom.js";
import { Log } from "./log.js";
import { statusMark } from "./overview.js";
import { Plot } from "./plot.js";
import { uploadForm } from "./upload.js";

/** What can be done, whether it can at the moment, and what is asked before. */
const ACTIONS = [
  {
    action: "disable", label: "Disable", done: "disabled", danger: true,
    can: (plugin) => plugin.status !== "disabled",
    ask: "Its sockets are closed with 1001 and it is served no more, also after a restart, until it is enabled.",
  },
  { action: "enable", label: "Enable", done: "enabled", can: (plugin) => plugin.status === "disabled" },
  {
    action: "roll-back", label: "Roll back", done: "rolled back",
    can: (plugin) => plugin["has-previous"] && plugin.status !== "disabled",
    ask: "It becomes what it was before its file was replaced, with its sockets open. Done twice it leads back.",
  },
  { action: "release", label: "Release", done: "released from quarantine", can: (plugin) => plugin.status === "quarantined" },
];

const calls = ({ calls }) => Object.values(calls).reduce((all, { count }) => all + count, 0);
const ofEach = (counts) => Object.entries(counts).map(([name, number]) => `${count(number)} ${name}`).join(", ");

const FACTS = [
  ["Missing middlewares", (it) => Object.entries(it.missing).map(([path, names]) => `${names.join(", ")} for ${path}`).join("; ")],
  ["Generation", (it) => it.generation ?? "–"],
  ["Instances", (it) => count(it.uses.instances)],
  ["Calls", (it) => count(calls(it))],
  ["Computed for", (it) => `${about(it["cpu-seconds"])} s`],
  ["Failures", (it) => count(it.failures)],
  ["Traps", (it) => count(it.traps)],
  ["Took too long", (it) => count(it.overruns)],
  ["Quarantines", (it) => count(it.quarantines)],
  ["Replaced", (it) => `${count(it.replaced)}, ${count(it["replacements-failed"])} failed`],
  ["Messages dropped", (it) => count(it.messages.dropped)],
  ["Slow sockets closed", (it) => count(it.messages["slow-consumers"])],
  ["Decisions", (it) => ofEach(it.decisions)],
  ["Responses", (it) => ofEach(it.responses)],
];

export function plugin(name) {
  const owner = `plugin ${name}`;
  const mark = h("span");
  const missing = h("p", { className: "notice", hidden: true });
  const serves = h("p", { className: "soft" });
  const facts = FACTS.map(([term]) => fact(term, "–"));
  const plots = [
    ["sockets", new Plot("Sockets", count)],
    ["calls", new Plot("Calls", about, "a second")],
    ["cpu-ms", new Plot("It computes", about, "ms a second")],
    ["memory-bytes", new Plot("Memory", bytes)],
  ];
  const buttons = ACTIONS.map(({ action, label, done, danger, ask }) => h("button", {
    type: "button", className: danger ? "danger" : "", disabled: true,
    onclick: async () => {
      if (ask && !await confirm(`${label} ${name}?`, ask, label)) return;
      await attempt(`${name} is ${done}.`, () => post("/api/plugins", { plugin: name, action }));
    },
  }, label));
  const uploads = h("section", { className: "card", hidden: true, "aria-label": "Replace it" });
  const log = new Log();
  // The last line that was read, and whose count that is.
  let [last, counting] = [0, undefined];
  return {
    title: name,
    root: [
      h("p", { className: "back" }, h("a", { href: "#/" }, "Overview")),
      h("div", { className: "head" }, h("h1", { tabIndex: -1 }, `Plugin ${name}`), mark),
      missing, serves,
      h("div", { className: "row", role: "group", "aria-label": "What can be done" }, buttons),
      h("section", { className: "plots", "aria-label": "Numbers" }, plots.map(([, plot]) => plot.root)),
      h("dl", { className: "facts card" }, facts.map(({ root }) => root)),
      h("section", { className: "card", "aria-label": "Log" }, h("h2", {}, "Log"), log.root),
      uploads,
    ],
    show({ server, plugins }, history) {
      const found = plugins.find((plugin) => plugin.name === name);
      const why = found ? found.refusal && `Its file, as it is now, is refused: it ${found.refusal}.` : "There is no such plugin now.";
      missing.hidden = !why;
      setText(missing, why ?? "");
      uploads.hidden = !server.uploads;
      if (server.uploads) setContent(uploads, "form", () => uploadForm(name));
      ACTIONS.forEach(({ can }, index) => disable(buttons[index], !(found && can(found))));
      if (!found) return;
      setContent(mark, status(found), () => statusMark(found));
      setContent(serves, found.serves.join(), () => ["Serves ", ...found.serves.flatMap((it, index) => [
        index ? ", " : "", it.startsWith("/") && !it.endsWith("/") ? h("a", { href: namespaces(it) }, it) : it,
      ])]);
      FACTS.forEach(([, write], index) => {
        const [text, { root, shown }] = [write(found), facts[index]];
        root.hidden = text === "";
        setText(shown, text);
      });
      for (const [key, plot] of plots) plot.show(history.of(owner, key));
    },
    async poll() {
      const { node, lines } = await get("/api/log", { plugin: name, after: last });
      if (counting !== undefined && counting !== node) {
        // A server that has started anew counts anew. Next time it tells all that it has.
        [counting, last] = [node, 0];
        log.clear();
        return;
      }
      counting = node;
      if (lines.length === 0) return;
      last = lines.at(-1).number;
      log.add(lines);
    },
  };
}

/** A button that cannot be used any more hands the focus on. */
function disable(button, disabled) {
  if (button.disabled === disabled) return;
  if (disabled && document.activeElement === button) document.querySelector("h1").focus();
  button.disabled = disabled;
}
