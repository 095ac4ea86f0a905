/** Randomness as a parameter, so that a simulation can replay it from one seed. */
export interface Random {
  /** Fills `out` and returns it. */
  bytes(out: Uint8Array): Uint8Array;
  /** Uniform integer in [0, bound), bound ≤ 2^31. */
  below(bound: number): number;
}
