// All sampling settings, in plain words. A setting that is not given is left to the server.

const range = (name, label, min, max, step, standard, hint) => ({ kind: "range", name, label, min, max, step, standard, hint });
const number = (name, label, standard, hint, min = 0) => ({ kind: "number", name, label, min, step: 1, standard, hint });
const flag = (name, label, standard, hint) => ({ kind: "flag", name, label, standard, hint });

const SAMPLING = [
  range("temperature", "Temperature", 0, 2, 0.05, 1, "0 always takes the likeliest token. Higher is bolder, and above 1 soon less coherent."),
  range("top_p", "Top-p", 0, 1, 0.01, 1, "Sample from the most likely tokens that together have this probability. 1 excludes none."),
  number("top_k", "Top-k", 0, "Sample from this many of the most likely tokens. 0 excludes none."),
  range("min_p", "Min-p", 0, 1, 0.01, 0, "Exclude tokens less likely than this fraction of the most likely one. Adapts to how sure the model is."),
  number("seed", "Seed", "random", "The same seed and prompt give the same answer.", null),
];

const LENGTH = [
  number("max_tokens", "Max tokens", "what fits", "The answer is cut off after this many tokens.", 1),
  number("min_tokens", "Min tokens", 0, "The model may not end its answer earlier. Cannot be combined with stop sequences."),
  { kind: "lines", name: "stop", label: "Stop sequences", standard: "none", hint: "The answer ends before any of these. One per line; \\n stands for a line break." },
  { kind: "numbers", name: "stop_token_ids", label: "Stop tokens", standard: "none", hint: "Ids of tokens that end the answer, separated by commas." },
  flag("ignore_eos", "Ignore the end token", false, "The model's own end token does not end the answer."),
  flag("include_stop_str_in_output", "Show the stop sequence", false, "The stop sequence becomes part of the answer."),
];

const REPETITION = [
  range("repetition_penalty", "Repetition penalty", 0.1, 2, 0.05, 1, "Above 1, tokens that have occurred in the prompt or the answer are less likely."),
  range("presence_penalty", "Presence penalty", -2, 2, 0.1, 0, "Above 0, tokens that the answer already contains are less likely: encourages new subjects."),
  range("frequency_penalty", "Frequency penalty", -2, 2, 0.1, 0, "Above 0, tokens are less likely the more often the answer contains them."),
];

const REST = [
  { kind: "json", name: "logit_bias", label: "Logit bias", standard: "none", hint: 'Makes tokens more or less likely, from -100 to 100, by id: {"50": -100}' },
  flag("skip_special_tokens", "Hide special tokens", true, "Tokens such as the end of a turn are not shown."),
  number("priority", "Priority", 0, "Of waiting requests, the smaller goes first.", null),
  { kind: "text", name: "cache_salt", label: "Cache salt", standard: "none", hint: "Prompts share cached blocks only with prompts of the same salt." },
];

const CHAT_ONLY = [
  { kind: "json", list: true, name: "tools", label: "Tools", standard: "none", hint: 'Functions that the model may call: [{"type": "function", "function": {"name": "add"}}]' },
  { kind: "json", name: "chat_template_kwargs", label: "Template variables", standard: "none", hint: 'Variables for the chat template of this model, like {"enable_thinking": false}' },
];

const COMPLETION_ONLY = [flag("add_special_tokens", "Add special tokens", true, "Begin the prompt with the special tokens that the model expects, if any.")];

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

/** The valid chat settings in `given`, which may come from anywhere. */
export function fittingSettings(given) {
  const known = CHAT_SETTINGS.flatMap(({ settings }) => settings);
  const fitting = known.filter((setting) => setting.name in given && FITS[setting.kind](given[setting.name], setting));
  return Object.fromEntries(fitting.map(({ name }) => [name, given[name]]));
}

/** The settings of `one` that differ from `other`, in words. */
export function differences(one, other) {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names]
    .filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]))
    .map((name) => `${name.replaceAll("_", " ")} ${name in one ? JSON.stringify(one[name]) : "default"}`)
    .join(", ");
}
