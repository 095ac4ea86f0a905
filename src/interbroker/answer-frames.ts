/**
 * Cuts what a peer sends into frames: int32 size, then that many bytes. A size is judged before anything is kept, and memory
 * grows with what has arrived, never with what was announced. One per connection.
 */
export class AnswerFrames {
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** Of the frame under way, its size field included; −1 while that is not whole. */
  #wanted = -1;

  /** @param bytesMax largest frame. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Gives each whole frame, without its size, to `take`, which may keep it; false from `take` ends it. Returns what is wrong
   * with what came, or null.
   */
  push(bytes: Buffer, take: (frame: Buffer) => boolean): string | null {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#wanted < 0) {
        const head = this.#bytes === 0 ? rest : Buffer.concat([...this.#parts, rest]);
        this.#parts = [];
        this.#bytes = 0;
        if (head.length < 4) {
          this.#keep(head);
          return null;
        }
        const size = head.readInt32BE(0);
        if (size < 4 || size > this.#bytesMax) return `an answer of ${size} bytes was announced`;
        this.#wanted = 4 + size;
        rest = head;
      }
      const missing = this.#wanted - this.#bytes;
      if (rest.length < missing) {
        this.#keep(rest);
        return null;
      }
      this.#parts.push(rest.subarray(0, missing));
      rest = rest.subarray(missing);
      const frame = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#bytes = 0;
      this.#wanted = -1;
      if (!take(frame.subarray(4))) return null;
    }
    return null;
  }

  #keep(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }
}
