// The settings panel: a control with a hint for each setting, which changes a plain object.

import { el } from "../shell/dom.js";

let number = 0;

/** Groups of settings as controls of `values`, which holds only what differs from the defaults. */
export function settingsForm(groups, values, onChange) {
  const change = (name, value) => {
    if (value === undefined) delete values[name];
    else values[name] = value;
    onChange();
  };
  const sections = groups.map(({ title, settings }, index) => {
    const open = index < 2 || settings.some(({ name }) => name in values);
    const controls = settings.map((setting) => control(setting, values[setting.name], (value) => change(setting.name, value)));
    return el("details", { class: "settings-group", open }, el("summary", {}, title), ...controls);
  });
  return el("div", { class: "settings" }, ...sections);
}

function control(setting, value, change) {
  const id = `setting-${number++}`;
  const hint = el("p", { class: "hint", id: `${id}-hint` }, setting.hint);
  const label = el("label", { htmlFor: id }, setting.label);
  const described = { id, name: setting.name, "aria-describedby": hint.id };
  if (setting.kind === "flag") return flagControl(setting, value, change, described, label, hint);
  const field = el(["lines", "json"].includes(setting.kind) ? "textarea" : "input", {
    ...described,
    class: "field",
    rows: 2,
    placeholder: String(setting.standard),
    value: written(setting, value),
    spellcheck: false,
    autocomplete: "off",
    ...limits(setting),
  });
  field.addEventListener("input", () => {
    const { value: read, problem = "" } = readField(setting, field);
    field.setCustomValidity(problem);
    field.setAttribute("aria-invalid", String(Boolean(problem)));
    hint.textContent = problem || setting.hint;
    if (!problem) change(read);
  });
  const head = el("div", { class: "setting-head" }, label, setting.kind === "range" ? field : null);
  const slider = setting.kind === "range" ? sliderFor(setting, field) : field;
  return el("div", { class: "setting" }, head, slider, hint);
}

function flagControl(setting, value, change, described, label, hint) {
  const box = el("input", { ...described, type: "checkbox", checked: value ?? setting.standard });
  box.addEventListener("change", () => change(box.checked === setting.standard ? undefined : box.checked));
  return el("div", { class: "setting" }, el("div", { class: "setting-flag" }, box, label), hint);
}

/** Moving the slider writes the number; writing the number moves the slider. */
function sliderFor(setting, field) {
  const { min, max, step, standard, label } = setting;
  const slider = el("input", { type: "range", min, max, step, "aria-label": label, tabIndex: -1 });
  const follow = () => (slider.value = field.value === "" ? standard : field.value);
  follow();
  field.addEventListener("input", follow);
  slider.addEventListener("input", () => {
    field.value = Number(slider.value) === standard ? "" : slider.value;
    field.dispatchEvent(new Event("input"));
  });
  return slider;
}

function limits({ kind, min, max, step }) {
  if (kind !== "range" && kind !== "number") return {};
  const given = { type: "number", step: kind === "range" ? "any" : step, inputMode: kind === "range" ? "decimal" : "numeric" };
  if (min !== null) given.min = min;
  if (max !== undefined) given.max = max;
  return given;
}

function written({ kind }, value) {
  if (value === undefined) return "";
  if (kind === "lines") return value.map((line) => line.replaceAll("\n", "\\n")).join("\n");
  if (kind === "numbers") return value.join(", ");
  return kind === "json" ? JSON.stringify(value) : String(value);
}

/** `value` is undefined for the default; `problem` says why the input cannot be used. */
function readField({ kind, min, max, list }, field) {
  const text = field.value;
  if (kind === "range" || kind === "number") {
    if (field.validity.badInput) return { problem: "This is not a number." };
    if (text === "") return { value: undefined };
    const value = Number(text);
    if (kind === "number" && !Number.isSafeInteger(value)) return { problem: "This must be a whole number." };
    if ((min !== null && value < min) || value > max) return { problem: `This must be ${min}${max === undefined ? " or more" : ` to ${max}`}.` };
    return { value };
  }
  if (text.trim() === "") return { value: undefined };
  if (kind === "lines") return { value: text.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n")) };
  if (kind === "numbers") {
    const numbers = text.split(",").map((part) => Number(part.trim()));
    return numbers.every(Number.isSafeInteger) ? { value: numbers } : { problem: "These must be whole numbers, separated by commas." };
  }
  return kind === "json" ? readJson(text, list) : { value: text };
}

function readJson(text, list = false) {
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object" && Array.isArray(value) === list) return { value };
  } catch {
    // The same problem is reported as for JSON of another type.
  }
  return { problem: list ? "This must be a JSON list, like [{…}]." : 'This must be a JSON object, like {"name": 1}.' };
}
