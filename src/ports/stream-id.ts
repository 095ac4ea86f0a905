/**
 * Identity of a stream: one partition of one incarnation of a topic. The topic id (KIP-516 uuid) is kept as four
 * little-endian 32-bit words so that it fits ring slots and typed arrays without strings or allocation.
 */
export interface StreamId {
  /** 22 characters, unpadded base64url of the 16 uuid bytes. */
  readonly topicId: string;
  readonly partition: number;
  /** The 16 topic id bytes as four little-endian words. */
  readonly words: Int32Array;
}

export function streamId(topicId: string, partition: number): StreamId {
  const bytes = Buffer.from(topicId, 'base64url');
  if (bytes.length !== 16) throw new RangeError(`topic id ${topicId} is not 16 bytes of base64url`);
  const words = new Int32Array(4);
  for (let i = 0; i < 4; i++) words[i] = bytes.readInt32LE(i * 4);
  return { topicId, partition, words };
}

export function topicIdFromWords(w0: number, w1: number, w2: number, w3: number): string {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeInt32LE(w0, 0);
  bytes.writeInt32LE(w1, 4);
  bytes.writeInt32LE(w2, 8);
  bytes.writeInt32LE(w3, 12);
  return bytes.toString('base64url');
}

/** Map key of a stream. */
export function streamKey(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}
