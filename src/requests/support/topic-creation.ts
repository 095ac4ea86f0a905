/**
 * What CreateTopics and automatic creation share: may this topic be made, and how. Checked against the shard's image;
 * the control plane checks once more when it commits.
 */

import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { onceWithin } from '../../ports/once-within.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ControlPlane, TopicSpec } from './control-plane.ts';
import type { TopicDirectory } from './topic-directory.ts';
import { collisionKey, mayCollide, topicNameProblem } from './topic-names.ts';

export interface NameRefusal {
  readonly error: number;
  readonly message: string;
}

/** Existing names by collision key, built again when the image has moved and a name that may collide comes. */
export class NameRules {
  readonly #topics: TopicDirectory;
  #revision = -1;
  #byKey = new Map<string, string>();

  constructor(topics: TopicDirectory) {
    this.#topics = topics;
  }

  /** Why no topic of that name can be made, or null. */
  refusal(name: string): NameRefusal | null {
    const problem = topicNameProblem(name);
    if (problem !== null) return { error: ErrorCode.INVALID_TOPIC_EXCEPTION, message: problem };
    if (this.#topics.topicByName(name) !== undefined) {
      return { error: ErrorCode.TOPIC_ALREADY_EXISTS, message: `Topic '${name}' already exists.` };
    }
    const other = mayCollide(name) ? this.#index().get(collisionKey(name)) : undefined;
    if (other === undefined) return null;
    return { error: ErrorCode.INVALID_TOPIC_EXCEPTION, message: collisionMessage(name, other) };
  }

  #index(): ReadonlyMap<string, string> {
    const { image } = this.#topics;
    if (image.revision !== this.#revision) {
      this.#byKey = new Map();
      for (const name of image.topicsByName.keys()) {
        if (mayCollide(name)) this.#byKey.set(collisionKey(name), name);
      }
      this.#revision = image.revision;
    }
    return this.#byKey;
  }
}

export function collisionMessage(name: string, other: string): string {
  return `Topic '${name}' collides with topic '${other}': names may not differ in '.' and '_' alone.`;
}

export interface AutoTopicsDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'createTopics'>;
  readonly logger: Logger;
  /** `auto.create.topics.enable`. */
  readonly enabled: boolean;
  /** How a topic is made that nobody described: broker defaults, or the settings of an internal topic. */
  readonly specOf: (name: string) => TopicSpec;
}

export interface AutoCreation {
  /** For each name, what its client is told if it is not there when it is answered. */
  readonly errors: readonly number[];
  /** Settles when the creation of the names that can be made is over; null when there is none. */
  readonly made: Promise<unknown> | null;
}

/** Names under creation on one shard; more are not started, and their clients ask again. */
const creatingMax = 1_000;

/** Makes topics that clients name and that do not exist (`auto.create.topics.enable`). */
export class AutoTopics {
  readonly #deps: AutoTopicsDeps;
  readonly #rules: NameRules;
  /** Each settles when shards act on the topic, or when it could not be made. */
  readonly #creating = new Map<string, Promise<void>>();

  constructor(deps: AutoTopicsDeps) {
    this.#deps = deps;
    this.#rules = new NameRules(deps.topics);
  }

  get enabled(): boolean {
    return this.#deps.enabled;
  }

  /** Starts the creation of what is missing, unless that is under way. */
  request(names: readonly string[]): AutoCreation {
    const { control, logger, specOf } = this.#deps;
    const specs: TopicSpec[] = [];
    const under: Promise<void>[] = [];
    const errors = names.map((name) => {
      const refusal = this.#rules.refusal(name);
      if (refusal !== null && refusal.error !== ErrorCode.TOPIC_ALREADY_EXISTS) return refusal.error;
      const creation = this.#creating.get(name);
      if (creation !== undefined) under.push(creation);
      else if (refusal === null && this.#creating.size + specs.length < creatingMax) specs.push(specOf(name));
      return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    });
    if (specs.length > 0) {
      const made = control.createTopics(specs).then(
        (outcomes) => {
          for (const [i, { error, message }] of outcomes.entries()) {
            if (error === ErrorCode.NONE || error === ErrorCode.TOPIC_ALREADY_EXISTS) continue;
            logger.warn('a topic could not be created automatically', {
              topic: specs[i]!.name,
              error,
              message,
            });
          }
        },
        (reason: unknown) =>
          logger.error('topics could not be created automatically', { reason: String(reason) }),
      );
      const over = made.then(() => {
        for (const { name } of specs) this.#creating.delete(name);
      });
      for (const { name } of specs) this.#creating.set(name, over);
      under.push(over);
    }
    return { errors, made: under.length === 0 ? null : Promise.all(under) };
  }
}

/**
 * An answer that asked for a topic waits for it as long as that takes at most: a client that is told of an error sleeps
 * longer (kafkajs 300 ms, Kafka's own 100 ms) than a commit takes.
 */
const creationWaitMs = 1_000;

/** Calls `then` once: when `made` has settled, or after the wait. */
export function afterCreation(clock: Pick<Clock, 'after'>, made: Promise<unknown>, then: () => void): void {
  const go = onceWithin(clock, creationWaitMs, then);
  made.then(go, go);
}
