/**
 * Which `__consumer_offsets` partition holds a group: Kafka's rule, part of the record format, so it can never change.
 * Java's String.hashCode runs over UTF-16 code units, which is what charCodeAt gives, in 32-bit wrapping arithmetic.
 */
export function javaHashCode(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(31, hash) + text.charCodeAt(i)) | 0;
  return hash;
}

/** `partitionCount` ≥ 1 is the partition count of the internal topic, fixed once the topic exists. */
export function coordinatorPartition(key: string, partitionCount: number): number {
  return (javaHashCode(key) & 0x7fffffff) % partitionCount;
}
