/**
 * Makes the internal topics of streams groups (repartition topics and changelogs), on the shard that coordinates the group. A
 * heartbeat starts it and is answered at once; the next one finds the topics, or tells why they could not be made. What failed
 * is tried again when that has been told for a while.
 *
 * Bounds: names under creation and failures that are remembered, `namesMax` each; more wait for a later heartbeat.
 */
import type { InternalTopic } from '../../coordinator/group/streams/topology.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode, errorName } from '../../protocol/generated/errors.ts';
import { partitionsMax } from '../create-topics.ts';
import type { ControlPlane, TopicSpec } from './control-plane.ts';
import { type TopicPlanDeps, TopicPlans } from './topic-plan.ts';

export interface StreamsTopicsDeps extends TopicPlanDeps {
  readonly control: Pick<ControlPlane, 'createTopics'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Failure {
  readonly reason: string;
  /** Monotonic time from which it is tried again. */
  readonly until: number;
}

const namesMax = 10_000;

export class StreamsTopics {
  readonly #deps: StreamsTopicsDeps;
  readonly #plans: TopicPlans;
  readonly #creating = new Set<string>();
  readonly #failures = new Map<string, Failure>();

  constructor(deps: StreamsTopicsDeps) {
    this.#deps = deps;
    this.#plans = new TopicPlans(deps);
  }

  /** Why topics could not be made so far, by name; what has not failed lately is on its way. */
  make(topics: readonly InternalTopic[], retryMs: number): ReadonlyMap<string, string> {
    const now = this.#deps.clock.monotonic();
    const failed = new Map<string, string>();
    const specs: TopicSpec[] = [];
    let partitions = 0;
    for (const topic of topics) {
      const { name } = topic;
      const failure = this.#failures.get(name);
      if (failure !== undefined && failure.until > now) {
        failed.set(name, failure.reason);
        continue;
      }
      this.#failures.delete(name);
      if (this.#creating.has(name) || this.#creating.size >= namesMax) continue;
      partitions += topic.partitions;
      const refused =
        partitions > partitionsMax
          ? `One request may create at most ${partitionsMax} partitions.`
          : this.#add(topic, specs);
      if (refused !== null) failed.set(name, this.#fail(name, refused, retryMs));
    }
    if (specs.length > 0) this.#create(specs, retryMs);
    return failed;
  }

  /** Null: the topic is among the specs, or there already. */
  #add({ name, partitions, replicationFactor, configs }: InternalTopic, specs: TopicSpec[]): string | null {
    const planned = this.#plans.plan({
      name,
      numPartitions: partitions,
      replicationFactor: replicationFactor === 0 ? -1 : replicationFactor,
      assignments: [],
      configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
    });
    if (!('error' in planned)) specs.push(planned);
    else if (planned.error !== ErrorCode.TOPIC_ALREADY_EXISTS) return planned.message;
    return null;
  }

  #create(specs: readonly TopicSpec[], retryMs: number): void {
    const { control, logger } = this.#deps;
    for (const { name } of specs) this.#creating.add(name);
    const forget = (): void => {
      for (const { name } of specs) this.#creating.delete(name);
    };
    control.createTopics(specs).then(
      (outcomes) => {
        forget();
        for (const [i, { error, message }] of outcomes.entries()) {
          if (error === ErrorCode.NONE || error === ErrorCode.TOPIC_ALREADY_EXISTS) continue;
          this.#fail(specs[i]!.name, message ?? errorName(error), retryMs);
        }
      },
      (reason: unknown) => {
        forget();
        for (const { name } of specs) this.#fail(name, String(reason), retryMs);
        logger.error('internal topics of a streams group could not be made', { reason: String(reason) });
      },
    );
  }

  #fail(name: string, reason: string, retryMs: number): string {
    this.#deps.logger.warn('an internal topic of a streams group could not be made', { topic: name, reason });
    if (this.#failures.size >= namesMax) this.#failures.clear();
    this.#failures.set(name, { reason, until: this.#deps.clock.monotonic() + retryMs });
    return reason;
  }
}
