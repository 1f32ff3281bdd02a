// Drawing, at most once per frame however often something changes, and for no longer than a frame allows.

const FRAME_BUDGET_MS = 8;
const waiting = new Set();
let requested = false;

/**
 * Have `view.draw(deadline)` called in the next frame. A view that gives false was not done when the time was over (as
 * performance.now() has it), and is called again in the frame after.
 */
export function drawSoon(view) {
  waiting.add(view);
  if (!requested) requestAnimationFrame(drawAll);
  requested = true;
}

/** The latest first, which are those that the reader looks at. */
function drawAll() {
  requested = false;
  const deadline = performance.now() + FRAME_BUDGET_MS;
  const views = [...waiting].reverse();
  waiting.clear();
  const left = [];
  for (const view of views) {
    if (performance.now() > deadline) left.unshift(view);
    else if (view.draw(deadline) === false) drawSoon(view);
  }
  left.forEach(drawSoon);
}

/** Resolves in a task of its own, so that input and drawing are not kept waiting by what is read. */
export function nextTask() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
