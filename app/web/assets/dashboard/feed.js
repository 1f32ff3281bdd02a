// The stream of statistics, which is reopened whenever it ends.

import { fetchWithKey } from "../shell/key.js";
import { readEvents } from "../shell/sse.js";

const PATH = "v1/stats/stream";
const RETRY_MS = 1_000;
const SILENT_MS = 10_000;

/**
 * Passes every event to `onEvent`, and the state of the connection to `onState`: "live", "lost" (no response, or no more
 * events), "locked" (it requires a key that was not given), "closed" (no key would open it), or "full" (there are too
 * many subscribers). If `onState` returns a promise, it is awaited before the next attempt.
 */
export async function follow(onEvent, onState) {
  while (true) {
    await onState(await once(onEvent, onState));
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Reads one connection until its end. Returns the resulting state. */
async function once(onEvent, onState) {
  const silence = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENT_MS);
  };
  try {
    heard();
    const response = await fetchWithKey(PATH, { cache: "no-store", signal: silence.signal });
    if (response.status === 401) return "locked";
    if (response.status === 403) return "closed";
    if (response.status === 429) return "full";
    if (!response.ok) return "lost";
    for await (const data of readEvents(response)) {
      if (data === "[DONE]") break;
      heard();
      onEvent(JSON.parse(data));
      onState("live");
    }
    return "lost";
  } catch (error) {
    // A broken connection is a TypeError, a silent one an AbortError; anything else is a bug of ours.
    if (!(error instanceof TypeError) && error.name !== "AbortError") throw error;
    return "lost";
  } finally {
    clearTimeout(timer);
  }
}
