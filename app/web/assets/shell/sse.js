// Reads server-sent events from a fetch response; unlike EventSource, fetch can send a body and a key.

/** The server pings every 15 seconds: if it is silent for longer, the connection is dead without having been closed. */
const SILENT_MS = 45_000;

/**
 * Yields the data of each event of `response` as text, in order. Comments, such as pings, are skipped. Throws a
 * TypeError, as `fetch` does, when the connection breaks or falls silent.
 */
export async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { value, done } = await unlessSilent(reader.read());
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = dataOf(event);
        if (data !== null) yield data;
      }
    }
  } finally {
    // Leaving the loop early (by a break or an error) must close the connection too.
    reader.cancel().catch(() => {});
  }
}

function unlessSilent(reading) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TypeError("The connection is silent.")), SILENT_MS);
    reading.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function dataOf(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length ? lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n") : null;
}
