/**
 * The other brokers of the cluster, as this shard reaches them: where they are is what the image says at the moment of asking. A
 * connection for each broker and purpose, opened on first use. One that was registered anew, fenced or removed is let go of at
 * once, so that nobody waits for it any longer than the metadata do. Shard thread.
 *
 * Bound: a connection for each broker of the image and purpose.
 */
import type { ClusterImage, MetadataChange } from '../metadata/metadata-store.ts';
import {
  type ConnectPeer,
  type PeerAddress,
  type PeerConnection,
  type PeerPurpose,
  type PeerRequest,
  peerPurposes,
} from './peer-connection.ts';

export interface BrokerPeersDeps {
  readonly image: () => ClusterImage;
  readonly connect: ConnectPeer;
}

/** Connections to one registration of a broker. */
interface Peer {
  readonly epoch: number;
  readonly address: PeerAddress;
  readonly connections: Map<PeerPurpose, PeerConnection>;
}

export class BrokerPeers {
  readonly #deps: BrokerPeersDeps;
  readonly #peers = new Map<number, Peer>();
  #closed = false;

  constructor(deps: BrokerPeersDeps) {
    this.#deps = deps;
  }

  /** Asks a broker; null at once where there is no such broker now. */
  send<Input, Response>(node: number, purpose: PeerPurpose, request: PeerRequest<Input, Response>): void {
    const peer = this.#closed ? null : this.#peer(node);
    if (peer === null) {
      request.done(null);
      return;
    }
    let connection = peer.connections.get(purpose);
    if (connection === undefined) {
      connection = this.#deps.connect(peer.address, purpose);
      peer.connections.set(purpose, connection);
    }
    connection.send(request);
  }

  #peer(node: number): Peer | null {
    const broker = this.#deps.image().brokers.get(node);
    const endpoint = broker?.endpoints[0];
    const known = this.#peers.get(node);
    if (broker === undefined || endpoint === undefined || broker.state === 'fenced') {
      this.#letGo(node, 'the broker is not there any more');
      return null;
    }
    const { host, port, tls } = endpoint;
    if (known !== undefined) {
      const { epoch, address } = known;
      if (epoch === broker.epoch && address.host === host && address.port === port && address.tls === tls)
        return known;
      this.#letGo(node, 'the broker was registered anew');
    }
    const made = { epoch: broker.epoch, address: { node, host, port, tls }, connections: new Map() };
    this.#peers.set(node, made);
    return made;
  }

  /** The image has taken the changes. */
  imageChanged(changes: readonly MetadataChange[]): void {
    for (const change of changes)
      if ((change.type === 'broker' || change.type === 'brokerState') && this.#peers.has(change.node))
        this.#peer(change.node);
  }

  #letGo(node: number, reason: string): void {
    const peer = this.#peers.get(node);
    this.#peers.delete(node);
    for (const purpose of peerPurposes) peer?.connections.get(purpose)?.close(reason);
  }

  close(): void {
    this.#closed = true;
    for (const node of [...this.#peers.keys()]) this.#letGo(node, 'this broker stops');
  }
}
