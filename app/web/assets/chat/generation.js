// One streaming request for tokens to the server's API, and the errors it can end with.

import { fetchWithKey } from "../shell/key.js";
import { readEvents } from "../shell/sse.js";
import { nextTask } from "./frames.js";

const MAX_READ_MS = 10;
const PASSING = new Set([429, 502, 503, 504]);
/** Errors that would occur again, whatever their status, or only after as long a wait. */
const LASTING = new Set(["engine_error", "internal_error", "kills_engine", "request_timeout"]);

/** A rejection by the server, or an error event within the stream. `passing` says that a retry may succeed. */
class ServerError extends Error {
  constructor(error, status, retryAfter = 0) {
    super(error.message);
    this.code = error.code ?? error.type;
    this.passing = PASSING.has(status) && !LASTING.has(this.code);
    this.retryAfter = retryAfter;
  }
}

/** The connection could not be established, or ended before the answer did. */
export class ConnectionLost extends Error {
  passing = true;
  retryAfter = 0;
}

/** Yields the chunks of the response to `body`, each with the usage so far. */
export async function* generate(path, body, signal) {
  const options = { include_usage: true, continuous_usage_stats: true };
  const response = await post(path, { ...body, stream: true, stream_options: options }, signal);
  if (!response.ok) throw await refusal(response);
  let began = performance.now();
  try {
    for await (const data of readEvents(response)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      // The stream started with 200, so its errors are the engine's, which will be restarted.
      if (chunk.error) throw new ServerError(chunk.error, 503);
      yield chunk;
      if (performance.now() - began > MAX_READ_MS) {
        await nextTask();
        began = performance.now();
      }
    }
  } catch (error) {
    throw error instanceof TypeError ? new ConnectionLost("The connection to the server broke off.") : error;
  }
  throw new ConnectionLost("The connection ended before the answer did.");
}

async function post(path, body, signal) {
  try {
    const headers = { "Content-Type": "application/json" };
    return await fetchWithKey(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    throw error instanceof TypeError ? new ConnectionLost("The server does not respond.") : error;
  }
}

async function refusal(response) {
  // For a server that is loading, its health says sooner when it is ready.
  const retryAfter = response.status === 429 ? Number(response.headers.get("Retry-After")) || 0 : 0;
  try {
    return new ServerError((await response.json()).error, response.status, retryAfter);
  } catch {
    const error = { message: `The server answered ${response.status} ${response.statusText}.`, code: "unexpected" };
    return new ServerError(error, response.status, retryAfter);
  }
}
