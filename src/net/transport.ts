/** What a connection needs of a socket, whatever kind of socket it is. Shard thread. */

/** Whoever wrote bytes to a transport. */
export interface Sender {
  /** So many more of the bytes written are not needed any longer: the kernel has taken them, or never will. In their order. */
  onTaken(bytes: number): void;
}

export interface Transport {
  /** Writes all chunks, `bytes` in sum; `sender` is told of each byte once, during the call or later. */
  write(chunks: readonly Uint8Array[], bytes: number, sender: Sender): void;
  /** The same for an answer that writes itself; it has done so when this returns. */
  writeSmall(answer: SmallAnswer, sender: Sender): void;
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. */
  end(): void;
  destroy(): void;
  /** Total bytes the kernel has taken so far, to see progress. */
  bytesSent(): number;
}

/** An answer of a few dozen bytes, written where it leaves from: no buffer of its own, no copy. */
export interface SmallAnswer {
  /** Size prefix included. */
  readonly bytes: number;
  /** Writes the answer; `view` covers the same memory as `into`. */
  writeTo(into: Uint8Array, view: DataView, at: number): void;
}

/** The answer in a buffer of its own, for transports that have none to write into. */
export function smallAnswerBytes(answer: SmallAnswer): Buffer {
  const out = Buffer.allocUnsafe(answer.bytes);
  answer.writeTo(out, new DataView(out.buffer, out.byteOffset, out.length), 0);
  return out;
}
