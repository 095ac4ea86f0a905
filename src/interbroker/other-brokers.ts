/**
 * What this shard may ask of the other brokers of its cluster, put together: connections, and a gatherer for each kind of
 * question. A broker answers such questions by itself alone: it never passes one on to a third, so none can go in circles or
 * wait for its own asker. Shard thread.
 */
import type { ClusterImage, MetadataChange } from '../metadata/metadata-store.ts';
import type { Dial } from '../net/outgoing-socket.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { BrokerPeers } from './broker-peers.ts';
import { EndQuestions } from './end-questions.ts';
import { MarkerBatches } from './marker-batches.ts';
import { defaultPeerTimes, PeerLine, type PeerObserver, type PeerTimes } from './peer-line.ts';
import { StateQuestions } from './state-questions.ts';
import { TransactionQuestions } from './transaction-questions.ts';

export interface OtherBrokersDeps {
  readonly nodeId: number;
  readonly image: () => ClusterImage;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observe: PeerObserver;
  readonly times?: PeerTimes;
}

export class OtherBrokers {
  readonly markers: MarkerBatches;
  readonly transactions: TransactionQuestions;
  readonly states: StateQuestions;
  readonly ends: EndQuestions;
  readonly #peers: BrokerPeers;

  constructor(deps: OtherBrokersDeps) {
    const { nodeId, image, clock, times = defaultPeerTimes } = deps;
    const identity = () => ({ clientId: `broker-${nodeId}`, clusterId: image().clusterId });
    this.#peers = new BrokerPeers({
      image,
      connect: (address, purpose) => new PeerLine({ ...deps, address, purpose, identity, times }),
    });
    const gatherer = { peers: this.#peers, clock };
    this.markers = new MarkerBatches(gatherer);
    this.transactions = new TransactionQuestions(gatherer);
    this.states = new StateQuestions(gatherer);
    this.ends = new EndQuestions(gatherer);
  }

  /** The image has taken the changes. */
  imageChanged(changes: readonly MetadataChange[]): void {
    this.#peers.imageChanged(changes);
  }

  close(): void {
    this.#peers.close();
  }
}
