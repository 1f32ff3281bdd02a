// Everything that can be asked of sampling, in plain words. A setting that is not given is left to the server.

const range = (name, label, min, max, step, standard, hint) => ({ kind: "range", name, label, min, max, step, standard, hint });
const number = (name, label, standard, hint, min = 0) => ({ kind: "number", name, label, min, step: 1, standard, hint });
const flag = (name, label, standard, hint) => ({ kind: "flag", name, label, standard, hint });

const SAMPLING = [
  range("temperature", "Temperature", 0, 2, 0.05, 1, "0 always takes the likeliest token. Higher is bolder, and above 1 soon less coherent."),
  range("top_p", "Top-p", 0, 1, 0.01, 1, "Choose among the likeliest tokens that together have this probability. 1 leaves out none."),
  number("top_k", "Top-k", 0, "Choose among this many likeliest tokens. 0 leaves out none."),
  range("min_p", "Min-p", 0, 1, 0.01, 0, "Leave out tokens less likely than this share of the likeliest one. Adapts to how sure the model is."),
  number("seed", "Seed", "random", "The same seed and prompt give the same answer again.", null),
];

const LENGTH = [
  number("max_tokens", "Most tokens", "what fits", "The answer is cut off after this many.", 1),
  number("min_tokens", "Fewest tokens", 0, "The model may not end its answer before. Not together with stop sequences."),
  { kind: "lines", name: "stop", label: "Stop sequences", standard: "none", hint: "The answer ends before any of these comes. One per line; \\n stands for a line break." },
  { kind: "numbers", name: "stop_token_ids", label: "Stop tokens", standard: "none", hint: "Ids of tokens that end the answer, with commas." },
  flag("ignore_eos", "Go on past the end", false, "The model's own end token does not end the answer."),
  flag("include_stop_str_in_output", "Show the stop sequence", false, "The sequence that ended the answer is part of it."),
];

const REPETITION = [
  range("repetition_penalty", "Repetition penalty", 0.1, 2, 0.05, 1, "Above 1, tokens that came before, in the prompt too, are less likely."),
  range("presence_penalty", "Presence penalty", -2, 2, 0.1, 0, "Above 0, tokens that the answer has used once are less likely: new subjects."),
  range("frequency_penalty", "Frequency penalty", -2, 2, 0.1, 0, "Above 0, tokens are less likely the more often the answer has used them."),
];

const REST = [
  { kind: "json", name: "logit_bias", label: "Logit bias", standard: "none", hint: 'Make tokens likelier or not, from -100 to 100, by id: {"50": -100}' },
  flag("skip_special_tokens", "Hide special tokens", true, "Tokens like the end of a turn are not shown."),
  number("priority", "Priority", 0, "Smaller goes first when requests wait.", null),
  { kind: "text", name: "cache_salt", label: "Cache salt", standard: "none", hint: "Prompts share cached blocks only with those of the same salt." },
];

const CHAT_ONLY = [
  { kind: "json", list: true, name: "tools", label: "Tools", standard: "none", hint: 'Functions that the model may call: [{"type": "function", "function": {"name": "add"}}]' },
  { kind: "json", name: "chat_template_kwargs", label: "Template variables", standard: "none", hint: 'For the chat template of this model, like {"enable_thinking": false}' },
];

const COMPLETION_ONLY = [flag("add_special_tokens", "Add special tokens", true, "Begin the prompt as the model expects it, if it expects so.")];

const groups = (rest) => [
  { title: "Sampling", settings: SAMPLING },
  { title: "Length and stopping", settings: LENGTH },
  { title: "Repetition", settings: REPETITION },
  { title: "More", settings: rest },
];

export const CHAT_SETTINGS = groups([...REST, ...CHAT_ONLY]);
export const COMPLETION_SETTINGS = groups([...REST, ...COMPLETION_ONLY]);

const areAll = (values, fits) => Array.isArray(values) && values.every(fits);

const FITS = {
  range: Number.isFinite,
  number: Number.isSafeInteger,
  flag: (value) => typeof value === "boolean",
  text: (value) => typeof value === "string",
  lines: (value) => areAll(value, FITS.text),
  numbers: (value) => areAll(value, FITS.number),
  json: (value, { list = false }) => value !== null && typeof value === "object" && Array.isArray(value) === list,
};

/** What of `given`, which may be anybody's, are settings of the chat. */
export function fittingSettings(given) {
  const known = CHAT_SETTINGS.flatMap(({ settings }) => settings);
  const fitting = known.filter((setting) => setting.name in given && FITS[setting.kind](given[setting.name], setting));
  return Object.fromEntries(fitting.map(({ name }) => [name, given[name]]));
}

/** The settings that differ between `one` and `other`, in words, as they are in `one`. */
export function differences(one, other) {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names]
    .filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]))
    .map((name) => `${name.replaceAll("_", " ")} ${name in one ? JSON.stringify(one[name]) : "default"}`)
    .join(", ");
}
