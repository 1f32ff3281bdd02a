// Small line icons, 16 by 16.

import { svg } from "./dom.js";

const PATHS = {
  check: "M3 8.5l3.2 3.2L13 5",
  close: "M4 4l8 8M12 4l-8 8",
  columns: "M2.5 3h11v10h-11zM8 3v10",
  continue: "M3 3.5v9l5.5-4.5zM11 3.5v9",
  copy: "M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1",
  download: "M8 2.5v7.5M4.8 7L8 10.2 11.2 7M3 13h10",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  pencil: "M3 13l.7-2.9L10.8 3l2.2 2.2-7.1 7.1zM9.3 4.5l2.2 2.2",
  refresh: "M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.8h-2.8",
  send: "M8 13V3.5M4 7.2L8 3.2l4 4",
  sliders: "M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6M10 3v3M6 10v3",
  stop: "M4.5 4.5h7v7h-7z",
  tokens: "M2.5 5.5h4v5h-4zM8 5.5h2v5H8zM11.5 5.5h2v5h-2z",
  trash: "M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
};

export function icon(name) {
  const path = svg("path", { d: PATHS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, path);
}

/** A button with an icon, and a label as its tooltip and accessible name. */
export function iconButton(name, label, onClick, properties = {}) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "button quiet icon", title: label, ...properties });
  button.setAttribute("aria-label", label);
  button.append(icon(name));
  button.addEventListener("click", onClick);
  return button;
}
