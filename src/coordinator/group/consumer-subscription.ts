/**
 * Topic names of a consumer's subscription (protocol type "consumer"): int16 version, then a plain array of plain
 * strings; later fields do not matter here, so newer versions read the same. The bytes come from clients: every length
 * is checked before it is used.
 */
export const consumerProtocolType = 'consumer';

/** Adds the topic names to `into`; false when the bytes are not a subscription. */
export function addSubscribedTopics(metadata: Buffer, into: Set<string>): boolean {
  if (metadata.length < 6 || metadata.readInt16BE(0) < 0) return false;
  const count = metadata.readInt32BE(2);
  // Each name takes at least its length field.
  if (count < 0 || count * 2 > metadata.length - 6) return false;
  let at = 6;
  for (let i = 0; i < count; i++) {
    if (at + 2 > metadata.length) return false;
    const length = metadata.readInt16BE(at);
    at += 2;
    if (length < 0 || at + length > metadata.length) return false;
    into.add(metadata.toString('utf8', at, at + length));
    at += length;
  }
  return true;
}
