// A plugin's file, from this machine into the server's plugins folder.

import { upload } from "./api.js";
import { attempt, confirm } from "./ask.js";
import { h } from "./dom.js";

/** A form for it; for the plugin of that name, or of a name that is to be said. */
export function uploadForm(name) {
  const file = h("input", { type: "file", accept: ".wasm", required: true });
  const plugin = h("input", { defaultValue: name ?? "", required: true, spellcheck: false, placeholder: "NAME or TENANT/NAME" });
  file.onchange = () => {
    if (!name && !plugin.value) plugin.value = file.files[0]?.name.replace(/\.wasm$/, "") ?? "";
  };
  const send = async (event) => {
    event.preventDefault();
    const [key, chosen] = [plugin.value.trim(), file.files[0]];
    const question = `${chosen.name} goes into the plugins folder as ${key}.wasm, and replaces what is there.`;
    if (!await confirm("Upload?", question, "Upload")) return;
    const taken = await attempt(`${key}.wasm is in the plugins folder. What becomes of it shows in a moment`, () => upload(key, chosen));
    if (taken) event.target.reset();
  };
  return [
    h("h2", {}, name ? "Replace it" : "Upload a plugin"),
    h("form", { className: "line", onsubmit: send },
      h("label", { className: "wide", hidden: Boolean(name) }, "Name", plugin),
      h("label", {}, "File", file), h("button", {}, "Upload")),
  ];
}
