// What the server is asked, always with the token when there is one.

import { askForToken } from "./ask.js";

const KEY = "tulpar-admin-token";

/** The server does not do it, and says why. */
export class Refused extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

/** The server gives no answer. What it was told to do it may have done all the same, or do it later. */
export class Unreachable extends Error {}

/** How long an answer may take, in milliseconds, and one to what changes something, which may have to wait for its turn. */
const [PATIENCE, PATIENCE_WITH_CHANGES] = [10_000, 150_000];

/** What a token is made of. A header takes nothing else. */
const TOKEN = /^[\x21-\x7e]+$/;

async function reach(path, options, patience) {
  try {
    return await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(patience) });
  } catch {
    throw new Unreachable("the server does not answer");
  }
}

async function ask(method, path, query = {}, body, type) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    if (token !== null && !TOKEN.test(token)) {
      sessionStorage.setItem(KEY, await askForToken(true));
      continue;
    }
    const headers = { "Tulpar-Admin": "1" };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (type) headers["Content-Type"] = type;
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    const search = given.length ? `?${new URLSearchParams(given)}` : "";
    const answer = await reach(path + search, { method, headers, body }, method === "GET" ? PATIENCE : PATIENCE_WITH_CHANGES);
    if (answer.status === 401) {
      sessionStorage.setItem(KEY, await askForToken(token !== null));
      continue;
    }
    const said = await answer.json().catch(() => null);
    if (!answer.ok) throw new Refused(answer.status, said?.error ?? `the server answers ${answer.status}`);
    // It has stopped in the middle of its answer.
    if (said === null) throw new Unreachable("the server does not answer");
    return said;
  }
}

export const get = (path, query) => ask("GET", path, query);
export const post = (path, order) => ask("POST", path, {}, JSON.stringify(order), "application/json");
export const upload = (plugin, file) => ask("PUT", "/api/plugins", { plugin }, file, "application/wasm");
