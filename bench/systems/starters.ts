/** Starters of systems by name, so that benchmarks, evaluations and other runs start them alike. */
import { startKafkaSystem } from './kafka.ts';
import { startMillrace } from './millrace.ts';
import type { SystemName, SystemOptions, SystemUnderTest } from './system.ts';

export type Starter = (options: SystemOptions) => Promise<SystemUnderTest>;

export const starters: Readonly<Record<SystemName, Starter>> = {
  millrace: startMillrace,
  kafka: (options) => startKafkaSystem('kafka', options),
  'kafka-flush': (options) => startKafkaSystem('kafka-flush', options),
};
