// The shape all JavaScript drivers share: commands come in as JSON lines, what happens goes out as JSON lines.
// pytest holds the other end (tests/clients/driver.py) and makes every decision.
import { createInterface } from "node:readline";

// Numbers as they are, bigints and bytes in a readable form: enough for the tests to compare.
function plain(_key, value) {
  if (typeof value === "bigint") return { bigint: value.toString() };
  if (value instanceof ArrayBuffer) return { bytes: Buffer.from(value).toString("hex") };
  return value;
}

export function report(event, of, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, of, ...fields }, plain)}\n`);
}

export function reportError(event, of, error) {
  const isConvexError = error?.[Symbol.for("ConvexError")] === true;
  report(event, of, { message: String(error?.message ?? error), isConvexError, data: isConvexError ? error.data : null });
}

// `handlers[do](command)`; a promise that it returns is reported as `done` or `failed`.
export async function serve(handlers) {
  process.on("unhandledRejection", (error) => reportError("crashed", "driver", error));
  report("ready", "driver");
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const result = handlers[command.do](command);
    if (result instanceof Promise) {
      result.then(
        (value) => report("done", command.as, { value: value ?? null }),
        (error) => reportError("failed", command.as, error),
      );
    }
  }
  process.exit(0);
}
