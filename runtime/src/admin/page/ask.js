// What the page asks and tells whoever looks at it.

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
    say(`Not done: ${error.message}.`, true);
    return false;
  }
}

/** Whether it is really to be done. Who leaves the question has said no. */
export function confirm(title, text, yes) {
  const dialog = find("confirm");
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    let answer = false;
    find("confirm-yes").onclick = () => (answer = true, dialog.close());
    find("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
    find("confirm-no").focus();
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
