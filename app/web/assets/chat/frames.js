// Draws at most once per frame, however often something changes, and for no longer than a frame allows.

const FRAME_BUDGET_MS = 8;
const waiting = new Set();
let requested = false;

/**
 * Call `view.draw(deadline)` in the next frame. `deadline` is in the time of performance.now(). If a view returns false
 * because it could not finish in time, it is called again in the frame after.
 */
export function drawSoon(view) {
  waiting.add(view);
  if (!requested) requestAnimationFrame(drawAll);
  requested = true;
}

/** The most recent views first, because the reader is looking at those. */
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

/** Resolves in a separate task, so that reading a stream does not delay input and drawing. */
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
