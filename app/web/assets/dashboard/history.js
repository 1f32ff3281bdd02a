// The statistics received, as far back as the charts go. Old rows are dropped as new ones arrive.

const MAX_FRAMES = 600;
export const MAX_STEPS = 160;
const MAX_REQUESTS = 500;

/** Rows as objects: `frames`, `steps` and `requests`, oldest first, and the last event as `now`. */
export class History {
  frames = [];
  steps = [];
  requests = [];
  now = null;
  #fields = null;
  #number = 0;

  /** How many deltas were lost since the snapshot, because this reader was too slow. */
  numLost = 0;

  take(event) {
    const isSnapshot = event.type === "snapshot";
    if (isSnapshot) {
      this.#fields = event.fields;
      this.numLost = 0;
      this.steps = [];
    } else {
      this.numLost += event.number - this.#number - 1;
    }
    this.#number = event.number;
    const [frames, steps, requests] = ["frames", "steps", "requests"].map((kind) => this.#rows(kind, event[kind]));
    this.frames = bounded(isSnapshot ? before(this.frames, frames) : this.frames, frames, MAX_FRAMES);
    this.steps = bounded(this.steps, steps, MAX_STEPS);
    this.requests = bounded(isSnapshot ? before(this.requests, requests) : this.requests, requests, MAX_REQUESTS);
    // The rows are stored above, so the event itself need not hold them too.
    this.now = { ...event, frames: null, steps: null, requests: null };
  }

  #rows(kind, rows) {
    const fields = this.#fields[kind];
    return rows.map((row) => Object.fromEntries(fields.map((field, index) => [field, row[index]])));
  }
}

/** The known rows that a snapshot does not repeat: those of a previous server. */
function before(known, repeated) {
  return repeated.length ? known.filter((row) => row.time < repeated[0].time) : known;
}

function bounded(known, added, most) {
  return known.concat(added).slice(-most);
}
