// Drawing, at most once per frame however often something changes.

const waiting = new Set();
let requested = false;

/**
 * Have `view.draw()` called in the next frame. A view that gives false was not done when its time was over, and is
 * called again in the frame after.
 */
export function drawSoon(view) {
  waiting.add(view);
  if (!requested) requestAnimationFrame(drawAll);
  requested = true;
}

function drawAll() {
  requested = false;
  const views = [...waiting];
  waiting.clear();
  for (const view of views) if (view.draw() === false) drawSoon(view);
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
