/**
 * Things to ask of other brokers, gathered into requests: what one turn of the loop brings for a peer goes together, and what
 * comes while `requestsMax` requests are under way waits for the next. Shard thread.
 *
 *     add ─► waiting | oldest … newest | ─── end of the turn, a request answered ──► request, up to `itemsMax` items
 *
 * Things with the same key are never in two requests at a time, so they are done in the order they came; in one request they
 * are only where `together` says so, else the later ones wait. Bound: `waitingMax` things for a peer; `add` refuses more.
 */
import type { Clock } from '../ports/clock.ts';

export interface BatchesDeps<Item> {
  readonly clock: Pick<Clock, 'soon'>;
  /** Null: in no order with any other. */
  readonly keyOf: (item: Item) => string | null;
  readonly together: boolean;
  /** What all things of one request have in common; default: nothing. */
  readonly requestOf?: (item: Item) => string;
  readonly itemsMax: number;
  readonly waitingMax?: number;
  /** Sends one request; `answered` once the items have been told what became of them. */
  readonly request: (node: number, items: readonly Item[], answered: () => void) => void;
}

const requestsMax = 4;
/** A marker or question is some 200 bytes: 3 MB. */
const waitingMaxDefault = 16_384;

interface Peer<Item> {
  waiting: Item[];
  readonly busy: Set<string>;
  requests: number;
  /** A pump is due at the end of the turn. */
  soon: boolean;
}

export class Batches<Item> {
  readonly #deps: BatchesDeps<Item>;
  readonly #peers = new Map<number, Peer<Item>>();

  constructor(deps: BatchesDeps<Item>) {
    this.#deps = deps;
  }

  /** False: there is no room, and nothing will be done. */
  add(node: number, item: Item): boolean {
    let peer = this.#peers.get(node);
    if (peer === undefined) {
      peer = { waiting: [], busy: new Set(), requests: 0, soon: false };
      this.#peers.set(node, peer);
    }
    if (peer.waiting.length >= (this.#deps.waitingMax ?? waitingMaxDefault)) return false;
    peer.waiting.push(item);
    this.#pumpSoon(node, peer);
    return true;
  }

  #pumpSoon(node: number, peer: Peer<Item>): void {
    if (peer.soon) return;
    peer.soon = true;
    this.#deps.clock.soon(() => {
      peer.soon = false;
      this.#pump(node, peer);
    });
  }

  #pump(node: number, peer: Peer<Item>): void {
    while (peer.requests < requestsMax) {
      const items = this.#next(peer);
      if (items.length === 0) break;
      const { keyOf, request } = this.#deps;
      const keys = new Set<string>();
      for (const item of items) {
        const key = keyOf(item);
        if (key !== null) keys.add(key);
      }
      for (const key of keys) peer.busy.add(key);
      peer.requests++;
      request(node, items, () => {
        for (const key of keys) peer.busy.delete(key);
        peer.requests--;
        this.#pumpSoon(node, peer);
      });
    }
    if (peer.waiting.length === 0 && peer.requests === 0 && !peer.soon) this.#peers.delete(node);
  }

  /** Takes what may go now. */
  #next(peer: Peer<Item>): Item[] {
    const { keyOf, together, itemsMax, requestOf } = this.#deps;
    let common: string | undefined;
    const items: Item[] = [];
    const held: Item[] = [];
    /** Of those taken, where they may not be together, and of those passed over. */
    const closed = new Set<string>();
    for (const item of peer.waiting) {
      const key = keyOf(item);
      const waits = key !== null && (peer.busy.has(key) || closed.has(key));
      const isOther = items.length > 0 && requestOf?.(item) !== common;
      if (waits || isOther || items.length >= itemsMax) {
        held.push(item);
        if (key !== null) closed.add(key);
        continue;
      }
      if (items.length === 0) common = requestOf?.(item);
      items.push(item);
      if (key !== null && !together) closed.add(key);
    }
    peer.waiting = held;
    return items;
  }
}
