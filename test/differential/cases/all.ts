/** All cases by their kind. */
import type { Case } from '../side.ts';
import { adminCases } from './admin.ts';
import { consumerGroupCases } from './consumer-groups.ts';
import { consumerMemberCases } from './consumer-members.ts';
import { generatedCase } from './generated.ts';
import { groupCases } from './groups.ts';
import { produceCases } from './produce.ts';
import { readCases } from './reads.ts';
import { shareGroupCases } from './share-groups.ts';
import { shareRecordCases } from './share-records.ts';
import { shareSessionCases } from './share-sessions.ts';
import { streamsGroupCases } from './streams-groups.ts';
import { streamsMemberCases } from './streams-members.ts';
import { transactionCases } from './transactions.ts';

export const scriptedKinds: Readonly<Record<string, readonly Case[]>> = {
  produce: produceCases,
  reads: readCases,
  groups: groupCases,
  admin: adminCases,
  transactions: transactionCases,
  'consumer-groups': consumerGroupCases,
  'consumer-members': consumerMemberCases,
  'streams-groups': streamsGroupCases,
  'streams-members': streamsMemberCases,
  'share-groups': shareGroupCases,
  'share-sessions': shareSessionCases,
  'share-records': shareRecordCases,
};

export const scriptedCases: readonly Case[] = Object.values(scriptedKinds).flat();

export function generatedCases(first: number, count: number): readonly Case[] {
  return Array.from({ length: count }, (_, at) => generatedCase(first + at));
}
