/**
 * Receives one socket's bytes into one buffer and hands out whole frames in place, so that a load client copies (next
 * to) nothing:
 *
 *     buffer  | frames handed out | frame, incomplete | free |
 *             0                   start               end
 *
 * When the free part is short, the incomplete frame moves to the front; when a frame is announced that does not fit,
 * the buffer grows to it. A frame is valid only during the call that gives it. Bound: `frameBytesMax`.
 */
import type { OnReadOpts } from 'node:net';

const initialBytesDefault = 256 * 1024;
const readBytesMin = 16 * 1024;

export class FrameSplitter {
  readonly #onFrame: (frame: Buffer) => void;
  readonly #frameBytesMax: number;
  #buffer: Buffer;
  #start = 0;
  #end = 0;

  /** @param onFrame called with each frame behind its size field. */
  constructor(
    onFrame: (frame: Buffer) => void,
    initialBytes = initialBytesDefault,
    frameBytesMax = 256 * 1024 * 1024,
  ) {
    this.#onFrame = onFrame;
    this.#frameBytesMax = frameBytesMax;
    this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** For net.connect: the socket reads straight into the buffer. */
  get onread(): OnReadOpts {
    return {
      buffer: () => this.#room(),
      callback: (bytes) => {
        this.#end += bytes;
        this.#split();
        return true;
      },
    };
  }

  /** The same for bytes that were read elsewhere. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const room = this.#room();
      const take = Math.min(room.length, chunk.length - at);
      room.set(chunk.subarray(at, at + take));
      this.#end += take;
      at += take;
      this.#split();
    }
  }

  #room(): Buffer {
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
    const have = this.#end - this.#start;
    const wanted = have >= 4 ? this.#buffer.readInt32BE(this.#start) + 4 : readBytesMin;
    const short = this.#start + Math.max(wanted, have + 1) > this.#buffer.length;
    if (short || this.#buffer.length - this.#end < readBytesMin) {
      const old = this.#buffer;
      // Twice the frame, so that the next frames do not move it again and again.
      if (wanted + readBytesMin > old.length)
        this.#buffer = Buffer.allocUnsafeSlow(2 * wanted + readBytesMin);
      old.copy(this.#buffer, 0, this.#start, this.#end);
      this.#start = 0;
      this.#end = have;
    }
    return this.#buffer.subarray(this.#end);
  }

  #split(): void {
    while (this.#end - this.#start >= 4) {
      const length = this.#buffer.readInt32BE(this.#start);
      if (length < 0 || length > this.#frameBytesMax)
        throw new Error(`a frame of ${length} bytes was announced`);
      if (this.#end - this.#start - 4 < length) return;
      const at = this.#start + 4;
      this.#start = at + length;
      this.#onFrame(this.#buffer.subarray(at, at + length));
    }
  }
}
