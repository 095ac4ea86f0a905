/**
 * A topology over the topics that there are (KIP-1071): how many tasks each subtopology has, how many partitions each internal
 * topic needs, and what is in the way of running it. Pure; made anew whenever topics change.
 *
 *     source topics there? ─► repartition topics sized ─► co-partitioned ones made alike ─► changelogs sized ─► internal topics there?
 *
 * A repartition topic without a count of its own has as many partitions as the largest input of the subtopologies that write
 * it, which may themselves read repartition topics: sizes are found round by round until nothing is missing.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { GroupTopics } from '../group-services.ts';
import type { StreamsStatus } from './streams-group-api.ts';
import {
  type InternalTopic,
  inputTopics,
  requiredTopics,
  type Subtopology,
  type Topology,
} from './topology.ts';

/** Codes of StreamsGroupHeartbeat's status. */
export const statusCodes = {
  staleTopology: 0,
  missingSourceTopics: 1,
  incorrectlyPartitionedTopics: 2,
  missingInternalTopics: 3,
  shutdownApplication: 4,
  assignmentDelayed: 5,
  missingClientTags: 6,
} as const;

export interface ConfiguredSubtopology {
  readonly id: string;
  readonly tasks: number;
  /** Its tasks have state, which changelog topics hold. */
  readonly stateful: boolean;
  readonly inputs: readonly string[];
  readonly sources: readonly string[];
  readonly sinks: readonly string[];
  readonly repartitions: readonly InternalTopic[];
  readonly changelogs: readonly InternalTopic[];
}

export interface ConfiguredTopology {
  readonly epoch: number;
  /** By id, ascending; empty while sizes cannot be told. */
  readonly subtopologies: readonly ConfiguredSubtopology[];
  /** Why no task runs, or null. */
  readonly problem: StreamsStatus | null;
  /** Internal topics to make. */
  readonly missing: readonly InternalTopic[];
}

/** The topology can never run. */
export interface InvalidTopology {
  readonly errorCode: number;
  readonly errorMessage: string;
}

class Misfit extends Error {
  readonly status: StreamsStatus;

  constructor(statusCode: number, statusDetail: string) {
    super(statusDetail);
    this.status = { statusCode, statusDetail };
  }
}

class Invalid extends Error {}

export function configureTopology(
  topology: Topology,
  topics: GroupTopics,
): ConfiguredTopology | InvalidTopology {
  const { epoch } = topology;
  try {
    return new Sizing(topology, topics).configure();
  } catch (error) {
    if (error instanceof Misfit) return { epoch, subtopologies: [], problem: error.status, missing: [] };
    if (!(error instanceof Invalid)) throw error;
    return { errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY, errorMessage: error.message };
  }
}

class Sizing {
  readonly #topology: Topology;
  readonly #topics: GroupTopics;
  /** Partitions that internal topics need, by name. */
  readonly #decided = new Map<string, number>();

  constructor(topology: Topology, topics: GroupTopics) {
    this.#topology = topology;
    this.#topics = topics;
  }

  configure(): ConfiguredTopology {
    const { epoch, subtopologies } = this.#topology;
    this.#requireSources();
    this.#sizeRepartitions();
    this.#alignCopartitions();
    const configured = subtopologies
      .map((subtopology) => this.#configured(subtopology))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const missing = this.#missing(configured);
    const problem =
      missing.length === 0
        ? null
        : {
            statusCode: statusCodes.missingInternalTopics,
            statusDetail: `Internal topics are missing: ${summary(missing.map(({ name }) => name))}`,
          };
    return { epoch, subtopologies: configured, problem, missing };
  }

  /** 0: there is no such topic, and none was sized. */
  #count(name: string): number {
    const id = this.#topics.idOf(name);
    const there = id === null ? 0 : this.#topics.partitionCount(id);
    return there > 0 ? there : (this.#decided.get(name) ?? 0);
  }

  #requireSources(): void {
    const missing = new Set<string>();
    for (const { sourceTopics } of this.#topology.subtopologies)
      for (const name of sourceTopics) if (this.#topics.idOf(name) === null) missing.add(name);
    if (missing.size > 0)
      throw new Misfit(
        statusCodes.missingSourceTopics,
        `Source topics ${summary([...missing].sort())} are missing.`,
      );
  }

  #sizeRepartitions(): void {
    const { subtopologies } = this.#topology;
    for (const { repartitionSourceTopics } of subtopologies) {
      for (const { name, partitions } of repartitionSourceTopics) {
        if (partitions < 0) throw new Invalid(`Repartition topic ${name} has ${partitions} partitions.`);
        if (partitions > 0) this.#decided.set(name, partitions);
      }
    }
    for (let open = true; open; ) {
      open = false;
      let sized = false;
      for (const subtopology of subtopologies) {
        for (const sink of subtopology.repartitionSinkTopics) {
          if (this.#decided.has(sink)) continue;
          const largest = this.#largestInput(subtopology);
          if (largest === 0) open = true;
          else {
            this.#decided.set(sink, largest);
            sized = true;
          }
        }
      }
      if (open && !sized)
        throw new Invalid(
          'The partitions of repartition topics cannot be told: the topology has a loop that nothing sizes.',
        );
    }
    for (const { repartitionSourceTopics } of subtopologies)
      for (const { name } of repartitionSourceTopics)
        if (!this.#decided.has(name))
          throw new Invalid(`The partitions of repartition topic ${name} cannot be told: nothing writes it.`);
  }

  /** Over inputs whose size is known; 0 = of none. */
  #largestInput({ sourceTopics, repartitionSourceTopics }: Subtopology): number {
    let largest = 0;
    for (const { name } of repartitionSourceTopics) largest = Math.max(largest, this.#decided.get(name) ?? 0);
    for (const name of sourceTopics) largest = Math.max(largest, this.#count(name));
    return largest;
  }

  #alignCopartitions(): void {
    const fixed = new Set<string>();
    const flexible = new Set<string>();
    for (const { repartitionSourceTopics } of this.#topology.subtopologies)
      for (const { name, partitions } of repartitionSourceTopics)
        (partitions === 0 ? flexible : fixed).add(name);
    for (const subtopology of this.#topology.subtopologies) {
      for (const group of subtopology.copartitionGroups) {
        const names = new Set([
          ...group.sourceTopics.map((i) => subtopology.sourceTopics[i]),
          ...group.repartitionSourceTopics.map((i) => subtopology.repartitionSourceTopics[i]?.name),
        ]);
        if (names.has(undefined))
          throw new Invalid(
            `A co-partition group of subtopology ${subtopology.subtopologyId} names a topic that is not there.`,
          );
        this.#align([...(names as Set<string>)].sort(), fixed, flexible);
      }
    }
  }

  #align(names: readonly string[], fixed: ReadonlySet<string>, flexible: ReadonlySet<string>): void {
    if (names.length === 0) return;
    const repartitions = names.filter((name) => fixed.has(name) || flexible.has(name));
    const sources = names.filter((name) => !repartitions.includes(name));
    const fixedHere = repartitions.filter((name) => fixed.has(name));
    // Topics that are there count first, then those with a count of their own, then the largest.
    const partitions =
      sources.length > 0
        ? this.#same(sources)
        : fixedHere.length > 0
          ? this.#same(fixedHere)
          : Math.max(...repartitions.map((name) => this.#count(name)));
    for (const name of repartitions) {
      if (fixed.has(name) && this.#count(name) !== partitions)
        throw new Misfit(
          statusCodes.incorrectlyPartitionedTopics,
          `Number of partitions [${this.#count(name)}] of repartition topic [${name}] doesn't match number of partitions [${partitions}] of the source topic.`,
        );
      this.#decided.set(name, partitions);
    }
  }

  #same(names: readonly string[]): number {
    const counts = names.map((name) => this.#count(name));
    if (counts.some((count) => count !== counts[0])) {
      const list = names.map((name, i) => `${name}=${counts[i]}`).join(', ');
      throw new Misfit(
        statusCodes.incorrectlyPartitionedTopics,
        `Following topics do not have the same number of partitions: [{${list}}]`,
      );
    }
    return counts[0]!;
  }

  #configured(subtopology: Subtopology): ConfiguredSubtopology {
    const inputs = inputTopics(subtopology);
    if (inputs.length === 0)
      throw new Invalid(`No source topics found for subtopology ${subtopology.subtopologyId}`);
    const tasks = Math.max(...inputs.map((name) => this.#count(name)));
    for (const { name } of subtopology.stateChangelogTopics) this.#decided.set(name, tasks);
    const internal = (list: Subtopology['stateChangelogTopics']): InternalTopic[] =>
      list.map(({ name, partitions, replicationFactor, topicConfigs }) => ({
        name,
        partitions: partitions === 0 ? this.#decided.get(name)! : partitions,
        replicationFactor,
        configs: Object.fromEntries(topicConfigs.map(({ key, value }) => [key, value])),
      }));
    return {
      id: subtopology.subtopologyId,
      tasks,
      stateful: subtopology.stateChangelogTopics.length > 0,
      inputs: [...new Set(inputs)],
      sources: [...new Set(subtopology.sourceTopics)],
      sinks: [...new Set(subtopology.repartitionSinkTopics)],
      repartitions: internal(subtopology.repartitionSourceTopics),
      changelogs: internal(subtopology.stateChangelogTopics),
    };
  }

  #missing(configured: readonly ConfiguredSubtopology[]): InternalTopic[] {
    const internal = new Map<string, InternalTopic>();
    for (const { repartitions, changelogs } of configured)
      for (const topic of [...repartitions, ...changelogs]) internal.set(topic.name, topic);
    for (const name of requiredTopics(this.#topology)) {
      const id = this.#topics.idOf(name);
      const expected = internal.get(name);
      if (id === null || expected === undefined) continue;
      const found = this.#topics.partitionCount(id);
      if (found !== expected.partitions)
        throw new Misfit(
          statusCodes.incorrectlyPartitionedTopics,
          `Existing topic ${name} has different number of partitions: expected ${expected.partitions}, found ${found}`,
        );
      internal.delete(name);
    }
    return [...internal.values()];
  }
}

const namesShown = 3;

function summary(names: readonly string[]): string {
  const more = names.length - namesShown;
  return `${names.slice(0, namesShown).join(', ')}${more > 0 ? ` and ${more} additional topics` : ''}`;
}
