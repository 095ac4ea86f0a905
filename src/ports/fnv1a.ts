/** FNV-1a, 32 bits, over the UTF-16 units of ASCII names: stable across restarts and versions, since keys hold it. */
const basis = 0x811c9dc5;
const prime = 0x01000193;

/** Goes on from `hash` over one more byte. */
export function fnv1aByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, prime);
}

/** @param start another one than FNV's own gives a hash that is independent of the usual one. */
export function fnv1a(name: string, start = basis): number {
  let hash = start;
  for (let i = 0; i < name.length; i++) hash = fnv1aByte(hash, name.charCodeAt(i));
  return hash;
}

/** Two hex digits that spread names over a key space. */
export function spreadDigits(name: string): string {
  let hash = fnv1a(name);
  hash ^= hash >>> 16;
  hash ^= hash >>> 8;
  return (hash & 0xff).toString(16).padStart(2, '0');
}
