/** What a thread works for, by its name, so that processor time can be told by role and not by number. */

type Rule = readonly [pattern: RegExp, role: string];

/** The broker names its threads (docs/architecture.md); what is left belongs to Node and V8. */
const millraceRules: readonly Rule[] = [
  [/^shard \d/, 'shards'],
  [/^wal \d/, 'WAL'],
  [/^object pool/, 'upload, merging'],
  [/^file i\/o/, 'file store'],
  [/^records/, 'records'],
];

const kafkaRules: readonly Rule[] = [
  [/network-thread|socket-acceptor/, 'network threads'],
  [/request-handler/, 'request handlers'],
  [/^(C1|C2) CompilerThread/, 'JIT compilers'],
  [/^(GC Thread|G1 |VM Thread|VM Periodic)/, 'GC and VM'],
  [/^(kafka-log|log-cleaner|kafka-scheduler|LogDirFailure)/, 'log upkeep'],
  [/raft|quorum|controller|metadata|snapshot|broker-\d+-to-controller/i, 'controller'],
];

/** Threads that bring acknowledged bytes into the store; without them it is the path from socket to durable answer. */
export const uploadRoles: readonly string[] = ['upload, merging', 'file store'];

export function roleOf(system: 'millrace' | 'kafka', name: string, isMain: boolean): string {
  const rules = system === 'millrace' ? millraceRules : kafkaRules;
  const rule = rules.find(([pattern]) => pattern.test(name));
  if (rule !== undefined) return rule[1];
  if (system === 'millrace') return isMain ? 'main' : 'Node and V8';
  return 'other';
}

/**
 * Full names of a JVM's threads by thread id, from a thread dump: Linux keeps 15 characters of a name, and Kafka's begin alike.
 *
 *     "data-plane-kafka-network-thread-1-…-0" #58 prio=5 os_prio=0 cpu=… tid=0x… nid=0x1a2b runnable
 */
export function threadNamesOfDump(dump: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const [, name, nid] of dump.matchAll(/^"(.*?)" .*\bnid=(0x[0-9a-f]+|\d+)/gm))
    names.set(Number(nid), name!);
  return names;
}
