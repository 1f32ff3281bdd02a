// What Esc ends: one thing at a time, and the nearest first.

const handlers = [];

/** Have `handler()` called when Esc is pressed and nothing nearer took it; it gives whether it did something. */
export function onEscape(handler) {
  handlers.unshift(handler);
}

document.addEventListener("keydown", (event) => {
  const { key, isComposing, defaultPrevented, target } = event;
  if (key !== "Escape" || isComposing || defaultPrevented) return;
  // A dialog closes by itself, and a field for searching is emptied.
  if (document.querySelector("dialog[open]") || (target.type === "search" && target.value)) return;
  if (handlers.some((handler) => handler())) event.preventDefault();
});
