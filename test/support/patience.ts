/**
 * How long tests wait for what must come. A guard that turns a hang into an error with a name, never a judgement of speed:
 * far above what the slowest machine needs, and below the five minutes of silence after which `npm test` ends a group.
 */
export const patienceMs = 240_000;
