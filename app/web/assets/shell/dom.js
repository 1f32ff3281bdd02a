// Creates elements from descriptions. Text only becomes text nodes; no string ever becomes markup.

/**
 * An element. Properties are set as DOM properties, except that `class`, `data-…`, `aria-…` and `role` are attributes;
 * `on` maps event names to listeners. Children are nodes, or strings that become text; null and false are skipped.
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element, whose properties are all attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The element with this id. Throws if there is none, so that the mistake is noticed at once. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`There is no element with the id ${id}.`);
  return element;
}
