/**
 * Resolves the regexes that members of a group subscribe with (RE2 syntax) to the topics that they match as a whole. Off the
 * request: a heartbeat starts it, turns of a bounded number of matches do it, and the result is a batch of records that
 * raises the group's epoch if it changes anything. A regex that is new is resolved at once, the others again when topics
 * came or went, at most every `regexRefreshMs`. Shard thread.
 *
 * Bounds: regexes of a group by `regexesMax`, each by protocol/pattern.ts; one resolution of a group at a time.
 */
import { compilePattern, type Pattern } from '../../../protocol/pattern.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import type { Group } from '../group.ts';
import type { ConsumerGroup, ResolvedRegex } from './consumer-group.ts';
import type { ConsumerGroups } from './consumer-groups.ts';
import { groupRecord, regexRecord } from './consumer-records.ts';
import { topicsHash } from './topics-hash.ts';

/** A match costs some microseconds. */
const matchesPerTurn = 1_000;

interface Resolution {
  readonly shell: Group;
  readonly group: ConsumerGroup;
  readonly version: number;
  readonly names: readonly string[];
  readonly regexes: { readonly text: string; readonly pattern: Pattern; readonly topics: string[] }[];
  next: number;
}

export class RegexResolver {
  readonly #groups: ConsumerGroups;

  constructor(groups: ConsumerGroups) {
    this.#groups = groups;
  }

  /** Starts a resolution if one is due; costs nothing for a group without regexes. */
  refresh(shell: Group): void {
    const group = shell.consumer;
    if (group === null || group.regexUsers.size === 0 || group.resolving) return;
    const { topics, clock, settings, logger } = this.#groups.host;
    let due = group.regexVersion !== topics.version && clock.monotonic() >= group.resolveAt;
    for (const regex of group.regexUsers.keys()) due ||= !group.regexes.has(regex);
    if (!due) return;
    group.resolving = true;
    group.resolveAt = clock.monotonic() + settings.regexRefreshMs;
    const regexes: Resolution['regexes'] = [];
    for (const text of group.regexUsers.keys()) {
      const pattern = compilePattern(text);
      if (pattern !== null) regexes.push({ text, pattern, topics: [] });
      else logger.warn('a regex of a consumer group is none', { group: group.id, regex: text });
    }
    const names = [...topics.names()];
    const resolution = { shell, group, version: topics.version, names, regexes, next: 0 };
    clock.soon(() => this.#turn(resolution));
  }

  #turn(resolution: Resolution): void {
    const { shell, group, names, regexes } = resolution;
    const { context, clock } = this.#groups.host;
    if (context.closed || shell.consumer !== group) return;
    for (let matches = 0; matches < matchesPerTurn && resolution.next < names.length; resolution.next++) {
      const name = names[resolution.next]!;
      for (const { pattern, topics } of regexes) if (pattern.matches(name)) topics.push(name);
      matches += regexes.length;
    }
    if (resolution.next < names.length) clock.soon(() => this.#turn(resolution));
    else this.#finish(resolution);
  }

  #finish({ group, version, regexes }: Resolution): void {
    const { host } = this.#groups;
    group.resolving = false;
    const results = new Map<string, ResolvedRegex>(group.regexes);
    const records: CoordinatorRecord[] = [];
    for (const { text, topics } of regexes) {
      // Nobody may subscribe with it any more.
      if (!group.regexUsers.has(text)) continue;
      const before = group.regexes.get(text);
      topics.sort();
      if (before !== undefined && before.topics.join() === topics.join()) continue;
      const resolved = { topics, version, timestamp: host.clock.now() };
      results.set(text, resolved);
      records.push(regexRecord(group.id, text, resolved));
    }
    if (records.length > 0) {
      const metadataHash = topicsHash(group.subscribedTopics(null, results), host.topics);
      records.push(groupRecord(group.id, { epoch: group.epoch + 1, metadataHash }));
      // Refused: the next heartbeat begins anew.
      if (this.#groups.write(records) !== 0) return;
    }
    group.regexVersion = version;
  }
}
