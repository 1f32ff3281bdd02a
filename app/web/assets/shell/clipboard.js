// Copying to the clipboard. Over plain HTTP, except on localhost, browsers only offer the old way.

import { el } from "./dom.js";
import { icon } from "./icons.js";

const SHOWN_MS = 1_500;

export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = el("textarea", { class: "visually-hidden", value: text, readOnly: true });
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("The browser does not allow copying.");
}

/** A button that copies the result of `text()` when it is pressed, and confirms it. */
export function copyButton(text, label = "Copy") {
  const button = el("button", { class: "button quiet icon", type: "button", title: label, "aria-label": label }, icon("copy"));
  button.addEventListener("click", async () => {
    let outcome = "Copied";
    try {
      await copy(text());
    } catch {
      outcome = "Copying failed";
    }
    button.replaceChildren(icon(outcome === "Copied" ? "check" : "close"));
    button.setAttribute("aria-label", outcome);
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, SHOWN_MS);
  });
  return button;
}
