/**
 * The policies of a cluster as configs of brokers say them now. Values come checked one by one; what they must be to each other is
 * checked here, and while they contradict, what was in force before goes on. Main thread.
 */
import { type PolicySetting, parseWindow } from '../config/policy-settings.ts';
import type { Logger } from '../ports/logger.ts';
import { type Goal, goals } from './goal-names.ts';
import { type ClusterPolicy, checkPolicy, defaultPolicy } from './policy.ts';
import { checkScaling, defaultScaling, type ScalingPolicy } from './scaling.ts';

export interface Policies {
  readonly cluster: ClusterPolicy;
  readonly scaling: ScalingPolicy;
}

/** @param read the text in force of a setting. @param brokerHour what one broker costs an hour, 0 = not said. */
export function readPolicies(read: (name: PolicySetting) => string, brokerHour: number): Policies {
  const number = (name: PolicySetting): number => Number(read(name));
  const flag = (name: PolicySetting): boolean => read(name).trim().toLowerCase() === 'true';
  const items = (name: PolicySetting): string[] =>
    read(name)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  const chosen = items('cluster.balance.goals');
  const ceiling = number('cluster.scaling.budget.hour');
  return {
    cluster: {
      ...defaultPolicy,
      unreachableWals: read('cluster.wal.unreachable') === 'abandon' ? 'abandon' : 'wait',
      unreachableWaitMs: number('cluster.wal.unreachable.wait.ms'),
      moveTimeoutMs: number('cluster.move.timeout.ms'),
      balance: {
        enabled: flag('cluster.balance.enable'),
        dryRun: flag('cluster.balance.dry.run'),
        goals: goals.filter((goal: Goal) => chosen.includes(goal)),
        outer: number('cluster.balance.trigger.ratio'),
        inner: number('cluster.balance.target.ratio'),
        movesMax: number('cluster.balance.moves.max'),
        coldMs: defaultPolicy.balance.coldMs,
        coldBytesMax: number('cluster.balance.cold.bytes.max'),
        intervalMs: number('cluster.balance.interval.ms'),
        roundMs: number('cluster.balance.round.ms'),
        settleMs: number('cluster.balance.settle.ms'),
        excludedTopics: items('cluster.balance.exclude.topics'),
        excludedBrokers: items('cluster.balance.exclude.brokers').map(Number),
      },
    },
    scaling: {
      ...defaultScaling,
      enabled: flag('cluster.scaling.enable'),
      min: number('cluster.scaling.brokers.min'),
      max: number('cluster.scaling.brokers.max'),
      target: {
        cpu: number('cluster.scaling.target.cpu'),
        bytesIn: number('cluster.scaling.target.bytes.in'),
        bytesOut: number('cluster.scaling.target.bytes.out'),
        requests: number('cluster.scaling.target.requests'),
        streams: number('cluster.scaling.target.partitions'),
      },
      inBelow: number('cluster.scaling.in.below'),
      stepOut: number('cluster.scaling.step.out'),
      stepIn: number('cluster.scaling.step.in'),
      outCooldownMs: number('cluster.scaling.cooldown.out.ms'),
      inCooldownMs: number('cluster.scaling.cooldown.in.ms'),
      windows: items('cluster.scaling.maintenance.windows').flatMap((each) => parseWindow(each) ?? []),
      budget: ceiling > 0 ? { broker: brokerHour, ceiling } : null,
      intervalMs: number('cluster.scaling.interval.ms'),
    },
  };
}

export class PolicySource {
  readonly #read: () => Policies;
  /** What policies are read from: they are read again when one of these is another. */
  readonly #sources: () => readonly unknown[];
  readonly #logger: Logger;
  #seen: readonly unknown[] | null = null;
  /** Nobody is kept from starting by what was set while brokers ran: then the defaults are in force. */
  #policies: Policies = { cluster: defaultPolicy, scaling: defaultScaling };

  constructor(read: () => Policies, sources: () => readonly unknown[], logger: Logger) {
    this.#read = read;
    this.#sources = sources;
    this.#logger = logger;
  }

  get now(): Policies {
    const sources = this.#sources();
    if (this.#seen !== null && sources.every((source, i) => source === this.#seen![i])) return this.#policies;
    this.#seen = sources;
    try {
      this.#policies = checked(this.#read());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger.warn('the policies of the cluster contradict; those before stay in force', { reason });
    }
    return this.#policies;
  }
}

function checked(policies: Policies): Policies {
  checkPolicy(policies.cluster);
  checkScaling(policies.scaling);
  return policies;
}
