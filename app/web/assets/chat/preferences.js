// The reader's preferences, stored in the browser for the next visit.

const STANDARD = {
  settings: { settings: [{}, {}], system: "" },
  completionSettings: { max_tokens: 128 },
  tokens: false,
  panel: true,
};

/** A copy of the preference `name`; if a value is given, it is set first. */
export function preference(name, value) {
  const key = `millrace.${name}`;
  if (value !== undefined) localStorage.setItem(key, JSON.stringify(value));
  try {
    return JSON.parse(localStorage.getItem(key)) ?? structuredClone(STANDARD[name]);
  } catch {
    return structuredClone(STANDARD[name]);
  }
}
