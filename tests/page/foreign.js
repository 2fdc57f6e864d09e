// A page of another origin in the operator's own browser, which tries what such a page can.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

/** Has it try against a server without a token, whose page has been opened in the same browser. */
export async function attack(browser, server) {
  const elsewhere = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<body>")).listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  const context = await browser.newContext();
  const own = await context.newPage();
  await own.goto(`${server.page}#/plugins/chat`);
  await own.locator(".status", { hasText: "serving" }).waitFor();
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const came = await page.evaluate(async (admin) => {
    const order = JSON.stringify({ plugin: "chat", action: "disable" });
    const wasSent = (init) => fetch(`${admin}api/plugins`, { method: "POST", body: order, ...init }).then((it) => it.type, () => "nothing");
    const form = (enctype) => new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), { name: enctype });
      // As text it is the order: what a form puts between a name and a value becomes part of a string.
      const field = Object.assign(document.createElement("input"), { name: `${order.slice(0, -1)},"x":"`, value: '"}' });
      const made = Object.assign(document.createElement("form"), { action: `${admin}api/plugins`, method: "POST", enctype, target: enctype });
      made.append(field);
      document.body.append(frame, made);
      // Not before: an empty frame is loaded too.
      frame.onload = resolve;
      made.submit();
    });
    document.body.append(Object.assign(document.createElement("iframe"), { id: "framed", src: admin }));
    const outcomes = {
      plain: await wasSent({ mode: "no-cors" }),
      json: await wasSent({ headers: { "Content-Type": "application/json", "Tulpar-Admin": "1" } }),
      read: await fetch(`${admin}api/overview`).then((it) => it.type, () => "nothing"),
      script: await new Promise((resolve) => {
        const script = document.createElement("script");
        [script.src, script.onload, script.onerror] = [`${admin}main.js`, () => resolve("runs"), () => resolve("nothing")];
        document.body.append(script);
      }),
    };
    await form("text/plain");
    await form("application/x-www-form-urlencoded");
    return outcomes;
  }, server.page);
  // What was sent without being asked for was not taken; of the rest nothing comes back, or is not even sent.
  assert.deepEqual({ ...came, plain: undefined }, { plain: undefined, json: "nothing", read: "nothing", script: "nothing" });
  const element = await page.locator("#framed").elementHandle();
  const framed = await element.contentFrame();
  const isRefused = () => framed.url().startsWith("chrome-error:");
  for (const end = Date.now() + 10_000; !isRefused() && Date.now() < end;) await page.waitForTimeout(50);
  assert.ok(isRefused(), "the live page stands in another page");
  // It asks once more after all of that, and the plugin serves as before.
  await own.waitForResponse((response) => response.url().endsWith("/api/overview"));
  await own.waitForResponse((response) => response.url().endsWith("/api/overview"));
  assert.equal(await own.locator(".status").first().textContent(), "serving");
  assert.ok(!server.log.some((line) => line.includes("the operator")), "an order was heard");
  await own.getByRole("button", { name: "Disable" }).click();
  await own.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await own.locator(".status", { hasText: "disabled" }).waitFor();
  await context.close();
  elsewhere.close();
}
