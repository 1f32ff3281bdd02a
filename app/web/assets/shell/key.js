// The key of the API, where the server wants one: asked for when it says 401, and kept in this tab only.

import { asked } from "./dialogs.js";
import { el } from "./dom.js";

const KEY = "millrace.key";
let asking = null;

/** `fetch` with the key. When the server answers 401 the key is asked for, and the request sent again with it. */
export async function fetchWithKey(path, options = {}) {
  while (true) {
    const key = sessionStorage.getItem(KEY);
    const headers = new Headers(options.headers);
    if (key) headers.set("Authorization", `Bearer ${key}`);
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    // Another request may have been given a new key while this one was under way.
    if (key === sessionStorage.getItem(KEY) && !(await ask(Boolean(key)))) return response;
  }
}

/** One dialog for all requests that are refused at the same time; true when a key was given. */
function ask(refused) {
  asking ??= askForKey(refused).finally(() => (asking = null));
  return asking;
}

async function askForKey(refused) {
  // `fetch` cannot send other characters, and no key has them.
  const written = { pattern: "\\s*[!-~]+\\s*", title: "A key is made of printable ASCII, without spaces." };
  const field = el("input", { class: "field", type: "password", name: "key", autocomplete: "off", required: true, ...written });
  const label = el("label", {}, el("span", { class: "visually-hidden" }, "API key"), field);
  const why = refused ? "It did not accept the last one." : "It is kept in this tab and forgotten with it.";
  const given = await asked("This server wants a key", "Use this key", el("p", {}, why), label);
  if (given) sessionStorage.setItem(KEY, field.value.trim());
  return given;
}
