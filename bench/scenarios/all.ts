/** All scenarios by name, in the order in which --all runs them: what is tracked most closely comes first. */
import type { Scenario } from '../harness/scenario.ts';
import { catchUp, fanout, longPoll, metadataStorm, tail } from './consume.ts';
import {
  codecs,
  codecsHeader,
  largeMessages,
  oneDisk,
  partitions,
  produceLarge,
  produceLargeDisk,
  produceSmall,
  s3,
  tls,
} from './produce.ts';
import { clients, memory, startup, transactions } from './rest.ts';

export const scenarios: readonly Scenario[] = [
  produceSmall,
  produceLarge,
  longPoll,
  memory,
  tail,
  catchUp,
  produceLargeDisk,
  oneDisk,
  startup,
  s3,
  fanout,
  transactions,
  partitions,
  codecs,
  tls,
  metadataStorm,
  largeMessages,
  clients,
  codecsHeader,
];
