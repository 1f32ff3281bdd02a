// The Esc key closes or stops one thing at a time, the nearest first.

const handlers = [];

/** Call `handler()` when Esc is pressed and nothing nearer handled it; it returns whether it did something. */
export function onEscape(handler) {
  handlers.unshift(handler);
}

document.addEventListener("keydown", (event) => {
  const { key, isComposing, defaultPrevented, target } = event;
  if (key !== "Escape" || isComposing || defaultPrevented) return;
  // Dialogs close by themselves, and search fields are cleared.
  if (document.querySelector("dialog[open]") || (target.type === "search" && target.value)) return;
  if (handlers.some((handler) => handler())) event.preventDefault();
});
