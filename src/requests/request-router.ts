/**
 * Brings a request to the shards that its route names, and their answers back (routing.ts says the rules). One per shard;
 * shard thread.
 */
import type { ApiCodec } from '../protocol/codec.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { Reader } from '../protocol/reader.ts';
import { Writer } from '../protocol/writer.ts';
import type { AnyRequestHandler, CallerContext, RequestContext } from './support/handler.ts';

/** Which shard coordinates what, as this shard's image says. */
export interface CoordinatorPlaces {
  /** This shard where the internal topic, or the key's partition, is nobody's yet. */
  ownerOf(topic: string, key: string): number;
}

/** Ways to the other shards of this broker. */
export interface ShardLinks {
  readonly self: number;
  readonly count: number;
  /**
   * Has another shard serve the request frame at `position`; `done` gets the answer frame with its size field, or null
   * when memory or calls have run out or the other shard has failed inside.
   */
  forward(
    owner: number,
    context: CallerContext,
    buffer: Buffer,
    position: number,
    length: number,
    done: (answer: Buffer | null) => void,
  ): void;
  /** Asks another shard's service; null as above, or when it has no such service. Bytes are copied. */
  ask(owner: number, service: number, bytes: Buffer, done: (answer: Buffer | null) => void): void;
}

/** A request as it came, for passing it on. */
export interface RequestFrame {
  readonly buffer: Buffer;
  readonly position: number;
  readonly length: number;
}

export interface RoutedReply {
  /** The answer of this shard's handler, or a merged one. */
  respond(response: unknown): void;
  /** The answer of the one other shard that served the request, size field included. */
  relay(answer: Buffer): void;
}

type AnyFullCodec = ApiCodec<unknown, unknown, unknown, unknown>;

export class RequestRouter {
  readonly #places: CoordinatorPlaces;
  readonly #links: ShardLinks;
  readonly #writer = new Writer();

  constructor(places: CoordinatorPlaces, links: ShardLinks) {
    this.#places = places;
    this.#links = links;
  }

  /** Serves a request of a handler with a route. */
  serve(
    handler: AnyRequestHandler,
    context: RequestContext,
    request: unknown,
    frame: RequestFrame,
    reply: RoutedReply,
  ): void {
    const route = handler.route!;
    switch (route.kind) {
      case 'key':
        this.#serveAt(
          this.#places.ownerOf(route.topic, route.key(request)),
          handler,
          context,
          request,
          frame,
          reply,
        );
        return;
      case 'split': {
        const owners = this.#byOwner(route.topic, route.keys(request, context.apiVersion));
        const [first] = owners.keys();
        if (owners.size <= 1) {
          this.#serveAt(first ?? this.#links.self, handler, context, request, frame, reply);
          return;
        }
        const parts = [...owners].map(([owner, indexes]) => ({
          owner,
          indexes,
          request: route.part(request, indexes),
        }));
        this.#gather(handler, context, parts, (responses) =>
          reply.respond(
            route.merge(
              request,
              parts.map(({ indexes }, i) => ({ indexes, response: responses[i] })),
            ),
          ),
        );
        return;
      }
      case 'all': {
        const parts = Array.from({ length: this.#links.count }, (_, owner) => ({ owner, request }));
        this.#gather(handler, context, parts, (responses) => reply.respond(route.merge(request, responses)));
      }
    }
  }

  #byOwner(topic: string, keys: readonly string[]): Map<number, number[]> {
    const owners = new Map<number, number[]>();
    for (const [index, key] of keys.entries()) {
      const owner = this.#places.ownerOf(topic, key);
      const indexes = owners.get(owner);
      if (indexes === undefined) owners.set(owner, [index]);
      else indexes.push(index);
    }
    return owners;
  }

  #serveAt(
    owner: number,
    handler: AnyRequestHandler,
    context: RequestContext,
    request: unknown,
    { buffer, position, length }: RequestFrame,
    reply: RoutedReply,
  ): void {
    if (owner === this.#links.self) {
      handler.handle(context, request, reply.respond);
      return;
    }
    this.#links.forward(owner, context, buffer, position, length, (answer) => {
      if (answer !== null) reply.relay(answer);
      else reply.respond(this.#refusal(handler, context, request));
    });
  }

  #refusal(handler: AnyRequestHandler, context: RequestContext, request: unknown): unknown {
    return handler.route!.refused(request, ErrorCode.COORDINATOR_NOT_AVAILABLE, context.apiVersion);
  }

  #gather(
    handler: AnyRequestHandler,
    context: RequestContext,
    parts: readonly { readonly owner: number; readonly request: unknown }[],
    done: (responses: readonly unknown[]) => void,
  ): void {
    const responses: unknown[] = [];
    let waiting = parts.length;
    for (const [i, { owner, request }] of parts.entries()) {
      const take = (response: unknown): void => {
        responses[i] = response;
        if (--waiting === 0) done(responses);
      };
      if (owner === this.#links.self) handler.handle(context, request, take);
      else this.#ask(owner, handler, context, request, take);
    }
  }

  #ask(
    owner: number,
    handler: AnyRequestHandler,
    context: RequestContext,
    request: unknown,
    take: (response: unknown) => void,
  ): void {
    const codec = handler.codec as unknown as AnyFullCodec;
    const { api } = codec;
    const flexible = context.apiVersion >= api.flexibleFrom;
    const writer = this.#writer;
    writer.reset();
    writer.i16(api.key);
    writer.i16(context.apiVersion);
    writer.i32(0);
    writer.nullableString(context.clientId, false);
    if (flexible) writer.uvarint(0);
    codec.encodeRequest(writer, request, context.apiVersion);
    const frame = Buffer.from(writer.written);
    this.#links.forward(owner, context, frame, 0, frame.length, (answer) => {
      if (answer === null) {
        take(this.#refusal(handler, context, request));
        return;
      }
      // Behind the size field and the correlation id.
      const reader = new Reader(answer, 8, answer.length);
      if (flexible) reader.skipTags();
      take(codec.decodeResponse(reader, context.apiVersion));
    });
  }
}
