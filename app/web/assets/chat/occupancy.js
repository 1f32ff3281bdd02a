// Tracks which conversations are being answered in any tab: two tabs writing the same one would undo each other's turns.

const PREFIX = "millrace.answering.";
// Browsers offer no locks over plain HTTP, except on localhost.
const { locks } = navigator;

/** Mark this conversation as being answered here, for the other tabs, until `ended` resolves. */
export function answeredHere(id, ended) {
  locks?.request(PREFIX + id, { mode: "shared" }, () => ended);
}

/** Whether a conversation is being answered, in this tab or another. */
export async function isAnswered(id) {
  if (!locks) return false;
  const { held } = await locks.query();
  return held.some(({ name }) => name === PREFIX + id);
}
