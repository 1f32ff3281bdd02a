// The API key, if the server requires one: the reader is asked for it on a 401, and it is stored in this tab only.

import { asked } from "./dialogs.js";
import { el } from "./dom.js";

const KEY = "millrace.key";
let asking = null;

/** `fetch` with the key. On a 401 the reader is asked for the key, and the request is repeated with it. */
export async function fetchWithKey(path, options = {}) {
  while (true) {
    const key = sessionStorage.getItem(KEY);
    const headers = new Headers(options.headers);
    if (key) headers.set("Authorization", `Bearer ${key}`);
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    // Another request may have obtained a new key while this one was in flight.
    if (key === sessionStorage.getItem(KEY) && !(await ask(Boolean(key)))) return response;
  }
}

/** One dialog for all requests that are refused at the same time. Resolves to whether a key was entered. */
function ask(refused) {
  asking ??= askForKey(refused).finally(() => (asking = null));
  return asking;
}

async function askForKey(refused) {
  // `fetch` cannot send other characters, and no key contains them.
  const written = { pattern: "\\s*[!-~]+\\s*", title: "A key consists of printable ASCII characters, without spaces." };
  const field = el("input", { class: "field", type: "password", name: "key", autocomplete: "off", required: true, ...written });
  const label = el("label", {}, el("span", { class: "visually-hidden" }, "API key"), field);
  const why = refused ? "It did not accept the last one." : "It is stored in this tab only, until the tab is closed.";
  const given = await asked("This server requires a key", "Use this key", el("p", {}, why), label);
  if (given) sessionStorage.setItem(KEY, field.value.trim());
  return given;
}
