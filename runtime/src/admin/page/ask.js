// What the page asks and tells whoever looks at it.

import { h } from "./dom.js";

const find = (id) => document.getElementById(id);

/** Tells what came of something. */
export function say(text, bad = false) {
  const said = find("said");
  said.classList.toggle("bad", bad);
  said.textContent = text;
}

/** Does something, and tells what came of it. Gives whether it was done. */
export async function attempt(done, work) {
  say("");
  try {
    await work();
    say(done);
    return true;
  } catch (error) {
    say(error.status ? `Not done: ${error.message}.` : `It may be done or not: ${error.message}.`, true);
    return false;
  }
}

/**
 * Whether it is really to be done. Who leaves the question has said no.
 * Each question is an element of its own: a closed one hears of that a moment later, when the next may be open.
 */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const close = (said) => () => (answer = said, dialog.close());
    const no = h("button", { type: "button", onclick: close(false) }, "Leave it");
    const closed = () => (dialog.remove(), resolve(answer));
    const dialog = h("dialog", { "aria-label": title, "aria-description": text, onclose: closed },
      h("h2", {}, title),
      h("p", {}, text),
      h("div", { className: "row end" }, no,
        h("button", { type: "button", className: "danger", onclick: close(true) }, yes)));
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}

let asking;

/** The token that somebody enters. All who need it wait for the same one. */
export function askForToken(wasWrong) {
  return (asking ??= new Promise((resolve) => {
    const [dialog, text] = [find("token"), find("token-text")];
    find("token-wrong").textContent = wasWrong ? "That was not it." : "";
    text.value = "";
    // There is nothing to be seen without it.
    dialog.oncancel = (event) => event.preventDefault();
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      asking = undefined;
      dialog.close();
      resolve(text.value.trim());
    };
    dialog.showModal();
    text.focus();
  }));
}
