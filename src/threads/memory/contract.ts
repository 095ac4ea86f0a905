/**
 * The whole shared-memory contract: every word that two threads may touch, and who may write it. All words are Int32,
 * native endian (memory never leaves the process). Indices and byte counts that need 32 bits are read with `>>> 0`.
 *
 *  arena region    WebAssembly shared memory, page aligned, at most 4 GiB, committed by the system on first touch
 *
 *      position 0                segmentBytes              2 × segmentBytes
 *      ├──── segment 0 ──────────┼──── segment 1 ──────────┼── …            segment = position >>> segmentShift
 *
 *  arena control   [0] magic  [1] version  [2] segment bytes  [3] segment count
 *                  [16 + 16·b] bytes used, [17 + 16·b] bytes allowed     budget b, one cache line each
 *                  [budgetsEnd …]   free bitmap: bit s = 1 while segment s is free        any thread, by CAS
 *                  [ … ]            reference count of each segment (0 while free)        any thread, by add
 *                  [ … ]            idle age of each segment (see idleAges)               any thread
 *
 *  ring            [0] tail          producer: slots published so far, modulo 2^32
 *                  [1] room asked    producer sets 1 when it found the ring full, consumer takes it back
 *                  [16] head         consumer: slots consumed so far, modulo 2^32
 *                  [17] wanted       consumer: filled slots from which on it wants to be rung; 0 = for any
 *                  [32 + (i mod slots) · slotWords …]   slot of index i; the producer's from head + slots on,
 *                                                       the consumer's between head and tail
 *
 *        head            tail                head + slots          filled = (tail − head) | 0 ≤ slots
 *         ▼ consumer owns ▼  producer owns    ▼
 *      …──█████████████████░░░░░░░░░░░░░░░░░░░──…
 *
 *  doorbell        [0] state: awake 0 | armed 1                consumer arms, whoever swaps it back rings
 *
 *        awake ──arm()──► armed ──look again, found work: disarm()──► awake
 *                           └──found none: sleep ── producer: published, saw armed, swapped it ──ring──► awake
 *
 *  lease           [0] deadline, milliseconds of the shared monotonic clock modulo 2^32; 0 = none or lost
 *
 * Not shared: TCP bytes in flight, JavaScript objects, anything that MessagePort carries (lifecycle only).
 */
export const contractVersion = 1;

/** Words in a cache line: words written by different threads are kept this far apart. */
export const lineWords = 16;

export const arenaMagic = 0x4d4c5241;
export const arenaWords = {
  magic: 0,
  version: 1,
  segmentBytes: 2,
  segmentCount: 3,
  budgets: lineWords,
} as const;

/** The pools of bytes that the one arena is divided into, by promise rather than by place. */
export const budgetNames = ['receive', 'logCache', 'blockCache', 'send'] as const;
export type BudgetName = (typeof budgetNames)[number];
export const budgetWords = { used: 0, allowed: 1 } as const;
export const budgetsEnd = arenaWords.budgets + budgetNames.length * lineWords;

/** clean: holds no pages of the system. used: touched since the last sweep. idle: free for a whole sweep. */
export const idleAges = { clean: 0, used: 1, idle: 2 } as const;

export const ringWords = {
  tail: 0,
  roomAsked: 1,
  head: lineWords,
  wanted: lineWords + 1,
  slots: 2 * lineWords,
} as const;

export const doorbellStates = { awake: 0, armed: 1 } as const;
export const doorbellWordCount = lineWords;

export const leaseNone = 0;
