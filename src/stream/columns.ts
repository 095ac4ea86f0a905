/** Tables of typed arrays, one row an entry: what they share. Pure; any thread. */

/** `to` with what was in `from`, the rest as it was: columns grow by being copied into larger ones. */
export function grown<T extends { set(from: ArrayLike<number>): void } & ArrayLike<number>>(
  from: T,
  to: T,
): T {
  to.set(from);
  return to;
}
