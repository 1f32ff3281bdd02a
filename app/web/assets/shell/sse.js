// Server-sent events read from a fetch response, which unlike EventSource can send a body and a key.

/** The server pings every 15 seconds: whoever says nothing for longer has gone without the connection's noticing. */
const SILENT_MS = 45_000;

/**
 * Gives the data of each event of `response` as text, in order. Comments, such as pings, are left out. Throws a
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
    // Leaving the loop early (a break, an error) must let go of the connection too.
    reader.cancel().catch(() => {});
  }
}

function unlessSilent(reading) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TypeError("Nothing comes any more.")), SILENT_MS);
    reading.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function dataOf(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length ? lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n") : null;
}
