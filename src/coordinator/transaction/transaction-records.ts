/**
 * Records of `__transaction_state`, as Kafka writes them: key type 0, values of version 1 (0 is read too). A transactional id
 * has one record, a tombstone ends it.
 */
import {
  TransactionLogKeyCodec,
  TransactionLogValueCodec,
} from '../../protocol/generated/coordinator/transaction-log.ts';
import { Reader } from '../../protocol/reader.ts';
import { recordKey, recordValue } from '../runtime/record-bytes.ts';
import {
  type TransactionState,
  type TransactionValue,
  transactionStateNames,
  transactionStates,
} from './transaction.ts';

const keyType = 0;
const valueVersion = 1;

export function transactionKey(transactionalId: string): Buffer {
  return recordKey(TransactionLogKeyCodec, { transactionalId });
}

export function transactionValue(value: TransactionValue): Buffer {
  const partitions = [...value.partitions].map(([topic, partitionIds]) => ({ topic, partitionIds }));
  return recordValue(
    TransactionLogValueCodec,
    {
      producerId: value.producerId,
      previousProducerId: value.previousProducerId,
      nextProducerId: value.nextProducerId,
      producerEpoch: value.producerEpoch,
      transactionTimeoutMs: value.timeoutMs,
      transactionStatus: value.state,
      transactionPartitions: value.state === transactionStates.empty ? null : partitions,
      transactionLastUpdateTimestampMs: value.updatedMs,
      transactionStartTimestampMs: value.startedMs,
      clientTransactionVersion: value.version,
    },
    valueVersion,
  );
}

/** The transactional id of a key; null for a key of another kind. */
export function readTransactionKey(key: Buffer): string | null {
  const reader = new Reader(key);
  if (reader.i16() !== keyType) return null;
  return TransactionLogKeyCodec.decode(reader, 0).transactionalId;
}

/** Throws a ProtocolDecodeError for what is no value of a version that is known. */
export function readTransactionValue(bytes: Buffer): TransactionValue {
  const reader = new Reader(bytes);
  const value = TransactionLogValueCodec.decode(reader, reader.i16());
  const state = value.transactionStatus;
  if (transactionStateNames[state] === undefined) throw reader.fail(`transaction state ${state}`);
  return {
    producerId: value.producerId,
    previousProducerId: value.previousProducerId,
    nextProducerId: value.nextProducerId,
    producerEpoch: value.producerEpoch,
    timeoutMs: value.transactionTimeoutMs,
    state: state as TransactionState,
    partitions: new Map(
      (value.transactionPartitions ?? []).map(({ topic, partitionIds }) => [topic, partitionIds]),
    ),
    updatedMs: value.transactionLastUpdateTimestampMs,
    startedMs: value.transactionStartTimestampMs,
    version: value.clientTransactionVersion,
  };
}
