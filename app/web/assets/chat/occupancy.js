// Which conversations are being answered, in whichever tab: two tabs that write one would undo each other's turns.

const PREFIX = "millrace.answering.";
// Browsers have no locks over plain HTTP, other than on the machine itself.
const { locks } = navigator;

/** Tell the other tabs that this conversation is being answered here, until `ended` resolves. */
export function answeredHere(id, ended) {
  locks?.request(PREFIX + id, { mode: "shared" }, () => ended);
}

/** Whether a conversation is being answered, in this tab or another. */
export async function isAnswered(id) {
  if (!locks) return false;
  const { held } = await locks.query();
  return held.some(({ name }) => name === PREFIX + id);
}
