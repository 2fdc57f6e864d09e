// A server of the page's own: a folder with a few plugins, started and stopped.

import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

/** Starts the server with these plugins, by their places in the folder; `settings` is its configuration. */
export async function start(binary, plugins, settings) {
  const folder = mkdtempSync(join(tmpdir(), "tulpar-page-"));
  for (const [place, file] of Object.entries(plugins)) {
    const target = join(folder, "plugins", place);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
  writeFileSync(join(folder, "tulpar.toml"), settings);
  const args = ["serve", "--dev", "--listen", "127.0.0.1:0"];
  const child = spawn(binary, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  createInterface(child.stderr).on("line", (line) => log.push(line));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true });
  };
  let page;
  for await (const line of createInterface(child.stdout)) {
    page = line.match(/^the live page: (.*)$/)?.[1] ?? page;
    const main = line.match(/^listening on (.*)$/)?.[1];
    if (main) return { main, page, log, stop };
  }
  await stop();
  throw new Error(`the server does not start:\n${log.join("\n")}`);
}
