/**
 * How many connections each client address may have (`max.connections.per.ip` and its overrides, as Kafka's): asked for every
 * connection that is accepted, on the main thread. Counts lie in shared memory, where shards take back what has ended.
 * Bound: `slotsMax` addresses at a time; further ones are not counted, `max.connections` holds for them all the same.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { MillraceError } from '../ports/errors.ts';
import { AddressCounts, createAddressCounts } from '../threads/memory/address-counts.ts';
import type { AddressLimitsConfig } from './broker-config.ts';

/** A connection that may come in: where it is counted, -1 = nowhere. */
export const uncounted = -1;

export const slotsMax = 65_536;

/** All addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export class AddressLimits {
  readonly memory: SharedArrayBuffer;
  readonly #counts: AddressCounts;
  readonly #max: number;
  readonly #overrides: ReadonlyMap<string, number>;
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #used = 0;

  constructor(max: number, overrides: ReadonlyMap<string, number>, slots = slotsMax) {
    this.memory = createAddressCounts(slots);
    this.#counts = new AddressCounts(this.memory);
    this.#max = max;
    this.#overrides = overrides;
  }

  /** Looks host names up, once. Throws ADDRESS_UNKNOWN (invalid) for one that has no address. */
  static async open({ max, overrides }: AddressLimitsConfig, resolve: Resolve): Promise<AddressLimits> {
    const byAddress = new Map<string, number>();
    for (const [host, own] of overrides)
      for (const address of isIP(host) === 0 ? await addressesOf(host, resolve) : [host])
        byAddress.set(plain(address), own);
    return new AddressLimits(max, byAddress);
  }

  /** Counts a connection. @returns where, `uncounted`, or null: the address has all that it may have. */
  admit(remote: string): number | null {
    const address = plain(remote);
    const max = this.#overrides.get(address) ?? this.#max;
    const slot = this.#slots.get(address) ?? this.#take(address);
    if (slot === uncounted) return uncounted;
    if (this.#counts.of(slot) >= max) return null;
    this.#counts.begun(slot);
    return slot;
  }

  #take(address: string): number {
    if (this.#free.length === 0 && this.#used === this.#counts.slots) this.#sweep();
    const slot = this.#free.pop() ?? (this.#used < this.#counts.slots ? this.#used++ : uncounted);
    if (slot !== uncounted) this.#slots.set(address, slot);
    return slot;
  }

  /** Takes slots back from addresses that have no connection any more. */
  #sweep(): void {
    for (const [address, slot] of this.#slots) {
      if (this.#counts.of(slot) > 0) continue;
      this.#slots.delete(address);
      this.#free.push(slot);
    }
  }
}

/** As the system resolves it. */
export const addressesOfHost: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

async function addressesOf(host: string, resolve: Resolve): Promise<readonly string[]> {
  try {
    return await resolve(host);
  } catch (error) {
    throw new MillraceError(
      'invalid',
      'ADDRESS_UNKNOWN',
      `max.connections.per.ip.overrides names ${host}, which has no address: ${(error as Error).message}`,
    );
  }
}

/** An IPv4 client of an IPv6 socket has the IPv4 address that it has. */
function plain(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
}
