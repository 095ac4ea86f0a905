/**
 * A shard's doors to the other shards of its broker, over a link to each (peer-messages.ts): partitions that they own
 * (RemotePartition), requests that they coordinate, and questions to their services.
 *
 *   this shard                          link                          shard k
 *   RemotePartition ─► PeerClient ──► Outbox ─── ring ───► PeerServer ─► PartitionLog, Dispatcher
 *     callbacks     ◄─ PeerClient ◄────────── ring ◄─── Outbox ◄─ PeerServer ◄─ durable, read, changed, answered
 *
 * Messages are seen by the peer at `flush`, at the latest in a turn of the loop that follows. Owned by the shard.
 */

import type { TopicImage } from '../../metadata/metadata-store.ts';
import type { Arena } from '../../ports/arena.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { CallerContext } from '../../requests/support/handler.ts';
import type { LinkEnd, LinkPump } from '../../threads/link.ts';
import type { ShardPeers } from '../shard.ts';
import type { RemoteHandle } from '../shard-partitions.ts';
import { Outbox } from './outbox.ts';
import { PeerClient } from './peer-client.ts';
import type { PeerHost } from './peer-host.ts';
import { firstAnswer } from './peer-messages.ts';
import { PeerServer } from './peer-server.ts';

export { peerSlots, peerSlotWords } from './peer-messages.ts';

interface Peer {
  readonly out: Outbox;
  readonly client: PeerClient;
  readonly server: PeerServer;
}

export class LinkPeers implements ShardPeers {
  readonly self: number;
  private readonly links: readonly (LinkEnd | null)[];
  private readonly pump: LinkPump;
  private readonly arena: Arena;
  /** By shard; null at its own index, and everywhere until `attach`. */
  private peers: (Peer | null)[];
  private host: PeerHost | null = null;
  private flushSoon = false;

  constructor(index: number, links: readonly (LinkEnd | null)[], pump: LinkPump, arena: Arena) {
    this.links = links;
    this.pump = pump;
    this.arena = arena;
    this.peers = links.map(() => null);
    this.self = index;
  }

  get count(): number {
    return this.links.length;
  }

  forward(
    owner: number,
    context: CallerContext,
    buffer: Buffer,
    position: number,
    length: number,
    done: (answer: Buffer | null) => void,
  ): void {
    this.peer(owner).client.forward(context, buffer, position, length, done);
  }

  ask(owner: number, service: number, bytes: Buffer, done: (answer: Buffer | null) => void): void {
    if (owner === this.self) this.host!.services.serve(service, Buffer.from(bytes), done);
    else this.peer(owner).client.ask(service, bytes, done);
  }

  attach(host: PeerHost): void {
    this.host = host;
    this.peers = this.links.map((link) => (link === null ? null : this.join(link, host)));
  }

  private join(link: LinkEnd, host: PeerHost): Peer {
    const later = (): void => this.flushLater();
    const out = new Outbox(link, later);
    const client = new PeerClient(host, this.arena, out, later);
    const server = new PeerServer(host, this.arena, out, later);
    this.pump.add(
      link,
      (at, words) => {
        if ((words[at]! & 0xff) >= firstAnswer) client.receive(words, at);
        else server.receive(words, at);
      },
      () => {
        out.drain();
        later();
      },
    );
    return { out, client, server };
  }

  partition(owner: number, topicId: string, partition: number, topic: TopicImage): RemoteHandle {
    return this.peer(owner).client.partition(topicId, partition, topic);
  }

  /** Both halves of the link to a shard, for metrics and tests. */
  peer(shard: number): Peer {
    const peer = this.peers[shard];
    if (peer == null)
      throw new MillraceError('internal', 'PEER_UNKNOWN', `there is no link to shard ${shard}`);
    return peer;
  }

  flush(): void {
    for (const peer of this.peers) {
      if (peer === null) continue;
      peer.server.flush();
      peer.client.flush();
      peer.out.flush();
    }
  }

  /** For messages that arise outside of a socket event or a turn of the rings: timers, cold reads, control calls. */
  private flushLater(): void {
    if (this.flushSoon) return;
    this.flushSoon = true;
    this.host!.clock.soon(this.onSoon);
  }

  private readonly onSoon = (): void => {
    this.flushSoon = false;
    this.flush();
  };
}
