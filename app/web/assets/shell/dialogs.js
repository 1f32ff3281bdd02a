// Asks the reader a question in a dialog.

import { el } from "./dom.js";

/** Show a dialog with `content` and two buttons. Resolves to whether `action` was chosen. */
export function asked(title, action, ...content) {
  const cancel = el("button", { class: "button", type: "button" }, "Cancel");
  const end = el("div", { class: "dialog-end" }, cancel, el("button", { class: "button primary" }, action));
  const form = el("form", { method: "dialog" }, el("h2", {}, title), ...content, end);
  const dialog = el("dialog", { "aria-label": title }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    cancel.addEventListener("click", () => dialog.close(""));
    form.addEventListener("submit", () => (dialog.returnValue = "chosen"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "chosen");
    });
  });
}

export function confirmed(title, text, action) {
  return asked(title, action, el("p", {}, text));
}
