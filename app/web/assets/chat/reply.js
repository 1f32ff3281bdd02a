// A reply of the model as data, as it is stored in the browser: its content, times, and how it ended.

/** Seconds. A shorter reply arrived all at once, and says nothing about the speed of generation. */
const MIN_TIMED_SECONDS = 0.02;

/** `state`: "waiting", "streaming", "recovering"; then "done", "stopped" (by the reader), "interrupted" or "failed". */
export function newReply(settings) {
  return {
    text: "",
    reasoning: "",
    toolCalls: [],
    tokens: null,
    state: "waiting",
    finishReason: null,
    notice: "",
    settings,
    usage: null,
    seconds: { toFirst: null, generating: 0 },
  };
}

export function isRunning(reply) {
  return ["waiting", "streaming", "recovering"].includes(reply.state);
}

/** Discard what cannot be continued: tool calls, and reasoning without an answer. Returns whether there was any. */
export function forgetWhatCannotGoOn(reply) {
  if (!reply.toolCalls.length && (reply.text || !reply.reasoning)) return false;
  const { state, notice, settings } = reply;
  Object.assign(reply, newReply(settings), { state, notice });
  return true;
}

/** How many tokens the reply consists of, as far as that is known. */
export function numTokensOf({ usage }) {
  return usage?.output ?? 0;
}

/** `settings` for the rest of a reply of which `numMade` tokens have already arrived. */
export function settingsForTheRest(settings, numMade) {
  const rest = { ...settings };
  if (rest.max_tokens) rest.max_tokens = Math.max(1, rest.max_tokens - numMade);
  if (rest.min_tokens) rest.min_tokens = Math.max(0, rest.min_tokens - numMade);
  return rest;
}

/**
 * Add a chunk of a chat or completion to `reply`, of which earlier requests generated `numBefore` tokens. Returns whether
 * there is something new to show.
 */
export function addChunk(reply, chunk, numBefore) {
  if (chunk.usage) addUsage(reply, chunk.usage, numBefore);
  const choice = chunk.choices[0];
  if (!choice) return false;
  const delta = choice.delta ?? { content: choice.text };
  const reasoning = delta.reasoning_content ?? delta.reasoning ?? "";
  reply.reasoning += reasoning;
  reply.text += delta.content ?? "";
  for (const call of delta.tool_calls ?? []) addToolCall(reply.toolCalls, call);
  if (choice.logprobs) (reply.tokens ??= []).push(...tokensOf(choice.logprobs));
  reply.finishReason = choice.finish_reason ?? reply.finishReason;
  return Boolean(delta.content || reasoning || delta.tool_calls?.length);
}

/** The output of a continued reply adds up over its requests; the prompt is that of the last one. */
function addUsage(reply, usage, numBefore) {
  reply.usage = {
    prompt: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    output: numBefore + usage.completion_tokens,
  };
}

/** The arguments of a call arrive in pieces; calls are identified by their index. */
function addToolCall(calls, { index = 0, id, function: called = {} }) {
  const call = (calls[index] ??= { id: "", name: "", arguments: "" });
  call.id ||= id ?? "";
  call.name += called.name ?? "";
  call.arguments += called.arguments ?? "";
}

/** Tokens as [text, logprob, [[text, logprob], …]], from the format of either endpoint. */
function tokensOf(logprobs) {
  if (logprobs.content) {
    return logprobs.content.map((token) => [
      token.token,
      token.logprob,
      token.top_logprobs.map((other) => [other.token, other.logprob]),
    ]);
  }
  return logprobs.tokens.map((text, i) => [
    text,
    logprobs.token_logprobs[i],
    Object.entries(logprobs.top_logprobs?.[i] ?? {}),
  ]);
}

/** The figures below an answer, as [label, value, explanation]; the label is empty if the value needs none. */
export function figuresOf(reply) {
  const { usage, seconds, finishReason, state } = reply;
  const figures = [];
  const numTokens = numTokensOf(reply);
  if (seconds.toFirst !== null) figures.push(["TTFT", duration(seconds.toFirst), "Time to the first token"]);
  if (numTokens > 1 && seconds.toFirst !== null) figures.push(rateOf(numTokens, seconds));
  if (numTokens) figures.push(["output", `${numTokens.toLocaleString("en")}`, "Tokens of the answer"]);
  if (usage) {
    figures.push(["prompt", usage.prompt.toLocaleString("en"), "Tokens of the prompt, including the conversation so far"]);
    figures.push(["cached", usage.cached.toLocaleString("en"), "Prompt tokens that did not have to be computed again"]);
  }
  const broken = { stopped: "stopped by you", interrupted: "interrupted", failed: "failed" }[state];
  if (broken) figures.push(["", broken, "How it ended"]);
  else if (finishReason) figures.push(["", `finish: ${finishReason}`, FINISHES[finishReason] ?? "How it ended"]);
  return figures;
}

function rateOf(numTokens, { toFirst, generating }) {
  const isTimed = generating >= MIN_TIMED_SECONDS;
  const rate = isTimed ? (numTokens - 1) / generating : numTokens / (toFirst + generating);
  const explanation = isTimed ? "Tokens per second after the first" : "Tokens per second, including the time to the first";
  return ["tokens/s", rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 }), explanation];
}

const FINISHES = {
  stop: "The model ended its answer, or wrote a stop sequence",
  length: "The maximum number of tokens was reached",
  tool_calls: "The model calls a tool",
};

function duration(seconds) {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}
