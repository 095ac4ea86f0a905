/** What the compatibility tests share: records, topics, and a broker that is theirs alone. */
import kafkajs from 'kafkajs';
import { type ClientRecord, dataSets, realRecords } from '../support/real-records.ts';

/** All rows of all sets, one set after another. */
export function allRecords(rowsPerSet = 2_000): ClientRecord[] {
  return dataSets.flatMap((set) => realRecords(set, rowsPerSet));
}

export async function createTopics(
  bootstrap: string,
  names: readonly string[],
  partitions = 3,
): Promise<void> {
  const kafka = new kafkajs.Kafka({
    brokers: [bootstrap],
    clientId: 'compat',
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  try {
    const topics = names.map((topic) => ({ topic, numPartitions: partitions, replicationFactor: 1 }));
    await admin.createTopics({ topics, waitForLeaders: true });
  } finally {
    await admin.disconnect();
  }
}
