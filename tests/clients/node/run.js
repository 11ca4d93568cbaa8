// Starts `linarite up`, then the tests with an environment in which Node trusts it: Node reads
// NODE_EXTRA_CA_CERTS only when it starts.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const READY_MS = 30_000;
const STOP_MS = 15_000;

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = process.env.LINARITE_BIN ?? join(here, "../../../target/debug/linarite");

if (!existsSync(binary)) {
  console.error(
    `${binary} is missing; run \`cargo build -p linarite\`, or name a binary in LINARITE_BIN`,
  );
  process.exit(1);
}

const emulator = spawn(binary, ["up", "--json"], { stdio: ["ignore", "pipe", "inherit"] });
const ended = once(emulator, "exit");
try {
  const ready = await readyLine();
  const running = spawn(
    process.execPath,
    ["--test", "--test-concurrency=1", "--test-reporter=spec", ...tests()],
    {
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        LINARITE_READY: ready,
        NODE_EXTRA_CA_CERTS: JSON.parse(ready).ca_pem,
      },
    },
  );
  const [code] = await once(running, "exit");
  process.exitCode = code ?? 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  emulator.kill("SIGTERM");
  const overdue = setTimeout(() => emulator.kill("SIGKILL"), STOP_MS);
  const [code] = await ended;
  clearTimeout(overdue);
  if (code !== 0) {
    console.error(`the emulator ended with exit code ${code} when asked to stop`);
    process.exitCode = 1;
  }
}

/** The files with tests. One after the other: they count what is at the hub. */
function tests() {
  const files = readdirSync(here).filter((file) => file.endsWith(".test.js"));
  return files.sort().map((file) => join(here, file));
}

/** The one line of JSON that says where everything is. It holds keys: never print it. */
async function readyLine() {
  const overdue = AbortSignal.timeout(READY_MS);
  const line = once(createInterface(emulator.stdout), "line", { signal: overdue }).then(
    ([text]) => text,
    () => {
      throw new Error(`\`linarite up --json\` was not ready in ${READY_MS / 1000} s`);
    },
  );
  const early = ended.then(([code]) => {
    throw new Error(`\`linarite up --json\` ended at once with exit code ${code}`);
  });
  return Promise.race([line, early]);
}
