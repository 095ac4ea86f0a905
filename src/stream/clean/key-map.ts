/**
 * Newest offset of each key, within a stated memory. Keys are known by 128 bits of a cryptographic hash: two keys that share
 * them would lose one its value, and no client must be able to make such keys. One owner.
 *
 *   slot: hash, 4 × u32 │ offset + 1, f64 (0 = free)         24 bytes, linear probing
 *
 * Bound: `slots` × 24 bytes, of which a share of `loadFactor` is filled; then `full` says so, and no key is added.
 */
export const slotBytes = 24;
export const keyHashBytes = 16;

/** Writes keyHashBytes of a hash of bytes[at, at + length) to the start of `out`. */
export type KeyHash = (bytes: Uint8Array, at: number, length: number, out: Uint32Array) => void;

export class KeyMap {
  readonly #hashes: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #slots: number;
  readonly #keysMax: number;
  readonly #hash: KeyHash;
  readonly #key = new Uint32Array(keyHashBytes / 4);
  size = 0;

  /**
   * @param bytesMax memory of the map; at least one key fits.
   * @param keys that there can be at most: a small log takes a small map.
   */
  constructor(bytesMax: number, loadFactor: number, keys: number, hash: KeyHash) {
    const load = Math.min(0.95, Math.max(0.05, loadFactor));
    const wanted = Math.ceil(keys / load) + 1;
    this.#slots = Math.max(2, Math.min(Math.floor(bytesMax / slotBytes), wanted));
    this.#keysMax = Math.max(1, Math.min(this.#slots - 1, Math.floor(this.#slots * load)));
    this.#hashes = new Uint32Array(this.#slots * 4);
    this.#offsets = new Float64Array(this.#slots);
    this.#hash = hash;
  }

  get bytes(): number {
    return this.#slots * slotBytes;
  }

  get full(): boolean {
    return this.size >= this.#keysMax;
  }

  /** Notes the key at an offset behind all noted before; false when it is a new one and the map is full. */
  note(bytes: Uint8Array, at: number, length: number, offset: number): boolean {
    const slot = this.#find(bytes, at, length);
    if (this.#offsets[slot] === 0) {
      if (this.full) return false;
      this.#hashes.set(this.#key, slot * 4);
      this.size++;
    }
    this.#offsets[slot] = offset + 1;
    return true;
  }

  /** Newest offset noted of the key; −1 = none. */
  newest(bytes: Uint8Array, at: number, length: number): number {
    return this.#offsets[this.#find(bytes, at, length)]! - 1;
  }

  /** The key's slot, or the free one where it would be. */
  #find(bytes: Uint8Array, at: number, length: number): number {
    const key = this.#key;
    this.#hash(bytes, at, length, key);
    const hashes = this.#hashes;
    for (let slot = key[0]! % this.#slots; ; slot = slot + 1 === this.#slots ? 0 : slot + 1) {
      if (this.#offsets[slot] === 0) return slot;
      const place = slot * 4;
      if (
        hashes[place] === key[0] &&
        hashes[place + 1] === key[1] &&
        hashes[place + 2] === key[2] &&
        hashes[place + 3] === key[3]
      )
        return slot;
    }
  }
}
