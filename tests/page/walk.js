// A walk through the live page in a real browser: node walk.js TULPAR GUESTS SCREENSHOTS
//
// It fails when something on the way is not as it should be, when the browser complains of anything, or when somebody
// could not use the page who does not see it.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { attack } from "./foreign.js";
import { start } from "./server.js";

const [binary, guests, screenshots] = process.argv.slice(2).map((path) => resolve(path));
const guest = (name) => join(guests, `${name}.wasm`);
const TOKEN = "the-token-of-the-walk";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(screenshots, { recursive: true });

const server = await start(binary, {
  "chat.wasm": guest("chat"),
  "chat-rooms.wasm": guest("chat_rooms"),
  "ws-visitor.wasm": guest("ws_visitor"),
  "acme/echo.wasm": guest("echo"),
  "acme/chat.wasm": guest("chat"),
}, `[admin]\nlisten = "127.0.0.1:0"\ntoken = "${TOKEN}"\nuploads = true\n[limits]\ndeadline-ms = 2000\n`);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const complaints = [];

/** A page whose every complaint is kept, but for answers that the walk itself asks for. */
async function open(address, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("console", (message) => {
    const expected = /Failed to load resource.*\b(401|404|409|422)\b/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !expected) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const { hostname } = new URL(request.url());
    if (!["127.0.0.1", ""].includes(hostname)) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(address);
  return page;
}

let step = "the start";
const does = (text) => console.log(`  ${(step = text)}`);

/** Has a checker look for what keeps somebody from using the page. */
async function check(page, name) {
  // It is put in by the driver, past the page's own policy.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).slice(0, 3).join(" ")}`);
  assert.deepEqual(found, [], name);
}

async function shoot(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await check(page, `${name}, ${colorScheme}`);
    await page.screenshot({ path: join(screenshots, `${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.setViewportSize({ width: 360, height: 740 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `${name} is ${wide} pixels wide on a screen of 360`);
  await page.screenshot({ path: join(screenshots, `${name}-narrow.png`), fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}

const outcome = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();
const focused = (page) => page.evaluate(() => document.activeElement.textContent.trim());

async function walk() {
  does("connects two clients side by side on the page to try it");
  const tried = await open(`${server.main}/#/chat`);
  const clients = tried.locator(".panel");
  assert.equal(await clients.count(), 2);
  for (const index of [0, 1]) {
    await clients.nth(index).getByRole("button", { name: "Connect" }).click();
    await clients.nth(index).getByText("opened").waitFor();
  }
  await check(tried, "the page to try it");

  does("asks for the token, and takes no other");
  const page = await open(server.page);
  const dialog = page.getByRole("dialog", { name: "The token" });
  await dialog.waitFor();
  await shoot(page, "token");
  await dialog.getByLabel("Token").fill("another-token-of-nobody");
  await page.keyboard.press("Enter");
  await dialog.getByText("That was not it").waitFor();
  await dialog.getByLabel("Token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  assert.ok(!page.url().includes(TOKEN));

  does("shows who is connected and what is sent");
  const namespaces = page.getByRole("table", { name: "Namespaces" });
  const chat = namespaces.getByRole("row").filter({ has: page.getByRole("link", { name: "/chat", exact: true }) }).first();
  await chat.getByRole("cell", { name: "2", exact: true }).waitFor();
  await namespaces.getByText("Tenant acme").waitFor();
  const message = clients.first().getByLabel("Message");
  const talking = (async () => {
    for (let said = 0; said < 40; said += 1) {
      await message.fill('{"type":"message","message":"Hello"}');
      await message.press("Enter");
    }
  })();
  const plot = page.locator("figure").filter({ hasText: "Messages received" });
  await plot.getByText(/0 to [1-9][0-9.]* in the last/).waitFor();
  await talking;
  await shoot(page, "overview");

  does("goes down to a socket by the keyboard alone");
  await page.keyboard.press("Home");
  await page.getByRole("link", { name: "/chat", exact: true }).first().focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Namespace /chat" }).waitFor();
  assert.equal(await focused(page), "Namespace /chat");
  const sockets = page.getByRole("table", { name: "Sockets" });
  await sockets.getByRole("link").nth(1).waitFor();
  await shoot(page, "namespace");
  const id = await sockets.getByRole("link").first().textContent();
  await page.getByLabel("Search sockets").fill(id.slice(0, 20));
  await page.getByText("1 found among 2").waitFor();
  for (let presses = 0; await focused(page) !== id; presses += 1) {
    assert.ok(presses < 20, "the link to the socket is not reached by Tab");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1 }).filter({ hasText: "Socket" }).waitFor();

  does("sends to it, and the client has it");
  const text = "from the operator <b>not bold</b>";
  await page.getByLabel("Text message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await outcome(page, "The message is sent");
  await tried.getByText(text).waitFor();

  does("puts it into a room and takes it out again");
  await page.getByLabel("Room", { exact: true }).fill("<i>lobby</i>");
  await page.getByRole("button", { name: "Join" }).click();
  await outcome(page, "The socket is in <i>lobby</i>");
  await page.getByRole("link", { name: "<i>lobby</i>" }).waitFor();
  await shoot(page, "socket");
  await page.getByRole("link", { name: "<i>lobby</i>" }).click();
  await page.getByRole("heading", { level: 1, name: "Room <i>lobby</i>" }).waitFor();
  await page.getByRole("link", { name: id }).click();
  await page.getByRole("button", { name: "Leave <i>lobby</i>" }).click();
  await outcome(page, "has left");
  await page.getByText("It is in no room").waitFor();

  does("kicks it, once that is confirmed");
  await page.getByLabel("Code").fill("4001");
  await page.getByLabel("Reason").fill("enough");
  await page.getByRole("button", { name: "Kick" }).click();
  const question = page.getByRole("dialog", { name: "Kick this socket?" });
  await question.waitFor();
  assert.equal(await focused(page), "Leave it");
  await shoot(page, "confirm");
  await page.keyboard.press("Escape");
  await question.waitFor({ state: "hidden" });
  assert.equal(await focused(page), "Kick");
  await page.keyboard.press("Enter");
  await question.waitFor();
  // Left and asked again before the browser has told of the leaving: the answer is that to the second question.
  await page.evaluate(() => {
    document.querySelector("dialog[open] button:not(.danger)").click();
    document.activeElement.click();
  });
  await question.getByRole("button", { name: "Kick" }).click();
  await tried.getByText("4001 (the application's own code): enough").waitFor();
  await page.getByText("This socket is closed").waitFor();

  does("shows the log about a plugin as it comes");
  await page.getByRole("link", { name: "Overview" }).first().click();
  await page.getByRole("table", { name: "Plugins" }).getByRole("link", { name: "chat", exact: true }).click();
  const log = page.getByRole("log");
  await log.getByText(`conn=${id}`).first().waitFor();
  await log.getByText("Client disconnected").waitFor();
  const kicked = clients.filter({ has: tried.locator(".state", { hasText: "closed" }) });
  await kicked.getByRole("button", { name: "Connect" }).click();
  await log.getByText("Client connected").nth(2).waitFor();
  await page.getByLabel("Filter the lines").fill("operator");
  await log.getByText("Client connected").first().waitFor({ state: "hidden" });
  await page.getByLabel("Filter the lines").fill("");
  await shoot(page, "plugin");

  does("disables it and enables it again");
  await page.getByRole("button", { name: "Disable" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await outcome(page, "chat is disabled");
  await page.getByText("disabled", { exact: true }).waitFor();
  await tried.getByText("1001 (going away)").first().waitFor();
  await page.getByRole("button", { name: "Enable" }).click();
  await outcome(page, "chat is enabled");
  await page.locator(".status", { hasText: "serving" }).waitFor();

  does("uploads another file for a plugin, and rolls it back");
  await page.goto(`${server.page}#/plugins/acme/chat`);
  await page.locator(".status", { hasText: "serving" }).waitFor();
  await page.getByLabel("File").setInputFiles(guest("chat_info"));
  await page.getByRole("button", { name: "Upload" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Upload" }).click();
  await outcome(page, "acme/chat.wasm is in the plugins folder");
  await page.getByRole("link", { name: "/acme/chat-info" }).waitFor();
  await page.getByRole("button", { name: "Roll back" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await page.locator(".status", { hasText: "rolled back" }).waitFor();
  await page.getByLabel("File").setInputFiles({ name: "x.wasm", mimeType: "application/wasm", buffer: Buffer.from("no") });
  await page.getByRole("button", { name: "Upload" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Upload" }).click();
  await outcome(page, "Not done: the file is not WebAssembly");

  does("leads to where the namespaces are tried");
  await page.getByRole("navigation").getByRole("link", { name: "Try it" }).click();
  const link = page.getByRole("link", { name: "/chat", exact: true });
  assert.equal(await link.getAttribute("href"), `${server.main}/#/chat`);
  await shoot(page, "try");
  await page.goto(`${server.page}#/nowhere`);
  await page.getByRole("heading", { name: "There is no such view" }).waitFor();

  does("hears nothing from a page of elsewhere");
  const unguarded = await start(binary, { "chat.wasm": guest("chat") }, '[admin]\nlisten = "127.0.0.1:0"\n');
  await attack(browser, unguarded).finally(unguarded.stop);

  does("leads past the navigation, and says when the server is gone");
  await page.goto(server.page);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the content");
  await server.stop();
  await page.getByText("the server does not answer").waitFor();
}

try {
  await walk();
  // What is asked while the server goes.
  const rest = complaints.filter((complaint) => !/ERR_CONNECTION_(REFUSED|RESET)|ERR_EMPTY_RESPONSE|WebSocket connection/.test(complaint));
  assert.deepEqual(rest, [], "the browser complains");
  console.log(`The live page is as it should be; pictures of it are in ${screenshots}.`);
} catch (error) {
  console.error(`While it ${step}: ${error.stack}`);
  console.error(["The browser said:", ...complaints, "The server said:", ...server.log.slice(-20)].join("\n"));
  for (const [index, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
    await page.screenshot({ path: join(screenshots, `failed-${index}.png`) }).catch(() => {});
  }
  process.exitCode = 1;
} finally {
  await browser.close();
  await server.stop().catch(() => {});
}
