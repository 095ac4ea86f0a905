/**
 * CONTRACT of the sequenced object log (design: one contract for object WAL, embedded journal and bucket journal):
 * numbered objects by conditional PUT, each with writer, epoch and nonce; a taker seals the first missing number.
 */
export interface SequencedEntry {
  readonly number: number;
  readonly epoch: number;
  readonly writer: string;
  /** 'seal' entries carry no payload and are never deleted. */
  readonly kind: 'data' | 'seal' | 'moved';
  readonly payload: Buffer;
}

export interface SequencedLog {
  /** Epoch this writer holds; 0 before seal(). */
  readonly epoch: number;
  /** Number the next append will take. */
  readonly next: number;
  /** Reads every valid entry in order from `from`, skipping those left behind by fenced writers. */
  read(from: number, onEntry: (entry: SequencedEntry) => void): Promise<void>;
  /** Fences all earlier writers: seals the first missing number (again until it wins). Resolves to the new epoch. */
  seal(): Promise<number>;
  /**
   * Appends one payload under the held epoch. Resolves with its number; rejects with METADATA_FENCED (fenced) when a
   * taker sealed the log. Ambiguous answers are read back before anyone concludes. One append in flight at a time.
   */
  append(payload: Uint8Array): Promise<number>;
  /** Stores a snapshot covering every entry ≤ number, then trims older data entries (never seals). */
  snapshot(number: number, payload: Uint8Array): Promise<void>;
  readSnapshot(): Promise<{ readonly number: number; readonly payload: Buffer } | null>;
}
