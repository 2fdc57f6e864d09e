// Where to try the namespaces: the page for that is the server's own, so that its sockets are those of a page that may.

import { h, setContent } from "./dom.js";

/** The server's address as this browser reaches it; none for a Unix socket. */
function reachable(address) {
  if (!/^https?:/.test(address)) return null;
  const url = new URL(address);
  // It listens everywhere: also where this page is from.
  if (["0.0.0.0", "[::]"].includes(url.hostname)) url.hostname = location.hostname;
  return url.origin;
}

export function tryIt() {
  const card = h("section", { className: "card", "aria-label": "Clients" });
  return {
    title: "Try it",
    root: [h("div", { className: "head" }, h("h1", { tabIndex: -1 }, "Try it")), card],
    show({ server, namespaces }) {
      const origin = reachable(server.address);
      const paths = namespaces.map(({ path }) => path);
      setContent(card, JSON.stringify([origin, server.dev, paths]), () => {
        if (!server.dev) return h("p", {}, "The page with clients to try the namespaces with is there when the server runs with ", h("code", {}, "--dev"), ".");
        if (!origin) return h("p", {}, `The server listens on ${server.address}, which a browser does not reach.`);
        const open = (path, text) => h("a", { href: `${origin}/#${path}`, target: "_blank", rel: "noreferrer" }, text);
        return [
          h("p", {}, "Several clients side by side, each with its own query, subprotocol and log. It opens in a tab of its own."),
          paths.length ? h("ul", {}, paths.map((path) => h("li", {}, open(path, path)))) : h("p", {}, "No namespace is served yet."),
        ];
      });
    },
  };
}
