/**
 * Where a request is answered. A handler without a `route` serves on the shard of its connection. The others are served
 * where the partition of an internal topic is owned that coordinates their key, and whatever crosses shards does so as
 * frames on the rings between them (shard/peers/):
 *
 *     key     one key, one owner: the frame goes there as it came, and the encoded answer comes back
 *     split   many keys: each owner gets a request with its keys, the answers are merged in the order of the request
 *     all     every shard is asked the same
 *
 * A handler is written as if all keys were its own. Handlers run with the caller's context, on the shard that owns the
 * key *as the caller's shard knows it*: a coordinator that is not there any more answers NOT_COORDINATOR by itself.
 *
 * What is no client's request (markers of a transaction, acknowledgements for a share group) goes as a question between
 * shards: `ShardLinks.ask(owner, service, bytes)` (request-router.ts), answered by what was registered in
 * `ShardServicesTable`.
 *
 * When memory or calls run out on the way, or the other shard fails inside, the request is answered by `refused` with
 * COORDINATOR_NOT_AVAILABLE, which clients try again: the connection and its other requests go on.
 * Bounds: a request is split into at most as many parts as there are shards; calls under way per link: peer-calls.ts.
 */

export type Route<Request, ResponseInput> =
  | KeyRoute<Request, ResponseInput>
  | SplitRoute<Request, ResponseInput>
  | AllRoute<Request, ResponseInput>;

interface Refusing<Request, ResponseInput> {
  /** The answer that says the error for everything that the request asks for. */
  refused(request: Request, errorCode: number, apiVersion: number): ResponseInput;
}

export interface KeyRoute<Request, ResponseInput> extends Refusing<Request, ResponseInput> {
  readonly kind: 'key';
  /** Internal topic whose partition coordinates the key. */
  readonly topic: string;
  key(request: Request): string;
}

/** One owner's share of a split request. */
export interface RoutedPart<ResponseInput> {
  /** Which of the request's keys, ascending. */
  readonly indexes: readonly number[];
  readonly response: ResponseInput;
}

export interface SplitRoute<Request, ResponseInput> extends Refusing<Request, ResponseInput> {
  readonly kind: 'split';
  readonly topic: string;
  /** None: served on the connection's shard. */
  keys(request: Request, apiVersion: number): readonly string[];
  /** The request about some of the keys only. Called when there is more than one owner. */
  part(request: Request, indexes: readonly number[]): Request;
  merge(request: Request, parts: readonly RoutedPart<ResponseInput>[]): ResponseInput;
}

export interface AllRoute<Request, ResponseInput> extends Refusing<Request, ResponseInput> {
  readonly kind: 'all';
  merge(request: Request, responses: readonly ResponseInput[]): ResponseInput;
}

/** Puts the results of the parts in the order of the request's keys. */
export function inOrder<ResponseInput, Result>(
  parts: readonly RoutedPart<ResponseInput>[],
  resultsOf: (response: ResponseInput) => readonly Result[] | undefined,
): Result[] {
  const results: Result[] = [];
  for (const { indexes, response } of parts) {
    const part = resultsOf(response) ?? [];
    for (const [i, index] of indexes.entries()) results[index] = part[i]!;
  }
  return results;
}

/** Those of the values that an owner is asked for. */
export function pick<T>(values: readonly T[], indexes: readonly number[]): T[] {
  return indexes.map((index) => values[index]!);
}

/** Answers one question; `answer` is called once, now or later. The bytes are the service's own. */
export type ShardService = (bytes: Buffer, answer: (bytes: Buffer | null) => void) => void;

/** The services of one shard, by number: what `ask` from any shard reaches, the own one included. */
export class ShardServicesTable {
  readonly #services = new Map<number, ShardService>();

  register(service: number, serve: ShardService): void {
    if (this.#services.has(service)) throw new Error(`service ${service} is there already`);
    this.#services.set(service, serve);
  }

  serve(service: number, bytes: Buffer, answer: (bytes: Buffer | null) => void): void {
    const serve = this.#services.get(service);
    if (serve === undefined) answer(null);
    else serve(bytes, answer);
  }
}
