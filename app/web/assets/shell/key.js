// The key of the API, where the server wants one: asked for when it says 401, and kept in this tab only.

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
  asking ??= show(refused).finally(() => (asking = null));
  return asking;
}

function show(refused) {
  const field = el("input", { class: "field", type: "password", name: "key", autocomplete: "off", required: true });
  const cancel = el("button", { class: "button", type: "button" }, "Cancel");
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", {}, "This server wants a key"),
    el("p", {}, refused ? "It did not accept the last one." : "It is kept in this tab and forgotten with it."),
    el("label", {}, el("span", { class: "visually-hidden" }, "API key"), field),
    el("div", { class: "dialog-end" }, cancel, el("button", { class: "button primary" }, "Use this key")),
  );
  const dialog = el("dialog", { "aria-label": "API key" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    cancel.addEventListener("click", () => dialog.close(""));
    form.addEventListener("submit", () => {
      sessionStorage.setItem(KEY, field.value.trim());
      dialog.returnValue = "given";
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given");
    });
  });
}
