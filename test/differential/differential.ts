/** Runs cases against Apache Kafka and Millrace, side by side, and compares what they answer. */
import { BrokerProcess } from '../support/broker-process.ts';
import { startKafka } from '../support/clients/kafka-reference.ts';
import { type Difference, differences } from './compare.ts';
import { placeName } from './recorded.ts';
import { type Case, Side, type Step } from './side.ts';

export interface CaseResult {
  readonly name: string;
  readonly requests: number;
  /** What Kafka answered. */
  readonly kafka: readonly Step[];
  readonly differences: readonly Difference[];
}

/** Those in which the two would differ on purpose. */
export const millraceSettings = {
  'auto.create.topics.enable': false,
  'group.initial.rebalance.delay.ms': 0,
  'node.id': 1,
};

export class Differential {
  readonly #kafka: { readonly bootstrap: string; stop(): Promise<void> };
  readonly #millrace: BrokerProcess;

  private constructor(kafka: { readonly bootstrap: string; stop(): Promise<void> }, millrace: BrokerProcess) {
    this.#kafka = kafka;
    this.#millrace = millrace;
  }

  /** Both brokers, with the settings in which they would differ on purpose made the same. Throws where Kafka cannot be had. */
  static async open(): Promise<Differential> {
    const kafka = await startKafka({ 'auto.create.topics.enable': 'false', 'num.partitions': '1' });
    try {
      return new Differential(kafka, await BrokerProcess.start({ settings: millraceSettings }));
    } catch (error) {
      await kafka.stop();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#kafka.stop();
    await this.#millrace.dispose();
  }

  async run(each: Case): Promise<CaseResult> {
    const sides = [
      new Side('kafka', addressOf(this.#kafka.bootstrap)),
      new Side('millrace', addressOf(this.#millrace.bootstrap)),
    ] as const;
    try {
      await Promise.all(sides.map((side) => side.take(each, placeName(each))));
      const [kafka, millrace] = sides.map(({ transcript }) => transcript) as [
        Side['transcript'],
        Side['transcript'],
      ];
      return {
        name: each.name,
        kafka,
        requests: kafka.length + millrace.length,
        differences: differences(each.name, kafka, millrace),
      };
    } finally {
      for (const side of sides) await side.close();
    }
  }
}

export function addressOf(bootstrap: string): { host: string; port: number } {
  const colon = bootstrap.lastIndexOf(':');
  return { host: bootstrap.slice(0, colon), port: Number(bootstrap.slice(colon + 1)) };
}
